//! Whether a transaction will stay, told by the blocks that lie on it.
//!
//! A transaction counts when its block lies so many masterchain blocks deep. Until then it may go: a shard's block that no masterchain block
//! lists is dropped when the shard is continued elsewhere, and an endpoint that fell out of step, or is one of many behind one name, shows
//! what the network never agreed on. A message whose transaction went is as alive as before it was sent.
//!
//! | the chain shows | standing |
//! |---|---|
//! | the transaction, deep enough | [`Standing::Settled`]: what follows from it may be done |
//! | the transaction, with too few blocks on it | [`Standing::Young`]: look again after a block |
//! | newer transactions of the account, without this one | [`Standing::Gone`]: what followed from it is to be looked at again |
//! | older ones alone, and blocks made a minute after it | [`Standing::Gone`] |
//! | older ones alone, and no such block | [`Standing::Young`]: the endpoint may be behind the one that showed it |
//!
//! A transaction that is settled is not looked at again: the blocks on it are signed by two thirds of the validators' weight each.

use cocoon_market::NetworkId;

use super::search::{Reach, look_through};
use super::{AccountState, Address, Chain, ChainError, Sought, Transaction, TxId};

/// Pages of newer transactions that are looked through. A wallet or channel of ours has a handful in the time that a transaction takes to settle.
const PAGES_MAX: usize = 16;

/// Seconds after which the newest block of any endpoint in order knows a transaction: a dozen masterchain blocks.
pub const GONE_AFTER_S: u64 = 60;

/// Most blocks that a transaction can be asked to lie deep: about an hour of the masterchain. More would only keep money waiting.
pub const CONFIRMATIONS_MAX: u32 = 1_000;

/// How many masterchain blocks must lie on a transaction's block. None: that it is in a block is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Confirmations(u32);

impl Confirmations {
    /// In a block is enough.
    pub const NONE: Self = Self(0);

    /// So many blocks; none if they are more than [`CONFIRMATIONS_MAX`].
    pub const fn new(blocks: u32) -> Option<Self> {
        if blocks <= CONFIRMATIONS_MAX { Some(Self(blocks)) } else { None }
    }

    /// What a network takes unless somebody says otherwise.
    ///
    /// A devnet has one validator, whose blocks stay: none. Elsewhere two: the first masterchain block that lists the transaction's makes it
    /// final by TON's rules, the next one shows that the validators went on from it, and so that the endpoint is not alone with it. It costs
    /// about ten seconds, and no order of ours is in a hurry.
    pub const fn of_network(network: NetworkId) -> Self {
        if network.0 == NetworkId::DEVNET.0 { Self::NONE } else { Self(2) }
    }

    /// The number of blocks.
    pub const fn blocks(self) -> u32 {
        self.0
    }
}

/// What is known of a transaction that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It lies deep enough.
    Settled,
    /// It may yet go.
    Young,
    /// It is not on the chain (any more).
    Gone,
}

/// How a transaction stands that was seen on an account.
///
/// # Errors
/// [`ChainError`] when the chain does not say; [`ChainError::Unsupported`] when it cannot.
pub fn standing(chain: &dyn Chain, transaction: &Transaction, depth: Confirmations) -> Result<Standing, ChainError> {
    standing_of(chain, &transaction.account, transaction.id, transaction.unix_s, depth)
}

/// How the newest transaction of an account stands, and with it the state that it left. One that never had any is settled: nothing can go.
///
/// # Errors
/// As for [`standing`].
pub fn standing_of_account(
    chain: &dyn Chain,
    address: &Address,
    state: &AccountState,
    depth: Confirmations,
) -> Result<Standing, ChainError> {
    match state.last_transaction {
        Some(last) => standing_of(chain, address, last, state.seen_at.unix_s, depth),
        None => Ok(Standing::Settled),
    }
}

/// How the transaction of this name stands, which was in a block at `unix_s`.
///
/// # Errors
/// As for [`standing`].
pub fn standing_of(
    chain: &dyn Chain,
    account: &Address,
    transaction: TxId,
    unix_s: u64,
    depth: Confirmations,
) -> Result<Standing, ChainError> {
    // Before the transactions, so that they are not of an older moment than the block that decides.
    let head = chain.head()?;
    match presence(chain, account, transaction)? {
        Presence::Here => {}
        Presence::PassedOver => return Ok(Standing::Gone),
        Presence::NotYet if head.unix_s >= unix_s.saturating_add(GONE_AFTER_S) => return Ok(Standing::Gone),
        Presence::NotYet => return Ok(Standing::Young),
    }
    if depth == Confirmations::NONE {
        return Ok(Standing::Settled);
    }
    let Some(deep) = head.seqno.checked_sub(depth.0) else { return Ok(Standing::Young) };
    let is_deep = chain.covered_lt(account, deep)? > transaction.lt;
    Ok(if is_deep { Standing::Settled } else { Standing::Young })
}

/// Whether it is so late that nothing with this deadline is taken any more, told by a block that lies deep enough: what a block above it
/// said may be unsaid.
///
/// # Errors
/// [`ChainError`] when the chain does not say.
pub fn is_past(chain: &dyn Chain, deadline_s: u64, depth: Confirmations) -> Result<bool, ChainError> {
    let Some(deep) = chain.head()?.seqno.checked_sub(depth.0) else { return Ok(false) };
    Ok(chain.block(deep)?.unix_s >= deadline_s)
}

enum Presence {
    Here,
    /// Newer ones are there without it.
    PassedOver,
    /// None is there that is as new.
    NotYet,
}

/// Looks for a transaction from the newest one down.
fn presence(chain: &dyn Chain, account: &Address, transaction: TxId) -> Result<Presence, ChainError> {
    let reach = Reach { after_lt: transaction.lt.saturating_sub(1), from_s: 0, pages_max: PAGES_MAX };
    let look = look_through(chain, account, reach, |found| found.id == transaction)?;
    match look.found {
        Some(_) => Ok(Presence::Here),
        None if look.is_cut => Err(ChainError::NotFound(Sought::Transaction)),
        None if look.is_empty() => Ok(Presence::NotYet),
        None => Ok(Presence::PassedOver),
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests;
