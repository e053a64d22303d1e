//! `swarm econ`: the economy's numbers, and what they would come to.

mod clouds;
mod price;
mod reward;

use clap::ValueEnum as _;
use cocoon_market::{Amount, AmountError};
use cocoon_settlement::chain::{Address, Bounce};
use cocoon_settlement::contract::{RegistryData, RewardsData, VaultData};
use cocoon_settlement::settler::{NetworkError, Placed};
use serde::Serialize;

use super::blocking;
use super::looking::Look;
use super::telling::TellError;
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

/// A sum beyond all money, as commands tell it.
fn beyond(error: AmountError) -> TellError {
    DeskError::from(error).into()
}

fn show(context: &Context) -> Result<(), Failure> {
    let Look { chain, network } = Look::open(&context.config()?)?;
    let (rewards, registry) = (network.rewards(&*chain)?.data, network.registry(&*chain)?.data);
    context.out().result(&Economy::of(network.vault(), &rewards, &registry)?, Economy::text);
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
    fn of(vault: &Placed<VaultData>, rewards: &RewardsData, registry: &RegistryData) -> Result<Self, Failure> {
        let emission = rewards.schedule().map_err(NetworkError::from)?;
        Ok(Self {
            vault: Address::from(vault.at),
            epoch: vault.data.epoch.number,
            closes_s: vault.data.closes_s(),
            fees_nanoton: vault.data.epoch.fees,
            fees_ever_nanoton: vault.data.fees_cum,
            burned_nanococoon: rewards.burned,
            median_nanococoon: vault.data.auction.recorded.median().per_ton(),
            emission_epoch: rewards.emission.epoch,
            halvings: emission.halvings(),
            rate_nanococoon: emission.rate(),
            budget_nanococoon: emission.budget().map_err(beyond)?,
            released_nanococoon: emission.released(),
            ceiling_nanococoon: rewards.emission.ceiling,
            to_halving_nanococoon: emission.to_halving(),
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

impl ParameterRow {
    fn of(name: ParameterName, registry: &RegistryData) -> Self {
        let parameter = name.parameter();
        let bounds = parameter.bounds();
        Self { name: name.to_string(), value: registry.value(parameter), min: bounds.min, max: bounds.max }
    }
}
