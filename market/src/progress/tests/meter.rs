//! One test for each guard of the provider's meter.

use super::*;
use crate::job::{CHUNK_TOKENS_MAX, VECTOR_WIDTH_MAX, VECTORS_BYTES_MAX};

/// 10 nano-units for the job, 1 a token read, 2 a token written; slices of 4 tokens.
fn terms_with(cap: u128, float: u128, output_max: OutputMax) -> MeterTerms {
    MeterTerms { price: price(10, 1_000_000, 2_000_000), cap: nano(cap), slice_tokens: 4, float: nano(float), output_max }
}

fn meter_with(cap: u128, float: u128) -> JobMeter {
    JobMeter::new(terms_with(cap, float, OutputMax::Tokens(100)))
}

fn running(cap: u128, float: u128) -> JobMeter {
    let mut meter = meter_with(cap, float);
    assert_eq!(meter.apply(NOW, MeterEvent::InputRead { input_tokens: 5, input: Digest([6; 32]) }), Ok(vec![]));
    meter
}

fn produced(tokens: &[u32]) -> MeterEvent {
    MeterEvent::Produced { tokens: tokens.to_vec(), text: "x".into() }
}

fn slice(effects: &[MeterEffect]) -> Slice {
    effects.iter().find_map(|e| if let MeterEffect::IssueReceipt(slice) = e { Some(*slice) } else { None }).unwrap()
}

fn nano(n: u128) -> Amount {
    Amount::from_nano(n)
}

#[test]
fn the_first_receipt_covers_the_prompt_and_the_first_slice() {
    let mut meter = running(1000, 1000);
    let effects = meter.apply(NOW, produced(&[1, 2, 3])).unwrap();
    let chunk = Chunk { index: 0, tokens: vec![1, 2, 3], text: "x".into(), usage: Usage { input_tokens: 5, output_tokens: 3 } };
    assert_eq!(effects, [MeterEffect::SendChunk(chunk)]);
    let effects = meter.apply(NOW, produced(&[4])).unwrap();
    let usage = Usage { input_tokens: 5, output_tokens: 4 };
    let first =
        Slice { usage, amount: nano(23), total: nano(23), input: Digest([6; 32]), output: TokenCommitment::of(&[1, 2, 3, 4]), last: false };
    let chunk = Chunk { index: 1, tokens: vec![4], text: "x".into(), usage };
    assert_eq!(effects, [MeterEffect::SendChunk(chunk), MeterEffect::IssueReceipt(first)]);
    assert_eq!((meter.usage(), meter.cost(), meter.unpaid()), (usage, nano(23), nano(23)));
}

#[test]
fn a_prompt_that_the_cap_does_not_pay_for_is_refused() {
    let mut meter = meter_with(14, 1000);
    let effects = meter.apply(NOW, MeterEvent::InputRead { input_tokens: 5, input: Digest([6; 32]) }).unwrap();
    assert_eq!(effects, [MeterEffect::Stop(StopReason::CapTooSmall { cost: nano(15), left: nano(14) })]);
    assert_eq!(meter.state(), MeterState::Over);
    let mut meter = meter_with(15, 1000);
    assert_eq!(meter.apply(NOW, MeterEvent::InputRead { input_tokens: 5, input: Digest([6; 32]) }), Ok(vec![]));
    assert_eq!(meter.output_tokens_left(), 0);
}

#[test]
fn tokens_beyond_the_cap_are_not_sent_and_end_the_job() {
    let mut meter = running(19, 1000);
    assert_eq!(meter.output_tokens_left(), 2);
    let effects = meter.apply(NOW, produced(&[1, 2, 3])).unwrap();
    let usage = Usage { input_tokens: 5, output_tokens: 0 };
    assert_eq!(effects.last(), Some(&MeterEffect::Finish { reason: FinishReason::Length, usage }));
    let last = slice(&effects);
    assert_eq!((last.total, last.last, effects.len()), (nano(15), true, 2));
    let mut meter = running(19, 1000);
    meter.apply(NOW, produced(&[1, 2])).unwrap();
    assert_eq!((meter.cost(), meter.output_tokens_left()), (nano(19), 0), "up to the cap itself");
}

#[test]
fn tokens_beyond_the_order_end_the_job() {
    let mut meter = running(100_000, 100_000);
    let effects = meter.apply(NOW, produced(&[0; 101])).unwrap();
    assert!(matches!(effects[..], [MeterEffect::IssueReceipt(_), MeterEffect::Finish { reason: FinishReason::Length, .. }]));
    let mut meter = running(100_000, 100_000);
    assert_eq!(meter.output_tokens_left(), 100);
    meter.apply(NOW, produced(&[0; 100])).unwrap();
    assert_eq!((meter.state(), meter.output_tokens_left()), (MeterState::Running, 0));
}

#[test]
fn unpaid_work_above_the_float_is_receipted_and_pauses_until_it_is_paid() {
    let mut meter = running(1000, 16);
    let effects = meter.apply(NOW, produced(&[1])).unwrap();
    assert!(matches!(effects[..], [MeterEffect::SendChunk(_), MeterEffect::IssueReceipt(Slice { last: false, .. }), MeterEffect::Pause]));
    assert_eq!(meter.apply(NOW, produced(&[2])), Err(MeterReject::Paused));
    assert_eq!(meter.usage().output_tokens, 1, "what was rejected is not counted");
    meter.apply(NOW, MeterEvent::ReceiptSigned { sequence: 7 }).unwrap();
    assert_eq!(meter.apply(NOW, MeterEvent::VoucherAccepted { sequence: 6 }), Ok(vec![]), "pays for others");
    assert_eq!(meter.apply(NOW, MeterEvent::VoucherAccepted { sequence: 7 }), Ok(vec![MeterEffect::Resume]));
    assert_eq!((meter.unpaid(), meter.state()), (Amount::ZERO, MeterState::Running));
    let mut meter = running(1000, 17);
    let effects = meter.apply(NOW, produced(&[1])).unwrap();
    assert_eq!(effects.len(), 1, "the float itself may be unpaid");
    let mut meter = running(1000, 23);
    meter.apply(NOW, produced(&[0; 4])).unwrap();
    assert_eq!((meter.unpaid(), meter.state()), (nano(23), MeterState::Running), "and receipted");
}

#[test]
fn text_alone_is_sent_and_never_receipted() {
    let mut meter = running(1000, 0);
    let effects = meter.apply(NOW, produced(&[])).unwrap();
    assert!(matches!(effects[..], [MeterEffect::SendChunk(_)]), "a pause without a receipt would never end");
    let nothing = MeterEvent::Produced { tokens: vec![], text: String::new() };
    assert_eq!(meter.apply(NOW, nothing), Ok(vec![]));
}

#[test]
fn too_many_unpaid_receipts_pause_work_that_costs_nothing() {
    let mut meter = JobMeter::new(MeterTerms {
        price: price(0, 0, 0),
        cap: nano(1),
        slice_tokens: 1,
        float: nano(1),
        output_max: OutputMax::Tokens(u32::MAX),
    });
    meter.apply(NOW, MeterEvent::InputRead { input_tokens: 1, input: Digest([0; 32]) }).unwrap();
    for sequence in 1..=RECEIPTS_UNPAID_MAX as u64 {
        assert_eq!(meter.state(), MeterState::Running);
        meter.apply(NOW, produced(&[1])).unwrap();
        meter.apply(NOW, MeterEvent::ReceiptSigned { sequence }).unwrap();
    }
    assert_eq!(meter.state(), MeterState::Paused { since: NOW });
    assert_eq!(meter.apply(NOW, MeterEvent::VoucherAccepted { sequence: 1 }), Ok(vec![MeterEffect::Resume]));
}

#[test]
fn a_pause_without_a_voucher_stops_the_job_after_half_a_minute() {
    let mut meter = running(1000, 0);
    meter.apply(NOW, produced(&[1])).unwrap();
    let due = NOW.plus_ms(VOUCHER_WAIT_MS);
    assert_eq!(meter.poll_timeout().unwrap().0, due);
    assert_eq!(meter.apply(Timestamp(due.0 - 1), MeterEvent::Elapsed), Ok(vec![]));
    assert_eq!(meter.apply(due, MeterEvent::Elapsed), Ok(vec![MeterEffect::Stop(StopReason::Unpaid { unpaid: nano(17) })]));
    assert_eq!(meter.poll_timeout(), None);
    assert!(meter.apply(due, MeterEvent::VoucherAccepted { sequence: 1 }).is_err());
}

#[test]
fn the_last_voucher_closes_the_job_and_so_does_its_absence() {
    let end = |events: &[MeterEvent], now| {
        let mut meter = running(1000, 1000);
        meter.apply(NOW, produced(&[1])).unwrap();
        let effects = meter.apply(NOW, MeterEvent::Finished(FinishReason::Stop)).unwrap();
        assert!(slice(&effects).last);
        assert_eq!(meter.poll_timeout().unwrap().0, NOW.plus_ms(VOUCHER_WAIT_MS));
        let last = events.iter().fold(effects, |_, event| meter.apply(now, event.clone()).unwrap());
        (last, meter.state())
    };
    let signed = MeterEvent::ReceiptSigned { sequence: 3 };
    let paid = MeterEvent::VoucherAccepted { sequence: 3 };
    assert_eq!(end(&[signed.clone(), paid.clone()], NOW), (vec![MeterEffect::Close { unpaid: Amount::ZERO }], MeterState::Over));
    assert_eq!(end(&[paid], NOW), (vec![], MeterState::Finishing { since: NOW }), "the receipt is not signed yet");
    let early = MeterEvent::VoucherAccepted { sequence: 2 };
    assert_eq!(end(&[signed, early], NOW), (vec![], MeterState::Finishing { since: NOW }));
    let late = NOW.plus_ms(VOUCHER_WAIT_MS);
    assert_eq!(end(&[MeterEvent::Elapsed], late), (vec![MeterEffect::Close { unpaid: nano(17) }], MeterState::Over));
}

#[test]
fn a_cancelled_job_is_receipted_up_to_where_it_came() {
    let mut meter = running(1000, 1000);
    meter.apply(NOW, produced(&[1])).unwrap();
    let effects = meter.apply(NOW, MeterEvent::Cancelled).unwrap();
    let last = slice(&effects);
    assert_eq!((last.last, last.total), (true, nano(17)));
    assert!(matches!(effects[1], MeterEffect::Finish { reason: FinishReason::Cancelled, .. }));
    assert_eq!(meter.apply(NOW, MeterEvent::Cancelled), Ok(vec![]));
    assert!(meter.apply(NOW, MeterEvent::Finished(FinishReason::Stop)).is_err(), "there is one final receipt");

    let mut meter = meter_with(1000, 1000);
    let effects = meter.apply(NOW, MeterEvent::Cancelled).unwrap();
    let usage = Usage::default();
    assert_eq!(effects, [MeterEffect::Finish { reason: FinishReason::Cancelled, usage }, MeterEffect::Close { unpaid: Amount::ZERO }]);
}

#[test]
fn without_a_receipt_not_even_the_end_of_an_answer_is_told() {
    let refused = || MeterEvent::ReceiptRefused(StopReason::Internal);
    let stop = vec![MeterEffect::Stop(StopReason::Internal)];
    let mut reading = meter_with(1000, 1000);
    assert!(reading.apply(NOW, refused()).is_err(), "no slice was asked for");
    let mut complete = running(1000, 1000);
    complete.apply(NOW, MeterEvent::Finished(FinishReason::Stop)).unwrap();
    assert_eq!(complete.apply(NOW, refused()), Ok(stop.clone()));
    assert_eq!(complete.state(), MeterState::Over);
    assert!(complete.apply(NOW, refused()).is_err());
    let mut running = running(1000, 1000);
    assert_eq!(running.apply(NOW, refused()), Ok(stop));
}

#[test]
fn a_failure_stops_the_job_once_without_a_receipt() {
    let mut meter = running(1000, 1000);
    meter.apply(NOW, produced(&[1])).unwrap();
    assert_eq!(meter.apply(NOW, MeterEvent::Failed(StopReason::Internal)), Ok(vec![MeterEffect::Stop(StopReason::Internal)]));
    assert!(meter.apply(NOW, MeterEvent::Failed(StopReason::Internal)).is_err());
    let mut complete = running(1000, 1000);
    complete.apply(NOW, MeterEvent::Finished(FinishReason::Stop)).unwrap();
    let closed = vec![MeterEffect::Close { unpaid: nano(15) }];
    assert_eq!(complete.apply(NOW, MeterEvent::Failed(StopReason::Shutdown)), Ok(closed), "Done was already said");
}

#[test]
fn a_chunk_is_bounded() {
    let mut meter = running(u128::MAX, u128::MAX);
    let tokens = CHUNK_TOKENS_MAX + 1;
    assert_eq!(meter.apply(NOW, produced(&vec![0; tokens])), Err(MeterReject::ChunkTooLarge { tokens }));
    assert!(meter.apply(NOW, produced(&[0; CHUNK_TOKENS_MAX])).is_ok());
}

#[test]
fn receipts_are_signed_in_order_and_only_when_asked_for() {
    let mut meter = running(1000, 1000);
    assert!(matches!(meter.apply(NOW, MeterEvent::ReceiptSigned { sequence: 1 }), Err(MeterReject::OutOfTurn { .. })));
    meter.apply(NOW, produced(&[0; 4])).unwrap();
    meter.apply(NOW, produced(&[0; 4])).unwrap();
    meter.apply(NOW, MeterEvent::ReceiptSigned { sequence: 9 }).unwrap();
    assert_eq!(meter.apply(NOW, MeterEvent::ReceiptSigned { sequence: 9 }), Err(MeterReject::Sequence { last: 9, got: 9 }));
    meter.apply(NOW, MeterEvent::ReceiptSigned { sequence: 10 }).unwrap();
    meter.apply(NOW, MeterEvent::VoucherAccepted { sequence: 9 }).unwrap();
    assert_eq!(meter.unpaid(), nano(8));
}

#[test]
fn what_does_not_fit_the_state_is_rejected() {
    let reading = || meter_with(1000, 1000);
    for event in [produced(&[1]), MeterEvent::Finished(FinishReason::Stop)] {
        assert!(matches!(reading().apply(NOW, event), Err(MeterReject::OutOfTurn { .. })));
    }
    let said = |mut meter: JobMeter, event| meter.apply(NOW, event).unwrap_err().to_string();
    assert_eq!(said(reading(), produced(&[1])), "tokens came while the job was being read");
    assert_eq!(
        said(running(1000, 1000), MeterEvent::ReceiptSigned { sequence: 1 }),
        "a signed receipt that nobody asked for came while the job was running"
    );
    let mut meter = running(1000, 1000);
    let again = MeterEvent::InputRead { input_tokens: 1, input: Digest([0; 32]) };
    assert!(matches!(meter.apply(NOW, again), Err(MeterReject::OutOfTurn { .. })));
    meter.apply(NOW, MeterEvent::Finished(FinishReason::Stop)).unwrap();
    assert!(matches!(meter.apply(NOW, produced(&[1])), Err(MeterReject::OutOfTurn { .. })));
}

/// An order of ten texts with 50 tokens: 10 nano-units for the job, 1 a token; slices of 4 tokens.
fn embedding(cap: u128, float: u128) -> JobMeter {
    let mut meter = JobMeter::new(terms_with(cap, float, OutputMax::of(&embed(10))));
    assert_eq!(meter.apply(NOW, MeterEvent::InputRead { input_tokens: 50, input: Digest([6; 32]) }), Ok(vec![]));
    meter
}

fn embedded(from: u16, count: u16, input_tokens: u64) -> MeterEvent {
    MeterEvent::Embedded { vectors: vectors(from, count), input_tokens }
}

#[test]
fn texts_are_metered_and_receipted_as_their_vectors_are_given() {
    let mut meter = embedding(1000, 1000);
    assert_eq!((meter.usage(), meter.cost(), meter.output_tokens_left()), (Usage::default(), nano(10), 0), "none is read yet");
    let effects = meter.apply(NOW, embedded(0, 1, 3)).unwrap();
    let usage = Usage { input_tokens: 3, output_tokens: 0 };
    assert_eq!(effects, [MeterEffect::SendVectors(Vectors { index: 0, vectors: vectors(0, 1), usage })]);
    let effects = meter.apply(NOW, embedded(1, 2, 8)).unwrap();
    let usage = Usage { input_tokens: 8, output_tokens: 0 };
    let first = Slice {
        usage,
        amount: nano(18),
        total: nano(18),
        input: Digest([6; 32]),
        output: VectorCommitment::of(&vectors(0, 3)),
        last: false,
    };
    let sent = Vectors { index: 1, vectors: vectors(1, 2), usage };
    assert_eq!(effects, [MeterEffect::SendVectors(sent), MeterEffect::IssueReceipt(first)]);
    meter.apply(NOW, embedded(3, 7, 50)).unwrap();
    let effects = meter.apply(NOW, MeterEvent::Finished(FinishReason::Stop)).unwrap();
    assert_eq!((slice(&effects).total, slice(&effects).last), (nano(60), true));
}

#[test]
fn texts_that_the_cap_does_not_pay_for_are_refused_before_any_is_read() {
    let mut meter = JobMeter::new(terms_with(59, 1000, OutputMax::Vectors(10)));
    let effects = meter.apply(NOW, MeterEvent::InputRead { input_tokens: 50, input: Digest([6; 32]) }).unwrap();
    assert_eq!(effects, [MeterEffect::Stop(StopReason::CapTooSmall { cost: nano(60), left: nano(59) })]);
    // One that reads more than it said is stopped by the cap all the same.
    let mut meter = embedding(60, 1000);
    let effects = meter.apply(NOW, embedded(0, 10, 51)).unwrap();
    assert!(matches!(effects[..], [MeterEffect::IssueReceipt(_), MeterEffect::Finish { reason: FinishReason::Length, .. }]));
}

#[test]
fn unpaid_vectors_above_the_float_pause_the_job_until_they_are_paid() {
    let mut meter = embedding(1000, 12);
    let effects = meter.apply(NOW, embedded(0, 1, 3)).unwrap();
    assert!(matches!(effects[..], [MeterEffect::SendVectors(_), MeterEffect::IssueReceipt(_), MeterEffect::Pause]));
    assert_eq!(meter.apply(NOW, embedded(1, 1, 6)), Err(MeterReject::Paused));
    meter.apply(NOW, MeterEvent::ReceiptSigned { sequence: 1 }).unwrap();
    assert_eq!(meter.apply(NOW, MeterEvent::VoucherAccepted { sequence: 1 }), Ok(vec![MeterEffect::Resume]));
    assert!(meter.apply(NOW, embedded(1, 1, 6)).is_ok());
}

#[test]
fn an_executor_gives_what_was_ordered_and_no_more() {
    let rejected = |event| embedding(1000, 1000).apply(NOW, event).unwrap_err();
    assert_eq!(rejected(produced(&[1])), MeterReject::OtherWork { event: "tokens" });
    assert_eq!(running(1000, 1000).apply(NOW, embedded(0, 1, 3)), Err(MeterReject::OtherWork { event: "vectors" }));
    assert_eq!(rejected(embedded(0, 11, 50)), MeterReject::TooManyVectors { got: 11, texts: 10 });
    assert_eq!(rejected(embedded(0, 2, 1)), MeterReject::InputTokens { before: 0, got: 1, vectors: 2 });
    assert_eq!(rejected(MeterEvent::Finished(FinishReason::Stop)), MeterReject::Unfinished { got: 0, texts: 10 });
    assert_eq!(embedding(1000, 1000).apply(NOW, embedded(0, 0, 0)), Ok(vec![]));
    let wide = vec![Vector::new(&vec![1.0; VECTOR_WIDTH_MAX]); 17];
    let bytes = 17 * VECTOR_WIDTH_MAX * 4;
    let mut meter = JobMeter::new(terms_with(1000, 1000, OutputMax::Vectors(99)));
    meter.apply(NOW, MeterEvent::InputRead { input_tokens: 50, input: Digest([6; 32]) }).unwrap();
    let fits = MeterEvent::Embedded { vectors: wide[1..].to_vec(), input_tokens: 16 };
    assert!(bytes > VECTORS_BYTES_MAX && meter.clone().apply(NOW, fits).is_ok());
    assert_eq!(meter.apply(NOW, MeterEvent::Embedded { vectors: wide, input_tokens: 17 }), Err(MeterReject::VectorsTooLarge { bytes }));
}
