//! A running node, put together from keys, a ledger, a chain and addresses.

use std::borrow::Cow;
use std::io;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cocoon_market::offer::Confidentiality;
use cocoon_market::{Amount, ModelId, OperatorKey, SettlementTerms, WorkKind};
use cocoon_p2p::{
    Client, Clock, Identity, Listing, Node, NodeConfig, NodeError, Provider, ProviderConfig, ProviderError, ProviderEvent, Receiver,
    Shutdown, Spawner,
};
use cocoon_settlement::chain::Chain;
use cocoon_settlement::contract::ProviderTerms;
use cocoon_settlement::ledger::LedgerError;
use cocoon_settlement::settler::Progress;
use futures::StreamExt as _;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, DeskError};
use super::executor::{GivenUp, ModelExecutor};
use super::keeper::{Duty, Pace, claim_all};
use super::office::{Office, open_desk};
use super::own::StakeError;
use super::payee::ChannelPayee;
use super::payer::{Backing, ChannelPayer};
use super::serving::Served;
use crate::config::ProvideConfig;
use crate::failure::NextStep;
use crate::keystore::{Keys, KeystoreError};

/// How long running jobs may take to come to their end when a node is told to stop; then they are stopped with a last receipt.
const FINISH_LIMIT: Duration = Duration::from_secs(30);

/// How long the last claims may take; what is not claimed by then stays in the ledger for the next run.
const LAST_CLAIM_LIMIT: Duration = Duration::from_secs(30);

/// What a node is made of.
pub struct Parts {
    /// Its keys.
    pub keys: Keys,
    /// Where its ledger is.
    pub ledger: PathBuf,
    /// Its chain.
    pub chain: Arc<dyn Chain>,
    /// The terms of its own contract, if it may provide.
    pub provider: Option<ProviderTerms>,
    /// Its place in the network.
    pub network: NodeConfig,
    /// When it settles.
    pub pace: Pace,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("ledger", &self.ledger).field("network", &self.network).finish_non_exhaustive()
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the ledger open.
    #[error("the ledger {path} is in use by another process")]
    InUse {
        /// The ledger.
        path: PathBuf,
    },
    /// The ledger cannot be opened.
    #[error("the ledger {path} cannot be opened")]
    Ledger {
        /// The ledger.
        path: PathBuf,
        /// Why.
        #[source]
        source: LedgerError,
    },
    /// The wallet cannot be made of the keys.
    #[error(transparent)]
    Keys(#[from] KeystoreError),
    /// The peer-to-peer node.
    #[error("the peer-to-peer node did not start")]
    Node(#[from] NodeError),
    /// The provider service.
    #[error("the provider service did not start")]
    Provider(#[from] ProviderError),
    /// No thread for a model.
    #[error("no thread for a model")]
    Thread(#[source] io::Error),
    /// A model of another class than the contract's, or a contract without collateral.
    #[error(transparent)]
    Stake(#[from] StakeError),
}

impl NextStep for StartError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::InUse { .. } => "stop the other `swarm` of this home, ask through its gateway, or use another --home".into(),
            Self::Ledger { .. } => "check the disk and its permissions; `swarm doctor` looks closer".into(),
            Self::Keys(error) => error.next_step(),
            Self::Node(NodeError::Listen { .. }) => "choose other addresses with --listen".into(),
            Self::Node(_) => "check --listen and --bootstrap; `swarm doctor` looks closer".into(),
            Self::Provider(_) => "check the prices and limits in the configuration".into(),
            Self::Thread(_) => "serve fewer models, or raise the limit of threads".into(),
            Self::Stake(error) => error.next_step(),
        }
    }
}

/// A running node.
pub struct RunningNode {
    key: OperatorKey,
    node: Node,
    office: Office,
    cancel: CancellationToken,
    pace: Pace,
}

impl std::fmt::Debug for RunningNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningNode").field("key", &self.key).field("node", &self.node).finish_non_exhaustive()
    }
}

impl RunningNode {
    /// Starts a node. Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let Parts { keys, ledger, chain, provider, network, pace } = parts;
        let office = Office::start(open_desk(&keys, ledger, chain, provider, pace.confirmations).await?, pace, Duty::All);
        let spawner = Spawner::new(|task| drop(tokio::spawn(task)));
        let node = Node::new(network, Identity::from_seed(*keys.identity_seed()), Clock::system(), spawner)?;
        let cancel = CancellationToken::new();
        tokio::spawn(super::telemetry::watch(node.clone(), cancel.clone()));
        Ok(Self { key: keys.operator().clone(), node, office, cancel, pace })
    }

    /// The peer-to-peer node.
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// The ledger and the chain.
    pub const fn desk(&self) -> &Arc<Desk> {
        self.office.desk()
    }

    /// Its operator key.
    pub const fn key(&self) -> &OperatorKey {
        &self.key
    }

    /// What comes of its orders to the chain, from now on.
    pub fn settling(&self) -> broadcast::Receiver<Progress> {
        self.office.settling()
    }

    /// A client that pays from this node's channels, and its purse.
    pub fn client(&self, deposit: Amount, backing: Backing) -> (Client, Arc<ChannelPayer>) {
        let payer = Arc::new(ChannelPayer::new(Arc::clone(self.desk()), deposit, backing, self.pace.gap));
        (Client::new(self.node.clone(), self.key.clone(), payer.clone()), payer)
    }

    /// Starts to sell these models.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn provide(&self, config: &ProvideConfig, settlement: SettlementTerms, served: &[Served]) -> Result<Provider, StartError> {
        check_classes(config, served)?;
        let offered = offered(served);
        let capacity = |model: &Served| model.capacity(config, served.iter().filter(|copy| copy.id == model.id).count());
        let listings: Vec<Listing> = offered.iter().map(|model| listing(config, settlement, model, capacity(model))).collect();
        let models = served.iter().map(|model| (model.id, model.model.clone(), Arc::clone(&model.reload)));
        let (executor, given_up) = ModelExecutor::new(models, config.serving_limits()).map_err(StartError::Thread)?;
        let payee = Arc::new(ChannelPayee::new(Arc::clone(self.desk()), settlement));
        // Models share one machine, which carries no more jobs of all of them than of one.
        let jobs_max = listings.iter().map(|listing| listing.capacity).max().unwrap_or(1).into();
        let service = ProviderConfig { jobs_max, ..ProviderConfig::new(listings.clone()) };
        let provider = Provider::spawn(self.node.clone(), self.key.clone(), service, payee, Arc::new(executor)).await?;
        tokio::spawn(withdraw_given_up(provider.clone(), listings, given_up, self.cancel.clone()));
        tokio::spawn(super::telemetry::watch_provider(provider.events(), self.cancel.clone()));
        let models = offered.iter().map(|model| model.id).collect();
        tokio::spawn(file_offers(self.node.clone(), Arc::clone(self.desk()), provider.events(), models));
        Ok(provider)
    }

    /// Takes nothing new, lets running jobs end, withdraws the offers and claims what is worth a claim. `hurry` cuts all of
    /// that short.
    pub async fn shutdown(self, provider: Option<Provider>, hurry: CancellationToken) {
        let rest = async {
            if let Some(provider) = provider {
                end_provider(&provider).await;
                if let Err(error) = claim_all(self.desk(), LAST_CLAIM_LIMIT).await {
                    report_unclaimed(&error);
                }
            }
            self.node.shutdown().await;
        };
        tokio::select! {
            biased;
            () = hurry.cancelled() => tracing::warn!("stopped in a hurry; the ledger has everything"),
            () = rest => {}
        }
        self.cancel.cancel();
        self.office.close().await;
    }
}

/// Offers of one model looked through for our own; the book holds the newest of each provider.
const OFFERS_LOOKED_AT: usize = 4096;

/// Files our offers in the ledger, those that stand and those to come, so that a dossier can begin with its offer.
async fn file_offers(node: Node, desk: Arc<Desk>, mut events: Receiver<ProviderEvent>, standing: Vec<ModelId>) {
    for model in standing {
        file_offer(&node, &desk, model).await;
    }
    while let Some(event) = events.next().await {
        if let ProviderEvent::Published { model, .. } = event {
            file_offer(&node, &desk, model).await;
        }
    }
}

async fn file_offer(node: &Node, desk: &Arc<Desk>, model: ModelId) {
    // A node that has stopped has nothing to file any more.
    let offers = node.offers(Some(model), OFFERS_LOOKED_AT).await.unwrap_or_default();
    for offer in offers.into_iter().filter(|offer| offer.provider == desk.ledger().node_id()) {
        if let Err(error) = desk.blocking(move |desk| desk.ledger().record_offer(&offer)).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "an offer was not filed; dossiers will lack it");
        }
    }
}

/// Sells no more what no device serves any more.
async fn withdraw_given_up(provider: Provider, mut listings: Vec<Listing>, mut given_up: GivenUp, cancel: CancellationToken) {
    while let Some(Some(model)) = cancel.run_until_cancelled(given_up.next()).await {
        tracing::error!(model = %model.short(), "no device serves this model any more; its offer is withdrawn");
        listings.retain(|listing| listing.model.id != model);
        if let Err(error) = provider.sell(listings.clone()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the offer could not be withdrawn; orders are refused");
        }
    }
}

async fn end_provider(provider: &Provider) {
    if tokio::time::timeout(FINISH_LIMIT, provider.shutdown(Shutdown::Finish)).await.is_err() {
        tracing::warn!("jobs still run after {} s and are stopped", FINISH_LIMIT.as_secs());
        provider.shutdown(Shutdown::Stop).await;
    }
}

fn report_unclaimed(error: &DeskError) {
    tracing::warn!(error = error as &dyn std::error::Error, "not everything was claimed; the next run goes on");
}

/// A contract is for one class of models.
pub(super) fn check_classes(config: &ProvideConfig, served: &[Served]) -> Result<(), StakeError> {
    let class = |model: &Served| model.model_claim(&config.serving_limits()).class;
    match served.iter().find(|model| class(model) != config.class) {
        Some(model) => Err(StakeError::Class { model: model.name.clone(), class: class(model), configured: config.class }),
        None => Ok(()),
    }
}

/// What stands in offers: each model once, as its slowest copy, so that nobody is promised more than he may get.
fn offered(served: &[Served]) -> Vec<&Served> {
    let mut offered: Vec<&Served> = Vec::new();
    for model in served {
        match offered.iter_mut().find(|other| other.id == model.id) {
            Some(other) if model.tokens_per_s < other.tokens_per_s => *other = model,
            Some(_) => {}
            None => offered.push(model),
        }
    }
    offered
}

/// What one model is sold for.
fn listing(config: &ProvideConfig, settlement: SettlementTerms, served: &Served, capacity: NonZeroU16) -> Listing {
    Listing {
        model: served.model_claim(&config.serving_limits()),
        device: served.device_claim(),
        price: config.price_of(&served.name).into(),
        tier: config.tier,
        confidentiality: Confidentiality::Open,
        capacity: capacity.get(),
        slice_tokens: match served.model.work() {
            WorkKind::Generate => config.slice_tokens.get(),
            WorkKind::Embed => config.slice_tokens_read.get(),
        },
        float: config.float,
        settlement,
        // What bounds an agreement is the deposit that its requester makes, which is checked on chain.
        cap_max: Amount::MAX,
        policy: None,
    }
}
