//! One turn: finds out what came of the messages under way, and sends the next.

use std::sync::PoisonError;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cocoon_market::ids::Digest;
use cocoon_market::{Amount, Timestamp};
use tracing::{debug, info, warn};

use super::account::{AccountFault, data_of};
use super::carry::{needed, outgoing};
use super::plan::{Seen, Step, passed_on, plan};
use super::shell::{Attempt, Progress, SettleError, Settler};
use crate::chain::confirmation::standing;
use crate::chain::{AccountState, Address, Chain, ChainError, Confirmations, Hash, PAGE_MAX, Page, Standing, Transaction};
use crate::contract::{Contract, OperatorOrder, ProviderData};
use crate::ledger::{Landed, Order, OrderFailure, OrderId, OrderRecord, OrderState, Sender, SentMessage};
use crate::wallet::{WalletError, external_message, next_seqno};

/// How long a signed message stays alive. Ten blocks of a slow chain; after it an order that got lost is signed anew.
const VALID_S: u32 = 120;

/// Pages of transactions looked through for one message. What takes ours takes one message at a time, so the first has it, unless
/// hundreds of claims were paid since.
const PAGES_MAX: usize = 16;

/// Orders carried in one turn, so that a turn ends.
const ORDERS_A_TURN_MAX: usize = 64;

/// The account that takes an order's message, as it was seen.
pub(super) struct Taker {
    address: Address,
    at_s: u64,
    /// The number it takes next.
    number: u32,
    after_lt: u64,
    /// What an order can be paid from.
    pub(super) balance: Amount,
    /// Claims of a batch that have not answered.
    outstanding: u16,
}

impl Settler {
    /// One turn: finds out what came of the messages under way, and sends the next. The wallet and the operator each have one under
    /// way at a time; neither waits for the other.
    ///
    /// # Errors
    /// [`SettleError`]; the next turn goes on from there.
    pub fn tick(&self, now: Timestamp) -> Result<Vec<Progress>, SettleError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut progress = Vec::new();
        for sender in [Sender::Operator, Sender::Wallet] {
            self.tick_of(sender, now, &mut progress)?;
        }
        Ok(progress)
    }

    fn tick_of(&self, sender: Sender, now: Timestamp, progress: &mut Vec<Progress>) -> Result<(), SettleError> {
        for _ in 0..ORDERS_A_TURN_MAX {
            let mut orders = self.ledger.open_orders()?;
            orders.retain(|(_, record)| record.order.sender() == sender);
            let pending = orders.iter().find_map(|(id, record)| match &record.state {
                OrderState::Pending(sent) => Some((*id, record, sent)),
                OrderState::Queued | OrderState::Confirmed(_) | OrderState::Failed(_) => None,
            });
            let goes_on = match pending {
                Some((id, record, sent)) => self.follow(id, record, sent, now, progress)?,
                None => self.sign_next(sender, &orders, now, progress)?,
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    fn taker_address(&self, order: &Order) -> Result<Address, SettleError> {
        Ok(match order.sender() {
            Sender::Wallet => self.wallet.address(),
            Sender::Operator => Address::from(order.destination()?),
        })
    }

    /// The account that takes messages for `order`. A provider's contract that is not there takes number 0 and pays for nothing.
    pub(super) fn taker(&self, order: &Order) -> Result<Taker, SettleError> {
        let address = self.taker_address(order)?;
        let account = self.chain.account(&address)?;
        let (number, balance, outstanding) = match order.sender() {
            Sender::Wallet => (next_seqno(&account)?, account.balance, 0),
            Sender::Operator => operator_state(&account)?
                .map_or((0, Amount::ZERO, 0), |data| (data.number, data.operations(account.balance), data.outstanding)),
        };
        let after_lt = account.last_transaction.map_or(0, |last| last.lt);
        Ok(Taker { address, at_s: account.seen_at.unix_s, number, after_lt, balance, outstanding })
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
        let taker = self.taker(&record.order)?;
        let taken = self.find(&taker.address, &sent.hash.0, sent.after_lt)?;
        if taken.is_none() && self.is_behind(&taker, sent.after_lt)? {
            return Ok(false);
        }
        let passed = match record.order.sender() {
            Sender::Wallet => taken.as_ref().and_then(|transaction| passed_on(transaction, destination)),
            Sender::Operator => None,
        };
        let contract = match passed {
            Some(message) => self.find(&Address::from(destination), &message.hash, message.created_lt.saturating_sub(1))?,
            None => None,
        };
        let seen = Seen {
            at_s: taker.at_s,
            number: taker.number,
            taken: taken.as_ref(),
            contract: contract.as_ref(),
            outstanding: taker.outstanding,
        };
        let step = plan(&record.order, destination, sent, seen);
        if let (Step::Confirm | Step::Fail(_), Some(shown)) = (step, contract.as_ref().or(taken.as_ref()))
            && !self.will_stay(shown)?
        {
            return Ok(false);
        }
        let state = match step {
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
                let Some(shown) = contract.as_ref().or(taken.as_ref()) else { return Ok(false) };
                let landed = Landed { transaction: Digest(shown.id.hash), lt: shown.id.lt, unix_s: shown.unix_s };
                progress.push(Progress::Confirmed { order: id, landed });
                info!(order = id.0, "an order took effect");
                OrderState::Confirmed(landed)
            }
            Step::Fail(reason) => {
                warn!(order = id.0, %reason, "an order failed");
                self.note_failure(&record.order, reason);
                progress.push(Progress::Failed { order: id, reason });
                OrderState::Failed(reason)
            }
        };
        let is_confirmed = matches!(state, OrderState::Confirmed(_));
        self.ledger.update_order(id, OrderRecord { state, changed_at: now, ..record.clone() })?;
        self.look_after(&record.order, is_confirmed);
        Ok(true)
    }

    /// Whether the transactions that are shown end before the state that was read. Then ours may be among those that are not shown, and to
    /// sign anew would be to do it twice: endpoints behind one name are not always equally far.
    fn is_behind(&self, taker: &Taker, after_lt: u64) -> Result<bool, SettleError> {
        if taker.after_lt <= after_lt {
            return Ok(false);
        }
        let newest = self.chain.transactions(&taker.address, Page { from: None, after_lt, limit: 1 })?;
        Ok(newest.first().is_none_or(|newest| newest.id.lt < taker.after_lt))
    }

    /// Whether a transaction lies deep enough. One that goes again takes nothing along: its order is still under way, and its message is
    /// as alive as before.
    fn will_stay(&self, transaction: &Transaction) -> Result<bool, SettleError> {
        if self.confirmations == Confirmations::NONE {
            return Ok(true);
        }
        match standing(self.chain(), transaction, self.confirmations)? {
            Standing::Settled => Ok(true),
            Standing::Young => Ok(false),
            Standing::Gone => {
                warn!(account = ?transaction.account, "a transaction that was seen is gone");
                Ok(false)
            }
        }
    }

    /// What a contract refused is not ordered again by itself.
    fn note_failure(&self, order: &Order, reason: OrderFailure) {
        if reason == OrderFailure::WalletTooPoor {
            return;
        }
        for signed in order.claims() {
            self.note_refused(signed.voucher.channel, Attempt::Claim(signed.voucher.sequence));
        }
        if let Order::Finish(channel) = order {
            self.note_refused(*channel, Attempt::Finish);
        }
    }

    /// Looks at the channels of an order that is done with. Those of a batch that did not draw what they were to draw have refused.
    fn look_after(&self, order: &Order, is_confirmed: bool) {
        for channel in order.channels() {
            let view = match self.observe(channel) {
                Ok(view) => view,
                Err(error) => {
                    debug!(%channel, %error, "channel could not be looked at");
                    continue;
                }
            };
            let is_left = |cumulative: Amount| cumulative.min(view.sight.deposit) > view.sight.drawn;
            let undrawn = order.claims().find(|of| of.voucher.channel == channel && is_left(of.voucher.cumulative));
            if let Some(of) = undrawn.filter(|_| is_confirmed && order.sender() == Sender::Operator) {
                self.note_refused(channel, Attempt::Claim(of.voucher.sequence));
            }
        }
    }

    /// Takes up the oldest order that its sender can pay for. Whether the turn goes on.
    fn sign_next(
        &self,
        sender: Sender,
        orders: &[(OrderId, OrderRecord)],
        now: Timestamp,
        progress: &mut Vec<Progress>,
    ) -> Result<bool, SettleError> {
        let mut oldest = None;
        let mut last: Option<Taker> = None;
        for (id, record) in orders {
            let address = self.taker_address(&record.order)?;
            // Nearly always it is the account of the order before.
            let taker = match last.take().filter(|taker| taker.address == address) {
                Some(taker) => taker,
                None => self.taker(&record.order)?,
            };
            let needed = needed(&record.order)?;
            if needed <= taker.balance {
                return self.sign(*id, record, &taker, now, progress);
            }
            oldest.get_or_insert(Progress::NeedsFunds { order: *id, sender, needed, balance: taker.balance });
            last = Some(taker);
        }
        progress.extend(oldest);
        Ok(false)
    }

    /// Signs, writes down, sends. Whether the turn goes on.
    fn sign(
        &self,
        id: OrderId,
        record: &OrderRecord,
        taker: &Taker,
        now: Timestamp,
        progress: &mut Vec<Progress>,
    ) -> Result<bool, SettleError> {
        let Ok(sent) = self.signed_message(&record.order, taker) else {
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

    pub(super) fn signed_message(&self, order: &Order, taker: &Taker) -> Result<SentMessage, SettleError> {
        let seqno = taker.number;
        let now_s = u32::try_from(taker.at_s).unwrap_or(u32::MAX);
        let valid_until_s = now_s.saturating_add(VALID_S);
        let signed = match order {
            Order::Operator { contract, command } => {
                let (network, contract, command) = (self.chain.network(), *contract, command.clone());
                let body = self.ledger.sign_operator(&OperatorOrder { network, contract, number: seqno, valid_until_s, command })?;
                external_message(&taker.address, body)?
            }
            // What the wallet sends for each of the others, `outgoing` says.
            by_wallet => self.wallet.sign(seqno, valid_until_s, &[outgoing(by_wallet)?])?,
        };
        Ok(SentMessage { hash: signed.hash, seqno, valid_until_s, after_lt: taker.after_lt, boc: signed.boc_base64() })
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

/// What a provider's contract stores; `None` when there is none, or something else.
fn operator_state(account: &AccountState) -> Result<Option<ProviderData>, SettleError> {
    match data_of(account, Contract::Provider) {
        Ok(data) => Ok(ProviderData::from_cell(data).ok()),
        Err(AccountFault::OwnCode(damage)) => Err(damage.into()),
        Err(AccountFault::NotDeployed | AccountFault::Frozen | AccountFault::ForeignCode { .. } | AccountFault::Empty) => Ok(None),
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
