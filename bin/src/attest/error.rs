//! What can go wrong with attestations.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use cocoon_market::NetworkId;
use cocoon_market::ids::Digest;
use cocoon_settlement::attest::KeyFileError;
use cocoon_settlement::attest::evidence::EvidenceError;
use cocoon_settlement::attest::groth16::{Circuit, DevelopmentKey, ProveError};
use cocoon_settlement::attest::papers::{AttestationError, PaperError};

use super::circuit_name;
use super::gate::Closed;
use crate::config::Network;
use crate::failure::{Exit, NextStep};

/// Why there are no keys, no proof, or no belief in one.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// Development keys where money is real.
    #[error("the configuration is for mainnet, and keys from a seed are for development: whoever knows the seed proves anything")]
    Mainnet,
    /// Keys of another seed, or of none that is known, are in the folder.
    #[error("the keys in {dir} come from another seed, or from a ceremony")]
    OtherSeed {
        /// The folder.
        dir: PathBuf,
    },
    /// The development keys are not the pinned ones.
    #[error("the key of circuit {} from the development seed has the digest {got}, where {} is pinned", circuit_name(*circuit), circuit.development_digest())]
    Pinned {
        /// The circuit.
        circuit: Circuit,
        /// What came out.
        got: Digest,
    },
    /// Keys could not be made.
    #[error("the keys of circuit {} could not be made", circuit_name(*circuit))]
    Setup {
        /// The circuit.
        circuit: Circuit,
        /// Why not.
        #[source]
        source: ProveError,
    },
    /// A key is not there.
    #[error("there is no key for circuit {} at {path}", circuit_name(*circuit))]
    NoKey {
        /// The circuit.
        circuit: Circuit,
        /// Where it would be.
        path: PathBuf,
    },
    /// A key file is damaged, or none.
    #[error("the key {path} cannot be used")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: KeyFileError,
    },
    /// A key file is not what its name says.
    #[error("the key {path} is not for circuit {}", circuit_name(*circuit))]
    OtherCircuit {
        /// The file.
        path: PathBuf,
        /// What its name says.
        circuit: Circuit,
    },
    /// A proving key and a verifying key that do not belong together.
    #[error("the keys {proving} and {verifying} do not belong together")]
    Pair {
        /// What proofs are made with.
        proving: PathBuf,
        /// What they would be verified with.
        verifying: PathBuf,
    },
    /// The key does not count on the network.
    #[error("the key {path} does not count")]
    DevelopmentKey {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: DevelopmentKey,
    },
    /// A key could not be written.
    #[error("cannot write the key {path}")]
    WriteKey {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: KeyFileError,
    },
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} holds no certificates to prove")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        #[source]
        source: PaperError,
    },
    /// The certificates do not belong into proofs together.
    #[error("the certificates in {path}, counted from 0, cannot be proven")]
    Evidence {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: EvidenceError,
    },
    /// Certificates of another network than the configuration's.
    #[error("the certificates in {path} are for {network}, and the configuration is for {}", configured.name())]
    Network {
        /// The file.
        path: PathBuf,
        /// What they are for.
        network: NetworkId,
        /// What the configuration is for.
        configured: Network,
    },
    /// Two files about the same provider and epoch.
    #[error("{first} and {second} are for the same provider and epoch {epoch}")]
    SameEpoch {
        /// The earlier file.
        first: PathBuf,
        /// The later one.
        second: PathBuf,
        /// The epoch.
        epoch: u32,
    },
    /// An attestation has no form as a file.
    #[error("the attestation has no form as a file")]
    Form(#[source] PaperError),
    /// No proof came out.
    #[error("claims {first} to {last} could not be proven")]
    Prove {
        /// The first of them.
        first: u64,
        /// The last.
        last: u64,
        /// Why not.
        #[source]
        source: ProveError,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers, without which a proof hides nothing")]
    Random(#[source] getrandom::Error),
    /// An attestation does not hold.
    #[error("{path} does not hold{}", others_text(*others))]
    Refused {
        /// The first file that does not.
        path: PathBuf,
        /// How many others do not.
        others: usize,
        /// Why it does not.
        #[source]
        source: Box<Refusal>,
    },
    /// Somebody ended it.
    #[error("interrupted; what was finished is kept")]
    Interrupted,
}

/// Why a file that should be an attestation does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// It is no attestation.
    #[error("it is no attestation")]
    Paper(#[from] PaperError),
    /// There is no key to verify it with.
    #[error("there is no key to verify it with")]
    Key(#[source] Box<AttestError>),
    /// Its proof does not show its statement.
    #[error(transparent)]
    Attestation(#[from] AttestationError),
}

fn others_text(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => ", nor does another".to_owned(),
        more => format!(", nor do {more} others"),
    }
}

impl From<Closed> for AttestError {
    fn from(Closed: Closed) -> Self {
        Self::Interrupted
    }
}

impl AttestError {
    /// Whether it would be the same with every other attestation of the same circuit.
    pub(super) const fn is_missing_key(&self) -> bool {
        matches!(self, Self::NoKey { .. })
    }
}

impl NextStep for AttestError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Mainnet => "keys from a ceremony, copied into the home; or a home for another network: --home DIR".into(),
            Self::OtherSeed { .. } => "the same --seed as before; another home (--home DIR); or move that folder away".into(),
            Self::Pinned { .. } => "another build of swarm: this one's circuits are not the network's".into(),
            Self::Setup { .. } => "fewer --threads, or more memory: 64 certificates take some 1.5 GB".into(),
            Self::NoKey { circuit, .. } => {
                format!("swarm attest setup --circuit {}; on mainnet, the keys of the network's ceremony", circuit_name(*circuit)).into()
            }
            Self::Key { source: KeyFileError::Io(_), .. } => "check the file's permissions and its disk".into(),
            Self::Key { .. } | Self::OtherCircuit { .. } | Self::Pair { .. } => {
                "swarm attest setup, which makes damaged development keys again; copy keys from a ceremony again".into()
            }
            Self::DevelopmentKey { .. } => "the keys of the network's ceremony, in place of this one".into(),
            Self::WriteKey { .. } => "check the home's permissions and free space: keys take up to 200 MB each".into(),
            Self::Read { .. } => "check the path and its permissions".into(),
            Self::Write { .. } => "check permissions and free space, or another directory: --out DIR".into(),
            Self::Certificates { .. } => "a file of the form that swarm attest prove --help shows".into(),
            Self::Evidence { .. } => "take out or correct what it names, then again".into(),
            Self::Network { network, .. } => format!("a home for {network}: --home DIR").into(),
            Self::SameEpoch { .. } => "one file with the certificates of both, in the order of their claims".into(),
            Self::Form(_) => "another build of swarm".into(),
            Self::Prove { .. } => "fewer --threads or a smaller --circuit; swarm attest setup looks at the keys".into(),
            Self::Random(_) => "check that this process may read random numbers from the system".into(),
            Self::Refused { source, .. } => match &**source {
                Refusal::Read(_) => "check the path and its permissions".into(),
                Refusal::Paper(_) => "a file that swarm attest prove wrote".into(),
                Refusal::Key(error) if error.is_missing_key() => format!("{}; or name the key: --key FILE", error.next_step()).into(),
                Refusal::Key(error) => error.next_step(),
                Refusal::Attestation(AttestationError::Key { .. }) => "name the key that it was proven with: --key FILE".into(),
                Refusal::Attestation(_) => "do not rely on it; prove its certificates again".into(),
            },
            Self::Interrupted => "the same command, which goes on where it stopped".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Mainnet
            | Self::OtherSeed { .. }
            | Self::Read { .. }
            | Self::Certificates { .. }
            | Self::Evidence { .. }
            | Self::Network { .. }
            | Self::SameEpoch { .. } => Exit::Usage,
            Self::Pinned { .. }
            | Self::Setup { .. }
            | Self::NoKey { .. }
            | Self::Key { .. }
            | Self::OtherCircuit { .. }
            | Self::Pair { .. }
            | Self::DevelopmentKey { .. }
            | Self::WriteKey { .. }
            | Self::Write { .. }
            | Self::Form(_)
            | Self::Prove { .. }
            | Self::Random(_)
            | Self::Refused { .. }
            | Self::Interrupted => Exit::Failed,
        }
    }
}
