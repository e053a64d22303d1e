//! `swarm chain`: what a network has once on its chain.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use cocoon_market::{Amount, ContractAddress};
use cocoon_settlement::chain::embedded::RehearsalStage;
use cocoon_settlement::chain::{Address, Bounce, Chain};
use cocoon_settlement::contract::founding::{Founding, Plan};
use cocoon_settlement::contract::{NetworkTerms, VaultTerms};
use cocoon_settlement::wallet::OwnerWallet;
use serde::Serialize;

use super::blocking;
use super::dry_run::Cost;
use crate::chain;
use crate::cli::{ChainCommand, DeployArgs};
use crate::config::{HALF_LIFE, Network, NetworkConfig, TermsError, devnet_founding, founding, write_terms};
use crate::context::Context;
use crate::deployment::{self, DeployError, Deployment, is_deployed};
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
    minter: Address,
    registry: Address,
    governor: Address,
    #[serde(flatten)]
    terms: TermsRow,
    /// Whether the network was there before.
    was_there: bool,
    /// What the messages carry; none where nothing has to be sent.
    value_nanoton: Option<Amount>,
    /// The messages, one after the other.
    messages: Vec<Sent>,
    config: PathBuf,
    #[serde(skip)]
    dry_run: bool,
}

/// A message that was sent, or would be.
#[derive(Serialize)]
struct Sent {
    /// What it would use up, where it was not sent.
    #[serde(flatten)]
    cost: Option<Cost>,
    message_hash: String,
    boc: String,
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
    let founding = planned(asked, wallet.account(), args)?;
    let terms = NetworkTerms {
        dispute: args.dispute.map_or(founding.providers.dispute, |address| ContractAddress(address.hash)),
        fee_bps: args.fee_bps,
        unbond_s: args.unbond_s,
        epoch_s: args.epoch_s,
        answer_s: args.answer_s,
        ..founding.providers
    };
    let opened = chain::open(&config.chain)?.chain;
    let chain: &dyn Chain = &*opened;
    let was_there = is_deployed(chain, terms.rewards).map_err(DeployError::from)?;
    let deployment = match (was_there, args.dry_run) {
        (true, _) => None,
        (false, true) => Some(deployment::prepare(chain, &wallet, &founding)?),
        (false, false) => Some(deployment::deploy(chain, &wallet, &founding, WAIT)?),
    };
    let messages = match &deployment {
        Some(deployment) => messages(chain, &wallet, &founding, deployment, args.dry_run)?,
        None => Vec::new(),
    };
    let file = context.config_file();
    if !args.dry_run {
        write_terms(&file, &NetworkConfig::from(terms))?;
    }
    let deployed = Deployed {
        network: asked.name(),
        vault: Address::from(terms.vault),
        minter: Address::from(founding.vault.minter),
        registry: Address::from(founding.vault.registry),
        governor: Address::from(founding.vault.treasury),
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
        messages,
        config: file,
        dry_run: args.dry_run,
    };
    context.out().result(&deployed, text);
    Ok(())
}

/// What to found: what every devnet has, or a network of this wallet.
fn planned(network: Network, wallet: ContractAddress, args: &DeployArgs) -> Result<Founding, TermsError> {
    if network == Network::Devnet {
        return devnet_founding();
    }
    founding(Plan {
        network: network.id(),
        founder: wallet,
        dispute: args.dispute.map_or(wallet, |address| ContractAddress(address.hash)),
        treasury_from_s: args.treasury_from,
        fee_bps: args.fee_bps,
        unbond_s: args.unbond_s,
        epoch_s: args.epoch_s,
        answer_s: args.answer_s,
        half_life: HALF_LIFE,
    })
}

/// The messages, each with what it would cost, if none was sent: found by executing one after the other on copies of the accounts.
fn messages(
    chain: &dyn Chain,
    wallet: &OwnerWallet,
    founding: &Founding,
    deployment: &Deployment,
    dry_run: bool,
) -> Result<Vec<Sent>, DeployError> {
    let VaultTerms { registry, minter, rewards, treasury, .. } = founding.vault;
    let reached = [wallet.account(), minter, founding.providers.vault, treasury, registry, rewards].map(Address::from);
    let mut stage = if dry_run { Some(RehearsalStage::new(chain, &reached)?) } else { None };
    let each = deployment.signed.iter().map(|signed| {
        let cost = stage.as_mut().map(|stage| Ok::<_, DeployError>(Cost::of(&stage.send(&signed.boc)?))).transpose()?;
        Ok(Sent { cost, message_hash: signed.hash.to_string(), boc: signed.boc_base64() })
    });
    each.collect()
}

fn text(deployed: &Deployed) -> String {
    let config = deployed.config.display();
    let done = match (deployed.dry_run, deployed.was_there) {
        (true, true) => format!("Nothing was done. The network is there; [chain.terms] would be written to {config}"),
        (true, false) => {
            format!("Nothing was sent. If it were, the token would be made, the contracts deployed and [chain.terms] written to {config}")
        }
        (false, true) => format!("The network was there already; [chain.terms] is written to {config}"),
        (false, false) => format!("The token is made and the contracts are deployed; [chain.terms] is written to {config}"),
    };
    let contracts = [
        ("vault", deployed.vault),
        ("minter", deployed.minter),
        ("rewards", deployed.terms.rewards),
        ("registry", deployed.registry),
        ("governor", deployed.governor),
    ];
    let mut lines = vec![done];
    lines.extend(contracts.map(|(name, at)| format!("  {name:<9} {}", at.friendly(Bounce::Yes))));
    if let Some(value) = deployed.value_nanoton {
        lines.push(format!("  carries   {}; what it does not cost pays for storage or comes back", ton_text(value)));
    }
    for message in deployed.messages.iter().filter(|_| deployed.dry_run) {
        lines.extend(message.cost.as_ref().map(|cost| format!("  costs     {}", cost.text())));
        lines.push(format!("{}\n  hash {}", message.boc, message.message_hash));
    }
    lines.join("\n")
}
