//! `/cocoon/negotiate/1`: one request, one response, each a frame of at most
//! [`NEGOTIATE_BYTES_MAX`](cocoon_market::agreement::NEGOTIATE_BYTES_MAX) bytes.

use std::io;
use std::time::Duration;

use cocoon_market::agreement::{NEGOTIATE_BYTES_MAX, NegotiateRequest, NegotiateResponse};
use futures::{AsyncRead, AsyncWrite};
use libp2p::StreamProtocol;
use libp2p::request_response;

use super::frame::{read_one, write_one};

/// How long an answer may take: the provider may look at the chain before it commits.
pub const NEGOTIATE_TIMEOUT: Duration = Duration::from_secs(15);

/// Messages of negotiations in flight on one connection.
pub const NEGOTIATE_STREAMS_MAX: usize = 32;

/// Frames of negotiations.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NegotiateCodec;

impl request_response::Codec for NegotiateCodec {
    type Protocol = StreamProtocol;
    type Request = NegotiateRequest;
    type Response = NegotiateResponse;

    async fn read_request<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<NegotiateRequest> {
        read_one(io, NEGOTIATE_BYTES_MAX).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<NegotiateResponse> {
        read_one(io, NEGOTIATE_BYTES_MAX).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: NegotiateRequest,
    ) -> io::Result<()> {
        write_one(io, &request, NEGOTIATE_BYTES_MAX).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: NegotiateResponse,
    ) -> io::Result<()> {
        write_one(io, &response, NEGOTIATE_BYTES_MAX).await
    }
}
