//! How to run an embedded chain, and what it says about itself beyond what every chain says.

use std::sync::Arc;
use std::time::Duration;

use cocoon_market::{Amount, Timestamp};

use super::{FaucetError, StoreError};
use crate::chain::ChainError;

/// Tells the time. Everything the chain knows of time comes from here.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The clock of this machine.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    })
}

/// When blocks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocks {
    /// One block each so often. A block that is due is made by whatever call comes next, [`Embedded::tick`](super::Embedded::tick)
    /// among them; a chain that nobody asked anything meanwhile has fewer blocks, not a burst of empty ones.
    Every(Duration),
    /// One block for every message from outside, at once.
    Instant,
    /// Only when [`Embedded::make_block`](super::Embedded::make_block) says so.
    Manual,
}

/// How to run an embedded chain.
#[derive(Clone)]
pub struct Options {
    /// When blocks are made.
    pub blocks: Blocks,
    /// What tells the time.
    pub clock: Clock,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

impl Default for Options {
    /// A block every two seconds by this machine's clock.
    fn default() -> Self {
        Self { blocks: Blocks::Every(Duration::from_secs(2)), clock: system_clock() }
    }
}

/// Why an embedded chain cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The faucet cannot be made.
    #[error(transparent)]
    Faucet(#[from] FaucetError),
    /// The configuration cannot be built or read.
    #[error("the chain's configuration is damaged")]
    Config(#[from] tycho_types::error::Error),
}

impl From<StoreError> for ChainError {
    fn from(error: StoreError) -> Self {
        Self::Storage(error.into())
    }
}

/// Where all the money of an embedded chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supply {
    /// What there was at the start.
    pub issued: Amount,
    /// What accounts hold.
    pub accounts: Amount,
    /// What messages under way carry, forwarding fees included.
    pub under_way: Amount,
    /// What was collected in fees.
    pub fees: Amount,
    /// What was destroyed.
    pub burned: Amount,
}

impl Supply {
    /// Whether it all adds up to what was issued.
    pub fn is_balanced(&self) -> bool {
        Amount::sum([self.accounts, self.under_way, self.fees, self.burned]) == Ok(self.issued)
    }
}
