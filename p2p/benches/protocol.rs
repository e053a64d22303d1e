//! What the protocol costs, over TCP on this machine's loopback, with an executor that only counts.
//!
//! Beside each figure stands the same thing without the protocol, from the same run: the executor's own queue, drained
//! directly.
//!
//! `cargo bench -p cocoon-p2p --bench protocol`

use std::sync::Arc;
use std::time::{Duration, Instant};

use cocoon_market::job::{Generate, JobRequest, Prompt, Sampling};
use cocoon_market::offer::{Confidentiality, Tier};
use cocoon_market::{Agreement, AgreementId, Amount, Demand, JobId, ModelId, NetworkId, OperatorKey, Usage, Work, WorkKind};
use cocoon_p2p::testing::{Answer, MockExecutor, MockPayee, MockPayer, listing};
use cocoon_p2p::{
    Client, Clock, DealWishes, ExecutionEvent, Executor, GenerateOrder, Identity, JobEvent, KadMode, Node, NodeConfig, NodeEvent, Provider,
    ProviderConfig, Spawner,
};
use futures::StreamExt as _;
use rustix::time::{ClockId, clock_gettime};

const MODEL: ModelId = ModelId([7; 32]);

/// A provider holds sixteen negotiations of one peer for two minutes, so a hundred samples a time need several requesters.
const REQUESTERS: u8 = 20;
const DEALS_EACH: usize = 15;

const FIRST_TOKENS: usize = 300;
const SIDE_BY_SIDE: usize = 16;

fn spawner() -> Spawner {
    Spawner::new(|task| drop(tokio::spawn(task)))
}

async fn node(seed: u8, bootstrap: Vec<String>) -> Node {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
    let config = NodeConfig { listen, bootstrap, kad: KadMode::Server, ..NodeConfig::default() };
    let node = Node::new(config, Identity::from_seed([seed; 32]), Clock::system(), spawner()).expect("loopback can be listened on");
    node.listen_addresses().await.expect("it runs");
    node
}

fn demand() -> Demand {
    Demand {
        model: MODEL,
        work: WorkKind::Generate,
        network: NetworkId::DEVNET,
        price_max: None,
        expected: Usage { input_tokens: 100, output_tokens: 200 },
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        context_tokens: 0,
        tokens_per_s: 0,
    }
}

fn prompt() -> Prompt {
    Prompt::Raw("what is the answer".into())
}

struct Side {
    client: Client,
    _provider: Provider,
    executor: Arc<MockExecutor>,
}

/// A provider with this answer, and a client connected to it.
async fn sides(seed: u8, answer: Answer) -> Side {
    let provider_node = node(seed, Vec::new()).await;
    let key = OperatorKey::from_seed(&[seed; 32]);
    let payee = Arc::new(MockPayee::new(key.clone(), Clock::system()));
    let executor = Arc::new(MockExecutor::new(spawner(), answer));
    let mut sells = listing(MODEL, 1000);
    sells.capacity = 64;
    let config = ProviderConfig::new(vec![sells]);
    let provider = Provider::spawn(provider_node.clone(), key, config, payee, executor.clone()).await.expect("it serves");
    Side { client: client(seed + 1, &provider_node).await, _provider: provider, executor }
}

async fn client(seed: u8, of: &Node) -> Client {
    let addresses = of.listen_addresses().await.expect("it runs");
    let node = node(seed, addresses).await;
    let mut events = node.events();
    while node.offers(Some(MODEL), 1).await.expect("it runs").is_empty() {
        let _: Option<NodeEvent> = events.next().await;
    }
    let key = OperatorKey::from_seed(&[seed; 32]);
    Client::new(node, key.clone(), Arc::new(MockPayer::new(key)))
}

async fn agree(client: &Client) -> Agreement {
    let found = client.find(&demand(), 1).await.expect("it runs");
    let offer = &found.best.first().expect("an offer is known").offer;
    client.negotiate(offer, DealWishes::new(Amount::from_nano(1_000_000_000_000))).await.expect("it is agreed")
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1000.0
}

async fn deals() {
    let provider_node = node(100, Vec::new()).await;
    let key = OperatorKey::from_seed(&[100; 32]);
    let payee = Arc::new(MockPayee::new(key.clone(), Clock::system()));
    let executor = Arc::new(MockExecutor::new(spawner(), Answer::of(1)));
    let config = ProviderConfig::new(vec![listing(MODEL, 1000)]);
    let _provider = Provider::spawn(provider_node.clone(), key, config, payee, executor).await.expect("it serves");
    let mut times = Vec::new();
    for requester in 0..REQUESTERS {
        let client = client(101 + requester, &provider_node).await;
        for _ in 0..DEALS_EACH {
            let start = Instant::now();
            agree(&client).await;
            times.push(start.elapsed());
        }
        client.node().shutdown().await;
    }
    times.sort_unstable();
    println!(
        "demand to agreement             p50 {:.2} ms   p99 {:.2} ms   ({} deals; design: 10 / 50 ms)",
        percentile(&times, 50),
        percentile(&times, 99),
        times.len()
    );
}

fn request(tokens: u32) -> JobRequest {
    let generate = Generate { prompt: prompt(), output_tokens_max: tokens, sampling: Sampling::GREEDY, stop: Vec::new(), seed: [0; 32] };
    JobRequest { agreement: AgreementId([0; 32]), job: JobId([0; 16]), work: Work::Generate(generate) }
}

/// The executor alone: time to the first tokens, and to the end.
async fn direct(executor: &MockExecutor, tokens: u32) -> (Duration, Duration) {
    let start = Instant::now();
    let mut execution = executor.start(MODEL, request(tokens)).await.expect("it starts");
    let mut first = None;
    while let Some(event) = execution.events.next().await {
        if matches!(event, ExecutionEvent::Tokens { .. }) {
            first.get_or_insert(start.elapsed());
        }
    }
    (first.expect("there were tokens"), start.elapsed())
}

/// The same through the protocol, receipts and vouchers included.
async fn through(client: &Client, agreement: &Agreement, tokens: u32) -> (Duration, Duration) {
    let start = Instant::now();
    let mut job = client.run(agreement, GenerateOrder::new(prompt(), tokens)).await.expect("it starts");
    let mut first = None;
    while let Some(event) = job.next().await {
        if let JobEvent::Chunk(_) = event.expect("it goes well") {
            first.get_or_insert(start.elapsed());
        }
    }
    (first.expect("there were tokens"), start.elapsed())
}

async fn first_tokens() {
    let side = sides(10, Answer::of(1)).await;
    let agreement = agree(&side.client).await;
    let (mut alone, mut along) = (Vec::new(), Vec::new());
    for _ in 0..FIRST_TOKENS {
        alone.push(direct(&side.executor, 1).await.0);
        along.push(through(&side.client, &agreement, 1).await.0);
    }
    alone.sort_unstable();
    along.sort_unstable();
    let added = |percent| percentile(&along, percent) - percentile(&alone, percent);
    println!(
        "time to first token             p50 {:.2} ms   p99 {:.2} ms   direct p50 {:.2} ms   added p50 {:.2}, p99 {:.2} ms (design: 10 ms)",
        percentile(&along, 50),
        percentile(&along, 99),
        percentile(&alone, 50),
        added(50),
        added(99)
    );
}

fn processor_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), u32::try_from(spent.tv_nsec).expect("below a second"))
}

/// Tokens a second at the pace of a model, and what each costs in processor time.
async fn paced(seed: u8, pace_us: u64, tokens: u32) {
    let side = sides(seed, Answer { pace: Duration::from_micros(pace_us), ..Answer::of(u32::MAX) }).await;
    let agreement = agree(&side.client).await;
    let before = processor_time();
    let alone = direct(&side.executor, tokens).await.1;
    let between = processor_time();
    let along = through(&side.client, &agreement, tokens).await.1;
    let after = processor_time();
    let rate = |time: Duration| f64::from(tokens) / time.as_secs_f64();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(tokens);
    let added = each(after - between) - each(between - before);
    println!(
        "tokens/s, one a chunk           {:>8.0} through   {:>8.0} direct   ratio {:.3} (design: 0.97)   processor +{added:.1} us a token, both sides",
        rate(along),
        rate(alone),
        rate(along) / rate(alone),
    );
}

async fn side_by_side() {
    let side = sides(30, Answer { pace: Duration::from_millis(4), ..Answer::of(u32::MAX) }).await;
    let agreement = agree(&side.client).await;
    let tokens = 500;
    let start = Instant::now();
    futures::future::join_all((0..SIDE_BY_SIDE).map(|_| direct(&side.executor, tokens))).await;
    let alone = start.elapsed();
    let start = Instant::now();
    futures::future::join_all((0..SIDE_BY_SIDE).map(|_| through(&side.client, &agreement, tokens))).await;
    let along = start.elapsed();
    let rate = |time: Duration| f64::from(tokens) * SIDE_BY_SIDE as f64 / time.as_secs_f64();
    println!(
        "tokens/s, {SIDE_BY_SIDE} jobs at once       {:>8.0} through   {:>8.0} direct   ratio {:.3}",
        rate(along),
        rate(alone),
        rate(along) / rate(alone)
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        deals().await;
        first_tokens().await;
        paced(40, 4_000, 1_000).await;
        paced(50, 1_000, 2_000).await;
        paced(60, 0, 20_000).await;
        side_by_side().await;
    });
}
