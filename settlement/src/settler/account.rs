//! Whether an account is one of our contracts at all.

use tonlib_core::cell::ArcCell;

use crate::chain::{AccountState, AccountStatus};
use crate::contract::{CellError, Contract};

/// Why an account is not a contract of ours.
pub(super) enum AccountFault {
    /// Nothing is deployed there, or not yet.
    NotDeployed,
    /// It was frozen over its storage debt.
    Frozen,
    /// Other code than the one committed with this program.
    ForeignCode { found: [u8; 32] },
    /// It has no code or no data.
    Empty,
    /// The contract's code in this program is damaged.
    OwnCode(CellError),
}

/// The data of an account that runs this contract.
pub(super) fn data_of(account: &AccountState, contract: Contract) -> Result<&ArcCell, AccountFault> {
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
