//! What a node is told at its start.

use std::time::Duration;

use cocoon_market::offer::ModelClass;

use crate::rate::Rate;

/// Everything a [`crate::Node`] can be told. `default()` is a node that listens nowhere and knows nobody.
#[derive(Clone, Debug, Default)]
pub struct NodeConfig {
    /// Multiaddresses to listen on, such as `/ip4/0.0.0.0/tcp/4001` and `/ip4/0.0.0.0/udp/4001/quic-v1`; port 0 takes
    /// any free one. Empty: dials only.
    pub listen: Vec<String>,
    /// Multiaddresses, each ending in `/p2p/<peer id>`, of peers to ask first.
    pub bootstrap: Vec<String>,
    /// Multiaddresses under which others reach this node, when it knows them (a forwarded port, a public host).
    pub external: Vec<String>,
    /// Whether to look for peers on the local network.
    pub mdns: Mdns,
    /// Whether to ask the router to forward the listening ports.
    pub upnp: Upnp,
    /// Whether to relay others' connections, which lets nodes behind routers be reached.
    pub relay: Relay,
    /// Which classes of models to hear offers for; all when empty.
    pub classes: Vec<ModelClass>,
    /// How much others may take of this node.
    pub limits: Limits,
    /// Which part to take in the distributed table of providers.
    pub kad: KadMode,
    /// How offers are gossiped.
    pub gossip: GossipConfig,
}

/// Discovery on the local network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mdns {
    /// Neither asks nor answers.
    #[default]
    Off,
    /// Asks and answers.
    On,
}

/// Port forwarding by the router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upnp {
    /// Leaves the router alone.
    #[default]
    Off,
    /// Asks the router.
    On,
}

/// Relaying for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relay {
    /// Relays nothing. A node may still be reached through a relay: by listening on `<relay's address>/p2p-circuit`.
    #[default]
    Off,
    /// Relays, within libp2p's default bounds (two minutes and 128 KiB a circuit: enough to punch a hole, not to work).
    On,
}

/// Which part a node takes in Kademlia.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KadMode {
    /// Server once an address of this node is known to be reachable, else client.
    #[default]
    Auto,
    /// Keeps records for others: for bootstrap peers, and for swarms on private addresses, where no address is ever
    /// confirmed from outside.
    Server,
    /// Only asks.
    Client,
}

/// Connections that others may open: what 1 GiB carries at the measured 30 KB a connection, with a wide margin.
pub const INCOMING_MAX: u32 = 512;

/// Connections this node opens: the mesh (12), Kademlia's neighbours (some 20 at a time) and running jobs.
pub const OUTGOING_MAX: u32 = 256;

/// Neighbours beyond which unused connections are closed: the meshes of three topics, and as many again in Kademlia's
/// nearest buckets. At the measured 30 KB a side that is one and a half megabytes. A bootstrap peer wants more.
pub const PEERS_WANTED: usize = 48;

/// Handshakes of others in flight; each holds a socket and a key exchange.
pub const PENDING_INCOMING_MAX: u32 = 64;

/// Dials in flight: a lookup asks three peers at a time, a few lookups run at once.
pub const PENDING_OUTGOING_MAX: u32 = 64;

/// Connections with one peer: one each way when both dial at once, and one more while an address changes.
pub const PER_PEER_MAX: u32 = 3;

/// Seconds after which a connection counts as unused, and is closed if there are too many or nothing is spoken over it.
/// Long enough to keep it from finding an offer to opening the job, short enough that lookups do not pile up into a full
/// mesh.
pub const IDLE_CONNECTION_S: u64 = 30;

/// Job streams one peer may have open here: more than any agreement's `jobs_max` in practice.
pub const JOB_STREAMS_PER_PEER_MAX: usize = 32;

/// Job streams open here in all.
pub const JOB_STREAMS_MAX: usize = 512;

/// Offers in the book. Measured in the book's benchmark; a million is the design's aim, a tenth the default.
pub const BOOK_OFFERS_MAX: usize = 100_000;

/// Negotiation messages of one peer: two or three make an agreement, and an agreement serves a day of jobs. A hundred a
/// second leave room for a gateway that has just started, and cost a hundredth of a core in signatures.
pub const NEGOTIATE_RATE: Rate = Rate { burst: 256, every_ms: 10 };

/// How much others may take of this node.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that others opened.
    pub incoming: u32,
    /// Connections that this node opened.
    pub outgoing: u32,
    /// Connections with one peer.
    pub per_peer: u32,
    /// No new connection while the process holds more bytes than this; `None` does not look.
    pub memory_bytes: Option<usize>,
    /// Neighbours beyond which unused connections are closed.
    pub peers_wanted: usize,
    /// When a connection counts as unused.
    pub idle_connection: Duration,
    /// Job streams of one peer.
    pub job_streams_per_peer: usize,
    /// Job streams in all.
    pub job_streams: usize,
    /// Offers in the book.
    pub book_offers: usize,
    /// Negotiation messages of one peer.
    pub negotiate_rate: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            incoming: INCOMING_MAX,
            outgoing: OUTGOING_MAX,
            per_peer: PER_PEER_MAX,
            peers_wanted: PEERS_WANTED,
            memory_bytes: None,
            idle_connection: Duration::from_secs(IDLE_CONNECTION_S),
            job_streams_per_peer: JOB_STREAMS_PER_PEER_MAX,
            job_streams: JOB_STREAMS_MAX,
            book_offers: BOOK_OFFERS_MAX,
            negotiate_rate: NEGOTIATE_RATE,
        }
    }
}

/// Peers in the mesh of a topic. Six is gossipsub's own choice, and its simulations'.
pub const MESH_N: usize = 6;

/// How often the mesh is tended.
pub const HEARTBEAT_MS: u64 = 1_000;

/// What one provider may publish: a change of mind each half minute, and a handful of models at the start.
pub const PROVIDER_OFFER_RATE: Rate = Rate { burst: 16, every_ms: 30_000 };

/// What one neighbour may forward: a burst when it joins, then 50 a second; 100,000 providers make 28 a second together.
pub const NEIGHBOUR_OFFER_RATE: Rate = Rate { burst: 256, every_ms: 20 };

/// How offers are gossiped.
#[derive(Clone, Copy, Debug)]
pub struct GossipConfig {
    /// Peers in the mesh of a topic.
    pub mesh_n: usize,
    /// How often the mesh is tended.
    pub heartbeat: Duration,
    /// What one provider may publish.
    pub provider_rate: Rate,
    /// What one neighbour may forward.
    pub neighbour_rate: Rate,
}

impl Default for GossipConfig {
    fn default() -> Self {
        Self {
            mesh_n: MESH_N,
            heartbeat: Duration::from_millis(HEARTBEAT_MS),
            provider_rate: PROVIDER_OFFER_RATE,
            neighbour_rate: NEIGHBOUR_OFFER_RATE,
        }
    }
}
