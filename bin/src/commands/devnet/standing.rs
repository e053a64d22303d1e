//! What is done with a devnet's chain while it stands still: a copy of it, and its log executed once more.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use cocoon_settlement::chain::embedded::{Blocks, Embedded, OpenError, Options, ReplayError, StoreError};
use cocoon_settlement::chain::{ChainError, Head};
use serde::Serialize;

use crate::chain::{CHAIN_FILE, ChainOpenError};
use crate::cli::DevnetCommand;
use crate::context::Context;
use crate::failure::{Exit, Failure, NextStep};
use crate::output::time_text;

/// Why there is no snapshot, or why a log proves nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum StandingError {
    #[error("there is no chain at {path}")]
    Missing { path: PathBuf },
    #[error("{path} is in use by a process that runs the chain")]
    InUse { path: PathBuf },
    #[error("cannot open the chain in {path}")]
    Open {
        path: PathBuf,
        #[source]
        source: Box<OpenError>,
    },
    #[error("there is a chain at {path} already")]
    Exists { path: PathBuf },
    #[error("cannot write the snapshot {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: ChainError,
    },
    #[error("the log of {path} does not make the chain that it says")]
    Replay {
        path: PathBuf,
        #[source]
        source: Box<ReplayError>,
    },
}

impl NextStep for StandingError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Missing { .. } => "swarm devnet, which makes one; or name it: --data DIR, or the file itself".into(),
            Self::InUse { .. } => "stop swarm devnet first (Ctrl-C); nothing is lost, and it goes on when it is started again".into(),
            Self::Open { .. } => "a file that swarm devnet or swarm devnet snapshot wrote".into(),
            Self::Exists { .. } => "another file or directory; nothing is overwritten".into(),
            Self::Write { .. } => "check permissions and free space, or choose another file".into(),
            Self::Replay { source, .. } => match **source {
                ReplayError::Differs { .. } => "do not build on it: it was changed, or made by another version of this program".into(),
                _ => "swarm doctor, which checks permissions and free space".into(),
            },
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Missing { .. } | Self::Exists { .. } => Exit::Usage,
            Self::InUse { .. } | Self::Open { .. } | Self::Write { .. } | Self::Replay { .. } => Exit::Failed,
        }
    }
}

/// A snapshot that was written.
#[derive(Serialize)]
struct Snapshot {
    file: PathBuf,
    seqno: u32,
    root_hash: String,
    unix_s: u64,
}

/// A log that makes the chain that it says.
#[derive(Serialize)]
struct Replayed {
    file: PathBuf,
    blocks: u32,
    root_hash: String,
}

/// Runs `swarm devnet snapshot` and `swarm devnet replay`.
///
/// # Errors
/// [`StandingError`].
pub(super) fn run(context: &Context, data: &Path, command: &DevnetCommand) -> Result<(), Failure> {
    let here = || data.join(CHAIN_FILE);
    match command {
        DevnetCommand::Snapshot { file } => {
            let head = snapshot(&here(), file)?;
            let said = Snapshot { file: file.clone(), seqno: head.seqno, root_hash: hex::encode(head.root_hash), unix_s: head.unix_s };
            context.out().result(&said, |said| {
                let (file, at) = (said.file.display(), time_text(said.unix_s));
                format!(
                    "{file}\n  the chain as of block {}, {at}\n  a chain that goes on from it: swarm devnet --from {file} --data DIR",
                    said.seqno
                )
            });
        }
        DevnetCommand::Replay { file } => {
            let file = file.clone().unwrap_or_else(here);
            let (blocks, head) = replay(&file)?;
            context.out().result(&Replayed { file, blocks, root_hash: hex::encode(head.root_hash) }, |said| {
                format!(
                    "{}: {} blocks come out of their messages as they are written, up to {}",
                    said.file.display(),
                    said.blocks,
                    said.root_hash
                )
            });
        }
    }
    Ok(())
}

/// Opens a chain that is there. Opening one that is not would begin a new one.
fn open(path: &Path) -> Result<Embedded, StandingError> {
    if !path.is_file() {
        return Err(StandingError::Missing { path: path.to_owned() });
    }
    let options = Options { blocks: Blocks::Manual, ..Options::default() };
    Embedded::open(path, options).map_err(|source| match source {
        OpenError::Store(StoreError::InUse) => StandingError::InUse { path: path.to_owned() },
        source => StandingError::Open { path: path.to_owned(), source: Box::new(source) },
    })
}

fn snapshot(from: &Path, to: &Path) -> Result<Head, StandingError> {
    open(from)?.snapshot(to).map_err(|source| {
        let path = to.to_owned();
        if is_there_already(&source) { StandingError::Exists { path } } else { StandingError::Write { path, source } }
    })
}

fn is_there_already(error: &ChainError) -> bool {
    matches!(error, ChainError::Storage(cause) if matches!(cause.downcast_ref(), Some(StoreError::Exists)))
}

fn replay(path: &Path) -> Result<(u32, Head), StandingError> {
    let chain = open(path)?;
    let failed = |source| StandingError::Replay { path: path.to_owned(), source: Box::new(source) };
    let blocks = chain.replay().map_err(failed)?;
    let head = cocoon_settlement::chain::Chain::head(&chain).map_err(|error| failed(error.into()))?;
    Ok((blocks, head))
}

/// Begins the chain in a directory as a copy of a snapshot.
///
/// # Errors
/// [`StandingError`]; a chain that is there is kept.
pub(super) fn begin_from(snapshot_file: &Path, data: &Path) -> Result<Head, Failure> {
    let directory = |source| ChainOpenError::Directory { dir: data.to_owned(), source };
    std::fs::create_dir_all(data).map_err(directory)?;
    Ok(snapshot(snapshot_file, &data.join(CHAIN_FILE))?)
}

#[cfg(test)]
mod tests {
    use cocoon_market::Amount;
    use cocoon_settlement::chain::{Address, Chain, Faucet};

    use super::*;

    /// A directory with a chain of a few blocks.
    fn devnet(dir: &Path) -> Head {
        std::fs::create_dir_all(dir).unwrap();
        let options = Options { blocks: Blocks::Instant, ..Options::default() };
        let chain = Embedded::open(&dir.join(CHAIN_FILE), options).unwrap();
        for _ in 0..3 {
            chain.fund(&Address::basechain([7; 32]), Amount::from_nano(5)).unwrap();
        }
        chain.head().unwrap()
    }

    #[test]
    fn a_snapshot_is_the_chain_and_makes_another_that_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let (first, file, second) = (dir.path().join("first"), dir.path().join("snapshot"), dir.path().join("second/chain"));
        let head = devnet(&first);
        assert_eq!(snapshot(&first.join(CHAIN_FILE), &file).unwrap(), head);
        assert_eq!(replay(&file).unwrap(), (3, head));
        assert_eq!(begin_from(&file, &second).unwrap(), head);
        assert_eq!(replay(&second.join(CHAIN_FILE)).unwrap(), (3, head));
        let chain = open(&second.join(CHAIN_FILE)).unwrap();
        assert_eq!(chain.make_block().unwrap().seqno, head.seqno + 1);
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (first, file) = (dir.path().join("first"), dir.path().join("snapshot"));
        devnet(&first);
        std::fs::write(&file, b"mine").unwrap();
        let error = snapshot(&first.join(CHAIN_FILE), &file).unwrap_err();
        assert!(matches!(error, StandingError::Exists { .. }) && error.exit() == Exit::Usage, "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), b"mine");
        let other = dir.path().join("other");
        snapshot(&first.join(CHAIN_FILE), &other).unwrap();
        assert!(begin_from(&other, &first).unwrap_err().headline().contains("already"));
    }

    #[test]
    fn a_chain_that_is_not_there_is_not_begun() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nowhere").join(CHAIN_FILE);
        for error in [replay(&path).unwrap_err(), snapshot(&path, &dir.path().join("s")).unwrap_err()] {
            assert!(matches!(error, StandingError::Missing { .. }), "{error}");
        }
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    }

    #[test]
    fn a_chain_that_runs_and_a_file_that_is_none_say_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        devnet(dir.path());
        let path = dir.path().join(CHAIN_FILE);
        let running = open(&path).unwrap();
        let error = replay(&path).unwrap_err();
        assert!(matches!(error, StandingError::InUse { .. }) && error.next_step().contains("Ctrl-C"), "{error}");
        drop(running);
        let garbage = dir.path().join("garbage");
        std::fs::write(&garbage, b"no chain").unwrap();
        assert!(matches!(replay(&garbage).unwrap_err(), StandingError::Open { .. }));
    }
}
