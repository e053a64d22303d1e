//! Where the players' money is, and that none is made or lost.

use cocoon_market::{Amount, AmountError, ChannelRef};
use cocoon_settlement::chain::Address;
use serde::Serialize;

use super::DemoError;
use super::stage::{Cast, Stage};
use crate::commands::blocking;

/// Who holds how much, the chain's own fees among them.
#[derive(Clone, Debug)]
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
    /// Counts the money of all players, in the channel, and in the chain's fees.
    pub(super) async fn count(stage: &Stage, cast: &Cast, channel: Option<ChannelRef>) -> Result<Self, DemoError> {
        let mut rows = Vec::new();
        for player in cast.players() {
            rows.push((player.name().to_owned(), stage.balance(player.address()).await?));
        }
        rows.push(("network fee account".to_owned(), stage.balance(stage.fee_account()).await?));
        let held = match channel {
            Some(channel) => stage.balance(Address::from(channel.address)).await?,
            None => Amount::ZERO,
        };
        rows.push(("channel contract".to_owned(), held));
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
