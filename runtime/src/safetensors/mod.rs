//! Reads safetensors checkpoints, in one file or several, over memory maps.
//!
//! A safetensors file is the length of a header, the header as a JSON table of tensors, and the
//! tensor bytes, little-endian and row by row. Files come from strangers: the header is bounded
//! before it is parsed, its rows are bounded before anything is made of them, and the `safetensors`
//! crate then holds every row against the bytes that are there, so that tensors neither overlap
//! nor leave gaps nor claim more than their share. Whatever is wrong is a [`SafetensorsError`].
//!
//! A [`Checkpoint`] is what a model folder has: `model.safetensors`, or an index and its files.
//!
//! # Source
//!
//! The format's description in the safetensors repository (`README.md`), and the index that the
//! transformers library writes beside checkpoints of several files.

mod checkpoint;
mod error;
mod header;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::TensorInfo;

use crate::file::FileBytes;
use crate::gguf::TensorType;
pub use checkpoint::{CHECKPOINT_FILE, Checkpoint, FILES_MAX, INDEX_BYTES_MAX, INDEX_FILE};
pub use error::{CheckpointError, SafetensorsError};
pub use safetensors::Dtype;
pub use writer::SafetensorsWriter;

/// Longest header read. A row takes some 120 bytes, so that this is room for more than
/// [`TENSORS_MAX`] of them.
pub const HEADER_BYTES_MAX: u64 = 16 << 20;

/// Most tensors read, as for GGUF files.
pub const TENSORS_MAX: u64 = crate::gguf::TENSORS_MAX;

/// Longest name of a tensor, as for GGUF files.
pub const NAME_BYTES_MAX: u64 = crate::gguf::NAME_BYTES_MAX;

/// Most dimensions of a tensor. Weights have two, convolutions up to five.
pub const DIMENSIONS_MAX: usize = 8;

/// Bytes of the header's length.
const LENGTH_BYTES: u64 = 8;

/// An open checkpoint file: its table of tensors, and their bytes.
#[derive(Debug)]
pub struct Safetensors {
    bytes: FileBytes,
    tensors: BTreeMap<String, TensorEntry>,
}

/// One row of the table, checked to lie inside the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Extent of each dimension, slowest first: a matrix is `[rows, columns]`.
    pub shape: Vec<u64>,
    /// Type of the elements.
    pub dtype: Dtype,
    elements: usize,
    start: usize,
    end: usize,
}

impl TensorEntry {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.elements
    }
}

impl Safetensors {
    /// Maps a file and reads its table. Tensor bytes are touched only when asked for.
    ///
    /// The file must not be written to or truncated while it is open; the model cache replaces
    /// files by renaming, never in place.
    ///
    /// # Errors
    ///
    /// [`SafetensorsError`] when the file cannot be read, or says something that is not so.
    pub fn open(path: &Path) -> Result<Self, SafetensorsError> {
        Self::parse(FileBytes::map(path).map_err(SafetensorsError::Io)?)
    }

    /// Reads a file that is already in memory.
    ///
    /// # Errors
    ///
    /// As [`Safetensors::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SafetensorsError> {
        Self::parse(FileBytes::Owned(bytes))
    }

    /// The table of tensors, by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorEntry> {
        &self.tensors
    }

    /// The elements of tensor `name`, in the order of the file.
    ///
    /// # Errors
    ///
    /// [`SafetensorsError::NoSuchTensor`] when the file has none of that name,
    /// [`SafetensorsError::UnsupportedDtype`] when its elements are not F32, F16 or BF16.
    pub fn dequantise(&self, name: &str) -> Result<Vec<f32>, SafetensorsError> {
        let entry = self.tensors.get(name).ok_or_else(|| SafetensorsError::NoSuchTensor { name: name.to_owned() })?;
        let unsupported = || SafetensorsError::UnsupportedDtype { name: name.to_owned(), dtype: entry.dtype };
        let kind = plain_type(entry.dtype).ok_or_else(unsupported)?;
        Ok(kind.elements(&self.bytes.as_slice()[entry.start..entry.end]).values())
    }

    fn parse(bytes: FileBytes) -> Result<Self, SafetensorsError> {
        let whole = bytes.as_slice();
        header::check(header_of(whole)?)?;
        let (header_bytes, table) = SafeTensors::read_metadata(whole).map_err(SafetensorsError::Layout)?;
        let data_start = LENGTH_BYTES as usize + header_bytes;
        let tensors = table.tensors().into_iter().map(|(name, info)| (name, entry(info, data_start))).collect();
        Ok(Self { bytes, tensors })
    }
}

/// The header's bytes.
fn header_of(file: &[u8]) -> Result<&[u8], SafetensorsError> {
    let truncated = |what, needed, left: usize| SafetensorsError::Truncated { what, needed, left: left as u64 };
    let (length, rest) = file.split_first_chunk().ok_or_else(|| truncated("the header's length", LENGTH_BYTES, file.len()))?;
    let claimed = u64::from_le_bytes(*length);
    if claimed > HEADER_BYTES_MAX {
        return Err(SafetensorsError::AboveLimit { what: "bytes of the header", claimed, limit: HEADER_BYTES_MAX });
    }
    rest.get(..claimed as usize).ok_or_else(|| truncated("the header", claimed, rest.len()))
}

/// A row whose offsets and extents the crate has held against the file.
fn entry(info: &TensorInfo, data_start: usize) -> TensorEntry {
    TensorEntry {
        shape: info.shape.iter().map(|extent| *extent as u64).collect(),
        dtype: info.dtype,
        elements: info.shape.iter().product(),
        start: data_start + info.data_offsets.0,
        end: data_start + info.data_offsets.1,
    }
}

/// The GGUF type of the same layout, for those types that are dequantised.
fn plain_type(dtype: Dtype) -> Option<TensorType> {
    match dtype {
        Dtype::F32 => Some(TensorType::F32),
        Dtype::F16 => Some(TensorType::F16),
        Dtype::BF16 => Some(TensorType::Bf16),
        _ => None,
    }
}
