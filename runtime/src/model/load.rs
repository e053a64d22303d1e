//! Weights: from a model file into an engine.

use std::sync::Arc;

use super::LoadError;
use super::config::Config;
use super::decoder::{Decoder, Layer};
use super::rope::{Rope, halves};
use super::tensors::Tensors;
use crate::engine::{Kernels, Weights};
use crate::gguf::Gguf;

const EMBEDDING: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";
const ROPE_DIVISORS: &str = "rope_freqs.weight";

/// Makes layers of tensors.
struct Loader<'a, K> {
    file: &'a Gguf,
    config: &'a Config,
    kernels: &'a K,
    tensors: Tensors<'a, Gguf>,
}

/// Loads a decoder into an engine.
pub(super) fn load<K: Kernels>(file: &Gguf, config: Config, vocabulary: usize, kernels: K) -> Result<Decoder<K>, LoadError> {
    let mut loader = Loader { file, config: &config, kernels: &kernels, tensors: Tensors::new(file) };
    let embedding = loader.tensors.weights(EMBEDDING, vocabulary, config.hidden)?;
    let layers = (0..config.layers).map(|index| loader.layer(index)).collect::<Result<_, _>>()?;
    let norm = loader.vector("output_norm.weight", config.hidden)?;
    let embedding = Arc::new(kernels.matrix(&embedding));
    let head = match file.tensors().contains_key(OUTPUT) {
        true => Arc::new(kernels.matrix(&loader.tensors.weights(OUTPUT, vocabulary, config.hidden)?)),
        false => Arc::clone(&embedding),
    };
    let divisors = loader.rope_divisors()?;
    loader.tensors.check_all_taken(|_| false)?;
    let rope = Rope::new(&config, divisors.as_deref());
    Ok(Decoder { kernels, config, rope, embedding, layers, norm, head })
}

impl<K: Kernels> Loader<'_, K> {
    fn layer(&mut self, index: usize) -> Result<Layer<K>, LoadError> {
        let &Config { hidden, feed_forward, heads, family, .. } = self.config;
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let (queries, keys) = (heads.queries * heads.size, heads.keys * heads.size);
        let qkv = Weights::stacked([
            self.turning(&name("attn_q"), queries)?,
            self.turning(&name("attn_k"), keys)?,
            self.tensors.weights(&name("attn_v"), keys, hidden)?,
        ]);
        let gate_up = Weights::stacked([
            self.tensors.weights(&name("ffn_gate"), feed_forward, hidden)?,
            self.tensors.weights(&name("ffn_up"), feed_forward, hidden)?,
        ]);
        let attention_out = self.tensors.weights(&name("attn_output"), hidden, queries)?;
        let down = self.tensors.weights(&name("ffn_down"), hidden, feed_forward)?;
        Ok(Layer {
            attention_norm: self.vector(&name("attn_norm"), hidden)?,
            qkv_bias: family.has_biases().then(|| self.biases(index)).transpose()?,
            head_norms: family.has_head_norms().then(|| self.head_norms(index)).transpose()?,
            feed_forward_norm: self.vector(&name("ffn_norm"), hidden)?,
            qkv: self.kernels.matrix(&qkv),
            attention_out: self.kernels.matrix(&attention_out),
            gate_up: self.kernels.matrix(&gate_up),
            down: self.kernels.matrix(&down),
        })
    }

    /// A projection whose results turn with positions.
    fn turning(&mut self, name: &str, rows: usize) -> Result<Weights, LoadError> {
        let weights = self.tensors.weights(name, rows, self.config.hidden)?;
        Ok(match self.config.family.pairs_neighbours() {
            true => weights.reordered(halves(self.config.heads.size)),
            false => weights,
        })
    }

    fn biases(&mut self, index: usize) -> Result<K::Vector, LoadError> {
        let heads = self.config.heads;
        let mut all = Vec::new();
        for (part, count) in [("attn_q", heads.queries), ("attn_k", heads.keys), ("attn_v", heads.keys)] {
            all.extend(self.tensors.values(&format!("blk.{index}.{part}.bias"), count * heads.size)?);
        }
        Ok(self.kernels.vector(&all))
    }

    fn head_norms(&mut self, index: usize) -> Result<(K::Vector, K::Vector), LoadError> {
        let size = self.config.heads.size;
        let mut norm = |part: &str| self.vector(&format!("blk.{index}.{part}.weight"), size);
        Ok((norm("attn_q_norm")?, norm("attn_k_norm")?))
    }

    fn rope_divisors(&mut self) -> Result<Option<Vec<f32>>, LoadError> {
        if !self.file.tensors().contains_key(ROPE_DIVISORS) {
            return Ok(None);
        }
        let divisors = self.tensors.values(ROPE_DIVISORS, self.config.rope.pairs)?;
        if divisors.iter().all(|divisor| divisor.is_finite() && *divisor > 0.0) {
            Ok(Some(divisors))
        } else {
            Err(LoadError::BadHyperparameter { key: ROPE_DIVISORS.to_owned() })
        }
    }

    fn vector(&mut self, name: &str, width: usize) -> Result<K::Vector, LoadError> {
        Ok(self.kernels.vector(&self.tensors.values(name, width)?))
    }
}
