use crate::file::FileError;
use crate::safetensors::CheckpointError;
use crate::tokenizer::TokenizerFileError;

/// Why a model folder was refused.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file that every folder of its kind has is missing.
    #[error("folder has no {file}")]
    MissingFile {
        /// The file, as seen from the folder.
        file: &'static str,
    },
    /// A file could not be read.
    #[error("cannot read {file}")]
    File {
        /// The file, as seen from the folder.
        file: String,
        /// Why.
        #[source]
        source: FileError,
    },
    /// A file is not JSON, or not of the shape it should have.
    #[error("{file} is not the JSON it should be")]
    Json {
        /// The file, as seen from the folder.
        file: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A file does not have an entry that is needed.
    #[error("{file} has no {key:?}")]
    Missing {
        /// The file, as seen from the folder.
        file: String,
        /// The entry's key.
        key: &'static str,
    },
    /// An entry is not of the kind it should be.
    #[error("{file} has {key:?} that is not {expected}")]
    WrongKind {
        /// The file, as seen from the folder.
        file: String,
        /// The entry's key.
        key: &'static str,
        /// What is needed.
        expected: &'static str,
    },
    /// A number is above its limit, or zero where that makes no sense.
    #[error("{file} has {key:?} that is zero or above the limit of {limit}")]
    OutOfRange {
        /// The file, as seen from the folder.
        file: String,
        /// The entry's key.
        key: &'static str,
        /// The most that is accepted.
        limit: usize,
    },
    /// An entry contradicts another.
    #[error("{file} has {key:?} that contradicts the rest: {rule}")]
    Contradiction {
        /// The file, as seen from the folder.
        file: String,
        /// The entry's key.
        key: &'static str,
        /// What does not hold.
        rule: &'static str,
    },
    /// Something that this runtime would compute wrongly.
    #[error("{file} has {key:?} of {found}, supported is {supported}")]
    Unsupported {
        /// The file, as seen from the folder.
        file: String,
        /// The entry's key.
        key: &'static str,
        /// What the file has.
        found: String,
        /// What would be accepted.
        supported: &'static str,
    },
    /// The folder is that of a model of the other kind.
    #[error("folder has no {wanted}, its model is of another kind")]
    OtherKind {
        /// What was asked for.
        wanted: &'static str,
    },
    /// The checkpoint was refused.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer was refused.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerFileError),
}
