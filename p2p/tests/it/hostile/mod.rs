//! Peers that do not play by the rules: garbage on every protocol, forged offers, floods, false work.

mod buyer;
mod offers;
mod peer;
mod work;

use std::time::Duration;

use cocoon_market::agreement::NegotiateRequest;
use cocoon_market::codec;
use cocoon_p2p::NodeEvent;
use cocoon_p2p::protocol::{JOB_PROTOCOL, KAD_PROTOCOL, NEGOTIATE_PROTOCOL, OFFERS_PULL_PROTOCOL};
use cocoon_p2p::testing::Answer;
use futures::StreamExt as _;
use libp2p::Multiaddr;
use libp2p::swarm::SwarmEvent;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::world::{World, address, drain, node, wait_for};
use peer::Hostile;

/// A message as it travels.
fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    let cbor = codec::encode(message, 1 << 20).unwrap();
    [&u32::try_from(cbor.len()).unwrap().to_be_bytes(), cbor.as_slice()].concat()
}

/// The message in the body of a frame.
fn unframed<T: DeserializeOwned>(body: &[u8]) -> T {
    codec::decode(body, 1 << 20).unwrap()
}

/// What a peer could send where something else is expected.
fn garbage() -> Vec<Vec<u8>> {
    let mut cases = vec![
        vec![],
        vec![0],
        vec![0, 0, 0, 0],
        vec![0, 0, 0, 1, 0xff],
        vec![0xff; 4],
        vec![0xff; 100_000],
        [&[0, 0, 0, 200][..], &[0x9b; 200]].concat(),
        // A CBOR array that claims 2^63 elements.
        [&[0, 0, 0, 9][..], &[0x9b, 0x80, 0, 0, 0, 0, 0, 0, 0]].concat(),
        // A thousand nested arrays.
        [&[0, 0, 4, 0][..], &[0x81; 1024]].concat(),
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for len in [1usize, 7, 64, 1000, 5000] {
        let bytes = (0..len).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        });
        cases.push(bytes.collect());
    }
    cases
}

#[tokio::test]
async fn garbage_on_every_protocol_is_survived_and_bans() {
    for protocol in [NEGOTIATE_PROTOCOL, OFFERS_PULL_PROTOCOL, JOB_PROTOCOL, KAD_PROTOCOL] {
        let world = World::new(Answer::of(10)).await;
        let mut events = world.provider_node.events();
        let mut hostile = Hostile::new(66);
        let at = hostile.connect(&world.provider_node).await;
        for bytes in garbage() {
            // How the stream ends is the node's business, as long as it does.
            let _ = hostile.shout(at, protocol.clone(), &bytes).await;
        }
        if protocol != KAD_PROTOCOL {
            let banned = hostile.market_peer();
            wait_for(&mut events, |event| matches!(event, NodeEvent::PeerBanned { peer, .. } if *peer == banned).then_some(())).await;
        }
        // The node is as well as before.
        let agreement = world.agree().await;
        let (_, error) = drain(&mut world.run(&agreement, 10).await).await;
        assert!(error.is_none(), "{protocol}: {error:?}");
    }
}

#[tokio::test]
async fn a_banned_peer_is_not_let_in_again() {
    let node = node(31);
    let mut events = node.events();
    let hostile = Hostile::new(67);
    let peer = hostile.market_peer();
    node.penalise(&peer, cocoon_p2p::penalty::Offence::Forgery).await;
    wait_for(&mut events, |event| matches!(event, NodeEvent::PeerBanned { .. }).then_some(())).await;
    let task = tokio::spawn(async move {
        let mut hostile = hostile;
        let address: Multiaddr = address(&node).await.parse().unwrap();
        hostile.swarm.dial(address).unwrap();
        let end = hostile.swarm.select_next_some();
        // Its own side may see the connection stand for a moment; it is closed at once.
        let mut end = tokio::time::timeout(Duration::from_secs(10), end).await.unwrap();
        while !matches!(end, SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. }) {
            end = tokio::time::timeout(Duration::from_secs(10), hostile.swarm.select_next_some()).await.unwrap();
        }
        node.connected_peers().await.unwrap()
    });
    assert_eq!(task.await.unwrap(), Vec::new());
}

#[tokio::test]
async fn a_negotiation_in_another_peers_name_is_refused_and_bans() {
    let world = World::new(Answer::of(1)).await;
    let mut events = world.provider_node.events();
    let offer = world.offer().await;
    // What the client signed for itself, handed in by somebody else.
    let stolen = {
        let terms = world.agree().await;
        NegotiateRequest::Commit(terms.by_requester().clone())
    };
    let mut hostile = Hostile::new(79);
    let peer = hostile.market_peer();
    let at = hostile.connect(&world.provider_node).await;
    let _ = hostile.shout(at, NEGOTIATE_PROTOCOL, &frame(&stolen)).await;
    wait_for(&mut events, |event| matches!(event, NodeEvent::PeerBanned { peer: banned, .. } if *banned == peer).then_some(())).await;
    drop(offer);
}
