//! The exact tier on burn devices. Weights are `f32` that hold bytes, so products are matrix
//! products of the device; everything between them is `i32`.

mod ops;

#[cfg(test)]
mod tests;

use burn::Tensor;
use burn::tensor::{Int, TensorData};

use super::arithmetic::{BLOCK_POSITIONS, SCORE_MAX, fixed_epsilon, sines};
use super::integers::{IntegerMatrix, IntegerVector, group_of};
use super::{GROUP_MIN, Parts};
use crate::engine::burn::guard::Guard;
use crate::engine::burn::pages::{KeptSpan, Pages, indices, page_bytes};
use crate::engine::rope::Rope;
use crate::engine::{
    Activation, Attention, Batch, CacheShape, EngineError, ExactKernels, Heads, Kernels, MatrixRole, TensorTooLarge, Unsuitable,
    VectorRole, Weights, WeightsError, tensor_bytes,
};
use crate::tokenizer::TokenId;
use ops::{DeviceTables, Ints, bits, dots, dots_by_128, gated, look_up, norm15, quant8, quant14, rms_norm, sh, turn, upload};

/// Elements of the sums of one product that are on the device at a time, 64 MiB: rows are cut to it.
const SUMS_MAX: usize = 1 << 24;

/// Below any exponent that there is.
const NOTHING: i32 = -(1 << 20);

/// The engine.
#[derive(Clone, Debug)]
pub(crate) struct Burn {
    guard: Guard,
    tables: DeviceTables,
}

impl Burn {
    pub(crate) fn new(guard: impl Into<Guard>) -> Self {
        let guard = guard.into();
        Self { tables: DeviceTables::new(&guard.device), guard }
    }

    fn part(&self, matrix: &IntegerMatrix) -> Part {
        let (rows, group) = (matrix.rows(), matrix.group);
        let groups = matrix.columns / group;
        let weights: Vec<f32> = matrix.weights.iter().map(|weight| f32::from(*weight)).collect();
        let multipliers = matrix.multipliers.iter().map(|multiplier| i32::from(*multiplier)).collect();
        let weights: Tensor<3> = Tensor::from_data(TensorData::new(weights, [rows, groups, group]), &self.guard.device);
        Part {
            weights: weights.permute([1, 2, 0]),
            multipliers: upload(multipliers, [rows, groups], &self.guard.device).swap_dims(0, 1).unsqueeze_dim(1),
            exponent: matrix.exponent,
        }
    }
}

/// Activations in groups with an exponent each.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    /// `[rows, groups, group]`
    values: Ints<3>,
    /// `[rows, groups, 1]`
    exponents: Ints<3>,
}

/// One of the matrices that lie below each other.
#[derive(Debug)]
struct Part {
    /// `[groups, group, out]`
    weights: Tensor<3>,
    /// `[groups, 1, out]`
    multipliers: Ints<3>,
    exponent: i32,
}

/// A matrix.
#[derive(Debug)]
pub(crate) struct Matrix {
    /// `[rows, columns]`
    table: Option<Ints<2>>,
    parts: Vec<Part>,
    places: i32,
}

/// Weights of a norm or a bias, `[1, width]`.
#[derive(Debug)]
pub(crate) struct Vector {
    values: Ints<2>,
    exponent: i32,
}

/// What the layers of a pass share.
#[derive(Debug)]
pub(crate) struct Pass {
    spans: Vec<KeptSpan>,
    /// Cosine and sine, `[rows, 1, pairs]`.
    sines: [Ints<3>; 2],
}

impl Kernels for Burn {
    type Rows = Ints<2>;
    type Operand = Operand;
    type Matrix = Matrix;
    type Vector = Vector;
    /// Keys and values, bytes and behind them multiplier and exponent.
    type Cache = Pages<Int>;
    type Pass = Pass;
    type Host = Guard;

    fn host(&self) -> &Guard {
        &self.guard
    }

    /// Behind the elements of a head stand a multiplier and an exponent.
    fn kept(&self, shape: CacheShape) -> CacheShape {
        CacheShape { size: shape.size + 2, ..shape }
    }

    fn matrix(&self, weights: &Weights, role: MatrixRole) -> Result<Matrix, WeightsError> {
        TensorTooLarge::check(tensor_bytes([weights.rows(), weights.columns]), self.guard.tensor_bytes_max)?;
        let Parts { table, matrices, places } = Parts::new(weights, role)?;
        let table = table.map(|table| upload(table, [weights.rows(), weights.columns], &self.guard.device));
        Ok(Matrix { table, parts: matrices.iter().map(|matrix| self.part(matrix)).collect(), places })
    }

    fn vector(&self, values: &[f32], role: VectorRole) -> Result<Vector, Unsuitable> {
        let IntegerVector { values, exponent } = super::vector(values, role)?;
        let width = values.len();
        Ok(Vector { values: upload(values, [1, width], &self.guard.device), exponent })
    }

    fn cache(&self, shape: CacheShape) -> Pages<Int> {
        Pages::new(self.kept(shape), self.guard.tensor_bytes_max)
    }

    fn page_bytes(&self, shape: CacheShape) -> u64 {
        page_bytes(self.kept(shape))
    }

    fn pass(&self, batch: &Batch, rope: Option<&Rope>) -> Pass {
        let steps = rope.map(Rope::steps).unwrap_or_default();
        let (cosines, sines): (Vec<i32>, Vec<i32>) = batch.positions().flat_map(|position| sines(steps, position)).unzip();
        let shape = [batch.ids.len(), 1, steps.len()];
        Pass {
            spans: batch.spans.iter().map(|span| KeptSpan::new(span, &self.guard.device)).collect(),
            sines: [upload(cosines, shape, &self.guard.device), upload(sines, shape, &self.guard.device)],
        }
    }

    fn embed(&self, table: &Matrix, ids: &[TokenId]) -> Ints<2> {
        let table = table.table.clone().expect("tables are loaded as such");
        table.select(0, indices(ids.iter().map(|id| *id as usize), &self.guard.device))
    }

    fn rms_norm(&self, x: &Ints<2>, weight: &Vector, epsilon: f32) -> Operand {
        let (x, places) = rms_norm(x.clone(), weight.values.clone(), fixed_epsilon(epsilon, 28));
        Operand::new(x, -(places + weight.exponent))
    }

    fn project(&self, x: &Operand, matrix: &Matrix, bias: Option<&Vector>) -> Ints<2> {
        let parts = matrix.parts.iter().map(|part| part.product(x, matrix.places)).collect();
        let out = Tensor::cat(parts, 1);
        match bias {
            Some(bias) => out + bias.values.clone(),
            None => out,
        }
    }

    fn add(&self, x: Ints<2>, y: Ints<2>) -> Ints<2> {
        x + y
    }

    fn attend(&self, qkv: Ints<2>, what: &Attention<'_, Vector>, pass: &Pass, cache: &mut Pages<Int>) -> Operand {
        let Heads { queries, keys, size } = what.heads;
        let [rows, _] = qkv.dims();
        let all = qkv.reshape([rows, queries + 2 * keys, size]);
        let part = |from: usize, heads: usize| all.clone().slice([0..rows, from..from + heads, 0..size]);
        let (query_norm, key_norm) = match what.norms {
            Some((query, key, epsilon)) => (Some((query, epsilon)), Some((key, epsilon))),
            None => (None, None),
        };
        let turned = |heads: Ints<3>, norm| {
            let (x, exponent) = norm15(normed(heads, norm));
            (turn(x, &pass.sines), exponent.sub_scalar(16))
        };
        let (query, query_exponent) = turned(part(0, queries), query_norm);
        let (query, more) = quant14(query);
        let query = Tensor::cat(vec![query, query_exponent + more], 2);
        let (key, key_exponent) = turned(part(queries, keys), key_norm);
        let (value, value_exponent) = norm15(part(queries + keys, keys));
        let kept = [kept(key, key_exponent), kept(value, value_exponent.sub_scalar(16))];
        cache.reserve(pass.spans.iter(), &self.guard.device);
        let mixed = pass.spans.iter().map(|span| {
            let rows = |x: &Ints<3>| x.clone().slice([span.span.rows.clone()]);
            let [keys, values] = cache.keep(what.layer, span, [rows(&kept[0]), rows(&kept[1])]);
            self.mix(rows(&query), keys, values, what.heads, span)
        });
        Operand::new(Tensor::cat(mixed.collect(), 0), -16)
    }

    fn gated(&self, gate_up: Ints<2>, _: Activation) -> Operand {
        let [rows, twice] = gate_up.dims();
        let half = |from: usize| in_groups(gate_up.clone().slice([0..rows, from..from + twice / 2]));
        let (values, exponents) = gated(&self.tables, half(0), half(twice / 2));
        Operand { values, exponents }
    }

    fn pick(&self, x: Ints<2>, rows: &[usize]) -> Ints<2> {
        if rows.len() == x.dims()[0] { x } else { x.select(0, indices(rows.iter().copied(), &self.guard.device)) }
    }

    fn read(&self, x: Ints<2>) -> Result<Vec<f32>, EngineError> {
        Ok(integers(x)?.into_iter().map(super::score).collect())
    }

    fn read_operand(&self, x: Operand) -> Result<Vec<f32>, EngineError> {
        let group = x.values.dims()[2];
        let (values, exponents) = (integers(x.values)?, integers(x.exponents)?);
        Ok(super::floats(&values, &exponents, group))
    }
}

impl ExactKernels for Burn {
    fn integers(&self, x: &Ints<2>) -> Result<Vec<i32>, EngineError> {
        integers(x.clone())
    }
}

fn integers<const D: usize>(x: Ints<D>) -> Result<Vec<i32>, EngineError> {
    x.try_into_data()?.try_into_vec().map_err(|_| EngineError::Unreadable)
}

/// Rows in groups.
fn in_groups(x: Ints<2>) -> Ints<3> {
    let [rows, width] = x.dims();
    let group = group_of(width).unwrap_or(GROUP_MIN);
    x.reshape([rows, width / group, group])
}

impl Operand {
    /// Rounds rows, which stand for themselves times a power of two.
    fn new(x: Ints<2>, exponent: i32) -> Self {
        let (values, exponents) = quant14(in_groups(x));
        Self { values, exponents: exponents.add_scalar(exponent) }
    }
}

impl Part {
    /// Results with so many binary places, `[rows, out]`.
    fn product(&self, x: &Operand, places: i32) -> Ints<2> {
        let [groups, _, out] = self.weights.dims();
        let [rows, _, group] = x.values.dims();
        let step = (SUMS_MAX / (2 * groups * out)).max(1);
        let parts = (0..rows).step_by(step).map(|first| {
            let last = rows.min(first + step);
            let values = x.values.clone().slice([first..last, 0..groups, 0..group]).swap_dims(0, 1);
            let exponents = x.exponents.clone().slice([first..last, 0..groups, 0..1]).swap_dims(0, 1);
            let scaled = dots_by_128(values, self.weights.clone()) * self.multipliers.clone();
            let shift = exponents.neg().add_scalar(self.exponent - places - 7);
            sh(scaled, shift).sum_dim(0).reshape([last - first, out])
        });
        Tensor::cat(parts.collect(), 0)
    }
}

/// Heads after their norm, with sixteen binary places.
fn normed(heads: Ints<3>, norm: Option<(&Vector, f32)>) -> Ints<3> {
    let Some((weight, epsilon)) = norm else { return heads };
    let (x, places) = rms_norm(heads, weight.values.clone().unsqueeze(), fixed_epsilon(epsilon, 32));
    let shift = x.zeros_like().add_scalar(places + weight.exponent - 16);
    sh(x, shift)
}

/// A key or a value as the cache has it: bytes, multiplier, exponent.
fn kept(x: Ints<3>, exponent: Ints<3>) -> Ints<3> {
    let (bytes, multiplier) = quant8(x);
    Tensor::cat(vec![bytes, multiplier, exponent], 2)
}

/// What a block of positions adds up to, for every key head and each of its queries.
struct Block {
    /// Exponents of weights, sums of weights, exponents of values: `[keys, queries, 1]`.
    top: Ints<3>,
    weight: Ints<3>,
    exponent: Ints<3>,
    /// `[keys, queries, size]`
    sums: Ints<3>,
}

impl Burn {
    /// Attention of the rows of one span, to `[rows, queries * size]`. `query` has elements and
    /// their exponent, keys and values what the cache keeps.
    fn mix(&self, query: Ints<3>, keys: Ints<3>, values: Ints<3>, heads: Heads, span: &KeptSpan) -> Ints<2> {
        let Heads { queries, keys: key_heads, size } = heads;
        let (rows, group, seen) = (query.dims()[0], heads.group(), keys.dims()[0]);
        let query = query.reshape([rows, key_heads, group, size + 1]).permute([1, 2, 0, 3]).reshape([key_heads, group * rows, size + 1]);
        let positions: Vec<i32> = (0..group * rows).map(|at| (span.span.start + at % rows) as i32).collect();
        let positions = upload(positions, [1, group * rows, 1], &self.guard.device);
        let by_head = |x: Ints<3>| x.swap_dims(0, 1);
        let (keys, values) = (by_head(keys), by_head(values));
        let blocks = (0..seen).step_by(BLOCK_POSITIONS).map(|first| {
            let range = first..seen.min(first + BLOCK_POSITIONS);
            let of_block = |x: &Ints<3>| x.clone().slice([0..key_heads, range.clone(), 0..size + 2]);
            self.block(&query, of_block(&keys), of_block(&values), &positions, first)
        });
        let mixed = finish(blocks.collect());
        mixed.reshape([key_heads, group, rows, size]).permute([2, 0, 1, 3]).reshape([rows, queries * size])
    }

    fn block(&self, query: &Ints<3>, keys: Ints<3>, values: Ints<3>, positions: &Ints<3>, first: usize) -> Block {
        let (bytes, multipliers, exponents) = opened(keys);
        let [heads, rows, wide] = query.dims();
        let seen = bytes.dims()[1];
        let shape = [heads, rows, seen];
        let elements = query.clone().slice([0..heads, 0..rows, 0..wide - 1]);
        let query_exponent = query.clone().slice([0..heads, 0..rows, wide - 1..wide]);
        let places = upload((first..first + seen).map(|position| position as i32).collect(), [1, 1, seen], &self.guard.device);
        let hidden = places.expand(shape).greater(positions.clone().expand(shape));
        let products = dots_by_128(elements, bytes.swap_dims(1, 2).float()) * multipliers;
        let shift = (query_exponent.expand(shape) + exponents.expand(shape)).add_scalar(17).neg();
        let scores = sh(products, shift).clamp(-SCORE_MAX, SCORE_MAX);
        let top = scores.clone().mask_fill(hidden.clone(), -(1 << 30)).max_dim(2).add_scalar(1023).bitwise_right_shift_scalar(10);
        let below = top.clone().mul_scalar(1024).expand(shape) - scores;
        let below = below.mask_fill(hidden.clone(), 0);
        let power = look_up(&self.tables.exp2, below.clone().bitwise_and_scalar(1023));
        let weights = sh(power, below.bitwise_right_shift_scalar(10)).mask_fill(hidden.clone(), 0);
        let (bytes, multipliers, exponents) = opened(values);
        let exponent = exponents.clone().expand(shape).mask_fill(hidden, NOTHING).max_dim(2);
        let shift = (exponent.clone().expand(shape) - exponents.expand(shape)).add_scalar(9);
        let z = sh(weights.clone() * multipliers, shift);
        Block { top, weight: weights.sum_dim(2), exponent, sums: dots(z, bytes.float()) }
    }
}

/// Bytes `[heads, positions, size]`, and multipliers and exponents `[heads, 1, positions]`.
fn opened(kept: Ints<3>) -> (Ints<3>, Ints<3>, Ints<3>) {
    let [heads, positions, wide] = kept.dims();
    let part = |from: usize, to: usize| kept.clone().slice([0..heads, 0..positions, from..to]);
    (part(0, wide - 2), part(wide - 2, wide - 1).swap_dims(1, 2), part(wide - 1, wide).swap_dims(1, 2))
}

/// Brings all blocks to common exponents, and divides by the sum of weights.
fn finish(blocks: Vec<Block>) -> Ints<3> {
    let greatest = |of: fn(&Block) -> &Ints<3>| {
        blocks.iter().map(|block| of(block).clone()).reduce(Tensor::max_pair).expect("a query sees at least itself")
    };
    let (top, exponent) = (greatest(|block| &block.top), greatest(|block| &block.exponent));
    let sum = |parts: &mut dyn Iterator<Item = Ints<3>>| parts.reduce(|one, two| one + two).expect("a query sees at least itself");
    let weight = sum(&mut blocks.iter().map(|block| sh(block.weight.clone(), top.clone() - block.top.clone()))).clamp_min(1);
    let total = sum(&mut blocks.iter().map(|block| {
        let shift = (top.clone() - block.top.clone()) + (exponent.clone() - block.exponent.clone());
        sh(block.sums.clone(), shift.add_scalar(8))
    }));
    let places = bits(weight.clone()).sub_scalar(15);
    let weight = sh(weight, places.clone());
    let inverse = weight.zeros_like().add_scalar(1 << 29).div(weight);
    let shape = total.dims();
    sh(sh(total, places) * inverse.expand(shape), exponent.add_scalar(4).neg())
}
