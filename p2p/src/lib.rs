//! The node of a compute market on libp2p, the client library for those who buy work, and the service for those who sell it.
//!
//! - [`Node`] finds peers (configuration, Kademlia, the local network), gossips signed offers and forwards none that it has
//!   not checked, keeps the book of all offers, and carries the protocols in [`protocol`]. It is one task that owns the
//!   libp2p swarm, and a handle to talk to it.
//! - [`Client`] finds offers, negotiates agreements, runs jobs and pays for them while they stream.
//! - [`Provider`] publishes offers, answers negotiations, serves jobs and takes the payment.
//!
//! What it does not do: hold money, look at a chain, or run a model. Those enter as [`Payer`], [`Payee`] and [`Executor`].
//! What is signed, negotiated, metered and believed is decided by the machines of `cocoon_market`; this crate carries their
//! messages and does what they say.
//!
//! Time and tasks are injected ([`Clock`], [`Spawner`], [`Entropy`], and timers from `futures-timer`), and so is the
//! transport ([`Node::with_transport`]), so that a simulator runs the very same node. Only [`transport::tcp_quic`], mDNS and
//! UPnP need a tokio runtime.
//!
//! A peer that misbehaves is charged for it ([`penalty`]) and banned when that was too much; everything a peer can make
//! grow here has a bound, and each bound is a named constant with its reason.
//!
//! Modules in reading order: [`node`], [`protocol`], [`payment`], [`execution`], [`client`], [`provider`], [`penalty`],
//! [`rate`], [`transport`].
//!
//! # A requester in 30 lines
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use cocoon_market::{Amount, Demand, OperatorKey, job::Prompt};
//! use cocoon_p2p::{Client, Clock, DealWishes, Identity, JobEvent, GenerateOrder, Node, NodeConfig, Payer, Spawner};
//! use futures::StreamExt;
//!
//! async fn ask(demand: Demand, payer: Arc<dyn Payer>, key: OperatorKey) -> Result<(), Box<dyn std::error::Error>> {
//!     let config = NodeConfig { bootstrap: vec!["/dns/peer.example/tcp/4001/p2p/12D3KooW...".into()], ..NodeConfig::default() };
//!     let spawner = Spawner::new(|task| drop(tokio::spawn(task)));
//!     let node = Node::new(config, Identity::from_seed([7; 32]), Clock::system(), spawner)?;
//!     let client = Client::new(node, key, payer);
//!
//!     let found = client.find(&demand, 1).await?;
//!     let best = found.best.first().ok_or("nothing fits")?;
//!     let cap: Amount = "0.5".parse()?;
//!     let agreement = client.negotiate(&best.offer, DealWishes::new(cap)).await?;
//!
//!     let mut job = client.run(&agreement, GenerateOrder::new(Prompt::Raw("Once upon a time".into()), 100)).await?;
//!     while let Some(event) = job.next().await {
//!         match event? {
//!             JobEvent::Chunk(chunk) => print!("{}", chunk.text),
//!             JobEvent::Vectors(_) => unreachable!("text was ordered"),
//!             JobEvent::Receipted { voucher, .. } => eprintln!("[paid {} so far]", voucher.voucher.cumulative),
//!             JobEvent::Done { paid, .. } => println!("\n[{paid} in all]"),
//!         }
//!     }
//!     Ok(())
//! }
//! ```
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod broadcast;
pub mod client;
pub mod execution;
#[cfg(test)]
mod fixtures;
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
pub use client::{
    Client, DealWishes, EmbedOrder, FindError, GenerateOrder, JobError, JobEvent, JobHandle, JobOrder, JobProgress, NegotiateError,
    NegotiationStep,
};
pub use execution::{CancelHandle, Execution, ExecutionEvent, Executor};
pub use identity::{Identity, peer_from_text, peer_text};
pub use libp2p;
pub use node::{
    DialError, Found, KadMode, Match, Matches, Mdns, Node, NodeConfig, NodeError, NodeEvent, NodeStopped, OfferPath, OfferRejection,
    PublishError, ReachError, Relay, Upnp,
};
pub use payment::{PayError, PayErrorKind, Payee, Payer, Retry};
pub use protocol::frame::FrameError;
pub use provider::{JobEnd, Listing, ProposalAnswer, Provider, ProviderConfig, ProviderError, ProviderEvent, Shutdown};
pub use shell::{Clock, Entropy, Spawner};
pub use transport::Transport;
