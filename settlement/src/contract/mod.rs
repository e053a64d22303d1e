//! The contracts of `contracts/` as Rust sees them: code cells, addresses, message bodies, stored data, exit codes.
//!
//! This module mirrors `contracts/messages.tolk`, `contracts/errors.tolk` and the storage of `contracts/channel.tolk`, and
//! nothing else in the workspace knows an opcode. `tests/vectors/` holds one golden vector per message.
//!
//! - [`exit`]: why a contract refused.
//! - [`message`]: what is sent to a channel and what it sends.
//! - [`channel`]: a channel's fixed terms, its initial state and with it its address, and its stored data.

pub mod channel;
pub mod exit;
pub mod message;

mod cells;
#[cfg(all(test, feature = "embedded"))]
pub(crate) mod testing;
#[cfg(all(test, feature = "embedded"))]
mod tests;
#[cfg(test)]
mod vectors;

pub use cells::CellError;
pub use channel::{ChannelData, ChannelStatus, ChannelTerms};
pub use exit::Exit;
pub use message::{ChannelMessage, ChannelNotice, QueryId};
