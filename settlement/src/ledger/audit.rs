//! The audit: what each channel's receipts, vouchers, orders and chain say, and that it sums.
//!
//! Every nano-unit is in exactly one place of each line:
//!
//! ```text
//! receipted    = acknowledged + unacknowledged            receipts against the best voucher
//! acknowledged = waiting + in batch + settled + disputed  the voucher against the chain
//! deposited    = settled + refunded + held                the chain against itself
//! ```
//!
//! For a provider the first two lines are owed to it, for a requester they are owed by it. A requester does not see its provider's
//! orders, so what it pays is `waiting` until the chain shows it drawn.
//!
//! Nothing is taken from where it was written for speed without being counted anew: the receipts are read one by one and summed, the
//! jobs are summed beside them, and the best voucher is held against the receipt it ends with. What does not fit is an [`AuditFault`]
//! of its channel, whose sums are then left out.

use std::collections::BTreeMap;

use cocoon_market::{Amount, AmountError, ChannelRef, JobId, NodeId, SignedVoucher, Timestamp};
use serde::{Deserialize, Serialize};

use super::Ledger;
use super::book::ChannelBook;
use super::error::LedgerError;
use super::orders::Order;
use super::record::{ChainSight, ReceiptRecord, Role};
use super::rollback::{Rollback, check_sight};
use crate::contract::ChannelStatus;

/// Entries read from the store at a time.
const PAGE: usize = 1024;

/// Where the money of some channels is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// All that receipts sum to.
    pub receipted_nanoton: Amount,
    /// Of it: what the best voucher does not cover.
    pub unacknowledged_nanoton: Amount,
    /// Of it: what the best voucher covers.
    pub acknowledged_nanoton: Amount,
    /// Of what is acknowledged: the chain would pay it, and nobody asked it to.
    pub waiting_nanoton: Amount,
    /// Of what is acknowledged: an order of ours that is under way draws it.
    pub in_batch_nanoton: Amount,
    /// Of what is acknowledged: drawn on chain, as last seen.
    pub settled_nanoton: Amount,
    /// Of what is acknowledged: the chain will not pay it, because the deposit does not cover it or the channel is over.
    pub disputed_nanoton: Amount,
    /// All that was ever deposited, as last seen.
    pub deposited_nanoton: Amount,
    /// Of it: what went back to the requester.
    pub refunded_nanoton: Amount,
    /// Of it: what the channel still holds.
    pub held_nanoton: Amount,
}

impl Sums {
    /// Nothing anywhere.
    pub const ZERO: Self = Self {
        receipted_nanoton: Amount::ZERO,
        unacknowledged_nanoton: Amount::ZERO,
        acknowledged_nanoton: Amount::ZERO,
        waiting_nanoton: Amount::ZERO,
        in_batch_nanoton: Amount::ZERO,
        settled_nanoton: Amount::ZERO,
        disputed_nanoton: Amount::ZERO,
        deposited_nanoton: Amount::ZERO,
        refunded_nanoton: Amount::ZERO,
        held_nanoton: Amount::ZERO,
    };

    /// Both together.
    ///
    /// # Errors
    /// [`AmountError`] beyond all money.
    pub fn checked_add(&self, other: &Self) -> Result<Self, AmountError> {
        Ok(Self {
            receipted_nanoton: self.receipted_nanoton.checked_add(other.receipted_nanoton)?,
            unacknowledged_nanoton: self.unacknowledged_nanoton.checked_add(other.unacknowledged_nanoton)?,
            acknowledged_nanoton: self.acknowledged_nanoton.checked_add(other.acknowledged_nanoton)?,
            waiting_nanoton: self.waiting_nanoton.checked_add(other.waiting_nanoton)?,
            in_batch_nanoton: self.in_batch_nanoton.checked_add(other.in_batch_nanoton)?,
            settled_nanoton: self.settled_nanoton.checked_add(other.settled_nanoton)?,
            disputed_nanoton: self.disputed_nanoton.checked_add(other.disputed_nanoton)?,
            deposited_nanoton: self.deposited_nanoton.checked_add(other.deposited_nanoton)?,
            refunded_nanoton: self.refunded_nanoton.checked_add(other.refunded_nanoton)?,
            held_nanoton: self.held_nanoton.checked_add(other.held_nanoton)?,
        })
    }

    /// Checks that each line sums.
    ///
    /// # Errors
    /// [`AuditFault::Unbalanced`], [`AuditFault::Amount`].
    pub fn check(&self) -> Result<(), AuditFault> {
        let voucher = [self.waiting_nanoton, self.in_batch_nanoton, self.settled_nanoton, self.disputed_nanoton];
        line(Line::Receipted, self.receipted_nanoton, &[self.acknowledged_nanoton, self.unacknowledged_nanoton])?;
        line(Line::Acknowledged, self.acknowledged_nanoton, &voucher)?;
        line(Line::Deposited, self.deposited_nanoton, &[self.settled_nanoton, self.refunded_nanoton, self.held_nanoton])
    }
}

fn line(of: Line, whole: Amount, parts: &[Amount]) -> Result<(), AuditFault> {
    let parts = Amount::sum(parts.iter().copied())?;
    if whole == parts { Ok(()) } else { Err(AuditFault::Unbalanced { line: of, whole, parts }) }
}

/// A line of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Receipts against the best voucher.
    #[error("receipted")]
    Receipted,
    /// The voucher against the chain.
    #[error("acknowledged")]
    Acknowledged,
    /// The chain against itself.
    #[error("deposited")]
    Deposited,
}

/// What does not fit in a channel's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum AuditFault {
    /// The books are not the newest.
    #[error(transparent)]
    Rollback(#[from] Rollback),
    /// A voucher pays for work that was not done.
    #[error("the best voucher is for {acknowledged}, the receipts sum to {receipted}")]
    VoucherAboveReceipts {
        /// What the receipts sum to.
        receipted: Amount,
        /// What the voucher says.
        acknowledged: Amount,
    },
    /// No contract pays what it does not hold.
    #[error("{drawn} was drawn of a deposit of {deposited}")]
    DrawnAboveDeposit {
        /// What was deposited.
        deposited: Amount,
        /// What was drawn.
        drawn: Amount,
    },
    /// The stored receipts are not as many as the book counts.
    #[error("{stored} receipts are stored, the book counts {counted}")]
    ReceiptCount {
        /// How many are stored.
        stored: u64,
        /// How many should be.
        counted: u64,
    },
    /// The stored receipts sum to something else than the book says.
    #[error("the stored receipts sum to {stored}, the book says {counted}")]
    ReceiptSum {
        /// What they sum to.
        stored: Amount,
        /// What they should.
        counted: Amount,
    },
    /// The jobs sum to something else than the book says.
    #[error("the jobs sum to {jobs}, the book says {counted}")]
    JobSum {
        /// What they sum to.
        jobs: Amount,
        /// What they should.
        counted: Amount,
    },
    /// The best voucher is not over the receipts that are stored.
    #[error("the best voucher does not fit receipt {sequence}")]
    VoucherUnbacked {
        /// The last receipt it covers.
        sequence: u64,
    },
    /// A line does not sum.
    #[error("{line}: {whole} is not {parts}, which its parts sum to")]
    Unbalanced {
        /// Which.
        line: Line,
        /// The whole.
        whole: Amount,
        /// What the parts sum to.
        parts: Amount,
    },
    /// A sum is beyond all money.
    #[error("a sum is beyond all money")]
    Amount,
}

impl From<AmountError> for AuditFault {
    fn from(_: AmountError) -> Self {
        Self::Amount
    }
}

/// What an account is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// All that receipts sum to.
    pub owed: Amount,
    /// What the best voucher pays.
    pub paid: Amount,
    /// Up to where orders under way will have drawn.
    pub ordered: Amount,
    /// The chain as last seen.
    pub sight: Option<ChainSight>,
}

/// Makes a channel's account, which sums.
///
/// # Errors
/// [`AuditFault`], when the facts contradict each other.
pub fn account(facts: &Facts) -> Result<Sums, AuditFault> {
    let Facts { owed, paid, ordered, .. } = *facts;
    let above = |_| AuditFault::VoucherAboveReceipts { receipted: owed, acknowledged: paid };
    let unacknowledged = owed.checked_sub(paid).map_err(above)?;
    let (deposited, settled) = facts.sight.map_or((Amount::ZERO, Amount::ZERO), |sight| (sight.deposit, sight.drawn));
    let rest = deposited.checked_sub(settled).map_err(|_| AuditFault::DrawnAboveDeposit { deposited, drawn: settled })?;
    if let Some(sight) = &facts.sight {
        check_sight(paid, sight)?;
    }
    let payable = paid.min(facts.sight.map_or(Amount::ZERO, payable_max));
    let drawn_then = ordered.min(payable).max(settled);
    let is_closed = facts.sight.is_some_and(|sight| sight.status == ChannelStatus::Closed);
    let (refunded, held) = if is_closed { (rest, Amount::ZERO) } else { (Amount::ZERO, rest) };
    let sums = Sums {
        receipted_nanoton: owed,
        unacknowledged_nanoton: unacknowledged,
        acknowledged_nanoton: paid,
        waiting_nanoton: payable.checked_sub(drawn_then)?,
        in_batch_nanoton: drawn_then.checked_sub(settled)?,
        settled_nanoton: settled,
        disputed_nanoton: paid.checked_sub(payable)?,
        deposited_nanoton: deposited,
        refunded_nanoton: refunded,
        held_nanoton: held,
    };
    sums.check()?;
    Ok(sums)
}

/// Up to where the chain pays a voucher, drawn already included.
fn payable_max(sight: ChainSight) -> Amount {
    match sight.status {
        ChannelStatus::Open => sight.deposit,
        ChannelStatus::Closing { deadline_s } if sight.seen_at.unix_s() < u64::from(deadline_s) => sight.deposit,
        ChannelStatus::Closing { .. } | ChannelStatus::Closed => sight.drawn,
    }
}

/// Up to where an order draws each channel that it draws.
fn draws(order: &Order) -> Vec<(ChannelRef, Amount)> {
    match order {
        Order::CloseTogether { statement, .. } => vec![(statement.channel, statement.cumulative)],
        Order::Claim(_) | Order::Operator { .. } => {
            order.claims().map(|signed| (signed.voucher.channel, signed.voucher.cumulative)).collect()
        }
        Order::Open { .. }
        | Order::TopUp { .. }
        | Order::Close(_)
        | Order::Finish(_)
        | Order::Transfer { .. }
        | Order::Stake { .. }
        | Order::Provider { .. }
        | Order::Tell { .. } => Vec::new(),
    }
}

/// The account of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelAudit {
    /// Which.
    pub channel: ChannelRef,
    /// Our side.
    pub side: Role,
    /// The other side.
    pub peer: NodeId,
    /// Where it is in its life, as last seen.
    pub status: Option<ChannelStatus>,
    /// The time of the block it was last seen in.
    pub seen_at: Option<Timestamp>,
    /// How many receipts it has.
    pub receipts: u64,
    /// Where its money is. None when the books contradict each other.
    pub sums: Option<Sums>,
    /// What does not fit.
    pub fault: Option<AuditFault>,
    /// Why nothing new is promised in it, if so.
    pub frozen: Option<Rollback>,
}

/// The account of all channels with one counterparty, on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyAudit {
    /// Our side.
    pub side: Role,
    /// The other side.
    pub peer: NodeId,
    /// How many channels.
    pub channels: u64,
    /// Where their money is, but for those whose books contradict each other.
    pub sums: Sums,
}

/// The account of a whole ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Of each channel, in the order of their addresses.
    pub channels: Vec<ChannelAudit>,
    /// Of each counterparty.
    pub parties: Vec<PartyAudit>,
    /// Of everything that is owed to us.
    pub as_provider: Sums,
    /// Of everything that we owe.
    pub as_requester: Sums,
}

impl Audit {
    /// Adds up the accounts of some channels.
    ///
    /// # Errors
    /// [`AuditFault::Amount`] beyond all money, [`AuditFault::Unbalanced`] when a total does not sum.
    pub fn of(channels: Vec<ChannelAudit>) -> Result<Self, AuditFault> {
        let mut parties: BTreeMap<(bool, NodeId), PartyAudit> = BTreeMap::new();
        let mut audit = Self { channels, parties: Vec::new(), as_provider: Sums::ZERO, as_requester: Sums::ZERO };
        for row in &audit.channels {
            let sums = row.sums.unwrap_or(Sums::ZERO);
            let new = PartyAudit { side: row.side, peer: row.peer, channels: 0, sums: Sums::ZERO };
            let party = parties.entry((row.side == Role::Requester, row.peer)).or_insert(new);
            party.channels = party.channels.saturating_add(1);
            party.sums = party.sums.checked_add(&sums)?;
            let total = match row.side {
                Role::Provider => &mut audit.as_provider,
                Role::Requester => &mut audit.as_requester,
            };
            *total = total.checked_add(&sums)?;
        }
        audit.parties = parties.into_values().collect();
        audit.as_provider.check()?;
        audit.as_requester.check()?;
        Ok(audit)
    }

    /// Channels whose books contradict each other, and how.
    pub fn faults(&self) -> impl Iterator<Item = (ChannelRef, AuditFault)> {
        self.channels.iter().filter_map(|row| row.fault.map(|fault| (row.channel, fault)))
    }

    /// Channels in which nothing new is promised, and why.
    pub fn frozen(&self) -> impl Iterator<Item = (ChannelRef, Rollback)> {
        self.channels.iter().filter_map(|row| row.frozen.map(|found| (row.channel, found)))
    }
}

/// Why there is no audit.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The totals do not sum.
    #[error("the totals do not sum")]
    Totals(#[source] AuditFault),
}

impl Ledger {
    /// Reads everything and sums it. Others may write meanwhile: each channel is audited as it was at one moment.
    ///
    /// # Errors
    /// [`AuditError`]. What does not fit in a channel is no error here: see [`Audit::faults`].
    pub fn audit(&self) -> Result<Audit, AuditError> {
        let before: BTreeMap<ChannelRef, u64> = self.channels()?.iter().map(|book| (book.channel, book.sequence())).collect();
        let jobs = self.job_sums()?;
        let books = self.channels()?;
        let orders: Vec<(ChannelRef, Amount)> = self.open_orders()?.iter().flat_map(|(_, record)| draws(&record.order)).collect();
        let mut channels = Vec::new();
        for book in &books {
            let jobs = jobs.get(&book.channel).copied().unwrap_or_default();
            // The jobs were read in between, so they are of this moment only if nothing was receipted meanwhile, nor is in the store already.
            let is_still = before.get(&book.channel) == Some(&book.sequence()) && jobs.newest <= book.sequence();
            let jobs = is_still.then_some(jobs.sum);
            let ordered = orders.iter().filter(|(channel, _)| *channel == book.channel).map(|(_, upto)| *upto).max();
            let (paid, ordered) = (book.paid(), ordered.unwrap_or(Amount::ZERO));
            let facts = Facts { owed: book.head.owed, paid, ordered, sight: book.head.sight };
            let sums = self.check_entries(book, jobs)?.and_then(|()| account(&facts));
            channels.push(row(book, sums));
        }
        Audit::of(channels).map_err(AuditError::Totals)
    }

    /// Counts a book's entries anew.
    fn check_entries(&self, book: &ChannelBook, jobs: Option<Amount>) -> Result<Result<(), AuditFault>, LedgerError> {
        let mut tally = Tally::default();
        let mut from = Some(1);
        while let Some(first) = from {
            let page = self.receipts(book.channel, first, PAGE)?;
            from = page.last().filter(|_| page.len() == PAGE).and_then(|last| last.receipt.receipt.header.sequence.checked_add(1));
            for record in page.iter().filter(|record| record.receipt.receipt.header.sequence <= book.sequence()) {
                if let Err(fault) = tally.add(book, record) {
                    return Ok(Err(fault));
                }
            }
        }
        Ok(tally.check(book, jobs))
    }

    /// What the jobs of each channel sum to.
    fn job_sums(&self) -> Result<BTreeMap<ChannelRef, JobSums>, LedgerError> {
        let mut sums: BTreeMap<ChannelRef, JobSums> = BTreeMap::new();
        let mut from = Some(JobId([0; 16]));
        while let Some(first) = from {
            let page = self.jobs(first, PAGE)?;
            from = page.last().filter(|_| page.len() == PAGE).and_then(|(last, _)| after(*last));
            for (_, job) in page {
                let sums = sums.entry(job.channel).or_default();
                sums.sum = sums.sum.checked_add(job.amount)?;
                sums.newest = sums.newest.max(job.last_sequence);
            }
        }
        Ok(sums)
    }
}

/// What the jobs of a channel come to.
#[derive(Clone, Copy, Debug, Default)]
struct JobSums {
    sum: Amount,
    /// The newest receipt of any of them.
    newest: u64,
}

/// The next id; none after the last.
fn after(job: JobId) -> Option<JobId> {
    u128::from_be_bytes(job.0).checked_add(1).map(|next| JobId(next.to_be_bytes()))
}

/// What the stored receipts of a channel come to.
#[derive(Debug, Default)]
struct Tally {
    count: u64,
    sum: Option<Amount>,
    backs_voucher: bool,
}

impl Tally {
    fn sum(&self) -> Amount {
        self.sum.unwrap_or(Amount::ZERO)
    }

    fn add(&mut self, book: &ChannelBook, record: &ReceiptRecord) -> Result<(), AuditFault> {
        let (header, body) = (&record.receipt.receipt.header, &record.receipt.receipt.body);
        let sum = self.sum().checked_add(body.amount)?;
        self.count = self.count.saturating_add(1);
        self.sum = Some(sum);
        if let Some(SignedVoucher { voucher, .. }) = book.head.voucher
            && voucher.sequence == header.sequence
        {
            self.backs_voucher = (voucher.cumulative, voucher.receipts_root) == (sum, record.root);
        }
        Ok(())
    }

    fn check(&self, book: &ChannelBook, jobs: Option<Amount>) -> Result<(), AuditFault> {
        let counted = book.head.owed;
        if self.count != book.sequence() {
            return Err(AuditFault::ReceiptCount { stored: self.count, counted: book.sequence() });
        }
        if self.sum() != counted {
            return Err(AuditFault::ReceiptSum { stored: self.sum(), counted });
        }
        if let Some(SignedVoucher { voucher, .. }) = book.head.voucher
            && !self.backs_voucher
        {
            return Err(AuditFault::VoucherUnbacked { sequence: voucher.sequence });
        }
        match jobs {
            Some(jobs) if jobs != counted => Err(AuditFault::JobSum { jobs, counted }),
            Some(_) | None => Ok(()),
        }
    }
}

fn row(book: &ChannelBook, sums: Result<Sums, AuditFault>) -> ChannelAudit {
    let (record, sight) = (&book.record, book.head.sight);
    ChannelAudit {
        channel: book.channel,
        side: record.role,
        peer: match record.role {
            Role::Requester => record.terms.provider,
            Role::Provider => record.terms.requester,
        },
        status: sight.map(|sight| sight.status),
        seen_at: sight.map(|sight| sight.seen_at),
        receipts: book.sequence(),
        sums: sums.ok(),
        fault: sums.err(),
        frozen: book.rollback(),
    }
}
