//! Hyperparameters of the Llama-like families.
//!
//! # Source
//!
//! The configuration classes of the transformers library: names of entries, and what an entry
//! that is left out means.

use super::FolderError;
use super::config::{CONTEXT_MAX, LAYERS_MAX, WIDTH_MAX};
use super::json::Table;
use super::rope::{RopeScaling, read_rope};
use crate::engine::Activation;
use crate::tokenizer::{TokenId, VOCABULARY_MAX};

/// Most tokens that end an answer. Files name up to three.
const END_TOKENS_MAX: usize = 64;

/// The window of families that have one, where the file does not say.
const WINDOW_DEFAULT: usize = 4_096;

/// Qwen's first layer with a window, where the file does not say.
const WINDOW_LAYER_DEFAULT: usize = 28;

/// A family of decoders: each is a Llama with the differences that its configuration states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecoderFamily {
    /// Llama 2 and 3, SmolLM2 and others of the same form.
    Llama,
    /// Llama with a sliding window, in its first version.
    Mistral,
    /// Llama with biases on queries, keys and values.
    Qwen2,
    /// Llama with norms on queries and keys.
    Qwen3,
}

/// Which of the attention's projections add a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionBias {
    /// None.
    None,
    /// Queries, keys and values.
    Inputs,
    /// Queries, keys, values, and the output.
    All,
}

/// A sliding window: the last layers see only so many of the last positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Positions seen, the current one among them.
    pub tokens: usize,
    /// The first layer that has the window; all after it have it too.
    pub first_layer: usize,
}

impl Window {
    /// Positions that a layer sees; none where it sees all before it.
    pub fn at(self, layer: usize) -> Option<usize> {
        (layer >= self.first_layer).then_some(self.tokens)
    }
}

/// A decoder's hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// The family.
    pub family: DecoderFamily,
    /// Number of layers (`num_hidden_layers`).
    pub layers: usize,
    /// Width of the residual stream (`hidden_size`).
    pub hidden: usize,
    /// Width of the feed-forward part (`intermediate_size`).
    pub feed_forward: usize,
    /// Heads of queries (`num_attention_heads`).
    pub heads: usize,
    /// Heads of keys and values, of which `heads` is a multiple (`num_key_value_heads`).
    pub kv_heads: usize,
    /// Width of a head, even (`head_dim`).
    pub head_size: usize,
    /// Rows of the embedding (`vocab_size`); a tokenizer may have fewer tokens.
    pub vocabulary: usize,
    /// Most positions (`max_position_embeddings`).
    pub context: usize,
    /// Added to the mean square under the root (`rms_norm_eps`).
    pub epsilon: f64,
    /// Base of the rotary frequencies (`rope_theta`).
    pub rope_base: f64,
    /// What is done to the rotary frequencies (`rope_scaling`).
    pub rope_scaling: RopeScaling,
    /// The sliding window, if there is one (`sliding_window`).
    pub window: Option<Window>,
    /// Biases of the attention's projections (`attention_bias`, or by family).
    pub attention_bias: AttentionBias,
    /// Whether queries and keys pass a norm of the width of a head before they are rotated.
    pub qk_norm: bool,
    /// Whether the embedding is also the last projection (`tie_word_embeddings`).
    pub tied: bool,
    /// The feed-forward part's function (`hidden_act`).
    pub activation: Activation,
    /// Tokens that end an answer (`eos_token_id`).
    pub end_tokens: Vec<TokenId>,
}

impl DecoderConfig {
    pub(super) fn read(table: &Table<'_>) -> Result<Self, FolderError> {
        let family = read_family(table)?;
        let (layers, vocabulary) =
            (table.required_uint("num_hidden_layers", LAYERS_MAX)?, table.required_uint("vocab_size", VOCABULARY_MAX)?);
        let (hidden, heads) = (table.required_uint("hidden_size", WIDTH_MAX)?, table.required_uint("num_attention_heads", WIDTH_MAX)?);
        let context = table.required_uint("max_position_embeddings", CONTEXT_MAX)?;
        let (rope_base, rope_scaling) = read_rope(table)?;
        let config = Self {
            family,
            layers,
            hidden,
            feed_forward: table.required_uint("intermediate_size", WIDTH_MAX)?,
            heads,
            kv_heads: table.uint("num_key_value_heads", WIDTH_MAX)?.unwrap_or(heads),
            head_size: read_head_size(table, hidden, heads)?,
            vocabulary,
            context,
            epsilon: table.required_positive("rms_norm_eps")?,
            rope_base,
            rope_scaling,
            window: read_window(table, family, layers)?,
            attention_bias: read_attention_bias(table, family)?,
            qk_norm: family == DecoderFamily::Qwen3,
            tied: table.bool("tie_word_embeddings")?.unwrap_or(false),
            activation: read_activation(table)?,
            end_tokens: read_end_tokens(table, vocabulary)?,
        };
        config.check(table)?;
        Ok(config)
    }

    /// The positions that layer `layer` sees, if not all.
    pub fn window_of(&self, layer: usize) -> Option<usize> {
        self.window.and_then(|window| window.at(layer))
    }

    fn check(&self, table: &Table<'_>) -> Result<(), FolderError> {
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(table.contradiction("num_key_value_heads", "heads of queries are a multiple of it"));
        }
        if !self.head_size.is_multiple_of(2) {
            return Err(table.contradiction("head_dim", "rotation takes pairs, so it is even"));
        }
        if self.heads.saturating_mul(self.head_size) > WIDTH_MAX {
            return Err(table.contradiction("head_dim", "all heads together are no wider than any layer can be"));
        }
        if table.bool("mlp_bias")? == Some(true) {
            return Err(table.unsupported("mlp_bias", "false"));
        }
        Ok(())
    }
}

fn read_family(table: &Table<'_>) -> Result<DecoderFamily, FolderError> {
    Ok(match table.str("model_type")? {
        Some("llama") => DecoderFamily::Llama,
        Some("mistral") => DecoderFamily::Mistral,
        Some("qwen2") => DecoderFamily::Qwen2,
        Some("qwen3") => DecoderFamily::Qwen3,
        _ => return Err(table.unsupported("model_type", "llama, mistral, qwen2, qwen3 or bert")),
    })
}

fn read_head_size(table: &Table<'_>, hidden: usize, heads: usize) -> Result<usize, FolderError> {
    match table.uint("head_dim", WIDTH_MAX)? {
        Some(size) => Ok(size),
        None if hidden.is_multiple_of(heads) => Ok(hidden / heads),
        None => Err(table.contradiction("num_attention_heads", "without head_dim, hidden_size is a multiple of it")),
    }
}

fn read_activation(table: &Table<'_>) -> Result<Activation, FolderError> {
    match table.str("hidden_act")? {
        None | Some("silu") => Ok(Activation::Silu),
        Some(_) => Err(table.unsupported("hidden_act", "silu")),
    }
}

fn read_attention_bias(table: &Table<'_>, family: DecoderFamily) -> Result<AttentionBias, FolderError> {
    const KEY: &str = "attention_bias";
    let stated = table.bool(KEY)?;
    match (family, stated) {
        (DecoderFamily::Qwen2, None | Some(true)) => Ok(AttentionBias::Inputs),
        (DecoderFamily::Llama | DecoderFamily::Qwen3, Some(true)) => Ok(AttentionBias::All),
        (DecoderFamily::Mistral, Some(true)) => Err(table.unsupported(KEY, "false")),
        (DecoderFamily::Qwen2, Some(false)) => Err(table.unsupported(KEY, "true")),
        (DecoderFamily::Llama | DecoderFamily::Mistral | DecoderFamily::Qwen3, None | Some(false)) => Ok(AttentionBias::None),
    }
}

/// Mistral has a window unless it says null; Qwen only where it says that it is used.
fn read_window(table: &Table<'_>, family: DecoderFamily, layers: usize) -> Result<Option<Window>, FolderError> {
    const KEY: &str = "sliding_window";
    let first_layer = match family {
        DecoderFamily::Llama => return Ok(None),
        DecoderFamily::Mistral => 0,
        DecoderFamily::Qwen2 | DecoderFamily::Qwen3 if table.bool("use_sliding_window")? == Some(true) => {
            first_window_layer(table, layers)?
        }
        DecoderFamily::Qwen2 | DecoderFamily::Qwen3 => return Ok(None),
    };
    let tokens = if table.has(KEY) { table.uint(KEY, CONTEXT_MAX)? } else { Some(WINDOW_DEFAULT) };
    Ok(tokens.filter(|_| first_layer < layers).map(|tokens| Window { tokens, first_layer }))
}

/// From `layer_types`, which names each layer's kind, or else from `max_window_layers`.
fn first_window_layer(table: &Table<'_>, layers: usize) -> Result<usize, FolderError> {
    const KEY: &str = "layer_types";
    let Some(types) = table.list(KEY)? else { return Ok(table.count("max_window_layers", LAYERS_MAX)?.unwrap_or(WINDOW_LAYER_DEFAULT)) };
    if types.len() != layers {
        return Err(table.contradiction(KEY, "it names each layer once"));
    }
    let first = types.iter().take_while(|kind| *kind == "full_attention").count();
    if types.iter().skip(first).all(|kind| kind == "sliding_attention") {
        Ok(first)
    } else {
        Err(table.unsupported(KEY, "full_attention, then sliding_attention"))
    }
}

/// One id or a list of them.
pub(super) fn read_end_tokens(table: &Table<'_>, vocabulary: usize) -> Result<Vec<TokenId>, FolderError> {
    const KEY: &str = "eos_token_id";
    let bad = || table.wrong_kind(KEY, "a token or a short list of tokens of the vocabulary");
    let Some(value) = table.get(KEY) else { return Ok(Vec::new()) };
    let values = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    if values.len() > END_TOKENS_MAX {
        return Err(bad());
    }
    let inside = |id: &TokenId| (*id as usize) < vocabulary;
    values.iter().map(|value| value.as_u64().and_then(|id| TokenId::try_from(id).ok()).filter(inside).ok_or_else(bad)).collect()
}
