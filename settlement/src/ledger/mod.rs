//! The ledger: what was agreed, receipted, paid, claimed, and never forgotten.
//!
//! Nothing leaves a node before it is in the ledger, durably: a requester's voucher is money, a provider's receipt uses up its
//! sequence for ever, and a message to the chain may take effect long after the node that sent it has crashed. So every method that
//! gives something away returns only when the store has it. After a restart, or a crash at any write, everything that was given
//! away is there.
//!
//! What keeps it so:
//! - receipts and vouchers are *inserted*, never replaced: the store itself refuses a second one with the same sequence;
//! - a voucher is only superseded by one that covers more receipts; a receipt's sequence is one above the last;
//! - what a receipt may cost is decided by the commit that numbers it, so that jobs side by side stay below the agreement's cap, the
//!   deposit and the float together; a job gets one last receipt;
//! - both sides compute the root of the receipts tree, and a voucher passes only with exactly that root and sum;
//! - the operator key lives in here, so no voucher or receipt is signed that isn't written down;
//! - a second process cannot open the same file;
//! - books that are older than what was signed with their key are noticed, and the channel is frozen ([`rollback`]).
//!
//! What is slow, signatures and the disk, is shared: signatures are checked before the ledger is locked, and while one thread
//! writes, the others gather behind it and are written together by the next commit ([`Ledger::commit`]).
//!
//! ```
//! use cocoon_market::OperatorKey;
//! use cocoon_settlement::ledger::{Ledger, MemoryStore};
//!
//! let ledger = Ledger::open(MemoryStore::default(), OperatorKey::from_seed(&[7; 32]))?;
//! assert!(ledger.channels()?.is_empty());
//! # Ok::<(), cocoon_settlement::ledger::LedgerError>(())
//! ```
//!
//! Modules in reading order: [`record`] (what entries say), [`book`] (the rules of one channel), [`batch`] (entries that become durable
//! together), [`orders`] (what was asked of a chain), [`audit`] (whether it all sums), [`rollback`] (whether it is the newest),
//! [`store`] and [`RedbStore`] (where they are kept).

pub mod audit;
pub mod batch;
pub mod book;
pub mod error;
pub mod orders;
pub mod record;
pub mod rollback;
pub mod store;

mod group;
#[cfg(feature = "redb")]
mod redb_store;
mod state;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verifier;

use cocoon_market::ids::Digest;
use cocoon_market::{
    Agreement, AgreementId, Amount, ChannelRef, CooperativeClose, JobId, Offer, OfferId, Signature, Signed, SignedReceipt, SignedVoucher,
    Timestamp, Verified,
};

pub use audit::{Audit, AuditError, AuditFault, ChannelAudit, PartyAudit, Sums};
pub use batch::{Batch, CheckedReceipt, CheckedVoucher};
pub use book::{ChannelBook, ReceiptDraft, UNPAID_JOBS_A_PLACE_MAX, UNPAID_RECEIPTS_MAX};
pub use error::{LedgerError, ReceiptFault, VoucherFault};
pub use group::Ledger;
pub use orders::{Landed, Order, OrderFailure, OrderId, OrderRecord, OrderState, Sender, SentMessage};
pub use record::{AgreementRecord, ChainSight, ChannelRecord, Head, JobRecord, OpenAgreement, ReceiptRecord, Role};
#[cfg(feature = "redb")]
pub use redb_store::RedbStore;
pub use rollback::Rollback;
pub use store::{Damage, MemoryStore, Store, StoreError, Table, Write, WriteMode};

use record::{decode, expiring, expiry_key, job_key, sequence_key};

use crate::contract::ChannelTerms;

/// Entries, each durable when its method returns.
impl Ledger {
    /// Writes down an agreement.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn record_agreement(&self, agreement: &Agreement, now: Timestamp) -> Result<(), LedgerError> {
        let agreement = agreement.clone();
        self.commit(move |batch| batch.record_agreement(&agreement, now))?
    }

    /// Writes down the offer that an agreement begins with.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn record_offer(&self, offer: &Verified<Offer>) -> Result<OfferId, LedgerError> {
        let offer = offer.clone();
        self.commit(move |batch| batch.record_offer(&offer))?
    }

    /// Marks a random salt as used and gives it back, for a channel about to be opened.
    ///
    /// # Errors
    /// [`LedgerError::SaltUsed`] when `random` wasn't.
    pub fn next_salt(&self, random: [u8; 32]) -> Result<Digest, LedgerError> {
        self.commit(move |batch| batch.use_salt(Digest(random)))??;
        Ok(Digest(random))
    }

    /// Opens a book for a channel.
    ///
    /// # Errors
    /// [`LedgerError::NotOurKey`].
    pub fn record_channel(&self, role: Role, terms: ChannelTerms, now: Timestamp) -> Result<ChannelRef, LedgerError> {
        self.commit(move |batch| batch.record_channel(role, terms, now))?
    }

    /// Enters what was seen of a channel on its chain.
    ///
    /// # Errors
    /// [`LedgerError::UnknownChannel`].
    pub fn record_sight(&self, channel: ChannelRef, sight: ChainSight) -> Result<bool, LedgerError> {
        self.commit(move |batch| batch.record_sight(channel, sight))?
    }

    /// Provider: numbers and signs the receipt for some work, if the agreement, the deposit and the float carry it.
    ///
    /// # Errors
    /// [`LedgerError::Receipt`], [`LedgerError::UnknownAgreement`].
    pub fn issue_receipt(&self, draft: ReceiptDraft) -> Result<SignedReceipt, LedgerError> {
        self.commit(move |batch| batch.issue_receipt(&draft))?
    }

    /// Provider: takes a voucher. `false` when it was there already.
    ///
    /// # Errors
    /// [`LedgerError::Voucher`].
    pub fn accept_voucher(&self, signed: SignedVoucher) -> Result<bool, LedgerError> {
        let checked = self.check_voucher(signed)?;
        self.commit(move |batch| batch.accept_voucher(&checked))?
    }

    /// Requester: takes a receipt without paying it yet. `false` when it was there already.
    ///
    /// # Errors
    /// [`LedgerError::Receipt`].
    pub fn record_receipt(&self, signed: SignedReceipt) -> Result<bool, LedgerError> {
        let checked = self.check_receipt(signed)?;
        self.commit(move |batch| batch.record_receipt(&checked))?
    }

    /// Requester: signs the voucher over all receipts so far.
    ///
    /// # Errors
    /// [`LedgerError::Voucher`].
    pub fn issue_voucher(&self, channel: ChannelRef) -> Result<SignedVoucher, LedgerError> {
        self.commit(move |batch| batch.issue_voucher(channel))?
    }

    /// Requester: takes a receipt and signs the voucher that pays it, in one commit. The caller has compared the receipt with
    /// what it received and with the agreement; the ledger compares it with the channel.
    ///
    /// # Errors
    /// [`LedgerError::Receipt`]; [`LedgerError::Voucher`], and then the receipt is entered and can be paid after a top-up.
    pub fn pay_receipt(&self, signed: SignedReceipt) -> Result<SignedVoucher, LedgerError> {
        let checked = self.check_receipt(signed)?;
        self.commit(move |batch| {
            batch.record_receipt(&checked)?;
            batch.issue_voucher(signed.receipt.header.channel)
        })?
    }

    /// Signs the end of a channel at what its best voucher pays.
    ///
    /// # Errors
    /// [`LedgerError::UnknownChannel`].
    pub fn end_channel(&self, channel: ChannelRef) -> Result<(CooperativeClose, Signature), LedgerError> {
        self.commit(move |batch| batch.end_channel(channel))?
    }

    /// The other side's consent to end a channel, ready to be delivered, once both signed the same figure.
    ///
    /// # Errors
    /// [`LedgerError::CloseAmount`] when it signed another figure, [`LedgerError::CloseSignature`].
    pub fn countersigned_end(&self, channel: ChannelRef, theirs: &CooperativeClose, signature: Signature) -> Result<Order, LedgerError> {
        // Nothing of ours ends before theirs is checked: a peer that sends nonsense must not stop a channel.
        let book = self.channel(channel)?;
        let record = book.record;
        let figure = book.head.end.map_or_else(|| book.end_statement(), |(statement, _)| statement);
        let other = match record.role {
            Role::Requester => record.terms.provider,
            Role::Provider => record.terms.requester,
        };
        let same_figure = |ours: &CooperativeClose| {
            if theirs == ours { Ok(()) } else { Err(LedgerError::CloseAmount { have: ours.cumulative, got: theirs.cumulative }) }
        };
        same_figure(&figure)?;
        theirs.verify(&other, &signature).map_err(LedgerError::CloseSignature)?;
        let (ours, our_signature) = self.end_channel(channel)?;
        same_figure(&ours)?;
        let (requester, provider) = match record.role {
            Role::Requester => (our_signature, signature),
            Role::Provider => (signature, our_signature),
        };
        Ok(Order::CloseTogether { statement: ours, requester, provider })
    }

    /// Enters an order to the chain. The settler carries it out.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn add_order(&self, order: Order, now: Timestamp) -> Result<OrderId, LedgerError> {
        self.commit(move |batch| batch.add_order(OrderRecord::new(order, now)))?
    }

    /// Enters what came of an order.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn update_order(&self, id: OrderId, record: OrderRecord) -> Result<(), LedgerError> {
        self.commit(move |batch| batch.update_order(id, record))?
    }

    /// Checks a receipt's body and its provider's signature, for a batch. Keys are kept, so this is faster than [`CheckedReceipt::new`].
    ///
    /// # Errors
    /// [`LedgerError::Receipt`], [`LedgerError::UnknownChannel`].
    pub fn check_receipt(&self, signed: SignedReceipt) -> Result<CheckedReceipt, LedgerError> {
        let signer = self.record(signed.receipt.header.channel)?.terms.provider;
        Ok(CheckedReceipt::checked_by(self.verifier(), signed, signer).map_err(ReceiptFault::Receipt)?)
    }

    /// Checks the signature of a voucher's requester, for a batch. Keys are kept, so this is faster than [`CheckedVoucher::new`].
    ///
    /// # Errors
    /// [`LedgerError::Voucher`], [`LedgerError::UnknownChannel`].
    pub fn check_voucher(&self, signed: SignedVoucher) -> Result<CheckedVoucher, LedgerError> {
        let signer = self.record(signed.voucher.channel)?.terms.requester;
        Ok(CheckedVoucher::checked_by(self.verifier(), signed, signer).map_err(VoucherFault::Signature)?)
    }
}

/// Questions.
impl Ledger {
    /// The books of all channels.
    ///
    /// # Errors
    /// [`LedgerError::Store`] when the ledger failed and cannot be read back.
    pub fn channels(&self) -> Result<Vec<ChannelBook>, LedgerError> {
        self.with_state(|state| state.books.values().cloned().collect())
    }

    /// The book of one channel.
    ///
    /// # Errors
    /// [`LedgerError::UnknownChannel`].
    pub fn channel(&self, channel: ChannelRef) -> Result<ChannelBook, LedgerError> {
        self.with_state(|state| state.books.get(&channel).cloned())?.ok_or(LedgerError::UnknownChannel(channel))
    }

    /// Orders that something may still come of.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn open_orders(&self) -> Result<Vec<(OrderId, OrderRecord)>, LedgerError> {
        self.with_state(|state| state.orders.iter().map(|(id, record)| (*id, record.clone())).collect())
    }

    /// One order, whatever its state.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn order(&self, id: OrderId) -> Result<Option<OrderRecord>, LedgerError> {
        self.read(Table::Orders, &orders::order_key(id))
    }

    /// At most `limit` orders from `from` on, oldest first.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn orders(&self, from: OrderId, limit: usize) -> Result<Vec<(OrderId, OrderRecord)>, LedgerError> {
        let entries = self.store().scan(Table::Orders, &[], &orders::order_key(from), limit)?;
        entries.iter().map(|(key, value)| Ok((orders::order_of(key)?, decode(Table::Orders, value)?))).collect()
    }

    /// An agreement.
    ///
    /// # Errors
    /// [`LedgerError::Store`], also for one that is stored and does not open.
    pub fn agreement(&self, id: AgreementId) -> Result<Option<Agreement>, LedgerError> {
        let Some(record) = self.read::<AgreementRecord>(Table::Agreements, id.as_bytes())? else { return Ok(None) };
        let agreement = Agreement::open(record.by_provider, record.by_requester);
        Ok(Some(agreement.map_err(|_| StoreError::Damaged(Damage::Entry(Table::Agreements)))?))
    }

    /// At most `limit` agreements from `from` on, in the order of their ids.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn agreements(&self, from: AgreementId, limit: usize) -> Result<Vec<Agreement>, LedgerError> {
        let entries = self.store().scan(Table::Agreements, &[], from.as_bytes(), limit)?;
        let agreement = |(_, value): &(Vec<u8>, Vec<u8>)| {
            let record: AgreementRecord = decode(Table::Agreements, value)?;
            let damaged = |_| StoreError::Damaged(Damage::Entry(Table::Agreements));
            Ok(Agreement::open(record.by_provider, record.by_requester).map_err(damaged)?)
        };
        entries.iter().map(agreement).collect()
    }

    /// At most `limit` agreements under which jobs may begin after `now`, those that end first before the others. An agreement whose
    /// channel has ended is not over, and nothing comes of it.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn open_agreements(&self, now: Timestamp, limit: usize) -> Result<Vec<OpenAgreement>, LedgerError> {
        let after = expiry_key(now.plus_ms(1), AgreementId([0; 32]));
        let entries = self.store().scan(Table::Expiries, &[], &after, limit)?;
        let open = |(key, _): &(Vec<u8>, Vec<u8>)| {
            let id = expiring(key)?;
            let record: Option<AgreementRecord> = self.read(Table::Agreements, id.as_bytes())?;
            let terms = record.ok_or(StoreError::Damaged(Damage::Contradiction(Table::Expiries)))?.terms()?;
            Ok(OpenAgreement { id, channel: terms.channel, at_risk: terms.at_risk() })
        };
        entries.iter().map(open).collect()
    }

    /// The signed offer that an agreement began with.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn offer(&self, id: OfferId) -> Result<Option<Signed>, LedgerError> {
        self.read(Table::Offers, id.as_bytes())
    }

    /// What all jobs under an agreement cost so far; what is left of its cap follows.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn total(&self, agreement: AgreementId) -> Result<Amount, LedgerError> {
        Ok(self.read(Table::Totals, agreement.as_bytes())?.unwrap_or(Amount::ZERO))
    }

    /// A job's place in the books.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn job(&self, job: JobId) -> Result<Option<JobRecord>, LedgerError> {
        self.read(Table::Jobs, &job_key(job))
    }

    /// At most `limit` jobs from `from` on, in the order of their ids.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn jobs(&self, from: JobId, limit: usize) -> Result<Vec<(JobId, JobRecord)>, LedgerError> {
        let entries = self.store().scan(Table::Jobs, &[], &job_key(from), limit)?;
        let job = |(key, value): &(Vec<u8>, Vec<u8>)| {
            let id = key.as_slice().try_into().map_err(|_| StoreError::Damaged(Damage::Entry(Table::Jobs)))?;
            Ok((JobId(id), decode(Table::Jobs, value)?))
        };
        entries.iter().map(job).collect()
    }

    /// At most `limit` receipts of a channel from `from` on.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn receipts(&self, channel: ChannelRef, from: u64, limit: usize) -> Result<Vec<ReceiptRecord>, LedgerError> {
        let entries = self.store().scan(Table::Receipts, &record::channel_key(channel), &sequence_key(channel, from), limit)?;
        entries.iter().map(|(_, value)| Ok(decode(Table::Receipts, value)?)).collect()
    }

    /// Receipts that no voucher covers yet, for a peer that lost them.
    ///
    /// # Errors
    /// [`LedgerError::UnknownChannel`].
    pub fn unpaid_receipts(&self, channel: ChannelRef) -> Result<Vec<SignedReceipt>, LedgerError> {
        let paid = self.channel(channel)?.head.voucher.map_or(0, |signed| signed.voucher.sequence);
        let records = self.receipts(channel, paid.saturating_add(1), UNPAID_RECEIPTS_MAX)?;
        Ok(records.into_iter().map(|record| record.receipt).collect())
    }

    /// At most `limit` vouchers of a channel that cover `from` receipts or more, in the order in which they were given.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn vouchers(&self, channel: ChannelRef, from: u64, limit: usize) -> Result<Vec<SignedVoucher>, LedgerError> {
        let entries = self.store().scan(Table::Vouchers, &record::channel_key(channel), &sequence_key(channel, from), limit)?;
        entries.iter().map(|(_, value)| Ok(decode(Table::Vouchers, value)?)).collect()
    }

    /// The first voucher that covers a receipt.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn voucher_covering(&self, channel: ChannelRef, sequence: u64) -> Result<Option<SignedVoucher>, LedgerError> {
        Ok(self.vouchers(channel, sequence, 1)?.first().copied())
    }

    /// What all channels of one role have in unpaid receipts and in vouchers that were not drawn yet.
    ///
    /// # Errors
    /// [`LedgerError::Amount`], [`LedgerError::Store`].
    pub fn exposure(&self, role: Role) -> Result<Exposure, LedgerError> {
        let books = self.channels()?;
        let of_role = || books.iter().filter(|book| book.record.role == role);
        Ok(Exposure {
            unpaid: Amount::sum(of_role().map(ChannelBook::unpaid))?,
            undrawn: Amount::sum(of_role().map(ChannelBook::undrawn))?,
        })
    }

    fn record(&self, channel: ChannelRef) -> Result<ChannelRecord, LedgerError> {
        self.with_state(|state| state.books.get(&channel).map(|book| book.record))?.ok_or(LedgerError::UnknownChannel(channel))
    }

    fn read<T: serde::de::DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, LedgerError> {
        Ok(self.store().get(table, key)?.map(|bytes| decode(table, &bytes)).transpose()?)
    }
}

/// Money that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Receipted and not paid by voucher.
    pub unpaid: Amount,
    /// Paid by voucher and not drawn on chain.
    pub undrawn: Amount,
}
