//! `swarm chain`: what a network has once on its chain.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use cocoon_market::{Amount, ContractAddress};
use cocoon_settlement::chain::embedded::rehearse;
use cocoon_settlement::chain::{Address, Bounce, Chain};
use cocoon_settlement::contract::NetworkTerms;
use serde::Serialize;

use super::blocking;
use super::dry_run::Cost;
use crate::chain;
use crate::cli::{ChainCommand, DeployArgs};
use crate::config::{Founding, Network, NetworkConfig, TermsError, devnet_founding, write_terms};
use crate::context::Context;
use crate::deployment::{self, DeployError, is_deployed};
use crate::failure::{Exit, Failure, NextStep};
use crate::output::ton_text;

/// How long the chain may take to show the vault.
const WAIT: Duration = Duration::from_secs(180);

/// Why nothing was deployed.
#[derive(Debug, thiserror::Error)]
enum DeployRefusal {
    #[error("this release does not deploy to mainnet")]
    Mainnet,
    #[error("the configuration is for {configured}, and --network says {asked}")]
    Network { configured: &'static str, asked: &'static str },
}

impl NextStep for DeployRefusal {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Mainnet => "--network testnet, with a home made by swarm init --network testnet".into(),
            Self::Network { asked, .. } => format!("a home for {asked}: swarm --home DIR init --network {asked}").into(),
        }
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// What was deployed, or would be.
#[derive(Serialize)]
struct Deployed {
    network: &'static str,
    vault: Address,
    treasury: Address,
    #[serde(flatten)]
    terms: TermsRow,
    /// Whether the vault was there before.
    was_there: bool,
    /// What the message carries; none where nothing has to be sent.
    value_nanoton: Option<Amount>,
    /// What it would use up, where it was not sent.
    #[serde(flatten)]
    cost: Option<Cost>,
    message_hash: Option<String>,
    boc: Option<String>,
    config: PathBuf,
    #[serde(skip)]
    dry_run: bool,
}

/// The network's terms as they are written.
#[derive(Serialize)]
struct TermsRow {
    dispute: Address,
    rewards: Address,
    fee_bps: u16,
    unbond_s: u32,
    epoch_s: u32,
    answer_s: u32,
}

/// Runs `swarm chain`.
///
/// # Errors
/// No keys, no chain, a wallet that is too poor, a configuration that cannot be written.
pub async fn run(context: &Context, command: ChainCommand) -> Result<(), Failure> {
    let context = context.clone();
    match command {
        ChainCommand::Deploy(args) => blocking(move || deploy(&context, &args)).await,
    }
}

fn deploy(context: &Context, args: &DeployArgs) -> Result<(), Failure> {
    let config = context.config()?;
    let (configured, asked) = (config.chain.network, args.network);
    if asked == Network::Mainnet {
        return Err(DeployRefusal::Mainnet.into());
    }
    if configured != asked {
        return Err(DeployRefusal::Network { configured: configured.name(), asked: asked.name() }.into());
    }
    let wallet = context.keys(asked)?.wallet()?;
    let founding = founding(asked, wallet.account(), args)?;
    let vault = founding.vault;
    let terms = NetworkTerms {
        network: asked.id(),
        vault: vault.address().map_err(TermsError::from)?,
        dispute: args.dispute.map_or(vault.treasury, |address| ContractAddress(address.hash)),
        rewards: vault.rewards,
        fee_bps: args.fee_bps,
        unbond_s: args.unbond_s,
        epoch_s: args.epoch_s,
        answer_s: args.answer_s,
    };
    let opened = chain::open(&config.chain)?.chain;
    let chain: &dyn Chain = &*opened;
    let was_there = is_deployed(chain, terms.vault).map_err(DeployError::from)?;
    let deployment = match (was_there, args.dry_run) {
        (true, _) => None,
        (false, true) => Some(deployment::prepare(chain, &wallet, &founding)?),
        (false, false) => Some(deployment::deploy(chain, &wallet, &founding, WAIT)?),
    };
    let cost = match &deployment {
        Some(planned) if args.dry_run => {
            let minter = founding.minter.address().map_err(TermsError::from)?;
            let reached = [wallet.account(), minter, terms.vault].map(Address::from);
            Some(Cost::of(&rehearse(chain, &planned.signed.boc, &reached).map_err(DeployError::from)?))
        }
        Some(_) | None => None,
    };
    let file = context.config_file();
    if !args.dry_run {
        write_terms(&file, &NetworkConfig::from(terms))?;
    }
    let deployed = Deployed {
        network: asked.name(),
        vault: Address::from(terms.vault),
        treasury: Address::from(vault.treasury),
        terms: TermsRow {
            dispute: Address::from(terms.dispute),
            rewards: Address::from(terms.rewards),
            fee_bps: terms.fee_bps,
            unbond_s: terms.unbond_s,
            epoch_s: terms.epoch_s,
            answer_s: terms.answer_s,
        },
        was_there,
        value_nanoton: deployment.as_ref().map(|of| of.value),
        cost,
        message_hash: deployment.as_ref().map(|of| of.signed.hash.to_string()),
        boc: deployment.as_ref().map(|of| of.signed.boc_base64()),
        config: file,
        dry_run: args.dry_run,
    };
    context.out().result(&deployed, text);
    Ok(())
}

/// What to found: what every devnet has, or a network of this wallet, whose treasury is named or is the wallet.
fn founding(network: Network, wallet: ContractAddress, args: &DeployArgs) -> Result<Founding, TermsError> {
    match (args.treasury, network) {
        (Some(treasury), _) => Founding::by(wallet, network.id(), ContractAddress(treasury.hash), args.epoch_s),
        (None, Network::Devnet) => devnet_founding(),
        (None, Network::Testnet | Network::Mainnet) => Founding::by(wallet, network.id(), wallet, args.epoch_s),
    }
}

fn text(deployed: &Deployed) -> String {
    let vault = deployed.vault.friendly(Bounce::Yes);
    let config = deployed.config.display();
    let done = match (deployed.dry_run, deployed.was_there) {
        (true, true) => format!("Nothing was done. The network is there; [chain.terms] would be written to {config}"),
        (true, false) => {
            format!("Nothing was sent. If it were, the token would be made, the vault deployed and [chain.terms] written to {config}")
        }
        (false, true) => format!("The network was there already; [chain.terms] is written to {config}"),
        (false, false) => format!("The token is made and the vault deployed; [chain.terms] is written to {config}"),
    };
    let mut lines = vec![done, format!("  vault     {vault}"), format!("  treasury  {}", deployed.treasury.friendly(Bounce::Yes))];
    if let Some(value) = deployed.value_nanoton {
        lines.push(format!("  carries   {}; what it does not cost pays for storage or comes back", ton_text(value)));
    }
    lines.extend(deployed.cost.as_ref().map(|cost| format!("  costs     {}", cost.text())));
    if let (true, Some(boc), Some(hash)) = (deployed.dry_run, &deployed.boc, &deployed.message_hash) {
        lines.push(format!("{boc}\n  hash {hash}"));
    }
    lines.join("\n")
}
