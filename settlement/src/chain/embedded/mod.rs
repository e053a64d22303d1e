//! A TON chain in this process: contract code runs in a real virtual machine and costs what it costs on mainnet.
//!
//! There is one validator, which is this process, one shard, and one block after another; a block of this chain is what the masterchain's is
//! on TON. What is the same: code, gas, fees, storage rent, phases, bounces, logical time, the shape and hashes of accounts, messages and transactions.
//! What is not there: elections, configuration changes, shards, block cells with proofs, instructions that the virtual machine
//! lacks (BLS12-381 and a few other curves).
//!
//! | messages | are executed | in the order of |
//! |---|---|---|
//! | from outside | when they arrive, in the block in the making | arrival |
//! | between accounts | when the block is closed, or in a later one if it is full | logical time, then hash |
//!
//! Invariants, each a property test: a chain reopened has the state it had (EC-1); accounts, messages under way, fees and burned value add up to
//! what was issued (EC-2); a message that is not accepted leaves no trace (EC-3).

mod block;
mod committed;
mod config;
mod execute;
mod faucet;
mod getter;
mod store;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cocoon_market::{Amount, NetworkId, Timestamp};
use sha2::{Digest, Sha256};
use tonlib_core::cell::ArcCell;
use tycho_executor::ParsedConfig;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::models::{AccountState as VmAccountState, BlockchainConfig, IntAddr, MsgInfo};

use self::block::{OpenBlock, block_hash, execution};
use self::committed::Committed;
use self::faucet::{FUND_MAX, FaucetWallet, ISSUED};
use self::store::{BlockRecord, BlockWrite, Books, Store, account_key};
use super::codec::{CodecError, decode, parse_transaction, to_edge};
use super::{
    AccountState, AccountStatus, Address, BASECHAIN, Chain, ChainError, EXTERNAL_BYTES_MAX, EXTERNAL_DEPTH_MAX, Faucet, Hash, Head,
    MASTERCHAIN, MethodResult, Page, Rejection, Sought, StackItem, Transaction, TxId, check_method_call, check_page,
};

pub use self::faucet::FaucetError;
pub use self::store::StoreError;

/// Blocks made at once for one message under [`Blocks::Instant`], so that a ring of contracts cannot hold its sender for ever.
const INSTANT_BLOCKS_MAX: usize = 16;
/// Messages under way above which none are accepted from outside until some have been delivered.
const QUEUE_MAX: usize = 65_536;
/// How long the faucet's messages are valid. They are executed at once; a minute covers any block time.
const FAUCET_VALID_S: u32 = 60;

/// Tells the time. Everything the chain knows of time comes from here.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The clock of this machine.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    })
}

/// When blocks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocks {
    /// One block each so often. A block that is due is made by whatever call comes next, [`Embedded::tick`] among them; a chain that
    /// nobody asked anything meanwhile has fewer blocks, not a burst of empty ones.
    Every(Duration),
    /// One block for every message from outside, at once.
    Instant,
    /// Only when [`Embedded::make_block`] says so.
    Manual,
}

/// How to run an embedded chain.
#[derive(Clone)]
pub struct Options {
    /// When blocks are made.
    pub blocks: Blocks,
    /// What tells the time.
    pub clock: Clock,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

impl Default for Options {
    /// A block every two seconds by this machine's clock.
    fn default() -> Self {
        Self { blocks: Blocks::Every(Duration::from_secs(2)), clock: system_clock() }
    }
}

/// Why an embedded chain cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The faucet cannot be made.
    #[error(transparent)]
    Faucet(#[from] FaucetError),
    /// The configuration cannot be built or read.
    #[error("the chain's configuration is damaged")]
    Config(#[from] tycho_types::error::Error),
}

impl From<StoreError> for ChainError {
    fn from(error: StoreError) -> Self {
        Self::Storage(error.into())
    }
}

/// Where all the money of an embedded chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supply {
    /// What there was at the start.
    pub issued: Amount,
    /// What accounts hold.
    pub accounts: Amount,
    /// What messages under way carry, forwarding fees included.
    pub under_way: Amount,
    /// What was collected in fees.
    pub fees: Amount,
    /// What was destroyed.
    pub burned: Amount,
}

impl Supply {
    /// Whether it all adds up to what was issued.
    pub fn is_balanced(&self) -> bool {
        Amount::sum([self.accounts, self.under_way, self.fees, self.burned]) == Ok(self.issued)
    }
}

/// A TON chain in this process.
#[derive(Debug)]
pub struct Embedded {
    options: Options,
    network: NetworkId,
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

    fn with_store(store: Store, options: Options) -> Result<Self, OpenError> {
        let faucet = FaucetWallet::new()?;
        let config = match store.config()? {
            Some(config) => config,
            None => start(&store, &faucet, (options.clock)())?,
        };
        let config = ParsedConfig::parse(config.parse::<BlockchainConfig>()?, u32::MAX)?;
        let head = store.head()?.ok_or(StoreError::Damaged("list of blocks"))?;
        let network = NetworkId(config.global_id);
        tracing::info!(%network, seqno = head.seqno, "embedded chain opened");
        let inner = Mutex::new(Inner { committed: Committed::new(store, head)?, open: None });
        Ok(Self { options, network, config, faucet, inner })
    }

    /// The account that [`Faucet::fund`] pays from.
    pub const fn faucet(&self) -> Address {
        self.faucet.address
    }

    /// Makes the block that is due, if one is, and returns it.
    ///
    /// # Errors
    /// [`ChainError::Storage`] when it cannot be written; the block is kept and tried again.
    pub fn tick(&self) -> Result<Option<Head>, ChainError> {
        let mut inner = self.lock();
        let before = inner.committed.head().seqno;
        self.make_due_block(&mut inner)?;
        if self.options.blocks == Blocks::Instant && !inner.committed.queue().is_empty() {
            self.close_at_once(&mut inner)?;
        }
        Ok(Some(inner.committed.head()).filter(|head| head.seqno != before).map(head_of))
    }

    /// Makes a block now, whatever [`Blocks`] says.
    ///
    /// # Errors
    /// [`ChainError::Storage`] when it cannot be written; the block is kept and tried again.
    pub fn make_block(&self) -> Result<Head, ChainError> {
        let mut inner = self.lock();
        self.close(&mut inner)?;
        Ok(head_of(inner.committed.head()))
    }

    /// Adds up all money, by reading every account.
    ///
    /// # Errors
    /// [`ChainError::Storage`].
    pub fn supply(&self) -> Result<Supply, ChainError> {
        let inner = self.lock();
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
        let inner = self.lock();
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

    /// A panic elsewhere leaves whole blocks in the store, so a poisoned lock guards nothing broken.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state to answer questions from: with every block that is due.
    fn current(&self) -> Result<MutexGuard<'_, Inner>, ChainError> {
        let mut inner = self.lock();
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
        if let Some(open) = inner.open.take() {
            return Ok(open);
        }
        let mut open = OpenBlock::new(*inner.committed.head(), (self.options.clock)().0);
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
        if inner.committed.queue().len() > QUEUE_MAX {
            return Err(ChainError::BlockFull);
        }
        let mut open = self.open_block(inner)?;
        let accepted = open.accept(&inner.committed, &self.config, address, message);
        keep(inner, open);
        accepted?;
        if self.options.blocks == Blocks::Instant { self.close_at_once(inner) } else { Ok(()) }
    }

    fn close_at_once(&self, inner: &mut Inner) -> Result<(), ChainError> {
        for _ in 0..INSTANT_BLOCKS_MAX {
            if let Err(error) = self.close(inner) {
                // The sender is told that the message failed, so it must not come to life later.
                inner.open = None;
                return Err(error);
            }
            if inner.committed.queue().is_empty() {
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

/// Writes the first block: the faucet, and nothing else.
fn start(store: &Store, faucet: &FaucetWallet, now: Timestamp) -> Result<Cell, OpenError> {
    let config = CellBuilder::build_from(config::build(NetworkId::DEVNET)?)?;
    let account = faucet.genesis_account(u32::try_from(now.unix_s()).unwrap_or(u32::MAX))?;
    let books = Books { issued: ISSUED, fees: Amount::ZERO, burned: Amount::ZERO };
    let mut record =
        BlockRecord { seqno: 0, unix_ms: now.0, hash: [0; 32], previous: [0; 32], lt_start: 0, lt_end: 0, transactions: 0, books };
    let parts = [config.repr_hash().0, account.account.inner().repr_hash().0];
    record.hash = block_hash(&record, parts.iter());
    let accounts = std::iter::once((account_key(&faucet.address), account)).collect();
    let queued = std::collections::BTreeMap::new();
    store.commit_genesis(&config, &BlockWrite { record, accounts: &accounts, transactions: &[], delivered: &[], queued: &queued })?;
    Ok(config)
}

fn head_of(record: &BlockRecord) -> Head {
    Head { seqno: record.seqno, unix_s: Timestamp(record.unix_ms).unix_s(), root_hash: record.hash }
}

/// Reads an external message as a node of TON would, and finds its destination.
fn read_external(boc: &[u8]) -> Result<(Address, Cell), Rejection> {
    if boc.len() > EXTERNAL_BYTES_MAX {
        return Err(Rejection::TooLarge { bytes: boc.len(), bytes_max: EXTERNAL_BYTES_MAX });
    }
    let message = decode(boc).map_err(|error| match error {
        CodecError::TooDeep(depth) => Rejection::TooDeep { depth, depth_max: EXTERNAL_DEPTH_MAX },
        _ => Rejection::Malformed,
    })?;
    if message.repr_depth() > EXTERNAL_DEPTH_MAX {
        return Err(Rejection::TooDeep { depth: message.repr_depth(), depth_max: EXTERNAL_DEPTH_MAX });
    }
    let MsgInfo::ExtIn(info) = message.parse::<MsgInfo>().map_err(|_| Rejection::Malformed)? else {
        return Err(Rejection::NotExternal);
    };
    let IntAddr::Std(to) = info.dst else { return Err(Rejection::Malformed) };
    if to.anycast.is_some() {
        return Err(Rejection::Malformed);
    }
    if !matches!(to.workchain, BASECHAIN | MASTERCHAIN) {
        return Err(Rejection::Workchain(to.workchain));
    }
    Ok((Address { workchain: to.workchain, hash: to.address.0 }, message))
}

impl Chain for Embedded {
    fn network(&self) -> NetworkId {
        self.network
    }

    fn head(&self) -> Result<Head, ChainError> {
        Ok(head_of(self.current()?.committed.head()))
    }

    fn block(&self, seqno: u32) -> Result<Head, ChainError> {
        let record = self.current()?.committed.store.block(seqno)?;
        record.as_ref().map(head_of).ok_or(ChainError::NotFound(Sought::Block))
    }

    fn account(&self, address: &Address) -> Result<AccountState, ChainError> {
        let (shard, seen_at) = {
            let inner = self.current()?;
            (inner.committed.account(&account_key(address))?, head_of(inner.committed.head()))
        };
        let last_transaction = (shard.last_trans_lt != 0).then_some(TxId { lt: shard.last_trans_lt, hash: shard.last_trans_hash.0 });
        let empty =
            AccountState { status: AccountStatus::Uninitialized, balance: Amount::ZERO, code: None, data: None, last_transaction, seen_at };
        let Some(account) = shard.load_account().map_err(execution)? else { return Ok(empty) };
        let edge = |cell: &Option<Cell>| cell.as_ref().map(to_edge).transpose().map_err(|error| ChainError::Execution(error.into()));
        let balance = Amount::from_nano(account.balance.tokens.into_inner());
        Ok(match &account.state {
            VmAccountState::Uninit => AccountState { balance, ..empty },
            VmAccountState::Frozen(_) => AccountState { status: AccountStatus::Frozen, balance, ..empty },
            VmAccountState::Active(state) => {
                AccountState { status: AccountStatus::Active, balance, code: edge(&state.code)?, data: edge(&state.data)?, ..empty }
            }
        })
    }

    fn transactions(&self, address: &Address, page: Page) -> Result<Vec<Transaction>, ChainError> {
        check_page(page)?;
        let from_lt = page.from.map_or(u64::MAX, |from| from.lt);
        let cells = self.current()?.committed.store.transactions(&account_key(address), page.after_lt, from_lt, usize::from(page.limit))?;
        if let Some(from) = page.from
            && cells.first().is_none_or(|newest| newest.repr_hash().0 != from.hash)
        {
            return Err(ChainError::NotFound(Sought::Transaction));
        }
        let parse = |cell: &Cell| parse_transaction(address.workchain, cell).map_err(|error| ChainError::Execution(error.into()));
        cells.iter().map(parse).collect()
    }

    fn run_get_method(&self, address: &Address, method: &str, arguments: &[StackItem]) -> Result<MethodResult, ChainError> {
        check_method_call(method, arguments)?;
        let (shard, head) = {
            let inner = self.current()?;
            (inner.committed.account(&account_key(address))?, *inner.committed.head())
        };
        let account = shard.load_account().map_err(execution)?.ok_or(ChainError::NotFound(Sought::Contract))?;
        let VmAccountState::Active(state) = &account.state else { return Err(ChainError::NotFound(Sought::Contract)) };
        let now = Timestamp((self.options.clock)().0.max(head.unix_ms)).unix_s();
        getter::run(&self.config, &account, state, u32::try_from(now).unwrap_or(u32::MAX), method, arguments)
    }

    fn send_boc(&self, boc: &[u8]) -> Result<Hash, ChainError> {
        let (address, message) = read_external(boc)?;
        self.submit(&mut *self.current()?, &address, &message)?;
        tracing::debug!(%address, "external message accepted");
        Ok(message.repr_hash().0)
    }

    fn config_param(&self, index: u32) -> Result<ArcCell, ChainError> {
        let param = self.config.raw.params.as_dict().get(index).map_err(execution)?.ok_or(ChainError::NotFound(Sought::ConfigParam))?;
        to_edge(&param).map_err(|error| ChainError::Execution(error.into()))
    }
}

impl Faucet for Embedded {
    fn fund(&self, address: &Address, amount: Amount) -> Result<Hash, ChainError> {
        if amount > FUND_MAX {
            return Err(ChainError::BadRequest("the faucet gives at most 1,000,000 TON at a time"));
        }
        if address.hash == [0; 32] {
            return Err(ChainError::BadRequest("the zero address is nobody's"));
        }
        let mut inner = self.current()?;
        let open = self.open_block(&mut inner)?;
        let account = open.account(&inner.committed, &account_key(&self.faucet.address))?.load_account().map_err(execution)?;
        let valid_until = open.unix_s().saturating_add(FAUCET_VALID_S);
        keep(&mut inner, open);
        let seqno = account.and_then(|account| FaucetWallet::seqno(&account.state)).ok_or(ChainError::NotFound(Sought::Contract))?;
        let message = self.faucet.transfer(seqno, valid_until, address, amount).map_err(|error| ChainError::Execution(error.into()))?;
        self.submit(&mut inner, &self.faucet.address, &message)?;
        Ok(message.repr_hash().0)
    }
}

#[cfg(test)]
mod tests;
