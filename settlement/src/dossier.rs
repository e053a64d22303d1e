//! The dossier: everything about one job that anybody needs to judge it, in one JSON file.
//!
//! offer -> agreement -> channel -> receipts -> voucher -> claim. [`Dossier::verify`] checks it without a network, a clock or
//! a secret, one typed finding a line. What only the chain can tell is said so: that the claim's transaction exists.

use std::collections::BTreeSet;

use cocoon_market::ids::Digest;
use cocoon_market::tree::root;
use cocoon_market::{Agreement, Amount, JobId, Offer, OfferId, Signed, SignedObject, SignedReceipt, SignedVoucher, Usage, Verified};
use serde::{Deserialize, Serialize};

use crate::contract::ChannelTerms;
use crate::ledger::{Landed, Ledger, LedgerError, OrderId, OrderState, ReceiptRecord};

/// Names the file's layout.
pub const FORMAT: &str = "cocoon-dossier/1";

/// Bytes of a dossier that is read. A channel of a hundred thousand receipts fits.
pub const DOSSIER_BYTES_MAX: usize = 16 << 20;

/// Entries read from the ledger at a time.
const SCAN: usize = 1024;

/// One job's papers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dossier {
    /// [`FORMAT`].
    pub format: String,
    /// Which job.
    pub job: JobId,
    /// The offer it began with, if it is still known.
    pub offer: Option<Signed>,
    /// The agreement's half with the provider's signature.
    pub agreement_by_provider: Signed,
    /// The agreement's half with the requester's signature.
    pub agreement_by_requester: Signed,
    /// What was fixed when the channel was opened.
    pub channel: ChannelTerms,
    /// The job's receipts, in their order.
    pub receipts: Vec<SignedReceipt>,
    /// Digests of all receipts of the channel that the voucher covers, in their order.
    pub leaves: Vec<Digest>,
    /// The first voucher that covers the job, if there is one.
    pub voucher: Option<SignedVoucher>,
    /// The claim that drew it, if there was one.
    pub claim: Option<ClaimPaper>,
}

/// A claim, as its sender saw it land.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimPaper {
    /// The voucher that was drawn.
    pub voucher: SignedVoucher,
    /// The channel's transaction that drew it.
    pub landed: Landed,
}

/// Why a dossier cannot be put together or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DossierError {
    /// The ledger has no such job.
    #[error("job {0} is not in the ledger")]
    UnknownJob(JobId),
    /// The job's agreement is not in the ledger.
    #[error("the agreement of job {0} is not in the ledger")]
    NoAgreement(JobId),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Larger than any dossier.
    #[error("{bytes} bytes where a dossier has at most {DOSSIER_BYTES_MAX}")]
    TooLarge {
        /// What came.
        bytes: usize,
    },
    /// Not a dossier.
    #[error("not a dossier")]
    Malformed(#[source] serde_json::Error),
    /// Another layout.
    #[error("the dossier's format is not {FORMAT}")]
    Format,
}

/// What is checked, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Provider's signature.
    #[error("the offer is signed by its provider")]
    Offer,
    /// Same terms, two signatures.
    #[error("the agreement is signed by both parties")]
    Agreement,
    /// Offer id, provider, model, settlement.
    #[error("the agreement began with the offer")]
    AgreementFitsOffer,
    /// Address, parties.
    #[error("the channel's address commits to its terms, and they are the parties' and the offer's")]
    Channel,
    /// Provider's signature under each, this job, this agreement.
    #[error("each receipt is the provider's, for this job under this agreement")]
    Receipts,
    /// Usage never goes down, nothing after the last.
    #[error("the receipts continue one another")]
    Sequence,
    /// Sum, price, cap.
    #[error("the receipts sum to no more than the agreed price of the work, within the cap")]
    Price,
    /// Chained leaves.
    #[error("the receipts stand at their places among the channel's")]
    Leaves,
    /// Requester's signature, root, amount.
    #[error("the voucher is the requester's and pays exactly these receipts")]
    Voucher,
    /// Covers the voucher; the transaction is for the chain to tell.
    #[error("the claim drew a voucher that covers the job")]
    Claim,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It doesn't.
    Fails,
    /// The paper isn't there.
    Missing,
    /// It could not be checked, because what it rests on failed or is missing.
    Unchecked,
}

/// One line of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// What came of it.
    pub verdict: Verdict,
}

/// What a dossier proves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// One line for each check, in order.
    pub findings: Vec<Finding>,
    /// What was metered, if the receipts hold.
    pub usage: Option<Usage>,
    /// What the job cost, if the receipts hold.
    pub cost: Option<Amount>,
    /// The transaction to look up on the chain, if there is a claim.
    pub look_up: Option<Landed>,
}

impl Report {
    /// Whether nothing failed and everything up to the voucher is there: the job was agreed, done, receipted and paid.
    pub fn is_sound(&self) -> bool {
        let is_fine = |finding: &Finding| match finding.check {
            Check::Offer | Check::AgreementFitsOffer | Check::Claim => {
                finding.verdict == Verdict::Holds || finding.verdict == Verdict::Missing
            }
            Check::Agreement | Check::Channel | Check::Receipts | Check::Sequence | Check::Price | Check::Leaves | Check::Voucher => {
                finding.verdict == Verdict::Holds
            }
        };
        self.findings.iter().all(is_fine)
    }
}

impl Dossier {
    /// Puts a job's papers together from a ledger.
    ///
    /// # Errors
    /// [`DossierError`] when the ledger doesn't have the job.
    pub fn collect(ledger: &Ledger, job: JobId) -> Result<Self, DossierError> {
        let record = ledger.job(job)?.ok_or(DossierError::UnknownJob(job))?;
        let agreement = ledger.agreement(record.agreement)?.ok_or(DossierError::NoAgreement(job))?;
        let book = ledger.channel(record.channel)?;
        let voucher = ledger.voucher_covering(record.channel, record.last_sequence)?;
        let covered = voucher.map_or(record.last_sequence, |signed| signed.voucher.sequence);
        let all = receipts_up_to(ledger, &record.channel, covered)?;
        let of_job = |receipt: &&SignedReceipt| receipt.receipt.header.job == job;
        Ok(Self {
            format: FORMAT.to_owned(),
            job,
            offer: ledger.offer(agreement.body().offer)?,
            agreement_by_provider: agreement.by_provider().clone(),
            agreement_by_requester: agreement.by_requester().clone(),
            channel: book.record().terms,
            receipts: all.iter().filter(of_job).copied().collect(),
            leaves: all.iter().map(|receipt| receipt.receipt.header.digest()).collect(),
            voucher,
            claim: claim_covering(ledger, record.channel, record.last_sequence)?,
        })
    }

    /// Reads a dossier.
    ///
    /// # Errors
    /// [`DossierError`].
    pub fn from_json(json: &[u8]) -> Result<Self, DossierError> {
        if json.len() > DOSSIER_BYTES_MAX {
            return Err(DossierError::TooLarge { bytes: json.len() });
        }
        let dossier: Self = serde_json::from_slice(json).map_err(DossierError::Malformed)?;
        if dossier.format == FORMAT { Ok(dossier) } else { Err(DossierError::Format) }
    }

    /// Writes it for people and programs.
    ///
    /// # Errors
    /// [`DossierError::Malformed`] never, for a dossier that was collected or read.
    pub fn to_json(&self) -> Result<Vec<u8>, DossierError> {
        serde_json::to_vec_pretty(self).map_err(DossierError::Malformed)
    }

    /// Checks everything that can be checked without the chain.
    pub fn verify(&self) -> Report {
        let offer = self.offer.as_ref().map(open::<Offer>);
        let agreement = Agreement::open(self.agreement_by_provider.clone(), self.agreement_by_requester.clone()).ok();
        let mut findings = Vec::new();
        let mut note = |check, verdict| findings.push(Finding { check, verdict });
        note(Check::Offer, offer.as_ref().map_or(Verdict::Missing, |offer| holds(offer.is_some())));
        note(Check::Agreement, holds(agreement.is_some()));
        let fit = match (&offer, &agreement) {
            (None, _) => Verdict::Missing,
            (Some(Some(offer)), Some(agreement)) => holds(fits_offer(agreement, offer)),
            (Some(_), _) => Verdict::Unchecked,
        };
        note(Check::AgreementFitsOffer, fit);
        let offer = offer.flatten();
        let with = |check: &dyn Fn(&Agreement) -> bool| agreement.as_ref().map_or(Verdict::Unchecked, |agreement| holds(check(agreement)));
        let receipts = with(&|agreement| self.receipts_are_the_jobs(agreement));
        let on_receipts = |verdict: Verdict| if receipts == Verdict::Holds { verdict } else { Verdict::Unchecked };
        note(Check::Channel, with(&|agreement| self.channel_fits(agreement, offer.as_ref())));
        note(Check::Receipts, receipts);
        note(Check::Sequence, on_receipts(holds(self.receipts_continue())));
        note(Check::Price, on_receipts(with(&|agreement| self.price_holds(agreement).unwrap_or(false))));
        note(Check::Leaves, on_receipts(holds(self.leaves_fit())));
        note(
            Check::Voucher,
            self.voucher.map_or(Verdict::Missing, |signed| on_receipts(with(&|agreement| self.voucher_pays(&signed, agreement)))),
        );
        note(Check::Claim, self.claim.map_or(Verdict::Missing, |claim| with(&|agreement| self.claim_covers(&claim, agreement))));
        let is_receipted = receipts == Verdict::Holds;
        Report {
            findings,
            usage: self.receipts.last().filter(|_| is_receipted).map(|last| last.receipt.body.usage),
            cost: self.cost().filter(|_| is_receipted),
            look_up: self.claim.map(|claim| claim.landed),
        }
    }

    fn cost(&self) -> Option<Amount> {
        Amount::sum(self.receipts.iter().map(|receipt| receipt.receipt.body.amount)).ok()
    }

    fn channel_fits(&self, agreement: &Agreement, offer: Option<&Verified<Offer>>) -> bool {
        let (terms, parties) = (&self.channel, agreement.body());
        let as_offered = offer.is_none_or(|offer| {
            let settlement = &offer.settlement;
            terms.network == settlement.network
                && terms.contract == settlement.contract
                && terms.challenge_window_s >= settlement.challenge_window_s
        });
        terms.channel().is_ok_and(|channel| channel == agreement.terms().channel)
            && terms.requester == parties.requester
            && terms.provider == parties.provider
            && as_offered
    }

    fn receipts_are_the_jobs(&self, agreement: &Agreement) -> bool {
        let fits = |signed: &SignedReceipt| {
            let receipt = &signed.receipt;
            signed.verify(&agreement.body().provider).is_ok()
                && receipt.header.channel == agreement.terms().channel
                && receipt.header.job == self.job
                && receipt.body.agreement == agreement.id()
        };
        !self.receipts.is_empty() && self.receipts.iter().all(fits)
    }

    fn receipts_continue(&self) -> bool {
        let pairs = self.receipts.iter().zip(self.receipts.iter().skip(1));
        let continues = |(one, next): (&SignedReceipt, &SignedReceipt)| {
            let (one, next) = (&one.receipt, &next.receipt);
            one.header.sequence < next.header.sequence && next.body.usage.covers(one.body.usage) && !one.body.last
        };
        pairs.into_iter().all(continues)
    }

    fn price_holds(&self, agreement: &Agreement) -> Option<bool> {
        let cost = self.cost()?;
        let priced = agreement.terms().price.cost(self.receipts.last()?.receipt.body.usage).ok()?;
        Some(cost <= priced && cost <= agreement.terms().cap)
    }

    fn leaves_fit(&self) -> bool {
        let leaf = |sequence: u64| usize::try_from(sequence).ok().and_then(|at| self.leaves.get(at));
        let fits = |signed: &SignedReceipt| {
            let (header, body) = (&signed.receipt.header, &signed.receipt.body);
            let Some(before) = header.sequence.checked_sub(1) else { return false };
            let previous = before.checked_sub(1).map_or(Some(Digest([0; 32])), |at| leaf(at).copied());
            leaf(before) == Some(&header.digest()) && previous == Some(body.previous)
        };
        self.leaves.iter().collect::<BTreeSet<_>>().len() == self.leaves.len() && self.receipts.iter().all(fits)
    }

    fn voucher_pays(&self, signed: &SignedVoucher, agreement: &Agreement) -> bool {
        let voucher = &signed.voucher;
        let Some(last) = self.receipts.last().map(|last| last.receipt.header) else { return false };
        // Where the job's last receipt is the last one covered, the amounts are equal; else others are paid as well.
        let pays =
            if last.sequence == voucher.sequence { voucher.cumulative == last.cumulative } else { voucher.cumulative >= last.cumulative };
        signed.verify(&agreement.body().requester).is_ok()
            && voucher.channel == agreement.terms().channel
            && u64::try_from(self.leaves.len()) == Ok(voucher.sequence)
            && last.sequence <= voucher.sequence
            && pays
            && root(&self.leaves) == voucher.receipts_root
    }

    fn claim_covers(&self, claim: &ClaimPaper, agreement: &Agreement) -> bool {
        let claimed = &claim.voucher.voucher;
        let Some(last) = self.receipts.last().map(|last| last.receipt.header) else { return false };
        claim.voucher.verify(&agreement.body().requester).is_ok()
            && claimed.channel == agreement.terms().channel
            && claimed.sequence >= last.sequence
            && claimed.cumulative >= last.cumulative
    }
}

const fn holds(is_so: bool) -> Verdict {
    if is_so { Verdict::Holds } else { Verdict::Fails }
}

fn open<T: SignedObject>(signed: &Signed) -> Option<Verified<T>> {
    Verified::open(signed.clone()).ok()
}

fn fits_offer(agreement: &Agreement, offer: &Verified<Offer>) -> bool {
    let body = agreement.body();
    body.offer == OfferId(offer.hash()) && body.provider == offer.provider && body.terms.model == offer.model.id
}

fn receipts_up_to(ledger: &Ledger, channel: &cocoon_market::ChannelRef, last: u64) -> Result<Vec<SignedReceipt>, LedgerError> {
    let mut receipts: Vec<SignedReceipt> = Vec::new();
    loop {
        let from = receipts.last().map_or(1, |receipt| receipt.receipt.header.sequence.saturating_add(1));
        let page: Vec<ReceiptRecord> = ledger.receipts(*channel, from, (from..=last).take(SCAN).count())?;
        if page.is_empty() {
            return Ok(receipts);
        }
        receipts.extend(page.into_iter().map(|record| record.receipt));
    }
}

/// The first confirmed claim that covers a receipt.
fn claim_covering(ledger: &Ledger, channel: cocoon_market::ChannelRef, sequence: u64) -> Result<Option<ClaimPaper>, LedgerError> {
    let mut from = OrderId(0);
    loop {
        let page = ledger.orders(from, SCAN)?;
        let covers = |signed: &&SignedVoucher| signed.voucher.channel == channel && signed.voucher.sequence >= sequence;
        let covering = page.iter().find_map(|(_, record)| match &record.state {
            OrderState::Confirmed(landed) => {
                record.order.claims().find(covers).map(|voucher| ClaimPaper { voucher: *voucher, landed: *landed })
            }
            OrderState::Queued | OrderState::Pending(_) | OrderState::Failed(_) => None,
        });
        match (covering, page.last()) {
            (None, Some((last, _))) => from = OrderId(last.0.saturating_add(1)),
            (found, _) => return Ok(found),
        }
    }
}

#[cfg(test)]
mod tests;
