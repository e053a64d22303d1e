//! A node for one command: from what the command line and the configuration say to a running node.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cocoon_market::offer::SettlementTerms;
use cocoon_market::{Amount, ContractAddress, ModelId};
use cocoon_p2p::node::{Relay, Upnp};
use cocoon_p2p::{KadMode, Mdns, NodeConfig, Provider};
use cocoon_runtime::catalogue::{FolderFile, folder_id};
use cocoon_runtime::tiny::{tiny_bert, tiny_llama};
use cocoon_settlement::settler::ProviderView;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::buying::Buyer;
use super::keeper::Pace;
use super::node::{Parts, RunningNode, StartError, check_classes};
use super::open_home::OpenHome;
use super::own::{configured_terms, ensure_stake};
use super::payer::Backing;
use super::serving::Served;
use crate::config::{Config, Kad, Network, ProvideConfig, TermsError};
use crate::context::Context;
use crate::control;
use crate::durable::{self, Existing};
use crate::failure::{Failure, NextStep};
use crate::models::reporter;

/// Name of the generated model: some hundred kilobytes that talk nonsense, for tests and trying things out.
pub const TINY: &str = "tiny";

/// Name of the generated model of vectors, which mean as little.
pub const TINY_BERT: &str = "tiny-bert";

/// The seed that [`TINY`] and [`TINY_BERT`] are generated from.
const TINY_SEED: u64 = 1;

/// Which part a node takes in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Listens, and keeps records for others.
    Resident,
    /// Dials out, asks, and leaves.
    Visitor,
}

/// What stands above the configuration's addresses.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Where to listen.
    pub listen: Vec<String>,
    /// Peers to join through.
    pub bootstrap: Vec<String>,
    /// Addresses to announce.
    pub external: Vec<String>,
    /// Leave the local network alone.
    pub no_mdns: bool,
}

/// The generated model cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}")]
pub struct TinyError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl NextStep for TinyError {
    fn next_step(&self) -> Cow<'static, str> {
        "check the disk, or choose another models.cache".into()
    }
}

/// A running node and the configuration it runs on.
#[derive(Debug)]
pub struct Session {
    /// What it was told.
    pub config: Config,
    /// It.
    pub node: RunningNode,
    /// Its wallet's account.
    pub wallet: ContractAddress,
    /// Answers questions of other processes about the ledger.
    questions: control::Server,
    _ticking: DropGuard,
}

impl Session {
    /// Opens the keys, the chain and the ledger of a home, and joins the network.
    ///
    /// # Errors
    /// Whatever of that fails.
    pub async fn open(context: &Context, part: Part, addresses: Addresses) -> Result<Self, Failure> {
        let OpenHome { config, keys, chain, ticking } = OpenHome::open(context).await?;
        let wallet = keys.wallet()?.account();
        let network = network(&config, part, addresses);
        let ledger = context.home().ledger_file();
        let (provider, pace) = (configured_terms(&keys, &config)?, pace(&config));
        let node = RunningNode::start(Parts { keys, ledger, chain, provider, network, pace }).await?;
        let questions = control::serve(context.home(), Arc::clone(node.desk().ledger()));
        Ok(Self { config, node, wallet, questions, _ticking: ticking })
    }

    /// Buys for this node.
    ///
    /// # Errors
    /// [`TermsError`] when it is not known what a provider's contract must be.
    pub fn buyer(&self) -> Result<Buyer, TermsError> {
        let requester = &self.config.requester;
        let backing = Backing { network: self.config.chain.network_terms()?, stake_min: requester.stake_min };
        let (client, payer) = self.node.client(requester.deposit, backing);
        Ok(Buyer::new(client, payer, Arc::clone(self.node.desk()), requester.clone()))
    }

    /// Starts to sell these models, once collateral stands behind that.
    ///
    /// # Errors
    /// [`StartError::Stake`], and whatever keeps the service from starting.
    pub async fn provide(&self, config: &ProvideConfig, served: &[Served]) -> Result<(Provider, ProviderView), StartError> {
        // Before money moves.
        check_classes(config, served)?;
        let stake = ensure_stake(self.node.desk(), config, self.config.chain.network).await?;
        let settlement = settlement_terms(&self.config, stake.contract);
        Ok((self.node.provide(config, settlement, served).await?, stake))
    }

    /// Ends everything.
    pub async fn close(self, provider: Option<Provider>, hurry: CancellationToken) {
        self.node.shutdown(provider, hurry).await;
        self.questions.stop().await;
    }
}

/// Looks at channels several times in the third of the challenge window for which a look counts, and at the own contract several times
/// while a poke can be answered.
pub fn pace(config: &Config) -> Pace {
    let usual = Pace::default();
    let provide = &config.provide;
    let window = Duration::from_secs(provide.challenge_window_s(config.chain.network).into());
    let answer = config.chain.network_terms().map_or(usual.watch, |terms| Duration::from_secs(terms.answer_s.into()));
    let watch = usual.watch.min(window / 12).min(answer / 3).max(usual.busy);
    let confirmations = config.chain.confirmations();
    Pace { watch, claims: provide.claims(), confirmations, operations: provide.operations, ..usual }
}

/// How a provider with this contract wants to be paid.
pub fn settlement_terms(config: &Config, contract: ContractAddress) -> SettlementTerms {
    SettlementTerms {
        network: config.chain.network.id(),
        contract,
        challenge_window_s: config.provide.challenge_window_s(config.chain.network),
        deposit_min: config.provide.deposit_min,
    }
}

fn network(config: &Config, part: Part, addresses: Addresses) -> NodeConfig {
    let or = |given: Vec<String>, configured: &Vec<String>| if given.is_empty() { configured.clone() } else { given };
    let node = &config.node;
    let mut network = NodeConfig {
        bootstrap: or(addresses.bootstrap, &node.bootstrap),
        mdns: if node.mdns && !addresses.no_mdns { Mdns::On } else { Mdns::Off },
        ..NodeConfig::default()
    };
    (network.limits.incoming, network.limits.outgoing) = (node.incoming_max.get(), node.outgoing_max.get());
    match part {
        Part::Resident => {
            network.listen = or(addresses.listen, &node.listen);
            network.external = or(addresses.external, &node.external);
            network.upnp = if node.upnp { Upnp::On } else { Upnp::Off };
            network.relay = if node.relay { Relay::On } else { Relay::Off };
            network.kad = match node.kad {
                // On a devnet everybody is on private addresses, which nobody confirms from outside.
                Kad::Auto if config.chain.network == Network::Devnet => KadMode::Server,
                Kad::Auto => KadMode::Auto,
                Kad::Server => KadMode::Server,
                Kad::Client => KadMode::Client,
            };
        }
        Part::Visitor => network.kad = KadMode::Client,
    }
    network
}

/// The id of a model that is named on the command line or in a request: the catalogue's, this node's own, or a generated one.
///
/// # Errors
/// [`crate::models::ModelError`].
pub fn find_model(context: &Context, config: &Config, name: &str) -> Result<(ModelId, String), Failure> {
    match name {
        TINY => return Ok((tiny_id(), TINY.to_owned())),
        TINY_BERT => return Ok((tiny_bert_id(), TINY_BERT.to_owned())),
        _ => {}
    }
    let model = context.models(config).find(name)?;
    Ok((model.id, model.name))
}

/// The file or folder of a model, fetched or generated if it is not here. Blocks.
///
/// # Errors
/// [`crate::models::ModelError`], [`TinyError`].
pub fn ensure_model(context: &Context, config: &Config, name: &str) -> Result<(ModelId, String, PathBuf), Failure> {
    let store = context.models(config);
    let generated = |name: &str, id, path: PathBuf, written: std::io::Result<()>| match written {
        Ok(()) => Ok((id, name.to_owned(), path)),
        Err(source) => Err(TinyError { path, source }.into()),
    };
    match name {
        TINY => {
            let path = store.file_path(tiny_id());
            let written = write_missing(&path, || tiny_llama(TINY_SEED));
            return generated(TINY, tiny_id(), path, written);
        }
        TINY_BERT => {
            let path = store.folder_path(tiny_bert_id());
            let written = tiny_bert(TINY_SEED).into_iter().try_for_each(|(file, bytes)| write_missing(&path.join(file), || bytes));
            return generated(TINY_BERT, tiny_bert_id(), path, written);
        }
        _ => {}
    }
    let model = store.find(name)?;
    let mut listener = reporter(context.out());
    let path = store.ensure(&model, &mut *listener)?;
    Ok((model.id, model.name, path))
}

fn write_missing(path: &std::path::Path, bytes: impl FnOnce() -> Vec<u8>) -> std::io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    durable::write(path, &bytes(), Existing::Replace)
}

fn tiny_id() -> ModelId {
    ModelId(*blake3::hash(&tiny_llama(TINY_SEED)).as_bytes())
}

fn tiny_bert_id() -> ModelId {
    let file = |(path, bytes): (&'static str, Vec<u8>)| FolderFile {
        path: path.into(),
        size_bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        blake3: *blake3::hash(&bytes).as_bytes(),
    };
    ModelId(*folder_id(&tiny_bert(TINY_SEED).into_iter().map(file).collect::<Vec<_>>()).as_bytes())
}

/// The most one job may cost: what was asked for, else what is configured.
pub fn job_cap(config: &Config, asked: Option<Amount>) -> Amount {
    asked.unwrap_or(config.requester.cap)
}
