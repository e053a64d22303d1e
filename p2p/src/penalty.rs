//! What a peer's misbehaviour costs it here: a local score with decay, and a ban at a threshold.
//!
//! Pure: time is an argument. Nothing leaves this node; a penalty is an opinion, not evidence.

use std::collections::BTreeMap;

use cocoon_market::{PeerId, Penalty};

/// Score at which a peer is banned. One garbage message from a buggy build is forgiven, a bad signature never.
pub const BAN_SCORE: u32 = 1000;

/// A score halves in this time: ten minutes let an honest peer with a bad moment recover within the hour.
pub const SCORE_HALF_LIFE_MS: u64 = 600_000;

/// How long a ban lasts. An hour outlives an offer, so what the peer offered is over when it may come back.
pub const BAN_MS: u64 = 3_600_000;

/// Peers remembered. Beyond that the one with the lowest score is forgotten; 10,000 entries are about one megabyte.
pub const PENALISED_PEERS_MAX: usize = 10_000;

/// How bad something was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offence {
    /// Something an honest peer does now and then: a full queue, a clock that is off, one message too many.
    Low,
    /// Something only a broken build does: bytes that are not the protocol.
    Garbage,
    /// Something no honest software does: a bad signature, a contradiction, a false receipt.
    Forgery,
}

impl Offence {
    /// The offence that a market rule's penalty amounts to here.
    pub const fn of(penalty: Penalty) -> Option<Self> {
        match penalty {
            Penalty::None => None,
            Penalty::Low => Some(Self::Low),
            Penalty::Ban | Penalty::Slashable => Some(Self::Forgery),
        }
    }

    /// Points it costs.
    pub const fn points(self) -> u32 {
        match self {
            Self::Low => 20,
            Self::Garbage => 250,
            Self::Forgery => BAN_SCORE,
        }
    }
}

/// What became of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on.
    Tolerated {
        /// Its score now.
        score: u32,
    },
    /// It is banned as of now.
    Banned {
        /// Until when, on the caller's clock.
        until_ms: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    score: u32,
    at_ms: u64,
    banned_until_ms: Option<u64>,
}

impl Entry {
    fn decayed(&self, now_ms: u64) -> u32 {
        let halvings = now_ms.saturating_sub(self.at_ms) / SCORE_HALF_LIFE_MS;
        u32::try_from(halvings).ok().and_then(|n| self.score.checked_shr(n)).unwrap_or(0)
    }
}

/// The scores of all peers that ever misbehaved, within [`PENALISED_PEERS_MAX`].
#[derive(Debug, Default)]
pub struct Penalties {
    peers: BTreeMap<PeerId, Entry>,
    /// Forgotten although banned, to be let in again: whoever carries out the bans must not remember more than we do.
    forgotten: Vec<PeerId>,
}

impl Penalties {
    /// Nobody is penalised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an offence.
    pub fn add(&mut self, now_ms: u64, peer: &PeerId, offence: Offence) -> Verdict {
        self.make_room(now_ms, peer);
        let entry = self.peers.entry(peer.clone()).or_insert(Entry { score: 0, at_ms: now_ms, banned_until_ms: None });
        entry.score = entry.decayed(now_ms).saturating_add(offence.points());
        entry.at_ms = now_ms;
        if entry.score < BAN_SCORE {
            return Verdict::Tolerated { score: entry.score };
        }
        let until_ms = now_ms.saturating_add(BAN_MS);
        entry.banned_until_ms = Some(until_ms);
        self.forgotten.retain(|forgotten| forgotten != peer);
        Verdict::Banned { until_ms }
    }

    /// Whether a peer is banned.
    pub fn is_banned(&self, now_ms: u64, peer: &PeerId) -> bool {
        self.peers.get(peer).and_then(|entry| entry.banned_until_ms).is_some_and(|until| until > now_ms)
    }

    /// The score of a peer.
    pub fn score(&self, now_ms: u64, peer: &PeerId) -> u32 {
        self.peers.get(peer).map_or(0, |entry| entry.decayed(now_ms))
    }

    /// Forgets bans that are over, and names the peers to let in again: those, and the ones there was no room for.
    pub fn expire(&mut self, now_ms: u64) -> Vec<PeerId> {
        let over = |entry: &Entry| entry.banned_until_ms.is_some_and(|until| until <= now_ms);
        let freed = self.peers.iter().filter(|(_, entry)| over(entry)).map(|(peer, _)| peer.clone());
        let freed: Vec<PeerId> = freed.chain(std::mem::take(&mut self.forgotten)).collect();
        self.peers.retain(|_, entry| !over(entry) && entry.decayed(now_ms) > 0);
        freed
    }

    fn make_room(&mut self, now_ms: u64, peer: &PeerId) {
        if self.peers.len() < PENALISED_PEERS_MAX || self.peers.contains_key(peer) {
            return;
        }
        let mildest = self.peers.iter().min_by_key(|(_, entry)| (entry.banned_until_ms, entry.decayed(now_ms)));
        if let Some((mildest, entry)) = mildest.map(|(peer, entry)| (peer.clone(), *entry)) {
            self.peers.remove(&mildest);
            if entry.banned_until_ms.is_some() {
                self.forgotten.push(mildest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> PeerId {
        PeerId(n.to_be_bytes().to_vec())
    }

    #[test]
    fn a_forgery_bans_at_once_and_the_ban_ends() {
        let mut penalties = Penalties::new();
        assert_eq!(penalties.add(5, &peer(1), Offence::Forgery), Verdict::Banned { until_ms: 5 + BAN_MS });
        assert!(penalties.is_banned(5, &peer(1)) && !penalties.is_banned(5, &peer(2)));
        assert_eq!(penalties.expire(4 + BAN_MS), vec![]);
        assert!(penalties.is_banned(4 + BAN_MS, &peer(1)) && !penalties.is_banned(5 + BAN_MS, &peer(1)));
        assert_eq!(penalties.expire(5 + BAN_MS), vec![peer(1)]);
        assert_eq!(penalties.score(5 + BAN_MS, &peer(1)), 0);
    }

    #[test]
    fn garbage_bans_when_repeated_and_is_forgiven_with_time() {
        let mut penalties = Penalties::new();
        for n in 1..4 {
            assert_eq!(penalties.add(0, &peer(1), Offence::Garbage), Verdict::Tolerated { score: n * 250 });
        }
        assert_eq!(penalties.score(SCORE_HALF_LIFE_MS, &peer(1)), 375);
        assert_eq!(penalties.add(SCORE_HALF_LIFE_MS, &peer(1), Offence::Garbage), Verdict::Tolerated { score: 625 });
        assert!(matches!(penalties.add(SCORE_HALF_LIFE_MS, &peer(1), Offence::Forgery), Verdict::Banned { .. }));
    }

    #[test]
    fn what_is_forgiven_is_forgotten_and_nothing_else() {
        let mut penalties = Penalties::new();
        penalties.add(0, &peer(1), Offence::Low);
        penalties.add(0, &peer(2), Offence::Garbage);
        // 20 points are gone after five halvings, 250 after eight.
        assert_eq!(penalties.expire(5 * SCORE_HALF_LIFE_MS), vec![]);
        assert_eq!(penalties.peers.keys().collect::<Vec<_>>(), [&peer(2)]);
        assert_eq!(penalties.score(5 * SCORE_HALF_LIFE_MS, &peer(2)), 7);
        assert_eq!(penalties.expire(8 * SCORE_HALF_LIFE_MS), vec![]);
        assert!(penalties.peers.is_empty());
    }

    #[test]
    fn a_breach_of_a_market_rule_costs_what_the_rule_says() {
        assert_eq!(Offence::of(Penalty::None), None);
        assert_eq!(Offence::of(Penalty::Low), Some(Offence::Low));
        assert_eq!(Offence::of(Penalty::Ban), Some(Offence::Forgery));
        assert_eq!(Offence::of(Penalty::Slashable), Some(Offence::Forgery));
    }

    #[test]
    fn a_peer_banned_again_after_it_was_forgotten_stays_banned() {
        let mut penalties = Penalties::new();
        for n in 0..=u32::try_from(PENALISED_PEERS_MAX).unwrap() {
            penalties.add(u64::from(n), &peer(n), Offence::Forgery);
        }
        // There was no room for the first, then none for the second.
        assert!(matches!(penalties.add(20_000, &peer(0), Offence::Forgery), Verdict::Banned { .. }));
        assert_eq!(penalties.expire(20_000), vec![peer(1)]);
        assert!(penalties.is_banned(20_000, &peer(0)));
    }

    #[test]
    fn a_flood_of_identities_forgets_the_mildest_first() {
        let mut penalties = Penalties::new();
        penalties.add(0, &peer(0), Offence::Forgery);
        for n in 1..=u32::try_from(PENALISED_PEERS_MAX).unwrap() {
            penalties.add(0, &peer(n), Offence::Low);
        }
        assert_eq!(penalties.peers.len(), PENALISED_PEERS_MAX);
        assert!(penalties.is_banned(0, &peer(0)));
    }

    #[test]
    fn a_ban_that_is_forgotten_is_lifted() {
        let mut penalties = Penalties::new();
        for n in 0..=u32::try_from(PENALISED_PEERS_MAX).unwrap() {
            penalties.add(u64::from(n), &peer(n), Offence::Forgery);
        }
        assert_eq!((penalties.peers.len(), penalties.expire(1)), (PENALISED_PEERS_MAX, vec![peer(0)]));
        assert_eq!(penalties.expire(1), vec![]);
    }
}
