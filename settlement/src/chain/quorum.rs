//! Two chains that must agree before money depends on the answer.
//!
//! HTTP endpoints prove nothing, and one of them may lie, be hacked, or lag behind. Two that are run by different people rarely do so
//! in the same way. Endpoints are never at the same block, so a difference is only believed after it has lasted.
//!
//! | one of the two | then |
//! |---|---|
//! | says something else about a balance, code, data, transactions, a block, a get-method, a parameter | [`ChainError::Disagreement`] with what it is about |
//! | is too many blocks behind | [`ChainError::Lagging`] |
//! | stalls, answers garbage or a huge body, limits requests | its own error: one answer is no agreement |
//! | speaks of a later time than the other | the earlier time counts: a message is not dead, and a window not over, before both say so |
//! | refuses a message that the other takes | it is sent |

use std::time::Duration;

use cocoon_market::NetworkId;
use tonlib_core::cell::ArcCell;

use super::{AccountState, Address, Chain, ChainError, Disputed, Hash, Head, MethodResult, Page, StackItem, Transaction};

/// Blocks that two endpoints may be apart. More than an endpoint in good health is ever behind, at the shortest block times there are.
pub const APART_MAX: u32 = 30;

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

    /// Asks both until they agree, and joins their answers. `differ` says about what they do not.
    fn agreed<V>(
        &self,
        ask: impl Fn(&dyn Chain) -> Result<V, ChainError>,
        differ: impl Fn(&V, &V) -> Option<Difference>,
        join: impl Fn(V, V) -> V,
    ) -> Result<V, ChainError> {
        let mut attempt: u32 = 1;
        loop {
            let (first, second) = (ask(&self.first)?, ask(&self.second)?);
            let Some(difference) = differ(&first, &second) else { return Ok(join(first, second)) };
            if attempt >= self.patience.attempts {
                return Err(difference.into());
            }
            attempt = attempt.saturating_add(1);
            (self.patience.sleep)(self.patience.pause);
        }
    }

    /// The same for answers that agree when they are equal. The first one's words are taken.
    fn equal<V: PartialEq>(&self, about: Disputed, ask: impl Fn(&dyn Chain) -> Result<V, ChainError>) -> Result<V, ChainError> {
        self.agreed(ask, |first, second| (first != second).then_some(Difference::Said(about)), |first, _| first)
    }
}

/// Why two answers cannot both be relied on.
#[derive(Debug, Clone, Copy)]
enum Difference {
    Said(Disputed),
    Apart(u32),
}

impl From<Difference> for ChainError {
    fn from(difference: Difference) -> Self {
        match difference {
            Difference::Said(about) => Self::Disagreement { about },
            Difference::Apart(blocks) => Self::Lagging { blocks },
        }
    }
}

/// What two answers about one account differ in: how far apart they are, if that is too far, since nothing else says anything then.
fn account_difference(first: &AccountState, second: &AccountState) -> Option<Difference> {
    let apart = first.seen_at.seqno.abs_diff(second.seen_at.seqno);
    if apart > APART_MAX {
        return Some(Difference::Apart(apart));
    }
    let AccountState { status, balance, code, data, last_transaction, seen_at: _ } = first;
    let parts = [
        (*balance == second.balance, Disputed::Balance),
        (*code == second.code, Disputed::Code),
        (*data == second.data, Disputed::Data),
        (*last_transaction == second.last_transaction, Disputed::Transactions),
        (*status == second.status, Disputed::Status),
    ];
    parts.into_iter().find(|(is_same, _)| !is_same).map(|(_, about)| Difference::Said(about))
}

/// Both are the same state; it is as of the earlier block, and of the earlier time should one of them make up its own.
fn earlier(first: AccountState, second: AccountState) -> AccountState {
    let seen_at = if first.seen_at.unix_s <= second.seen_at.unix_s { first.seen_at } else { second.seen_at };
    AccountState { seen_at, ..first }
}

impl<A: Chain, B: Chain> Chain for Quorum<A, B> {
    fn network(&self) -> NetworkId {
        self.first.network()
    }

    /// The newest block that both have, with the same hash.
    fn head(&self) -> Result<Head, ChainError> {
        let (first, second) = (self.first.head()?, self.second.head()?);
        let apart = first.seqno.abs_diff(second.seqno);
        if apart > APART_MAX {
            return Err(ChainError::Lagging { blocks: apart });
        }
        let older = first.seqno.min(second.seqno);
        let block = |chain: &dyn Chain, head: Head| if head.seqno == older { Ok(head) } else { chain.block(older) };
        let (first, second) = (block(&self.first, first)?, block(&self.second, second)?);
        if first == second { Ok(first) } else { Err(ChainError::Disagreement { about: Disputed::Block }) }
    }

    fn block(&self, seqno: u32) -> Result<Head, ChainError> {
        self.equal(Disputed::Block, |chain| chain.block(seqno))
    }

    fn covered_lt(&self, address: &Address, seqno: u32) -> Result<u64, ChainError> {
        self.equal(Disputed::Block, |chain| chain.covered_lt(address, seqno))
    }

    fn account(&self, address: &Address) -> Result<AccountState, ChainError> {
        self.agreed(|chain| chain.account(address), account_difference, earlier)
    }

    fn transactions(&self, address: &Address, page: Page) -> Result<Vec<Transaction>, ChainError> {
        self.equal(Disputed::Transactions, |chain| chain.transactions(address, page))
    }

    fn run_get_method(&self, address: &Address, method: &str, arguments: &[StackItem]) -> Result<MethodResult, ChainError> {
        let is_same = |first: &MethodResult, second: &MethodResult| first.exit_code == second.exit_code && first.stack == second.stack;
        let differ = |first: &_, second: &_| (!is_same(first, second)).then_some(Difference::Said(Disputed::Method));
        self.agreed(|chain| chain.run_get_method(address, method, arguments), differ, |first, _| first)
    }

    /// Sends through both; one that takes the message is enough.
    fn send_boc(&self, boc: &[u8]) -> Result<Hash, ChainError> {
        match (self.first.send_boc(boc), self.second.send_boc(boc)) {
            (Ok(hash), _) | (_, Ok(hash)) => Ok(hash),
            // Both speak of one network: what one refuses, the other may have brought in.
            (Err(ChainError::Rejected(_)), Err(other)) | (Err(other), Err(ChainError::Rejected(_))) if other.may_have_arrived() => {
                Err(ChainError::Unclear)
            }
            // A refusal says more than a broken line.
            (Err(first), Err(second)) => Err(if first.is_retryable() && !second.is_retryable() { second } else { first }),
        }
    }

    fn config_param(&self, index: u32) -> Result<ArcCell, ChainError> {
        self.equal(Disputed::Config, |chain| chain.config_param(index))
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests;
