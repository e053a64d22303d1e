//! What the client asks of whatever carries its requests.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::chain::error::Cause;

/// Bytes an answer may have: an account of the largest size the network allows, in base64, with room for its frame.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a key. Toncenter's have 64.
pub const KEY_BYTES_MAX: usize = 512;

/// A key that raises an endpoint's limits. It is sent to the endpoint and shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Zeroizing<String>);

/// A text that no endpoint gives out as a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an API key: expected 1 to {KEY_BYTES_MAX} visible ASCII characters, as the endpoint's owner gave it out")]
pub struct ApiKeyError;

impl ApiKey {
    /// Takes a key as its owner wrote it down.
    ///
    /// # Errors
    /// [`ApiKeyError`] for what cannot stand in a header.
    pub fn new(text: &str) -> Result<Self, ApiKeyError> {
        let is_key = !text.is_empty() && text.len() <= KEY_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_key { Ok(Self(Zeroizing::new(text.to_owned()))) } else { Err(ApiKeyError) }
    }

    /// The key itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// A request to an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Post<'a> {
    /// Where to.
    pub url: &'a str,
    /// The key that raises the endpoint's limits, if there is one.
    pub api_key: Option<&'a ApiKey>,
    /// JSON.
    pub body: &'a [u8],
}

/// An endpoint's answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// How long the endpoint wants to be left alone, if it says so.
    pub retry_after: Option<Duration>,
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
}

/// Reads a `Retry-After` header in seconds. Dates, its other form, are rare and take a calendar to read; they count as silence.
#[cfg(feature = "http")]
pub(super) fn retry_after(header: &str) -> Option<Duration> {
    header.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_and_not_shown() {
        let key = ApiKey::new("sesame").unwrap();
        assert_eq!((key.reveal(), format!("{key:?}").as_str()), ("sesame", "hidden"));
        let post = Post { url: "u", api_key: Some(&key), body: b"" };
        assert!(!format!("{post:?}").contains("sesame"));
        for wrong in ["", " sesame", "ses ame", "sesame\n", "sesame\r\nhost: x", "s\u{e9}same", &"x".repeat(KEY_BYTES_MAX + 1)] {
            assert_eq!(ApiKey::new(wrong), Err(ApiKeyError), "{wrong:?}");
            assert!(!ApiKeyError.to_string().contains("sesame"));
        }
    }

    #[cfg(feature = "http")]
    #[test]
    fn the_wish_to_be_left_alone_is_read_in_seconds() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(" 120 "), Some(Duration::from_secs(120)));
        for silent in ["", "-1", "1.5", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "99999999999999999999999"] {
            assert_eq!(retry_after(silent), None, "{silent}");
        }
    }
}
