use std::collections::BTreeMap;

use super::super::tests::{Answer, alone, request, take, tiny};
use super::*;
use crate::device::Device;
use crate::engine::TensorTooLarge;
use crate::generation::GenerationRequest;
use crate::gguf::Gguf;
use crate::model::Model;
use crate::serve::{ServingLimits, Ticket};
use crate::testing::{Gate, LostAt, RoomFor};
use crate::tiny::tiny_llama;

fn server(gate: Arc<dyn Gate>, limits: ServingLimits) -> Server {
    let model = Model::from_gguf(&Gguf::from_bytes(tiny_llama(1)).unwrap(), &Device::cpu()).unwrap();
    Server::new(Arc::new(model.behind(gate)), limits)
}

/// How every job ended: what it gave, or how it failed.
fn run(server: &mut Server) -> (BTreeMap<Ticket, Answer>, Vec<(Ticket, GenerateError)>) {
    let (mut answers, mut failed) = (BTreeMap::new(), Vec::new());
    while !server.is_idle() {
        let (good, bad): (Vec<_>, Vec<_>) = server.step().into_iter().partition(|served| served.event.is_ok());
        take(&mut answers, good);
        failed.extend(bad.into_iter().filter_map(|served| Some((served.ticket, served.event.err()?))));
    }
    (answers, failed)
}

#[test]
fn where_memory_runs_out_fewer_go_on_at_once_and_all_are_answered_as_ever() {
    let mut server = server(Arc::new(RoomFor(2)), ServingLimits::default());
    let requests: Vec<GenerationRequest> =
        [(3, 40), (60, 200), (9, 80)].map(|(first, prompt)| GenerationRequest { fingerprints: true, ..request(first, prompt, 30) }).into();
    let tickets: Vec<_> = requests.iter().map(|request| server.admit(request).unwrap().ticket).collect();
    let (answers, failed) = run(&mut server);
    assert!(failed.is_empty(), "{failed:?}");
    for (ticket, request) in tickets.iter().zip(&requests) {
        let (answer, model) = (&answers[ticket], tiny());
        assert_eq!(answer.ids, alone(&model, request));
        let finish = answer.finish.as_ref().unwrap();
        assert_eq!(finish.usage.input_tokens, model.encode_prompt(&request.prompt).unwrap().len() as u64, "each token is metered once");
    }
    assert!(!server.is_lost() && server.pool.used() == 0);
    assert_eq!(server.places, 2);
}

#[test]
fn a_job_that_is_read_anew_in_the_middle_of_its_answer_goes_on_where_it_was() {
    let mut server = server(Arc::new(RoomFor(1)), ServingLimits::default());
    let long = GenerationRequest { fingerprints: true, ..request(3, 70, 60) };
    let first = server.admit(&long).unwrap().ticket;
    let mut answers = BTreeMap::new();
    for _ in 0..20 {
        take(&mut answers, server.step());
    }
    let written = answers[&first].ids.len();
    assert!((10..60).contains(&written), "{written}");
    let newcomer = server.admit(&request(90, 200, 5)).unwrap().ticket;
    let (rest, failed) = run(&mut server);
    assert!(failed.is_empty() && rest[&newcomer].finish.is_some(), "{failed:?}");
    let ids = [&answers[&first].ids[..], &rest[&first].ids].concat();
    assert_eq!(ids, alone(&tiny(), &long));
    // Its fingerprints are those of an answer that was never interrupted.
    let mut undisturbed = Server::new(tiny(), ServingLimits::default());
    let ticket = undisturbed.admit(&long).unwrap().ticket;
    let (whole, _) = run(&mut undisturbed);
    let fingerprints = |answer: &Answer| answer.finish.as_ref().unwrap().fingerprints.clone().unwrap().unwrap();
    assert_eq!(fingerprints(&rest[&first]), fingerprints(&whole[&ticket]));
}

#[test]
fn one_more_is_tried_when_enough_jobs_have_ended_well() {
    let mut server = server(Arc::new(RoomFor(2)), ServingLimits { jobs: 3, ..ServingLimits::default() });
    let mut most = Vec::new();
    for _ in 0..GOOD_ENDS {
        let tickets: Vec<_> = (0..3).map(|at| server.admit(&request(at * 11, 20, 2)).unwrap().ticket).collect();
        let (answers, failed) = run(&mut server);
        assert!(failed.is_empty() && tickets.iter().all(|ticket| answers[ticket].finish.is_some()));
        most.push(server.places);
    }
    assert_eq!(most[0], 2);
    assert!(most.contains(&3), "a third place came back, {most:?}");
    assert_eq!(most.iter().filter(|places| **places > 3).count(), 0);
}

#[test]
fn a_job_that_does_not_even_fit_alone_ends_and_the_next_one_may_be_smaller() {
    /// Memory for so many tokens in a pass.
    #[derive(Debug)]
    struct Tokens(usize);
    impl Gate for Tokens {
        fn pass(&self, tokens: usize, _: usize) -> Result<(), EngineError> {
            if tokens > self.0 { Err(EngineError::OutOfMemory) } else { Ok(()) }
        }
    }
    let mut server = server(Arc::new(Tokens(50)), ServingLimits { jobs: 1, ..ServingLimits::default() });
    let (large, small) = (server.admit(&request(1, 60, 4)).unwrap().ticket, server.admit(&request(2, 40, 4)).unwrap().ticket);
    let (answers, failed) = run(&mut server);
    assert!(matches!(failed[..], [(ticket, GenerateError::NoMemory)] if ticket == large));
    assert!(answers[&small].finish.is_some());
}

#[test]
fn a_tensor_above_the_limits_ends_the_job_that_is_longest() {
    /// No tensors for more than so many tokens.
    #[derive(Debug)]
    struct Limit(usize);
    impl Gate for Limit {
        fn pass(&self, tokens: usize, _: usize) -> Result<(), EngineError> {
            Ok(TensorTooLarge::check(tokens as u64, self.0 as u64)?)
        }
    }
    let mut server = server(Arc::new(Limit(100)), ServingLimits::default());
    let (long, short) = (server.admit(&request(1, 300, 4)).unwrap().ticket, server.admit(&request(2, 20, 4)).unwrap().ticket);
    let (answers, failed) = run(&mut server);
    assert!(matches!(failed[..], [(ticket, GenerateError::NoMemory)] if ticket == long));
    assert!(answers[&short].finish.is_some());
}

#[test]
fn a_lost_device_ends_jobs_that_ran_and_those_that_waited_each_in_its_way() {
    let mut server = server(LostAt::new(2), ServingLimits { jobs: 2, ..ServingLimits::default() });
    let tickets: Vec<_> = (0..4).map(|at| server.admit(&request(at * 30, 20, 50)).unwrap().ticket).collect();
    let (answers, failed) = run(&mut server);
    assert!(server.is_lost() && answers.values().all(|answer| answer.finish.is_none()));
    let of = |ticket: &Ticket| failed.iter().find(|(its, _)| its == ticket).map(|(_, error)| error);
    assert!(tickets[..2].iter().all(|ticket| matches!(of(ticket), Some(GenerateError::Lost))));
    assert!(tickets[2..].iter().all(|ticket| matches!(of(ticket), Some(GenerateError::NotBegun))));
}
