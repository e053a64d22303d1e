//! Orders: what we asked of a chain, written down before it is sent.
//!
//! ```text
//! Queued -> Pending -> Confirmed
//!    ^         |   \-> Failed
//!    \---------/  the message can no longer take effect, so another may be signed
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cocoon_market::ids::Digest;
use cocoon_market::{Amount, AmountError, ChannelRef, ContractAddress, CooperativeClose, Signature, SignedVoucher, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::store::{Damage, StoreError, Table};
use crate::contract::order::BatchedClaim;
use crate::contract::{CellError, ChannelTerms, Command, ContractMessage, ProviderMessage, ProviderTerms, QueryId};

/// Numbers orders as they were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(pub u64);

/// Whose message carries an order. Each has numbers of its own, and one message under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    /// The owner's wallet.
    Wallet,
    /// The operator, from outside, to its provider's contract.
    Operator,
}

/// Something the owner's wallet or the operator shall do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Draw what a voucher pays, at the wallet's cost.
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
    /// Deploy a provider's contract, or add to it.
    Stake {
        /// Its terms.
        terms: ProviderTerms,
        /// To the collateral.
        amount: Amount,
        /// To the liveness bond.
        bond: Amount,
        /// To the balance that batches are paid from.
        operations: Amount,
    },
    /// Tell a provider's contract something, as its owner or as anybody.
    Provider {
        /// Which contract.
        contract: ContractAddress,
        /// What.
        message: ProviderMessage,
    },
    /// Tell a provider's contract something, as its operator: batches of claims above all.
    Operator {
        /// Which contract.
        contract: ContractAddress,
        /// What.
        command: Command,
    },
    /// Tell one of the network's other contracts something, as an owner of COCOON or as anybody.
    Tell {
        /// Which contract.
        contract: ContractAddress,
        /// The TON that goes along; what is not used comes back.
        value: Amount,
        /// What.
        message: ContractMessage,
    },
}

impl Order {
    /// An order to tell a contract something, with as much TON as that takes.
    ///
    /// # Errors
    /// [`AmountError`] for a sum beyond all money.
    pub fn tell(contract: ContractAddress, message: ContractMessage) -> Result<Self, AmountError> {
        Ok(Self::Tell { contract, value: message.value()?, message })
    }

    /// Whose message carries it.
    pub const fn sender(&self) -> Sender {
        match self {
            Self::Operator { .. } => Sender::Operator,
            Self::Open { .. }
            | Self::TopUp { .. }
            | Self::Claim(_)
            | Self::Close(_)
            | Self::Finish(_)
            | Self::CloseTogether { .. }
            | Self::Transfer { .. }
            | Self::Stake { .. }
            | Self::Provider { .. }
            | Self::Tell { .. } => Sender::Wallet,
        }
    }

    /// The vouchers that it draws.
    pub fn claims(&self) -> impl Iterator<Item = &SignedVoucher> {
        let (one, batch): (&[SignedVoucher], &[BatchedClaim]) = match self {
            Self::Claim(signed) => (std::slice::from_ref(signed), &[]),
            Self::Operator { command: Command::Batch(claims), .. } => (&[], claims),
            Self::Operator { command: Command::Allocate(_) | Command::Alive, .. }
            | Self::Open { .. }
            | Self::TopUp { .. }
            | Self::Close(_)
            | Self::Finish(_)
            | Self::CloseTogether { .. }
            | Self::Transfer { .. }
            | Self::Stake { .. }
            | Self::Provider { .. }
            | Self::Tell { .. } => (&[], &[]),
        };
        one.iter().chain(batch.iter().map(|claim| &claim.signed))
    }

    /// The channels that it is about.
    pub fn channels(&self) -> Vec<ChannelRef> {
        match self {
            Self::Open { terms, .. } => terms.channel().into_iter().collect(),
            Self::TopUp { channel, .. } | Self::Close(channel) | Self::Finish(channel) => vec![*channel],
            Self::CloseTogether { statement, .. } => vec![statement.channel],
            Self::Claim(_) | Self::Operator { .. } => self.claims().map(|signed| signed.voucher.channel).collect(),
            Self::Transfer { .. } | Self::Stake { .. } | Self::Provider { .. } | Self::Tell { .. } => Vec::new(),
        }
    }

    /// The contract it goes to.
    ///
    /// # Errors
    /// [`CellError`] when the address of a new channel cannot be computed.
    pub fn destination(&self) -> Result<ContractAddress, CellError> {
        Ok(match self {
            Self::Open { terms, .. } => terms.channel()?.address,
            Self::TopUp { channel, .. } | Self::Close(channel) | Self::Finish(channel) => channel.address,
            Self::Claim(signed) => signed.voucher.channel.address,
            Self::CloseTogether { statement, .. } => statement.channel.address,
            Self::Transfer { to, .. } => *to,
            Self::Stake { terms, .. } => terms.address()?,
            Self::Provider { contract, .. } | Self::Operator { contract, .. } | Self::Tell { contract, .. } => *contract,
        })
    }
}

/// A signed message that was written down, and perhaps sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentMessage {
    /// Root hash of the message from outside; a transaction with it proves that it was taken.
    pub hash: Digest,
    /// The sender's number that it uses up.
    pub seqno: u32,
    /// When it is not taken any more, in seconds since the Unix epoch.
    pub valid_until_s: u32,
    /// Logical time of the last transaction before it, of the account that takes it: its own can only come after.
    pub after_lt: u64,
    /// The message, base64. Sent again it is the same message, and is taken once.
    pub boc: String,
}

impl SentMessage {
    /// The message as it is sent; `None` when what is written down is no base64.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.boc).ok()
    }
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

    /// The same order, in another state from `now` on.
    #[must_use]
    pub fn moved(&self, state: OrderState, now: Timestamp) -> Self {
        Self { state, changed_at: now, ..self.clone() }
    }

    /// What its message carries, so that the chain tells which order a message was for. Books that are restored from a copy give their
    /// next order a number that an order had which they lost; the time tells those apart.
    pub fn query(&self, id: OrderId) -> QueryId {
        let parts: [&[u8]; 3] = [b"cocoon-order", &id.0.to_be_bytes(), &self.given_at.0.to_be_bytes()];
        let hash: [u8; 32] = Sha256::digest(parts.concat()).into();
        hash.first_chunk().map_or(0, |first| QueryId::from_be_bytes(*first))
    }

    /// Whether this state can be the next. A message that was written down is never replaced by another before it is known to be dead,
    /// and nothing comes after an end.
    pub fn may_become(&self, next: &OrderState) -> bool {
        match (&self.state, next) {
            (OrderState::Queued, _) => true,
            (OrderState::Pending(sent), OrderState::Pending(other)) => sent == other,
            (OrderState::Pending(_), OrderState::Queued | OrderState::Confirmed(_) | OrderState::Failed(_)) => true,
            (OrderState::Confirmed(_) | OrderState::Failed(_), next) => self.state == *next,
        }
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

#[cfg(test)]
mod tests {
    use super::super::record::{decode, encode};
    use super::*;
    use crate::contract::{Action, GovernorMessage, LockMessage, Purpose, VaultMessage};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    /// An order as it was written down before there were messages to other contracts.
    const RECORD: &str = "a4656f72646572a16870726f7669646572a268636f6e747261637458200707070707070707070707070707070707070707070707070707070707070707676d657373616765a166756e626f6e64a266616d6f756e74500000000000000000000000000000000564626f6e645000000000000000000000000000000006657374617465a16770656e64696e67a5646861736858200808080808080808080808080808080808080808080808080808080808080808657365716e6f046d76616c69645f756e74696c5f731a6b49d2786861667465725f6c740963626f63647465366368676976656e5f61741b000001a3185c50006a6368616e6765645f61741b000001a3185c5001";

    #[test]
    fn an_order_that_was_written_down_before_is_read_as_it_was() {
        let contract = ContractAddress([7; 32]);
        let message = ProviderMessage::Unbond { amount: Amount::from_nano(5), bond: Amount::from_nano(6) };
        let sent = SentMessage { hash: Digest([8; 32]), seqno: 4, valid_until_s: 1_800_000_120, after_lt: 9, boc: "te6c".to_owned() };
        let record = OrderRecord::new(Order::Provider { contract, message }, NOW).moved(OrderState::Pending(sent), Timestamp(NOW.0 + 1));
        assert_eq!(hex::encode(encode(Table::Orders, &record).unwrap()), RECORD);
        let read: OrderRecord = decode(Table::Orders, &hex::decode(RECORD).unwrap()).unwrap();
        assert_eq!(read, record);
    }

    #[test]
    fn what_contracts_are_told_is_read_as_it_was_written() {
        let (to, amount) = (ContractAddress([7; 32]), Amount::from_nano(5));
        let action = Action::SpendTon { to, amount };
        for message in [
            ContractMessage::Move { amount, to, purpose: Purpose::Nothing },
            ContractMessage::Move { amount, to, purpose: Purpose::Bid { least: u64::MAX } },
            ContractMessage::Move { amount, to, purpose: Purpose::Credit { provider: to } },
            ContractMessage::Move { amount, to, purpose: Purpose::Lock { ends_week: 3_000 } },
            ContractMessage::Burn(amount),
            ContractMessage::Vault(VaultMessage::Fee { amount, credit: amount }),
            ContractMessage::Lock(LockMessage::Vote { number: 3, is_yes: true }),
            ContractMessage::Lock(LockMessage::Propose(action.clone())),
            ContractMessage::Governor(GovernorMessage::Execute { number: 3, action }),
        ] {
            let record = OrderRecord::new(Order::tell(to, message).unwrap(), NOW);
            let read: OrderRecord = decode(Table::Orders, &encode(Table::Orders, &record).unwrap()).unwrap();
            assert_eq!(read, record);
            assert_eq!((read.order.sender(), read.order.destination().unwrap()), (Sender::Wallet, to));
        }
    }
}
