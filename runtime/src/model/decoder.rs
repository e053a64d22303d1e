//! Decoders: Llama and its relatives, the one definition for all engines.

use std::fmt;
use std::sync::Arc;

use super::config::Config;
use crate::engine::rope::Rope;
use crate::engine::{Attention, Batch, EngineError, ExactKernels, Host, Kernels, TensorTooLarge};

/// A decoder's weights in an engine.
#[derive(Debug)]
pub(crate) struct Decoder<K: Kernels> {
    pub(crate) kernels: K,
    pub(crate) config: Config,
    pub(crate) rope: Rope,
    /// `[vocabulary, hidden]`
    pub(crate) embedding: Arc<K::Matrix>,
    pub(crate) layers: Vec<Layer<K>>,
    pub(crate) norm: K::Vector,
    /// `[vocabulary, hidden]`; the embedding itself in tied models.
    pub(crate) head: Arc<K::Matrix>,
}

/// One layer. Projections that read the same input are one matrix.
#[derive(Debug)]
pub(crate) struct Layer<K: Kernels> {
    pub(crate) attention_norm: K::Vector,
    /// Queries, keys, values.
    pub(crate) qkv: K::Matrix,
    pub(crate) qkv_bias: Option<K::Vector>,
    /// Over each head of queries, and of keys.
    pub(crate) head_norms: Option<(K::Vector, K::Vector)>,
    pub(crate) attention_out: K::Matrix,
    pub(crate) attention_out_bias: Option<K::Vector>,
    pub(crate) feed_forward_norm: K::Vector,
    /// Gate, up.
    pub(crate) gate_up: K::Matrix,
    pub(crate) down: K::Matrix,
}

/// What a pass gives.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outputs {
    /// Scores of what may follow the wanted rows, `[wanted, vocabulary]`.
    pub(crate) scores: Vec<f32>,
    /// What the final norm makes of the shown rows, `[shown, hidden]`.
    pub(crate) states: Vec<f32>,
}

impl<K: Kernels> Decoder<K> {
    /// Reads a batch.
    pub(crate) fn pass(&self, batch: &Batch, cache: &mut K::Cache) -> Result<Outputs, EngineError> {
        self.pass_seen(batch, cache, |_, _| Ok(()))
    }

    /// As [`Decoder::pass`]; `see` is shown what goes into each layer and what comes out of the last.
    fn pass_seen(
        &self,
        batch: &Batch,
        cache: &mut K::Cache,
        see: impl FnMut(usize, &K::Rows) -> Result<(), EngineError>,
    ) -> Result<Outputs, EngineError> {
        let kernels = &self.kernels;
        let hidden = self.hidden(batch, cache, see)?;
        let shown = (!batch.shown.is_empty()).then(|| self.finals(hidden.clone(), &batch.shown));
        let wanted = (!batch.wanted.is_empty()).then(|| kernels.project(&self.finals(hidden, &batch.wanted), &self.head, None));
        // Reading waits for a device, so it comes when everything has been asked of it.
        let scores = wanted.map_or(Ok(Vec::new()), |rows| kernels.read(rows))?;
        let states = shown.map_or(Ok(Vec::new()), |rows| kernels.read_operand(rows))?;
        Ok(Outputs { scores, states })
    }

    /// The final norm of some rows.
    fn finals(&self, hidden: K::Rows, rows: &[usize]) -> K::Operand {
        self.kernels.rms_norm(&self.kernels.pick(hidden, rows), &self.norm, self.epsilon())
    }

    /// What the layers make of a batch, `[rows, hidden]`.
    fn hidden(
        &self,
        batch: &Batch,
        cache: &mut K::Cache,
        mut see: impl FnMut(usize, &K::Rows) -> Result<(), EngineError>,
    ) -> Result<K::Rows, EngineError> {
        let kernels = &self.kernels;
        let pass = kernels.pass(batch, Some(&self.rope));
        let mut x = kernels.embed(&self.embedding, &batch.ids);
        for (index, layer) in self.layers.iter().enumerate() {
            see(index, &x)?;
            let normed = kernels.rms_norm(&x, &layer.attention_norm, self.epsilon());
            x = kernels.add(x, self.attend(layer, index, &normed, &pass, cache));
            let normed = kernels.rms_norm(&x, &layer.feed_forward_norm, self.epsilon());
            let wide = kernels.gated(kernels.project(&normed, &layer.gate_up, None), self.config.activation);
            x = kernels.add(x, kernels.project(&wide, &layer.down, None));
        }
        see(self.layers.len(), &x)?;
        Ok(x)
    }

    fn attend(&self, layer: &Layer<K>, index: usize, x: &K::Operand, pass: &K::Pass, cache: &mut K::Cache) -> K::Rows {
        let norms = layer.head_norms.as_ref().map(|(query, key)| (query, key, self.epsilon()));
        let what = Attention { heads: self.config.heads, sight: self.config.sight(index), norms, layer: index };
        let qkv = self.kernels.project(x, &layer.qkv, layer.qkv_bias.as_ref());
        let mixed = self.kernels.attend(qkv, &what, pass, cache);
        self.kernels.project(&mixed, &layer.attention_out, layer.attention_out_bias.as_ref())
    }

    /// Whether the device can have what a batch takes.
    fn check(&self, batch: &Batch) -> Result<(), TensorTooLarge> {
        let kept = self.kernels.kept(self.config.cache_shape());
        batch.check(kept, self.config.heads.queries, self.kernels.host().tensor_bytes_max())
    }

    fn epsilon(&self) -> f32 {
        self.config.epsilon as f32
    }
}

/// A decoder, whatever engine it is in.
pub(crate) trait Network: fmt::Debug + Send + Sync {
    /// Bytes that a page of keys and values takes.
    fn page_bytes(&self) -> u64;
    /// Values of a row that goes from layer to layer, and of a final state.
    fn width(&self) -> usize;
    /// Most pages of a session, by what the device allows.
    fn pages_max(&self) -> usize;
    /// Has the device give memory back that nothing uses.
    fn tidy(&self);
    /// Opens a session with a cache of its own.
    fn session(self: Arc<Self>) -> Box<dyn Session>;
}

/// A decoder at work, with the keys and values of the sequences that it reads.
pub(crate) trait Session: fmt::Debug + Send {
    /// As [`Decoder::pass`].
    fn pass(&mut self, batch: &Batch) -> Result<Outputs, EngineError>;
}

/// Takes what goes into each layer, by its number, and what comes out of the last: integers, row after row.
pub(crate) type Witness<'a> = dyn FnMut(usize, Vec<i32>) + Send + 'a;

/// A decoder of the exact tier.
pub(crate) trait ExactNetwork: Network {
    /// As [`Network::session`].
    fn exact_session(self: Arc<Self>) -> Box<dyn ExactSession>;
}

/// A decoder of the exact tier at work.
pub(crate) trait ExactSession: Session {
    /// As [`Session::pass`], before a witness.
    fn pass_before(&mut self, batch: &Batch, witness: &mut Witness<'_>) -> Result<Outputs, EngineError>;
}

#[derive(Debug)]
struct Running<K: Kernels> {
    decoder: Arc<Decoder<K>>,
    cache: K::Cache,
}

impl<K: Kernels> Network for Decoder<K> {
    fn page_bytes(&self) -> u64 {
        self.kernels.page_bytes(self.config.cache_shape())
    }

    fn width(&self) -> usize {
        self.config.hidden
    }

    fn pages_max(&self) -> usize {
        self.kernels.kept(self.config.cache_shape()).pages_within(self.kernels.host().tensor_bytes_max())
    }

    fn tidy(&self) {
        self.kernels.host().tidy();
    }

    fn session(self: Arc<Self>) -> Box<dyn Session> {
        Box::new(Running::new(self))
    }
}

impl<K: ExactKernels> ExactNetwork for Decoder<K> {
    fn exact_session(self: Arc<Self>) -> Box<dyn ExactSession> {
        Box::new(Running::new(self))
    }
}

impl<K: Kernels> Running<K> {
    fn new(decoder: Arc<Decoder<K>>) -> Self {
        let cache = decoder.kernels.cache(decoder.config.cache_shape());
        Self { decoder, cache }
    }
}

impl<K: Kernels> Session for Running<K> {
    fn pass(&mut self, batch: &Batch) -> Result<Outputs, EngineError> {
        let Self { decoder, cache } = self;
        decoder.check(batch)?;
        decoder.kernels.host().run(|| decoder.pass(batch, cache))
    }
}

impl<K: ExactKernels> ExactSession for Running<K> {
    fn pass_before(&mut self, batch: &Batch, witness: &mut Witness<'_>) -> Result<Outputs, EngineError> {
        let Self { decoder, cache } = self;
        let kernels = &decoder.kernels;
        decoder.check(batch)?;
        kernels.host().run(|| {
            decoder.pass_seen(batch, cache, |layer, x| {
                witness(layer, kernels.integers(x)?);
                Ok(())
            })
        })
    }
}
