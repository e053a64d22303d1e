//! What `tokenizer_config.json` says beside the tokenizer itself.

use std::path::Path;

use serde_json::{Map, Value};

use super::json::{self, Table};
use super::{FolderError, TEXT_BYTES_MAX, read_file};
use crate::chat::TEMPLATE_BYTES_MAX;

const FILE: &str = "tokenizer_config.json";

/// A template of its own, which newer folders have instead of an entry.
const TEMPLATE_FILE: &str = "chat_template.jinja";

/// Special tokens and the chat template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextConfig {
    /// The chat template, if there is one; of several, the one named `default`.
    pub chat_template: Option<String>,
    /// The begin token as the vocabulary spells it (`bos_token`).
    pub begin: Option<String>,
    /// The end token as the vocabulary spells it (`eos_token`).
    pub end: Option<String>,
    /// Whether prompts begin with the begin token, where the file says (`add_bos_token`).
    pub adds_begin: Option<bool>,
    /// Most tokens of a text, where the file has a limit (`model_max_length`).
    pub tokens_max: Option<usize>,
}

impl TextConfig {
    /// Reads a `tokenizer_config.json`.
    ///
    /// # Errors
    ///
    /// [`FolderError`] when the file is no JSON table or an entry is of the wrong kind.
    pub fn from_json(bytes: &[u8]) -> Result<Self, FolderError> {
        let entries = json::parse(FILE, bytes)?;
        let table = Table::new(FILE, &entries);
        if table.bool("add_eos_token")? == Some(true) {
            return Err(table.unsupported("add_eos_token", "false"));
        }
        Ok(Self {
            chat_template: read_template(&table)?,
            begin: read_token(&table, "bos_token")?,
            end: read_token(&table, "eos_token")?,
            adds_begin: table.bool("add_bos_token")?,
            tokens_max: read_max(&table),
        })
    }

    /// Reads the files of a folder; without them nothing is said.
    pub(super) fn read(root: &Path) -> Result<Self, FolderError> {
        let config = read_file(root, FILE, TEXT_BYTES_MAX)?;
        let config = config.map_or_else(|| Ok(Self::default()), |bytes| Self::from_json(&bytes))?;
        let Some(template) = read_file(root, TEMPLATE_FILE, TEMPLATE_BYTES_MAX as u64)? else { return Ok(config) };
        Ok(Self { chat_template: Some(String::from_utf8_lossy(&template).into_owned()), ..config })
    }
}

fn read_template(table: &Table<'_>) -> Result<Option<String>, FolderError> {
    const KEY: &str = "chat_template";
    let bad = || table.wrong_kind(KEY, "a template or a list of named ones");
    match table.get(KEY) {
        None => Ok(None),
        Some(Value::String(template)) => Ok(Some(template.clone())),
        Some(Value::Array(named)) => {
            let default = named.iter().find(|entry| entry.get("name").is_some_and(|name| name == "default"));
            default.map(|entry| entry.get("template").and_then(Value::as_str).map(str::to_owned).ok_or_else(bad)).transpose()
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Object(_) | Value::Null) => Err(bad()),
    }
}

/// A token as its text, or as a table with the text under `content`.
fn read_token(table: &Table<'_>, key: &'static str) -> Result<Option<String>, FolderError> {
    let content = |entries: &Map<String, Value>| entries.get("content").and_then(Value::as_str).map(str::to_owned);
    let text = match table.get(key) {
        None => return Ok(None),
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Object(entries)) => content(entries),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Null) => None,
    };
    text.map(Some).ok_or_else(|| table.wrong_kind(key, "a token's text"))
}

/// Files without a limit have a number far above any context.
fn read_max(table: &Table<'_>) -> Option<usize> {
    let max = table.get("model_max_length")?.as_u64()?;
    usize::try_from(max).ok().filter(|max| (1..=super::CONTEXT_MAX).contains(max))
}
