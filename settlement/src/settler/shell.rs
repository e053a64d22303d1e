//! The thin part: reads the chain, asks the plan, writes the ledger, sends.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cocoon_market::ids::Digest;
use cocoon_market::{Amount, AmountError, ChannelRef, ContractAddress, SettlementTerms, Timestamp};
use tracing::{debug, info, warn};

use super::plan::{ClaimPolicy, Seen, Step, passed_on, plan};
use super::verify::{ChannelCheckError, ChannelView, Expected, verify_channel};
use crate::chain::{AccountState, Address, Bounce, Chain, ChainError, Hash, PAGE_MAX, Page, Transaction};
use crate::channel::shares;
use crate::contract::{CellError, ChannelMessage, ChannelStatus, ChannelTerms};
use crate::ledger::{ChannelBook, Landed, Ledger, LedgerError, Order, OrderFailure, OrderId, OrderRecord, OrderState, Role, SentMessage};
use crate::wallet::{Outgoing, OwnerWallet, WalletError, next_seqno};

/// How long a signed message stays alive. Ten blocks of a slow chain; after it an order that got lost is signed anew.
const VALID_S: u32 = 120;

/// Carried on top of what a message is to move; what its work does not cost comes back. Three times what the most expensive path asks for at
/// the prices of 2026, and still above it at those before.
const FEE_VALUE: Amount = Amount::from_nano(20_000_000);

/// Left in the wallet for its own gas and rent.
const WALLET_FEES: Amount = Amount::from_nano(10_000_000);

/// Pages of transactions looked through for one message. A wallet of ours sends one message at a time, so the first has it.
const PAGES_MAX: usize = 16;

/// Orders carried in one turn, so that a turn ends.
const ORDERS_A_TURN_MAX: usize = 64;

/// Why a turn could not be finished. What was begun is in the ledger, and the next turn goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The wallet.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The account is not the channel that was agreed.
    #[error(transparent)]
    Channel(#[from] ChannelCheckError),
    /// A cell.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// A sum beyond all money.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// The endpoint shows more of an account than anybody looks through.
    #[error("the transaction looked for is not among the newest of {0:?}")]
    TooManyTransactions(Address),
}

/// What a turn did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A message was written down and sent.
    Sent {
        /// For which order.
        order: OrderId,
        /// Its root hash.
        message: Digest,
    },
    /// An order took effect.
    Confirmed {
        /// Which.
        order: OrderId,
        /// The transaction that shows it.
        landed: Landed,
    },
    /// An order failed for good.
    Failed {
        /// Which.
        order: OrderId,
        /// Why.
        reason: OrderFailure,
    },
    /// A message died unused; its order is signed anew.
    Requeued {
        /// Which order.
        order: OrderId,
    },
    /// The next order waits until the wallet holds enough.
    NeedsFunds {
        /// Which order.
        order: OrderId,
        /// What it takes.
        needed: Amount,
        /// What the wallet holds.
        balance: Amount,
    },
}

/// What carrying out an order would send and take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The signed message.
    pub message: SentMessage,
    /// What it carries. What its work does not cost comes back.
    pub value: Amount,
    /// What the wallet must hold for it, its own gas included.
    pub needed: Amount,
    /// What the wallet holds.
    pub balance: Amount,
}

/// Carries orders to a chain. One for each wallet.
pub struct Settler {
    chain: Arc<dyn Chain>,
    wallet: OwnerWallet,
    ledger: Arc<Ledger>,
    /// One turn at a time: two would sign two messages with one number.
    turn: Mutex<()>,
    /// What contracts refused in this run. [`Settler::watch`] does not order it again, which would cost gas each time.
    refused: Mutex<BTreeSet<(ChannelRef, Attempt)>>,
}

/// What [`Settler::watch`] orders by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Attempt {
    /// Drawing the voucher that covers so many receipts.
    Claim(u64),
    /// The refund.
    Finish,
}

impl fmt::Debug for Settler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settler").field("wallet", &self.wallet).finish_non_exhaustive()
    }
}

impl Settler {
    /// A settler over a chain, a wallet and a ledger.
    pub fn new(chain: Arc<dyn Chain>, wallet: OwnerWallet, ledger: Arc<Ledger>) -> Self {
        Self { chain, wallet, ledger, turn: Mutex::default(), refused: Mutex::default() }
    }

    /// The chain.
    pub fn chain(&self) -> &dyn Chain {
        &*self.chain
    }

    /// The wallet's account.
    pub const fn account(&self) -> ContractAddress {
        self.wallet.account()
    }

    /// The ledger.
    pub const fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// What the wallet holds.
    ///
    /// # Errors
    /// [`SettleError::Chain`].
    pub fn balance(&self) -> Result<Amount, SettleError> {
        Ok(self.chain.account(&self.wallet.address())?.balance)
    }

    /// The terms of a new channel to a provider that wants to be paid so, with a salt that was never used. `random` are fresh random bytes.
    ///
    /// # Errors
    /// [`SettleError::Ledger`].
    pub fn new_terms(
        &self,
        provider: cocoon_market::NodeId,
        settlement: &SettlementTerms,
        random: [u8; 32],
    ) -> Result<ChannelTerms, SettleError> {
        Ok(ChannelTerms {
            network: settlement.network,
            requester: self.ledger.node_id(),
            provider,
            refund_to: self.wallet.account(),
            payout_to: settlement.payout,
            fee_to: settlement.fee_to,
            fee_bps: settlement.fee_bps,
            challenge_window_s: settlement.challenge_window_s,
            salt: self.ledger.next_salt(random)?,
        })
    }

    /// Orders a channel to be opened: books it and enters the order, in one commit. The same channel is ordered once.
    ///
    /// # Errors
    /// [`SettleError::Ledger`].
    pub fn open(&self, terms: ChannelTerms, deposit: Amount, now: Timestamp) -> Result<(ChannelRef, OrderId), SettleError> {
        let order = Order::Open { terms, deposit };
        if let Some(id) = self.open_order(|open| matches!(open, Order::Open { terms: other, .. } if *other == terms))? {
            return Ok((terms.channel()?, id));
        }
        Ok(self.ledger.commit(move |batch| {
            let channel = batch.record_channel(Role::Requester, terms, now)?;
            Ok::<_, LedgerError>((channel, batch.add_order(OrderRecord::new(order, now))?))
        })??)
    }

    /// Looks at a channel on chain, checks it against the book, and enters what was seen.
    ///
    /// # Errors
    /// [`SettleError::Channel`] when the account is not the channel.
    pub fn observe(&self, channel: ChannelRef) -> Result<ChannelView, SettleError> {
        let terms = self.ledger.channel(channel)?.record().terms;
        self.look(&Expected::of_terms(&terms)?)
    }

    /// Provider: looks at a channel that a requester names, checks it against what was agreed, and opens a book for it.
    ///
    /// # Errors
    /// [`SettleError::Channel`] when the account is not the channel that was agreed.
    pub fn admit(&self, expected: &Expected, now: Timestamp) -> Result<ChannelView, SettleError> {
        let view = verify_channel(&self.chain.account(&Address::from(expected.channel.address))?, expected)?;
        self.ledger.commit(move |batch| {
            batch.record_channel(Role::Provider, view.terms, now)?;
            batch.record_sight(view.channel, view.sight)
        })??;
        Ok(view)
    }

    fn look(&self, expected: &Expected) -> Result<ChannelView, SettleError> {
        let view = verify_channel(&self.chain.account(&Address::from(expected.channel.address))?, expected)?;
        self.ledger.record_sight(expected.channel, view.sight)?;
        Ok(view)
    }

    /// Looks at all channels that are not closed, and orders what follows: claims by `policy`, at once where a channel is closing, and
    /// the refund of our own channels after their window. Channels that cannot be looked at are reported and do not hold up the others.
    ///
    /// # Errors
    /// [`SettleError::Ledger`].
    pub fn watch(&self, policy: ClaimPolicy, now: Timestamp) -> Result<Vec<(ChannelRef, SettleError)>, SettleError> {
        let mut failures = Vec::new();
        for book in self.ledger.channels()? {
            if book.head().sight.is_some_and(|sight| sight.status == ChannelStatus::Closed) {
                continue;
            }
            if let Err(error) = self.watch_one(&book, policy, now) {
                debug!(channel = %book.channel(), %error, "channel could not be looked at");
                failures.push((book.channel(), error));
            }
        }
        Ok(failures)
    }

    fn watch_one(&self, book: &ChannelBook, policy: ClaimPolicy, now: Timestamp) -> Result<(), SettleError> {
        let channel = book.channel();
        let view = self.observe(channel)?;
        let is_over = |deadline_s: u32| view.sight.seen_at.unix_s() >= u64::from(deadline_s);
        let sequence = book.head().voucher.map_or(0, |best| best.voucher.sequence);
        let may_claim = !self.was_refused(channel, Attempt::Claim(sequence));
        match (book.record().role, view.sight.status) {
            (Role::Provider, ChannelStatus::Open) if may_claim => self.claim_if(channel, policy, false, now).map(drop),
            (Role::Provider, ChannelStatus::Closing { deadline_s }) if may_claim && !is_over(deadline_s) => {
                self.claim_if(channel, policy, true, now).map(drop)
            }
            (Role::Requester, ChannelStatus::Closing { deadline_s })
                if is_over(deadline_s) && !self.was_refused(channel, Attempt::Finish) =>
            {
                self.finish(channel, now).map(drop)
            }
            (Role::Provider | Role::Requester, ChannelStatus::Open | ChannelStatus::Closing { .. } | ChannelStatus::Closed) => Ok(()),
        }
    }

    fn was_refused(&self, channel: ChannelRef, attempt: Attempt) -> bool {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).contains(&(channel, attempt))
    }

    fn note_refusal(&self, order: &Order) {
        let attempt = match order {
            Order::Claim(signed) => (signed.voucher.channel, Attempt::Claim(signed.voucher.sequence)),
            Order::Finish(channel) => (*channel, Attempt::Finish),
            Order::Open { .. } | Order::TopUp { .. } | Order::Close(_) | Order::CloseTogether { .. } | Order::Transfer { .. } => return,
        };
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt);
    }

    /// Orders the best voucher of a channel to be drawn, unless that is under way or would draw nothing.
    ///
    /// # Errors
    /// [`SettleError::Ledger`].
    pub fn claim(&self, channel: ChannelRef, now: Timestamp) -> Result<Option<OrderId>, SettleError> {
        self.claim_if(channel, ClaimPolicy { at_least: Amount::ZERO }, false, now)
    }

    fn claim_if(&self, channel: ChannelRef, policy: ClaimPolicy, is_closing: bool, now: Timestamp) -> Result<Option<OrderId>, SettleError> {
        let book = self.ledger.channel(channel)?;
        let (Some(best), Some(sight)) = (book.head().voucher, book.head().sight) else { return Ok(None) };
        let drawable = best.voucher.cumulative.min(sight.deposit).saturating_sub(sight.drawn);
        if book.record().role != Role::Provider || !policy.is_due(drawable, is_closing) {
            return Ok(None);
        }
        let same = |open: &Order| matches!(open, Order::Claim(other) if other.voucher.channel == channel && other.voucher.cumulative >= best.voucher.cumulative);
        self.order_once(Order::Claim(best), now, same).map(Some)
    }

    /// Orders a channel of ours to be closed without its provider.
    ///
    /// # Errors
    /// [`SettleError::Ledger`].
    pub fn close(&self, channel: ChannelRef, now: Timestamp) -> Result<OrderId, SettleError> {
        self.order_once(Order::Close(channel), now, |open| matches!(open, Order::Close(of) if *of == channel))
    }

    /// Orders what is left of a channel of ours to be refunded, after its window.
    ///
    /// # Errors
    /// [`SettleError::Ledger`].
    pub fn finish(&self, channel: ChannelRef, now: Timestamp) -> Result<OrderId, SettleError> {
        self.order_once(Order::Finish(channel), now, |open| matches!(open, Order::Finish(of) if *of == channel))
    }

    /// What carrying out an order now would send and take. Nothing is written down or sent.
    ///
    /// # Errors
    /// [`SettleError`] when the wallet cannot be looked at, or no message can carry the order.
    pub fn preview(&self, order: &Order) -> Result<Preview, SettleError> {
        let account = self.chain.account(&self.wallet.address())?;
        let value = order_value(order)?;
        Ok(Preview {
            message: self.signed_message(order, &account)?,
            value,
            needed: value.checked_add(WALLET_FEES)?,
            balance: account.balance,
        })
    }

    fn order_once(&self, order: Order, now: Timestamp, is_same: impl Fn(&Order) -> bool) -> Result<OrderId, SettleError> {
        match self.open_order(is_same)? {
            Some(id) => Ok(id),
            None => Ok(self.ledger.add_order(order, now)?),
        }
    }

    fn open_order(&self, is_same: impl Fn(&Order) -> bool) -> Result<Option<OrderId>, SettleError> {
        Ok(self.ledger.open_orders()?.into_iter().find(|(_, record)| is_same(&record.order)).map(|(id, _)| id))
    }

    /// One turn: finds out what came of the message under way, and sends the next.
    ///
    /// # Errors
    /// [`SettleError`]; the next turn goes on from there.
    pub fn tick(&self, now: Timestamp) -> Result<Vec<Progress>, SettleError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut progress = Vec::new();
        for _ in 0..ORDERS_A_TURN_MAX {
            let orders = self.ledger.open_orders()?;
            let pending = orders.iter().find_map(|(id, record)| match &record.state {
                OrderState::Pending(sent) => Some((*id, record, sent)),
                OrderState::Queued | OrderState::Confirmed(_) | OrderState::Failed(_) => None,
            });
            let goes_on = match pending {
                Some((id, record, sent)) => self.follow(id, record, sent, now, &mut progress)?,
                None => self.sign_next(&orders, now, &mut progress)?,
            };
            if !goes_on {
                break;
            }
        }
        Ok(progress)
    }

    /// Finds out what came of a message. Whether the turn goes on.
    fn follow(
        &self,
        id: OrderId,
        record: &OrderRecord,
        sent: &SentMessage,
        now: Timestamp,
        progress: &mut Vec<Progress>,
    ) -> Result<bool, SettleError> {
        let destination = record.order.destination()?;
        let account = self.chain.account(&self.wallet.address())?;
        let wallet = self.find(&self.wallet.address(), &sent.hash.0, sent.after_lt)?;
        let passed = wallet.as_ref().and_then(|transaction| passed_on(transaction, destination));
        let contract = match passed {
            Some(message) => self.find(&Address::from(destination), &message.hash, message.created_lt.saturating_sub(1))?,
            None => None,
        };
        let seen = Seen {
            wallet_at_s: account.seen_at.unix_s,
            wallet_seqno: next_seqno(&account)?,
            wallet: wallet.as_ref(),
            contract: contract.as_ref(),
        };
        let state = match plan(&record.order, destination, sent, seen) {
            Step::Wait => return Ok(false),
            Step::Send => {
                self.send(id, sent)?;
                return Ok(false);
            }
            Step::Requeue => {
                warn!(order = id.0, "a message died unused and is signed anew");
                progress.push(Progress::Requeued { order: id });
                OrderState::Queued
            }
            Step::Confirm => {
                let Some(shown) = contract.as_ref().or(wallet.as_ref()) else { return Ok(false) };
                let landed = Landed { transaction: Digest(shown.id.hash), lt: shown.id.lt, unix_s: shown.unix_s };
                progress.push(Progress::Confirmed { order: id, landed });
                info!(order = id.0, "an order took effect");
                OrderState::Confirmed(landed)
            }
            Step::Fail(reason) => {
                warn!(order = id.0, %reason, "an order failed");
                if reason != OrderFailure::WalletTooPoor {
                    self.note_refusal(&record.order);
                }
                progress.push(Progress::Failed { order: id, reason });
                OrderState::Failed(reason)
            }
        };
        self.ledger.update_order(id, OrderRecord { state, changed_at: now, ..record.clone() })?;
        if let Some(channel) = channel_of(&record.order)
            && let Err(error) = self.observe(channel)
        {
            debug!(%channel, %error, "channel could not be looked at");
        }
        Ok(true)
    }

    /// Takes up the oldest order that the wallet can pay for. Whether the turn goes on.
    fn sign_next(&self, orders: &[(OrderId, OrderRecord)], now: Timestamp, progress: &mut Vec<Progress>) -> Result<bool, SettleError> {
        let Some((oldest, first)) = orders.first() else { return Ok(false) };
        let account = self.chain.account(&self.wallet.address())?;
        for (id, record) in orders {
            if order_value(&record.order)?.checked_add(WALLET_FEES)? <= account.balance {
                return self.sign(*id, record, &account, now, progress);
            }
        }
        let needed = order_value(&first.order)?.checked_add(WALLET_FEES)?;
        progress.push(Progress::NeedsFunds { order: *oldest, needed, balance: account.balance });
        Ok(false)
    }

    /// Signs, writes down, sends. Whether the turn goes on.
    fn sign(
        &self,
        id: OrderId,
        record: &OrderRecord,
        account: &AccountState,
        now: Timestamp,
        progress: &mut Vec<Progress>,
    ) -> Result<bool, SettleError> {
        let Ok(sent) = self.signed_message(&record.order, account) else {
            let state = OrderState::Failed(OrderFailure::Unbuildable);
            self.ledger.update_order(id, OrderRecord { state, changed_at: now, ..record.clone() })?;
            progress.push(Progress::Failed { order: id, reason: OrderFailure::Unbuildable });
            return Ok(true);
        };
        let state = OrderState::Pending(sent.clone());
        self.ledger.update_order(id, OrderRecord { state, changed_at: now, ..record.clone() })?;
        self.send(id, &sent)?;
        progress.push(Progress::Sent { order: id, message: sent.hash });
        Ok(true)
    }

    fn signed_message(&self, order: &Order, account: &AccountState) -> Result<SentMessage, SettleError> {
        let seqno = next_seqno(account)?;
        let now_s = u32::try_from(account.seen_at.unix_s).unwrap_or(u32::MAX);
        let valid_until_s = now_s.saturating_add(VALID_S);
        let signed = self.wallet.sign(seqno, valid_until_s, &[outgoing(order)?])?;
        let after_lt = account.last_transaction.map_or(0, |last| last.lt);
        Ok(SentMessage { hash: signed.hash, seqno, valid_until_s, after_lt, boc: signed.boc_base64() })
    }

    /// Sends what is written down. A refusal is not the end: the message may be there already, and if it isn't, it dies by its time.
    fn send(&self, id: OrderId, sent: &SentMessage) -> Result<(), SettleError> {
        let boc = STANDARD.decode(&sent.boc).map_err(|_| WalletError::Message)?;
        match self.chain.send_boc(&boc) {
            Ok(_) => Ok(()),
            Err(ChainError::Rejected(rejection)) => {
                debug!(order = id.0, %rejection, "the chain did not take the message");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn find(&self, account: &Address, message: &Hash, after_lt: u64) -> Result<Option<Transaction>, SettleError> {
        find_transaction(self.chain(), account, message, after_lt)
    }
}

/// The transaction of `account` that this message caused, if it is newer than `after_lt`.
///
/// # Errors
/// [`SettleError::Chain`], [`SettleError::TooManyTransactions`].
pub fn find_transaction(chain: &dyn Chain, account: &Address, message: &Hash, after_lt: u64) -> Result<Option<Transaction>, SettleError> {
    let mut page = Page { from: None, after_lt, limit: PAGE_MAX };
    for _ in 0..PAGES_MAX {
        let transactions = chain.transactions(account, page)?;
        let is_last = transactions.len() < usize::from(PAGE_MAX);
        let next = transactions.last().and_then(|transaction| transaction.previous);
        let ours = |transaction: &Transaction| transaction.in_message.as_ref().is_some_and(|of| of.hash == *message);
        if let Some(found) = transactions.into_iter().find(ours) {
            return Ok(Some(found));
        }
        match next {
            Some(next) if !is_last && next.lt > after_lt => page.from = Some(next),
            _ => return Ok(None),
        }
    }
    Err(SettleError::TooManyTransactions(*account))
}

/// What an order takes out of the wallet, the wallet's own fees aside; what is not used comes back.
///
/// # Errors
/// [`AmountError`].
pub fn order_value(order: &Order) -> Result<Amount, AmountError> {
    match order {
        Order::Open { deposit, .. } => deposit.checked_add(FEE_VALUE)?.checked_add(crate::contract::channel::STORAGE_RESERVE),
        Order::TopUp { deposit, .. } => deposit.checked_add(FEE_VALUE),
        Order::Claim(_) | Order::Close(_) | Order::Finish(_) | Order::CloseTogether { .. } => Ok(FEE_VALUE),
        Order::Transfer { amount, .. } => Ok(*amount),
    }
}

/// What a provider and the fee account have got out of a channel so far.
///
/// # Errors
/// [`AmountError`].
pub fn drawn_shares(view: &ChannelView) -> Result<(Amount, Amount), AmountError> {
    shares(&view.terms, view.sight.drawn)
}

fn outgoing(order: &Order) -> Result<Outgoing, SettleError> {
    let message = match *order {
        Order::Open { deposit, .. } | Order::TopUp { deposit, .. } => Some(ChannelMessage::Deposit(deposit)),
        Order::Claim(signed) => Some(ChannelMessage::Claim(signed)),
        Order::Close(_) => Some(ChannelMessage::CloseUnilateral),
        Order::Finish(_) => Some(ChannelMessage::FinishClose),
        Order::CloseTogether { statement, requester, provider } => {
            Some(ChannelMessage::CloseCooperative { statement, requester, provider })
        }
        Order::Transfer { .. } => None,
    };
    let state_init = match order {
        Order::Open { terms, .. } => Some(terms.state_init()?),
        _ => None,
    };
    // Contracts send back what they refuse; a wallet that does not exist yet could not, and its owner wants the money there.
    let bounce = if message.is_some() { Bounce::Yes } else { Bounce::No };
    let body = message.map(|message| message.to_cell(0)).transpose()?;
    Ok(Outgoing { to: Address::from(order.destination()?), value: order_value(order)?, bounce, body, state_init })
}

fn channel_of(order: &Order) -> Option<ChannelRef> {
    match order {
        Order::Open { terms, .. } => terms.channel().ok(),
        Order::TopUp { channel, .. } | Order::Close(channel) | Order::Finish(channel) => Some(*channel),
        Order::Claim(signed) => Some(signed.voucher.channel),
        Order::CloseTogether { statement, .. } => Some(statement.channel),
        Order::Transfer { .. } => None,
    }
}
