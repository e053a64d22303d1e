//! The production node in virtual time: one seed, one trace.
//!
//! This workspace runs `cocoon-p2p` whole, with its real Kademlia, gossipsub and protocols, over a simulated network and
//! clock. Three things are replaced, each at the edge: the timer crates (patched in this workspace's manifest, so that
//! production never links them), the transport ([`network`]), and the operating system's randomness ([`entropy`]).
//!
//! Modules in reading order: [`executor`] runs tasks in virtual time, [`entropy`] answers for the kernel, [`pipe`] and
//! [`network`] carry bytes, [`trace`] writes down what happened,
//! [`chain`] and [`purse`] are the money, [`scenario`] is a whole small world.

pub mod chain;
pub mod entropy;
pub mod executor;
pub mod network;
pub mod pipe;
pub mod purse;
pub mod scenario;
pub mod trace;
