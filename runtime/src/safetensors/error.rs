/// Why a safetensors file was refused.
#[derive(Debug, thiserror::Error)]
pub enum SafetensorsError {
    /// The file could not be opened or mapped.
    #[error("cannot read the checkpoint file")]
    Io(#[source] std::io::Error),
    /// The file ends before its header does.
    #[error("file is truncated: {what} needs {needed} bytes, {left} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes it needs.
        needed: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// A count or length above this reader's limit.
    #[error("file claims {claimed} for {what}, above the limit of {limit}")]
    AboveLimit {
        /// What is counted.
        what: &'static str,
        /// What the file claims.
        claimed: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// The header is not JSON, or not a table of tensors.
    #[error("header is not a table of tensors")]
    Header(#[source] serde_json::Error),
    /// Two tensors of one name.
    #[error("tensor {name:?} occurs twice")]
    DuplicateTensor {
        /// The name.
        name: String,
    },
    /// More dimensions than any model has.
    #[error("tensor {name:?} has more than {limit} dimensions")]
    TooManyDimensions {
        /// The tensor.
        name: String,
        /// The most that is accepted.
        limit: usize,
    },
    /// Elements of a type that the format does not have.
    #[error("tensor {name:?} has elements of unknown type {dtype:?}")]
    UnknownDtype {
        /// The tensor.
        name: String,
        /// The type as the file names it.
        dtype: String,
    },
    /// The tensors do not fill the rest of the file from its first byte to its last, one behind
    /// the other, each with as many bytes as its shape and type take.
    #[error("tensors do not fill the file one behind the other, each as long as its shape says")]
    Layout(#[source] safetensors::SafeTensorError),
    /// A tensor that the file does not have was asked for.
    #[error("no tensor {name:?}")]
    NoSuchTensor {
        /// The name.
        name: String,
    },
    /// Elements that are not floating-point numbers of 16 or 32 bits were asked for.
    #[error("tensor {name:?} has elements of type {dtype}, supported are F32, F16 and BF16")]
    UnsupportedDtype {
        /// The tensor.
        name: String,
        /// The type of its elements.
        dtype: safetensors::Dtype,
    },
}

/// Why a folder's checkpoint was refused.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The folder has neither a checkpoint in one file nor an index of several.
    #[error("folder has neither {} nor {}", super::CHECKPOINT_FILE, super::INDEX_FILE)]
    Missing,
    /// The index could not be read.
    #[error("cannot read {}", super::INDEX_FILE)]
    IndexFile(#[source] crate::file::FileError),
    /// The index is not JSON, or not a table of names.
    #[error("{} does not map names of tensors to files", super::INDEX_FILE)]
    Index(#[source] serde_json::Error),
    /// A tensor is named twice, or too many are named.
    #[error("{} refused", super::INDEX_FILE)]
    IndexTable(#[source] SafetensorsError),
    /// The index names a file by more than a plain name inside the folder.
    #[error("index names the file {file:?}, which is not a plain name ending in .safetensors")]
    BadFileName {
        /// The name.
        file: String,
    },
    /// The index names more files than the limit.
    #[error("index names more than {limit} files")]
    TooManyFiles {
        /// The most that is accepted.
        limit: usize,
    },
    /// One of the files was refused.
    #[error("checkpoint file {file:?} refused")]
    File {
        /// The file's name.
        file: String,
        /// Why.
        #[source]
        source: SafetensorsError,
    },
    /// A file does not have a tensor that the index places there.
    #[error("index places tensor {name:?} into {file:?}, which does not have it")]
    NotInFile {
        /// The tensor.
        name: String,
        /// The file.
        file: String,
    },
}
