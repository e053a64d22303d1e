//! Frames on a stream: four bytes of length, big-endian, then so many bytes of CBOR.
//!
//! A length above the bound ends the stream before anything is read; memory grows with what arrived, not with what was
//! announced.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use cocoon_market::codec::{self, DecodeError, EncodeError};
use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Stream};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of a frame's length.
const HEAD_BYTES: usize = 4;

/// Bytes asked of the stream at a time: several token frames, one packet of a large prompt.
const READ_BYTES: usize = 4096;

/// Why there is no next frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream broke. Peer penalty: none.
    #[error("the stream broke")]
    Io(#[from] io::Error),
    /// It ended within a frame. Peer penalty: none; connections break anywhere.
    #[error("the stream ended within a frame")]
    Truncated,
    /// The frame is larger than its protocol allows, or not of its protocol. Peer penalty: garbage.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Our own frame is larger than readers accept. Peer penalty: none.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl FrameError {
    /// Whether the peer sent something that no peer of this protocol sends.
    pub const fn is_garbage(&self) -> bool {
        matches!(self, Self::Decode(_))
    }
}

/// Reads frames; a cancelled read loses nothing.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    io: R,
    buffer: BytesMut,
    frame_max: usize,
    ended: bool,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(io: R, frame_max: usize) -> Self {
        Self { io, buffer: BytesMut::new(), frame_max, ended: false }
    }

    /// The next frame, decoded; `None` at an orderly end.
    pub(crate) async fn next_as<T: DeserializeOwned>(&mut self) -> Option<Result<T, FrameError>> {
        let frame = futures::StreamExt::next(self).await?;
        Some(frame.and_then(|bytes| Ok(codec::decode(&bytes, self.frame_max)?)))
    }

    /// Takes a whole frame off the buffer, if there is one.
    fn take_frame(&mut self) -> Result<Option<BytesMut>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let len = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if len > self.frame_max {
            return Err(DecodeError::TooLarge { len, max: self.frame_max }.into());
        }
        if self.buffer.len() < HEAD_BYTES + len {
            return Ok(None);
        }
        self.buffer.advance(HEAD_BYTES);
        Ok(Some(self.buffer.split_to(len)))
    }
}

impl<R: AsyncRead + Unpin> Stream for FrameReader<R> {
    type Item = Result<BytesMut, FrameError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while !this.ended {
            match this.take_frame() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) => {}
                Err(error) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            let mut chunk = [0u8; READ_BYTES];
            match ready!(Pin::new(&mut this.io).poll_read(cx, &mut chunk)) {
                Ok(0) => {
                    this.ended = true;
                    if !this.buffer.is_empty() {
                        return Poll::Ready(Some(Err(FrameError::Truncated)));
                    }
                }
                Ok(read) => this.buffer.extend_from_slice(&chunk[..read]),
                Err(error) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
        }
        Poll::Ready(None)
    }
}

/// Writes frames, each flushed: a token that waits in a buffer is a token late.
#[derive(Debug)]
pub(crate) struct FrameWriter<W> {
    pub(super) io: W,
    frame_max: usize,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(crate) fn new(io: W, frame_max: usize) -> Self {
        Self { io, frame_max }
    }

    /// Writes one frame and flushes it.
    pub(crate) async fn send<T: Serialize>(&mut self, value: &T) -> Result<(), FrameError> {
        let frame = encode_frame(value, self.frame_max)?;
        self.io.write_all(&frame).await?;
        self.io.flush().await?;
        Ok(())
    }

    /// Ends our half of the stream.
    pub(crate) async fn close(&mut self) -> Result<(), FrameError> {
        Ok(self.io.close().await?)
    }
}

fn encode_frame<T: Serialize>(value: &T, frame_max: usize) -> Result<Vec<u8>, FrameError> {
    let body = codec::encode(value, frame_max)?;
    let too_large = EncodeError::TooLarge { len: body.len(), max: frame_max };
    let len = u32::try_from(body.len()).map_err(|_| too_large)?;
    Ok([&len.to_be_bytes(), body.as_slice()].concat())
}

/// A stream before it is split.
pub(crate) struct FrameStream<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> FrameStream<S> {
    pub(crate) fn new(io: S) -> Self {
        Self(io)
    }

    /// Both directions, to be used at the same time.
    pub(crate) fn split(self, frame_max: usize) -> (FrameReader<ReadHalf<S>>, FrameWriter<WriteHalf<S>>) {
        let (read, write) = self.0.split();
        (FrameReader::new(read, frame_max), FrameWriter::new(write, frame_max))
    }
}

/// Reads the one message of a request or response.
pub(crate) async fn read_one<T: DeserializeOwned, R: AsyncRead + Unpin + Send>(io: &mut R, max: usize) -> io::Result<T> {
    match FrameReader::new(io, max).next_as().await {
        None => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(Ok(value)) => Ok(value),
        Some(Err(FrameError::Io(error))) => Err(error),
        Some(Err(FrameError::Truncated)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(Err(error)) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

/// Writes the one message of a request or response.
pub(crate) async fn write_one<T: Serialize, W: AsyncWrite + Unpin + Send>(io: &mut W, value: &T, max: usize) -> io::Result<()> {
    let frame = encode_frame(value, max).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    io.write_all(&frame).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;
    use futures::executor::block_on;
    use futures::io::Cursor;
    use proptest::prelude::*;

    use crate::fixtures::Ends;

    fn read_all(bytes: &[u8], max: usize) -> Vec<Result<Vec<u8>, FrameError>> {
        block_on(FrameReader::new(Cursor::new(bytes), max).map(|frame| frame.map(|f| f.to_vec())).collect())
    }

    #[test]
    fn a_length_above_the_bound_ends_the_stream_before_its_bytes() {
        let mut bytes = (1025u32).to_be_bytes().to_vec();
        bytes.extend([7; 1025]);
        let frames = read_all(&bytes, 1024);
        assert!(matches!(frames.as_slice(), [Err(FrameError::Decode(DecodeError::TooLarge { len: 1025, max: 1024 }))]));
    }

    #[test]
    fn an_end_within_a_frame_is_no_frame() {
        assert!(matches!(read_all(&[0, 0, 0, 2, 1], 16).as_slice(), [Err(FrameError::Truncated)]));
        assert!(matches!(read_all(&[0, 0], 16).as_slice(), [Err(FrameError::Truncated)]));
        assert!(read_all(&[], 16).is_empty());
    }

    #[test]
    fn a_frame_may_be_as_long_as_the_bound() {
        let bytes = [&[0, 0, 4, 0][..], &[7; 1024]].concat();
        assert!(matches!(read_all(&bytes, 1024).as_slice(), [Ok(frame)] if frame.len() == 1024));
    }

    #[test]
    fn our_own_frames_keep_the_bound() {
        let mut writer = FrameWriter::new(Vec::new(), 8);
        assert!(matches!(block_on(writer.send(&"much too long")), Err(FrameError::Encode(_))));
    }

    #[test]
    fn only_what_no_peer_of_the_protocol_sends_is_garbage() {
        assert!(FrameError::Decode(DecodeError::TooLarge { len: 2, max: 1 }).is_garbage());
        assert!(!FrameError::Truncated.is_garbage());
        assert!(!FrameError::Io(io::ErrorKind::ConnectionReset.into()).is_garbage());
        assert!(!FrameError::Encode(EncodeError::TooLarge { len: 2, max: 1 }).is_garbage());
    }

    #[test]
    fn closing_ends_our_half_of_the_stream() {
        let mut writer = FrameWriter::new(Ends::default(), 8);
        block_on(writer.send(&1)).unwrap();
        assert_eq!(writer.io.0, 0);
        block_on(writer.close()).unwrap();
        assert_eq!(writer.io.0, 1);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in prop::collection::vec(".{0,300}", 0..20)) {
            let mut writer = FrameWriter::new(Vec::new(), 4096);
            for value in &values {
                block_on(writer.send(value)).unwrap();
            }
            let bytes = writer.io;
            let mut reader = FrameReader::new(Cursor::new(bytes), 4096);
            let mut read = Vec::new();
            while let Some(value) = block_on(reader.next_as::<String>()) {
                read.push(value.unwrap());
            }
            prop_assert_eq!(read, values);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = read_all(&bytes, 64);
        }
    }
}
