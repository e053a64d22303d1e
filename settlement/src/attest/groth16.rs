//! Keys and proofs: Groth16 over BLS12-381, in the encoding that TVM's pairing instructions read.
//!
//! A proof is three points, compressed as Zcash does: `A 48 | B 96 | C 48`. It is read with all checks (on the curve, in the subgroup
//! of prime order, one encoding), and an honest prover checks its own before it hands it out. Proofs can be altered into other proofs
//! of the same statement by anybody, so nothing may be keyed on their bytes.
//!
//! **Development keys.** Whoever knows the randomness that keys were made from can prove anything with them. [`setup`] makes keys from
//! a seed, so it marks them as for development, and everything here refuses such keys where the network is TON's main network. Keys for
//! real money come from a ceremony whose last step is a public file; their verifying keys stand in the registry behind a timelock.

use std::num::NonZeroUsize;

use ark_bls12_381::{Bls12_381, Fr, G1Affine, G2Affine};
use ark_groth16::{Groth16, PreparedVerifyingKey};
use ark_relations::gr1cs::{ConstraintSynthesizer, ConstraintSystem, OptimizationGoal, SynthesisError};
use ark_serialize::{CanonicalDeserialize as _, CanonicalSerialize as _};
use cocoon_market::NetworkId;
use cocoon_market::ids::Digest;
use rand_chacha_03::ChaCha20Rng;
use rand_chacha_03::rand_core::SeedableRng as _;
use sha2::{Digest as _, Sha256};
use tonlib_core::cell::{ArcCell, CellBuilder};

use super::circuit::{Assignment, AttestationCircuit};
use super::element::Element;
use super::evidence::{Evidence, Statement};
use super::keyset::{KeySet, KeySetCircuit};
use crate::contract::{CellError, ProofBytes};

type Scheme = Groth16<Bls12_381>;
pub(super) type RawProvingKey = ark_groth16::ProvingKey<Bls12_381>;
type RawVerifyingKey = ark_groth16::VerifyingKey<Bls12_381>;

const G1_BYTES: usize = 48;
const G2_BYTES: usize = 96;

pub use crate::contract::proof::PROOF_BYTES;

/// Length of a verifying key: alpha, beta, gamma, delta, and a point for the constant and for each of three public inputs.
pub const VERIFYING_KEY_BYTES: usize = 528;

/// Slots of an attestation's circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    /// 4 slots, for tests.
    Four,
    /// 16 slots.
    Sixteen,
    /// 64 slots.
    SixtyFour,
}

impl Size {
    /// All of them, smallest first.
    pub const ALL: [Self; 3] = [Self::Four, Self::Sixteen, Self::SixtyFour];

    /// Certificates that one proof takes.
    pub const fn slots(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Sixteen => 16,
            Self::SixtyFour => 64,
        }
    }

    /// The circuit with so many slots, if there is one.
    pub fn of_slots(slots: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|size| u64::try_from(size.slots()).is_ok_and(|own| own == slots))
    }

    /// Whether the contract for rewards takes its proofs there: where money is real, it takes none of the circuit for tests.
    pub fn counts_on(self, network: NetworkId) -> bool {
        self != Self::Four || network != NetworkId::MAINNET
    }
}

/// Which circuit a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Circuit {
    /// [`AttestationCircuit`] of a size.
    Attestation(Size),
    /// [`KeySetCircuit`].
    KeySet,
}

impl Circuit {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Attestation(Size::Four), Self::Attestation(Size::Sixteen), Self::Attestation(Size::SixtyFour), Self::KeySet];

    /// Its number in the registry and in the contract for rewards.
    pub const fn number(self) -> u8 {
        match self {
            Self::Attestation(Size::Four) => 1,
            Self::Attestation(Size::Sixteen) => 2,
            Self::Attestation(Size::SixtyFour) => 3,
            Self::KeySet => 9,
        }
    }

    /// SHA-256 of the verifying key that [`setup`] makes from [`development_seed`], in hexadecimal.
    pub const fn development_digest(self) -> &'static str {
        match self {
            Self::Attestation(Size::Four) => "dcae7bc99935c9f0580323d33cc014b54e31253e75bb7660b9a4361d2da1e307",
            Self::Attestation(Size::Sixteen) => "2d58f2e1ca77e810dbe7fb15691e6c768bbc2e9c25eb80e093089d4361c295d5",
            Self::Attestation(Size::SixtyFour) => "f19e053601bf256fc5200b3a165ec44e97178e8e6e9635d55908019291af842c",
            Self::KeySet => "bcec4f889119d342d33de311877ffd9a419bca4480876c68b6cc097c3822e217",
        }
    }

    /// How many constraints it has.
    ///
    /// # Errors
    /// [`SynthesisError`] is not expected: the circuits are fixed.
    pub fn constraints(self) -> Result<usize, SynthesisError> {
        let cs = ConstraintSystem::new_ref();
        cs.set_optimization_goal(OptimizationGoal::Constraints);
        match self {
            Self::Attestation(size) => blank(size).generate_constraints(cs.clone())?,
            Self::KeySet => blank_key_set().generate_constraints(cs.clone())?,
        }
        Ok(cs.num_constraints())
    }
}

/// The seed of all development keys. Everybody knows it, so everybody can prove anything with them.
pub fn development_seed() -> [u8; 32] {
    Sha256::digest(b"cocoon development keys").into()
}

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a seed: not for money.
    Development,
    /// From a ceremony.
    Ceremony,
}

/// A development key where money is real.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this key is for development, and anybody can prove anything with it; {0} needs keys from a ceremony")]
pub struct DevelopmentKey(pub NetworkId);

/// Why keys could not be made or a proof could not be.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// See [`DevelopmentKey`].
    #[error(transparent)]
    DevelopmentKey(#[from] DevelopmentKey),
    /// The key is for another circuit, or for fewer slots.
    #[error("the proving key is for {key:?}, which this cannot be proven with; load the key of a circuit that has room for it")]
    Circuit {
        /// What the key is for.
        key: Circuit,
    },
    /// The circuit could not be laid out.
    #[error("the circuit could not be laid out")]
    Synthesis(#[from] SynthesisError),
    /// The threads could not be started.
    #[error("the prover's threads could not be started; give it fewer")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The proof does not verify, so the proving key is not what it should be.
    #[error("the new proof does not verify; the proving key is damaged, load it again")]
    SelfCheck,
    /// A point could not be encoded.
    #[error("a point could not be encoded")]
    Encoding(#[from] ark_serialize::SerializationError),
}

/// A proof that a statement of public inputs refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// See [`DevelopmentKey`].
    #[error(transparent)]
    DevelopmentKey(#[from] DevelopmentKey),
    /// The key is for another circuit.
    #[error("the verifying key is for {key:?}, which says something else")]
    Circuit {
        /// What the key is for.
        key: Circuit,
    },
    /// The proof is of something else, or of nothing.
    #[error("the proof does not show this")]
    Refused,
}

/// Bytes that are no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not as long as a proof.
    #[error("{got} bytes where a proof has {PROOF_BYTES}")]
    Length {
        /// What came.
        got: usize,
    },
    /// Not three points of the prime-order subgroups in their only encoding.
    #[error("a point of the proof is not in its group, or not in its only encoding")]
    Point,
}

/// A proof whose points are in their groups.
#[derive(Clone)]
pub struct Proof {
    bytes: [u8; PROOF_BYTES],
    points: ark_groth16::Proof<Bls12_381>,
}

impl Proof {
    fn new(points: ark_groth16::Proof<Bls12_381>) -> Result<Self, ark_serialize::SerializationError> {
        let mut bytes = [0u8; PROOF_BYTES];
        points.serialize_compressed(&mut bytes[..])?;
        Ok(Self { bytes, points })
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofError> {
        let bytes: &[u8; PROOF_BYTES] = bytes.try_into().map_err(|_| ProofError::Length { got: bytes.len() })?;
        let points = ark_groth16::Proof::deserialize_compressed(&bytes[..]).map_err(|_| ProofError::Point)?;
        let proof = Self::new(points).map_err(|_| ProofError::Point)?;
        if proof.bytes == *bytes { Ok(proof) } else { Err(ProofError::Point) }
    }

    /// `A 48 | B 96 | C 48`.
    pub fn to_bytes(&self) -> [u8; PROOF_BYTES] {
        self.bytes
    }

    /// For a contract: A and C, and a reference to B.
    ///
    /// # Errors
    /// [`CellError`] is not expected: the layout is fixed.
    pub fn to_cell(&self) -> Result<ArcCell, CellError> {
        ProofBytes(self.bytes).to_cell()
    }
}

impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Proof {}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proof({})", hex::encode(self.bytes))
    }
}

/// What proofs are verified with.
#[derive(Clone)]
pub struct VerifyingKey {
    circuit: Circuit,
    origin: Origin,
    bytes: [u8; VERIFYING_KEY_BYTES],
    prepared: PreparedVerifyingKey<Bls12_381>,
}

impl VerifyingKey {
    fn new(circuit: Circuit, origin: Origin, key: &RawVerifyingKey) -> Result<Self, ark_serialize::SerializationError> {
        let mut bytes = Vec::with_capacity(VERIFYING_KEY_BYTES);
        key.alpha_g1.serialize_compressed(&mut bytes)?;
        for point in [&key.beta_g2, &key.gamma_g2, &key.delta_g2] {
            point.serialize_compressed(&mut bytes)?;
        }
        for point in &key.gamma_abc_g1 {
            point.serialize_compressed(&mut bytes)?;
        }
        let bytes = bytes.try_into().map_err(|_| ark_serialize::SerializationError::InvalidData)?;
        Ok(Self { circuit, origin, bytes, prepared: key.clone().into() })
    }

    /// Reads the points of a key, with all checks.
    pub(super) fn from_points(
        circuit: Circuit,
        origin: Origin,
        bytes: &[u8; VERIFYING_KEY_BYTES],
    ) -> Result<Self, ark_serialize::SerializationError> {
        let mut points = Points(bytes);
        let alpha_g1 = points.g1()?;
        let [beta_g2, gamma_g2, delta_g2] = [points.g2()?, points.g2()?, points.g2()?];
        let gamma_abc_g1 = vec![points.g1()?, points.g1()?, points.g1()?, points.g1()?];
        let key = Self::new(circuit, origin, &RawVerifyingKey { alpha_g1, beta_g2, gamma_g2, delta_g2, gamma_abc_g1 })?;
        if key.bytes == *bytes { Ok(key) } else { Err(ark_serialize::SerializationError::InvalidData) }
    }

    pub(super) fn raw(&self) -> RawVerifyingKey {
        self.prepared.vk.clone()
    }

    /// Which circuit it is for.
    pub fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// Where it comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// `alpha 48 | beta 96 | gamma 96 | delta 96 | IC0 48 | IC1 48 | IC2 48 | IC3 48`.
    pub fn to_bytes(&self) -> [u8; VERIFYING_KEY_BYTES] {
        self.bytes
    }

    /// SHA-256 of its bytes: the key's name.
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.bytes).into())
    }

    /// For a contract: alpha and IC0; references to beta, to gamma, to delta, and to IC1 and IC2 with a reference to IC3.
    ///
    /// # Errors
    /// [`CellError`] is not expected: the layout is fixed.
    pub fn to_cell(&self) -> Result<ArcCell, CellError> {
        let mut points = Points(&self.bytes);
        let alpha = points.take::<G1_BYTES>();
        let [beta, gamma, delta] = [(); 3].map(|()| points.take::<G2_BYTES>());
        let [ic0, ic1, ic2, ic3] = [(); 4].map(|()| points.take::<G1_BYTES>());
        let inputs = cell(&[&ic1, &ic2], &[cell(&[&ic3], &[])?])?;
        cell(&[&alpha, &ic0], &[cell(&[&beta], &[])?, cell(&[&gamma], &[])?, cell(&[&delta], &[])?, inputs])
    }

    /// Refuses a development key on the main network: by its mark, and by its name in case somebody changed the mark.
    ///
    /// # Errors
    /// [`DevelopmentKey`].
    pub fn admit(&self, network: NetworkId) -> Result<(), DevelopmentKey> {
        let development = self.origin == Origin::Development || self.digest().to_string() == self.circuit.development_digest();
        if development && network == NetworkId::MAINNET { Err(DevelopmentKey(network)) } else { Ok(()) }
    }

    /// Checks the proof of an attestation.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn verify_attestation(&self, statement: &Statement, proof: &Proof) -> Result<(), VerifyError> {
        match self.circuit {
            Circuit::Attestation(_) => self.verify(statement.network, &statement.inputs(), proof),
            Circuit::KeySet => Err(VerifyError::Circuit { key: self.circuit }),
        }
    }

    /// Checks the proof that a list of keys, in a cell of this hash, and its commitment agree.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn verify_key_set(&self, network: NetworkId, keys: &KeySet, listed: &[u8; 32], proof: &Proof) -> Result<(), VerifyError> {
        match self.circuit {
            Circuit::KeySet => self.verify(network, &keys.inputs(listed), proof),
            Circuit::Attestation(_) => Err(VerifyError::Circuit { key: self.circuit }),
        }
    }

    /// Checks a proof of three public inputs, whatever they say.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn verify(&self, network: NetworkId, inputs: &[Element; 3], proof: &Proof) -> Result<(), VerifyError> {
        self.admit(network)?;
        let holds = Scheme::verify_proof(&self.prepared, &proof.points, &inputs.map(|element| element.0));
        if holds.unwrap_or(false) { Ok(()) } else { Err(VerifyError::Refused) }
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({:?}, {:?}, {})", self.circuit, self.origin, self.digest())
    }
}

/// What proofs are made with: 0.1 to 0.2 GB for 64 slots.
#[derive(Clone)]
pub struct ProvingKey {
    pub(super) key: RawProvingKey,
    verifying: VerifyingKey,
}

impl ProvingKey {
    pub(super) fn new(circuit: Circuit, origin: Origin, key: RawProvingKey) -> Result<Self, ark_serialize::SerializationError> {
        let verifying = VerifyingKey::new(circuit, origin, &key.vk)?;
        Ok(Self { key, verifying })
    }

    /// Which circuit it is for.
    pub fn circuit(&self) -> Circuit {
        self.verifying.circuit
    }

    /// What its proofs are verified with.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// Proves what [`Evidence::statement`] says. `blinding` is fresh from the system's random generator and kept from
    /// everybody; with a known one the proof is as sound, and hides nothing.
    ///
    /// # Errors
    /// [`ProveError`].
    pub fn prove_attestation(&self, evidence: &Evidence, threads: NonZeroUsize, blinding: &[u8; 32]) -> Result<Proof, ProveError> {
        let wrong = ProveError::Circuit { key: self.circuit() };
        let Circuit::Attestation(size) = self.circuit() else { return Err(wrong) };
        let circuit = evidence.circuit(size).ok_or(wrong)?;
        self.prove(circuit, evidence.statement().network, &evidence.statement().inputs(), threads, blinding)
    }

    /// Proves that a list of keys, in a cell of this hash, and its commitment agree. Nothing of it is secret.
    ///
    /// # Errors
    /// [`ProveError`].
    pub fn prove_key_set(
        &self,
        network: NetworkId,
        keys: &KeySet,
        listed: &[u8; 32],
        threads: NonZeroUsize,
        blinding: &[u8; 32],
    ) -> Result<Proof, ProveError> {
        match self.circuit() {
            Circuit::KeySet => self.prove(KeySetCircuit::new(keys, listed), network, &keys.inputs(listed), threads, blinding),
            key @ Circuit::Attestation(_) => Err(ProveError::Circuit { key }),
        }
    }

    fn prove(
        &self,
        circuit: impl ConstraintSynthesizer<Fr> + Send,
        network: NetworkId,
        inputs: &[Element; 3],
        threads: NonZeroUsize,
        blinding: &[u8; 32],
    ) -> Result<Proof, ProveError> {
        self.verifying.admit(network)?;
        let mut random = ChaCha20Rng::from_seed(*blinding);
        let points = on_threads(threads, || Scheme::create_random_proof_with_reduction(circuit, &self.key, &mut random))??;
        let proof = Proof::new(points)?;
        self.verifying.verify(network, inputs, &proof).map_err(|_| ProveError::SelfCheck)?;
        Ok(proof)
    }
}

impl std::fmt::Debug for ProvingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProvingKey({:?})", self.verifying)
    }
}

/// Makes the development keys of a circuit from a seed, always the same from the same seed.
///
/// # Errors
/// [`ProveError`].
pub fn setup(circuit: Circuit, seed: &[u8; 32], threads: NonZeroUsize) -> Result<ProvingKey, ProveError> {
    let mut random = ChaCha20Rng::from_seed(*seed);
    let key = on_threads(threads, || match circuit {
        Circuit::Attestation(size) => Scheme::generate_random_parameters_with_reduction(blank(size), &mut random),
        Circuit::KeySet => Scheme::generate_random_parameters_with_reduction(blank_key_set(), &mut random),
    })??;
    Ok(ProvingKey::new(circuit, Origin::Development, key)?)
}

fn blank(size: Size) -> AttestationCircuit {
    AttestationCircuit(Assignment::blank(size.slots()))
}

fn blank_key_set() -> KeySetCircuit {
    KeySetCircuit(super::keyset::KeySetAssignment::blank())
}

/// Runs work that spreads over at most so many threads.
fn on_threads<T: Send>(threads: NonZeroUsize, work: impl FnOnce() -> T + Send) -> Result<T, rayon::ThreadPoolBuildError> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build()?.install(work))
}

fn cell(parts: &[&[u8]], references: &[ArcCell]) -> Result<ArcCell, CellError> {
    let mut cell = CellBuilder::new();
    for part in parts {
        cell.store_slice(part)?;
    }
    for reference in references {
        cell.store_reference(reference)?;
    }
    Ok(cell.build()?.to_arc())
}

/// Takes encoded points off bytes whose length is fixed.
struct Points<'a>(&'a [u8]);

impl Points<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (point, rest) = self.0.split_first_chunk::<N>().map_or(([0; N], [].as_slice()), |(point, rest)| (*point, rest));
        self.0 = rest;
        point
    }

    fn g1(&mut self) -> Result<G1Affine, ark_serialize::SerializationError> {
        G1Affine::deserialize_compressed(&self.take::<G1_BYTES>()[..])
    }

    fn g2(&mut self) -> Result<G2Affine, ark_serialize::SerializationError> {
        G2Affine::deserialize_compressed(&self.take::<G2_BYTES>()[..])
    }
}
