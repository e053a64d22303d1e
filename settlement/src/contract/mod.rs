//! The contracts of `contracts/` as Rust sees them: code cells, addresses, message bodies, stored data, exit codes.
//!
//! This module mirrors `contracts/messages.tolk`, `contracts/errors.tolk` and the storage of each contract, and
//! nothing else in the workspace knows an opcode. `tests/vectors/` holds one golden vector per message.
//!
//! - [`exit`]: why a contract refused.
//! - [`code`]: the compiled code of each.
//! - [`message`]: what contracts are told by accounts and what they send.
//! - [`order`]: what a provider's contract is told from outside, by its operator.
//! - [`jetton`]: COCOON, its minter and its wallets.
//! - [`founding`]: what a network has once, and the messages that found it.
//! - [`told`]: what an owner's wallet tells all of them, with what it must bring.
//! - [`proof`]: a Groth16 proof as they take it.
//! - [`channel`], [`provider`], [`vault`], [`rewards`], [`registry`], [`governor`], [`lock`]: fixed terms, initial state and with it the address, stored data.

pub mod channel;
pub mod code;
pub mod exit;
pub mod founding;
pub mod governor;
pub mod jetton;
pub mod lock;
pub mod message;
pub mod order;
pub mod proof;
pub mod provider;
pub mod registry;
pub mod rewards;
pub mod told;
pub mod vault;

pub(crate) mod cells;
#[cfg(all(test, feature = "embedded"))]
pub(crate) mod testing;
#[cfg(all(test, feature = "embedded"))]
mod tests;
#[cfg(test)]
mod vectors;

pub use cells::CellError;
pub use channel::{ChannelData, ChannelStatus, ChannelTerms};
pub use code::Contract;
pub use exit::Exit;
pub use governor::{Action, Decision, GovernorData, GovernorMessage, GovernorTerms};
pub use jetton::{Genesis, JettonMessage, MinterData, MinterTerms, WalletData};
pub use lock::{LockData, LockMessage};
pub use message::{Attested, ChannelMessage, Notice, ProviderMessage, QueryId, VaultMessage, VaultPayload};
pub use order::{Command, OperatorOrder};
pub use proof::ProofBytes;
pub use provider::{EpochFees, NetworkTerms, ProviderData, ProviderTerms, Rewards, Stake};
pub use registry::{AuditorSet, RegistryData, RegistryMessage, RegistryTerms, Told};
pub use rewards::{RewardsData, RewardsIntroduction, RewardsTerms};
pub use told::{ContractMessage, Purpose};
pub use vault::{Sale, VaultData, VaultEpoch, VaultTerms};
