//! Offers that are forged, expired, misplaced, or too many.

use std::sync::Arc;

use cocoon_market::codec;
use cocoon_market::offer::{ModelClass, OFFER_LIFETIME_MS_MAX, OfferMessage};
use cocoon_market::{Offer, OperatorKey, Timestamp, Verified};
use cocoon_p2p::protocol::OFFERS_PULL_PROTOCOL;
use cocoon_p2p::protocol::offers::{PullRequest, PullResponse};
use cocoon_p2p::testing::{MockPayer, listing};
use cocoon_p2p::{Client, Clock, NodeEvent, OfferRejection};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};

use super::peer::Hostile;
use super::{frame, unframed};
use crate::world::{MODEL, PRICE, connect, demand, node, wait_for};

fn offer(hostile: &Hostile, key: &OperatorKey) -> Offer {
    let listing = listing(MODEL, PRICE);
    let now = Clock::system().now();
    Offer {
        provider: key.node_id(),
        peer: hostile.market_peer(),
        addresses: Vec::new(),
        model: listing.model,
        device: listing.device,
        price: listing.price,
        tier: listing.tier,
        confidentiality: listing.confidentiality,
        capacity: 1,
        slice_tokens: 16,
        float: listing.float,
        settlement: listing.settlement,
        sequence: 1,
        issued_at: now,
        expires_at: now.plus_ms(OFFER_LIFETIME_MS_MAX),
    }
}

fn message(offer: Offer, key: &OperatorKey) -> OfferMessage {
    OfferMessage::Offer(Verified::sign(offer, key).unwrap().into_signed())
}

fn bytes(message: &OfferMessage) -> Vec<u8> {
    codec::encode(message, OfferMessage::BYTES_MAX).unwrap()
}

/// Publishes one message to a node that has a neighbour, and gives why it was refused. The neighbour must never see it.
async fn refused(bytes: Vec<u8>, hostile: Hostile) -> (OfferRejection, bool) {
    let (first, second) = (node(32), node(33));
    connect(&second, &first).await;
    let (mut at_first, at_second) = (first.events(), second.events());
    let mut hostile = hostile;
    hostile.connect(&first).await;
    hostile.publish(bytes).await;
    let task = tokio::spawn(hostile.run());
    let pick = |event: &NodeEvent| if let NodeEvent::OfferRejected { reason, .. } = event { Some(reason.clone()) } else { None };
    let reason = wait_for(&mut at_first, pick).await;
    // An honest offer that follows on the same way shows that nothing came before it.
    let key = OperatorKey::from_seed(&[55; 32]);
    let honest = Hostile::new(68);
    let fair = Offer { peer: first.peer_id(), ..offer(&honest, &key) };
    first.publish_offer(Verified::sign(fair, &key).unwrap()).await.unwrap();
    let mut at_second = at_second;
    let came = wait_for(&mut at_second, |event| match event {
        NodeEvent::OfferSeen { provider, .. } => Some(*provider),
        NodeEvent::OfferRejected { .. } => panic!("it was forwarded"),
        _ => None,
    });
    assert_eq!(came.await, key.node_id());
    let mut banned = false;
    while let Some(event) = at_first.try_next() {
        banned |= matches!(event, NodeEvent::PeerBanned { .. });
    }
    task.abort();
    (reason, banned)
}

#[tokio::test]
async fn an_offer_with_a_bad_signature_is_refused_and_its_author_banned() {
    let (hostile, key) = (Hostile::new(70), OperatorKey::from_seed(&[9; 32]));
    let OfferMessage::Offer(mut signed) = message(offer(&hostile, &key), &key) else { unreachable!() };
    signed.signature.0[5] ^= 1;
    let refused = refused(bytes(&OfferMessage::Offer(signed)), hostile).await;
    assert_eq!(refused, (OfferRejection::Signature, true));
}

#[tokio::test]
async fn an_offer_that_somebody_else_changed_is_refused() {
    let (hostile, key) = (Hostile::new(71), OperatorKey::from_seed(&[9; 32]));
    let OfferMessage::Offer(mut signed) = message(offer(&hostile, &key), &key) else { unreachable!() };
    *signed.bytes.last_mut().unwrap() ^= 1;
    let refused = refused(bytes(&OfferMessage::Offer(signed)), hostile).await;
    assert_eq!(refused, (OfferRejection::Signature, true));
}

#[tokio::test]
async fn an_offer_published_by_another_peer_is_refused() {
    let (hostile, key) = (Hostile::new(72), OperatorKey::from_seed(&[9; 32]));
    let foreign = Offer { peer: Hostile::new(73).market_peer(), ..offer(&hostile, &key) };
    let refused = refused(bytes(&message(foreign, &key)), hostile).await;
    assert_eq!(refused, (OfferRejection::ForeignPeer, true));
}

#[tokio::test]
async fn an_expired_offer_is_refused_and_not_forwarded() {
    let (hostile, key) = (Hostile::new(74), OperatorKey::from_seed(&[9; 32]));
    let now = Clock::system().now();
    let old = Timestamp(now.0 - OFFER_LIFETIME_MS_MAX - 120_000);
    let expired = Offer { issued_at: old, expires_at: old.plus_ms(OFFER_LIFETIME_MS_MAX), ..offer(&hostile, &key) };
    let (reason, banned) = refused(bytes(&message(expired, &key)), hostile).await;
    assert!(matches!(reason, OfferRejection::Time(_)), "{reason:?}");
    assert!(!banned);
}

#[tokio::test]
async fn an_offer_on_the_wrong_topic_and_no_offer_at_all_are_refused() {
    let (hostile, key) = (Hostile::new(75), OperatorKey::from_seed(&[9; 32]));
    let mut large = offer(&hostile, &key);
    large.model.class = ModelClass::TextLarge;
    assert_eq!(refused(bytes(&message(large, &key)), hostile).await, (OfferRejection::WrongTopic, false));
    assert_eq!(refused(vec![0x9b; 300], Hostile::new(76)).await, (OfferRejection::Malformed, false));
}

#[tokio::test]
async fn a_flood_of_offers_stops_at_the_limit_and_is_no_longer_listened_to() {
    let (first, second) = (node(34), node(35));
    connect(&second, &first).await;
    let (mut at_first, mut at_second) = (first.events(), second.events());
    let mut hostile = Hostile::new(77);
    hostile.connect(&first).await;
    // Each with a key of its own: the limit is on the peer that publishes, too.
    for n in 0..100u8 {
        let key = OperatorKey::from_seed(&[n; 32]);
        let flood = bytes(&message(offer(&hostile, &key), &key));
        hostile.publish(flood).await;
    }
    let task = tokio::spawn(hostile.run());
    let (mut taken, mut refused) = (0, 0);
    // Sixteen excesses of twenty points are a third of the way to a ban, and the end of gossip's patience.
    wait_for(&mut at_first, |event| match event {
        NodeEvent::OfferRejected { reason, .. } => {
            assert_eq!(*reason, OfferRejection::ProviderRate);
            refused += 1;
            (refused == 16).then_some(())
        }
        NodeEvent::OfferSeen { .. } => {
            taken += 1;
            None
        }
        _ => None,
    })
    .await;
    assert_eq!(taken, 16);
    // An honest offer shows when the second node has seen all that was forwarded before it.
    let key = OperatorKey::from_seed(&[155; 32]);
    let fair = Offer { peer: first.peer_id(), ..offer(&Hostile::new(68), &key) };
    first.publish_offer(Verified::sign(fair, &key).unwrap()).await.unwrap();
    let mut forwarded = 0;
    wait_for(&mut at_second, |event| match event {
        NodeEvent::OfferSeen { provider, .. } if *provider == key.node_id() => Some(()),
        NodeEvent::OfferSeen { .. } => {
            forwarded += 1;
            None
        }
        NodeEvent::OfferRejected { reason, .. } => panic!("forwarded although refused: {reason}"),
        _ => None,
    })
    .await;
    assert!(forwarded <= 16, "{forwarded} were forwarded");
    task.abort();
}

#[tokio::test]
async fn neighbours_are_asked_for_what_the_book_cannot_answer() {
    let (client, key) = (node(37), OperatorKey::from_seed(&[9; 32]));
    // A neighbour that publishes nothing, and tells what it has to who asks for that.
    let mut hostile = Hostile::new(81);
    let OfferMessage::Offer(signed) = message(offer(&hostile, &key), &key) else { unreachable!() };
    let mut incoming = hostile.swarm.behaviour().streams.new_control().accept(OFFERS_PULL_PROTOCOL).unwrap();
    tokio::spawn(async move {
        while let Some((_, mut stream)) = incoming.next().await {
            let mut head = [0; 4];
            stream.read_exact(&mut head).await.unwrap();
            let mut body = vec![0; u32::from_be_bytes(head) as usize];
            stream.read_exact(&mut body).await.unwrap();
            let asked: PullRequest = unframed(&body);
            let offers = if asked.model == Some(MODEL) { vec![signed.clone()] } else { Vec::new() };
            let _ = stream.write_all(&frame(&PullResponse { offers })).await;
            let _ = stream.close().await;
        }
    });
    let mut events = client.events();
    hostile.connect(&client).await;
    let task = tokio::spawn(hostile.run());
    wait_for(&mut events, |event| matches!(event, NodeEvent::PeerConnected { .. }).then_some(())).await;
    let client = Client::new(client, OperatorKey::from_seed(&[12; 32]), Arc::new(MockPayer::default()));
    let found = client.find(&demand(), 1).await.unwrap();
    assert_eq!(found.best.iter().map(|found| found.offer.provider).collect::<Vec<_>>(), [key.node_id()]);
    task.abort();
}

#[tokio::test]
async fn a_pull_answered_with_a_forged_offer_bans() {
    let node = node(36);
    let mut events = node.events();
    let (mut hostile, key) = (Hostile::new(78), OperatorKey::from_seed(&[9; 32]));
    let OfferMessage::Offer(mut signed) = message(offer(&hostile, &key), &key) else { unreachable!() };
    signed.signature.0[5] ^= 1;
    let answer = PullResponse { offers: vec![signed] };
    let frame = frame(&answer);
    let mut incoming = hostile.swarm.behaviour().streams.new_control().accept(OFFERS_PULL_PROTOCOL).unwrap();
    let peer = hostile.market_peer();
    hostile.connect(&node).await;
    wait_for(&mut events, |event| matches!(event, NodeEvent::PeerConnected { .. }).then_some(())).await;
    tokio::spawn(async move {
        while let Some((_, mut stream)) = incoming.next().await {
            let _ = stream.write_all(&frame).await;
            let _ = stream.close().await;
        }
    });
    let task = tokio::spawn(hostile.run());
    // Asked already at the connection; once more does no harm.
    let _ = node.pull_offers(&peer, MODEL).await;
    wait_for(&mut events, |event| matches!(event, NodeEvent::PeerBanned { .. }).then_some(())).await;
    assert!(node.offers(None, 10).await.unwrap().is_empty());
    task.abort();
}
