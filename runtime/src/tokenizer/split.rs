//! How text is cut into words before byte pairs are merged: `tokenizer.ggml.pre`.
//!
//! # Source
//!
//! The `tokenizer.json` files of the models concerned; for `default`, llama.cpp's fallback.

use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split as SplitBy, SplitPattern};
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

/// Llama 3: contractions in any case, numbers in threes, newlines with the punctuation before them.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// GPT-2: contractions, and letters, numbers and punctuation apart, each with the space before it.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Qwen 2 and 3: as Llama 3, with each digit alone.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Mistral's byte-level vocabularies: words also end before a capital, each digit is alone.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The expressions that a `tokenizer.json` may split by. One of a stranger's own could take any
/// time on the next stranger's text.
pub(super) const KNOWN_EXPRESSIONS: [&str; 4] = [GPT2, LLAMA3, QWEN2, TEKKEN];

/// The fallback's first cut: runs of punctuation.
const DEFAULT_PUNCTUATION: &str = r"[\p{P}\$\+<=>\^~\|]+";

/// The fallback's third cut: numbers in threes.
const DEFAULT_NUMBERS: &str = r"\p{N}{1,3}";

/// A way of splitting that is not known.
#[derive(Debug, thiserror::Error)]
#[error("text splitting {name:?} is not supported, only gpt-2, smollm, llama-bpe, qwen2 and default are")]
pub struct UnknownSplit {
    /// Its name in the file.
    pub name: String,
}

/// A known way of splitting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    Gpt2,
    SmolLm,
    Llama3,
    Qwen2,
    Default,
}

impl Split {
    pub(super) fn named(name: &str) -> Result<Self, UnknownSplit> {
        Ok(match name {
            "gpt-2" | "gpt2" => Self::Gpt2,
            "smollm" => Self::SmolLm,
            "llama-bpe" | "llama3" | "llama-v3" => Self::Llama3,
            "qwen2" => Self::Qwen2,
            "default" => Self::Default,
            _ => return Err(UnknownSplit { name: name.to_owned() }),
        })
    }

    /// Whether prompts begin with the begin token where the file does not say.
    pub(super) fn adds_begin(self) -> bool {
        self == Self::Llama3
    }

    /// Whether a word that is a token as a whole skips merging.
    pub(super) fn ignores_merges(self) -> bool {
        self == Self::Llama3
    }

    /// What is done to texts before they are cut: Qwen composes letters with their accents.
    pub(super) fn normalizer(self) -> Option<NormalizerWrapper> {
        (self == Self::Qwen2).then(|| NFC.into())
    }

    pub(super) fn pre_tokenizer(self) -> tokenizers::Result<PreTokenizerWrapper> {
        let words = ByteLevel::new(false, true, true).into();
        let spelling_only = ByteLevel::new(false, true, false).into();
        Ok(match self {
            Self::Gpt2 => words,
            Self::SmolLm => sequence(vec![Digits::new(true).into(), words]),
            Self::Llama3 => sequence(vec![cut(LLAMA3)?, spelling_only]),
            Self::Qwen2 => sequence(vec![cut(QWEN2)?, spelling_only]),
            Self::Default => sequence(vec![cut(DEFAULT_PUNCTUATION)?, cut(DEFAULT_NUMBERS)?, words]),
        })
    }
}

pub(super) fn sequence(parts: Vec<PreTokenizerWrapper>) -> PreTokenizerWrapper {
    Sequence::new(parts).into()
}

/// Cuts text at what an expression finds and between.
pub(super) fn cut(pattern: &str) -> tokenizers::Result<PreTokenizerWrapper> {
    let pattern = SplitPattern::Regex(pattern.to_owned());
    Ok(SplitBy::new(pattern, SplitDelimiterBehavior::Isolated, false)?.into())
}
