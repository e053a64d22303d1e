//! Nothing happens twice: not after a lost message, a restored copy, a dropped block, or an endpoint that is behind.

use super::super::search::{PAGES_MAX, find};
use super::*;
use crate::chain::TxId;
use crate::ledger::testing::copy;
use crate::ledger::{OrderId, Role};

const FRIEND: ContractAddress = ContractAddress([0xcc; 32]);

/// A settler of the requester's wallet that waits for two blocks on a transaction, with books of its own.
fn careful(world: &World) -> Settler {
    let ledger = Arc::new(Ledger::open(MemoryStore::default(), requester_key()).unwrap());
    Settler::new(Arc::clone(&world.faulty) as _, wallet(21), ledger).with_confirmations(Confirmations::new(2).unwrap())
}

fn gift(settler: &Settler, world: &World) -> OrderId {
    settler.ledger().add_order(Order::Transfer { to: FRIEND, amount: nano(7) }, world.now()).unwrap()
}

/// Gives an order and loses its message.
fn lost_gift(settler: &Settler, world: &World) -> OrderId {
    let id = gift(settler, world);
    world.faulty.loses_next.store(true, Ordering::SeqCst);
    settler.tick(world.now()).unwrap_err();
    id
}

/// The wallet's owner sends something with another program.
fn send_elsewhere(world: &World) {
    let outgoing = Outgoing { to: Address::from(PAYOUT), value: nano(5), bounce: Bounce::No, body: None, state_init: None };
    let seqno = next_seqno(&world.chain.account(&wallet(21).address()).unwrap()).unwrap();
    world.chain.send_boc(&wallet(21).sign(seqno, u32::MAX, &[outgoing]).unwrap().boc).unwrap();
}

#[test]
fn a_message_that_never_arrives_is_signed_anew_once_it_is_dead() {
    let world = World::new();
    let (channel, id) = world.requester.open(world.terms(1), ton(1), world.now()).unwrap();
    world.faulty.loses_next.store(true, Ordering::SeqCst);
    world.requester.tick(world.now()).unwrap_err();
    let OrderState::Pending(lost) = world.requester.ledger().order(id).unwrap().unwrap().state else { panic!("it is written down") };
    world.wait_s(121);
    let progress = world.requester.tick(world.now()).unwrap();
    assert!(matches!(progress[..], [Progress::Requeued { .. }, Progress::Sent { .. }, Progress::Confirmed { .. }]), "{progress:?}");
    let late = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &lost.boc).unwrap();
    assert!(matches!(world.chain.send_boc(&late), Err(ChainError::Rejected(Rejection::NotAccepted { .. }))), "the lost one is dead");
    assert_eq!(world.requester.observe(channel).unwrap().sight.deposit, ton(1));
}

#[test]
fn a_number_that_the_owner_used_elsewhere_is_noticed() {
    let world = World::new();
    let (channel, _) = world.requester.open(world.terms(1), ton(1), world.now()).unwrap();
    world.faulty.loses_next.store(true, Ordering::SeqCst);
    world.requester.tick(world.now()).unwrap_err();
    send_elsewhere(&world);
    let progress = world.requester.tick(world.now()).unwrap();
    assert!(matches!(progress[..], [Progress::Requeued { .. }, Progress::Sent { .. }, Progress::Confirmed { .. }]), "{progress:?}");
    assert_eq!(world.requester.observe(channel).unwrap().sight.deposit, ton(1));
}

#[test]
fn a_claim_counts_when_it_lies_deep_enough_and_is_found_again_after_a_reorganisation() {
    let (world, channel) = World::with_channel(ton(1));
    world.work(channel, 1, nano(400_000_000));
    let provider = Settler::new(Arc::clone(&world.faulty) as _, wallet(22), Arc::clone(world.provider.ledger()))
        .with_provider(provider_terms())
        .with_confirmations(Confirmations::new(2).unwrap());
    let id = provider.claim(channel, world.now()).unwrap().unwrap();
    let contract = Address::from(provider_terms().address().unwrap());
    let before = world.chain.account(&contract).unwrap();
    let turn = || provider.tick(world.now()).unwrap();
    assert!(matches!(turn()[..], [Progress::Sent { .. }]), "it is in a block, which is not enough");
    let OrderState::Pending(sent) = provider.ledger().order(id).unwrap().unwrap().state else { panic!("it is under way") };

    // The block is dropped: the same message is sent again, and no other is signed.
    *world.faulty.dropped.lock().unwrap() = Some((contract, before));
    assert_eq!(turn(), []);
    let order = provider.ledger().order(id).unwrap().unwrap();
    assert_eq!(order.state, OrderState::Pending(sent));
    *world.faulty.dropped.lock().unwrap() = None;

    assert_eq!(turn(), [], "no block lies on it yet");
    world.wait_s(1);
    assert_eq!(turn(), [], "one does");
    world.wait_s(1);
    assert!(matches!(turn()[..], [Progress::Confirmed { .. }]));
    assert_eq!((world.balance(PAYOUT), world.fees()), (nano(380_000_000), nano(20_000_000)), "it happened once");
    assert_eq!(world.contract().data.number, 1);
}

#[test]
fn an_endpoint_that_shows_a_state_without_its_transactions_makes_nobody_send_twice() {
    let world = World::new();
    let friend = ContractAddress([0xcc; 32]);
    let id = world.requester.ledger().add_order(Order::Transfer { to: friend, amount: nano(7) }, world.now()).unwrap();
    world.faulty.is_behind.store(true, Ordering::SeqCst);
    assert_eq!(world.requester.tick(world.now()).unwrap(), [], "it might have been done before");
    world.faulty.is_behind.store(false, Ordering::SeqCst);
    world.faulty.loses_next.store(true, Ordering::SeqCst);
    world.requester.tick(world.now()).unwrap_err();
    world.faulty.is_behind.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(world.requester.tick(world.now()).unwrap(), [], "it is sent once more, and then waited for");
        world.wait_s(121);
    }
    world.faulty.is_behind.store(false, Ordering::SeqCst);
    assert!(matches!(world.requester.tick(world.now()).unwrap()[..], [Progress::Confirmed { order, .. }] if order == id));
    assert_eq!(world.balance(friend), nano(7));
}

#[test]
fn a_number_that_was_used_elsewhere_kills_a_message_only_when_that_lies_deep_enough() {
    let world = World::new();
    let settler = careful(&world);
    lost_gift(&settler, &world);
    send_elsewhere(&world);
    for blocks in 0..2 {
        assert_eq!(settler.tick(world.now()).unwrap(), [], "{blocks} blocks on it: it may go, and ours come to life");
        world.wait_s(1);
    }
    let progress = settler.tick(world.now()).unwrap();
    assert!(matches!(progress[..], [Progress::Requeued { .. }, Progress::Sent { .. }]), "{progress:?}");
    assert_eq!(world.balance(FRIEND), nano(7));
}

#[test]
fn a_message_is_too_late_only_when_the_block_that_says_so_lies_deep_enough() {
    let world = World::new();
    let settler = careful(&world);
    lost_gift(&settler, &world);
    world.wait_s(119);
    let late_by = |seconds| {
        world.wait_s(seconds);
        settler.tick(world.now()).unwrap()
    };
    // The block of the deadline itself, and one on it.
    for progress in [late_by(1), late_by(1)] {
        assert_eq!(progress, []);
    }
    let progress = late_by(1);
    assert!(matches!(progress[..], [Progress::Requeued { .. }, Progress::Sent { .. }]), "{progress:?}");
    assert_eq!(world.balance(FRIEND), nano(7));
}

#[test]
fn a_deposit_counts_when_it_lies_deep_enough() {
    let world = World::new();
    let terms = world.terms(1);
    let provider = Settler::new(Arc::clone(&world.faulty) as _, wallet(22), Arc::clone(world.provider.ledger()))
        .with_confirmations(Confirmations::new(2).unwrap());
    let (channel, _) = world.requester.open(terms, ton(1), world.now()).unwrap();
    world.requester.tick(world.now()).unwrap();
    for _ in 0..2 {
        let refused = provider.admit(&world.expected(channel), world.now());
        assert!(matches!(refused, Err(SettleError::Unsettled)), "{refused:?}");
        assert!(provider.ledger().channels().unwrap().is_empty());
        world.wait_s(1);
    }
    assert_eq!(provider.admit(&world.expected(channel), world.now()).unwrap().sight.deposit, ton(1));

    world.requester.ledger().add_order(Order::TopUp { channel, deposit: ton(1) }, world.now()).unwrap();
    world.requester.tick(world.now()).unwrap();
    let seen = || provider.ledger().channel(channel).unwrap().head().sight.unwrap().deposit;
    for _ in 0..2 {
        assert_eq!((provider.observe(channel).unwrap().sight.deposit, seen()), (ton(1), ton(1)));
        assert!(matches!(provider.admit(&world.expected(channel), world.now()), Err(SettleError::Unsettled)));
        world.wait_s(1);
    }
    assert_eq!((provider.observe(channel).unwrap().sight.deposit, seen()), (ton(2), ton(2)));

    // What else happens to it does not matter.
    let dust = Outgoing { to: channel.address.into(), value: nano(50_000_000), bounce: Bounce::No, body: None, state_init: None };
    let seqno = next_seqno(&world.chain.account(&wallet(23).address()).unwrap()).unwrap();
    world.chain.send_boc(&wallet(23).sign(seqno, u32::MAX, &[dust]).unwrap().boc).unwrap();
    assert_eq!(provider.admit(&world.expected(channel), world.now()).unwrap().sight.deposit, ton(2));

    // That it is being closed is believed at once: too early costs nothing.
    world.requester.close(channel, world.now()).unwrap();
    world.requester.tick(world.now()).unwrap();
    let sight = provider.observe(channel).unwrap().sight;
    assert!(matches!(sight.status, ChannelStatus::Closing { .. }) && sight.deposit == ton(2), "{sight:?}");
}

#[test]
fn restored_books_do_not_carry_out_again_what_was_carried_out_since() {
    for given in [(|_| Order::Transfer { to: FRIEND, amount: nano(7) }) as fn(&World) -> Order, |world| Order::Open {
        terms: world.terms(9),
        deposit: ton(1),
    }] {
        let world = World::new();
        let store = MemoryStore::default();
        let settler = |store: MemoryStore| {
            Settler::new(Arc::clone(&world.chain) as _, wallet(21), Arc::new(Ledger::open(store, requester_key()).unwrap()))
        };
        let order = given(&world);
        let to = order.destination().unwrap();
        let before = settler(store.clone());
        if let Order::Open { terms, .. } = order {
            before.ledger().record_channel(Role::Requester, terms, world.now()).unwrap();
        }
        // One like it was carried out before, and is not taken for it.
        before.ledger().add_order(order.clone(), world.now()).unwrap();
        before.tick(world.now()).unwrap();
        let id = before.ledger().add_order(order, world.now()).unwrap();
        let backup = copy(&store);
        let progress = before.tick(world.now()).unwrap();
        let [Progress::Sent { .. }, Progress::Confirmed { landed, .. }] = progress[..] else { panic!("{progress:?}") };
        let balance = world.balance(to);

        let restored = settler(backup);
        assert_eq!(restored.tick(world.now()).unwrap(), [Progress::Confirmed { order: id, landed }]);
        assert_eq!(world.balance(to), balance, "it happened once");
        // What is ordered now has the same number in both books, and is another order.
        let wait = gift(&restored, &world);
        assert!(
            matches!(restored.tick(world.now()).unwrap()[..], [Progress::Sent { order, .. }, Progress::Confirmed { .. }] if order == wait)
        );
    }
}

#[test]
fn a_transaction_is_found_pages_back_and_no_further_than_asked() {
    let world = World::new();
    let account = wallet(29).address();
    let page = u64::from(crate::chain::PAGE_MAX);
    for second in 0..2 * page + 1 {
        world.chain.fund(&account, nano(u128::from(second) + 1)).unwrap();
        world.clock.advance_ms(1_000);
    }
    let newest = world.chain.transactions(&account, Page { from: None, after_lt: 0, limit: 1 }).unwrap().remove(0);
    let look = |after_lt, from_s, amount: u64| {
        let is_ours =
            |transaction: &Transaction| transaction.in_message.as_ref().is_some_and(|message| message.value == nano(amount.into()));
        find(&*world.chain, &account, after_lt, from_s, is_ours).unwrap()
    };
    let oldest = look(0, 0, 1).found.unwrap();
    assert_eq!(oldest.previous.map_or(0, |previous| previous.lt), 0, "on the third page");
    assert!(look(oldest.id.lt, 0, 1).found.is_none(), "it is not newer than itself");
    assert!(look(oldest.id.lt - 1, 0, 1).found.is_some());
    let second = look(0, 0, 2).found.unwrap();
    assert!(look(0, second.unix_s, 1).found.is_some(), "the second page ends in time, and is the last but one");
    assert!(look(0, second.unix_s + 1, 1).found.is_none(), "the second page ends too early");
    assert!(look(0, newest.unix_s + 1, 2 * page + 1).found.is_some(), "the first page is always looked at");

    let behind_a_full_page = look(0, 0, page + 1).found.unwrap();
    assert!(look(behind_a_full_page.id.lt, 0, 1).found.is_none());

    let nothing = look(0, 0, u64::MAX);
    assert!(!nothing.is_behind(Some(newest.id)) && !nothing.is_behind(None));
    assert!(nothing.is_behind(Some(TxId { lt: newest.id.lt + 1, ..newest.id })), "the state is newer than all that is shown");
    let after_all = look(newest.id.lt, 0, u64::MAX);
    assert!(!after_all.is_behind(Some(newest.id)), "nothing newer is to be shown");
    assert!(!look(0, 0, 1).is_behind(Some(TxId { lt: newest.id.lt + 1, ..newest.id })), "what was found is there");
}

#[test]
fn an_account_with_too_much_going_on_is_named() {
    let world = World::new();
    let account = wallet(29).address();
    let found = |payments: u64| {
        while world.balance(ContractAddress(account.hash)).nano() < u128::from(payments) {
            world.chain.fund(&account, nano(1)).unwrap();
        }
        find_transaction(&*world.chain, &account, &[9; 32], 0)
    };
    let most = PAGES_MAX as u64 * u64::from(crate::chain::PAGE_MAX);
    assert!(matches!(found(most), Ok(None)));
    assert!(matches!(found(most + 1), Err(SettleError::TooManyTransactions(named)) if named == account));
}
