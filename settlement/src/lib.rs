//! Money: channels, the ledger, the contracts and the chains.
//!
//! A requester pays a provider through a *channel*: a contract on TON that holds the requester's deposit. Work is paid off chain, by
//! vouchers that each say how much of the deposit is the provider's by now; the chain is only needed to open the channel, to draw
//! what a voucher pays, and to get back the rest. So this crate has three jobs: to know exactly what the contract does ([`contract`], [`channel`]),
//! to never forget what was signed ([`ledger`]), and to carry orders to a chain that may be slow, absent or lying ([`settler`], [`chain`]).
//!
//! It does not negotiate, meter or speak to peers: it knows `cocoon-market`'s words and nobody else, and it alone names TON. Nothing here is async and nothing
//! reads a clock, but for the chains, which are handed one; callers pass the time in and run what blocks where blocking is fine.
//!
//! # Modules in reading order
//!
//! | module | is |
//! |---|---|
//! | [`contract`] | code cells, addresses, messages, stored data and exit codes of the contracts in `contracts/` |
//! | [`channel`] | the channel as a pure machine, held against the real contract by a test; simulations pay through it |
//! | [`ledger`] | the durable books: agreements, receipts, vouchers, orders; both roles |
//! | [`wallet`] | the owner's wallet from 24 words |
//! | [`settler`] | carries orders to a chain, checks channels there, says until when a provider may work without seeing it |
//! | [`dossier`] | one job's papers in one file, and their verification |
//! | [`chain`] | chains behind one trait: embedded, toncenter, two that must agree |
//! | [`economy`] | the token's rules as pure machines; no contract decides by them yet |
//! | `attest` | one proof over many auditors' certificates; with the feature of that name |
//!
//! # The life of a channel
//!
//! ```text
//! requester                                        provider
//!   settler.new_terms, settler.open, tick  --> chain <--  settler.admit (verify_channel, then a book)
//!   ledger.record_agreement                               ledger.record_agreement
//!   ledger.pay_receipt     <----------- receipt --------- ledger.issue_receipt
//!                          ------------ voucher --------> ledger.accept_voucher
//!   settler.watch, tick                                   settler.watch (claims by policy), tick
//!   ledger.countersigned_end <--- close, signed --------- ledger.end_channel        both agree: at once
//!   settler.close, later the refund by watch              watch claims within the window        or one side alone
//! ```
//!
//! # Features
//!
//! `redb` (the durable store), `embedded` (the chain in this process), `http` (toncenter's client); these are on by default. `attest`
//! (proofs over certificates) is not, since arkworks takes minutes to build. Without any of them the machines, the ledger over [`ledger::MemoryStore`], the settler and the wallet are there: what a simulation takes.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::float_arithmetic,
        clippy::as_conversions,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

pub mod contract;

pub mod channel;
pub mod ledger;

pub mod wallet;

pub mod settler;

pub mod dossier;

pub mod chain;

pub mod economy;

#[cfg(feature = "attest")]
pub mod attest;
