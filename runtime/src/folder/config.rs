//! What a folder's `config.json` says a model is.

use super::decoder::DecoderConfig;
use super::encoder::EncoderConfig;
use super::json::{self, Table};
use super::{CONFIG_BYTES_MAX, CONFIG_FILE, FolderError};
use crate::file::FileError;

/// Most layers of a model, in a folder or a GGUF file: the largest published Llama has 126.
pub const LAYERS_MAX: usize = 1_024;

/// Largest of any width, in a folder or a GGUF file: the largest published Llama has 16,384 and 53,248.
pub const WIDTH_MAX: usize = 1 << 20;

/// Longest context, in a folder or a GGUF file: the largest that any published model claims.
pub const CONTEXT_MAX: usize = 10_000_000;

/// The kinds of model that a folder can hold.
#[derive(Clone, Debug, PartialEq)]
pub enum FolderConfig {
    /// Goes on with a text.
    Decoder(DecoderConfig),
    /// Turns a text into a vector.
    Encoder(EncoderConfig),
}

impl FolderConfig {
    /// Reads a `config.json`. What other files say of an encoder is as it is without them.
    ///
    /// # Errors
    ///
    /// [`FolderError`] when the model is of an unknown kind, or an entry is missing, out of bounds,
    /// or asks for something that would be computed wrongly.
    pub fn from_json(bytes: &[u8]) -> Result<Self, FolderError> {
        if bytes.len() as u64 > CONFIG_BYTES_MAX {
            let source = FileError::TooLarge { limit: CONFIG_BYTES_MAX };
            return Err(FolderError::File { file: CONFIG_FILE.to_owned(), source });
        }
        let entries = json::parse(CONFIG_FILE, bytes)?;
        let table = Table::new(CONFIG_FILE, &entries);
        refuse_quantised(&table)?;
        match table.str("model_type")?.ok_or_else(|| table.missing("model_type"))? {
            "bert" => EncoderConfig::read(&table).map(Self::Encoder),
            _ => DecoderConfig::read(&table).map(Self::Decoder),
        }
    }

    /// Number of tokens that the model has a row for.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Decoder(config) => config.vocabulary,
            Self::Encoder(config) => config.vocabulary,
        }
    }
}

/// Packed weights are stored as integers that a plain reading would take for what they are not.
fn refuse_quantised(table: &Table<'_>) -> Result<(), FolderError> {
    const KEY: &str = "quantization_config";
    if table.get(KEY).is_some() { Err(table.unsupported(KEY, "plain weights of 16 or 32 bits")) } else { Ok(()) }
}
