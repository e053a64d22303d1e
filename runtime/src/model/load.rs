//! Weights: from a model file or folder into an engine.

use std::sync::Arc;

use super::LoadError;
use super::config::Config;
use super::decoder::{Decoder, Layer, Network};
use super::naming::Naming;
use super::rope::{Rope, halves};
use super::tensors::{TensorSource, Tensors};
use crate::device::Device;
use crate::engine::burn::Burn;
use crate::engine::cpu::Cpu;
use crate::engine::{Kernels, Weights};
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
    match device.burn() {
        None => load(source, config, Cpu::new(device.threads()).map_err(LoadError::Threads)?).map(erased),
        Some(device) => load(source, config, Burn::new(device.clone())).map(erased),
    }
}

/// Loads a decoder into an engine; gives the number of its weights too.
pub(super) fn load<S: TensorSource, K: Kernels>(
    source: &Source<'_, S>,
    config: Config,
    kernels: K,
) -> Result<(Decoder<K>, u64), LoadError> {
    let naming = source.naming;
    let mut loader = Loader { naming, config: &config, kernels: &kernels, tensors: Tensors::new(source.tensors) };
    let table = |loader: &mut Loader<'_, S, K>, name: &str| {
        let weights = loader.tensors.weights(name, source.rows, config.hidden)?;
        Ok::<_, LoadError>(Arc::new(kernels.matrix(&weights.first_rows(source.tokens))))
    };
    let embedding = table(&mut loader, naming.embedding)?;
    let layers = (0..config.layers).map(|index| loader.layer(index)).collect::<Result<_, _>>()?;
    let norm = loader.vector(naming.norm, config.hidden)?;
    let head = match config.tied {
        true => Arc::clone(&embedding),
        false => table(&mut loader, naming.head)?,
    };
    let divisors = loader.rope_divisors(source.tensors)?;
    // Some tied checkpoints have the embedding once more as the head.
    let repeated = |name: &str| config.tied && name == naming.head;
    loader.tensors.check_all_taken(|name| repeated(name) || naming.ignored.iter().any(|end| name.ends_with(end)))?;
    let parameters = loader.tensors.parameters();
    let rope = Rope::new(&config, divisors.as_deref());
    Ok((Decoder { kernels, config, rope, embedding, layers, norm, head }, parameters))
}

/// Makes layers of tensors.
struct Loader<'a, S, K> {
    naming: &'a Naming,
    config: &'a Config,
    kernels: &'a K,
    tensors: Tensors<'a, S>,
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
        Ok(Layer {
            attention_norm: self.vector(&name(naming.attention_norm), hidden)?,
            qkv_bias: (biases != AttentionBias::None).then(|| self.input_biases(index)).transpose()?,
            head_norms: family.has_head_norms().then(|| self.head_norms(index)).transpose()?,
            feed_forward_norm: self.vector(&name(naming.feed_forward_norm), hidden)?,
            qkv: self.kernels.matrix(&qkv),
            attention_out: self.kernels.matrix(&attention_out),
            attention_out_bias: (biases == AttentionBias::All).then(|| self.output_bias(index)).transpose()?,
            gate_up: self.kernels.matrix(&gate_up),
            down: self.kernels.matrix(&down),
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
        Ok(self.kernels.vector(&all))
    }

    fn output_bias(&mut self, index: usize) -> Result<K::Vector, LoadError> {
        self.vector(&self.naming.bias(index, self.naming.attention_out), self.config.hidden)
    }

    fn head_norms(&mut self, index: usize) -> Result<(K::Vector, K::Vector), LoadError> {
        let (size, naming) = (self.config.heads.size, self.naming);
        let mut norm = |part: &str| self.vector(&naming.weight(index, part), size);
        Ok((norm(naming.query_norm)?, norm(naming.key_norm)?))
    }

    fn rope_divisors(&mut self, source: &S) -> Result<Option<Vec<f32>>, LoadError> {
        let Some(name) = self.naming.divisors.filter(|name| source.shape(name).is_some()) else { return Ok(None) };
        let divisors = self.tensors.values(name, self.config.rope.pairs)?;
        if divisors.iter().all(|divisor| divisor.is_finite() && *divisor > 0.0) {
            Ok(Some(divisors))
        } else {
            Err(LoadError::BadHyperparameter { key: name.to_owned() })
        }
    }

    fn vector(&mut self, name: &str, width: usize) -> Result<K::Vector, LoadError> {
        Ok(self.kernels.vector(&self.tensors.values(name, width)?))
    }
}
