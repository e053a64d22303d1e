//! Books that are older than what was signed with their key: a restored copy, or a second node with the same key.
//!
//! Whoever goes on with such books signs a sequence a second time. A provider that does gives two receipts with one number, which
//! convicts it; a requester that does cannot tell what it promised already. Two kinds of evidence show it:
//!
//! | who tells | what it shows | told by |
//! |---|---|---|
//! | the chain | more was drawn than the best voucher of these books pays, and nothing is drawn but by a voucher | [`Rollback::Drawn`] |
//! | the requester | its signature over receipts that these books do not have | [`Rollback::Receipts`] |
//! | the requester | its signature over other receipts than these books have | [`Rollback::OtherReceipts`] |
//! | the provider | its signature under two receipts with one number | [`Rollback::SecondReceipt`] |
//!
//! What the chain shows is compared each time, so it holds for as long as the chain shows it. What a counterparty signed is written
//! down with the channel and stays. No contract's sequence is needed besides the amount: a claim that draws nothing more is refused.
//!
//! The channel is then *frozen*: no receipt is numbered in it, no further voucher signed, and a provider signs no end at a figure that
//! may be too low. What only gains stays allowed: a provider takes vouchers that fit, and claims; a requester closes the channel on
//! chain, which gives the provider its window and returns the rest.
//!
//! A voucher that shows it is kept all the same ([`ChannelBook::claimable`]): the requester signed it, so the chain pays it, and what it
//! pays for was done.
//!
//! Books are never *adopted* from what a counterparty shows. A signature proves that something was signed, and not that all of it is
//! shown: a provider that took over a voucher for nine receipts would still number a tenth that it may have given away, and a
//! requester cannot compare receipts with answers it no longer has. Freezing costs both sides one channel; a new one, with a salt that
//! was never used, costs a fee and owes nothing to what was forgotten.
//!
//! A requester whose books are behind signs nothing wrong before it is told: receipts are chained, so the next one of its provider
//! leaves a gap ([`ReceiptFault::Sequence`]) that no voucher can cover.

use cocoon_market::Amount;
use serde::{Deserialize, Serialize};

use super::book::ChannelBook;
use super::error::{ReceiptFault, VoucherFault};
use super::record::{ChainSight, Head};

/// What shows that a channel's books are not the newest that its keys signed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Rollback {
    /// More was drawn on chain than these books ever saw a voucher for.
    #[error("{drawn} was drawn on chain, and the best voucher in these books is for {voucher}")]
    Drawn {
        /// What was drawn.
        drawn: Amount,
        /// What the best voucher pays.
        voucher: Amount,
    },
    /// The requester signed for more receipts than these books have.
    #[error("the requester signed for {signed} receipts, and these books have {have}")]
    Receipts {
        /// How many it signed for.
        signed: u64,
        /// How many there are.
        have: u64,
    },
    /// The requester signed for receipts that are not those of these books.
    #[error("the requester signed for other receipts up to {sequence} than these books have")]
    OtherReceipts {
        /// The last one it signed for.
        sequence: u64,
    },
    /// The provider signed two receipts with one number: its books were restored, ours were, or it cheats.
    #[error("the provider signed two receipts with number {sequence}")]
    SecondReceipt {
        /// Their number.
        sequence: u64,
    },
}

/// Compares what the chain shows with the best voucher.
///
/// # Errors
/// [`Rollback::Drawn`].
pub fn check_sight(voucher: Amount, sight: &ChainSight) -> Result<(), Rollback> {
    if sight.drawn <= voucher { Ok(()) } else { Err(Rollback::Drawn { drawn: sight.drawn, voucher }) }
}

/// What shows that the channel's books are old, if anything does: the chain as last seen, or what a counterparty signed.
pub fn find(head: &Head, paid: Amount) -> Option<Rollback> {
    let told_by_chain = || head.sight.as_ref().and_then(|sight| check_sight(paid, sight).err());
    head.rollback.or_else(told_by_chain)
}

/// What a requester's voucher shows that was refused. Its signature was checked.
pub(super) fn told_by_voucher(fault: &VoucherFault, sequence: u64) -> Option<Rollback> {
    match *fault {
        VoucherFault::BeyondReceipts { issued, got } if got > issued => Some(Rollback::Receipts { signed: got, have: issued }),
        VoucherFault::Sum { .. } | VoucherFault::Root => Some(Rollback::OtherReceipts { sequence }),
        VoucherFault::BeyondReceipts { .. }
        | VoucherFault::Signature(_)
        | VoucherFault::OtherChannel
        | VoucherFault::Back { .. }
        | VoucherFault::OverDeposit { .. }
        | VoucherFault::Unseen
        | VoucherFault::NoReceipts => None,
    }
}

/// What a provider's receipt shows that was refused. Its signature was checked.
pub(super) const fn told_by_receipt(fault: &ReceiptFault) -> Option<Rollback> {
    match *fault {
        ReceiptFault::Equivocation { sequence } => Some(Rollback::SecondReceipt { sequence }),
        _ => None,
    }
}

impl ChannelBook {
    /// What shows that this book is old, if anything does. Nothing is receipted or newly paid in it then.
    pub fn rollback(&self) -> Option<Rollback> {
        find(self.head(), self.paid())
    }
}
