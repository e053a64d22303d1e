//! A channel's terms, address and stored data.

use cocoon_market::{Amount, ChannelRef, ContractAddress, NetworkId, NodeId, ids::Digest};
use serde::{Deserialize, Serialize};
use tonlib_core::cell::{ArcCell, Cell, CellBuilder};

use super::cells::{CellError, hash_of, load_32, load_amount, load_i32, store_amount};
use super::code::Contract;

/// Stays on the account for its storage, for ever; see `contracts/README.md`.
pub const STORAGE_RESERVE: Amount = Amount::from_nano(10_000_000);

/// What is fixed when a channel is opened. The contract's address is a hash over it and the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChannelTerms {
    /// The chain.
    pub network: NetworkId,
    /// Operator key of the requester, which signs vouchers.
    pub requester: NodeId,
    /// Operator key of the provider, which countersigns a cooperative close.
    pub provider: NodeId,
    /// The requester's wallet: gets the refund, and alone may close unilaterally.
    pub refund_to: ContractAddress,
    /// The provider's contract: gets what is drawn, and divides it.
    pub contract: ContractAddress,
    /// Seconds between a unilateral close and the refund.
    pub challenge_window_s: u32,
    /// Makes the address unique. Never used twice, so that no old voucher fits a new channel.
    pub salt: Digest,
}

impl ChannelTerms {
    /// The state a channel is deployed with: no deposit, nothing drawn.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn initial_data(&self) -> Result<ArcCell, CellError> {
        let empty = ChannelData {
            status: ChannelStatus::Open,
            deposit: Amount::ZERO,
            drawn: Amount::ZERO,
            sequence: 0,
            receipts_root: Digest([0; 32]),
            terms: *self,
        };
        empty.to_cell()
    }

    /// The `StateInit` that deploys it.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn state_init(&self) -> Result<ArcCell, CellError> {
        Contract::Channel.state_init(&self.initial_data()?)
    }

    /// Where it lives.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn channel(&self) -> Result<ChannelRef, CellError> {
        Ok(ChannelRef { network: self.network, address: ContractAddress(hash_of(&*self.state_init()?)) })
    }

    /// Hash of the cell of what only the channel's end needs; its address is a hash over it, among others.
    ///
    /// # Errors
    /// [`CellError`] when the terms fit no cell.
    pub fn close_terms(&self) -> Result<Digest, CellError> {
        Ok(Digest(hash_of(&self.close_cell()?)))
    }

    fn pay_cell(&self) -> Result<Cell, CellError> {
        let mut to = CellBuilder::new();
        to.store_slice(self.requester.as_bytes())?.store_slice(self.contract.as_bytes())?.store_slice(&self.network.0.to_be_bytes())?;
        Ok(to.build()?)
    }

    fn close_cell(&self) -> Result<Cell, CellError> {
        let mut to = CellBuilder::new();
        to.store_slice(self.provider.as_bytes())?
            .store_slice(self.refund_to.as_bytes())?
            .store_slice(self.salt.as_bytes())?
            .store_u32(32, self.challenge_window_s)?;
        Ok(to.build()?)
    }

    fn from_cells(pay: &Cell, close: &Cell) -> Result<Self, CellError> {
        let (mut pay, mut close) = (pay.parser(), close.parser());
        let terms = Self {
            requester: NodeId(load_32(&mut pay)?),
            contract: ContractAddress(load_32(&mut pay)?),
            network: NetworkId(load_i32(&mut pay)?),
            provider: NodeId(load_32(&mut close)?),
            refund_to: ContractAddress(load_32(&mut close)?),
            salt: Digest(load_32(&mut close)?),
            challenge_window_s: close.load_u32(32)?,
        };
        pay.ensure_empty()?;
        close.ensure_empty()?;
        Ok(terms)
    }
}

/// Where a channel is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChannelStatus {
    /// Takes deposits and claims. Left by the requester's close, or by both parties.
    Open,
    /// Takes claims until the deadline. Left by anyone after it, or by both parties.
    Closing {
        /// When the challenge window ends, in seconds since the Unix epoch.
        deadline_s: u32,
    },
    /// Never left. The account stays, so that nobody can deploy it anew and replay old vouchers.
    Closed,
}

/// What a channel stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelData {
    /// Where it is in its life.
    pub status: ChannelStatus,
    /// All that was ever deposited.
    pub deposit: Amount,
    /// All that was ever drawn, fees included.
    pub drawn: Amount,
    /// Receipts covered by the last voucher that was drawn.
    pub sequence: u64,
    /// Their root.
    pub receipts_root: Digest,
    /// What was fixed at the opening.
    pub terms: ChannelTerms,
}

impl ChannelData {
    /// As the contract stores it.
    ///
    /// # Errors
    /// [`CellError`] for an amount that TON cannot hold.
    pub fn to_cell(&self) -> Result<ArcCell, CellError> {
        let (status, deadline_s) = match self.status {
            ChannelStatus::Open => (0, 0),
            ChannelStatus::Closing { deadline_s } => (1, deadline_s),
            ChannelStatus::Closed => (2, 0),
        };
        let mut to = CellBuilder::new();
        to.store_u8(8, status)?.store_u32(32, deadline_s)?;
        store_amount(&mut to, self.deposit)?;
        store_amount(&mut to, self.drawn)?;
        to.store_u64(64, self.sequence)?.store_slice(self.receipts_root.as_bytes())?;
        to.store_child(self.terms.pay_cell()?)?.store_child(self.terms.close_cell()?)?;
        Ok(to.build()?.to_arc())
    }

    /// Reads an account's data.
    ///
    /// # Errors
    /// [`CellError`] when no channel stores such a cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let (status, deadline_s) = (from.load_u8(8)?, from.load_u32(32)?);
        let data = Self {
            status: match status {
                0 => ChannelStatus::Open,
                1 => ChannelStatus::Closing { deadline_s },
                2 => ChannelStatus::Closed,
                _ => return Err(CellError::Value("status")),
            },
            deposit: load_amount(&mut from)?,
            drawn: load_amount(&mut from)?,
            sequence: from.load_u64(64)?,
            receipts_root: Digest(load_32(&mut from)?),
            terms: ChannelTerms::from_cells(&*from.next_reference()?, &*from.next_reference()?)?,
        };
        from.ensure_empty()?;
        Ok(data)
    }
}

#[cfg(test)]
pub(crate) fn tests_terms() -> ChannelTerms {
    ChannelTerms {
        network: NetworkId::DEVNET,
        requester: NodeId([1; 32]),
        provider: NodeId([2; 32]),
        refund_to: ContractAddress([3; 32]),
        contract: ContractAddress([4; 32]),
        challenge_window_s: 86_400,
        salt: Digest([6; 32]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_the_contracts() {
        let source = include_str!("../../contracts/channel.tolk");
        assert!(source.contains(&format!("const STORAGE_RESERVE = ton(\"{STORAGE_RESERVE}\")")));
    }
}
