use super::TokenizerError;

/// Why a `tokenizer.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerFileError {
    /// The file is longer than the limit.
    #[error("tokenizer file of {bytes} bytes is above the limit of {}", super::TOKENIZER_BYTES_MAX)]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The file is not JSON, not a tokenizer, or has more of something than the limits allow.
    #[error("tokenizer file cannot be read")]
    Json(#[source] serde_json::Error),
    /// A kind of tokenizer, or a part of one, that would be computed wrongly.
    #[error("tokenizer file has a {part} of {found}, supported is {supported}")]
    Unsupported {
        /// Which part.
        part: &'static str,
        /// What the file has.
        found: String,
        /// What would be accepted.
        supported: &'static str,
    },
    /// A part without an entry that it needs.
    #[error("tokenizer file has no {key:?} in its {part}")]
    Missing {
        /// Which part.
        part: &'static str,
        /// The entry.
        key: &'static str,
    },
    /// A token for which the model has no row.
    #[error("token {token:?} has id {id}, beyond the model's vocabulary of {vocabulary}")]
    BeyondModel {
        /// The token.
        token: String,
        /// Its id.
        id: u32,
        /// Rows of the model's embedding.
        vocabulary: usize,
    },
    /// One id for two tokens, or two for one.
    #[error("token {token:?} has id {id}, which contradicts another entry")]
    IdMismatch {
        /// The token.
        token: String,
        /// The id.
        id: u32,
    },
    /// A special token that the vocabulary does not have.
    #[error("{role} {token:?} is not in the vocabulary")]
    NoSuchToken {
        /// What the token is for.
        role: &'static str,
        /// The token.
        token: String,
    },
    /// An added token that is not to be told from another, or from nothing, in normalised text.
    #[error("added token {token:?} is not to be told from others in normalised text")]
    AmbiguousToken {
        /// The token.
        token: String,
    },
    /// A limit of tokens that leaves no place for text between the tokens at both ends.
    #[error("at most {tokens_max} tokens of a text leave no place for it")]
    NoPlace {
        /// The limit.
        tokens_max: usize,
    },
    /// What both kinds of file can have wrong.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}
