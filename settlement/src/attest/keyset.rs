//! The auditors whose certificates count: up to 64 keys, their commitment, and the proof that list and commitment agree.
//!
//! A registry holds the list, for people and nodes to read, and its Poseidon commitment, which proofs are made against. No contract
//! computes Poseidon, so the registry takes a new list only with a proof of [`KeySetCircuit`]. Whoever made the proof cannot have
//! chosen a list to fit, since the challenge hangs on list and commitment both:
//!
//! ```text
//! list       x0, y0, x1, y1, ..., x63, y63      128 numbers; (0, 0) in an unused place
//! listed     the hash of the cell in which the registry has the list, with each auditor's other key and its signature
//! commitment Poseidon(x0, y0, ..., y63)
//! r          the first 31 bytes of SHA-256(listed | commitment)
//! d          ((x0*r + y0)*r + x1)*r + ... + y63
//! public     commitment, r, d
//! ```
//!
//! The contract computes r and d from the list that it is about to store (128 steps of `MULMOD`), having checked that each number of it
//! is below the field's order. The proof says of a private list: it hashes to the commitment, its value at r is d, and each place is
//! either unused or 8 times a point of the curve, so in the prime-order subgroup, and not the identity. The commitment fixes the
//! private list before r is known, so if it differs from the stored one, their values at r agree with a chance of 127 in 2^248
//! for each list that somebody tries.
//!
//! The point (0, 0) is not on the curve, and [`AttestationCircuit`](super::circuit::AttestationCircuit) takes no key that is not:
//! nobody signs for an unused place.

use ark_bls12_381::Fr;
use ark_ec::{AffineRepr as _, CurveGroup as _};
use ark_ed_on_bls12_381::{EdwardsAffine, Fr as Exponent};
use ark_ff::{Field as _, Zero as _};
use ark_r1cs_std::alloc::AllocVar as _;
use ark_r1cs_std::eq::EqGadget as _;
use ark_r1cs_std::fields::FieldVar as _;
use ark_relations::gr1cs::{ConstraintSynthesizer, ConstraintSystemRef, SynthesisError};
use sha2::{Digest as _, Sha256};

use super::curve::{Point, Var};
use super::element::{Element, be_bytes, truncated};
use super::poseidon::{Purpose, hash, hash_gadget};
use super::schnorr::{PointError, PublicKey};

/// Places for keys. Six bits name one.
pub const PLACES: usize = 64;

/// Length of a list of keys.
pub const KEY_SET_BYTES: usize = 4096;

/// Why keys make no set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// More keys than places.
    #[error("{got} keys where a set has places for {PLACES}")]
    TooMany {
        /// Keys that came.
        got: usize,
    },
    /// A key has two places.
    #[error("place {place} repeats a key; list each auditor once")]
    Twice {
        /// The later place, counted from zero.
        place: usize,
    },
    /// Not as long as a list.
    #[error("{got} bytes where a list of keys has {KEY_SET_BYTES}")]
    Length {
        /// What came.
        got: usize,
    },
    /// A place has coordinates that are no key.
    #[error("place {place} holds no key")]
    Key {
        /// The place, counted from zero.
        place: usize,
        /// Why not.
        #[source]
        source: PointError,
    },
}

/// A list of auditors' keys. A key keeps its place for as long as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    places: [Option<PublicKey>; PLACES],
}

impl KeySet {
    /// The set of these places, the rest unused.
    ///
    /// # Errors
    /// [`KeySetError::TooMany`], [`KeySetError::Twice`].
    pub fn new(keys: &[Option<PublicKey>]) -> Result<Self, KeySetError> {
        if keys.len() > PLACES {
            return Err(KeySetError::TooMany { got: keys.len() });
        }
        let mut seen = std::collections::HashSet::new();
        if let Some(place) = keys.iter().position(|key| key.is_some_and(|key| !seen.insert(key))) {
            return Err(KeySetError::Twice { place });
        }
        let mut places = [None; PLACES];
        places.iter_mut().zip(keys).for_each(|(place, key)| *place = *key);
        Ok(Self { places })
    }

    /// Where a key is listed, counted from zero.
    pub fn place(&self, key: &PublicKey) -> Option<u8> {
        self.places.iter().zip(0u8..).find(|(place, _)| place.as_ref() == Some(key)).map(|(_, at)| at)
    }

    /// The keys and unused places in order.
    pub fn places(&self) -> &[Option<PublicKey>; PLACES] {
        &self.places
    }

    /// The list: 128 numbers of 32 bytes, big-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.coordinates().into_iter().flatten().flat_map(|coordinate| be_bytes(&coordinate)).collect()
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeySetError> {
        if bytes.len() != KEY_SET_BYTES {
            return Err(KeySetError::Length { got: bytes.len() });
        }
        let coordinates = bytes.as_chunks::<32>().0.as_chunks::<2>().0;
        let read = |(place, [x, y]): (usize, &[[u8; 32]; 2])| match PublicKey::from_coordinates(x, y) {
            Ok(key) => Ok(Some(key)),
            Err(_) if [x, y] == [&[0; 32]; 2] => Ok(None),
            Err(source) => Err(KeySetError::Key { place, source }),
        };
        Self::new(&coordinates.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?)
    }

    /// What proofs are made against.
    pub fn commitment(&self) -> Element {
        Element(commitment(&self.coordinates()))
    }

    /// The public inputs of the proof that list and commitment agree: commitment, r, d. `listed` is the hash of the registry's cell.
    pub fn inputs(&self, listed: &[u8; 32]) -> [Element; 3] {
        inputs(&self.coordinates(), listed, self.commitment())
    }

    pub(super) fn coordinates(&self) -> Vec<[Fr; 2]> {
        self.places.iter().map(|place| place.map_or([Fr::zero(); 2], |key| [key.point().x, key.point().y])).collect()
    }
}

pub(super) fn commitment(list: &[[Fr; 2]]) -> Fr {
    hash(Purpose::KeySet, list.as_flattened())
}

/// What a registry computes from a list and the commitment that came with it.
pub(super) fn inputs(list: &[[Fr; 2]], listed: &[u8; 32], commitment: Element) -> [Element; 3] {
    let challenge = truncated(Sha256::new().chain_update(listed).chain_update(commitment.to_be_bytes()).finalize().into());
    let value = list.as_flattened().iter().fold(Fr::zero(), |value, coordinate| value * challenge + coordinate);
    [commitment, Element(challenge), Element(value)]
}

/// All that the circuit takes, right or wrong.
#[derive(Clone, Debug)]
pub(super) struct KeySetAssignment {
    pub(super) inputs: [Fr; 3],
    /// The private list.
    pub(super) list: Vec<[Fr; 2]>,
    /// For each place a point that times 8 is its key.
    pub(super) eighths: Vec<[Fr; 2]>,
    /// For each place the inverse of x, or zero.
    pub(super) inverses: Vec<Fr>,
}

impl KeySetAssignment {
    /// One of the right shape, to make keys from.
    pub(super) fn blank() -> Self {
        let zero = Fr::zero();
        let pairs = vec![[zero; 2]; PLACES];
        Self { inputs: [zero; 3], list: pairs.clone(), eighths: pairs, inverses: vec![zero; PLACES] }
    }

    pub(super) fn new(keys: &KeySet, listed: &[u8; 32]) -> Self {
        let eighth = Exponent::from(8u8).inverse().unwrap_or_default();
        let of_place = |place: &Option<PublicKey>| {
            let point = place.map_or_else(EdwardsAffine::generator, |key| key.point());
            let point = (point * eighth).into_affine();
            [point.x, point.y]
        };
        let [commitment, challenge, value] = keys.inputs(listed).map(|element| element.0);
        let (list, eighths) = (keys.coordinates(), keys.places.iter().map(of_place).collect());
        let inverses = list.iter().map(|[x, _]| x.inverse().unwrap_or_default()).collect();
        Self { inputs: [commitment, challenge, value], list, eighths, inverses }
    }
}

/// "The list of this commitment has this value at this challenge, and holds nothing but keys."
#[derive(Clone, Debug)]
pub struct KeySetCircuit(pub(super) KeySetAssignment);

impl KeySetCircuit {
    /// The circuit of a set of keys that a registry has in the cell of this hash.
    pub fn new(keys: &KeySet, listed: &[u8; 32]) -> Self {
        Self(KeySetAssignment::new(keys, listed))
    }
}

impl ConstraintSynthesizer<Fr> for KeySetCircuit {
    fn generate_constraints(self, cs: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        let [commitment, challenge, value] = self.0.inputs.map(|input| Var::new_input(cs.clone(), || Ok(input)));
        let (commitment, challenge, value) = (commitment?, challenge?, value?);
        let list = places(&cs, &self.0.list)?;
        enforce_commitment(&cs, &list, &commitment)?;
        let coordinates = list.iter().flat_map(|key| [&key.x, &key.y]);
        coordinates.fold(Var::zero(), |value, coordinate| value * &challenge + coordinate).enforce_equal(&value)?;
        for ((key, eighth), inverse) in list.iter().zip(&places(&cs, &self.0.eighths)?).zip(&self.0.inverses) {
            enforce_key_or_unused(key, eighth, &Var::new_witness(cs.clone(), || Ok(*inverse))?)?;
        }
        Ok(())
    }
}

/// Pairs of coordinates as witnesses, one for each place.
pub(super) fn places(cs: &ConstraintSystemRef<Fr>, list: &[[Fr; 2]]) -> Result<Vec<Point>, SynthesisError> {
    if list.len() != PLACES {
        return Err(SynthesisError::Unsatisfiable);
    }
    let witness = |value: &Fr| Var::new_witness(cs.clone(), || Ok(*value));
    list.iter().map(|[x, y]| Ok(Point { x: witness(x)?, y: witness(y)? })).collect()
}

pub(super) fn enforce_commitment(cs: &ConstraintSystemRef<Fr>, list: &[Point], commitment: &Var) -> Result<(), SynthesisError> {
    let coordinates: Vec<_> = list.iter().flat_map(|key| [key.x.clone(), key.y.clone()]).collect();
    hash_gadget(cs, Purpose::KeySet, &coordinates)?.enforce_equal(commitment)
}

/// Enforces that a pair is (0, 0), or 8 times a point of the curve and not the identity.
///
/// The identity is the only point of the subgroup with x = 0, so `used` says whether x has an inverse: `x * inverse = used` makes it
/// zero for x = 0, and `x * (1 - used) = 0` makes it one for every other x.
fn enforce_key_or_unused(key: &Point, eighth: &Point, inverse: &Var) -> Result<(), SynthesisError> {
    let used = &key.x * inverse;
    key.x.mul_equals(&(Var::one() - &used), &Var::zero())?;
    eighth.defect()?.enforce_equal(&Var::zero())?;
    let whole = eighth.double()?.double()?.double()?;
    whole.x.mul_equals(&used, &key.x)?;
    whole.y.mul_equals(&used, &key.y)
}
