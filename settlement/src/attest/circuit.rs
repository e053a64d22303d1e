//! The circuit of an attestation.
//!
//! Public are three numbers: the domain, the commitment of the auditors' keys, and `lo * 2^128 + hi * 2^64 + T`. The statement:
//!
//! > I hold certificates for this provider and epoch, each signed by a key of the committed set; the claims they are about are numbered
//! > strictly upwards from lo to hi, and their fees sum to T; lo, hi and T are below 2^64.
//!
//! There are N slots, some of them used, the used ones first. What each rule is for:
//!
//! | rule | without it |
//! |---|---|
//! | used bits fall from one to zero once, and the first is one | hi, read where they fall, would be a sum of several claims, or of none |
//! | each claim is the one before plus 1 plus a number of 64 bits | a claim could be counted twice, or wrap around |
//! | lo, hi, T and each fee have 64 bits | packed numbers could borrow from one another, and a sum could wrap around |
//! | a used slot's key is on the curve | the addition law says nothing; (0, 0) of an unused place would be a key |
//! | a used slot's challenge is the low half of the hash, in the only way to write it | a prover would have two challenges to try |
//!
//! The signature is checked backwards: from the response s and the challenge c of a slot the circuit computes the commitment `R = s*G -
//! c*A`, hashes it, and demands that the hash begins with c. R is on the curve since G and A are. That A is of prime order is what the
//! registry demands of every listed key ([`keyset`](super::keyset)). The response may be written with 252 bits in two ways; both are
//! the same signature, and nothing counts signatures.
//!
//! Claims and fees enter the hash as they are. An unused slot adds no fee, its claim only has to go on counting, and its signature
//! may be anything.

use ark_bls12_381::Fr;
use ark_ed_on_bls12_381::Fr as Exponent;
use ark_ff::{Field as _, One as _, PrimeField as _};
use ark_r1cs_std::alloc::AllocVar as _;
use ark_r1cs_std::boolean::Boolean;
use ark_r1cs_std::eq::EqGadget as _;
use ark_r1cs_std::fields::FieldVar as _;
use ark_r1cs_std::{GR1CSVar as _, fields::fp::FpVar};
use ark_relations::gr1cs::{ConstraintSynthesizer, ConstraintSystemRef, SynthesisError};

use super::curve::{EXPONENT_BITS, Point, Var, bits, enforce_bits, limbs, number};
use super::keyset::{enforce_commitment, places};
use super::poseidon::{Purpose, hash_gadget};

/// Bits of lo, hi, T and a fee.
const WORD_BITS: usize = 64;

/// Bits of a challenge.
const CHALLENGE_BITS: usize = 128;

/// Bits of a hash above its challenge.
const REST_BITS: usize = 127;

/// Bits of a place.
const PLACE_BITS: usize = 6;

/// One slot of an attestation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) used: bool,
    /// Where the key is listed.
    pub(super) place: u8,
    pub(super) claim: Fr,
    pub(super) fee: Fr,
    /// The halves of the segment's digest, high first.
    pub(super) segment: [Fr; 2],
    pub(super) challenge: u128,
    pub(super) response: Exponent,
}

impl Slot {
    /// An unused slot, whose place must hold a key.
    pub(super) fn unused(place: u8, claim: Fr) -> Self {
        let zero = Fr::from(0u8);
        Self { used: false, place, claim, fee: zero, segment: [zero; 2], challenge: 0, response: Exponent::from(0u8) }
    }
}

/// All that the circuit takes, right or wrong.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub(super) domain: Fr,
    pub(super) commitment: Fr,
    pub(super) packed: Fr,
    /// The committed list.
    pub(super) list: Vec<[Fr; 2]>,
    pub(super) slots: Vec<Slot>,
}

impl Assignment {
    /// One of the right shape, to make keys from.
    pub(super) fn blank(slots: usize) -> Self {
        let zero = Fr::from(0u8);
        Self {
            domain: zero,
            commitment: zero,
            packed: zero,
            list: vec![[zero; 2]; super::keyset::PLACES],
            slots: vec![Slot::unused(0, zero); slots],
        }
    }
}

/// "Certificates of these auditors, for these claims of this provider in this epoch, with these fees in all."
#[derive(Clone, Debug)]
pub struct AttestationCircuit(pub(super) Assignment);

impl ConstraintSynthesizer<Fr> for AttestationCircuit {
    fn generate_constraints(self, cs: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        let assignment = &self.0;
        let [domain, commitment, packed] =
            [assignment.domain, assignment.commitment, assignment.packed].map(|input| Var::new_input(cs.clone(), || Ok(input)));
        let (domain, commitment, packed) = (domain?, commitment?, packed?);
        let list = places(&cs, &assignment.list)?;
        enforce_commitment(&cs, &list, &commitment)?;

        let slots = assignment.slots.iter().map(|slot| SlotVar::new(&cs, slot)).collect::<Result<Vec<_>, _>>()?;
        enforce_used_first(&slots)?;
        enforce_claims_increase(&slots)?;
        let (mut total, mut last) = (Var::zero(), Var::zero());
        for (slot, next) in slots.iter().zip(slots.iter().skip(1).map(Some).chain([None])) {
            total += &slot.used * &slot.fee;
            last += (&slot.used - next.map_or_else(Var::zero, |next| next.used.clone())) * &slot.claim;
        }
        let first = slots.first().map(|slot| &slot.claim).ok_or(SynthesisError::Unsatisfiable)?;
        for word in [first, &last, &total] {
            enforce_bits(word, WORD_BITS)?;
        }
        let word = Fr::from(1u128 << WORD_BITS);
        ((first * word + &last) * word + &total).enforce_equal(&packed)?;

        for slot in &slots {
            slot.enforce_signed(&cs, &domain, &list)?;
        }
        Ok(())
    }
}

/// The first slot is used, and after an unused one none is.
fn enforce_used_first(slots: &[SlotVar]) -> Result<(), SynthesisError> {
    let mut before = Var::one();
    for (at, slot) in slots.iter().enumerate() {
        if at == 0 {
            slot.used.enforce_equal(&Var::one())?;
        } else {
            slot.used.mul_equals(&(Var::one() - &before), &Var::zero())?;
        }
        before = slot.used.clone();
    }
    Ok(())
}

/// Each claim is beyond the one before, by no more than 2^64; unused slots go on counting, which keeps the rule simple.
fn enforce_claims_increase(slots: &[SlotVar]) -> Result<(), SynthesisError> {
    for (before, slot) in slots.iter().zip(slots.iter().skip(1)) {
        let beyond = &slot.claim - &before.claim - Fr::one();
        enforce_bits(&beyond, WORD_BITS)?;
    }
    Ok(())
}

/// One slot inside the circuit.
struct SlotVar {
    used: Var,
    claim: Var,
    fee: Var,
    segment: [Var; 2],
    place: Vec<Var>,
    challenge: Vec<Var>,
    response: Vec<Var>,
}

impl SlotVar {
    fn new(cs: &ConstraintSystemRef<Fr>, slot: &Slot) -> Result<Self, SynthesisError> {
        let witness = |value: Fr| FpVar::new_witness(cs.clone(), || Ok(value));
        let [low, high] = [slot.challenge, slot.challenge >> 64].map(|half| half & u128::from(u64::MAX));
        let challenge = [low, high].map(|half| u64::try_from(half).unwrap_or_default());
        let fee = witness(slot.fee)?;
        enforce_bits(&fee, WORD_BITS)?;
        let [segment_high, segment_low] = slot.segment.map(witness);
        Ok(Self {
            used: Boolean::new_witness(cs.clone(), || Ok(slot.used))?.into(),
            claim: witness(slot.claim)?,
            fee,
            segment: [segment_high?, segment_low?],
            place: bits(cs, &[slot.place.into()], PLACE_BITS)?,
            challenge: bits(cs, &challenge, CHALLENGE_BITS)?,
            response: bits(cs, &slot.response.into_bigint().0, EXPONENT_BITS)?,
        })
    }

    /// If the slot is used: its certificate is signed by the key at its place.
    fn enforce_signed(&self, cs: &ConstraintSystemRef<Fr>, domain: &Var, list: &[Point]) -> Result<(), SynthesisError> {
        let key = pick(list, &self.place)?;
        self.if_used(&key.defect()?)?;
        let [high, low] = self.segment.clone();
        let message = hash_gadget(cs, Purpose::Certificate, &[domain.clone(), self.claim.clone(), self.fee.clone(), high, low])?;
        let commitment = Point::generator_times(&self.response)?.add(&key.times(&self.challenge)?.negate()?)?;
        let hash = hash_gadget(cs, Purpose::Challenge, &[commitment.x, commitment.y, key.x, key.y, message])?;
        self.enforce_challenge(cs, &hash)
    }

    /// If the slot is used: the challenge is the low half of the hash, written as a number below the field's order.
    ///
    /// The high part is kept below that of the order, which is a little stricter: one hash in 2^126 has no signature at all.
    fn enforce_challenge(&self, cs: &ConstraintSystemRef<Fr>, hash: &Var) -> Result<(), SynthesisError> {
        let shift = Fr::from(2u8).pow([128]);
        let above = hash - number(&self.challenge);
        let rest =
            if self.used.value().is_ok_and(|used| used.is_one()) { limbs(&(&above * shift.inverse().unwrap_or_default())) } else { [0; 4] };
        let rest = number(&bits(cs, &rest, REST_BITS)?);
        let [_, _, third, fourth] = Fr::MODULUS.0;
        let order = Fr::from(u128::from(fourth) << 64 | u128::from(third));
        enforce_bits(&(Var::constant(order) - &rest - Fr::one()), REST_BITS)?;
        self.if_used(&(above - rest * shift))
    }

    /// Enforces a value to be zero if the slot is used.
    fn if_used(&self, value: &Var) -> Result<(), SynthesisError> {
        self.used.mul_equals(value, &Var::zero())
    }
}

/// The key at a place, least significant bit first.
fn pick(list: &[Point], place: &[Var]) -> Result<Point, SynthesisError> {
    let mut level = list.to_vec();
    for bit in place {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [zero, one] => Ok(Point::select(bit, one, zero)),
                _ => Err(SynthesisError::Unsatisfiable),
            })
            .collect::<Result<_, _>>()?;
    }
    level.into_iter().next().ok_or(SynthesisError::Unsatisfiable)
}
