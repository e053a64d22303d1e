//! The chain as of its newest block: the store, and what of it is worth having in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;

use tycho_types::cell::{Cell, Lazy};
use tycho_types::models::{OptionalAccount, ShardAccount};
use tycho_types::prelude::HashBytes;

use super::block::{OpenBlock, execution};
use super::store::{AccountKey, BlockRecord, QueueKey, Store, StoreError};
use crate::chain::ChainError;

/// Accounts kept in memory; a few hundred megabytes if all of them are large, a few dozen if they are wallets.
const ACCOUNTS_CACHED_MAX: usize = 16_384;

#[derive(Debug)]
pub(super) struct Committed {
    pub(super) store: Store,
    head: BlockRecord,
    queue: BTreeMap<QueueKey, Cell>,
    cache: RefCell<BTreeMap<AccountKey, ShardAccount>>,
    /// Whether a write failed of which nobody knows yet how much is there.
    is_in_doubt: bool,
}

impl Committed {
    /// Takes up a chain where it was left.
    pub(super) fn new(store: Store, head: BlockRecord) -> Result<Self, StoreError> {
        let queue = store.queue()?;
        Ok(Self { store, head, queue, cache: RefCell::default(), is_in_doubt: false })
    }

    pub(super) const fn head(&self) -> &BlockRecord {
        &self.head
    }

    pub(super) const fn queue(&self) -> &BTreeMap<QueueKey, Cell> {
        &self.queue
    }

    /// An account; an empty one where none ever was.
    pub(super) fn account(&self, key: &AccountKey) -> Result<ShardAccount, ChainError> {
        if let Some(account) = self.cache.borrow().get(key) {
            return Ok(account.clone());
        }
        let Some(account) = self.store.account(key)? else { return no_account() };
        self.remember(*key, account.clone());
        Ok(account)
    }

    /// The first message under way after `cursor`.
    pub(super) fn next_message(&self, cursor: Option<&QueueKey>) -> Option<(QueueKey, Cell)> {
        let after = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        self.queue.range::<QueueKey, _>((after, Bound::Unbounded)).next().map(|(key, message)| (*key, message.clone()))
    }

    /// Writes a block and takes over its changes. If that fails, neither the block nor the chain has changed, or, where the disk is of no help
    /// at all, whether they have shows in [`Committed::settle`].
    pub(super) fn commit(&mut self, block: &mut OpenBlock) -> Result<(), ChainError> {
        let write = block.write();
        if let Err(error) = self.store.commit(&write) {
            let hash = write.record.hash;
            self.is_in_doubt = true;
            // A write may fail after all of it has reached the disk.
            return if self.settle().is_ok() && self.head.hash == hash { Ok(()) } else { Err(error.into()) };
        }
        self.head = write.record;
        let changes = block.take_changes();
        for key in &changes.delivered {
            self.queue.remove(key);
        }
        self.queue.extend(changes.queued);
        for (key, account) in changes.accounts {
            self.remember(key, account);
        }
        Ok(())
    }

    /// After a write that failed, takes up the chain as it is in the store.
    ///
    /// # Errors
    /// [`StoreError`] while the disk still fails; the next call tries again.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        if !self.is_in_doubt {
            return Ok(());
        }
        self.store.reopen()?;
        let head = self.store.head()?.ok_or(StoreError::Damaged("list of blocks"))?;
        self.queue = self.store.queue()?;
        self.head = head;
        self.cache.borrow_mut().clear();
        self.is_in_doubt = false;
        Ok(())
    }

    fn remember(&self, key: AccountKey, account: ShardAccount) {
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= ACCOUNTS_CACHED_MAX {
            cache.clear();
        }
        cache.insert(key, account);
    }
}

fn no_account() -> Result<ShardAccount, ChainError> {
    Ok(ShardAccount { account: Lazy::new(&OptionalAccount::EMPTY).map_err(execution)?, last_trans_hash: HashBytes::ZERO, last_trans_lt: 0 })
}
