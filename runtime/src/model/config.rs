//! Hyperparameters: the metadata of a Llama, checked.

use super::LoadError;
use crate::gguf::Gguf;

/// Most layers read. The largest published Llama has 126.
const LAYERS_MAX: u64 = 1_024;

/// Largest of any width. The largest published Llama has 16,384 and 53,248.
const WIDTH_MAX: u64 = 1 << 20;

/// Longest context, the largest that any published model claims.
const CONTEXT_MAX: u64 = 10_000_000;

/// A Llama's hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    pub(crate) feed_forward: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_size: usize,
    pub(crate) context: usize,
    pub(crate) epsilon: f64,
    pub(crate) rope_base: f64,
    /// Positions are divided by this.
    pub(crate) rope_stretch: f64,
}

impl Config {
    pub(crate) fn from_gguf(file: &Gguf) -> Result<Self, LoadError> {
        check_architecture(file)?;
        let heads = required(file, "llama.attention.head_count", WIDTH_MAX)?;
        let kv_heads = optional(file, "llama.attention.head_count_kv", WIDTH_MAX)?.unwrap_or(heads);
        let hidden = required(file, "llama.embedding_length", WIDTH_MAX)?;
        let head_size = optional(file, "llama.attention.key_length", WIDTH_MAX)?.unwrap_or(hidden / heads);
        let config = Self {
            layers: required(file, "llama.block_count", LAYERS_MAX)?,
            hidden,
            feed_forward: required(file, "llama.feed_forward_length", WIDTH_MAX)?,
            heads,
            kv_heads,
            head_size,
            context: required(file, "llama.context_length", CONTEXT_MAX)?,
            epsilon: positive(file, "llama.attention.layer_norm_rms_epsilon", None)?,
            rope_base: positive(file, "llama.rope.freq_base", Some(10_000.0))?,
            rope_stretch: rope_stretch(file)?,
        };
        config.check(file)?;
        Ok(config)
    }

    fn check(&self, file: &Gguf) -> Result<(), LoadError> {
        let bad = |key| Err(LoadError::BadHyperparameter { key });
        if !self.heads.is_multiple_of(self.kv_heads) {
            return bad("llama.attention.head_count_kv");
        }
        if self.head_size == 0 || !self.head_size.is_multiple_of(2) {
            return bad("llama.attention.key_length");
        }
        let same = |key, expected: usize| match optional(file, key, WIDTH_MAX)? {
            Some(found) if found != expected => bad(key),
            _ => Ok(()),
        };
        same("llama.attention.value_length", self.head_size)?;
        same("llama.rope.dimension_count", self.head_size)
    }
}

fn check_architecture(file: &Gguf) -> Result<(), LoadError> {
    const KEY: &str = "general.architecture";
    match file.string(KEY)? {
        Some("llama") => {}
        Some(found) => return Err(LoadError::UnsupportedArchitecture { found: found.to_owned() }),
        None => return Err(LoadError::MissingMetadata { key: KEY }),
    }
    match file.uint("llama.expert_count")? {
        None | Some(0) => Ok(()),
        Some(experts) => Err(LoadError::Experts { experts }),
    }
}

fn optional(file: &Gguf, key: &'static str, limit: u64) -> Result<Option<usize>, LoadError> {
    let Some(value) = file.uint(key)? else { return Ok(None) };
    if value == 0 || value > limit {
        return Err(LoadError::BadHyperparameter { key });
    }
    Ok(Some(usize::try_from(value).map_err(|_| LoadError::BadHyperparameter { key })?))
}

fn required(file: &Gguf, key: &'static str, limit: u64) -> Result<usize, LoadError> {
    optional(file, key, limit)?.ok_or(LoadError::MissingMetadata { key })
}

fn positive(file: &Gguf, key: &'static str, default: Option<f64>) -> Result<f64, LoadError> {
    let value = file.float(key)?.or(default).ok_or(LoadError::MissingMetadata { key })?;
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err(LoadError::BadHyperparameter { key }) }
}

fn rope_stretch(file: &Gguf) -> Result<f64, LoadError> {
    const KIND: &str = "llama.rope.scaling.type";
    match file.string(KIND)? {
        None | Some("none") => Ok(1.0),
        Some("linear") => positive(file, "llama.rope.scaling.factor", Some(1.0)),
        Some(kind) => Err(LoadError::UnsupportedRope { kind: kind.to_owned() }),
    }
}
