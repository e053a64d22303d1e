//! A peer that does what it likes.

use std::io;
use std::time::Duration;

use cocoon_market::PeerId;
use cocoon_market::offer::ModelClass;
use cocoon_p2p::protocol::OFFERS_TOPIC_PREFIX;
use cocoon_p2p::testing::memory_transport;
use cocoon_p2p::{Identity, Node, peer_from_text};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, StreamProtocol, Swarm};

use crate::world::address;

/// A peer with its own ideas: raw streams of any protocol, and gossip without checks.
#[derive(NetworkBehaviour)]
pub(crate) struct Mischief {
    pub(crate) streams: libp2p_stream::Behaviour,
    gossip: gossipsub::Behaviour,
}

pub(crate) struct Hostile {
    pub(crate) swarm: Swarm<Mischief>,
    peer: libp2p::PeerId,
}

impl Hostile {
    pub(crate) fn new(seed: u8) -> Self {
        let identity = Identity::from_seed([seed; 32]);
        let key = identity.keypair().clone();
        let gossip = gossipsub::ConfigBuilder::default().heartbeat_interval(Duration::from_millis(100)).build().unwrap();
        let behaviour = Mischief {
            streams: libp2p_stream::Behaviour::new(),
            gossip: gossipsub::Behaviour::new(MessageAuthenticity::Signed(key.clone()), gossip).unwrap(),
        };
        let config = libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(60));
        let peer = key.public().to_peer_id();
        let swarm = Swarm::new(memory_transport(&identity).into_boxed(), behaviour, peer, config);
        Self { swarm, peer }
    }

    pub(crate) fn market_peer(&self) -> PeerId {
        peer_from_text(&self.peer.to_base58()).unwrap()
    }

    pub(crate) async fn connect(&mut self, to: &Node) -> libp2p::PeerId {
        let address: Multiaddr = address(to).await.parse().unwrap();
        self.swarm.dial(address).unwrap();
        loop {
            if let SwarmEvent::ConnectionEstablished { peer_id, .. } = self.swarm.select_next_some().await {
                return peer_id;
            }
        }
    }

    /// Opens a raw stream, writes, and reads until the other side ends it.
    pub(crate) async fn shout(&mut self, at: libp2p::PeerId, protocol: StreamProtocol, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut control = self.swarm.behaviour().streams.new_control();
        let talk = async move {
            let mut stream = control.open_stream(at, protocol).await.map_err(io::Error::other)?;
            stream.write_all(bytes).await?;
            stream.flush().await?;
            stream.close().await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok(answer)
        };
        let driven = async {
            loop {
                self.swarm.select_next_some().await;
            }
        };
        tokio::select! {
            answer = talk => answer,
            () = driven => unreachable!(),
            () = tokio::time::sleep(Duration::from_secs(15)) => panic!("the stream is never ended"),
        }
    }

    /// Publishes as soon as somebody listens.
    pub(crate) async fn publish(&mut self, bytes: Vec<u8>) {
        let topic = IdentTopic::new(format!("{OFFERS_TOPIC_PREFIX}{}", ModelClass::TextTiny.topic()));
        loop {
            match self.swarm.behaviour_mut().gossip.publish(topic.clone(), bytes.clone()) {
                Ok(_) => break,
                Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => drop(self.swarm.select_next_some().await),
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            self.swarm.select_next_some().await;
        }
    }
}
