//! COCOON as a jetton (TEP-74, TEP-89): where wallets are, what they are told, what they and their minter store.

use std::collections::HashMap;

use cocoon_market::{Amount, ContractAddress, NetworkId};
use num_bigint::BigUint;
use sha2::{Digest as _, Sha256};
use tonlib_core::TonAddress;
use tonlib_core::cell::dict::predefined_writers::val_writer_ref_cell;
use tonlib_core::cell::{ArcCell, Cell, CellBuilder, CellParser};

use super::cells::{CellError, account_or_nobody, hash_of, load_32, load_amount, load_i32, store_amount};
use super::code::Contract;
use super::message::{QueryId, begun};
use crate::chain::{Address, BASECHAIN};

const OP_TRANSFER: u32 = 0x0f8a_7ea5;
const OP_BURN: u32 = 0x595f_07bc;
const OP_GENESIS: u32 = 0x434a_0001;

/// What wallets show of the token (TEP-64): the key, and a text that fits one cell.
const ABOUT: [(&str, &str); 4] = [
    ("name", "Cocoon Swarm"),
    ("symbol", "COCOON"),
    ("decimals", "9"),
    ("description", "Burned by the fees of verified AI work, and released for it."),
];

/// What is fixed for a minter. Its address is a hash over it and the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinterTerms {
    /// The chain.
    pub network: NetworkId,
    /// Who divides all COCOON, once.
    pub founder: ContractAddress,
}

/// What a minter stores beside what its wallets need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinterData {
    /// All COCOON there is.
    pub supply: Amount,
    /// Who may divide it; none when that is done.
    pub founder: Option<ContractAddress>,
    /// The chain.
    pub network: NetworkId,
}

/// What a jetton wallet stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletData {
    /// What its owner has.
    pub balance: Amount,
    /// Whose it is.
    pub owner: ContractAddress,
    /// Of which token.
    pub minter: ContractAddress,
}

/// Who gets what at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The reserve for verified usage.
    pub reserve: ContractAddress,
    /// The treasury.
    pub treasury: ContractAddress,
    /// Early stakers.
    pub stakers: ContractAddress,
    /// The opening auction.
    pub opening: ContractAddress,
}

/// What a wallet's owner tells it. What the message does not cost goes to the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JettonMessage {
    /// Moves COCOON.
    Transfer {
        /// How much.
        amount: Amount,
        /// To whom.
        to: ContractAddress,
        /// With so much TON the recipient is told; with none, not.
        forward: Amount,
        /// What it is told.
        payload: Option<ArcCell>,
    },
    /// Destroys COCOON.
    Burn(Amount),
}

impl MinterTerms {
    /// The `StateInit` that deploys it.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn state_init(&self) -> Result<ArcCell, CellError> {
        Contract::JettonMinter.state_init(&self.data_cell(Amount::ZERO, self.founder)?)
    }

    /// Where it lives.
    ///
    /// # Errors
    /// As for [`Self::state_init`].
    pub fn address(&self) -> Result<ContractAddress, CellError> {
        Ok(ContractAddress(hash_of(&*self.state_init()?)))
    }

    fn data_cell(&self, supply: Amount, founder: ContractAddress) -> Result<ArcCell, CellError> {
        let mut to = CellBuilder::new();
        store_amount(&mut to, supply)?;
        to.store_slice(founder.as_bytes())?.store_reference(&content()?)?.store_reference(&Contract::JettonWallet.code()?)?;
        to.store_slice(&self.network.0.to_be_bytes())?;
        Ok(to.build()?.to_arc())
    }
}

impl MinterData {
    /// Reads an account's data.
    ///
    /// # Errors
    /// [`CellError`] when no minter stores such a cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let (supply, founder) = (load_amount(&mut from)?, load_32(&mut from)?);
        from.next_reference()?;
        if hash_of(&*from.next_reference()?) != Contract::JettonWallet.code_hash()? {
            return Err(CellError::Value("wallet code"));
        }
        let network = NetworkId(load_i32(&mut from)?);
        from.ensure_empty()?;
        Ok(Self { supply, founder: account_or_nobody(founder), network })
    }
}

impl WalletData {
    /// The wallet of an owner, as it is deployed.
    pub const fn new(owner: ContractAddress, minter: ContractAddress) -> Self {
        Self { balance: Amount::ZERO, owner, minter }
    }

    /// Where it lives, whatever its balance.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn address(&self) -> Result<ContractAddress, CellError> {
        let initial = Self { balance: Amount::ZERO, ..*self };
        Ok(ContractAddress(hash_of(&*Contract::JettonWallet.state_init(&initial.to_cell()?)?)))
    }

    /// As the contract stores it.
    ///
    /// # Errors
    /// [`CellError`] for an amount that TON cannot hold.
    pub fn to_cell(&self) -> Result<ArcCell, CellError> {
        let mut to = CellBuilder::new();
        store_amount(&mut to, self.balance)?;
        store_account(&mut to, self.owner)?;
        store_account(&mut to, self.minter)?;
        Ok(to.build()?.to_arc())
    }

    /// Reads an account's data.
    ///
    /// # Errors
    /// [`CellError`] when no wallet of an account in the basechain stores such a cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let data = Self { balance: load_amount(&mut from)?, owner: load_account(&mut from)?, minter: load_account(&mut from)? };
        from.ensure_empty()?;
        Ok(data)
    }
}

impl Genesis {
    /// The body of the internal message to the minter.
    ///
    /// # Errors
    /// [`CellError`] never, for accounts are as long as they are.
    pub fn to_cell(&self, query: QueryId) -> Result<ArcCell, CellError> {
        let mut rest = CellBuilder::new();
        rest.store_slice(self.stakers.as_bytes())?.store_slice(self.opening.as_bytes())?;
        let mut to = begun(OP_GENESIS, query)?;
        to.store_slice(self.reserve.as_bytes())?.store_slice(self.treasury.as_bytes())?.store_child(rest.build()?)?;
        Ok(to.build()?.to_arc())
    }
}

impl JettonMessage {
    /// The body of the internal message from `owner` to its wallet.
    ///
    /// # Errors
    /// [`CellError`] for an amount that no TON message can carry.
    pub fn to_cell(&self, owner: ContractAddress, query: QueryId) -> Result<ArcCell, CellError> {
        match self {
            Self::Transfer { amount, to: recipient, forward, payload } => {
                let mut to = begun(OP_TRANSFER, query)?;
                store_amount(&mut to, *amount)?;
                store_account(&mut to, *recipient)?;
                store_account(&mut to, owner)?;
                // No custom payload.
                to.store_bit(false)?;
                store_amount(&mut to, *forward)?;
                to.store_bit(payload.is_some())?;
                if let Some(payload) = payload {
                    to.store_reference(payload)?;
                }
                Ok(to.build()?.to_arc())
            }
            Self::Burn(amount) => {
                let mut to = begun(OP_BURN, query)?;
                store_amount(&mut to, *amount)?;
                store_account(&mut to, owner)?;
                to.store_bit(false)?;
                Ok(to.build()?.to_arc())
            }
        }
    }
}

/// An account of the basechain, as standards write it: with its workchain.
fn store_account(to: &mut CellBuilder, account: ContractAddress) -> Result<(), CellError> {
    to.store_address(&TonAddress::from(Address::from(account)))?;
    Ok(())
}

fn load_account(from: &mut CellParser<'_>) -> Result<ContractAddress, CellError> {
    let address = from.load_address()?;
    if address.workchain != i32::from(BASECHAIN) {
        return Err(CellError::Value("account"));
    }
    Ok(ContractAddress(address.hash_part.into()))
}

/// The token's description: on chain, each text behind a reference.
fn content() -> Result<ArcCell, CellError> {
    let mut texts = HashMap::new();
    for (key, text) in ABOUT {
        let mut value = CellBuilder::new();
        value.store_u8(8, 0)?.store_slice(text.as_bytes())?;
        texts.insert(BigUint::from_bytes_be(&Sha256::digest(key)), value.build()?.to_arc());
    }
    let mut to = CellBuilder::new();
    to.store_u8(8, 0)?.store_dict(256, val_writer_ref_cell, texts)?;
    Ok(to.build()?.to_arc())
}

#[cfg(test)]
mod tests {
    use crate::economy::genesis;

    #[test]
    fn the_minter_divides_the_cap_as_the_machine_says() {
        let source = include_str!("../../contracts/jetton-minter.tolk");
        for (name, part) in
            [("RESERVE", genesis::RESERVE), ("STAKERS", genesis::STAKERS), ("OPENING", genesis::OPENING), ("TREASURY", genesis::TREASURY)]
        {
            let whole = part.nano() / cocoon_market::amount::NANO;
            assert!(source.contains(&format!("const GENESIS_{name} = {whole} * 1000000000\n")), "{name}");
        }
    }
}
