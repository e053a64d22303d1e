//! The writes of a chain's persistence, each under its own name.
//!
//! Errors say at which of them the disk failed, and a test dies before and after each: a write that is not made through [`Writes`] has no
//! name, and nobody has seen what is left when it is cut off.

use std::fmt;
use std::io::ErrorKind;

use super::StoreError;

/// A write to the chain's file, or to that of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum WritePoint {
    /// The chain's file itself, when it is opened.
    File,
    /// The tables, and the entry that says what the file is.
    Format,
    /// The end of the transaction with the format.
    FormatCommit,
    /// The chain's configuration.
    Config,
    /// The end of the transaction with the first block.
    GenesisCommit,
    /// A block's record.
    Record,
    /// An account as a block leaves it.
    Account,
    /// A transaction of a block.
    Transaction,
    /// The list of a block's transactions.
    Contents,
    /// A message that was under way leaves the queue.
    Delivered,
    /// A message enters the queue.
    Queued,
    /// The end of the transaction with a block.
    BlockCommit,
    /// The file of a snapshot, under a name of its own.
    SnapshotFile,
    /// The entries of one of its tables.
    SnapshotTable,
    /// The end of the transaction with a snapshot.
    SnapshotCommit,
    /// A snapshot that is whole takes the name that was asked for.
    SnapshotName,
}

impl WritePoint {
    /// All of them, in the order in which a chain meets them first.
    pub const ALL: [Self; 16] = [
        Self::File,
        Self::Format,
        Self::FormatCommit,
        Self::Config,
        Self::Record,
        Self::Account,
        Self::Contents,
        Self::GenesisCommit,
        Self::Transaction,
        Self::Queued,
        Self::BlockCommit,
        Self::Delivered,
        Self::SnapshotFile,
        Self::SnapshotTable,
        Self::SnapshotCommit,
        Self::SnapshotName,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "the chain's file",
            Self::Format => "the format",
            Self::FormatCommit => "the end of the format",
            Self::Config => "the configuration",
            Self::GenesisCommit => "the end of the first block",
            Self::Record => "a block's record",
            Self::Account => "an account",
            Self::Transaction => "a transaction",
            Self::Contents => "the list of a block's transactions",
            Self::Delivered => "a message delivered",
            Self::Queued => "a message under way",
            Self::BlockCommit => "the end of a block",
            Self::SnapshotFile => "a snapshot's file",
            Self::SnapshotTable => "a table of a snapshot",
            Self::SnapshotCommit => "the end of a snapshot",
            Self::SnapshotName => "a snapshot's name",
        }
    }
}

impl fmt::Display for WritePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Makes writes under their names.
#[derive(Debug, Clone, Default)]
pub(super) struct Writes {
    #[cfg(test)]
    pub(super) fate: super::tests::kill::Fate,
}

impl Writes {
    pub(super) fn make<T>(&self, point: WritePoint, write: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
        #[cfg(test)]
        self.fate.meet(point, super::tests::kill::Side::Before)?;
        let done = write().map_err(|source| failed(point, source))?;
        #[cfg(test)]
        self.fate.meet(point, super::tests::kill::Side::After)?;
        Ok(done)
    }
}

fn failed(point: WritePoint, source: redb::Error) -> StoreError {
    match source {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse,
        redb::Error::Io(source) if is_full(source.kind()) => StoreError::Full { point, source },
        source => StoreError::Write { point, source },
    }
}

const fn is_full(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}
