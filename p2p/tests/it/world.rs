//! Nodes, a provider and a client, ready to be told what goes wrong.

use std::sync::Arc;
use std::time::Duration;

use cocoon_market::agreement::{Agreement, AgreementTerms, Terms};
use cocoon_market::job::Prompt;
use cocoon_market::offer::{Confidentiality, Tier};
use cocoon_market::{Amount, Demand, ModelId, NetworkId, Offer, OfferId, OperatorKey, PeerId, ProposalId, Usage, Verified, WorkKind};
use cocoon_p2p::testing::{Answer, MockExecutor, MockPayee, MockPayer, channel_between, listing, memory_transport, vectors_listing};
use cocoon_p2p::{
    Client, Clock, DealWishes, EmbedOrder, GenerateOrder, Identity, JobEnd, JobError, JobEvent, JobHandle, KadMode, Node, NodeConfig,
    Provider, ProviderConfig, ProviderEvent, Receiver, Spawner,
};
use futures::{Stream, StreamExt as _};

/// The model of all tests.
pub(crate) const MODEL: ModelId = ModelId([7; 32]);

/// Price of one input token; an output token costs twice as much.
pub(crate) const PRICE: u64 = 1000;

/// No step of a test takes nearly so long; a test that hangs fails here and says where.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn spawner() -> Spawner {
    Spawner::new(|task| drop(tokio::spawn(task)))
}

pub(crate) fn config() -> NodeConfig {
    NodeConfig { listen: vec!["/memory/0".into()], kad: KadMode::Server, ..NodeConfig::default() }
}

/// A node that listens in memory.
pub(crate) fn node_with(seed: u8, config: NodeConfig) -> Node {
    let identity = Identity::from_seed([seed; 32]);
    let transport = memory_transport(&identity);
    Node::with_transport(config, identity, transport, Clock::system(), spawner()).unwrap()
}

pub(crate) fn node(seed: u8) -> Node {
    node_with(seed, config())
}

pub(crate) async fn address(node: &Node) -> String {
    node.listen_addresses().await.unwrap().remove(0)
}

/// The first event that `pick` takes.
pub(crate) async fn wait_for<T, R>(events: &mut Receiver<T>, mut pick: impl FnMut(&T) -> Option<R>) -> R
where
    T: Clone + std::fmt::Debug,
    Receiver<T>: Stream<Item = T>,
{
    let mut seen = Vec::new();
    let found = tokio::time::timeout(PATIENCE, async {
        while let Some(event) = events.next().await {
            if let Some(found) = pick(&event) {
                return Some(found);
            }
            seen.push(event);
        }
        None
    });
    match found.await {
        Ok(Some(found)) => found,
        Ok(None) => panic!("the events ended after {seen:#?}"),
        Err(_) => panic!("waited in vain after {seen:#?}"),
    }
}

pub(crate) async fn connect(from: &Node, to: &Node) {
    let mut events = from.events();
    from.dial(&address(to).await).await.unwrap();
    let wanted = to.peer_id();
    wait_for(&mut events, |event| matches!(event, cocoon_p2p::NodeEvent::PeerConnected { peer, .. } if *peer == wanted).then_some(()))
        .await;
}

pub(crate) fn demand() -> Demand {
    Demand {
        model: MODEL,
        work: WorkKind::Generate,
        network: NetworkId::DEVNET,
        price_max: None,
        expected: Usage { input_tokens: 10, output_tokens: 100 },
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        context_tokens: 0,
        tokens_per_s: 0,
    }
}

/// One provider and one client, connected.
pub(crate) struct World {
    pub(crate) provider_node: Node,
    pub(crate) client_node: Node,
    pub(crate) provider: Provider,
    pub(crate) provider_key: OperatorKey,
    pub(crate) client_key: OperatorKey,
    pub(crate) payee: Arc<MockPayee>,
    pub(crate) payer: Arc<MockPayer>,
    pub(crate) client: Client,
    provider_events: tokio::sync::Mutex<Receiver<ProviderEvent>>,
}

impl World {
    pub(crate) async fn new(answer: Answer) -> Self {
        Self::on(node(1), node(2), answer).await
    }

    /// The same, with a model of vectors.
    pub(crate) async fn of_vectors(answer: Answer) -> Self {
        let world = Self::new(answer).await;
        world.provider.sell(vec![vectors_listing(MODEL, PRICE)]).await.unwrap();
        world
    }

    pub(crate) async fn on(provider_node: Node, client_node: Node, answer: Answer) -> Self {
        let (provider_key, client_key) = (OperatorKey::from_seed(&[11; 32]), OperatorKey::from_seed(&[12; 32]));
        let payee = Arc::new(MockPayee::new(provider_key.clone(), Clock::system()));
        let payer = Arc::new(MockPayer::new(client_key.clone()));
        let executor = Arc::new(MockExecutor::new(spawner(), answer));
        let sells = ProviderConfig::new(vec![listing(MODEL, PRICE)]);
        let provider = Provider::spawn(provider_node.clone(), provider_key.clone(), sells, payee.clone(), executor).await.unwrap();
        let client = Client::new(client_node.clone(), client_key.clone(), payer.clone());
        let provider_events = tokio::sync::Mutex::new(provider.events());
        connect(&client_node, &provider_node).await;
        Self { provider_node, client_node, provider, provider_key, client_key, payee, payer, client, provider_events }
    }

    pub(crate) async fn offer(&self) -> Verified<Offer> {
        self.offer_for(&demand()).await
    }

    async fn offer_for(&self, demand: &Demand) -> Verified<Offer> {
        let found = tokio::time::timeout(PATIENCE, self.client.find(demand, 1)).await.unwrap().unwrap();
        found.best.first().unwrap_or_else(|| panic!("nothing found: {found:?}")).offer.as_ref().clone()
    }

    pub(crate) async fn agree(&self) -> Agreement {
        self.agree_about(&self.offer().await).await
    }

    pub(crate) async fn agree_on_vectors(&self) -> Agreement {
        let offer = self.offer_for(&Demand { work: WorkKind::Embed, ..demand() }).await;
        self.agree_about(&offer).await
    }

    async fn agree_about(&self, offer: &Verified<Offer>) -> Agreement {
        let wishes = DealWishes::new(Amount::from_nano(1_000_000_000));
        self.client.negotiate(offer, wishes).await.unwrap()
    }

    pub(crate) async fn embed(&self, agreement: &Agreement, texts: &[String]) -> JobHandle {
        self.client.run(agreement, EmbedOrder::new(texts.to_vec())).await.unwrap()
    }

    /// How the provider's next job ended. A requester is done a voucher before its provider is.
    pub(crate) async fn ended(&self) -> JobEnd {
        let mut events = self.provider_events.lock().await;
        wait_for(&mut events, |event| if let ProviderEvent::JobEnded { end, .. } = event { Some(end.clone()) } else { None }).await
    }

    pub(crate) async fn run(&self, agreement: &Agreement, tokens: u32) -> JobHandle {
        self.client.run(agreement, order(tokens)).await.unwrap()
    }
}

pub(crate) fn order(tokens: u32) -> GenerateOrder {
    GenerateOrder::new(Prompt::Raw("what is the answer".into()), tokens)
}

/// All that a job gave.
pub(crate) async fn drain(handle: &mut JobHandle) -> (Vec<JobEvent>, Option<JobError>) {
    let mut events = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, handle.next()).await.expect("the job hangs") {
            Some(Ok(event)) => events.push(event),
            Some(Err(error)) => return (events, Some(error)),
            None => return (events, None),
        }
    }
}

pub(crate) fn text_of(events: &[JobEvent]) -> String {
    events.iter().filter_map(|event| if let JobEvent::Chunk(chunk) = event { Some(chunk.text.as_str()) } else { None }).collect()
}

/// An agreement that was made some other way, between this requester and the world's provider.
pub(crate) fn agreement_with(world: &World, requester: &OperatorKey, peer: PeerId, slice_tokens: u32) -> Agreement {
    let (now, sold, provider) = (Clock::system().now(), listing(MODEL, PRICE), &world.provider_key);
    let terms = AgreementTerms {
        proposal: ProposalId([0; 32]),
        offer: OfferId([0; 32]),
        requester: requester.node_id(),
        requester_peer: peer,
        provider: provider.node_id(),
        provider_peer: world.provider_node.peer_id(),
        terms: Terms {
            model: MODEL,
            price: sold.price,
            cap: Amount::from_nano(1_000_000_000),
            tier: sold.tier,
            confidentiality: sold.confidentiality,
            slice_tokens,
            float: sold.float,
            jobs_max: 1,
            first_chunk_ms: 10_000,
            chunk_ms: 10_000,
            channel: channel_between(&requester.node_id(), &provider.node_id()),
            expires_at: now.plus_ms(3_600_000),
        },
        accepted_at: now,
    };
    Agreement::commit(Verified::sign(terms, provider).unwrap(), requester).unwrap()
}
