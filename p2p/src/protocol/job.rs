//! `/cocoon/job/1`: one stream a job, carrying the frames of [`cocoon_market::job`].

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use cocoon_market::codec;
use cocoon_market::job::{JOB_FRAME_BYTES_MAX, ProviderFrame, RequesterFrame};
use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncWrite, Stream, StreamExt as _};
use serde::de::DeserializeOwned;

use super::frame::{FrameError, FrameReader, FrameStream, FrameWriter};
use crate::node::JobStream;
use crate::shell::within;

/// How long the first frame of a stream may take: the requester has it ready when it opens the stream.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one frame may take to leave. A peer that reads nothing for so long is gone or hostile.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// The requester's end of a job stream.
pub(crate) fn requester_end(stream: JobStream) -> (JobFrames<ProviderFrame>, JobWriter) {
    ends(stream)
}

/// The provider's end of a job stream.
pub(crate) fn provider_end(stream: JobStream) -> (JobFrames<RequesterFrame>, JobWriter) {
    ends(stream)
}

fn ends<T>(stream: JobStream) -> (JobFrames<T>, JobWriter) {
    let (reader, writer) = FrameStream::new(stream).split(JOB_FRAME_BYTES_MAX);
    (JobFrames { reader, frame: std::marker::PhantomData }, JobWriter(writer))
}

/// Frames that arrive.
#[derive(Debug)]
pub(crate) struct JobFrames<T> {
    reader: FrameReader<ReadHalf<JobStream>>,
    frame: std::marker::PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Stream for JobFrames<T> {
    type Item = Result<T, FrameError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = ready!(self.reader.poll_next_unpin(cx));
        Poll::Ready(frame.map(|frame| frame.and_then(|bytes| Ok(codec::decode(&bytes, JOB_FRAME_BYTES_MAX)?))))
    }
}

/// Frames that leave, each within [`WRITE_TIMEOUT`].
#[derive(Debug)]
pub(crate) struct JobWriter<W = WriteHalf<JobStream>>(FrameWriter<W>);

impl<W: AsyncWrite + Unpin> JobWriter<W> {
    pub(crate) async fn send<T: serde::Serialize>(&mut self, frame: &T) -> Result<(), FrameError> {
        let sent = within(WRITE_TIMEOUT, self.0.send(frame)).await;
        sent.unwrap_or_else(|_| Err(FrameError::Io(std::io::ErrorKind::TimedOut.into())))
    }

    pub(crate) async fn close(&mut self) {
        // The other side may be gone already, which is just as closed.
        let _ = within(WRITE_TIMEOUT, self.0.close()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Ends;

    #[test]
    fn a_stream_is_ended_rather_than_dropped_so_that_its_last_frame_arrives() {
        let mut writer = JobWriter(FrameWriter::new(Ends::default(), 8));
        futures::executor::block_on(writer.close());
        assert_eq!(writer.0.io.0, 1);
    }
}
