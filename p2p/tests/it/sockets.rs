//! The same over real sockets of this machine: TCP with Noise and Yamux, and QUIC.

use cocoon_p2p::testing::Answer;
use cocoon_p2p::{Clock, Found, Identity, KadMode, Node, NodeConfig, NodeEvent};

use super::world::{World, drain, spawner, wait_for};

fn node(seed: u8, listen: &str) -> Node {
    let config = NodeConfig { listen: vec![listen.into()], kad: KadMode::Server, ..NodeConfig::default() };
    Node::new(config, Identity::from_seed([seed; 32]), Clock::system(), spawner()).unwrap()
}

async fn works_over(seeds: (u8, u8), listen: &str) {
    let world = World::on(node(seeds.0, listen), node(seeds.1, listen), Answer::of(40)).await;
    let agreement = world.agree().await;
    let (_, error) = drain(&mut world.run(&agreement, 40).await).await;
    assert!(error.is_none(), "{error:?}");
    world.ended().await;
    let (owed, paid) = world.payee.balance(&agreement.terms().channel);
    assert!(owed == paid && !paid.is_zero());
}

#[tokio::test]
async fn a_job_runs_over_tcp() {
    works_over((51, 52), "/ip4/127.0.0.1/tcp/0").await;
}

#[tokio::test]
async fn a_job_runs_over_quic() {
    works_over((53, 54), "/ip4/127.0.0.1/udp/0/quic-v1").await;
}

#[tokio::test]
async fn a_bootstrap_peer_is_dialled_at_the_start() {
    let hub = node(55, "/ip4/127.0.0.1/tcp/0");
    let bootstrap = hub.listen_addresses().await.unwrap();
    let config = NodeConfig { bootstrap, ..NodeConfig::default() };
    let newcomer = Node::new(config, Identity::from_seed([56; 32]), Clock::system(), spawner()).unwrap();
    let mut events = newcomer.events();
    let how = wait_for(&mut events, |event| if let NodeEvent::PeerConnected { how, .. } = event { Some(*how) } else { None }).await;
    assert_eq!(how, Found::Bootstrap);
}
