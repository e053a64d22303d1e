//! What the client asks of whatever carries its requests.

use std::time::Duration;

use crate::chain::error::Cause;

/// Bytes an answer may have: an account of the largest size the network allows, in base64, with room for its frame.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A request to an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Post<'a> {
    /// Where to.
    pub url: &'a str,
    /// The key that raises the endpoint's limits, if there is one.
    pub api_key: Option<&'a str>,
    /// JSON.
    pub body: &'a [u8],
}

/// An endpoint's answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Its body, of at most [`ANSWER_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The answer has more than [`ANSWER_BYTES_MAX`] bytes.
    #[error("the answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    /// No connection, or it broke, or it took too long.
    #[error("the connection failed")]
    Connection(#[source] Cause),
}

/// Carries requests to endpoints.
pub trait HttpTransport: Send + Sync {
    /// Sends a request and waits for the answer. An answer with a bad status is an answer.
    ///
    /// # Errors
    /// [`TransportError`] when there is none.
    fn post(&self, post: Post<'_>) -> Result<Response, TransportError>;

    /// Waits before a request is repeated.
    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}
