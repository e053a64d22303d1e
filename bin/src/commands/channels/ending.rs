//! `swarm channels close` and `finish`: a requester takes its deposit back without its provider.

use std::sync::Arc;
use std::time::Duration;

use cocoon_market::{Amount, ChannelRef};
use cocoon_settlement::chain::Address;
use cocoon_settlement::contract::ChannelStatus;
use cocoon_settlement::ledger::{ChannelBook, Landed, Order, OrderId, OrderState, Role};
use cocoon_settlement::settler::{ChannelCheckError, Progress, SettleError};
use serde::Serialize;
use tokio::sync::broadcast;

use super::error::EndError;
use crate::cli::EndArgs;
use crate::commands::dry_run::DryRun;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Output, time_text, ton_text};
use crate::query::channels::{deadline_s, find};
use crate::signals::StopSignals;
use crate::wiring::desk::{Desk, DeskError};
use crate::wiring::keeper::Duty;
use crate::wiring::office::Office;
use crate::wiring::open_home::OpenHome;
use crate::wiring::own::configured_terms;
use crate::wiring::session::pace;

/// How long it may take until the message is sent, for those who do not wait for more.
const SEND_LIMIT: Duration = Duration::from_secs(60);

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The challenge window begins.
    Close,
    /// The rest comes back.
    Finish,
}

/// Runs `swarm channels close` or `finish`.
///
/// # Errors
/// [`EndError`], and whatever opening the home fails with.
pub(super) async fn run(context: &Context, end: End, args: &EndArgs) -> Result<(), Failure> {
    let home = OpenHome::open(context).await?;
    let provider = configured_terms(&home.keys, &home.config)?;
    let desk = home.desk(context, provider).await?;
    let wanted = args.channel.clone();
    let prepared = look(&desk, move |desk| prepare(desk, end, &wanted)).await?;
    if args.dry_run {
        context.out().event("dry_run", &prepared, dry_run_text);
        return Ok(());
    }
    let mut signals = StopSignals::listen();
    let office = Office::start(desk, pace(&home.config), Duty::Orders);
    let carried_out = tokio::select! {
        biased;
        () = signals.requested() => Err(EndError::Interrupted),
        carried_out = carry_out(context.out(), &office, &prepared, Duration::from_secs(args.wait)) => carried_out,
    };
    office.close_unless(&mut signals).await;
    Ok(carried_out?)
}

/// Runs what blocks, with the desk, keeping its own errors.
async fn look<T: Send + 'static>(
    desk: &Arc<Desk>,
    work: impl FnOnce(&Desk) -> Result<T, EndError> + Send + 'static,
) -> Result<T, EndError> {
    let desk = Arc::clone(desk);
    crate::commands::blocking(move || work(&desk)).await
}

/// A message that would end a channel, and what it would change.
#[derive(Clone, Debug, Serialize)]
struct Prepared {
    channel: ChannelRef,
    /// What it does.
    message: &'static str,
    #[serde(flatten)]
    dry_run: DryRun,
    /// What the provider may still draw.
    claimable_nanoton: Amount,
    /// What comes back, now or after the window.
    refund_nanoton: Amount,
    /// About when the window ends, in seconds since the Unix epoch.
    deadline_s: u64,
    #[serde(skip)]
    end: End,
}

/// Looks at the channel, and checks that the chain would take the message.
fn prepare(desk: &Desk, end: End, text: &str) -> Result<Prepared, EndError> {
    let book = find(desk.ledger(), text)?;
    let channel = book.channel();
    if book.record().role != Role::Requester {
        return Err(EndError::NotRequester(channel));
    }
    let sight = match desk.settler().observe(channel) {
        Ok(view) => view.sight,
        Err(SettleError::Channel(ChannelCheckError::NotDeployed)) => return Err(not_there(desk, channel)?),
        Err(error) => return Err(error.into()),
    };
    let now_s = sight.seen_at.unix_s();
    check(end, channel, sight.status, now_s)?;
    let order = match end {
        End::Close => Order::Close(channel),
        End::Finish => Order::Finish(channel),
    };
    let preview = desk.settler().preview(&order)?;
    if preview.needed > preview.balance {
        return Err(EndError::Poor { needed: preview.needed, balance: preview.balance });
    }
    let window_end = now_s.saturating_add(book.record().terms.challenge_window_s.into());
    let deadline_s = deadline_s(sight.status).map_or(window_end, u64::from);
    let (wallet, contract) = (Address::from(desk.settler().account()), Address::from(channel.address));
    let dry_run = DryRun::of(desk.chain(), preview, wallet, contract).map_err(DeskError::from)?;
    Ok(Prepared::new(end, &desk.ledger().channel(channel)?, dry_run, deadline_s))
}

/// Whether it is on its way there.
fn not_there(desk: &Desk, channel: ChannelRef) -> Result<EndError, EndError> {
    let opens = |order: &Order| matches!(order, Order::Open { terms, .. } if terms.channel().is_ok_and(|opened| opened == channel));
    let is_opening = desk.ledger().open_orders()?.iter().any(|(_, record)| opens(&record.order));
    Ok(if is_opening { EndError::Opening(channel) } else { EndError::NotOnChain(channel) })
}

fn check(end: End, channel: ChannelRef, status: ChannelStatus, now_s: u64) -> Result<(), EndError> {
    match (end, status) {
        (End::Close, ChannelStatus::Open) => Ok(()),
        (End::Close, ChannelStatus::Closing { deadline_s }) => Err(EndError::Closing { channel, deadline_s }),
        (End::Finish, ChannelStatus::Open) => Err(EndError::NotClosing(channel)),
        (End::Finish, ChannelStatus::Closing { deadline_s }) => match u64::from(deadline_s).checked_sub(now_s) {
            Some(left_s) if left_s > 0 => Err(EndError::WindowOpen { channel, deadline_s, left_s }),
            Some(_) | None => Ok(()),
        },
        (End::Close | End::Finish, ChannelStatus::Closed) => Err(EndError::Closed(channel)),
    }
}

impl Prepared {
    fn new(end: End, book: &ChannelBook, dry_run: DryRun, deadline_s: u64) -> Self {
        let (deposit, drawn) = book.head().sight.map_or((Amount::ZERO, Amount::ZERO), |sight| (sight.deposit, sight.drawn));
        let claimable = match end {
            End::Close => book.undrawn(),
            End::Finish => Amount::ZERO,
        };
        Self {
            channel: book.channel(),
            message: match end {
                End::Close => "close_unilateral",
                End::Finish => "finish_close",
            },
            dry_run,
            claimable_nanoton: claimable,
            refund_nanoton: deposit.saturating_sub(drawn).saturating_sub(claimable),
            deadline_s,
            end,
        }
    }
}

fn dry_run_text(prepared: &Prepared) -> String {
    let changes = match prepared.end {
        End::Close => format!(
            "the channel would close, and its provider could claim {} until about {};\nafter that, finish would refund {}",
            ton_text(prepared.claimable_nanoton),
            time_text(prepared.deadline_s),
            ton_text(prepared.refund_nanoton),
        ),
        End::Finish => format!("the channel would be closed for ever, and {} would be refunded", ton_text(prepared.refund_nanoton)),
    };
    format!("Nothing was sent. If it were, {changes}.\n{}", prepared.dry_run.text("and the rest comes back"))
}

/// Gives the order, tells what becomes of it, and waits as long as wanted.
async fn carry_out(out: &Output, office: &Office, prepared: &Prepared, wait: Duration) -> Result<(), EndError> {
    let (desk, channel, end) = (office.desk(), prepared.channel, prepared.end);
    let mut progress = office.settling();
    let order = look(desk, move |desk| {
        Ok(match end {
            End::Close => desk.settler().close(channel, desk.now())?,
            End::Finish => desk.settler().finish(channel, desk.now())?,
        })
    })
    .await?;
    let settled = async {
        if wait.is_zero() {
            return sent(desk, order, office.settling()).await;
        }
        Ok(desk.await_order(order, wait).await?)
    };
    if !wait.is_zero() {
        out.note("waiting for the chain; Ctrl-C leaves the rest to the next run");
    }
    let mut settled = std::pin::pin!(settled);
    loop {
        tokio::select! {
            biased;
            Ok(step) = progress.recv() => tell(out, order, &step),
            done = &mut settled => {
                done?;
                break;
            }
        }
    }
    while let Ok(step) = progress.try_recv() {
        tell(out, order, &step);
    }
    let prepared = prepared.clone();
    let ended = look(desk, move |desk| ended(desk, order, &prepared)).await?;
    out.event("ended", &ended, ended_text);
    Ok(())
}

/// Waits until the message was sent, and no longer.
async fn sent(desk: &Arc<Desk>, order: OrderId, mut progress: broadcast::Receiver<Progress>) -> Result<(), EndError> {
    desk.ring();
    let first = async {
        while let Ok(step) = progress.recv().await {
            match step {
                Progress::NeedsFunds { order: poor, needed, balance, .. } if poor == order => {
                    return Err(EndError::Poor { needed, balance });
                }
                Progress::Failed { order: failed, reason } if failed == order => return Err(DeskError::from(reason).into()),
                Progress::Sent { order: sent, .. } | Progress::Confirmed { order: sent, .. } if sent == order => return Ok(()),
                Progress::Sent { .. }
                | Progress::Confirmed { .. }
                | Progress::Failed { .. }
                | Progress::Requeued { .. }
                | Progress::NeedsFunds { .. } => {}
            }
        }
        Err(DeskError::Gone.into())
    };
    tokio::time::timeout(SEND_LIMIT, first).await.unwrap_or(Err(DeskError::Slow(SEND_LIMIT).into()))
}

fn tell(out: &Output, ours: OrderId, step: &Progress) {
    match step {
        Progress::Sent { order, message } if *order == ours => {
            out.note(&format!("sent as message {message}"));
        }
        Progress::Sent { .. } => out.note("an order given earlier goes first"),
        Progress::Requeued { .. } => out.note("the message died unused, and another one is signed"),
        Progress::Confirmed { .. } | Progress::Failed { .. } | Progress::NeedsFunds { .. } => {}
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Ended {
    channel: ChannelRef,
    /// The channel's transaction; none if nobody waited for it.
    transaction: Option<Landed>,
    /// While it is closing: when the challenge window ends, in seconds since the Unix epoch.
    deadline_s: Option<u32>,
    /// What comes back, or came.
    refund_nanoton: Amount,
    #[serde(skip)]
    end: End,
}

fn ended(desk: &Desk, order: OrderId, prepared: &Prepared) -> Result<Ended, EndError> {
    let transaction = match desk.ledger().order(order)?.map(|record| record.state) {
        Some(OrderState::Confirmed(landed)) => Some(landed),
        Some(OrderState::Queued | OrderState::Pending(_) | OrderState::Failed(_)) | None => None,
    };
    let sight = desk.ledger().channel(prepared.channel)?.head().sight;
    Ok(Ended {
        channel: prepared.channel,
        transaction,
        deadline_s: sight.and_then(|sight| deadline_s(sight.status)),
        refund_nanoton: prepared.refund_nanoton,
        end: prepared.end,
    })
}

fn ended_text(ended: &Ended) -> String {
    let short = ended.channel.address.short();
    let Some(landed) = ended.transaction else {
        return format!("Sent and not waited for; swarm channels show {short} tells what came of it");
    };
    let done = match (ended.end, ended.deadline_s) {
        (End::Close, Some(deadline_s)) => format!(
            "The channel is closing. Its provider may claim until {}; then swarm channels finish {short} refunds {}",
            time_text(deadline_s.into()),
            ton_text(ended.refund_nanoton),
        ),
        (End::Close, None) => format!("The channel is closing; swarm channels show {short} says until when"),
        (End::Finish, _) => format!("The channel is closed, and {} came back", ton_text(ended.refund_nanoton)),
    };
    format!("{done}\n  transaction {}", landed.transaction)
}

#[cfg(test)]
mod tests {
    use cocoon_market::{ContractAddress, NetworkId};

    use super::*;

    const CHANNEL: ChannelRef = ChannelRef { network: NetworkId::DEVNET, address: ContractAddress([7; 32]) };

    fn refused(end: End, status: ChannelStatus, now_s: u64) -> Option<String> {
        check(end, CHANNEL, status, now_s).err().map(|error| error.to_string())
    }

    #[test]
    fn an_open_channel_is_closed_and_a_closing_one_finished_from_its_deadline_on() {
        let closing = ChannelStatus::Closing { deadline_s: 1_000 };
        assert_eq!(refused(End::Close, ChannelStatus::Open, 0), None);
        assert_eq!(refused(End::Finish, closing, 1_000), None);
        assert_eq!(refused(End::Finish, closing, 5_000), None);
        assert!(refused(End::Finish, closing, 999).unwrap().ends_with("1970-01-01 00:16:40 UTC, for another 1 s"));
        assert!(refused(End::Close, closing, 0).unwrap().contains("closing already"));
        assert!(refused(End::Finish, ChannelStatus::Open, 0).unwrap().contains("is open"));
        for end in [End::Close, End::Finish] {
            assert!(refused(end, ChannelStatus::Closed, 0).unwrap().contains("closed already"));
        }
    }
}
