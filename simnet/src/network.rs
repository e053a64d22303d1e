//! The simulated network: a libp2p transport whose connections are pairs of queues.
//!
//! A connection costs no handshake bytes: the peer ids are exchanged by the simulator, and streams are multiplexed by
//! handing over their ends ([`crate::pipe`]). Everything above, from protocol negotiation to gossip, is the production
//! code. Each link has a latency of its own, drawn from the seed.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use futures_timer::Delay;
use libp2p::core::Transport;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent};
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::pipe::{Stream, stream};

/// One-way latency of the fastest link: two machines in one city.
const LATENCY_MIN: Duration = Duration::from_millis(2);

/// What the slowest link has on top: half way around the world.
const LATENCY_SPREAD_MS: u64 = 120;

/// Streams that wait to be accepted on one connection; libp2p's own muxers keep as many.
const STREAMS_WAITING_MAX: usize = 256;

/// Connections that wait to be accepted by one listener.
const CONNECTIONS_WAITING_MAX: usize = 1024;

/// The network all nodes of a simulation share. Clones are the same network.
#[derive(Clone)]
pub struct Network(Arc<Mutex<State>>);

struct State {
    seed: u64,
    listeners: BTreeMap<u64, Listener>,
    /// Nodes that are cut off: nothing they send arrives, and nobody reaches them.
    cut: std::collections::BTreeSet<u64>,
}

struct Listener {
    peer: PeerId,
    waiting: VecDeque<(u64, PeerId, Muxer)>,
    waker: Option<Waker>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Network({} listeners)", self.lock().listeners.len())
    }
}

impl Network {
    /// An empty network whose latencies follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State { seed, listeners: BTreeMap::new(), cut: Default::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transport of the node `peer`, which listens on `/memory/{node}`.
    pub fn transport(&self, node: u64, peer: PeerId) -> Boxed<(PeerId, StreamMuxerBox)> {
        NodeTransport { network: self.clone(), node, peer, listening: None, announced: true }.boxed()
    }

    /// One-way latency between two nodes, the same in both directions.
    pub fn latency(&self, a: u64, b: u64) -> Duration {
        let mut hash = blake3::Hasher::new();
        hash.update(&self.lock().seed.to_be_bytes()).update(&a.min(b).to_be_bytes()).update(&a.max(b).to_be_bytes());
        LATENCY_MIN + Duration::from_millis(u64::from(hash.finalize().as_bytes()[0]) * LATENCY_SPREAD_MS / 255)
    }

    /// Makes `node` unreachable: dials to and from it fail.
    pub fn cut(&self, node: u64) {
        self.lock().cut.insert(node);
    }

    /// Delivers a new connection from `from` to `to`; gives the dialler its end.
    fn connect(&self, from: u64, from_peer: PeerId, to: u64) -> io::Result<(PeerId, Muxer)> {
        let latency = self.latency(from, to);
        let mut state = self.lock();
        let unreachable = state.cut.contains(&from) || state.cut.contains(&to);
        let listener = state.listeners.get_mut(&to).filter(|l| !unreachable && l.waiting.len() < CONNECTIONS_WAITING_MAX);
        let Some(listener) = listener else { return Err(io::ErrorKind::ConnectionRefused.into()) };
        let (near, far) = muxers(latency);
        listener.waiting.push_back((from, from_peer, far));
        if let Some(waker) = listener.waker.take() {
            waker.wake();
        }
        Ok((listener.peer, near))
    }
}

fn address(node: u64) -> Multiaddr {
    Multiaddr::empty().with(Protocol::Memory(node))
}

fn node_of(address: &Multiaddr) -> Option<u64> {
    match address.iter().next() {
        Some(Protocol::Memory(node)) => Some(node),
        _ => None,
    }
}

/// What a node's swarm dials and listens through.
struct NodeTransport {
    network: Network,
    node: u64,
    peer: PeerId,
    listening: Option<ListenerId>,
    announced: bool,
}

type Upgrade = BoxFuture<'static, io::Result<(PeerId, StreamMuxerBox)>>;

impl Transport for NodeTransport {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = Upgrade;
    type Dial = Upgrade;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<io::Error>> {
        if node_of(&addr) != Some(self.node) {
            return Err(TransportError::MultiaddrNotSupported(addr));
        }
        let listener = Listener { peer: self.peer, waiting: VecDeque::new(), waker: None };
        self.network.lock().listeners.insert(self.node, listener);
        (self.listening, self.announced) = (Some(id), false);
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let ours = self.listening == Some(id);
        if ours {
            self.listening = None;
            self.network.lock().listeners.remove(&self.node);
        }
        ours
    }

    fn dial(&mut self, addr: Multiaddr, _: DialOpts) -> Result<Upgrade, TransportError<io::Error>> {
        let Some(to) = node_of(&addr) else { return Err(TransportError::MultiaddrNotSupported(addr)) };
        let (network, node, peer) = (self.network.clone(), self.node, self.peer);
        Ok(Box::pin(async move {
            // TCP, Noise and the muxer take two round trips before the first byte of ours.
            Delay::new(network.latency(node, to) * 4).await;
            let (remote, muxer) = network.connect(node, peer, to)?;
            Ok((remote, StreamMuxerBox::new(muxer)))
        }))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Upgrade, io::Error>> {
        let Some(listener_id) = self.listening else { return Poll::Pending };
        let local_addr = address(self.node);
        if !std::mem::replace(&mut self.announced, true) {
            return Poll::Ready(TransportEvent::NewAddress { listener_id, listen_addr: local_addr });
        }
        let network = self.network.clone();
        let mut state = network.lock();
        let Some(listener) = state.listeners.get_mut(&self.node) else { return Poll::Pending };
        let Some((from, peer, muxer)) = listener.waiting.pop_front() else {
            listener.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let upgrade: Upgrade = Box::pin(async move { Ok((peer, StreamMuxerBox::new(muxer))) });
        Poll::Ready(TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr: address(from) })
    }
}

/// Streams one side has opened and the other has not yet accepted.
#[derive(Default)]
struct Inbox {
    streams: VecDeque<Stream>,
    accepter: Option<Waker>,
    opener: Option<Waker>,
    closed: bool,
    watcher: Option<Waker>,
}

impl Inbox {
    fn close(&mut self) {
        self.closed = true;
        for waker in [self.accepter.take(), self.opener.take(), self.watcher.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

type SharedInbox = Arc<Mutex<Inbox>>;

fn lock(inbox: &SharedInbox) -> MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One end of a simulated connection.
struct Muxer {
    latency: Duration,
    mine: SharedInbox,
    theirs: SharedInbox,
}

fn muxers(latency: Duration) -> (Muxer, Muxer) {
    let (near, far) = (SharedInbox::default(), SharedInbox::default());
    (Muxer { latency, mine: near.clone(), theirs: far.clone() }, Muxer { latency, mine: far, theirs: near })
}

impl StreamMuxer for Muxer {
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let mut mine = lock(&self.mine);
        if let Some(stream) = mine.streams.pop_front() {
            if let Some(opener) = mine.opener.take() {
                opener.wake();
            }
            return Poll::Ready(Ok(stream));
        }
        if mine.closed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        mine.accepter = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let mut theirs = lock(&self.theirs);
        if theirs.closed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if theirs.streams.len() >= STREAMS_WAITING_MAX {
            theirs.opener = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (near, far) = stream(self.latency);
        theirs.streams.push_back(far);
        if let Some(accepter) = theirs.accepter.take() {
            accepter.wake();
        }
        Poll::Ready(Ok(near))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut();
        Poll::Ready(Ok(()))
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let mut mine = lock(&self.mine);
        if mine.closed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        mine.watcher = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Muxer {
    fn shut(&self) {
        lock(&self.mine).close();
        lock(&self.theirs).close();
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        self.shut();
    }
}
