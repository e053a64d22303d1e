//! `swarm token`: COCOON, who has it, and moving it.

use std::borrow::Cow;

use cocoon_market::{Amount, ContractAddress};
use cocoon_settlement::chain::{Address, Bounce, Chain};
use cocoon_settlement::contract::{ContractMessage, ProviderTerms, Purpose};
use cocoon_settlement::settler::{NetworkContracts, NetworkError};
use serde::Serialize;

use super::blocking;
use super::looking::{Look, own_account, own_terms};
use super::telling::{Ask, Course, Scene, TellError, account_of, own_contract, tell};
use crate::cli::{TokenArgs, TokenCommand};
use crate::context::Context;
use crate::failure::{Exit, Failure, NextStep};
use crate::output::{Table, cocoon_text, time_text};
use crate::wiring::desk::DeskError;

/// Why COCOON did not move.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("nothing is asked for: the amount is zero")]
    Nothing,
    #[error("{} is asked for, and the wallet has {}", cocoon_text(*asked), cocoon_text(*has))]
    TooLittle { asked: Amount, has: Amount },
    #[error("it would go from this wallet to itself")]
    ToSelf,
}

impl NextStep for TokenError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Nothing => "an amount such as 25 or 0.5".into(),
            Self::TooLittle { .. } => "less; swarm token shows what there is, and what of it is vesting or locked".into(),
            Self::ToSelf => "the address of somebody else".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Nothing | Self::ToSelf => Exit::Usage,
            Self::TooLittle { .. } => Exit::Failed,
        }
    }
}

/// Runs `swarm token`.
///
/// # Errors
/// No keys, no chain, no token, or COCOON that did not move.
pub async fn run(context: &Context, args: TokenArgs) -> Result<(), Failure> {
    match args.command {
        None => {
            let context = context.clone();
            blocking(move || show(&context)).await
        }
        Some(TokenCommand::Balance { address }) => {
            let context = context.clone();
            blocking(move || balance(&context, address)).await
        }
        Some(TokenCommand::Send { amount, to, sending }) => {
            let to = account_of(to)?;
            tell(context, sending, "sent", move |scene| ask_to_send(scene, amount, to), after, Balance::text).await
        }
        Some(TokenCommand::Burn { amount, sending }) => {
            tell(context, sending, "burned", move |scene| ask_to_burn(scene, amount), after, Balance::text).await
        }
    }
}

/// What a node has of COCOON, wherever it is.
#[derive(Clone, Debug, Serialize)]
struct Holdings {
    owner: Address,
    /// In the wallet.
    free_nanococoon: Amount,
    /// Earned by this node's contract; none where it is not deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    rewards: Option<Vesting>,
    /// In the owner's lock; none where nothing ever was.
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<Locked>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Vesting {
    /// Can be taken.
    takable_nanococoon: Amount,
    /// Becomes free later.
    vesting_nanococoon: Amount,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Locked {
    locked_nanococoon: Amount,
    /// In seconds since the Unix epoch.
    ends_s: u64,
}

impl Holdings {
    fn text(&self) -> String {
        let mut table = Table::new(["WHERE", "COCOON", "NOTE"]).right([1]);
        table.row(["wallet".into(), self.free_nanococoon.to_string(), self.owner.friendly(Bounce::No)]);
        if let Some(Vesting { takable_nanococoon, vesting_nanococoon }) = self.rewards {
            table.row(["earned".into(), takable_nanococoon.to_string(), "swarm rewards take sends it to the wallet".into()]);
            table.row(["vesting".into(), vesting_nanococoon.to_string(), "becomes free over at most 90 days".into()]);
        }
        if let Some(Locked { locked_nanococoon, ends_s }) = self.lock {
            table.row(["locked".into(), locked_nanococoon.to_string(), format!("until {}", time_text(ends_s))]);
        }
        table.to_string()
    }
}

/// Shows what this node has. It needs the chain alone, so that it can be asked while a node runs.
fn show(context: &Context) -> Result<(), Failure> {
    let config = context.config()?;
    let provider = own_terms(context, &config)?;
    let Look { chain, network } = Look::open(&config)?;
    let owner = provider.owner;
    let holdings = Holdings {
        owner: Address::from(owner),
        free_nanococoon: network.balance(&*chain, owner)?,
        rewards: earned(&*chain, &provider)?,
        lock: locked(&*chain, &network, owner)?,
    };
    context.out().result(&holdings, Holdings::text);
    Ok(())
}

fn earned(chain: &dyn Chain, provider: &ProviderTerms) -> Result<Option<Vesting>, TellError> {
    let view = match own_contract(chain, provider) {
        Err(TellError::NoProvider) => return Ok(None),
        other => other?,
    };
    let (vesting, now_s) = (view.data.rewards.vesting, view.now_s());
    let takable_nanococoon = vesting.free(now_s).map_err(DeskError::from)?;
    let vesting_nanococoon = vesting.locked(now_s).map_err(DeskError::from)?;
    Ok(Some(Vesting { takable_nanococoon, vesting_nanococoon }))
}

fn locked(chain: &dyn Chain, network: &NetworkContracts, owner: ContractAddress) -> Result<Option<Locked>, NetworkError> {
    let governor = match network.governor(chain) {
        Err(NetworkError::StandIn(_)) => return Ok(None),
        other => other?.at,
    };
    let lock = network.lock(chain, governor, owner)?;
    Ok(lock.map(|lock| Locked { locked_nanococoon: lock.data.amount, ends_s: lock.data.ends_s().into() }))
}

/// What somebody's wallet has.
#[derive(Clone, Debug, Serialize)]
struct Balance {
    owner: Address,
    /// Where its COCOON is.
    wallet: Address,
    nanococoon: Amount,
}

impl Balance {
    fn of(chain: &dyn Chain, network: &NetworkContracts, owner: ContractAddress) -> Result<Self, NetworkError> {
        let wallet = Address::from(network.wallet_of(owner)?);
        Ok(Self { owner: Address::from(owner), wallet, nanococoon: network.balance(chain, owner)? })
    }

    fn text(&self) -> String {
        format!("{}\n  at {}", cocoon_text(self.nanococoon), self.owner.friendly(Bounce::No))
    }
}

fn balance(context: &Context, address: Option<Address>) -> Result<(), Failure> {
    let config = context.config()?;
    let owner = match address {
        Some(address) => account_of(address)?,
        None => own_account(context, &config)?,
    };
    let Look { chain, network } = Look::open(&config)?;
    context.out().result(&Balance::of(&*chain, &network, owner)?, Balance::text);
    Ok(())
}

fn after(scene: &Scene, _course: &Course) -> Result<Balance, Failure> {
    Ok(Balance::of(scene.chain(), &scene.network()?, scene.owner())?)
}

/// The network, once it is sure that the wallet has so much.
pub(super) fn with_enough(scene: &Scene, amount: Amount) -> Result<NetworkContracts, Failure> {
    if amount.is_zero() {
        return Err(TokenError::Nothing.into());
    }
    let network = scene.network()?;
    let has = network.balance(scene.chain(), scene.owner())?;
    if amount > has {
        return Err(TokenError::TooLittle { asked: amount, has }.into());
    }
    Ok(network)
}

/// A message to the owner's jetton wallet, which `changes` so.
pub(super) fn ask_wallet(scene: &Scene, network: &NetworkContracts, message: ContractMessage, changes: String) -> Result<Ask, Failure> {
    Ok(Ask::message(scene, network, None, network.wallet_of(scene.owner())?, message, changes)?)
}

fn ask_to_send(scene: &Scene, amount: Amount, to: ContractAddress) -> Result<Ask, Failure> {
    if to == scene.owner() {
        return Err(TokenError::ToSelf.into());
    }
    let network = with_enough(scene, amount)?;
    let changes = format!("{} would go to {}", cocoon_text(amount), Address::from(to).friendly(Bounce::No));
    ask_wallet(scene, &network, ContractMessage::Move { amount, to, purpose: Purpose::Nothing }, changes)
}

fn ask_to_burn(scene: &Scene, amount: Amount) -> Result<Ask, Failure> {
    let network = with_enough(scene, amount)?;
    let changes = format!("{} would be gone for good", cocoon_text(amount));
    ask_wallet(scene, &network, ContractMessage::Burn(amount), changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holdings_say_where_they_are() {
        let whole = |cocoon: u128| Amount::from_nano(cocoon * cocoon_market::amount::NANO);
        let owner = Address::from(ContractAddress([1; 32]));
        let rewards = Vesting { takable_nanococoon: whole(3), vesting_nanococoon: whole(7) };
        let lock = Locked { locked_nanococoon: whole(50), ends_s: 1_795_651_200 };
        let holdings = Holdings { owner, free_nanococoon: whole(1_000), rewards: Some(rewards), lock: Some(lock) };
        let text = holdings.text();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
        assert_eq!(rows, [["WHERE", "COCOON"], ["wallet", "1000"], ["earned", "3"], ["vesting", "7"], ["locked", "50"]]);
        assert!(text.contains("swarm rewards take") && text.contains("until 2026-11-26"), "{text}");
        let bare = Holdings { rewards: None, lock: None, ..holdings };
        assert_eq!(bare.text().lines().count(), 2);
        assert_eq!(serde_json::to_value(&bare).unwrap()["free_nanococoon"], "1000000000000");
    }
}
