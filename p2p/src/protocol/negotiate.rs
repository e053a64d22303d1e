//! `/cocoon/negotiate/1`: one request, one response, each a frame of at most
//! [`NEGOTIATE_BYTES_MAX`] bytes.

use std::time::Duration;

use cocoon_market::agreement::{NEGOTIATE_BYTES_MAX, NegotiateRequest, NegotiateResponse};

use super::exchange::ExchangeCodec;

/// How long an answer may take: the provider may look at the chain before it commits.
pub const NEGOTIATE_TIMEOUT: Duration = Duration::from_secs(15);

/// Messages of negotiations in flight on one connection.
pub const NEGOTIATE_STREAMS_MAX: usize = 32;

/// Frames of negotiations.
pub(crate) type NegotiateCodec = ExchangeCodec<NegotiateRequest, NegotiateResponse>;

pub(crate) const fn codec() -> NegotiateCodec {
    ExchangeCodec::new(NEGOTIATE_BYTES_MAX, NEGOTIATE_BYTES_MAX)
}
