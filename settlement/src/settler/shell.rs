//! The thin part: what can be ordered, and what is known to all its turns.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cocoon_market::ids::Digest;
use cocoon_market::{Amount, AmountError, ChannelRef, ContractAddress, SettlementTerms, Timestamp};

use super::carry::{needed, order_value};
use super::stake::ProviderCheckError;
use super::verify::ChannelCheckError;
use crate::chain::{Address, Chain, ChainError, Confirmations};
use crate::contract::{CellError, ChannelTerms, ProviderTerms};
use crate::ledger::{Landed, Ledger, LedgerError, Order, OrderFailure, OrderId, OrderRecord, Role, Sender, SentMessage};
use crate::wallet::{OwnerWallet, WalletError};

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
    /// The account is not a provider's contract of this network.
    #[error(transparent)]
    Provider(#[from] ProviderCheckError),
    /// A cell.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// The transaction that brought a channel's deposit may yet go.
    #[error("the channel's deposit does not lie deep enough on the chain yet")]
    Unsettled,
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
    /// The next order waits until the wallet, or the operations balance of the provider's contract, holds enough.
    NeedsFunds {
        /// Which order.
        order: OrderId,
        /// Whose money is short.
        sender: Sender,
        /// What it takes.
        needed: Amount,
        /// What there is.
        balance: Amount,
    },
}

/// What carrying out an order would send and take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The signed message. An order that is given has a query of its own; here it is zero.
    pub message: SentMessage,
    /// What it carries. What its work does not cost comes back.
    pub value: Amount,
    /// What the sender must hold for it, its own gas included: the wallet, or the operations balance.
    pub needed: Amount,
    /// What it holds.
    pub balance: Amount,
}

/// Carries orders to a chain. One for each wallet.
pub struct Settler {
    pub(super) chain: Arc<dyn Chain>,
    pub(super) wallet: OwnerWallet,
    pub(super) ledger: Arc<Ledger>,
    /// Our own contract, if we provide: batches go there.
    provider: Option<ProviderTerms>,
    /// How deep a transaction must lie before an order is done.
    pub(super) confirmations: Confirmations,
    /// One turn at a time: two would sign two messages with one number.
    pub(super) turn: Mutex<()>,
    /// What contracts refused in this run. [`Settler::watch`] does not order it again, which would cost gas each time.
    refused: Mutex<BTreeSet<(ChannelRef, Attempt)>>,
}

/// What [`Settler::watch`] orders by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attempt {
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
        let confirmations = Confirmations::of_network(chain.network());
        Self { chain, wallet, ledger, provider: None, confirmations, turn: Mutex::default(), refused: Mutex::default() }
    }

    /// The same with another depth than the network's usual one.
    #[must_use]
    pub fn with_confirmations(self, confirmations: Confirmations) -> Self {
        Self { confirmations, ..self }
    }

    /// The same for a provider, which claims through its contract.
    #[must_use]
    pub fn with_provider(self, terms: ProviderTerms) -> Self {
        Self { provider: Some(terms), ..self }
    }

    /// Our own contract, if we provide.
    pub const fn provider(&self) -> Option<&ProviderTerms> {
        self.provider.as_ref()
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
            contract: settlement.contract,
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
        let from = self.taker(order)?;
        Ok(Preview {
            message: self.signed_message(order, 0, &from)?,
            value: order_value(order)?,
            needed: needed(order)?,
            balance: from.balance,
        })
    }

    /// Gives an order, unless one like it is open; then it is that one.
    ///
    /// # Errors
    /// [`SettleError::Ledger`].
    pub fn order_once(&self, order: Order, now: Timestamp, is_same: impl Fn(&Order) -> bool) -> Result<OrderId, SettleError> {
        match self.open_order(is_same)? {
            Some(id) => Ok(id),
            None => Ok(self.ledger.add_order(order, now)?),
        }
    }

    /// The first order like this that something may still come of.
    ///
    /// # Errors
    /// [`SettleError::Ledger`].
    pub fn open_order(&self, is_same: impl Fn(&Order) -> bool) -> Result<Option<OrderId>, SettleError> {
        Ok(self.ledger.open_orders()?.into_iter().find(|(_, record)| is_same(&record.order)).map(|(id, _)| id))
    }

    pub(super) fn was_refused(&self, channel: ChannelRef, attempt: Attempt) -> bool {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).contains(&(channel, attempt))
    }

    pub(super) fn note_refused(&self, channel: ChannelRef, attempt: Attempt) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert((channel, attempt));
    }
}
