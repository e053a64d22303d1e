//! Why the ledger refused.

use cocoon_market::keys::BadSignature;
use cocoon_market::receipt::ReceiptError;
use cocoon_market::{AgreementId, Amount, AmountError, ChannelRef, JobId, Penalty};

use super::orders::OrderId;
use super::record::Role;
use super::rollback::Rollback;
use super::store::StoreError;
use crate::contract::CellError;

/// Why an entry was not made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// It could not be written down, so nothing may leave.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No such channel in the books.
    #[error("{0} is not in the ledger")]
    UnknownChannel(ChannelRef),
    /// No such agreement in the books, so nobody knows what it allows.
    #[error("agreement {0} is not in the ledger")]
    UnknownAgreement(AgreementId),
    /// The channel is in the books with other terms.
    #[error("{0} is in the ledger with other terms")]
    OtherTerms(ChannelRef),
    /// The other side of the channel does this.
    #[error("we are the {ours:?} of this channel, and only its other side may do this")]
    WrongRole {
        /// Our side.
        ours: Role,
    },
    /// Our key is not the one that the channel names for our role.
    #[error("the channel names another operator key for our role")]
    NotOurKey,
    /// We signed its end: whatever came after could never be paid.
    #[error("the channel was ended with both signatures")]
    Ended,
    /// The books are older than what was signed with their key: going on would sign a number twice.
    #[error("the channel is frozen, because its books are not the newest")]
    Frozen(#[source] Rollback),
    /// Another settler moved the order meanwhile. Nothing was sent; look at it again.
    #[error("order {} was moved by another settler meanwhile", .0.0)]
    OrderMoved(OrderId),
    /// The salt was used before. A new channel with it would accept old vouchers.
    #[error("the salt was used before")]
    SaltUsed,
    /// A receipt does not continue the channel.
    #[error(transparent)]
    Receipt(#[from] ReceiptFault),
    /// A voucher does not fit the receipts.
    #[error(transparent)]
    Voucher(#[from] VoucherFault),
    /// The sum is beyond all money.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// What a cooperative close says is not what the books say.
    #[error("the close is for {got}, the best voucher for {have}")]
    CloseAmount {
        /// What our books say.
        have: Amount,
        /// What it says.
        got: Amount,
    },
    /// The other side's signature under the end of a channel does not verify.
    #[error("the other side's signature under the close does not verify")]
    CloseSignature(#[source] BadSignature),
    /// The channel's address cannot be computed.
    #[error("the channel's address cannot be computed")]
    Contract,
}

impl From<CellError> for LedgerError {
    fn from(_: CellError) -> Self {
        Self::Contract
    }
}

/// What is wrong with a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptFault {
    /// Signature or body. Peer penalty: ban.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// For another channel. Peer penalty: ban.
    #[error("the receipt is for another channel")]
    OtherChannel,
    /// Not the next one. Peer penalty: none; jobs of one channel run side by side, so wait for those before it.
    #[error("receipt {got} came where {next} is next")]
    Sequence {
        /// The one that fits.
        next: u64,
        /// The one that came.
        got: u64,
    },
    /// A second receipt with a sequence that was used. Peer penalty: slashable.
    #[error("a second receipt {sequence} with other words")]
    Equivocation {
        /// Its sequence.
        sequence: u64,
    },
    /// Not chained to the one before. Peer penalty: ban.
    #[error("the receipt is not chained to the one before")]
    Chain,
    /// Its cumulative amount is not the sum. Peer penalty: ban.
    #[error("the receipts sum to {sum}, the receipt says {got}")]
    Sum {
        /// What they sum to.
        sum: Amount,
        /// What it says.
        got: Amount,
    },
    /// The job is under another agreement or channel. Peer penalty: ban.
    #[error("the receipt does not continue its job {0}")]
    Job(JobId),
    /// The job had its last receipt. Peer penalty: ban.
    #[error("job {job} had its last receipt, number {sequence}")]
    AfterLast {
        /// The job.
        job: JobId,
        /// The place of its last receipt.
        sequence: u64,
    },
    /// A second last receipt for one job. Peer penalty: slashable; a provider's own ledger never signs one.
    #[error("job {job} had its last receipt, number {sequence}, and gets no second one")]
    SecondLast {
        /// The job.
        job: JobId,
        /// The place of its last receipt.
        sequence: u64,
    },
    /// The job's usage went down. Peer penalty: ban.
    #[error("the usage of job {0} went down")]
    Usage(JobId),
    /// Too much unpaid. Peer penalty: none; this is our own bound.
    #[error("{0} receipts are unpaid, and no more are given before a voucher comes")]
    Unpaid(usize),
    /// All jobs under the agreement together would cost more than its cap. Peer penalty: ban.
    #[error("the jobs under the agreement would cost {total}, its cap is {cap}")]
    AboveCap {
        /// The cap.
        cap: Amount,
        /// What they would cost.
        total: Amount,
    },
    /// The deposit as last seen does not cover it. Peer penalty: none; this is our own bound.
    #[error("{owed} would be owed and {deposit} is deposited")]
    AboveDeposit {
        /// The deposit as last seen on chain; nothing, if it never was.
        deposit: Amount,
        /// What all receipts of the channel would sum to.
        owed: Amount,
    },
    /// The job's receipts without a voucher are above the agreed float. Peer penalty: none; this is our own bound.
    #[error("{unpaid} of the job is unpaid, the float is {float}")]
    AboveFloat {
        /// What its receipts without a voucher sum to.
        unpaid: Amount,
        /// What may be unpaid.
        float: Amount,
    },
    /// Too many jobs of the channel wait for a voucher. Peer penalty: none; this is our own bound.
    #[error("{jobs} jobs of the channel are unpaid, and none begins before a voucher comes")]
    JobsUnpaid {
        /// How many.
        jobs: usize,
    },
}

impl ReceiptFault {
    /// What it costs the peer that sent it.
    pub const fn penalty(&self) -> Penalty {
        match self {
            Self::Sequence { .. } | Self::Unpaid(_) | Self::AboveDeposit { .. } | Self::AboveFloat { .. } | Self::JobsUnpaid { .. } => {
                Penalty::None
            }
            Self::Equivocation { .. } | Self::SecondLast { .. } => Penalty::Slashable,
            Self::Receipt(_)
            | Self::OtherChannel
            | Self::Chain
            | Self::Sum { .. }
            | Self::Job(_)
            | Self::AfterLast { .. }
            | Self::Usage(_)
            | Self::AboveCap { .. } => Penalty::Ban,
        }
    }
}

/// What is wrong with a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoucherFault {
    /// Peer penalty: ban.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// For another channel. Peer penalty: ban.
    #[error("the voucher is for another channel")]
    OtherChannel,
    /// Covers less than one we have. Peer penalty: low; it may have been overtaken on the way.
    #[error("the voucher covers {got} receipts, one before it {have}")]
    Back {
        /// What the best one covers.
        have: u64,
        /// What it covers.
        got: u64,
    },
    /// Covers receipts that do not exist. Peer penalty: ban.
    #[error("the voucher covers {got} receipts, there are {issued}")]
    BeyondReceipts {
        /// How many there are.
        issued: u64,
        /// What it covers.
        got: u64,
    },
    /// Not what the receipts sum to. Peer penalty: ban.
    #[error("the receipts sum to {owed}, the voucher says {got}")]
    Sum {
        /// What they sum to.
        owed: Amount,
        /// What it says.
        got: Amount,
    },
    /// Not the root of the receipts it covers. Peer penalty: ban.
    #[error("the voucher carries another root than that of the receipts it covers")]
    Root,
    /// More than the channel holds. Peer penalty: low; the requester should have topped up.
    #[error("the voucher is for {cumulative}, the deposit is {deposit}")]
    OverDeposit {
        /// The deposit as last seen on chain.
        deposit: Amount,
        /// What it says.
        cumulative: Amount,
    },
    /// The deposit was never seen on chain. Peer penalty: none.
    #[error("the channel was not yet seen on its chain")]
    Unseen,
    /// There is nothing to pay for. Peer penalty: none.
    #[error("there is no receipt to pay for")]
    NoReceipts,
}

impl VoucherFault {
    /// What it costs the peer that sent it.
    pub const fn penalty(&self) -> Penalty {
        match self {
            Self::Unseen | Self::NoReceipts => Penalty::None,
            Self::Back { .. } | Self::OverDeposit { .. } => Penalty::Low,
            Self::Signature(_) | Self::OtherChannel | Self::BeyondReceipts { .. } | Self::Sum { .. } | Self::Root => Penalty::Ban,
        }
    }
}
