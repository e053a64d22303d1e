//! The chain on disk: one write transaction per block, so that a crash leaves a whole number of blocks.
//!
//! Each write has a name, see [`WritePoint`].

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use cocoon_market::{Amount, Timestamp};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, Lazy};
use tycho_types::models::{Account, AccountState, CurrencyCollection, OptionalAccount, ShardAccount, StdAddr, StorageInfo};
use tycho_types::prelude::HashBytes;

use super::write::{WritePoint, Writes};
use crate::chain::{Address, Hash, Head};

/// An account as a key that sorts by workchain and hash.
pub(super) type AccountKey = [u8; 33];
/// An account and a logical time.
type TransactionKey = [u8; TRANSACTION_KEY_BYTES];
const TRANSACTION_KEY_BYTES: usize = 41;
/// A message under way: logical time, then hash. Messages are delivered in this order.
pub(super) type QueueKey = [u8; 40];

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const BLOCKS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("blocks");
const ACCOUNTS: TableDefinition<'_, &AccountKey, &[u8]> = TableDefinition::new("accounts");
const TRANSACTIONS: TableDefinition<'_, &TransactionKey, &[u8]> = TableDefinition::new("transactions");
/// Names of a block's transactions, in the order of their execution.
const CONTENTS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("contents");
const QUEUE: TableDefinition<'_, &QueueKey, &[u8]> = TableDefinition::new("queue");

const KEY_FORMAT: &str = "format";
const KEY_CONFIG: &str = "config";
const FORMAT: &[u8] = b"cocoon-chain-1";

/// What the store may hold in memory. The working set of a development chain is far below.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// What a snapshot's name ends in until it is whole.
const PART: &str = ".part";

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the file open.
    #[error("another process has this chain open")]
    InUse,
    /// No space left. No block that was made is lost, and the chain goes on once there is some.
    #[error("the disk is full, at {point}: free some space and go on")]
    Full {
        /// What was to be written.
        point: WritePoint,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The database refuses to write.
    #[error("the chain's database failed to write {point}")]
    Write {
        /// What was to be written.
        point: WritePoint,
        /// The database's words.
        #[source]
        source: redb::Error,
    },
    /// The database refuses to read.
    #[error("the chain's database failed")]
    Database(#[from] redb::Error),
    /// The file could not be opened again after a fault of the disk.
    #[error("the chain's file is closed after a fault of the disk")]
    Closed,
    /// A block that does not follow the newest. Writing it would put one block in another's place.
    #[error("the block to be written does not follow the newest")]
    NotNext,
    /// What was read is not what was written.
    #[error("the chain's database holds a damaged {0}")]
    Damaged(&'static str),
    /// There is a file where a new one was to be written.
    #[error("there is a file already")]
    Exists,
    /// The file is no chain, or one of another version of this program.
    #[error("this file is no chain that this program can continue")]
    Format,
}

macro_rules! from_redb {
    ($($error:ident),+) => { $(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                Self::Database(error.into())
            }
        }
    )+ };
}
from_redb!(TransactionError, TableError, StorageError, CommitError);

/// One block: what its hash covers, and the books after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlockRecord {
    pub(super) seqno: u32,
    pub(super) unix_ms: u64,
    pub(super) hash: Hash,
    pub(super) previous: Hash,
    pub(super) lt_start: u64,
    pub(super) lt_end: u64,
    pub(super) transactions: u32,
    pub(super) books: Books,
}

impl BlockRecord {
    pub(super) fn head(&self) -> Head {
        Head { seqno: self.seqno, unix_s: Timestamp(self.unix_ms).unix_s(), root_hash: self.hash }
    }
}

/// Where all the money of the chain is, apart from the accounts and the messages under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Books {
    pub(super) issued: Amount,
    pub(super) fees: Amount,
    pub(super) burned: Amount,
}

/// Everything one block changes.
#[derive(Debug)]
pub(super) struct BlockWrite<'a> {
    pub(super) record: BlockRecord,
    pub(super) accounts: &'a BTreeMap<AccountKey, ShardAccount>,
    pub(super) transactions: &'a [(AccountKey, u64, Cell)],
    pub(super) delivered: &'a [QueueKey],
    pub(super) queued: &'a BTreeMap<QueueKey, Cell>,
}

/// Where a chain is kept.
#[derive(Debug)]
pub(super) enum Place {
    /// In this file.
    File(PathBuf),
    /// Nowhere: gone when dropped.
    Memory,
    /// On a disk that fails as told.
    #[cfg(test)]
    Disk(super::tests::disk::Disk),
}

impl Place {
    fn open(&self) -> Result<Database, redb::Error> {
        let mut builder = Database::builder();
        Ok(match self {
            Self::File(path) => builder.set_cache_size(CACHE_BYTES).create(path)?,
            Self::Memory => builder.create_with_backend(redb::backends::InMemoryBackend::new())?,
            #[cfg(test)]
            Self::Disk(disk) => builder.create_with_backend(disk.clone())?,
        })
    }
}

#[derive(Debug)]
pub(super) struct Store {
    place: Place,
    writes: Writes,
    /// None only after a fault of the disk that kept the file from being opened again.
    db: Option<Database>,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        Self::at(Place::File(path.to_owned()), Writes::default())
    }

    pub(super) fn in_memory() -> Result<Self, StoreError> {
        Self::at(Place::Memory, Writes::default())
    }

    /// Opens the file, makes the tables, and refuses what is something else.
    pub(super) fn at(place: Place, writes: Writes) -> Result<Self, StoreError> {
        let db = writes.make(WritePoint::File, || place.open())?;
        let write = db.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let found = meta.get(KEY_FORMAT)?.map(|value| value.value().to_vec());
            match found {
                Some(format) if format == FORMAT => {}
                Some(_) => return Err(StoreError::Format),
                None => writes.make(WritePoint::Format, || Ok(meta.insert(KEY_FORMAT, FORMAT).map(drop)?))?,
            }
            write.open_table(BLOCKS)?;
            write.open_table(ACCOUNTS)?;
            write.open_table(TRANSACTIONS)?;
            write.open_table(CONTENTS)?;
            write.open_table(QUEUE)?;
        }
        writes.make(WritePoint::FormatCommit, || Ok(write.commit()?))?;
        Ok(Self { place, writes, db: Some(db) })
    }

    /// Closes the file and opens it anew, which the database asks for after a fault of the disk. What is in memory alone stays as it is.
    pub(super) fn reopen(&mut self) -> Result<(), StoreError> {
        if matches!(self.place, Place::Memory) {
            return Ok(());
        }
        self.db = None;
        self.db = Some(self.writes.make(WritePoint::File, || self.place.open())?);
        Ok(())
    }

    fn db(&self) -> Result<&Database, StoreError> {
        self.db.as_ref().ok_or(StoreError::Closed)
    }

    /// Writes everything to a new file. There is a whole copy or none: it has another name until it is whole.
    pub(super) fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        if path.exists() {
            return Err(StoreError::Exists);
        }
        let mut part = path.as_os_str().to_owned();
        part.push(PART);
        let part = PathBuf::from(part);
        let copied = self.copy_to_part(&part).and_then(|()| self.writes.make(WritePoint::SnapshotName, || rename(&part, path)));
        if copied.is_err() {
            // What is left of it would only take up space; the next snapshot of that name removes it, too.
            let _ = fs::remove_file(&part);
        }
        copied
    }

    fn copy_to_part(&self, part: &Path) -> Result<(), StoreError> {
        let to = self.writes.make(WritePoint::SnapshotFile, || {
            match fs::remove_file(part) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            Ok(Database::builder().create(part)?)
        })?;
        let (read, write) = (self.db()?.begin_read()?, to.begin_write()?);
        self.copy_table(&read, &write, META)?;
        self.copy_table(&read, &write, BLOCKS)?;
        self.copy_table(&read, &write, ACCOUNTS)?;
        self.copy_table(&read, &write, TRANSACTIONS)?;
        self.copy_table(&read, &write, CONTENTS)?;
        self.copy_table(&read, &write, QUEUE)?;
        self.writes.make(WritePoint::SnapshotCommit, || Ok(write.commit()?))
    }

    fn copy_table<K: redb::Key + 'static>(
        &self,
        from: &redb::ReadTransaction,
        to: &redb::WriteTransaction,
        table: TableDefinition<'static, K, &'static [u8]>,
    ) -> Result<(), StoreError> {
        self.writes.make(WritePoint::SnapshotTable, || {
            let mut copy = to.open_table(table)?;
            for entry in from.open_table(table)?.iter()? {
                let (key, value) = entry?;
                copy.insert(key.value(), value.value())?;
            }
            Ok(())
        })
    }

    /// The configuration written at genesis.
    pub(super) fn config(&self) -> Result<Option<Cell>, StoreError> {
        let meta = self.db()?.begin_read()?.open_table(META)?;
        meta.get(KEY_CONFIG)?.map(|value| Boc::decode(value.value()).map_err(|_| StoreError::Damaged("configuration"))).transpose()
    }

    /// Writes the first block and, with it, the configuration.
    pub(super) fn commit_genesis(&self, config: &Cell, block: &BlockWrite<'_>) -> Result<(), StoreError> {
        let write = self.db()?.begin_write()?;
        let config = Boc::encode(config);
        self.writes.make(WritePoint::Config, || Ok(write.open_table(META)?.insert(KEY_CONFIG, config.as_slice()).map(drop)?))?;
        self.write_block(&write, block)?;
        self.writes.make(WritePoint::GenesisCommit, || Ok(write.commit()?))
    }

    /// Writes the block after the newest.
    pub(super) fn commit(&self, block: &BlockWrite<'_>) -> Result<(), StoreError> {
        let write = self.db()?.begin_write()?;
        let newest = write.open_table(BLOCKS)?.last()?.map(|(_, value)| decode_record(value.value())).transpose()?;
        let follows = |newest: BlockRecord| newest.seqno.checked_add(1) == Some(block.record.seqno) && newest.hash == block.record.previous;
        if !newest.is_some_and(follows) {
            return Err(StoreError::NotNext);
        }
        self.write_block(&write, block)?;
        self.writes.make(WritePoint::BlockCommit, || Ok(write.commit()?))
    }

    fn write_block(&self, write: &redb::WriteTransaction, block: &BlockWrite<'_>) -> Result<(), StoreError> {
        let (seqno, writes) = (block.record.seqno, &self.writes);
        let record = serde_cbor::to_vec(&block.record).map_err(|_| StoreError::Damaged("block record"))?;
        writes.make(WritePoint::Record, || Ok(write.open_table(BLOCKS)?.insert(seqno, record.as_slice()).map(drop)?))?;
        let mut accounts = write.open_table(ACCOUNTS)?;
        for (key, account) in block.accounts {
            writes.make(WritePoint::Account, || Ok(accounts.insert(key, encode_account(account).as_slice()).map(drop)?))?;
        }
        let mut transactions = write.open_table(TRANSACTIONS)?;
        let mut contents = Vec::new();
        for (account, lt, transaction) in block.transactions {
            let name = transaction_key(account, *lt);
            let boc = Boc::encode(transaction);
            writes.make(WritePoint::Transaction, || Ok(transactions.insert(&name, boc.as_slice()).map(drop)?))?;
            contents.extend_from_slice(&name);
        }
        writes.make(WritePoint::Contents, || Ok(write.open_table(CONTENTS)?.insert(seqno, contents.as_slice()).map(drop)?))?;
        let mut queue = write.open_table(QUEUE)?;
        for key in block.delivered {
            writes.make(WritePoint::Delivered, || Ok(queue.remove(key).map(drop)?))?;
        }
        for (key, message) in block.queued {
            writes.make(WritePoint::Queued, || Ok(queue.insert(key, Boc::encode(message).as_slice()).map(drop)?))?;
        }
        Ok(())
    }

    pub(super) fn head(&self) -> Result<Option<BlockRecord>, StoreError> {
        let blocks = self.db()?.begin_read()?.open_table(BLOCKS)?;
        blocks.last()?.map(|(_, value)| decode_record(value.value())).transpose()
    }

    pub(super) fn block(&self, seqno: u32) -> Result<Option<BlockRecord>, StoreError> {
        let blocks = self.db()?.begin_read()?.open_table(BLOCKS)?;
        blocks.get(seqno)?.map(|value| decode_record(value.value())).transpose()
    }

    /// A block's transactions with their accounts, in the order of their execution.
    pub(super) fn block_transactions(&self, seqno: u32) -> Result<Option<Vec<(AccountKey, Cell)>>, StoreError> {
        const DAMAGED: StoreError = StoreError::Damaged("list of transactions");
        let read = self.db()?.begin_read()?;
        let Some(contents) = read.open_table(CONTENTS)?.get(seqno)?.map(|value| value.value().to_vec()) else { return Ok(None) };
        let (names, []) = contents.as_chunks::<TRANSACTION_KEY_BYTES>() else { return Err(DAMAGED) };
        let table = read.open_table(TRANSACTIONS)?;
        let find = |name: &TransactionKey| {
            let transaction = table.get(name)?.ok_or(DAMAGED)?;
            let cell = Boc::decode(transaction.value()).map_err(|_| StoreError::Damaged("transaction"))?;
            name.first_chunk().map(|account| (*account, cell)).ok_or(DAMAGED)
        };
        names.iter().map(find).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn account(&self, key: &AccountKey) -> Result<Option<ShardAccount>, StoreError> {
        let accounts = self.db()?.begin_read()?.open_table(ACCOUNTS)?;
        accounts.get(key)?.map(|value| decode_account(value.value())).transpose()
    }

    /// Calls `each` with every account, in the order of keys.
    pub(super) fn for_each_account(
        &self,
        mut each: impl FnMut(&AccountKey, &ShardAccount) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let accounts = self.db()?.begin_read()?.open_table(ACCOUNTS)?;
        for entry in accounts.iter()? {
            let (key, value) = entry?;
            each(key.value(), &decode_account(value.value())?)?;
        }
        Ok(())
    }

    /// Transactions of an account with logical times in `(after_lt, from_lt]`, newest first.
    pub(super) fn transactions(&self, account: &AccountKey, after_lt: u64, from_lt: u64, limit: usize) -> Result<Vec<Cell>, StoreError> {
        if after_lt >= from_lt {
            return Ok(Vec::new());
        }
        let table = self.db()?.begin_read()?.open_table(TRANSACTIONS)?;
        let (first, last) = (transaction_key(account, after_lt.saturating_add(1)), transaction_key(account, from_lt));
        let mut found = Vec::new();
        for entry in table.range::<&TransactionKey>(&first..=&last)?.rev().take(limit) {
            let (_, value) = entry?;
            found.push(Boc::decode(value.value()).map_err(|_| StoreError::Damaged("transaction"))?);
        }
        Ok(found)
    }

    /// All messages under way.
    pub(super) fn queue(&self) -> Result<BTreeMap<QueueKey, Cell>, StoreError> {
        let queue = self.db()?.begin_read()?.open_table(QUEUE)?;
        let mut messages = BTreeMap::new();
        for entry in queue.iter()? {
            let (key, value) = entry?;
            messages.insert(*key.value(), Boc::decode(value.value()).map_err(|_| StoreError::Damaged("message"))?);
        }
        Ok(messages)
    }
}

/// Gives a file its name, durably.
fn rename(part: &Path, path: &Path) -> Result<(), redb::Error> {
    fs::rename(part, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Elsewhere a directory cannot be opened to be synced.
    if cfg!(unix) {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// The account cell itself behind the name of its newest transaction: hash, logical time, bag.
fn encode_account(account: &ShardAccount) -> Vec<u8> {
    let mut bytes = account.last_trans_hash.0.to_vec();
    bytes.extend_from_slice(&account.last_trans_lt.to_be_bytes());
    bytes.extend_from_slice(&Boc::encode(account.account.inner()));
    bytes
}

fn decode_account(bytes: &[u8]) -> Result<ShardAccount, StoreError> {
    const DAMAGED: StoreError = StoreError::Damaged("account");
    let (hash, rest) = bytes.split_first_chunk::<32>().ok_or(DAMAGED)?;
    let (lt, boc) = rest.split_first_chunk::<8>().ok_or(DAMAGED)?;
    let account = Boc::decode(boc).map_err(|_| DAMAGED)?;
    Ok(ShardAccount {
        account: Lazy::from_raw(account).map_err(|_| DAMAGED)?,
        last_trans_hash: HashBytes(*hash),
        last_trans_lt: u64::from_be_bytes(*lt),
    })
}

fn decode_record(bytes: &[u8]) -> Result<BlockRecord, StoreError> {
    serde_cbor::from_slice(bytes).map_err(|_| StoreError::Damaged("block record"))
}

/// An account as it stands before its first transaction on this chain.
pub(super) fn new_account(
    address: &Address,
    balance: Amount,
    state: AccountState,
    last_paid: u32,
) -> Result<ShardAccount, tycho_types::error::Error> {
    let account = Account {
        address: StdAddr::new(address.workchain, HashBytes(address.hash)).into(),
        storage_stat: StorageInfo { last_paid, ..StorageInfo::default() },
        last_trans_lt: 0,
        balance: CurrencyCollection::new(balance.nano()),
        state,
    };
    Ok(ShardAccount { account: Lazy::new(&OptionalAccount(Some(account)))?, last_trans_hash: HashBytes::ZERO, last_trans_lt: 0 })
}

pub(super) fn account_key(address: &Address) -> AccountKey {
    let mut key = [0; 33];
    let (workchain, hash) = key.split_at_mut(1);
    workchain.copy_from_slice(&address.workchain.to_be_bytes());
    hash.copy_from_slice(&address.hash);
    key
}

fn transaction_key(account: &AccountKey, lt: u64) -> TransactionKey {
    let mut key = [0; TRANSACTION_KEY_BYTES];
    let (head, tail) = key.split_at_mut(33);
    head.copy_from_slice(account);
    tail.copy_from_slice(&lt.to_be_bytes());
    key
}

pub(super) fn queue_key(lt: u64, message: &Cell) -> QueueKey {
    let mut key = [0; 40];
    let (head, tail) = key.split_at_mut(8);
    head.copy_from_slice(&lt.to_be_bytes());
    tail.copy_from_slice(&message.repr_hash().0);
    key
}
