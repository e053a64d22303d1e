//! Keys for attestations in a node's home.
//!
//! ```text
//! <home>/attest/keys/attestation-4.proving       what proofs of 4 certificates are made with
//! <home>/attest/keys/attestation-4.verifying     what they are verified with
//! <home>/attest/keys/key-set.proving             of the auditors' list
//! <home>/attest/keys/seed                        blake3 hash of the seed that the keys come from
//! ```
//!
//! Keys from a seed are for development: whoever knows the seed can prove anything, and the seed of most is known to everybody. A
//! folder has the keys of one seed, and none is ever replaced by that of another. Keys from a ceremony are copied here by hand.

use std::fs::File;
use std::io::{self, BufReader};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cocoon_market::ids::Digest;
use cocoon_settlement::attest::KeyFileError;
use cocoon_settlement::attest::groth16::{self, Circuit, ProvingKey, VerifyingKey};
use serde::Serialize;

use super::{AttestError, Gate, Progress, Step, circuit_name};
use crate::durable::{self, Existing};
use crate::home::{Home, create_private_dir};

/// A seed of development keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 32]);

/// A seed that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a seed: expected 64 hexadecimal digits")]
pub struct SeedError;

impl Seed {
    /// The one that everybody uses, so that the keys are known by their pinned names.
    pub fn development() -> Self {
        Self(groth16::development_seed())
    }

    fn is_development(self) -> bool {
        self == Self::development()
    }

    /// What a folder remembers of it.
    fn name(self) -> String {
        blake3::hash(&self.0).to_hex().to_string()
    }
}

impl std::str::FromStr for Seed {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Self, SeedError> {
        let mut seed = [0u8; 32];
        hex::decode_to_slice(text, &mut seed).map_err(|_| SeedError)?;
        Ok(Self(seed))
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seed({})", if self.is_development() { "development" } else { "hidden" })
    }
}

/// What is to be done for a circuit's pair of keys.
#[derive(Debug)]
pub enum Plan {
    /// Nothing: both are there and whole.
    Keep(Digest),
    /// The proving key is whole, and the verifying key is written anew from it.
    Repair(Box<VerifyingKey>),
    /// Both are made, in place of a damaged one if there is one.
    Make(Option<KeyFileError>),
}

/// What a circuit's pair of keys is, or would be.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// The circuit, as command lines name it.
    pub circuit: &'static str,
    /// What was done, or would be.
    pub state: PairState,
    /// What proofs are made with.
    pub proving: PathBuf,
    /// Its size; none where it is not there yet.
    pub proving_bytes: Option<u64>,
    /// What they are verified with.
    pub verifying: PathBuf,
    /// The verifying key's SHA-256; none where it is not known yet.
    pub digest: Option<Digest>,
    /// How long making it took, in milliseconds.
    pub took_ms: Option<u64>,
}

/// What was done for a pair of keys, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PairState {
    /// It was there and whole.
    Kept,
    /// The verifying key was written anew.
    Repaired,
    /// It was made.
    Made,
    /// The verifying key would be written anew.
    WouldRepair,
    /// It would be made.
    WouldMake,
}

/// The folder of a home's keys.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    dir: PathBuf,
}

impl KeyFolder {
    /// That of a home. Nothing is created.
    pub fn of(home: &Home) -> Self {
        Self { dir: home.attest_keys_dir() }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of a circuit's proving key.
    pub fn proving_file(&self, circuit: Circuit) -> PathBuf {
        self.dir.join(format!("{}.proving", file_stem(circuit)))
    }

    /// The file of a circuit's verifying key.
    pub fn verifying_file(&self, circuit: Circuit) -> PathBuf {
        self.dir.join(format!("{}.verifying", file_stem(circuit)))
    }

    /// Reads a circuit's verifying key.
    ///
    /// # Errors
    /// [`AttestError::NoKey`], [`AttestError::Key`], [`AttestError::OtherCircuit`].
    pub fn verifying(&self, circuit: Circuit) -> Result<VerifyingKey, AttestError> {
        let path = self.verifying_file(circuit);
        let key = read_verifying(&path).map_err(|error| missing_or(error, circuit, &path))?;
        if key.circuit() == circuit { Ok(key) } else { Err(AttestError::OtherCircuit { path, circuit }) }
    }

    /// Reads a circuit's proving key, and sees that the verifying key is its other half.
    ///
    /// # Errors
    /// As for [`KeyFolder::verifying`]; [`AttestError::Pair`].
    pub fn proving(&self, circuit: Circuit) -> Result<ProvingKey, AttestError> {
        let path = self.proving_file(circuit);
        let key = read_proving(&path).map_err(|error| missing_or(error, circuit, &path))?;
        if key.circuit() != circuit {
            return Err(AttestError::OtherCircuit { path, circuit });
        }
        if key.verifying_key().digest() != self.verifying(circuit)?.digest() {
            return Err(AttestError::Pair { proving: path, verifying: self.verifying_file(circuit) });
        }
        Ok(key)
    }

    /// What there is to do for a circuit whose keys are to be those of a seed.
    ///
    /// # Errors
    /// [`AttestError::OtherSeed`] when the folder has keys of another one; [`AttestError::Key`] when files cannot be read at all.
    pub fn plan(&self, circuit: Circuit, seed: Seed) -> Result<Plan, AttestError> {
        let remembered = self.remembers(seed)?;
        let path = self.proving_file(circuit);
        let key = match read_proving(&path) {
            Ok(key) => key.verifying_key().clone(),
            Err(KeyFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(Plan::Make(None)),
            Err(KeyFileError::Io(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(AttestError::Key { path, source: error.into() });
            }
            Err(damage) => return Ok(Plan::Make(Some(damage))),
        };
        let pinned = key.digest().to_string() == circuit.development_digest();
        let of_seed = if seed.is_development() { pinned } else { remembered && !pinned };
        if key.circuit() != circuit || !of_seed {
            return Err(AttestError::OtherSeed { dir: self.dir.clone() });
        }
        let whole = read_verifying(&self.verifying_file(circuit)).is_ok_and(|other| other.digest() == key.digest());
        Ok(if whole { Plan::Keep(key.digest()) } else { Plan::Repair(Box::new(key)) })
    }

    /// Whether the folder's keys are said to come from this seed, which they are not if nothing is said.
    fn remembers(&self, seed: Seed) -> Result<bool, AttestError> {
        let path = self.seed_file();
        match std::fs::read_to_string(&path) {
            Ok(name) if name.trim() == seed.name() => Ok(true),
            Ok(_) => Err(AttestError::OtherSeed { dir: self.dir.clone() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(AttestError::Read { path, source }),
        }
    }

    fn remember(&self, seed: Seed) -> Result<(), AttestError> {
        if self.remembers(seed)? {
            return Ok(());
        }
        let path = self.seed_file();
        create_private_dir(&self.dir).map_err(|source| AttestError::Write { path: self.dir.clone(), source })?;
        let text = format!("{}\n", seed.name());
        match durable::write(&path, text.as_bytes(), Existing::Keep) {
            // Another process was quicker; it may have another seed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.remembers(seed).map(drop),
            written => written.map_err(|source| AttestError::Write { path, source }),
        }
    }

    fn seed_file(&self) -> PathBuf {
        self.dir.join("seed")
    }

    fn write_verifying(&self, key: &VerifyingKey, gate: &Gate) -> Result<(), AttestError> {
        let path = self.verifying_file(key.circuit());
        let written = gate.pass(|| durable::write_with(&path, Existing::Replace, |file| key.write(file)))?;
        written.map_err(|source| AttestError::WriteKey { path, source })
    }

    /// The verifying key goes last, so that where it is the proving key is too.
    fn write(&self, key: &ProvingKey, gate: &Gate) -> Result<(), AttestError> {
        let path = self.proving_file(key.circuit());
        let written = gate.pass(|| durable::write_with(&path, Existing::Replace, |file| key.write(file)))?;
        written.map_err(|source| AttestError::WriteKey { path, source })?;
        self.write_verifying(key.verifying_key(), gate)
    }

    fn pair(&self, circuit: Circuit, state: PairState, digest: Option<Digest>, took: Option<Duration>) -> Pair {
        let proving = self.proving_file(circuit);
        Pair {
            circuit: circuit_name(circuit),
            state,
            proving_bytes: std::fs::metadata(&proving).ok().map(|file| file.len()),
            proving,
            verifying: self.verifying_file(circuit),
            digest,
            took_ms: took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// What would be done for these circuits.
///
/// # Errors
/// As for [`KeyFolder::plan`].
pub fn plan(folder: &KeyFolder, circuits: &[Circuit], seed: Seed) -> Result<Vec<Pair>, AttestError> {
    let row = |circuit: &Circuit| {
        let (state, digest) = match folder.plan(*circuit, seed)? {
            Plan::Keep(digest) => (PairState::Kept, Some(digest)),
            Plan::Repair(key) => (PairState::WouldRepair, Some(key.digest())),
            Plan::Make(_) => (PairState::WouldMake, None),
        };
        Ok(folder.pair(*circuit, state, digest, None))
    };
    circuits.iter().map(row).collect()
}

/// Has the keys of these circuits in the folder, made from the seed unless they are there and whole.
///
/// # Errors
/// As for [`KeyFolder::plan`]; [`AttestError::Pinned`] when the circuits of this build are not those whose keys are pinned;
/// [`AttestError::Interrupted`]; what making or writing fails with.
pub fn setup(
    folder: &KeyFolder,
    circuits: &[Circuit],
    seed: Seed,
    threads: NonZeroUsize,
    gate: &Gate,
    progress: &Progress,
) -> Result<Vec<Pair>, AttestError> {
    let mut pairs = Vec::with_capacity(circuits.len());
    for &circuit in circuits {
        gate.check()?;
        let pair = match folder.plan(circuit, seed)? {
            Plan::Keep(digest) => folder.pair(circuit, PairState::Kept, Some(digest), None),
            Plan::Repair(key) => {
                folder.write_verifying(&key, gate)?;
                folder.pair(circuit, PairState::Repaired, Some(key.digest()), None)
            }
            Plan::Make(damage) => {
                gate.check()?;
                progress.tell(&Step::Making { circuit, damage: damage.as_ref() });
                let started = Instant::now();
                let digest = make(folder, circuit, seed, threads, gate)?;
                folder.pair(circuit, PairState::Made, Some(digest), Some(started.elapsed()))
            }
        };
        progress.tell(&Step::Keys(&pair));
        pairs.push(pair);
    }
    Ok(pairs)
}

fn make(folder: &KeyFolder, circuit: Circuit, seed: Seed, threads: NonZeroUsize, gate: &Gate) -> Result<Digest, AttestError> {
    let key = groth16::setup(circuit, &seed.0, threads).map_err(|source| AttestError::Setup { circuit, source })?;
    let digest = key.verifying_key().digest();
    if seed.is_development() && digest.to_string() != circuit.development_digest() {
        return Err(AttestError::Pinned { circuit, got: digest });
    }
    gate.pass(|| folder.remember(seed))??;
    folder.write(&key, gate)?;
    Ok(digest)
}

/// Reads a verifying key from any file.
///
/// # Errors
/// [`KeyFileError`].
pub fn read_verifying(path: &Path) -> Result<VerifyingKey, KeyFileError> {
    VerifyingKey::read(&mut BufReader::new(File::open(path)?))
}

fn read_proving(path: &Path) -> Result<ProvingKey, KeyFileError> {
    ProvingKey::read(&mut BufReader::new(File::open(path)?))
}

fn missing_or(error: KeyFileError, circuit: Circuit, path: &Path) -> AttestError {
    match error {
        KeyFileError::Io(error) if error.kind() == io::ErrorKind::NotFound => AttestError::NoKey { circuit, path: path.to_owned() },
        source => AttestError::Key { path: path.to_owned(), source },
    }
}

fn file_stem(circuit: Circuit) -> String {
    match circuit {
        Circuit::Attestation(_) => format!("attestation-{}", circuit_name(circuit)),
        Circuit::KeySet => circuit_name(circuit).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_64_digits_and_not_shown() {
        let seed: Seed = "ab".repeat(32).parse().unwrap();
        assert_eq!((seed.0, format!("{seed:?}")), ([0xab; 32], "Seed(hidden)".to_owned()));
        let development: Seed = hex::encode(groth16::development_seed()).parse().unwrap();
        assert!(development.is_development() && !seed.is_development());
        for wrong in ["", "ab", &"ab".repeat(33), &"xy".repeat(32)] {
            assert_eq!(wrong.parse::<Seed>(), Err(SeedError), "{wrong}");
        }
    }
}
