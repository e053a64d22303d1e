//! What a node tells those who watch it.

use cocoon_market::book::BookError;
use cocoon_market::offer::OfferTimeError;
use cocoon_market::signed::OpenError;
use cocoon_market::{ModelId, NodeId, OfferId, PeerId};

/// Something happened to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// It listens on an address; the text ends in its own `/p2p/` part.
    Listening {
        /// The address.
        address: String,
    },
    /// A first connection with a peer stands.
    PeerConnected {
        /// The peer.
        peer: PeerId,
        /// How it came about.
        how: Found,
    },
    /// The last connection with a peer is gone.
    PeerDisconnected {
        /// The peer.
        peer: PeerId,
    },
    /// A dial failed.
    DialFailed {
        /// Whom it was for, when that was known.
        peer: Option<PeerId>,
    },
    /// An offer is new in the book.
    OfferSeen {
        /// The offer.
        id: OfferId,
        /// Whose.
        provider: NodeId,
        /// For which model.
        model: ModelId,
        /// How it came.
        how: OfferPath,
    },
    /// Offers were taken back.
    OfferWithdrawn {
        /// Whose.
        provider: NodeId,
        /// For which model.
        model: ModelId,
    },
    /// An offer was refused and not forwarded.
    OfferRejected {
        /// Who handed it on.
        peer: PeerId,
        /// Why.
        reason: OfferRejection,
    },
    /// A peer was banned.
    PeerBanned {
        /// The peer.
        peer: PeerId,
        /// Until when, in milliseconds since the Unix epoch.
        until_ms: u64,
    },
    /// Providers of a model were found in Kademlia.
    ProvidersFound {
        /// The model.
        model: ModelId,
        /// They.
        peers: Vec<PeerId>,
    },
    /// Others see this node under an address that works.
    Reachable {
        /// The address.
        address: String,
    },
}

/// How a peer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It stands in the configuration.
    Bootstrap,
    /// A lookup in Kademlia named it.
    Kademlia,
    /// An offer named it.
    Gossip,
    /// It is on the local network.
    Mdns,
    /// This node was asked to dial it.
    Dialed,
    /// It dialled this node.
    Incoming,
}

/// How an offer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferPath {
    /// Somebody published it.
    Gossip,
    /// This node asked for it.
    Pull,
    /// This node published it.
    Own,
}

/// Why an offer, or the withdrawal of one, was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferRejection {
    /// The message is too large or no message. Peer penalty: garbage.
    #[error("not an offer message")]
    Malformed,
    /// The signature is wrong or not the provider's. Peer penalty: forgery.
    #[error("the signature does not fit")]
    Signature,
    /// A field contradicts another. Peer penalty: forgery.
    #[error("the offer contradicts itself: {field}")]
    Inconsistent {
        /// Which field.
        field: &'static str,
    },
    /// It was published by another peer than the one it names. Peer penalty: forgery.
    #[error("published by another peer than the offer names")]
    ForeignPeer,
    /// Its class is not the topic's. Peer penalty: garbage.
    #[error("the offer is on the wrong topic")]
    WrongTopic,
    /// It is over or not yet. Peer penalty: low; gossip may be slow and clocks wrong.
    #[error(transparent)]
    Time(OfferTimeError),
    /// Too many from this provider. Peer penalty: low.
    #[error("too many offers from this provider")]
    ProviderRate,
    /// Too many from this neighbour. Peer penalty: low.
    #[error("too many offers from this neighbour")]
    NeighbourRate,
    /// A newer one is known, or the same one. Peer penalty: none.
    #[error("a newer offer of this provider is known")]
    Outdated,
    /// It is paid on a chain of no use here. Peer penalty: none.
    #[error("the offer is paid on a chain of no use here")]
    OtherNetwork,
    /// The book is full. Peer penalty: none.
    #[error("the book is full")]
    BookFull,
}

impl From<BookError> for OfferRejection {
    fn from(error: BookError) -> Self {
        match error {
            BookError::Time(time) => Self::Time(time),
            BookError::Expired | BookError::Stale { .. } => Self::Outdated,
            BookError::OtherNetwork(_) => Self::OtherNetwork,
            BookError::PriceTooHigh => Self::Inconsistent { field: "price" },
            BookError::ProviderFull => Self::ProviderRate,
            BookError::Full => Self::BookFull,
        }
    }
}

impl From<&OpenError> for OfferRejection {
    fn from(error: &OpenError) -> Self {
        match error {
            OpenError::Decode(_) => Self::Malformed,
            OpenError::Signature(_) | OpenError::WrongSigner { .. } => Self::Signature,
            OpenError::Inconsistent(inconsistent) => Self::Inconsistent { field: inconsistent.field },
        }
    }
}
