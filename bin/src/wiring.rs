//! The running node: payment, execution and peers, put together from a configuration and keys.
//!
//! Modules in reading order: [`open_home`] (keys and chain), [`desk`] (ledger and chain), [`payer`] and [`payee`] (the two sides of
//! payment), [`keeper`] (orders, claims, watching), [`own`] (the provider's contract), [`office`] (desk and keeper together), [`serving`], [`placement`] and [`executor`] (models,
//! where they run, and jobs), [`buying`] (offers, agreements, jobs), [`node`] (all of it together), [`session`] (a node for one command).

pub mod answering;
pub mod buying;
pub mod desk;
pub mod embedding;
pub mod executor;
pub mod keeper;
pub mod node;
pub mod office;
pub mod open_home;
pub mod own;
pub mod payee;
pub mod payer;
pub mod placement;
pub mod serving;
pub mod session;

mod telemetry;

#[cfg(test)]
mod tests;
