//! `swarm audit`: where all the money of this node is, that it sums, and that its books are the newest.

mod csv;

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use cocoon_market::{Amount, ChannelRef};
use cocoon_settlement::ledger::{Audit, AuditFault, PartyAudit, Role, Rollback, Sums};

use super::channels::not_looked;
use crate::cli::AuditArgs;
use crate::context::Context;
use crate::durable::{self, Existing};
use crate::failure::{Exit, Failure, NextStep};
use crate::output::{Format, Table, Tone};
use crate::query::Books;
use crate::query::audit::AuditBooks;

/// What stands for stdout where a file is named.
const STDOUT: &str = "-";

/// Why an audit fails.
#[derive(Debug, thiserror::Error)]
enum AuditFailure {
    /// The first of the channels whose books contradict each other.
    #[error("the books of {count} channels do not sum, the first of them {channel}")]
    Unsound {
        /// Which.
        channel: ChannelRef,
        /// How many there are.
        count: usize,
        /// What is wrong with the first.
        #[source]
        fault: AuditFault,
    },
    /// The table cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Where it was to be.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Two forms on one stdout.
    #[error("--json and --csv - both print to stdout")]
    TwoForms,
}

impl NextStep for AuditFailure {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Unsound { fault, .. } => fault_step(*fault),
            Self::Write { .. } => "another file: --csv FILE".into(),
            Self::TwoForms => "one of them, or --csv FILE".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Unsound { .. } | Self::Write { .. } => Exit::Failed,
            Self::TwoForms => Exit::Usage,
        }
    }
}

/// What to do about a channel whose books do not sum.
pub(super) fn fault_step(fault: AuditFault) -> Cow<'static, str> {
    match fault {
        AuditFault::Rollback(found) => rollback_step(found),
        AuditFault::VoucherAboveReceipts { .. }
        | AuditFault::DrawnAboveDeposit { .. }
        | AuditFault::ReceiptCount { .. }
        | AuditFault::ReceiptSum { .. }
        | AuditFault::JobSum { .. }
        | AuditFault::VoucherUnbacked { .. }
        | AuditFault::Unbalanced { .. }
        | AuditFault::Amount => {
            "stop the node and keep a copy of its ledger: entries are missing or changed; the best voucher is still claimed".into()
        }
    }
}

/// What to do about a channel whose books are not the newest.
pub(super) fn rollback_step(found: Rollback) -> Cow<'static, str> {
    match found {
        Rollback::Drawn { .. } | Rollback::Receipts { .. } | Rollback::OtherReceipts { .. } => {
            "if this home was restored from a copy, or its keys run elsewhere too: stop it, and put back the newest ledger; if there is \
             none, leave the channel frozen (what its vouchers pay is still claimed), or close it if this node pays in it: \
             swarm channels close CHANNEL"
                .into()
        }
        Rollback::SecondReceipt { .. } => "buy from others; swarm channels close CHANNEL gets back what its provider cannot claim".into(),
    }
}

/// Runs `swarm audit`. Blocks.
///
/// # Errors
/// No keys, a ledger that cannot be read, a file that cannot be written, or books that do not sum.
pub fn run(context: &Context, args: &AuditArgs) -> Result<(), Failure> {
    let to_stdout = args.csv.as_deref() == Some(Path::new(STDOUT));
    if to_stdout && context.out().format() == Format::Json {
        return Err(AuditFailure::TwoForms.into());
    }
    let audit = ask(context, args.look)?;
    match &args.csv {
        Some(_) if to_stdout => {
            // A reader who left needs nothing more.
            let _ = io::stdout().lock().write_all(csv::text(&audit).as_bytes());
        }
        Some(path) => {
            let failed = |source| AuditFailure::Write { path: path.clone(), source };
            durable::write(path, csv::text(&audit).as_bytes(), Existing::Replace).map_err(failed)?;
            context.out().note(&format!("{} channels are in {}", audit.channels.len(), path.display()));
        }
        None => {}
    }
    if !to_stdout {
        context.out().result(&audit, |audit| text(context, audit));
    }
    let count = audit.faults().count();
    match audit.faults().next() {
        Some((channel, fault)) => Err(AuditFailure::Unsound { channel, count, fault }.into()),
        None => Ok(()),
    }
}

/// The audit; of books that are open here after a look at the chain, if that is asked.
fn ask(context: &Context, look: bool) -> Result<Audit, Failure> {
    let books = Books::open(context)?;
    if let (Books::Here(own), true) = (&books, look) {
        let channels = books.ask(&AuditBooks {})?.channels;
        if let Err(error) = own.look_at(channels.iter().map(|row| row.channel)) {
            not_looked(context, &error);
        }
    }
    books.ask(&AuditBooks {})
}

fn text(context: &Context, audit: &Audit) -> String {
    if audit.channels.is_empty() {
        return "No channels, so nobody owes anybody anything.".to_owned();
    }
    let mut parts = Vec::new();
    for (side, title, total) in
        [(Role::Provider, "Owed to this node", &audit.as_provider), (Role::Requester, "Owed by this node", &audit.as_requester)]
    {
        let rows: Vec<&PartyAudit> = audit.parties.iter().filter(|party| party.side == side).collect();
        if !rows.is_empty() {
            parts.push(format!("{}\n{}", context.out().paint(Tone::Strong, title), owed_table(&rows, total)));
        }
    }
    let frozen = audit.frozen().map(|(channel, found)| {
        let word = context.out().paint(Tone::Warning, "frozen");
        format!("{word}  {channel}\n        {found}\n        try: {}\n", rollback_step(found))
    });
    parts.extend(frozen);
    let faults: Vec<String> = audit
        .faults()
        .map(|(channel, fault)| format!("{}  {channel}\n        {fault}\n", context.out().paint(Tone::Bad, "wrong ")))
        .collect();
    if faults.is_empty() {
        parts.push(context.out().paint(Tone::Good, "Everything sums, receipt by receipt."));
    }
    parts.extend(faults);
    parts.join("\n")
}

fn owed_table(rows: &[&PartyAudit], total: &Sums) -> String {
    let headings = ["PEER", "RECEIPTED", "NOT PAID", "WAITING", "IN BATCH", "SETTLED", "DISPUTED", "DEPOSITED", "REFUNDED", "HELD"];
    let mut table = Table::new(headings).right(1..headings.len());
    for party in rows {
        table.row(cells(party.peer.short(), &party.sums));
    }
    table.row(cells("total".to_owned(), total));
    table.to_string()
}

fn cells(name: String, sums: &Sums) -> [String; 10] {
    let amount = |amount: Amount| amount.to_string();
    [
        name,
        amount(sums.receipted_nanoton),
        amount(sums.unacknowledged_nanoton),
        amount(sums.waiting_nanoton),
        amount(sums.in_batch_nanoton),
        amount(sums.settled_nanoton),
        amount(sums.disputed_nanoton),
        amount(sums.deposited_nanoton),
        amount(sums.refunded_nanoton),
        amount(sums.held_nanoton),
    ]
}
