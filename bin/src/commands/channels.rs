//! `swarm channels`: where the money of this node's deals lies.

mod ending;
mod error;

use cocoon_settlement::chain::{Address, Bounce};
use cocoon_settlement::ledger::{OrderState, Role};

use super::blocking;
use crate::cli::ChannelsCommand;
use crate::context::Context;
use crate::failure::{Failure, chain_text};
use crate::output::{Table, span_text, time_text, ton_text};
use crate::query::channels::{ChannelRow, ChannelState, ChannelView, ListChannels, OrderKind, OrderRow, ShowChannel};
use crate::query::{Books, LookError, OwnBooks};

use ending::End;

/// Runs `swarm channels`.
///
/// # Errors
/// No keys, a ledger that cannot be read, no such channel, or a channel that cannot be ended.
pub async fn run(context: &Context, command: ChannelsCommand) -> Result<(), Failure> {
    match command {
        ChannelsCommand::Ls { all, look, limit } => {
            let context = context.clone();
            blocking(move || ls(&context, &ListChannels { limit, closed: all }, look)).await
        }
        ChannelsCommand::Show { channel } => {
            let context = context.clone();
            blocking(move || show(&context, channel)).await
        }
        ChannelsCommand::Close(args) => Box::pin(ending::run(context, End::Close, &args)).await,
        ChannelsCommand::Finish(args) => Box::pin(ending::run(context, End::Finish, &args)).await,
    }
}

fn ls(context: &Context, question: &ListChannels, look: bool) -> Result<(), Failure> {
    let books = Books::open(context)?;
    if let (Books::Here(own), true) = (&books, look) {
        let rows = books.ask(question)?;
        look_at(context, own, rows.iter());
    }
    context.out().result(&books.ask(question)?, |rows| list_text(rows));
    Ok(())
}

fn show(context: &Context, channel: String) -> Result<(), Failure> {
    let books = Books::open(context)?;
    let question = ShowChannel { channel };
    let mut view = books.ask(&question)?;
    if let Books::Here(own) = &books {
        look_at(context, own, std::iter::once(&view.row));
        view = books.ask(&question)?;
    }
    context.out().result(&view, view_text);
    Ok(())
}

/// Looks at those that may still change. Without a chain there is still what was seen last.
fn look_at<'a>(context: &Context, books: &OwnBooks, rows: impl Iterator<Item = &'a ChannelRow>) {
    let alive = rows.filter(|row| row.state != ChannelState::Closed).map(|row| row.channel);
    if let Err(error) = books.look_at(alive) {
        not_looked(context, &error);
    }
}

pub(super) fn not_looked(context: &Context, error: &LookError) {
    context.out().note(&format!("The chain could not be asked, so this is what was seen last: {}", chain_text(error)));
}

const fn side_word(side: Role) -> &'static str {
    match side {
        Role::Requester => "pays",
        Role::Provider => "earns",
    }
}

/// Where it is in its life, for people.
fn state_text(row: &ChannelRow) -> String {
    match (row.state, row.deadline_s) {
        (ChannelState::Unseen, _) => "not on chain".to_owned(),
        (ChannelState::Open, _) => "open".to_owned(),
        (ChannelState::Ended, _) => "given up".to_owned(),
        (ChannelState::Closing, Some(deadline_s)) => format!("closing until {}", time_text(deadline_s.into())),
        (ChannelState::Closing, None) => "closing".to_owned(),
        (ChannelState::Closed, _) => "closed".to_owned(),
    }
}

fn list_text(rows: &[ChannelRow]) -> String {
    if rows.is_empty() {
        return "No channels. One is opened when `swarm ask` first buys from a provider; --all shows closed ones.".to_owned();
    }
    let mut table = Table::new(["CHANNEL", "SIDE", "PEER", "DEPOSIT", "PAID", "DRAWN", "STATE"]).right([3, 4, 5]);
    for row in rows {
        table.row([
            row.channel.address.to_string().chars().take(12).collect(),
            side_word(row.side).to_owned(),
            row.peer.short(),
            row.deposit_nanoton.to_string(),
            row.paid_nanoton.to_string(),
            row.drawn_nanoton.to_string(),
            state_text(row),
        ]);
    }
    table.to_string()
}

fn view_text(view: &ChannelView) -> String {
    let ChannelView { row, terms, .. } = view;
    let seen = row.seen_at.map_or_else(|| "never".to_owned(), |at| time_text(at.unix_s()));
    let mut lines = vec![
        format!("channel    {}", row.channel),
        format!("state      {} (this node {} here)", state_text(row), side_word(row.side)),
        format!("requester  {}", terms.requester),
        format!("provider   {}", terms.provider),
        format!("deposit    {}, {} of it drawn, seen {seen}", ton_text(row.deposit_nanoton), ton_text(row.drawn_nanoton)),
        format!(
            "work       {} in {} receipts, {} of it paid by voucher",
            ton_text(row.owed_nanoton),
            row.receipts,
            ton_text(row.paid_nanoton)
        ),
        format!("refund     {} if nothing more is paid", ton_text(view.rest_nanoton)),
        format!("window     {} between a close without the provider and the refund", span_text(terms.challenge_window_s.into())),
        format!("paid to    {}, the provider's contract", Address::from(terms.contract).friendly(Bounce::Yes)),
    ];
    lines.extend(view.orders.iter().map(order_text));
    lines.join("\n")
}

fn order_text(row: &OrderRow) -> String {
    let what = match row.what {
        OrderKind::Open => "open",
        OrderKind::TopUp => "top up",
        OrderKind::Claim => "claim",
        OrderKind::Batch => "claim in a batch",
        OrderKind::Close => "close",
        OrderKind::Finish => "finish",
        OrderKind::CloseTogether => "close together",
    };
    let state = match &row.state {
        OrderState::Queued => "waits for the wallet".to_owned(),
        OrderState::Pending(_) => "sent".to_owned(),
        OrderState::Confirmed(landed) => format!("done {}, transaction {}", time_text(landed.unix_s), landed.transaction),
        OrderState::Failed(failure) => format!("failed: {failure}"),
    };
    format!("  {what:<8} {state}")
}
