//! The list of models that a home knows beside the catalogue.

use std::io;
use std::path::PathBuf;

use cocoon_market::ModelId;
use cocoon_market::offer::NAME_BYTES_MAX;
use cocoon_runtime::catalogue::FolderFile;
use serde::{Deserialize, Serialize};

use super::ModelError;
use crate::durable::{self, Existing};

/// A model that its owner added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnModel {
    /// Its name.
    pub name: String,
    /// Blake3 of its file, or of the list of its files.
    pub id: ModelId,
    /// Size of its file, or of all its files.
    pub size_bytes: u64,
    /// Its files when it is a folder, in the order of their paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<OwnFile>,
}

/// A file of a folder that its owner added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnFile {
    /// Its path in the folder.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its blake3.
    pub blake3: ModelId,
}

impl From<&FolderFile> for OwnFile {
    fn from(file: &FolderFile) -> Self {
        Self { path: file.path.clone().into_owned(), size_bytes: file.size_bytes, blake3: ModelId(file.blake3) }
    }
}

impl From<OwnFile> for FolderFile {
    fn from(file: OwnFile) -> Self {
        Self { path: file.path.into(), size_bytes: file.size_bytes, blake3: file.blake3.0 }
    }
}

/// The file of the list.
#[derive(Clone, Debug)]
pub(super) struct Index {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexFile {
    models: Vec<OwnModel>,
}

impl Index {
    pub(super) const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn read(&self) -> Result<Vec<OwnModel>, ModelError> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(ModelError::io("read", &self.path, source)),
        };
        let file: IndexFile = serde_json::from_slice(&text).map_err(|source| ModelError::Index { path: self.path.clone(), source })?;
        Ok(file.models)
    }

    pub(super) fn write(&self, models: &[OwnModel]) -> Result<(), ModelError> {
        let io = |source| ModelError::io("write", &self.path, source);
        if let Some(dir) = self.path.parent() {
            std::fs::create_dir_all(dir).map_err(io)?;
        }
        let file = IndexFile { models: models.to_vec() };
        let text = serde_json::to_vec_pretty(&file).map_err(|source| ModelError::Index { path: self.path.clone(), source })?;
        durable::write(&self.path, &text, Existing::Replace).map_err(io)
    }
}

/// Checks that a name can stand in offers, file names and command lines.
pub(super) fn check_name(name: &str) -> Result<(), ModelError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    let starts_plain = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    if starts_plain && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain) {
        Ok(())
    } else {
        Err(ModelError::BadName { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["a", "my-model.v2_q4", &"a".repeat(96)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", ".x", "A", "a b", "a/b", "ä", &"a".repeat(97)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_round_trips_and_a_damaged_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::at(dir.path().join("home/models.json"));
        assert_eq!(index.read().unwrap(), []);
        let model = OwnModel { name: "mine".into(), id: ModelId([3; 32]), size_bytes: 7, files: Vec::new() };
        index.write(std::slice::from_ref(&model)).unwrap();
        assert_eq!(index.read().unwrap(), [model]);
        std::fs::write(&index.path, "{\"models\": [], \"more\": 1}").unwrap();
        assert!(matches!(index.read(), Err(ModelError::Index { .. })));
    }
}
