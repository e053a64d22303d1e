//! One request, one response, each one frame: what negotiations and pulls have in common.

use std::io;
use std::marker::PhantomData;

use futures::{AsyncRead, AsyncWrite};
use libp2p::StreamProtocol;
use libp2p::request_response;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{read_one, write_one};

/// What came. Bytes that are no message are reported as such, rather than as an error that ends up in a log: whoever
/// sent them is to be penalised.
#[derive(Clone, Debug)]
pub(crate) enum Received<T> {
    /// A message of the protocol.
    Message(T),
    /// Anything else.
    Garbage,
}

/// Reads and writes the frames of one protocol within its bounds.
#[derive(Debug)]
pub(crate) struct ExchangeCodec<Q, A> {
    request_max: usize,
    response_max: usize,
    messages: PhantomData<fn() -> (Q, A)>,
}

impl<Q, A> ExchangeCodec<Q, A> {
    pub(crate) const fn new(request_max: usize, response_max: usize) -> Self {
        Self { request_max, response_max, messages: PhantomData }
    }
}

impl<Q, A> Clone for ExchangeCodec<Q, A> {
    fn clone(&self) -> Self {
        Self::new(self.request_max, self.response_max)
    }
}

async fn read<T: DeserializeOwned, R: AsyncRead + Unpin + Send>(io: &mut R, max: usize) -> io::Result<Received<T>> {
    match read_one(io, max).await {
        Ok(message) => Ok(Received::Message(message)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Received::Garbage),
        Err(error) => Err(error),
    }
}

async fn write<T: Serialize + Sync, W: AsyncWrite + Unpin + Send>(io: &mut W, received: &Received<T>, max: usize) -> io::Result<()> {
    match received {
        Received::Message(message) => write_one(io, message, max).await,
        Received::Garbage => Err(io::ErrorKind::InvalidInput.into()),
    }
}

impl<Q, A> request_response::Codec for ExchangeCodec<Q, A>
where
    Q: Serialize + DeserializeOwned + Send + Sync + 'static,
    A: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    type Protocol = StreamProtocol;
    type Request = Received<Q>;
    type Response = Received<A>;

    async fn read_request<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Received<Q>> {
        read(io, self.request_max).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Received<A>> {
        read(io, self.response_max).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Received<Q>,
    ) -> io::Result<()> {
        write(io, &request, self.request_max).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Received<A>,
    ) -> io::Result<()> {
        write(io, &response, self.response_max).await
    }
}
