//! A copy of a ledger, restored after the node went on, is noticed by what the chain shows and by what the other side signed.

use super::*;
use crate::ledger::testing::copy;

/// Both sides after six slices of work, all paid by voucher, and a copy of each ledger from after the third.
struct Restored {
    requester: Ledger,
    provider: Ledger,
    channel: ChannelRef,
    old_requester: MemoryStore,
    old_provider: MemoryStore,
}

fn restored() -> Restored {
    let (requester_store, provider_store) = (MemoryStore::default(), MemoryStore::default());
    let (requester, provider) = (open(requester_store.clone(), Role::Requester), open(provider_store.clone(), Role::Provider));
    let channel = start(&provider, Role::Provider, 1_000);
    start(&requester, Role::Requester, 1_000);
    work(&requester, &provider, channel, 1..=3);
    let (old_requester, old_provider) = (copy(&requester_store), copy(&provider_store));
    work(&requester, &provider, channel, 4..=6);
    Restored { requester, provider, channel, old_requester, old_provider }
}

fn work(requester: &Ledger, provider: &Ledger, channel: ChannelRef, slices: std::ops::RangeInclusive<u64>) {
    for slice in slices {
        let voucher = requester.pay_receipt(provider.issue_receipt(draft(channel, 1, slice)).unwrap()).unwrap();
        provider.accept_voucher(voucher).unwrap();
    }
}

fn frozen<T: std::fmt::Debug>(result: Result<T, LedgerError>) -> Rollback {
    match result {
        Err(LedgerError::Frozen(found)) => found,
        other => panic!("{other:?}"),
    }
}

/// Other work than the newer ledger did at that place.
fn other_draft(channel: ChannelRef, slice: u64) -> ReceiptDraft {
    ReceiptDraft { output: Digest([7; 32]), ..draft(channel, 2, slice) }
}

#[test]
fn more_drawn_on_chain_than_the_books_know_of_freezes_a_provider() {
    let Restored { channel, old_provider, .. } = restored();
    let provider = open(old_provider.clone(), Role::Provider);
    let drawn = |drawn| ChainSight { drawn: Amount::from_nano(drawn), ..sight(1_000) };
    provider.record_sight(channel, drawn(30)).unwrap();
    assert_eq!(provider.channel(channel).unwrap().rollback(), None, "what its own vouchers pay is no surprise");
    provider.record_sight(channel, drawn(60)).unwrap();
    let found = Rollback::Drawn { drawn: Amount::from_nano(60), voucher: Amount::from_nano(30) };
    assert_eq!(frozen(provider.issue_receipt(draft(channel, 1, 4))), found);
    assert_eq!(frozen(provider.end_channel(channel)), found, "its best voucher may be one that it forgot");
    drop(provider);
    let provider = open(old_provider, Role::Provider);
    assert_eq!(provider.channel(channel).unwrap().rollback(), Some(found), "it is still known after a restart");
    let audit = provider.audit().unwrap();
    assert_eq!(audit.faults().collect::<Vec<_>>(), [(channel, AuditFault::Rollback(found))]);
    assert_eq!(audit.frozen().collect::<Vec<_>>(), [(channel, found)]);
}

#[test]
fn more_drawn_on_chain_than_the_books_know_of_freezes_a_requester() {
    let Restored { channel, provider, old_requester, .. } = restored();
    let requester = open(old_requester, Role::Requester);
    requester.record_sight(channel, ChainSight { drawn: Amount::from_nano(60), ..sight(1_000) }).unwrap();
    let found = Rollback::Drawn { drawn: Amount::from_nano(60), voucher: Amount::from_nano(30) };
    let best = requester.channel(channel).unwrap().head.voucher.unwrap();
    assert_eq!(requester.issue_voucher(channel).unwrap(), best, "the one that it gave before is nothing new");
    requester.record_receipt(provider.receipts(channel, 4, 1).unwrap()[0].receipt).unwrap();
    assert_eq!(frozen(requester.issue_voucher(channel)), found);
    assert!(requester.end_channel(channel).is_ok(), "it may give the channel up");
}

#[test]
fn a_restored_provider_is_told_by_its_requesters_voucher_before_it_numbers_a_receipt_twice() {
    let Restored { requester, channel, old_provider, .. } = restored();
    let newest = requester.issue_voucher(channel).unwrap();
    let provider = open(old_provider.clone(), Role::Provider);
    let refused = provider.accept_voucher(newest);
    assert!(matches!(refused, Err(LedgerError::Voucher(VoucherFault::BeyondReceipts { issued: 3, got: 6 }))));
    let found = Rollback::Receipts { signed: 6, have: 3 };
    let claimable = |provider: &Ledger| provider.channel(channel).unwrap().claimable();
    assert_eq!(claimable(&provider), Some(newest), "the chain pays it, whatever was forgotten");
    assert_eq!(provider.channel(channel).unwrap().paid(), Amount::from_nano(30));
    assert_eq!(frozen(provider.issue_receipt(other_draft(channel, 1))), found);
    assert_eq!(frozen(provider.end_channel(channel)), found);
    drop(provider);
    let provider = open(old_provider, Role::Provider);
    assert_eq!(frozen(provider.issue_receipt(other_draft(channel, 1))), found, "it is still known after a restart");
    assert_eq!(claimable(&provider), Some(newest));
    assert_eq!(provider.audit().unwrap().frozen().collect::<Vec<_>>(), [(channel, found)]);
}

#[test]
fn a_restored_provider_that_went_on_is_told_by_the_voucher_over_its_other_receipts() {
    let Restored { requester, channel, old_provider, .. } = restored();
    let provider = open(old_provider, Role::Provider);
    for slice in 1..=5 {
        provider.issue_receipt(other_draft(channel, slice)).unwrap();
    }
    let refused = provider.accept_voucher(requester.issue_voucher(channel).unwrap());
    assert!(matches!(refused, Err(LedgerError::Voucher(VoucherFault::Root))), "{refused:?}");
    assert_eq!(frozen(provider.issue_receipt(other_draft(channel, 6))), Rollback::OtherReceipts { sequence: 6 });
}

#[test]
fn a_second_receipt_with_one_number_freezes_the_requesters_side() {
    let Restored { requester, provider: honest, channel, old_provider, .. } = restored();
    let provider = open(old_provider, Role::Provider);
    let second = provider.issue_receipt(other_draft(channel, 1)).unwrap();
    let refused = requester.record_receipt(second);
    assert!(matches!(refused, Err(LedgerError::Receipt(ReceiptFault::Equivocation { sequence: 4 }))));
    requester.record_receipt(honest.issue_receipt(draft(channel, 1, 7)).unwrap()).unwrap();
    assert_eq!(frozen(requester.issue_voucher(channel)), Rollback::SecondReceipt { sequence: 4 });
}

#[test]
fn a_forged_voucher_or_receipt_freezes_nothing() {
    let Restored { requester, provider, channel, .. } = restored();
    let beyond = Voucher { sequence: 99, ..requester.issue_voucher(channel).unwrap().voucher }.sign(&provider_key());
    assert!(matches!(provider.accept_voucher(beyond), Err(LedgerError::Voucher(VoucherFault::Signature(_)))));
    let mut forged = provider.receipts(channel, 2, 1).unwrap()[0].receipt;
    forged.receipt.header.sequence = 1;
    assert!(matches!(requester.record_receipt(forged), Err(LedgerError::Receipt(ReceiptFault::Receipt(_)))));
    assert_eq!(requester.channel(channel).unwrap().rollback(), None);
    work(&requester, &provider, channel, 7..=7);
}

#[test]
fn a_voucher_for_nothing_shows_nothing() {
    let (requester, provider) = (open(MemoryStore::default(), Role::Requester), open(MemoryStore::default(), Role::Provider));
    let channel = start(&provider, Role::Provider, 1_000);
    start(&requester, Role::Requester, 1_000);
    let nothing = Voucher { channel, sequence: 0, cumulative: Amount::ZERO, receipts_root: Digest([0; 32]) }.sign(&requester_key());
    for issued in 0..2 {
        let refused = provider.accept_voucher(nothing);
        assert!(matches!(refused, Err(LedgerError::Voucher(VoucherFault::BeyondReceipts { got: 0, .. }))), "{refused:?}");
        assert_eq!(provider.channel(channel).unwrap().rollback(), None, "{issued} receipts");
        provider.issue_receipt(draft(channel, 1, issued + 1)).unwrap();
    }
}

#[test]
fn of_vouchers_that_do_not_fit_the_first_of_those_that_pay_most_is_kept() {
    let Restored { requester, channel, old_provider, .. } = restored();
    let provider = open(old_provider, Role::Provider);
    let newest = requester.issue_voucher(channel).unwrap();
    let other = Voucher { sequence: 9, ..newest.voucher }.sign(&requester_key());
    let more = Voucher { cumulative: Amount::from_nano(newest.voucher.cumulative.nano() + 1), ..other.voucher }.sign(&requester_key());
    for (shown, kept) in [(newest, newest), (other, newest), (more, more), (other, more)] {
        assert!(provider.accept_voucher(shown).is_err());
        assert_eq!(provider.channel(channel).unwrap().claimable(), Some(kept));
    }
}

#[test]
fn what_only_gains_stays_allowed_in_a_frozen_channel() {
    let Restored { requester, provider, channel, .. } = restored();
    let receipt = provider.issue_receipt(draft(channel, 1, 7)).unwrap();
    let beyond = Voucher { sequence: 99, ..requester.issue_voucher(channel).unwrap().voucher }.sign(&requester_key());
    assert!(provider.accept_voucher(beyond).is_err());
    assert!(provider.channel(channel).unwrap().rollback().is_some());
    assert!(provider.accept_voucher(requester.pay_receipt(receipt).unwrap()).unwrap());
    assert_eq!(provider.channel(channel).unwrap().paid(), Amount::from_nano(70));
}

proptest! {
    /// A requester restored from any earlier moment, shown its provider's receipts in any order, signs nothing that its provider does
    /// not know as fitting its receipts: no two vouchers of one number ever differ.
    #[test]
    fn a_restored_requester_signs_no_second_voucher_of_a_number(
        before in 0u64..4, after in 1u64..5, shown in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let store = MemoryStore::default();
        let (requester, provider) = (open(store.clone(), Role::Requester), open(MemoryStore::default(), Role::Provider));
        let channel = start(&provider, Role::Provider, 1_000);
        start(&requester, Role::Requester, 1_000);
        if before > 0 {
            work(&requester, &provider, channel, 1..=before);
        }
        let old = copy(&store);
        work(&requester, &provider, channel, before + 1..=before + after);
        provider.issue_receipt(draft(channel, 1, before + after + 1)).unwrap();
        let receipts = provider.receipts(channel, 1, usize::MAX).unwrap();
        let requester = open(old, Role::Requester);
        for index in shown {
            let _ = requester.record_receipt(index.get(&receipts).receipt);
            let Ok(voucher) = requester.issue_voucher(channel) else { continue };
            let of_that_number = receipts.iter().find(|record| record.receipt.receipt.header.sequence == voucher.voucher.sequence).unwrap();
            prop_assert_eq!(voucher.voucher.receipts_root, of_that_number.root);
            prop_assert_eq!(voucher.voucher.cumulative, of_that_number.receipt.receipt.header.cumulative);
        }
    }
}
