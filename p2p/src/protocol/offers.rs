//! `/cocoon/offers-pull/1`: "which offers do you know?", for a node that has just come.

use std::io;
use std::time::Duration;

use cocoon_market::signed::Signed;
use cocoon_market::{ModelId, Offer, SignedObject as _};
use futures::{AsyncRead, AsyncWrite};
use libp2p::StreamProtocol;
use libp2p::request_response;
use serde::{Deserialize, Serialize};

use super::frame::{read_one, write_one};

/// Offers in one answer: more than anybody compares for one demand, less than a packet storm.
pub const PULL_OFFERS_MAX: usize = 64;

/// Bytes of a question.
pub const PULL_REQUEST_BYTES_MAX: usize = 64;

/// Bytes of an answer: so many offers, each with its key, signature and framing.
pub const PULL_RESPONSE_BYTES_MAX: usize = PULL_OFFERS_MAX * (Offer::BYTES_MAX + 256);

/// How long an answer may take. It comes out of memory.
pub const PULL_TIMEOUT: Duration = Duration::from_secs(5);

/// Questions in flight on one connection.
pub const PULL_STREAMS_MAX: usize = 4;

/// The question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// For which model; `None` for any.
    pub model: Option<ModelId>,
}

/// The answer: signed offers, for the asker to check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullResponse {
    /// At most [`PULL_OFFERS_MAX`].
    pub offers: Vec<Signed>,
}

/// Frames of questions and answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PullCodec;

impl request_response::Codec for PullCodec {
    type Protocol = StreamProtocol;
    type Request = PullRequest;
    type Response = PullResponse;

    async fn read_request<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<PullRequest> {
        read_one(io, PULL_REQUEST_BYTES_MAX).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<PullResponse> {
        read_one(io, PULL_RESPONSE_BYTES_MAX).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: PullRequest,
    ) -> io::Result<()> {
        write_one(io, &request, PULL_REQUEST_BYTES_MAX).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: PullResponse,
    ) -> io::Result<()> {
        write_one(io, &response, PULL_RESPONSE_BYTES_MAX).await
    }
}
