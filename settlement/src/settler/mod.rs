//! The settler: carries orders to the chain and watches channels there.
//!
//! It drives any [`Chain`](crate::chain::Chain) with the owner's wallet and the operator's key and keeps nothing of its own: every order, and every message
//! signed for it, is in the [`Ledger`](crate::ledger) before it is sent. So it may die at any moment; the next one finds what is pending, looks at the
//! chain, and goes on.
//!
//! A copy of the ledger may be restored while orders in it wait that were carried out since. So a message carries its order's
//! [`query`](crate::ledger::OrderRecord::query), and before it signs, the settler looks for one that carried it before.
//!
//! - [`mod@plan`]: what to do about an order, pure.
//! - [`claims`]: which vouchers to draw now, pure.
//! - [`backing`]: how much collateral open agreements need.
//! - [`verify`], [`stake`]: whether an account is the channel that was agreed, or a provider's contract.
//! - [`network`]: what a network has, found on its chain, and which of it an order reaches.
//! - [`freshness`]: until when a provider may work without seeing the chain.
//! - [`Settler`]: the shell: what can be ordered (`shell`), what follows from a look at the chain (`watch`), how orders are carried
//!   (`turn`, `carry`) and found again (`search`), what makes an account one of our contracts (`account`). It blocks; async callers run it on a thread that may
//!   block, one settler for one wallet.

pub mod backing;
pub mod claims;
pub mod freshness;
pub mod network;
pub mod plan;
pub mod stake;
pub mod verify;

mod account;
mod carry;
mod search;
mod shell;
#[cfg(all(test, feature = "embedded"))]
mod tests;
mod turn;
mod watch;

pub use account::{AccountFault, data_of};
pub use backing::{Backing, OPEN_AGREEMENTS_MAX};
pub use carry::{batch_needs, order_value, outgoing};
pub use claims::{BATCH_COST, CLAIM_COST, ClaimPolicy};
pub use freshness::{Pause, may_work, may_work_in, sight_counts_ms};
pub use network::{NetworkContracts, NetworkError, Part, Placed};
pub use plan::{Seen, Step, plan};
pub use search::find_transaction;
pub use shell::{Preview, Progress, SettleError, Settler};
pub use stake::{ProviderCheckError, ProviderView, verify_contract, verify_provider};
pub use verify::{ChannelCheckError, ChannelView, Expected, verify_channel};
