//! The settler: carries orders to the chain and watches channels there.
//!
//! It drives any [`Chain`](crate::chain::Chain) with the owner's wallet and keeps nothing of its own: every order, and every message signed for it, is in the
//! [`Ledger`](crate::ledger) before it is sent. So it may die at any moment; the next one finds what is pending, looks at the chain, and goes on.
//!
//! - [`mod@plan`]: the decision, pure.
//! - [`verify`]: whether an account is the channel that was agreed.
//! - [`freshness`]: until when a provider may work without seeing the chain.
//! - [`Settler`]: the shell. It blocks; async callers run it on a thread that may block, one settler for one wallet.

pub mod freshness;
pub mod plan;
pub mod verify;

mod shell;
#[cfg(all(test, feature = "embedded"))]
mod tests;

pub use freshness::{Pause, may_work, may_work_in, sight_counts_ms};
pub use plan::{ClaimPolicy, Seen, Step, plan};
pub use shell::{Preview, Progress, SettleError, Settler, drawn_shares, find_transaction, order_value};
pub use verify::{ChannelCheckError, ChannelView, Expected, verify_channel};
