//! The node: one task that owns the libp2p swarm and the offer book, and a handle to talk to it.

mod actor;
mod behaviour;
mod command;
mod config;
mod degree;
mod discovery;
mod event;
mod exchanges;
mod gossip;
mod matches;
mod offers;
mod streams;

use cocoon_market::agreement::{NegotiateRequest, NegotiateResponse};
use cocoon_market::reputation::Experienced;
use cocoon_market::{Demand, Experience, ModelId, NodeId, Offer, OfferId, PeerId, Verified, Withdrawal};
use futures::SinkExt as _;
use futures::channel::{mpsc, oneshot};
use libp2p::Multiaddr;

use crate::broadcast::{Broadcast, Receiver};
use crate::identity::{Identity, libp2p_peer};
use crate::penalty::Offence;
use crate::shell::{Clock, Spawner};
use crate::transport::{self, Transport};

use command::Command;
pub(crate) use command::{Answers, Inbound, Inquiry};
pub use config::{
    BOOK_OFFERS_MAX, GossipConfig, HEARTBEAT_MS, IDLE_CONNECTION_S, INCOMING_MAX, JOB_STREAMS_MAX, JOB_STREAMS_PER_PEER_MAX, KadMode,
    Limits, MESH_N, Mdns, NEGOTIATE_RATE, NEIGHBOUR_OFFER_RATE, NodeConfig, OUTGOING_MAX, PEERS_WANTED, PENDING_INCOMING_MAX,
    PENDING_OUTGOING_MAX, PER_PEER_MAX, PROVIDER_OFFER_RATE, Relay, Upnp,
};
pub use event::{Found, NodeEvent, OfferPath, OfferRejection};
pub use matches::{Match, Matches};
pub(crate) use streams::JobStream;

/// Calls that may wait for the node's attention; beyond that callers wait in turn.
const COMMANDS_WAITING_MAX: usize = 256;

/// A handle to a running node. Clones speak to the same node; it stops when told to, or when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Node {
    peer: PeerId,
    commands: mpsc::Sender<Command>,
    events: Broadcast<NodeEvent>,
    clock: Clock,
    spawner: Spawner,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// An address in the configuration is none.
    #[error("not a multiaddress: `{text}`")]
    Address {
        /// The text.
        text: String,
        /// What is wrong with it.
        #[source]
        source: libp2p::multiaddr::Error,
    },
    /// A bootstrap address does not say whom to expect there.
    #[error("bootstrap address `{text}` must end in /p2p/ and a peer id")]
    NoPeer {
        /// The text.
        text: String,
    },
    /// The transport could not be made.
    #[error("cannot set up the transport")]
    Transport(#[from] transport::TransportError),
    /// An address cannot be listened on.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        #[source]
        source: libp2p::TransportError<std::io::Error>,
    },
    /// The gossip parameters contradict each other.
    #[error("gossip parameters do not fit: {reason}")]
    Gossip {
        /// Which.
        reason: String,
    },
    /// The local network cannot be listened to.
    #[error("cannot look for peers on the local network")]
    Mdns(#[source] std::io::Error),
}

/// The node was shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct NodeStopped;

/// Why a peer was not dialled.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address is none.
    #[error("not a multiaddress: `{text}`")]
    Address {
        /// The text.
        text: String,
        /// What is wrong with it.
        #[source]
        source: libp2p::multiaddr::Error,
    },
    /// The swarm refused: banned, or too many connections.
    #[error("the dial was refused")]
    Refused(#[source] Box<libp2p::swarm::DialError>),
    /// The node was shut down.
    #[error(transparent)]
    Stopped(#[from] NodeStopped),
}

/// Why an offer or withdrawal was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The offer names another peer than this node; nobody would forward it.
    #[error("the offer names another peer than this node")]
    ForeignPeer,
    /// It is over, or not yet.
    #[error(transparent)]
    Time(#[from] cocoon_market::offer::OfferTimeError),
    /// It cannot be encoded.
    #[error(transparent)]
    Encode(#[from] cocoon_market::codec::EncodeError),
    /// Gossip refused it.
    #[error("gossip refused the message")]
    Gossip(#[source] libp2p::gossipsub::PublishError),
    /// The node was shut down.
    #[error(transparent)]
    Stopped(#[from] NodeStopped),
}

/// Why a peer could not be asked something.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// The bytes are no peer id.
    #[error("not a peer id")]
    NotAPeer,
    /// No address of the peer works.
    #[error("the peer cannot be reached")]
    Unreachable,
    /// The peer is banned here.
    #[error("the peer is banned by this node")]
    Banned,
    /// It did not answer in time. Whether it acted is unknown.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The connection broke before the answer. Whether the peer acted is unknown.
    #[error("the connection broke before the answer")]
    Lost,
    /// It does not speak the protocol.
    #[error("the peer does not speak this protocol")]
    Unsupported,
    /// Its answer was no answer. Peer penalty: garbage.
    #[error("the peer's answer was malformed")]
    Malformed,
    /// The node was shut down.
    #[error(transparent)]
    Stopped(#[from] NodeStopped),
}

impl ReachError {
    /// Whether the peer may have acted on the request although no answer came.
    pub const fn may_have_acted(&self) -> bool {
        matches!(self, Self::Timeout | Self::Lost | Self::Malformed)
    }
}

/// Somebody already serves this node's negotiations and jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// One provider service a node.
    #[error("this node already has a provider service")]
    AlreadyServed,
    /// The node was shut down.
    #[error(transparent)]
    Stopped(#[from] NodeStopped),
}

impl Node {
    /// Starts a node over TCP (Noise, Yamux) and QUIC. Call it within a tokio runtime, which libp2p's sockets need.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn new(config: NodeConfig, identity: Identity, clock: Clock, spawner: Spawner) -> Result<Self, NodeError> {
        let transport = transport::tcp_quic(&identity)?;
        Self::with_transport(config, identity, transport, clock, spawner)
    }

    /// Starts a node over any transport.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn with_transport(
        config: NodeConfig,
        identity: Identity,
        transport: Transport,
        clock: Clock,
        spawner: Spawner,
    ) -> Result<Self, NodeError> {
        let events = Broadcast::new();
        let (commands, inbox) = mpsc::channel(COMMANDS_WAITING_MAX);
        let peer = identity.peer_id();
        let actor = actor::Actor::new(&config, &identity, transport, clock.clone(), spawner.clone(), events.clone())?;
        spawner.spawn(Box::pin(actor.run(inbox)));
        Ok(Self { peer, commands, events, clock, spawner })
    }

    /// This node's peer id.
    pub fn peer_id(&self) -> PeerId {
        self.peer.clone()
    }

    /// The clock for everything signed.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What runs this node's tasks.
    pub fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    /// What happens from now on.
    pub fn events(&self) -> Receiver<NodeEvent> {
        self.events.subscribe()
    }

    /// The addresses this node listens on and is known by, each ending in its own `/p2p/` part. Waits until each address
    /// of the configuration was bound or failed.
    ///
    /// # Errors
    /// [`NodeStopped`].
    pub async fn listen_addresses(&self) -> Result<Vec<String>, NodeStopped> {
        self.ask(Command::ListenAddresses).await
    }

    /// The peers connected right now.
    ///
    /// # Errors
    /// [`NodeStopped`].
    pub async fn connected_peers(&self) -> Result<Vec<PeerId>, NodeStopped> {
        self.ask(Command::ConnectedPeers).await
    }

    /// Begins to dial an address; whether it came about is an event.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, address: &str) -> Result<(), DialError> {
        let parsed: Multiaddr = address.parse().map_err(|source| DialError::Address { text: address.to_owned(), source })?;
        self.ask(|reply| Command::Dial { address: parsed, reply }).await?
    }

    /// Publishes an offer of this node: into its own book, to the gossip of its class, and to everybody who pulls. While
    /// no peer listens yet it is kept, and sent when one does.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn publish_offer(&self, offer: Verified<Offer>) -> Result<OfferId, PublishError> {
        self.ask(|reply| Command::PublishOffer { offer: Box::new(offer), reply }).await?
    }

    /// Takes back this node's offers for a model.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn withdraw(&self, withdrawal: Verified<Withdrawal>) -> Result<(), PublishError> {
        self.ask(|reply| Command::Withdraw { withdrawal: Box::new(withdrawal), reply }).await?
    }

    /// Puts a provider record for the model into Kademlia, and renews it while the node runs.
    ///
    /// # Errors
    /// [`NodeStopped`].
    pub async fn provide(&self, model: ModelId) -> Result<(), NodeStopped> {
        self.ask(|reply| Command::Provide { model, reply }).await
    }

    /// No longer renews the provider record.
    ///
    /// # Errors
    /// [`NodeStopped`].
    pub async fn stop_providing(&self, model: ModelId) -> Result<(), NodeStopped> {
        self.ask(|reply| Command::StopProviding { model, reply }).await
    }

    /// Asks Kademlia for providers of a model; returns once the lookup ended or enough were found.
    ///
    /// # Errors
    /// [`NodeStopped`].
    pub async fn find_providers(&self, model: ModelId) -> Result<Vec<PeerId>, NodeStopped> {
        self.ask(|reply| Command::FindProviders { model, reply }).await
    }

    /// Asks a peer for the offers it knows for a model, puts those that are valid into the book, and gives their number.
    ///
    /// # Errors
    /// [`ReachError`].
    pub async fn pull_offers(&self, peer: &PeerId, model: ModelId) -> Result<usize, ReachError> {
        let peer = libp2p_peer(peer).ok_or(ReachError::NotAPeer)?;
        self.ask(|reply| Command::PullOffers { peer, model, reply }).await?
    }

    /// The best `k` offers for a demand, out of this node's book, and why the others are not among them.
    ///
    /// # Errors
    /// [`NodeStopped`].
    pub async fn matches(&self, demand: Demand, k: usize) -> Result<Matches, NodeStopped> {
        self.ask(|reply| Command::Matches { demand: Box::new(demand), k, reply }).await
    }

    /// The offers in the book for a model, or for all models, at most `max`, in no order that means anything.
    ///
    /// # Errors
    /// [`NodeStopped`].
    pub async fn offers(&self, model: Option<ModelId>, max: usize) -> Result<Vec<Verified<Offer>>, NodeStopped> {
        self.ask(|reply| Command::Offers { model, max, reply }).await
    }

    /// Remembers how a job with a provider went; matching counts on it.
    pub async fn learn(&self, provider: NodeId, experienced: Experienced) {
        // A stopped node matches no more.
        let _ = self.commands.clone().send(Command::Learn { provider, experienced }).await;
    }

    /// All that this node remembers of providers, to be kept over a restart.
    ///
    /// # Errors
    /// [`NodeStopped`].
    pub async fn experience(&self) -> Result<Experience, NodeStopped> {
        self.ask(Command::Experience).await
    }

    /// Puts what was remembered in an earlier run in the place of what is remembered now.
    ///
    /// # Errors
    /// [`NodeStopped`].
    pub async fn recall(&self, experience: Experience) -> Result<(), NodeStopped> {
        self.ask(|reply| Command::Recall { experience: Box::new(experience), reply }).await
    }

    /// Says that a peer misbehaved; enough of that bans it.
    pub async fn penalise(&self, peer: &PeerId, offence: Offence) {
        let command = Command::Penalise { peer: peer.clone(), offence };
        // A stopped node bans nobody, and needs to ban nobody.
        let _ = self.commands.clone().send(command).await;
    }

    /// Stops the node: no new work, connections closed. Returns when it is done; stopping twice is stopping once.
    pub async fn shutdown(&self) {
        let (reply, done) = oneshot::channel();
        if self.commands.clone().send(Command::Shutdown { reply }).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Sends one message of a negotiation and waits for its answer.
    pub(crate) async fn negotiate(
        &self,
        peer: &PeerId,
        addresses: &[String],
        request: NegotiateRequest,
    ) -> Result<NegotiateResponse, ReachError> {
        let peer = libp2p_peer(peer).ok_or(ReachError::NotAPeer)?;
        let addresses = parse_addresses(addresses);
        self.ask(|reply| Command::Negotiate { peer, addresses, request, reply }).await?
    }

    /// Opens a job stream.
    pub(crate) async fn open_job(&self, peer: &PeerId) -> Result<JobStream, ReachError> {
        let peer = libp2p_peer(peer).ok_or(ReachError::NotAPeer)?;
        let (reply, opened) = oneshot::channel();
        self.commands.clone().send(Command::OpenJob { peer, reply }).await.map_err(|_| NodeStopped)?;
        // The way to the stream goes through a connection, and ends with it.
        opened.await.unwrap_or(Err(ReachError::Lost))
    }

    /// Takes over the negotiations and jobs that others bring to this node.
    pub(crate) async fn serve(&self) -> Result<Inbound, ServeError> {
        self.ask(|reply| Command::Serve { answers: Answers(self.commands.clone()), reply }).await?
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, NodeStopped> {
        let (reply, answer) = oneshot::channel();
        self.commands.clone().send(command(reply)).await.map_err(|_| NodeStopped)?;
        answer.await.map_err(|_| NodeStopped)
    }
}

/// Addresses in an offer are its author's text: those that are none are left out.
fn parse_addresses(texts: &[String]) -> Vec<Multiaddr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
