//! The engine of burn devices: GPUs through wgpu, in single precision.
//!
//! Matrices are dequantised when they are loaded, to four bytes an element (`docs/benchmarks.md` says
//! why). Keys and values of a layer are one tensor each, with a row for each position of each page; it
//! grows by doubling as far as the adapter allows, and attention gathers the rows of a sequence out of it.

pub(crate) mod guard;
pub(crate) mod pages;

#[cfg(test)]
mod tests;

use std::cell::RefCell;

use burn::Tensor;
use burn::tensor::activation::{gelu, silu, softmax};
use burn::tensor::{Float, TensorData};

use super::rope::Rope;
use super::{
    Activation, Attention, Batch, CacheShape, EngineError, Heads, Kernels, MatrixRole, Sight, Span, TensorTooLarge, TextKernels,
    Unsuitable, VectorRole, Weights, WeightsError, tensor_bytes,
};
use crate::tokenizer::TokenId;
use guard::Guard;
use pages::{KeptSpan, Pages, indices};

/// Added to the score of a position that may not be seen. Finite, because shaders may assume that
/// there are no infinities; its exponential is zero all the same.
const UNSEEN: f32 = -1e30;

/// The engine.
#[derive(Clone, Debug)]
pub(crate) struct Burn {
    guard: Guard,
}

impl Burn {
    pub(crate) fn new(guard: impl Into<Guard>) -> Self {
        Self { guard: guard.into() }
    }

    fn upload<const N: usize>(&self, values: Vec<f32>, shape: [usize; N]) -> Tensor<N> {
        Tensor::from_data(TensorData::new(values, shape), &self.guard.device)
    }
}

/// What the layers of a pass share.
#[derive(Debug)]
pub(crate) struct Pass {
    spans: Vec<PassSpan>,
    /// Cosine and sine, `[rows, 1, 2 * pairs]`; the sine negative in the first half.
    turns: Option<[Tensor<3>; 2]>,
}

#[derive(Debug)]
struct PassSpan {
    kept: KeptSpan,
    /// Masks, made by the first layer that needs them. A model has one or two kinds of sight.
    masks: RefCell<Vec<(Sight, Tensor<4>)>>,
}

impl Kernels for Burn {
    type Rows = Tensor<2>;
    type Operand = Tensor<2>;
    /// `[in, out]`, a transposed view: rows of the file stay contiguous, which is what
    /// matrix-vector products read fastest.
    type Matrix = Tensor<2>;
    /// `[1, width]`
    type Vector = Tensor<2>;
    type Cache = Pages<Float>;
    type Pass = Pass;
    type Host = Guard;

    fn host(&self) -> &Guard {
        &self.guard
    }

    fn matrix(&self, weights: &Weights, _: MatrixRole) -> Result<Tensor<2>, WeightsError> {
        TensorTooLarge::check(tensor_bytes([weights.rows(), weights.columns]), self.guard.tensor_bytes_max)?;
        Ok(self.upload(weights.values(), [weights.rows(), weights.columns]).transpose())
    }

    fn vector(&self, values: &[f32], _: VectorRole) -> Result<Tensor<2>, Unsuitable> {
        Ok(self.upload(values.to_vec(), [1, values.len()]))
    }

    fn cache(&self, shape: CacheShape) -> Pages<Float> {
        Pages::new(shape, self.guard.tensor_bytes_max)
    }

    fn page_bytes(&self, shape: CacheShape) -> u64 {
        pages::page_bytes(shape)
    }

    fn pass(&self, batch: &Batch, rope: Option<&Rope>) -> Pass {
        let rows = batch.ids.len();
        let span = |span: &Span| PassSpan { kept: KeptSpan::new(span, &self.guard.device), masks: RefCell::default() };
        let spans = batch.spans.iter().map(span).collect();
        let turns = rope.map(|rope| rope.turns(batch)).map(|turns| {
            let twice = |values: &[f32], first: f32| -> Vec<f32> {
                values.chunks_exact(turns.pairs).flat_map(|row| row.iter().map(move |x| first * x).chain(row.iter().copied())).collect()
            };
            let shape = [rows, 1, 2 * turns.pairs];
            [self.upload(twice(&turns.cos, 1.0), shape), self.upload(twice(&turns.sin, -1.0), shape)]
        });
        Pass { spans, turns }
    }

    fn embed(&self, table: &Tensor<2>, ids: &[TokenId]) -> Tensor<2> {
        table.clone().transpose().select(0, indices(ids.iter().map(|id| *id as usize), &self.guard.device))
    }

    fn rms_norm(&self, x: &Tensor<2>, weight: &Tensor<2>, epsilon: f32) -> Tensor<2> {
        let mean_square = (x.clone() * x.clone()).mean_dim(1);
        x.clone() * (mean_square + epsilon).sqrt().recip() * weight.clone()
    }

    fn project(&self, x: &Tensor<2>, matrix: &Tensor<2>, bias: Option<&Tensor<2>>) -> Tensor<2> {
        let out = x.clone().matmul(matrix.clone());
        match bias {
            Some(bias) => out + bias.clone(),
            None => out,
        }
    }

    fn add(&self, x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
        x + y
    }

    fn attend(&self, qkv: Tensor<2>, what: &Attention<'_, Tensor<2>>, pass: &Pass, cache: &mut Pages<Float>) -> Tensor<2> {
        let Heads { queries, keys, size } = what.heads;
        let [rows, _] = qkv.dims();
        let all = qkv.reshape([rows, queries + 2 * keys, size]);
        let part = |from: usize, heads: usize| all.clone().slice([0..rows, from..from + heads, 0..size]);
        let prepared = |heads: Tensor<3>, norm: Option<(&Tensor<2>, f32)>| turned(normed(heads, norm), pass.turns.as_ref());
        let (query_norm, key_norm) = match what.norms {
            Some((query, key, epsilon)) => (Some((query, epsilon)), Some((key, epsilon))),
            None => (None, None),
        };
        let query = prepared(part(0, queries), query_norm).mul_scalar(1.0 / (size as f64).sqrt());
        let key = prepared(part(queries, keys), key_norm);
        let value = part(queries + keys, keys);
        cache.reserve(pass.spans.iter().map(|span| &span.kept), &self.guard.device);
        let mixed = pass.spans.iter().map(|span| {
            let range = span.kept.span.rows.clone();
            let rows = |x: &Tensor<3>| x.clone().slice([range.clone()]);
            let [keys, values] = cache.keep(what.layer, &span.kept, [rows(&key), rows(&value)]);
            self.mix(rows(&query), keys, values, what, span)
        });
        Tensor::cat(mixed.collect(), 0)
    }

    fn gated(&self, gate_up: Tensor<2>, f: Activation) -> Tensor<2> {
        let [rows, twice] = gate_up.dims();
        let gate = gate_up.clone().slice([0..rows, 0..twice / 2]);
        let up = gate_up.slice([0..rows, twice / 2..twice]);
        self.activate(gate, f) * up
    }

    fn pick(&self, x: Tensor<2>, rows: &[usize]) -> Tensor<2> {
        if rows.len() == x.dims()[0] { x } else { x.select(0, indices(rows.iter().copied(), &self.guard.device)) }
    }

    fn read_operand(&self, x: Tensor<2>) -> Result<Vec<f32>, EngineError> {
        self.read(x)
    }

    fn read(&self, x: Tensor<2>) -> Result<Vec<f32>, EngineError> {
        x.try_into_data()?.try_into_vec().map_err(|_| EngineError::Unreadable)
    }
}

impl TextKernels for Burn {
    fn layer_norm(&self, x: &Tensor<2>, weight: &Tensor<2>, bias: &Tensor<2>, epsilon: f32) -> Tensor<2> {
        let centred = x.clone() - x.clone().mean_dim(1);
        let variance = (centred.clone() * centred.clone()).mean_dim(1);
        centred * (variance + epsilon).sqrt().recip() * weight.clone() + bias.clone()
    }

    fn activate(&self, x: Tensor<2>, f: Activation) -> Tensor<2> {
        match f {
            Activation::Silu => silu(x),
            Activation::Gelu => gelu(x),
        }
    }
}

fn normed(heads: Tensor<3>, norm: Option<(&Tensor<2>, f32)>) -> Tensor<3> {
    let Some((weight, epsilon)) = norm else { return heads };
    let mean_square = (heads.clone() * heads.clone()).mean_dim(2);
    heads * (mean_square + epsilon).sqrt().recip() * weight.clone().unsqueeze::<3>()
}

/// Turns heads `[rows, heads, size]`: a multiplication with cosines, and one of swapped halves with sines.
fn turned(heads: Tensor<3>, turns: Option<&[Tensor<3>; 2]>) -> Tensor<3> {
    let Some([cos, sin]) = turns else { return heads };
    let [rows, count, size] = heads.dims();
    let width = cos.dims()[2];
    let turning = heads.clone().slice([0..rows, 0..count, 0..width]);
    let swapped = turning.clone().reshape([rows, count, 2, width / 2]).flip([2]).reshape([rows, count, width]);
    let out = turning * cos.clone() + swapped * sin.clone();
    if width == size { out } else { Tensor::cat(vec![out, heads.slice([0..rows, 0..count, width..size])], 2) }
}

impl Burn {
    /// Attention of the rows of one span, to `[rows, queries * size]`.
    fn mix(&self, query: Tensor<3>, keys: Tensor<3>, values: Tensor<3>, what: &Attention<'_, Tensor<2>>, span: &PassSpan) -> Tensor<2> {
        let Heads { queries, keys: key_heads, size } = what.heads;
        let (rows, group) = (query.dims()[0], what.heads.group());
        let seen = keys.dims()[0];
        let by_head = |x: Tensor<3>| x.swap_dims(0, 1).unsqueeze_dim::<4>(1);
        let (keys, values) = (by_head(keys), by_head(values));
        let query = query.reshape([rows, key_heads, group, size]).permute([1, 2, 0, 3]);
        let mixed = if rows == 1 && !matches!(what.sight, Sight::Window(_)) {
            // Products with single vectors, for which backends read keys and values as they lie.
            let scores = keys.matmul(query.reshape([key_heads, group, size, 1])).reshape([key_heads, group, 1, seen]);
            softmax(scores, 3).matmul(values)
        } else {
            let mut scores = query.reshape([key_heads, 1, group * rows, size]).matmul(keys.swap_dims(2, 3));
            scores = scores.reshape([key_heads, group, rows, seen]);
            if let Some(mask) = self.mask(what.sight, span) {
                scores = scores + mask;
            }
            softmax(scores, 3).reshape([key_heads, 1, group * rows, seen]).matmul(values).reshape([key_heads, group, rows, size])
        };
        mixed.permute([2, 0, 1, 3]).reshape([rows, queries * size])
    }
}

impl Burn {
    /// What is added to the scores of a span, `[1, 1, rows, end]`.
    fn mask(&self, sight: Sight, span: &PassSpan) -> Option<Tensor<4>> {
        let mut masks = span.masks.borrow_mut();
        if let Some((_, mask)) = masks.iter().find(|(its, _)| *its == sight) {
            return Some(mask.clone());
        }
        let Span { rows, start, .. } = &span.kept.span;
        let (rows, end) = (rows.len(), span.kept.span.end());
        let mask = self.upload(mask(sight, *start, rows, end)?, [1, 1, rows, end]);
        masks.push((sight, mask.clone()));
        Some(mask)
    }
}

/// What is added to the scores `[rows, seen]`; none if every row sees everything.
fn mask(sight: Sight, start: usize, rows: usize, seen: usize) -> Option<Vec<f32>> {
    let window = match sight {
        Sight::Whole => return None,
        Sight::Back => seen,
        Sight::Window(window) => window,
    };
    let mut mask = vec![UNSEEN; rows * seen];
    for (row, mask) in mask.chunks_exact_mut(seen).enumerate() {
        let end = start + row + 1;
        mask[end.saturating_sub(window)..end].fill(0.0);
    }
    Some(mask)
}
