//! Jubjub inside a circuit: affine points of the twisted Edwards curve `-x^2 + y^2 = 1 + d x^2 y^2`.
//!
//! The addition law is complete: on points of the curve no denominator is ever zero, so there are no exceptional cases for a
//! prover to look for. It says nothing about pairs that are not on the curve; whoever takes a point from a witness enforces
//! [`Point::defect`] to be zero.

use std::sync::LazyLock;

use ark_bls12_381::Fr;
use ark_ec::twisted_edwards::TECurveConfig as _;
use ark_ec::{CurveGroup as _, PrimeGroup as _};
use ark_ed_on_bls12_381::{EdwardsConfig, EdwardsProjective};
use ark_ff::{AdditiveGroup as _, Field as _, One as _, PrimeField as _, Zero as _};
use ark_r1cs_std::alloc::AllocVar as _;
use ark_r1cs_std::boolean::Boolean;
use ark_r1cs_std::fields::FieldVar as _;
use ark_r1cs_std::fields::fp::FpVar;
use ark_r1cs_std::{GR1CSVar as _, eq::EqGadget as _};
use ark_relations::gr1cs::{ConstraintSystemRef, SynthesisError};

/// A field element inside a circuit.
pub(super) type Var = FpVar<Fr>;

/// Bits of a number below the order of the prime-order subgroup.
pub(super) const EXPONENT_BITS: usize = 252;

/// Bits that select one entry of a table of multiples of the generator.
const WINDOW_BITS: usize = 3;

/// For each window of an exponent, the eight multiples of the generator that it may add.
static GENERATOR_WINDOWS: LazyLock<Vec<[(Fr, Fr); 8]>> = LazyLock::new(|| {
    let mut base = EdwardsProjective::generator();
    let mut windows = Vec::new();
    for _ in (0..EXPONENT_BITS).step_by(WINDOW_BITS) {
        let mut multiple = EdwardsProjective::zero();
        windows.push([(); 8].map(|()| {
            let affine = multiple.into_affine();
            multiple += base;
            (affine.x, affine.y)
        }));
        base = multiple;
    }
    windows
});

/// A pair of coordinates.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) x: Var,
    pub(super) y: Var,
}

impl Point {
    fn identity() -> Self {
        Self { x: Var::zero(), y: Var::one() }
    }

    /// Zero exactly for the points of the curve.
    pub(super) fn defect(&self) -> Result<Var, SynthesisError> {
        let (xx, yy) = (self.x.square()?, self.y.square()?);
        Ok(&yy - &xx - Fr::one() - (&xx * &yy) * EdwardsConfig::COEFF_D)
    }

    pub(super) fn negate(&self) -> Result<Self, SynthesisError> {
        Ok(Self { x: self.x.negate()?, y: self.y.clone() })
    }

    pub(super) fn add(&self, other: &Self) -> Result<Self, SynthesisError> {
        let all = (&self.x + &self.y) * (&other.x + &other.y);
        let (xy, yx) = (&self.x * &other.y, &self.y * &other.x);
        let cross = &xy + &yx;
        let product = (&xy * &yx) * EdwardsConfig::COEFF_D;
        Self::ratio(&cross, &(all - &cross), &product)
    }

    pub(super) fn double(&self) -> Result<Self, SynthesisError> {
        let all = (&self.x + &self.y).square()?;
        let xy = &self.x * &self.y;
        let cross = xy.double()?;
        let product = xy.square()? * EdwardsConfig::COEFF_D;
        Self::ratio(&cross, &(all - &cross), &product)
    }

    /// `x / (1 + product), y / (1 - product)`.
    fn ratio(x: &Var, y: &Var, product: &Var) -> Result<Self, SynthesisError> {
        let one = Var::one();
        Ok(Self { x: quotient(x, &(&one + product))?, y: quotient(y, &(&one - product))? })
    }

    /// `self` when the bit is one, else the identity.
    fn if_set(&self, bit: &Var) -> Self {
        Self { x: bit * &self.x, y: bit * (&self.y - Fr::one()) + Fr::one() }
    }

    /// `if_one` when the bit is one, else `if_zero`.
    pub(super) fn select(bit: &Var, if_one: &Self, if_zero: &Self) -> Self {
        Self { x: select(bit, &if_one.x, &if_zero.x), y: select(bit, &if_one.y, &if_zero.y) }
    }

    /// `bits * self`, two bits at a time; least significant first.
    pub(super) fn times(&self, bits: &[Var]) -> Result<Self, SynthesisError> {
        let two = self.double()?;
        let three = two.add(self)?;
        let mut sum: Option<Self> = None;
        for pair in bits.chunks(2).rev() {
            let [low, high] = pair else { return Err(SynthesisError::Unsatisfiable) };
            let part = Self::select(high, &Self::select(low, &three, &two), &self.if_set(low));
            sum = Some(match sum {
                None => part,
                Some(sum) => sum.double()?.double()?.add(&part)?,
            });
        }
        Ok(sum.unwrap_or_else(Self::identity))
    }

    /// `bits` times the generator; least significant first.
    pub(super) fn generator_times(bits: &[Var]) -> Result<Self, SynthesisError> {
        let mut sum: Option<Self> = None;
        for (bits, table) in bits.chunks(WINDOW_BITS).zip(GENERATOR_WINDOWS.iter()) {
            let [first, second, third] = bits else { return Err(SynthesisError::Unsatisfiable) };
            let both = first * second;
            let look_up = |coordinate: fn(&(Fr, Fr)) -> Fr| {
                let [low, high] = [table.first_chunk::<4>(), table.last_chunk::<4>()]
                    .map(|four| four.map(|four| four_way(first, second, &both, four.each_ref().map(coordinate))));
                Some(select(third, &high?, &low?))
            };
            let (Some(x), Some(y)) = (look_up(|point| point.0), look_up(|point| point.1)) else {
                return Err(SynthesisError::Unsatisfiable);
            };
            let part = Self { x, y };
            sum = Some(match sum {
                None => part,
                Some(sum) => sum.add(&part)?,
            });
        }
        Ok(sum.unwrap_or_else(Self::identity))
    }
}

/// One of four constants by two bits and their product.
fn four_way(first: &Var, second: &Var, both: &Var, [none, one, two, three]: [Fr; 4]) -> Var {
    first * (one - none) + second * (two - none) + both * (three - two - one + none) + none
}

/// `if_one` when the bit is one, else `if_zero`.
pub(super) fn select(bit: &Var, if_one: &Var, if_zero: &Var) -> Var {
    bit * (if_one - if_zero) + if_zero
}

/// A witness that times `denominator` is `numerator`: the quotient, unless both are zero.
fn quotient(numerator: &Var, denominator: &Var) -> Result<Var, SynthesisError> {
    let cs = numerator.cs().or(denominator.cs());
    let value = || Ok(numerator.value()? * denominator.value()?.inverse().unwrap_or_default());
    let quotient = Var::new_witness(cs, value)?;
    quotient.mul_equals(denominator, numerator)?;
    Ok(quotient)
}

/// Witness bits, least significant first.
pub(super) fn bits(cs: &ConstraintSystemRef<Fr>, limbs: &[u64], count: usize) -> Result<Vec<Var>, SynthesisError> {
    let zeros = std::iter::repeat(&0u64);
    let all = limbs.iter().chain(zeros).flat_map(|limb| (0..u64::BITS).map(move |at| limb >> at & 1 == 1));
    all.take(count).map(|bit| Ok(Var::from(Boolean::new_witness(cs.clone(), || Ok(bit))?))).collect()
}

/// The number that bits stand for.
pub(super) fn number(bits: &[Var]) -> Var {
    let powers = std::iter::successors(Some(Fr::one()), |power| Some(power.double()));
    bits.iter().zip(powers).map(|(bit, power)| bit * power).sum()
}

/// Enforces that a value has no more bits than `count`.
pub(super) fn enforce_bits(value: &Var, count: usize) -> Result<(), SynthesisError> {
    number(&bits(&value.cs(), &limbs(value), count)?).enforce_equal(value)
}

/// The value of a variable, or nothing while keys are made.
pub(super) fn limbs(value: &Var) -> [u64; 4] {
    value.value().map_or([0; 4], |value| value.into_bigint().0)
}
