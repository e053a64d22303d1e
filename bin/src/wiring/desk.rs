//! The desk between a node and its chain: the ledger, the settler, and those who wait for what they do.
//!
//! Everything here that touches the chain or the ledger blocks, so it runs on threads that may; the async methods return when it
//! is done.

use std::sync::Arc;
use std::time::Duration;

use cocoon_market::{Amount, AmountError, ChannelRef, Timestamp};
use cocoon_p2p::Clock;
use cocoon_settlement::chain::{Chain, ChainError};
use cocoon_settlement::contract::CellError;
use cocoon_settlement::ledger::{Ledger, LedgerError, Order, OrderFailure, OrderId, OrderState, Sender};
use cocoon_settlement::settler::{ChannelCheckError, ChannelView, ProviderCheckError, SettleError, Settler};
use tokio::sync::{Notify, watch};

/// Why the desk could not do something.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The chain.
    #[error("the chain did not answer")]
    Chain(#[from] ChainError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The account is not the channel that was agreed.
    #[error(transparent)]
    Channel(#[from] ChannelCheckError),
    /// The account is not a provider's contract of this network.
    #[error(transparent)]
    Provider(#[from] ProviderCheckError),
    /// The settler.
    #[error(transparent)]
    Settle(SettleError),
    /// The contract's code in this program is damaged.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// A sum beyond all money.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// The agreement's cap does not carry it.
    #[error("the agreement's cap of {cap} does not carry {total}")]
    AboveCap {
        /// The cap.
        cap: Amount,
        /// What all jobs would cost together.
        total: Amount,
    },
    /// An order will never take effect.
    #[error("the chain did not carry out the order")]
    Order(#[from] OrderFailure),
    /// Who is to send it is too poor. The order is kept, and carried out when it is not.
    #[error("{} holds {balance} TON where {needed} TON is needed", purse(*sender))]
    Poor {
        /// Whose money is short.
        sender: Sender,
        /// What it takes.
        needed: Amount,
        /// What there is.
        balance: Amount,
    },
    /// An order took no effect yet. It stays in the ledger and may still.
    #[error("the chain did not carry out the order within {} s; it is kept and tried again", .0.as_secs())]
    Slow(Duration),
    /// The system has none to give.
    #[error("the system gives no randomness")]
    Randomness,
    /// The thread that was to do it is gone: the node is shutting down.
    #[error("the node is shutting down")]
    Gone,
}

/// What an order is paid from.
pub const fn purse(sender: Sender) -> &'static str {
    match sender {
        Sender::Wallet => "the wallet",
        Sender::Operator => "the operations balance of this node's contract",
    }
}

impl From<SettleError> for DeskError {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Chain(error) => Self::Chain(error),
            SettleError::Ledger(error) => Self::Ledger(error),
            SettleError::Channel(error) => Self::Channel(error),
            SettleError::Provider(error) => Self::Provider(error),
            error => Self::Settle(error),
        }
    }
}

impl DeskError {
    /// Whether the chain was at fault, so that it may work later.
    pub fn is_chain_trouble(&self) -> bool {
        matches!(self, Self::Chain(_) | Self::Slow(_) | Self::Settle(SettleError::TooManyTransactions(_)))
    }
}

/// What the keeper found in a round.
#[derive(Clone, Debug, Default)]
pub(super) struct Round {
    pub(super) count: u64,
    /// The orders that wait for money: one of each sender at most.
    pub(super) poor: Vec<Poor>,
}

/// An order that waits for money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Poor {
    pub(super) order: OrderId,
    pub(super) sender: Sender,
    pub(super) needed: Amount,
    pub(super) balance: Amount,
}

/// The chain and the ledger, for a node's two sides of payment.
#[derive(Debug)]
pub struct Desk {
    settler: Settler,
    clock: Clock,
    /// Rung when there is a new order.
    pub(super) bell: Notify,
    /// The keeper's rounds, so that those who wait for an order look again.
    pub(super) rounds: watch::Sender<Round>,
}

impl Desk {
    /// A desk over a settler.
    pub fn new(settler: Settler, clock: Clock) -> Self {
        Self { settler, clock, bell: Notify::new(), rounds: watch::Sender::new(Round::default()) }
    }

    /// The ledger.
    pub const fn ledger(&self) -> &Arc<Ledger> {
        self.settler.ledger()
    }

    /// The chain.
    pub fn chain(&self) -> &dyn Chain {
        self.settler.chain()
    }

    /// The settler.
    pub const fn settler(&self) -> &Settler {
        &self.settler
    }

    /// The time, for everything signed.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Has the keeper look at the orders now.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Runs what blocks, with this desk.
    ///
    /// # Errors
    /// [`DeskError`], that of `work` among them.
    pub async fn blocking<T, E>(self: &Arc<Self>, work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static) -> Result<T, DeskError>
    where
        T: Send + 'static,
        DeskError: From<E>,
        E: Send + 'static,
    {
        let desk = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&desk)).await;
        Ok(done.map_err(|_| DeskError::Gone)??)
    }

    /// Looks at a channel of the ledger, and enters what is seen into its book. `None` when it is not on chain.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn look(self: &Arc<Self>, channel: ChannelRef) -> Result<Option<ChannelView>, DeskError> {
        let looked = self.blocking(move |desk| desk.settler.observe(channel)).await;
        match looked {
            Ok(view) => Ok(Some(view)),
            Err(DeskError::Channel(ChannelCheckError::NotDeployed)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives an order and waits until the chain shows it, within a limit.
    ///
    /// # Errors
    /// [`DeskError::Order`] when it never will, [`DeskError::Slow`] or [`DeskError::Poor`] when it does not yet.
    pub async fn carry_out(self: &Arc<Self>, order: Order, limit: Duration) -> Result<(), DeskError> {
        let id = self.blocking(move |desk| desk.ledger().add_order(order, desk.now())).await?;
        self.await_order(id, limit).await
    }

    /// Waits until the chain shows an order, within a limit.
    ///
    /// # Errors
    /// As for [`Desk::carry_out`].
    pub async fn await_order(self: &Arc<Self>, id: OrderId, limit: Duration) -> Result<(), DeskError> {
        let mut rounds = self.rounds.subscribe();
        self.ring();
        let settled = async {
            loop {
                match self.blocking(move |desk| desk.ledger().order(id)).await?.map(|record| record.state) {
                    Some(OrderState::Confirmed(_)) => return Ok(()),
                    Some(OrderState::Failed(failure)) => return Err(failure.into()),
                    Some(OrderState::Queued | OrderState::Pending(_)) | None => {}
                }
                rounds.changed().await.map_err(|_| DeskError::Gone)?;
                let poor = rounds.borrow().poor.iter().copied().find(|poor| poor.order == id);
                if let Some(Poor { sender, needed, balance, .. }) = poor {
                    return Err(DeskError::Poor { sender, needed, balance });
                }
            }
        };
        tokio::time::timeout(limit, settled).await.unwrap_or(Err(DeskError::Slow(limit)))
    }
}
