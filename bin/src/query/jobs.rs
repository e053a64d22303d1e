//! What a node bought and sold.

use std::borrow::Cow;

use cocoon_market::{AgreementId, Amount, ChannelRef, JobId, NodeId, SignedReceipt, Timestamp, Usage};
use cocoon_settlement::ledger::{JobRecord, Ledger, LedgerError, Role};
use serde::{Deserialize, Serialize};

use super::{Question, ROWS_MAX};
use crate::failure::{Exit, Failure, NextStep};

/// Jobs read from the ledger at a time.
const PAGE: usize = 1024;

/// Why a job is not shown.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The ledger.
    #[error("the ledger cannot be read")]
    Ledger(#[from] LedgerError),
    /// There is no such job.
    #[error("no job begins with {0:?}")]
    Unknown(String),
    /// There are several.
    #[error("{count} jobs begin with {text:?}")]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// How many fit.
        count: usize,
    },
}

impl NextStep for JobsError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Ledger(_) => "swarm doctor, which checks the disk".into(),
            Self::Unknown(_) => "swarm jobs ls".into(),
            Self::Ambiguous { .. } => "more of its id".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Ledger(_) => Exit::Failed,
            Self::Unknown(_) | Self::Ambiguous { .. } => Exit::Usage,
        }
    }
}

/// The newest jobs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ListJobs {
    /// At most so many, and at most [`ROWS_MAX`].
    pub limit: usize,
}

/// A job in the list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobRow {
    /// Which.
    pub job: JobId,
    /// Our side.
    pub side: Role,
    /// How far it is.
    pub state: JobState,
    /// What was metered.
    pub usage: Usage,
    /// What it costs so far.
    pub cost_nanoton: Amount,
    /// When its last receipt was issued.
    pub updated_at: Timestamp,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Its final receipt is there.
    Finished,
    /// It is not.
    Open,
}

impl JobState {
    const fn of(job: &JobRecord) -> Self {
        if job.is_final { Self::Finished } else { Self::Open }
    }

    /// For people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Open => "open",
        }
    }
}

impl Question for ListJobs {
    const NAME: &'static str = "jobs";
    type Answer = Vec<JobRow>;

    fn answer(&self, ledger: &Ledger) -> Result<Vec<JobRow>, Failure> {
        Ok(list(ledger, self.limit.min(ROWS_MAX))?)
    }
}

fn list(ledger: &Ledger, limit: usize) -> Result<Vec<JobRow>, JobsError> {
    let mut jobs = all(ledger)?;
    jobs.sort_by_key(|(_, job)| std::cmp::Reverse(job.updated_at));
    let row = |(id, job): &(JobId, JobRecord)| -> Result<JobRow, JobsError> {
        let side = ledger.channel(job.channel)?.record().role;
        Ok(JobRow { job: *id, side, state: JobState::of(job), usage: job.usage, cost_nanoton: job.amount, updated_at: job.updated_at })
    };
    jobs.iter().take(limit).map(row).collect()
}

/// One job, whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShowJob {
    /// Its id, or the beginning of it.
    pub job: String,
}

/// Everything the ledger says about a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobView {
    /// Which.
    pub job: JobId,
    /// Our side.
    pub side: Role,
    /// How far it is.
    pub state: JobState,
    /// Who pays.
    pub requester: NodeId,
    /// Who is paid.
    pub provider: NodeId,
    /// Under which agreement.
    pub agreement: AgreementId,
    /// Through which channel.
    pub channel: ChannelRef,
    /// What was metered.
    pub usage: Usage,
    /// What it costs so far.
    pub cost_nanoton: Amount,
    /// The receipts that a voucher covers.
    pub paid_receipts: usize,
    /// All of its receipts.
    pub receipts: Vec<SignedReceipt>,
}

impl Question for ShowJob {
    const NAME: &'static str = "job";
    type Answer = JobView;

    fn answer(&self, ledger: &Ledger) -> Result<JobView, Failure> {
        Ok(show(ledger, &self.job)?)
    }
}

fn show(ledger: &Ledger, text: &str) -> Result<JobView, JobsError> {
    let (id, job) = find(ledger, text)?;
    let book = ledger.channel(job.channel)?;
    let count = usize::try_from(job.last_sequence.saturating_sub(job.first_sequence)).unwrap_or(usize::MAX).saturating_add(1);
    let receipts: Vec<SignedReceipt> = ledger
        .receipts(job.channel, job.first_sequence, count)?
        .into_iter()
        .map(|record| record.receipt)
        .filter(|receipt| receipt.receipt.header.job == id)
        .collect();
    let covered = book.head().voucher.map_or(0, |signed| signed.voucher.sequence);
    let terms = book.record().terms;
    Ok(JobView {
        job: id,
        side: book.record().role,
        state: JobState::of(&job),
        requester: terms.requester,
        provider: terms.provider,
        agreement: job.agreement,
        channel: job.channel,
        usage: job.usage,
        cost_nanoton: job.amount,
        paid_receipts: receipts.iter().filter(|receipt| receipt.receipt.header.sequence <= covered).count(),
        receipts,
    })
}

/// The one job whose id begins so.
pub(super) fn find(ledger: &Ledger, text: &str) -> Result<(JobId, JobRecord), JobsError> {
    if let Ok(id) = text.parse::<JobId>()
        && let Some(job) = ledger.job(id)?
    {
        return Ok((id, job));
    }
    let wanted = text.to_ascii_lowercase();
    let mut found: Vec<_> = all(ledger)?.into_iter().filter(|(id, _)| id.to_string().starts_with(&wanted)).collect();
    match (found.pop(), found.len()) {
        (None, _) => Err(JobsError::Unknown(text.to_owned())),
        (Some(only), 0) => Ok(only),
        (Some(_), others) => Err(JobsError::Ambiguous { text: text.to_owned(), count: others + 1 }),
    }
}

fn all(ledger: &Ledger) -> Result<Vec<(JobId, JobRecord)>, LedgerError> {
    let mut jobs = Vec::new();
    let mut from = Some(JobId([0; 16]));
    while let Some(start) = from {
        let page = ledger.jobs(start, PAGE)?;
        from = page.last().filter(|_| page.len() == PAGE).and_then(|(last, _)| after(*last));
        jobs.extend(page);
    }
    Ok(jobs)
}

/// The next id; none after the last.
fn after(job: JobId) -> Option<JobId> {
    u128::from_be_bytes(job.0).checked_add(1).map(|next| JobId(next.to_be_bytes()))
}
