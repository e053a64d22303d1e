//! The node's task: commands in, swarm events in, one handler each.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use cocoon_market::agreement::NegotiateResponse;
use cocoon_market::{ModelId, Timestamp};
use futures::channel::{mpsc, oneshot};
use futures::{FutureExt as _, StreamExt as _, select_biased};
use futures_timer::Delay;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::OutboundRequestId;
use libp2p::swarm::{self, SwarmEvent};
use libp2p::{Multiaddr, Swarm};

use super::behaviour::{Behaviour, BehaviourEvent};
use super::command::{Answers, Command, Inbound, Inquiry};
use super::config::NodeConfig;
use super::degree::Neighbours;
use super::discovery::{Discovery, peer_of};
use super::event::{Found, NodeEvent};
use super::offers::Offers;
use super::streams::{self, JobStream};
use super::{DialError, NodeError, ReachError, ServeError};
use crate::broadcast::Broadcast;
use crate::identity::{Identity, market_peer};
use crate::penalty::{Offence, Penalties};
use crate::rate::RateLimiter;
use crate::shell::{Clock, Spawner};
use crate::transport::Transport;

/// How often the node tidies up: bans that are over, offers that expired, a lost swarm.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// Negotiation messages waiting for the provider service, which answers from memory.
const INQUIRIES_WAITING_MAX: usize = 64;

/// Job streams waiting for the provider service.
const JOBS_WAITING_MAX: usize = 64;

/// Peers whose negotiation rate is remembered.
const NEGOTIATORS_MAX: usize = 10_000;

type Reply<T> = oneshot::Sender<T>;

/// The provider service, as the node's task sees it.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) inquiries: mpsc::Sender<Inquiry>,
    pub(super) jobs: mpsc::Sender<(cocoon_market::PeerId, JobStream)>,
}

/// The state of the node's task.
pub(super) struct Actor {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) discovery: Discovery,
    pub(super) offers: Offers,
    pub(super) neighbours: Neighbours,
    pub(super) peers_wanted: usize,
    pub(super) idle: Duration,
    pub(super) provided: BTreeSet<ModelId>,
    pub(super) clock: Clock,
    events: Broadcast<NodeEvent>,
    pub(super) penalties: Penalties,
    pub(super) negotiators: RateLimiter<cocoon_market::PeerId>,
    pub(super) service: Option<Service>,
    listening: HashSet<ListenerId>,
    waiting_for_addresses: Vec<Reply<Vec<String>>>,
    pub(super) asked: BTreeMap<OutboundRequestId, Reply<Result<NegotiateResponse, ReachError>>>,
    pub(super) pulls: BTreeMap<OutboundRequestId, Option<Reply<Result<usize, ReachError>>>>,
}

/// Whether the task goes on.
enum Next {
    Go,
    Stop(Reply<()>),
}

impl Actor {
    pub(super) fn new(
        config: &NodeConfig,
        identity: &Identity,
        transport: Transport,
        clock: Clock,
        spawner: Spawner,
        events: Broadcast<NodeEvent>,
    ) -> Result<Self, NodeError> {
        let behaviour = Behaviour::new(config, identity, transport.relay)?;
        let swarm_config = swarm::Config::with_executor(spawner).with_idle_connection_timeout(config.limits.idle_connection);
        let local = identity.keypair().public().to_peer_id();
        let mut swarm = Swarm::new(transport.boxed, behaviour, local, swarm_config);
        for text in &config.external {
            swarm.add_external_address(parse(text)?);
        }
        let mut listening = HashSet::new();
        for text in &config.listen {
            let address = parse(text)?;
            // A place at a relay may take minutes to get; nobody is to wait for it.
            let is_relayed = address.iter().any(|part| part == Protocol::P2pCircuit);
            let listener = swarm.listen_on(address).map_err(|source| NodeError::Listen { address: text.clone(), source })?;
            if !is_relayed {
                listening.insert(listener);
            }
        }
        let mut bootstrap = Vec::new();
        for text in &config.bootstrap {
            let address = parse(text)?;
            let peer = peer_of(&address).ok_or_else(|| NodeError::NoPeer { text: text.clone() })?;
            bootstrap.push((peer, address));
        }
        Ok(Self {
            swarm,
            discovery: Discovery::new(bootstrap),
            offers: Offers::new(config, identity),
            neighbours: Neighbours::default(),
            peers_wanted: config.limits.peers_wanted,
            idle: config.limits.idle_connection,
            provided: BTreeSet::new(),
            clock,
            events,
            penalties: Penalties::new(),
            negotiators: RateLimiter::new(config.limits.negotiate_rate, NEGOTIATORS_MAX),
            service: None,
            listening,
            waiting_for_addresses: Vec::new(),
            asked: BTreeMap::new(),
            pulls: BTreeMap::new(),
        })
    }

    /// Runs until told to stop, or until nobody can tell any more.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        self.dial_bootstrap();
        let mut housekeeping = Delay::new(HOUSEKEEPING).fuse();
        let stopped = loop {
            select_biased! {
                command = inbox.next() => match command.map(|command| self.on_command(command)) {
                    Some(Next::Go) => {}
                    Some(Next::Stop(reply)) => break Some(reply),
                    None => break None,
                },
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                () = housekeeping => {
                    self.tidy();
                    housekeeping = Delay::new(HOUSEKEEPING).fuse();
                }
            }
        };
        inbox.close();
        self.say_goodbye().await;
        self.events.close();
        if let Some(reply) = stopped {
            let _ = reply.send(());
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn emit(&self, event: NodeEvent) {
        self.events.send(&event);
    }

    fn on_command(&mut self, command: Command) -> Next {
        match command {
            Command::ListenAddresses(reply) => self.on_listen_addresses(reply),
            Command::ConnectedPeers(reply) => drop(reply.send(self.swarm.connected_peers().map(market_peer).collect())),
            Command::Dial { address, reply } => drop(reply.send(self.on_dial(address))),
            Command::PublishOffer { offer, reply } => drop(reply.send(self.publish_offer(*offer))),
            Command::Withdraw { withdrawal, reply } => drop(reply.send(self.withdraw(*withdrawal))),
            Command::Provide { model, reply } => {
                self.provided.insert(model);
                self.provide(model);
                let _ = reply.send(());
            }
            Command::StopProviding { model, reply } => {
                self.provided.remove(&model);
                self.stop_providing(model);
                let _ = reply.send(());
            }
            Command::FindProviders { model, reply } => self.find_providers(model, reply),
            Command::PullOffers { peer, model, reply } => self.pull(peer, Some(model), Some(reply)),
            Command::Matches { demand, k, reply } => drop(reply.send(self.offers.matches(self.clock.now(), &demand, k))),
            Command::Learn { provider, experienced } => self.offers.learn(self.clock.now(), provider, experienced),
            Command::Experience(reply) => drop(reply.send(self.offers.experience().clone())),
            Command::Recall { experience, reply } => {
                self.offers.recall(*experience);
                let _ = reply.send(());
            }
            Command::Offers { model, max, reply } => drop(reply.send(self.offers.list(model, max))),
            Command::Negotiate { peer, addresses, request, reply } => self.ask(peer, addresses, request, reply),
            Command::Respond { channel, response } => self.respond(channel, *response),
            Command::OpenJob { peer, reply } => self.open_job(peer, reply),
            Command::Serve { answers, reply } => drop(reply.send(self.on_serve(answers))),
            Command::Penalise { peer, offence } => self.penalise(&peer, offence),
            Command::Shutdown { reply } => return Next::Stop(reply),
        }
        Next::Go
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.emit(NodeEvent::Listening { address: self.with_own_peer(address) });
                self.listener_settled(listener_id);
            }
            SwarmEvent::ListenerClosed { listener_id, .. } => self.listener_settled(listener_id),
            SwarmEvent::ListenerError { listener_id, error } => {
                tracing::warn!(%error, "a listening address failed");
                self.listener_settled(listener_id);
            }
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, num_established, .. } if num_established.get() == 1 => {
                self.on_connected(peer_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.neighbours.left(&peer_id);
                self.emit(NodeEvent::PeerDisconnected { peer: market_peer(&peer_id) });
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => self.on_dial_failed(peer_id, &error),
            SwarmEvent::ExternalAddrConfirmed { address } => {
                self.emit(NodeEvent::Reachable { address: self.with_own_peer(address) });
            }
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(event) => self.on_identify(event),
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Negotiate(event) => self.on_negotiate(event),
            BehaviourEvent::Pull(event) => self.on_pull(event),
            BehaviourEvent::Jobs(event) => self.on_job_stream(event),
            BehaviourEvent::Mdns(event) => self.on_mdns(event),
            BehaviourEvent::Upnp(event) => tracing::debug!(?event, "port forwarding"),
            BehaviourEvent::AutonatClient(event) => tracing::debug!(?event, "reachability"),
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: libp2p::PeerId, endpoint: &ConnectedPoint) {
        self.neighbours.came(self.clock.now(), peer, endpoint.get_remote_address().clone());
        let intent = self.discovery.take_intent(&peer);
        let how = if endpoint.is_dialer() { intent } else { Found::Incoming };
        self.emit(NodeEvent::PeerConnected { peer: market_peer(&peer), how });
    }

    fn on_dial_failed(&mut self, peer: Option<libp2p::PeerId>, error: &swarm::DialError) {
        if matches!(error, swarm::DialError::DialPeerConditionFalse(_)) {
            return;
        }
        tracing::debug!(?peer, %error, "dial failed");
        if let Some(peer) = peer {
            self.discovery.forget(&peer);
        }
        self.emit(NodeEvent::DialFailed { peer: peer.map(|peer| market_peer(&peer)) });
    }

    fn on_dial(&mut self, address: Multiaddr) -> Result<(), DialError> {
        if let Some(peer) = peer_of(&address) {
            self.discovery.intend(peer, Found::Dialed);
        }
        self.swarm.dial(address).map_err(|error| DialError::Refused(Box::new(error)))
    }

    fn listener_settled(&mut self, listener: ListenerId) {
        self.listening.remove(&listener);
        if self.listening.is_empty() {
            let addresses = self.addresses();
            for reply in std::mem::take(&mut self.waiting_for_addresses) {
                let _ = reply.send(addresses.clone());
            }
        }
    }

    fn on_listen_addresses(&mut self, reply: Reply<Vec<String>>) {
        if self.listening.is_empty() {
            let _ = reply.send(self.addresses());
        } else {
            self.waiting_for_addresses.push(reply);
        }
    }

    fn addresses(&self) -> Vec<String> {
        let all = self.swarm.external_addresses().chain(self.swarm.listeners());
        let mut seen = BTreeSet::new();
        all.cloned().map(|address| self.with_own_peer(address)).filter(|text| seen.insert(text.clone())).collect()
    }

    fn with_own_peer(&self, address: Multiaddr) -> String {
        let own = *self.swarm.local_peer_id();
        address.with_p2p(own).map_or_else(|address| address.to_string(), |address| address.to_string())
    }

    fn on_serve(&mut self, answers: Answers) -> Result<Inbound, ServeError> {
        if self.service.as_ref().is_some_and(|service| !service.inquiries.is_closed()) {
            return Err(ServeError::AlreadyServed);
        }
        let (inquiries, inquiries_rx) = mpsc::channel(INQUIRIES_WAITING_MAX);
        let (jobs, jobs_rx) = mpsc::channel(JOBS_WAITING_MAX);
        self.service = Some(Service { inquiries, jobs });
        Ok(Inbound { inquiries: inquiries_rx, jobs: jobs_rx, answers })
    }

    fn on_job_stream(&mut self, event: streams::Event) {
        match event {
            streams::Event::Incoming { peer, stream } => {
                self.neighbours.used(self.clock.now(), &peer);
                // Without a service, or with one that cannot keep up, the stream is dropped: its opener sees the end.
                if let Some(service) = &mut self.service
                    && service.jobs.try_send((market_peer(&peer), *stream)).is_err()
                {
                    tracing::debug!(%peer, "job stream dropped");
                }
            }
            streams::Event::Refused { peer } => self.penalise(&market_peer(&peer), Offence::Low),
        }
    }

    fn tidy(&mut self) {
        let now = self.now();
        for peer in self.penalties.expire(now.0) {
            if let Some(peer) = crate::identity::libp2p_peer(&peer) {
                self.swarm.behaviour_mut().banned.unblock_peer(peer);
            }
        }
        self.offers.expire(now);
        self.publish_pending();
        self.part_with_surplus();
        if self.swarm.connected_peers().next().is_none() {
            self.dial_bootstrap();
        }
    }

    /// Lets what was said last leave before the sockets close.
    async fn say_goodbye(&mut self) {
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        let mut patience = Delay::new(GOODBYE).fuse();
        loop {
            select_biased! {
                () = patience => break,
                _ = self.swarm.select_next_some() => {}
            }
        }
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        while self.swarm.connected_peers().next().is_some() {
            select_biased! {
                _ = self.swarm.select_next_some() => {}
                () = Delay::new(GOODBYE).fuse() => break,
            }
        }
    }
}

/// How long a stopping node lets messages leave: a withdrawal is one packet to each neighbour.
const GOODBYE: Duration = Duration::from_millis(50);

fn parse(text: &str) -> Result<Multiaddr, NodeError> {
    text.parse().map_err(|source| NodeError::Address { text: text.to_owned(), source })
}
