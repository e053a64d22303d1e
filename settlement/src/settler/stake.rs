//! Whether an account is the contract of a provider of this network, and what stands behind its work.

use cocoon_market::{Amount, ContractAddress, NodeId};

use super::account::{AccountFault, data_of};
use crate::chain::AccountState;
use crate::contract::{CellError, Contract, NetworkTerms, ProviderData};

/// A provider's contract that was found on chain and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderView {
    /// Where it is.
    pub contract: ContractAddress,
    /// What it stores.
    pub data: ProviderData,
    /// What the account holds.
    pub balance: Amount,
    /// When that was seen, in seconds since the Unix epoch.
    pub seen_at_s: u64,
}

impl ProviderView {
    /// When it was seen, as contracts count time.
    pub fn now_s(&self) -> u32 {
        u32::try_from(self.seen_at_s).unwrap_or(u32::MAX)
    }

    /// What batches can be paid from.
    pub fn operations(&self) -> Amount {
        self.data.operations(self.balance)
    }
}

/// Why an account is not the provider's contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderCheckError {
    /// Nothing is deployed there, or not yet.
    #[error("there is no contract at the provider's address")]
    NotDeployed,
    /// The account was frozen over its storage debt.
    #[error("the provider's account is frozen")]
    Frozen,
    /// Other code than the one committed with this program.
    #[error("the account runs other code, with hash {}", hex::encode(found))]
    ForeignCode {
        /// The hash found.
        found: [u8; 32],
    },
    /// Data that no provider's contract stores.
    #[error("the account's data is not a provider's")]
    ForeignData,
    /// The address is not a hash over the terms it stores.
    #[error("the provider's terms do not give its address")]
    Address,
    /// It belongs to another network, whose vault or dispute contract is another one.
    #[error("the provider's contract has other network terms")]
    OtherNetwork,
    /// Another key is its operator.
    #[error("the provider's contract has another operator")]
    OtherOperator,
    /// The account does not hold what its data says.
    #[error("the account holds {balance} where {owed} is accounted for")]
    Underfunded {
        /// What it holds.
        balance: Amount,
        /// What it should hold at least.
        owed: Amount,
    },
    /// The contract's code in this program is damaged.
    #[error("the contract's code in this program is damaged")]
    OwnCode,
}

/// Checks that an account is the contract of this operator on this network: its code, its address, its terms, its money.
///
/// # Errors
/// [`ProviderCheckError`].
pub fn verify_provider(
    account: &AccountState,
    contract: ContractAddress,
    operator: NodeId,
    network: &NetworkTerms,
) -> Result<ProviderView, ProviderCheckError> {
    let view = verify_contract(account, contract, network)?;
    if view.data.operator == operator { Ok(view) } else { Err(ProviderCheckError::OtherOperator) }
}

/// The same, whoever operates it.
///
/// # Errors
/// [`ProviderCheckError`].
pub fn verify_contract(
    account: &AccountState,
    contract: ContractAddress,
    network: &NetworkTerms,
) -> Result<ProviderView, ProviderCheckError> {
    let data = ProviderData::from_cell(data_of(account, Contract::Provider)?).map_err(|_| ProviderCheckError::ForeignData)?;
    let own = |_: CellError| ProviderCheckError::OwnCode;
    if data.terms.address().map_err(own)? != contract {
        return Err(ProviderCheckError::Address);
    }
    if data.terms.network != *network {
        return Err(ProviderCheckError::OtherNetwork);
    }
    let owed = Amount::sum([data.stake.total, data.stake.bond]).map_err(|_| ProviderCheckError::ForeignData)?;
    if account.balance < owed {
        return Err(ProviderCheckError::Underfunded { balance: account.balance, owed });
    }
    Ok(ProviderView { contract, data, balance: account.balance, seen_at_s: account.seen_at.unix_s })
}

impl From<AccountFault> for ProviderCheckError {
    fn from(fault: AccountFault) -> Self {
        match fault {
            AccountFault::NotDeployed => Self::NotDeployed,
            AccountFault::Frozen => Self::Frozen,
            AccountFault::ForeignCode { found } => Self::ForeignCode { found },
            AccountFault::Empty => Self::ForeignData,
            AccountFault::OwnCode(_) => Self::OwnCode,
        }
    }
}
