//! The verifying keys that [`setup`](super::groth16::setup) makes from the development seed, so that a network can be founded without
//! making them. Proving keys are too large to be kept here; each of these says which one fits it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use tonlib_core::cell::ArcCell;

use super::groth16::{Circuit, Origin, Size, VERIFYING_KEY_BYTES, VerifyingKey};

/// The keys compiled into this program are damaged, which a test rules out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the development keys in this program are damaged; take another build")]
pub struct PinnedKeyError;

/// Keys by circuit, in hexadecimal.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Keys {
    #[serde(rename = "attestation-4")]
    four: String,
    #[serde(rename = "attestation-16")]
    sixteen: String,
    #[serde(rename = "attestation-64")]
    sixty_four: String,
    key_set: String,
}

static KEYS: LazyLock<Option<Keys>> = LazyLock::new(|| serde_json::from_str(include_str!("development-keys.json")).ok());

/// The development key of a circuit, by its pinned digest.
///
/// # Errors
/// [`PinnedKeyError`].
pub fn development_key(circuit: Circuit) -> Result<VerifyingKey, PinnedKeyError> {
    let keys = KEYS.as_ref().ok_or(PinnedKeyError)?;
    let text = match circuit {
        Circuit::Attestation(Size::Four) => &keys.four,
        Circuit::Attestation(Size::Sixteen) => &keys.sixteen,
        Circuit::Attestation(Size::SixtyFour) => &keys.sixty_four,
        Circuit::KeySet => &keys.key_set,
    };
    let mut bytes = [0u8; VERIFYING_KEY_BYTES];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| PinnedKeyError)?;
    let key = VerifyingKey::from_points(circuit, Origin::Development, &bytes).map_err(|_| PinnedKeyError)?;
    if key.digest().to_string() == circuit.development_digest() { Ok(key) } else { Err(PinnedKeyError) }
}

/// All of them as contracts keep them: by the circuit's number.
///
/// # Errors
/// [`PinnedKeyError`].
pub fn development_cells() -> Result<BTreeMap<u8, ArcCell>, PinnedKeyError> {
    let cell = |circuit: Circuit| Ok((circuit.number(), development_key(circuit)?.to_cell().map_err(|_| PinnedKeyError)?));
    Circuit::ALL.into_iter().map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_circuit_has_the_key_of_its_digest() {
        for circuit in Circuit::ALL {
            assert_eq!(development_key(circuit).unwrap().circuit(), circuit);
        }
    }
}
