//! What to do next about an order: a pure decision over what the chain shows.
//!
//! The wallet takes messages one after another, by number, and refuses a number twice. So of all messages ever signed with one number at
//! most one takes effect, and an order whose message is still alive is never signed a second time: neither a deposit nor a transfer
//! can happen twice, whatever crashes in between.
//!
//! | the chain shows | then |
//! |---|---|
//! | the wallet's transaction, without our message going out | failed: the wallet was too poor |
//! | the wallet's transaction, and the contract's | confirmed, or failed with its exit code |
//! | the wallet's transaction alone | wait |
//! | no transaction, the number used up by another message | sign anew: ours is dead |
//! | no transaction, the time for it over | sign anew: ours is dead |
//! | no transaction yet | send the same message again |

use cocoon_market::ContractAddress;

use crate::chain::{Address, Message, Transaction};
use crate::contract::Exit;
use crate::ledger::{Order, OrderFailure, SentMessage};

/// What the chain shows about a pending order. The account was read before the transactions.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Time of the block that the wallet was read at, in seconds since the Unix epoch.
    pub wallet_at_s: u64,
    /// The number the wallet takes next.
    pub wallet_seqno: u32,
    /// The wallet's transaction with our message, if there is one.
    pub wallet: Option<&'a Transaction>,
    /// The destination's transaction with the wallet's message, if there is one.
    pub contract: Option<&'a Transaction>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the same message (again).
    Send,
    /// Nothing: it is under way.
    Wait,
    /// The message is dead; the order waits for the wallet again.
    Requeue,
    /// It took effect.
    Confirm,
    /// It never will.
    Fail(OrderFailure),
}

/// Decides about an order whose message was signed.
pub fn plan(order: &Order, destination: ContractAddress, sent: &SentMessage, seen: Seen<'_>) -> Step {
    let Some(wallet) = seen.wallet else {
        let is_dead = seen.wallet_seqno > sent.seqno || seen.wallet_at_s >= u64::from(sent.valid_until_s);
        return if is_dead { Step::Requeue } else { Step::Send };
    };
    if passed_on(wallet, destination).is_none() {
        return Step::Fail(OrderFailure::WalletTooPoor);
    }
    if matches!(order, Order::Transfer { .. }) {
        return Step::Confirm;
    }
    seen.contract.map_or(Step::Wait, |transaction| outcome(order, transaction))
}

/// The message that the wallet sent on.
pub fn passed_on(wallet: &Transaction, destination: ContractAddress) -> Option<&Message> {
    wallet.out_messages.iter().find(|message| message.destination == Some(Address::from(destination)))
}

fn outcome(order: &Order, transaction: &Transaction) -> Step {
    if transaction.success {
        return Step::Confirm;
    }
    match transaction.exit_code {
        None => Step::Fail(OrderFailure::NoContract),
        Some(0 | 1) => Step::Fail(OrderFailure::NotActed(transaction.action_code.unwrap_or(0))),
        Some(code) if is_done_already(order, code) => Step::Confirm,
        Some(code) => Step::Fail(OrderFailure::Refused(code)),
    }
}

/// Whether the refusal says that what was asked has happened before.
fn is_done_already(order: &Order, code: i32) -> bool {
    match (order, Exit::from_code(code)) {
        (Order::Claim(_), Some(Exit::NothingToDraw)) => true,
        (Order::Close(_), Some(Exit::Closing | Exit::Closed)) => true,
        (Order::Finish(_) | Order::CloseTogether { .. }, Some(Exit::Closed)) => true,
        (Order::Open { .. } | Order::TopUp { .. } | Order::Transfer { .. }, _) => false,
        (Order::Claim(_) | Order::Close(_) | Order::Finish(_) | Order::CloseTogether { .. }, _) => false,
    }
}

/// When a provider claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimPolicy {
    /// Claim once this much is paid by voucher and not drawn. A claim costs its sender about 0.001 TON.
    pub at_least: cocoon_market::Amount,
}

impl ClaimPolicy {
    /// Whether to claim: enough is there, or the channel is closing and this is the last chance.
    pub fn is_due(&self, undrawn: cocoon_market::Amount, is_closing: bool) -> bool {
        !undrawn.is_zero() && (is_closing || undrawn >= self.at_least)
    }
}
