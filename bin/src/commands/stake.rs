//! `swarm stake`, `unstake` and `withdraw`: what stands behind a provider's work.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use cocoon_market::Amount;
use cocoon_settlement::chain::{Address, Bounce};
use cocoon_settlement::contract::{CellError, ProviderMessage, ProviderTerms};
use cocoon_settlement::ledger::{Order, OrderFailure};
use cocoon_settlement::settler::{ProviderCheckError, ProviderView, SettleError};
use serde::Serialize;

use super::blocking;
use super::dry_run::{DryRun, Prepared};
use crate::cli::{SendingArgs, StakeArgs, UnstakeArgs, WithdrawArgs};
use crate::context::Context;
use crate::failure::{Exit, Failure, NextStep};
use crate::output::{span_text, time_text, ton_text};
use crate::signals::StopSignals;
use crate::wiring::desk::{Desk, DeskError};
use crate::wiring::keeper::Duty;
use crate::wiring::office::Office;
use crate::wiring::open_home::OpenHome;
use crate::wiring::own::{free_collateral, look_at, provider_terms};
use crate::wiring::session::pace;

/// Why the collateral did not change.
#[derive(Debug, thiserror::Error)]
enum ChangeError {
    #[error("nothing is asked for: all amounts are zero")]
    Nothing,
    #[error("this node has no contract on the chain")]
    NotDeployed,
    #[error("the account is not this node's contract")]
    Contract(#[source] ProviderCheckError),
    #[error("{} is asked for, and {} of the collateral is free", ton_text(*asked), ton_text(*free))]
    Free { asked: Amount, free: Amount },
    #[error("{} is asked for, and the liveness bond is {}", ton_text(*asked), ton_text(*bond))]
    Bond { asked: Amount, bond: Amount },
    #[error("somebody asked whether this node is there, and it did not answer yet")]
    Poked,
    #[error("nothing is being released")]
    NothingUnbonding,
    #[error("what is being released can be withdrawn from {} on, in {}", time_text((*at_s).into()), span_text(*left_s))]
    StillUnbonding { at_s: u32, left_s: u64 },
    #[error("{} is asked for, and the operations balance is {}", ton_text(*asked), ton_text(*operations))]
    Operations { asked: Amount, operations: Amount },
    #[error("the wallet holds {}, and the message needs {}", ton_text(*balance), ton_text(*needed))]
    Poor { needed: Amount, balance: Amount },
    #[error(transparent)]
    Desk(DeskError),
    #[error("interrupted before the chain showed it")]
    Interrupted,
}

impl From<DeskError> for ChangeError {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Poor { needed, balance, .. } => Self::Poor { needed, balance },
            DeskError::Provider(ProviderCheckError::NotDeployed) => Self::NotDeployed,
            DeskError::Provider(error) => Self::Contract(error),
            error => Self::Desk(error),
        }
    }
}

impl From<SettleError> for ChangeError {
    fn from(error: SettleError) -> Self {
        DeskError::from(error).into()
    }
}

impl NextStep for ChangeError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Nothing => "swarm stake 1 --bond 0.5 --operations 0.2".into(),
            Self::NotDeployed => "swarm stake 1 --bond 0.5 --operations 0.2, which deploys it".into(),
            Self::Contract(_) => "check chain.terms in the configuration: they may be another network's".into(),
            Self::Free { .. } => "less, or when agreements are over, half a day after the last; swarm stake shows what there is".into(),
            Self::Bond { .. } | Self::Operations { .. } => "less; swarm stake shows what there is".into(),
            Self::Poked => "swarm up, which answers; then again".into(),
            Self::NothingUnbonding => "swarm unstake first; swarm withdraw --operations for the operations balance".into(),
            Self::StillUnbonding { .. } => "again after that".into(),
            Self::Poor { .. } | Self::Desk(DeskError::Order(OrderFailure::WalletTooPoor)) => "swarm wallet deposit, then again".into(),
            Self::Desk(DeskError::Slow(_)) | Self::Interrupted => {
                "swarm stake, which shows whether it took effect; a node of this home goes on with it".into()
            }
            Self::Desk(DeskError::Order(_)) => "swarm stake, which looks at the contract again".into(),
            Self::Desk(error) if error.is_chain_trouble() => "check the chain (--chain); swarm doctor looks closer".into(),
            Self::Desk(_) => "check the disk of the home; swarm doctor looks closer".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Nothing => Exit::Usage,
            Self::NotDeployed
            | Self::Contract(_)
            | Self::Free { .. }
            | Self::Bond { .. }
            | Self::Poked
            | Self::NothingUnbonding
            | Self::StillUnbonding { .. }
            | Self::Operations { .. }
            | Self::Poor { .. }
            | Self::Desk(_)
            | Self::Interrupted => Exit::Failed,
        }
    }
}

/// What is to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// More collateral, bond and operations money.
    Stake { amount: Amount, bond: Amount, operations: Amount },
    /// Collateral and bond begin to be released.
    Unbond { amount: Amount, bond: Amount },
    /// What was released comes back.
    Withdraw,
    /// A part of the operations balance comes back.
    WithdrawOperations(Amount),
}

/// Runs `swarm stake`.
///
/// # Errors
/// What the change lacks, and whatever opening the home fails with.
pub async fn stake(context: &Context, args: &StakeArgs) -> Result<(), Failure> {
    if (args.amount, args.bond, args.operations) == (None, None, None) {
        return show(context).await;
    }
    let or_zero = Option::unwrap_or_default;
    let change = Change::Stake { amount: or_zero(args.amount), bond: or_zero(args.bond), operations: or_zero(args.operations) };
    run(context, change, args.sending).await
}

/// Runs `swarm unstake`.
///
/// # Errors
/// As for [`stake`].
pub async fn unstake(context: &Context, args: &UnstakeArgs) -> Result<(), Failure> {
    let change = Change::Unbond { amount: args.amount, bond: args.bond.unwrap_or_default() };
    run(context, change, args.sending).await
}

/// Runs `swarm withdraw`.
///
/// # Errors
/// As for [`stake`].
pub async fn withdraw(context: &Context, args: &WithdrawArgs) -> Result<(), Failure> {
    let change = args.operations.map_or(Change::Withdraw, Change::WithdrawOperations);
    run(context, change, args.sending).await
}

/// A provider's contract as it is shown.
#[derive(Clone, Debug, Serialize)]
struct State {
    contract: Address,
    /// Behind its work: all but what is being released.
    stake_nanoton: Amount,
    /// What of that backs open agreements.
    allocated_nanoton: Amount,
    unbonding_nanoton: Amount,
    /// From when that can be withdrawn, in seconds since the Unix epoch; 0 before anything was released.
    unbond_at_s: u32,
    bond_nanoton: Amount,
    operations_nanoton: Amount,
    poked: bool,
    /// All draws, and the network's fees of them.
    claims: u64,
    fees_nanoton: Amount,
    fee_bps: u16,
}

impl State {
    fn of(view: &ProviderView) -> Self {
        let (data, stake) = (&view.data, view.data.stake);
        Self {
            contract: Address::from(view.contract),
            stake_nanoton: stake.standing(),
            allocated_nanoton: stake.allocated,
            unbonding_nanoton: stake.unbonding,
            unbond_at_s: stake.unbond_at_s,
            bond_nanoton: stake.bond,
            operations_nanoton: view.operations(),
            poked: data.poke.is_some(),
            claims: data.claims,
            fees_nanoton: data.fees_cum,
            fee_bps: data.terms.network.fee_bps,
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![
            format!("contract    {}", self.contract.friendly(Bounce::Yes)),
            format!("stake       {}, {} of it behind open agreements", ton_text(self.stake_nanoton), ton_text(self.allocated_nanoton)),
            format!("bond        {}", ton_text(self.bond_nanoton)),
            format!("operations  {}, which claims are paid from", ton_text(self.operations_nanoton)),
            format!("claims      {}, of which {} went to the network", self.claims, ton_text(self.fees_nanoton)),
        ];
        if !self.unbonding_nanoton.is_zero() {
            let from = time_text(self.unbond_at_s.into());
            lines.push(format!("released    {}; swarm withdraw sends it from {from} on", ton_text(self.unbonding_nanoton)));
        }
        if self.poked {
            lines.push("somebody asks whether this node is there: swarm up answers".to_owned());
        }
        lines.join("\n")
    }
}

/// Shows the contract. It needs the chain alone, so that it can be asked while a node runs.
async fn show(context: &Context) -> Result<(), Failure> {
    let OpenHome { config, keys, chain, .. } = OpenHome::open(context).await?;
    let terms = provider_terms(&keys, config.provide.class, config.chain.network_terms()?)?;
    let view = blocking(move || look_at(&*chain, &terms).map_err(ChangeError::from)).await?;
    context.out().result(&State::of(&view), State::text);
    Ok(())
}

async fn run(context: &Context, change: Change, sending: SendingArgs) -> Result<(), Failure> {
    let home = OpenHome::open(context).await?;
    let terms = provider_terms(&home.keys, home.config.provide.class, home.config.chain.network_terms()?)?;
    let desk = home.desk(context, Some(terms)).await?;
    let looked = Arc::clone(&desk);
    let (order, prepared) = blocking(move || prepare(&looked, &terms, change)).await?;
    if sending.dry_run {
        context.out().event("dry_run", &prepared, Prepared::text);
        return Ok(());
    }
    let mut signals = StopSignals::listen();
    let office = Office::start(desk, pace(&home.config), Duty::Orders);
    context.out().note("waiting for the chain; Ctrl-C leaves the rest to the next run");
    let carried_out = tokio::select! {
        biased;
        () = signals.requested() => Err(ChangeError::Interrupted),
        done = carry_out(office.desk(), change, order, Duration::from_secs(sending.wait)) => done.map_err(ChangeError::from),
    };
    let state = match carried_out {
        Ok(()) => {
            let desk = Arc::clone(office.desk());
            blocking(move || look_at(desk.chain(), &terms).map_err(ChangeError::from)).await
        }
        Err(error) => Err(error),
    };
    office.close_unless(&mut signals).await;
    context.out().event(change.name(), &State::of(&state?), State::text);
    Ok(())
}

/// Gives the order; one that releases collateral only after the contract knows how much of it still backs agreements.
async fn carry_out(desk: &Arc<Desk>, change: Change, order: Order, limit: Duration) -> Result<(), DeskError> {
    if matches!(change, Change::Unbond { .. }) {
        free_collateral(desk, limit).await?;
    }
    desk.carry_out(order, limit).await
}

impl Change {
    const fn name(self) -> &'static str {
        match self {
            Self::Stake { .. } => "staked",
            Self::Unbond { .. } => "unstaked",
            Self::Withdraw | Self::WithdrawOperations(_) => "withdrawn",
        }
    }

    /// Whether the contract would do it.
    fn check(self, view: Option<&ProviderView>) -> Result<(), ChangeError> {
        let amounts = match self {
            Self::Stake { amount, bond, operations } => vec![amount, bond, operations],
            Self::Unbond { amount, bond } => vec![amount, bond],
            Self::WithdrawOperations(amount) => vec![amount],
            Self::Withdraw => Vec::new(),
        };
        if self != Self::Withdraw && amounts.iter().all(|amount| amount.is_zero()) {
            return Err(ChangeError::Nothing);
        }
        let Some(view) = view else {
            return if matches!(self, Self::Stake { .. }) { Ok(()) } else { Err(ChangeError::NotDeployed) };
        };
        let stake = view.data.stake;
        match self {
            Self::Stake { .. } => Ok(()),
            Self::Unbond { amount, .. } if amount > stake.free() => Err(ChangeError::Free { asked: amount, free: stake.free() }),
            Self::Unbond { bond, .. } if bond > stake.bond => Err(ChangeError::Bond { asked: bond, bond: stake.bond }),
            Self::Unbond { .. } if view.data.poke.is_some() => Err(ChangeError::Poked),
            Self::Unbond { .. } => Ok(()),
            Self::Withdraw if stake.unbonding.is_zero() => Err(ChangeError::NothingUnbonding),
            Self::Withdraw => match u64::from(stake.unbond_at_s).checked_sub(view.seen_at_s) {
                Some(left_s) if left_s > 0 => Err(ChangeError::StillUnbonding { at_s: stake.unbond_at_s, left_s }),
                Some(_) | None => Ok(()),
            },
            Self::WithdrawOperations(asked) if asked > view.operations() => {
                Err(ChangeError::Operations { asked, operations: view.operations() })
            }
            Self::WithdrawOperations(_) => Ok(()),
        }
    }

    fn order(self, terms: ProviderTerms) -> Result<Order, CellError> {
        let contract = terms.address()?;
        let message = match self {
            Self::Stake { amount, bond, operations } => return Ok(Order::Stake { terms, amount, bond, operations }),
            Self::Unbond { amount, bond } => ProviderMessage::Unbond { amount, bond },
            Self::Withdraw => ProviderMessage::Withdraw,
            Self::WithdrawOperations(amount) => ProviderMessage::WithdrawOperations(amount),
        };
        Ok(Order::Provider { contract, message })
    }

    /// What would be different afterwards.
    fn text(self, view: Option<&ProviderView>, unbond_s: u32) -> String {
        match self {
            Self::Stake { amount, bond, operations } => format!(
                "{}{} would join the collateral, {} the liveness bond, and {} the operations balance",
                if view.is_none() { "this node's contract would be deployed; " } else { "" },
                ton_text(amount),
                ton_text(bond),
                ton_text(operations)
            ),
            Self::Unbond { amount, bond } => format!(
                "{} of the collateral and {} of the bond would no longer count, and could be withdrawn {} later",
                ton_text(amount),
                ton_text(bond),
                span_text(unbond_s.into())
            ),
            Self::Withdraw => {
                let released = view.map_or(Amount::ZERO, |view| view.data.stake.unbonding);
                format!("{} would come to the wallet", ton_text(released))
            }
            Self::WithdrawOperations(amount) => format!("{} of the operations balance would come to the wallet", ton_text(amount)),
        }
    }
}

/// Looks at the contract, and checks that the chain would take the message.
fn prepare(desk: &Desk, terms: &ProviderTerms, change: Change) -> Result<(Order, Prepared), ChangeError> {
    let mut view = match look_at(desk.chain(), terms) {
        Ok(view) => Some(view),
        Err(DeskError::Provider(ProviderCheckError::NotDeployed)) => None,
        Err(error) => return Err(error.into()),
    };
    // As the contract will be told before any of it is released.
    if let (Change::Unbond { .. }, Some(view)) = (change, &mut view)
        && let Some(allocated) = desk.settler().allocation(view, desk.now())?
    {
        view.data.stake.allocated = allocated;
    }
    change.check(view.as_ref())?;
    let order = change.order(*terms).map_err(DeskError::from)?;
    let preview = desk.settler().preview(&order)?;
    if preview.needed > preview.balance {
        return Err(ChangeError::Poor { needed: preview.needed, balance: preview.balance });
    }
    let (wallet, contract) = (Address::from(desk.settler().account()), Address::from(order.destination().map_err(DeskError::from)?));
    let prepared = Prepared {
        contract,
        changes: change.text(view.as_ref(), terms.network.unbond_s),
        message: DryRun::of(desk.chain(), preview, wallet, contract).map_err(DeskError::from)?,
        rest: match change {
            Change::Stake { .. } => "and the rest stays there for storage and operations",
            Change::Unbond { .. } | Change::Withdraw | Change::WithdrawOperations(_) => "and the rest comes back",
        },
    };
    Ok((order, prepared))
}
