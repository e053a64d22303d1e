//! What a ledger keeps in memory: the books of all channels and the orders that something may still come of.

use std::collections::BTreeMap;

use cocoon_market::{ChannelRef, NetworkId, ids::ContractAddress};

use super::book::ChannelBook;
use super::orders::{OrderId, OrderRecord, order_of};
use super::record::{ChannelRecord, Head, ReceiptRecord, Role, channel_key, decode, sequence_key};
use super::store::{Damage, Entry, Store, StoreError, Table};

/// Entries read from the store at a time.
const SCAN_ENTRIES: usize = 1024;

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) books: BTreeMap<ChannelRef, ChannelBook>,
    pub(super) orders: BTreeMap<OrderId, OrderRecord>,
    pub(super) next_order: u64,
}

impl State {
    /// Reads everything back and checks that it fits together.
    pub(super) fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let mut state = Self { next_order: 1, ..Self::default() };
        for_each(store, Table::Channels, &[], |key, value| {
            let channel = channel_of(key)?;
            let book = load_book(store, channel, decode(Table::Channels, value)?)?;
            state.books.insert(channel, book);
            Ok(())
        })?;
        for_each(store, Table::Orders, &[], |key, value| {
            let (id, record): (_, OrderRecord) = (order_of(key)?, decode(Table::Orders, value)?);
            state.next_order = id.0.saturating_add(1);
            if !record.is_final() {
                state.orders.insert(id, record);
            }
            Ok(())
        })?;
        Ok(state)
    }

    /// Takes over what a batch changed.
    pub(super) fn merge(&mut self, staged: Self) {
        self.books.extend(staged.books);
        self.orders.extend(staged.orders);
        self.orders.retain(|_, record| !record.is_final());
        self.next_order = staged.next_order;
    }
}

/// Calls `visit` for each entry under `prefix`, a few at a time.
pub(super) fn for_each(
    store: &dyn Store,
    table: Table,
    prefix: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut from = prefix.to_vec();
    loop {
        let entries: Vec<Entry> = store.scan(table, prefix, &from, SCAN_ENTRIES)?;
        for (key, value) in &entries {
            visit(key, value)?;
        }
        let Some((last, _)) = entries.last().filter(|_| entries.len() == SCAN_ENTRIES) else { return Ok(()) };
        // The smallest key after the last one.
        from = [last.as_slice(), &[0]].concat();
    }
}

fn load_book(store: &dyn Store, channel: ChannelRef, record: ChannelRecord) -> Result<ChannelBook, StoreError> {
    let head: Head = match store.get(Table::Heads, &channel_key(channel))? {
        Some(bytes) => decode(Table::Heads, &bytes)?,
        None => return Err(StoreError::Damaged(Damage::Contradiction(Table::Heads))),
    };
    let mut book = ChannelBook::new(channel, record, head);
    let count = book.head.receipts.count();
    let last = store.get(Table::Receipts, &sequence_key(channel, count))?;
    let last: Option<ReceiptRecord> = last.map(|bytes| decode(Table::Receipts, &bytes)).transpose()?;
    let fits = match last {
        None => count == 0 && book.head.owed.is_zero() && book.head.last_receipt.is_none(),
        Some(last) => {
            let header = &last.receipt.receipt.header;
            header.cumulative == book.head.owed && Some(header.digest()) == book.head.last_receipt && last.root == book.head.receipts.root()
        }
    };
    let is_ahead = book.head.voucher.is_some_and(|signed| signed.voucher.sequence > count || signed.voucher.cumulative > book.head.owed);
    if !fits || is_ahead || !book.head.receipts.is_consistent() {
        return Err(StoreError::Damaged(Damage::Contradiction(Table::Heads)));
    }
    if book.record.role == Role::Provider {
        load_unpaid(store, &mut book)?;
    }
    Ok(book)
}

fn load_unpaid(store: &dyn Store, book: &mut ChannelBook) -> Result<(), StoreError> {
    let first = book.head.voucher.map_or(1, |signed| signed.voucher.sequence.saturating_add(1));
    let prefix = channel_key(book.channel);
    let mut from = sequence_key(book.channel, first);
    loop {
        let entries = store.scan(Table::Receipts, &prefix, &from, SCAN_ENTRIES)?;
        for (_, value) in &entries {
            let record: ReceiptRecord = decode(Table::Receipts, value)?;
            book.push_unpaid(&record.receipt, record.root);
        }
        let Some((last, _)) = entries.last().filter(|_| entries.len() == SCAN_ENTRIES) else { break };
        from = [last.as_slice(), &[0]].concat();
    }
    let expected = book.sequence().saturating_add(1).saturating_sub(first);
    if u64::try_from(book.unpaid.len()) == Ok(expected) { Ok(()) } else { Err(StoreError::Damaged(Damage::Contradiction(Table::Receipts))) }
}

pub(super) fn channel_of(key: &[u8]) -> Result<ChannelRef, StoreError> {
    let damaged = || StoreError::Damaged(Damage::Entry(Table::Channels));
    let (network, address) = key.split_first_chunk::<4>().ok_or_else(damaged)?;
    let network = u32::from_be_bytes(*network) ^ (1 << 31);
    let address = address.try_into().map_err(|_| damaged())?;
    Ok(ChannelRef { network: NetworkId(network.cast_signed()), address: ContractAddress(address) })
}
