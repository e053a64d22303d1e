//! The rewards' terms, address, messages and stored data.

use std::collections::{BTreeMap, HashMap};

use cocoon_market::ids::Digest;
use cocoon_market::{Amount, ContractAddress, NetworkId};
use tonlib_core::cell::dict::predefined_readers::key_reader_u32;
use tonlib_core::cell::{ArcCell, Cell, CellBuilder, CellParser, TonCellError};

use super::cells::{
    CellError, NOBODY, account_or_nobody, hash_of, load_32, load_account_hash, load_amounts, load_cells, load_i32, nobody_or, read_amounts,
    store_amounts, store_cells, write_amounts,
};
use super::code::Contract;
use super::message::{QueryId, begun};
use super::provider::NetworkTerms;
use crate::economy::emission::{Emission, Schedule};
use crate::economy::genesis;

const OP_INTRODUCE: u32 = 0x4352_0005;

/// What the contract for rewards is deployed with. Its address is a hash over it and the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewardsTerms {
    /// The chain.
    pub network: NetworkId,
    /// Who says, once, whom it works with.
    pub founder: ContractAddress,
    /// Epochs at the first rate that release half of the reserve.
    pub half_life: u32,
    /// Commitment of the auditors' keys; zero when nobody is listed.
    pub commitment: Digest,
    /// Verifying keys by circuit, which votes replace.
    pub keys: BTreeMap<u8, ArcCell>,
}

/// Whom the rewards work with: the founder says so, because their addresses depend on that of the rewards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewardsIntroduction {
    /// What is the same for all providers of the network, its vault included.
    pub providers: NetworkTerms,
    /// Who sends keys.
    pub registry: ContractAddress,
    /// Who stops payouts.
    pub governor: ContractAddress,
    /// Whose jettons are paid.
    pub minter: ContractAddress,
}

/// What the contract for rewards stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewardsData {
    /// The halving schedule's state.
    pub emission: Emitted,
    /// COCOON that auctions ever burned.
    pub burned: Amount,
    /// Promised by closed epochs and not yet sent.
    pub owed: Amount,
    /// Nothing is registered or paid until then, in seconds since the Unix epoch.
    pub stopped_until_s: u32,
    /// Claims for the fees of the epoch that was sold last; none before the first.
    pub claims: Option<Claims>,
    /// By the vault's epochs.
    pub payouts: BTreeMap<u32, Payout>,
    /// Commitment of the auditors' keys.
    pub commitment: Digest,
    /// Verifying keys by circuit.
    pub keys: BTreeMap<u8, ArcCell>,
    /// Who may still say whom it works with; none when that is done.
    pub founder: Option<ContractAddress>,
    /// The chain.
    pub network: NetworkId,
    /// Epochs at the first rate that release half of the reserve.
    pub half_life: u32,
    /// Whom it works with, once that was said.
    pub known: Known,
}

/// Where the halving schedule is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Emitted {
    /// Epochs that are closed.
    pub epoch: u32,
    /// What they paid, in COCOON.
    pub released: Amount,
    /// What they could have paid and did not.
    pub rollover: Amount,
    /// The most that can have been released by the end of the open epoch.
    pub ceiling: Amount,
}

/// Claims for an epoch's fees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The vault's epoch.
    pub epoch: u32,
    /// Its fees, in TON.
    pub fees: Amount,
    /// What they are worth at most, in COCOON.
    pub valued: Amount,
    /// What of the fees was claimed for.
    pub claimed: Amount,
    /// What that is worth.
    pub registered: Amount,
}

/// What the claims of an epoch are paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payout {
    /// All of them together.
    pub paid: Amount,
    /// What they were worth.
    pub registered: Amount,
    /// What nobody asked for yet.
    pub left: Amount,
}

/// Whom the rewards work with; zero before they were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Hash of what is the same for all providers of the network.
    pub providers: Digest,
    /// The network fee that providers' contracts are deployed with, in basis points.
    pub fee_bps: u16,
    /// Who says what an epoch's fees fetched.
    pub vault: ContractAddress,
    /// Who sends keys.
    pub registry: ContractAddress,
    /// Who stops payouts.
    pub governor: ContractAddress,
    /// Whose jettons are paid.
    pub minter: ContractAddress,
}

impl Default for Known {
    fn default() -> Self {
        Self { providers: Digest([0; 32]), fee_bps: 0, vault: NOBODY, registry: NOBODY, governor: NOBODY, minter: NOBODY }
    }
}

impl RewardsTerms {
    /// The `StateInit` that deploys it.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`], and for a half-life of which no epoch could pay anything.
    pub fn state_init(&self) -> Result<ArcCell, CellError> {
        Contract::Rewards.state_init(&RewardsData::new(self.clone())?.to_cell()?)
    }

    /// Where it lives.
    ///
    /// # Errors
    /// As for [`Self::state_init`].
    pub fn address(&self) -> Result<ContractAddress, CellError> {
        Ok(ContractAddress(hash_of(&*self.state_init()?)))
    }
}

impl RewardsIntroduction {
    /// The body of the founder's message.
    ///
    /// # Errors
    /// [`CellError`] never, for the layout is fixed.
    pub fn to_cell(&self, query: QueryId) -> Result<ArcCell, CellError> {
        let mut to = begun(OP_INTRODUCE, query)?;
        to.store_slice(self.providers.hash()?.as_bytes())?.store_u16(16, self.providers.fee_bps)?;
        to.store_child(whom_cell(self.providers.vault, self.registry, self.governor, self.minter)?)?;
        Ok(to.build()?.to_arc())
    }
}

fn whom_cell(
    vault: ContractAddress,
    registry: ContractAddress,
    governor: ContractAddress,
    minter: ContractAddress,
) -> Result<Cell, CellError> {
    let mut rest = CellBuilder::new();
    rest.store_slice(governor.as_bytes())?.store_slice(minter.as_bytes())?;
    let mut to = CellBuilder::new();
    to.store_slice(vault.as_bytes())?.store_slice(registry.as_bytes())?.store_child(rest.build()?)?;
    Ok(to.build()?)
}

impl RewardsData {
    /// As it is deployed.
    ///
    /// # Errors
    /// [`CellError::Value`] for a half-life of which no epoch could pay anything.
    pub fn new(terms: RewardsTerms) -> Result<Self, CellError> {
        let schedule = Schedule::new(genesis::RESERVE, terms.half_life).ok_or(CellError::Value("half-life"))?;
        Ok(Self {
            emission: Emitted { ceiling: schedule.first_rate(), ..Emitted::default() },
            burned: Amount::ZERO,
            owed: Amount::ZERO,
            stopped_until_s: 0,
            claims: None,
            payouts: BTreeMap::new(),
            commitment: terms.commitment,
            keys: terms.keys,
            founder: Some(terms.founder),
            network: terms.network,
            half_life: terms.half_life,
            known: Known::default(),
        })
    }

    /// The halving schedule as this contract follows it.
    ///
    /// # Errors
    /// [`CellError::Value`] for a half-life of which no epoch could pay anything.
    pub fn schedule(&self) -> Result<Emission, CellError> {
        let schedule = Schedule::new(genesis::RESERVE, self.half_life).ok_or(CellError::Value("half-life"))?;
        let Emitted { epoch, released, rollover, .. } = self.emission;
        Ok(Emission::resumed(schedule, epoch.into(), released, rollover))
    }

    /// As the contract stores it.
    ///
    /// # Errors
    /// [`CellError`] for an amount that TON cannot hold.
    pub fn to_cell(&self) -> Result<ArcCell, CellError> {
        let mut to = CellBuilder::new();
        to.store_u32(32, self.emission.epoch)?;
        store_amounts(&mut to, [self.emission.released, self.emission.rollover, self.emission.ceiling, self.burned, self.owed])?;
        to.store_u32(32, self.stopped_until_s)?;
        to.store_child(self.claims_cell()?)?;
        let payouts: HashMap<u32, Payout> = self.payouts.iter().map(|(epoch, payout)| (*epoch, *payout)).collect();
        to.store_dict(32, store_payout, payouts)?;
        let mut keys = CellBuilder::new();
        keys.store_slice(self.commitment.as_bytes())?;
        store_cells(&mut keys, &self.keys)?;
        to.store_child(keys.build()?)?.store_child(self.known_cell()?)?;
        Ok(to.build()?.to_arc())
    }

    fn claims_cell(&self) -> Result<Cell, CellError> {
        let claims = self.claims.unwrap_or_default();
        let mut to = CellBuilder::new();
        to.store_bit(self.claims.is_some())?.store_u32(32, claims.epoch)?;
        store_amounts(&mut to, [claims.fees, claims.valued, claims.claimed, claims.registered])?;
        Ok(to.build()?)
    }

    fn known_cell(&self) -> Result<Cell, CellError> {
        let known = self.known;
        let mut to = CellBuilder::new();
        to.store_slice(nobody_or(self.founder).as_bytes())?
            .store_slice(&self.network.0.to_be_bytes())?
            .store_u32(32, self.half_life)?
            .store_slice(known.providers.as_bytes())?
            .store_u16(16, known.fee_bps)?
            .store_child(whom_cell(known.vault, known.registry, known.governor, known.minter)?)?;
        Ok(to.build()?)
    }

    /// Reads an account's data.
    ///
    /// # Errors
    /// [`CellError`] when no contract for rewards stores such a cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let epoch = from.load_u32(32)?;
        let [released, rollover, ceiling, burned, owed] = load_amounts(&mut from)?;
        let stopped_until_s = from.load_u32(32)?;
        let claims = claims_of(&*from.next_reference()?)?;
        let payouts = from.load_dict(32, key_reader_u32, load_payout)?.into_iter().collect();
        let (commitment, keys) = keys_of(&*from.next_reference()?)?;
        let (founder, network, half_life, known) = known_of(&*from.next_reference()?)?;
        from.ensure_empty()?;
        let emission = Emitted { epoch, released, rollover, ceiling };
        Ok(Self { emission, burned, owed, stopped_until_s, claims, payouts, commitment, keys, founder, network, half_life, known })
    }
}

fn store_payout(to: &mut CellBuilder, payout: Payout) -> Result<(), TonCellError> {
    write_amounts(to, [payout.paid, payout.registered, payout.left])
}

fn load_payout(from: &mut CellParser<'_>) -> Result<Payout, TonCellError> {
    read_amounts(from).map(|[paid, registered, left]| Payout { paid, registered, left })
}

fn claims_of(cell: &Cell) -> Result<Option<Claims>, CellError> {
    let mut from = cell.parser();
    let (is_open, epoch) = (from.load_bit()?, from.load_u32(32)?);
    let [fees, valued, claimed, registered] = load_amounts(&mut from)?;
    from.ensure_empty()?;
    Ok(is_open.then_some(Claims { epoch, fees, valued, claimed, registered }))
}

fn keys_of(cell: &Cell) -> Result<(Digest, BTreeMap<u8, ArcCell>), CellError> {
    let mut from = cell.parser();
    let keys = (Digest(load_32(&mut from)?), load_cells(&mut from)?);
    from.ensure_empty()?;
    Ok(keys)
}

fn known_of(cell: &Cell) -> Result<(Option<ContractAddress>, NetworkId, u32, Known), CellError> {
    let mut from = cell.parser();
    let founder = account_or_nobody(load_32(&mut from)?);
    let (network, half_life) = (NetworkId(load_i32(&mut from)?), from.load_u32(32)?);
    let (providers, fee_bps) = (Digest(load_32(&mut from)?), from.load_u16(16)?);
    let whom = from.next_reference()?;
    from.ensure_empty()?;
    let mut whom = whom.parser();
    let (vault, registry) = (load_account_hash(&mut whom)?, load_account_hash(&mut whom)?);
    let rest = whom.next_reference()?;
    whom.ensure_empty()?;
    let mut rest = rest.parser();
    let (governor, minter) = (load_account_hash(&mut rest)?, load_account_hash(&mut rest)?);
    rest.ensure_empty()?;
    Ok((founder, network, half_life, Known { providers, fee_bps, vault, registry, governor, minter }))
}
