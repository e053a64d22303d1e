//! Hyperparameters of decoders, checked.

use super::{LoadError, naming};
use crate::engine::exact::arithmetic::{BLOCK_POSITIONS, power_of_two};
use crate::engine::rope::RopeConfig;
use crate::engine::{Activation, CacheShape, Heads, Sight, Unsuitable};
use crate::folder::{AttentionBias, CONTEXT_MAX, DecoderConfig, DecoderFamily, LAYERS_MAX, RopeScaling, WIDTH_MAX, Window};
use crate::gguf::Gguf;

/// The families that one definition of a decoder covers. They differ in single parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Llama, and what is built as it is: SmolLM2, Mistral.
    Llama,
    /// Qwen2 and Qwen2.5: biases on queries, keys and values.
    Qwen2,
    /// Qwen3: norms over each head's queries and keys.
    Qwen3,
}

impl From<DecoderFamily> for Family {
    fn from(family: DecoderFamily) -> Self {
        match family {
            DecoderFamily::Llama | DecoderFamily::Mistral => Self::Llama,
            DecoderFamily::Qwen2 => Self::Qwen2,
            DecoderFamily::Qwen3 => Self::Qwen3,
        }
    }
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 3] = [Self::Llama, Self::Qwen2, Self::Qwen3];

    /// The name that GGUF files have for it, which also begins the keys of its hyperparameters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// The biases that GGUF files have for it.
    fn biases(self) -> AttentionBias {
        match self {
            Self::Llama | Self::Qwen3 => AttentionBias::None,
            Self::Qwen2 => AttentionBias::Inputs,
        }
    }

    /// Whether heads of queries and keys are normed.
    pub(crate) fn has_head_norms(self) -> bool {
        matches!(self, Self::Qwen3)
    }

    /// Whether GGUF files store rows of queries and keys so that neighbours turn together.
    pub(crate) fn pairs_neighbours(self) -> bool {
        matches!(self, Self::Llama)
    }
}

/// Widest row of the exact tier: sums of squares stay within 31 bits.
const HIDDEN_MAX: usize = 32_767;

/// Largest head of the exact tier: products of a query with a key stay within 31 bits.
const HEAD_SIZE_MAX: usize = 256;

/// Most blocks of attention in the exact tier: their sums stay within 31 bits.
const BLOCKS_MAX: usize = 256;

/// A decoder's hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) family: Family,
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    pub(crate) feed_forward: usize,
    pub(crate) heads: Heads,
    pub(crate) context: usize,
    pub(crate) epsilon: f64,
    pub(crate) rope: RopeConfig,
    /// The function of the gate.
    pub(crate) activation: Activation,
    /// None where every layer sees all that is before it.
    pub(crate) window: Option<Window>,
    /// Which of the attention's projections have one.
    pub(crate) biases: AttentionBias,
    /// Whether the embedding is the head too.
    pub(crate) tied: bool,
}

/// The keys of a family's hyperparameters.
struct Keys<'a> {
    file: &'a Gguf,
    family: Family,
}

impl Config {
    pub(crate) fn from_gguf(file: &Gguf) -> Result<Self, LoadError> {
        let keys = Keys { file, family: family(file)? };
        keys.check_dense()?;
        let queries = keys.required("attention.head_count", WIDTH_MAX)?;
        let key_heads = keys.optional("attention.head_count_kv", WIDTH_MAX)?.unwrap_or(queries);
        let hidden = keys.required("embedding_length", WIDTH_MAX)?;
        let size = keys.optional("attention.key_length", WIDTH_MAX)?.unwrap_or(hidden / queries);
        let config = Self {
            family: keys.family,
            layers: keys.required("block_count", LAYERS_MAX)?,
            hidden,
            feed_forward: keys.required("feed_forward_length", WIDTH_MAX)?,
            heads: Heads { queries, keys: key_heads, size },
            context: keys.required("context_length", CONTEXT_MAX)?,
            epsilon: keys.positive("attention.layer_norm_rms_epsilon", None)?,
            rope: RopeConfig { pairs: size / 2, base: keys.positive("rope.freq_base", Some(10_000.0))?, scaling: keys.rope_scaling()? },
            activation: Activation::Silu,
            window: keys.optional("attention.sliding_window", CONTEXT_MAX)?.map(|tokens| Window { tokens, first_layer: 0 }),
            biases: keys.family.biases(),
            tied: !file.tensors().contains_key(naming::GGUF.head),
        };
        config.check(&keys)?;
        Ok(config)
    }

    /// What the folder's reader has checked already.
    pub(crate) fn from_folder(config: &DecoderConfig) -> Self {
        Self {
            family: config.family.into(),
            layers: config.layers,
            hidden: config.hidden,
            feed_forward: config.feed_forward,
            heads: Heads { queries: config.heads, keys: config.kv_heads, size: config.head_size },
            context: config.context,
            epsilon: config.epsilon,
            rope: RopeConfig { pairs: config.head_size / 2, base: config.rope_base, scaling: config.rope_scaling },
            activation: config.activation,
            window: config.window,
            biases: config.attention_bias,
            tied: config.tied,
        }
    }

    /// What the positions of a layer see.
    pub(crate) fn sight(&self, layer: usize) -> Sight {
        self.window.and_then(|window| window.at(layer)).map_or(Sight::Back, Sight::Window)
    }

    /// Checks that the exact tier covers it, and cuts the context to what that tier reads.
    ///
    /// # Errors
    ///
    /// [`Unsuitable`] with the first thing that it does not.
    pub(crate) fn restrict_to_exact(&mut self) -> Result<(), Unsuitable> {
        let unsuitable = |what, rule| Err(Unsuitable { what, rule });
        if self.window.is_some() {
            return unsuitable("its attention", "every position must see all before it");
        }
        if self.activation != Activation::Silu {
            return unsuitable("its gates", "they must be x * sigmoid(x)");
        }
        if self.biases == AttentionBias::All {
            return unsuitable("its attention", "the output must have no bias");
        }
        if !matches!(self.rope.scaling, RopeScaling::None | RopeScaling::Linear { .. }) {
            return unsuitable("its way of stretching positions", "it must be linear, or a tensor of divisors");
        }
        if self.hidden > HIDDEN_MAX || self.heads.size > HEAD_SIZE_MAX {
            return unsuitable("its widths", "rows must be at most 32,767 wide, heads at most 256");
        }
        if (self.epsilon * power_of_two(32)).round() >= power_of_two(30) {
            return unsuitable("its epsilon", "it must be below 0.25");
        }
        self.context = self.context.min(BLOCK_POSITIONS * BLOCKS_MAX);
        Ok(())
    }

    /// What a position keeps.
    pub(crate) fn cache_shape(&self) -> CacheShape {
        CacheShape { layers: self.layers, keys: self.heads.keys, size: self.heads.size }
    }

    fn check(&self, keys: &Keys<'_>) -> Result<(), LoadError> {
        if !self.heads.queries.is_multiple_of(self.heads.keys) {
            return Err(keys.bad("attention.head_count_kv"));
        }
        if self.heads.size == 0 || !self.heads.size.is_multiple_of(2) {
            return Err(keys.bad("attention.key_length"));
        }
        for part in ["attention.value_length", "rope.dimension_count"] {
            if keys.optional(part, WIDTH_MAX)?.is_some_and(|found| found != self.heads.size) {
                return Err(keys.bad(part));
            }
        }
        Ok(())
    }
}

fn family(file: &Gguf) -> Result<Family, LoadError> {
    const KEY: &str = "general.architecture";
    let found = file.string(KEY)?.ok_or_else(|| LoadError::MissingMetadata { key: KEY.to_owned() })?;
    let known = Family::ALL.into_iter().find(|family| family.name() == found);
    known.ok_or_else(|| LoadError::UnsupportedArchitecture { found: found.to_owned() })
}

impl Keys<'_> {
    fn key(&self, part: &str) -> String {
        format!("{}.{part}", self.family.name())
    }

    fn bad(&self, part: &str) -> LoadError {
        LoadError::BadHyperparameter { key: self.key(part) }
    }

    fn check_dense(&self) -> Result<(), LoadError> {
        match self.file.uint(&self.key("expert_count"))? {
            None | Some(0) => Ok(()),
            Some(experts) => Err(LoadError::Experts { experts }),
        }
    }

    fn optional(&self, part: &str, limit: usize) -> Result<Option<usize>, LoadError> {
        let Some(value) = self.file.uint(&self.key(part))? else { return Ok(None) };
        let inside = usize::try_from(value).ok().filter(|value| (1..=limit).contains(value));
        inside.map(Some).ok_or_else(|| self.bad(part))
    }

    fn required(&self, part: &str, limit: usize) -> Result<usize, LoadError> {
        self.optional(part, limit)?.ok_or_else(|| LoadError::MissingMetadata { key: self.key(part) })
    }

    fn positive(&self, part: &str, default: Option<f64>) -> Result<f64, LoadError> {
        let found = self.file.float(&self.key(part))?.or(default);
        let value = found.ok_or_else(|| LoadError::MissingMetadata { key: self.key(part) })?;
        if value.is_finite() && value > 0.0 { Ok(value) } else { Err(self.bad(part)) }
    }

    fn rope_scaling(&self) -> Result<RopeScaling, LoadError> {
        match self.file.string(&self.key("rope.scaling.type"))? {
            None | Some("none") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor: self.positive("rope.scaling.factor", Some(1.0))? }),
            Some(kind) => Err(LoadError::UnsupportedRope { kind: kind.to_owned() }),
        }
    }
}
