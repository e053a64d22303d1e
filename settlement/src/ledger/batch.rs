//! Entries that are checked one by one and become durable together.

use std::collections::BTreeMap;
use std::fmt;

use cocoon_market::receipt::ReceiptError;
use cocoon_market::{
    Agreement, AgreementId, Amount, ChannelRef, CooperativeClose, JobId, NodeId, Offer, OfferId, OperatorKey, Signature, Signed,
    SignedReceipt, SignedVoucher, Timestamp, Verified, ids::Digest, keys::BadSignature,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::book::{ChannelBook, ReceiptDraft, check_allowance, repeats};
use super::error::{LedgerError, ReceiptFault, VoucherFault};
use super::orders::{OrderId, OrderRecord, order_key};
use super::record::{
    AgreementRecord, Allowance, ChainSight, ChannelRecord, Head, JobRecord, ReceiptRecord, Role, channel_key, decode, encode, expiry_key,
    job_key, sequence_key,
};
use super::rollback::{Rollback, told_by_receipt, told_by_voucher};
use super::state::State;
use super::store::{Store, StoreError, Table, Write, WriteMode};
use super::verifier::Verifier;
use crate::contract::ChannelTerms;

/// A voucher whose signature was checked against `signer`. Checking is the slow part, so it happens outside of a batch.
#[derive(Clone, Copy, Debug)]
pub struct CheckedVoucher {
    signed: SignedVoucher,
    signer: NodeId,
}

impl CheckedVoucher {
    /// Checks the signature.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn new(signed: SignedVoucher, signer: NodeId) -> Result<Self, BadSignature> {
        signed.verify(&signer)?;
        Ok(Self { signed, signer })
    }

    pub(super) fn checked_by(verifier: &Verifier, signed: SignedVoucher, signer: NodeId) -> Result<Self, BadSignature> {
        verifier.verify(&signer, &signed.voucher.to_bytes(), &signed.signature)?;
        Ok(Self { signed, signer })
    }
}

/// A receipt whose signature and body were checked against `signer`.
#[derive(Clone, Copy, Debug)]
pub struct CheckedReceipt {
    signed: SignedReceipt,
    signer: NodeId,
}

impl CheckedReceipt {
    /// Checks signature and body.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn new(signed: SignedReceipt, signer: NodeId) -> Result<Self, ReceiptError> {
        signed.verify(&signer)?;
        Ok(Self { signed, signer })
    }

    pub(super) fn checked_by(verifier: &Verifier, signed: SignedReceipt, signer: NodeId) -> Result<Self, ReceiptError> {
        if signed.receipt.body.digest() != signed.receipt.header.body {
            return Err(ReceiptError::Body);
        }
        verifier.verify(&signer, &signed.receipt.header.to_bytes(), &signed.signature)?;
        Ok(Self { signed, signer })
    }
}

/// Entries on their way into the ledger. Each method is whole: it enters what it says or nothing.
pub struct Batch<'a> {
    store: &'a dyn Store,
    key: &'a OperatorKey,
    state: &'a State,
    staged: State,
    writes: BTreeMap<(Table, Vec<u8>), (WriteMode, Vec<u8>)>,
    /// What changes with each receipt, encoded once at the end.
    jobs: BTreeMap<JobId, JobRecord>,
    totals: BTreeMap<AgreementId, Amount>,
    allowances: BTreeMap<AgreementId, Allowance>,
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("writes", &self.writes.len()).finish_non_exhaustive()
    }
}

impl<'a> Batch<'a> {
    pub(super) fn new(store: &'a dyn Store, key: &'a OperatorKey, state: &'a State) -> Self {
        let staged = State { next_order: state.next_order, ..State::default() };
        let (writes, jobs, totals) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { store, key, state, staged, writes, jobs, totals, allowances: BTreeMap::new() }
    }

    /// What is to be written, and what changes in memory when it is.
    pub(super) fn finish(mut self) -> Result<(Vec<Write>, State), StoreError> {
        let mut lines = Vec::new();
        for (channel, book) in &self.staged.books {
            lines.push(Line::new(Table::Heads, channel_key(*channel), &book.head, WriteMode::Put)?);
        }
        for (job, record) in &self.jobs {
            lines.push(Line::new(Table::Jobs, job_key(*job), record, WriteMode::Put)?);
        }
        for (agreement, total) in &self.totals {
            lines.push(Line::new(Table::Totals, agreement.as_bytes().to_vec(), total, WriteMode::Put)?);
        }
        self.write(lines)?;
        let write = |((table, key), (mode, value))| Write { table, key, value, mode };
        Ok((self.writes.into_iter().map(write).collect(), self.staged))
    }

    /// Writes down an agreement. The same one again is no error.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn record_agreement(&mut self, agreement: &Agreement, now: Timestamp) -> Result<(), LedgerError> {
        let key = agreement.id().as_bytes().to_vec();
        if self.get::<AgreementRecord>(Table::Agreements, &key)?.is_some() {
            return Ok(());
        }
        let record = AgreementRecord {
            by_provider: agreement.by_provider().clone(),
            by_requester: agreement.by_requester().clone(),
            recorded_at: now,
        };
        let expiry = expiry_key(agreement.terms().expires_at, agreement.id());
        Ok(self.write(vec![
            Line::new(Table::Agreements, key, &record, WriteMode::Insert)?,
            Line::new(Table::Expiries, expiry, &(), WriteMode::Insert)?,
        ])?)
    }

    /// Writes down the offer that an agreement begins with, for the dossier. The same one again is no error.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn record_offer(&mut self, offer: &Verified<Offer>) -> Result<OfferId, LedgerError> {
        let id = OfferId(offer.hash());
        let key = id.as_bytes().to_vec();
        if self.get::<Signed>(Table::Offers, &key)?.is_none() {
            self.write(vec![Line::new(Table::Offers, key, offer.signed(), WriteMode::Insert)?])?;
        }
        Ok(id)
    }

    /// Marks a salt as used, before a channel is opened with it.
    ///
    /// # Errors
    /// [`LedgerError::SaltUsed`].
    pub fn use_salt(&mut self, salt: Digest) -> Result<(), LedgerError> {
        let key = salt.as_bytes().to_vec();
        if self.get::<()>(Table::Salts, &key)?.is_some() {
            return Err(LedgerError::SaltUsed);
        }
        Ok(self.write(vec![Line::new(Table::Salts, key, &(), WriteMode::Insert)?])?)
    }

    /// Opens a book for a channel. The same one again is no error.
    ///
    /// # Errors
    /// [`LedgerError::NotOurKey`], [`LedgerError::OtherTerms`].
    pub fn record_channel(&mut self, role: Role, terms: ChannelTerms, now: Timestamp) -> Result<ChannelRef, LedgerError> {
        let channel = terms.channel()?;
        let ours = match role {
            Role::Requester => terms.requester,
            Role::Provider => terms.provider,
        };
        if ours != self.key.node_id() {
            return Err(LedgerError::NotOurKey);
        }
        if let Ok(book) = self.book(channel) {
            return if book.record.role == role { Ok(channel) } else { Err(LedgerError::OtherTerms(channel)) };
        }
        let record = ChannelRecord { role, terms, recorded_at: now };
        self.write(vec![Line::new(Table::Channels, channel_key(channel), &record, WriteMode::Insert)?])?;
        self.staged.books.insert(channel, ChannelBook::new(channel, record, Head::default()));
        Ok(channel)
    }

    /// Enters what was seen on chain. `false` when something newer was seen before.
    ///
    /// # Errors
    /// [`LedgerError::UnknownChannel`].
    pub fn record_sight(&mut self, channel: ChannelRef, sight: ChainSight) -> Result<bool, LedgerError> {
        Ok(self.book_mut(channel)?.see(sight))
    }

    /// Gives the work its place in the channel and our signature, if the agreement's cap, the deposit and the float carry it together
    /// with whatever other jobs did meanwhile. A second try with the same work gives the same receipt.
    ///
    /// # Errors
    /// [`LedgerError::Receipt`] and [`LedgerError::UnknownAgreement`], and nothing was numbered.
    pub fn issue_receipt(&mut self, draft: &ReceiptDraft) -> Result<SignedReceipt, LedgerError> {
        let job = self.job(draft.job)?;
        let book = self.book(draft.channel)?;
        book.expect(Role::Provider)?;
        if let Some(job) = &job
            && (job.usage, job.is_final) == (draft.usage, draft.last)
            && let Some(record) = self.receipt(job.channel, job.last_sequence)?
            && repeats(draft, &record.receipt.receipt)
        {
            return Ok(record.receipt);
        }
        let is_first = job.is_none();
        let (receipt, job) = book.next_receipt(draft, job.as_ref())?;
        let allowance = self.allowance(draft.agreement)?;
        let total = check_allowance(&receipt, &allowance, self.total(draft.agreement)?)?;
        self.book(draft.channel)?.check_risk(&receipt, is_first, &allowance)?;
        let signed = receipt.sign(self.key);
        self.push_receipt(signed, job, total)?;
        Ok(signed)
    }

    /// Enters a provider's receipt. `false` when it was entered before.
    ///
    /// # Errors
    /// [`LedgerError::Receipt`]; see [`ReceiptFault::penalty`].
    pub fn record_receipt(&mut self, checked: &CheckedReceipt) -> Result<bool, LedgerError> {
        let header = &checked.signed.receipt.header;
        let job = self.job(header.job)?;
        let book = self.book(header.channel)?;
        book.expect(Role::Requester)?;
        if checked.signer != book.record.terms.provider {
            return Err(ReceiptFault::OtherChannel.into());
        }
        if header.sequence <= book.sequence()
            && let Some(known) = self.receipt(header.channel, header.sequence)?
        {
            if known.receipt.receipt == checked.signed.receipt {
                return Ok(false);
            }
            let fault = ReceiptFault::Equivocation { sequence: header.sequence };
            self.freeze(header.channel, told_by_receipt(&fault))?;
            return Err(fault.into());
        }
        let receipt = &checked.signed.receipt;
        let job = book.check_receipt(receipt, job.as_ref())?;
        let total = check_allowance(receipt, &self.allowance(job.agreement)?, self.total(job.agreement)?)?;
        self.push_receipt(checked.signed, job, total)?;
        Ok(true)
    }

    /// Signs the voucher over all receipts so far. When the best one covers them, it is given again.
    ///
    /// # Errors
    /// [`LedgerError::Voucher`].
    pub fn issue_voucher(&mut self, channel: ChannelRef) -> Result<SignedVoucher, LedgerError> {
        let book = self.book(channel)?;
        book.expect(Role::Requester)?;
        let Some(voucher) = book.next_voucher()? else {
            return book.head.voucher.ok_or_else(|| VoucherFault::NoReceipts.into());
        };
        let signed = voucher.sign(self.key);
        self.push_voucher(signed)?;
        Ok(signed)
    }

    /// Enters a requester's voucher. `false` when it was entered before.
    ///
    /// # Errors
    /// [`LedgerError::Voucher`]; see [`VoucherFault::penalty`].
    pub fn accept_voucher(&mut self, checked: &CheckedVoucher) -> Result<bool, LedgerError> {
        let book = self.book(checked.signed.voucher.channel)?;
        book.expect(Role::Provider)?;
        let voucher = checked.signed.voucher;
        let is_new = match book.check_voucher(&checked.signed, checked.signer) {
            Err(LedgerError::Voucher(fault)) => {
                let found = told_by_voucher(&fault, voucher.sequence);
                self.freeze(voucher.channel, found)?;
                if found.is_some() {
                    self.book_mut(voucher.channel)?.salvage(checked.signed);
                }
                return Err(fault.into());
            }
            checked => checked?,
        };
        if is_new {
            self.push_voucher(checked.signed)?;
        }
        Ok(is_new)
    }

    /// Writes down that a channel's books are not the newest. The first finding stays; it alone is about the books as they were.
    fn freeze(&mut self, channel: ChannelRef, found: Option<Rollback>) -> Result<(), LedgerError> {
        if let Some(found) = found
            && self.book(channel)?.head.rollback.is_none()
        {
            self.book_mut(channel)?.head.rollback = Some(found);
        }
        Ok(())
    }

    /// Signs the end of a channel, at what its best voucher pays. From here on nothing is receipted or paid in it: a newer voucher could
    /// be lost to whoever delivers this statement.
    ///
    /// # Errors
    /// [`LedgerError::UnknownChannel`]; [`LedgerError::Frozen`] for a provider, whose best voucher may be one that it forgot.
    pub fn end_channel(&mut self, channel: ChannelRef) -> Result<(CooperativeClose, Signature), LedgerError> {
        let key = self.key;
        let book = self.book_mut(channel)?;
        if let Some(end) = book.head.end {
            return Ok(end);
        }
        if book.record.role == Role::Provider {
            book.check_not_frozen()?;
        }
        let statement = book.end_statement();
        let end = (statement, statement.sign(key));
        book.head.end = Some(end);
        Ok(end)
    }

    /// Enters a new order to the chain.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn add_order(&mut self, record: OrderRecord) -> Result<OrderId, LedgerError> {
        let id = OrderId(self.staged.next_order);
        self.write(vec![Line::new(Table::Orders, order_key(id), &record, WriteMode::Insert)?])?;
        self.staged.next_order = self.staged.next_order.saturating_add(1);
        self.staged.orders.insert(id, record);
        Ok(id)
    }

    /// Enters what came of an order.
    ///
    /// # Errors
    /// [`LedgerError::OrderMoved`] when it no longer is where this could come of it: two settlers must not both sign a message for
    /// one order, or both would take effect.
    pub fn update_order(&mut self, id: OrderId, record: OrderRecord) -> Result<(), LedgerError> {
        let before: Option<OrderRecord> = self.get(Table::Orders, &order_key(id))?;
        if before.is_some_and(|before| !before.may_become(&record.state)) {
            return Err(LedgerError::OrderMoved(id));
        }
        self.write(vec![Line::new(Table::Orders, order_key(id), &record, WriteMode::Put)?])?;
        self.staged.orders.insert(id, record);
        Ok(())
    }

    /// A channel's book as this batch leaves it.
    ///
    /// # Errors
    /// [`LedgerError::UnknownChannel`].
    pub fn book(&self, channel: ChannelRef) -> Result<&ChannelBook, LedgerError> {
        self.staged.books.get(&channel).or_else(|| self.state.books.get(&channel)).ok_or(LedgerError::UnknownChannel(channel))
    }

    /// A job's record as this batch leaves it.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn job(&self, job: JobId) -> Result<Option<JobRecord>, LedgerError> {
        match self.jobs.get(&job) {
            Some(staged) => Ok(Some(*staged)),
            None => Ok(self.get(Table::Jobs, &job_key(job))?),
        }
    }

    /// What all jobs under an agreement cost so far, as this batch leaves it.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn total(&self, agreement: AgreementId) -> Result<Amount, LedgerError> {
        match self.totals.get(&agreement) {
            Some(staged) => Ok(*staged),
            None => Ok(self.get(Table::Totals, agreement.as_bytes())?.unwrap_or(Amount::ZERO)),
        }
    }

    fn allowance(&mut self, agreement: AgreementId) -> Result<Allowance, LedgerError> {
        if let Some(known) = self.allowances.get(&agreement) {
            return Ok(*known);
        }
        let record: Option<AgreementRecord> = self.get(Table::Agreements, agreement.as_bytes())?;
        let allowance = record.ok_or(LedgerError::UnknownAgreement(agreement))?.allowance()?;
        self.allowances.insert(agreement, allowance);
        Ok(allowance)
    }

    fn receipt(&self, channel: ChannelRef, sequence: u64) -> Result<Option<ReceiptRecord>, LedgerError> {
        Ok(self.get(Table::Receipts, &sequence_key(channel, sequence))?)
    }

    fn book_mut(&mut self, channel: ChannelRef) -> Result<&mut ChannelBook, LedgerError> {
        if !self.staged.books.contains_key(&channel) {
            let copy = self.book(channel)?.clone();
            self.staged.books.insert(channel, copy);
        }
        self.staged.books.get_mut(&channel).ok_or(LedgerError::UnknownChannel(channel))
    }

    fn push_receipt(&mut self, signed: SignedReceipt, job: JobRecord, total: Amount) -> Result<(), LedgerError> {
        let header = signed.receipt.header;
        let next = self.book(header.channel)?.tree_with(&signed);
        let receipt = ReceiptRecord { receipt: signed, root: next.root };
        let key = sequence_key(header.channel, header.sequence);
        self.write(vec![Line::new(Table::Receipts, key, &receipt, WriteMode::Insert)?])?;
        self.totals.insert(job.agreement, total);
        self.jobs.insert(header.job, job);
        self.book_mut(header.channel)?.push_receipt(&signed, next);
        Ok(())
    }

    fn push_voucher(&mut self, signed: SignedVoucher) -> Result<(), LedgerError> {
        let voucher = signed.voucher;
        let key = sequence_key(voucher.channel, voucher.sequence);
        self.write(vec![Line::new(Table::Vouchers, key, &signed, WriteMode::Insert)?])?;
        self.book_mut(voucher.channel)?.push_voucher(signed);
        Ok(())
    }

    fn get<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        if let Some((_, staged)) = self.writes.get(&(table, key.to_vec())) {
            return decode(table, staged).map(Some);
        }
        self.store.get(table, key)?.map(|stored| decode(table, &stored)).transpose()
    }

    /// Stages all lines or none.
    fn write(&mut self, lines: Vec<Line>) -> Result<(), StoreError> {
        let taken = |line: &&Line| line.mode == WriteMode::Insert && self.writes.contains_key(&line.at);
        if let Some(line) = lines.iter().find(taken) {
            return Err(StoreError::Exists(line.at.0));
        }
        for line in lines {
            // A put over an insert of the same batch stays an insert: the key is still new to the store.
            let mode = self.writes.get(&line.at).map_or(line.mode, |(mode, _)| *mode);
            self.writes.insert(line.at, (mode, line.value));
        }
        Ok(())
    }
}

struct Line {
    at: (Table, Vec<u8>),
    value: Vec<u8>,
    mode: WriteMode,
}

impl Line {
    fn new<T: Serialize>(table: Table, key: Vec<u8>, value: &T, mode: WriteMode) -> Result<Self, StoreError> {
        Ok(Self { at: (table, key), value: encode(table, value)?, mode })
    }
}
