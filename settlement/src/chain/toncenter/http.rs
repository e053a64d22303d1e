//! Requests over HTTP and TLS.

use std::time::Duration;

use ureq::http::header::RETRY_AFTER;
use ureq::tls::{RootCerts, TlsConfig};

use super::transport::{ANSWER_BYTES_MAX, HttpTransport, Post, Response, TransportError, retry_after};

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For a request in all, the last byte of its answer included: an endpoint that sends one byte a second is given up, too.
    pub request: Duration,
}

impl Default for Timeouts {
    /// Public endpoints take up to ten seconds when they are busy.
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), request: Duration::from_secs(20) }
    }
}

/// Carries requests over HTTP and TLS.
#[derive(Debug)]
pub struct Ureq {
    agent: ureq::Agent,
}

impl Ureq {
    /// With timeouts, with the certificates that this machine trusts, and without redirects: an endpoint that moves says so in its
    /// documentation, and a key goes to nobody else.
    pub fn new(timeouts: Timeouts) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeouts.request))
            .timeout_connect(Some(timeouts.connect))
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build();
        Self { agent: config.into() }
    }
}

impl Default for Ureq {
    fn default() -> Self {
        Self::new(Timeouts::default())
    }
}

impl HttpTransport for Ureq {
    fn post(&self, post: Post<'_>) -> Result<Response, TransportError> {
        let mut request = self.agent.post(post.url).header("content-type", "application/json");
        if let Some(key) = post.api_key {
            request = request.header("x-api-key", key.reveal());
        }
        let mut response = request.send(post.body).map_err(transport_error)?;
        let limit = u64::try_from(ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
        let body = response.body_mut().with_config().limit(limit).read_to_vec().map_err(transport_error)?;
        let wish = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(retry_after);
        Ok(Response { status: response.status().as_u16(), retry_after: wish, body })
    }
}

fn transport_error(error: ureq::Error) -> TransportError {
    match error {
        ureq::Error::BodyExceedsLimit(_) => TransportError::TooLarge,
        other => TransportError::Connection(other.into()),
    }
}
