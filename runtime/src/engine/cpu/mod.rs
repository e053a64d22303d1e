//! The CPU engine: quantised weights read as they are, SIMD chosen at run time.

mod attention;
mod math;
mod matrix;

use super::processor::{self, Processor};
use super::rope::{Rope, Turns};
use super::{
    Activation, Attention, Batch, CacheShape, EngineError, Kernels, MatrixRole, Span, TextKernels, Unsuitable, VectorRole, Weights,
};
use crate::tokenizer::TokenId;
pub(crate) use attention::Pages;
pub(crate) use matrix::Matrix;
use matrix::Rounded;

/// The engine.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    processor: Processor,
}

impl Cpu {
    pub(crate) fn new(processor: Processor) -> Self {
        Self { processor }
    }
}

/// Activations.
pub(crate) type Rows = processor::Rows<f32>;

/// What the layers of a pass share.
#[derive(Debug)]
pub(crate) struct Pass {
    spans: Vec<Span>,
    turns: Option<Turns>,
}

impl Kernels for Cpu {
    type Rows = Rows;
    type Operand = Rows;
    type Matrix = Matrix;
    type Vector = Vec<f32>;
    type Cache = Pages;
    type Pass = Pass;

    fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.processor.enter(work)
    }

    fn matrix(&self, weights: &Weights, _: MatrixRole) -> Result<Matrix, Unsuitable> {
        Ok(self.processor.enter(|| Matrix::new(weights)))
    }

    fn vector(&self, values: &[f32], _: VectorRole) -> Result<Vec<f32>, Unsuitable> {
        Ok(values.to_vec())
    }

    fn cache(&self, shape: CacheShape) -> Pages {
        Pages::new(shape)
    }

    fn pass(&self, batch: &Batch, rope: Option<&Rope>) -> Pass {
        Pass { spans: batch.spans.clone(), turns: rope.map(|rope| rope.turns(batch)) }
    }

    fn embed(&self, table: &Matrix, ids: &[TokenId]) -> Rows {
        let rows: Vec<Vec<f32>> = ids.iter().map(|id| table.row(*id as usize)).collect();
        Rows { width: rows.first().map_or(1, Vec::len), values: rows.concat() }
    }

    fn rms_norm(&self, x: &Rows, weight: &Vec<f32>, epsilon: f32) -> Rows {
        let mut out = x.clone();
        out.map(|_, row| rms_norm(row, weight, epsilon));
        out
    }

    fn project(&self, x: &Rows, matrix: &Matrix, bias: Option<&Vec<f32>>) -> Rows {
        let values = matrix.product(&Rounded::new(&x.values, x.width), self.processor.isa);
        let mut out = Rows { width: matrix.rows(), values };
        if let Some(bias) = bias {
            out.map(|_, row| row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias));
        }
        out
    }

    fn add(&self, mut x: Rows, y: Rows) -> Rows {
        x.combine(&y, |x, y| x + y);
        x
    }

    fn attend(&self, mut qkv: Rows, what: &Attention<'_, Vec<f32>>, pass: &Pass, cache: &mut Pages) -> Rows {
        qkv.map(|at, row| prepare_heads(row, at, what, pass.turns.as_ref()));
        let values = attention::attend(&qkv.values, what, &pass.spans, cache, self.processor.isa);
        Rows { width: what.heads.queries * what.heads.size, values }
    }

    fn gated(&self, gate_up: Rows, f: Activation) -> Rows {
        let width = gate_up.width / 2;
        let mut out = Rows { width, values: vec![0.0; gate_up.values.len() / 2] };
        out.map(|at, row| {
            let (gate, up) = gate_up.values[at * 2 * width..][..2 * width].split_at(width);
            for ((out, gate), up) in row.iter_mut().zip(gate).zip(up) {
                *out = apply(f, *gate) * up;
            }
        });
        out
    }

    fn pick(&self, x: Rows, rows: &[usize]) -> Rows {
        x.pick(rows)
    }

    fn read(&self, x: Rows) -> Result<Vec<f32>, EngineError> {
        Ok(x.values)
    }

    fn read_operand(&self, x: Rows) -> Result<Vec<f32>, EngineError> {
        self.read(x)
    }
}

impl TextKernels for Cpu {
    fn layer_norm(&self, x: &Rows, weight: &Vec<f32>, bias: &Vec<f32>, epsilon: f32) -> Rows {
        let mut out = x.clone();
        out.map(|_, row| layer_norm(row, weight, bias, epsilon));
        out
    }

    fn activate(&self, mut x: Rows, f: Activation) -> Rows {
        x.map(|_, row| row.iter_mut().for_each(|x| *x = apply(f, *x)));
        x
    }
}

#[inline(always)]
fn apply(f: Activation, x: f32) -> f32 {
    match f {
        Activation::Silu => math::silu(x),
        Activation::Gelu => math::gelu(x),
    }
}

/// Sums kept side by side, so that they are vectors, and added up in one written order.
const LANES: usize = 16;

fn sum(values: impl Iterator<Item = f32>) -> f32 {
    let mut lanes = [0.0; LANES];
    for (at, value) in values.enumerate() {
        lanes[at % LANES] += value;
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

fn rms_norm(row: &mut [f32], weight: &[f32], epsilon: f32) {
    let mean = sum(row.iter().map(|x| x * x)) / row.len() as f32;
    let factor = 1.0 / (mean + epsilon).sqrt();
    row.iter_mut().zip(weight).for_each(|(x, weight)| *x = *x * factor * weight);
}

fn layer_norm(row: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) {
    let mean = sum(row.iter().copied()) / row.len() as f32;
    let variance = sum(row.iter().map(|x| (x - mean) * (x - mean))) / row.len() as f32;
    let factor = 1.0 / (variance + epsilon).sqrt();
    for ((x, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
        *x = (*x - mean) * factor * weight + bias;
    }
}

/// Norms and turns the queries and keys of a row, and divides queries by the root of their size.
fn prepare_heads(row: &mut [f32], at: usize, what: &Attention<'_, Vec<f32>>, turns: Option<&Turns>) {
    let heads = what.heads;
    let scale = 1.0 / (heads.size as f32).sqrt();
    let turned = &mut row[..(heads.queries + heads.keys) * heads.size];
    for (index, head) in turned.chunks_exact_mut(heads.size).enumerate() {
        let is_query = index < heads.queries;
        if let Some((query, key, epsilon)) = what.norms {
            rms_norm(head, if is_query { query } else { key }, epsilon);
        }
        if let Some(turns) = turns {
            turn(head, turns, at);
        }
        if is_query {
            head.iter_mut().for_each(|x| *x *= scale);
        }
    }
}

fn turn(head: &mut [f32], turns: &Turns, at: usize) {
    let pairs = turns.pairs;
    let (cos, sin) = (&turns.cos[at * pairs..][..pairs], &turns.sin[at * pairs..][..pairs]);
    let (first, second) = head[..2 * pairs].split_at_mut(pairs);
    for (((first, second), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        (*first, *second) = (*first * cos - *second * sin, *second * cos + *first * sin);
    }
}
