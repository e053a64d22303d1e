//! Writes GGUF files, for tests and tools.

use super::value::code;
use super::{ALIGNMENT_DEFAULT, Array, MAGIC, TensorType, Value};

/// Builds a version 3 file in memory. Equal calls give equal bytes.
#[derive(Debug, Default)]
pub struct GgufWriter {
    metadata: Vec<(String, Value)>,
    tensors: Vec<Tensor>,
}

#[derive(Debug)]
struct Tensor {
    name: String,
    dimensions: Vec<u64>,
    kind: TensorType,
    bytes: Vec<u8>,
}

impl GgufWriter {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a metadata entry. Integers take 32 bits where they fit, floats always do.
    #[must_use]
    pub fn metadata(mut self, key: &str, value: Value) -> Self {
        self.metadata.push((key.to_owned(), value));
        self
    }

    /// Appends a tensor whose bytes are already stored as `kind` has it; the fastest dimension first.
    #[must_use]
    pub fn tensor(mut self, name: &str, dimensions: &[u64], kind: TensorType, bytes: Vec<u8>) -> Self {
        self.tensors.push(Tensor { name: name.to_owned(), dimensions: dimensions.to_vec(), kind, bytes });
        self
    }

    /// The file.
    pub fn finish(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(3u32.to_le_bytes());
        put_len(&mut out, self.tensors.len());
        put_len(&mut out, self.metadata.len());
        for (key, value) in &self.metadata {
            put_string(&mut out, key);
            put_value(&mut out, value);
        }
        let mut offset = 0usize;
        for tensor in &self.tensors {
            put_row(&mut out, tensor, offset);
            offset = align(offset + tensor.bytes.len());
        }
        for tensor in &self.tensors {
            out.resize(align(out.len()), 0);
            out.extend(&tensor.bytes);
        }
        out
    }
}

fn align(position: usize) -> usize {
    position.next_multiple_of(ALIGNMENT_DEFAULT as usize)
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend((len as u64).to_le_bytes());
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_len(out, text.len());
    out.extend(text.as_bytes());
}

fn put_row(out: &mut Vec<u8>, tensor: &Tensor, offset: usize) {
    put_string(out, &tensor.name);
    out.extend((tensor.dimensions.len() as u32).to_le_bytes());
    for extent in &tensor.dimensions {
        out.extend(extent.to_le_bytes());
    }
    out.extend(tensor.kind.code().to_le_bytes());
    put_len(out, offset);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Array(array) => put_array(out, array),
        Value::Uint(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::String(_) => {
            out.extend(scalar_kind(value).to_le_bytes());
            put_scalar(out, value);
        }
    }
}

fn scalar_kind(value: &Value) -> u32 {
    match value {
        Value::Uint(value) if u32::try_from(*value).is_ok() => code::U32,
        Value::Uint(_) => code::U64,
        Value::Int(value) if i32::try_from(*value).is_ok() => code::I32,
        Value::Int(_) => code::I64,
        Value::Float(_) => code::F32,
        Value::Bool(_) => code::BOOL,
        Value::String(_) => code::STRING,
        Value::Array(_) => code::ARRAY,
    }
}

fn put_scalar(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Uint(value) => match u32::try_from(*value) {
            Ok(short) => out.extend(short.to_le_bytes()),
            Err(_) => out.extend(value.to_le_bytes()),
        },
        Value::Int(value) => match i32::try_from(*value) {
            Ok(short) => out.extend(short.to_le_bytes()),
            Err(_) => out.extend(value.to_le_bytes()),
        },
        Value::Float(value) => out.extend((*value as f32).to_le_bytes()),
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::String(text) => put_string(out, text),
        Value::Array(array) => put_array(out, array),
    }
}

/// Arrays have one width for all: 64 bits for integers that may need them, else the scalar's.
fn put_array(out: &mut Vec<u8>, array: &Array) {
    let kind = match array {
        Array::Uint(_) => code::U64,
        Array::Int(_) => code::I32,
        Array::Float(_) => code::F32,
        Array::Bool(_) => code::BOOL,
        Array::String(_) => code::STRING,
    };
    out.extend(code::ARRAY.to_le_bytes());
    out.extend(kind.to_le_bytes());
    put_len(out, array.len());
    match array {
        Array::Uint(values) => values.iter().for_each(|value| out.extend(value.to_le_bytes())),
        Array::Int(values) => values.iter().for_each(|value| out.extend((*value as i32).to_le_bytes())),
        Array::Float(values) => values.iter().for_each(|value| out.extend((*value as f32).to_le_bytes())),
        Array::Bool(values) => out.extend(values.iter().map(|value| u8::from(*value))),
        Array::String(values) => values.iter().for_each(|text| put_string(out, text)),
    }
}
