//! The exact tier on a processor.

mod attention;
mod product;

#[cfg(test)]
mod tests;

use super::arithmetic::{self, fixed_epsilon, norm15, quant14, rms_norm, sines, turn};
use super::integers::{IntegerVector, group_of};
use super::{GROUP_MIN, Parts};
use crate::engine::processor::{self, Processor, map_row_pairs};
use crate::engine::rope::Rope;
use crate::engine::{
    Activation, Attention, Batch, CacheShape, EngineError, ExactKernels, Kernels, MatrixRole, Span, Unsuitable, VectorRole, Weights,
    WeightsError,
};
use crate::tokenizer::TokenId;
use attention::Pages;
use product::{Operand, Tiles};

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

/// What goes from layer to layer, with 14 binary places, or results of projections.
pub(crate) type Rows = processor::Rows<i32>;

/// A matrix.
#[derive(Debug)]
pub(crate) struct Matrix {
    columns: usize,
    table: Option<Vec<i32>>,
    tiles: Vec<Tiles>,
    places: i32,
}

/// What the layers of a pass share.
#[derive(Debug)]
pub(crate) struct Pass {
    spans: Vec<Span>,
    /// Cosine and sine of each row and pair.
    sines: Vec<(i32, i32)>,
    pairs: usize,
}

impl Kernels for Cpu {
    type Rows = Rows;
    type Operand = Operand;
    type Matrix = Matrix;
    type Vector = IntegerVector;
    type Cache = Pages;
    type Pass = Pass;
    type Host = Processor;

    fn host(&self) -> &Processor {
        &self.processor
    }

    fn matrix(&self, weights: &Weights, role: MatrixRole) -> Result<Matrix, WeightsError> {
        let Parts { table, matrices, places } = Parts::new(weights, role)?;
        let tiles = self.processor.enter(|| matrices.iter().map(Tiles::new).collect());
        Ok(Matrix { columns: weights.columns, table, tiles, places })
    }

    fn vector(&self, values: &[f32], role: VectorRole) -> Result<IntegerVector, Unsuitable> {
        super::vector(values, role)
    }

    fn cache(&self, shape: CacheShape) -> Pages {
        Pages::new(shape)
    }

    fn page_bytes(&self, shape: CacheShape) -> u64 {
        attention::page_bytes(shape)
    }

    fn pass(&self, batch: &Batch, rope: Option<&Rope>) -> Pass {
        let steps = rope.map(Rope::steps).unwrap_or_default();
        let sines = batch.positions().flat_map(|position| sines(steps, position)).collect();
        Pass { spans: batch.spans.clone(), sines, pairs: steps.len() }
    }

    fn embed(&self, table: &Matrix, ids: &[TokenId]) -> Rows {
        let rows = table.table.as_deref().unwrap_or_default();
        let values = ids.iter().flat_map(|id| &rows[*id as usize * table.columns..][..table.columns]).copied().collect();
        Rows { width: table.columns, values }
    }

    fn rms_norm(&self, x: &Rows, weight: &IntegerVector, epsilon: f32) -> Operand {
        let epsilon = fixed_epsilon(epsilon, 28);
        Operand::new(x.clone(), |row, exponents, group| {
            let places = rms_norm(row, &weight.values, epsilon) + weight.exponent;
            for (x, exponent) in row.chunks_exact_mut(group).zip(exponents) {
                *exponent = quant14(x) - places;
            }
        })
    }

    fn project(&self, x: &Operand, matrix: &Matrix, bias: Option<&IntegerVector>) -> Rows {
        let width = matrix.tiles.iter().map(Tiles::rows).sum();
        let mut values = vec![0; x.rows() * width];
        let mut first = 0;
        for tiles in &matrix.tiles {
            tiles.product_into(x, matrix.places, self.processor.isa, &mut values, first, width);
            first += tiles.rows();
        }
        let mut out = Rows { width, values };
        if let Some(bias) = bias {
            out.map(|_, row| row.iter_mut().zip(&bias.values).for_each(|(x, bias)| *x = x.wrapping_add(*bias)));
        }
        out
    }

    fn add(&self, mut x: Rows, y: Rows) -> Rows {
        x.combine(&y, i32::wrapping_add);
        x
    }

    fn attend(&self, mut qkv: Rows, what: &Attention<'_, IntegerVector>, pass: &Pass, cache: &mut Pages) -> Operand {
        let heads = what.heads;
        let mut exponents = vec![0; qkv.values.len() / heads.size];
        let per_row = heads.queries + 2 * heads.keys;
        map_row_pairs((&mut qkv.values, qkv.width), (&mut exponents, per_row), |at, row, exponents| {
            prepare(row, exponents, what, &pass.sines[at * pass.pairs..][..pass.pairs]);
        });
        let mixed = attention::attend(&qkv.values, &exponents, what, &pass.spans, cache, self.processor.isa);
        Operand::new(Rows { width: heads.queries * heads.size, values: mixed }, |row, exponents, group| {
            for (x, exponent) in row.chunks_exact_mut(group).zip(exponents) {
                *exponent = quant14(x) - 16;
            }
        })
    }

    fn gated(&self, gate_up: Rows, _: Activation) -> Operand {
        let width = gate_up.width / 2;
        let group = group_of(width).unwrap_or(GROUP_MIN);
        let groups = width / group;
        let mut both = gate_up.values;
        let mut exponents = vec![0; both.len() / 2 / group];
        map_row_pairs((&mut both, 2 * width), (&mut exponents, groups), |_, row, exponents| {
            let (gate, up) = row.split_at_mut(width);
            let pairs = gate.chunks_exact_mut(group).zip(up.chunks_exact_mut(group));
            for ((gate, up), exponent) in pairs.zip(exponents) {
                *exponent = arithmetic::gated(gate, up);
            }
        });
        let values = both.chunks_exact(2 * width).flat_map(|row| &row[..width]).copied().collect();
        Operand::from_parts(Rows { width, values }, exponents)
    }

    fn pick(&self, x: Rows, rows: &[usize]) -> Rows {
        x.pick(rows)
    }

    fn read(&self, x: Rows) -> Result<Vec<f32>, EngineError> {
        Ok(x.values.into_iter().map(super::score).collect())
    }

    fn read_operand(&self, x: Operand) -> Result<Vec<f32>, EngineError> {
        Ok(super::floats(&x.values, &x.exponents, x.group))
    }
}

impl ExactKernels for Cpu {
    fn integers(&self, x: &Rows) -> Result<Vec<i32>, EngineError> {
        Ok(x.values.clone())
    }
}

/// Norms, turns and rounds the heads of a row as far as the attention wants them; their exponents.
fn prepare(row: &mut [i32], exponents: &mut [i32], what: &Attention<'_, IntegerVector>, sines: &[(i32, i32)]) {
    let heads = what.heads;
    for (index, (head, exponent)) in row.chunks_exact_mut(heads.size).zip(exponents).enumerate() {
        let (is_query, is_value) = (index < heads.queries, index >= heads.queries + heads.keys);
        if is_value {
            *exponent = norm15(head) - 16;
            continue;
        }
        if let Some((query, key, epsilon)) = what.norms {
            let weight = if is_query { query } else { key };
            let places = rms_norm(head, &weight.values, fixed_epsilon(epsilon, 32)) + weight.exponent - 16;
            head.iter_mut().for_each(|x| *x = arithmetic::sh(*x, places));
        }
        *exponent = norm15(head) - 16;
        turn(head, sines);
        if is_query {
            *exponent += quant14(head);
        }
    }
}
