//! Weights: from a model file onto a device.

use std::collections::BTreeSet;

use burn::Tensor;
use burn::tensor::TensorData;

use super::LoadError;
use super::config::Config;
use super::llama::{Head, Layer, Linear, Llama, Norm};
use super::packed::{Packed, RowOrder};
use super::rope::{IntoHalves, Rope};
use crate::device::Device;
use crate::gguf::Gguf;

const EMBEDDING: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";
const ROPE_DIVISORS: &str = "rope_freqs.weight";

/// Parts of the last projection on the CPU: the fewest that the backend spreads over cores.
const CPU_HEAD_PARTS: usize = 4;

/// Takes tensors out of a file, checks their shapes, and remembers which were taken.
struct Loader<'a> {
    file: &'a Gguf,
    config: &'a Config,
    device: &'a Device,
    taken: BTreeSet<String>,
}

/// A matrix out of the file, on its way to the device.
struct Matrix {
    columns: usize,
    values: Vec<f32>,
    packed: Option<Packed>,
}

impl Matrix {
    fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    fn reordered(self, order: impl RowOrder + Copy) -> Self {
        let values = order.apply(self.values, self.columns);
        Self { values, packed: self.packed.map(|packed| packed.reordered(order)), ..self }
    }

    /// Matrices of equal width below each other.
    fn stacked<const N: usize>(parts: [Self; N]) -> Self {
        let columns = parts[0].columns;
        let (mut values, mut packed) = (Vec::new(), Vec::new());
        for part in parts {
            values.extend(part.values);
            packed.push(part.packed);
        }
        Self { columns, values, packed: Packed::stacked(packed) }
    }
}

/// Loads a Llama.
pub(super) fn load(file: &Gguf, config: Config, vocabulary: usize, device: &Device) -> Result<Llama, LoadError> {
    let mut loader = Loader { file, config: &config, device, taken: BTreeSet::new() };
    let embedding = loader.matrix(EMBEDDING, vocabulary, config.hidden)?;
    let layers = (0..config.layers).map(|index| loader.layer(index)).collect::<Result<_, _>>()?;
    let norm = loader.norm("output_norm.weight")?;
    let output = match file.tensors().contains_key(OUTPUT) {
        true => Some(loader.matrix(OUTPUT, vocabulary, config.hidden)?),
        false => None,
    };
    let divisors = loader.rope_divisors()?;
    loader.check_all_taken()?;
    let (embedding, tied) = loader.upload(embedding);
    let (output, packed) = output.map_or((embedding.clone(), tied), |output| loader.upload(output));
    let head = Head::new(output, if device.is_cpu() { CPU_HEAD_PARTS } else { 1 }, packed);
    let rope = Rope::new(&config, divisors.as_deref());
    Ok(Llama { device: device.burn().clone(), embedding, layers, norm, head, rope, config })
}

impl Loader<'_> {
    fn layer(&mut self, index: usize) -> Result<Layer, LoadError> {
        let &Config { hidden, feed_forward, heads, kv_heads, head_size, .. } = self.config;
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let (queries, keys) = (heads * head_size, kv_heads * head_size);
        let halves = IntoHalves { head_size };
        let qkv = Matrix::stacked([
            self.matrix(&name("attn_q"), queries, hidden)?.reordered(halves),
            self.matrix(&name("attn_k"), keys, hidden)?.reordered(halves),
            self.matrix(&name("attn_v"), keys, hidden)?,
        ]);
        let gate_up =
            Matrix::stacked([self.matrix(&name("ffn_gate"), feed_forward, hidden)?, self.matrix(&name("ffn_up"), feed_forward, hidden)?]);
        let attention_out = self.matrix(&name("attn_output"), hidden, queries)?;
        let down = self.matrix(&name("ffn_down"), hidden, feed_forward)?;
        Ok(Layer {
            attention_norm: self.norm(&name("attn_norm"))?,
            qkv: self.linear(qkv),
            attention_out: self.linear(attention_out),
            feed_forward_norm: self.norm(&name("ffn_norm"))?,
            gate_up: self.linear(gate_up),
            down: self.linear(down),
        })
    }

    fn norm(&mut self, name: &str) -> Result<Norm, LoadError> {
        let hidden = self.config.hidden;
        let weight = self.take(name, &[hidden as u64])?;
        let (weight, _) = self.upload(Matrix { columns: hidden, values: weight, packed: None });
        Ok(Norm { weight, epsilon: self.config.epsilon })
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

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix, LoadError> {
        let values = self.take(name, &[columns as u64, rows as u64])?;
        let blocks = if self.device.is_cpu() { self.file.blocks(name) } else { None };
        Ok(Matrix { columns, values, packed: blocks.and_then(|blocks| Packed::new(columns, blocks)) })
    }

    fn linear(&self, matrix: Matrix) -> Linear {
        let (weight, packed) = self.upload(matrix);
        Linear::new(weight, packed)
    }

    fn upload(&self, matrix: Matrix) -> (Tensor<2>, Option<Packed>) {
        let shape = [matrix.rows(), matrix.columns];
        (Tensor::from_data(TensorData::new(matrix.values, shape), self.device.burn()), matrix.packed)
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
