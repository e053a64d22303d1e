//! PR-1 to PR-4 under every sequence of inputs.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// A meter and a check, the stream between them in both directions, and a ledger that numbers
/// receipts, those of other jobs too.
#[derive(Debug)]
struct World {
    now: Timestamp,
    agreement: Agreement,
    request: JobRequest,
    meter_terms: MeterTerms,
    meter: JobMeter,
    check: JobCheck,
    frames: VecDeque<ProviderFrame>,
    to_sign: VecDeque<Slice>,
    to_pay: VecDeque<u64>,
    vouchers: VecDeque<u64>,
    sequence: u64,
    slices: Vec<Slice>,
    chunk_cost_max: Amount,
    vectors_sent: u64,
    ended: Option<Outcome>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    InputRead(u16),
    Produce(u8),
    OtherJob(u8),
    Deliver,
    Pay,
    DeliverVoucher,
    Finish,
    Cancel,
    Fail,
    RefuseReceipt,
    Wait(u32),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u16..500).prop_map(Step::InputRead),
        10 => (0u8..20).prop_map(Step::Produce),
        2 => (1u8..3).prop_map(Step::OtherJob),
        10 => Just(Step::Deliver),
        8 => Just(Step::Pay),
        8 => Just(Step::DeliverVoucher),
        1 => Just(Step::Finish),
        1 => Just(Step::Cancel),
        1 => Just(Step::Fail),
        1 => Just(Step::RefuseReceipt),
        1 => (0u32..40_000).prop_map(Step::Wait),
    ]
}

impl World {
    fn new(terms: Terms, work: Work) -> Self {
        let agreement = agreement(terms);
        let request = JobRequest { work, ..request(&agreement) };
        let meter_terms = MeterTerms::new(agreement.terms(), &request.work, agreement.terms().cap);
        let check = JobCheck::new(NOW, &agreement, &request, agreement.terms().cap);
        Self {
            now: NOW,
            meter: JobMeter::new(meter_terms),
            meter_terms,
            check,
            agreement,
            request,
            frames: VecDeque::new(),
            to_sign: VecDeque::new(),
            to_pay: VecDeque::new(),
            vouchers: VecDeque::new(),
            sequence: 0,
            slices: Vec::new(),
            chunk_cost_max: Amount::ZERO,
            vectors_sent: 0,
            ended: None,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::InputRead(n) => self.meter(MeterEvent::InputRead { input_tokens: n.into(), input: Digest([6; 32]) }),
            Step::Produce(n) => self.produce(n.into()),
            Step::OtherJob(receipts) => self.sequence += u64::from(receipts),
            Step::Deliver => self.deliver(),
            Step::Pay => {
                if let Some(sequence) = self.to_pay.pop_front() {
                    self.vouchers.push_back(sequence);
                    let _ = self.check.apply(self.now, CheckEvent::VoucherSent);
                }
            }
            Step::DeliverVoucher => {
                if let Some(sequence) = self.vouchers.pop_front() {
                    self.meter(MeterEvent::VoucherAccepted { sequence });
                }
            }
            Step::Finish => self.meter(MeterEvent::Finished(FinishReason::Stop)),
            Step::Cancel => self.meter(MeterEvent::Cancelled),
            Step::Fail => self.meter(MeterEvent::Failed(StopReason::Internal)),
            Step::RefuseReceipt => {
                if self.to_sign.pop_back().is_some() {
                    self.slices.pop();
                    self.meter(MeterEvent::ReceiptRefused(StopReason::Internal));
                }
            }
            Step::Wait(ms) => {
                self.now = self.now.plus_ms(ms.into());
                self.meter(MeterEvent::Elapsed);
            }
        }
    }

    fn produce(&mut self, count: u32) {
        let before = self.meter.cost();
        match self.meter_terms.output_max {
            OutputMax::Tokens(_) => self.meter(MeterEvent::Produced { tokens: (0..count).collect(), text: String::new() }),
            OutputMax::Vectors(_) => {
                // From one token a text to the five that it may have.
                let input_tokens = self.meter.usage().input_tokens + u64::from(count * (1 + count % 5));
                let vectors = vectors(self.sequence as u16, count as u16);
                self.meter(MeterEvent::Embedded { vectors, input_tokens });
            }
        }
        if matches!(self.meter.state(), MeterState::Running | MeterState::Paused { .. }) {
            self.chunk_cost_max = self.chunk_cost_max.max(self.meter.cost().saturating_sub(before));
        }
    }

    fn meter(&mut self, event: MeterEvent) {
        let paused = matches!(self.meter.state(), MeterState::Paused { .. });
        let Ok(effects) = self.meter.apply(self.now, event) else { return };
        for effect in effects {
            match effect {
                MeterEffect::SendChunk(chunk) => {
                    assert!(!paused, "PR-2: a chunk was sent in a pause");
                    self.frames.push_back(ProviderFrame::Chunk(chunk));
                }
                MeterEffect::SendVectors(vectors) => {
                    assert!(!paused, "PR-2: vectors were sent in a pause");
                    self.vectors_sent += vectors.vectors.len() as u64;
                    self.frames.push_back(ProviderFrame::Vectors(vectors));
                }
                MeterEffect::IssueReceipt(slice) => {
                    self.slices.push(slice);
                    self.to_sign.push_back(slice);
                }
                MeterEffect::Finish { reason, usage } => {
                    self.sign_all();
                    self.frames.push_back(ProviderFrame::Done { reason, usage });
                }
                MeterEffect::Stop(reason) => {
                    self.sign_all();
                    self.frames.push_back(ProviderFrame::Stopped(reason));
                }
                MeterEffect::Pause | MeterEffect::Resume | MeterEffect::Close { .. } => {}
            }
        }
        // A chunk that follows a receipt must not overtake it in the stream.
        self.sign_all();
    }

    fn sign_all(&mut self) {
        while !self.to_sign.is_empty() {
            self.sign();
        }
    }

    fn sign(&mut self) {
        let Some(slice) = self.to_sign.pop_front() else { return };
        self.sequence += 1;
        let signed = receipt(&self.agreement, &self.request, &slice, self.sequence);
        self.frames.push_back(ProviderFrame::Receipt(Box::new(signed)));
        self.meter.apply(self.now, MeterEvent::ReceiptSigned { sequence: self.sequence }).unwrap();
    }

    fn deliver(&mut self) {
        let Some(frame) = self.frames.pop_front() else { return };
        if self.check.is_over() {
            return;
        }
        let effects = self.check.apply(self.now, CheckEvent::Frame(frame)).unwrap_or_else(|fault| panic!("PR-4: {fault}"));
        for effect in effects {
            match effect {
                CheckEffect::Deliver(_) | CheckEffect::DeliverVectors(_) => {}
                CheckEffect::Pay(receipt) => {
                    assert!(self.check.received().covers(receipt.receipt.body.usage), "PR-3: paid before it was received");
                    self.to_pay.push_back(receipt.receipt.header.sequence);
                }
                CheckEffect::End(outcome) => self.ended = Some(outcome),
            }
        }
    }

    fn check_invariants(&self) {
        let price = self.meter_terms.price;
        let sum = Amount::sum(self.slices.iter().map(|slice| slice.amount)).unwrap();
        assert!(sum <= self.meter_terms.cap, "PR-1: above the cap");
        if let Some(last) = self.slices.last() {
            assert_eq!(sum, price.cost(last.usage).unwrap(), "PR-1: the slices do not add up");
            assert_eq!(sum, last.total);
        }
        assert!(self.slices.iter().rev().skip(1).all(|slice| !slice.last), "PR-1: more after the last");
        // A prompt is read before anything is paid; of texts, not even the first.
        let before = match self.meter_terms.output_max {
            OutputMax::Tokens(_) => Usage { output_tokens: 0, ..self.meter.usage() },
            OutputMax::Vectors(_) => Usage::default(),
        };
        let bound =
            self.meter_terms.float.max(price.cost(before).unwrap_or(Amount::MAX)).checked_add(self.chunk_cost_max).unwrap_or(Amount::MAX);
        assert!(self.meter.unpaid() <= bound, "PR-2: {:?} unpaid of {bound:?}", self.meter.unpaid());
        if let Some(Outcome::Done { usage, cost, .. }) = &self.ended {
            assert_eq!(*usage, self.meter.usage());
            assert_eq!(*cost, sum);
        }
    }
}

fn works() -> impl Strategy<Value = Work> {
    prop_oneof![(1u32..300).prop_map(generate), (1usize..300).prop_map(embed)]
}

fn worlds() -> impl Strategy<Value = World> {
    (0u128..50, 0u128..3_000_000, 0u128..3_000_000, 1u128..2_000, 0u128..200, 1u32..16, works()).prop_map(
        |(job, input, output, cap, float, slice_tokens, work)| {
            let terms = Terms {
                price: price(job, input, output),
                cap: Amount::from_nano(cap),
                float: Amount::from_nano(float),
                slice_tokens,
                ..terms()
            };
            World::new(terms, work)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_sequence_of_inputs_breaks_the_invariants(mut world in worlds(), steps in prop::collection::vec(steps(), 1..150)) {
        world.step(Step::InputRead(9));
        for step in steps {
            world.step(step);
            world.check_invariants();
        }
    }

    #[test]
    fn a_job_that_is_paid_runs_to_its_end(mut world in worlds(), sizes in prop::collection::vec(1u8..20, 0..60)) {
        world.step(Step::InputRead(9));
        for size in sizes {
            world.step(Step::Produce(size));
            for _ in 0..3 {
                world.step(Step::Deliver);
            }
            for _ in 0..3 {
                world.step(Step::Pay);
                world.step(Step::DeliverVoucher);
            }
        }
        if let OutputMax::Vectors(texts) = world.meter_terms.output_max {
            // The order is done when every text has its vector; the rest comes at once.
            let left = u64::from(texts).saturating_sub(world.vectors_sent);
            world.produce(left as u32);
            for step in [Step::Deliver, Step::Deliver, Step::Deliver, Step::Pay, Step::DeliverVoucher] {
                world.step(step);
            }
        }
        world.step(Step::Finish);
        for _ in 0..9 {
            for step in [Step::Deliver, Step::Pay, Step::DeliverVoucher] {
                world.step(step);
            }
        }
        world.check_invariants();
        prop_assert!(world.ended.is_some());
        prop_assert_eq!(world.meter.state(), MeterState::Over);
        if matches!(world.ended, Some(Outcome::Done { .. })) {
            prop_assert_eq!(world.meter.unpaid(), Amount::ZERO);
        }
    }

    #[test]
    fn the_budget_is_the_last_token_within_the_cap(
        job in 0u128..50, input in 0u128..3_000_000, output in 1u128..3_000_000, cap in 0u128..100_000, input_tokens in 0u64..5_000,
    ) {
        let (table, cap) = (price(job, input, output), Amount::from_nano(cap));
        let cost = |output_tokens| table.cost(Usage { input_tokens, output_tokens }).unwrap();
        let budget = table.output_tokens_within(cap, input_tokens);
        prop_assert!(budget == 0 || cost(budget) <= cap);
        prop_assert!(cost(budget + 1) > cap);
    }
}

#[test]
fn free_tokens_have_no_budget() {
    assert_eq!(price(1, 0, 0).output_tokens_within(Amount::from_nano(1), 5), u64::MAX);
    assert_eq!(price(2, 0, 0).output_tokens_within(Amount::from_nano(1), 5), 0);
    assert_eq!(price(u128::MAX, 1, 1).output_tokens_within(Amount::MAX, u64::MAX), 0);
}
