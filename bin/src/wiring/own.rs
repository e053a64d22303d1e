//! A provider's own contract: its terms, the stake it must have before anything is sold, and what it needs while the node runs.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use cocoon_market::offer::ModelClass;
use cocoon_market::{Amount, NodeId};
use cocoon_settlement::chain::{Address, Chain};
use cocoon_settlement::contract::order::BATCH_MAX;
use cocoon_settlement::contract::{Command, NetworkTerms, ProviderTerms};
use cocoon_settlement::ledger::{Order, OrderId, Role};
use cocoon_settlement::settler::{ProviderCheckError, ProviderView, SettleError, batch_needs, verify_provider};

use super::desk::{Desk, DeskError};
use crate::config::{Config, Network, ProvideConfig, TermsError};
use crate::failure::{Exit, Failure, NextStep};
use crate::keystore::{Keys, KeystoreError};
use crate::output::ton_text;

/// How long the chain may take to show a new contract. Mainnet needs some ten seconds; this covers a congested hour's start.
const STAKE_LIMIT: Duration = Duration::from_secs(180);

/// Why nothing can be sold with the contract as it is.
#[derive(Debug, thiserror::Error)]
pub enum StakeError {
    /// Nothing is staked.
    #[error("this node has no contract on the chain, and so no collateral stands behind its work")]
    NotDeployed {
        /// What the configuration would stake.
        config: Stakes,
    },
    /// All of it was taken or is being released.
    #[error("no collateral stands behind this node's work: {} is being released", ton_text(*unbonding))]
    NoStake {
        /// What is being released.
        unbonding: Amount,
        /// What the configuration would stake.
        config: Stakes,
    },
    /// The account is not our contract.
    #[error("this node's contract is not as it should be")]
    Contract(#[source] ProviderCheckError),
    /// A model of another class than the contract is for.
    #[error("the model {model} is of class {}, and this node's contract is for {}", class.topic(), configured.topic())]
    Class {
        /// The model.
        model: String,
        /// Its class.
        class: ModelClass,
        /// The contract's.
        configured: ModelClass,
    },
    /// The network's terms are not known.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// The chain, the ledger or the order.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

/// What the configuration would stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stakes {
    /// To the collateral.
    pub amount: Amount,
    /// To the liveness bond.
    pub bond: Amount,
    /// To the operations balance.
    pub operations: Amount,
}

impl From<&ProvideConfig> for Stakes {
    fn from(config: &ProvideConfig) -> Self {
        Self { amount: config.stake, bond: config.bond, operations: config.operations }
    }
}

impl Stakes {
    const fn order(self, terms: ProviderTerms) -> Order {
        let Self { amount, bond, operations } = self;
        Order::Stake { terms, amount, bond, operations }
    }

    /// The command that stakes it.
    pub fn command(&self) -> String {
        format!("swarm stake {} --bond {} --operations {}", self.amount, self.bond, self.operations)
    }
}

impl NextStep for StakeError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::NotDeployed { config } | Self::NoStake { config, .. } => config.command().into(),
            Self::Contract(ProviderCheckError::OtherOperator) => "the keys of the home that operates this contract: --home DIR".into(),
            Self::Contract(_) => "swarm stake, which shows the contract; chain.terms in the configuration may be another network's".into(),
            Self::Class { class, .. } => format!(
                "serve it from a home of its own (--home DIR) with provide.class = \"{}\": a contract is for one class",
                class.topic()
            )
            .into(),
            Self::Terms(error) => error.next_step(),
            Self::Desk(DeskError::Poor { .. }) => "swarm wallet deposit, then again".into(),
            Self::Desk(error) if error.is_chain_trouble() => "check the chain (--chain); `swarm doctor` looks closer".into(),
            Self::Desk(_) => "check the disk of the home; `swarm doctor` looks closer".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Class { .. } => Exit::Usage,
            Self::Terms(error) => error.exit(),
            Self::NotDeployed { .. } | Self::NoStake { .. } | Self::Contract(_) | Self::Desk(_) => Exit::Failed,
        }
    }
}

/// The number of a class, as contracts store it.
pub const fn class_number(class: ModelClass) -> u8 {
    match class {
        ModelClass::TextTiny => 0,
        ModelClass::TextSmall => 1,
        ModelClass::TextLarge => 2,
    }
}

/// The terms of these keys' contract in a network.
///
/// # Errors
/// [`KeystoreError`] when there is no wallet.
pub fn provider_terms(keys: &Keys, class: ModelClass, network: NetworkTerms) -> Result<ProviderTerms, KeystoreError> {
    let operator: NodeId = keys.operator().node_id();
    Ok(ProviderTerms { owner: keys.wallet()?.account(), operator, class: class_number(class), network })
}

/// The contract of these terms as it is on chain.
///
/// # Errors
/// [`DeskError::Provider`] when it is not there, or is another; [`DeskError::Chain`].
pub fn look_at(chain: &dyn Chain, terms: &ProviderTerms) -> Result<ProviderView, DeskError> {
    let contract = terms.address()?;
    Ok(verify_provider(&chain.account(&Address::from(contract))?, contract, terms.operator, &terms.network)?)
}

/// The same as configured; none where the network's terms are not configured, which only those need who buy or sell.
///
/// # Errors
/// [`KeystoreError`], [`TermsError`].
pub fn configured_terms(keys: &Keys, config: &Config) -> Result<Option<ProviderTerms>, Failure> {
    match config.chain.network_terms() {
        Ok(network) => Ok(Some(provider_terms(keys, config.provide.class, network)?)),
        Err(TermsError::Absent { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes sure that collateral stands behind what is sold. On a devnet, whose money is worth nothing, a contract that is not there is
/// staked as configured.
///
/// # Errors
/// [`StakeError`].
pub async fn ensure_stake(desk: &Arc<Desk>, config: &ProvideConfig, network: Network) -> Result<ProviderView, StakeError> {
    let stakes = Stakes::from(config);
    let view = match (look(desk).await, network) {
        (Err(StakeError::Contract(ProviderCheckError::NotDeployed)), Network::Devnet) => {
            stake(desk, stakes).await?;
            look(desk).await?
        }
        (Err(StakeError::Contract(ProviderCheckError::NotDeployed)), Network::Testnet | Network::Mainnet) => {
            return Err(StakeError::NotDeployed { config: stakes });
        }
        (looked, _) => looked?,
    };
    let stake = view.data.stake;
    if stake.standing().is_zero() {
        return Err(StakeError::NoStake { unbonding: stake.unbonding, config: stakes });
    }
    Ok(view)
}

/// Our contract as it is on chain.
async fn look(desk: &Arc<Desk>) -> Result<ProviderView, StakeError> {
    match desk.blocking(|desk| desk.settler().own_contract()).await {
        Ok(view) => view.ok_or(StakeError::Terms(TermsError::Absent { network: "this network" })),
        Err(DeskError::Provider(error)) => Err(StakeError::Contract(error)),
        Err(error) => Err(error.into()),
    }
}

/// Deploys our contract, or waits for the order of an earlier run that does.
async fn stake(desk: &Arc<Desk>, stakes: Stakes) -> Result<(), DeskError> {
    let Some(terms) = desk.settler().provider().copied() else { return Ok(()) };
    let order = desk.blocking(move |desk| order_stake(desk, stakes.order(terms))).await?;
    tracing::info!(stake = %stakes.amount, bond = %stakes.bond, operations = %stakes.operations, "staking, as this devnet has no contract of this node");
    desk.await_order(order, STAKE_LIMIT).await
}

/// Orders a stake, unless one is ordered already.
fn order_stake(desk: &Desk, order: Order) -> Result<OrderId, DeskError> {
    let is_same =
        |open: &Order| matches!((open, &order), (Order::Stake { terms: one, .. }, Order::Stake { terms: other, .. }) if one == other);
    Ok(desk.settler().order_once(order.clone(), desk.now(), is_same)?)
}

/// Whether the operations balance could be kept up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Means {
    /// As far as is known.
    #[default]
    Enough,
    /// Neither it nor the wallet holds enough, and that was said.
    Short,
}

/// Looks at our contract and orders what it needs: an answer to a poke, money for batches, which is topped up by `top_up`, and collateral
/// behind what was agreed.
pub(super) async fn upkeep(desk: &Arc<Desk>, top_up: Amount, before: Means) -> Result<Means, DeskError> {
    desk.blocking(move |desk| upkeep_now(desk, top_up, before)).await
}

/// Frees the collateral of agreements that are over, which nobody does while no node runs, and waits until the contract is told.
pub async fn free_collateral(desk: &Arc<Desk>, limit: Duration) -> Result<(), DeskError> {
    let allocate = |desk: &Desk| -> Result<_, SettleError> {
        let Some(view) = desk.settler().own_contract()? else { return Ok(None) };
        desk.settler().allocate(&view, desk.now())
    };
    match desk.blocking(allocate).await? {
        Some(order) => desk.await_order(order, limit).await,
        None => Ok(()),
    }
}

fn upkeep_now(desk: &Desk, top_up: Amount, before: Means) -> Result<Means, DeskError> {
    let view = match desk.settler().own_contract().map_err(DeskError::from) {
        Ok(Some(view)) => view,
        // Those who only buy have none.
        Ok(None) | Err(DeskError::Provider(ProviderCheckError::NotDeployed)) => return Ok(before),
        Err(DeskError::Provider(error)) => {
            tracing::warn!(%error, "this node's contract is not as it should be; claims go from the wallet, one by one");
            return Ok(before);
        }
        Err(error) => return Err(error),
    };
    metrics::gauge!("swarm_stake_nanoton").set(view.data.stake.standing().nano() as f64);
    metrics::gauge!("swarm_allocated_nanoton").set(view.data.stake.allocated.nano() as f64);
    metrics::gauge!("swarm_operations_nanoton").set(view.operations().nano() as f64);
    if view.data.poke.is_some() {
        answer_poke(desk, &view)?;
    }
    let needed = batch_needs(claims_to_come(desk)?)?;
    if view.operations() < needed {
        return refill(desk, &view, top_up, before);
    }
    if desk.settler().allocate(&view, desk.now())?.is_some() {
        tracing::debug!(contract = %view.contract, "telling the contract how much of the collateral stands behind open agreements");
    }
    Ok(Means::Enough)
}

/// Says once for each poke that this node is there.
fn answer_poke(desk: &Desk, view: &ProviderView) -> Result<(), DeskError> {
    let alive = Order::Operator { contract: view.contract, command: Command::Alive };
    if desk.settler().open_order(|open| *open == alive)?.is_none() {
        tracing::info!(contract = %view.contract, "somebody asks whether this node is there; answering");
        desk.ledger().add_order(alive, desk.now())?;
    }
    Ok(())
}

/// The claims that the next batch may have.
fn claims_to_come(desk: &Desk) -> Result<usize, DeskError> {
    let earns = |book: &cocoon_settlement::ledger::ChannelBook| book.record().role == Role::Provider && book.head().end.is_none();
    Ok(desk.ledger().channels()?.iter().filter(|book| earns(book)).count().clamp(1, BATCH_MAX))
}

/// Tops the operations balance up from the wallet, or says once that it cannot.
fn refill(desk: &Desk, view: &ProviderView, top_up: Amount, before: Means) -> Result<Means, DeskError> {
    let order = Stakes { amount: Amount::ZERO, bond: Amount::ZERO, operations: top_up }.order(view.data.terms);
    let preview = desk.settler().preview(&order)?;
    if preview.needed > preview.balance {
        if before == Means::Enough {
            let operations = view.operations();
            tracing::warn!(%operations, wallet = %preview.balance, "the operations balance is low, and the wallet too; swarm wallet deposit");
        }
        return Ok(Means::Short);
    }
    let id = order_stake(desk, order)?;
    tracing::info!(order = id.0, operations = %top_up, "topping up the operations balance");
    Ok(Means::Enough)
}
