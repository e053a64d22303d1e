use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cocoon_market::Amount;

use super::*;
use crate::chain::embedded::{Blocks, Embedded};
use crate::chain::testing::{TestWallet, chain, empty_external, ton};
use crate::chain::{AccountStatus, Faucet, Rejection};

thread_local! {
    static PAUSES: Cell<u32> = const { Cell::new(0) };
}

fn patience() -> Patience {
    Patience { attempts: 3, pause: Duration::from_secs(5), sleep: |_| PAUSES.set(PAUSES.get() + 1) }
}

/// A chain that lies about balances, a bounded number of times.
struct Liar {
    chain: Arc<Embedded>,
    lies: AtomicUsize,
}

impl Chain for Liar {
    fn network(&self) -> NetworkId {
        self.chain.network()
    }
    fn head(&self) -> Result<Head, ChainError> {
        self.chain.head()
    }
    fn block(&self, seqno: u32) -> Result<Head, ChainError> {
        let mut block = self.chain.block(seqno)?;
        if self.lies.load(Ordering::SeqCst) > 0 {
            block.root_hash = [0; 32];
        }
        Ok(block)
    }
    fn account(&self, address: &Address) -> Result<AccountState, ChainError> {
        let mut state = self.chain.account(address)?;
        let lies = self.lies.load(Ordering::SeqCst);
        if lies > 0 {
            self.lies.store(lies - 1, Ordering::SeqCst);
            state.balance = ton(1_000_000);
        }
        Ok(state)
    }
    fn transactions(&self, address: &Address, page: Page) -> Result<Vec<Transaction>, ChainError> {
        let mut transactions = self.chain.transactions(address, page)?;
        transactions.truncate(usize::from(self.lies.load(Ordering::SeqCst) == 0) * 100);
        Ok(transactions)
    }
    fn run_get_method(&self, address: &Address, method: &str, arguments: &[StackItem]) -> Result<MethodResult, ChainError> {
        let mut result = self.chain.run_get_method(address, method, arguments)?;
        if self.lies.load(Ordering::SeqCst) > 0 {
            result.stack = vec![StackItem::int(77)];
        }
        Ok(result)
    }
    fn send_boc(&self, _: &[u8]) -> Result<Hash, ChainError> {
        Err(ChainError::BlockFull)
    }
    fn config_param(&self, index: u32) -> Result<ArcCell, ChainError> {
        let index = if self.lies.load(Ordering::SeqCst) > 0 { 20 } else { index };
        self.chain.config_param(index)
    }
}

fn with_lies(lies: usize) -> (Arc<Embedded>, Quorum<Arc<Embedded>, Liar>) {
    let (chain, _) = chain(Blocks::Instant);
    let chain = Arc::new(chain);
    chain.fund(&Address::basechain([7; 32]), ton(1)).unwrap();
    let liar = Liar { chain: Arc::clone(&chain), lies: AtomicUsize::new(lies) };
    PAUSES.set(0);
    (Arc::clone(&chain), Quorum::new(chain, liar, patience()).unwrap())
}

#[test]
fn chains_that_agree_answer_at_once() {
    let (chain, quorum) = with_lies(0);
    ask_all(&quorum).unwrap();
    assert_eq!(quorum.head().unwrap(), chain.head().unwrap());
    assert_eq!(PAUSES.get(), 0);
}

fn ask_all(chain: &dyn Chain) -> Result<(), ChainError> {
    let address = Address::basechain([7; 32]);
    chain.account(&address)?;
    chain.transactions(&address, Page::newest(5))?;
    chain.block(1)?;
    chain.config_param(21).map(|_| ())
}

#[test]
fn a_difference_that_passes_is_forgiven() {
    let (_, quorum) = with_lies(2);
    assert_eq!(quorum.account(&Address::basechain([7; 32])).unwrap().balance, ton(1));
    assert_eq!(PAUSES.get(), 2);
}

#[test]
fn a_difference_that_lasts_is_an_error() {
    let (chain, quorum) = with_lies(usize::MAX);
    let address = Address::basechain([7; 32]);
    let disputed = |result: Result<(), ChainError>| match result {
        Err(error @ ChainError::Disagreement { about }) if error.is_retryable() => about,
        other => panic!("{other:?}"),
    };
    assert_eq!(disputed(quorum.account(&address).map(drop)), Disputed::Account);
    assert_eq!(PAUSES.get(), 2, "no pause after the last attempt");
    assert_eq!(disputed(quorum.transactions(&address, Page::newest(5)).map(drop)), Disputed::Transactions);
    assert_eq!(disputed(quorum.block(1).map(drop)), Disputed::Block);
    assert_eq!(disputed(quorum.config_param(21).map(drop)), Disputed::Config);
    assert_eq!(disputed(quorum.run_get_method(&chain.faucet(), "seqno", &[]).map(drop)), Disputed::Method);
}

#[test]
fn one_endpoint_that_takes_a_message_is_enough() {
    let (chain, quorum) = with_lies(0);
    let wallet = TestWallet::funded(&chain, 1, ton(5));
    let boc = wallet.transfer(0, &Address::basechain([8; 32]), ton(1), crate::chain::Bounce::No);
    quorum.send_boc(&boc).unwrap();
    assert_eq!(quorum.account(&wallet.address).unwrap().status, AccountStatus::Active);
    let error = quorum.send_boc(&boc).unwrap_err();
    assert!(matches!(error, ChainError::Rejected(Rejection::NotAccepted { .. })), "a refusal says more than a full block: {error}");
    assert!(quorum.send_boc(&empty_external(&Address::basechain([9; 32]))).is_err());
    assert_eq!(quorum.account(&Address::basechain([9; 32])).unwrap().balance, Amount::ZERO);
}

#[test]
fn the_head_is_the_newest_block_both_have() {
    let (first, _) = chain(Blocks::Instant);
    let first = Arc::new(first);
    struct Late(Arc<Embedded>);
    impl Chain for Late {
        fn network(&self) -> NetworkId {
            self.0.network()
        }
        fn head(&self) -> Result<Head, ChainError> {
            self.0.block(1)
        }
        fn block(&self, seqno: u32) -> Result<Head, ChainError> {
            self.0.block(seqno)
        }
        fn account(&self, _: &Address) -> Result<AccountState, ChainError> {
            Err(ChainError::BlockFull)
        }
        fn transactions(&self, _: &Address, _: Page) -> Result<Vec<Transaction>, ChainError> {
            Err(ChainError::BlockFull)
        }
        fn run_get_method(&self, _: &Address, _: &str, _: &[StackItem]) -> Result<MethodResult, ChainError> {
            Err(ChainError::BlockFull)
        }
        fn send_boc(&self, _: &[u8]) -> Result<Hash, ChainError> {
            Err(ChainError::BlockFull)
        }
        fn config_param(&self, _: u32) -> Result<ArcCell, ChainError> {
            Err(ChainError::BlockFull)
        }
    }
    for _ in 0..3 {
        first.fund(&Address::basechain([7; 32]), ton(1)).unwrap();
    }
    let quorum = Quorum::new(Arc::clone(&first), Late(Arc::clone(&first)), patience()).unwrap();
    assert_eq!(quorum.head().unwrap(), first.block(1).unwrap());
    let error = quorum.account(&Address::basechain([7; 32])).unwrap_err();
    assert!(matches!(error, ChainError::BlockFull), "an endpoint that fails is no agreement");
}
