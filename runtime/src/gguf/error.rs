/// Why a model file was refused.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file could not be opened or mapped.
    #[error("cannot read the model file")]
    Io(#[source] std::io::Error),
    /// The file does not begin as a GGUF file does.
    #[error("not a GGUF file")]
    NotGguf,
    /// A version this reader does not know.
    #[error("GGUF version {version} is not supported, only 2 and 3 are")]
    UnsupportedVersion {
        /// The version the file names.
        version: u32,
    },
    /// The file ends before what it announced.
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
    /// A string is not UTF-8.
    #[error("{what} is not UTF-8")]
    NotUtf8 {
        /// Which string.
        what: &'static str,
    },
    /// A metadata value of a kind the format does not have.
    #[error("unknown metadata kind {code}")]
    UnknownValueKind {
        /// The kind's code in the file.
        code: u32,
    },
    /// A metadata array of arrays; no known file has one.
    #[error("nested metadata array")]
    NestedArray,
    /// A boolean that is neither 0 nor 1.
    #[error("boolean of value {value}")]
    BadBool {
        /// The byte found.
        value: u8,
    },
    /// Two metadata entries under one key.
    #[error("metadata key {key:?} occurs twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// Two tensors of one name.
    #[error("tensor {name:?} occurs twice")]
    DuplicateTensor {
        /// The name.
        name: String,
    },
    /// The alignment is not a power of two, or above the limit.
    #[error("alignment is not a power of two within the limit")]
    BadAlignment,
    /// More dimensions than the format allows.
    #[error("tensor {name:?} has {rank} dimensions, the most is 4")]
    TooManyDimensions {
        /// The tensor.
        name: String,
        /// Dimensions it claims.
        rank: u32,
    },
    /// A way of storing elements that this reader cannot dequantise.
    #[error("tensor {name:?} has type {code}, supported are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K, Q6_K")]
    UnsupportedTensorType {
        /// The tensor.
        name: String,
        /// The type's code in the file.
        code: u32,
    },
    /// A row of a quantised tensor is not a whole number of blocks.
    #[error("tensor {name:?} has rows of {row_elements} elements, not a whole number of blocks")]
    PartialBlock {
        /// The tensor.
        name: String,
        /// Elements in a row.
        row_elements: u64,
    },
    /// A tensor does not start at the file's alignment.
    #[error("tensor {name:?} starts at {offset}, off the file's alignment")]
    MisalignedTensor {
        /// The tensor.
        name: String,
        /// Offset inside the tensor data.
        offset: u64,
    },
    /// A tensor's bytes are not all inside the file.
    #[error("tensor {name:?} does not fit into the file of {file_bytes} bytes")]
    TensorOutsideFile {
        /// The tensor.
        name: String,
        /// Size of the file.
        file_bytes: u64,
    },
    /// The tensors together are larger than the file.
    #[error("tensors overlap: together they are larger than the file")]
    OverlappingTensors,
    /// A metadata entry of another kind than is needed.
    #[error("metadata {key:?} is {found}, expected {expected}")]
    WrongKind {
        /// The key.
        key: String,
        /// What is needed.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A tensor that the file does not have was asked for.
    #[error("no tensor {name:?}")]
    NoSuchTensor {
        /// The name.
        name: String,
    },
}
