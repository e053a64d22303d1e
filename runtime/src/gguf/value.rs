//! Metadata values.

use super::cursor::Cursor;
use super::{GgufError, STRING_BYTES_MAX};

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Unsigned integers of all widths.
    Uint(u64),
    /// Signed integers of all widths.
    Int(i64),
    /// Floating-point numbers of both widths.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A string.
    String(String),
    /// An array of one kind.
    Array(Array),
}

/// A metadata array.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Unsigned integers of all widths.
    Uint(Vec<u64>),
    /// Signed integers of all widths.
    Int(Vec<i64>),
    /// Floating-point numbers of both widths.
    Float(Vec<f64>),
    /// Booleans.
    Bool(Vec<bool>),
    /// Strings.
    String(Vec<String>),
}

/// The kind codes of the format.
pub(super) mod code {
    pub(crate) const U8: u32 = 0;
    pub(crate) const I8: u32 = 1;
    pub(crate) const U16: u32 = 2;
    pub(crate) const I16: u32 = 3;
    pub(crate) const U32: u32 = 4;
    pub(crate) const I32: u32 = 5;
    pub(crate) const F32: u32 = 6;
    pub(crate) const BOOL: u32 = 7;
    pub(crate) const STRING: u32 = 8;
    pub(crate) const ARRAY: u32 = 9;
    pub(crate) const U64: u32 = 10;
    pub(crate) const I64: u32 = 11;
    pub(crate) const F64: u32 = 12;
}

impl Value {
    /// The unsigned integer, also from a signed kind that holds one.
    pub fn as_uint(&self) -> Option<u64> {
        match self {
            Self::Uint(value) => Some(*value),
            Self::Int(value) => u64::try_from(*value).ok(),
            Self::Float(_) | Self::Bool(_) | Self::String(_) | Self::Array(_) => None,
        }
    }

    /// The number, integer or floating.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Uint(value) => Some(*value as f64),
            Self::Int(value) => Some(*value as f64),
            Self::Bool(_) | Self::String(_) | Self::Array(_) => None,
        }
    }

    /// The boolean.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(value) = self { Some(value) } else { None }
    }

    /// The array of strings.
    pub fn as_strings(&self) -> Option<&[String]> {
        if let Self::Array(Array::String(values)) = self { Some(values) } else { None }
    }

    pub(super) fn kind_name(&self) -> &'static str {
        match self {
            Self::Uint(_) => "an unsigned integer",
            Self::Int(_) => "a signed integer",
            Self::Float(_) => "a floating-point number",
            Self::Bool(_) => "a bool",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
        }
    }

    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, GgufError> {
        let kind = cursor.u32("metadata kind")?;
        if kind == code::ARRAY {
            return Ok(Self::Array(Array::read(cursor)?));
        }
        Self::read_scalar(cursor, kind)
    }

    fn read_scalar(cursor: &mut Cursor<'_>, kind: u32) -> Result<Self, GgufError> {
        const WHAT: &str = "metadata value";
        Ok(match kind {
            code::U8 => Self::Uint(u8::from_le_bytes(cursor.array(WHAT)?).into()),
            code::U16 => Self::Uint(u16::from_le_bytes(cursor.array(WHAT)?).into()),
            code::U32 => Self::Uint(u32::from_le_bytes(cursor.array(WHAT)?).into()),
            code::U64 => Self::Uint(u64::from_le_bytes(cursor.array(WHAT)?)),
            code::I8 => Self::Int(i8::from_le_bytes(cursor.array(WHAT)?).into()),
            code::I16 => Self::Int(i16::from_le_bytes(cursor.array(WHAT)?).into()),
            code::I32 => Self::Int(i32::from_le_bytes(cursor.array(WHAT)?).into()),
            code::I64 => Self::Int(i64::from_le_bytes(cursor.array(WHAT)?)),
            code::F32 => Self::Float(f32::from_le_bytes(cursor.array(WHAT)?).into()),
            code::F64 => Self::Float(f64::from_le_bytes(cursor.array(WHAT)?)),
            code::BOOL => Self::Bool(read_bool(cursor)?),
            code::STRING => Self::String(cursor.string(WHAT, STRING_BYTES_MAX)?),
            code => return Err(GgufError::UnknownValueKind { code }),
        })
    }
}

impl Array {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Uint(values) => values.len(),
            Self::Int(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::String(values) => values.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, GgufError> {
        let kind = cursor.u32("array kind")?;
        let count = cursor.u64("array length")?;
        cursor.check_array(count, element_bytes_min(kind)?)?;
        let mut array = Self::empty(kind)?;
        for _ in 0..count {
            array.push(Value::read_scalar(cursor, kind)?);
        }
        Ok(array)
    }

    fn empty(kind: u32) -> Result<Self, GgufError> {
        Ok(match kind {
            code::U8 | code::U16 | code::U32 | code::U64 => Self::Uint(Vec::new()),
            code::I8 | code::I16 | code::I32 | code::I64 => Self::Int(Vec::new()),
            code::F32 | code::F64 => Self::Float(Vec::new()),
            code::BOOL => Self::Bool(Vec::new()),
            code::STRING => Self::String(Vec::new()),
            code::ARRAY => return Err(GgufError::NestedArray),
            code => return Err(GgufError::UnknownValueKind { code }),
        })
    }

    /// Appends an element of the array's own kind; `read` produces no other.
    fn push(&mut self, value: Value) {
        match (self, value) {
            (Self::Uint(values), Value::Uint(value)) => values.push(value),
            (Self::Int(values), Value::Int(value)) => values.push(value),
            (Self::Float(values), Value::Float(value)) => values.push(value),
            (Self::Bool(values), Value::Bool(value)) => values.push(value),
            (Self::String(values), Value::String(value)) => values.push(value),
            (_, value) => debug_assert!(false, "array of one kind got {}", value.kind_name()),
        }
    }
}

fn read_bool(cursor: &mut Cursor<'_>) -> Result<bool, GgufError> {
    let [value] = cursor.array("bool")?;
    match value {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(GgufError::BadBool { value }),
    }
}

/// The fewest bytes an element can take, which bounds the count by what is left of the file.
fn element_bytes_min(kind: u32) -> Result<u64, GgufError> {
    Ok(match kind {
        code::U8 | code::I8 | code::BOOL => 1,
        code::U16 | code::I16 => 2,
        code::U32 | code::I32 | code::F32 => 4,
        code::U64 | code::I64 | code::F64 | code::STRING => 8,
        code::ARRAY => return Err(GgufError::NestedArray),
        code => return Err(GgufError::UnknownValueKind { code }),
    })
}
