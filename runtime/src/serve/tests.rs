use std::collections::BTreeMap;

use super::*;
use crate::device::Device;
use crate::generation::{Finish, FinishReason, Prompt};
use crate::gguf::Gguf;
use crate::sampling::Sampling;
use crate::tiny::tiny_llama;
use crate::tokenizer::TokenId;

pub(super) fn tiny() -> Arc<Model> {
    Arc::new(Model::from_gguf(&Gguf::from_bytes(tiny_llama(1)).unwrap(), &Device::cpu()).unwrap())
}

pub(super) fn request(first: TokenId, prompt: usize, max_tokens: u32) -> GenerationRequest {
    let tokens = (0..prompt as TokenId).map(|at| 3 + (first + at * 7) % 280).collect();
    let sampling = Sampling::new(0.9, 0, 0.95, [first as u8; 32]).unwrap();
    GenerationRequest { sampling, ..GenerationRequest::new(Prompt::Tokens(tokens), max_tokens) }
}

/// What one job gave.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) ids: Vec<TokenId>,
    pub(super) finish: Option<Finish>,
    pub(super) meter: Meter,
}

pub(super) fn take(answers: &mut BTreeMap<Ticket, Answer>, served: Vec<Served>) {
    for Served { ticket, event, meter } in served {
        let answer = answers.entry(ticket).or_default();
        assert!(answer.finish.is_none(), "nothing follows the end");
        answer.meter = meter;
        match event.unwrap() {
            Event::Token(token) => answer.ids.push(token.id),
            Event::Finished(finish) => answer.finish = Some(finish),
        }
    }
}

fn run(server: &mut Server) -> BTreeMap<Ticket, Answer> {
    let mut answers = BTreeMap::new();
    while !server.is_idle() {
        take(&mut answers, server.step());
    }
    answers
}

pub(super) fn alone(model: &Model, request: &GenerationRequest) -> Vec<TokenId> {
    let events = model.start(request).unwrap();
    events
        .filter_map(|event| match event.unwrap() {
            Event::Token(token) => Some(token.id),
            Event::Finished(_) => None,
        })
        .collect()
}

#[test]
fn jobs_in_company_are_answered_as_alone() {
    let model = tiny();
    let mut server = Server::new(Arc::clone(&model), ServingLimits { jobs: 3, rows: 40, ..ServingLimits::default() });
    let requests: Vec<_> = (0..7).map(|at| request(at * 31, 1 + 23 * at as usize, 5 + at)).collect();
    let tickets: Vec<_> = requests.iter().map(|request| server.admit(request).unwrap().ticket).collect();
    let answers = run(&mut server);
    for (ticket, request) in tickets.iter().zip(&requests) {
        let answer = &answers[ticket];
        assert_eq!(answer.ids, alone(&model, request));
        let finish = answer.finish.as_ref().unwrap();
        assert_eq!(finish.usage.output_tokens, answer.ids.len() as u64);
    }
    assert_eq!(server.pool.used(), 0);
}

#[test]
fn a_beginning_that_was_read_is_not_read_again_and_changes_nothing() {
    let model = tiny();
    let mut server = Server::new(Arc::clone(&model), ServingLimits::default());
    let first = request(5, 100, 30);
    server.admit(&first).unwrap();
    run(&mut server);
    let ticket = server.admit(&first).unwrap().ticket;
    let again = run(&mut server).remove(&ticket).unwrap();
    assert_eq!(again.meter.cached_tokens, 96);
    assert_eq!(again.ids, alone(&model, &first));
    assert_eq!(again.finish.unwrap().usage.input_tokens, 100, "cached tokens are paid as read ones are");
    // A chat goes on: the answer is part of the next prompt.
    let mut longer = model.encode_prompt(&first.prompt).unwrap();
    longer.extend(&again.ids);
    let next = GenerationRequest::new(Prompt::Tokens(longer), 4);
    let ticket = server.admit(&next).unwrap().ticket;
    let next_answer = run(&mut server).remove(&ticket).unwrap();
    assert_eq!(next_answer.meter.cached_tokens, 128);
    assert_eq!(next_answer.ids, alone(&model, &next));
}

#[test]
fn without_reuse_nothing_is_remembered() {
    let mut server = Server::new(tiny(), ServingLimits { reuse: false, ..ServingLimits::default() });
    for _ in 0..2 {
        let ticket = server.admit(&request(5, 100, 3)).unwrap().ticket;
        assert_eq!(run(&mut server)[&ticket].meter.cached_tokens, 0);
    }
}

#[test]
fn what_can_never_fit_is_refused_with_the_figures() {
    let model = tiny();
    let page = model.network().page_bytes();
    let mut server = Server::new(model, ServingLimits { cache_bytes: 4 * page, ..ServingLimits::default() });
    let refused = server.admit(&request(0, 100, 30)).unwrap_err();
    assert!(
        matches!(
            refused,
            AdmitError::TooLarge { prompt_tokens: 100, answer_tokens: 30, tokens_max: 129, needed_bytes, available_bytes }
                if needed_bytes == 5 * page && available_bytes == 4 * page
        ),
        "{refused}"
    );
    assert!(server.admit(&request(0, 100, 29)).is_ok(), "129 tokens fit");
    // An answer is cut at the context, and so is what it needs.
    assert!(matches!(server.admit(&request(0, 100, 5_000)), Err(AdmitError::TooLarge { answer_tokens: 1_948, .. })));
    let mut without = Server::new(tiny(), ServingLimits { cache_bytes: page - 1, ..ServingLimits::default() });
    assert!(matches!(without.admit(&request(0, 1, 1)), Err(AdmitError::TooLarge { tokens_max: 0, available_bytes: 0, .. })));
}

#[test]
fn jobs_wait_for_memory_in_the_order_in_which_they_came() {
    let model = tiny();
    let page = model.network().page_bytes();
    let limits = ServingLimits { cache_bytes: 4 * page, waiting: 2, ..ServingLimits::default() };
    let mut server = Server::new(Arc::clone(&model), limits);
    let requests: Vec<_> = (0..3).map(|at| request(at * 50, 60, 10 + at)).collect();
    let mut tickets = vec![server.admit(&requests[0]).unwrap().ticket];
    server.step();
    tickets.extend(requests[1..].iter().map(|request| server.admit(request).unwrap().ticket));
    assert!(matches!(server.admit(&requests[0]), Err(AdmitError::Busy { waiting: 2 })));
    let answers = run(&mut server);
    for (ticket, request) in tickets.iter().zip(&requests) {
        assert_eq!(answers[ticket].finish.as_ref().unwrap().usage.output_tokens, u64::from(request.max_tokens));
    }
}

#[test]
fn who_has_a_place_at_once_does_not_count_as_waiting() {
    let limits = ServingLimits { jobs: 3, waiting: 1, ..ServingLimits::default() };
    let mut server = Server::new(tiny(), limits);
    for at in 0..4 {
        server.admit(&request(at * 50, 20, 5)).unwrap();
    }
    assert!(matches!(server.admit(&request(7, 20, 5)), Err(AdmitError::Busy { .. })), "three are served and one waits");
    let cancelled = request(9, 20, 5);
    let mut none = Server::new(tiny(), ServingLimits { jobs: 1, waiting: 0, ..limits });
    none.admit(&cancelled).unwrap();
    assert!(matches!(none.admit(&request(7, 20, 5)), Err(AdmitError::Busy { .. })), "nobody may wait");
    cancelled.cancel.cancel();
    assert!(none.admit(&request(7, 20, 5)).is_ok(), "who leaves makes room");
}

#[test]
fn limits_tell_how_much_fits() {
    let model = tiny();
    let page = model.network().page_bytes();
    let limits = |pages| ServingLimits { jobs: 5, cache_bytes: pages * page, ..ServingLimits::default() };
    let tokens = [0, 1, 2, 100].map(|pages| limits(pages).tokens_max(&model));
    assert_eq!(tokens, [0, 33, 65, 2_048], "no more than the context");
    let room = |pages, tokens| limits(pages).room(&model, tokens);
    assert_eq!([room(0, 10), room(9, 33), room(9, 34), room(9, 129), room(9, 321), room(9, 1)], [0, 5, 4, 2, 0, 5]);
    assert_eq!(room(64, 9_999), 1, "a job ends at the context");
}

#[test]
fn a_long_prompt_keeps_nobody_waiting() {
    let limits = ServingLimits { rows: 64, ..ServingLimits::default() };
    let mut server = Server::new(tiny(), limits);
    let writer = server.admit(&request(0, 4, 60)).unwrap().ticket;
    while server.seats.iter().all(|seat| !seat.job.is_writing()) {
        server.step();
    }
    let long = server.admit(&request(9, 900, 2)).unwrap().ticket;
    let short = server.admit(&request(77, 20, 2)).unwrap().ticket;
    let mut order = Vec::new();
    let mut written = 0;
    while !order.contains(&long) {
        for served in server.step() {
            written += usize::from(served.ticket == writer);
            if matches!(served.event, Ok(Event::Token(_))) && served.ticket != writer && !order.contains(&served.ticket) {
                order.push(served.ticket);
            }
        }
    }
    assert_eq!(order, [short, long], "the short prompt does not wait for the long one");
    assert!(written >= 25, "{written} tokens were written while 900 were read, 32 at a time");
}

#[test]
fn sixteen_equal_jobs_advance_evenly() {
    let mut server = Server::new(tiny(), ServingLimits { rows: 64, ..ServingLimits::default() });
    let tickets: Vec<_> = (0..16).map(|at| server.admit(&request(at * 17, 48, 20)).unwrap().ticket).collect();
    let mut ends = BTreeMap::new();
    let mut steps = 0;
    while !server.is_idle() {
        steps += 1;
        for served in server.step() {
            if matches!(served.event, Ok(Event::Finished(_))) {
                ends.insert(served.ticket, steps);
            }
        }
    }
    assert_eq!(ends.len(), tickets.len());
    let (first, last) = (ends.values().min().unwrap(), ends.values().max().unwrap());
    assert!(*last <= 2 * first, "the last ends after {last} passes, the first after {first}");
}

#[test]
fn a_cancelled_job_leaves_and_gives_its_room_back() {
    let mut server = Server::new(tiny(), ServingLimits { jobs: 1, ..ServingLimits::default() });
    let (running, waiting) = (request(0, 40, 500), request(1, 40, 500));
    let tickets = [server.admit(&running).unwrap().ticket, server.admit(&waiting).unwrap().ticket];
    let mut answers = BTreeMap::new();
    for _ in 0..4 {
        take(&mut answers, server.step());
    }
    running.cancel.cancel();
    waiting.cancel.cancel();
    take(&mut answers, server.step());
    for ticket in tickets {
        assert_eq!(answers[&ticket].finish.as_ref().unwrap().reason, FinishReason::Cancelled);
    }
    assert!(server.is_idle());
    assert_eq!(server.pool.used(), 0);
    let forgotten = server.admit(&request(0, 40, 500)).unwrap().ticket;
    server.step();
    server.forget(forgotten);
    assert!(server.is_idle());
}
