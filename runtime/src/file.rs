//! Files of models: mapped whole, or read whole up to a limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use memmap2::Mmap;

/// The bytes of a file, or bytes that stand for one.
#[derive(Debug)]
pub(crate) enum FileBytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl FileBytes {
    /// Maps a file, which must not be written to or truncated while the map lives.
    pub(crate) fn map(path: &Path) -> std::io::Result<Self> {
        let file = open_regular(path)?;
        if file.metadata()?.len() == 0 {
            // Nothing cannot be mapped.
            return Ok(Self::Owned(Vec::new()));
        }
        // SAFETY: the map is private and read-only, and every read goes through bounds-checked
        // slices. Another process changing the file under us is excluded by the contract above.
        Ok(Self::Mapped(unsafe { Mmap::map(&file) }?))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Why a small file was not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be opened or read.
    #[error("file cannot be read")]
    Io(#[source] std::io::Error),
    /// It is longer than the limit of its kind.
    #[error("file is longer than the limit of {limit} bytes")]
    TooLarge {
        /// The most that is read.
        limit: u64,
    },
}

/// The bytes of a file of at most `limit` bytes; none where there is no such file.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::Io(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(FileError::Io)?;
    if bytes.len() as u64 > limit { Err(FileError::TooLarge { limit }) } else { Ok(Some(bytes)) }
}

/// Opens a regular file. A pipe in its place would block for ever, a device might never end.
fn open_regular(path: &Path) -> std::io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
    }
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("five");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap().unwrap(), b"12345");
        assert!(matches!(read(&path, 4), Err(FileError::TooLarge { limit: 4 })));
        assert!(read(&dir.path().join("none"), 5).unwrap().is_none());
    }

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read(dir.path(), 5), Err(FileError::Io(_))));
        assert!(FileBytes::map(dir.path()).is_err());
    }

    #[test]
    fn an_empty_file_maps_to_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty");
        std::fs::write(&path, "").unwrap();
        assert!(FileBytes::map(&path).unwrap().as_slice().is_empty());
    }
}
