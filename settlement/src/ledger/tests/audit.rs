//! Every nano-unit is in one place of each line, whatever happened; and what does not fit is named.

use super::*;
use crate::ledger::audit::{Facts, Line, account};
use crate::ledger::store::Entry;

fn nano(nano: u128) -> Amount {
    Amount::from_nano(nano)
}

fn facts(owed: u128, paid: u128, ordered: u128, sight: Option<ChainSight>) -> Facts {
    Facts { owed: nano(owed), paid: nano(paid), ordered: nano(ordered), sight }
}

fn seen(status: ChannelStatus, deposit: u128, drawn: u128) -> Option<ChainSight> {
    Some(ChainSight { status, deposit: nano(deposit), drawn: nano(drawn), seen_at: NOW })
}

/// Unacknowledged, waiting, in batch, settled, disputed, refunded, held.
fn check(facts: Facts, expected: [u128; 7]) {
    let sums = account(&facts).unwrap();
    let found = [
        sums.unacknowledged_nanoton,
        sums.waiting_nanoton,
        sums.in_batch_nanoton,
        sums.settled_nanoton,
        sums.disputed_nanoton,
        sums.refunded_nanoton,
        sums.held_nanoton,
    ];
    assert_eq!(found.map(Amount::nano), expected);
}

#[test]
fn money_is_where_receipts_voucher_orders_and_chain_say() {
    let (open, closed) = (ChannelStatus::Open, ChannelStatus::Closed);
    let closing = |deadline_s| ChannelStatus::Closing { deadline_s };
    let now_s = u32::try_from(NOW.unix_s()).unwrap();
    check(facts(0, 0, 0, None), [0, 0, 0, 0, 0, 0, 0]);
    check(facts(90, 70, 0, seen(open, 100, 40)), [20, 30, 0, 40, 0, 0, 60]);
    check(facts(90, 70, 60, seen(open, 100, 40)), [20, 10, 20, 40, 0, 0, 60]);
    check(facts(90, 70, 40, seen(open, 100, 40)), [20, 30, 0, 40, 0, 0, 60]);
    check(facts(90, 70, 70, seen(open, 50, 40)), [20, 0, 10, 40, 20, 0, 10]);
    check(facts(90, 70, 70, seen(closed, 100, 40)), [20, 0, 0, 40, 30, 60, 0]);
    check(facts(90, 70, 0, seen(closing(now_s + 1), 100, 40)), [20, 30, 0, 40, 0, 0, 60]);
    check(facts(90, 70, 70, seen(closing(now_s), 100, 40)), [20, 0, 0, 40, 30, 0, 60]);
}

#[test]
fn facts_that_contradict_each_other_have_no_account() {
    let open = ChannelStatus::Open;
    let check = |facts, fault| assert_eq!(account(&facts), Err(fault));
    check(facts(10, 11, 0, None), AuditFault::VoucherAboveReceipts { receipted: nano(10), acknowledged: nano(11) });
    check(facts(50, 50, 0, seen(open, 40, 41)), AuditFault::DrawnAboveDeposit { deposited: nano(40), drawn: nano(41) });
    check(facts(50, 39, 0, seen(open, 40, 40)), AuditFault::Rollback(Rollback::Drawn { drawn: nano(40), voucher: nano(39) }));
}

#[test]
fn a_line_that_does_not_sum_is_named() {
    let good = account(&facts(90, 70, 60, seen(ChannelStatus::Open, 100, 40))).unwrap();
    let check = |change: fn(&mut Sums), line, whole, parts| {
        let mut sums = good;
        change(&mut sums);
        assert_eq!(sums.check(), Err(AuditFault::Unbalanced { line, whole: nano(whole), parts: nano(parts) }));
    };
    assert_eq!(good.check(), Ok(()));
    check(|sums| sums.unacknowledged_nanoton = Amount::from_nano(21), Line::Receipted, 90, 91);
    for change in [
        |sums: &mut Sums| sums.waiting_nanoton = Amount::from_nano(11),
        |sums: &mut Sums| sums.in_batch_nanoton = Amount::from_nano(21),
        |sums: &mut Sums| sums.disputed_nanoton = Amount::from_nano(1),
    ] {
        check(change, Line::Acknowledged, 70, 71);
    }
    check(|sums| sums.held_nanoton = Amount::from_nano(61), Line::Deposited, 100, 101);
    check(|sums| sums.refunded_nanoton = Amount::from_nano(1), Line::Deposited, 100, 101);
    let huge = Sums { receipted_nanoton: Amount::MAX, unacknowledged_nanoton: Amount::MAX, ..Sums::ZERO };
    assert_eq!(huge.check(), Ok(()));
    assert_eq!(Sums { acknowledged_nanoton: nano(1), ..huge }.check(), Err(AuditFault::Amount));
    assert!(huge.checked_add(&huge).is_err());
}

/// A provider's ledger with two jobs of three slices each, the first four slices paid.
fn worked() -> (MemoryStore, Ledger, ChannelRef) {
    let store = MemoryStore::default();
    let provider = open(store.clone(), Role::Provider);
    let requester = open(MemoryStore::default(), Role::Requester);
    let channel = start(&provider, Role::Provider, 1_000);
    start(&requester, Role::Requester, 1_000);
    for at in 0..6 {
        let receipt = provider.issue_receipt(draft(channel, 1 + at / 3, u64::from(at % 3) + 1)).unwrap();
        requester.record_receipt(receipt).unwrap();
        if at == 3 {
            provider.accept_voucher(requester.issue_voucher(channel).unwrap()).unwrap();
        }
    }
    (store, provider, channel)
}

#[test]
fn a_ledger_is_summed_for_each_channel_each_party_and_in_total() {
    let (_, provider, channel) = worked();
    provider.add_order(Order::Claim(provider.channel(channel).unwrap().head.voucher.unwrap()), NOW).unwrap();
    let audit = provider.audit().unwrap();
    let sums = audit.channels[0].sums.unwrap();
    assert_eq!(sums.receipted_nanoton, nano(60));
    assert_eq!((sums.unacknowledged_nanoton, sums.in_batch_nanoton, sums.waiting_nanoton), (nano(20), nano(40), Amount::ZERO));
    assert_eq!((audit.channels[0].peer, audit.channels[0].receipts), (requester_key().node_id(), 6));
    assert_eq!((audit.as_provider, audit.as_requester), (sums, Sums::ZERO));
    assert_eq!(audit.parties, [PartyAudit { side: Role::Provider, peer: requester_key().node_id(), channels: 1, sums }]);
    assert_eq!(audit.faults().count() + audit.frozen().count(), 0);
}

#[test]
fn many_channels_of_many_parties_add_up() {
    let row = |peer: u8, side, owed, paid| ChannelAudit {
        channel: ChannelRef { network: NetworkId::DEVNET, address: ContractAddress([peer; 32]) },
        side,
        peer: cocoon_market::NodeId([peer; 32]),
        status: None,
        seen_at: None,
        receipts: 1,
        sums: Some(account(&facts(owed, paid, 0, seen(ChannelStatus::Open, 100, 0))).unwrap()),
        fault: None,
        frozen: None,
    };
    let faulty = ChannelAudit { sums: None, fault: Some(AuditFault::Amount), ..row(1, Role::Provider, 50, 50) };
    let rows =
        vec![row(1, Role::Provider, 10, 5), row(1, Role::Provider, 20, 5), row(1, Role::Requester, 7, 7), row(2, Role::Provider, 1, 0)];
    let audit = Audit::of(rows.into_iter().chain([faulty]).collect()).unwrap();
    let seen: Vec<_> =
        audit.parties.iter().map(|party| (party.side, party.peer.0[0], party.channels, party.sums.receipted_nanoton)).collect();
    assert_eq!(seen, [(Role::Provider, 1, 3, nano(30)), (Role::Provider, 2, 1, nano(1)), (Role::Requester, 1, 1, nano(7))]);
    assert_eq!((audit.as_provider.receipted_nanoton, audit.as_requester.receipted_nanoton), (nano(31), nano(7)));
    assert_eq!(audit.faults().map(|(_, fault)| fault).collect::<Vec<_>>(), [AuditFault::Amount]);
}

/// The ledger's store without some of its entries, opened again.
fn without(store: &MemoryStore, leave_out: impl Fn(Table, &Entry) -> bool) -> Ledger {
    let copy = MemoryStore::default();
    for table in Table::ALL {
        for entry in store.scan(table, &[], &[], usize::MAX).unwrap() {
            if !leave_out(table, &entry) {
                let write = Write { table, key: entry.0, value: entry.1, mode: WriteMode::Put };
                copy.commit(&[write]).unwrap();
            }
        }
    }
    open(copy, Role::Provider)
}

#[test]
fn entries_that_are_gone_are_missed_by_the_audit() {
    let (store, _, channel) = worked();
    let fault = |ledger: Ledger| ledger.audit().unwrap().channels[0].fault;
    assert_eq!(fault(without(&store, |_, _| false)), None);
    // What is paid already is not read at the opening, so nobody else would notice.
    let paid = without(&store, |table, (key, _)| table == Table::Receipts && *key == sequence_key(channel, 2));
    assert_eq!(fault(paid), Some(AuditFault::ReceiptCount { stored: 5, counted: 6 }));
    let job = without(&store, |table, (key, _)| table == Table::Jobs && *key == job_key(JobId([1; 16])));
    assert_eq!(fault(job), Some(AuditFault::JobSum { jobs: nano(30), counted: nano(60) }));
}

#[test]
fn a_receipt_that_is_written_and_not_yet_booked_is_no_fault() {
    let (store, provider, channel) = worked();
    // For a moment of each commit the store is ahead of the books; here another ledger keeps it so.
    open(store, Role::Provider).issue_receipt(draft(channel, 2, 4)).unwrap();
    let audit = provider.audit().unwrap();
    assert_eq!((audit.channels[0].receipts, audit.channels[0].fault), (6, None));
}

#[test]
fn a_receipt_of_another_amount_is_noticed_by_the_audit() {
    let (store, _, channel) = worked();
    let change = |sequence, change: &dyn Fn(&mut ReceiptRecord)| {
        let copy = MemoryStore::default();
        let key = sequence_key(channel, sequence);
        for table in Table::ALL {
            for (at, mut value) in store.scan(table, &[], &[], usize::MAX).unwrap() {
                if table == Table::Receipts && at == key {
                    let mut record: ReceiptRecord = decode(table, &value).unwrap();
                    change(&mut record);
                    value = record::encode(table, &record).unwrap();
                }
                copy.commit(&[Write { table, key: at, value, mode: WriteMode::Put }]).unwrap();
            }
        }
        open(copy, Role::Provider).audit().unwrap().channels[0].fault
    };
    assert_eq!(
        change(5, &|record| record.receipt.receipt.body.amount = nano(11)),
        Some(AuditFault::ReceiptSum { stored: nano(61), counted: nano(60) })
    );
    assert_eq!(change(4, &|record| record.root = Digest([9; 32])), Some(AuditFault::VoucherUnbacked { sequence: 4 }));
}

proptest! {
    /// Whatever the facts are, an account that is made sums, and one that is not made has a reason.
    #[test]
    fn every_account_sums(
        (owed, paid, ordered) in (0u128..200, 0u128..200, 0u128..200),
        sight in proptest::option::of((0u128..200, 0u128..200, 0u8..4)),
    ) {
        let now_s = u32::try_from(NOW.unix_s()).unwrap();
        let sight = sight.and_then(|(deposit, drawn, status)| {
            let status = match status {
                0 => ChannelStatus::Open,
                1 => ChannelStatus::Closing { deadline_s: now_s + 1 },
                2 => ChannelStatus::Closing { deadline_s: now_s },
                _ => ChannelStatus::Closed,
            };
            seen(status, deposit, drawn)
        });
        let may_be = paid <= owed && sight.is_none_or(|sight| sight.drawn <= sight.deposit && sight.drawn <= nano(paid));
        match account(&facts(owed, paid, ordered, sight)) {
            Ok(sums) => {
                prop_assert!(may_be);
                let parts = [sums.unacknowledged_nanoton, sums.waiting_nanoton, sums.in_batch_nanoton, sums.settled_nanoton, sums.disputed_nanoton];
                prop_assert_eq!(Amount::sum(parts).unwrap(), nano(owed));
                let chain = [sums.settled_nanoton, sums.refunded_nanoton, sums.held_nanoton];
                prop_assert_eq!(Amount::sum(chain).unwrap(), sight.map_or(Amount::ZERO, |sight| sight.deposit));
                // What is still to be drawn is there to be drawn.
                let to_draw = sums.waiting_nanoton.checked_add(sums.in_batch_nanoton).unwrap();
                prop_assert!(to_draw <= sums.held_nanoton);
            }
            Err(_) => prop_assert!(!may_be),
        }
    }

    /// Both sides' books sum after any work, and what one is owed the other one owes, but for what is on its way.
    #[test]
    fn both_sides_sum_and_never_contradict(steps in proptest::collection::vec((0u8..4, 1u8..4), 1..60)) {
        let Pair { requester, provider, channel } = pair(200);
        let mut slices = [0u64; 4];
        for (step, job) in steps {
            let slice = &mut slices[usize::from(job)];
            match step {
                0 => if let Ok(receipt) = provider.issue_receipt(draft(channel, job, *slice + 1)) {
                    *slice += 1;
                    requester.record_receipt(receipt).unwrap();
                },
                1 => if let Ok(voucher) = requester.issue_voucher(channel) { provider.accept_voucher(voucher).unwrap(); },
                2 => if let Some(best) = provider.channel(channel).unwrap().head.voucher {
                    provider.add_order(Order::Claim(best), NOW).unwrap();
                },
                _ => {
                    let drawn = provider.channel(channel).unwrap().paid();
                    for ledger in [&requester, &provider] {
                        ledger.record_sight(channel, ChainSight { drawn, ..sight(200) }).unwrap();
                    }
                }
            }
        }
        let (owed, owes) = (provider.audit().unwrap(), requester.audit().unwrap());
        prop_assert_eq!(owed.faults().count() + owes.faults().count(), 0);
        let (owed, owes) = (owed.as_provider, owes.as_requester);
        prop_assert_eq!(owed.receipted_nanoton, owes.receipted_nanoton);
        prop_assert_eq!(owed.settled_nanoton, owes.settled_nanoton);
        prop_assert!(owed.acknowledged_nanoton <= owes.acknowledged_nanoton);
    }
}
