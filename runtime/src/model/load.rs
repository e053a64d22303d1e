//! Weights: from a model file into an engine.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::LoadError;
use super::config::Config;
use super::decoder::{Decoder, Layer};
use super::rope::{Rope, halves};
use crate::engine::weights::{BLOCK, Elements};
use crate::engine::{Kernels, Weights};
use crate::gguf::Gguf;

const EMBEDDING: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";
const ROPE_DIVISORS: &str = "rope_freqs.weight";

/// Takes tensors out of a file, checks their shapes, and remembers which were taken.
struct Loader<'a, K> {
    file: &'a Gguf,
    config: &'a Config,
    kernels: &'a K,
    taken: BTreeSet<String>,
}

/// Loads a decoder into an engine.
pub(super) fn load<K: Kernels>(file: &Gguf, config: Config, vocabulary: usize, kernels: K) -> Result<Decoder<K>, LoadError> {
    let mut loader = Loader { file, config: &config, kernels: &kernels, taken: BTreeSet::new() };
    let embedding = loader.weights(EMBEDDING, vocabulary, config.hidden)?;
    let layers = (0..config.layers).map(|index| loader.layer(index)).collect::<Result<_, _>>()?;
    let norm = loader.vector("output_norm.weight", config.hidden)?;
    let embedding = Arc::new(kernels.matrix(&embedding));
    let head = match file.tensors().contains_key(OUTPUT) {
        true => Arc::new(kernels.matrix(&loader.weights(OUTPUT, vocabulary, config.hidden)?)),
        false => Arc::clone(&embedding),
    };
    let divisors = loader.rope_divisors()?;
    loader.check_all_taken()?;
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
            self.weights(&name("attn_v"), keys, hidden)?,
        ]);
        let gate_up = Weights::stacked([
            self.weights(&name("ffn_gate"), feed_forward, hidden)?,
            self.weights(&name("ffn_up"), feed_forward, hidden)?,
        ]);
        let attention_out = self.weights(&name("attn_output"), hidden, queries)?;
        let down = self.weights(&name("ffn_down"), hidden, feed_forward)?;
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
        let weights = self.weights(name, rows, self.config.hidden)?;
        Ok(match self.config.family.pairs_neighbours() {
            true => weights.reordered(halves(self.config.heads.size)),
            false => weights,
        })
    }

    fn biases(&mut self, index: usize) -> Result<K::Vector, LoadError> {
        let heads = self.config.heads;
        let mut all = Vec::new();
        for (part, count) in [("attn_q", heads.queries), ("attn_k", heads.keys), ("attn_v", heads.keys)] {
            all.extend(self.values(&format!("blk.{index}.{part}.bias"), count * heads.size)?);
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
        let divisors = self.values(ROPE_DIVISORS, self.config.rope.pairs)?;
        if divisors.iter().all(|divisor| divisor.is_finite() && *divisor > 0.0) {
            Ok(Some(divisors))
        } else {
            Err(LoadError::BadHyperparameter { key: ROPE_DIVISORS.to_owned() })
        }
    }

    fn weights(&mut self, name: &str, rows: usize, columns: usize) -> Result<Weights, LoadError> {
        let elements = self.take(name, &[columns as u64, rows as u64])?;
        // Rows that are no whole blocks are there as values only; the file reader has checked the others.
        let whole = columns.is_multiple_of(BLOCK);
        Ok(Weights::new(rows, columns, if whole { elements } else { Elements::Values(elements.values()) }))
    }

    fn vector(&mut self, name: &str, width: usize) -> Result<K::Vector, LoadError> {
        Ok(self.kernels.vector(&self.values(name, width)?))
    }

    fn values(&mut self, name: &str, width: usize) -> Result<Vec<f32>, LoadError> {
        Ok(self.take(name, &[width as u64])?.values())
    }

    fn take(&mut self, name: &str, expected: &[u64]) -> Result<Elements, LoadError> {
        let entry = self.file.tensors().get(name).ok_or_else(|| LoadError::MissingTensor { name: name.to_owned() })?;
        if entry.dimensions != expected {
            return Err(LoadError::TensorShape { name: name.to_owned(), found: entry.dimensions.clone(), expected: expected.to_vec() });
        }
        self.taken.insert(name.to_owned());
        let elements = self.file.elements(name)?;
        if elements.are_finite() { Ok(elements) } else { Err(LoadError::NotFinite { name: name.to_owned() }) }
    }

    /// A tensor left over belongs to a variant that this code would compute wrongly.
    fn check_all_taken(&self) -> Result<(), LoadError> {
        match self.file.tensors().keys().find(|name| !self.taken.contains(*name)) {
            Some(name) => Err(LoadError::UnexpectedTensor { name: name.clone() }),
            None => Ok(()),
        }
    }
}
