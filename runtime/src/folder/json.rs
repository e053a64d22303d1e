//! JSON tables by strangers, read by key within bounds.

use serde_json::{Map, Value};

use super::FolderError;

/// Longest piece of a file's text that an error repeats.
const SHOWN_CHARS_MAX: usize = 64;

/// Parses a file that is one JSON table. A null is as good as no entry, except to [`Table::has`].
pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<Map<String, Value>, FolderError> {
    serde_json::from_slice(bytes).map_err(|source| FolderError::Json { file: file.to_owned(), source })
}

/// A table and the file it is from.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    file: &'a str,
    entries: &'a Map<String, Value>,
}

impl<'a> Table<'a> {
    pub(super) fn new(file: &'a str, entries: &'a Map<String, Value>) -> Self {
        Self { file, entries }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.entries.get(key).filter(|value| !value.is_null())
    }

    /// Whether there is an entry, be it null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn str(&self, key: &'static str) -> Result<Option<&'a str>, FolderError> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(super) fn bool(&self, key: &'static str) -> Result<Option<bool>, FolderError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(super) fn list(&self, key: &'static str) -> Result<Option<&'a Vec<Value>>, FolderError> {
        self.typed(key, "a list", Value::as_array)
    }

    pub(super) fn table(&self, key: &'static str) -> Result<Option<Table<'a>>, FolderError> {
        let entries = self.typed(key, "a table", Value::as_object)?;
        Ok(entries.map(|entries| Self { file: self.file, entries }))
    }

    /// A whole number from zero to `limit`.
    pub(super) fn count(&self, key: &'static str, limit: usize) -> Result<Option<usize>, FolderError> {
        let Some(value) = self.typed(key, "a whole number", Value::as_u64)? else { return Ok(None) };
        let inside = usize::try_from(value).ok().filter(|value| *value <= limit);
        inside.map(Some).ok_or_else(|| self.out_of_range(key, limit))
    }

    /// A whole number from one to `limit`.
    pub(super) fn uint(&self, key: &'static str, limit: usize) -> Result<Option<usize>, FolderError> {
        match self.count(key, limit)? {
            Some(0) => Err(self.out_of_range(key, limit)),
            count => Ok(count),
        }
    }

    pub(super) fn required_uint(&self, key: &'static str, limit: usize) -> Result<usize, FolderError> {
        self.uint(key, limit)?.ok_or_else(|| self.missing(key))
    }

    /// A finite number above zero.
    pub(super) fn positive(&self, key: &'static str) -> Result<Option<f64>, FolderError> {
        self.typed(key, "a finite number above zero", |value| value.as_f64().filter(|value| value.is_finite() && *value > 0.0))
    }

    pub(super) fn required_positive(&self, key: &'static str) -> Result<f64, FolderError> {
        self.positive(key)?.ok_or_else(|| self.missing(key))
    }

    pub(super) fn missing(&self, key: &'static str) -> FolderError {
        FolderError::Missing { file: self.file.to_owned(), key }
    }

    fn out_of_range(&self, key: &'static str, limit: usize) -> FolderError {
        FolderError::OutOfRange { file: self.file.to_owned(), key, limit }
    }

    pub(super) fn wrong_kind(&self, key: &'static str, expected: &'static str) -> FolderError {
        FolderError::WrongKind { file: self.file.to_owned(), key, expected }
    }

    pub(super) fn contradiction(&self, key: &'static str, rule: &'static str) -> FolderError {
        FolderError::Contradiction { file: self.file.to_owned(), key, rule }
    }

    /// Refuses the value under `key`, which is repeated in part.
    pub(super) fn unsupported(&self, key: &'static str, supported: &'static str) -> FolderError {
        let found = self.get(key).map_or_else(|| "nothing".to_owned(), shown);
        FolderError::Unsupported { file: self.file.to_owned(), key, found, supported }
    }

    fn typed<T>(&self, key: &'static str, expected: &'static str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>, FolderError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.wrong_kind(key, expected))
    }
}

/// The start of a value as text.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        Value::String(text) => format!("{:?}", text.chars().take(SHOWN_CHARS_MAX).collect::<String>()),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
