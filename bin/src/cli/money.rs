//! The commands of a provider's collateral, and of what a network has once.

use clap::{Args, Subcommand};
use cocoon_market::Amount;
use cocoon_settlement::chain::Address;

use crate::config::{Network, TREASURY_FROM_S};

/// Options of all that sends a message about the collateral.
#[derive(Clone, Copy, Debug, Args)]
pub struct SendingArgs {
    /// Build and show the message, send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Seconds to wait until the chain has it
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..), value_name = "SECONDS")]
    pub wait: u64,
}

/// Options of `swarm stake`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm stake                                    what stands behind this node's work
  swarm stake 1 --bond 0.5 --operations 0.2      deploy this node's contract, or add to it
  swarm stake --operations 0.5                   only money that claims are paid from
  swarm stake 1 --dry-run                        show the message, what it costs and what would change")]
pub struct StakeArgs {
    /// TON to add to the collateral
    #[arg(value_name = "TON")]
    pub amount: Option<Amount>,
    /// TON to add to the liveness bond, which an unanswered poke takes of
    #[arg(long, value_name = "TON")]
    pub bond: Option<Amount>,
    /// TON to add to the operations balance, which claims are paid from
    #[arg(long, value_name = "TON")]
    pub operations: Option<Amount>,
    /// How it is sent.
    #[command(flatten)]
    pub sending: SendingArgs,
}

/// Options of `swarm unstake`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm unstake 1                    release 1 TON of the collateral
  swarm unstake 1 --bond 0.5         and half a TON of the liveness bond
  swarm unstake 1 --dry-run          show the message, what it costs and what would change

What is released can still be slashed until the network's unbonding time is over; then swarm withdraw sends it.")]
pub struct UnstakeArgs {
    /// TON of the collateral
    #[arg(value_name = "TON")]
    pub amount: Amount,
    /// TON of the liveness bond
    #[arg(long, value_name = "TON")]
    pub bond: Option<Amount>,
    /// How it is sent.
    #[command(flatten)]
    pub sending: SendingArgs,
}

/// Options of `swarm withdraw`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm withdraw                     what was released long enough ago comes to the wallet
  swarm withdraw --operations 0.1    a part of the operations balance does
  swarm withdraw --dry-run           show the message, what it costs and what would change")]
pub struct WithdrawArgs {
    /// TON of the operations balance, instead of what was released
    #[arg(long, value_name = "TON")]
    pub operations: Option<Amount>,
    /// How it is sent.
    #[command(flatten)]
    pub sending: SendingArgs,
}

/// What `swarm chain` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum ChainCommand {
    /// Found a network from this wallet: token, vault, rewards, registry and governor; and write [chain.terms]
    Deploy(DeployArgs),
}

/// Options of `swarm chain deploy`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm chain deploy --network testnet              a network of your own on TON's test network
  swarm chain deploy --network testnet --dry-run    show the message and what would be written
  swarm chain deploy --network devnet --unbond-s 5  the devnet's vault, with other times and without rewards

It begins with development keys and the development auditor, whom everybody can speak for, until a vote replaces both.
Everybody of the network needs the same [chain.terms]: pass on what this writes into the configuration.")]
pub struct DeployArgs {
    /// Which network: devnet or testnet
    #[arg(long, value_enum, value_name = "NETWORK")]
    pub network: Network,
    /// When the treasury starts to vest, in seconds since 1970
    #[arg(long, default_value_t = TREASURY_FROM_S, value_name = "SECONDS")]
    pub treasury_from: u32,
    /// Who may slash [default: this wallet; on a devnet the faucet]
    #[arg(long, value_name = "ADDRESS")]
    pub dispute: Option<Address>,
    /// What of each draw is the network's, in basis points
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(..=10_000), value_name = "BPS")]
    pub fee_bps: u16,
    /// How long released collateral can still be slashed
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub unbond_s: u32,
    /// How long an epoch is
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..), value_name = "SECONDS")]
    pub epoch_s: u32,
    /// How long an operator may take to answer a poke
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub answer_s: u32,
    /// Build and show the message, send and write nothing
    #[arg(long)]
    pub dry_run: bool,
}
