use std::sync::Arc;

use cocoon_market::ids::{ContractAddress, Digest};
use cocoon_market::{AgreementId, Amount, ChannelRef, JobId, NetworkId, OperatorKey, Penalty, SignedReceipt, Timestamp, Usage, Voucher};
use proptest::prelude::*;

use super::testing::Deal;
use super::*;
use crate::contract::ChannelStatus;

mod audit;
mod damage;
mod entries;
#[cfg(feature = "redb")]
mod faults;
mod limits;
mod rollback;
mod settlers;

pub(super) const NOW: Timestamp = Timestamp(1_800_000_000_000);

pub(super) fn requester_key() -> OperatorKey {
    OperatorKey::from_seed(&[1; 32])
}

pub(super) fn provider_key() -> OperatorKey {
    OperatorKey::from_seed(&[2; 32])
}

pub(super) fn terms() -> ChannelTerms {
    ChannelTerms {
        network: NetworkId::DEVNET,
        requester: requester_key().node_id(),
        provider: provider_key().node_id(),
        refund_to: ContractAddress([3; 32]),
        contract: ContractAddress([4; 32]),
        challenge_window_s: 86_400,
        salt: Digest([6; 32]),
    }
}

pub(super) fn sight(deposit: u128) -> ChainSight {
    ChainSight { status: ChannelStatus::Open, deposit: Amount::from_nano(deposit), drawn: Amount::ZERO, seen_at: NOW }
}

/// An agreement over the channel of [`terms`].
pub(super) fn agreement() -> Agreement {
    Deal::boundless(terms().channel().unwrap()).sign(&requester_key(), &provider_key(), NOW)
}

/// The n-th slice of a job, each slice worth 10.
pub(super) fn draft(channel: ChannelRef, job: u8, slice: u64) -> ReceiptDraft {
    ReceiptDraft {
        channel,
        agreement: agreement().id(),
        job: JobId([job; 16]),
        usage: Usage { input_tokens: 5, output_tokens: slice },
        amount: Amount::from_nano(10),
        input: Digest([0; 32]),
        output: Digest([0; 32]),
        seed: Digest([0; 32]),
        work: Digest([0; 32]),
        last: false,
        issued_at: NOW,
    }
}

pub(super) fn open(store: impl Store + 'static, role: Role) -> Ledger {
    let key = match role {
        Role::Requester => requester_key(),
        Role::Provider => provider_key(),
    };
    Ledger::open(store, key).unwrap()
}

pub(super) fn start(ledger: &Ledger, role: Role, deposit: u128) -> ChannelRef {
    let channel = ledger.record_channel(role, terms(), NOW).unwrap();
    ledger.record_sight(channel, sight(deposit)).unwrap();
    ledger.record_agreement(&agreement(), NOW).unwrap();
    channel
}

struct Pair {
    requester: Ledger,
    provider: Ledger,
    channel: ChannelRef,
}

fn pair(deposit: u128) -> Pair {
    let requester = open(MemoryStore::default(), Role::Requester);
    let provider = open(MemoryStore::default(), Role::Provider);
    let channel = start(&requester, Role::Requester, deposit);
    start(&provider, Role::Provider, deposit);
    Pair { requester, provider, channel }
}

fn resigned(receipt: &SignedReceipt, change: impl FnOnce(&mut cocoon_market::Receipt)) -> SignedReceipt {
    let mut receipt = receipt.receipt;
    change(&mut receipt);
    receipt.header.body = receipt.body.digest();
    receipt.sign(&provider_key())
}

#[test]
fn both_sides_agree_on_every_voucher() {
    let Pair { requester, provider, channel } = pair(1_000);
    for slice in 1..=20 {
        let receipt = provider.issue_receipt(draft(channel, 1, slice)).unwrap();
        assert_eq!(receipt.receipt.header.sequence, slice);
        assert_eq!(provider.channel(channel).unwrap().unpaid(), Amount::from_nano(10));
        let voucher = requester.pay_receipt(receipt).unwrap();
        assert_eq!(voucher.voucher.cumulative, Amount::from_nano(10 * u128::from(slice)));
        assert!(provider.accept_voucher(voucher).unwrap());
        assert!(!provider.accept_voucher(voucher).unwrap(), "the same voucher again is no news");
        assert_eq!(provider.channel(channel).unwrap().unpaid(), Amount::ZERO);
    }
    assert_eq!(provider.channel(channel).unwrap().root(), requester.channel(channel).unwrap().root());
}

#[test]
fn jobs_of_one_channel_share_one_sequence() {
    let Pair { requester, provider, channel } = pair(1_000);
    let first = provider.issue_receipt(draft(channel, 1, 1)).unwrap();
    let second = provider.issue_receipt(draft(channel, 2, 1)).unwrap();
    let early = requester.record_receipt(second).unwrap_err();
    assert!(matches!(early, LedgerError::Receipt(ReceiptFault::Sequence { next: 1, got: 2 })));
    assert!(requester.record_receipt(first).unwrap());
    assert!(requester.record_receipt(second).unwrap());
    let voucher = requester.issue_voucher(channel).unwrap();
    assert_eq!((voucher.voucher.sequence, voucher.voucher.cumulative), (2, Amount::from_nano(20)));
    assert_eq!(requester.issue_voucher(channel).unwrap(), voucher, "nothing new, the same voucher");
}

#[test]
fn a_second_try_gives_the_same_receipt() {
    let Pair { provider, channel, .. } = pair(1_000);
    let receipt = provider.issue_receipt(draft(channel, 1, 1)).unwrap();
    let again = ReceiptDraft { issued_at: NOW.plus_ms(5), ..draft(channel, 1, 1) };
    assert_eq!(provider.issue_receipt(again).unwrap(), receipt);
    assert_eq!(provider.issue_receipt(draft(channel, 1, 2)).unwrap().receipt.header.sequence, 2);
}

#[test]
fn a_receipt_that_does_not_continue_the_channel_is_refused() {
    let Pair { requester, provider, channel } = pair(1_000);
    let first = provider.issue_receipt(draft(channel, 1, 5)).unwrap();
    requester.record_receipt(first).unwrap();
    let good = provider.issue_receipt(draft(channel, 1, 6)).unwrap();
    let check = |receipt: SignedReceipt, expected: ReceiptFault| match requester.record_receipt(receipt) {
        Err(LedgerError::Receipt(fault)) => {
            assert_eq!(fault, expected);
            assert_ne!(fault.penalty(), Penalty::None, "{fault}");
        }
        other => panic!("{expected} expected, {other:?} found"),
    };
    check(resigned(&good, |r| r.body.previous = Digest([9; 32])), ReceiptFault::Chain);
    let sum = Amount::from_nano(20);
    check(resigned(&good, |r| r.header.cumulative = Amount::from_nano(21)), ReceiptFault::Sum { sum, got: Amount::from_nano(21) });
    check(resigned(&good, |r| r.body.usage.output_tokens = 4), ReceiptFault::Usage(JobId([1; 16])));
    check(resigned(&good, |r| r.body.agreement = AgreementId([2; 32])), ReceiptFault::Job(JobId([1; 16])));
    check(resigned(&first, |r| r.body.output = Digest([9; 32])), ReceiptFault::Equivocation { sequence: 1 });
    let mut tampered = good;
    tampered.receipt.body.usage.output_tokens = 7;
    check(tampered, ReceiptFault::Receipt(cocoon_market::receipt::ReceiptError::Body));
    check(
        good.receipt.sign(&requester_key()),
        ReceiptFault::Receipt(cocoon_market::receipt::ReceiptError::Signature(cocoon_market::keys::BadSignature)),
    );
    assert!(requester.record_receipt(good).unwrap());
    assert!(!requester.record_receipt(good).unwrap(), "the same receipt again is no news");
}

#[test]
fn nothing_follows_a_jobs_final_receipt() {
    let Pair { requester, provider, channel } = pair(1_000);
    let last = ReceiptDraft { last: true, ..draft(channel, 1, 1) };
    let receipt = provider.issue_receipt(last).unwrap();
    requester.record_receipt(receipt).unwrap();
    let fault = |draft| match provider.issue_receipt(draft) {
        Err(LedgerError::Receipt(fault)) => fault,
        other => panic!("{other:?}"),
    };
    let job = JobId([1; 16]);
    assert_eq!(fault(draft(channel, 1, 2)), ReceiptFault::AfterLast { job, sequence: 1 });
    assert_eq!(fault(ReceiptDraft { last: true, ..draft(channel, 1, 2) }), ReceiptFault::SecondLast { job, sequence: 1 });
    let otherwise = ReceiptDraft { output: Digest([9; 32]), ..last };
    assert_eq!(fault(otherwise), ReceiptFault::SecondLast { job, sequence: 1 }, "other words for the same work are no second try");
    assert!(provider.job(job).unwrap().unwrap().is_final);
    assert_eq!(provider.channel(channel).unwrap().sequence(), 1);
}

#[test]
fn a_voucher_that_does_not_fit_the_receipts_is_refused() {
    let Pair { requester, provider, channel } = pair(30);
    for slice in 1..=3 {
        requester.record_receipt(provider.issue_receipt(draft(channel, 1, slice)).unwrap()).unwrap();
        if slice == 2 {
            provider.accept_voucher(requester.issue_voucher(channel).unwrap()).unwrap();
        }
    }
    // A top-up that the chain took back.
    for ledger in [&requester, &provider] {
        ledger.record_sight(channel, sight(25)).unwrap();
    }
    let root = provider.channel(channel).unwrap().root();
    let good = Voucher { channel, sequence: 3, cumulative: Amount::from_nano(30), receipts_root: root };
    let check = |voucher: Voucher, expected: VoucherFault| match provider.accept_voucher(voucher.sign(&requester_key())) {
        Err(LedgerError::Voucher(fault)) => assert_eq!(fault, expected),
        other => panic!("{expected} expected, {other:?} found"),
    };
    check(Voucher { sequence: 1, ..good }, VoucherFault::Back { have: 2, got: 1 });
    check(Voucher { sequence: 2, ..good }, VoucherFault::Back { have: 2, got: 2 });
    check(Voucher { sequence: 4, ..good }, VoucherFault::BeyondReceipts { issued: 3, got: 4 });
    let (owed, got) = (Amount::from_nano(30), Amount::from_nano(29));
    check(Voucher { cumulative: got, ..good }, VoucherFault::Sum { owed, got });
    check(Voucher { receipts_root: Digest([9; 32]), ..good }, VoucherFault::Root);
    check(good, VoucherFault::OverDeposit { deposit: Amount::from_nano(25), cumulative: Amount::from_nano(30) });
    let forged = provider.accept_voucher(good.sign(&provider_key()));
    assert!(matches!(forged, Err(LedgerError::Voucher(VoucherFault::Signature(_)))));
    assert!(matches!(requester.issue_voucher(channel), Err(LedgerError::Voucher(VoucherFault::OverDeposit { .. }))), "nor is it issued");
    for ledger in [&requester, &provider] {
        ledger.record_sight(channel, sight(30)).unwrap();
    }
    assert!(provider.accept_voucher(requester.issue_voucher(channel).unwrap()).unwrap(), "after a top-up it is");
}

#[test]
fn nothing_is_receipted_or_paid_after_the_end() {
    let Pair { requester, provider, channel } = pair(1_000);
    let voucher = requester.pay_receipt(provider.issue_receipt(draft(channel, 1, 1)).unwrap()).unwrap();
    let late = provider.issue_receipt(draft(channel, 1, 2)).unwrap();
    requester.record_receipt(late).unwrap();
    let (early, _) = provider.end_channel(channel).unwrap();
    assert_eq!(early.cumulative, Amount::ZERO, "it had no voucher yet");
    assert!(matches!(provider.issue_receipt(draft(channel, 1, 3)), Err(LedgerError::Ended)));
    assert!(matches!(provider.accept_voucher(voucher), Err(LedgerError::Ended)));
    requester.end_channel(channel).unwrap();
    assert!(matches!(requester.issue_voucher(channel), Err(LedgerError::Ended)));
}

#[test]
fn an_end_needs_one_figure_and_two_signatures() {
    let Pair { requester, provider, channel } = pair(1_000);
    let voucher = requester.pay_receipt(provider.issue_receipt(draft(channel, 1, 1)).unwrap()).unwrap();
    provider.accept_voucher(voucher).unwrap();
    let (statement, signature) = provider.end_channel(channel).unwrap();
    let other = CooperativeClose { cumulative: Amount::from_nano(9), ..statement };
    let refused = requester.countersigned_end(channel, &other, other.sign(&provider_key()));
    assert!(matches!(refused, Err(LedgerError::CloseAmount { .. })));
    let forged = requester.countersigned_end(channel, &statement, statement.sign(&requester_key()));
    assert!(matches!(forged, Err(LedgerError::CloseSignature(_))));
    assert_eq!(requester.channel(channel).unwrap().head().end, None, "nonsense ends nothing");
    let Order::CloseTogether { statement, requester: by_requester, provider: by_provider } =
        requester.countersigned_end(channel, &statement, signature).unwrap()
    else {
        panic!("an end is delivered by closing together")
    };
    assert_eq!(statement.verify(&requester_key().node_id(), &by_requester), Ok(()));
    assert_eq!(statement.verify(&provider_key().node_id(), &by_provider), Ok(()));
}

#[test]
fn each_side_does_only_its_own_part() {
    let Pair { requester, provider, channel } = pair(1_000);
    assert!(matches!(requester.issue_receipt(draft(channel, 1, 1)), Err(LedgerError::WrongRole { ours: Role::Requester })));
    assert!(matches!(provider.issue_voucher(channel), Err(LedgerError::WrongRole { ours: Role::Provider })));
    assert!(matches!(provider.record_channel(Role::Requester, terms(), NOW), Err(LedgerError::NotOurKey)));
    let unknown = ChannelRef { network: NetworkId::MAINNET, ..channel };
    assert!(matches!(provider.issue_receipt(draft(unknown, 1, 1)), Err(LedgerError::UnknownChannel(_))));
}

#[test]
fn a_salt_is_used_once() {
    let ledger = open(MemoryStore::default(), Role::Requester);
    assert_eq!(ledger.next_salt([1; 32]).unwrap(), Digest([1; 32]));
    assert!(matches!(ledger.next_salt([1; 32]), Err(LedgerError::SaltUsed)));
}

#[test]
fn an_older_sight_of_the_chain_does_not_replace_a_newer_one() {
    let Pair { provider, channel, .. } = pair(1_000);
    let older = ChainSight { seen_at: Timestamp(NOW.0 - 1), ..sight(5) };
    assert!(!provider.record_sight(channel, older).unwrap());
    assert_eq!(provider.channel(channel).unwrap().head().sight, Some(sight(1_000)));
}

#[test]
fn a_ledger_of_another_key_is_refused() {
    let store = MemoryStore::default();
    open(store.clone(), Role::Requester);
    let refused = Ledger::open(store, provider_key()).unwrap_err();
    assert!(matches!(refused, LedgerError::Store(StoreError::Damaged(Damage::Owner(_)))));
}

#[test]
fn the_store_itself_refuses_to_replace_what_is_written_once() {
    let check = |store: &dyn Store| {
        let write = |value, mode| Write { table: Table::Receipts, key: vec![1], value: vec![value], mode };
        let other = Write { table: Table::Orders, key: vec![1], value: vec![9], mode: WriteMode::Put };
        store.commit(&[write(2, WriteMode::Insert)]).unwrap();
        let refused = store.commit(&[other, write(3, WriteMode::Insert)]);
        assert!(matches!(refused, Err(StoreError::Exists(Table::Receipts))), "{refused:?}");
        assert_eq!(store.get(Table::Receipts, &[1]).unwrap(), Some(vec![2]));
        assert_eq!(store.get(Table::Orders, &[1]).unwrap(), None, "all of a commit or nothing");
        store.commit(&[write(4, WriteMode::Put)]).unwrap();
        assert_eq!(store.get(Table::Receipts, &[1]).unwrap(), Some(vec![4]));
    };
    check(&MemoryStore::default());
    #[cfg(feature = "redb")]
    {
        let store = RedbStore::open(tempfile::tempdir().unwrap().path().join("ledger.redb")).unwrap();
        check(&store);
        assert_eq!(format!("{store:?}"), "RedbStore { .. }");
    }
}

#[test]
fn a_store_lists_what_begins_with_a_prefix_from_a_key_on() {
    let check = |store: &dyn Store| {
        let write = |table, key: &[u8]| Write { table, key: key.to_vec(), value: key.to_vec(), mode: WriteMode::Put };
        let keys: [&[u8]; 4] = [&[1, 0], &[1, 5], &[1, 9], &[2, 0]];
        store.commit(&keys.map(|key| write(Table::Receipts, key))).unwrap();
        store.commit(&[write(Table::Vouchers, &[1, 7])]).unwrap();
        let scan = |prefix: &[u8], from: &[u8], limit| -> Vec<Vec<u8>> {
            store.scan(Table::Receipts, prefix, from, limit).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(scan(&[], &[], 9), keys);
        assert_eq!(scan(&[1], &[], 9), keys[..3]);
        assert_eq!(scan(&[1], &[1, 5], 9), keys[1..3]);
        assert_eq!(scan(&[1], &[1, 1], 1), keys[1..2]);
        assert!(scan(&[1], &[2], 9).is_empty() && scan(&[3], &[], 9).is_empty());
    };
    check(&MemoryStore::default());
    #[cfg(feature = "redb")]
    check(&RedbStore::open(tempfile::tempdir().unwrap().path().join("ledger.redb")).unwrap());
}

#[test]
fn unpaid_receipts_are_bounded() {
    let Pair { provider, channel, .. } = pair(1_000);
    let free = move |slice| ReceiptDraft { amount: Amount::ZERO, ..draft(channel, 1, slice) };
    let bound = u64::try_from(UNPAID_RECEIPTS_MAX).unwrap();
    let last = provider.commit(move |batch| (1..=bound + 1).map(|slice| batch.issue_receipt(&free(slice)).is_ok()).collect::<Vec<_>>());
    let taken = last.unwrap().into_iter().filter(|taken| *taken).count();
    assert_eq!(taken, UNPAID_RECEIPTS_MAX);
    assert_eq!(provider.unpaid_receipts(channel).unwrap().len(), UNPAID_RECEIPTS_MAX);
}

#[test]
fn many_threads_get_their_own_sequence_each() {
    let Pair { provider, channel, .. } = pair(1_000_000);
    let provider = Arc::new(provider);
    let threads: Vec<_> = (1..=8)
        .map(|job| {
            let provider = Arc::clone(&provider);
            std::thread::spawn(move || {
                (1..=50)
                    .map(|slice| provider.issue_receipt(draft(channel, job, slice)).unwrap().receipt.header.sequence)
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut sequences: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=400).collect::<Vec<_>>());
}

#[test]
fn a_thread_that_breaks_off_takes_nothing_with_it_and_blocks_nobody() {
    let Pair { provider, channel, .. } = pair(1_000);
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        provider.commit(move |batch| {
            batch.issue_receipt(&draft(channel, 1, 1)).unwrap();
            panic!("breaks off")
        })
    }));
    assert!(broken.is_err());
    assert_eq!(provider.channel(channel).unwrap().sequence(), 0);
    assert_eq!(provider.issue_receipt(draft(channel, 1, 1)).unwrap().receipt.header.sequence, 1);
}

#[test]
fn after_a_restart_everything_is_there() {
    let store = MemoryStore::default();
    let provider = open(store.clone(), Role::Provider);
    let requester = open(MemoryStore::default(), Role::Requester);
    let channel = start(&provider, Role::Provider, 1_000);
    start(&requester, Role::Requester, 1_000);
    for slice in 1..=5 {
        let receipt = provider.issue_receipt(draft(channel, 1, slice)).unwrap();
        requester.record_receipt(receipt).unwrap();
        if slice == 3 {
            provider.accept_voucher(requester.issue_voucher(channel).unwrap()).unwrap();
        }
    }
    let id = provider.add_order(Order::Claim(provider.channel(channel).unwrap().head.voucher.unwrap()), NOW).unwrap();
    let before = (provider.channels().unwrap(), provider.open_orders().unwrap());
    drop(provider);
    let provider = open(store, Role::Provider);
    assert_eq!((provider.channels().unwrap(), provider.open_orders().unwrap()), before);
    assert_eq!(provider.add_order(Order::Finish(channel), NOW).unwrap(), OrderId(id.0 + 1));
    assert_eq!(provider.unpaid_receipts(channel).unwrap().len(), 2);
    assert_eq!(provider.voucher_covering(channel, 2).unwrap().unwrap().voucher.sequence, 3);
    assert_eq!(provider.voucher_covering(channel, 4).unwrap(), None);
    provider.accept_voucher(requester.issue_voucher(channel).unwrap()).unwrap();
}

proptest! {
    /// Messages between the two may be lost, doubled and overtaken; the books never disagree and nothing goes back.
    #[test]
    fn no_order_of_messages_makes_the_books_disagree(steps in proptest::collection::vec((0u8..6, any::<prop::sample::Index>()), 1..80)) {
        let Pair { requester, provider, channel } = pair(200);
        let (mut receipts, mut vouchers) = (Vec::new(), Vec::new());
        let mut slices = 0;
        for (step, which) in steps {
            let (before_r, before_p) = (requester.channel(channel).unwrap(), provider.channel(channel).unwrap());
            match step {
                0 | 1 if slices < 25 => {
                    slices += 1;
                    let issued = provider.issue_receipt(draft(channel, 1, slices));
                    prop_assert_eq!(issued.is_ok(), slices <= 20, "never above the deposit");
                    receipts.extend(issued);
                }
                2 | 3 if !receipts.is_empty() => { let _ = requester.record_receipt(*which.get(&receipts)); }
                4 => if let Ok(voucher) = requester.issue_voucher(channel) { vouchers.push(voucher) },
                5 if !vouchers.is_empty() => { let _ = provider.accept_voucher(*which.get(&vouchers)); }
                _ => {}
            }
            let (after_r, after_p) = (requester.channel(channel).unwrap(), provider.channel(channel).unwrap());
            for (before, after) in [(&before_r, &after_r), (&before_p, &after_p)] {
                prop_assert!(after.sequence() >= before.sequence() && after.paid() >= before.paid());
            }
            prop_assert!(after_r.sequence() <= after_p.sequence() && after_p.paid() <= after_r.paid());
            prop_assert!(after_r.paid() <= Amount::from_nano(200), "never above the deposit");
        }
        for receipt in receipts { let _ = requester.record_receipt(receipt); }
        prop_assert_eq!(requester.channel(channel).unwrap().root(), provider.channel(channel).unwrap().root());
    }
}
