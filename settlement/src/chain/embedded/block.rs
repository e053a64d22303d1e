//! The block in the making.
//!
//! Messages from outside are executed the moment they arrive, against the state that the block has so far, so that their sender
//! learns at once whether they were accepted and with what exit code. Messages between accounts are delivered in the order of logical
//! time when the block is closed; what does not fit waits for the next one. Nothing is on the chain before the block is written.

use std::collections::BTreeMap;

use cocoon_market::Amount;
use sha2::{Digest, Sha256};
use tycho_executor::{ExecutorParams, ParsedConfig, TxError};
use tycho_types::cell::Cell;
use tycho_types::models::{BlockId, IntAddr, MsgInfo, ShardAccount, ShardIdent, StdAddr};
use tycho_types::prelude::HashBytes;

use super::committed::Committed;
use super::config::BLOCK_GAS_SOFT_MAX;
use super::execute::{Environment, Executed, Origin, Outcome, execute};
use super::store::{AccountKey, BlockRecord, BlockWrite, Books, QueueKey, account_key, queue_key};
use crate::chain::{Address, ChainError, Hash, Rejection};

/// Transactions of one block. Bounds the time a block takes where transactions use next to no gas.
const BLOCK_TRANSACTIONS_MAX: usize = 8_192;
/// Logical time between the starts of two blocks, as on TON.
const LT_ALIGN: u64 = 1_000_000;

/// Messages under way above which none are accepted from outside until some have been delivered.
const QUEUE_MAX: usize = 65_536;

/// What fits into one block, and between two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) gas: u64,
    pub(super) transactions: usize,
    pub(super) queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { gas: BLOCK_GAS_SOFT_MAX, transactions: BLOCK_TRANSACTIONS_MAX, queue: QUEUE_MAX }
    }
}

#[derive(Debug)]
pub(super) struct OpenBlock {
    limits: Limits,
    head: BlockRecord,
    params: ExecutorParams,
    unix_ms: u64,
    lt_start: u64,
    lt_end: u64,
    gas_used: u64,
    books: Books,
    accounts: BTreeMap<AccountKey, ShardAccount>,
    transactions: Vec<(AccountKey, u64, Cell)>,
    /// Messages made here and not delivered here.
    queued: BTreeMap<QueueKey, Cell>,
    /// Messages of earlier blocks that were delivered here, in their order.
    delivered: Vec<QueueKey>,
}

impl OpenBlock {
    /// Opens the block after `head`.
    pub(super) fn new(head: BlockRecord, now_ms: u64, limits: Limits) -> Self {
        let unix_ms = now_ms.max(head.unix_ms);
        let lt_start = align(head.lt_end);
        let hash = HashBytes(head.hash);
        let params = ExecutorParams {
            rand_seed: HashBytes(seed_after(&head.hash)),
            block_unixtime: u32::try_from(unix_ms.div_euclid(1_000)).unwrap_or(u32::MAX),
            block_lt: lt_start,
            prev_mc_block_id: Some(BlockId { shard: ShardIdent::MASTERCHAIN, seqno: head.seqno, root_hash: hash, file_hash: hash }),
            strict_extra_currency: true,
            ..ExecutorParams::default()
        };
        Self {
            limits,
            head,
            params,
            unix_ms,
            lt_start,
            lt_end: lt_start,
            gas_used: 0,
            books: head.books,
            accounts: BTreeMap::new(),
            transactions: Vec::new(),
            queued: BTreeMap::new(),
            delivered: Vec::new(),
        }
    }

    pub(super) fn unix_s(&self) -> u32 {
        self.params.block_unixtime
    }

    /// The block before.
    pub(super) const fn head(&self) -> &BlockRecord {
        &self.head
    }

    /// What it is to the code that runs in it.
    pub(super) const fn params(&self) -> &ExecutorParams {
        &self.params
    }

    pub(super) const fn lt_start(&self) -> u64 {
        self.lt_start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// An account as it stands in this block.
    pub(super) fn account(&self, committed: &Committed, key: &AccountKey) -> Result<ShardAccount, ChainError> {
        if let Some(account) = self.accounts.get(key) {
            return Ok(account.clone());
        }
        committed.account(key)
    }

    /// Executes a message from outside, or says why not.
    pub(super) fn accept(
        &mut self,
        committed: &Committed,
        config: &ParsedConfig,
        address: &Address,
        message: &Cell,
    ) -> Result<(), ChainError> {
        // Messages from outside get half of a block, so that there is room left for what they cause.
        if self.gas_used >= self.limits.gas.div_euclid(2) || self.transactions.len() >= self.limits.transactions.div_euclid(2) {
            return Err(ChainError::BlockFull);
        }
        match self.execute(committed, config, address, Origin::Outside, message)? {
            Outcome::Executed(done) => self.apply(account_key(address), *done),
            Outcome::NotAccepted { exit_code } => Err(Rejection::NotAccepted { exit_code }.into()),
        }
    }

    /// Delivers messages between accounts until there are none left or the block is full.
    ///
    /// # Errors
    /// [`ChainError::Storage`]; the message at hand is then still under way.
    pub(super) fn deliver_all(&mut self, committed: &Committed, config: &ParsedConfig) -> Result<(), ChainError> {
        while self.gas_used < self.limits.gas && self.transactions.len() < self.limits.transactions {
            let Some((key, message, age)) = self.earliest(committed) else { break };
            self.deliver(committed, config, &message)?;
            match age {
                Age::Old => self.delivered.push(key),
                Age::New => drop(self.queued.remove(&key)),
            }
        }
        Ok(())
    }

    /// The earliest message under way.
    fn earliest(&self, committed: &Committed) -> Option<(QueueKey, Cell, Age)> {
        let old = committed.next_message(self.delivered.last());
        let new = self.queued.first_key_value();
        match (old, new) {
            (Some((key, message)), Some((new_key, _))) if key < *new_key => Some((key, message, Age::Old)),
            (Some((key, message)), None) => Some((key, message, Age::Old)),
            (_, Some((key, message))) => Some((*key, message.clone(), Age::New)),
            (None, None) => None,
        }
    }

    fn deliver(&mut self, committed: &Committed, config: &ParsedConfig, message: &Cell) -> Result<(), ChainError> {
        let MsgInfo::Int(info) = message.parse::<MsgInfo>().map_err(execution)? else {
            return Err(execution(tycho_types::error::Error::InvalidTag));
        };
        let value_nano = info.value.tokens.into_inner().saturating_add(info.fwd_fee.into_inner());
        let IntAddr::Std(StdAddr { workchain, address: hash, .. }) = info.dst else {
            return self.burn(value_nano);
        };
        let address = Address { workchain, hash: hash.0 };
        match self.execute(committed, config, &address, Origin::Account, message) {
            Ok(Outcome::Executed(done)) => self.apply(account_key(&address), *done),
            Ok(Outcome::NotAccepted { .. }) => self.burn(value_nano),
            Err(error @ ChainError::Execution(_)) => {
                tracing::error!(%address, ?error, "a message cannot be executed; its value is lost");
                self.burn(value_nano)
            }
            Err(error) => Err(error),
        }
    }

    fn execute(
        &self,
        committed: &Committed,
        config: &ParsedConfig,
        address: &Address,
        origin: Origin,
        message: &Cell,
    ) -> Result<Outcome, ChainError> {
        let before = self.account(committed, &account_key(address))?;
        let environment = Environment { config, block: &self.params, lt_min: self.lt_start.saturating_add(1) };
        let address = StdAddr::new(address.workchain, HashBytes(address.hash));
        execute(environment, &address, origin, message, &before).map_err(|error| match error {
            TxError::Fatal(error) => ChainError::Execution(error.into()),
            TxError::Skipped => Rejection::NotAccepted { exit_code: None }.into(),
        })
    }

    /// Takes over what a transaction changed.
    fn apply(&mut self, account: AccountKey, done: Executed) -> Result<(), ChainError> {
        self.books.fees = add(self.books.fees, done.fees_nano)?;
        self.books.burned = add(self.books.burned, done.burned_nano)?;
        self.gas_used = self.gas_used.saturating_add(done.gas_used);
        self.lt_end = self.lt_end.max(done.lt_end);
        self.accounts.insert(account, done.after);
        self.transactions.push((account, done.lt, done.transaction));
        for (lt, message) in done.sent {
            self.queued.insert(queue_key(lt, &message), message);
        }
        Ok(())
    }

    fn burn(&mut self, nano: u128) -> Result<(), ChainError> {
        self.books.burned = add(self.books.burned, nano)?;
        Ok(())
    }

    /// The block as it is to be written.
    pub(super) fn write(&self) -> BlockWrite<'_> {
        BlockWrite {
            record: self.record(),
            accounts: &self.accounts,
            transactions: &self.transactions,
            delivered: &self.delivered,
            queued: &self.queued,
        }
    }

    fn record(&self) -> BlockRecord {
        let mut record = BlockRecord {
            seqno: self.head.seqno.saturating_add(1),
            unix_ms: self.unix_ms,
            hash: [0; 32],
            previous: self.head.hash,
            lt_start: self.lt_start,
            lt_end: self.lt_end,
            transactions: u32::try_from(self.transactions.len()).unwrap_or(u32::MAX),
            books: self.books,
        };
        record.hash = block_hash(&record, self.transactions.iter().map(|(.., transaction)| &transaction.repr_hash().0));
        record
    }

    /// Takes what the block changed, once it is written.
    pub(super) fn take_changes(&mut self) -> Changes {
        Changes {
            accounts: std::mem::take(&mut self.accounts),
            delivered: std::mem::take(&mut self.delivered),
            queued: std::mem::take(&mut self.queued),
        }
    }
}

/// Whether a message was made in this block or in one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Old,
    New,
}

/// What a written block changed.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) accounts: BTreeMap<AccountKey, ShardAccount>,
    pub(super) delivered: Vec<QueueKey>,
    pub(super) queued: BTreeMap<QueueKey, Cell>,
}

/// What randomness in a block is drawn from: everybody can tell in advance, as befits a development chain.
pub(super) fn seed_after(previous: &Hash) -> Hash {
    Sha256::new_with_prefix(b"CCRS").chain_update(previous).finalize().into()
}

/// Every transaction carries the hash of the state it left behind, so the chain of block hashes covers all states.
pub(super) fn block_hash<'a>(record: &BlockRecord, parts: impl Iterator<Item = &'a Hash>) -> Hash {
    let digest = Sha256::new_with_prefix(b"CCB1")
        .chain_update(record.previous)
        .chain_update(record.seqno.to_be_bytes())
        .chain_update(record.unix_ms.to_be_bytes())
        .chain_update(record.lt_start.to_be_bytes())
        .chain_update(record.lt_end.to_be_bytes())
        .chain_update(record.transactions.to_be_bytes());
    parts.fold(digest, |digest, part| digest.chain_update(part)).finalize().into()
}

fn align(lt: u64) -> u64 {
    lt.div_euclid(LT_ALIGN).saturating_add(1).saturating_mul(LT_ALIGN)
}

fn add(amount: Amount, nano: u128) -> Result<Amount, ChainError> {
    amount.checked_add(Amount::from_nano(nano)).map_err(|error| ChainError::Execution(error.into()))
}

pub(super) fn execution(error: tycho_types::error::Error) -> ChainError {
    ChainError::Execution(error.into())
}
