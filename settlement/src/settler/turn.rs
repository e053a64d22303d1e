//! One turn: finds out what came of the messages under way, and sends the next.

use std::sync::PoisonError;

use cocoon_market::ids::Digest;
use cocoon_market::{Amount, ChannelRef, Timestamp};
use tracing::{debug, info, warn};

use super::account::{AccountFault, data_of};
use super::carry::{needed, outgoing};
use super::plan::{Seen, Step, passed_on, plan};
use super::search::{find, find_caused, find_transaction};
use super::shell::{Attempt, Progress, SettleError, Settler};
use crate::chain::confirmation::{is_past, standing, standing_of};
use crate::chain::search::Look;
use crate::chain::{AccountState, Address, ChainError, Confirmations, Message, Standing, Transaction, TxId};
use crate::contract::cells::hash_of;
use crate::contract::{Contract, OperatorOrder, ProviderData, QueryId};
use crate::ledger::{Landed, Order, OrderFailure, OrderId, OrderRecord, OrderState, Sender, SentMessage};
use crate::wallet::{WalletError, external_message, next_seqno};

/// How long a signed message stays alive. Ten blocks of a slow chain; after it an order that got lost is signed anew.
const VALID_S: u32 = 120;

/// How far the clock that an order was given by may have been ahead of the chain's.
const CLOCK_SKEW_S: u64 = 3_600;

/// Orders carried in one turn, so that a turn ends.
const ORDERS_A_TURN_MAX: usize = 64;

/// The account that takes an order's message, as it was seen.
pub(super) struct Taker {
    address: Address,
    at_s: u64,
    /// The number it takes next.
    number: u32,
    /// Its newest transaction.
    last: Option<TxId>,
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
        Ok(Taker { address, at_s: account.seen_at.unix_s, number, last: account.last_transaction, balance, outstanding })
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
        let look = find_caused(self.chain(), &taker.address, &sent.hash.0, sent.after_lt)?;
        if look.is_behind(taker.last) {
            return Ok(false);
        }
        let taken = look.found;
        let passed = match record.order.sender() {
            Sender::Wallet => taken.as_ref().and_then(|transaction| passed_on(transaction, destination)),
            Sender::Operator => None,
        };
        let contract = match passed {
            Some(message) => {
                find_transaction(self.chain(), &Address::from(destination), &message.hash, message.created_lt.saturating_sub(1))?
            }
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
        if step == Step::Requeue && !self.is_dead(&taker, sent)? {
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
        self.ledger.update_order(id, record.moved(state, now))?;
        self.look_after(&record.order, is_confirmed);
        Ok(true)
    }

    /// Whether what killed a message lies deep enough: the transaction that used up its number, or a block that came too late for it. A
    /// message that comes back to life beside the one that was signed in its place would do the same thing twice.
    fn is_dead(&self, taker: &Taker, sent: &SentMessage) -> Result<bool, SettleError> {
        if self.confirmations == Confirmations::NONE || is_past(self.chain(), u64::from(sent.valid_until_s), self.confirmations)? {
            return Ok(true);
        }
        let Some(last) = taker.last.filter(|_| taker.number > sent.seqno) else { return Ok(false) };
        Ok(standing_of(self.chain(), &taker.address, last, taker.at_s, self.confirmations)? == Standing::Settled)
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

    /// Looks at the channels of an order that is done with.
    fn look_after(&self, order: &Order, is_confirmed: bool) {
        for channel in order.channels() {
            if let Err(error) = self.look_after_channel(order, channel, is_confirmed) {
                debug!(%channel, %error, "channel could not be looked at");
            }
        }
    }

    /// A channel that did not draw what a batch told it to has refused.
    fn look_after_channel(&self, order: &Order, channel: ChannelRef, is_confirmed: bool) -> Result<(), SettleError> {
        self.observe(channel)?;
        let left = self.claimable(channel, false)?.map(|left| left.voucher).filter(|_| is_confirmed);
        if let Some(left) = left.filter(|left| order.claims().any(|claimed| claimed == left)) {
            self.note_refused(channel, Attempt::Claim(left.voucher.sequence));
        }
        Ok(())
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

    /// Signs, writes down, sends; unless the chain shows that it was done already. Whether the turn goes on.
    fn sign(
        &self,
        id: OrderId,
        record: &OrderRecord,
        taker: &Taker,
        now: Timestamp,
        progress: &mut Vec<Progress>,
    ) -> Result<bool, SettleError> {
        let query = record.query(id);
        let Ok(sent) = self.signed_message(&record.order, query, taker) else {
            let state = OrderState::Failed(OrderFailure::Unbuildable);
            self.ledger.update_order(id, record.moved(state, now))?;
            progress.push(Progress::Failed { order: id, reason: OrderFailure::Unbuildable });
            return Ok(true);
        };
        if record.order.sender() == Sender::Wallet {
            let look = self.look_for_done(query, record, taker)?;
            if look.is_behind(taker.last) {
                return Ok(false);
            }
            if let Some(done) = &look.found {
                warn!(order = id.0, "an order was carried out by books that were newer than these");
                let state = OrderState::Pending(message_of(done, taker));
                self.ledger.update_order(id, record.moved(state, now))?;
                return Ok(true);
            }
        }
        let state = OrderState::Pending(sent.clone());
        self.ledger.update_order(id, record.moved(state, now))?;
        self.send(id, &sent)?;
        progress.push(Progress::Sent { order: id, message: sent.hash });
        Ok(true)
    }

    /// Looks for the wallet's transaction that carried this order out before. There is one when these books were restored from a copy that
    /// was made while the order waited: to sign it again would pay twice.
    fn look_for_done(&self, query: QueryId, record: &OrderRecord, taker: &Taker) -> Result<Look, SettleError> {
        let ours = outgoing(&record.order, self.wallet.account(), query)?;
        let body = ours.body.as_deref().map(hash_of);
        let is_same = |sent: &Message| sent.destination == Some(ours.to) && Some(hash_of(&sent.body)) == body;
        let from_s = record.given_at.unix_s().saturating_sub(CLOCK_SKEW_S);
        find(self.chain(), &taker.address, 0, from_s, |transaction| transaction.out_messages.iter().any(is_same))
    }

    pub(super) fn signed_message(&self, order: &Order, query: QueryId, taker: &Taker) -> Result<SentMessage, SettleError> {
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
            by_wallet => self.wallet.sign(seqno, valid_until_s, &[outgoing(by_wallet, self.wallet.account(), query)?])?,
        };
        Ok(SentMessage {
            hash: signed.hash,
            seqno,
            valid_until_s,
            after_lt: taker.last.map_or(0, |last| last.lt),
            boc: signed.boc_base64(),
        })
    }

    /// Sends what is written down. A refusal is not the end: the message may be there already, and if it isn't, it dies by its time.
    fn send(&self, id: OrderId, sent: &SentMessage) -> Result<(), SettleError> {
        let boc = sent.bytes().ok_or(WalletError::Message)?;
        match self.chain.send_boc(&boc) {
            Ok(_) => Ok(()),
            Err(ChainError::Rejected(rejection)) => {
                debug!(order = id.0, %rejection, "the chain did not take the message");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
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

/// What is known of a message that other books wrote down. It has no bytes to send again: if its transaction goes, its order is signed anew.
fn message_of(taken: &Transaction, taker: &Taker) -> SentMessage {
    SentMessage {
        hash: Digest(taken.in_message.as_ref().map_or([0; 32], |message| message.hash)),
        seqno: taker.number.saturating_sub(1),
        valid_until_s: 0,
        after_lt: taken.id.lt.saturating_sub(1),
        boc: String::new(),
    }
}
