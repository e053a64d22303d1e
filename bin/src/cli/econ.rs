//! The command that shows the token economy's numbers, and what they would come to.

use clap::{Args, Subcommand};
use cocoon_market::Amount;
use cocoon_settlement::chain::Address;

/// Options of `swarm econ`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm econ                               epoch, emission, burn and parameters as the chain has them
  swarm econ reward 2.5                    what a job of 2.5 TON could earn in COCOON, before it is taken
  swarm econ price 0.5 --utilisation 85    where the reference price goes from there
  swarm econ clouds --usd-per-ton 3        what clouds take, beside it")]
pub struct EconArgs {
    /// What to compute; without it, the network's numbers are shown.
    #[command(subcommand)]
    pub command: Option<EconCommand>,
}

/// What `swarm econ` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum EconCommand {
    /// Project the reward of a job before it is taken
    #[command(after_help = "Examples:
  swarm econ reward 2.5            a job of 2.5 TON
  swarm econ reward 2.5 --json     the same for programs

It is what the contracts would pay if the job's fee were booked now, its lot fetched the median, all fees of the epoch were claimed for,
and the epoch's budget stayed as it is. It is never more than nine tenths of what the fee burns.")]
    Reward {
        /// What the job costs in TON
        #[arg(value_name = "TON")]
        price: Amount,
    },
    /// Follow the reference price of a class of work
    #[command(after_help = "Examples:
  swarm econ price 0.5                            by the utilisation that this node's contract recorded
  swarm econ price 0.5 --provider EQ... EQ...     by that of these providers together
  swarm econ price 0.5 --utilisation 85           if it stayed at 85%

The price is published and commands nobody. Its step and its target are the registry's, which votes change.")]
    Price {
        /// The price now, in TON for whatever unit is meant
        #[arg(value_name = "TON")]
        price: Amount,
        /// Of what stood behind collateral, how much was paid, in percent
        #[arg(long, value_name = "PERCENT", conflicts_with = "providers", value_parser = clap::value_parser!(u16).range(..=1_000))]
        utilisation: Option<u16>,
        /// Contracts whose last epochs count together [default: this node's]
        #[arg(long = "provider", value_name = "ADDRESS", num_args = 1..)]
        providers: Vec<Address>,
        /// Epochs to follow it for
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=365), value_name = "COUNT")]
        epochs: u16,
    },
    /// Show what clouds take for an hour of a GPU
    #[command(after_help = "Examples:
  swarm econ clouds                                     the list, in dollars
  swarm econ clouds --usd-per-ton 3                     in TON as well
  swarm econ clouds --usd-per-ton 3 --price 0.4 --tokens-per-s 40
                                                        beside what a provider earns at 0.4 TON for a million tokens written
  swarm econ clouds --write                             write the list into this home, to be edited

The list in this program is as published prices were in 2025. Prices move: edit cloud-prices.toml in the home, and the list is yours.")]
    Clouds {
        /// What a TON is worth
        #[arg(long, value_name = "DOLLARS")]
        usd_per_ton: Option<Amount>,
        /// What a provider asks for a million tokens written, in TON
        #[arg(long, value_name = "TON", requires = "tokens_per_s")]
        price: Option<Amount>,
        /// How many it writes in a second, all jobs together
        #[arg(long, value_name = "COUNT", requires = "price")]
        tokens_per_s: Option<u32>,
        /// Write the list into the home, if there is none
        #[arg(long)]
        write: bool,
    },
}
