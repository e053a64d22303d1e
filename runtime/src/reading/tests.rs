use super::*;
use crate::device::Device;
use crate::generation::{Event, Finish, GenerationRequest};
use crate::gguf::Gguf;
use crate::sampling::Sampling;
use crate::serve::{Server, ServingLimits};
use crate::tiny::tiny_llama;

fn tiny(seed: u64) -> Arc<Model> {
    Arc::new(Model::from_gguf(&Gguf::from_bytes(tiny_llama(seed)).unwrap(), &Device::cpu()).unwrap())
}

fn prompt(tokens: usize) -> Vec<TokenId> {
    (0..tokens as TokenId).map(|at| 3 + at * 7 % 280).collect()
}

fn request(prompt_tokens: usize, max_tokens: u32) -> GenerationRequest {
    let sampling = Sampling::new(0.9, 0, 0.95, [7; 32]).unwrap();
    GenerationRequest { sampling, fingerprints: true, ..GenerationRequest::new(Prompt::Tokens(prompt(prompt_tokens)), max_tokens) }
}

fn answer(model: &Model, request: &GenerationRequest) -> (Vec<TokenId>, Finish) {
    let mut ids = Vec::new();
    let finish = model
        .generate(request, &mut |event| {
            if let Event::Token(token) = event {
                ids.push(token.id);
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    (ids, finish)
}

fn fingerprints(finish: &Finish) -> &Fingerprints {
    finish.fingerprints.as_ref().unwrap().as_ref().unwrap()
}

fn is_equal(comparison: &Comparison) -> bool {
    comparison.exponent_matches == comparison.peaks && comparison.mantissa_error.unwrap().mean_milli == 0
}

#[test]
fn states_and_scores_do_not_depend_on_how_tokens_are_cut_into_passes() {
    let model = tiny(1);
    let read = |pass_tokens: usize, first: usize| {
        let mut rows = Vec::new();
        let reading = Reading { first, pass_tokens: NonZeroUsize::new(pass_tokens).unwrap(), ..Reading::default() };
        model.read(&prompt(70), &reading, |token| rows.push((token.index, token.state.to_vec(), token.scores.to_vec()))).unwrap();
        rows
    };
    let whole = read(70, 0);
    assert_eq!(whole.len(), 70);
    assert!(whole.iter().enumerate().all(|(at, row)| row.0 == at && row.1.len() == 64 && row.2.len() == 288));
    for pass_tokens in [1, 16, 33] {
        assert_eq!(read(pass_tokens, 0), whole);
        assert_eq!(read(pass_tokens, 40), whole[40..]);
    }
    assert_eq!(read(16, 70), []);
}

#[test]
fn only_what_is_wanted_is_handed_out() {
    let model = tiny(1);
    let check = |states: bool, scores: bool| {
        let reading = Reading { states, scores, ..Reading::default() };
        let mut count = 0;
        model
            .read(&prompt(9), &reading, |token| {
                assert_eq!((token.state.is_empty(), token.scores.is_empty()), (!states, !scores));
                count += 1;
            })
            .unwrap();
        assert_eq!(count, 9);
    };
    check(true, false);
    check(false, true);
    check(false, false);
}

#[test]
fn scores_are_those_that_the_next_token_was_chosen_from() {
    let model = tiny(1);
    let greedy = GenerationRequest { sampling: Sampling::greedy(), ..request(40, 20) };
    let (ids, _) = answer(&model, &greedy);
    let mut best = Vec::new();
    let reading = Reading { first: 39, states: false, ..Reading::default() };
    let take = |token: ReadToken<'_>| {
        let highest = token.scores.iter().copied().fold(f32::MIN, f32::max);
        best.push(token.scores.iter().position(|score| *score == highest).unwrap() as TokenId);
    };
    model.read(&answered(&prompt(40), &ids), &reading, take).unwrap();
    assert_eq!(best, ids);
}

#[test]
fn tokens_that_cannot_be_read_are_refused() {
    let model = tiny(1);
    let read = |tokens: &[TokenId]| model.read(tokens, &Reading::default(), |_| ()).unwrap_err();
    assert!(matches!(read(&[]), ReadError::Request(RequestError::EmptyPrompt)));
    assert!(matches!(read(&[5, 288]), ReadError::Request(RequestError::UnknownToken { id: 288, vocabulary: 288 })));
    assert!(matches!(read(&[5; 2_049]), ReadError::ContextExceeded { tokens: 2_049, context: 2_048 }));
}

#[test]
fn an_answers_fingerprints_are_of_what_an_auditor_reads() {
    let model = tiny(1);
    // Shorter than a chunk, at its edge, and longer than a pass; answers that end inside a chunk and with it.
    for (prompt_tokens, tokens) in [(1, 1), (31, 2), (32, 33), (33, 34), (600, 70)] {
        let (ids, finish) = answer(&model, &request(prompt_tokens, tokens));
        let states = model.read_answer(&prompt(prompt_tokens), &ids, None).unwrap();
        let comparisons = states.compare(fingerprints(&finish)).unwrap();
        assert_eq!(comparisons.len(), 1 + (ids.len() - 1).div_ceil(CHUNK_ROWS));
        assert!(comparisons.iter().all(is_equal), "{prompt_tokens} tokens: {comparisons:?}");
        assert_eq!(&states.fingerprints().unwrap(), fingerprints(&finish));
    }
}

#[test]
fn an_auditor_draws_the_tokens_of_an_answer_again_behind_those_claimed() {
    let model = tiny(1);
    let asked = request(40, 40);
    let (ids, _) = answer(&model, &asked);
    let drawn = |ids: &[TokenId], sampling| model.read_answer(&prompt(40), ids, Some(sampling)).unwrap().drawn().to_vec();
    assert_eq!(drawn(&ids, asked.sampling), ids);
    assert_ne!(drawn(&ids, Sampling::new(0.9, 0, 0.95, [8; 32]).unwrap()), ids);
    let mut changed = ids.clone();
    changed[20] ^= 1;
    let again = drawn(&changed, asked.sampling);
    assert_eq!((again.len(), &again[..=20]), (40, &ids[..=20]));
    assert!(model.read_answer(&prompt(40), &ids, None).unwrap().drawn().is_empty());
}

#[test]
fn another_model_and_another_prompt_are_noticed() {
    let model = tiny(1);
    let (ids, finish) = answer(&model, &request(50, 40));
    let unequal = |model: &Model, prompt: &[TokenId]| {
        let comparisons = model.read_answer(prompt, &ids, None).unwrap().compare(fingerprints(&finish)).unwrap();
        comparisons.iter().all(|comparison| !is_equal(comparison))
    };
    assert!(unequal(&tiny(2), &prompt(50)));
    let mut other = prompt(50);
    other[20] += 1;
    assert!(unequal(&model, &other));
}

#[test]
fn fingerprints_can_be_had_after_any_token() {
    let model = tiny(1);
    let mut generation = model.start(&request(40, 40)).unwrap();
    assert!(generation.fingerprints().is_none(), "nothing was read");
    let mut ids = Vec::new();
    while let Some(Ok(Event::Token(token))) = generation.next() {
        ids.push(token.id);
        let now = generation.fingerprints().unwrap().unwrap();
        let states = model.read_answer(&prompt(40), &ids, None).unwrap();
        assert!(states.compare(&now).unwrap().iter().all(is_equal));
    }
    assert_eq!(ids.len(), 40);
}

#[test]
fn who_does_not_ask_gets_none() {
    let model = tiny(1);
    let (_, finish) = answer(&model, &GenerationRequest { fingerprints: false, ..request(40, 3) });
    assert_eq!(finish.fingerprints, None);
}

#[test]
fn a_server_fingerprints_the_jobs_that_ask_as_if_each_were_alone() {
    let model = tiny(1);
    let mut server = Server::new(Arc::clone(&model), ServingLimits { rows: 40, ..ServingLimits::default() });
    let mut requests: Vec<_> = [5, 90, 200].map(|tokens| request(tokens, 36)).to_vec();
    requests.push(GenerationRequest { fingerprints: false, ..request(61, 36) });
    let tickets: Vec<_> = requests.iter().map(|request| server.admit(request).unwrap().ticket).collect();
    let mut found = vec![None; requests.len()];
    let mut seen_on_the_way = 0;
    while !server.is_idle() {
        for served in server.step() {
            seen_on_the_way += usize::from(server.fingerprints(served.ticket).is_some());
            if let Event::Finished(finish) = served.event.unwrap() {
                let at = tickets.iter().position(|ticket| *ticket == served.ticket).unwrap();
                found[at] = finish.fingerprints;
            }
        }
    }
    let alone: Vec<_> = requests.iter().map(|request| answer(&model, request).1.fingerprints).collect();
    assert_eq!(found, alone);
    assert!(alone[3].is_none() && alone[..3].iter().all(|found| matches!(found, Some(Ok(_)))));
    assert!(seen_on_the_way >= 3 * 35, "only {seen_on_the_way} on the way");
}

#[test]
fn a_beginning_that_was_read_before_leaves_fingerprints_as_they_are() {
    let model = tiny(1);
    for prompt_tokens in [40, 64, 65, 200] {
        let mut server = Server::new(Arc::clone(&model), ServingLimits::default());
        let mut run = |request: &GenerationRequest| {
            server.admit(request).unwrap();
            let mut last = None;
            while !server.is_idle() {
                last = server.step().pop().or(last);
            }
            let served = last.unwrap();
            let Event::Finished(finish) = served.event.unwrap() else { panic!("an answer without an end") };
            (served.meter.cached_tokens, finish.fingerprints)
        };
        let asked = request(prompt_tokens, 3);
        let (_, fresh) = run(&asked);
        let (cached, again) = run(&asked);
        assert_eq!(again, fresh);
        assert_eq!(cached, ((prompt_tokens - CHUNK_ROWS) / CHUNK_ROWS * CHUNK_ROWS) as u64, "of {prompt_tokens} tokens");
        let (cached, none) = run(&GenerationRequest { fingerprints: false, ..asked });
        assert_eq!((cached, none), (((prompt_tokens - 1) / CHUNK_ROWS * CHUNK_ROWS) as u64, None));
    }
}
