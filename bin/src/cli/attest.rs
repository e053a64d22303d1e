//! The commands of attestations.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use cocoon_settlement::attest::groth16::{Circuit, Size};

use crate::attest::keys::Seed;

/// What `swarm attest` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum AttestCommand {
    /// Make development keys for proofs, unless they are there
    Setup(SetupArgs),
    /// Prove certificates, in batches that leave the machine to other work
    Prove(ProveArgs),
    /// Check proofs against what they state
    Verify(VerifyArgs),
}

/// Options of `swarm attest setup`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm attest setup                         the keys of all circuits: about a minute, 300 MB in <home>/attest/keys
  swarm attest setup --circuit 4             the circuit for tests: seconds
  swarm attest setup --circuit 16,64
  swarm attest setup --dry-run               what is there, and what would be made

The keys are for development: whoever knows the seed can prove anything, and the default seed is known to everybody. A devnet
and a testnet take such keys; on mainnet they are refused. From the default seed everybody has the same keys, which are checked
against digests that are built into this program. Keys that are there and whole are kept, damaged ones are made again.")]
pub struct SetupArgs {
    /// Which circuits: of 4, 16 or 64 certificates, or of the auditors' list; again or with commas for more
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all", value_name = "CIRCUIT")]
    pub circuit: Vec<CircuitChoice>,
    /// Make the keys from this seed, 64 hexadecimal digits [default: the development seed]
    #[arg(long, value_name = "HEX")]
    pub seed: Option<Seed>,
    /// Threads to compute with [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "N")]
    pub threads: Option<u16>,
    /// Show what is there and what would be made, make nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// A circuit, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CircuitChoice {
    /// Attestations of up to 4 certificates, for tests
    #[value(name = "4")]
    Four,
    /// Attestations of up to 16 certificates
    #[value(name = "16")]
    Sixteen,
    /// Attestations of up to 64 certificates
    #[value(name = "64")]
    SixtyFour,
    /// The auditors' list and its commitment
    KeySet,
    /// All circuits
    All,
}

impl CircuitChoice {
    /// The circuits that it names.
    pub fn circuits(self) -> Vec<Circuit> {
        match self {
            Self::Four => vec![Circuit::Attestation(Size::Four)],
            Self::Sixteen => vec![Circuit::Attestation(Size::Sixteen)],
            Self::SixtyFour => vec![Circuit::Attestation(Size::SixtyFour)],
            Self::KeySet => vec![Circuit::KeySet],
            Self::All => Circuit::ALL.to_vec(),
        }
    }
}

/// A circuit of attestations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SizeChoice {
    /// Up to 4 certificates, for tests
    #[value(name = "4")]
    Four,
    /// Up to 16 certificates
    #[value(name = "16")]
    Sixteen,
    /// Up to 64 certificates
    #[value(name = "64")]
    SixtyFour,
}

impl From<SizeChoice> for Size {
    fn from(choice: SizeChoice) -> Self {
        match choice {
            SizeChoice::Four => Self::Four,
            SizeChoice::Sixteen => Self::Sixteen,
            SizeChoice::SixtyFour => Self::SixtyFour,
        }
    }
}

/// Options of `swarm attest prove`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm attest prove epoch-7.json                      proofs in <home>/attest/proofs
  swarm attest prove epoch-7.json epoch-8.json --out proofs
  swarm attest prove epoch-7.json --threads 1 --cpu 10 slowly, beside paid work
  swarm attest prove epoch-7.json --dry-run            the batches, and which are proven already

A file has the certificates of one provider and one epoch of the vault, in the order of their claims, and the auditors' keys in
the places of the registry's list, null for a place that nobody has:
  {\"format\": \"cocoon-certificates/1\",
   \"auditors\": [\"KEY\", null, ...],
   \"certificates\": [{\"certificate\": {\"network\": -777, \"provider\": \"CONTRACT\", \"epoch\": 7, \"claim\": 12,
                                     \"fee_nanoton\": 50000000, \"segment\": \"SHA-256\"},
                     \"auditor\": \"KEY\", \"signature\": \"SIGNATURE\"}, ...]}

It is split into batches of at most 64 (--circuit), as few as can be; each is proven with the smallest circuit that has room, and
written as one file: what is stated, and the proof. A batch whose file is there and holds is not proven again, so that a run
that was interrupted goes on where it stopped: Ctrl-C loses the batch at hand and no other. Send the proofs in the order of
their claims, after the epoch is over: the contract takes each claim once.

The process takes the least priority there is (not on Windows). A batch that has begun computes on --threads until it is done.
--cpu PERCENT bounds the average instead: before each batch but the first, the run waits until all the processor time it has
used, divided by the time since it began, is at most that share of all cores together. So the average is within the share
whenever a batch begins, and above it while one is proven.")]
pub struct ProveArgs {
    /// Files with certificates
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Directory for the proofs [default: attest/proofs in the home]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The largest circuit to use
    #[arg(long, value_enum, default_value = "64", value_name = "CIRCUIT")]
    pub circuit: SizeChoice,
    /// Threads to compute with [default: half of the cores, at least 1]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "N")]
    pub threads: Option<u16>,
    /// Wait between batches until the average is within so many hundredths of all cores
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100), value_name = "PERCENT")]
    pub cpu: Option<u8>,
    /// Check the certificates and show the batches, prove nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `swarm attest verify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm attest verify proofs/*.attestation.json
  swarm attest verify one.attestation.json --json
  swarm attest verify one.attestation.json --key attestation-64.verifying

Each file names its key by a digest. It is taken from the files of --key, else it is the development key that this program knows,
else one of the home. That the registry has this key and these auditors now, and that the fees were booked, is for the chain to say.

Exits 1 if any file does not hold, and names the first.")]
pub struct VerifyArgs {
    /// Files with proofs
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// File with a verifying key; again for more
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
}
