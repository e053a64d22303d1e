//! What to do next about an order: a pure decision over what the chain shows.
//!
//! A wallet takes messages one after another, by number, and refuses a number twice; so does a provider's contract the messages of its operator.
//! So of all messages ever signed with one number at most one takes effect, and an order whose message is still alive is never
//! signed a second time: neither a deposit nor a transfer can happen twice, whatever crashes in between.
//!
//! | the chain shows | then |
//! |---|---|
//! | the wallet's transaction, without our message going out | failed: the wallet was too poor |
//! | the wallet's transaction, and the contract's | confirmed, or failed with its exit code |
//! | the wallet's transaction alone | wait |
//! | the contract's transaction with the operator's message | confirmed, or failed with its exit code |
//! | the same of a batch, some of whose claims have not answered | wait, as long as its message would have been alive |
//! | no transaction, the number used up by another message | sign anew: ours is dead |
//! | no transaction, the time for it over | sign anew: ours is dead |
//! | no transaction yet | send the same message again |
//!
//! Confirmed and failed are final, so the shell takes them from a transaction that lies deep enough alone ([`crate::chain::confirmation`]).

use cocoon_market::ContractAddress;

use crate::chain::{Address, Message, Transaction};
use crate::contract::{Command, Exit};
use crate::ledger::{Order, OrderFailure, Sender, SentMessage};

/// What the chain shows about a pending order. The account was read before the transactions.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Time of the block that the account which takes the message was read at, in seconds since the Unix epoch.
    pub at_s: u64,
    /// The number it takes next.
    pub number: u32,
    /// Its transaction with our message, if there is one.
    pub taken: Option<&'a Transaction>,
    /// The destination's transaction with the wallet's message, if there is one.
    pub contract: Option<&'a Transaction>,
    /// Claims of a batch that have not answered yet.
    pub outstanding: u16,
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
    let is_over = seen.at_s >= u64::from(sent.valid_until_s);
    let Some(taken) = seen.taken else {
        return if seen.number > sent.seqno || is_over { Step::Requeue } else { Step::Send };
    };
    match order.sender() {
        Sender::Operator if taken.success && awaits_answers(order) && seen.outstanding > 0 && !is_over => Step::Wait,
        Sender::Operator => outcome(order, taken),
        Sender::Wallet if passed_on(taken, destination).is_none() => Step::Fail(OrderFailure::WalletTooPoor),
        Sender::Wallet if matches!(order, Order::Transfer { .. }) => Step::Confirm,
        Sender::Wallet => seen.contract.map_or(Step::Wait, |transaction| outcome(order, transaction)),
    }
}

const fn awaits_answers(order: &Order) -> bool {
    matches!(order, Order::Operator { command: Command::Batch(_), .. })
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
        (Order::Open { .. } | Order::TopUp { .. } | Order::Transfer { .. } | Order::Stake { .. }, _) => false,
        (Order::Provider { .. } | Order::Operator { .. } | Order::Tell { .. }, _) => false,
        (Order::Claim(_) | Order::Close(_) | Order::Finish(_) | Order::CloseTogether { .. }, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use cocoon_market::ids::Digest;
    use cocoon_market::{Amount, ChannelRef, NetworkId};
    use tonlib_core::cell::EMPTY_ARC_CELL;

    use super::*;
    use crate::chain::{MessageKind, TxId};

    const THERE: ContractAddress = ContractAddress([7; 32]);
    const CLOSE: Order = Order::Close(ChannelRef { network: NetworkId::DEVNET, address: THERE });
    const FINISH: Order = Order::Finish(ChannelRef { network: NetworkId::DEVNET, address: THERE });
    const TRANSFER: Order = Order::Transfer { to: THERE, amount: Amount::ZERO };

    fn message(to: ContractAddress) -> Message {
        Message {
            kind: MessageKind::Internal,
            source: None,
            destination: Some(Address::from(to)),
            value: Amount::ZERO,
            forward_fee: Amount::ZERO,
            bounce: true,
            bounced: false,
            created_lt: 1,
            created_at_s: 1,
            body: EMPTY_ARC_CELL.clone(),
            has_init: false,
            hash: [0; 32],
        }
    }

    fn transaction(out_messages: Vec<Message>, exit_code: Option<i32>, action_code: Option<i32>, success: bool) -> Transaction {
        Transaction {
            id: TxId { lt: 1, hash: [0; 32] },
            previous: None,
            account: Address::from(THERE),
            unix_s: 1,
            in_message: None,
            out_messages,
            total_fees: Amount::ZERO,
            storage_fee: Amount::ZERO,
            gas_used: 0,
            exit_code,
            action_code,
            success,
            raw: EMPTY_ARC_CELL.clone(),
        }
    }

    fn check(order: &Order, wallet_seqno: u32, wallet_at_s: u64, wallet: Option<Transaction>, contract: Option<Transaction>) -> Step {
        let sent = SentMessage { hash: Digest([0; 32]), seqno: 5, valid_until_s: 100, after_lt: 0, boc: String::new() };
        let seen = Seen { at_s: wallet_at_s, number: wallet_seqno, taken: wallet.as_ref(), contract: contract.as_ref(), outstanding: 0 };
        plan(order, THERE, &sent, seen)
    }

    fn passed_on_to(to: ContractAddress) -> Option<Transaction> {
        Some(transaction(vec![message(ContractAddress([1; 32])), message(to)], Some(0), Some(0), true))
    }

    #[test]
    fn a_message_is_sent_until_its_number_is_used_up_or_its_time_is_over() {
        assert_eq!(check(&CLOSE, 5, 99, None, None), Step::Send);
        assert_eq!(check(&CLOSE, 4, 99, None, None), Step::Send, "an endpoint that is behind");
        assert_eq!(check(&CLOSE, 6, 99, None, None), Step::Requeue);
        assert_eq!(check(&CLOSE, 5, 100, None, None), Step::Requeue, "the wallet takes it before that second alone");
        assert_eq!(check(&CLOSE, 5, 101, None, None), Step::Requeue);
    }

    #[test]
    fn a_message_that_the_wallet_took_is_never_sent_again() {
        for at_s in [99, 100] {
            assert_eq!(check(&CLOSE, 6, at_s, passed_on_to(THERE), None), Step::Wait);
            assert_eq!(check(&TRANSFER, 6, at_s, passed_on_to(THERE), None), Step::Confirm, "what is sent is transferred");
            let kept = passed_on_to(ContractAddress([2; 32]));
            assert_eq!(check(&CLOSE, 6, at_s, kept, None), Step::Fail(OrderFailure::WalletTooPoor));
        }
    }

    #[test]
    fn what_the_contract_did_decides() {
        let outcome = |order: &Order, exit_code, action_code, success| {
            check(order, 6, 99, passed_on_to(THERE), Some(transaction(Vec::new(), exit_code, action_code, success)))
        };
        assert_eq!(outcome(&CLOSE, Some(0), Some(0), true), Step::Confirm);
        assert_eq!(outcome(&CLOSE, None, None, false), Step::Fail(OrderFailure::NoContract));
        for ran in [0, 1] {
            assert_eq!(outcome(&CLOSE, Some(ran), Some(37), false), Step::Fail(OrderFailure::NotActed(37)));
        }
        let refused = |exit: Exit| Step::Fail(OrderFailure::Refused(exit.code()));
        assert_eq!(outcome(&CLOSE, Some(Exit::NotRequester.code()), None, false), refused(Exit::NotRequester));
        assert_eq!(outcome(&CLOSE, Some(Exit::Closing.code()), None, false), Step::Confirm, "it has happened before");
        assert_eq!(outcome(&FINISH, Some(Exit::Closed.code()), None, false), Step::Confirm);
        assert_eq!(outcome(&FINISH, Some(Exit::NotClosing.code()), None, false), refused(Exit::NotClosing));
    }

    #[test]
    fn an_operators_message_is_its_own_outcome() {
        let check = |command: Command, number, at_s, taken: Option<Transaction>, outstanding| {
            let sent = SentMessage { hash: Digest([0; 32]), seqno: 5, valid_until_s: 100, after_lt: 0, boc: String::new() };
            let seen = Seen { at_s, number, taken: taken.as_ref(), contract: None, outstanding };
            plan(&Order::Operator { contract: THERE, command }, THERE, &sent, seen)
        };
        let done = || Some(transaction(Vec::new(), Some(0), Some(0), true));
        let batch = || Command::Batch(Vec::new());
        assert_eq!(check(batch(), 5, 99, None, 0), Step::Send);
        assert_eq!(check(batch(), 6, 99, None, 0), Step::Requeue);
        assert_eq!(check(batch(), 5, 100, None, 0), Step::Requeue);
        assert_eq!(check(batch(), 6, 99, done(), 1), Step::Wait, "a claim has not answered");
        assert_eq!(check(batch(), 6, 99, done(), 0), Step::Confirm);
        assert_eq!(check(batch(), 6, 100, done(), 1), Step::Confirm, "one that never answers holds up nothing");
        assert_eq!(check(Command::Alive, 6, 99, done(), 1), Step::Confirm, "it waits for no claim");
        let failed = Some(transaction(Vec::new(), Some(9), None, false));
        assert_eq!(check(batch(), 6, 99, failed, 1), Step::Fail(OrderFailure::Refused(9)));
    }
}
