//! A ledger whose entries do not fit together is not opened.

use cocoon_market::tree::Frontier;
use cocoon_market::{SignedVoucher, keys::Signature};

use super::*;
use crate::ledger::record::{channel_key, encode};
use crate::ledger::state::channel_of;
use crate::ledger::store::Entry;

/// A store with two receipts of a provider's channel, the first of them paid.
fn written() -> (MemoryStore, ChannelRef) {
    let store = MemoryStore::default();
    let provider = open(store.clone(), Role::Provider);
    let channel = start(&provider, Role::Provider, 1_000);
    let requester = open(MemoryStore::default(), Role::Requester);
    start(&requester, Role::Requester, 1_000);
    let first = provider.issue_receipt(draft(channel, 1, 1)).unwrap();
    provider.accept_voucher(requester.pay_receipt(first).unwrap()).unwrap();
    provider.issue_receipt(draft(channel, 1, 2)).unwrap();
    (store, channel)
}

fn put(store: &MemoryStore, table: Table, key: Vec<u8>, value: Vec<u8>) {
    store.commit(&[Write { table, key, value, mode: WriteMode::Put }]).unwrap();
}

/// The same store without the entries that `leave_out` names.
fn without(store: &MemoryStore, leave_out: impl Fn(Table, &Entry) -> bool) -> MemoryStore {
    let copy = MemoryStore::default();
    for table in Table::ALL {
        let entries = store.scan(table, &[], &[], usize::MAX).unwrap();
        entries.into_iter().filter(|entry| !leave_out(table, entry)).for_each(|(key, value)| put(&copy, table, key, value));
    }
    copy
}

fn damage(store: MemoryStore) -> Option<Damage> {
    match Ledger::open(store, provider_key()) {
        Ok(_) => None,
        Err(LedgerError::Store(StoreError::Damaged(damage))) => Some(damage),
        Err(other) => panic!("{other:?}"),
    }
}

/// What becomes of a ledger whose channel's head says other than was written.
fn with_head(store: &MemoryStore, channel: ChannelRef, change: impl FnOnce(&mut Head)) -> Option<Damage> {
    let copy = without(store, |_, _| false);
    let bytes = copy.get(Table::Heads, &channel_key(channel)).unwrap().unwrap();
    let mut head: Head = decode(Table::Heads, &bytes).unwrap();
    change(&mut head);
    put(&copy, Table::Heads, channel_key(channel), encode(Table::Heads, &head).unwrap());
    damage(copy)
}

/// A frontier as only a damaged store has it.
fn frontier(count: u64, peaks: Vec<Digest>) -> Frontier {
    #[derive(serde::Serialize)]
    struct Parts {
        count: u64,
        peaks: Vec<Digest>,
    }
    serde_cbor::from_slice(&serde_cbor::to_vec(&Parts { count, peaks }).unwrap()).unwrap()
}

const CONTRADICTION: Option<Damage> = Some(Damage::Contradiction(Table::Heads));

#[test]
fn a_head_that_does_not_fit_the_last_receipt_is_noticed() {
    let (store, channel) = written();
    let check = |change: &dyn Fn(&mut Head)| with_head(&store, channel, change);
    assert_eq!(check(&|_| ()), None);
    assert_eq!(check(&|head| head.owed = Amount::from_nano(21)), CONTRADICTION);
    assert_eq!(check(&|head| head.last_receipt = Some(Digest([9; 32]))), CONTRADICTION);
    assert_eq!(check(&|head| head.receipts = frontier(2, vec![Digest([9; 32])])), CONTRADICTION, "another root");
    let root = open(store.clone(), Role::Provider).channel(channel).unwrap().root();
    let second = store.get(Table::Receipts, &sequence_key(channel, 2)).unwrap().unwrap();
    let longer = without(&store, |_, _| false);
    put(&longer, Table::Receipts, sequence_key(channel, 3), second);
    let fits_but_for_its_parts = |head: &mut Head| head.receipts = frontier(3, vec![root]);
    assert_eq!(with_head(&longer, channel, fits_but_for_its_parts), CONTRADICTION, "three receipts have two peaks");
}

#[test]
fn a_voucher_ahead_of_the_receipts_is_noticed() {
    let (store, channel) = written();
    let check = |change: &dyn Fn(&mut Voucher)| {
        with_head(&store, channel, |head| {
            let SignedVoucher { mut voucher, .. } = head.voucher.unwrap();
            change(&mut voucher);
            head.voucher = Some(SignedVoucher { voucher, signature: Signature([0; 64]) });
        })
    };
    assert_eq!(check(&|voucher| voucher.sequence = 3), CONTRADICTION);
    assert_eq!(check(&|voucher| voucher.cumulative = Amount::from_nano(21)), CONTRADICTION);
    assert_eq!(check(&|voucher| (voucher.sequence, voucher.cumulative) = (2, Amount::from_nano(20))), None);
}

#[test]
fn a_channel_without_receipts_owes_nothing() {
    let store = MemoryStore::default();
    let channel = start(&open(store.clone(), Role::Provider), Role::Provider, 1_000);
    let check = |change: &dyn Fn(&mut Head)| with_head(&store, channel, change);
    assert_eq!(check(&|_| ()), None);
    assert_eq!(check(&|head| head.owed = Amount::from_nano(1)), CONTRADICTION);
    assert_eq!(check(&|head| head.last_receipt = Some(Digest([9; 32]))), CONTRADICTION);
    assert_eq!(check(&|head| head.receipts = frontier(1, vec![Digest([9; 32])])), CONTRADICTION);
}

#[test]
fn entries_that_are_gone_are_missed() {
    let (store, channel) = written();
    assert_eq!(damage(without(&store, |table, _| table == Table::Heads)), CONTRADICTION);
    let lost = |sequence| without(&store, |table, (key, _)| table == Table::Receipts && *key == sequence_key(channel, sequence));
    assert_eq!(damage(lost(2)), CONTRADICTION);
    assert_eq!(damage(lost(1)), None, "paid ones are not read back");
    let provider = open(store.clone(), Role::Provider);
    provider.issue_receipt(draft(channel, 1, 3)).unwrap();
    let unpaid_one = without(&store, |table, (key, _)| table == Table::Receipts && *key == sequence_key(channel, 2));
    assert_eq!(damage(unpaid_one), Some(Damage::Contradiction(Table::Receipts)));
}

#[test]
fn a_ledger_of_another_version_is_refused() {
    let (store, _) = written();
    put(&store, Table::Meta, b"format".to_vec(), encode(Table::Meta, &2u32).unwrap());
    assert_eq!(damage(store), Some(Damage::Format { found: 2, readable: 1 }));
}

#[test]
fn a_long_ledger_is_read_back_whole() {
    let store = MemoryStore::default();
    let provider = open(store.clone(), Role::Provider);
    let channel = start(&provider, Role::Provider, 1_500);
    let job = |number: u128| JobId(number.to_be_bytes());
    let drafts: Vec<_> =
        (1..=1_500).map(|number| ReceiptDraft { job: job(number), amount: Amount::from_nano(1), ..draft(channel, 1, 1) }).collect();
    assert!(provider.commit(move |batch| drafts.iter().all(|draft| batch.issue_receipt(draft).is_ok())).unwrap());
    let order = move || OrderRecord::new(Order::Finish(channel), NOW);
    provider.commit(move |batch| (0..1_500).for_each(|_| assert!(batch.add_order(order()).is_ok()))).unwrap();
    let done = OrderRecord { state: OrderState::Failed(OrderFailure::NoContract), ..order() };
    provider.update_order(OrderId(7), done).unwrap();
    let again = open(store, Role::Provider);
    assert_eq!(again.audit().unwrap().faults().count(), 0, "all of its receipts and jobs are counted");
    assert_eq!(again.channels().unwrap(), provider.channels().unwrap());
    assert_eq!(again.open_orders().unwrap(), provider.open_orders().unwrap());
    assert_eq!((again.open_orders().unwrap().len(), again.open_orders().unwrap()[0].0), (1_499, OrderId(1)));
    assert_eq!(again.add_order(Order::Finish(channel), NOW).unwrap(), OrderId(1_501));
}

#[test]
fn a_requesters_ledger_is_read_back_whole() {
    let (store, provider) = (MemoryStore::default(), open(MemoryStore::default(), Role::Provider));
    let channel = start(&provider, Role::Provider, 1_000);
    let requester = open(store.clone(), Role::Requester);
    start(&requester, Role::Requester, 1_000);
    requester.record_receipt(provider.issue_receipt(draft(channel, 1, 1)).unwrap()).unwrap();
    assert_eq!(open(store, Role::Requester).channels().unwrap(), requester.channels().unwrap());
}

#[test]
fn a_channel_is_its_key_read_back() {
    for network in [NetworkId::MAINNET, NetworkId(-1), NetworkId(0), NetworkId(5), NetworkId(i32::MAX), NetworkId(i32::MIN)] {
        let channel = ChannelRef { network, address: ContractAddress([7; 32]) };
        assert_eq!(channel_of(&channel_key(channel)).unwrap(), channel);
    }
    let ordered = [NetworkId(i32::MIN), NetworkId(-1), NetworkId(0), NetworkId(i32::MAX)];
    let keys = ordered.map(|network| channel_key(ChannelRef { network, address: ContractAddress([7; 32]) }));
    assert!(keys.is_sorted(), "keys are ordered as the networks are");
    assert!(channel_of(&[0; 35]).is_err() && channel_of(&[0; 3]).is_err());
}

#[test]
fn an_order_given_and_carried_out_in_one_commit_is_entered_as_it_ended() {
    let store = MemoryStore::default();
    let ledger = open(store.clone(), Role::Provider);
    let channel = start(&ledger, Role::Provider, 1_000);
    let done = OrderRecord { state: OrderState::Failed(OrderFailure::NoContract), ..OrderRecord::new(Order::Finish(channel), NOW) };
    let record = done.clone();
    let id = ledger
        .commit(move |batch| {
            let id = batch.add_order(OrderRecord::new(Order::Finish(channel), NOW))?;
            batch.update_order(id, record)?;
            Ok::<_, LedgerError>(id)
        })
        .unwrap()
        .unwrap();
    assert_eq!(open(store, Role::Provider).order(id).unwrap(), Some(done));
}

#[test]
fn a_signature_of_somebody_else_than_the_counterparty_is_for_no_channel_of_ours() {
    let Pair { requester, provider, channel } = pair(1_000);
    let receipt = provider.issue_receipt(draft(channel, 1, 1)).unwrap();
    let forged = CheckedReceipt::new(receipt.receipt.sign(&requester_key()), requester_key().node_id()).unwrap();
    let refused = requester.commit(move |batch| batch.record_receipt(&forged)).unwrap().unwrap_err();
    assert!(matches!(refused, LedgerError::Receipt(ReceiptFault::OtherChannel)), "{refused:?}");
    let voucher = requester.pay_receipt(receipt).unwrap().voucher;
    let forged = CheckedVoucher::new(voucher.sign(&provider_key()), provider_key().node_id()).unwrap();
    let refused = provider.commit(move |batch| batch.accept_voucher(&forged)).unwrap().unwrap_err();
    assert!(matches!(refused, LedgerError::Voucher(VoucherFault::OtherChannel)), "{refused:?}");
}
