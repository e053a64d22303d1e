use super::*;
use crate::commitment::{commit_input, commit_output};
use crate::device::Device;
use crate::gguf::Gguf;
use crate::tiny::tiny_llama;

fn tiny() -> Model {
    Model::from_gguf(&Gguf::from_bytes(tiny_llama(1)).unwrap(), &Device::cpu()).unwrap()
}

fn request(max_tokens: u32) -> GenerationRequest {
    GenerationRequest::new(Prompt::Text("once upon a time".into()), max_tokens)
}

struct Answer {
    ids: Vec<TokenId>,
    text: String,
    finish: Finish,
}

fn run(model: &Model, request: &GenerationRequest) -> Answer {
    let (mut ids, mut text) = (Vec::new(), String::new());
    for event in model.start(request).unwrap() {
        match event.unwrap() {
            Event::Token(token) => {
                ids.push(token.id);
                text.push_str(&token.text);
                assert_eq!(token.usage.output_tokens, ids.len() as u64);
            }
            Event::Finished(finish) => {
                text.push_str(&finish.text);
                return Answer { ids, text, finish };
            }
        }
    }
    panic!("an answer without an end");
}

#[test]
fn an_answer_has_its_length_its_usage_and_its_commitments() {
    let model = tiny();
    let answer = run(&model, &request(24));
    let prompt = model.encode_prompt(&request(24).prompt).unwrap();
    assert_eq!(answer.finish.reason, FinishReason::Length);
    assert_eq!(answer.ids.len(), 24);
    assert_eq!(answer.finish.usage, Usage { input_tokens: prompt.len() as u64, output_tokens: 24 });
    assert_eq!(answer.finish.input_commitment, commit_input(&prompt));
    assert_eq!(answer.finish.output_commitment, commit_output(&answer.ids));
    assert_eq!(answer.text, model.tokenizer().decode(&answer.ids));
}

#[test]
fn nothing_follows_the_end() {
    let model = tiny();
    let events: Vec<_> = model.start(&request(3)).unwrap().collect();
    assert_eq!(events.len(), 4);
    assert!(matches!(events.last(), Some(Ok(Event::Finished(_)))));
}

#[test]
fn equal_requests_give_equal_answers() {
    let model = tiny();
    let sampled = |seed: u8| {
        let sampling = Sampling::new(1.0, 0, 0.95, [seed; 32]).unwrap();
        run(&model, &GenerationRequest { sampling, ..request(32) }).ids
    };
    assert_eq!(run(&model, &request(32)).ids, run(&model, &request(32)).ids);
    assert_eq!(sampled(1), sampled(1));
    assert_ne!(sampled(1), sampled(2));
}

#[test]
fn an_answer_can_be_resumed_from_its_tokens() {
    let model = tiny();
    let whole = run(&model, &request(20)).ids;
    let mut so_far = model.encode_prompt(&request(20).prompt).unwrap();
    so_far.extend(&whole[..8]);
    let rest = run(&model, &GenerationRequest::new(Prompt::Tokens(so_far), 12)).ids;
    assert_eq!(rest, whole[8..]);
}

#[test]
fn a_stop_sequence_ends_the_answer_and_is_cut_off() {
    let model = tiny();
    let whole = run(&model, &request(32)).text;
    let middle = whole.char_indices().nth(whole.chars().count() / 2).unwrap().0;
    let stop: String = whole[middle..].chars().take(3).collect();
    let answer = run(&model, &GenerationRequest { stop: vec![stop.clone()], ..request(32) });
    assert_eq!(answer.finish.reason, FinishReason::StopSequence);
    assert_eq!(answer.text, whole[..whole.find(&stop).unwrap()]);
    assert_eq!(answer.finish.usage.output_tokens, answer.ids.len() as u64);
}

#[test]
fn an_end_token_is_metered_and_has_no_text() {
    let model = tiny();
    // Control tokens have score zero in the tiny model: hot sampling meets one sooner or later.
    let answer = (0..=u8::MAX)
        .map(|seed| {
            let sampling = Sampling::new(2.0, 0, 1.0, [seed; 32]).unwrap();
            run(&model, &GenerationRequest { sampling, ..request(64) })
        })
        .find(|answer| answer.finish.reason == FinishReason::Stop)
        .expect("one of 256 seeds draws an end token");
    assert!(model.tokenizer().is_end(*answer.ids.last().unwrap()));
    assert_eq!(answer.finish.usage.output_tokens, answer.ids.len() as u64);
    assert_eq!(answer.text, model.tokenizer().decode(&answer.ids[..answer.ids.len() - 1]));
    assert_eq!(answer.finish.output_commitment, commit_output(&answer.ids));
}

#[test]
fn the_context_bounds_prompt_and_answer_together() {
    let model = tiny();
    let prompt = |len: usize| Prompt::Tokens(vec![7; len]);
    let answer = run(&model, &GenerationRequest::new(prompt(2_045), 100));
    assert_eq!((answer.ids.len(), answer.finish.reason), (3, FinishReason::Length));
    let refused = model.start(&GenerationRequest::new(prompt(2_048), 1)).unwrap_err();
    assert!(matches!(refused, RequestError::ContextExceeded { prompt: 2_048, context: 2_048 }));
}

#[test]
fn cancelling_ends_between_tokens_with_what_was_done() {
    let model = tiny();
    let request = request(100);
    let mut seen = 0;
    let finish = model
        .generate(&request, &mut |event| {
            if matches!(event, Event::Token(_)) {
                seen += 1;
            }
            if seen == 5 {
                request.cancel.cancel();
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((finish.reason, finish.usage.output_tokens), (FinishReason::Cancelled, 5));
}

#[test]
fn cancelling_ends_while_a_long_prompt_is_read() {
    let model = tiny();
    let request = GenerationRequest::new(Prompt::Tokens(vec![7; 2_000]), 5);
    let mut job = Job::new(&model, &request).unwrap();
    let part = job.next(PREFILL_TOKENS);
    assert_eq!((part.ids.len(), part.wanted), (PREFILL_TOKENS, false));
    job.advance(PREFILL_TOKENS);
    assert!(job.ending().is_none());
    request.cancel.cancel();
    let Some(Event::Finished(finish)) = job.ending() else { panic!("no end") };
    assert_eq!(finish.reason, FinishReason::Cancelled);
    assert_eq!(finish.usage, Usage { input_tokens: PREFILL_TOKENS as u64, output_tokens: 0 });
}

#[test]
fn a_listener_can_break_off() {
    let finish = tiny().generate(&request(100), &mut |_| ControlFlow::Break(())).unwrap();
    assert_eq!((finish.reason, finish.usage.output_tokens), (FinishReason::Cancelled, 1));
}

#[test]
fn requests_that_cannot_be_served_are_refused_before_any_work() {
    let model = tiny();
    let refusal = |prompt| model.start(&GenerationRequest::new(prompt, 1)).unwrap_err();
    assert!(matches!(refusal(Prompt::Text(String::new())), RequestError::EmptyPrompt));
    assert!(matches!(refusal(Prompt::Tokens(vec![])), RequestError::EmptyPrompt));
    assert!(matches!(refusal(Prompt::Tokens(vec![288])), RequestError::UnknownToken { id: 288, vocabulary: 288 }));
    assert!(matches!(refusal(Prompt::Chat(vec![])), RequestError::Chat(ChatError::Empty)));
    assert!(matches!(model.start(&request(0)), Err(RequestError::NoTokensWanted)));
    let long = "x".repeat(crate::tokenizer::TEXT_BYTES_MAX + 1);
    assert!(matches!(refusal(Prompt::Text(long)), RequestError::Encode(EncodeError::TooLong { .. })));
    let stop = GenerationRequest { stop: vec![String::new()], ..request(1) };
    assert!(matches!(model.start(&stop), Err(RequestError::Stop(StopError::Empty))));
}

#[test]
fn generations_do_not_disturb_each_other() {
    let model = tiny();
    let alone = run(&model, &request(10)).ids;
    let (one, two) = (request(10), GenerationRequest::new(Prompt::Tokens(vec![9, 8, 7]), 10));
    let mut ids = Vec::new();
    for (first, _) in model.start(&one).unwrap().zip(model.start(&two).unwrap()) {
        if let Event::Token(token) = first.unwrap() {
            ids.push(token.id);
        }
    }
    assert_eq!(ids, alone);
}
