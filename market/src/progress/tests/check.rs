//! One test for each guard of the requester's check.

use super::*;
use crate::fixtures::CHANNEL;
use crate::ids::{AgreementId, ChannelRef, ContractAddress};
use crate::job::{CHUNK_TOKENS_MAX, VECTOR_WIDTH_MAX};
use crate::keys::OperatorKey;
use crate::offer::Tier;
use crate::penalty::Penalty;
use crate::receipt::ReceiptError;
use crate::time::CLOCK_SKEW_MS;

const INPUT: Digest = Digest([6; 32]);

/// 10 nano-units for the job, 1 a token read, 2 a token written.
fn deal() -> Agreement {
    agreement(Terms { price: price(10, 1_000_000, 2_000_000), first_chunk_ms: 100, chunk_ms: 10, ..terms() })
}

struct Job {
    agreement: Agreement,
    request: JobRequest,
    check: JobCheck,
}

fn job_with(cap: u128) -> Job {
    let agreement = deal();
    let request = request(&agreement);
    let check = JobCheck::new(NOW, &agreement, &request, Amount::from_nano(cap));
    Job { agreement, request, check }
}

/// A job that has received one chunk: tokens 1 and 2 after a prompt of 5.
fn streaming() -> Job {
    let mut job = job_with(1000);
    job.apply(chunk(0, &[1, 2], 2)).unwrap();
    job
}

fn chunk(index: u64, tokens: &[u32], output_tokens: u64) -> CheckEvent {
    let usage = Usage { input_tokens: 5, output_tokens };
    CheckEvent::Frame(ProviderFrame::Chunk(Chunk { index, tokens: tokens.to_vec(), text: "x".into(), usage }))
}

fn done(output_tokens: u64) -> CheckEvent {
    let usage = Usage { input_tokens: 5, output_tokens };
    CheckEvent::Frame(ProviderFrame::Done { reason: FinishReason::Stop, usage })
}

impl Job {
    fn apply(&mut self, event: CheckEvent) -> Result<Vec<CheckEffect>, JobFault> {
        self.check.apply(NOW, event)
    }

    /// The receipt for one chunk, altered.
    fn receipt_with(&self, key: &OperatorKey, alter: impl FnOnce(&mut ChannelRef, &mut JobId, &mut ReceiptBody)) -> CheckEvent {
        let slice = Slice {
            usage: Usage { input_tokens: 5, output_tokens: 2 },
            amount: Amount::from_nano(19),
            total: Amount::from_nano(19),
            input: INPUT,
            output: TokenCommitment::of(&[1, 2]),
            last: false,
        };
        let good = receipt(&self.agreement, &self.request, &slice, 1).receipt;
        let (mut channel, mut id, mut body) = (good.header.channel, good.header.job, good.body);
        alter(&mut channel, &mut id, &mut body);
        let receipt = Receipt::new(channel, 1, id, good.header.cumulative, body).sign(key);
        CheckEvent::Frame(ProviderFrame::Receipt(Box::new(receipt)))
    }

    fn receipt(&self, alter: impl FnOnce(&mut ReceiptBody)) -> CheckEvent {
        self.receipt_with(&key(PROVIDER), |_, _, body| alter(body))
    }
}

#[test]
fn an_honest_job_is_delivered_paid_and_done() {
    let mut job = streaming();
    assert!(!job.check.is_over());
    assert!(matches!(job.apply(job.receipt(|_| ())).unwrap()[..], [CheckEffect::Pay(_)]));
    assert_eq!(job.check.cost(), Amount::from_nano(19));
    job.apply(CheckEvent::VoucherSent).unwrap();
    let last = job.receipt(|b| (b.last, b.amount) = (true, Amount::ZERO));
    job.apply(last).unwrap();
    let end = job.apply(done(2)).unwrap();
    let usage = Usage { input_tokens: 5, output_tokens: 2 };
    assert_eq!(end, [CheckEffect::End(Outcome::Done { reason: FinishReason::Stop, usage, cost: Amount::from_nano(19) })]);
    assert!(job.check.is_over());
    assert_eq!(job.apply(done(2)), Err(JobFault::Over));
    assert_eq!(JobFault::Over.penalty(), Penalty::None);
}

#[test]
fn chunks_have_no_gaps_and_no_doubles() {
    let mut job = streaming();
    assert_eq!(job.apply(chunk(0, &[3], 3)), Err(JobFault::ChunkIndex { want: 1, got: 0 }));
    assert_eq!(job.apply(chunk(2, &[3], 3)), Err(JobFault::ChunkIndex { want: 1, got: 2 }));
    job.apply(chunk(1, &[3], 3)).unwrap();
    assert_eq!(job.check.received().output_tokens, 3);
}

#[test]
fn usage_is_what_was_received() {
    for claimed in [1, 3] {
        let mut job = job_with(1000);
        assert!(matches!(job.apply(chunk(0, &[1, 2], claimed)), Err(JobFault::Usage { .. })));
        assert_eq!(job.check.received(), Usage::default());
    }
    let mut job = streaming();
    let usage = Usage { input_tokens: 6, output_tokens: 3 };
    let grown = Chunk { index: 1, tokens: vec![3], text: String::new(), usage };
    assert!(matches!(job.apply(CheckEvent::Frame(ProviderFrame::Chunk(grown))), Err(JobFault::Usage { .. })), "a prompt does not grow");
}

#[test]
fn a_prompt_has_no_more_tokens_than_bytes_and_a_template() {
    let mut job = job_with(10_000);
    let max = 5 + 512;
    let of = |input_tokens| {
        let usage = Usage { input_tokens, output_tokens: 1 };
        CheckEvent::Frame(ProviderFrame::Chunk(Chunk { index: 0, tokens: vec![1], text: String::new(), usage }))
    };
    assert_eq!(job.apply(of(max + 1)), Err(JobFault::InputTokens { claimed: max + 1, max }));
    job.apply(of(max)).unwrap();
    let mut known = job_with(10_000);
    known.check = known.check.with_known_input(5, INPUT);
    assert_eq!(known.apply(of(6)), Err(JobFault::InputTokens { claimed: 6, max: 5 }));
    known.apply(chunk(0, &[1, 2], 2)).unwrap();
    assert_eq!(known.apply(known.receipt(|b| b.input = Digest([0; 32]))), Err(JobFault::Commitment("input")));
    known.apply(known.receipt(|_| ())).unwrap();
}

#[test]
fn chunks_are_bounded_and_never_empty() {
    let tokens = CHUNK_TOKENS_MAX + 1;
    assert_eq!(job_with(1000).apply(chunk(0, &vec![0; tokens], tokens as u64)), Err(JobFault::ChunkSize { tokens }));
    let largest = CHUNK_TOKENS_MAX as u64;
    let too_many = JobFault::TooManyTokens { got: largest, max: 1000 };
    assert_eq!(job_with(1000).apply(chunk(0, &[0; CHUNK_TOKENS_MAX], largest)), Err(too_many), "its size is fine");
    let usage = Usage { input_tokens: 5, output_tokens: 0 };
    let empty = Chunk { index: 0, tokens: vec![], text: String::new(), usage };
    assert_eq!(job_with(1000).apply(CheckEvent::Frame(ProviderFrame::Chunk(empty))), Err(JobFault::ChunkSize { tokens: 0 }));
    job_with(1000).apply(chunk(0, &[], 0)).unwrap();
}

#[test]
fn no_more_is_written_than_ordered() {
    let mut job = job_with(100_000);
    job.apply(chunk(0, &[0; 999], 999)).unwrap();
    assert_eq!(job.apply(chunk(1, &[0; 2], 1001)), Err(JobFault::TooManyTokens { got: 1001, max: 1000 }));
    job.apply(chunk(1, &[0], 1000)).unwrap();
}

#[test]
fn each_statement_of_a_receipt_is_checked() {
    let check = |alter: fn(&mut ReceiptBody), fault: JobFault| {
        let mut job = streaming();
        assert_eq!(job.apply(job.receipt(alter)).unwrap_err(), fault);
        assert_eq!(job.check.cost(), Amount::ZERO);
        job.apply(job.receipt(|_| ())).unwrap();
    };
    let received = Usage { input_tokens: 5, output_tokens: 2 };
    let usage = |claimed| JobFault::Usage { claimed, received };
    let amount = |asked| JobFault::Amount { asked: Amount::from_nano(asked), price: Amount::from_nano(19) };
    check(|b| b.agreement = AgreementId([0; 32]), JobFault::Foreign("agreement"));
    check(|b| b.usage.input_tokens = 6, usage(Usage { input_tokens: 6, ..received }));
    check(|b| b.usage.input_tokens = 4, usage(Usage { input_tokens: 4, ..received }));
    check(|b| b.usage.output_tokens = 3, usage(Usage { output_tokens: 3, ..received }));
    check(|b| b.usage.output_tokens = 1, usage(Usage { output_tokens: 1, ..received }));
    check(|b| b.amount = Amount::from_nano(20), amount(20));
    check(|b| b.amount = Amount::from_nano(18), amount(18));
    check(|b| b.output = TokenCommitment::of(&[1, 3]), JobFault::Commitment("output"));
    check(|b| b.seed = Digest([0; 32]), JobFault::Commitment("seed"));
    check(|b| b.work = Digest([1; 32]), JobFault::Commitment("work"));
    check(|b| b.issued_at = NOW.plus_ms(CLOCK_SKEW_MS + 1), JobFault::FromTheFuture { ahead_ms: CLOCK_SKEW_MS + 1 });
    assert_eq!(JobFault::FromTheFuture { ahead_ms: 1 }.penalty(), Penalty::Low);
}

#[test]
fn a_receipt_is_about_this_job_in_this_channel_by_this_provider() {
    let mut job = streaming();
    let other = job.receipt_with(&key(PROVIDER), |channel, _, _| channel.address = ContractAddress([0; 32]));
    assert_eq!(job.apply(other), Err(JobFault::Foreign("channel")));
    let other = job.receipt_with(&key(PROVIDER), |_, id, _| *id = JobId([0; 16]));
    assert_eq!(job.apply(other), Err(JobFault::Foreign("job")));
    let other = job.receipt_with(&key(REQUESTER), |_, _, _| ());
    assert!(matches!(job.apply(other), Err(JobFault::Receipt(ReceiptError::Signature(_)))));
    assert_eq!(job.agreement.terms().channel, CHANNEL);
}

#[test]
fn the_body_is_the_one_that_was_signed() {
    let mut job = streaming();
    let CheckEvent::Frame(ProviderFrame::Receipt(mut receipt)) = job.receipt(|_| ()) else { panic!() };
    receipt.receipt.body.previous = Digest([9; 32]);
    let fault = job.apply(CheckEvent::Frame(ProviderFrame::Receipt(receipt))).unwrap_err();
    assert_eq!((fault.clone(), fault.penalty()), (JobFault::Receipt(ReceiptError::Body), Penalty::Ban));
}

#[test]
fn the_input_commitment_holds_for_the_whole_job() {
    let mut job = streaming();
    job.apply(job.receipt(|_| ())).unwrap();
    let last = job.receipt(|b| (b.last, b.amount, b.input) = (true, Amount::ZERO, Digest([0; 32])));
    assert_eq!(job.apply(last), Err(JobFault::Commitment("input")));
}

#[test]
fn other_tiers_commit_to_their_work() {
    let agreement = agreement(Terms { tier: Tier::Exact, price: price(10, 1_000_000, 2_000_000), ..terms() });
    let request = request(&agreement);
    let check = JobCheck::new(NOW, &agreement, &request, Amount::MAX);
    let mut job = Job { agreement, request, check };
    job.apply(chunk(0, &[1, 2], 2)).unwrap();
    job.apply(job.receipt(|b| b.work = Digest([1; 32]))).unwrap();
}

#[test]
fn the_cap_is_kept() {
    let fault = JobFault::AboveCap { cost: Amount::from_nano(19), cap: Amount::from_nano(18) };
    for (cap, fine) in [(18, Err(fault)), (19, Ok(()))] {
        let mut job = job_with(cap);
        job.apply(chunk(0, &[1, 2], 2)).unwrap();
        assert_eq!(job.apply(job.receipt(|_| ())).map(drop), fine);
    }
}

#[test]
fn a_receipt_is_for_some_work_or_the_last() {
    let mut job = streaming();
    job.apply(job.receipt(|_| ())).unwrap();
    assert_eq!(job.apply(job.receipt(|b| b.amount = Amount::ZERO)), Err(JobFault::EmptySlice));
    let mut job = job_with(1000);
    let prompt_only = |b: &mut ReceiptBody| {
        (b.usage.output_tokens, b.amount, b.output) = (0, Amount::from_nano(15), TokenCommitment::of(&[]));
    };
    assert_eq!(job.apply(job.receipt(prompt_only)), Err(JobFault::EmptySlice), "nobody pays for a prompt before the first token");
    let last = job.receipt(|b| {
        prompt_only(b);
        b.last = true;
    });
    job.apply(last).unwrap();
    assert_eq!(job.check.received(), Usage { input_tokens: 5, output_tokens: 0 });
    let mut job = job_with(1000);
    let padded = job.receipt(|b| {
        prompt_only(b);
        (b.last, b.usage.input_tokens) = (true, 5 + 513);
    });
    assert_eq!(job.apply(padded), Err(JobFault::InputTokens { claimed: 518, max: 517 }));
}

#[test]
fn nothing_follows_the_final_receipt_but_done() {
    let mut job = streaming();
    let last = job.receipt(|b| b.last = true);
    job.apply(last.clone()).unwrap();
    assert_eq!(job.apply(last), Err(JobFault::AfterTheEnd("a receipt")));
    assert_eq!(job.apply(chunk(1, &[3], 3)), Err(JobFault::AfterTheEnd("a chunk")));
    assert!(matches!(job.apply(done(3)), Err(JobFault::Usage { .. })));
    job.apply(done(2)).unwrap();
}

#[test]
fn done_needs_a_final_receipt() {
    let mut job = streaming();
    assert_eq!(job.apply(done(2)), Err(JobFault::NoFinalReceipt));
    job.apply(job.receipt(|_| ())).unwrap();
    assert_eq!(job.apply(done(2)), Err(JobFault::NoFinalReceipt));
    let mut job = job_with(1000);
    job.apply(chunk(0, &[], 0)).unwrap();
    assert_eq!(job.apply(done(0)), Err(JobFault::NoFinalReceipt));
    let untouched = CheckEvent::Frame(ProviderFrame::Done { reason: FinishReason::Cancelled, usage: Usage::default() });
    job_with(1000).apply(untouched).unwrap();
    assert!(matches!(job_with(1000).apply(done(0)), Err(JobFault::Usage { .. })));
}

#[test]
fn a_stopped_job_says_what_was_received_and_what_is_owed() {
    let mut job = streaming();
    job.apply(job.receipt(|_| ())).unwrap();
    job.apply(chunk(1, &[3], 3)).unwrap();
    let end = job.apply(CheckEvent::Frame(ProviderFrame::Stopped(StopReason::Shutdown))).unwrap();
    let received = Usage { input_tokens: 5, output_tokens: 3 };
    assert_eq!(end, [CheckEffect::End(Outcome::Stopped { reason: StopReason::Shutdown, received, cost: Amount::from_nano(19) })]);
    assert!(job.check.is_over());
}

#[test]
fn deadlines_run_while_it_is_the_providers_turn() {
    let at = |ms| NOW.plus_ms(ms);
    let mut job = job_with(1000);
    assert_eq!(job.check.poll_timeout().unwrap().0, at(100));
    assert_eq!(job.check.apply(at(99), CheckEvent::Elapsed), Ok(vec![]));
    let fault = job.check.apply(at(100), CheckEvent::Elapsed).unwrap_err();
    assert_eq!((fault.clone(), fault.penalty()), (JobFault::TooSlow { waited_ms: 100 }, Penalty::Low));
    job.check.apply(at(50), chunk(0, &[1, 2], 2)).unwrap();
    assert_eq!(job.check.poll_timeout().unwrap().0, at(60));
    job.check.apply(at(55), chunk(1, &[], 2)).unwrap();
    assert_eq!(job.check.poll_timeout().unwrap().0, at(60), "text alone is no progress");
    let bill = job.receipt(|_| ());
    job.check.apply(at(58), bill).unwrap();
    assert_eq!(job.check.poll_timeout(), None, "it is our turn to pay");
    job.check.apply(at(58), chunk(2, &[3], 3)).unwrap();
    let bill = job.receipt(|b| {
        (b.usage.output_tokens, b.amount, b.output) = (3, Amount::from_nano(2), TokenCommitment::of(&[1, 2, 3]));
    });
    job.check.apply(at(58), bill).unwrap();
    job.check.apply(at(90), CheckEvent::VoucherSent).unwrap();
    assert_eq!(job.check.poll_timeout(), None, "one of two is paid");
    job.check.apply(at(91), CheckEvent::VoucherSent).unwrap();
    assert_eq!(job.check.poll_timeout().unwrap().0, at(101));
    job.check.apply(at(95), CheckEvent::CancelSent).unwrap();
    assert_eq!(job.check.poll_timeout().unwrap().0, at(105));
}

/// An order of three texts of at most five tokens each.
fn embedding() -> Job {
    let agreement = deal();
    let request = JobRequest { work: embed(3), ..request(&agreement) };
    let check = JobCheck::new(NOW, &agreement, &request, Amount::from_nano(1000));
    Job { agreement, request, check }
}

fn frame(index: u64, vectors: Vec<Vector>, input_tokens: u64) -> CheckEvent {
    CheckEvent::Frame(ProviderFrame::Vectors(Vectors { index, vectors, usage: Usage { input_tokens, output_tokens: 0 } }))
}

/// The receipt for the first so many vectors, altered.
fn vectors_receipt(job: &Job, count: u16, input_tokens: u64, amount: u128, alter: impl FnOnce(&mut ReceiptBody)) -> CheckEvent {
    job.receipt(|body| {
        body.usage = Usage { input_tokens, output_tokens: 0 };
        (body.amount, body.output) = (Amount::from_nano(amount), VectorCommitment::of(&vectors(0, count)));
        alter(body);
    })
}

fn done_reading(input_tokens: u64, reason: FinishReason) -> CheckEvent {
    CheckEvent::Frame(ProviderFrame::Done { reason, usage: Usage { input_tokens, output_tokens: 0 } })
}

#[test]
fn an_honest_order_of_vectors_is_delivered_paid_and_done() {
    let mut job = embedding();
    let delivered = job.apply(frame(0, vectors(0, 2), 8)).unwrap();
    assert!(matches!(&delivered[..], [CheckEffect::DeliverVectors(given)] if given.vectors == vectors(0, 2)));
    let receipt = vectors_receipt(&job, 2, 8, 18, |_| ());
    assert!(matches!(job.apply(receipt).unwrap()[..], [CheckEffect::Pay(_)]));
    job.apply(CheckEvent::VoucherSent).unwrap();
    job.apply(frame(1, vectors(2, 1), 13)).unwrap();
    let last = vectors_receipt(&job, 3, 13, 5, |body| body.last = true);
    job.apply(last).unwrap();
    let end = job.apply(done_reading(13, FinishReason::Stop)).unwrap();
    let usage = Usage { input_tokens: 13, output_tokens: 0 };
    assert_eq!(end, [CheckEffect::End(Outcome::Done { reason: FinishReason::Stop, usage, cost: Amount::from_nano(23) })]);
}

#[test]
fn each_statement_about_vectors_is_checked() {
    let check = |event: CheckEvent, fault: JobFault| {
        let mut job = embedding();
        assert_eq!(job.apply(event), Err(fault.clone()));
        assert_eq!((fault.penalty(), job.check.received()), (Penalty::Ban, Usage::default()));
        job.apply(frame(0, vectors(0, 3), 9)).unwrap();
    };
    check(chunk(0, &[1], 1), JobFault::OtherWork("tokens"));
    check(frame(1, vectors(0, 1), 3), JobFault::ChunkIndex { want: 0, got: 1 });
    check(frame(0, vectors(0, 0), 0), JobFault::VectorCount { got: 0, left: 3 });
    check(frame(0, vectors(0, 4), 9), JobFault::VectorCount { got: 4, left: 3 });
    check(frame(0, vectors(0, 2), 11), JobFault::InputTokens { claimed: 11, max: 10 });
    let usage = |input_tokens, output_tokens| Usage { input_tokens, output_tokens };
    check(frame(0, vectors(0, 2), 1), JobFault::Usage { claimed: usage(1, 0), received: usage(0, 0) });
    let written = Vectors { index: 0, vectors: vectors(0, 1), usage: usage(3, 1) };
    let wrong = JobFault::Usage { claimed: usage(3, 1), received: usage(0, 0) };
    check(CheckEvent::Frame(ProviderFrame::Vectors(written)), wrong);
    let other = vec![Vector::new(&[1.0; 3]), Vector::new(&[1.0; 2])];
    check(frame(0, other, 6), JobFault::VectorWidth { got: 2, want: 3 });
    let wide = vec![Vector::new(&vec![1.0; VECTOR_WIDTH_MAX + 1])];
    check(frame(0, wide, 3), JobFault::VectorWidth { got: VECTOR_WIDTH_MAX + 1, want: VECTOR_WIDTH_MAX });
    check(frame(0, vec![Vector::new(&[f32::NAN; 3])], 3), JobFault::NotFinite);
    assert_eq!(streaming().apply(frame(1, vectors(0, 1), 6)), Err(JobFault::OtherWork("vectors")));
}

#[test]
fn a_frame_of_vectors_is_bounded() {
    let agreement = deal();
    let request = JobRequest { work: embed(99), ..request(&agreement) };
    let check = JobCheck::new(NOW, &agreement, &request, Amount::from_nano(1000));
    let mut job = Job { agreement, request, check };
    let wide = |count| vec![Vector::new(&vec![1.0; VECTOR_WIDTH_MAX]); count];
    assert_eq!(job.apply(frame(0, wide(17), 17)), Err(JobFault::VectorBytes { bytes: 17 * VECTOR_WIDTH_MAX * 4 }));
    job.apply(frame(0, wide(16), 16)).unwrap();
    assert_eq!(job.apply(frame(1, vectors(0, 1), 17)), Err(JobFault::VectorWidth { got: 3, want: VECTOR_WIDTH_MAX }), "as before");
}

#[test]
fn a_receipt_of_vectors_pays_for_those_that_came() {
    let check = |count, input_tokens, amount, alter: fn(&mut ReceiptBody), fault: JobFault| {
        let mut job = embedding();
        job.apply(frame(0, vectors(0, 2), 8)).unwrap();
        let receipt = vectors_receipt(&job, count, input_tokens, amount, alter);
        assert_eq!(job.apply(receipt), Err(fault));
    };
    let received = Usage { input_tokens: 8, output_tokens: 0 };
    check(3, 8, 18, |_| (), JobFault::Commitment("output"));
    check(2, 9, 19, |_| (), JobFault::Usage { claimed: Usage { input_tokens: 9, output_tokens: 0 }, received });
    check(2, 8, 19, |_| (), JobFault::Amount { asked: Amount::from_nano(19), price: Amount::from_nano(18) });
    check(2, 8, 18, |body| body.seed = Digest([8; 32]), JobFault::Commitment("seed"));
    let mut job = embedding();
    job.apply(frame(0, vectors(0, 2), 8)).unwrap();
    let receipt = vectors_receipt(&job, 2, 8, 18, |_| ());
    job.apply(receipt).unwrap();
    let again = vectors_receipt(&job, 2, 8, 0, |_| ());
    assert_eq!(job.apply(again), Err(JobFault::EmptySlice));
    let other = vectors_receipt(&job, 2, 8, 0, |body| (body.last, body.input) = (true, Digest([0; 32])));
    assert_eq!(job.apply(other), Err(JobFault::Commitment("input")));
}

#[test]
fn an_order_of_vectors_is_done_when_every_text_has_one() {
    let ended = |reason| {
        let mut job = embedding();
        job.apply(frame(0, vectors(0, 2), 8)).unwrap();
        let last = vectors_receipt(&job, 2, 8, 18, |body| body.last = true);
        job.apply(last).unwrap();
        job.apply(done_reading(8, reason))
    };
    assert_eq!(ended(FinishReason::Stop), Err(JobFault::Unfinished { got: 2, want: 3 }));
    assert!(ended(FinishReason::Length).is_ok() && ended(FinishReason::Cancelled).is_ok());
    assert_eq!(embedding().apply(done_reading(0, FinishReason::Stop)), Err(JobFault::Unfinished { got: 0, want: 3 }));
}
