//! The node's behaviours, put together.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::time::Duration;

use cocoon_market::offer::{ModelClass, OfferMessage};
use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{
    self, IdentTopic, IdentityTransform, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams,
    ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{autonat, dcutr, identify, kad, mdns, memory_connection_limits, ping, relay, upnp};

use super::config::{KadMode, Limits, Mdns, NodeConfig, PENDING_INCOMING_MAX, PENDING_OUTGOING_MAX, Relay, Upnp};
use super::{NodeError, streams};
use crate::identity::Identity;
use crate::protocol::negotiate::{self, NEGOTIATE_STREAMS_MAX, NEGOTIATE_TIMEOUT, NegotiateCodec};
use crate::protocol::offers::{self, PULL_STREAMS_MAX, PULL_TIMEOUT, PullCodec};
use crate::protocol::{AGENT_PROTOCOL, JOB_PROTOCOL, KAD_PROTOCOL, NEGOTIATE_PROTOCOL, OFFERS_PULL_PROTOCOL, OFFERS_TOPIC_PREFIX};

/// Peers a lookup ends with, and a record is put to. Eight, not Kademlia's twenty: every one of them is a dial, and
/// dials decide what a swarm of nodes costs.
const KAD_REPLICATION: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not 0");

/// How long a provider record lives: three offers' lives, so that a vanished provider is soon no longer named.
const PROVIDER_RECORD_TTL: Duration = Duration::from_secs(3 * 3600);

/// How often a provider record is renewed: twice within its life, with room for one renewal to fail.
const PROVIDER_RENEWAL: Duration = Duration::from_secs(3600);

/// Providers kept for one model: a requester asks a handful.
const PROVIDERS_PER_MODEL_MAX: usize = 20;

/// Provider records kept for others: each about 200 bytes.
const PROVIDER_KEYS_MAX: usize = 4096;

/// How long a lookup may take.
const KAD_QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long gossip remembers what it has seen: as long as an offer may be on its way through a slow mesh.
const SEEN_FOR: Duration = Duration::from_secs(300);

/// Messages waiting for one neighbour.
const NEIGHBOUR_QUEUE_MAX: usize = 512;

/// Neighbours behind one address before gossip finds that odd: a household, an office.
const NEIGHBOURS_PER_ADDRESS: f64 = 64.0;

/// An offer with the envelope that gossip puts around it: author, signature, key, number, topic.
const OFFER_GOSSIP_BYTES_MAX: usize = OfferMessage::BYTES_MAX + 512;

/// Everything a node speaks.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    // First, so that a banned peer or one too many is turned away before anything is set up for it.
    pub(super) banned: allow_block_list::Behaviour<BlockedPeers>,
    limits: connection_limits::Behaviour,
    memory: Toggle<memory_connection_limits::Behaviour>,
    pub(super) identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) kad: kad::Behaviour<MemoryStore>,
    pub(super) gossip: gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>,
    pub(super) negotiate: request_response::Behaviour<NegotiateCodec>,
    pub(super) pull: request_response::Behaviour<PullCodec>,
    pub(super) jobs: streams::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
    upnp: Toggle<upnp::tokio::Behaviour>,
    autonat_client: Toggle<autonat::v2::client::Behaviour>,
    autonat_server: Toggle<autonat::v2::server::Behaviour>,
    relay_client: Toggle<relay::client::Behaviour>,
    relay_server: Toggle<relay::Behaviour>,
    dcutr: Toggle<dcutr::Behaviour>,
}

impl Behaviour {
    pub(super) fn new(config: &NodeConfig, identity: &Identity, relay_client: Option<relay::client::Behaviour>) -> Result<Self, NodeError> {
        let key = identity.keypair();
        let peer = key.public().to_peer_id();
        // A node with its own transport (the simulator's) has no routers in front of it, and no sockets for these.
        let routed = relay_client.is_some();
        let mdns = match config.mdns {
            Mdns::On => Some(mdns::tokio::Behaviour::new(mdns::Config::default(), peer).map_err(NodeError::Mdns)?),
            Mdns::Off => None,
        };
        Ok(Self {
            banned: allow_block_list::Behaviour::default(),
            limits: connection_limits::Behaviour::new(connection_limits(&config.limits)),
            memory: config.limits.memory_bytes.map(memory_connection_limits::Behaviour::with_max_bytes).into(),
            identify: identify::Behaviour::new(identify::Config::new(AGENT_PROTOCOL.to_owned(), key.public())),
            ping: ping::Behaviour::default(),
            kad: kademlia(peer, config.kad),
            gossip: gossip(config, identity)?,
            negotiate: request_response::Behaviour::with_codec(
                negotiate::codec(),
                [(NEGOTIATE_PROTOCOL, ProtocolSupport::Full)],
                request_response::Config::default()
                    .with_request_timeout(NEGOTIATE_TIMEOUT)
                    .with_max_concurrent_streams(NEGOTIATE_STREAMS_MAX),
            ),
            pull: request_response::Behaviour::with_codec(
                offers::codec(),
                [(OFFERS_PULL_PROTOCOL, ProtocolSupport::Full)],
                request_response::Config::default().with_request_timeout(PULL_TIMEOUT).with_max_concurrent_streams(PULL_STREAMS_MAX),
            ),
            jobs: streams::Behaviour::new(JOB_PROTOCOL, config.limits.job_streams_per_peer, config.limits.job_streams),
            mdns: mdns.into(),
            upnp: (config.upnp == Upnp::On).then(upnp::tokio::Behaviour::default).into(),
            autonat_client: routed.then(autonat::v2::client::Behaviour::default).into(),
            autonat_server: routed.then(autonat::v2::server::Behaviour::default).into(),
            relay_server: (config.relay == Relay::On).then(|| relay::Behaviour::new(peer, relay::Config::default())).into(),
            dcutr: routed.then(|| dcutr::Behaviour::new(peer)).into(),
            relay_client: relay_client.into(),
        })
    }
}

fn connection_limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING_INCOMING_MAX))
        .with_max_pending_outgoing(Some(PENDING_OUTGOING_MAX))
        .with_max_established_incoming(Some(limits.incoming))
        .with_max_established_outgoing(Some(limits.outgoing))
        .with_max_established_per_peer(Some(limits.per_peer))
}

fn kademlia(peer: libp2p::PeerId, mode: KadMode) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config
        .set_query_timeout(KAD_QUERY_TIMEOUT)
        .set_replication_factor(KAD_REPLICATION)
        .set_provider_record_ttl(Some(PROVIDER_RECORD_TTL))
        .set_provider_publication_interval(Some(PROVIDER_RENEWAL))
        .set_replication_interval(None)
        .set_publication_interval(None)
        // Values are refused and provider records looked at before they are stored.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_caching(kad::Caching::Disabled)
        // A bootstrap dials its way through every bucket; lookups and incoming connections keep the table fresh enough.
        .set_periodic_bootstrap_interval(None);
    let store = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: PROVIDERS_PER_MODEL_MAX,
        max_provided_keys: PROVIDER_KEYS_MAX,
    };
    let mut behaviour = kad::Behaviour::with_config(peer, MemoryStore::with_config(peer, store), config);
    behaviour.set_mode(match mode {
        KadMode::Auto => None,
        KadMode::Server => Some(kad::Mode::Server),
        KadMode::Client => Some(kad::Mode::Client),
    });
    behaviour
}

/// The topic of a class.
pub(super) fn topic(class: ModelClass) -> IdentTopic {
    IdentTopic::new(format!("{OFFERS_TOPIC_PREFIX}{}", class.topic()))
}

/// The class of a topic.
pub(super) fn class_of(hash: &TopicHash) -> Option<ModelClass> {
    ModelClass::ALL.into_iter().find(|class| topic(*class).hash() == *hash)
}

/// Names a message by who published it and what it says, so that a copy published under another name does not make
/// nodes take the real one for a duplicate.
fn message_id(message: &gossipsub::Message) -> MessageId {
    let mut hash = blake3::Hasher::new();
    hash.update(&message.source.map(|peer| peer.to_bytes()).unwrap_or_default());
    hash.update(message.topic.as_str().as_bytes());
    hash.update(&[0]);
    hash.update(&message.data);
    MessageId::from(hash.finalize().as_bytes().to_vec())
}

fn gossip(
    config: &NodeConfig,
    identity: &Identity,
) -> Result<gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>, NodeError> {
    let refuse = |reason: &dyn std::fmt::Display| NodeError::Gossip { reason: reason.to_string() };
    let mesh_n = config.gossip.mesh_n;
    let topics: HashSet<TopicHash> = ModelClass::ALL.into_iter().map(|class| topic(class).hash()).collect();
    let mut builder = gossipsub::ConfigBuilder::default();
    for topic in &topics {
        builder.max_transmit_size_for_topic(OFFER_GOSSIP_BYTES_MAX, topic.clone());
    }
    let gossip = builder
        .heartbeat_interval(config.gossip.heartbeat)
        .mesh_n(mesh_n)
        .mesh_n_low(mesh_n.saturating_sub(2).max(1).min(mesh_n))
        .mesh_n_high(mesh_n.saturating_mul(2))
        .mesh_outbound_min(mesh_n.saturating_sub(2).min(mesh_n / 2).min(2))
        .duplicate_cache_time(SEEN_FOR)
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(message_id)
        .connection_handler_queue_len(NEIGHBOUR_QUEUE_MAX)
        .build()
        .map_err(|error| refuse(&error))?;
    let author = MessageAuthenticity::Signed(identity.keypair().clone());
    let filter = WhitelistSubscriptionFilter(topics.clone());
    let mut behaviour = gossipsub::Behaviour::new_with_subscription_filter(author, gossip, filter).map_err(|error| refuse(&error))?;
    behaviour.with_peer_score(score_params(topics), PeerScoreThresholds::default()).map_err(|error| refuse(&error))?;
    let classes = if config.classes.is_empty() { &ModelClass::ALL[..] } else { &config.classes };
    for class in classes {
        behaviour.subscribe(&topic(*class)).map_err(|error| refuse(&error))?;
    }
    Ok(behaviour)
}

/// How neighbours are judged. Offers are rare, so nobody is blamed for silence; what counts is what was invalid.
fn score_params(topics: HashSet<TopicHash>) -> PeerScoreParams {
    let topic = TopicScoreParams {
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_weight: 0.01,
        first_message_deliveries_weight: 0.5,
        first_message_deliveries_cap: 50.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -20.0,
        invalid_message_deliveries_decay: 0.9,
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: topics.into_iter().map(|hash| (hash, topic.clone())).collect::<HashMap<_, _>>(),
        // This node's own penalties, down to -250 on this scale, outweigh what gossip can earn.
        app_specific_weight: 1.0,
        ip_colocation_factor_threshold: NEIGHBOURS_PER_ADDRESS,
        // A swarm on one machine is a demo or a test, not an attack.
        ip_colocation_factor_whitelist: HashSet::from([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]),
        ..PeerScoreParams::default()
    }
}
