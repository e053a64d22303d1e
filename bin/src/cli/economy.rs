//! The commands of the token economy.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use cocoon_market::Amount;
use cocoon_market::ids::Digest;
use cocoon_settlement::chain::Address;
use cocoon_settlement::economy::parameter::Parameter;

use super::money::SendingArgs;
use crate::output::time_text;

/// Options of `swarm token`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm token                        what this node has: free, vesting, locked
  swarm token balance UQ...          what somebody else has
  swarm token send 25 UQ...          move 25 COCOON")]
pub struct TokenArgs {
    /// What to do; without it, what this node has is shown.
    #[command(subcommand)]
    pub command: Option<TokenCommand>,
}

/// What `swarm token` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Show what somebody has
    #[command(after_help = "Examples:
  swarm token balance                what this node's wallet has
  swarm token balance UQ... --json   what another account has")]
    Balance {
        /// Whose [default: this node's wallet]
        #[arg(value_name = "ADDRESS")]
        address: Option<Address>,
    },
    /// Move COCOON to somebody
    #[command(after_help = "Examples:
  swarm token send 25 UQ...             move 25 COCOON
  swarm token send 0.5 UQ... --dry-run  show the messages, what they cost and what would change

It takes a little TON for the work of the wallets. What that does not cost comes back.")]
    Send {
        /// How much COCOON
        #[arg(value_name = "COCOON")]
        amount: Amount,
        /// To whom: the address of an account, not of its jetton wallet
        #[arg(value_name = "ADDRESS")]
        to: Address,
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
    /// Destroy COCOON for good
    #[command(after_help = "Examples:
  swarm token burn 10 --dry-run      show the messages, what they cost and what would change
  swarm token burn 10                there is no way back")]
    Burn {
        /// How much COCOON
        #[arg(value_name = "COCOON")]
        amount: Amount,
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
}

/// Options of `swarm auction`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm auction                      what is on sale, at which rate, and for how long
  swarm auction bid 100              buy TON for 100 COCOON at the rate of now
  swarm auction close                end an epoch whose time is over; anyone may")]
pub struct AuctionArgs {
    /// What to do; without it, the auction is shown.
    #[command(subcommand)]
    pub command: Option<AuctionCommand>,
}

/// What `swarm auction` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum AuctionCommand {
    /// Buy TON of the fees for COCOON, which is burned
    #[command(after_help = "Examples:
  swarm auction bid 100              at the rate of the moment it arrives
  swarm auction bid 100 --least 2    or not at all, if it buys less than 2 TON
  swarm auction bid 100 --dry-run    show the messages, what they cost and what it would buy

The rate only falls while an auction is open. What buys nothing comes back; so does what is left when all is sold.")]
    Bid {
        /// How much COCOON
        #[arg(value_name = "COCOON")]
        amount: Amount,
        /// The least TON that it is to buy; for less it comes back
        #[arg(long, value_name = "TON")]
        least: Option<Amount>,
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
    /// End an epoch whose time is over: what was paid is burned, and its fees go on sale
    #[command(after_help = "Examples:
  swarm auction close                anyone may, once the epoch is as long as it must be
  swarm auction close --dry-run      show the messages and what they cost")]
    Close {
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
    /// Pay a provider's fees ahead in COCOON, at a discount
    #[command(after_help = "Examples:
  swarm auction credit 45                    for this node's contract
  swarm auction credit 45 --provider EQ...   for another provider's
  swarm auction credit 45 --dry-run          show the messages, what they cost and what would change

What was paid ahead comes off the burned part of later fees, at the median rate less the discount. Such fees earn no reward.")]
    Credit {
        /// How much COCOON
        #[arg(value_name = "COCOON")]
        amount: Amount,
        /// The provider's contract [default: this node's]
        #[arg(long, value_name = "ADDRESS")]
        provider: Option<Address>,
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
}

/// Options of `swarm rewards`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm rewards                      the reserve, this node's epochs, and what vests
  swarm rewards collect              have the reward of an epoch brought to this node's contract
  swarm rewards take                 send what is free by now to the wallet")]
pub struct RewardsArgs {
    /// What to do; without it, the rewards are shown.
    #[command(subcommand)]
    pub command: Option<RewardsCommand>,
}

/// What `swarm rewards` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum RewardsCommand {
    /// Claim rewards with proofs that listed auditors signed for the work
    #[command(after_help = "Examples:
  swarm rewards claim ~/.cocoon/attest/proofs/*.attestation.json    as swarm attest prove writes them, in the order of their claims
  swarm rewards claim one.attestation.json --dry-run                show the messages, what they cost, and whether the proof holds

An epoch can be claimed for from when its fees are sold until the next epoch is closed. Anyone may deliver a provider's proofs.")]
    Claim {
        /// Files with attestations
        #[arg(required = true, value_name = "PROOF-FILE")]
        files: Vec<PathBuf>,
        /// How they are sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
    /// Have the reward of an epoch brought to this node's contract, where it vests
    #[command(after_help = "Examples:
  swarm rewards collect              the oldest epoch that can be collected
  swarm rewards collect 12           of the vault's epoch 12
  swarm rewards collect --dry-run    show the messages and what they cost

Claims for an epoch close when the next one is closed. 30% of a reward is free at once and 70% over 90 days.")]
    Collect {
        /// The vault's epoch [default: the oldest that can be collected]
        #[arg(value_name = "EPOCH")]
        epoch: Option<u32>,
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
    /// Send what is free by now to the wallet
    #[command(after_help = "Examples:
  swarm rewards take
  swarm rewards take --dry-run       show the messages, what they cost and what would change")]
    Take {
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
}

/// Until when something is locked.
#[derive(Clone, Copy, Debug, Args)]
#[group(multiple = false)]
pub struct UntilArgs {
    /// Until the end of the week of this day, such as 2027-03-31
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    pub until: Option<Day>,
    /// For so many weeks, at most 104
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=104))]
    pub weeks: Option<u32>,
}

/// Options of `swarm lock`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  swarm lock                             what is locked, until when, and what it weighs
  swarm lock 100 --weeks 52              lock 100 COCOON for a year, to vote with
  swarm lock 100 --until 2027-03-31      until the end of that week
  swarm lock 100 --weeks 52 --dry-run    show the messages, what they cost and what would change
  swarm lock lengthen --weeks 104        the same COCOON for longer

A lock ends at the end of a week, at most 104 weeks away, and weighs what is locked times the time left. It is never shortened.")]
pub struct LockArgs {
    /// What to do instead.
    #[command(subcommand)]
    pub command: Option<LockCommand>,
    /// How much COCOON; without it, the lock is shown
    #[arg(value_name = "COCOON", requires = "UntilArgs")]
    pub amount: Option<Amount>,
    /// Until when.
    #[command(flatten)]
    pub until: UntilArgs,
    /// How it is sent.
    #[command(flatten)]
    pub sending: SendingArgs,
}

/// What `swarm lock` can do beside locking.
#[derive(Clone, Debug, Subcommand)]
pub enum LockCommand {
    /// Lock the same COCOON for longer
    #[command(after_help = "Examples:
  swarm lock lengthen --weeks 104            as long as can be
  swarm lock lengthen --until 2027-03-31     until the end of that week
  swarm lock lengthen --weeks 104 --dry-run  show the message, what it costs and what would change

A lock that was lengthened votes on proposals that are made later.")]
    Lengthen {
        /// Until when.
        #[command(flatten)]
        until: UntilArgs,
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
}

/// Options of `swarm unlock`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm unlock                       what was locked comes to the wallet, once its time is over
  swarm unlock --dry-run             show the messages, what they cost and what would change")]
pub struct UnlockArgs {
    /// How it is sent.
    #[command(flatten)]
    pub sending: SendingArgs,
}

/// What `swarm gov` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum GovCommand {
    /// List what is voted on, or was lately
    #[command(after_help = "Examples:
  swarm gov ls
  swarm gov ls --json | jq '.proposals[] | select(.phase == \"open\")'")]
    Ls,
    /// Show a proposal: what it asks for, its votes and its times
    #[command(after_help = "Examples:
  swarm gov show 3
  swarm gov show 3 --json")]
    Show {
        /// Its number
        #[arg(value_name = "N")]
        number: u32,
    },
    /// Propose something
    #[command(after_help = "Examples:
  swarm gov propose parameter auction-seconds 70000
  swarm gov propose spend-cocoon 1000 UQ... --dry-run

It takes a lock that weighs a thousandth of all locks. The vote begins a day later and takes ten days.")]
    Propose {
        /// What.
        #[command(subcommand)]
        action: ActionCommand,
    },
    /// Vote with all that this node has locked
    #[command(after_help = "Examples:
  swarm gov vote 3 yes
  swarm gov vote 3 no --dry-run      show the messages and what they cost

A lock votes on what was proposed after it was made or lengthened, if it outlasts the vote; once, and for good.")]
    Vote {
        /// Which proposal
        #[arg(value_name = "N")]
        number: u32,
        /// For it or against it
        #[arg(value_enum, value_name = "yes|no")]
        side: Side,
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
    /// Show when what passed can be executed: its timelock runs by itself
    #[command(after_help = "Examples:
  swarm gov queue 3

Nothing has to be sent. What passed waits from the end of its vote: two days where it tunes, seven where money or keys move.")]
    Queue {
        /// Which proposal
        #[arg(value_name = "N")]
        number: u32,
    },
    /// Carry out what was decided; anyone may
    #[command(after_help = "Examples:
  swarm gov execute 3                                      what was proposed is found on the chain
  swarm gov execute 3 parameter auction-seconds 70000      or said again, where the chain does not show it any more
  swarm gov execute 3 --dry-run                            show the messages, what they cost and what would change")]
    Execute {
        /// Which proposal
        #[arg(value_name = "N")]
        number: u32,
        /// What was proposed, if it is not found.
        #[command(subcommand)]
        action: Option<ActionCommand>,
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
}

/// A side of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    /// For it
    Yes,
    /// Against it
    No,
}

/// What can be voted on.
#[derive(Clone, Debug, Subcommand)]
pub enum ActionCommand {
    /// Change a parameter, within its bounds
    #[command(after_help = "Examples:
  swarm gov propose parameter auction-seconds 70000    an auction's time, in seconds
  swarm gov propose parameter fee-bps 550              the network's part of a job's price, in basis points
  swarm gov propose parameter stake-min 1200000000     the least collateral, in nano-TON")]
    Parameter {
        /// Which
        #[arg(value_enum, value_name = "NAME")]
        name: ParameterName,
        /// To what, in the unit of its name
        #[arg(value_name = "VALUE")]
        value: u64,
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
    /// Spend COCOON of the treasury
    #[command(after_help = "Examples:
  swarm gov propose spend-cocoon 1000 UQ...")]
    SpendCocoon {
        /// How much
        #[arg(value_name = "COCOON")]
        amount: Amount,
        /// Who gets it
        #[arg(value_name = "ADDRESS")]
        to: Address,
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
    /// Spend TON of the treasury
    #[command(after_help = "Examples:
  swarm gov propose spend-ton 2.5 UQ...")]
    SpendTon {
        /// How much
        #[arg(value_name = "TON")]
        amount: Amount,
        /// Who gets it
        #[arg(value_name = "ADDRESS")]
        to: Address,
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
    /// Name the models and nodes that are believed, by the hash of a document
    #[command(after_help = "Examples:
  swarm gov propose standards 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    Standards {
        /// SHA-256 of the document, 64 hexadecimal digits
        #[arg(value_name = "HASH", value_parser = parse_digest)]
        hash: Digest,
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
    /// Name the auditors, by the hash of their list and its commitment
    #[command(after_help = "Examples:
  swarm gov propose auditors <64 hexadecimal digits> <64 hexadecimal digits>

The list itself is delivered after the vote, with a proof that both belong together.")]
    Auditors {
        /// Hash of the list's cell, 64 hexadecimal digits
        #[arg(value_name = "LIST-HASH", value_parser = parse_digest)]
        list: Digest,
        /// The list's commitment, 64 hexadecimal digits
        #[arg(value_name = "COMMITMENT", value_parser = parse_digest)]
        commitment: Digest,
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
    /// Replace the verifying key of a circuit
    #[command(after_help = "Examples:
  swarm gov propose key 2 attest-16.boc")]
    Key {
        /// Which circuit: 1, 2 and 3 attest 4, 16 and 64 certificates; 9 is the auditors' list
        #[arg(value_name = "CIRCUIT")]
        circuit: u8,
        /// The key: a bag of cells
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// How it is sent.
        #[command(flatten)]
        sending: SendingArgs,
    },
}

impl ActionCommand {
    /// How it is sent.
    pub const fn sending(&self) -> SendingArgs {
        match self {
            Self::Parameter { sending, .. }
            | Self::SpendCocoon { sending, .. }
            | Self::SpendTon { sending, .. }
            | Self::Standards { sending, .. }
            | Self::Auditors { sending, .. }
            | Self::Key { sending, .. } => *sending,
        }
    }
}

/// What a vote can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ParameterName {
    /// The price curve's step, in parts of 65,536
    CurveStep,
    /// The utilisation at which the price stands still, in parts of 65,536
    CurveTarget,
    /// How long an auction is open, in seconds
    AuctionSeconds,
    /// The network's part of a job's price, in basis points
    FeeBps,
    /// The auditors' part of that fee, in basis points
    AuditorsBps,
    /// The treasury's part of that fee, in basis points
    TreasuryBps,
    /// The least collateral of a provider, in nano-TON
    StakeMin,
    /// How long collateral is released, in seconds
    UnbondSeconds,
    /// How much less a fee costs in COCOON, in basis points
    DiscountBps,
}

impl ParameterName {
    /// The parameter.
    pub const fn parameter(self) -> Parameter {
        match self {
            Self::CurveStep => Parameter::CurveStep,
            Self::CurveTarget => Parameter::CurveTarget,
            Self::AuctionSeconds => Parameter::AuctionSeconds,
            Self::FeeBps => Parameter::FeeBps,
            Self::AuditorsBps => Parameter::AuditorsBps,
            Self::TreasuryBps => Parameter::TreasuryBps,
            Self::StakeMin => Parameter::StakeMin,
            Self::UnbondSeconds => Parameter::UnbondSeconds,
            Self::DiscountBps => Parameter::DiscountBps,
        }
    }

    /// The name of the parameter at this [place](Parameter::place).
    pub fn at(place: u8) -> Option<Self> {
        Self::value_variants().iter().copied().find(|name| name.parameter().place() == place)
    }
}

impl std::fmt::Display for ParameterName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No name is hidden, so that each has a value.
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// Reads 64 hexadecimal digits.
fn parse_digest(text: &str) -> Result<Digest, hex::FromHexError> {
    let mut bytes = [0u8; 32];
    hex::decode_to_slice(text, &mut bytes)?;
    Ok(Digest(bytes))
}

/// A day, in days since the first of 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(pub u32);

impl Day {
    /// When it begins, in seconds since the Unix epoch.
    pub fn begins_s(self) -> u64 {
        u64::from(self.0).saturating_mul(86_400)
    }
}

/// A date on the command line that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a date: expected year, month and day, such as 2027-03-31")]
pub struct DateError;

/// Reads `2027-03-31`.
fn parse_date(text: &str) -> Result<Day, DateError> {
    let mut parts = text.splitn(3, '-').map(|part| part.parse::<u32>().ok());
    let (Some(Some(year)), Some(Some(month)), Some(Some(day))) = (parts.next(), parts.next(), parts.next()) else {
        return Err(DateError);
    };
    if !(1970..=9999).contains(&year) {
        return Err(DateError);
    }
    // A day is at least the first of a month and a leap year's worth before it; looking there is exact and never far.
    let first = (year - 1970) * 365;
    let wanted = format!("{year:04}-{month:02}-{day:02}");
    let days = first..first.saturating_add(366 + (year - 1970) / 4 + 1);
    days.map(Day).find(|day| time_text(day.begins_s()).starts_with(&wanted)).ok_or(DateError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_has_a_name() {
        for parameter in Parameter::ALL {
            assert_eq!(ParameterName::at(parameter.place()).unwrap().parameter(), parameter);
        }
        assert_eq!(ParameterName::AuctionSeconds.to_string(), "auction-seconds");
        assert_eq!(ParameterName::at(9), None);
    }

    #[test]
    fn dates_are_days_that_there_are() {
        let day = |text: &str| parse_date(text).map(|day| day.0);
        assert_eq!(
            (day("1970-01-01"), day("2000-02-29"), day("2027-03-31"), day("2027-12-31")),
            (Ok(0), Ok(11_016), Ok(20_908), Ok(21_183))
        );
        for wrong in ["2027-02-29", "2027-13-01", "2027-00-10", "2027-3", "31.03.2027", "", "1969-12-31", "tomorrow"] {
            assert_eq!(day(wrong), Err(DateError), "{wrong}");
        }
    }
}
