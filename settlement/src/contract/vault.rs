//! The vault's terms, address and stored data.

use cocoon_market::{Amount, ContractAddress, NetworkId};
use serde::{Deserialize, Serialize};
use tonlib_core::cell::{ArcCell, Cell, CellBuilder};

use super::cells::{CellError, hash_of, load_32, load_amount, load_i32, store_amount};
use super::code::Contract;

/// What is fixed for a vault. Its address is a hash over it and the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultTerms {
    /// The chain.
    pub network: NetworkId,
    /// Who gets the treasury's share.
    pub treasury: ContractAddress,
}

impl VaultTerms {
    /// The `StateInit` that deploys it.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn state_init(&self) -> Result<ArcCell, CellError> {
        Contract::Vault.state_init(&VaultData::new(*self).to_cell()?)
    }

    /// Where it lives.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn address(&self) -> Result<ContractAddress, CellError> {
        Ok(ContractAddress(hash_of(&*self.state_init()?)))
    }
}

/// What a vault stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultData {
    /// Waits to be burned.
    pub burn: Amount,
    /// Waits for the auditors.
    pub auditors: Amount,
    /// Waits for the treasury.
    pub treasury: Amount,
    /// All fees that ever came.
    pub fees_cum: Amount,
    /// What is fixed.
    pub terms: VaultTerms,
}

impl VaultData {
    const fn new(terms: VaultTerms) -> Self {
        Self { burn: Amount::ZERO, auditors: Amount::ZERO, treasury: Amount::ZERO, fees_cum: Amount::ZERO, terms }
    }

    /// As the contract stores it.
    ///
    /// # Errors
    /// [`CellError`] for an amount that TON cannot hold.
    pub fn to_cell(&self) -> Result<ArcCell, CellError> {
        let mut to = CellBuilder::new();
        for amount in [self.burn, self.auditors, self.treasury, self.fees_cum] {
            store_amount(&mut to, amount)?;
        }
        to.store_slice(self.terms.treasury.as_bytes())?.store_slice(&self.terms.network.0.to_be_bytes())?;
        Ok(to.build()?.to_arc())
    }

    /// Reads an account's data.
    ///
    /// # Errors
    /// [`CellError`] when no vault stores such a cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let data = Self {
            burn: load_amount(&mut from)?,
            auditors: load_amount(&mut from)?,
            treasury: load_amount(&mut from)?,
            fees_cum: load_amount(&mut from)?,
            terms: VaultTerms { treasury: ContractAddress(load_32(&mut from)?), network: NetworkId(load_i32(&mut from)?) },
        };
        from.ensure_empty()?;
        Ok(data)
    }
}
