//! Weights as the integers of `docs/exact.md`, section 3.

use super::arithmetic::power_of_two;
use super::{GROUP_MAX, GROUP_MIN};
use crate::engine::Unsuitable;
use crate::engine::rope::RopeConfig;
use crate::folder::RopeScaling;
use crate::sampling::exp;

/// Greatest multiplier of a group.
const MULTIPLIER_MAX: f64 = 1023.0;

/// Greatest magnitude of a norm's weight.
const NORM_MAX: f64 = 32_767.0;

/// Exponents of matrices and norms are within this.
const EXPONENT_MAX: i32 = 64;

/// Columns that share a multiplier.
///
/// # Errors
///
/// [`Unsuitable`] where no group divides the width.
pub(crate) fn group_of(width: usize) -> Result<usize, Unsuitable> {
    let group = [GROUP_MAX, GROUP_MIN].into_iter().find(|group| width.is_multiple_of(*group));
    group.ok_or(Unsuitable { what: "a width", rule: "widths must be multiples of 32" })
}

/// `floor(x + 1/2)`; of doubles below 2^52 the sum is exact.
fn round(x: f64) -> f64 {
    (x + 0.5).floor()
}

/// The greatest exponent for which `fits(top * 2^e)`.
fn greatest_exponent(top: f32, fits: impl Fn(f64) -> bool) -> Result<i32, Unsuitable> {
    if top == 0.0 {
        return Ok(0);
    }
    let exponent = (-EXPONENT_MAX..=EXPONENT_MAX + 1).rev().find(|e| fits(f64::from(top) * power_of_two(*e)));
    let inside = exponent.filter(|e| *e <= EXPONENT_MAX);
    inside.ok_or(Unsuitable { what: "the magnitude of a tensor", rule: "the largest weight must be within 2^-48 and 2^48" })
}

fn greatest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |greatest, value| greatest.max(value.abs()))
}

/// A matrix: `weights * multiplier of the group * 2^-exponent`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IntegerMatrix {
    pub(crate) columns: usize,
    pub(crate) group: usize,
    pub(crate) exponent: i32,
    /// `[rows][columns / group]`
    pub(crate) multipliers: Vec<u16>,
    /// `[rows][columns]`
    pub(crate) weights: Vec<i8>,
}

impl IntegerMatrix {
    /// Rounds rows of `columns` elements.
    ///
    /// # Errors
    ///
    /// [`Unsuitable`] for widths without a group, and magnitudes beyond all bounds.
    pub(crate) fn new(values: &[f32], columns: usize) -> Result<Self, Unsuitable> {
        let group = group_of(columns)?;
        let exponent = greatest_exponent(greatest(values), |top| (top / 127.0).ceil() <= MULTIPLIER_MAX)?;
        let scale = power_of_two(exponent);
        let mut multipliers = Vec::with_capacity(values.len() / group);
        let mut weights = Vec::with_capacity(values.len());
        for values in values.chunks_exact(group) {
            let multiplier = (f64::from(greatest(values)) * scale / 127.0).ceil().max(1.0);
            multipliers.push(multiplier as u16);
            weights.extend(values.iter().map(|value| round(f64::from(*value) * scale / multiplier) as i8));
        }
        Ok(Self { columns, group, exponent, multipliers, weights })
    }

    pub(crate) fn rows(&self) -> usize {
        self.weights.len() / self.columns
    }
}

/// Weights of a norm with `exponent` binary places, or a bias with sixteen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IntegerVector {
    pub(crate) values: Vec<i32>,
    pub(crate) exponent: i32,
}

impl IntegerVector {
    /// # Errors
    ///
    /// [`Unsuitable`] for magnitudes beyond all bounds.
    pub(crate) fn norm(values: &[f32]) -> Result<Self, Unsuitable> {
        let exponent = greatest_exponent(greatest(values), |top| round(top) <= NORM_MAX)?;
        Ok(Self { values: fixed(values, exponent), exponent })
    }

    /// # Errors
    ///
    /// [`Unsuitable`] for biases of 32,768 and more.
    pub(crate) fn bias(values: &[f32]) -> Result<Self, Unsuitable> {
        if greatest(values) >= 32_768.0 {
            return Err(Unsuitable { what: "a bias", rule: "biases must be below 32,768" });
        }
        Ok(Self { values: fixed(values, 16), exponent: 16 })
    }
}

/// Rows of the embedding, with fourteen binary places.
///
/// # Errors
///
/// [`Unsuitable`] for elements of 65,536 and more.
pub(crate) fn embedding(values: &[f32]) -> Result<Vec<i32>, Unsuitable> {
    if greatest(values) >= 65_536.0 {
        return Err(Unsuitable { what: "the embedding", rule: "its elements must be below 65,536" });
    }
    Ok(fixed(values, 14))
}

fn fixed(values: &[f32], places: i32) -> Vec<i32> {
    let scale = power_of_two(places);
    values.iter().map(|value| round(f64::from(*value) * scale) as i32).collect()
}

/// What queries are multiplied with, so that scores come out as powers of two.
pub(crate) fn query_scale(head_size: usize) -> f32 {
    (std::f64::consts::LOG2_E / (head_size as f64).sqrt()) as f32
}

/// Values times the scale of queries.
pub(crate) fn scaled(values: &[f32], head_size: usize) -> Vec<f32> {
    let scale = query_scale(head_size);
    values.iter().map(|value| value * scale).collect()
}

/// The turn of each pair per position, in units of 2^-32 turns.
/// `divisors` stretch single pairs.
pub(crate) fn steps(config: &RopeConfig, divisors: &[f64]) -> Vec<u32> {
    /// `2^32 / (2 * pi)`
    const TURNS: f64 = 683_565_275.576_431_6;
    let stretch = match config.scaling {
        RopeScaling::Linear { factor } => factor,
        RopeScaling::None | RopeScaling::Llama3 { .. } => 1.0,
    };
    let (size, logarithm) = ((2 * config.pairs) as f64, ln(config.base));
    let step = |(pair, divisor): (usize, &f64)| {
        let frequency = exp(-((2 * pair) as f64 / size) * logarithm);
        round(frequency / (stretch * divisor) * TURNS) as u32
    };
    divisors.iter().enumerate().map(step).collect()
}

/// The natural logarithm by one written order of additions, multiplications and divisions:
/// platforms' own differ in the last bit.
fn ln(x: f64) -> f64 {
    let exponent = (x.to_bits() >> 52) as i32 - 1023;
    let fraction = x / power_of_two(exponent);
    let (f, k) = if fraction > std::f64::consts::SQRT_2 { (fraction / 2.0, exponent + 1) } else { (fraction, exponent) };
    let z = (f - 1.0) / (f + 1.0);
    let y = z * z;
    let series = (0..=20).rev().fold(0.0, |sum, n| sum * y + 1.0 / f64::from(2 * n + 1));
    f64::from(k) * 6.931_471_803_691_238e-1 + (2.0 * z * series + f64::from(k) * 1.908_214_929_270_587_7e-10)
}
