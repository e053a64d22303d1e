//! Hyperparameters of BERT, and how its outputs become one vector.
//!
//! # Source
//!
//! The configuration class of the transformers library, and the files that the
//! sentence-transformers library puts beside it.

use std::path::Path;

use serde_json::Value;

use super::config::{CONTEXT_MAX, LAYERS_MAX, WIDTH_MAX};
use super::json::{self, Table};
use super::{FolderError, SMALL_BYTES_MAX, read_file};
use crate::engine::Activation;
use crate::tokenizer::VOCABULARY_MAX;

/// Added to the variance where the file does not say.
const EPSILON_DEFAULT: f64 = 1e-12;

/// The list of steps that a text goes through.
pub(super) const MODULES_FILE: &str = "modules.json";

/// What the first step does.
pub(super) const SENTENCE_FILE: &str = "sentence_bert_config.json";

/// The folder of the pooling step, also where there is no list of steps.
const POOLING_FOLDER: &str = "1_Pooling";

/// Ways of pooling, as the file names them.
const MEAN: &str = "pooling_mode_mean_tokens";
const CLS: &str = "pooling_mode_cls_token";
const OTHER_WAYS: [&str; 4] =
    ["pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"];

/// An encoder's hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Number of layers (`num_hidden_layers`).
    pub layers: usize,
    /// Width of the residual stream (`hidden_size`).
    pub hidden: usize,
    /// Width of the feed-forward part (`intermediate_size`).
    pub feed_forward: usize,
    /// Heads, which divide `hidden` (`num_attention_heads`).
    pub heads: usize,
    /// Rows of the embedding of tokens (`vocab_size`).
    pub vocabulary: usize,
    /// Rows of the embedding of positions (`max_position_embeddings`).
    pub context: usize,
    /// Rows of the embedding of segments (`type_vocab_size`); a text alone is segment 0.
    pub segments: usize,
    /// Added to the variance under the root (`layer_norm_eps`).
    pub epsilon: f64,
    /// The feed-forward part's function (`hidden_act`).
    pub activation: Activation,
    /// How outputs become one vector.
    pub sentence: SentenceConfig,
}

/// How the outputs at all positions become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first one.
    Cls,
}

/// What a folder says of texts and vectors, beside the model itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentenceConfig {
    /// How the outputs become one vector (`1_Pooling/config.json`); the mean where nothing is said.
    pub pooling: Pooling,
    /// Whether vectors are scaled to length one (a `Normalize` step in `modules.json`).
    pub normalised: bool,
    /// Most tokens of a text, with those at its two ends (`max_seq_length`); longer texts are cut.
    pub tokens_max: usize,
    /// Whether texts are lower-cased before the tokenizer sees them (`do_lower_case`).
    pub lower_cased: bool,
}

impl EncoderConfig {
    pub(super) fn read(table: &Table<'_>) -> Result<Self, FolderError> {
        let context = table.required_uint("max_position_embeddings", CONTEXT_MAX)?;
        let config = Self {
            layers: table.required_uint("num_hidden_layers", LAYERS_MAX)?,
            hidden: table.required_uint("hidden_size", WIDTH_MAX)?,
            feed_forward: table.required_uint("intermediate_size", WIDTH_MAX)?,
            heads: table.required_uint("num_attention_heads", WIDTH_MAX)?,
            vocabulary: table.required_uint("vocab_size", VOCABULARY_MAX)?,
            context,
            segments: table.required_uint("type_vocab_size", WIDTH_MAX)?,
            epsilon: table.positive("layer_norm_eps")?.unwrap_or(EPSILON_DEFAULT),
            activation: read_activation(table)?,
            sentence: SentenceConfig { pooling: Pooling::Mean, normalised: false, tokens_max: context, lower_cased: false },
        };
        if !config.hidden.is_multiple_of(config.heads) {
            return Err(table.contradiction("num_attention_heads", "hidden_size is a multiple of it"));
        }
        if !matches!(table.str("position_embedding_type")?, None | Some("absolute")) {
            return Err(table.unsupported("position_embedding_type", "absolute"));
        }
        if table.bool("is_decoder")? == Some(true) {
            return Err(table.unsupported("is_decoder", "false"));
        }
        Ok(config)
    }
}

fn read_activation(table: &Table<'_>) -> Result<Activation, FolderError> {
    match table.str("hidden_act")? {
        None | Some("gelu") => Ok(Activation::Gelu),
        Some(_) => Err(table.unsupported("hidden_act", "gelu")),
    }
}

impl SentenceConfig {
    /// Reads what stands beside `config.json`. `tokenizer_max` is the tokenizer's own limit, if it has one.
    pub(super) fn read(root: &Path, encoder: &EncoderConfig, tokenizer_max: Option<usize>) -> Result<Self, FolderError> {
        let modules = read_modules(root)?;
        let default = encoder.context.min(tokenizer_max.unwrap_or(encoder.context));
        let (tokens_max, lower_cased) = read_limits(root, encoder.context)?;
        Ok(Self {
            pooling: read_pooling(root, &modules.pooling, encoder.hidden)?,
            normalised: modules.normalised,
            tokens_max: tokens_max.unwrap_or(default),
            lower_cased,
        })
    }
}

fn read_limits(root: &Path, context: usize) -> Result<(Option<usize>, bool), FolderError> {
    let Some(bytes) = read_file(root, SENTENCE_FILE, SMALL_BYTES_MAX)? else { return Ok((None, false)) };
    let entries = json::parse(SENTENCE_FILE, &bytes)?;
    let table = Table::new(SENTENCE_FILE, &entries);
    Ok((table.uint("max_seq_length", context)?, table.bool("do_lower_case")?.unwrap_or(false)))
}

/// What the list of steps says.
struct Modules {
    /// The folder of the pooling step.
    pooling: String,
    normalised: bool,
}

/// The list must be the model, then pooling, then perhaps scaling to length one: any other step
/// would change the vectors.
fn read_modules(root: &Path) -> Result<Modules, FolderError> {
    let Some(bytes) = read_file(root, MODULES_FILE, SMALL_BYTES_MAX)? else {
        return Ok(Modules { pooling: POOLING_FOLDER.to_owned(), normalised: false });
    };
    let steps: Vec<Value> = serde_json::from_slice(&bytes).map_err(|source| FolderError::Json { file: MODULES_FILE.to_owned(), source })?;
    let unsupported = |key, found, supported| FolderError::Unsupported { file: MODULES_FILE.to_owned(), key, found, supported };
    let steps: Vec<(&str, &str)> = steps.iter().map(|step| (kind_of(step), text_of(step, "path"))).collect();
    let (pooling, normalised) = match steps.as_slice() {
        [("Transformer", ""), ("Pooling", path)] => (*path, false),
        [("Transformer", ""), ("Pooling", path), ("Normalize", _)] => (*path, true),
        _ => {
            let found = json::shown(&Value::from(format!("{steps:?}")));
            return Err(unsupported("type", found, "Transformer in the folder itself, Pooling, and perhaps Normalize"));
        }
    };
    if !is_plain(pooling) {
        return Err(unsupported("path", json::shown(&Value::from(pooling)), "the plain name of a folder"));
    }
    Ok(Modules { pooling: pooling.to_owned(), normalised })
}

fn text_of<'a>(step: &'a Value, key: &str) -> &'a str {
    step.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The last part of a step's type, which is the name of a Python class.
fn kind_of(step: &Value) -> &str {
    text_of(step, "type").rsplit('.').next().unwrap_or_default()
}

/// Whether a name is that of a folder inside this one on every system.
fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !name.is_empty() && name.bytes().all(allowed)
}

fn read_pooling(root: &Path, folder: &str, hidden: usize) -> Result<Pooling, FolderError> {
    const WIDTH: &str = "word_embedding_dimension";
    let file = format!("{folder}/config.json");
    let Some(bytes) = read_file(root, &file, SMALL_BYTES_MAX)? else { return Ok(Pooling::Mean) };
    let entries = json::parse(&file, &bytes)?;
    let table = Table::new(&file, &entries);
    if table.uint(WIDTH, WIDTH_MAX)?.is_some_and(|width| width != hidden) {
        return Err(table.contradiction(WIDTH, "it is the model's hidden_size"));
    }
    let is_on = |key| table.bool(key).map(|on| on == Some(true));
    for key in OTHER_WAYS {
        if is_on(key)? {
            return Err(table.unsupported(key, "mean or cls pooling"));
        }
    }
    match (is_on(MEAN)?, is_on(CLS)?) {
        (true, false) => Ok(Pooling::Mean),
        (false, true) => Ok(Pooling::Cls),
        (true, true) => Err(table.contradiction(CLS, "there is one way of pooling")),
        (false, false) if table.has(MEAN) => Err(table.unsupported(MEAN, "mean or cls pooling")),
        (false, false) => Ok(Pooling::Mean),
    }
}
