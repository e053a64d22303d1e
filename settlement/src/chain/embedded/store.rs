//! The chain on disk: one write transaction per block, so that a crash leaves a whole number of blocks.

use std::collections::BTreeMap;
use std::path::Path;

use cocoon_market::{Amount, Timestamp};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, Lazy};
use tycho_types::models::ShardAccount;
use tycho_types::prelude::HashBytes;

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

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the file open.
    #[error("another process has this chain open")]
    InUse,
    /// The database refuses.
    #[error("the chain's database failed")]
    Database(#[from] redb::Error),
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

impl From<redb::DatabaseError> for StoreError {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            other => Self::Database(other.into()),
        }
    }
}

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

#[derive(Debug)]
pub(super) struct Store {
    db: Database,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        Self::checked(Database::builder().set_cache_size(CACHE_BYTES).create(path)?)
    }

    pub(super) fn in_memory() -> Result<Self, StoreError> {
        Self::with_backend(redb::backends::InMemoryBackend::new())
    }

    pub(super) fn with_backend(backend: impl redb::StorageBackend) -> Result<Self, StoreError> {
        Self::checked(Database::builder().create_with_backend(backend)?)
    }

    /// Makes the tables, and refuses a file that is something else.
    fn checked(db: Database) -> Result<Self, StoreError> {
        let write = db.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let found = meta.get(KEY_FORMAT)?.map(|value| value.value().to_vec());
            match found {
                Some(format) if format == FORMAT => {}
                Some(_) => return Err(StoreError::Format),
                None => {
                    meta.insert(KEY_FORMAT, FORMAT)?;
                }
            }
            write.open_table(BLOCKS)?;
            write.open_table(ACCOUNTS)?;
            write.open_table(TRANSACTIONS)?;
            write.open_table(CONTENTS)?;
            write.open_table(QUEUE)?;
        }
        write.commit()?;
        Ok(Self { db })
    }

    /// Writes everything to a new file, in one transaction, so that there is a whole copy or none.
    pub(super) fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        if path.exists() {
            return Err(StoreError::Exists);
        }
        let to = Database::builder().create(path)?;
        let (read, write) = (self.db.begin_read()?, to.begin_write()?);
        copy_table(&read, &write, META)?;
        copy_table(&read, &write, BLOCKS)?;
        copy_table(&read, &write, ACCOUNTS)?;
        copy_table(&read, &write, TRANSACTIONS)?;
        copy_table(&read, &write, CONTENTS)?;
        copy_table(&read, &write, QUEUE)?;
        Ok(write.commit()?)
    }

    /// The configuration written at genesis.
    pub(super) fn config(&self) -> Result<Option<Cell>, StoreError> {
        let meta = self.db.begin_read()?.open_table(META)?;
        meta.get(KEY_CONFIG)?.map(|value| Boc::decode(value.value()).map_err(|_| StoreError::Damaged("configuration"))).transpose()
    }

    /// Writes the first block and, with it, the configuration.
    pub(super) fn commit_genesis(&self, config: &Cell, block: &BlockWrite<'_>) -> Result<(), StoreError> {
        let write = self.db.begin_write()?;
        write.open_table(META)?.insert(KEY_CONFIG, Boc::encode(config).as_slice())?;
        write_block(&write, block)?;
        Ok(write.commit()?)
    }

    pub(super) fn commit(&self, block: &BlockWrite<'_>) -> Result<(), StoreError> {
        let write = self.db.begin_write()?;
        write_block(&write, block)?;
        Ok(write.commit()?)
    }

    pub(super) fn head(&self) -> Result<Option<BlockRecord>, StoreError> {
        let blocks = self.db.begin_read()?.open_table(BLOCKS)?;
        blocks.last()?.map(|(_, value)| decode_record(value.value())).transpose()
    }

    pub(super) fn block(&self, seqno: u32) -> Result<Option<BlockRecord>, StoreError> {
        let blocks = self.db.begin_read()?.open_table(BLOCKS)?;
        blocks.get(seqno)?.map(|value| decode_record(value.value())).transpose()
    }

    /// A block's transactions with their accounts, in the order of their execution.
    pub(super) fn block_transactions(&self, seqno: u32) -> Result<Option<Vec<(AccountKey, Cell)>>, StoreError> {
        const DAMAGED: StoreError = StoreError::Damaged("list of transactions");
        let read = self.db.begin_read()?;
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
        let accounts = self.db.begin_read()?.open_table(ACCOUNTS)?;
        accounts.get(key)?.map(|value| decode_account(value.value())).transpose()
    }

    /// Calls `each` with every account, in the order of keys.
    pub(super) fn for_each_account(
        &self,
        mut each: impl FnMut(&AccountKey, &ShardAccount) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let accounts = self.db.begin_read()?.open_table(ACCOUNTS)?;
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
        let table = self.db.begin_read()?.open_table(TRANSACTIONS)?;
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
        let queue = self.db.begin_read()?.open_table(QUEUE)?;
        let mut messages = BTreeMap::new();
        for entry in queue.iter()? {
            let (key, value) = entry?;
            messages.insert(*key.value(), Boc::decode(value.value()).map_err(|_| StoreError::Damaged("message"))?);
        }
        Ok(messages)
    }
}

fn copy_table<K: redb::Key + 'static>(
    from: &redb::ReadTransaction,
    to: &redb::WriteTransaction,
    table: TableDefinition<'static, K, &'static [u8]>,
) -> Result<(), StoreError> {
    let mut copy = to.open_table(table)?;
    for entry in from.open_table(table)?.iter()? {
        let (key, value) = entry?;
        copy.insert(key.value(), value.value())?;
    }
    Ok(())
}

fn write_block(write: &redb::WriteTransaction, block: &BlockWrite<'_>) -> Result<(), StoreError> {
    let record = serde_cbor::to_vec(&block.record).map_err(|_| StoreError::Damaged("block record"))?;
    write.open_table(BLOCKS)?.insert(block.record.seqno, record.as_slice())?;
    let mut accounts = write.open_table(ACCOUNTS)?;
    for (key, account) in block.accounts {
        accounts.insert(key, encode_account(account).as_slice())?;
    }
    let mut transactions = write.open_table(TRANSACTIONS)?;
    let mut contents = Vec::new();
    for (account, lt, transaction) in block.transactions {
        let name = transaction_key(account, *lt);
        transactions.insert(&name, Boc::encode(transaction).as_slice())?;
        contents.extend_from_slice(&name);
    }
    write.open_table(CONTENTS)?.insert(block.record.seqno, contents.as_slice())?;
    let mut queue = write.open_table(QUEUE)?;
    for key in block.delivered {
        queue.remove(key)?;
    }
    for (key, message) in block.queued {
        queue.insert(key, Boc::encode(message).as_slice())?;
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
