//! What is entered can be asked for, page by page, now and after a restart.

use cocoon_market::offer::{Confidentiality, DeviceClaim, DeviceKind, ModelClaim, ModelClass, Serves, Tier};
use cocoon_market::{ModelId, PeerId, PriceTable, SettlementTerms};

use super::*;

fn offer() -> Verified<Offer> {
    let free = PriceTable { job: Amount::ZERO, input_per_mtok: Amount::ZERO, output_per_mtok: Amount::ZERO };
    let ChannelTerms { network, contract, challenge_window_s, .. } = terms();
    let offer = Offer {
        provider: provider_key().node_id(),
        peer: PeerId(vec![2; 38]),
        addresses: Vec::new(),
        model: ModelClaim {
            id: ModelId([9; 32]),
            name: "tiny".into(),
            class: ModelClass::TextTiny,
            serves: Serves::Text,
            context_tokens: 2048,
        },
        device: DeviceClaim { name: "cpu".into(), kind: DeviceKind::Cpu, tokens_per_s: 100 },
        price: free,
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        capacity: 1,
        slice_tokens: 10,
        float: Amount::from_nano(1_000),
        settlement: SettlementTerms { network, contract, challenge_window_s, deposit_min: Amount::ZERO },
        sequence: 1,
        issued_at: NOW,
        expires_at: NOW.plus_ms(3_600_000),
    };
    Verified::sign(offer, &provider_key()).unwrap()
}

#[test]
fn an_offer_and_its_agreements_are_found_again() {
    let Pair { provider, channel, .. } = pair(1_000);
    let id = provider.record_offer(&offer()).unwrap();
    assert_eq!(provider.record_offer(&offer()).unwrap(), id, "the same one again is no error");
    assert_eq!(provider.offer(id).unwrap().as_ref(), Some(offer().signed()));
    assert_eq!(provider.offer(OfferId([7; 32])).unwrap(), None);
    let second = Deal { jobs_max: 7, ..Deal::boundless(channel) }.sign(&requester_key(), &provider_key(), NOW);
    provider.record_agreement(&second, NOW).unwrap();
    provider.record_agreement(&second, NOW.plus_ms(1)).unwrap();
    let mut both = [agreement(), second];
    both.sort_unstable_by_key(Agreement::id);
    assert_eq!(provider.agreements(AgreementId([0; 32]), 9).unwrap(), both);
    assert_eq!(provider.agreements(AgreementId([0; 32]), 1).unwrap(), both[..1]);
    assert_eq!(provider.agreements(both[1].id(), 9).unwrap(), both[1..]);
    assert_eq!(provider.agreement(both[0].id()).unwrap().as_ref(), Some(&both[0]));
    assert_eq!(provider.agreement(AgreementId([7; 32])).unwrap(), None);
}

#[test]
fn every_voucher_is_found_again_also_those_that_a_better_one_replaced() {
    let Pair { requester, provider, channel } = pair(1_000);
    let mut given = Vec::new();
    for slice in 1..=6 {
        requester.record_receipt(provider.issue_receipt(draft(channel, 1, slice)).unwrap()).unwrap();
        if slice % 2 == 0 {
            given.push(requester.issue_voucher(channel).unwrap());
            provider.accept_voucher(given[given.len() - 1]).unwrap();
        }
    }
    for ledger in [&requester, &provider] {
        assert_eq!(ledger.vouchers(channel, 0, 9).unwrap(), given);
        assert_eq!(ledger.vouchers(channel, 3, 9).unwrap(), given[1..]);
        assert_eq!(ledger.vouchers(channel, 0, 1).unwrap(), given[..1]);
        assert!(ledger.vouchers(channel, 7, 9).unwrap().is_empty());
    }
}

#[test]
fn jobs_are_listed_in_the_order_of_their_ids() {
    let Pair { provider, channel, .. } = pair(1_000);
    for (job, slice) in [(3, 1), (1, 1), (1, 2)] {
        provider.issue_receipt(draft(channel, job, slice)).unwrap();
    }
    let jobs = provider.jobs(JobId([0; 16]), 9).unwrap();
    let seen: Vec<_> = jobs.iter().map(|(id, job)| (id.0[0], job.first_sequence, job.last_sequence, job.amount)).collect();
    assert_eq!(seen, [(1, 2, 3, Amount::from_nano(20)), (3, 1, 1, Amount::from_nano(10))]);
    assert_eq!(provider.jobs(JobId([2; 16]), 9).unwrap(), jobs[1..]);
    assert_eq!(provider.jobs(JobId([0; 16]), 1).unwrap(), jobs[..1]);
}

#[test]
fn orders_are_open_until_their_end_and_found_ever_after() {
    let Pair { requester, channel, .. } = pair(1_000);
    let first = requester.add_order(Order::Close(channel), NOW).unwrap();
    let second = requester.add_order(Order::Finish(channel), NOW).unwrap();
    let open = |id: OrderId, order: Order| (id, OrderRecord::new(order, NOW));
    assert_eq!(requester.open_orders().unwrap(), [open(first, Order::Close(channel)), open(second, Order::Finish(channel))]);
    let failed = OrderRecord { state: OrderState::Failed(OrderFailure::NoContract), ..OrderRecord::new(Order::Close(channel), NOW) };
    requester.update_order(first, failed.clone()).unwrap();
    assert_eq!(requester.open_orders().unwrap(), [open(second, Order::Finish(channel))]);
    assert_eq!(requester.order(first).unwrap(), Some(failed.clone()));
    assert_eq!(requester.order(OrderId(9)).unwrap(), None);
    assert_eq!(requester.orders(first, 1).unwrap(), [(first, failed)]);
    assert_eq!(requester.orders(second, 9).unwrap(), [open(second, Order::Finish(channel))]);
}

#[test]
fn channels_are_listed_with_what_is_on_its_way() {
    let Pair { requester, provider, channel } = pair(1_000);
    let first = provider.issue_receipt(draft(channel, 1, 1)).unwrap();
    provider.accept_voucher(requester.pay_receipt(first).unwrap()).unwrap();
    provider.issue_receipt(draft(channel, 1, 2)).unwrap();
    provider.record_sight(channel, ChainSight { drawn: Amount::from_nano(3), ..sight(1_000) }).unwrap();
    let books = provider.channels().unwrap();
    assert_eq!(books.iter().map(ChannelBook::channel).collect::<Vec<_>>(), [channel]);
    let exposure = Exposure { unpaid: Amount::from_nano(10), undrawn: Amount::from_nano(7) };
    assert_eq!(provider.exposure(Role::Provider).unwrap(), exposure);
    assert_eq!(provider.exposure(Role::Requester).unwrap(), Exposure { unpaid: Amount::ZERO, undrawn: Amount::ZERO });
    assert_eq!(books[0].free_deposit(), Amount::from_nano(980));
}

#[test]
fn who_trades_with_itself_has_one_side_of_a_channel() {
    let ledger = open(MemoryStore::default(), Role::Requester);
    let both = ChannelTerms { provider: requester_key().node_id(), ..terms() };
    let channel = ledger.record_channel(Role::Requester, both, NOW).unwrap();
    assert_eq!(ledger.record_channel(Role::Requester, both, NOW).unwrap(), channel);
    assert!(matches!(ledger.record_channel(Role::Provider, both, NOW), Err(LedgerError::OtherTerms(of)) if of == channel));
}

#[test]
fn a_ledger_shows_whose_it_is_and_no_key() {
    let ledger = open(MemoryStore::default(), Role::Requester);
    assert_eq!(ledger.node_id(), requester_key().node_id());
    assert_eq!(format!("{ledger:?}"), format!("Ledger {{ key: {:?}, .. }}", requester_key()));
    assert_eq!(ledger.commit(|batch| format!("{batch:?}")).unwrap(), "Batch { writes: 0, .. }");
}
