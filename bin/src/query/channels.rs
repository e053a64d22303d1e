//! A node's payment channels.

use std::borrow::Cow;

use cocoon_market::{Amount, ChannelRef, NodeId, SignedVoucher, Timestamp};
use cocoon_settlement::chain::Address;
use cocoon_settlement::contract::{ChannelStatus, ChannelTerms};
use cocoon_settlement::ledger::{ChannelBook, Ledger, LedgerError, Order, OrderId, OrderRecord, OrderState, Role};
use serde::{Deserialize, Serialize};

use super::{Question, ROWS_MAX};
use crate::failure::{Exit, Failure, NextStep};

/// Orders shown of one channel: the newest. A channel has an opening, an end, and now and then a claim in between.
const ORDERS_SHOWN_MAX: usize = 100;

/// Orders read from the ledger at a time.
const PAGE: usize = 1024;

/// Why a channel is not shown.
#[derive(Debug, thiserror::Error)]
pub enum ChannelsError {
    /// The ledger.
    #[error("the ledger cannot be read")]
    Ledger(#[from] LedgerError),
    /// There is no such channel.
    #[error("no channel begins with {0:?}")]
    Unknown(String),
    /// There are several.
    #[error("{count} channels begin with {text:?}")]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// How many fit.
        count: usize,
    },
}

impl NextStep for ChannelsError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Ledger(_) => "swarm doctor, which checks the disk".into(),
            Self::Unknown(_) => "swarm channels ls".into(),
            Self::Ambiguous { .. } => "more of its address".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Ledger(_) => Exit::Failed,
            Self::Unknown(_) | Self::Ambiguous { .. } => Exit::Usage,
        }
    }
}

/// The channels of a node, newest first.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ListChannels {
    /// At most so many, and at most [`ROWS_MAX`].
    pub limit: usize,
    /// Those that are closed, too.
    pub closed: bool,
}

/// A channel in the list: what the books say, and what was last seen on chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChannelRow {
    /// Which.
    pub channel: ChannelRef,
    /// Our side.
    pub side: Role,
    /// The other side.
    pub peer: NodeId,
    /// Where it is in its life.
    pub state: ChannelState,
    /// While it is closing: when the challenge window ends, in seconds since the Unix epoch.
    pub deadline_s: Option<u32>,
    /// All that was ever deposited.
    pub deposit_nanoton: Amount,
    /// All that was ever drawn from it.
    pub drawn_nanoton: Amount,
    /// Receipts in it.
    pub receipts: u64,
    /// All that receipts sum to.
    pub owed_nanoton: Amount,
    /// All that vouchers pay.
    pub paid_nanoton: Amount,
    /// The time of the block it was last seen in.
    pub seen_at: Option<Timestamp>,
    /// When it was written down.
    pub recorded_at: Timestamp,
}

/// Where a channel is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelState {
    /// Never seen on chain.
    Unseen,
    /// It takes deposits and claims.
    Open,
    /// It is open on chain, and we signed its end: nothing is paid in it any more.
    Ended,
    /// It takes claims until the deadline.
    Closing,
    /// For ever.
    Closed,
}

impl ChannelState {
    fn of(book: &ChannelBook) -> Self {
        match book.head().sight.map(|sight| sight.status) {
            None => Self::Unseen,
            Some(ChannelStatus::Open) if book.head().end.is_some() => Self::Ended,
            Some(ChannelStatus::Open) => Self::Open,
            Some(ChannelStatus::Closing { .. }) => Self::Closing,
            Some(ChannelStatus::Closed) => Self::Closed,
        }
    }
}

impl ChannelRow {
    fn of(book: &ChannelBook) -> Self {
        let (record, sight) = (book.record(), book.head().sight);
        let peer = match record.role {
            Role::Requester => record.terms.provider,
            Role::Provider => record.terms.requester,
        };
        Self {
            channel: book.channel(),
            side: record.role,
            peer,
            state: ChannelState::of(book),
            deadline_s: sight.and_then(|sight| deadline_s(sight.status)),
            deposit_nanoton: sight.map_or(Amount::ZERO, |sight| sight.deposit),
            drawn_nanoton: sight.map_or(Amount::ZERO, |sight| sight.drawn),
            receipts: book.sequence(),
            owed_nanoton: book.head().owed,
            paid_nanoton: book.paid(),
            seen_at: sight.map(|sight| sight.seen_at),
            recorded_at: record.recorded_at,
        }
    }

    /// What its requester gets back if nothing more is paid: the deposit less what vouchers pay or is drawn already.
    pub fn rest(&self) -> Amount {
        match self.state {
            ChannelState::Unseen | ChannelState::Closed => Amount::ZERO,
            ChannelState::Open | ChannelState::Ended | ChannelState::Closing => {
                self.deposit_nanoton.saturating_sub(self.paid_nanoton.max(self.drawn_nanoton))
            }
        }
    }
}

/// When a challenge window ends.
pub const fn deadline_s(status: ChannelStatus) -> Option<u32> {
    match status {
        ChannelStatus::Closing { deadline_s } => Some(deadline_s),
        ChannelStatus::Open | ChannelStatus::Closed => None,
    }
}

impl Question for ListChannels {
    const NAME: &'static str = "channels";
    type Answer = Vec<ChannelRow>;

    fn answer(&self, ledger: &Ledger) -> Result<Vec<ChannelRow>, Failure> {
        let books = ledger.channels().map_err(ChannelsError::from)?;
        let mut rows: Vec<ChannelRow> = books.iter().map(ChannelRow::of).collect();
        rows.retain(|row| self.closed || row.state != ChannelState::Closed);
        rows.sort_by_key(|row| std::cmp::Reverse((row.recorded_at, row.channel)));
        rows.truncate(self.limit.min(ROWS_MAX));
        Ok(rows)
    }
}

/// One channel, whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShowChannel {
    /// Its address, or the beginning of it.
    pub channel: String,
}

/// Everything the ledger says about a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChannelView {
    /// As in the list.
    #[serde(flatten)]
    pub row: ChannelRow,
    /// What its requester gets back if nothing more is paid.
    pub rest_nanoton: Amount,
    /// What was fixed at the opening.
    pub terms: ChannelTerms,
    /// The best voucher.
    pub voucher: Option<SignedVoucher>,
    /// The newest orders of ours about it, oldest first.
    pub orders: Vec<OrderRow>,
}

/// What we asked of the chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrderRow {
    /// Its number.
    pub order: OrderId,
    /// What was asked.
    pub what: OrderKind,
    /// When.
    pub given_at: Timestamp,
    /// What came of it.
    pub state: OrderState,
}

/// What an order asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    /// Deploy it with its first deposit.
    Open,
    /// Add to its deposit.
    TopUp,
    /// Draw what a voucher pays.
    Claim,
    /// The same, together with others, through the provider's contract.
    Batch,
    /// Start the challenge window.
    Close,
    /// Refund after the window.
    Finish,
    /// End it with both signatures.
    CloseTogether,
}

impl Question for ShowChannel {
    const NAME: &'static str = "channel";
    type Answer = ChannelView;

    fn answer(&self, ledger: &Ledger) -> Result<ChannelView, Failure> {
        let book = find(ledger, &self.channel)?;
        let row = ChannelRow::of(&book);
        let orders = orders_of(ledger, book.channel())?;
        Ok(ChannelView { rest_nanoton: row.rest(), row, terms: book.record().terms, voucher: book.head().voucher, orders })
    }
}

/// The one channel whose address begins so. People may leave out network and workchain, or give a friendly address.
///
/// # Errors
/// [`ChannelsError`].
pub fn find(ledger: &Ledger, text: &str) -> Result<ChannelBook, ChannelsError> {
    let lower = text.to_ascii_lowercase();
    let friendly = text.parse::<Address>().ok().map(|address| hex::encode(address.hash));
    let wanted = friendly.unwrap_or_else(|| lower.rsplit_once("0:").map_or(lower.as_str(), |(_, hash)| hash).to_owned());
    let fits = |book: &ChannelBook| book.channel().address.to_string().starts_with(&wanted);
    let mut found: Vec<_> = ledger.channels()?.into_iter().filter(|book| !wanted.is_empty() && fits(book)).collect();
    match (found.pop(), found.len()) {
        (None, _) => Err(ChannelsError::Unknown(text.to_owned())),
        (Some(only), 0) => Ok(only),
        (Some(_), others) => Err(ChannelsError::Ambiguous { text: text.to_owned(), count: others + 1 }),
    }
}

fn orders_of(ledger: &Ledger, channel: ChannelRef) -> Result<Vec<OrderRow>, ChannelsError> {
    let mut rows = std::collections::VecDeque::new();
    let mut from = Some(OrderId(0));
    while let Some(start) = from {
        let page = ledger.orders(start, PAGE)?;
        from = page.last().filter(|_| page.len() == PAGE).and_then(|(last, _)| last.0.checked_add(1).map(OrderId));
        for (order, OrderRecord { order: asked, state, given_at, .. }) in page {
            if let Some(what) = about(&asked, channel) {
                rows.push_back(OrderRow { order, what, given_at, state });
                if rows.len() > ORDERS_SHOWN_MAX {
                    rows.pop_front();
                }
            }
        }
    }
    Ok(rows.into())
}

/// What an order asks of a channel, if it is about it.
fn about(order: &Order, channel: ChannelRef) -> Option<OrderKind> {
    let kind = match order {
        Order::Open { .. } => OrderKind::Open,
        Order::TopUp { .. } => OrderKind::TopUp,
        Order::Claim(_) => OrderKind::Claim,
        Order::Operator { .. } => OrderKind::Batch,
        Order::Close(_) => OrderKind::Close,
        Order::Finish(_) => OrderKind::Finish,
        Order::CloseTogether { .. } => OrderKind::CloseTogether,
        Order::Transfer { .. } | Order::Stake { .. } | Order::Provider { .. } | Order::Tell { .. } => return None,
    };
    order.channels().contains(&channel).then_some(kind)
}
