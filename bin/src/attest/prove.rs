//! Certificates into proofs: batch by batch, one file a proof, beside whatever else the machine does.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cocoon_market::{Amount, ContractAddress, NetworkId};
use cocoon_settlement::attest::evidence::Evidence;
use cocoon_settlement::attest::groth16::{Circuit, ProvingKey, Size, VerifyingKey};
use cocoon_settlement::attest::papers::{ATTESTATION_BYTES_MAX, Attestation, CERTIFICATES_BYTES_MAX, Certificates};
use serde::Serialize;

use super::budget::{Meter, Share};
use super::error::Refusal;
use super::{AttestError, Gate, KeyFolder, Progress, Step, circuit_name, priority};
use crate::config::Network;
use crate::durable::{self, Existing, read_at_most};
use crate::home::create_private_dir;

/// How certificates are proven.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The network that they must be for.
    pub network: Network,
    /// The largest circuit that is used.
    pub largest: Size,
    /// Threads of the prover.
    pub threads: NonZeroUsize,
    /// The share of the processors to stay within, if there is one.
    pub share: Option<Share>,
}

/// Certificates that one proof takes.
#[derive(Debug)]
pub struct Batch {
    evidence: Evidence,
    /// Where its proof is, or will be.
    file: PathBuf,
}

/// A batch and what was done with it.
#[derive(Clone, Debug, Serialize)]
pub struct Proven {
    /// What was done, or would be.
    pub state: State,
    /// Where the proof is, or would be.
    pub file: PathBuf,
    /// The chain.
    pub network: NetworkId,
    /// The provider's contract.
    pub provider: ContractAddress,
    /// The vault's epoch.
    pub epoch: u32,
    /// The first claim.
    pub first: u64,
    /// The last claim.
    pub last: u64,
    /// How many certificates there are, which the proof does not tell.
    pub certificates: usize,
    /// The claims' fees.
    pub fees_nanoton: Amount,
    /// The circuit, as command lines name it.
    pub circuit: &'static str,
    /// How long proving took, in milliseconds.
    pub took_ms: Option<u64>,
}

/// What was done with a batch, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its proof was there, and holds.
    There,
    /// It was proven.
    Proven,
    /// It would be proven.
    WouldProve,
}

/// Why the file of a batch is no proof of it.
#[derive(Debug, thiserror::Error)]
enum WrongFile {
    /// Other claims, fees, auditors or circuit.
    #[error("it is of something else")]
    Statement,
    /// It does not hold, or is no attestation.
    #[error("it does not hold")]
    Refused(#[from] Refusal),
}

impl Batch {
    fn circuit(&self) -> Circuit {
        Circuit::Attestation(self.evidence.size())
    }

    fn row(&self, state: State, took: Option<Duration>) -> Proven {
        let statement = self.evidence.statement();
        Proven {
            state,
            file: self.file.clone(),
            network: statement.network,
            provider: statement.provider,
            epoch: statement.epoch,
            first: statement.first,
            last: statement.last,
            certificates: self.evidence.certificates(),
            fees_nanoton: Amount::from_nano(statement.total_nanoton.into()),
            circuit: circuit_name(self.circuit()),
            took_ms: took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// Whether its proof is in its file, and holds.
    fn is_there(&self, key: &VerifyingKey) -> Result<bool, WrongFile> {
        let bytes = match read_at_most(&self.file, ATTESTATION_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Refusal::Read(error).into()),
        };
        let attestation = Attestation::from_json(&bytes).map_err(Refusal::from)?;
        if (attestation.statement, attestation.size) != (*self.evidence.statement(), self.evidence.size()) {
            return Err(WrongFile::Statement);
        }
        attestation.verify(key).map_err(Refusal::from)?;
        Ok(true)
    }

    fn prove(&self, key: &ProvingKey, threads: NonZeroUsize) -> Result<Attestation, AttestError> {
        let statement = self.evidence.statement();
        let mut blinding = [0u8; 32];
        getrandom::fill(&mut blinding).map_err(AttestError::Random)?;
        let proof = key.prove_attestation(&self.evidence, threads, &blinding);
        let failed = |source| AttestError::Prove { first: statement.first, last: statement.last, source };
        Ok(Attestation::new(*statement, self.evidence.size(), key.verifying_key(), &proof.map_err(failed)?))
    }

    fn write(&self, attestation: &Attestation, gate: &Gate) -> Result<(), AttestError> {
        let json = attestation.to_json().map_err(AttestError::Form)?;
        let written = gate.pass(|| durable::write(&self.file, &json, Existing::Replace))?;
        written.map_err(|source| AttestError::Write { path: self.file.clone(), source })
    }
}

/// Reads files of certificates, checks them, and splits each into as few batches as the circuits allow.
///
/// # Errors
/// [`AttestError::Read`], [`AttestError::Certificates`], [`AttestError::Evidence`], [`AttestError::Network`],
/// [`AttestError::SameEpoch`].
pub fn batches(files: &[PathBuf], out: &Path, options: &Options) -> Result<Vec<Batch>, AttestError> {
    let mut seen: BTreeMap<(ContractAddress, u32), &Path> = BTreeMap::new();
    let mut batches = Vec::new();
    for path in files {
        let evidence = read(path, options)?;
        let Some(statement) = evidence.first().map(Evidence::statement) else { continue };
        if let Some(first) = seen.insert((statement.provider, statement.epoch), path) {
            return Err(AttestError::SameEpoch { first: first.to_owned(), second: path.clone(), epoch: statement.epoch });
        }
        batches.extend(evidence.into_iter().map(|evidence| Batch { file: out.join(file_name(&evidence)), evidence }));
    }
    Ok(batches)
}

fn read(path: &Path, options: &Options) -> Result<Vec<Evidence>, AttestError> {
    let bytes = read_at_most(path, CERTIFICATES_BYTES_MAX).map_err(|source| AttestError::Read { path: path.to_owned(), source })?;
    let papers = Certificates::from_json(&bytes).map_err(|source| AttestError::Certificates { path: path.to_owned(), source })?;
    let network = papers.audited.first().map_or(options.network.id(), |first| first.certificate.network);
    if network != options.network.id() {
        return Err(AttestError::Network { path: path.to_owned(), network, configured: options.network });
    }
    let split = Evidence::split(&papers.keys, &papers.audited, options.largest);
    split.map_err(|source| AttestError::Evidence { path: path.to_owned(), source })
}

/// Provider, epoch and claims, so that a folder can hold the proofs of many.
fn file_name(evidence: &Evidence) -> String {
    let statement = evidence.statement();
    format!("{}-{}-{}-{}.attestation.json", statement.provider.short(), statement.epoch, statement.first, statement.last)
}

/// What would be done with these batches. Without its verifying key no proof can be known to be there.
pub fn plan(batches: &[Batch], folder: &KeyFolder) -> Vec<Proven> {
    let row = |batch: &Batch| {
        let is_there = folder.verifying(batch.circuit()).is_ok_and(|key| batch.is_there(&key).unwrap_or(false));
        batch.row(if is_there { State::There } else { State::WouldProve }, None)
    };
    batches.iter().map(row).collect()
}

/// Proves these batches one after another, but for those whose proof is there. Takes the least priority for its thread and those that
/// it starts. Closing the gate ends it between two batches; one that is being proven then is lost.
///
/// # Errors
/// Missing, damaged and development keys where those do not count; [`AttestError::Prove`], [`AttestError::Write`],
/// [`AttestError::Interrupted`]. What was proven before is kept.
pub fn prove(
    batches: &[Batch],
    out: &Path,
    folder: &KeyFolder,
    options: &Options,
    gate: &Gate,
    progress: &Progress,
) -> Result<Vec<Proven>, AttestError> {
    if let Err(error) = priority::lowest() {
        tracing::warn!(%error, "the priority stays as it is");
    }
    let meter = Meter::start(options.threads);
    let verifying = admitted(batches, folder, options.network)?;
    create_private_dir(out).map_err(|source| AttestError::Write { path: out.to_owned(), source })?;
    let mut proving: Option<(Size, ProvingKey)> = None;
    let (mut done, mut is_first) = (Vec::with_capacity(batches.len()), true);
    for (batch, at) in batches.iter().zip(1..) {
        gate.check()?;
        let size = batch.evidence.size();
        let row = if verifying.get(&size).is_some_and(|key| is_there(batch, key, progress)) {
            batch.row(State::There, None)
        } else {
            let key = match proving.take() {
                Some((of, key)) if of == size => key,
                _ => {
                    progress.tell(&Step::Loading { circuit: batch.circuit() });
                    folder.proving(batch.circuit())?
                }
            };
            if !std::mem::take(&mut is_first) {
                keep_within(options.share, &meter, gate, progress)?;
            }
            gate.check()?;
            progress.tell(&Step::Proving { batch: &batch.row(State::WouldProve, None), at, of: batches.len() });
            let started = Instant::now();
            let attestation = batch.prove(&key, options.threads)?;
            batch.write(&attestation, gate)?;
            proving = Some((size, key));
            batch.row(State::Proven, Some(started.elapsed()))
        };
        progress.tell(&Step::Proof(&row));
        done.push(row);
    }
    Ok(done)
}

/// The verifying keys that these batches need, all of which count on the network.
fn admitted(batches: &[Batch], folder: &KeyFolder, network: Network) -> Result<BTreeMap<Size, VerifyingKey>, AttestError> {
    let mut keys = BTreeMap::new();
    for batch in batches {
        if keys.contains_key(&batch.evidence.size()) {
            continue;
        }
        let key = folder.verifying(batch.circuit())?;
        let path = || folder.verifying_file(batch.circuit());
        key.admit(network.id()).map_err(|source| AttestError::DevelopmentKey { path: path(), source })?;
        keys.insert(batch.evidence.size(), key);
    }
    Ok(keys)
}

/// Whether a batch's proof is there. One that is wrong is told of, and counts as none.
fn is_there(batch: &Batch, key: &VerifyingKey, progress: &Progress) -> bool {
    batch.is_there(key).unwrap_or_else(|why| {
        progress.tell(&Step::Wrong { file: &batch.file, why: &why });
        false
    })
}

/// Waits until what the run has used is within its share.
fn keep_within(share: Option<Share>, meter: &Meter, gate: &Gate, progress: &Progress) -> Result<(), AttestError> {
    let Some(share) = share else { return Ok(()) };
    let (used, lasted) = meter.read();
    let pause = share.pause(used, lasted);
    if !pause.is_zero() {
        progress.tell(&Step::Pausing(pause));
        gate.pause(pause)?;
    }
    Ok(())
}
