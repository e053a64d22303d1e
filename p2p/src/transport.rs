//! The sockets of a node.

use std::io;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::{Transport as _, dns, noise, quic, relay, tcp, yamux};

use crate::identity::Identity;

/// What a node dials and listens with. The simulator brings its own.
pub struct Transport {
    pub(crate) boxed: Boxed<(libp2p::PeerId, StreamMuxerBox)>,
    pub(crate) relay: Option<relay::client::Behaviour>,
}

impl Transport {
    /// Any transport whose connections are authenticated and multiplexed. Such a node uses no relays.
    pub fn new(boxed: Boxed<(libp2p::PeerId, StreamMuxerBox)>) -> Self {
        Self { boxed, relay: None }
    }

    /// The libp2p transport.
    pub fn into_boxed(self) -> Boxed<(libp2p::PeerId, StreamMuxerBox)> {
        self.boxed
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("relay", &self.relay.is_some()).finish_non_exhaustive()
    }
}

/// Why there is no transport.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Noise has no keys.
    #[error("cannot derive the handshake's keys")]
    Noise(#[from] noise::Error),
    /// The system's resolver is not configured.
    #[error("cannot set up name resolution")]
    Dns(#[from] io::Error),
}

/// TCP with Noise and Yamux, QUIC, names through the system's resolver, and circuits through relays.
///
/// Call it within a tokio runtime.
///
/// # Errors
/// [`TransportError`].
pub fn tcp_quic(identity: &Identity) -> Result<Transport, TransportError> {
    let key = identity.keypair();
    // Tokens leave one at a time: waiting to fill a segment would cost more than the segment.
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let quic = quic::tokio::Transport::new(quic::Config::new(key));
    let (relayed, relay) = relay::client::new(key.public().to_peer_id());
    let secured = tcp
        .or_transport(relayed)
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let both = quic.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).or_transport(secured).map(|either, _| either.into_inner());
    let resolved = dns::tokio::Transport::system(both)?;
    Ok(Transport { boxed: resolved.boxed(), relay: Some(relay) })
}
