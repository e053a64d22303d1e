//! The production node in virtual time: one seed, one trace.
//!
//! This workspace runs `cocoon-p2p` whole, with its real Kademlia, gossipsub and protocols, over a simulated network and
//! clock. Three things are replaced, each at the edge: the timer crates (patched in this workspace's manifest, so that
//! production never links them), the transport ([`network`]), and the operating system's randomness ([`entropy`]).
//!
//! Modules in reading order: [`executor`] runs tasks in virtual time, [`entropy`] answers for the kernel, [`pipe`] and
//! [`network`] carry bytes, [`trace`] writes down what happened, [`scenario`] is a whole small world.

pub mod executor;
pub mod entropy;
pub mod pipe;
pub mod network;
pub mod trace;
pub mod scenario;
