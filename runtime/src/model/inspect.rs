//! What a model file holds, without loading it.

use std::collections::BTreeMap;

use super::config::Config;
use super::tensors::adapter_bytes;
use super::{Family, LoadError};
use crate::engine::{CacheShape, burn, cpu, pages_of};
use crate::gguf::Gguf;

/// The tensors of one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TensorShare {
    /// How many tensors.
    pub tensors: u64,
    /// Their elements.
    pub elements: u64,
    /// Their bytes in the file.
    pub bytes: u64,
}

/// What a model file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What the model is built like.
    pub family: Family,
    /// The name inside the file.
    pub name: Option<String>,
    /// The licence that the file names.
    pub licence: Option<String>,
    /// Layers.
    pub layers: usize,
    /// Elements of a hidden state.
    pub hidden: usize,
    /// Heads of queries, and of keys.
    pub heads: (usize, usize),
    /// Most tokens of prompt and answer together.
    pub context_tokens: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: u64,
    /// Tensors by the name of their type.
    pub tensors: BTreeMap<&'static str, TensorShare>,
    cache: CacheShape,
    adapter_weight_bytes: u64,
}

impl Inspection {
    /// Looks into an open file.
    ///
    /// # Errors
    ///
    /// [`LoadError`] when it is no model of a known family.
    pub fn of(file: &Gguf) -> Result<Self, LoadError> {
        let config = Config::from_gguf(file)?;
        let mut tensors: BTreeMap<&'static str, TensorShare> = BTreeMap::new();
        for entry in file.tensors().values() {
            let share = tensors.entry(entry.kind.name()).or_default();
            share.tensors += 1;
            share.elements += entry.elements() as u64;
            share.bytes += entry.bytes() as u64;
        }
        let text = |key: &str| Ok::<_, LoadError>(file.string(key)?.map(str::to_owned));
        Ok(Self {
            family: config.family,
            name: text("general.name")?,
            licence: text("general.license")?,
            layers: config.layers,
            hidden: config.hidden,
            heads: (config.heads.queries, config.heads.keys),
            context_tokens: config.context,
            vocabulary: file.strings("tokenizer.ggml.tokens")?.map_or(0, |tokens| tokens.len() as u64),
            tensors,
            cache: config.cache_shape(),
            adapter_weight_bytes: adapter_bytes(file),
        })
    }

    /// Number of weights.
    pub fn parameters(&self) -> u64 {
        self.tensors.values().map(|share| share.elements).sum()
    }

    /// Bytes of all tensors in the file; about what the CPU needs for them.
    pub fn weight_bytes(&self) -> u64 {
        self.tensors.values().map(|share| share.bytes).sum()
    }

    /// Bytes of all tensors on an adapter, in single precision: the figure of [`LoadError::OutOfMemory`].
    pub fn adapter_weight_bytes(&self) -> u64 {
        self.adapter_weight_bytes
    }

    /// Bytes of keys and values for a context on the CPU.
    pub fn cache_bytes(&self, tokens: usize) -> u64 {
        cpu::page_bytes(self.cache).saturating_mul(pages_of(tokens) as u64)
    }

    /// Bytes of keys and values for a context on an adapter.
    pub fn adapter_cache_bytes(&self, tokens: usize) -> u64 {
        burn::pages::page_bytes(self.cache).saturating_mul(pages_of(tokens) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::PAGE_POSITIONS;
    use crate::tiny::tiny_llama;

    #[test]
    fn a_file_is_described_by_its_tables() {
        let bytes = tiny_llama(1);
        let file = Gguf::from_bytes(bytes).unwrap();
        let found = Inspection::of(&file).unwrap();
        assert_eq!((found.family, found.layers, found.context_tokens, found.vocabulary), (Family::Llama, 2, 2_048, 288));
        let all: u64 = file.tensors().values().map(|entry| entry.elements() as u64).sum();
        assert_eq!(found.parameters(), all);
        assert_eq!(found.tensors.keys().copied().collect::<Vec<_>>(), ["F32", "Q4_0", "Q8_0"]);
        let nibbles = found.tensors["Q4_0"];
        assert_eq!(nibbles.bytes, nibbles.elements / 32 * 18);
        assert_eq!(found.adapter_weight_bytes(), 4 * all);
        assert_eq!(found.cache_bytes(33), 2 * found.cache_bytes(1));
        assert_eq!(found.adapter_cache_bytes(33), 2 * found.adapter_cache_bytes(1));
        // Keys and values of one position, in single precision, times the positions of a page.
        let (_, keys) = found.heads;
        let size = found.hidden / found.heads.0;
        assert_eq!(found.adapter_cache_bytes(1), (2 * found.layers * keys * size * 4 * PAGE_POSITIONS) as u64);
    }
}
