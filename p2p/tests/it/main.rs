//! Whole nodes in one process, over the in-memory transport, through the crate's public face.

mod gossip;
mod hostile;
mod jobs;
mod negotiation;
mod sockets;
mod vectors;
mod world;
