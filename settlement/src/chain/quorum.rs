//! Two chains that must agree before money depends on the answer.
//!
//! HTTP endpoints prove nothing, and one of them may lie, be hacked, or lag behind. Two that are run by different people rarely do so
//! in the same way. Endpoints are never at the same block, so a difference is only believed after it has lasted.

use std::time::Duration;

use cocoon_market::NetworkId;
use tonlib_core::cell::ArcCell;

use super::{AccountState, Address, Chain, ChainError, Disputed, Hash, Head, MethodResult, Page, StackItem, Transaction};

/// How long a difference may last before it counts.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How often both are asked.
    pub attempts: u32,
    /// The pause between.
    pub pause: Duration,
    /// How to pause.
    pub sleep: fn(Duration),
}

impl Default for Patience {
    /// Three blocks of TON: endpoints that are further apart are not in good health.
    fn default() -> Self {
        Self { attempts: 4, pause: Duration::from_secs(5), sleep: std::thread::sleep }
    }
}

/// Two chains behind which there should be one.
#[derive(Debug)]
pub struct Quorum<A, B> {
    first: A,
    second: B,
    patience: Patience,
}

impl<A: Chain, B: Chain> Quorum<A, B> {
    /// Joins two chains.
    ///
    /// # Errors
    /// [`ChainError::Disagreement`] when they are different networks.
    pub fn new(first: A, second: B, patience: Patience) -> Result<Self, ChainError> {
        if first.network() != second.network() {
            return Err(ChainError::Disagreement { about: Disputed::Network });
        }
        Ok(Self { first, second, patience })
    }

    /// Asks both until they agree, and answers with the first's words.
    fn agreed<V>(
        &self,
        about: Disputed,
        ask: impl Fn(&dyn Chain) -> Result<V, ChainError>,
        same: impl Fn(&V, &V) -> bool,
    ) -> Result<V, ChainError> {
        for attempt in 1..=self.patience.attempts.max(1) {
            let (first, second) = (ask(&self.first)?, ask(&self.second)?);
            if same(&first, &second) {
                return Ok(first);
            }
            if attempt < self.patience.attempts {
                (self.patience.sleep)(self.patience.pause);
            }
        }
        Err(ChainError::Disagreement { about })
    }
}

impl<A: Chain, B: Chain> Chain for Quorum<A, B> {
    fn network(&self) -> NetworkId {
        self.first.network()
    }

    /// The newest block that both have, with the same hash.
    fn head(&self) -> Result<Head, ChainError> {
        let (first, second) = (self.first.head()?, self.second.head()?);
        let older = first.seqno.min(second.seqno);
        let block = |chain: &dyn Chain, head: Head| if head.seqno == older { Ok(head) } else { chain.block(older) };
        let (first, second) = (block(&self.first, first)?, block(&self.second, second)?);
        if first == second { Ok(first) } else { Err(ChainError::Disagreement { about: Disputed::Block }) }
    }

    fn block(&self, seqno: u32) -> Result<Head, ChainError> {
        self.agreed(Disputed::Block, |chain| chain.block(seqno), PartialEq::eq)
    }

    fn account(&self, address: &Address) -> Result<AccountState, ChainError> {
        self.agreed(Disputed::Account, |chain| chain.account(address), AccountState::is_same_state)
    }

    fn transactions(&self, address: &Address, page: Page) -> Result<Vec<Transaction>, ChainError> {
        self.agreed(Disputed::Transactions, |chain| chain.transactions(address, page), PartialEq::eq)
    }

    fn run_get_method(&self, address: &Address, method: &str, arguments: &[StackItem]) -> Result<MethodResult, ChainError> {
        let same = |first: &MethodResult, second: &MethodResult| first.exit_code == second.exit_code && first.stack == second.stack;
        self.agreed(Disputed::Method, |chain| chain.run_get_method(address, method, arguments), same)
    }

    /// Sends through both; one that takes the message is enough.
    fn send_boc(&self, boc: &[u8]) -> Result<Hash, ChainError> {
        match (self.first.send_boc(boc), self.second.send_boc(boc)) {
            (Ok(hash), _) | (_, Ok(hash)) => Ok(hash),
            // A refusal says more than a broken line.
            (Err(first), Err(second)) => Err(if first.is_retryable() && !second.is_retryable() { second } else { first }),
        }
    }

    fn config_param(&self, index: u32) -> Result<ArcCell, ChainError> {
        self.agreed(Disputed::Config, |chain| chain.config_param(index), PartialEq::eq)
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests;
