//! The HTTP API of toncenter, version 2: a client for it, and a server that puts it in front of any [`Chain`](super::Chain).
//!
//! The server is a function from request to reply and knows no HTTP framework; the client sends through a trait. So the two can be joined
//! without a socket between them, which is how they are tested.

#[cfg(feature = "http")]
pub mod client;
mod explore;
mod json;
#[cfg(feature = "http")]
pub mod pace;
pub mod server;
pub mod transport;

#[cfg(feature = "http")]
pub mod http;

#[cfg(feature = "http")]
pub use client::Toncenter;
#[cfg(feature = "http")]
pub use pace::{Rate, SystemTimer, Timer};
pub use server::{Reply, Request, Server, Verb};
pub use transport::{ApiKey, ApiKeyError, HttpTransport, Post, Response, TransportError};

#[cfg(all(test, feature = "embedded", feature = "http"))]
mod tests;
