//! Requests over HTTP and TLS.

use std::time::Duration;

use super::transport::{ANSWER_BYTES_MAX, HttpTransport, Post, Response, TransportError};

/// A request may take so long in all; public endpoints take up to ten seconds when they are busy.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// A connection is made within so much time or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Carries requests over HTTP and TLS.
#[derive(Debug)]
pub struct Ureq {
    agent: ureq::Agent,
}

impl Ureq {
    /// With timeouts, and without redirects: an endpoint that moves says so in its documentation.
    pub fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(REQUEST_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Self { agent: config.into() }
    }
}

impl Default for Ureq {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpTransport for Ureq {
    fn post(&self, post: Post<'_>) -> Result<Response, TransportError> {
        let mut request = self.agent.post(post.url).header("content-type", "application/json");
        if let Some(key) = post.api_key {
            request = request.header("x-api-key", key);
        }
        let mut response = request.send(post.body).map_err(transport_error)?;
        let limit = u64::try_from(ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
        let body = response.body_mut().with_config().limit(limit).read_to_vec().map_err(transport_error)?;
        Ok(Response { status: response.status().as_u16(), body })
    }
}

fn transport_error(error: ureq::Error) -> TransportError {
    match error {
        ureq::Error::BodyExceedsLimit(_) => TransportError::TooLarge,
        other => TransportError::Connection(other.into()),
    }
}
