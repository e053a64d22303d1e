//! Attestations: one proof that many certificates are there, without the certificates.
//!
//! An auditor that looked at the work behind a claim signs a [`Certificate`](cocoon_market::Certificate). A provider collects the
//! certificates of an epoch and proves to the rewards contract, for about 110,000 gas however many they are:
//!
//! > I hold certificates for this provider's contract and this epoch, each signed by a key of the registry's set; the claims they are
//! > about are numbered strictly upwards from `lo` to `hi`, and the claims' fees sum to `T`.
//!
//! **What that says.** Auditors who are listed signed for these claims, each claim counted once. It hides which auditors, channels,
//! jobs and models; the provider, the epoch, the first and last claim and the sum are public.
//!
//! **What it does not say.** That a model ran. That is what the certificates say, and they are as good as the audits behind them: enough
//! listed auditors who sign for work that was never done can have it rewarded. Nor does it say that the fees were paid: the contract
//! compares `T` with the fees that it saw, demands that `lo` is beyond the last claim that was attested, and counts on no
//! proof twice. Nor that the list of auditors is right: votes decide that.
//!
//! # Modules in reading order
//!
//! | module | is |
//! |---|---|
//! | [`schnorr`] | an auditor's second key, on Jubjub, tied to its ed25519 key |
//! | [`keyset`] | the list of auditors, its commitment, and the circuit that shows that the two agree |
//! | [`evidence`] | certificates that can be proven together, and the public statement |
//! | [`circuit`] | the circuit, rule by rule |
//! | [`pinned`] | the verifying keys that development networks begin with |
//! | [`groth16`] | keys from a seed or a ceremony, proofs, and the cells that a contract reads |
//! | [`list`] | the auditors as a registry lists them |
//! | [`papers`] | certificates and attestations as files |
//! | [`auditor`] | an auditor for development networks |
//!
//! Inside are the domain and digest of a certificate, Poseidon, and Jubjub as constraints.
//!
//! # For a contract
//!
//! Public inputs are three numbers: `domain` is the first 31 bytes of SHA-256 over the first 44 bytes of any of the certificates, the
//! commitment is the registry's, and the third is `lo * 2^128 + hi * 2^64 + T`. A contract must refuse public inputs at or above the
//! field's order, and points outside their groups, since TVM's pairing does not.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "field and curve arithmetic wraps by definition; whole numbers here are counted with checked calls"
)]

pub mod schnorr;

pub mod keyset;

pub mod evidence;

pub mod circuit;

pub mod groth16;

pub mod list;

pub mod papers;

pub mod auditor;

mod curve;
mod domain;
mod element;
mod files;
pub mod pinned;
mod poseidon;
#[cfg(test)]
mod tests;

pub use element::{Element, NotCanonical};
pub use files::KeyFileError;
