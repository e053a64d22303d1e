//! When claims are ordered, how they travel, and what follows when they are refused.

use super::*;

#[test]
fn a_claim_that_somebody_else_delivered_is_confirmed() {
    let (world, channel) = World::with_channel(ton(1));
    world.work(channel, 1, nano(100_000_000));
    let now = world.now();
    let id = world.provider.claim(channel, now).unwrap().unwrap();
    assert_eq!(world.provider.claim(channel, now).unwrap(), None, "one order is enough");
    let voucher = world.provider.ledger().channel(channel).unwrap().head().voucher.unwrap();
    let body = ChannelMessage::Claim(voucher).to_cell(0).unwrap();
    let outgoing =
        Outgoing { to: channel.address.into(), value: nano(50_000_000), bounce: Bounce::Yes, body: Some(body), state_init: None };
    let seqno = next_seqno(&world.chain.account(&wallet(21).address()).unwrap()).unwrap();
    world.chain.send_boc(&wallet(21).sign(seqno, u32::MAX, &[outgoing]).unwrap().boc).unwrap();
    world.provider.tick(now).unwrap();
    assert!(matches!(world.provider.ledger().order(id).unwrap().unwrap().state, OrderState::Confirmed(_)));
    assert_eq!(world.provider.ledger().channel(channel).unwrap().undrawn(), Amount::ZERO);
}

#[test]
fn a_batch_is_ordered_when_operations_carry_it_to_the_nano_unit() {
    for (missing, is_batch) in [(1, false), (0, true)] {
        let (world, channel) = World::with_channel(ton(1));
        world.work(channel, 1, nano(400_000_000));
        let contract = Address::from(provider_terms().address().unwrap());
        let mut shown = world.chain.account(&contract).unwrap();
        let spare = world.contract().operations().saturating_sub(batch_needs(1).unwrap());
        shown.balance = shown.balance.saturating_sub(spare).saturating_sub(nano(missing));
        *world.faulty.dropped.lock().unwrap() = Some((contract, shown));
        world.provider.watch(CLAIM_ALL, world.now()).unwrap();
        let orders = world.provider.ledger().open_orders().unwrap();
        assert_eq!(orders.iter().map(|(_, record)| record.order.sender() == Sender::Operator).collect::<Vec<_>>(), [is_batch]);
    }
}

#[test]
fn a_batch_draws_from_all_channels_that_are_due_in_one_message() {
    let world = World::new();
    let channels: Vec<_> = (1..=4)
        .map(|salt| {
            let (channel, _) = world.requester.open(world.terms(salt), ton(1), world.now()).unwrap();
            world.requester.tick(world.now()).unwrap();
            world.requester.observe(channel).unwrap();
            world.provider.admit(&world.expected(channel), world.now()).unwrap();
            world.agree(channel);
            world.work(channel, salt, nano(u128::from(salt) * 100_000_000));
            channel
        })
        .collect();
    let (operations, wallet) = (world.contract().operations(), world.balance(world.provider.account()));
    world.provider.watch(CLAIM_ALL, world.now()).unwrap();
    let progress = world.provider.tick(world.now()).unwrap();
    assert!(matches!(progress[..], [Progress::Sent { .. }, Progress::Confirmed { .. }]), "{progress:?}");
    assert_eq!((world.balance(PAYOUT), world.fees()), (nano(950_000_000), nano(50_000_000)));
    assert_eq!(world.balance(world.provider.account()), wallet, "the wallet has no part in it");
    let cost = operations.checked_sub(world.contract().operations()).unwrap();
    let bound = CLAIM_COST.checked_mul(4).unwrap().checked_add(BATCH_COST).unwrap();
    assert!(cost <= bound && cost.nano() * 2 > bound.nano(), "it cost {cost}, and {bound} is what policies count with");
    for channel in channels {
        assert!(world.provider.ledger().channel(channel).unwrap().undrawn().is_zero());
    }
}

#[test]
fn a_channel_that_pays_to_another_contract_is_claimed_from_the_wallet() {
    let (world, channel) = World::with_channel(ton(1));
    world.work(channel, 1, nano(400_000_000));
    let other = ProviderTerms { class: 9, ..provider_terms() };
    let deploy = Order::Stake { terms: other, amount: ton(1), bond: Amount::ZERO, operations: ton(1) };
    world.provider.ledger().add_order(deploy, world.now()).unwrap();
    world.provider.tick(world.now()).unwrap();
    let moved = Settler::new(Arc::clone(&world.faulty) as _, wallet(22), Arc::clone(world.provider.ledger())).with_provider(other);
    moved.watch(CLAIM_ALL, world.now()).unwrap();
    assert!(matches!(moved.ledger().open_orders().unwrap()[..], [(_, ref record)] if matches!(record.order, Order::Claim(_))));
    moved.tick(world.now()).unwrap();
    assert_eq!(world.balance(PAYOUT), nano(380_000_000));
}

#[test]
fn an_operations_balance_that_carries_no_batch_makes_the_wallet_claim() {
    let (world, channel) = World::with_channel(ton(1));
    world.work(channel, 1, nano(400_000_000));
    let provider = Settler::new(Arc::clone(&world.faulty) as _, wallet(22), Arc::clone(world.provider.ledger()));
    assert!(provider.own_contract().unwrap().is_none(), "one that does not know its contract has no operations");
    provider.watch(CLAIM_ALL, world.now()).unwrap();
    assert!(matches!(provider.ledger().open_orders().unwrap()[..], [(_, ref record)] if matches!(record.order, Order::Claim(_))));
    provider.tick(world.now()).unwrap();
    assert_eq!((world.balance(PAYOUT), world.fees()), (nano(380_000_000), nano(20_000_000)));
}

#[test]
fn an_operators_order_waits_for_operations_and_holds_up_nobody() {
    let world = World::new();
    let now = world.now();
    let order = |order| world.provider.ledger().add_order(order, now).unwrap();
    let nowhere = ProviderTerms { class: 9, ..provider_terms() }.address().unwrap();
    let poor = order(Order::Operator { contract: nowhere, command: Command::Allocate(nano(1)) });
    let contract = provider_terms().address().unwrap();
    let allocate = order(Order::Operator { contract, command: Command::Allocate(ton(2)) });
    let gift = order(Order::Transfer { to: ContractAddress([0xcc; 32]), amount: nano(7) });
    let progress = world.provider.tick(now).unwrap();
    let confirmed = |id| progress.iter().any(|step| matches!(step, Progress::Confirmed { order, .. } if *order == id));
    assert!(confirmed(allocate) && confirmed(gift), "{progress:?}");
    let needs = |step: &Progress| matches!(step, Progress::NeedsFunds { order, sender: Sender::Operator, .. } if *order == poor);
    assert!(progress.iter().any(needs), "{progress:?}");
    assert_eq!(world.contract().data.stake.allocated, ton(2));
}

#[test]
fn what_the_contract_would_refuse_from_outside_is_dead_after_its_time_and_tried_again() {
    let world = World::new();
    let contract = provider_terms().address().unwrap();
    let too_much = Order::Operator { contract, command: Command::Allocate(ton(3)) };
    let id = world.provider.ledger().add_order(too_much, world.now()).unwrap();
    world.provider.tick(world.now()).unwrap();
    assert!(matches!(world.provider.ledger().order(id).unwrap().unwrap().state, OrderState::Pending(_)), "no transaction says no");
    world.wait_s(121);
    let progress = world.provider.tick(world.now()).unwrap();
    assert!(matches!(progress[..], [Progress::Requeued { .. }, Progress::Sent { .. }]), "{progress:?}");
    assert_eq!(world.contract().data.number, 0, "nothing was taken");
}

#[test]
fn a_provider_that_was_cut_off_stopped_in_time_and_claims_within_the_window() {
    let (world, channel) = World::with_channel(ton(1));
    world.work(channel, 1, nano(600_000_000));
    let may_work = |at: Timestamp| may_work_in(at, &world.provider.ledger().channel(channel).unwrap(), nano(1));
    assert_eq!(may_work(world.now()), Ok(()));

    // The provider is cut off from the chain; the requester closes.
    world.requester.close(channel, world.now()).unwrap();
    world.requester.tick(world.now()).unwrap();
    world.wait_s(WINDOW_S / 3);
    assert!(matches!(may_work(world.now()), Err(Pause::Stale { .. })), "it works no longer");

    // It is back before the window ends.
    world.wait_s(WINDOW_S / 3);
    world.provider.watch(CLAIM_LATE, world.now()).unwrap();
    assert!(matches!(may_work(world.now()), Err(Pause::Closing { .. })));
    world.provider.tick(world.now()).unwrap();
    assert_eq!(world.balance(PAYOUT), nano(570_000_000));

    world.requester.watch(CLAIM_ALL, world.now()).unwrap();
    assert!(world.requester.ledger().open_orders().unwrap().is_empty(), "the window is still open");
    world.wait_s(WINDOW_S);
    world.requester.watch(CLAIM_ALL, world.now()).unwrap();
    world.requester.tick(world.now()).unwrap();
    assert_eq!(world.status(channel), ChannelStatus::Closed);
    assert_eq!(world.fees(), nano(30_000_000));
}

#[test]
fn a_provider_that_comes_back_too_late_spends_nothing_on_claims() {
    let (world, channel) = World::with_channel(ton(1));
    world.work(channel, 1, nano(600_000_000));
    let late = world.provider.claim(channel, world.now()).unwrap().unwrap();
    world.requester.close(channel, world.now()).unwrap();
    world.requester.tick(world.now()).unwrap();
    world.wait_s(WINDOW_S);
    assert!(
        matches!(world.provider.tick(world.now()).unwrap()[..], [Progress::Sent { order, .. }, Progress::Confirmed { .. }] if order == late)
    );
    assert_eq!((world.contract().data.outstanding, world.balance(PAYOUT)), (0, Amount::ZERO), "the claim came back");
    let (wallet, contract) = (world.balance(world.provider.account()), world.contract().balance);
    for _ in 0..3 {
        world.provider.watch(CLAIM_ALL, world.now()).unwrap();
        world.provider.tick(world.now()).unwrap();
    }
    assert_eq!((world.balance(world.provider.account()), world.contract().balance), (wallet, contract));
}

#[test]
fn a_claim_is_ordered_until_the_window_ends_and_not_after() {
    for (seconds, claims) in [(WINDOW_S - 1, 1), (WINDOW_S, 0)] {
        let (world, channel) = World::with_channel(ton(1));
        world.work(channel, 1, nano(600_000_000));
        world.requester.close(channel, world.now()).unwrap();
        world.requester.tick(world.now()).unwrap();
        world.wait_s(seconds);
        world.provider.watch(CLAIM_ALL, world.now()).unwrap();
        assert_eq!(world.provider.ledger().open_orders().unwrap().len(), claims, "after {seconds} s");
    }
}

#[test]
fn a_claim_that_was_refused_is_not_ordered_again_and_again() {
    let (world, channel) = World::with_channel(ton(1));
    world.work(channel, 1, nano(600_000_000));
    world.wait_s(3_000_000_000 - 1_790_000_000);
    world.provider.watch(CLAIM_ALL, world.now()).unwrap();
    let progress = world.provider.tick(world.now()).unwrap();
    assert!(matches!(progress[..], [Progress::Sent { .. }, Progress::Confirmed { .. }]), "{progress:?}");
    let account = world.chain.account(&Address::from(channel.address)).unwrap();
    let drawn = ChannelData::from_cell(&account.data.unwrap()).unwrap().drawn;
    assert!(drawn.is_zero(), "storage ate the reserve, and only a richer message can help");
    world.provider.watch(CLAIM_ALL, world.now()).unwrap();
    assert!(world.provider.ledger().open_orders().unwrap().is_empty());
}

#[test]
fn of_a_batch_only_what_was_refused_is_left_out_and_only_that_voucher() {
    let (world, refuses) = World::with_channel(ton(1));
    let (draws, _) = world.requester.open(world.terms(2), ton(1), world.now()).unwrap();
    world.requester.tick(world.now()).unwrap();
    world.requester.observe(draws).unwrap();
    world.provider.admit(&world.expected(draws), world.now()).unwrap();
    world.agree(draws);
    let ordered = || {
        world.provider.watch(CLAIM_ALL, world.now()).unwrap();
        let orders = world.provider.ledger().open_orders().unwrap();
        let claims: Vec<_> = orders.iter().flat_map(|(_, record)| record.order.claims()).map(|claim| claim.voucher.channel).collect();
        world.provider.tick(world.now()).unwrap();
        claims
    };
    world.work(refuses, 1, nano(300_000_000));
    world.work(draws, 2, nano(300_000_000));
    world.shows_for_ever(refuses);
    let both = ordered();
    assert!(both.contains(&refuses) && both.contains(&draws) && both.len() == 2, "{both:?}");
    assert_eq!(ordered(), [], "one was drawn, the other, as far as is seen, refused");
    world.work(draws, 3, nano(100_000_000));
    assert_eq!(ordered(), [draws]);
    world.work(refuses, 4, nano(100_000_000));
    assert_eq!(ordered(), [refuses], "a better voucher is tried once");
    assert_eq!(ordered(), []);
}

#[test]
fn what_a_contract_refused_the_wallet_is_not_ordered_again_and_again() {
    let refused_once = |world: &World, channel, settler: &Settler| {
        // Storage eats the reserve, and only a richer message can help.
        world.wait_s(3_000_000_000 - 1_790_000_000);
        let before = world.chain.account(&channel).unwrap();
        settler.watch(CLAIM_ALL, world.now()).unwrap();
        let progress = settler.tick(world.now()).unwrap();
        assert!(matches!(progress[..], [Progress::Sent { .. }, Progress::Failed { .. }]), "{progress:?}");
        // The next look shows nothing that would keep it from another try.
        *world.faulty.dropped.lock().unwrap() = Some((channel, before));
        assert!(settler.watch(CLAIM_ALL, world.now()).unwrap().is_empty());
        assert!(settler.ledger().open_orders().unwrap().is_empty());
    };
    let (world, channel) = World::with_channel(ton(1));
    world.work(channel, 1, nano(600_000_000));
    let claimer = Settler::new(Arc::clone(&world.faulty) as _, wallet(22), Arc::clone(world.provider.ledger()));
    refused_once(&world, Address::from(channel.address), &claimer);

    let (world, channel) = World::with_channel(ton(1));
    world.requester.close(channel, world.now()).unwrap();
    world.requester.tick(world.now()).unwrap();
    refused_once(&world, Address::from(channel.address), &world.requester);
}

#[test]
fn neither_contract_grows_with_the_claims_it_has_seen() {
    fn cells(cell: &ArcCell) -> usize {
        1 + cell.references().iter().map(cells).sum::<usize>()
    }
    let (world, channel) = World::with_channel(ton(1));
    let stored = |address| cells(&world.chain.account(&Address::from(address)).unwrap().data.unwrap());
    let sizes = (1..=30).map(|job| {
        world.work(channel, job, nano(10_000_000));
        world.provider.claim(channel, world.now()).unwrap();
        world.provider.tick(world.now()).unwrap();
        (stored(channel.address), stored(provider_terms().address().unwrap()))
    });
    let sizes: Vec<_> = sizes.collect();
    assert_eq!(world.contract().data.claims, 30);
    assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
}
