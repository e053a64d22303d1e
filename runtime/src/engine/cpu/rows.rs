//! Loops over single rows of activations, compiled for each instruction set.
//!
//! They consist of IEEE operations in a written order, none of them fused, so every instruction set
//! gives the same bits.

use super::math;
use crate::engine::rope::Turns;
use crate::engine::simd::{Loop, Simd};
use crate::engine::{Activation, Attention};

/// Divides a row by its root mean square.
pub(super) struct RmsNorm<'a> {
    pub(super) row: &'a mut [f32],
    pub(super) weight: &'a [f32],
    pub(super) epsilon: f32,
}

impl Loop for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        rms_norm(self.row, self.weight, self.epsilon);
    }
}

/// Shifts and scales a row to mean zero and variance one.
pub(super) struct LayerNorm<'a> {
    pub(super) row: &'a mut [f32],
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) epsilon: f32,
}

impl Loop for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { row, weight, bias, epsilon } = self;
        let mean = sum(row, |x| x) / row.len() as f32;
        let variance = sum(row, |x| (x - mean) * (x - mean)) / row.len() as f32;
        let factor = 1.0 / (variance + epsilon).sqrt();
        for ((x, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
            *x = (*x - mean) * factor * weight + bias;
        }
    }
}

/// Applies a function to a row.
pub(super) struct Activate<'a> {
    pub(super) row: &'a mut [f32],
    pub(super) f: Activation,
}

impl Loop for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // One loop for each function, so that each is one of vectors.
        match self.f {
            Activation::Silu => self.row.iter_mut().for_each(|x| *x = math::silu(*x)),
            Activation::Gelu => self.row.iter_mut().for_each(|x| *x = math::gelu(*x)),
        }
    }
}

/// `f(gate) * up`
pub(super) struct Gated<'a> {
    pub(super) gate: &'a [f32],
    pub(super) up: &'a [f32],
    pub(super) f: Activation,
    pub(super) out: &'a mut [f32],
}

impl Loop for Gated<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let all = self.out.iter_mut().zip(self.gate).zip(self.up);
        match self.f {
            Activation::Silu => all.for_each(|((out, gate), up)| *out = math::silu(*gate) * up),
            Activation::Gelu => all.for_each(|((out, gate), up)| *out = math::gelu(*gate) * up),
        }
    }
}

/// Norms and turns the queries and keys of a row, and divides queries by the root of their size.
pub(super) struct Prepare<'a> {
    pub(super) row: &'a mut [f32],
    /// Which row of the pass it is.
    pub(super) at: usize,
    pub(super) what: &'a Attention<'a, Vec<f32>>,
    pub(super) turns: Option<&'a Turns>,
}

impl Loop for Prepare<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let heads = self.what.heads;
        let scale = 1.0 / (heads.size as f32).sqrt();
        let turned = &mut self.row[..(heads.queries + heads.keys) * heads.size];
        for (index, head) in turned.chunks_exact_mut(heads.size).enumerate() {
            let is_query = index < heads.queries;
            if let Some((query, key, epsilon)) = self.what.norms {
                rms_norm(head, if is_query { query } else { key }, epsilon);
            }
            if let Some(turns) = self.turns {
                turn(head, turns, self.at);
            }
            if is_query {
                head.iter_mut().for_each(|x| *x *= scale);
            }
        }
    }
}

#[inline(always)]
fn rms_norm(row: &mut [f32], weight: &[f32], epsilon: f32) {
    let mean = sum(row, |x| x * x) / row.len() as f32;
    let factor = 1.0 / (mean + epsilon).sqrt();
    row.iter_mut().zip(weight).for_each(|(x, weight)| *x = *x * factor * weight);
}

#[inline(always)]
fn turn(head: &mut [f32], turns: &Turns, at: usize) {
    let pairs = turns.pairs;
    let (cos, sin) = (&turns.cos[at * pairs..][..pairs], &turns.sin[at * pairs..][..pairs]);
    let (first, second) = head[..2 * pairs].split_at_mut(pairs);
    for (((first, second), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        (*first, *second) = (*first * cos - *second * sin, *second * cos + *first * sin);
    }
}

/// Sums kept side by side, so that they are vectors, and added up in one written order.
const LANES: usize = 16;

#[inline(always)]
fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f(*x);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += f(*x);
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}
