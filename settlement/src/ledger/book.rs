//! One channel's book: the rules by which receipts and vouchers continue it.
//!
//! Pure: what it lets pass is written by the batch around it. Nothing here goes back: receipts are numbered by the tree's count,
//! and a voucher is only replaced by one that covers more.

use std::collections::BTreeMap;

use cocoon_market::ids::Digest;
use cocoon_market::receipt::{Receipt, ReceiptBody, ReceiptHeader};
use cocoon_market::tree::Frontier;
use cocoon_market::{
    AgreementId, Amount, ChannelRef, CooperativeClose, JobId, NodeId, SignedReceipt, SignedVoucher, Timestamp, Usage, Voucher,
};

use super::error::{LedgerError, ReceiptFault, VoucherFault};
use super::record::{Allowance, ChainSight, ChannelRecord, Head, JobRecord, Role};

/// Receipts a provider gives without a voucher. Far beyond any float in tokens; it bounds what a channel with free work keeps in memory.
pub const UNPAID_RECEIPTS_MAX: usize = 4096;

/// Jobs of a channel with unpaid receipts, for each job that may run at once. A job whose connection breaks leaves its last slice
/// unpaid until the next voucher, which pays for all; who breaks off this often without one lets us work for nothing.
pub const UNPAID_JOBS_A_PLACE_MAX: usize = 4;

/// What the receipt before the first one is said to be.
const NO_RECEIPT: Digest = Digest([0; 32]);

/// The work a provider is about to receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptDraft {
    /// In which channel.
    pub channel: ChannelRef,
    /// Under which agreement.
    pub agreement: AgreementId,
    /// For which job.
    pub job: JobId,
    /// All metered work of the job so far.
    pub usage: Usage,
    /// What this slice costs.
    pub amount: Amount,
    /// Commitment to the tokens read.
    pub input: Digest,
    /// Commitment to the tokens written so far.
    pub output: Digest,
    /// Commitment to the requester's seed.
    pub seed: Digest,
    /// Commitment to the work itself.
    pub work: Digest,
    /// Whether it is the job's last.
    pub last: bool,
    /// The time.
    pub issued_at: Timestamp,
}

/// A channel's book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelBook {
    pub(super) channel: ChannelRef,
    pub(super) record: ChannelRecord,
    pub(super) head: Head,
    /// The receipts that no voucher covers. Providers only.
    pub(super) unpaid: BTreeMap<u64, Unpaid>,
    /// What the receipts of `unpaid` sum to for each job; none that costs nothing.
    pub(super) owing: BTreeMap<JobId, Amount>,
}

/// The receipts tree after one more receipt.
pub(super) struct Grown {
    leaf: Digest,
    receipts: Frontier,
    pub(super) root: Digest,
}

/// A receipt that no voucher covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unpaid {
    job: JobId,
    amount: Amount,
    /// The channel's sum with it.
    cumulative: Amount,
    /// The channel's root with it.
    root: Digest,
}

impl ChannelBook {
    /// A book without unpaid receipts.
    pub(super) const fn new(channel: ChannelRef, record: ChannelRecord, head: Head) -> Self {
        Self { channel, record, head, unpaid: BTreeMap::new(), owing: BTreeMap::new() }
    }

    /// Which channel.
    pub const fn channel(&self) -> ChannelRef {
        self.channel
    }

    /// Our side and the terms.
    pub const fn record(&self) -> &ChannelRecord {
        &self.record
    }

    /// How far it has come.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The sequence of the last receipt; 0 before the first.
    pub const fn sequence(&self) -> u64 {
        self.head.receipts.count()
    }

    /// All that vouchers pay so far.
    pub fn paid(&self) -> Amount {
        self.head.voucher.map_or(Amount::ZERO, |signed| signed.voucher.cumulative)
    }

    /// Receipted work that no voucher pays yet: the provider's exposure.
    pub fn unpaid(&self) -> Amount {
        self.head.owed.saturating_sub(self.paid())
    }

    /// What of a job's receipts no voucher pays yet. Providers only.
    pub fn unpaid_of(&self, job: JobId) -> Amount {
        self.owing.get(&job).copied().unwrap_or(Amount::ZERO)
    }

    /// Whether another job may begin, of an agreement for so many at once: not while too many wait for a voucher. Providers only.
    ///
    /// # Errors
    /// [`ReceiptFault::JobsUnpaid`].
    pub fn check_unpaid_jobs(&self, jobs_max: u16) -> Result<(), ReceiptFault> {
        let jobs = self.owing.len();
        let allowed = usize::from(jobs_max).saturating_mul(UNPAID_JOBS_A_PLACE_MAX);
        if jobs < allowed { Ok(()) } else { Err(ReceiptFault::JobsUnpaid { jobs }) }
    }

    /// The root over all receipts.
    pub fn root(&self) -> Digest {
        self.head.receipts.root()
    }

    /// Paid by voucher and not yet drawn on chain, as last seen.
    pub fn undrawn(&self) -> Amount {
        self.paid().saturating_sub(self.head.sight.map_or(Amount::ZERO, |sight| sight.drawn))
    }

    /// What is deposited, as last seen.
    pub fn deposit(&self) -> Amount {
        self.head.sight.map_or(Amount::ZERO, |sight| sight.deposit)
    }

    /// What of the deposit is not promised to anybody, as last seen.
    pub fn free_deposit(&self) -> Amount {
        self.deposit().saturating_sub(self.head.owed)
    }

    pub(super) fn expect(&self, role: Role) -> Result<(), LedgerError> {
        if self.record.role == role { Ok(()) } else { Err(LedgerError::WrongRole { ours: self.record.role }) }
    }

    fn check_not_ended(&self) -> Result<(), LedgerError> {
        if self.head.end.is_some() { Err(LedgerError::Ended) } else { Ok(()) }
    }

    /// Nothing new is promised in books that are not the newest.
    pub(super) fn check_not_frozen(&self) -> Result<(), LedgerError> {
        self.rollback().map_or(Ok(()), |rollback| Err(LedgerError::Frozen(rollback)))
    }

    /// The provider's next receipt.
    pub(super) fn next_receipt(&self, draft: &ReceiptDraft, job: Option<&JobRecord>) -> Result<(Receipt, JobRecord), LedgerError> {
        self.check_not_ended()?;
        self.check_not_frozen()?;
        let body = ReceiptBody {
            agreement: draft.agreement,
            previous: self.head.last_receipt.unwrap_or(NO_RECEIPT),
            usage: draft.usage,
            amount: draft.amount,
            input: draft.input,
            output: draft.output,
            seed: draft.seed,
            work: draft.work,
            last: draft.last,
            issued_at: draft.issued_at,
        };
        let header = ReceiptHeader {
            channel: self.channel,
            sequence: self.sequence().checked_add(1).ok_or(cocoon_market::AmountError::Overflow)?,
            job: draft.job,
            cumulative: self.head.owed.checked_add(draft.amount)?,
            body: body.digest(),
        };
        let receipt = Receipt { header, body };
        let job = continue_job(&receipt, job)?;
        Ok((receipt, job))
    }

    /// Whether a provider may give this receipt without risking more than it agreed to. Its jobs run side by side, so nothing but the
    /// commit that numbers the receipt can tell.
    pub(super) fn check_risk(&self, receipt: &Receipt, is_first: bool, allowance: &Allowance) -> Result<(), ReceiptFault> {
        if self.unpaid.len() >= UNPAID_RECEIPTS_MAX {
            return Err(ReceiptFault::Unpaid(self.unpaid.len()));
        }
        let deposit = self.deposit();
        let owed = receipt.header.cumulative;
        if owed > deposit {
            return Err(ReceiptFault::AboveDeposit { deposit, owed });
        }
        if is_first {
            self.check_unpaid_jobs(allowance.jobs_max)?;
        }
        // The last one is for work that was done within the float, and without it nobody could pay.
        let (unpaid, float) = (self.unpaid_of(receipt.header.job), allowance.float);
        if !receipt.body.last && unpaid > float {
            return Err(ReceiptFault::AboveFloat { unpaid, float });
        }
        Ok(())
    }

    /// Whether a provider's receipt is the next one, for a requester.
    pub(super) fn check_receipt(&self, receipt: &Receipt, job: Option<&JobRecord>) -> Result<JobRecord, LedgerError> {
        self.check_not_ended()?;
        let (header, body) = (&receipt.header, &receipt.body);
        if Some(header.sequence) != self.sequence().checked_add(1) {
            return Err(ReceiptFault::Sequence { next: self.sequence().saturating_add(1), got: header.sequence }.into());
        }
        if body.previous != self.head.last_receipt.unwrap_or(NO_RECEIPT) {
            return Err(ReceiptFault::Chain.into());
        }
        let sum = self.head.owed.checked_add(body.amount)?;
        if header.cumulative != sum {
            return Err(ReceiptFault::Sum { sum, got: header.cumulative }.into());
        }
        continue_job(receipt, job)
    }

    /// The tree with one more receipt.
    pub(super) fn tree_with(&self, receipt: &SignedReceipt) -> Grown {
        let leaf = receipt.receipt.header.digest();
        let receipts = self.head.receipts.appended(&leaf);
        Grown { leaf, root: receipts.root(), receipts }
    }

    /// Takes the receipt that one of the two above let pass, and the tree with it.
    pub(super) fn push_receipt(&mut self, receipt: &SignedReceipt, grown: Grown) {
        self.head.receipts = grown.receipts;
        self.head.last_receipt = Some(grown.leaf);
        self.head.owed = receipt.receipt.header.cumulative;
        if self.record.role == Role::Provider {
            self.push_unpaid(receipt, grown.root);
        }
    }

    /// Keeps a receipt until a voucher covers it.
    pub(super) fn push_unpaid(&mut self, receipt: &SignedReceipt, root: Digest) {
        let (header, amount) = (&receipt.receipt.header, receipt.receipt.body.amount);
        self.unpaid.insert(header.sequence, Unpaid { job: header.job, amount, cumulative: header.cumulative, root });
        if !amount.is_zero() {
            let owing = self.owing.entry(header.job).or_insert(Amount::ZERO);
            // Below the channel's sum, which was checked.
            *owing = owing.checked_add(amount).unwrap_or(Amount::MAX);
        }
    }

    /// The voucher over all receipts so far, for a requester. `None` when the best one covers them.
    pub(super) fn next_voucher(&self) -> Result<Option<Voucher>, LedgerError> {
        let sequence = self.sequence();
        if sequence == 0 {
            return Err(VoucherFault::NoReceipts.into());
        }
        if self.head.voucher.is_some_and(|best| best.voucher.sequence >= sequence) {
            return Ok(None);
        }
        self.check_not_ended()?;
        self.check_not_frozen()?;
        self.check_deposit(self.head.owed)?;
        let root = self.head.receipts.root();
        Ok(Some(Voucher { channel: self.channel, sequence, cumulative: self.head.owed, receipts_root: root }))
    }

    /// Whether a requester's voucher fits our receipts. `false` for the one we have already.
    pub(super) fn check_voucher(&self, signed: &SignedVoucher, signer: NodeId) -> Result<bool, LedgerError> {
        let voucher = &signed.voucher;
        if signer != self.record.terms.requester {
            return Err(VoucherFault::OtherChannel.into());
        }
        if self.head.voucher.is_some_and(|best| best.voucher == *voucher) {
            return Ok(false);
        }
        self.check_not_ended()?;
        if let Some(best) = self.head.voucher
            && voucher.sequence <= best.voucher.sequence
        {
            return Err(VoucherFault::Back { have: best.voucher.sequence, got: voucher.sequence }.into());
        }
        let Some(&Unpaid { cumulative: owed, root, .. }) = self.unpaid.get(&voucher.sequence) else {
            return Err(VoucherFault::BeyondReceipts { issued: self.sequence(), got: voucher.sequence }.into());
        };
        if voucher.cumulative != owed {
            return Err(VoucherFault::Sum { owed, got: voucher.cumulative }.into());
        }
        if voucher.receipts_root != root {
            return Err(VoucherFault::Root.into());
        }
        self.check_deposit(voucher.cumulative)?;
        Ok(true)
    }

    /// Takes the voucher that one of the two above let pass.
    pub(super) fn push_voucher(&mut self, signed: SignedVoucher) {
        let still = self.unpaid.split_off(&signed.voucher.sequence.saturating_add(1));
        for paid in std::mem::replace(&mut self.unpaid, still).into_values() {
            let left = self.unpaid_of(paid.job).saturating_sub(paid.amount);
            if left.is_zero() {
                self.owing.remove(&paid.job);
            } else {
                self.owing.insert(paid.job, left);
            }
        }
        self.head.voucher = Some(signed);
    }

    fn check_deposit(&self, cumulative: Amount) -> Result<(), VoucherFault> {
        let deposit = self.head.sight.ok_or(VoucherFault::Unseen)?.deposit;
        if cumulative <= deposit { Ok(()) } else { Err(VoucherFault::OverDeposit { deposit, cumulative }) }
    }

    /// Keeps a voucher that does not fit these books, if it pays more than what there is.
    pub(super) fn salvage(&mut self, signed: SignedVoucher) {
        if self.claimable().is_none_or(|best| best.voucher.cumulative < signed.voucher.cumulative) {
            self.head.salvage = Some(signed);
        }
    }

    /// The voucher that pays most on chain: the best one, or one that the requester signed for receipts which these books lost.
    pub fn claimable(&self) -> Option<SignedVoucher> {
        let candidates = [self.head.voucher, self.head.salvage];
        candidates.into_iter().flatten().max_by_key(|signed| signed.voucher.cumulative)
    }

    /// Takes a newer sight of the chain. `false` when we have a newer one.
    pub(super) fn see(&mut self, sight: ChainSight) -> bool {
        let is_newer = self.head.sight.is_none_or(|have| have.seen_at <= sight.seen_at);
        if is_newer {
            self.head.sight = Some(sight);
        }
        is_newer
    }

    /// The statement that ends the channel with what its best voucher pays.
    pub(super) fn end_statement(&self) -> CooperativeClose {
        let voucher = self.head.voucher.map(|signed| signed.voucher);
        CooperativeClose {
            channel: self.channel,
            sequence: voucher.map_or(0, |voucher| voucher.sequence),
            cumulative: voucher.map_or(Amount::ZERO, |voucher| voucher.cumulative),
        }
    }
}

/// Whether the draft says what an issued receipt says: a second try after a failure.
pub(super) fn repeats(draft: &ReceiptDraft, issued: &Receipt) -> bool {
    let (header, body) = (&issued.header, &issued.body);
    (draft.channel, draft.job, draft.agreement) == (header.channel, header.job, body.agreement)
        && (draft.usage, draft.amount, draft.last) == (body.usage, body.amount, body.last)
        && (draft.input, draft.output, draft.seed, draft.work) == (body.input, body.output, body.seed, body.work)
}

/// What all jobs under the receipt's agreement cost with it, of which so much is spent, if that is allowed and the channel the agreed one.
pub(super) fn check_allowance(receipt: &Receipt, allowance: &Allowance, spent: Amount) -> Result<Amount, LedgerError> {
    if receipt.header.channel != allowance.channel {
        return Err(ReceiptFault::OtherChannel.into());
    }
    let (cap, total) = (allowance.cap, spent.checked_add(receipt.body.amount)?);
    if total <= cap { Ok(total) } else { Err(ReceiptFault::AboveCap { cap, total }.into()) }
}

fn continue_job(receipt: &Receipt, job: Option<&JobRecord>) -> Result<JobRecord, LedgerError> {
    let (header, body) = (&receipt.header, &receipt.body);
    let (first_sequence, before) = match job {
        None => (header.sequence, Amount::ZERO),
        Some(job) if job.agreement != body.agreement || job.channel != header.channel => {
            return Err(ReceiptFault::Job(header.job).into());
        }
        Some(&JobRecord { is_final: true, last_sequence: sequence, .. }) => {
            let job = header.job;
            let fault = if body.last { ReceiptFault::SecondLast { job, sequence } } else { ReceiptFault::AfterLast { job, sequence } };
            return Err(fault.into());
        }
        Some(job) if !body.usage.covers(job.usage) => return Err(ReceiptFault::Usage(header.job).into()),
        Some(job) => (job.first_sequence, job.amount),
    };
    Ok(JobRecord {
        agreement: body.agreement,
        channel: header.channel,
        first_sequence,
        last_sequence: header.sequence,
        amount: before.checked_add(body.amount)?,
        usage: body.usage,
        is_final: body.last,
        updated_at: body.issued_at,
    })
}
