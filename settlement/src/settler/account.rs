//! Whether an account is one of our contracts at all.

use tonlib_core::cell::ArcCell;

use crate::chain::{AccountState, AccountStatus};
use crate::contract::{CellError, Contract};

/// Why an account is not a contract of ours.
#[derive(Debug, thiserror::Error)]
pub enum AccountFault {
    /// Nothing is deployed there, or not yet.
    #[error("there is no contract at the address")]
    NotDeployed,
    /// It was frozen over its storage debt.
    #[error("the account is frozen")]
    Frozen,
    /// Other code than the one committed with this program.
    #[error("the account runs other code, with hash {}", hex::encode(found))]
    ForeignCode {
        /// The hash found.
        found: [u8; 32],
    },
    /// It has no code or no data.
    #[error("the account has no code or no data")]
    Empty,
    /// The contract's code in this program is damaged.
    #[error("the contract's code in this program is damaged")]
    OwnCode(#[source] CellError),
}

/// The data of an account that runs this contract.
///
/// # Errors
/// [`AccountFault`].
pub fn data_of(account: &AccountState, contract: Contract) -> Result<&ArcCell, AccountFault> {
    match account.status {
        AccountStatus::Active => {}
        AccountStatus::Uninitialized => return Err(AccountFault::NotDeployed),
        AccountStatus::Frozen => return Err(AccountFault::Frozen),
    }
    let (Some(code), Some(data)) = (&account.code, &account.data) else { return Err(AccountFault::Empty) };
    let found: [u8; 32] = code.cell_hash().into();
    if found != contract.code_hash().map_err(AccountFault::OwnCode)? {
        return Err(AccountFault::ForeignCode { found });
    }
    Ok(data)
}
