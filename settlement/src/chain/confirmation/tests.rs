use std::sync::{Arc, Mutex};

use cocoon_market::Amount;

use super::*;
use crate::chain::embedded::{Blocks, Embedded, Options};
use crate::chain::testing::{ManualClock, TestWallet, chain, options, ton};
use crate::chain::{Bounce, Faucet, Page, Rejection, pass_on};

const TWO: Confirmations = Confirmations::of_network(NetworkId::TESTNET);

fn sink() -> Address {
    Address::basechain([7; 32])
}

/// An endpoint that shows one chain, and another from some moment on: a fork that the network went on without.
struct Fickle(Mutex<Arc<Embedded>>);

impl Fickle {
    fn on(chain: &Arc<Embedded>) -> Self {
        Self(Mutex::new(Arc::clone(chain)))
    }

    fn turn_to(&self, chain: &Arc<Embedded>) {
        *self.0.lock().unwrap() = Arc::clone(chain);
    }

    fn chain(&self) -> Arc<Embedded> {
        Arc::clone(&self.0.lock().unwrap())
    }
}

impl Chain for Fickle {
    pass_on!(this => this.chain(); network head block covered_lt account transactions run_get_method send_boc config_param);
}

/// A funded wallet on a chain, and the same chain once more, from here on each with a life of its own.
struct Fork {
    wallet: TestWallet,
    seen: Arc<Embedded>,
    other: Arc<Embedded>,
    clock: Arc<ManualClock>,
    _dir: tempfile::TempDir,
}

fn fork() -> Fork {
    let (seen, clock) = chain(Blocks::Manual);
    let wallet = TestWallet::funded(&seen, 1, ton(10));
    seen.make_block().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other");
    seen.snapshot(&path).unwrap();
    let other = Embedded::open(&path, Options { clock: clock.clock(), ..options(Blocks::Manual).0 }).unwrap();
    Fork { wallet, seen: Arc::new(seen), other: Arc::new(other), clock, _dir: dir }
}

fn newest(chain: &dyn Chain, address: &Address) -> Transaction {
    chain.transactions(address, Page::newest(1)).unwrap().remove(0)
}

#[test]
fn a_devnet_needs_no_confirmations_and_the_networks_two() {
    let of = |network| Confirmations::of_network(network).blocks();
    assert_eq!([of(NetworkId::DEVNET), of(NetworkId::TESTNET), of(NetworkId::MAINNET)], [0, 2, 2]);
    assert_eq!(Confirmations::new(1_000).map(Confirmations::blocks), Some(1_000));
    assert_eq!(Confirmations::new(1_001), None);
}

#[test]
fn a_transaction_settles_when_enough_blocks_lie_on_its_own() {
    let (chain, _) = chain(Blocks::Manual);
    chain.fund(&sink(), ton(1)).unwrap();
    chain.make_block().unwrap();
    let transaction = newest(&chain, &sink());
    for blocks_on_it in 0..4 {
        for depth in 0..4 {
            let expected = if blocks_on_it >= depth { Standing::Settled } else { Standing::Young };
            let found = standing(&chain, &transaction, Confirmations::new(depth).unwrap()).unwrap();
            assert_eq!(found, expected, "{blocks_on_it} blocks on it, {depth} wanted");
        }
        chain.make_block().unwrap();
    }
    let deeper = Confirmations::new(1_000).unwrap();
    assert_eq!(standing(&chain, &transaction, deeper).unwrap(), Standing::Young, "a chain that is not as long");
}

/// An endpoint that says of every block that it covers the times before this one.
struct Covering(Embedded, u64);

impl Chain for Covering {
    pass_on!(this => &this.0; network head block account transactions run_get_method send_boc config_param);

    fn covered_lt(&self, _: &Address, _: u32) -> Result<u64, ChainError> {
        Ok(self.1)
    }
}

#[test]
fn a_block_covers_what_came_before_the_time_that_it_names() {
    let (chain, _) = chain(Blocks::Manual);
    chain.fund(&sink(), ton(1)).unwrap();
    chain.make_block().unwrap();
    chain.make_block().unwrap();
    let transaction = newest(&chain, &sink());
    let mut chain = Covering(chain, transaction.id.lt);
    assert_eq!(standing(&chain, &transaction, Confirmations::new(1).unwrap()).unwrap(), Standing::Young);
    chain.1 += 1;
    assert_eq!(standing(&chain, &transaction, Confirmations::new(1).unwrap()).unwrap(), Standing::Settled);
}

#[test]
fn what_comes_later_on_the_account_does_not_unsettle_a_transaction() {
    let (chain, _) = chain(Blocks::Instant);
    chain.fund(&sink(), ton(1)).unwrap();
    let transaction = newest(&chain, &sink());
    for _ in 0..250 {
        chain.fund(&sink(), Amount::from_nano(1)).unwrap();
    }
    assert_eq!(standing(&chain, &transaction, TWO).unwrap(), Standing::Settled, "three pages down");
    assert_eq!(standing(&chain, &newest(&chain, &sink()), TWO).unwrap(), Standing::Young);
}

/// An endpoint that shows so many pages of newer transactions before one of its own.
struct Busy {
    chain: Embedded,
    own: Transaction,
    newer_pages: u64,
}

impl Chain for Busy {
    pass_on!(this => &this.chain; network head block covered_lt account run_get_method send_boc config_param);

    fn transactions(&self, _: &Address, page: Page) -> Result<Vec<Transaction>, ChainError> {
        let lt = page.from.map_or(self.own.id.lt + self.newer_pages, |from| from.lt);
        let id = if lt == self.own.id.lt { self.own.id } else { TxId { lt, hash: [1; 32] } };
        Ok(vec![Transaction { id, previous: Some(TxId { lt: lt - 1, hash: [1; 32] }), ..self.own.clone() }])
    }
}

#[test]
fn an_account_too_busy_to_be_looked_through_says_nothing_of_a_transaction() {
    let (chain, _) = chain(Blocks::Instant);
    chain.fund(&sink(), ton(1)).unwrap();
    let own = newest(&chain, &sink());
    let mut busy = Busy { chain, own: own.clone(), newer_pages: PAGES_MAX as u64 - 1 };
    assert_eq!(standing(&busy, &own, Confirmations::NONE).unwrap(), Standing::Settled, "on the last page");
    busy.newer_pages += 1;
    assert!(matches!(standing(&busy, &own, Confirmations::NONE), Err(ChainError::NotFound(Sought::Transaction))));
}

#[test]
fn a_state_is_as_settled_as_the_transaction_that_left_it() {
    let (chain, _) = chain(Blocks::Manual);
    let look = || standing_of_account(&chain, &sink(), &chain.account(&sink()).unwrap(), TWO).unwrap();
    assert_eq!(look(), Standing::Settled, "nothing ever happened here");
    chain.fund(&sink(), ton(1)).unwrap();
    for expected in [Standing::Young, Standing::Young, Standing::Settled] {
        chain.make_block().unwrap();
        assert_eq!(look(), expected);
    }
}

#[test]
fn a_transaction_whose_place_another_took_is_gone() {
    let Fork { wallet, seen, other, .. } = fork();
    let boc = wallet.transfer(0, &sink(), ton(3), Bounce::No);
    seen.send_boc(&boc).unwrap();
    seen.make_block().unwrap();
    let endpoint = Fickle::on(&seen);
    let paid = newest(&endpoint, &sink());
    let sent = newest(&endpoint, &wallet.address);
    assert_eq!(standing(&endpoint, &sent, TWO).unwrap(), Standing::Young);

    // The network goes on without that block, and the wallet's owner has said something else meanwhile.
    other.send_boc(&wallet.transfer(0, &Address::basechain([8; 32]), ton(1), Bounce::No)).unwrap();
    other.make_block().unwrap();
    endpoint.turn_to(&other);
    assert_eq!(standing(&endpoint, &sent, TWO).unwrap(), Standing::Gone);
    assert_eq!(standing(&endpoint, &sent, Confirmations::NONE).unwrap(), Standing::Gone, "however few are asked for");
    let error = endpoint.send_boc(&boc).unwrap_err();
    assert!(matches!(error, ChainError::Rejected(Rejection::NotAccepted { exit_code: Some(33) })), "its number is used up: {error}");
    assert_eq!(endpoint.account(&sink()).unwrap().balance, Amount::ZERO);
    assert_ne!(standing(&endpoint, &paid, TWO).unwrap(), Standing::Settled, "nor was anybody paid");
}

#[test]
fn a_transaction_that_vanished_is_gone_after_a_minute_and_its_message_alive() {
    let Fork { wallet, seen, other, clock, .. } = fork();
    let boc = wallet.transfer(0, &sink(), ton(3), Bounce::No);
    seen.send_boc(&boc).unwrap();
    seen.make_block().unwrap();
    let endpoint = Fickle::on(&seen);
    let paid = newest(&endpoint, &sink());

    endpoint.turn_to(&other);
    other.make_block().unwrap();
    assert_eq!(standing(&endpoint, &paid, TWO).unwrap(), Standing::Young, "this endpoint may be behind the other");
    clock.advance_ms(59_000);
    other.make_block().unwrap();
    assert_eq!(standing(&endpoint, &paid, TWO).unwrap(), Standing::Young);
    clock.advance_ms(1_000);
    other.make_block().unwrap();
    assert_eq!(standing(&endpoint, &paid, TWO).unwrap(), Standing::Gone);

    // The very same message has its effect, once, and that settles.
    endpoint.send_boc(&boc).unwrap();
    other.make_block().unwrap();
    assert!(endpoint.send_boc(&boc).is_err());
    other.make_block().unwrap();
    other.make_block().unwrap();
    let again = newest(&endpoint, &sink());
    assert_ne!(again.id, paid.id);
    assert_eq!(standing(&endpoint, &again, TWO).unwrap(), Standing::Settled);
    assert_eq!(endpoint.account(&sink()).unwrap().balance, ton(3));
}

#[test]
fn a_chain_that_came_back_settles_what_it_showed_first() {
    let Fork { wallet, seen, other, .. } = fork();
    seen.send_boc(&wallet.transfer(0, &sink(), ton(3), Bounce::No)).unwrap();
    seen.make_block().unwrap();
    let endpoint = Fickle::on(&seen);
    let paid = newest(&endpoint, &sink());
    endpoint.turn_to(&other);
    assert_eq!(standing(&endpoint, &paid, TWO).unwrap(), Standing::Young);
    endpoint.turn_to(&seen);
    seen.make_block().unwrap();
    seen.make_block().unwrap();
    assert_eq!(standing(&endpoint, &paid, TWO).unwrap(), Standing::Settled);
}

#[test]
fn a_forged_name_is_not_on_the_chain() {
    let (chain, _) = chain(Blocks::Instant);
    chain.fund(&sink(), ton(1)).unwrap();
    let TxId { lt, hash } = newest(&chain, &sink()).id;
    let unix_s = chain.head().unwrap().unix_s;
    let ask = |id| standing_of(&chain, &sink(), id, unix_s, Confirmations::NONE).unwrap();
    assert_eq!(ask(TxId { lt, hash }), Standing::Settled);
    assert_eq!(ask(TxId { lt, hash: [0; 32] }), Standing::Gone);
    assert_eq!(ask(TxId { lt: lt - 1, hash }), Standing::Gone);
    assert_eq!(ask(TxId { lt: lt + 1, hash }), Standing::Young);
}
