//! The messages that carry orders, and what they take along.

use cocoon_market::{Amount, AmountError, ContractAddress};

use super::claims::BATCH_COST;
use super::shell::SettleError;
use crate::chain::{Address, Bounce};
use crate::contract::{ChannelMessage, Command, ProviderMessage, QueryId, channel, provider};
use crate::ledger::{Order, Sender};
use crate::wallet::{Outgoing, comment};

/// Carried on top of what a message is to move; what its work does not cost comes back. Three times what the most expensive path asks for at
/// the prices of 2026, and still above it at those before.
const FEE_VALUE: Amount = Amount::from_nano(20_000_000);

/// The same for what has rewards checked or paid: a proof takes fifteen times the gas, and a payment may deploy a wallet.
const REWARD_VALUE: Amount = Amount::from_nano(100_000_000);

/// Left in the wallet for its own gas and rent.
const WALLET_FEES: Amount = Amount::from_nano(10_000_000);

/// What the operations balance must hold for each claim of a batch. What the claims do not cost comes back with their answers, so that
/// it is more than a claim costs. A test holds it against the contract.
const BATCHED_VALUE: Amount = Amount::from_nano(4_500_000);

/// What an order takes out of the wallet, the wallet's own fees aside, or out of the operations balance; what is not used comes back.
///
/// # Errors
/// [`AmountError`].
pub fn order_value(order: &Order) -> Result<Amount, AmountError> {
    match order {
        Order::Open { deposit, .. } => deposit.checked_add(FEE_VALUE)?.checked_add(channel::STORAGE_RESERVE),
        Order::TopUp { deposit, .. } => deposit.checked_add(FEE_VALUE),
        Order::Claim(_) | Order::Close(_) | Order::Finish(_) | Order::CloseTogether { .. } => Ok(FEE_VALUE),
        Order::Transfer { amount, .. } => Ok(*amount),
        Order::Stake { amount, bond, operations, .. } => Amount::sum([*amount, *bond, *operations, FEE_VALUE, provider::STORAGE_RESERVE]),
        Order::Provider { message, .. } => match message {
            ProviderMessage::Stake { amount, bond } => Amount::sum([*amount, *bond, FEE_VALUE]),
            ProviderMessage::Poke => provider::POKE_PRICE.checked_add(FEE_VALUE),
            ProviderMessage::Unbond { .. }
            | ProviderMessage::Withdraw
            | ProviderMessage::WithdrawOperations(_)
            | ProviderMessage::SetOperator(_)
            | ProviderMessage::Slash { .. }
            | ProviderMessage::PokeOver
            | ProviderMessage::Flush => Ok(FEE_VALUE),
            ProviderMessage::Attest(_) | ProviderMessage::CollectReward(_) | ProviderMessage::TakeReward => Ok(REWARD_VALUE),
        },
        Order::Tell { value, .. } => Ok(*value),
        Order::Operator { command, .. } => match command {
            Command::Batch(claims) => batch_needs(claims.len()),
            Command::Allocate(_) => Ok(BATCH_COST),
            // Paid from the price of the poke that it answers.
            Command::Alive => Ok(Amount::ZERO),
        },
    }
}

/// What a batch of so many claims takes out of the operations balance, most of which comes back.
///
/// # Errors
/// [`AmountError`].
pub fn batch_needs(claims: usize) -> Result<Amount, AmountError> {
    let claims = u64::try_from(claims).unwrap_or(u64::MAX);
    BATCHED_VALUE.checked_mul(claims)?.checked_add(BATCH_COST)
}

/// What the sender must hold for an order, its own gas included.
///
/// # Errors
/// [`AmountError`].
pub(super) fn needed(order: &Order) -> Result<Amount, AmountError> {
    let value = order_value(order)?;
    match order.sender() {
        Sender::Wallet => value.checked_add(WALLET_FEES),
        Sender::Operator => Ok(value),
    }
}

/// The message that the wallet of `owner` sends for an order. What contracts are told carries `query`; a transfer says it in a comment.
///
/// # Errors
/// [`SettleError`] for what no message carries, an operator's orders among them.
pub fn outgoing(order: &Order, owner: ContractAddress, query: QueryId) -> Result<Outgoing, SettleError> {
    let (body, state_init) = match order {
        Order::Open { terms, deposit } => (Some(ChannelMessage::Deposit(*deposit).to_cell(query)?), Some(terms.state_init()?)),
        Order::TopUp { deposit, .. } => (Some(ChannelMessage::Deposit(*deposit).to_cell(query)?), None),
        Order::Claim(signed) => (Some(ChannelMessage::Claim(*signed).to_cell(query)?), None),
        Order::Close(_) => (Some(ChannelMessage::CloseUnilateral.to_cell(query)?), None),
        Order::Finish(_) => (Some(ChannelMessage::FinishClose.to_cell(query)?), None),
        Order::CloseTogether { statement, requester, provider } => {
            let (statement, requester, provider) = (*statement, *requester, *provider);
            (Some(ChannelMessage::CloseCooperative { statement, requester, provider }.to_cell(query)?), None)
        }
        Order::Stake { terms, amount, bond, .. } => {
            (Some(ProviderMessage::Stake { amount: *amount, bond: *bond }.to_cell(query)?), Some(terms.state_init()?))
        }
        Order::Provider { message, .. } => (Some(message.to_cell(query)?), None),
        Order::Tell { message, .. } => (Some(message.to_cell(owner, query)?), None),
        Order::Transfer { .. } => (Some(comment(&format!("order {query:016x}"))?), None),
        Order::Operator { .. } => return Err(crate::wallet::WalletError::Message.into()),
    };
    // Contracts send back what they refuse; a wallet that does not exist yet could not, and its owner wants the money there.
    let bounce = if matches!(order, Order::Transfer { .. }) { Bounce::No } else { Bounce::Yes };
    Ok(Outgoing { to: Address::from(order.destination()?), value: order_value(order)?, bounce, body, state_init })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A constant of the contracts' sources.
    fn constant(name: &str) -> u64 {
        let sources = [include_str!("../../contracts/provider.tolk"), include_str!("../../contracts/pricing.tolk")];
        let lines = sources.iter().flat_map(|source| source.lines());
        lines.filter_map(|line| line.strip_prefix(&format!("const {name} = "))).next().unwrap().parse().unwrap()
    }

    /// Prices of 2026 as `chain/embedded/config.rs` has them, in nano-units times 65,536.
    fn gas(gas: u64) -> u64 {
        gas * 4_369_067
    }

    fn forward(bits: u64, cells: u64) -> u64 {
        (66_667 << 16) + bits * 4_369_067 + cells * 436_906_667
    }

    #[test]
    fn what_a_batch_needs_is_what_the_contract_asks_for_and_not_much_more() {
        let message = forward(constant("MESSAGE_BITS"), constant("MESSAGE_CELLS"));
        let works = ["GAS_BATCHED", "GAS_CLAIM", "GAS_PAID", "GAS_FEE", "GAS_BOOKED"];
        let claim = gas(works.into_iter().map(constant).sum()) + 4 * message + forward(constant("CLAIM_BITS"), constant("CLAIM_CELLS"));
        let asked = Amount::from_nano(u128::from(claim >> 16) + 1);
        assert!(asked <= BATCHED_VALUE && BATCHED_VALUE.nano() < asked.nano() * 3 / 2, "{asked} a claim");
        let base = Amount::from_nano(u128::from(gas(constant("GAS_OPERATOR")) >> 16) + 1);
        assert!(base <= BATCH_COST, "{base} a batch");
        assert_eq!(batch_needs(2), BATCHED_VALUE.checked_mul(2).and_then(|value| value.checked_add(BATCH_COST)));
    }

    #[test]
    fn an_operator_pays_from_operations_and_a_wallet_for_itself_too() {
        let contract = ContractAddress([1; 32]);
        let allocate = Order::Operator { contract, command: Command::Allocate(Amount::ZERO) };
        assert_eq!(needed(&allocate), Ok(BATCH_COST));
        assert_eq!(needed(&Order::Operator { contract, command: Command::Alive }), Ok(Amount::ZERO));
        let poke = Order::Provider { contract, message: ProviderMessage::Poke };
        assert_eq!(order_value(&poke), provider::POKE_PRICE.checked_add(FEE_VALUE));
        assert_eq!(needed(&poke), order_value(&poke).and_then(|value| value.checked_add(WALLET_FEES)));
        assert!(outgoing(&allocate, contract, 0).is_err(), "a wallet is no operator");
    }
}
