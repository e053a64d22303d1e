//! Where a ledger keeps its entries: ordered tables, and commits that are durable and whole or not there at all.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

/// The tables of a ledger. Keys are big-endian, so that their order is the order of what they name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Format version and owner.
    Meta,
    /// Offer id -> the signed offer that an agreement began with.
    Offers,
    /// Agreement id -> both signed halves.
    Agreements,
    /// When an agreement ends, its id -> nothing.
    Expiries,
    /// Channel -> role and terms.
    Channels,
    /// Channel -> how far it has come. The only table whose entries change with each job.
    Heads,
    /// Channel, sequence -> receipt.
    Receipts,
    /// Channel, sequence -> voucher.
    Vouchers,
    /// Job id -> where its receipts are.
    Jobs,
    /// Agreement id -> what all its jobs cost so far.
    Totals,
    /// Salt -> nothing.
    Salts,
    /// Order number -> what was asked of the chain, and what came of it.
    Orders,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Meta,
        Self::Offers,
        Self::Agreements,
        Self::Expiries,
        Self::Channels,
        Self::Heads,
        Self::Receipts,
        Self::Vouchers,
        Self::Jobs,
        Self::Totals,
        Self::Salts,
        Self::Orders,
    ];

    /// Its name in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Offers => "offers",
            Self::Agreements => "agreements",
            Self::Expiries => "expiries",
            Self::Channels => "channels",
            Self::Heads => "heads",
            Self::Receipts => "receipts",
            Self::Vouchers => "vouchers",
            Self::Jobs => "jobs",
            Self::Totals => "totals",
            Self::Salts => "salts",
            Self::Orders => "orders",
        }
    }
}

/// One entry of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub table: Table,
    /// Under which key.
    pub key: Vec<u8>,
    /// What.
    pub value: Vec<u8>,
    /// Whether it may replace what is there.
    pub mode: WriteMode,
}

/// Whether a write may replace an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// The key must be new. What is signed and numbered is written so: a store refuses to forget it even if the code
    /// above were wrong.
    Insert,
    /// Replaces what is there.
    Put,
}

/// Why a store did not do what it was asked. A failed commit left no trace or all of it; which, shows when the store is read again.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space left. Nothing that was acknowledged is lost; free some space and go on.
    #[error("the disk is full")]
    Full(#[source] Arc<io::Error>),
    /// The disk or file system failed.
    #[error("the ledger file cannot be read or written")]
    Io(#[source] Arc<io::Error>),
    /// Another process has it open. Two would sign the same sequence twice.
    #[error("the ledger is in use by another process")]
    InUse,
    /// What is stored is not what was written.
    #[error("the ledger is damaged: {0}")]
    Damaged(Damage),
    /// An entry that is written once was to be written again.
    #[error("an entry of {} exists already", .0.name())]
    Exists(Table),
    /// The store's own failure.
    #[error("the ledger's store failed")]
    Engine(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// A thread that was committing for this one broke off.
    #[error("the commit was broken off")]
    BrokenOff,
}

/// What is wrong with a stored ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// Written by another version.
    #[error("its format is version {found}, this program reads version {readable}")]
    Format {
        /// What is stored.
        found: u32,
        /// What we read.
        readable: u32,
    },
    /// Belongs to another operator key.
    #[error("it belongs to {0}")]
    Owner(cocoon_market::NodeId),
    /// An entry cannot be read.
    #[error("an entry of {} cannot be read", .0.name())]
    Entry(Table),
    /// Two entries contradict each other.
    #[error("entries of {} contradict each other", .0.name())]
    Contradiction(Table),
    /// The store's file is not whole.
    #[error("the file is not whole: {0}")]
    File(String),
}

/// Keeps entries. Implementations are shared between threads; a ledger calls [`Store::commit`] from one at a time.
pub trait Store: Send + Sync {
    /// One entry.
    ///
    /// # Errors
    /// [`StoreError`].
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` entries from `from` on whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scan(&self, table: Table, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Writes all entries durably, or none.
    ///
    /// # Errors
    /// [`StoreError`].
    fn commit(&self, writes: &[Write]) -> Result<(), StoreError>;
}

/// Key and value.
pub type Entry = (Vec<u8>, Vec<u8>);

type Entries = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// A store that forgets when dropped: for simulations and tests.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<Entries>>,
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(tables.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Bound::Included((table, prefix.max(from).to_vec()));
        let entries = tables.range((start, Bound::Unbounded)).take_while(|((at, key), _)| *at == table && key.starts_with(prefix));
        Ok(entries.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let exists = |write: &&Write| write.mode == WriteMode::Insert && tables.contains_key(&(write.table, write.key.clone()));
        if let Some(write) = writes.iter().find(exists) {
            return Err(StoreError::Exists(write.table));
        }
        tables.extend(writes.iter().map(|write| ((write.table, write.key.clone()), write.value.clone())));
        Ok(())
    }
}
