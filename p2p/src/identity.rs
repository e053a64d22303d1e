//! The key of a peer in libp2p, and peer ids as text.

use std::fmt;

use cocoon_market::PeerId;
use libp2p::identity::Keypair;

/// The libp2p key of a node. Not the operator's key: offers and agreements, which the operator signs, name its peer id.
#[derive(Clone)]
pub struct Identity(Keypair);

impl Identity {
    /// The key of a seed from the keystore.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let mut seed = seed;
        Self(Keypair::ed25519_from_bytes(&mut seed).expect("any 32 bytes are an ed25519 seed"))
    }

    /// Its peer id.
    pub fn peer_id(&self) -> PeerId {
        market_peer(&self.0.public().to_peer_id())
    }

    /// The key itself, for a transport of one's own.
    pub fn keypair(&self) -> &Keypair {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", peer_text(&self.peer_id()))
    }
}

/// A peer id as people know it (`12D3Koo...`); hex when the bytes are no peer id.
pub fn peer_text(peer: &PeerId) -> String {
    libp2p_peer(peer).map_or_else(|| format!("{peer:?}"), |peer| peer.to_base58())
}

/// Reads a peer id as people write it.
pub fn peer_from_text(text: &str) -> Option<PeerId> {
    text.parse::<libp2p::PeerId>().ok().map(|peer| market_peer(&peer))
}

pub(crate) fn market_peer(peer: &libp2p::PeerId) -> PeerId {
    PeerId(peer.to_bytes())
}

pub(crate) fn libp2p_peer(peer: &PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(&peer.0).ok()
}
