//! Two nodes on loopback with a chain in this process: payment as the two sides really do it.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cocoon_market::job::Prompt;
use cocoon_market::offer::ModelClass;
use cocoon_market::{Amount, ContractAddress, JobId, ModelId, SettlementTerms, Usage, WorkKind};
use cocoon_p2p::payment::PayErrorKind;
use cocoon_p2p::{GenerateOrder, JobError, JobEvent, KadMode, NodeConfig, Provider, Shutdown};
use cocoon_runtime::{Device, Embedder, Gguf, Model, tiny};
use cocoon_settlement::chain::embedded::{Blocks, Embedded, Options};
use cocoon_settlement::chain::{Address, Chain as _, Faucet as _};
use cocoon_settlement::contract::{ChannelStatus, NetworkTerms, ProviderMessage, VaultData};
use cocoon_settlement::dossier::Dossier;
use cocoon_settlement::ledger::{Order, ReceiptDraft};
use futures::StreamExt as _;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::buying::{BuyError, BuyStep, Buyer, Deal, Origin, Want};
use super::embedding::Bought;
use super::keeper::{Pace, claim_all};
use super::node::{Parts, RunningNode};
use super::own::{Means, StakeError, ensure_stake, free_collateral, provider_terms, upkeep};
use super::payer::Backing;
use super::serving::{Loaded, Reload, Served};
use crate::commands::blocking;
use crate::config::{ChainConfig, Network, Price, ProvideConfig, RequesterConfig, devnet_founder, devnet_founding};
use crate::deployment::ensure_devnet;
use crate::failure::{NextStep as _, chain_text};
use crate::keystore::Keys;

const MODEL: ModelId = ModelId([7; 32]);
const LIMIT: Duration = Duration::from_secs(60);

struct World {
    chain: Arc<Embedded>,
    provider: RunningNode,
    service: Provider,
    requester: RunningNode,
    buyer: Buyer,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(RequesterConfig::default()).await
    }

    /// One whose requester buys so.
    async fn with(requester_config: RequesterConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let chain = Arc::new(Embedded::in_memory(Options { blocks: Blocks::Instant, ..Options::default() }).unwrap());
        let vaulted = Arc::clone(&chain);
        blocking(move || ensure_devnet(&*vaulted, &*vaulted, &devnet_founder().unwrap(), &devnet_founding().unwrap(), LIMIT))
            .await
            .unwrap();
        let provider = node(&dir, "provider", &chain, None).await;
        let join = provider.node().listen_addresses().await.unwrap().pop();
        let config = provide_config();
        let stake = ensure_stake(provider.desk(), &config, Network::Devnet).await.unwrap();
        let service = provider.provide(&config, settlement(stake.contract, &config), &[served(), served_vectors()]).await.unwrap();
        let requester = node(&dir, "requester", &chain, join).await;
        let buyer = buyer(&requester, requester_config);
        Self { chain, provider, service, requester, buyer, _dir: dir }
    }

    async fn deal(&self) -> Deal {
        let want = Want { model: MODEL, work: WorkKind::Generate, provider: None, cap: self.buyer.config().cap, wait: LIMIT };
        self.buyer.deal(&want, |_| {}).await.unwrap()
    }

    async fn job(&self, deal: &Deal, tokens: u32) -> Result<(JobId, Amount), JobError> {
        let order = GenerateOrder::new(Prompt::Raw("once upon a time".into()), tokens);
        let mut job = match self.buyer.run(deal, order, self.buyer.config().cap).await {
            Ok(job) => job,
            Err(BuyError::Job(error)) => return Err(*error),
            Err(error) => panic!("{error}"),
        };
        while let Some(event) = job.next().await {
            if let JobEvent::Done { paid, .. } = event? {
                return Ok((job.job(), paid));
            }
        }
        panic!("a job ends with Done or an error")
    }

    async fn end(self) {
        self.requester.shutdown(None, CancellationToken::new()).await;
        self.provider.shutdown(Some(self.service), CancellationToken::new()).await;
    }
}

async fn node(dir: &tempfile::TempDir, name: &str, chain: &Arc<Embedded>, join: Option<String>) -> RunningNode {
    let keys = Keys::generate(Network::Devnet).unwrap();
    let wallet = keys.wallet().unwrap().account();
    chain.fund(&Address::from(wallet), Amount::from_nano(10_000_000_000)).unwrap();
    let network = NodeConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        bootstrap: join.into_iter().collect(),
        kad: KadMode::Server,
        ..NodeConfig::default()
    };
    let pace = Pace { busy: Duration::from_millis(20), gap: Duration::from_secs(2), ..Pace::default() };
    let ledger = dir.path().join(name);
    let provider = Some(provider_terms(&keys, ProvideConfig::default().class, terms()).unwrap());
    RunningNode::start(Parts { keys, ledger, chain: chain.clone(), provider, network, pace }).await.unwrap()
}

fn terms() -> NetworkTerms {
    ChainConfig::default().network_terms().unwrap()
}

fn buyer(requester: &RunningNode, config: RequesterConfig) -> Buyer {
    let backing = Backing { network: terms(), stake_min: config.stake_min };
    let (client, payer) = requester.client(config.deposit, backing);
    Buyer::new(client, payer, Arc::clone(requester.desk()), config)
}

/// Prices at which a short answer is worth the gas of its claim: 0.0004 TON a token written.
fn provide_config() -> ProvideConfig {
    let price = Price { output_per_mtok: Amount::from_nano(400_000_000_000), ..Price::default() };
    let (capacity, float) = (NonZeroU16::new(4), Amount::from_nano(50_000_000));
    ProvideConfig { price, capacity, float, ..ProvideConfig::default() }
}

fn settlement(contract: ContractAddress, config: &ProvideConfig) -> SettlementTerms {
    SettlementTerms {
        network: Network::Devnet.id(),
        contract,
        challenge_window_s: config.challenge_window_s(Network::Devnet),
        deposit_min: config.deposit_min,
    }
}

/// These models are made in memory, and nothing loses them.
fn reload() -> Arc<dyn Reload> {
    Arc::new(PathBuf::new())
}

fn served() -> Served {
    let model = Model::from_gguf(&Gguf::from_bytes(tiny::tiny_llama(1)).unwrap(), &Device::cpu()).unwrap();
    Served { id: MODEL, name: "tiny".to_owned(), model: Loaded::Text(Arc::new(model)), reload: reload(), tokens_per_s: 1000 }
}

fn bert() -> Embedder {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in tiny::tiny_bert(1) {
        std::fs::write(dir.path().join(path), bytes).unwrap();
    }
    Embedder::open(dir.path(), &Device::cpu()).unwrap()
}

const VECTORS: ModelId = ModelId([8; 32]);

fn served_vectors() -> Served {
    Served { id: VECTORS, name: "tiny-bert".to_owned(), model: Loaded::Vectors(Arc::new(bert())), reload: reload(), tokens_per_s: 1000 }
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_the_models_own_and_paid_receipted_and_proven_by_a_dossier() {
    let world = World::new().await;
    let cap = world.buyer.config().cap;
    let want = Want { model: VECTORS, work: WorkKind::Embed, provider: None, cap, wait: LIMIT };
    let deal = world.buyer.deal(&want, |_| {}).await.unwrap();
    // Slices of 4096 tokens: a receipt in the middle, and the last one.
    let texts: Vec<String> = (0..200).map(|n| format!("bee {n} dances {}", "in the hive ".repeat(n % 5))).collect();
    let mut bought = Bought::default();
    world.buyer.embed(&deal, texts.clone(), cap, &mut bought, &CancellationToken::new(), |_| {}).await.unwrap();

    let own = bert().embed(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let bits = |elements: &[f32]| elements.iter().map(|element| element.to_bits()).collect::<Vec<_>>();
    let given = bought.vectors.iter().map(|vector| bits(&vector.elements().collect::<Vec<_>>()));
    assert!(given.eq(own.iter().map(|embedding| bits(&embedding.vector))), "to the bit");
    let input_tokens = own.iter().map(|embedding| embedding.tokens as u64).sum();
    assert_eq!(bought.usage, Usage { input_tokens, output_tokens: 0 });
    assert_eq!(Ok(bought.paid), deal.agreement.terms().price.cost(bought.usage));

    world.service.shutdown(Shutdown::Finish).await;
    let book = world.provider.desk().ledger().channel(deal.agreement.terms().channel).unwrap();
    assert_eq!((book.paid(), book.unpaid()), (bought.paid, Amount::ZERO));
    assert!(book.sequence() >= 2 && bought.jobs.len() == 1, "{}", book.sequence());
    let report = Dossier::collect(world.provider.desk().ledger(), bought.jobs[0]).unwrap().verify();
    assert!(report.is_sound() && report.usage == Some(bought.usage), "{report:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_another_kind_than_the_model_serves_finds_nobody_and_is_refused_by_name() {
    let world = World::new().await;
    let cap = world.buyer.config().cap;
    let wait = Duration::ZERO;
    for (model, work) in [(VECTORS, WorkKind::Generate), (MODEL, WorkKind::Embed)] {
        let error = world.buyer.deal(&Want { model, work, provider: None, cap, wait }, |_| {}).await.unwrap_err();
        assert!(matches!(&error, BuyError::NoMatch { why } if why.contains("kind of work: 1")), "{error:?}");
    }
    let want = Want { model: VECTORS, work: WorkKind::Embed, provider: None, cap, wait: LIMIT };
    let deal = world.buyer.deal(&want, |_| {}).await.unwrap();
    let error = world.job(&deal, 5).await.unwrap_err();
    assert!(error.to_string().contains("this model serves embeddings"), "{error}");
    let mut bought = Bought::default();
    let long = vec!["short".to_owned(), "word ".repeat(100)];
    let error = world.buyer.embed(&deal, long, cap, &mut bought, &CancellationToken::new(), |_| {}).await.unwrap_err();
    assert!(chain_text(&error).contains("text 1 (counted from 0) has 402 tokens, and the model reads 256"), "{error}");
    let dear = world
        .buyer
        .embed(&deal, vec!["a".repeat(900_000)], Amount::from_nano(1), &mut bought, &CancellationToken::new(), |_| {})
        .await
        .unwrap_err();
    assert!(chain_text(&dear).contains("may cost up to"), "{dear}");
    assert_eq!(bought, Bought { jobs: bought.jobs.clone(), ..Bought::default() }, "nothing was paid");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_paid_and_claimed_and_the_next_one_uses_the_same_agreement() {
    let world = World::new().await;
    let first = world.deal().await;
    assert_eq!(first.origin, Origin::New);
    let (job, paid) = world.job(&first, 40).await.unwrap();
    let again = world.deal().await;
    assert_eq!((again.origin, again.agreement.id()), (Origin::Reused, first.agreement.id()));
    let (_, more) = world.job(&again, 8).await.unwrap();

    world.service.shutdown(Shutdown::Finish).await;
    let desk = world.provider.desk();
    claim_all(desk, LIMIT).await.unwrap();
    let channel = first.agreement.terms().channel;
    let view = desk.look(channel).await.unwrap().unwrap();
    assert_eq!(Ok(view.sight.drawn), paid.checked_add(more));
    let (_, fee) = cocoon_settlement::channel::shares(terms().fee_bps, view.sight.drawn).unwrap();
    let vault = world.chain.account(&Address::from(terms().vault)).unwrap();
    assert_eq!(VaultData::from_cell(&vault.data.unwrap()).unwrap().fees_cum, fee);
    assert!(!fee.is_zero());
    assert!(world.chain.supply().unwrap().is_balanced());
    let report = Dossier::collect(desk.ledger(), job).unwrap().verify();
    assert!(report.is_sound() && report.look_up.is_some(), "{report:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_side_by_side_are_paid_in_the_sequence_of_their_receipts() {
    let world = World::new().await;
    let deal = world.deal().await;
    let jobs = join_all((0..4).map(|_| world.job(&deal, 100))).await;
    let paid = Amount::sum(jobs.into_iter().map(|job| job.unwrap().1)).unwrap();
    // The last vouchers are on their way when the requester is done; a provider that has finished has them.
    world.service.shutdown(Shutdown::Finish).await;
    let channel = deal.agreement.terms().channel;
    for node in [&world.requester, &world.provider] {
        let book = node.desk().ledger().channel(channel).unwrap();
        assert_eq!((book.paid(), book.unpaid()), (paid, Amount::ZERO));
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_never_came_ends_the_channel_and_the_next_deal_opens_another() {
    let world = World::new().await;
    let deal = world.deal().await;
    world.job(&deal, 8).await.unwrap();
    lose_a_receipt(&world, &deal);
    let error = world.job(&deal, 8).await.unwrap_err();
    assert!(matches!(&error, JobError::Payment { cause, .. } if cause.kind == PayErrorKind::Gap), "{error:?}");
    let old = deal.agreement.terms().channel;
    let next = world.deal().await;
    assert_eq!(next.origin, Origin::New);
    assert_ne!(next.agreement.terms().channel, old);
    world.job(&next, 8).await.unwrap();
    let view = world.requester.desk().look(old).await.unwrap().unwrap();
    assert!(matches!(view.sight.status, ChannelStatus::Closing { .. }), "{:?}", view.sight.status);
    world.end().await;
}

/// A receipt as a provider journals it before the connection breaks.
fn lose_a_receipt(world: &World, deal: &Deal) {
    let nothing = cocoon_market::ids::Digest([0; 32]);
    let draft = ReceiptDraft {
        channel: deal.agreement.terms().channel,
        agreement: deal.agreement.id(),
        job: JobId([9; 16]),
        usage: cocoon_market::Usage { input_tokens: 1, output_tokens: 1 },
        amount: Amount::from_nano(1),
        input: nothing,
        output: nothing,
        seed: nothing,
        work: nothing,
        last: false,
        issued_at: world.provider.desk().now(),
    };
    world.provider.desk().ledger().issue_receipt(draft).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_wallet_is_told_what_it_lacks() {
    let world = World::new().await;
    let everything = world.chain.account(&Address::from(world.requester.desk().settler().account())).unwrap().balance;
    let away = Order::Transfer { to: ContractAddress([3; 32]), amount: everything.saturating_sub(Amount::from_nano(100_000_000)) };
    world.requester.desk().carry_out(away, LIMIT).await.unwrap();
    let want = Want { model: MODEL, work: WorkKind::Generate, provider: None, cap: world.buyer.config().cap, wait: LIMIT };
    let error = world.buyer.deal(&want, |_| {}).await.unwrap_err();
    assert!(error.next_step().contains("wallet deposit"), "{error:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_less_collateral_than_asked_for_is_left_out_and_gets_no_channel() {
    let stake_min = Amount::from_nano(1_000_000_001);
    let world = World::with(RequesterConfig { stake_min, ..RequesterConfig::default() }).await;
    let want = Want { model: MODEL, work: WorkKind::Generate, provider: None, cap: world.buyer.config().cap, wait: LIMIT };
    let mut passed = Vec::new();
    let error = world.buyer.deal(&want, |step| {
        if let BuyStep::Next { why, .. } = step {
            passed.push(why);
        }
    });
    let error = error.await.unwrap_err();
    assert!(matches!(error, BuyError::Negotiate { .. }) && error.next_step().contains("stake_min_ton"), "{error:?}");
    assert!(passed[0].contains("1 TON stands behind its work, and this node asks for 1.000000001 TON"), "{passed:?}");
    assert_eq!(world.requester.desk().ledger().channels().unwrap(), []);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poke_is_answered_and_a_low_operations_balance_is_topped_up() {
    let world = World::new().await;
    let (desk, pokes) = (world.provider.desk(), world.requester.desk());
    let contract = desk.settler().own_contract().unwrap().unwrap().contract;
    let operations = |amount| Order::Provider { contract, message: ProviderMessage::WithdrawOperations(amount) };
    let own = || desk.settler().own_contract().unwrap().unwrap();
    let left = Amount::from_nano(3_000_000);
    desk.carry_out(operations(own().operations().saturating_sub(left)), LIMIT).await.unwrap();
    pokes.carry_out(Order::Provider { contract, message: ProviderMessage::Poke }, LIMIT).await.unwrap();
    assert!(own().data.poke.is_some() && own().operations() <= left);

    let top_up = Amount::from_nano(200_000_000);
    assert_eq!(upkeep(desk, top_up, Means::Enough).await.unwrap(), Means::Enough);
    for (id, _) in desk.ledger().open_orders().unwrap() {
        desk.await_order(id, LIMIT).await.unwrap();
    }
    assert!(own().data.poke.is_none() && own().operations() >= top_up, "{:?}", own());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collateral_is_allocated_to_what_was_agreed() {
    let world = World::new().await;
    let deal = world.deal().await;
    let desk = world.provider.desk();
    assert_eq!(desk.ledger().open_agreements(desk.now(), 9).unwrap()[0].id, deal.agreement.id());
    assert_eq!(upkeep(desk, Amount::from_nano(200_000_000), Means::Enough).await.unwrap(), Means::Enough);
    for (id, _) in desk.ledger().open_orders().unwrap() {
        desk.await_order(id, LIMIT).await.unwrap();
    }
    // Four jobs at once at a float of 0.05: 1.5 times twice that, in eighths of the whole.
    let stake = desk.settler().own_contract().unwrap().unwrap().data.stake;
    assert_eq!((stake.allocated, stake.total), (Amount::from_nano(625_000_000), Amount::from_nano(1_000_000_000)));
    desk.ledger().end_channel(deal.agreement.terms().channel).unwrap();
    free_collateral(desk, LIMIT).await.unwrap();
    assert_eq!(desk.settler().own_contract().unwrap().unwrap().data.stake.allocated, Amount::ZERO);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_collateral_does_not_carry_is_not_agreed_to() {
    let world = World::new().await;
    let desk = world.provider.desk();
    let contract = desk.settler().own_contract().unwrap().unwrap().contract;
    let unbond = ProviderMessage::Unbond { amount: Amount::from_nano(400_000_001), bond: Amount::ZERO };
    desk.carry_out(Order::Provider { contract, message: unbond }, LIMIT).await.unwrap();
    let stake_min = Amount::ZERO;
    let buyer = buyer(&world.requester, RequesterConfig { stake_min, ..RequesterConfig::default() });
    let want = Want { model: MODEL, work: WorkKind::Generate, provider: None, cap: buyer.config().cap, wait: LIMIT };
    let error = buyer.deal(&want, |_| {}).await.unwrap_err();
    let text = chain_text(&error);
    assert!(text.contains("it takes 0.6, and 0.599999999 is free"), "{text}");
    assert_eq!(desk.ledger().open_agreements(desk.now(), 9).unwrap(), []);

    let stake = ProviderMessage::Stake { amount: Amount::from_nano(1), bond: Amount::ZERO };
    desk.carry_out(Order::Provider { contract, message: stake }, LIMIT).await.unwrap();
    buyer.deal(&want, |_| {}).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_money_is_real_nothing_is_sold_before_something_is_staked() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Arc::new(Embedded::in_memory(Options { blocks: Blocks::Instant, ..Options::default() }).unwrap());
    let node = node(&dir, "provider", &chain, None).await;
    let error = ensure_stake(node.desk(), &provide_config(), Network::Mainnet).await.unwrap_err();
    assert!(matches!(error, StakeError::NotDeployed { .. }), "{error:?}");
    assert_eq!(error.next_step(), "swarm stake 1 --bond 0.5 --operations 0.2");
    assert_eq!(node.desk().ledger().open_orders().unwrap(), []);
    node.shutdown(None, CancellationToken::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_another_class_than_the_contract_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Arc::new(Embedded::in_memory(Options { blocks: Blocks::Instant, ..Options::default() }).unwrap());
    let node = node(&dir, "provider", &chain, None).await;
    let config = ProvideConfig { class: ModelClass::TextSmall, ..provide_config() };
    let error = node.provide(&config, settlement(ContractAddress([1; 32]), &config), &[served()]).await.unwrap_err();
    assert!(error.next_step().contains("provide.class = \"text-tiny\""), "{error:?}");
    node.shutdown(None, CancellationToken::new()).await;
}
