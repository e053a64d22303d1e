//! The Llama forward pass, in `f32`.

use burn::Tensor;
use burn::tensor::activation::{silu, softmax};
use burn::tensor::{Device, Int, TensorData};

use super::cache::KvCache;
use super::config::Config;
use super::packed::Packed;
use super::rope::{Rope, Rotation};
use crate::tokenizer::TokenId;

/// Added to the score of a position that may not be seen. Finite, because shaders may assume that
/// there are no infinities; its exponential is zero all the same.
const UNSEEN: f32 = -1e30;

/// A Llama's weights on a device.
#[derive(Debug)]
pub(crate) struct Llama {
    pub(super) config: Config,
    pub(super) device: Device,
    /// `[vocabulary, hidden]`
    pub(super) embedding: Tensor<2>,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Norm,
    pub(super) head: Head,
    pub(super) rope: Rope,
}

/// One layer. Projections that read the same input are one matrix.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attention_norm: Norm,
    /// Queries, keys, values.
    pub(super) qkv: Linear,
    pub(super) attention_out: Linear,
    pub(super) feed_forward_norm: Norm,
    /// Gate, up.
    pub(super) gate_up: Linear,
    pub(super) down: Linear,
}

/// Root-mean-square normalisation.
#[derive(Debug)]
pub(super) struct Norm {
    /// `[1, hidden]`
    pub(super) weight: Tensor<2>,
    pub(super) epsilon: f64,
}

impl Norm {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let mean_square = (x.clone() * x.clone()).mean_dim(1);
        x * (mean_square + self.epsilon).sqrt().recip() * self.weight.clone()
    }
}

/// A projection without bias.
#[derive(Debug)]
pub(super) struct Linear {
    /// `[in, out]`, a transposed view: rows of the file stay contiguous, which is what
    /// matrix-vector products read fastest.
    weight: Tensor<2>,
    /// The same weights for single rows on the CPU.
    packed: Option<Packed>,
}

impl Linear {
    /// `weight` is `[out, in]`, as in the file.
    pub(super) fn new(weight: Tensor<2>, packed: Option<Packed>) -> Self {
        Self { weight: weight.transpose(), packed }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.packed {
            Some(packed) if x.dims()[0] == 1 => packed_product(packed, x),
            _ => x.matmul(self.weight.clone()),
        }
    }
}

/// `[1, in]` to `[1, out]`.
fn packed_product(packed: &Packed, x: Tensor<2>) -> Tensor<2> {
    let device = x.device();
    let x = x.into_data();
    let out = packed.product(x.as_slice().expect("tensors of this module are f32"));
    let len = out.len();
    Tensor::from_data(TensorData::new(out, [1, len]), &device)
}

/// The last projection, to one score a token.
#[derive(Debug)]
pub(super) struct Head {
    /// `[parts, hidden, vocabulary / parts]`, a transposed view.
    weight: Tensor<3>,
    /// The same weights for the CPU.
    packed: Option<Packed>,
}

impl Head {
    /// `weight` is `[vocabulary, hidden]`.
    ///
    /// The CPU backend runs single rows on one core unless they come as a batch, and this is the
    /// largest matrix; so the vocabulary is cut into `parts` that are one.
    pub(super) fn new(weight: Tensor<2>, parts: usize, packed: Option<Packed>) -> Self {
        let [vocabulary, hidden] = weight.dims();
        let parts = if vocabulary.is_multiple_of(parts) { parts } else { 1 };
        Self { weight: weight.reshape([parts, vocabulary / parts, hidden]).swap_dims(1, 2), packed }
    }

    /// `[1, hidden]` to `[vocabulary]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<1> {
        let [parts, hidden, size] = self.weight.dims();
        if let Some(packed) = &self.packed {
            return packed_product(packed, x).reshape([parts * size]);
        }
        let x = x.reshape([1, 1, hidden]).expand([parts, 1, hidden]);
        x.matmul(self.weight.clone()).reshape([parts * size])
    }
}

/// What all layers of one pass share.
struct Pass {
    rotation: Rotation,
    /// `[1, 1, new, seen]`; none when there is one new position, which sees all.
    mask: Option<Tensor<4>>,
}

impl Llama {
    /// A cache for a generation of at most `positions`.
    pub(crate) fn new_cache(&self, positions: usize) -> KvCache {
        KvCache::new(&self.config, positions, &self.device)
    }

    /// Reads tokens behind those in the cache, without asking for scores.
    pub(crate) fn read(&self, ids: &[TokenId], cache: &mut KvCache) {
        let _ = self.hidden(ids, cache);
    }

    /// Reads tokens, at least one, and gives the scores of what may follow the last, `[vocabulary]`.
    pub(crate) fn scores(&self, ids: &[TokenId], cache: &mut KvCache) -> Tensor<1> {
        let hidden = self.hidden(ids, cache);
        let last = hidden.slice([ids.len() - 1..ids.len(), 0..self.config.hidden]);
        self.head.forward(self.norm.forward(last))
    }

    /// `[new, hidden]`
    fn hidden(&self, ids: &[TokenId], cache: &mut KvCache) -> Tensor<2> {
        let (start, new) = (cache.len(), ids.len());
        cache.reserve(new);
        let pass =
            Pass { rotation: self.rope.rotation(start, new, &self.device), mask: (new > 1).then(|| causal_mask(start, new, &self.device)) };
        let mut x = self.embed(ids);
        for (index, layer) in self.layers.iter().enumerate() {
            let attended = self.attend(layer, index, layer.attention_norm.forward(x.clone()), &pass, cache);
            x = x + attended;
            let fed = self.feed(layer, layer.feed_forward_norm.forward(x.clone()));
            x = x + fed;
        }
        cache.advance(new);
        x
    }

    fn embed(&self, ids: &[TokenId]) -> Tensor<2> {
        let indices: Vec<i32> = ids.iter().map(|id| id.cast_signed()).collect();
        let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [ids.len()]), &self.device);
        self.embedding.clone().select(0, indices)
    }

    /// Grouped-query attention: a group of query heads shares a key head.
    fn attend(&self, layer: &Layer, index: usize, x: Tensor<2>, pass: &Pass, cache: &mut KvCache) -> Tensor<2> {
        let Config { heads, kv_heads, head_size, .. } = self.config;
        let group = heads / kv_heads;
        let [new, _] = x.dims();
        let all = layer.qkv.forward(x).reshape([new, heads + 2 * kv_heads, head_size]);
        let turned = pass.rotation.apply(all.clone().slice([0..new, 0..heads + kv_heads, 0..head_size]));
        let queries = turned.clone().slice([0..new, 0..heads, 0..head_size]);
        let keys = turned.slice([0..new, heads..heads + kv_heads, 0..head_size]);
        let values = all.slice([0..new, heads + kv_heads..heads + 2 * kv_heads, 0..head_size]);
        let by_head = |x: Tensor<3>| x.swap_dims(0, 1).reshape([kv_heads, 1, new, head_size]);
        let (keys, values) = cache.append(index, by_head(keys), by_head(values));

        let scaled = queries.mul_scalar(1.0 / (head_size as f64).sqrt());
        let queries = scaled.reshape([new, kv_heads, group, head_size]).permute([1, 2, 0, 3]);
        let mixed = match &pass.mask {
            Some(mask) => attend_many(queries, keys, values, mask.clone()),
            None => attend_one(queries, keys, values),
        };
        layer.attention_out.forward(mixed.permute([2, 0, 1, 3]).reshape([new, heads * head_size]))
    }

    fn feed(&self, layer: &Layer, x: Tensor<2>) -> Tensor<2> {
        let [new, _] = x.dims();
        let wide = self.config.feed_forward;
        let gate_up = layer.gate_up.forward(x);
        let gate = gate_up.clone().slice([0..new, 0..wide]);
        let up = gate_up.slice([0..new, wide..2 * wide]);
        layer.down.forward(silu(gate) * up)
    }
}

/// Attention of several new positions: the queries of a group are one matrix.
///
/// # Shapes
///
/// Queries and result are `[kv_heads, group, new, size]`, keys and values `[kv_heads, 1, seen, size]`.
fn attend_many(queries: Tensor<4>, keys: Tensor<4>, values: Tensor<4>, mask: Tensor<4>) -> Tensor<4> {
    let [kv_heads, group, new, size] = queries.dims();
    let seen = keys.dims()[2];
    let queries = queries.reshape([kv_heads, 1, group * new, size]);
    let scores = queries.matmul(keys.swap_dims(2, 3)).reshape([kv_heads, group, new, seen]) + mask;
    let weights = softmax(scores, 3).reshape([kv_heads, 1, group * new, seen]);
    weights.matmul(values).reshape([kv_heads, group, new, size])
}

/// Attention of one new position, which sees all: products with single vectors, for which the CPU
/// backend reads keys and values as they lie.
///
/// # Shapes
///
/// As [`attend_many`], with `new` one.
fn attend_one(queries: Tensor<4>, keys: Tensor<4>, values: Tensor<4>) -> Tensor<4> {
    let scores = keys.matmul(queries.swap_dims(2, 3)).swap_dims(2, 3);
    softmax(scores, 3).matmul(values)
}

/// Each new position sees what was there and the new ones up to itself.
fn causal_mask(start: usize, new: usize, device: &Device) -> Tensor<4> {
    let seen = start + new;
    let mut mask = vec![0.0; new * seen];
    for (position, row) in mask.chunks_exact_mut(seen).enumerate() {
        row[start + position + 1..].fill(UNSEEN);
    }
    Tensor::from_data(TensorData::new(mask, [1, 1, new, seen]), device)
}
