//! The engines of the exact tier: integers with named binary points, by the rules of
//! `docs/exact.md`, on processors and on adapters.
//!
//! # Invariants
//!
//! - Both engines, all instruction sets and all adapters give equal bits, for every batch, number
//!   of threads and cut of a prompt.
//! - Whoever loads a model has checked that its configuration is one that the page covers: every
//!   position sees all before it, gates are `x * sigmoid(x)`.

pub(crate) mod arithmetic;
mod burn;
mod cpu;
pub(crate) mod integers;

#[cfg(test)]
mod tests;

use super::{Heads, MatrixRole, Unsuitable, VectorRole, Weights};

use arithmetic::{SCORE_MAX, power_of_two};
pub(crate) use burn::Burn;
pub(crate) use cpu::Cpu;
use integers::{IntegerMatrix, IntegerVector};

/// Columns that share an exponent, where the width allows it.
pub(crate) const GROUP_MAX: usize = 64;

/// Columns that share an exponent, where 64 do not divide the width.
pub(crate) const GROUP_MIN: usize = 32;

/// A logit with sixteen binary places as a float, which has room for it.
fn score(logit: i32) -> f32 {
    logit.clamp(-SCORE_MAX, SCORE_MAX) as f32 / 65_536.0
}

/// What groups of integers with an exponent each stand for.
fn floats<T: Copy + Into<f64>>(values: &[T], exponents: &[i32], group: usize) -> Vec<f32> {
    let groups = values.chunks_exact(group).zip(exponents);
    groups.flat_map(|(group, exponent)| group.iter().map(|x| ((*x).into() * power_of_two(*exponent)) as f32)).collect()
}

/// What a matrix is made of.
struct Parts {
    /// Rows of a table.
    table: Option<Vec<i32>>,
    /// Matrices below each other, each with an exponent of its own.
    matrices: Vec<IntegerMatrix>,
    /// Binary places of results.
    places: i32,
}

impl Parts {
    fn new(weights: &Weights, role: MatrixRole) -> Result<Self, Unsuitable> {
        let places = if role == MatrixRole::Output { 14 } else { 16 };
        let table = match role {
            MatrixRole::Table { .. } => Some(integers::embedding(&weights.values())?),
            _ => None,
        };
        let matrices = match role {
            MatrixRole::Table { is_head: false } => Vec::new(),
            _ => matrices(weights, role)?,
        };
        Ok(Self { table, matrices, places })
    }
}

/// The matrices below each other as integers; queries with their scale, unless a norm has it.
pub(crate) fn matrices(weights: &Weights, role: MatrixRole) -> Result<Vec<IntegerMatrix>, Unsuitable> {
    let part = |(index, part): (usize, &super::weights::Part)| {
        let values = part.elements.values();
        match role {
            MatrixRole::Attention { size, normed: false } if index == 0 => {
                IntegerMatrix::new(&integers::scaled(&values, size), weights.columns)
            }
            _ => IntegerMatrix::new(&values, weights.columns),
        }
    };
    weights.parts.iter().enumerate().map(part).collect()
}

/// A vector as integers; what queries are multiplied with or normed by has their scale.
pub(crate) fn vector(values: &[f32], role: VectorRole) -> Result<IntegerVector, Unsuitable> {
    match role {
        VectorRole::Norm => IntegerVector::norm(values),
        VectorRole::QueryNorm => IntegerVector::norm(&integers::scaled(values, values.len())),
        VectorRole::Bias => IntegerVector::bias(values),
        VectorRole::AttentionBias(Heads { queries, size, .. }) => {
            let (of_queries, others) = values.split_at(queries * size);
            IntegerVector::bias(&[&integers::scaled(of_queries, size), others].concat())
        }
    }
}
