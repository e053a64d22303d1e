//! Models of several files: their parts on disk, and folders of one's own.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use cocoon_runtime::catalogue::FolderFile;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::fetch::copy_hashing;
use super::{FetchEvent, Listener, ModelError};

/// Files taken of a folder, at most: checkpoints in many pieces have some dozen.
const FILES_MAX: usize = 256;

/// What the runtime reads of a folder, by the endings of names.
const ENDINGS: [&str; 4] = [".json", ".safetensors", ".jinja", "README.md"];

/// The file that makes a folder a model.
const CONFIG_FILE: &str = "config.json";

/// Bytes of a file, or of all files in a folder.
pub(super) fn bytes(path: &Path) -> u64 {
    let Ok(about) = std::fs::symlink_metadata(path) else { return 0 };
    if !about.is_dir() {
        return about.len();
    }
    let inside = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    inside.map(|entry| bytes(&entry.path())).sum()
}

/// Removes a file or a folder; gives the bytes it had.
pub(super) fn remove(path: &Path) -> io::Result<u64> {
    let about = std::fs::symlink_metadata(path)?;
    let freed = bytes(path);
    if about.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.map(|()| freed)
}

/// Makes the folder that a file of a model lies in; gives the file's path.
pub(super) fn place(folder: &Path, file: &FolderFile) -> io::Result<PathBuf> {
    let path = folder.join(&*file.path);
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    Ok(path)
}

/// Copies what the runtime reads of a folder into a temporary one in `dir`, hashing on the way. Gives the files in the order of
/// their paths.
pub(super) fn copy_hashed(
    from: &Path,
    dir: &Path,
    name: &str,
    cancel: &CancellationToken,
    listener: Listener<'_>,
) -> Result<(TempDir, Vec<FolderFile>), ModelError> {
    let mut paths = Vec::new();
    find(from, "", &mut paths).map_err(|source| ModelError::io("read", from, source))?;
    paths.sort();
    if !paths.iter().any(|path| path == CONFIG_FILE) || paths.len() > FILES_MAX {
        return Err(ModelError::NoModelFolder { path: from.to_owned() });
    }
    let total = paths.iter().map(|path| bytes(&from.join(path))).sum();
    let to = TempDir::with_prefix_in("folder-", dir).map_err(|source| ModelError::io("write", dir, source))?;
    let mut files = Vec::new();
    let mut done = 0;
    for path in paths {
        let mut hear = |more: u64| {
            done += more;
            listener(FetchEvent::Bytes { name, done, total: done.max(total) });
        };
        files.push(copy_file(from, to.path(), path, cancel, &mut hear)?);
    }
    Ok((to, files))
}

/// The files that the runtime reads, in a folder and those inside it.
fn find(folder: &Path, inside: &str, paths: &mut Vec<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // A name that is no text is none of a model's files.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let about = entry.path().metadata()?;
        let is_read = about.is_file() && ENDINGS.iter().any(|ending| name.ends_with(ending));
        if is_read && paths.len() <= FILES_MAX {
            paths.push(format!("{inside}{name}"));
        } else if about.is_dir() && inside.is_empty() && !name.starts_with('.') {
            find(&entry.path(), &format!("{name}/"), paths)?;
        }
    }
    Ok(())
}

fn copy_file(
    from: &Path,
    to: &Path,
    path: String,
    cancel: &CancellationToken,
    hear: &mut dyn FnMut(u64),
) -> Result<FolderFile, ModelError> {
    let file = FolderFile { path: path.into(), size_bytes: 0, blake3: [0; 32] };
    let source = from.join(&*file.path);
    let write_error = |error| ModelError::io("write", to, error);
    let reader = File::open(&source).map_err(|error| ModelError::io("read", &source, error))?;
    let mut writer = place(to, &file).and_then(File::create).map_err(write_error)?;
    let (hash, size_bytes) = copy_hashing(reader, &mut writer, cancel, hear).map_err(|error| error.at(&source, to))?;
    writer.sync_all().map_err(write_error)?;
    Ok(FolderFile { size_bytes, blake3: *hash.as_bytes(), ..file })
}
