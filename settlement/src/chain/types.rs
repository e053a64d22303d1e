//! What a chain says about itself, in one shape for every chain.

use cocoon_market::Amount;
use num_bigint::BigInt;
use tonlib_core::cell::ArcCell;

use super::Address;

/// Most transactions one page holds; toncenter allows no more.
pub const PAGE_MAX: u16 = 100;

/// Hash of a cell, a message, a transaction or a block.
pub type Hash = [u8; 32];

/// A block, and with it the moment an answer stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the block in the masterchain.
    pub seqno: u32,
    /// When it was made, in seconds since the Unix epoch.
    pub unix_s: u64,
    /// Its root hash.
    pub root_hash: Hash,
}

/// Names a transaction of an account: logical time and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TxId {
    /// Logical time; grows with every transaction of the account.
    pub lt: u64,
    /// Root hash of the transaction.
    pub hash: Hash,
}

/// Whether an account holds code that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountStatus {
    /// No code yet. It may hold value, or not exist at all; HTTP endpoints do not tell the two apart.
    Uninitialized,
    /// Code and data are there.
    Active,
    /// Its storage debt grew too large; the state is reduced to a hash.
    Frozen,
}

/// An account as of some block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountState {
    /// Whether it holds code.
    pub status: AccountStatus,
    /// What it holds.
    pub balance: Amount,
    /// Its code, when [`AccountStatus::Active`].
    pub code: Option<ArcCell>,
    /// Its data, when [`AccountStatus::Active`].
    pub data: Option<ArcCell>,
    /// Its newest transaction.
    pub last_transaction: Option<TxId>,
    /// The block this is the state of.
    pub seen_at: Head,
}

/// Where a message comes from and goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Between accounts; carries value.
    Internal,
    /// From outside the chain.
    ExternalIn,
    /// To whoever listens outside the chain.
    ExternalOut,
}

/// A message as it stands in a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it comes from and goes to.
    pub kind: MessageKind,
    /// The sending account, unless it came from outside.
    pub source: Option<Address>,
    /// The receiving account, unless it goes outside.
    pub destination: Option<Address>,
    /// The value it carries, after forwarding fees.
    pub value: Amount,
    /// The part of the forwarding fee that is paid on arrival.
    pub forward_fee: Amount,
    /// Whether it is to be sent back on failure.
    pub bounce: bool,
    /// Whether it is one that was sent back.
    pub bounced: bool,
    /// Logical time of its making; zero when it came from outside.
    pub created_lt: u64,
    /// Time of its making; zero when it came from outside.
    pub created_at_s: u64,
    /// What it says.
    pub body: ArcCell,
    /// Whether it carries code and data to deploy.
    pub has_init: bool,
    /// Root hash of the message.
    pub hash: Hash,
}

/// What happened to an account because of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Its name.
    pub id: TxId,
    /// The one before it on the same account.
    pub previous: Option<TxId>,
    /// The account.
    pub account: Address,
    /// When, in seconds since the Unix epoch.
    pub unix_s: u64,
    /// The message that caused it.
    pub in_message: Option<Message>,
    /// The messages it sent, in order.
    pub out_messages: Vec<Message>,
    /// Fees of all phases.
    pub total_fees: Amount,
    /// The part of the fees that is rent.
    pub storage_fee: Amount,
    /// Gas that the contract's code used.
    pub gas_used: u64,
    /// How the code ended; none if it did not run.
    pub exit_code: Option<i32>,
    /// How sending its messages ended; none if it did not come to that.
    pub action_code: Option<i32>,
    /// Whether it took effect: the code ran to a good end and its messages were sent.
    pub success: bool,
    /// The transaction itself.
    pub raw: ArcCell,
}

/// Which transactions of an account to list, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The newest to list; none for the account's newest.
    pub from: Option<TxId>,
    /// List only those with a greater logical time.
    pub after_lt: u64,
    /// At most so many; at most [`PAGE_MAX`].
    pub limit: u16,
}

impl Page {
    /// The newest few.
    pub const fn newest(limit: u16) -> Self {
        Self { from: None, after_lt: 0, limit }
    }
}

/// A value on the stack of a get-method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StackItem {
    /// No value.
    Null,
    /// A whole number of up to 257 bits.
    Int(BigInt),
    /// A cell.
    Cell(ArcCell),
    /// The unread rest of a cell, as a cell of its own. Some endpoints say cell for slice; [`StackItem::as_cell`] takes both.
    Slice(ArcCell),
    /// Several values.
    Tuple(Vec<StackItem>),
}

impl StackItem {
    /// A whole number.
    pub fn int(value: impl Into<BigInt>) -> Self {
        Self::Int(value.into())
    }

    /// The number, if it is one.
    pub const fn as_int(&self) -> Option<&BigInt> {
        match self {
            Self::Int(value) => Some(value),
            Self::Null | Self::Cell(_) | Self::Slice(_) | Self::Tuple(_) => None,
        }
    }

    /// The number, if it is one and fits.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_int()?.try_into().ok()
    }

    /// The number as an amount of nano-units, if it is one and fits.
    pub fn as_amount(&self) -> Option<Amount> {
        u128::try_from(self.as_int()?).ok().map(Amount::from_nano)
    }

    /// The cell, of a cell or a slice.
    pub const fn as_cell(&self) -> Option<&ArcCell> {
        match self {
            Self::Cell(cell) | Self::Slice(cell) => Some(cell),
            Self::Null | Self::Int(_) | Self::Tuple(_) => None,
        }
    }

    /// The values of a tuple.
    pub fn as_tuple(&self) -> Option<&[Self]> {
        match self {
            Self::Tuple(items) => Some(items),
            Self::Null | Self::Int(_) | Self::Cell(_) | Self::Slice(_) => None,
        }
    }
}

/// How a get-method ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodResult {
    /// Zero or one is a good end.
    pub exit_code: i32,
    /// Gas used. It costs nothing, but bounds what a get-method can do.
    pub gas_used: u64,
    /// What it left, the last value on top.
    pub stack: Vec<StackItem>,
}

impl MethodResult {
    /// Whether the method came to a good end.
    pub const fn is_success(&self) -> bool {
        matches!(self.exit_code, 0 | 1)
    }
}

/// Whether a message whose cost is asked for has to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    /// As always.
    Checked,
    /// Any signature is taken for a good one, so that the cost is known before somebody has to sign.
    Assumed,
}

/// A message from outside that is not sent, but whose cost is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeQuery {
    /// Its destination.
    pub to: Address,
    /// What it says.
    pub body: ArcCell,
    /// Code and data that it brings.
    pub init: Option<(ArcCell, ArcCell)>,
    /// Whether it has to be signed.
    pub signatures: Signatures,
}

/// What a message from outside would cost its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// For bringing it in.
    pub import: Amount,
    /// Rent that is due by now.
    pub storage: Amount,
    /// For what the code does.
    pub gas: Amount,
    /// For the messages it sends.
    pub forward: Amount,
}
