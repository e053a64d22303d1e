//! The vocabulary of the compute market and its pure machines.
//!
//! Everything two peers, or a peer and a contract, must agree on has its type here: who they are ([`ids`]), what a
//! unit of money is ([`amount`]), what is offered, wanted, proposed, agreed, metered, receipted and paid. The types
//! carry their signed bytes; nothing else in the workspace encodes them.
//!
//! The machines ([`negotiation`], [`book`], [`progress`]) are sans-IO: time, seeds and inputs are arguments, effects
//! are return values. This crate never reads a clock, opens a socket, or spawns a task, and it names no chain, no
//! network library and no tensor library.
//!
//! Modules in reading order:
//!
//! 1. [`amount`], [`time`], [`ids`], [`keys`], [`penalty`]: money, time, names, keys, blame.
//! 2. [`codec`], [`signed`], [`layout`], [`tree`], [`commitment`]: bounded CBOR, signatures over received bytes, what a
//!    contract sees, the receipts tree, commitments to tokens and vectors.
//! 3. [`price`], [`offer`], [`demand`], [`agreement`]: what is traded, and the words of a deal.
//! 4. [`job`], [`receipt`], [`voucher`], [`certificate`]: the work, what was metered, what is paid, what was audited.
//! 5. [`book`], [`matching`], [`reputation`]: all offers, the best of them, and what we know of their providers.
//! 6. [`negotiation`], [`progress`]: the machines of a deal and of a job.
//!
//! ```
//! use cocoon_market::{Amount, PriceTable, Usage};
//!
//! let price = PriceTable { job: Amount::ZERO, input_per_mtok: Amount::from_nano(1_000_000), output_per_mtok: Amount::from_nano(4_000_000) };
//! let cost = price.cost(Usage { input_tokens: 500_000, output_tokens: 250_000 })?;
//! assert_eq!(cost, Amount::from_nano(1_500_000));
//! # Ok::<(), cocoon_market::AmountError>(())
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::float_arithmetic,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used,
        clippy::wildcard_enum_match_arm
    )
)]

#[cfg(test)]
mod fixtures;

pub mod amount;
pub mod ids;
pub mod keys;
pub mod penalty;
pub mod time;

pub mod codec;
pub mod commitment;
pub mod layout;
pub mod signed;
pub mod tree;

pub mod agreement;
pub mod demand;
pub mod offer;
pub mod price;

pub mod certificate;
pub mod job;
pub mod operator;
pub mod receipt;
pub mod voucher;

pub mod book;
pub mod matching;
pub mod reputation;

pub mod negotiation;
pub mod progress;

pub use agreement::{Agreement, AgreementTerms, NegotiateRequest, NegotiateResponse, Proposal, Refusal, Terms};
pub use amount::{Amount, AmountError};
pub use book::{Book, BookConfig};
pub use certificate::{AuditorKey, Certificate, Segment, SignedCertificate};
pub use commitment::{TokenCommitment, VectorCommitment};
pub use demand::Demand;
pub use ids::{AgreementId, ChannelRef, ContractAddress, JobId, ModelId, NetworkId, NodeId, OfferId, PeerId, ProposalId};
pub use job::{FinishReason, JobRequest, ProviderFrame, RequesterFrame, StopReason, Work, WorkKind};
pub use keys::{OperatorKey, Signature};
pub use negotiation::{Policy, ProviderDesk, ProviderNegotiation, RequesterNegotiation};
pub use offer::{Offer, OfferMessage, Serves, SettlementTerms, Withdrawal};
pub use operator::OperatorStatement;
pub use penalty::Penalty;
pub use price::{PriceTable, Usage};
pub use progress::{JobCheck, JobMeter};
pub use receipt::{Receipt, ReceiptBody, ReceiptHeader, SignedReceipt};
pub use reputation::Experience;
pub use signed::{OpenError, Signed, SignedObject, Verified};
pub use time::Timestamp;
pub use voucher::{CooperativeClose, SignedVoucher, Voucher};
