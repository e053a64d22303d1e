//! Where the players' money is, and that none is made or lost.

use cocoon_market::{Amount, AmountError};
use cocoon_settlement::chain::Address;
use serde::Serialize;

use super::stage::{Cast, Stage};
use super::{DemoError, Paid};
use crate::commands::blocking;

/// Who holds how much, the chain's own fees among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Accounts(Vec<(String, Amount)>);

/// One account before and after.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// Whose.
    pub(super) account: String,
    /// Before the job, in nano-units.
    pub(super) before: Amount,
    /// After the claim, in nano-units.
    pub(super) after: Amount,
}

impl Accounts {
    /// Counts the money of all players, in their contracts, the vault and the channels, and in the chain's fees.
    pub(super) async fn count(stage: &Stage, cast: &Cast, channels: &[Paid]) -> Result<Self, DemoError> {
        let mut rows = Vec::new();
        for player in cast.players() {
            rows.push((player.name().to_owned(), stage.balance(player.address()).await?));
        }
        for provider in cast.providers() {
            let held = match provider.contract() {
                Some(contract) => stage.balance(Address::from(contract)).await?,
                None => Amount::ZERO,
            };
            rows.push((format!("contract of {}", provider.name()), held));
        }
        rows.push(("vault of the network".to_owned(), stage.balance(stage.vault()).await?));
        for provider in cast.providers() {
            let held = match channels.iter().find(|paid| paid.provider == provider.node().key().node_id()) {
                Some(paid) => stage.balance(Address::from(paid.channel.address)).await?,
                None => Amount::ZERO,
            };
            rows.push((format!("channel to {}", provider.name()), held));
        }
        let chain = std::sync::Arc::clone(stage.chain());
        let supply = blocking(move || chain.supply()).await?;
        rows.push(("fees of the chain".to_owned(), supply.fees));
        Ok(Self(rows))
    }

    /// All of it.
    pub(super) fn sum(&self) -> Result<Amount, AmountError> {
        Amount::sum(self.0.iter().map(|(_, amount)| *amount))
    }
}

impl Row {
    /// The same accounts, before and after.
    pub(super) fn pair(before: &Accounts, after: &Accounts) -> Vec<Self> {
        let pairs = before.0.iter().zip(&after.0);
        pairs.map(|((account, before), (_, after))| Self { account: account.clone(), before: *before, after: *after }).collect()
    }

    /// What changed, with its sign, in whole units.
    pub(super) fn change(&self) -> String {
        if self.after >= self.before {
            format!("+{}", self.after.saturating_sub(self.before))
        } else {
            format!("-{}", self.before.saturating_sub(self.after))
        }
    }
}
