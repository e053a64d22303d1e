//! The libp2p node, its protocols, the requester's client and the provider service.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod broadcast;
pub mod client;
pub mod execution;
mod identity;
pub mod node;
pub mod payment;
pub mod penalty;
pub mod protocol;
pub mod provider;
pub mod rate;
mod shell;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transport;

pub use broadcast::{EVENTS_BEHIND_MAX, Receiver};
pub use client::{Client, DealWishes, FindError, JobError, JobEvent, JobHandle, JobOrder, JobProgress, NegotiateError, NegotiationStep};
pub use execution::{CancelHandle, Execution, ExecutionEvent, Executor};
pub use identity::{Identity, peer_from_text, peer_text};
pub use libp2p;
pub use node::{Found, KadMode, Match, Matches, Mdns, Node, NodeConfig, NodeError, NodeEvent, NodeStopped, OfferPath, OfferRejection};
pub use payment::{PayError, PayErrorKind, Payee, Payer, Retry};
pub use provider::{JobEnd, Listing, ProposalAnswer, Provider, ProviderConfig, ProviderError, ProviderEvent, Shutdown};
pub use shell::{Clock, Entropy, Spawner};
pub use transport::Transport;
