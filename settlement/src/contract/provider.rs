//! A provider contract's terms, address and stored data.

use std::collections::{BTreeMap, HashMap};

use cocoon_market::{Amount, ContractAddress, NetworkId, NodeId, ids::Digest};
use serde::{Deserialize, Serialize};
use tonlib_core::cell::dict::predefined_readers::key_reader_u32;
use tonlib_core::cell::{ArcCell, Cell, CellBuilder, CellParser, TonCellError};

use super::cells::{
    CellError, account_or_nobody, hash_of, load_32, load_amount, load_amounts, load_i32, nobody_or, read_amounts, store_amount,
    store_amounts, write_amounts,
};
use super::code::Contract;
use crate::economy::vesting::Vesting;

/// Stays on the account for its storage; see `contracts/README.md`.
pub const STORAGE_RESERVE: Amount = Amount::from_nano(40_000_000);

/// What a poke costs whoever pokes.
pub const POKE_PRICE: Amount = Amount::from_nano(50_000_000);

/// What an unanswered poke takes of the liveness bond.
pub const POKE_PENALTY: Amount = Amount::from_nano(500_000_000);

/// What is the same for all providers of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkTerms {
    /// The chain.
    pub network: NetworkId,
    /// Where fees go.
    pub vault: ContractAddress,
    /// Who may slash.
    pub dispute: ContractAddress,
    /// Who pays rewards.
    pub rewards: ContractAddress,
    /// What of each draw is the network's, in basis points.
    pub fee_bps: u16,
    /// How long released collateral can still be slashed, in seconds.
    pub unbond_s: u32,
    /// How long an epoch is, in seconds.
    pub epoch_s: u32,
    /// How long an operator may take to answer a poke, in seconds.
    pub answer_s: u32,
}

impl NetworkTerms {
    /// What the contract for rewards tells providers of this network from all others by.
    ///
    /// # Errors
    /// [`CellError`] never, for the layout is fixed.
    pub fn hash(&self) -> Result<Digest, CellError> {
        Ok(Digest(hash_of(&self.to_cell()?)))
    }

    pub(crate) fn to_cell(self) -> Result<Cell, CellError> {
        let mut to = CellBuilder::new();
        to.store_slice(&self.network.0.to_be_bytes())?
            .store_slice(self.vault.as_bytes())?
            .store_slice(self.dispute.as_bytes())?
            .store_slice(self.rewards.as_bytes())?
            .store_u16(16, self.fee_bps)?
            .store_u32(32, self.unbond_s)?
            .store_u32(32, self.epoch_s)?
            .store_u32(32, self.answer_s)?;
        Ok(to.build()?)
    }

    fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let terms = Self {
            network: NetworkId(load_i32(&mut from)?),
            vault: ContractAddress(load_32(&mut from)?),
            dispute: ContractAddress(load_32(&mut from)?),
            rewards: ContractAddress(load_32(&mut from)?),
            fee_bps: from.load_u16(16)?,
            unbond_s: from.load_u32(32)?,
            epoch_s: from.load_u32(32)?,
            answer_s: from.load_u32(32)?,
        };
        from.ensure_empty()?;
        Ok(terms)
    }
}

/// What is fixed for a provider's contract. Its address is a hash over it and the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderTerms {
    /// The owner's wallet: gets earnings and withdrawals, and alone may release collateral.
    pub owner: ContractAddress,
    /// The first operator's key.
    pub operator: NodeId,
    /// Which resource class it works in.
    pub class: u8,
    /// What is the same for all.
    pub network: NetworkTerms,
}

impl ProviderTerms {
    /// The state that a provider's contract is deployed with.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn initial_data(&self) -> Result<ArcCell, CellError> {
        ProviderData::new(*self).to_cell()
    }

    /// The `StateInit` that deploys it.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn state_init(&self) -> Result<ArcCell, CellError> {
        Contract::Provider.state_init(&self.initial_data()?)
    }

    /// Where it lives.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn address(&self) -> Result<ContractAddress, CellError> {
        Ok(ContractAddress(hash_of(&*self.state_init()?)))
    }

    fn to_cell(self) -> Result<Cell, CellError> {
        let mut to = CellBuilder::new();
        to.store_slice(self.owner.as_bytes())?
            .store_slice(self.operator.as_bytes())?
            .store_u8(8, self.class)?
            .store_child(self.network.to_cell()?)?;
        Ok(to.build()?)
    }

    fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let terms = Self {
            owner: ContractAddress(load_32(&mut from)?),
            operator: NodeId(load_32(&mut from)?),
            class: from.load_u8(8)?,
            network: NetworkTerms::from_cell(&*from.next_reference()?)?,
        };
        from.ensure_empty()?;
        Ok(terms)
    }
}

/// Collateral.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stake {
    /// All of it.
    pub total: Amount,
    /// What of it backs open agreements.
    pub allocated: Amount,
    /// What of it is being released.
    pub unbonding: Amount,
    /// From when that may be withdrawn, in seconds since the Unix epoch.
    pub unbond_at_s: u32,
    /// Beside it: what pays for pokes that are not answered.
    pub bond: Amount,
}

impl Stake {
    /// What is neither allocated nor being released.
    pub fn free(&self) -> Amount {
        self.total.saturating_sub(self.allocated).saturating_sub(self.unbonding)
    }

    /// What stands behind the provider's work: all but what is being released.
    pub fn standing(&self) -> Amount {
        self.total.saturating_sub(self.unbonding)
    }
}

/// The running epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// When it ends, in seconds since the Unix epoch.
    pub ends_s: u32,
    /// What was drawn in it.
    pub paid: Amount,
}

/// The last epoch that is over and in which something was drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedEpoch {
    /// When it ended, in seconds since the Unix epoch.
    pub ended_s: u32,
    /// What was drawn in it.
    pub paid: Amount,
    /// The collateral that was allocated when it was closed.
    pub backed: Amount,
}

/// Fees and rewards, as far as the provider's contract knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewards {
    /// Fees paid ahead in COCOON, in TON.
    pub credit: Amount,
    /// The highest number of a claim that was rewarded.
    pub last_claim: u64,
    /// Whether an attestation is under way.
    pub is_pending: bool,
    /// By the vault's epochs.
    pub epochs: BTreeMap<u32, EpochFees>,
    /// What was earned and not yet taken, in COCOON.
    pub vesting: Vesting,
}

/// An epoch's fees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpochFees {
    /// What of them the vault booked, in TON.
    pub booked: Amount,
    /// What of that was claimed for.
    pub claimed: Amount,
    /// What that burned, in COCOON, until its reward is collected.
    pub part: Amount,
}

/// What a provider's contract stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderData {
    /// The number of the next operator's message.
    pub number: u32,
    /// The number of the last batch.
    pub batch: u32,
    /// Claims of it that were neither paid nor sent back.
    pub outstanding: u16,
    /// Earned and not sent to the owner.
    pub earnings: Amount,
    /// Due to the vault and not sent.
    pub fees: Amount,
    /// All fees that ever were due.
    pub fees_cum: Amount,
    /// How many draws there were.
    pub claims: u64,
    /// A hash chain over them.
    pub claims_head: Digest,
    /// The running epoch.
    pub epoch: Epoch,
    /// The last one.
    pub closed: ClosedEpoch,
    /// The operator's key.
    pub operator: NodeId,
    /// The collateral.
    pub stake: Stake,
    /// Who poked, while a poke is open.
    pub poke: Option<ContractAddress>,
    /// Until when the last poke could be answered, in seconds since the Unix epoch.
    pub answer_by_s: u32,
    /// Fees and rewards.
    pub rewards: Rewards,
    /// What is fixed.
    pub terms: ProviderTerms,
}

impl Rewards {
    fn to_cell(&self) -> Result<Cell, CellError> {
        let mut to = CellBuilder::new();
        store_amount(&mut to, self.credit)?;
        to.store_u64(64, self.last_claim)?.store_bit(self.is_pending)?;
        let epochs: HashMap<u32, EpochFees> = self.epochs.iter().map(|(epoch, fees)| (*epoch, *fees)).collect();
        to.store_dict(32, store_fees, epochs)?;
        store_amounts(&mut to, [self.vesting.free, self.vesting.locked])?;
        to.store_u32(32, self.vesting.since_s)?.store_u32(32, self.vesting.until_s)?;
        Ok(to.build()?)
    }

    fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let (credit, last_claim, is_pending) = (load_amount(&mut from)?, from.load_u64(64)?, from.load_bit()?);
        let epochs = from.load_dict(32, key_reader_u32, load_fees)?.into_iter().collect();
        let [free, locked] = load_amounts(&mut from)?;
        let vesting = Vesting { free, locked, since_s: from.load_u32(32)?, until_s: from.load_u32(32)? };
        from.ensure_empty()?;
        Ok(Self { credit, last_claim, is_pending, epochs, vesting })
    }
}

fn store_fees(to: &mut CellBuilder, fees: EpochFees) -> Result<(), TonCellError> {
    write_amounts(to, [fees.booked, fees.claimed, fees.part])
}

fn load_fees(from: &mut CellParser<'_>) -> Result<EpochFees, TonCellError> {
    read_amounts(from).map(|[booked, claimed, part]| EpochFees { booked, claimed, part })
}

impl ProviderData {
    /// As it is deployed.
    pub fn new(terms: ProviderTerms) -> Self {
        Self {
            number: 0,
            batch: 0,
            outstanding: 0,
            earnings: Amount::ZERO,
            fees: Amount::ZERO,
            fees_cum: Amount::ZERO,
            claims: 0,
            claims_head: Digest([0; 32]),
            epoch: Epoch::default(),
            closed: ClosedEpoch::default(),
            operator: terms.operator,
            stake: Stake::default(),
            poke: None,
            answer_by_s: 0,
            rewards: Rewards::default(),
            terms,
        }
    }

    /// As the contract stores it.
    ///
    /// # Errors
    /// [`CellError`] for an amount that TON cannot hold.
    pub fn to_cell(&self) -> Result<ArcCell, CellError> {
        let mut to = CellBuilder::new();
        to.store_u32(32, self.number)?.store_u32(32, self.batch)?.store_u16(16, self.outstanding)?;
        to.store_u16(16, self.terms.network.fee_bps)?;
        store_amounts(&mut to, [self.earnings, self.fees, self.fees_cum])?;
        to.store_u64(64, self.claims)?.store_slice(self.claims_head.as_bytes())?.store_u32(32, self.epoch.ends_s)?;
        store_amount(&mut to, self.epoch.paid)?;
        to.store_child(self.closed_cell()?)?.store_child(self.stake_cell()?)?;
        to.store_child(self.rewards.to_cell()?)?.store_child(self.terms.to_cell()?)?;
        Ok(to.build()?.to_arc())
    }

    fn closed_cell(&self) -> Result<Cell, CellError> {
        let mut to = CellBuilder::new();
        to.store_u32(32, self.closed.ended_s)?;
        store_amounts(&mut to, [self.closed.paid, self.closed.backed])?;
        Ok(to.build()?)
    }

    fn stake_cell(&self) -> Result<Cell, CellError> {
        let mut to = CellBuilder::new();
        to.store_slice(self.operator.as_bytes())?;
        store_amounts(&mut to, [self.stake.total, self.stake.allocated, self.stake.unbonding])?;
        to.store_u32(32, self.stake.unbond_at_s)?;
        store_amount(&mut to, self.stake.bond)?;
        let mut poke = CellBuilder::new();
        poke.store_slice(nobody_or(self.poke).as_bytes())?.store_u32(32, self.answer_by_s)?;
        to.store_child(poke.build()?)?;
        Ok(to.build()?)
    }

    /// Reads an account's data.
    ///
    /// # Errors
    /// [`CellError`] when no provider's contract stores such a cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let (number, batch, outstanding) = (from.load_u32(32)?, from.load_u32(32)?, from.load_u16(16)?);
        let fee_bps = from.load_u16(16)?;
        let [earnings, fees, fees_cum] = load_amounts(&mut from)?;
        let (claims, claims_head) = (from.load_u64(64)?, Digest(load_32(&mut from)?));
        let epoch = Epoch { ends_s: from.load_u32(32)?, paid: load_amount(&mut from)? };
        let closed = closed_of(&*from.next_reference()?)?;
        let (operator, stake, poke, answer_by_s) = stake_of(&*from.next_reference()?)?;
        let rewards = Rewards::from_cell(&*from.next_reference()?)?;
        let terms = ProviderTerms::from_cell(&*from.next_reference()?)?;
        from.ensure_empty()?;
        if fee_bps != terms.network.fee_bps {
            return Err(CellError::Value("fee_bps"));
        }
        Ok(Self {
            number,
            batch,
            outstanding,
            earnings,
            fees,
            fees_cum,
            claims,
            claims_head,
            epoch,
            closed,
            operator,
            stake,
            poke,
            answer_by_s,
            rewards,
            terms,
        })
    }

    /// What the account holds for others or for good; what is above it is the operations balance, which batches are paid from.
    pub fn liabilities(&self) -> Amount {
        let poke = if self.poke.is_some() { POKE_PRICE } else { Amount::ZERO };
        let held = [self.stake.total, self.stake.bond, self.earnings, self.fees, poke, STORAGE_RESERVE];
        Amount::sum(held).unwrap_or(Amount::MAX)
    }

    /// What batches are paid from, in an account that holds `balance`.
    pub fn operations(&self, balance: Amount) -> Amount {
        balance.saturating_sub(self.liabilities())
    }
}

fn closed_of(cell: &Cell) -> Result<ClosedEpoch, CellError> {
    let mut from = cell.parser();
    let closed = ClosedEpoch { ended_s: from.load_u32(32)?, paid: load_amount(&mut from)?, backed: load_amount(&mut from)? };
    from.ensure_empty()?;
    Ok(closed)
}

fn stake_of(cell: &Cell) -> Result<(NodeId, Stake, Option<ContractAddress>, u32), CellError> {
    let mut from = cell.parser();
    let operator = NodeId(load_32(&mut from)?);
    let stake = Stake {
        total: load_amount(&mut from)?,
        allocated: load_amount(&mut from)?,
        unbonding: load_amount(&mut from)?,
        unbond_at_s: from.load_u32(32)?,
        bond: load_amount(&mut from)?,
    };
    let poke = from.next_reference()?;
    from.ensure_empty()?;
    let mut poke = poke.parser();
    let (by, answer_by_s) = (load_32(&mut poke)?, poke.load_u32(32)?);
    poke.ensure_empty()?;
    Ok((operator, stake, account_or_nobody(by), answer_by_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_and_the_prices_are_the_contracts() {
        let source = include_str!("../../contracts/provider-storage.tolk");
        for (name, amount) in [("STORAGE_RESERVE", STORAGE_RESERVE), ("POKE_PRICE", POKE_PRICE), ("POKE_PENALTY", POKE_PENALTY)] {
            assert!(source.contains(&format!("const {name} = ton(\"{amount}\")")), "{name}");
        }
    }
}
