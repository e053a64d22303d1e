//! Schnorr signatures on Jubjub: an auditor's second key, under which a proof can hide who audited.
//!
//! ```text
//! key        A = a*G                      32 bytes, compressed
//! signature  R = k*G, s = k + c*a         64 bytes: R compressed, s little-endian
//! challenge  c = low 128 bits of Poseidon(R.x, R.y, A.x, A.y, m)
//! accepted   s*G = R + c*A
//! ```
//!
//! The nonce k comes from the key and the message through SHA-512, so no signer depends on a random generator. A [`PublicKey`] is always in
//! the subgroup of prime order and never its identity: no other value can be made. Arithmetic with secrets is not constant in
//! time; sign on machines that nobody else shares.
//!
//! # Source
//! The curve is Zcash's Jubjub (protocol specification, 5.4.9.3) with arkworks' generator of its prime-order subgroup.

use std::fmt;

use ark_bls12_381::Fr;
use ark_ec::{AffineRepr as _, CurveGroup as _, PrimeGroup as _};
use ark_ed_on_bls12_381::{EdwardsAffine, EdwardsProjective, Fr as Exponent};
use ark_ff::PrimeField as _;
use ark_serialize::{CanonicalDeserialize as _, CanonicalSerialize as _};
use cocoon_market::ids::Digest;
use cocoon_market::keys::BadSignature;
use cocoon_market::layout;
use cocoon_market::{AuditorKey, Certificate, NetworkId, OperatorKey, Signature as Ed25519Signature};
use sha2::{Digest as _, Sha512};
use zeroize::Zeroize as _;

use super::domain::digest;
use super::element::{be_bytes, halves};
use super::poseidon::{Purpose, hash};

const SECRET_DOMAIN: &[u8] = b"cocoon jubjub secret 1";
const NONCE_DOMAIN: &[u8] = b"cocoon jubjub nonce 1";

/// Length of a public key, compressed.
pub const PUBLIC_KEY_BYTES: usize = 32;

/// Length of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Bytes or coordinates that no auditor may have as a key, or no signer as a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PointError {
    /// Not the one encoding of a point of the curve's prime-order subgroup.
    #[error("not a point of jubjub's prime-order subgroup in its only encoding")]
    Point,
    /// The identity: everybody could sign for it.
    #[error("the identity is nobody's key")]
    Identity,
    /// A response that is not below the subgroup's order.
    #[error("the signature's response is not below the order of the subgroup")]
    Response,
}

/// An auditor's public key on Jubjub.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(EdwardsAffine);

impl PublicKey {
    fn new(point: EdwardsAffine) -> Result<Self, PointError> {
        if !point.is_on_curve() || !point.is_in_correct_subgroup_assuming_on_curve() {
            return Err(PointError::Point);
        }
        if point.is_zero() { Err(PointError::Identity) } else { Ok(Self(point)) }
    }

    /// Reads a compressed key.
    ///
    /// # Errors
    /// [`PointError`].
    pub fn from_bytes(bytes: &[u8; PUBLIC_KEY_BYTES]) -> Result<Self, PointError> {
        Self::new(decompress(bytes)?)
    }

    /// Reads a key from its affine coordinates, 32 big-endian bytes each.
    ///
    /// # Errors
    /// [`PointError`].
    pub fn from_coordinates(x: &[u8; 32], y: &[u8; 32]) -> Result<Self, PointError> {
        let read = |bytes| super::Element::from_be_bytes(bytes).map_err(|_| PointError::Point);
        Self::new(EdwardsAffine::new_unchecked(read(x)?.0, read(y)?.0))
    }

    /// The compressed key.
    pub fn to_bytes(&self) -> [u8; PUBLIC_KEY_BYTES] {
        compress(&self.0)
    }

    /// The affine coordinates, 32 big-endian bytes each: what a registry lists.
    pub fn coordinates(&self) -> [[u8; 32]; 2] {
        [be_bytes(&self.0.x), be_bytes(&self.0.y)]
    }

    pub(super) fn point(&self) -> EdwardsAffine {
        self.0
    }

    /// Checks a signature over a certificate.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, certificate: &Certificate, signature: &Signature) -> Result<(), BadSignature> {
        self.verify_element(digest(certificate), signature)
    }

    fn verify_element(&self, message: Fr, signature: &Signature) -> Result<(), BadSignature> {
        let challenge = Exponent::from(challenge(&signature.commitment, &self.0, message));
        let left = EdwardsProjective::generator() * signature.response;
        if left == self.0 * challenge + signature.commitment { Ok(()) } else { Err(BadSignature) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.to_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "jubjub::PublicKey({self})")
    }
}

/// An auditor's secret key on Jubjub. Wiped from memory when dropped.
pub struct SecretKey {
    scalar: Exponent,
    nonces: [u8; 64],
    public: EdwardsAffine,
}

impl SecretKey {
    /// The key of this 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let scalar = reduced(Sha512::new().chain_update(SECRET_DOMAIN).chain_update(seed));
        let nonces = Sha512::new().chain_update(NONCE_DOMAIN).chain_update(seed).finalize().into();
        Self { scalar, nonces, public: (EdwardsProjective::generator() * scalar).into_affine() }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.public)
    }

    /// Signs a certificate.
    pub fn sign(&self, certificate: &Certificate) -> Signature {
        self.sign_element(digest(certificate))
    }

    /// Signs what no certificate could say, as an auditor that colludes would.
    #[cfg(test)]
    pub(super) fn collude(&self, domain: Fr, claim: Fr, fee: Fr, segment: [Fr; 2]) -> (u128, Exponent) {
        let message = super::domain::message(domain, claim, fee, segment);
        self.sign_element(message).parts(&self.public(), message)
    }

    fn sign_element(&self, message: Fr) -> Signature {
        let mut nonce = reduced(Sha512::new().chain_update(self.nonces).chain_update(be_bytes(&message)));
        let commitment = (EdwardsProjective::generator() * nonce).into_affine();
        let challenge = Exponent::from(challenge(&commitment, &self.public, message));
        let response = nonce + challenge * self.scalar;
        nonce.zeroize();
        Signature { commitment, response }
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.scalar.zeroize();
        self.nonces.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "jubjub::SecretKey({})", self.public())
    }
}

/// A signature by a [`SecretKey`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature {
    commitment: EdwardsAffine,
    response: Exponent,
}

impl Signature {
    /// The compressed commitment, then the response, little-endian.
    pub fn to_bytes(&self) -> [u8; SIGNATURE_BYTES] {
        layout::fill([&compress(&self.commitment), &little_endian(&self.response)])
    }

    /// Reads a signature.
    ///
    /// # Errors
    /// [`PointError`].
    pub fn from_bytes(bytes: &[u8; SIGNATURE_BYTES]) -> Result<Self, PointError> {
        let ([commitment, response], _) = bytes.as_chunks::<32>() else { return Err(PointError::Point) };
        let commitment = decompress(commitment)?;
        let number = Exponent::from_le_bytes_mod_order(response);
        if little_endian(&number) == *response { Ok(Self { commitment, response: number }) } else { Err(PointError::Response) }
    }

    /// The challenge and the response that a circuit checks.
    pub(super) fn parts(&self, key: &PublicKey, message: Fr) -> (u128, Exponent) {
        (challenge(&self.commitment, &key.0, message), self.response)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "jubjub::Signature({})", hex::encode(self.to_bytes()))
    }
}

/// Length of a [`KeyBinding`].
pub const KEY_BINDING_BYTES: usize = 232;

/// Why a second key is not tied to its auditor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    /// The coordinates are no key.
    #[error("the coordinates are not an auditor's key: {0}")]
    Key(#[from] PointError),
    /// The auditor did not sign for the key.
    #[error("the auditor's ed25519 key did not sign for this key; sign the binding again with it")]
    Owner,
    /// The key did not sign for the auditor.
    #[error("the jubjub key did not sign for this auditor, so the auditor may not have it; sign again with both keys")]
    Possession,
}

/// An auditor's two keys, each of which signed for the other.
///
/// The ed25519 key signs the fixed layout of [`AuditorKey`]. The Jubjub key signs Poseidon over the two halves of the ed25519 key, so
/// that nobody registers a key that is not theirs.
///
/// ```text
/// AuditorKey 104 | ed25519 signature 64 | jubjub signature 64
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyBinding {
    /// What the ed25519 key signed.
    pub statement: AuditorKey,
    /// Of the ed25519 key, over the statement.
    pub owner: Ed25519Signature,
    /// Of the Jubjub key, over the ed25519 key.
    pub possession: Signature,
}

impl KeyBinding {
    /// Ties two keys of one auditor.
    pub fn new(network: NetworkId, auditor: &OperatorKey, key: &SecretKey) -> Self {
        let [x, y] = key.public().coordinates().map(Digest);
        let statement = AuditorKey { network, auditor: auditor.node_id(), x, y };
        Self { statement, owner: statement.sign(auditor), possession: key.sign_element(possession(&statement)) }
    }

    /// Checks both signatures, and returns the key.
    ///
    /// # Errors
    /// [`BindingError`].
    pub fn verify(&self) -> Result<PublicKey, BindingError> {
        let key = PublicKey::from_coordinates(self.statement.x.as_bytes(), self.statement.y.as_bytes())?;
        self.statement.verify(&self.owner).map_err(|_| BindingError::Owner)?;
        key.verify_element(possession(&self.statement), &self.possession).map_err(|_| BindingError::Possession)?;
        Ok(key)
    }

    /// As it travels.
    pub fn to_bytes(&self) -> [u8; KEY_BINDING_BYTES] {
        layout::fill([&self.statement.to_bytes(), self.owner.as_bytes(), &self.possession.to_bytes()])
    }

    /// Reads the layout; [`KeyBinding::verify`] checks it.
    ///
    /// # Errors
    /// [`BindingReadError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BindingReadError> {
        let length = BindingReadError::Length { got: bytes.len() };
        let (statement, rest) = bytes.split_at_checked(cocoon_market::certificate::AUDITOR_KEY_BYTES).ok_or(length)?;
        let ([owner, possession], []) = rest.as_chunks::<64>() else { return Err(length) };
        Ok(Self {
            statement: AuditorKey::from_bytes(statement)?,
            owner: Ed25519Signature(*owner),
            possession: Signature::from_bytes(possession)?,
        })
    }
}

/// Bytes that are no [`KeyBinding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BindingReadError {
    /// Not as long as the layout.
    #[error("{got} bytes where a key binding has 232")]
    Length {
        /// What came.
        got: usize,
    },
    /// No statement.
    #[error("the statement of a key binding")]
    Statement(#[from] cocoon_market::layout::LayoutError),
    /// No signature.
    #[error("the signature of a key binding")]
    Signature(#[from] PointError),
}

fn possession(statement: &AuditorKey) -> Fr {
    hash(Purpose::Binding, &halves(statement.auditor.as_bytes()))
}

/// The low 128 bits of the hash of commitment, key and message.
pub(super) fn challenge(commitment: &EdwardsAffine, key: &EdwardsAffine, message: Fr) -> u128 {
    let [first, second, ..] = challenge_hash(commitment, key, message).into_bigint().0;
    u128::from(second) << 64 | u128::from(first)
}

pub(super) fn challenge_hash(commitment: &EdwardsAffine, key: &EdwardsAffine, message: Fr) -> Fr {
    hash(Purpose::Challenge, &[commitment.x, commitment.y, key.x, key.y, message])
}

fn reduced(hash: Sha512) -> Exponent {
    Exponent::from_le_bytes_mod_order(&hash.finalize())
}

fn little_endian(number: &Exponent) -> [u8; 32] {
    let mut bytes = [0u8; 32];
    let limbs = number.into_bigint().0.into_iter().flat_map(u64::to_le_bytes);
    bytes.iter_mut().zip(limbs).for_each(|(to, from)| *to = from);
    bytes
}

fn compress(point: &EdwardsAffine) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(32);
    // Writing to memory does not fail.
    let _ = point.serialize_compressed(&mut bytes);
    let mut out = [0u8; 32];
    out.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    out
}

/// A point of the prime-order subgroup in its only encoding.
fn decompress(bytes: &[u8; 32]) -> Result<EdwardsAffine, PointError> {
    let point = EdwardsAffine::deserialize_compressed(&bytes[..]).map_err(|_| PointError::Point)?;
    if compress(&point) == *bytes { Ok(point) } else { Err(PointError::Point) }
}
