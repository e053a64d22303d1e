//! Jobs side by side never cost more together than was agreed, deposited and lent.

use std::collections::BTreeMap;

use super::*;

/// Both sides with an agreement of these bounds over one channel.
struct Market {
    requester: Ledger,
    provider: Ledger,
    channel: ChannelRef,
    agreement: Agreement,
}

impl Market {
    fn new(deposit: u128, cap: u128, float: u128, jobs_max: u16) -> Self {
        let Pair { requester, provider, channel } = pair(deposit);
        let market = Self { agreement: Self::sign(channel, cap, float, jobs_max), requester, provider, channel };
        market.agree(&market.agreement);
        market
    }

    fn sign(channel: ChannelRef, cap: u128, float: u128, jobs_max: u16) -> Agreement {
        Deal { channel, cap, float, jobs_max }.sign(&requester_key(), &provider_key(), NOW)
    }

    fn agree(&self, agreement: &Agreement) {
        self.requester.record_agreement(agreement, NOW).unwrap();
        self.provider.record_agreement(agreement, NOW).unwrap();
    }

    /// A slice of a job, worth so much.
    fn draft(&self, job: u8, slice: u64, amount: u128) -> ReceiptDraft {
        let agreement = self.agreement.id();
        ReceiptDraft { agreement, amount: Amount::from_nano(amount), ..draft(self.channel, job, slice) }
    }

    fn fault(&self, draft: ReceiptDraft) -> ReceiptFault {
        match self.provider.issue_receipt(draft) {
            Err(LedgerError::Receipt(fault)) => fault,
            other => panic!("a refusal was expected, {other:?} found"),
        }
    }

    fn pay(&self, receipt: SignedReceipt) {
        self.provider.accept_voucher(self.requester.pay_receipt(receipt).unwrap()).unwrap();
    }
}

fn nano(nano: u128) -> Amount {
    Amount::from_nano(nano)
}

#[test]
fn a_receipt_above_the_cap_is_refused_and_one_at_the_cap_is_given() {
    let market = Market::new(1_000, 25, 1_000, 2);
    market.provider.issue_receipt(market.draft(1, 1, 10)).unwrap();
    market.provider.issue_receipt(market.draft(2, 1, 10)).unwrap();
    let over = ReceiptDraft { last: true, ..market.draft(1, 2, 6) };
    let fault = market.fault(over);
    assert_eq!((fault, fault.penalty()), (ReceiptFault::AboveCap { cap: nano(25), total: nano(26) }, Penalty::Ban), "not even the last");
    market.provider.issue_receipt(market.draft(1, 2, 5)).unwrap();
    assert_eq!(market.provider.total(market.agreement.id()).unwrap(), nano(25));
    let next = Market::sign(market.channel, 25, 1_000, 3);
    market.agree(&next);
    market.provider.issue_receipt(ReceiptDraft { agreement: next.id(), ..market.draft(3, 1, 25) }).unwrap();
}

#[test]
fn a_requester_pays_for_no_receipt_above_the_cap() {
    let market = Market::new(1_000, 25, 1_000, 1);
    market.pay(market.provider.issue_receipt(market.draft(1, 1, 20)).unwrap());
    // A provider with a ledger of its own making.
    let greedy = market.provider.issue_receipt(market.draft(1, 2, 5)).unwrap();
    let greedy = resigned(&greedy, |r| (r.body.amount, r.header.cumulative) = (nano(6), nano(26)));
    let refused = market.requester.pay_receipt(greedy).unwrap_err();
    assert!(matches!(refused, LedgerError::Receipt(ReceiptFault::AboveCap { .. })), "{refused:?}");
    assert_eq!(market.requester.channel(market.channel).unwrap().sequence(), 1);
}

#[test]
fn a_receipt_above_the_deposit_is_refused_and_one_at_the_deposit_is_given() {
    let market = Market::new(15, 1_000, 1_000, 2);
    market.pay(market.provider.issue_receipt(market.draft(1, 1, 10)).unwrap());
    let fault = market.fault(ReceiptDraft { last: true, ..market.draft(2, 1, 6) });
    assert_eq!((fault, fault.penalty()), (ReceiptFault::AboveDeposit { deposit: nano(15), owed: nano(16) }, Penalty::None));
    market.provider.issue_receipt(market.draft(2, 1, 5)).unwrap();
}

#[test]
fn a_channel_that_was_never_seen_carries_no_receipt() {
    let provider = open(MemoryStore::default(), Role::Provider);
    let channel = provider.record_channel(Role::Provider, terms(), NOW).unwrap();
    provider.record_agreement(&agreement(), NOW).unwrap();
    let refused = provider.issue_receipt(draft(channel, 1, 1)).unwrap_err();
    assert!(matches!(refused, LedgerError::Receipt(ReceiptFault::AboveDeposit { deposit: Amount::ZERO, .. })), "{refused:?}");
}

#[test]
fn a_job_above_the_float_gets_its_last_receipt_alone() {
    let market = Market::new(1_000, 1_000, 10, 2);
    market.provider.issue_receipt(market.draft(1, 1, 10)).unwrap();
    market.provider.issue_receipt(market.draft(1, 2, 1)).unwrap();
    let fault = market.fault(market.draft(1, 3, 1));
    assert_eq!((fault, fault.penalty()), (ReceiptFault::AboveFloat { unpaid: nano(11), float: nano(10) }, Penalty::None));
    let beside = market.provider.issue_receipt(market.draft(2, 1, 30)).unwrap();
    assert_eq!(beside.receipt.header.cumulative, nano(41), "a job beside it has a float of its own, and a first slice may be above it");
    let last = market.provider.issue_receipt(ReceiptDraft { last: true, ..market.draft(1, 3, 1) }).unwrap();
    let receipts = market.provider.unpaid_receipts(market.channel).unwrap();
    receipts.into_iter().for_each(|receipt| market.pay(receipt));
    assert_eq!(market.provider.channel(market.channel).unwrap().unpaid_of(last.receipt.header.job), Amount::ZERO);
    market.provider.issue_receipt(market.draft(2, 2, 1)).unwrap();
}

#[test]
fn who_breaks_off_job_after_job_without_paying_gets_no_more() {
    let market = Market::new(1_000, 1_000, 10, 2);
    let allowed = u8::try_from(2 * UNPAID_JOBS_A_PLACE_MAX).unwrap();
    for job in 1..=allowed {
        market.provider.channel(market.channel).unwrap().check_unpaid_jobs(2).unwrap();
        market.provider.issue_receipt(market.draft(100 + job, 1, 0)).unwrap();
        market.provider.issue_receipt(market.draft(job, 1, 5)).unwrap();
    }
    let jobs = usize::from(allowed);
    assert_eq!(market.fault(market.draft(99, 1, 5)), ReceiptFault::JobsUnpaid { jobs });
    assert_eq!(market.provider.channel(market.channel).unwrap().check_unpaid_jobs(2), Err(ReceiptFault::JobsUnpaid { jobs }));
    market.provider.issue_receipt(market.draft(1, 2, 5)).unwrap();
    let receipts = market.provider.unpaid_receipts(market.channel).unwrap();
    receipts.into_iter().for_each(|receipt| market.pay(receipt));
    market.provider.issue_receipt(market.draft(99, 1, 5)).unwrap();
}

#[test]
fn a_receipt_under_an_agreement_that_nobody_knows_or_over_another_channel_is_refused() {
    let market = Market::new(1_000, 1_000, 10, 2);
    let unknown = AgreementId([3; 32]);
    let refused = market.provider.issue_receipt(ReceiptDraft { agreement: unknown, ..market.draft(1, 1, 1) }).unwrap_err();
    assert!(matches!(refused, LedgerError::UnknownAgreement(id) if id == unknown), "{refused:?}");
    let other = ChannelTerms { salt: Digest([7; 32]), ..terms() };
    let other = market.provider.record_channel(Role::Provider, other, NOW).unwrap();
    market.provider.record_sight(other, sight(1_000)).unwrap();
    assert_eq!(market.fault(ReceiptDraft { channel: other, ..market.draft(1, 1, 1) }), ReceiptFault::OtherChannel);
    let good = market.provider.issue_receipt(market.draft(1, 1, 1)).unwrap();
    let foreign = resigned(&good, |r| r.body.agreement = unknown);
    assert!(matches!(market.requester.pay_receipt(foreign), Err(LedgerError::UnknownAgreement(_))));
}

#[test]
fn a_second_last_receipt_convicts_its_provider() {
    let market = Market::new(1_000, 1_000, 1_000, 2);
    let last = ReceiptDraft { last: true, ..market.draft(1, 1, 10) };
    market.pay(market.provider.issue_receipt(last).unwrap());
    let next = market.provider.issue_receipt(market.draft(2, 1, 10)).unwrap();
    let check = |last: bool, expected: ReceiptFault, penalty: Penalty| {
        let forged = resigned(&next, |r| {
            r.header.job = JobId([1; 16]);
            r.body.last = last;
        });
        match market.requester.record_receipt(forged) {
            Err(LedgerError::Receipt(fault)) => assert_eq!((fault, fault.penalty()), (expected, penalty)),
            other => panic!("{other:?}"),
        }
    };
    let job = JobId([1; 16]);
    check(true, ReceiptFault::SecondLast { job, sequence: 1 }, Penalty::Slashable);
    check(false, ReceiptFault::AfterLast { job, sequence: 1 }, Penalty::Ban);
    assert!(market.requester.record_receipt(next).unwrap());
}

#[test]
fn a_second_try_gives_the_same_receipt_whatever_other_jobs_did_meanwhile() {
    let market = Market::new(1_000, 1_000, 1_000, 2);
    let last = ReceiptDraft { last: true, ..market.draft(1, 1, 10) };
    let receipt = market.provider.issue_receipt(last).unwrap();
    market.provider.issue_receipt(market.draft(2, 1, 10)).unwrap();
    assert_eq!(market.provider.issue_receipt(ReceiptDraft { issued_at: NOW.plus_ms(9), ..last }).unwrap(), receipt);
    assert_eq!(market.provider.total(market.agreement.id()).unwrap(), nano(20), "and it is counted once");
}

/// What a thread asks of the provider's ledger.
#[derive(Clone, Copy, Debug)]
struct Ask {
    /// Asks of the same group are made in one commit.
    group: u8,
    job: u8,
    amount: u128,
    last: bool,
    /// Pay everything afterwards.
    pays: bool,
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let ask = (0u8..3, 1u8..6, 0u128..12, prop::bool::weighted(0.2), prop::bool::weighted(0.2))
        .prop_map(|(group, job, amount, last, pays)| Ask { group, job, amount, last, pays });
    prop::collection::vec(ask, 1..60)
}

proptest! {
    /// However jobs' slices fall between each other and into commits, the sums stay within every bound, each job has at most one last
    /// receipt, and only what would break a bound is refused.
    #[test]
    fn no_interleaving_of_jobs_goes_beyond_what_was_agreed(
        deposit in 20u128..150, cap in 20u128..150, float in 0u128..15, jobs_max in 1u16..3, asks in asks(),
    ) {
        let market = Market::new(deposit, cap, float, jobs_max);
        let mut slices = BTreeMap::<u8, u64>::new();
        let (mut owed, mut paid) = (0, 0);
        let (mut unpaid, mut over) = (BTreeMap::<u8, u128>::new(), Vec::new());
        for group in asks.chunk_by(|one, next| one.group == next.group) {
            let drafts: Vec<_> = group.iter().map(|ask| {
                let slice = slices.entry(ask.job).or_insert(0);
                *slice += 1;
                ReceiptDraft { last: ask.last, ..market.draft(ask.job, *slice, ask.amount) }
            }).collect();
            let given = market.provider.commit(move |batch| drafts.iter().map(|draft| batch.issue_receipt(draft)).collect::<Vec<_>>()).unwrap();
            for (ask, given) in group.iter().zip(given) {
                let begins = !unpaid.contains_key(&ask.job);
                let of_job = unpaid.get(&ask.job).copied().unwrap_or(0);
                let unpaid_jobs = unpaid.values().filter(|unpaid| **unpaid > 0).count();
                let fits = !over.contains(&ask.job)
                    && owed + ask.amount <= cap.min(deposit)
                    && (ask.last || of_job <= float)
                    && (!begins || unpaid_jobs < UNPAID_JOBS_A_PLACE_MAX * usize::from(jobs_max));
                prop_assert_eq!(given.is_ok(), fits, "{:?} {:?}", ask, given);
                if given.is_ok() {
                    owed += ask.amount;
                    *unpaid.entry(ask.job).or_insert(0) += ask.amount;
                    over.extend(ask.last.then_some(ask.job));
                }
            }
            if group.iter().any(|ask| ask.pays) {
                for receipt in market.provider.unpaid_receipts(market.channel).unwrap() {
                    market.requester.record_receipt(receipt).unwrap();
                }
                if let Ok(voucher) = market.requester.issue_voucher(market.channel) {
                    market.provider.accept_voucher(voucher).unwrap();
                    paid = owed;
                    unpaid.values_mut().for_each(|unpaid| *unpaid = 0);
                }
            }
            let book = market.provider.channel(market.channel).unwrap();
            prop_assert_eq!((book.head().owed.nano(), book.unpaid().nano()), (owed, owed - paid));
            prop_assert!(owed <= cap.min(deposit));
            prop_assert_eq!(market.provider.total(market.agreement.id()).unwrap().nano(), owed);
            for (job, unpaid) in &unpaid {
                prop_assert_eq!(book.unpaid_of(JobId([*job; 16])).nano(), *unpaid);
            }
        }
        let last = market.provider.receipts(market.channel, 1, usize::MAX).unwrap().into_iter().filter(|record| record.receipt.receipt.body.last);
        let mut jobs: Vec<_> = last.map(|record| record.receipt.receipt.header.job).collect();
        let count = jobs.len();
        jobs.sort_unstable();
        jobs.dedup();
        prop_assert_eq!(jobs.len(), count, "one last receipt for each job");
    }
}

#[test]
fn threads_that_race_for_the_end_of_the_cap_stop_exactly_there() {
    let market = Market::new(1_000_000, 1_000, u128::MAX, 8);
    let provider = Arc::new(market.provider);
    let agreement = market.agreement.id();
    let threads: Vec<_> = (1..=8)
        .map(|job| {
            let provider = Arc::clone(&provider);
            std::thread::spawn(move || {
                let issue = |slice| provider.issue_receipt(ReceiptDraft { agreement, ..draft(market.channel, job, slice) });
                (1..=50).filter(|slice| issue(*slice).is_ok()).count()
            })
        })
        .collect();
    let given: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!((given, provider.total(agreement).unwrap()), (100, nano(1_000)));
}
