//! Weights: from a model file or folder into an engine.

use std::sync::Arc;

use super::LoadError;
use super::config::Config;
use super::decoder::{Decoder, ExactNetwork, Layer, Network};
use super::naming::Naming;
use super::tensors::{TensorSource, Tensors, adapter_bytes};
use crate::device::Device;
use crate::engine::burn::Burn;
use crate::engine::burn::guard::Guard;
use crate::engine::cpu::Cpu;
use crate::engine::exact;
use crate::engine::processor::Processor;
use crate::engine::rope::{Rope, halves};
use crate::engine::{EngineError, ExactKernels, Host, Kernels, MatrixRole, VectorRole, Weights};
use crate::folder::AttentionBias;

/// Where a decoder's weights are.
pub(super) struct Source<'a, S> {
    pub(super) tensors: &'a S,
    pub(super) naming: &'a Naming,
    /// Rows of the embedding and of the head.
    pub(super) rows: usize,
    /// Tokens, at most as many; rows behind them are of no token, and left out.
    pub(super) tokens: usize,
}

/// A model on its device, and the number of its weights.
pub(crate) struct Loaded<N: ?Sized> {
    pub(crate) network: Arc<N>,
    pub(crate) parameters: u64,
}

/// Loads a decoder onto a device.
pub(super) fn load_on<S: TensorSource>(source: &Source<'_, S>, config: Config, device: &Device) -> Result<Loaded<dyn Network>, LoadError> {
    fn erased<K: Kernels>((decoder, parameters): (Decoder<K>, u64)) -> Loaded<dyn Network> {
        Loaded { network: Arc::new(decoder), parameters }
    }
    match Guard::of(device) {
        None => load(source, config, Cpu::new(Processor::new(device.threads())?)).map(erased),
        Some(guard) => load(source, config, Burn::new(guard.clone())).inspect_err(|_| guard.tidy()).map(erased),
    }
}

/// Loads a decoder of the exact tier onto a device.
pub(super) fn load_exact_on<S: TensorSource>(
    source: &Source<'_, S>,
    config: Config,
    device: &Device,
) -> Result<Loaded<dyn ExactNetwork>, LoadError> {
    fn erased<K: ExactKernels>((decoder, parameters): (Decoder<K>, u64)) -> Loaded<dyn ExactNetwork> {
        Loaded { network: Arc::new(decoder), parameters }
    }
    match Guard::of(device) {
        None => load(source, config, exact::Cpu::new(Processor::new(device.threads())?)).map(erased),
        Some(guard) => load(source, config, exact::Burn::new(guard.clone())).inspect_err(|_| guard.tidy()).map(erased),
    }
}

/// Loads a decoder into an engine; gives the number of its weights too.
pub(super) fn load<S: TensorSource, K: Kernels>(
    source: &Source<'_, S>,
    config: Config,
    kernels: K,
) -> Result<(Decoder<K>, u64), LoadError> {
    let naming = source.naming;
    let adapter_bytes = adapter_bytes(source.tensors);
    let mut loader = Loader { naming, config: &config, kernels: &kernels, tensors: Tensors::new(source.tensors), adapter_bytes };
    let table = |loader: &mut Loader<'_, S, K>, name: &str, role| {
        let weights = loader.tensors.weights(name, source.rows, config.hidden)?;
        Ok::<_, LoadError>(Arc::new(kernels.matrix(&weights.first_rows(source.tokens), role)?))
    };
    let embedding = table(&mut loader, naming.embedding, MatrixRole::Table { is_head: config.tied })?;
    let layers = (0..config.layers).map(|index| loader.layer(index)).collect::<Result<_, _>>()?;
    let norm = loader.norm(naming.norm, config.hidden)?;
    let head = match config.tied {
        true => Arc::clone(&embedding),
        false => table(&mut loader, naming.head, MatrixRole::Inner)?,
    };
    let divisors = rope_divisors(source, &config, &mut loader.tensors)?;
    // Some tied checkpoints have the embedding once more as the head.
    let repeated = |name: &str| config.tied && name == naming.head;
    loader.tensors.check_all_taken(|name| repeated(name) || naming.ignored.iter().any(|end| name.ends_with(end)))?;
    let parameters = loader.tensors.parameters();
    settle(&kernels, adapter_bytes)?;
    let rope = Rope::new(config.rope, divisors.as_deref());
    Ok((Decoder { kernels, config, rope, embedding, layers, norm, head }, parameters))
}

/// Waits until an engine's device has what was put onto it; `adapter_bytes` is what all of the model takes.
pub(super) fn settle(kernels: &impl Kernels, adapter_bytes: u64) -> Result<(), LoadError> {
    kernels.host().settle().map_err(|error| match error {
        EngineError::OutOfMemory => LoadError::OutOfMemory { needed_bytes: adapter_bytes },
        error => LoadError::Engine(error),
    })
}

/// Makes layers of tensors.
struct Loader<'a, S, K> {
    naming: &'a Naming,
    config: &'a Config,
    kernels: &'a K,
    tensors: Tensors<'a, S>,
    adapter_bytes: u64,
}

impl<S: TensorSource, K: Kernels> Loader<'_, S, K> {
    fn layer(&mut self, index: usize) -> Result<Layer<K>, LoadError> {
        let &Config { hidden, feed_forward, heads, family, biases, .. } = self.config;
        let naming = self.naming;
        let name = |part: &str| naming.weight(index, part);
        let (queries, keys) = (heads.queries * heads.size, heads.keys * heads.size);
        let qkv = Weights::stacked([
            self.turning(&name(naming.query), queries)?,
            self.turning(&name(naming.key), keys)?,
            self.tensors.weights(&name(naming.value), keys, hidden)?,
        ]);
        let gate_up = Weights::stacked([
            self.tensors.weights(&name(naming.gate), feed_forward, hidden)?,
            self.tensors.weights(&name(naming.up), feed_forward, hidden)?,
        ]);
        let attention_out = self.tensors.weights(&name(naming.attention_out), hidden, queries)?;
        let down = self.tensors.weights(&name(naming.down), hidden, feed_forward)?;
        // A device that is full is noticed before more is read for it.
        settle(self.kernels, self.adapter_bytes)?;
        let attention = MatrixRole::Attention { size: heads.size, normed: family.has_head_norms() };
        Ok(Layer {
            attention_norm: self.norm(&name(naming.attention_norm), hidden)?,
            qkv_bias: (biases != AttentionBias::None).then(|| self.input_biases(index)).transpose()?,
            head_norms: family.has_head_norms().then(|| self.head_norms(index)).transpose()?,
            feed_forward_norm: self.norm(&name(naming.feed_forward_norm), hidden)?,
            qkv: self.kernels.matrix(&qkv, attention)?,
            attention_out: self.kernels.matrix(&attention_out, MatrixRole::Output)?,
            attention_out_bias: (biases == AttentionBias::All).then(|| self.output_bias(index)).transpose()?,
            gate_up: self.kernels.matrix(&gate_up, MatrixRole::Inner)?,
            down: self.kernels.matrix(&down, MatrixRole::Output)?,
        })
    }

    /// A projection whose results turn with positions.
    fn turning(&mut self, name: &str, rows: usize) -> Result<Weights, LoadError> {
        let weights = self.tensors.weights(name, rows, self.config.hidden)?;
        Ok(match self.naming.pairs_neighbours && self.config.family.pairs_neighbours() {
            true => weights.reordered(halves(self.config.heads.size)),
            false => weights,
        })
    }

    fn input_biases(&mut self, index: usize) -> Result<K::Vector, LoadError> {
        let (heads, naming) = (self.config.heads, self.naming);
        let mut all = Vec::new();
        for (part, count) in [(naming.query, heads.queries), (naming.key, heads.keys), (naming.value, heads.keys)] {
            all.extend(self.tensors.values(&naming.bias(index, part), count * heads.size)?);
        }
        Ok(self.kernels.vector(&all, VectorRole::AttentionBias(heads))?)
    }

    fn output_bias(&mut self, index: usize) -> Result<K::Vector, LoadError> {
        self.vector(&self.naming.bias(index, self.naming.attention_out), self.config.hidden, VectorRole::Bias)
    }

    fn head_norms(&mut self, index: usize) -> Result<(K::Vector, K::Vector), LoadError> {
        let (size, naming) = (self.config.heads.size, self.naming);
        let mut norm = |part: &str, role| self.vector(&naming.weight(index, part), size, role);
        Ok((norm(naming.query_norm, VectorRole::QueryNorm)?, norm(naming.key_norm, VectorRole::Norm)?))
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<K::Vector, LoadError> {
        self.vector(name, width, VectorRole::Norm)
    }

    fn vector(&mut self, name: &str, width: usize, role: VectorRole) -> Result<K::Vector, LoadError> {
        Ok(self.kernels.vector(&self.tensors.values(name, width)?, role)?)
    }
}

/// What stretches single pairs, if the file has such a tensor.
pub(super) fn rope_divisors<S: TensorSource>(
    source: &Source<'_, S>,
    config: &Config,
    tensors: &mut Tensors<'_, S>,
) -> Result<Option<Vec<f32>>, LoadError> {
    let Some(name) = source.naming.divisors.filter(|name| source.tensors.shape(name).is_some()) else { return Ok(None) };
    let divisors = tensors.values(name, config.rope.pairs)?;
    if divisors.iter().all(|divisor| divisor.is_finite() && *divisor > 0.0) {
        Ok(Some(divisors))
    } else {
        Err(LoadError::BadHyperparameter { key: name.to_owned() })
    }
}
