//! The collateral that stands behind open agreements.

use super::super::backing::Backing;
use super::*;

const HOUR_MS: u64 = 3_600_000;

/// The provider's part of another agreement of a channel, made so long after the start. It lasts an hour.
fn agree(world: &World, channel: ChannelRef, cap: Amount, after_ms: u64) -> Agreement {
    let made_at = Timestamp(START_MS + after_ms);
    let agreement = Deal { cap: cap.nano(), ..Deal::boundless(channel) }.sign(&requester_key(), &provider_key(), made_at);
    world.provider.ledger().record_agreement(&agreement, world.now()).unwrap();
    agreement
}

fn backing(world: &World, cap: Amount) -> Backing {
    world.provider.backing_with(cap, world.now()).unwrap().unwrap()
}

#[test]
fn an_agreement_needs_collateral_while_its_channel_can_pay_and_it_is_not_over() {
    let world = World::new();
    assert_eq!(backing(&world, nano(100)), Backing { standing: ton(2), open: Amount::ZERO, needed: nano(300) });
    let (world, channel) = World::with_channel(ton(1));
    // A channel that can pay 1, whatever its agreement allows: 1.5 x (1 + 1).
    assert_eq!(backing(&world, Amount::ZERO), Backing { standing: ton(2), open: ton(3), needed: ton(3) });
    assert_eq!(backing(&world, ton(2)).needed, nano(7_500_000_000), "1.5 x (3 + 2)");
    assert_eq!(backing(&world, Amount::MAX).needed, Amount::MAX, "more than all money");
    agree(&world, channel, nano(10), 0);
    assert_eq!(backing(&world, Amount::ZERO).open, ton(3), "and it can pay no more to two");
    let after = |ms| world.provider.backing_with(Amount::ZERO, Timestamp(START_MS + ms)).unwrap().unwrap().open;
    assert_eq!((after(HOUR_MS - 1), after(HOUR_MS)), (ton(3), Amount::ZERO), "they end after an hour");
    // Those of a requester are nobody's collateral.
    assert_eq!(world.requester.backing_with(Amount::ZERO, world.now()).unwrap(), None);
}

#[test]
fn a_channel_that_ends_needs_no_collateral() {
    let (world, channel) = World::with_channel(ton(1));
    world.provider.ledger().end_channel(channel).unwrap();
    assert_eq!(backing(&world, Amount::ZERO).open, Amount::ZERO);
    let (world, channel) = World::with_channel(ton(1));
    world.requester.ledger().add_order(Order::Close(channel), world.now()).unwrap();
    world.requester.tick(world.now()).unwrap();
    world.provider.observe(channel).unwrap();
    assert_eq!(backing(&world, Amount::ZERO).open, Amount::ZERO);
}

#[test]
fn what_we_buy_needs_no_collateral_of_ours() {
    let (world, channel) = World::with_channel(ton(1));
    // A node that sells too: its ledger has agreements of both sides.
    let both = Settler::new(Arc::clone(&world.faulty) as _, wallet(21), Arc::clone(world.requester.ledger()));
    let terms = ProviderTerms { operator: requester_key().node_id(), ..provider_terms() };
    let both = both.with_provider(terms);
    both.ledger().add_order(Order::Stake { terms, amount: ton(1), bond: ton(1), operations: ton(1) }, world.now()).unwrap();
    both.tick(world.now()).unwrap();
    assert_eq!(both.ledger().open_agreements(world.now(), 9).unwrap()[0].channel, channel);
    let needed = both.backing_with(Amount::ZERO, world.now()).unwrap().unwrap();
    assert_eq!(needed, Backing { standing: ton(1), open: Amount::ZERO, needed: Amount::ZERO });
    assert_eq!(both.allocate(&both.own_contract().unwrap().unwrap(), world.now()).unwrap(), None);
}

#[test]
fn the_contract_is_told_once_what_stands_behind_open_agreements() {
    let (world, channel) = World::with_channel(ton(1));
    let (provider, now) = (&world.provider, world.now());
    let (contract, later) = (world.contract().contract, Timestamp(START_MS + 2 * HOUR_MS));
    agree(&world, channel, nano(400_000_000), 2 * HOUR_MS);
    let told = |at| {
        let id = provider.allocate(&world.contract(), at).unwrap().unwrap();
        assert_eq!(provider.allocate(&world.contract(), at).unwrap(), None, "it is ordered already");
        let Order::Operator { contract: of, command: Command::Allocate(amount) } = provider.ledger().order(id).unwrap().unwrap().order
        else {
            panic!("an allocation is an operator's order")
        };
        assert_eq!(of, contract);
        provider.tick(now).unwrap();
        assert_eq!((world.contract().data.stake.allocated, world.contract().data.stake.standing()), (amount, ton(2)));
        assert_eq!(provider.allocate(&world.contract(), at).unwrap(), None, "and then it is told");
        amount
    };
    // 1.5 x (0.4 + 0.4) is 1.2 of 2, in eighths.
    assert_eq!(told(later), nano(1_250_000_000));
    assert_eq!(told(now), ton(2), "before the first one ends: all there is");
    assert_eq!(told(Timestamp(later.0 + HOUR_MS)), Amount::ZERO, "what is over needs none");
}

#[test]
fn agreements_are_found_in_the_order_in_which_they_end() {
    let (world, channel) = World::with_channel(ton(1));
    let later = agree(&world, channel, nano(7), 1_000);
    let open = |ledger: &Ledger, limit| {
        let open = ledger.open_agreements(Timestamp(START_MS), limit).unwrap();
        open.into_iter().map(|open| (open.id, open.channel, open.at_risk)).collect::<Vec<_>>()
    };
    let both = [(World::agreement(channel).id(), channel, Amount::MAX), (later.id(), channel, nano(7))];
    let ledger = world.provider.ledger();
    assert_eq!((open(ledger, 9), open(ledger, 1)), (both.to_vec(), both[..1].to_vec()));
    let first_ends = Timestamp(START_MS + HOUR_MS);
    assert_eq!(ledger.open_agreements(first_ends, 9).unwrap().len(), 1, "it is over when it ends");
}
