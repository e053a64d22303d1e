//! `swarm jobs`: what this node bought and sold.

use std::borrow::Cow;

use cocoon_market::{AgreementId, Amount, ChannelRef, JobId, NodeId, SignedReceipt, Timestamp, Usage};
use cocoon_settlement::ledger::{JobRecord, Ledger, LedgerError, Role};
use serde::Serialize;

use crate::cli::JobsCommand;
use crate::context::Context;
use crate::failure::{Exit, Failure, NextStep};
use crate::output::{Output, Table, ton_text};
use crate::wiring::session::read_ledger;

/// Jobs read from the ledger at a time.
const PAGE: usize = 1024;

/// Why a job is not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobsError {
    #[error("the ledger cannot be read")]
    Ledger(#[from] LedgerError),
    #[error("no job begins with {0:?}")]
    Unknown(String),
    #[error("{count} jobs begin with {text:?}")]
    Ambiguous { text: String, count: usize },
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

/// Runs `swarm jobs`.
///
/// # Errors
/// No keys, a ledger in use, or no such job.
pub fn run(context: &Context, command: &JobsCommand) -> Result<(), Failure> {
    let ledger = read_ledger(context)?;
    match command {
        JobsCommand::Ls { limit } => ls(context.out(), &ledger, *limit),
        JobsCommand::Show { job } => show(context.out(), &ledger, job),
    }
    .map_err(Failure::from)
}

/// A job in the list.
#[derive(Serialize)]
struct Row {
    job: JobId,
    side: Role,
    state: &'static str,
    usage: Usage,
    cost_nanoton: Amount,
    updated_at: Timestamp,
}

fn ls(out: &Output, ledger: &Ledger, limit: usize) -> Result<(), JobsError> {
    let mut jobs = all(ledger)?;
    jobs.sort_by_key(|(_, job)| std::cmp::Reverse(job.updated_at));
    let row = |(id, job): &(JobId, JobRecord)| -> Result<Row, LedgerError> {
        let side = ledger.channel(job.channel)?.record().role;
        let state = state(job);
        Ok(Row { job: *id, side, state, usage: job.usage, cost_nanoton: job.amount, updated_at: job.updated_at })
    };
    let rows = jobs.iter().take(limit).map(row).collect::<Result<Vec<_>, _>>()?;
    out.result(&rows, |rows| list_text(rows));
    Ok(())
}

const fn state(job: &JobRecord) -> &'static str {
    if job.is_final { "finished" } else { "open" }
}

const fn side_word(side: Role) -> &'static str {
    match side {
        Role::Requester => "bought",
        Role::Provider => "sold",
    }
}

fn list_text(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "No jobs yet. Buy one with `swarm ask`, or sell with `swarm up --provide MODEL`.".to_owned();
    }
    let mut table = Table::new(["JOB", "SIDE", "STATE", "READ", "WRITTEN", "TON"]).right([3, 4, 5]);
    for row in rows {
        table.row([
            row.job.to_string().chars().take(12).collect(),
            side_word(row.side).to_owned(),
            row.state.to_owned(),
            row.usage.input_tokens.to_string(),
            row.usage.output_tokens.to_string(),
            row.cost_nanoton.to_string(),
        ]);
    }
    table.to_string()
}

/// Everything the ledger says about a job.
#[derive(Serialize)]
struct Shown {
    job: JobId,
    side: Role,
    state: &'static str,
    requester: NodeId,
    provider: NodeId,
    agreement: AgreementId,
    channel: ChannelRef,
    usage: Usage,
    cost_nanoton: Amount,
    /// The receipts that a voucher covers.
    paid_receipts: usize,
    receipts: Vec<SignedReceipt>,
}

fn show(out: &Output, ledger: &Ledger, text: &str) -> Result<(), JobsError> {
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
    let shown = Shown {
        job: id,
        side: book.record().role,
        state: state(&job),
        requester: terms.requester,
        provider: terms.provider,
        agreement: job.agreement,
        channel: job.channel,
        usage: job.usage,
        cost_nanoton: job.amount,
        paid_receipts: receipts.iter().filter(|receipt| receipt.receipt.header.sequence <= covered).count(),
        receipts,
    };
    out.result(&shown, shown_text);
    Ok(())
}

fn shown_text(shown: &Shown) -> String {
    let mut lines = vec![
        format!("job        {} ({}, {})", shown.job, side_word(shown.side), shown.state),
        format!("requester  {}", shown.requester),
        format!("provider   {}", shown.provider),
        format!("agreement  {}", shown.agreement),
        format!("channel    {}", shown.channel),
        format!("work       {} tokens read, {} written", shown.usage.input_tokens, shown.usage.output_tokens),
        format!("cost       {}", ton_text(shown.cost_nanoton)),
        format!("receipts   {}, {} of them paid by voucher", shown.receipts.len(), shown.paid_receipts),
    ];
    for receipt in &shown.receipts {
        let (header, body) = (&receipt.receipt.header, &receipt.receipt.body);
        lines.push(format!(
            "  {:>6}  {:>6} tokens written  {:>14} TON{}",
            header.sequence,
            body.usage.output_tokens,
            body.amount,
            if body.last { "  last" } else { "" },
        ));
    }
    lines.join("\n")
}

/// The one job whose id begins so.
pub(crate) fn find(ledger: &Ledger, text: &str) -> Result<(JobId, JobRecord), JobsError> {
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
