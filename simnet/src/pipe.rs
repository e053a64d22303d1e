//! A simulated byte stream: what is written arrives at the other end one link latency later, in order.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use futures_timer::Delay;

/// Bytes on their way in one direction. Yamux grants 256 KiB a stream; a writer that is ahead by more waits.
const WINDOW_BYTES: usize = 256 * 1024;

/// One direction of a stream.
#[derive(Default)]
struct Pipe {
    segments: VecDeque<Segment>,
    bytes: usize,
    /// The writer is done, and since when.
    closed_at_ns: Option<u64>,
    /// The reader is gone; nothing more will be taken.
    abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Segment {
    arrives_ns: u64,
    bytes: Vec<u8>,
    read: usize,
}

type Shared = Arc<Mutex<Pipe>>;

fn lock(pipe: &Shared) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One end of a two-way stream.
pub struct Stream {
    incoming: Shared,
    outgoing: Shared,
    latency: Duration,
    arrival: Option<(u64, Delay)>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({:?} latency)", self.latency)
    }
}

/// Both ends of a stream over a link with this one-way latency.
pub fn stream(latency: Duration) -> (Stream, Stream) {
    let (here, there) = (Shared::default(), Shared::default());
    let end =
        |incoming: &Shared, outgoing: &Shared| Stream { incoming: incoming.clone(), outgoing: outgoing.clone(), latency, arrival: None };
    (end(&here, &there), end(&there, &here))
}

impl Stream {
    /// When what is sent now arrives.
    fn arrival_ns(&self) -> u64 {
        simclock::now_ns().saturating_add(u64::try_from(self.latency.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Waits until virtual time has reached `due_ns`.
    fn poll_arrival(&mut self, cx: &mut Context<'_>, due_ns: u64) -> Poll<()> {
        let wait = Duration::from_nanos(due_ns.saturating_sub(simclock::now_ns()));
        let (_, delay) = match &mut self.arrival {
            Some(arrival) if arrival.0 == due_ns => arrival,
            other => other.insert((due_ns, Delay::new(wait))),
        };
        Pin::new(delay).poll(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let due_ns = {
                let mut pipe = lock(&self.incoming);
                match (pipe.segments.front(), pipe.closed_at_ns) {
                    (Some(segment), _) => segment.arrives_ns,
                    (None, Some(closed_at_ns)) => closed_at_ns,
                    (None, None) => {
                        pipe.reader = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                }
            };
            if simclock::now_ns() >= due_ns {
                return Poll::Ready(Ok(lock(&self.incoming).take(buffer)));
            }
            std::task::ready!(self.poll_arrival(cx, due_ns));
        }
    }
}

impl Pipe {
    /// Moves what has arrived into `buffer`; 0 at the end of the stream.
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let Some(segment) = self.segments.front_mut() else { return 0 };
        let rest = &segment.bytes[segment.read..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        segment.read += count;
        if segment.read == segment.bytes.len() {
            self.segments.pop_front();
        }
        self.bytes -= count;
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
        count
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let arrives_ns = self.arrival_ns();
        let mut pipe = lock(&self.outgoing);
        if pipe.abandoned || pipe.closed_at_ns.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = WINDOW_BYTES.saturating_sub(pipe.bytes);
        if room == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = room.min(bytes.len());
        pipe.segments.push_back(Segment { arrives_ns, bytes: bytes[..count].to_vec(), read: 0 });
        pipe.bytes += count;
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl Stream {
    fn finish(&self) {
        let arrives_ns = self.arrival_ns();
        let mut pipe = lock(&self.outgoing);
        pipe.closed_at_ns.get_or_insert(arrives_ns);
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.finish();
        let mut pipe = lock(&self.incoming);
        pipe.abandoned = true;
        if let Some(writer) = pipe.writer.take() {
            writer.wake();
        }
    }
}
