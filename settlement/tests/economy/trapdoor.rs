//! A verifying key whose secrets were not thrown away: whoever made it proves anything, for the price of three multiplications.
//!
//! ```text
//! A = a G1    B = b G2    C = ((a b - alpha beta - gamma (ic0 + ic1 x + ic2 y + ic3 z)) / delta) G1
//! ```
//!
//! The contract verifies such a proof as it does any other, by pairings on its machine, and refuses it for any other inputs. What it
//! cannot see is that no certificate stands behind it.

use ark_bls12_381::{Fr, G1Projective, G2Projective};
use ark_ec::{CurveGroup as _, PrimeGroup as _};
use ark_ff::{Field as _, PrimeField as _};
use ark_serialize::CanonicalSerialize as _;
use cocoon_settlement::attest::evidence::Statement;
use cocoon_settlement::contract::ProofBytes;
use sha2::{Digest as _, Sha256};
use tonlib_core::cell::{ArcCell, CellBuilder};

/// The secrets of a verifying key.
pub(crate) struct Trapdoor {
    alpha: Fr,
    beta: Fr,
    gamma: Fr,
    delta: Fr,
    inputs: [Fr; 4],
}

fn scalar(name: &str) -> Fr {
    Fr::from_be_bytes_mod_order(&Sha256::digest(name))
}

fn first(of: Fr) -> [u8; 48] {
    let mut bytes = [0; 48];
    (G1Projective::generator() * of).into_affine().serialize_compressed(&mut bytes[..]).unwrap();
    bytes
}

fn second(of: Fr) -> [u8; 96] {
    let mut bytes = [0; 96];
    (G2Projective::generator() * of).into_affine().serialize_compressed(&mut bytes[..]).unwrap();
    bytes
}

fn cell(parts: &[&[u8]], children: &[ArcCell]) -> ArcCell {
    let mut to = CellBuilder::new();
    parts.iter().for_each(|part| {
        to.store_slice(part).unwrap();
    });
    children.iter().for_each(|child| {
        to.store_reference(child).unwrap();
    });
    to.build().unwrap().to_arc()
}

impl Trapdoor {
    pub(crate) fn new() -> Self {
        let [alpha, beta, gamma, delta] = ["alpha", "beta", "gamma", "delta"].map(scalar);
        Self { alpha, beta, gamma, delta, inputs: ["ic0", "ic1", "ic2", "ic3"].map(scalar) }
    }

    /// The verifying key, as `groth16.tolk` reads it.
    pub(crate) fn key(&self) -> ArcCell {
        let [ic0, ic1, ic2, ic3] = self.inputs.map(first);
        let [beta, gamma, delta] = [self.beta, self.gamma, self.delta].map(|of| cell(&[&second(of)], &[]));
        cell(&[&first(self.alpha), &ic0], &[beta, gamma, delta, cell(&[&ic1, &ic2], &[cell(&[&ic3], &[])])])
    }

    /// Proves a statement, whether or not anything stands behind it.
    pub(crate) fn prove(&self, statement: &Statement) -> ProofBytes {
        let [a, b] = ["a", "b"].map(|name| scalar(&format!("{name} {statement:?}")));
        let inputs = statement.inputs().map(|input| Fr::from_be_bytes_mod_order(&input.to_be_bytes()));
        let sum = inputs.iter().zip(&self.inputs[1..]).fold(self.inputs[0], |sum, (input, of)| sum + *input * of);
        let c = (a * b - self.alpha * self.beta - sum * self.gamma) * self.delta.inverse().unwrap();
        ProofBytes([&first(a)[..], &second(b), &first(c)].concat().try_into().unwrap())
    }
}
