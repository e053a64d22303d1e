//! Orders: what we asked of a chain, written down before it is sent.
//!
//! ```text
//! Queued -> Pending -> Confirmed
//!    ^         |   \-> Failed
//!    \---------/  the message can no longer take effect, so another may be signed
//! ```

use cocoon_market::ids::Digest;
use cocoon_market::{Amount, ChannelRef, ContractAddress, CooperativeClose, Signature, SignedVoucher, Timestamp};
use serde::{Deserialize, Serialize};

use super::store::{Damage, StoreError, Table};
use crate::contract::ChannelTerms;

/// Numbers orders as they were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(pub u64);

/// Something the owner's wallet shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Deploy a channel with its first deposit.
    Open {
        /// Its terms.
        terms: ChannelTerms,
        /// What to deposit.
        deposit: Amount,
    },
    /// Add to a channel's deposit.
    TopUp {
        /// Which channel.
        channel: ChannelRef,
        /// What to add.
        deposit: Amount,
    },
    /// Draw what a voucher pays.
    Claim(SignedVoucher),
    /// Start a channel's challenge window.
    Close(ChannelRef),
    /// Refund a channel after its window.
    Finish(ChannelRef),
    /// End a channel that both parties signed off.
    CloseTogether {
        /// What they signed.
        statement: CooperativeClose,
        /// The requester's signature.
        requester: Signature,
        /// The provider's signature.
        provider: Signature,
    },
    /// Send value from the wallet.
    Transfer {
        /// To whom.
        to: ContractAddress,
        /// How much; fees come on top.
        amount: Amount,
    },
}

impl Order {
    /// The contract it goes to.
    ///
    /// # Errors
    /// [`crate::contract::CellError`] when the address of a new channel cannot be computed.
    pub fn destination(&self) -> Result<ContractAddress, crate::contract::CellError> {
        Ok(match self {
            Self::Open { terms, .. } => terms.channel()?.address,
            Self::TopUp { channel, .. } | Self::Close(channel) | Self::Finish(channel) => channel.address,
            Self::Claim(signed) => signed.voucher.channel.address,
            Self::CloseTogether { statement, .. } => statement.channel.address,
            Self::Transfer { to, .. } => *to,
        })
    }
}

/// A signed message that was written down, and perhaps sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentMessage {
    /// Root hash of the external message; a transaction of the wallet with it proves that the wallet took it.
    pub hash: Digest,
    /// The wallet's number that it uses up.
    pub seqno: u32,
    /// When the wallet stops taking it, in seconds since the Unix epoch.
    pub valid_until_s: u32,
    /// Logical time of the wallet's last transaction before it: its own can only come after.
    pub after_lt: u64,
    /// The message, base64. Sent again it is the same message, and the wallet takes it once.
    pub boc: String,
}

/// Where an order is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Waits for the wallet.
    Queued,
    /// Signed and written down; sent until the chain shows what came of it.
    Pending(SentMessage),
    /// The chain shows it.
    Confirmed(Landed),
    /// It will never take effect.
    Failed(OrderFailure),
}

/// The transaction that shows an order's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landed {
    /// Its root hash.
    pub transaction: Digest,
    /// Its logical time.
    pub lt: u64,
    /// Its time, in seconds since the Unix epoch.
    pub unix_s: u64,
}

/// Why an order failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum OrderFailure {
    /// The wallet took the message and could not send it on: it holds too little.
    #[error("the wallet holds too little to send it")]
    WalletTooPoor,
    /// The contract refused.
    #[error("the contract refused with exit code {0}")]
    Refused(i32),
    /// The contract ran and could not send its messages.
    #[error("the contract could not act on it, action code {0}")]
    NotActed(i32),
    /// There was no contract to take it.
    #[error("there is no contract at its destination")]
    NoContract,
    /// The message cannot be built.
    #[error("no message can carry it")]
    Unbuildable,
}

/// An order and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    /// What was asked.
    pub order: Order,
    /// Where it is.
    pub state: OrderState,
    /// When it was given.
    pub given_at: Timestamp,
    /// When its state last changed.
    pub changed_at: Timestamp,
}

impl OrderRecord {
    /// A new order.
    pub const fn new(order: Order, now: Timestamp) -> Self {
        Self { order, state: OrderState::Queued, given_at: now, changed_at: now }
    }

    /// Whether nothing more will come of it.
    pub const fn is_final(&self) -> bool {
        match self.state {
            OrderState::Queued | OrderState::Pending(_) => false,
            OrderState::Confirmed(_) | OrderState::Failed(_) => true,
        }
    }
}

pub(super) fn order_key(id: OrderId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

pub(super) fn order_of(key: &[u8]) -> Result<OrderId, StoreError> {
    let bytes = key.try_into().map_err(|_| StoreError::Damaged(Damage::Entry(Table::Orders)))?;
    Ok(OrderId(u64::from_be_bytes(bytes)))
}
