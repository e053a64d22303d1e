//! Attestations of anybody, checked against their statements.

use std::path::{Path, PathBuf};

use cocoon_market::{Amount, ContractAddress, NetworkId};
use cocoon_settlement::attest::groth16::{Origin, VerifyingKey};
use cocoon_settlement::attest::papers::{ATTESTATION_BYTES_MAX, Attestation};
use cocoon_settlement::attest::pinned;
use serde::Serialize;

use super::error::Refusal;
use super::keys::read_verifying;
use super::{AttestError, KeyFolder, circuit_name};
use crate::durable::read_at_most;
use crate::failure::chain_text;

/// What became of one file.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The file.
    pub file: PathBuf,
    /// Whether the proof shows the statement.
    pub holds: bool,
    /// What it states, if it can be read.
    #[serde(flatten)]
    pub statement: Option<Stated>,
    /// Why it does not hold.
    pub error: Option<String>,
}

/// What a file states.
#[derive(Clone, Debug, Serialize)]
pub struct Stated {
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
    /// The claims' fees.
    pub fees_nanoton: Amount,
    /// The auditors' commitment, in hexadecimal.
    pub auditors: String,
    /// The circuit, as command lines name it.
    pub circuit: &'static str,
    /// Whether the key comes from a seed, so that whoever knows it proves anything; none where there is no key.
    pub development: Option<bool>,
}

/// Checks files, each with the key that it names: one of the files of keys, this program's development key, or that of the folder.
///
/// # Errors
/// [`AttestError::Key`] for a file of keys that is none; what is wrong with attestations is in the rows.
pub fn verify(files: &[PathBuf], keys: &[PathBuf], folder: &KeyFolder) -> Result<Vec<(Checked, Option<Refusal>)>, AttestError> {
    let read = |path: &PathBuf| read_verifying(path).map_err(|source| AttestError::Key { path: path.clone(), source });
    let keys = keys.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(files.iter().map(|path| check(path, &keys, folder)).collect())
}

fn check(path: &Path, keys: &[VerifyingKey], folder: &KeyFolder) -> (Checked, Option<Refusal>) {
    let (statement, refusal) = match attestation(path) {
        Err(refusal) => (None, Some(refusal)),
        Ok(attestation) => match key_of(&attestation, keys, folder) {
            Err(error) => (Some(stated(&attestation, None)), Some(Refusal::Key(Box::new(error)))),
            Ok(key) => (Some(stated(&attestation, Some(&key))), attestation.verify(&key).err().map(Refusal::from)),
        },
    };
    let error = refusal.as_ref().map(|refusal| chain_text(refusal));
    (Checked { file: path.to_owned(), holds: refusal.is_none(), statement, error }, refusal)
}

fn attestation(path: &Path) -> Result<Attestation, Refusal> {
    Ok(Attestation::from_json(&read_at_most(path, ATTESTATION_BYTES_MAX)?)?)
}

fn key_of(attestation: &Attestation, keys: &[VerifyingKey], folder: &KeyFolder) -> Result<VerifyingKey, AttestError> {
    let circuit = attestation.circuit();
    let own = pinned::development_key(circuit).ok();
    let known = keys.iter().chain(&own).find(|key| key.digest() == attestation.key);
    known.cloned().map_or_else(|| folder.verifying(circuit), Ok)
}

fn stated(attestation: &Attestation, key: Option<&VerifyingKey>) -> Stated {
    let statement = &attestation.statement;
    Stated {
        network: statement.network,
        provider: statement.provider,
        epoch: statement.epoch,
        first: statement.first,
        last: statement.last,
        fees_nanoton: Amount::from_nano(statement.total_nanoton.into()),
        auditors: statement.auditors.to_string(),
        circuit: circuit_name(attestation.circuit()),
        development: key.map(|key| key.origin() == Origin::Development),
    }
}
