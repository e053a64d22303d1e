//! How peers are found: the configuration, identify, Kademlia, the local network.

use std::collections::{BTreeMap, HashMap};

use cocoon_market::{ModelId, PeerId};
use futures::channel::oneshot;
use libp2p::kad::{self, GetProvidersOk, QueryId, QueryResult};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, identify, mdns};

use super::actor::Actor;
use super::event::{Found, NodeEvent};
use crate::identity::market_peer;
use crate::protocol::{KAD_PROTOCOL, OFFERS_PULL_PROTOCOL};

/// Lookups of providers at once; a demand needs one.
const LOOKUPS_MAX: usize = 64;

/// Providers after which a lookup has found enough: a client asks fewer.
const PROVIDERS_ENOUGH: usize = 8;

/// Addresses of one peer that are remembered: TCP and QUIC, IPv4 and IPv6, public and private.
const ADDRESSES_PER_PEER_MAX: usize = 8;

/// Peers whose way of being found is remembered until they connect.
const INTENTS_MAX: usize = 4096;

/// Peers asked for all they know when this node has just come: two in case one knows nothing, two more for good measure.
const PULL_AT_START_MAX: usize = 4;

/// How often the provider records are put again because a new neighbour came: the first neighbours of a node are those
/// who must hold them, and later ones take them over at the next renewal.
const ANNOUNCE_AT_START_MAX: usize = 8;

/// A lookup of providers under way.
#[derive(Debug)]
pub(super) struct Lookup {
    model: ModelId,
    found: Vec<PeerId>,
    reply: Option<oneshot::Sender<Vec<PeerId>>>,
}

/// What the node remembers of finding peers.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    /// Whom the configuration names.
    pub(super) bootstrap: Vec<(libp2p::PeerId, Multiaddr)>,
    intents: BTreeMap<libp2p::PeerId, Found>,
    lookups: HashMap<QueryId, Lookup>,
    pulled: usize,
    announced: usize,
}

impl Discovery {
    pub(super) fn new(bootstrap: Vec<(libp2p::PeerId, Multiaddr)>) -> Self {
        Self { bootstrap, ..Self::default() }
    }

    /// Remembers why a peer is being dialled.
    pub(super) fn intend(&mut self, peer: libp2p::PeerId, how: Found) {
        if self.intents.len() < INTENTS_MAX {
            self.intents.entry(peer).or_insert(how);
        }
    }

    /// Why a peer was dialled; what nobody else intended was a lookup of Kademlia.
    pub(super) fn take_intent(&mut self, peer: &libp2p::PeerId) -> Found {
        self.intents.remove(peer).unwrap_or(Found::Kademlia)
    }

    pub(super) fn forget(&mut self, peer: &libp2p::PeerId) {
        self.intents.remove(peer);
    }
}

/// Splits `/ip4/../p2p/<peer>` into peer and address.
pub(super) fn peer_of(address: &Multiaddr) -> Option<libp2p::PeerId> {
    match address.iter().last()? {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    }
}

/// Whether an address means this very machine.
fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

impl Actor {
    /// Dials everybody whom the configuration names.
    pub(super) fn dial_bootstrap(&mut self) {
        for (peer, address) in self.discovery.bootstrap.clone() {
            self.swarm.behaviour_mut().kad.add_address(&peer, address.clone());
            self.dial_peer(peer, vec![address], Found::Bootstrap);
        }
    }

    /// Dials a peer unless that is under way or done.
    pub(super) fn dial_peer(&mut self, peer: libp2p::PeerId, addresses: Vec<Multiaddr>, how: Found) {
        if self.swarm.is_connected(&peer) {
            return;
        }
        self.discovery.intend(peer, how);
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        if let Err(error) = self.swarm.dial(opts) {
            tracing::debug!(%peer, %error, "dial refused");
        }
    }

    /// Learns what a peer says of itself.
    pub(super) fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        let local = self.connected_through_loopback(&peer_id);
        if info.protocols.contains(&KAD_PROTOCOL) {
            let usable = info.listen_addrs.into_iter().filter(|address| local || !is_loopback(address));
            let room = ADDRESSES_PER_PEER_MAX.saturating_sub(self.addresses_in_table(peer_id));
            for address in usable.take(room) {
                self.swarm.behaviour_mut().kad.add_address(&peer_id, address);
            }
        }
        if info.protocols.contains(&OFFERS_PULL_PROTOCOL) && self.discovery.pulled < PULL_AT_START_MAX {
            self.discovery.pulled += 1;
            self.pull(peer_id, None, None);
        }
    }

    /// A peer that says something else of itself each time must not grow the routing table.
    fn addresses_in_table(&mut self, peer: libp2p::PeerId) -> usize {
        let Some(bucket) = self.swarm.behaviour_mut().kad.kbucket(peer) else { return 0 };
        let entry = bucket.iter().find(|entry| *entry.node.key.preimage() == peer);
        entry.map_or(0, |entry| entry.node.value.len())
    }

    fn connected_through_loopback(&self, peer: &libp2p::PeerId) -> bool {
        self.neighbours.address(peer).is_some_and(is_loopback)
    }

    /// Learns who is on the local network.
    pub(super) fn on_mdns(&mut self, event: mdns::Event) {
        if let mdns::Event::Discovered(peers) = event {
            for (peer, address) in peers {
                self.swarm.behaviour_mut().kad.add_address(&peer, address.clone());
                self.dial_peer(peer, vec![address], Found::Mdns);
            }
        }
    }

    /// Begins a lookup of providers.
    pub(super) fn find_providers(&mut self, model: ModelId, reply: oneshot::Sender<Vec<PeerId>>) {
        if self.discovery.lookups.len() >= LOOKUPS_MAX {
            let _ = reply.send(Vec::new());
            return;
        }
        let id = self.swarm.behaviour_mut().kad.get_providers(provider_key(model));
        self.discovery.lookups.insert(id, Lookup { model, found: Vec::new(), reply: Some(reply) });
    }

    /// Puts this node's provider record for a model into Kademlia.
    pub(super) fn provide(&mut self, model: ModelId) {
        if let Err(error) = self.swarm.behaviour_mut().kad.start_providing(provider_key(model)) {
            tracing::warn!(%error, %model, "provider record not kept");
        }
    }

    pub(super) fn stop_providing(&mut self, model: ModelId) {
        self.swarm.behaviour_mut().kad.stop_providing(&provider_key(model));
    }

    pub(super) fn on_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed { id, result: QueryResult::GetProviders(result), step, .. } => {
                if let Ok(GetProvidersOk::FoundProviders { providers, .. }) = result {
                    self.on_providers(id, providers);
                }
                if step.last {
                    self.end_lookup(id);
                }
            }
            // A bootstrap first looks for this node's own neighbourhood, which it needs, and then refreshes every bucket,
            // which dials a good part of a small network. Its later stages are ended as they begin.
            kad::Event::OutboundQueryProgressed { id, result: QueryResult::Bootstrap(_), step, .. } if !step.last => {
                if let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id) {
                    query.finish();
                }
            }
            kad::Event::RoutingUpdated { is_new_peer: true, .. } => self.announce_again(),
            kad::Event::InboundRequest { request: kad::InboundRequest::AddProvider { record: Some(record) } } => {
                self.keep_provider_record(record);
            }
            _ => {}
        }
    }

    fn announce_again(&mut self) {
        if self.provided.is_empty() || self.discovery.announced >= ANNOUNCE_AT_START_MAX {
            return;
        }
        self.discovery.announced += 1;
        for model in self.provided.clone() {
            self.provide(model);
        }
    }

    fn on_providers(&mut self, id: QueryId, providers: impl IntoIterator<Item = libp2p::PeerId>) {
        let own = *self.swarm.local_peer_id();
        let Some(lookup) = self.discovery.lookups.get_mut(&id) else { return };
        let mut fresh: Vec<PeerId> = providers.into_iter().filter(|peer| *peer != own).map(|peer| market_peer(&peer)).collect();
        fresh.retain(|peer| !lookup.found.contains(peer));
        // Kademlia gives them in no order; a run should not depend on that.
        fresh.sort_unstable();
        lookup.found.extend(fresh);
        if lookup.found.len() >= PROVIDERS_ENOUGH {
            if let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id) {
                query.finish();
            }
            self.end_lookup(id);
        }
    }

    fn end_lookup(&mut self, id: QueryId) {
        let Some(mut lookup) = self.discovery.lookups.remove(&id) else { return };
        if !lookup.found.is_empty() {
            self.emit(NodeEvent::ProvidersFound { model: lookup.model, peers: lookup.found.clone() });
        }
        if let Some(reply) = lookup.reply.take() {
            let _ = reply.send(lookup.found);
        }
    }

    /// Keeps a record for others, if it is one of ours: a model's key, and a provider with few addresses.
    fn keep_provider_record(&mut self, mut record: kad::ProviderRecord) {
        if record.key.as_ref().len() != ModelId::LEN {
            return;
        }
        record.addresses.truncate(ADDRESSES_PER_PEER_MAX);
        let store = self.swarm.behaviour_mut().kad.store_mut();
        if let Err(error) = kad::store::RecordStore::add_provider(store, record) {
            tracing::debug!(%error, "provider record of another not kept");
        }
    }
}

fn provider_key(model: ModelId) -> kad::RecordKey {
    kad::RecordKey::new(model.as_bytes())
}
