//! What attestations are made of, for the tests of this room; the attacks stand in the files below.

mod auditor;
mod circuit;
mod evidence;
mod keyset;
mod papers;
mod proofs;
mod schnorr;
mod vectors;

use std::num::NonZeroUsize;
use std::sync::LazyLock;

use ark_bls12_381::Fr;
use ark_relations::gr1cs::{ConstraintSynthesizer, ConstraintSystem};
use cocoon_market::ids::Digest;
use cocoon_market::{Certificate, ContractAddress, NetworkId};

use super::evidence::{Audited, Evidence};
use super::groth16::{Circuit, ProvingKey, Size, development_seed, setup};
use super::keyset::KeySet;
use super::schnorr::SecretKey;

const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// The development keys of four slots.
static FOUR: LazyLock<ProvingKey> = LazyLock::new(|| setup(Circuit::Attestation(Size::Four), &development_seed(), THREADS).unwrap());

fn auditor(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// Auditors 1, 2 and 3 in places 0, 2 and 3.
fn keys() -> KeySet {
    KeySet::new(&[Some(auditor(1).public()), None, Some(auditor(2).public()), Some(auditor(3).public())]).unwrap()
}

fn certificate(claim: u64, fee_nanoton: u64) -> Certificate {
    let segment = Digest([u8::try_from(claim % 251).unwrap(); 32]);
    Certificate { network: NetworkId::DEVNET, provider: ContractAddress([0x51; 32]), epoch: 20_000, claim, fee_nanoton, segment }
}

fn audited(by: u8, certificate: Certificate) -> Audited {
    Audited { certificate, auditor: auditor(by).public(), signature: auditor(by).sign(&certificate) }
}

/// Three certificates, so that one of four slots stays unused.
fn three() -> [Audited; 3] {
    [audited(1, certificate(7, 50_000_000)), audited(3, certificate(8, 1)), audited(1, certificate(1_000, 25_000_001))]
}

fn evidence() -> Evidence {
    Evidence::new(&keys(), &three()).unwrap()
}

fn satisfied(circuit: impl ConstraintSynthesizer<Fr>) -> bool {
    let cs = ConstraintSystem::new_ref();
    circuit.generate_constraints(cs.clone()).unwrap();
    cs.is_satisfied().unwrap()
}

/// The hash of the cell in which a registry has the list.
const LISTED: [u8; 32] = [0x11; 32];
