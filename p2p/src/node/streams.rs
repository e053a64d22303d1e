//! Raw streams of one protocol, as a behaviour: opened on demand, accepted within bounds.
//!
//! Streams a peer opens beyond its share are reset at once; the rest reach the node's task as events, in order. A stream
//! keeps its connection alive, and its place is free again when it is dropped.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::channel::oneshot;
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
    SubstreamProtocol,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, StreamUpgradeError, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};

use super::ReachError;

/// Streams waiting for a dial or an upgrade, in all: a client opens one a job.
const OPENING_MAX: usize = 1024;

/// Where an opened stream goes.
type Opened = oneshot::Sender<Result<JobStream, ReachError>>;

/// Open streams, and their bounds.
#[derive(Debug)]
struct Places {
    per_peer_max: usize,
    all_max: usize,
    taken: Mutex<BTreeMap<PeerId, usize>>,
}

/// A place among the open streams; free again when dropped.
#[derive(Debug)]
struct Permit {
    places: Arc<Places>,
    peer: PeerId,
}

impl Places {
    fn take(self: &Arc<Self>, peer: PeerId) -> Option<Permit> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let here = taken.get(&peer).copied().unwrap_or(0);
        if here >= self.per_peer_max || all >= self.all_max {
            return None;
        }
        taken.insert(peer, here.saturating_add(1));
        Some(Permit { places: Arc::clone(self), peer })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.peer)),
        }
    }
}

/// A job stream and its place.
#[derive(Debug)]
pub(crate) struct JobStream {
    stream: Stream,
    _permit: Permit,
}

impl AsyncRead for JobStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for JobStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// What the behaviour reports.
#[derive(Debug)]
pub(crate) enum Event {
    /// Somebody opened a stream.
    Incoming {
        /// Who.
        peer: PeerId,
        /// It.
        stream: Box<JobStream>,
    },
    /// Somebody opened more streams than it may.
    Refused {
        /// Who.
        peer: PeerId,
    },
}

/// Opens and accepts streams of one protocol.
pub(crate) struct Behaviour {
    protocol: StreamProtocol,
    /// Opened by others, within bounds; and by this side, within its callers' own.
    incoming: Arc<Places>,
    outgoing: Arc<Places>,
    connections: BTreeMap<PeerId, VecDeque<ConnectionId>>,
    /// Waiting for a connection.
    dialling: BTreeMap<PeerId, Vec<Opened>>,
    events: VecDeque<ToSwarm<Event, Open>>,
    waker: Option<Waker>,
}

/// From behaviour to handler: open one.
#[derive(Debug)]
pub(crate) struct Open(Opened);

/// From handler to behaviour: somebody opened one.
#[derive(Debug)]
pub(crate) struct Accepted(Stream);

impl Behaviour {
    pub(crate) fn new(protocol: StreamProtocol, per_peer_max: usize, all_max: usize) -> Self {
        let incoming = Arc::new(Places { per_peer_max, all_max, taken: Mutex::default() });
        let outgoing = Arc::new(Places { per_peer_max: usize::MAX, all_max: usize::MAX, taken: Mutex::default() });
        Self { protocol, incoming, outgoing, connections: BTreeMap::new(), dialling: BTreeMap::new(), events: VecDeque::new(), waker: None }
    }

    /// Opens a stream to `peer`, over a connection that stands or one to be made.
    pub(crate) fn open(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, opened: Opened) {
        let waiting: usize = self.dialling.values().map(Vec::len).sum();
        if waiting >= OPENING_MAX {
            let _ = opened.send(Err(ReachError::Timeout));
            return;
        }
        if let Some(connection) = self.connections.get(&peer).and_then(VecDeque::front) {
            let handler = NotifyHandler::One(*connection);
            self.push(ToSwarm::NotifyHandler { peer_id: peer, handler, event: Open(opened) });
            return;
        }
        self.dialling.entry(peer).or_default().push(opened);
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        self.push(ToSwarm::Dial { opts });
    }

    /// Whether any stream with a peer is open.
    pub(crate) fn is_busy(&self, peer: &PeerId) -> bool {
        let holds = |places: &Places| places.taken.lock().unwrap_or_else(PoisonError::into_inner).contains_key(peer);
        holds(&self.incoming) || holds(&self.outgoing)
    }

    fn push(&mut self, event: ToSwarm<Event, Open>) {
        self.events.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn on_established(&mut self, peer: PeerId, connection: ConnectionId) {
        self.connections.entry(peer).or_default().push_back(connection);
        for opened in self.dialling.remove(&peer).unwrap_or_default() {
            let handler = NotifyHandler::One(connection);
            self.push(ToSwarm::NotifyHandler { peer_id: peer, handler, event: Open(opened) });
        }
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId) {
        if let Some(connections) = self.connections.get_mut(&peer) {
            connections.retain(|c| *c != connection);
            if connections.is_empty() {
                self.connections.remove(&peer);
            }
        }
    }

    fn on_dial_failure(&mut self, peer: PeerId, error: &libp2p::swarm::DialError) {
        // Another dial is under way, and its end will be heard of.
        if matches!(error, libp2p::swarm::DialError::DialPeerConditionFalse(_)) {
            return;
        }
        for opened in self.dialling.remove(&peer).unwrap_or_default() {
            let _ = opened.send(Err(ReachError::Unreachable));
        }
    }

    fn handler(&self, peer: PeerId) -> Handler {
        Handler {
            peer,
            places: Arc::clone(&self.outgoing),
            protocol: self.protocol.clone(),
            wanted: VecDeque::new(),
            opening: None,
            accepted: VecDeque::new(),
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, .. }) => {
                self.on_established(peer_id, connection_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => self.on_closed(peer_id, connection_id),
            FromSwarm::DialFailure(DialFailure { peer_id: Some(peer), error, .. }) => self.on_dial_failure(peer, error),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, Accepted(stream): THandlerOutEvent<Self>) {
        let event = match self.incoming.take(peer) {
            Some(permit) => Event::Incoming { peer, stream: Box::new(JobStream { stream, _permit: permit }) },
            None => Event::Refused { peer },
        };
        self.push(ToSwarm::GenerateEvent(event));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The behaviour's part on one connection.
pub(crate) struct Handler {
    peer: PeerId,
    /// Those of the streams that this side opens.
    places: Arc<Places>,
    protocol: StreamProtocol,
    wanted: VecDeque<Opened>,
    /// Being negotiated: one at a time, so that each answer of the swarm belongs to it.
    opening: Option<Opened>,
    accepted: VecDeque<Stream>,
}

impl Handler {
    fn give(&mut self, result: Result<Stream, ReachError>) {
        if let Some(opened) = self.opening.take() {
            let permit = self.places.take(self.peer).ok_or(ReachError::Lost);
            let _ = opened.send(result.and_then(|stream| Ok(JobStream { stream, _permit: permit? })));
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Accepted;
    type InboundProtocol = Speaks;
    type OutboundProtocol = Speaks;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Speaks> {
        SubstreamProtocol::new(Speaks(self.protocol.clone()), ())
    }

    fn on_behaviour_event(&mut self, Open(opened): Open) {
        self.wanted.push_back(opened);
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Speaks, (), Accepted>> {
        if let Some(stream) = self.accepted.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(Accepted(stream)));
        }
        if self.opening.is_none()
            && let Some(opened) = self.wanted.pop_front()
        {
            self.opening = Some(opened);
            let protocol = SubstreamProtocol::new(Speaks(self.protocol.clone()), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Speaks, Speaks>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => self.accepted.push_back(protocol),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => self.give(Ok(protocol)),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => self.give(Err(match error {
                StreamUpgradeError::Timeout => ReachError::Timeout,
                StreamUpgradeError::NegotiationFailed => ReachError::Unsupported,
                StreamUpgradeError::Apply(never) => match never {},
                StreamUpgradeError::Io(_) => ReachError::Lost,
            })),
            _ => {}
        }
    }
}

/// Agrees on the protocol's name and hands over the stream as it is.
#[derive(Clone, Debug)]
pub(crate) struct Speaks(StreamProtocol);

impl UpgradeInfo for Speaks {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Once<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(self.0.clone())
    }
}

impl InboundUpgrade<Stream> for Speaks {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

impl OutboundUpgrade<Stream> for Speaks {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}
