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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::io::Cursor;
    use libp2p::request_response::Codec as _;

    use crate::protocol::OFFERS_PULL_PROTOCOL as NAME;

    type Codec = ExchangeCodec<String, Vec<u8>>;

    fn received<T: Clone>(received: io::Result<Received<T>>) -> Option<T> {
        match received.unwrap() {
            Received::Message(message) => Some(message),
            Received::Garbage => None,
        }
    }

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let (mut codec, mut wire) = (Codec::new(64, 1024), Cursor::new(Vec::new()));
        block_on(codec.write_request(&NAME, &mut wire, Received::Message("which?".into()))).unwrap();
        wire.set_position(0);
        assert_eq!(received(block_on(codec.clone().read_request(&NAME, &mut wire))), Some("which?".to_owned()));
        let mut wire = Cursor::new(Vec::new());
        block_on(codec.write_response(&NAME, &mut wire, Received::Message(vec![7; 300]))).unwrap();
        wire.set_position(0);
        assert_eq!(received(block_on(codec.clone().read_response(&NAME, &mut wire))), Some(vec![7; 300]));
    }

    #[test]
    fn questions_and_answers_have_bounds_of_their_own() {
        let mut codec = Codec::new(64, 1024);
        let frame = |len: u32| Cursor::new([&len.to_be_bytes()[..], &vec![0x40; 2000]].concat());
        assert_eq!(received(block_on(codec.read_request(&NAME, &mut frame(65)))), None);
        assert_eq!(received(block_on(codec.read_response(&NAME, &mut frame(1025)))), None);
        let long = Received::Message("x".repeat(65));
        let error = block_on(codec.write_request(&NAME, &mut Cursor::new(Vec::new()), long)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn garbage_is_reported_and_a_broken_stream_is_an_error() {
        let mut codec = Codec::new(64, 1024);
        assert_eq!(received(block_on(codec.read_request(&NAME, &mut Cursor::new([0, 0, 0, 1, 0xff])))), None);
        for broken in [&[][..], &[0, 0], &[0, 0, 0, 9, 1]] {
            let error = block_on(codec.read_request(&NAME, &mut Cursor::new(broken))).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn garbage_is_never_handed_on() {
        let mut wire = Cursor::new(Vec::new());
        assert!(block_on(Codec::new(64, 64).write_response(&NAME, &mut wire, Received::Garbage)).is_err());
        assert!(wire.into_inner().is_empty());
    }
}
