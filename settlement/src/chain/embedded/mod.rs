//! A TON chain in this process: contract code runs in a real virtual machine and costs what it costs on mainnet.
//!
//! There is one validator, which is this process, one shard, and one block after another; a block of this chain stands for
//! TON's masterchain block.
//!
//! - The same as on TON: code, gas, fees, storage rent, phases, bounces, logical time, the shape and the hashes of accounts, messages
//!   and transactions.
//! - Not there: elections, configuration changes, shards, blocks as cells with proofs, the instructions of other curves than ed25519's and
//!   BLS12-381 (Ristretto, secp256k1, P-256) and Keccak.
//!
//! | messages | are executed | in the order of |
//! |---|---|---|
//! | from outside | when they arrive, in the block in the making | arrival |
//! | between accounts | when the block is closed, or in a later one if it is full | logical time, then hash |
//!
//! Invariants, each a property test: a chain reopened has the state it had (EC-1); accounts, messages under way, fees and burned value
//! add up to what was issued (EC-2); a message that is not accepted leaves no trace (EC-3); the messages from outside and the times of
//! the blocks make the same chain again (EC-4).

mod actions;
mod block;
mod committed;
mod compute;
mod config;
mod estimate;
mod execute;
mod face;
mod faucet;
mod footprint;
mod getter;
mod inspect;
mod machine;
mod options;
mod rehearsal;
mod replay;
mod store;
mod write;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cocoon_market::{Amount, NetworkId, Timestamp};
use sha2::{Digest, Sha256};
use tycho_executor::ParsedConfig;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::models::{BlockchainConfig, MsgInfo, ShardAccount};

use self::block::{Limits, OpenBlock, block_hash, execution};
use self::committed::Committed;
use self::faucet::FaucetWallet;
use self::store::{AccountKey, BlockRecord, BlockWrite, Books, Store};
use super::{Address, ChainError, Hash, Head};

pub use self::faucet::FaucetError;
pub use self::inspect::Surroundings;
pub use self::options::{Blocks, Clock, OpenError, Options, Supply, system_clock};
pub use self::rehearsal::{Rehearsal, RehearsalStage, rehearse};
pub use self::replay::ReplayError;
pub use self::store::StoreError;
pub use self::write::WritePoint;

/// Blocks made at once for one message under [`Blocks::Instant`], so that a ring of contracts cannot hold its sender for ever.
const INSTANT_BLOCKS_MAX: usize = 16;

/// Where the faucet of every embedded chain is: it follows from this program alone.
///
/// # Errors
/// [`FaucetError`] if its wallet cannot be made.
pub fn faucet_address() -> Result<Address, FaucetError> {
    Ok(FaucetWallet::new()?.address)
}

/// A TON chain in this process.
#[derive(Debug)]
pub struct Embedded {
    options: Options,
    network: NetworkId,
    limits: Limits,
    config: ParsedConfig,
    faucet: FaucetWallet,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    committed: Committed,
    open: Option<OpenBlock>,
}

impl Embedded {
    /// Opens the chain in the file at `path`, or starts a new one there.
    ///
    /// # Errors
    /// [`OpenError`]; [`StoreError::InUse`] within it when another process has the chain open.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        Self::with_store(Store::open(path)?, options)
    }

    /// Starts a new chain that is gone when it is dropped.
    ///
    /// # Errors
    /// [`OpenError`], when there is not enough memory.
    pub fn in_memory(options: Options) -> Result<Self, OpenError> {
        Self::with_store(Store::in_memory()?, options)
    }

    /// Starts a chain that is gone when it is dropped, with these accounts.
    fn with_accounts(accounts: BTreeMap<AccountKey, ShardAccount>, options: Options) -> Result<Self, OpenError> {
        let store = Store::in_memory()?;
        start(&store, &accounts, (options.clock)())?;
        Self::with_store(store, options)
    }

    fn with_store(store: Store, options: Options) -> Result<Self, OpenError> {
        let faucet = FaucetWallet::new()?;
        let config = match store.config()? {
            Some(config) => config,
            None => {
                let now = (options.clock)();
                start(&store, &faucet.genesis(now)?, now)?
            }
        };
        let config = ParsedConfig::parse(config.parse::<BlockchainConfig>()?, u32::MAX)?;
        let head = store.head()?.ok_or(StoreError::Damaged("list of blocks"))?;
        let network = NetworkId(config.global_id);
        tracing::info!(%network, seqno = head.seqno, "embedded chain opened");
        let inner = Mutex::new(Inner { committed: Committed::new(store, head)?, open: None });
        Ok(Self { options, network, limits: Limits::default(), config, faucet, inner })
    }

    /// The account that [`Faucet::fund`](super::Faucet::fund) pays from.
    pub const fn faucet(&self) -> Address {
        self.faucet.address
    }

    /// Makes the block that is due, if one is, and returns it.
    ///
    /// # Errors
    /// [`ChainError::Storage`] when it cannot be written. The chain goes on from the last whole block as soon as the disk works again.
    pub fn tick(&self) -> Result<Option<Head>, ChainError> {
        let mut inner = self.settled()?;
        let before = inner.committed.head().seqno;
        self.make_due_block(&mut inner)?;
        if self.options.blocks == Blocks::Instant && !inner.committed.queue().is_empty() {
            self.close_at_once(&mut inner)?;
        }
        Ok(Some(inner.committed.head()).filter(|head| head.seqno != before).map(BlockRecord::head))
    }

    /// Makes a block now, whatever [`Blocks`] says.
    ///
    /// # Errors
    /// [`ChainError::Storage`] when it cannot be written. The chain goes on from the last whole block as soon as the disk works again.
    pub fn make_block(&self) -> Result<Head, ChainError> {
        let mut inner = self.settled()?;
        self.close(&mut inner)?;
        Ok(inner.committed.head().head())
    }

    /// Adds up all money, by reading every account.
    ///
    /// # Errors
    /// [`ChainError::Storage`].
    pub fn supply(&self) -> Result<Supply, ChainError> {
        let inner = self.settled()?;
        let Books { issued, fees, burned } = inner.committed.head().books;
        let mut accounts: u128 = 0;
        inner.committed.store.for_each_account(|_, account| {
            let account = account.load_account().map_err(|_| StoreError::Damaged("account"))?;
            accounts = accounts.saturating_add(account.map_or(0, |account| account.balance.tokens.into_inner()));
            Ok(())
        })?;
        let mut under_way: u128 = 0;
        for message in inner.committed.queue().values() {
            if let MsgInfo::Int(info) = message.parse::<MsgInfo>().map_err(execution)? {
                under_way = under_way.saturating_add(info.value.tokens.into_inner()).saturating_add(info.fwd_fee.into_inner());
            }
        }
        Ok(Supply { issued, accounts: Amount::from_nano(accounts), under_way: Amount::from_nano(under_way), fees, burned })
    }

    /// A hash over the whole state: the newest block, all accounts, all messages under way.
    ///
    /// # Errors
    /// [`ChainError::Storage`].
    pub fn state_hash(&self) -> Result<Hash, ChainError> {
        let inner = self.settled()?;
        let mut digest = Sha256::new_with_prefix(b"CCS1");
        digest.update(inner.committed.head().hash);
        inner.committed.store.for_each_account(|key, account| {
            digest.update(key);
            digest.update(account.account.inner().repr_hash().0);
            digest.update(account.last_trans_hash.0);
            Ok(())
        })?;
        inner.committed.queue().keys().for_each(|key| digest.update(key));
        Ok(digest.finalize().into())
    }

    /// Writes the chain as of its newest block to a new file, from which it can be opened and goes on.
    ///
    /// # Errors
    /// [`ChainError::Storage`]; [`StoreError::Exists`] within it when there is a file already.
    pub fn snapshot(&self, path: &Path) -> Result<Head, ChainError> {
        let inner = self.settled()?;
        inner.committed.store.copy_to(path)?;
        Ok(inner.committed.head().head())
    }

    /// A panic elsewhere leaves whole blocks in the store, so a poisoned lock guards nothing broken.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chain as it is in the store, even after a fault of the disk.
    fn settled(&self) -> Result<MutexGuard<'_, Inner>, ChainError> {
        let mut inner = self.lock();
        inner.committed.settle()?;
        Ok(inner)
    }

    /// The state to answer questions from: with every block that is due.
    fn current(&self) -> Result<MutexGuard<'_, Inner>, ChainError> {
        let mut inner = self.settled()?;
        self.make_due_block(&mut inner)?;
        Ok(inner)
    }

    fn make_due_block(&self, inner: &mut Inner) -> Result<(), ChainError> {
        let Blocks::Every(period) = self.options.blocks else { return Ok(()) };
        let period_ms = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
        let due_ms = inner.committed.head().unix_ms.saturating_add(period_ms);
        if (self.options.clock)().0 >= due_ms { self.close(inner) } else { Ok(()) }
    }

    /// The block in the making, opened if need be.
    fn open_block(&self, inner: &mut Inner) -> Result<OpenBlock, ChainError> {
        // One that does not follow the newest block was written after all, by a write that seemed to fail.
        if let Some(open) = inner.open.take()
            && open.head().hash == inner.committed.head().hash
        {
            return Ok(open);
        }
        let mut open = OpenBlock::new(*inner.committed.head(), (self.options.clock)().0, self.limits);
        open.deliver_all(&inner.committed, &self.config)?;
        Ok(open)
    }

    /// Delivers what there is to deliver and writes the block.
    fn close(&self, inner: &mut Inner) -> Result<(), ChainError> {
        let mut open = self.open_block(inner)?;
        let delivered = open.deliver_all(&inner.committed, &self.config);
        let result = delivered.and_then(|()| inner.committed.commit(&mut open));
        if result.is_err() {
            inner.open = Some(open);
        }
        result
    }

    /// Executes an external message and, under [`Blocks::Instant`], makes its block.
    fn submit(&self, inner: &mut Inner, address: &Address, message: &Cell) -> Result<(), ChainError> {
        if inner.committed.queue().len() > self.limits.queue {
            return Err(ChainError::BlockFull);
        }
        let mut open = self.open_block(inner)?;
        let accepted = open.accept(&inner.committed, &self.config, address, message);
        keep(inner, open);
        accepted?;
        if self.options.blocks == Blocks::Instant { self.close_at_once(inner) } else { Ok(()) }
    }

    /// Makes a block, and further ones for what is still under way then.
    fn close_at_once(&self, inner: &mut Inner) -> Result<(), ChainError> {
        if let Err(error) = self.close(inner) {
            // The sender is told that the message failed, so it must not come to life later.
            inner.open = None;
            return Err(error);
        }
        for _ in 1..INSTANT_BLOCKS_MAX {
            if inner.committed.queue().is_empty() {
                break;
            }
            if let Err(error) = self.close(inner) {
                tracing::warn!(?error, "messages stay under way");
                break;
            }
        }
        Ok(())
    }
}

/// Keeps a block in the making, unless nothing is in it: the next one then gets a fresher time.
fn keep(inner: &mut Inner, open: OpenBlock) {
    if !open.is_empty() {
        inner.open = Some(open);
    }
}

/// Writes the first block: these accounts, and nothing else.
fn start(store: &Store, accounts: &BTreeMap<AccountKey, ShardAccount>, now: Timestamp) -> Result<Cell, OpenError> {
    let config = CellBuilder::build_from(config::build(NetworkId::DEVNET)?)?;
    let mut issued: u128 = 0;
    for account in accounts.values() {
        let account = account.load_account()?;
        issued = issued.saturating_add(account.map_or(0, |account| account.balance.tokens.into_inner()));
    }
    let books = Books { issued: Amount::from_nano(issued), fees: Amount::ZERO, burned: Amount::ZERO };
    let mut record =
        BlockRecord { seqno: 0, unix_ms: now.0, hash: [0; 32], previous: [0; 32], lt_start: 0, lt_end: 0, transactions: 0, books };
    let states = accounts.values().map(|account| account.account.inner().repr_hash().0);
    let parts: Vec<_> = std::iter::once(config.repr_hash().0).chain(states).collect();
    record.hash = block_hash(&record, parts.iter());
    store.commit_genesis(&config, &BlockWrite { record, accounts, transactions: &[], delivered: &[], queued: &BTreeMap::new() })?;
    Ok(config)
}

#[cfg(test)]
mod tests;
