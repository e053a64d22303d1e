//! A folder's checkpoint: one file, or several and their index.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::header::admit;
use super::{CheckpointError, Safetensors, SafetensorsError, TensorEntry};
use crate::file;

/// The name of a checkpoint in one file.
pub const CHECKPOINT_FILE: &str = "model.safetensors";

/// The name of the index of a checkpoint in several files.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// Longest index read: some 100 bytes for each of [`super::TENSORS_MAX`] tensors.
pub const INDEX_BYTES_MAX: u64 = 16 << 20;

/// Most files of one checkpoint, each of which takes a descriptor and a map. The largest published
/// checkpoints have fewer than 200.
pub const FILES_MAX: usize = 512;

/// Longest name of a file, as file systems have it.
const FILE_NAME_BYTES_MAX: usize = 255;

/// An open checkpoint: the files of a folder, and which of them has which tensor.
#[derive(Debug)]
pub struct Checkpoint {
    files: Vec<Safetensors>,
    places: BTreeMap<String, usize>,
}

impl Checkpoint {
    /// Opens the checkpoint of a folder: `model.safetensors` where there is one, else the files
    /// that `model.safetensors.index.json` names. Tensors outside the index are left out.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] when there is none, the index names what is not there, or a file is refused.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let single = folder.join(CHECKPOINT_FILE);
        if single.exists() {
            return Ok(Self::of_file(open_file(folder, CHECKPOINT_FILE)?));
        }
        let index = file::read(&folder.join(INDEX_FILE), INDEX_BYTES_MAX).map_err(CheckpointError::IndexFile)?;
        Self::of_index(folder, &index.ok_or(CheckpointError::Missing)?)
    }

    /// A checkpoint in one file.
    pub fn of_file(file: Safetensors) -> Self {
        let places = file.tensors().keys().map(|name| (name.clone(), 0)).collect();
        Self { files: vec![file], places }
    }

    /// Every tensor, in the order of names.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorEntry)> {
        self.places.iter().filter_map(|(name, file)| Some((name.as_str(), self.files.get(*file)?.tensors().get(name)?)))
    }

    /// The table row of tensor `name`, if there.
    pub fn get(&self, name: &str) -> Option<&TensorEntry> {
        self.file_of(name)?.tensors().get(name)
    }

    /// The elements of tensor `name`, in the order of the file.
    ///
    /// # Errors
    ///
    /// As [`Safetensors::dequantise`].
    pub fn dequantise(&self, name: &str) -> Result<Vec<f32>, SafetensorsError> {
        let file = self.file_of(name).ok_or_else(|| SafetensorsError::NoSuchTensor { name: name.to_owned() })?;
        file.dequantise(name)
    }

    fn file_of(&self, name: &str) -> Option<&Safetensors> {
        self.files.get(*self.places.get(name)?)
    }

    fn of_index(folder: &Path, index: &[u8]) -> Result<Self, CheckpointError> {
        let placed = read_index(index)?;
        let names: BTreeSet<&str> = placed.iter().map(|(_, file)| file.as_str()).collect();
        if let Some(bad) = names.iter().find(|name| !is_plain(name)) {
            return Err(CheckpointError::BadFileName { file: (*bad).to_owned() });
        }
        if names.len() > FILES_MAX {
            return Err(CheckpointError::TooManyFiles { limit: FILES_MAX });
        }
        let numbers: BTreeMap<&str, usize> = names.iter().copied().zip(0..).collect();
        let files = names.iter().map(|name| open_file(folder, name)).collect::<Result<Vec<_>, _>>()?;
        let mut places = BTreeMap::new();
        for (name, file) in &placed {
            let number = numbers.get(file.as_str()).copied().filter(|number| has(&files, *number, name));
            let number = number.ok_or_else(|| CheckpointError::NotInFile { name: name.clone(), file: file.clone() })?;
            places.insert(name.clone(), number);
        }
        Ok(Self { files, places })
    }
}

fn has(files: &[Safetensors], number: usize, name: &str) -> bool {
    files.get(number).is_some_and(|file| file.tensors().contains_key(name))
}

fn open_file(folder: &Path, name: &str) -> Result<Safetensors, CheckpointError> {
    Safetensors::open(&folder.join(name)).map_err(|source| CheckpointError::File { file: name.to_owned(), source })
}

/// Whether a name is that of a file inside the folder on every system: no separator, no drive, no
/// parent, nothing hidden.
fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    name.len() <= FILE_NAME_BYTES_MAX && !name.starts_with('.') && name.ends_with(".safetensors") && name.bytes().all(allowed)
}

/// The index's pairs of tensor and file.
fn read_index(index: &[u8]) -> Result<Vec<(String, String)>, CheckpointError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: Pairs,
    }
    let Index { weight_map: Pairs(pairs) } = serde_json::from_slice(index).map_err(CheckpointError::Index)?;
    let mut names = BTreeSet::new();
    for (name, _) in &pairs {
        admit(&mut names, name.clone()).map_err(CheckpointError::IndexTable)?;
    }
    Ok(pairs)
}

/// A JSON table with every pair kept, so that names that occur twice are seen.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keep;
        impl<'de> Visitor<'de> for Keep {
            type Value = Pairs;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a table of tensors and files")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = table.next_entry()? {
                    if pairs.len() as u64 > super::TENSORS_MAX {
                        return Err(A::Error::custom("too many tensors"));
                    }
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Keep)
    }
}
