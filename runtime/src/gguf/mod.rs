//! Reads GGUF model files, versions 2 and 3, over a memory map.
//!
//! A GGUF file is a header, a table of metadata, a table of tensors, and the tensor bytes, all
//! little-endian. Files come from strangers, so nothing a file claims is believed before it is
//! checked against the bytes that are there: every count and length is bounded by what is left of
//! the file and by the named limits below, no allocation is made from a claimed size alone, and
//! whatever is wrong is a [`GgufError`].
//!
//! # Source
//!
//! The GGUF specification in the ggml repository (`docs/gguf.md`), and ggml's block layouts for
//! the quantised types.

mod cursor;
mod error;
mod quant;
mod value;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use crate::engine::weights::Elements;
use crate::file::FileBytes;
use cursor::Cursor;
pub use error::GgufError;
pub use quant::TensorType;
pub use value::{Array, Value};
pub use writer::GgufWriter;

/// The first four bytes of every file.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// Most metadata entries read. Real files have some tens; ten thousand leaves room for any converter.
pub const METADATA_ENTRIES_MAX: u64 = 10_000;

/// Most tensors read. The largest published Llama (126 layers, 9 tensors each) has about 1,200.
pub const TENSORS_MAX: u64 = 65_536;

/// Most elements of all metadata arrays together. The largest vocabularies have 256 Ki tokens with
/// a score and a kind each, and twice as many merges: 1.3 million.
pub const ARRAY_ELEMENTS_MAX: u64 = 1 << 22;

/// Longest metadata key or tensor name, as the specification has it for keys.
pub const NAME_BYTES_MAX: u64 = 65_535;

/// Longest metadata string. Chat templates are the longest in real files, at some tens of KiB.
pub const STRING_BYTES_MAX: u64 = 1 << 20;

/// Largest alignment of tensor data. Writers use 32; a page is the most that could have a use.
pub const ALIGNMENT_MAX: u32 = 65_536;

/// Most dimensions of a tensor, as ggml has it.
pub const DIMENSIONS_MAX: u32 = 4;

/// Alignment of tensor data where the file does not say.
const ALIGNMENT_DEFAULT: u32 = 32;

/// The fewest bytes a metadata entry takes: an empty key, its kind, one byte of value.
const METADATA_ENTRY_BYTES_MIN: u64 = 8 + 4 + 1;

/// The fewest bytes a tensor's table row takes: an empty name, no dimension, kind, offset.
const TENSOR_ROW_BYTES_MIN: u64 = 8 + 4 + 4 + 8;

/// An open model file: its metadata, its table of tensors, and their bytes.
#[derive(Debug)]
pub struct Gguf {
    bytes: FileBytes,
    version: u32,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorEntry>,
}

/// One row of the tensor table, checked to lie inside the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Extent of each dimension, fastest first: a matrix is `[columns, rows]`.
    pub dimensions: Vec<u64>,
    /// How the elements are stored.
    pub kind: TensorType,
    elements: usize,
    start: usize,
    end: usize,
}

impl TensorEntry {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Bytes in the file.
    pub fn bytes(&self) -> usize {
        self.end - self.start
    }
}

impl Gguf {
    /// Maps a file and reads its tables. Tensor bytes are touched only when asked for.
    ///
    /// The file must not be written to or truncated while it is open; the model cache replaces
    /// files by renaming, never in place.
    ///
    /// # Errors
    ///
    /// [`GgufError`] when the file cannot be read, or says something that is not so.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        Self::parse(FileBytes::map(path).map_err(GgufError::Io)?)
    }

    /// Reads a file that is already in memory.
    ///
    /// # Errors
    ///
    /// As [`Gguf::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GgufError> {
        Self::parse(FileBytes::Owned(bytes))
    }

    /// BLAKE3 of the whole file.
    pub(crate) fn blake3(&self) -> [u8; 32] {
        *blake3::hash(self.bytes.as_slice()).as_bytes()
    }

    /// The format's version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Every metadata entry, by key.
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// The table of tensors, by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorEntry> {
        &self.tensors
    }

    /// The metadata value under `key`, if there.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// The unsigned integer under `key`; any integer kind that holds one is taken.
    ///
    /// # Errors
    ///
    /// [`GgufError::WrongKind`] when the entry is something else.
    pub fn uint(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.typed(key, "unsigned integer", Value::as_uint)
    }

    /// The number under `key`, integer or floating.
    ///
    /// # Errors
    ///
    /// [`GgufError::WrongKind`] when the entry is something else.
    pub fn float(&self, key: &str) -> Result<Option<f64>, GgufError> {
        self.typed(key, "number", Value::as_float)
    }

    /// The boolean under `key`.
    ///
    /// # Errors
    ///
    /// [`GgufError::WrongKind`] when the entry is something else.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "bool", Value::as_bool)
    }

    /// The string under `key`.
    ///
    /// # Errors
    ///
    /// [`GgufError::WrongKind`] when the entry is something else.
    pub fn string(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, "string", Value::as_str)
    }

    /// The array of strings under `key`.
    ///
    /// # Errors
    ///
    /// [`GgufError::WrongKind`] when the entry is something else.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>, GgufError> {
        self.typed(key, "array of strings", Value::as_strings)
    }

    /// The elements of tensor `name`, dequantised, in the order of the file.
    ///
    /// # Errors
    ///
    /// [`GgufError::NoSuchTensor`] when the file has none of that name.
    pub fn dequantise(&self, name: &str) -> Result<Vec<f32>, GgufError> {
        Ok(self.elements(name)?.values())
    }

    /// The elements of tensor `name` in the form that they have.
    pub(crate) fn elements(&self, name: &str) -> Result<Elements, GgufError> {
        let entry = self.tensors.get(name).ok_or_else(|| GgufError::NoSuchTensor { name: name.to_owned() })?;
        Ok(entry.kind.elements(&self.bytes.as_slice()[entry.start..entry.end]))
    }

    fn typed<'a, T>(&'a self, key: &str, expected: &'static str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>, GgufError> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => Err(GgufError::WrongKind { key: key.to_owned(), expected, found: value.kind_name() }),
        }
    }

    fn parse(bytes: FileBytes) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(bytes.as_slice());
        let magic = cursor.take("magic", 4)?;
        if magic != MAGIC {
            return Err(GgufError::NotGguf);
        }
        let version = cursor.u32("version")?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::UnsupportedVersion { version });
        }
        let tensor_count = cursor.u64("tensor count")?;
        let entry_count = cursor.u64("metadata count")?;
        cursor.check_count("metadata entries", entry_count, METADATA_ENTRIES_MAX, METADATA_ENTRY_BYTES_MIN)?;
        let metadata = read_metadata(&mut cursor, entry_count)?;
        cursor.check_count("tensors", tensor_count, TENSORS_MAX, TENSOR_ROW_BYTES_MIN)?;
        let tensors = read_tensors(&mut cursor, tensor_count, alignment(&metadata)?)?;
        Ok(Self { bytes, version, metadata, tensors })
    }
}

fn read_metadata(cursor: &mut Cursor<'_>, count: u64) -> Result<BTreeMap<String, Value>, GgufError> {
    let mut metadata = BTreeMap::new();
    for _ in 0..count {
        let key = cursor.string("metadata key", NAME_BYTES_MAX)?;
        let value = Value::read(cursor)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(GgufError::DuplicateKey { key });
        }
    }
    Ok(metadata)
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u32, GgufError> {
    let Some(value) = metadata.get("general.alignment") else { return Ok(ALIGNMENT_DEFAULT) };
    value
        .as_uint()
        .and_then(|alignment| u32::try_from(alignment).ok())
        .filter(|alignment| alignment.is_power_of_two() && *alignment <= ALIGNMENT_MAX)
        .ok_or(GgufError::BadAlignment)
}

/// A row as the file has it, before its place is checked.
struct Row {
    name: String,
    dimensions: Vec<u64>,
    kind: TensorType,
    offset: u64,
}

fn read_tensors(cursor: &mut Cursor<'_>, count: u64, alignment: u32) -> Result<BTreeMap<String, TensorEntry>, GgufError> {
    let mut rows = Vec::new();
    for _ in 0..count {
        rows.push(read_row(cursor)?);
    }
    let data_start = cursor.position().next_multiple_of(u64::from(alignment));
    let mut tensors = BTreeMap::new();
    let mut bytes_total = 0u64;
    for row in rows {
        let entry = place(&row, data_start, alignment, cursor.len())?;
        bytes_total += entry.bytes() as u64;
        if bytes_total > cursor.len() {
            // Otherwise a small file could make a loader allocate the same bytes again and again.
            return Err(GgufError::OverlappingTensors);
        }
        if tensors.insert(row.name.clone(), entry).is_some() {
            return Err(GgufError::DuplicateTensor { name: row.name });
        }
    }
    Ok(tensors)
}

fn read_row(cursor: &mut Cursor<'_>) -> Result<Row, GgufError> {
    let name = cursor.string("tensor name", NAME_BYTES_MAX)?;
    let rank = cursor.u32("tensor rank")?;
    if rank > DIMENSIONS_MAX {
        return Err(GgufError::TooManyDimensions { name, rank });
    }
    let mut dimensions = Vec::with_capacity(DIMENSIONS_MAX as usize);
    for _ in 0..rank {
        dimensions.push(cursor.u64("tensor dimension")?);
    }
    let code = cursor.u32("tensor type")?;
    let Some(kind) = TensorType::from_code(code) else {
        return Err(GgufError::UnsupportedTensorType { name, code });
    };
    let offset = cursor.u64("tensor offset")?;
    Ok(Row { name, dimensions, kind, offset })
}

/// Checks that a tensor's bytes are whole blocks, aligned, and inside the file.
fn place(row: &Row, data_start: u64, alignment: u32, file_bytes: u64) -> Result<TensorEntry, GgufError> {
    let outside = || GgufError::TensorOutsideFile { name: row.name.clone(), file_bytes };
    let elements = row.dimensions.iter().try_fold(1u64, |product, extent| product.checked_mul(*extent)).ok_or_else(outside)?;
    let row_elements = row.dimensions.first().copied().unwrap_or(1);
    if !row_elements.is_multiple_of(row.kind.block_elements()) {
        return Err(GgufError::PartialBlock { name: row.name.clone(), row_elements });
    }
    if !row.offset.is_multiple_of(u64::from(alignment)) {
        return Err(GgufError::MisalignedTensor { name: row.name.clone(), offset: row.offset });
    }
    let bytes = (elements / row.kind.block_elements()).checked_mul(row.kind.block_bytes()).ok_or_else(outside)?;
    let start = data_start.checked_add(row.offset).ok_or_else(outside)?;
    let end = start.checked_add(bytes).filter(|end| *end <= file_bytes).ok_or_else(outside)?;
    let index = |at: u64| usize::try_from(at).map_err(|_| outside());
    Ok(TensorEntry {
        dimensions: row.dimensions.clone(),
        kind: row.kind,
        elements: index(elements)?,
        start: index(start)?,
        end: index(end)?,
    })
}
