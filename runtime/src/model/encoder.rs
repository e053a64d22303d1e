//! Encoders: BERT, the one definition for all engines.
//!
//! Several texts are read in one pass. Each has pages of its own, so there is no padding, and no
//! text sees another. Nothing is kept from one pass to the next: keys and values of a layer are
//! overwritten by those of the layer after it.

use std::fmt;
use std::sync::Arc;

use super::LoadError;
use super::load::{Loaded, settle};
use super::tensors::{TensorSource, Tensors, adapter_bytes};
use crate::device::Device;
use crate::engine::burn::Burn;
use crate::engine::burn::guard::Guard;
use crate::engine::cpu::Cpu;
use crate::engine::processor::Processor;
use crate::engine::weights::Elements;
use crate::engine::{
    Activation, Attention, Batch, CacheShape, EngineError, Heads, Host, Kernels, MatrixRole, Sight, TextKernels, VectorRole, Weights,
};
use crate::folder::EncoderConfig;

/// Tensors that no output here depends on: the numbers of positions, and a second output that was
/// trained for pairs of sentences.
const IGNORED: [&str; 3] = ["embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"];

/// An encoder's weights in an engine.
#[derive(Debug)]
pub(crate) struct Encoder<K: Kernels> {
    kernels: K,
    heads: Heads,
    epsilon: f32,
    activation: Activation,
    /// `[vocabulary, hidden]`
    words: K::Matrix,
    /// `[context, hidden]`, with the row of segment 0 added to each.
    positions: K::Matrix,
    norm: Norm<K>,
    layers: Vec<Layer<K>>,
}

#[derive(Debug)]
struct Norm<K: Kernels> {
    weight: K::Vector,
    bias: K::Vector,
}

#[derive(Debug)]
struct Dense<K: Kernels> {
    weight: K::Matrix,
    bias: K::Vector,
}

#[derive(Debug)]
struct Layer<K: Kernels> {
    /// Queries, keys, values.
    qkv: Dense<K>,
    attention_out: Dense<K>,
    attention_norm: Norm<K>,
    wide: Dense<K>,
    narrow: Dense<K>,
    norm: Norm<K>,
}

impl<K: Kernels> Encoder<K> {
    /// A layer has forgotten its texts when the next one begins.
    fn cache_shape(&self) -> CacheShape {
        CacheShape { layers: 1, keys: self.heads.keys, size: self.heads.size }
    }
}

impl<R: Clone, K: TextKernels<Rows = R, Operand = R>> Encoder<K> {
    /// Reads texts, each a span from position 0 on, and gives the states of the wanted rows,
    /// `[wanted, hidden]`.
    pub(crate) fn pass(&self, batch: &Batch) -> Result<Vec<f32>, EngineError> {
        let kernels = &self.kernels;
        let mut cache = kernels.cache(self.cache_shape());
        let pass = kernels.pass(batch, None);
        let positions: Vec<u32> = batch.positions().map(|position| position as u32).collect();
        let start = kernels.add(kernels.embed(&self.words, &batch.ids), kernels.embed(&self.positions, &positions));
        let mut x = self.norm(&start, &self.norm);
        for layer in &self.layers {
            let attended = self.attend(layer, &x, &pass, &mut cache);
            x = self.norm(&kernels.add(x, attended), &layer.attention_norm);
            let wide = kernels.activate(self.dense(&x, &layer.wide), self.activation);
            let narrow = self.dense(&wide, &layer.narrow);
            x = self.norm(&kernels.add(x, narrow), &layer.norm);
        }
        kernels.read(kernels.pick(x, &batch.wanted))
    }

    fn attend(&self, layer: &Layer<K>, x: &R, pass: &K::Pass, cache: &mut K::Cache) -> R {
        let what = Attention { heads: self.heads, sight: Sight::Whole, norms: None, layer: 0 };
        let mixed = self.kernels.attend(self.dense(x, &layer.qkv), &what, pass, cache);
        self.dense(&mixed, &layer.attention_out)
    }

    fn dense(&self, x: &R, dense: &Dense<K>) -> R {
        self.kernels.project(x, &dense.weight, Some(&dense.bias))
    }

    fn norm(&self, x: &R, norm: &Norm<K>) -> R {
        self.kernels.layer_norm(x, &norm.weight, &norm.bias, self.epsilon)
    }
}

/// An encoder, whatever engine it is in.
pub(crate) trait TextNetwork: fmt::Debug + Send + Sync {
    /// As [`Encoder::pass`].
    fn pass(&self, batch: &Batch) -> Result<Vec<f32>, EngineError>;
    /// Has the device give memory back that nothing uses.
    fn tidy(&self);
}

impl<R: Clone, K: TextKernels<Rows = R, Operand = R>> TextNetwork for Encoder<K> {
    fn pass(&self, batch: &Batch) -> Result<Vec<f32>, EngineError> {
        let kept = self.kernels.kept(self.cache_shape());
        batch.check(kept, self.heads.queries, self.kernels.host().tensor_bytes_max())?;
        self.kernels.host().run(|| Encoder::pass(self, batch))
    }

    fn tidy(&self) {
        self.kernels.host().tidy();
    }
}

/// Loads an encoder onto a device.
pub(crate) fn load_on(source: &impl TensorSource, config: &EncoderConfig, device: &Device) -> Result<Loaded<dyn TextNetwork>, LoadError> {
    fn erased<R: Clone, K: TextKernels<Rows = R, Operand = R>>((encoder, parameters): (Encoder<K>, u64)) -> Loaded<dyn TextNetwork> {
        Loaded { network: Arc::new(encoder), parameters }
    }
    match Guard::of(device) {
        None => load(source, config, Cpu::new(Processor::new(device.threads())?)).map(erased),
        Some(guard) => load(source, config, Burn::new(guard.clone())).inspect_err(|_| guard.tidy()).map(erased),
    }
}

/// Loads an encoder into an engine; gives the number of its weights too.
pub(crate) fn load<K: Kernels>(source: &impl TensorSource, config: &EncoderConfig, kernels: K) -> Result<(Encoder<K>, u64), LoadError> {
    let mut loader = Loader { tensors: Tensors::new(source), kernels: &kernels, hidden: config.hidden };
    let words = loader.tensors.weights("embeddings.word_embeddings.weight", config.vocabulary, config.hidden)?;
    let positions = loader.positions(config)?;
    let norm = loader.norm("embeddings.LayerNorm")?;
    let layers = (0..config.layers).map(|index| loader.layer(index, config.feed_forward)).collect::<Result<_, _>>()?;
    loader.tensors.check_all_taken(|name| IGNORED.contains(&name))?;
    let parameters = loader.tensors.parameters();
    let table = MatrixRole::Table { is_head: false };
    let (words, positions) = (kernels.matrix(&words, table)?, kernels.matrix(&positions, table)?);
    settle(&kernels, adapter_bytes(source))?;
    let heads = Heads { queries: config.heads, keys: config.heads, size: config.hidden / config.heads };
    Ok((
        Encoder { heads, epsilon: config.epsilon as f32, activation: config.activation, words, positions, norm, layers, kernels },
        parameters,
    ))
}

/// Names are those of the transformers library's BERT.
struct Loader<'a, S, K> {
    tensors: Tensors<'a, S>,
    kernels: &'a K,
    hidden: usize,
}

impl<S: TensorSource, K: Kernels> Loader<'_, S, K> {
    /// A text alone is segment 0 from end to end, so that its row is added here once.
    fn positions(&mut self, config: &EncoderConfig) -> Result<Weights, LoadError> {
        let hidden = self.hidden;
        let segments = self.tensors.weights("embeddings.token_type_embeddings.weight", config.segments, hidden)?.values();
        let mut values = self.tensors.weights("embeddings.position_embeddings.weight", config.context, hidden)?.values();
        for row in values.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&segments).for_each(|(x, segment)| *x += segment);
        }
        Ok(Weights::new(config.context, hidden, Elements::Values(values)))
    }

    fn layer(&mut self, index: usize, feed_forward: usize) -> Result<Layer<K>, LoadError> {
        let hidden = self.hidden;
        let name = |part: &str| format!("encoder.layer.{index}.{part}");
        Ok(Layer {
            qkv: self.dense(["query", "key", "value"].map(|part| name(&format!("attention.self.{part}"))), hidden, hidden)?,
            attention_out: self.dense([name("attention.output.dense")], hidden, hidden)?,
            attention_norm: self.norm(&name("attention.output.LayerNorm"))?,
            wide: self.dense([name("intermediate.dense")], feed_forward, hidden)?,
            narrow: self.dense([name("output.dense")], hidden, feed_forward)?,
            norm: self.norm(&name("output.LayerNorm"))?,
        })
    }

    /// Projections of one shape that read the same input, below each other.
    fn dense<const N: usize>(&mut self, names: [String; N], rows: usize, columns: usize) -> Result<Dense<K>, LoadError> {
        let mut weights = Vec::new();
        let mut bias = Vec::new();
        for name in names {
            weights.push(self.tensors.weights(&format!("{name}.weight"), rows, columns)?);
            bias.extend(self.tensors.values(&format!("{name}.bias"), rows)?);
        }
        let weight = self.kernels.matrix(&Weights::stacked(weights), MatrixRole::Inner)?;
        Ok(Dense { weight, bias: self.kernels.vector(&bias, VectorRole::Bias)? })
    }

    fn norm(&mut self, name: &str) -> Result<Norm<K>, LoadError> {
        let weight = self.tensors.values(&format!("{name}.weight"), self.hidden)?;
        let bias = self.tensors.values(&format!("{name}.bias"), self.hidden)?;
        Ok(Norm { weight: self.kernels.vector(&weight, VectorRole::Norm)?, bias: self.kernels.vector(&bias, VectorRole::Bias)? })
    }
}
