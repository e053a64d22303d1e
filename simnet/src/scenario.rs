//! A whole small world: a bootstrap peer, a provider, a requester, and one paid job.

use std::sync::Arc;
use std::time::Duration;

use cocoon_market::job::Prompt;
use cocoon_market::offer::{Confidentiality, Tier};
use cocoon_market::{Amount, ChannelRef, ContractAddress, Demand, ModelId, NetworkId, OperatorKey, Usage, WorkKind};
use cocoon_p2p::libp2p::PeerId;
use cocoon_p2p::testing::{Answer, MockExecutor, MockPayee, MockPayer, listing};
use cocoon_p2p::{
    Client, Clock, DealWishes, GenerateOrder, Identity, JobEvent, KadMode, Node, NodeConfig, Provider, ProviderConfig, Spawner, Transport,
};
use futures::StreamExt as _;
use futures_timer::Delay;

use crate::chain::{self, Chain, ChainError};
use crate::entropy;
use crate::executor::Executor;
use crate::network::Network;
use crate::purse::Purse;
use crate::trace::Trace;

/// Virtual time the whole story may take; a story that hangs ends here.
const STORY_MAX: Duration = Duration::from_secs(300);

/// The model that is sold: any 32 bytes, since nobody loads it.
const MODEL: ModelId = ModelId([7; 32]);

/// What the requester begins with: 10 TON.
const WALLET: Amount = Amount::from_nano(10_000_000_000);

/// What it puts into a channel: 1 TON.
const DEPOSIT: Amount = Amount::from_nano(1_000_000_000);

const REQUESTER_WALLET: ContractAddress = ContractAddress([3; 32]);

/// Why a story did not end well.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    /// It did not end.
    #[error("the story did not end within {STORY_MAX:?} of virtual time")]
    Endless,
    /// Nothing was offered.
    #[error("the requester found no offer")]
    NoOffer,
    /// What the requester paid is not what the provider can claim.
    #[error("the provider holds no voucher for what was paid")]
    NoVoucher,
    /// Money was made or lost.
    #[error("{before} nano-units before, {after} after")]
    Sum {
        /// All money at the beginning.
        before: u128,
        /// All money at the end.
        after: u128,
    },
    /// A node failed.
    #[error("a node failed: {0}")]
    Node(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The chain refused.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The thread of the simulation panicked.
    #[error("the simulation panicked")]
    Panicked,
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoryError {
    StoryError::Node(error.into())
}

/// What all nodes of a story share.
#[derive(Clone)]
struct World {
    executor: Executor,
    network: Network,
    chain: Chain,
    trace: Trace,
}

/// One node with its name in the trace.
struct Resident {
    name: &'static str,
    node: Node,
    address: String,
}

/// Three production nodes find each other, gossip an offer, negotiate, run a job and pay for it on the chain's machine.
/// Runs on a thread of its own, so that nothing another simulation left behind can be seen.
///
/// # Errors
/// [`StoryError`].
pub fn first_paid_job(seed: u64) -> Result<Trace, StoryError> {
    let story = std::thread::spawn(move || {
        entropy::seed(seed);
        simclock::reset();
        let executor = Executor::default();
        let world = World { executor: executor.clone(), network: Network::new(seed), chain: Chain::default(), trace: Trace::default() };
        let trace = world.trace.clone();
        executor.block_on(STORY_MAX, world.tell()).ok_or(StoryError::Endless)?.map(|()| trace)
    });
    story.join().map_err(|_| StoryError::Panicked)?
}

impl World {
    async fn tell(self) -> Result<(), StoryError> {
        self.chain.mint(REQUESTER_WALLET, WALLET);
        let before = self.chain.total()?;
        let bootstrap = self.resident("bootstrap", 1, KadMode::Server, &[])?;
        let home = [bootstrap.address.clone()];
        let seller = self.resident("provider", 2, KadMode::Server, &home)?;
        let buyer = self.resident("requester", 3, KadMode::Client, &home)?;

        let key = OperatorKey::from_seed(&[2; 32]);
        let payee = Arc::new(MockPayee::new(key.clone(), clock()));
        let provider = self.sell(&seller, key, payee.clone()).await?;
        // Long enough for the requester to join the mesh of the topic and hear of the offer.
        Delay::new(Duration::from_secs(20)).await;

        let (channel, paid) = self.buy(&buyer).await?;
        // The last voucher is still on its way when the requester is done; a provider that finishes has it.
        provider.shutdown(cocoon_p2p::Shutdown::Finish).await;
        let voucher =
            payee.vouchers(&channel).last().copied().filter(|voucher| voucher.voucher.cumulative == paid).ok_or(StoryError::NoVoucher)?;
        self.chain.claim(voucher).await?;
        self.trace.note("chain", format_args!("claimed {} of {channel}", voucher.voucher.cumulative));
        for resident in [&bootstrap, &seller, &buyer] {
            resident.node.shutdown().await;
        }
        let after = self.chain.total()?;
        if before != after {
            return Err(StoryError::Sum { before: before.nano(), after: after.nano() });
        }
        Ok(())
    }

    fn resident(&self, name: &'static str, number: u8, kad: KadMode, home: &[String]) -> Result<Resident, StoryError> {
        let identity = Identity::from_seed([number; 32]);
        let peer = PeerId::from_bytes(&identity.peer_id().0).map_err(failed)?;
        let address = format!("/memory/{number}");
        let config = NodeConfig { listen: vec![address.clone()], bootstrap: home.to_vec(), kad, ..NodeConfig::default() };
        let transport = Transport::new(self.network.transport(u64::from(number), peer));
        let executor = self.executor.clone();
        let spawner = Spawner::new(move |task| executor.spawn(task));
        let node = Node::with_transport(config, identity, transport, clock(), spawner).map_err(failed)?;
        self.write_down(name, &node);
        Ok(Resident { name, node, address: format!("{address}/p2p/{peer}") })
    }

    /// Copies a node's events into the trace.
    fn write_down(&self, name: &'static str, node: &Node) {
        let (mut events, trace) = (node.events(), self.trace.clone());
        self.executor.spawn(async move {
            while let Some(event) = events.next().await {
                trace.note(name, format_args!("{event:?}"));
            }
        });
    }

    async fn sell(&self, seller: &Resident, key: OperatorKey, payee: Arc<MockPayee>) -> Result<Provider, StoryError> {
        let executor = MockExecutor::new(seller.node.spawner().clone(), Answer { pace: Duration::from_millis(20), ..Answer::of(100) });
        let config = ProviderConfig::new(vec![listing(MODEL, 40)]);
        let provider = Provider::spawn(seller.node.clone(), key, config, payee, Arc::new(executor)).await.map_err(failed)?;
        let (mut events, trace, name) = (provider.events(), self.trace.clone(), seller.name);
        self.executor.spawn(async move {
            while let Some(event) = events.next().await {
                trace.note(name, format_args!("{event:?}"));
            }
        });
        Ok(provider)
    }

    async fn buy(&self, buyer: &Resident) -> Result<(ChannelRef, Amount), StoryError> {
        let key = OperatorKey::from_seed(&[3; 32]);
        let accounts = MockPayer::new(key.clone());
        let purse = Purse::new(key.node_id(), REQUESTER_WALLET, DEPOSIT, self.chain.clone(), accounts);
        let client = Client::new(buyer.node.clone(), key, Arc::new(purse));
        let matches = client.find(&demand(), 1).await.map_err(failed)?;
        let offer = matches.best.first().ok_or(StoryError::NoOffer)?.offer.clone();
        let wishes = DealWishes::new(Amount::from_nano(100_000));
        let (trace, name) = (self.trace.clone(), buyer.name);
        let agreement =
            client.negotiate_observed(&offer, wishes, |step| trace.note(name, format_args!("{step:?}"))).await.map_err(failed)?;
        let order = GenerateOrder::new(Prompt::Raw("one two three".into()), 64);
        let mut job = client.run(&agreement, order).await.map_err(failed)?;
        let mut total = Amount::ZERO;
        while let Some(event) = job.next().await {
            match event.map_err(failed)? {
                JobEvent::Chunk(chunk) => self.trace.note(name, format_args!("chunk {} {}", chunk.index, chunk.text)),
                JobEvent::Vectors(_) => {}
                JobEvent::Receipted { voucher, .. } => self.trace.note(name, format_args!("paid {}", voucher.voucher.cumulative.nano())),
                JobEvent::Done { reason, usage, paid } => {
                    self.trace.note(name, format_args!("done {reason:?} {usage:?} {}", paid.nano()));
                    total = paid;
                }
            }
        }
        Ok((agreement.terms().channel, total))
    }
}

fn clock() -> Clock {
    Clock::new(chain::now)
}

fn demand() -> Demand {
    Demand {
        model: MODEL,
        work: WorkKind::Generate,
        network: NetworkId::DEVNET,
        price_max: None,
        expected: Usage { input_tokens: 100, output_tokens: 100 },
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        context_tokens: 1,
        tokens_per_s: 0,
    }
}
