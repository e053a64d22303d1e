//! `swarm econ`: the economy's numbers, and what they would come to.

mod clouds;
mod price;
mod reward;

use clap::ValueEnum as _;
use cocoon_market::{Amount, AmountError};
use cocoon_settlement::chain::{Address, Bounce, Chain};
use cocoon_settlement::contract::{RegistryData, RewardsData, VaultData};
use cocoon_settlement::economy::emission::Schedule;
use cocoon_settlement::economy::genesis;
use cocoon_settlement::settler::{NetworkContracts, NetworkError, Placed};
use serde::Serialize;

use super::blocking;
use super::telling::TellError;
use crate::chain;
use crate::cli::{EconArgs, EconCommand, ParameterName};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Table, cocoon_text, span_text, ton_text};
use crate::wiring::desk::DeskError;

/// Runs `swarm econ`. It needs the chain alone, so that it can be asked while a node runs.
///
/// # Errors
/// No chain, no such network, or a list of clouds that cannot be read.
pub async fn run(context: &Context, args: EconArgs) -> Result<(), Failure> {
    let context = context.clone();
    blocking(move || match args.command {
        None => show(&context),
        Some(EconCommand::Reward { price }) => reward::run(&context, price),
        Some(EconCommand::Price { price, utilisation, providers, epochs }) => price::run(&context, price, utilisation, &providers, epochs),
        Some(EconCommand::Clouds { usd_per_ton, price, tokens_per_s, write }) => {
            clouds::run(&context, usd_per_ton, price.zip(tokens_per_s), write)
        }
    })
    .await
}

/// What is read of a network for all of these.
struct Numbers {
    vault: Placed<VaultData>,
    rewards: RewardsData,
    registry: RegistryData,
    fee_bps: u16,
}

impl Numbers {
    fn read(chain: &dyn Chain, context: &Context) -> Result<Self, Failure> {
        let terms = context.config()?.chain.network_terms()?;
        let network = NetworkContracts::find(chain, &terms)?;
        let (rewards, registry) = (network.rewards(chain)?.data, network.registry(chain)?.data);
        Ok(Self { vault: network.vault().clone(), rewards, registry, fee_bps: terms.fee_bps })
    }
}

/// A sum beyond all money, as commands tell it.
fn beyond(error: AmountError) -> TellError {
    DeskError::from(error).into()
}

fn show(context: &Context) -> Result<(), Failure> {
    let chain = chain::open(&context.config()?.chain)?.chain;
    let numbers = Numbers::read(&*chain, context)?;
    context.out().result(&Economy::of(&numbers)?, Economy::text);
    Ok(())
}

/// The economy as the chain has it.
#[derive(Debug, Serialize)]
struct Economy {
    vault: Address,
    epoch: u32,
    /// When the vault's epoch can be closed.
    closes_s: u64,
    /// Fees that were booked in it, and all that ever came.
    fees_nanoton: Amount,
    fees_ever_nanoton: Amount,
    burned_nanococoon: Amount,
    median_nanococoon: Amount,
    /// Epochs of the reserve that are closed.
    emission_epoch: u32,
    halvings: u32,
    /// What an epoch may pay at most, without and with what earlier ones left.
    rate_nanococoon: Amount,
    budget_nanococoon: Amount,
    released_nanococoon: Amount,
    ceiling_nanococoon: Amount,
    /// What has to be released until the rate halves again.
    to_halving_nanococoon: Amount,
    owed_nanococoon: Amount,
    stopped_until_s: u32,
    parameters: Vec<ParameterRow>,
    seen_at_s: u64,
}

/// A parameter as it is.
#[derive(Debug, Serialize)]
struct ParameterRow {
    name: String,
    value: u64,
    min: u64,
    max: u64,
}

impl Economy {
    fn of(numbers: &Numbers) -> Result<Self, Failure> {
        let Numbers { vault, rewards, registry, .. } = numbers;
        let emission = rewards.schedule().map_err(NetworkError::from)?;
        let schedule = Schedule::new(genesis::RESERVE, rewards.half_life).unwrap_or(Schedule::NETWORK);
        let released = rewards.emission.released;
        let halvings = schedule.halvings(released);
        Ok(Self {
            vault: Address::from(vault.at),
            epoch: vault.data.epoch.number,
            closes_s: u64::from(vault.data.epoch.opened_s).saturating_add(vault.data.terms.epoch_s.into()),
            fees_nanoton: vault.data.epoch.fees,
            fees_ever_nanoton: vault.data.fees_cum,
            burned_nanococoon: rewards.burned,
            median_nanococoon: vault.data.auction.recorded.median().per_ton(),
            emission_epoch: rewards.emission.epoch,
            halvings,
            rate_nanococoon: emission.rate(),
            budget_nanococoon: emission.budget().map_err(beyond)?,
            released_nanococoon: released,
            ceiling_nanococoon: rewards.emission.ceiling,
            to_halving_nanococoon: to_halving(released, halvings).map_err(beyond)?,
            owed_nanococoon: rewards.owed,
            stopped_until_s: rewards.stopped_until_s,
            parameters: ParameterName::value_variants().iter().map(|name| ParameterRow::of(*name, registry)).collect(),
            seen_at_s: vault.seen_at_s,
        })
    }

    fn text(&self) -> String {
        let close = match self.closes_s.saturating_sub(self.seen_at_s) {
            0 => "swarm auction close ends it now".to_owned(),
            left_s => format!("it can be closed in {}", span_text(left_s)),
        };
        let mut lines = vec![
            format!("vault     {}", self.vault.friendly(Bounce::Yes)),
            format!(
                "epoch     {}: {} of fees, {} ever; {close}",
                self.epoch,
                ton_text(self.fees_nanoton),
                ton_text(self.fees_ever_nanoton)
            ),
            format!("burned    {} ever", cocoon_text(self.burned_nanococoon)),
            format!("median    {} for a TON in the last seven auctions", cocoon_text(self.median_nanococoon)),
            format!(
                "released  {} of the reserve, {} of it not taken yet",
                cocoon_text(self.released_nanococoon),
                cocoon_text(self.owed_nanococoon)
            ),
            format!(
                "emission  {} in an epoch after {} halvings; {} with what earlier epochs left; {} until it halves again",
                cocoon_text(self.rate_nanococoon),
                self.halvings,
                cocoon_text(self.budget_nanococoon),
                cocoon_text(self.to_halving_nanococoon)
            ),
            String::new(),
        ];
        let mut table = Table::new(["parameter", "value", "least", "most"]).right([1, 2, 3]);
        for row in &self.parameters {
            table.row([row.name.clone(), row.value.to_string(), row.min.to_string(), row.max.to_string()]);
        }
        lines.push(table.to_string());
        lines.join("\n")
    }
}

/// What has to be released until half of what was left at the last halving is gone.
fn to_halving(released: Amount, halvings: u32) -> Result<Amount, AmountError> {
    let keeps = genesis::RESERVE.nano().checked_shr(halvings.saturating_add(1)).unwrap_or(0);
    genesis::RESERVE.checked_sub(Amount::from_nano(keeps)).map(|at| at.saturating_sub(released))
}

impl ParameterRow {
    fn of(name: ParameterName, registry: &RegistryData) -> Self {
        let parameter = name.parameter();
        let bounds = parameter.bounds();
        Self { name: name.to_string(), value: registry.value(parameter), min: bounds.min, max: bounds.max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_halves_when_half_of_what_is_left_is_gone() {
        let whole = |cocoon: u128| Amount::from_nano(cocoon * 1_000_000_000);
        assert_eq!(to_halving(Amount::ZERO, 0), Ok(whole(160_000_000)));
        assert_eq!(to_halving(whole(160_000_000), 1), Ok(whole(80_000_000)));
        assert_eq!(to_halving(whole(200_000_000), 1), Ok(whole(40_000_000)));
    }
}
