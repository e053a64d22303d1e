//! How many neighbours a node keeps.
//!
//! Every connection that gossip speaks over stays open by itself, and every lookup opens new ones, so a node left alone
//! ends up connected with everybody. Now and then it therefore closes what it has no use for, the longest unused first.

use std::collections::BTreeMap;
use std::time::Duration;

use cocoon_market::Timestamp;
use libp2p::{Multiaddr, PeerId};

use super::actor::Actor;

/// A connected peer.
#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    /// Its address, as the first connection has it.
    pub(super) address: Multiaddr,
    /// When this node last had a use for it.
    used_at: Timestamp,
}

/// The connected peers.
#[derive(Debug, Default)]
pub(super) struct Neighbours(BTreeMap<PeerId, Neighbour>);

impl Neighbours {
    pub(super) fn came(&mut self, now: Timestamp, peer: PeerId, address: Multiaddr) {
        self.0.insert(peer, Neighbour { address, used_at: now });
    }

    pub(super) fn left(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    /// Remembers that there is a use for a peer.
    pub(super) fn used(&mut self, now: Timestamp, peer: &PeerId) {
        if let Some(neighbour) = self.0.get_mut(peer) {
            neighbour.used_at = now;
        }
    }

    pub(super) fn address(&self, peer: &PeerId) -> Option<&Multiaddr> {
        self.0.get(peer).map(|neighbour| &neighbour.address)
    }

    /// Whom to part with so that `wanted` are left: those without a use for `idle`, whom nobody says `needed`.
    fn surplus(&self, now: Timestamp, wanted: usize, idle: Duration, needed: impl Fn(&PeerId) -> bool) -> Vec<PeerId> {
        let unused = |neighbour: &Neighbour| u128::from(now.since_ms(neighbour.used_at)) >= idle.as_millis();
        let spare = self.0.iter().filter(|(peer, neighbour)| unused(neighbour) && !needed(peer));
        let mut spare: Vec<(Timestamp, PeerId)> = spare.map(|(peer, neighbour)| (neighbour.used_at, *peer)).collect();
        spare.sort_unstable();
        spare.into_iter().take(self.0.len().saturating_sub(wanted)).map(|(_, peer)| peer).collect()
    }
}

impl Actor {
    /// Closes connections that nothing needs.
    pub(super) fn part_with_surplus(&mut self) {
        let now = self.now();
        let behaviour = self.swarm.behaviour();
        let mesh: std::collections::BTreeSet<PeerId> = behaviour.gossip.all_mesh_peers().copied().collect();
        let needed = |peer: &PeerId| mesh.contains(peer) || behaviour.jobs.is_busy(peer);
        for peer in self.neighbours.surplus(now, self.peers_wanted, self.idle, needed) {
            tracing::debug!(%peer, "parting with a surplus neighbour");
            // Gone by itself in the meantime is as good.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_millis(100);

    fn neighbours(used_at: &[u64]) -> (Neighbours, Vec<PeerId>) {
        let mut neighbours = Neighbours::default();
        let peers: Vec<PeerId> = used_at.iter().map(|_| PeerId::random()).collect();
        for (peer, at) in peers.iter().zip(used_at) {
            neighbours.came(Timestamp(*at), *peer, Multiaddr::empty());
        }
        (neighbours, peers)
    }

    #[test]
    fn the_longest_unused_go_first_and_only_as_many_as_are_too_many() {
        let (neighbours, peers) = neighbours(&[30, 10, 20, 40]);
        assert_eq!(neighbours.surplus(Timestamp(1000), 2, IDLE, |_| false), vec![peers[1], peers[2]]);
        assert_eq!(neighbours.surplus(Timestamp(1000), 4, IDLE, |_| false), vec![]);
    }

    #[test]
    fn who_is_needed_or_was_just_used_stays() {
        let (mut neighbours, peers) = neighbours(&[0, 0, 0, 950]);
        neighbours.used(Timestamp(901), &peers[1]);
        assert_eq!(neighbours.surplus(Timestamp(1000), 0, IDLE, |peer| *peer == peers[0]), vec![peers[2]]);
        neighbours.left(&peers[2]);
        assert_eq!(neighbours.surplus(Timestamp(1000), 0, IDLE, |peer| *peer == peers[0]), vec![]);
    }
}
