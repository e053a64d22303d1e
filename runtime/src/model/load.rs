//! Weights: from a model file onto a device.

use std::collections::BTreeSet;

use burn::Tensor;
use burn::tensor::{Device, TensorData};

use super::LoadError;
use super::config::Config;
use super::llama::{Head, Layer, Linear, Llama, Norm};
use super::rope::{Rope, unpermute};
use crate::gguf::Gguf;

const EMBEDDING: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";
const ROPE_DIVISORS: &str = "rope_freqs.weight";

/// Takes tensors out of a file, checks their shapes, and remembers which were taken.
struct Loader<'a> {
    file: &'a Gguf,
    config: &'a Config,
    device: &'a Device,
    taken: BTreeSet<String>,
}

/// Loads a Llama. `head_parts` is into how many parts the last projection is cut.
pub(super) fn load(file: &Gguf, config: Config, vocabulary: usize, head_parts: usize, device: &Device) -> Result<Llama, LoadError> {
    let mut loader = Loader { file, config: &config, device, taken: BTreeSet::new() };
    let embedding = loader.matrix(EMBEDDING, vocabulary, config.hidden)?;
    let embedding = loader.upload(embedding, vocabulary, config.hidden);
    let layers = (0..config.layers).map(|index| loader.layer(index)).collect::<Result<_, _>>()?;
    let norm = loader.norm("output_norm.weight")?;
    let head = if file.tensors().contains_key(OUTPUT) {
        let output = loader.matrix(OUTPUT, vocabulary, config.hidden)?;
        Head::new(loader.upload(output, vocabulary, config.hidden), head_parts)
    } else {
        Head::new(embedding.clone(), head_parts)
    };
    let divisors = loader.rope_divisors()?;
    loader.check_all_taken()?;
    let rope = Rope::new(&config, divisors.as_deref());
    Ok(Llama { device: device.clone(), embedding, layers, norm, head, rope, config })
}

impl Loader<'_> {
    fn layer(&mut self, index: usize) -> Result<Layer, LoadError> {
        let &Config { hidden, feed_forward, heads, kv_heads, head_size, .. } = self.config;
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let (queries, keys) = (heads * head_size, kv_heads * head_size);
        let mut qkv = unpermute(self.matrix(&name("attn_q"), queries, hidden)?, hidden, head_size);
        qkv.extend(unpermute(self.matrix(&name("attn_k"), keys, hidden)?, hidden, head_size));
        qkv.extend(self.matrix(&name("attn_v"), keys, hidden)?);
        let mut gate_up = self.matrix(&name("ffn_gate"), feed_forward, hidden)?;
        gate_up.extend(self.matrix(&name("ffn_up"), feed_forward, hidden)?);
        let attention_out = self.matrix(&name("attn_output"), hidden, queries)?;
        let down = self.matrix(&name("ffn_down"), hidden, feed_forward)?;
        Ok(Layer {
            attention_norm: self.norm(&name("attn_norm"))?,
            qkv: self.linear(qkv, queries + 2 * keys, hidden),
            attention_out: self.linear(attention_out, hidden, queries),
            feed_forward_norm: self.norm(&name("ffn_norm"))?,
            gate_up: self.linear(gate_up, 2 * feed_forward, hidden),
            down: self.linear(down, hidden, feed_forward),
        })
    }

    fn norm(&mut self, name: &str) -> Result<Norm, LoadError> {
        let hidden = self.config.hidden;
        let weight = self.take(name, &[hidden as u64])?;
        Ok(Norm { weight: self.upload(weight, 1, hidden), epsilon: self.config.epsilon })
    }

    fn rope_divisors(&mut self) -> Result<Option<Vec<f32>>, LoadError> {
        if !self.file.tensors().contains_key(ROPE_DIVISORS) {
            return Ok(None);
        }
        let divisors = self.take(ROPE_DIVISORS, &[self.config.head_size as u64 / 2])?;
        if divisors.iter().all(|divisor| divisor.is_finite() && *divisor > 0.0) {
            Ok(Some(divisors))
        } else {
            Err(LoadError::BadHyperparameter { key: ROPE_DIVISORS })
        }
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Vec<f32>, LoadError> {
        self.take(name, &[columns as u64, rows as u64])
    }

    fn linear(&self, weight: Vec<f32>, rows: usize, columns: usize) -> Linear {
        Linear::new(self.upload(weight, rows, columns))
    }

    fn upload(&self, values: Vec<f32>, rows: usize, columns: usize) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, [rows, columns]), self.device)
    }

    fn take(&mut self, name: &str, expected: &[u64]) -> Result<Vec<f32>, LoadError> {
        let entry = self.file.tensors().get(name).ok_or_else(|| LoadError::MissingTensor { name: name.to_owned() })?;
        if entry.dimensions != expected {
            return Err(LoadError::TensorShape { name: name.to_owned(), found: entry.dimensions.clone(), expected: expected.to_vec() });
        }
        self.taken.insert(name.to_owned());
        Ok(self.file.dequantise(name)?)
    }

    /// A tensor left over belongs to a variant that this code would compute wrongly.
    fn check_all_taken(&self) -> Result<(), LoadError> {
        match self.file.tensors().keys().find(|name| !self.taken.contains(*name)) {
            Some(name) => Err(LoadError::UnexpectedTensor { name: name.clone() }),
            None => Ok(()),
        }
    }
}
