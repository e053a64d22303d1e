//! Reads model folders as the Hugging Face hub has them: `config.json`, a checkpoint, a tokenizer,
//! and what stands beside them.
//!
//! Folders come from strangers. Each file is read up to a limit of its own, every number is
//! bounded as those of GGUF files are, names inside files cannot lead out of the folder, and what
//! a model asks for that this runtime would compute wrongly is refused by name. Whatever is wrong
//! is a [`FolderError`].
//!
//! | file | what is taken from it |
//! |---|---|
//! | `config.json` | the family and its hyperparameters, as [`FolderConfig`] |
//! | `generation_config.json` | tokens that end an answer |
//! | `model.safetensors`, or its index | the weights, as a [`Checkpoint`] |
//! | `tokenizer.json` | a [`Tokenizer`] or a [`TextEncoder`] |
//! | `tokenizer_config.json`, `chat_template.jinja` | special tokens and the chat template, as [`TextConfig`] |
//! | `modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json` | how an encoder's outputs become a vector, as [`SentenceConfig`] |
//! | `README.md` | the licence, from its front matter |

mod config;
mod decoder;
mod encoder;
mod error;
mod json;
mod licence;
mod rope;
mod text;

#[cfg(test)]
mod minilm;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use crate::engine::Activation;
use crate::file;
use crate::safetensors::Checkpoint;
use crate::tokenizer::{TOKENIZER_BYTES_MAX, TextEncoder, TextEncoderOptions, TokenId, Tokenizer, TokenizerOptions};
pub use config::{CONTEXT_MAX, FolderConfig, LAYERS_MAX, WIDTH_MAX};
pub use decoder::{AttentionBias, DecoderConfig, DecoderFamily, Window};
pub use encoder::{EncoderConfig, Pooling, SentenceConfig};
pub use error::FolderError;
pub use rope::RopeScaling;
pub use text::TextConfig;

/// Longest `config.json` read. Real ones have some KiB; lists of labels make the longest.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Longest of the small files that say how to generate, or how an encoder is used: real ones have less than a KiB.
pub const SMALL_BYTES_MAX: u64 = 64 << 10;

/// Longest `tokenizer_config.json` read. Those that repeat all added tokens have one MiB.
pub const TEXT_BYTES_MAX: u64 = 8 << 20;

/// Longest `README.md` read. Cards with tables of results have some hundred KiB.
pub const CARD_BYTES_MAX: u64 = 4 << 20;

const CONFIG_FILE: &str = "config.json";
const GENERATION_FILE: &str = "generation_config.json";
const TOKENIZER_FILE: &str = "tokenizer.json";
const CARD_FILE: &str = "README.md";

/// An open model folder. Weights and tokenizer are read when asked for.
#[derive(Debug)]
pub struct ModelFolder {
    root: PathBuf,
    config: FolderConfig,
    text: TextConfig,
    end_tokens: Vec<TokenId>,
    licence: Option<String>,
}

impl ModelFolder {
    /// Reads the small files of a folder.
    ///
    /// # Errors
    ///
    /// [`FolderError`] when one that is needed is missing, or one that is there cannot be used.
    pub fn open(root: &Path) -> Result<Self, FolderError> {
        let config = read_file(root, CONFIG_FILE, CONFIG_BYTES_MAX)?.ok_or(FolderError::MissingFile { file: CONFIG_FILE })?;
        let text = TextConfig::read(root)?;
        let mut config = FolderConfig::from_json(&config)?;
        let mut end_tokens = Vec::new();
        match &mut config {
            FolderConfig::Encoder(encoder) => encoder.sentence = SentenceConfig::read(root, encoder, text.tokens_max)?,
            FolderConfig::Decoder(decoder) => {
                end_tokens.clone_from(&decoder.end_tokens);
                end_tokens.extend(read_generation(root, decoder.vocabulary)?);
                end_tokens.sort_unstable();
                end_tokens.dedup();
            }
        }
        Ok(Self { root: root.to_owned(), config, text, end_tokens, licence: read_licence(root)? })
    }

    /// What the model is.
    pub fn config(&self) -> &FolderConfig {
        &self.config
    }

    /// Special tokens and the chat template.
    pub fn text(&self) -> &TextConfig {
        &self.text
    }

    /// Tokens that end an answer, by `config.json` and `generation_config.json`, in order.
    pub fn end_tokens(&self) -> &[TokenId] {
        &self.end_tokens
    }

    /// The licence that the model card states, if it does.
    pub fn licence(&self) -> Option<&str> {
        self.licence.as_deref()
    }

    /// Opens the weights.
    ///
    /// # Errors
    ///
    /// [`FolderError::Checkpoint`] when there are none, or a file of them is refused.
    pub fn checkpoint(&self) -> Result<Checkpoint, FolderError> {
        Ok(Checkpoint::open(&self.root)?)
    }

    /// Builds a decoder's tokenizer.
    ///
    /// # Errors
    ///
    /// [`FolderError`] when the model is an encoder, or `tokenizer.json` cannot be used for it.
    pub fn tokenizer(&self) -> Result<Tokenizer, FolderError> {
        let FolderConfig::Decoder(config) = &self.config else { return Err(FolderError::OtherKind { wanted: "tokenizer of a decoder" }) };
        let options = TokenizerOptions {
            vocabulary: config.vocabulary,
            begin: self.text.begin.as_deref(),
            end: self.text.end.as_deref(),
            adds_begin: self.text.adds_begin,
            end_tokens: &self.end_tokens,
        };
        Ok(Tokenizer::from_json(&self.tokenizer_file()?, &options)?)
    }

    /// Builds an encoder's tokenizer.
    ///
    /// # Errors
    ///
    /// [`FolderError`] when the model is a decoder, or `tokenizer.json` cannot be used for it.
    pub fn text_encoder(&self) -> Result<TextEncoder, FolderError> {
        let FolderConfig::Encoder(config) = &self.config else { return Err(FolderError::OtherKind { wanted: "tokenizer of an encoder" }) };
        let SentenceConfig { tokens_max, lower_cased, .. } = config.sentence;
        let options = TextEncoderOptions { vocabulary: config.vocabulary, tokens_max, lower_cased };
        Ok(TextEncoder::from_json(&self.tokenizer_file()?, &options)?)
    }

    fn tokenizer_file(&self) -> Result<Vec<u8>, FolderError> {
        read_file(&self.root, TOKENIZER_FILE, TOKENIZER_BYTES_MAX)?.ok_or(FolderError::MissingFile { file: TOKENIZER_FILE })
    }
}

/// The bytes of a file of the folder, if it is there.
fn read_file(root: &Path, name: &str, limit: u64) -> Result<Option<Vec<u8>>, FolderError> {
    file::read(&root.join(name), limit).map_err(|source| FolderError::File { file: name.to_owned(), source })
}

fn read_generation(root: &Path, vocabulary: usize) -> Result<Vec<TokenId>, FolderError> {
    let Some(bytes) = read_file(root, GENERATION_FILE, SMALL_BYTES_MAX)? else { return Ok(Vec::new()) };
    let entries = json::parse(GENERATION_FILE, &bytes)?;
    decoder::read_end_tokens(&json::Table::new(GENERATION_FILE, &entries), vocabulary)
}

fn read_licence(root: &Path) -> Result<Option<String>, FolderError> {
    let card = read_file(root, CARD_FILE, CARD_BYTES_MAX)?;
    Ok(card.and_then(|card| licence::of_card(&String::from_utf8_lossy(&card))))
}
