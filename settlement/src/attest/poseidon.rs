//! Poseidon over BLS12-381's scalar field: the hash that is cheap inside a proof, and that no contract ever computes.
//!
//! A sponge of rate 4 and capacity 1 with the S-box x^5, 8 full and 60 partial rounds, and one element squeezed. The round constants
//! and the matrix come from the Grain generator of the Poseidon paper. Every hash begins with a number for its purpose, and each
//! purpose has one input length, so that no hash passes for another.
//!
//! # Source
//! Grassi, Khovratovich, Rechberger, Roy, Schofnegger: "Poseidon", USENIX Security 2021 (eprint 2019/458); the parameters are the
//! reference implementation's `poseidonperm_x5_255_5`, whose published permutation the tests compute.

use std::sync::LazyLock;

use ark_bls12_381::Fr;
use ark_crypto_primitives::sponge::constraints::CryptographicSpongeVar as _;
use ark_crypto_primitives::sponge::poseidon::constraints::PoseidonSpongeVar;
use ark_crypto_primitives::sponge::poseidon::{PoseidonConfig, PoseidonSponge, find_poseidon_ark_and_mds};
use ark_crypto_primitives::sponge::{CryptographicSponge as _, FieldBasedCryptographicSponge as _};
use ark_r1cs_std::fields::fp::FpVar;
use ark_relations::gr1cs::{ConstraintSystemRef, SynthesisError};

/// Elements absorbed at a time.
const RATE: usize = 4;
const CAPACITY: usize = 1;
const FULL_ROUNDS: usize = 8;
const PARTIAL_ROUNDS: usize = 60;
const ALPHA: u64 = 5;
const FIELD_BITS: u64 = 255;

static PARAMETERS: LazyLock<PoseidonConfig<Fr>> = LazyLock::new(|| {
    let rounds = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let (constants, matrix) = find_poseidon_ark_and_mds(FIELD_BITS, RATE, rounds(FULL_ROUNDS), rounds(PARTIAL_ROUNDS), 0);
    PoseidonConfig::new(FULL_ROUNDS, PARTIAL_ROUNDS, ALPHA, matrix, constants, RATE, CAPACITY)
});

/// What is hashed. The number is the first element absorbed; the length is that of all inputs after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A certificate: 5 elements.
    Certificate,
    /// The challenge of a signature: 5 elements.
    Challenge,
    /// The list of auditors' keys: 128 elements.
    KeySet,
    /// The ed25519 key that an auditor's second key is tied to: 2 elements.
    Binding,
}

impl Purpose {
    fn element(self) -> Fr {
        Fr::from(match self {
            Self::Certificate => 1u8,
            Self::Challenge => 2,
            Self::KeySet => 3,
            Self::Binding => 4,
        })
    }
}

/// The hash of some elements, for a purpose.
pub(super) fn hash(purpose: Purpose, inputs: &[Fr]) -> Fr {
    let mut sponge = PoseidonSponge::new(&PARAMETERS);
    sponge.absorb(&purpose.element());
    sponge.absorb(&inputs);
    // One element is asked for and one comes.
    sponge.squeeze_native_field_elements(1).into_iter().next().unwrap_or_default()
}

/// The same, inside a circuit.
pub(super) fn hash_gadget(cs: &ConstraintSystemRef<Fr>, purpose: Purpose, inputs: &[FpVar<Fr>]) -> Result<FpVar<Fr>, SynthesisError> {
    let mut sponge = PoseidonSpongeVar::new(cs.clone(), &PARAMETERS);
    sponge.absorb(&FpVar::Constant(purpose.element()))?;
    sponge.absorb(&inputs)?;
    sponge.squeeze_field_elements(1)?.into_iter().next().ok_or(SynthesisError::Unsatisfiable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attest::element::be_bytes;
    use ark_r1cs_std::GR1CSVar as _;
    use ark_r1cs_std::alloc::AllocVar as _;
    use ark_relations::gr1cs::ConstraintSystem;
    use proptest::prelude::*;

    /// `poseidonperm_x5_255_5` of the reference implementation's test vectors: the permutation of 0, 1, 2, 3, 4, of which a sponge over
    /// 1, 2, 3, 4 squeezes all but the first.
    const REFERENCE: [&str; 4] = [
        "65ebf8671739eeb11fb217f2d5c5bf4a0c3f210e3f3cd3b08b5db75675d797f7",
        "2cc176fc26bc70737a696a9dfd1b636ce360ee76926d182390cdb7459cf585ce",
        "4dc4e29d283afd2a491fe6aef122b9a968e74eff05341f3cc23fda1781dcb566",
        "03ff622da276830b9451b88b85e6184fd6ae15c8ab3ee25a5667be8592cce3b1",
    ];

    #[test]
    fn the_permutation_is_the_reference_implementations() {
        let mut sponge = PoseidonSponge::new(&PARAMETERS);
        sponge.absorb(&[1u8, 2, 3, 4].map(Fr::from).as_slice());
        let squeezed: Vec<_> = sponge.squeeze_native_field_elements(4).iter().map(|e| hex::encode(be_bytes(e))).collect();
        assert_eq!(squeezed, REFERENCE);
    }

    #[test]
    fn purposes_and_inputs_have_their_own_hashes() {
        let one = [Fr::from(1u8); 5];
        let all = [Purpose::Certificate, Purpose::Challenge, Purpose::KeySet, Purpose::Binding].map(|purpose| hash(purpose, &one));
        let mut other = one;
        other[4] = Fr::from(2u8);
        let all: std::collections::BTreeSet<_> = all.into_iter().chain([hash(Purpose::Certificate, &other)]).collect();
        assert_eq!(all.len(), 5);
        assert_eq!(hex::encode(be_bytes(&hash(Purpose::Certificate, &one))), PINNED);
    }

    /// Of this implementation, so that no change of the arithmetic below goes unseen.
    const PINNED: &str = "321bb914b0c64f76b348f98a0c63fa47442c9cf3405f58793e028d409b7830e1";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn a_circuit_computes_the_same_hash(inputs in prop::collection::vec(any::<u128>(), 1..12)) {
            let cs = ConstraintSystem::new_ref();
            let inputs: Vec<_> = inputs.into_iter().map(Fr::from).collect();
            let variables: Vec<_> = inputs.iter().map(|x| FpVar::new_witness(cs.clone(), || Ok(x)).unwrap()).collect();
            let hashed = hash_gadget(&cs, Purpose::Challenge, &variables).unwrap();
            prop_assert_eq!(hashed.value().unwrap(), hash(Purpose::Challenge, &inputs));
            prop_assert!(cs.is_satisfied().unwrap());
        }
    }
}
