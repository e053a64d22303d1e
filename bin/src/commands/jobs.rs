//! `swarm jobs`: what this node bought and sold.

use cocoon_settlement::ledger::Role;

use crate::cli::JobsCommand;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Table, time_text, ton_text};
use crate::query::Books;
use crate::query::jobs::{JobRow, JobView, ListJobs, ShowJob};

/// Runs `swarm jobs`. Blocks.
///
/// # Errors
/// No keys, a ledger that cannot be read, or no such job.
pub fn run(context: &Context, command: &JobsCommand) -> Result<(), Failure> {
    let books = Books::open(context)?;
    match command {
        JobsCommand::Ls { limit } => context.out().result(&books.ask(&ListJobs { limit: *limit })?, |rows| list_text(rows)),
        JobsCommand::Show { job } => context.out().result(&books.ask(&ShowJob { job: job.clone() })?, view_text),
    }
    Ok(())
}

const fn side_word(side: Role) -> &'static str {
    match side {
        Role::Requester => "bought",
        Role::Provider => "sold",
    }
}

fn list_text(rows: &[JobRow]) -> String {
    if rows.is_empty() {
        return "No jobs yet. Buy one with `swarm ask`, or sell with `swarm up --provide MODEL`.".to_owned();
    }
    let mut table = Table::new(["JOB", "SIDE", "STATE", "READ", "WRITTEN", "TON", "WHEN"]).right([3, 4, 5]);
    for row in rows {
        table.row([
            row.job.to_string().chars().take(12).collect(),
            side_word(row.side).to_owned(),
            row.state.word().to_owned(),
            row.usage.input_tokens.to_string(),
            row.usage.output_tokens.to_string(),
            row.cost_nanoton.to_string(),
            time_text(row.updated_at.unix_s()),
        ]);
    }
    table.to_string()
}

fn view_text(view: &JobView) -> String {
    let mut lines = vec![
        format!("job        {} ({}, {})", view.job, side_word(view.side), view.state.word()),
        format!("requester  {}", view.requester),
        format!("provider   {}", view.provider),
        format!("agreement  {}", view.agreement),
        format!("channel    {}", view.channel),
        format!("work       {} tokens read, {} written", view.usage.input_tokens, view.usage.output_tokens),
        format!("cost       {}", ton_text(view.cost_nanoton)),
        format!("receipts   {}, {} of them paid by voucher", view.receipts.len(), view.paid_receipts),
    ];
    for receipt in &view.receipts {
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
