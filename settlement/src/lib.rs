//! Money: channels, ledger, contracts and chains.
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

pub mod chain;
pub mod contract;

pub mod channel;
pub mod ledger;
pub mod wallet;
