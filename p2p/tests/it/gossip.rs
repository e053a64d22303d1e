//! Offers and peers: how they are found, and what is not forwarded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cocoon_market::offer::OFFER_LIFETIME_MS_MAX;
use cocoon_market::{ModelId, Offer, OperatorKey, Timestamp, Verified};
use cocoon_p2p::node::Limits;
use cocoon_p2p::testing::{Answer, listing, memory_transport};
use cocoon_p2p::{Client, Clock, Found, Identity, Mdns, Node, NodeConfig, NodeError, NodeEvent, OfferPath, ProviderEvent, Shutdown};
use futures::StreamExt as _;

use super::world::{MODEL, PRICE, World, address, config, connect, demand, node, node_with, spawner, wait_for};

fn offer_of(node: &Node, key: &OperatorKey, sequence: u64) -> Offer {
    let listing = listing(MODEL, PRICE);
    let now = Clock::system().now();
    Offer {
        provider: key.node_id(),
        peer: node.peer_id(),
        addresses: Vec::new(),
        model: listing.model,
        device: listing.device,
        price: listing.price,
        tier: listing.tier,
        confidentiality: listing.confidentiality,
        capacity: listing.capacity,
        slice_tokens: listing.slice_tokens,
        float: listing.float,
        settlement: listing.settlement,
        sequence,
        issued_at: now,
        expires_at: now.plus_ms(OFFER_LIFETIME_MS_MAX),
    }
}

fn seen(how: OfferPath) -> impl FnMut(&NodeEvent) -> Option<()> {
    move |event| matches!(event, NodeEvent::OfferSeen { how: seen, .. } if *seen == how).then_some(())
}

#[tokio::test]
async fn an_offer_reaches_a_node_that_is_not_connected_to_its_provider() {
    let (far, between) = (node(21), node(22));
    connect(&far, &between).await;
    let mut events = far.events();
    let world = World::on(node(1), between, Answer::of(1)).await;
    let id = wait_for(&mut events, |event| if let NodeEvent::OfferSeen { id, .. } = event { Some(*id) } else { None }).await;
    let offers = far.offers(Some(MODEL), 10).await.unwrap();
    assert_eq!(offers.iter().map(|offer| cocoon_market::OfferId(offer.hash())).collect::<Vec<_>>(), vec![id]);
    world.provider.shutdown(Shutdown::Stop).await;
    wait_for(&mut events, |event| matches!(event, NodeEvent::OfferWithdrawn { .. }).then_some(())).await;
    assert!(far.offers(Some(MODEL), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_newcomer_pulls_what_was_published_before_it_came() {
    let world = World::new(Answer::of(1)).await;
    world.offer().await;
    let newcomer = node(23);
    let mut events = newcomer.events();
    // From the client's node, which only heard of the offer.
    connect(&newcomer, &world.client_node).await;
    wait_for(&mut events, seen(OfferPath::Pull)).await;
}

#[tokio::test]
async fn kademlia_names_the_providers_of_a_model() {
    let world = World::on(node(1), node(24), Answer::of(1)).await;
    let far = node_with(25, NodeConfig { bootstrap: vec![address(&world.client_node).await], ..config() });
    let mut events = far.events();
    wait_for(&mut events, |event| matches!(event, NodeEvent::PeerConnected { how: Found::Bootstrap, .. }).then_some(())).await;
    // The record travels by itself; asking again is how a client waits for it.
    let wanted = world.provider_node.peer_id();
    let found = tokio::time::timeout(Duration::from_secs(20), async {
        while !far.find_providers(MODEL).await.unwrap().contains(&wanted) {
            tokio::task::yield_now().await;
        }
    });
    found.await.expect("the provider record is never found");
}

#[tokio::test]
async fn a_client_asks_the_providers_that_kademlia_names() {
    // The one in the middle knows no offers and hands on none.
    let deaf = NodeConfig { limits: Limits { book_offers: 0, ..Limits::default() }, ..config() };
    let world = World::on(node(1), node_with(45, deaf), Answer::of(1)).await;
    let far = node_with(46, NodeConfig { bootstrap: vec![address(&world.client_node).await], ..config() });
    let mut events = far.events();
    wait_for(&mut events, |event| matches!(event, NodeEvent::PeerConnected { how: Found::Bootstrap, .. }).then_some(())).await;
    let client = Client::new(far, world.client_key.clone(), world.payer.clone());
    // The record travels by itself; asking again is how a client waits for it.
    let found = tokio::time::timeout(Duration::from_secs(20), async {
        while client.find(&demand(), 1).await.unwrap().best.is_empty() {
            tokio::task::yield_now().await;
        }
    });
    found.await.expect("the offer is never found");
}

#[tokio::test]
async fn a_demand_waits_a_moment_for_an_offer_that_is_on_its_way() {
    let world = World::new(Answer::of(1)).await;
    world.provider.sell(Vec::new()).await.unwrap();
    let wanted = demand();
    let (found, sold) = futures::join!(world.client.find(&wanted, 1), async {
        // Asked in vain first.
        let none = world.client_node.pull_offers(&world.provider_node.peer_id(), MODEL).await.unwrap();
        world.provider.sell(vec![listing(MODEL, PRICE)]).await.unwrap();
        none
    });
    assert_eq!((found.unwrap().best.len(), sold), (1, 0));
}

#[tokio::test]
async fn who_knows_nobody_yet_waits_a_moment_for_somebody() {
    let world = World::new(Answer::of(1)).await;
    world.offer().await;
    let newcomer = node(47);
    let client = Client::new(newcomer.clone(), world.client_key.clone(), world.payer.clone());
    let wanted = demand();
    let mut found = std::pin::pin!(client.find(&wanted, 1));
    // Each answer of its own node brings the search a step further, until nothing is left but to wait.
    for _ in 0..20 {
        assert!(futures::poll!(&mut found).is_pending(), "it gave up");
        newcomer.connected_peers().await.unwrap();
    }
    connect(&newcomer, &world.provider_node).await;
    assert_eq!(found.await.unwrap().best.len(), 1);
}

#[tokio::test]
async fn a_pull_counts_what_is_valid_and_takes_nothing_of_ones_own() {
    let world = World::new(Answer::of(1)).await;
    world.offer().await;
    let (provider, client) = (world.provider_node.peer_id(), world.client_node.peer_id());
    assert_eq!(world.client_node.pull_offers(&provider, MODEL).await.unwrap(), 1);
    assert_eq!(world.client_node.pull_offers(&provider, ModelId([8; 32])).await.unwrap(), 0);
    world.provider.sell(vec![listing(MODEL, PRICE), listing(ModelId([8; 32]), PRICE)]).await.unwrap();
    let mut events = world.provider_node.events();
    assert_eq!(world.provider_node.pull_offers(&client, MODEL).await.unwrap(), 1);
    while let Some(event) = events.try_next() {
        assert!(!matches!(event, NodeEvent::OfferSeen { how: OfferPath::Pull, .. }), "{event:?}");
    }
}

#[tokio::test]
async fn nothing_that_fits_comes_with_a_reason() {
    let world = World::new(Answer::of(1)).await;
    world.offer().await;
    let found = world.client.find(&cocoon_market::Demand { context_tokens: 1 << 20, ..demand() }, 3).await.unwrap();
    assert!(found.best.is_empty());
    let why = found.why.expect("a reason").to_string();
    assert!(why.contains("context"), "{why}");
}

#[tokio::test]
async fn a_node_does_not_buy_from_itself() {
    let world = World::new(Answer::of(1)).await;
    let own = Client::new(world.provider_node.clone(), world.client_key.clone(), world.payer.clone());
    assert!(own.find(&demand(), 1).await.unwrap().best.is_empty());
    assert_eq!(world.provider_node.offers(Some(MODEL), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_offer_is_announced_again_before_it_ends_even_if_the_machine_slept() {
    let slept_ms = Arc::new(AtomicU64::new(0));
    let clock = {
        let slept_ms = Arc::clone(&slept_ms);
        Clock::new(move || Clock::system().now().plus_ms(slept_ms.load(Ordering::Relaxed)))
    };
    let identity = Identity::from_seed([47; 32]);
    let seller = Node::with_transport(config(), identity.clone(), memory_transport(&identity), clock, spawner()).unwrap();
    let world = World::on(seller, node(48), Answer::of(1)).await;
    let mut events = world.provider.events();
    slept_ms.store(3_300_000, Ordering::Relaxed);
    // Whatever wakes the service lets it look at the clock.
    world.provider.pause(None).await;
    wait_for(&mut events, |event| matches!(event, ProviderEvent::Published { .. }).then_some(())).await;
}

#[tokio::test]
async fn an_offer_for_another_peer_is_not_published() {
    let (node, key) = (node(26), OperatorKey::from_seed(&[1; 32]));
    let other = Verified::sign(Offer { peer: super::world::node(27).peer_id(), ..offer_of(&node, &key, 1) }, &key).unwrap();
    assert!(node.publish_offer(other).await.is_err());
    let old = Offer { issued_at: Timestamp(0), expires_at: Timestamp(1), ..offer_of(&node, &key, 1) };
    assert!(node.publish_offer(Verified::sign(old, &key).unwrap()).await.is_err());
    assert!(node.publish_offer(Verified::sign(offer_of(&node, &key, 1), &key).unwrap()).await.is_ok());
}

#[tokio::test]
async fn a_second_provider_service_on_one_node_is_refused() {
    use cocoon_p2p::testing::MockExecutor;
    use cocoon_p2p::{Provider, ProviderConfig, ProviderError};
    let world = World::new(Answer::of(1)).await;
    let executor = std::sync::Arc::new(MockExecutor::new(super::world::spawner(), Answer::of(1)));
    let (node, key) = (world.provider_node.clone(), world.provider_key.clone());
    let again = Provider::spawn(node, key, ProviderConfig::new(Vec::new()), world.payee.clone(), executor).await;
    assert!(matches!(again, Err(ProviderError::Serve(_))));
}

#[tokio::test]
async fn a_stopped_node_says_so() {
    let node = node(28);
    let events = node.events();
    node.shutdown().await;
    node.shutdown().await;
    assert!(node.connected_peers().await.is_err());
    let left: Vec<NodeEvent> = events.collect().await;
    assert!(left.iter().all(|event| matches!(event, NodeEvent::Listening { .. })), "{left:?}");
}

#[tokio::test]
async fn a_configuration_that_names_no_address_or_peer_is_refused() {
    let identity = cocoon_p2p::Identity::from_seed([29; 32]);
    let start = |config: NodeConfig| {
        let transport = cocoon_p2p::testing::memory_transport(&identity);
        Node::with_transport(config, identity.clone(), transport, Clock::system(), super::world::spawner()).map(drop)
    };
    let listen = NodeConfig { listen: vec!["localhost:80".into()], ..NodeConfig::default() };
    assert!(matches!(start(listen), Err(NodeError::Address { .. })));
    let bootstrap = NodeConfig { bootstrap: vec!["/memory/1".into()], mdns: Mdns::Off, ..NodeConfig::default() };
    assert!(matches!(start(bootstrap), Err(NodeError::NoPeer { .. })));
}
