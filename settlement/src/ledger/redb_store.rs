//! The durable store: one redb file.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition, TableError, WriteTransaction};

use super::store::{Damage, Entry, Store, StoreError, Table, Write, WriteMode};

/// Memory for cached pages. A ledger reads little: heads and unpaid receipts are kept by the ledger itself.
const CACHE_BYTES: usize = 16_777_216;

type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// A ledger file. Exclusive to one process; after a failure of the disk it opens the file anew by itself, so that a node whose
/// disk was full goes on when there is space again.
pub struct RedbStore {
    open: Opener,
    /// None after a failure, until the next call opens it again.
    database: RwLock<Option<Database>>,
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").finish_non_exhaustive()
    }
}

impl RedbStore {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it open; otherwise as for any access.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        if !path.try_exists().map_err(io_error)? {
            make(&path)?;
        }
        Self::with_opener(move || builder().open(&path))
    }

    /// A store over whatever `open` opens; it is called again after a failure.
    ///
    /// # Errors
    /// As for [`RedbStore::open`].
    pub fn with_opener(open: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static) -> Result<Self, StoreError> {
        let store = Self { open: Box::new(open), database: RwLock::new(None) };
        store.access(create_tables)?;
        Ok(store)
    }

    /// Runs `work` on the open database and lets go of the database when that fails: redb refuses all further work on one
    /// whose backend failed.
    fn access<T>(&self, work: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.ensure_open()?;
        // Between the two locks another thread may have failed and let go; the caller's next try opens it again.
        let result = self.database.read().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(Err(StoreError::BrokenOff), work);
        if let Err(error) = &result
            && !matches!(error, StoreError::Exists(_))
        {
            *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        result
    }

    fn ensure_open(&self) -> Result<(), StoreError> {
        if self.database.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some((self.open)().map_err(database_error)?);
        }
        Ok(())
    }
}

impl Store for RedbStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.access(|database| {
            let transaction = database.begin_read().map_err(error)?;
            let table = transaction.open_table(definition(table)).map_err(error)?;
            Ok(table.get(key).map_err(error)?.map(|value| value.value().to_vec()))
        })
    }

    fn scan(&self, table: Table, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.access(|database| {
            let transaction = database.begin_read().map_err(error)?;
            let table = transaction.open_table(definition(table)).map_err(error)?;
            let mut entries = Vec::new();
            for entry in table.range::<&[u8]>(prefix.max(from)..).map_err(error)?.take(limit) {
                let (key, value) = entry.map_err(error)?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                entries.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok(entries)
        })
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.access(|database| {
            let transaction = begin(database)?;
            for table in Table::ALL {
                let mut of_table = writes.iter().filter(|write| write.table == table).peekable();
                if of_table.peek().is_none() {
                    continue;
                }
                let mut open = transaction.open_table(definition(table)).map_err(error)?;
                for write in of_table {
                    let before = open.insert(write.key.as_slice(), write.value.as_slice()).map_err(error)?;
                    if before.is_some() && write.mode == WriteMode::Insert {
                        // Dropping the transaction takes everything back.
                        return Err(StoreError::Exists(table));
                    }
                }
            }
            transaction.commit().map_err(error)
        })
    }
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Makes an empty ledger aside and renames it, so that a death in between leaves no file that is half a ledger.
fn make(path: &Path) -> Result<(), StoreError> {
    let aside = path.with_extension("new");
    if aside.try_exists().map_err(io_error)? {
        std::fs::remove_file(&aside).map_err(io_error)?;
    }
    let database = builder().create(&aside).map_err(database_error)?;
    create_tables(&database)?;
    drop(database);
    std::fs::rename(&aside, path).map_err(io_error)?;
    let path = path.canonicalize().map_err(io_error)?;
    path.parent().map_or(Ok(()), sync_directory).map_err(io_error)
}

/// A rename is durable once its directory is. Windows has no such call and needs none.
fn sync_directory(directory: &Path) -> std::io::Result<()> {
    if cfg!(unix) { std::fs::File::open(directory)?.sync_all() } else { Ok(()) }
}

const fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

fn begin(database: &Database) -> Result<WriteTransaction, StoreError> {
    let mut transaction = database.begin_write().map_err(error)?;
    // Peers choose part of what is written, so the commit must not rest on a checksum that they could meet.
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

fn create_tables(database: &Database) -> Result<(), StoreError> {
    let read = database.begin_read().map_err(error)?;
    let missing = |table: &Table| matches!(read.open_table(definition(*table)), Err(TableError::TableDoesNotExist(_)));
    if !Table::ALL.iter().any(missing) {
        return Ok(());
    }
    drop(read);
    let transaction = begin(database)?;
    for table in Table::ALL {
        transaction.open_table(definition(table)).map_err(error)?;
    }
    transaction.commit().map_err(error)
}

fn database_error(error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse,
        DatabaseError::Storage(error) => storage_error(error),
        other => StoreError::Engine(Arc::new(other)),
    }
}

fn error(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(error) => io_error(error),
        redb::Error::Corrupted(what) => StoreError::Damaged(Damage::File(what)),
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse,
        other => StoreError::Engine(Arc::new(other)),
    }
}

fn storage_error(error: StorageError) -> StoreError {
    match error {
        StorageError::Io(error) => io_error(error),
        StorageError::Corrupted(what) => StoreError::Damaged(Damage::File(what)),
        other => StoreError::Engine(Arc::new(other)),
    }
}

fn io_error(error: std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => StoreError::Full(Arc::new(error)),
        _ => StoreError::Io(Arc::new(error)),
    }
}
