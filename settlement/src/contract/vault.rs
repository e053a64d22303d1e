//! The vault's terms, address and stored data.

use cocoon_market::{Amount, ContractAddress, NetworkId};
use tonlib_core::cell::{ArcCell, Cell, CellBuilder};

use super::cells::{CellError, hash_of, load_32, load_amount, load_amounts, load_i32, store_amount, store_amounts};
use super::code::Contract;
use crate::economy::auction::{Auction, RECORDED, Rate, Recorded};
use crate::economy::parameter::Parameter;

/// COCOON for a whole TON, as if every auction before the first had cleared at it: 50. Where the market is elsewhere, bids say so, and what
/// is recorded follows by a tenth an epoch.
const OPENING_RATE: Amount = Amount::from_nano(50 * cocoon_market::amount::NANO);

/// What is fixed for a vault. Its address is a hash over it and the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultTerms {
    /// The chain.
    pub network: NetworkId,
    /// Who gets the treasury's share.
    pub treasury: ContractAddress,
    /// Who sets what a vote can change.
    pub registry: ContractAddress,
    /// The minter of COCOON.
    pub minter: ContractAddress,
    /// Who is told what every epoch's fees fetched.
    pub rewards: ContractAddress,
    /// How long an epoch is at least, in seconds.
    pub epoch_s: u32,
}

impl VaultTerms {
    /// The `StateInit` that deploys it.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn state_init(&self) -> Result<ArcCell, CellError> {
        Contract::Vault.state_init(&VaultData::new(*self)?.to_cell()?)
    }

    /// Where it lives.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn address(&self) -> Result<ContractAddress, CellError> {
        Ok(ContractAddress(hash_of(&*self.state_init()?)))
    }

    fn to_cell(self) -> Result<Cell, CellError> {
        let mut token = CellBuilder::new();
        token.store_slice(self.minter.as_bytes())?.store_slice(self.rewards.as_bytes())?;
        let mut to = CellBuilder::new();
        to.store_slice(self.treasury.as_bytes())?
            .store_slice(self.registry.as_bytes())?
            .store_slice(&self.network.0.to_be_bytes())?
            .store_u32(32, self.epoch_s)?
            .store_child(token.build()?)?;
        Ok(to.build()?)
    }

    fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let (treasury, registry) = (ContractAddress(load_32(&mut from)?), ContractAddress(load_32(&mut from)?));
        let (network, epoch_s) = (NetworkId(load_i32(&mut from)?), from.load_u32(32)?);
        let token = from.next_reference()?;
        from.ensure_empty()?;
        let mut token = token.parser();
        let (minter, rewards) = (ContractAddress(load_32(&mut token)?), ContractAddress(load_32(&mut token)?));
        token.ensure_empty()?;
        Ok(Self { network, treasury, registry, minter, rewards, epoch_s })
    }
}

/// What a vault stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultData {
    /// Waits for the auction that opens when the epoch ends.
    pub burn: Amount,
    /// What of the lot on sale was not bought.
    pub unsold: Amount,
    /// Waits for the auditors.
    pub auditors: Amount,
    /// Waits for the treasury.
    pub treasury: Amount,
    /// All fees that ever came.
    pub fees_cum: Amount,
    /// The epoch that is open.
    pub epoch: VaultEpoch,
    /// Of a fee, in basis points.
    pub auditors_bps: u16,
    /// Of a fee, in basis points.
    pub treasury_bps: u16,
    /// The auction of the last epoch's fees.
    pub auction: Sale,
    /// What is fixed.
    pub terms: VaultTerms,
}

/// The vault's open epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VaultEpoch {
    /// Its number.
    pub number: u32,
    /// When it was opened, and with it the auction, in seconds since the Unix epoch.
    pub opened_s: u32,
    /// Fees that can be rewarded, in TON.
    pub fees: Amount,
}

/// The auction of an epoch's fees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sale {
    /// Fees of that epoch, in TON.
    pub fees: Amount,
    /// What of the lot comes of them.
    pub own: Amount,
    /// TON on sale.
    pub lot: Amount,
    /// COCOON that was paid.
    pub paid: Amount,
    /// COCOON that was paid, here or for fees, and not yet destroyed.
    pub unburned: Amount,
    /// How long it is open.
    pub duration_s: u32,
    /// How long the next one will be.
    pub next_duration_s: u32,
    /// How much less a fee costs in COCOON, in basis points.
    pub discount_bps: u16,
    /// The last rates.
    pub recorded: Recorded,
}

impl Sale {
    fn new() -> Result<Self, CellError> {
        let start = |parameter: Parameter| parameter.bounds().start;
        Ok(Self {
            fees: Amount::ZERO,
            own: Amount::ZERO,
            lot: Amount::ZERO,
            paid: Amount::ZERO,
            unburned: Amount::ZERO,
            duration_s: 0,
            next_duration_s: u32::try_from(start(Parameter::AuctionSeconds)).map_err(|_| CellError::Value("seconds"))?,
            discount_bps: bps(start(Parameter::DiscountBps))?,
            recorded: Recorded::new(Rate::new(OPENING_RATE).ok_or(CellError::Value("rate"))?),
        })
    }

    fn to_cell(self) -> Result<Cell, CellError> {
        let mut rates = CellBuilder::new();
        store_amounts(&mut rates, self.recorded.0.map(Rate::per_ton))?;
        let mut to = CellBuilder::new();
        store_amounts(&mut to, [self.fees, self.own, self.lot, self.paid, self.unburned])?;
        to.store_u32(32, self.duration_s)?.store_u32(32, self.next_duration_s)?.store_u16(16, self.discount_bps)?;
        to.store_child(rates.build()?)?;
        store_amount(&mut to, self.recorded.median().per_ton())?;
        Ok(to.build()?)
    }

    fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let [fees, own, lot, paid, unburned] = load_amounts(&mut from)?;
        let (duration_s, next_duration_s, discount_bps) = (from.load_u32(32)?, from.load_u32(32)?, from.load_u16(16)?);
        let recorded = recorded_of(&*from.next_reference()?)?;
        if load_amount(&mut from)? != recorded.median().per_ton() {
            return Err(CellError::Value("median"));
        }
        from.ensure_empty()?;
        Ok(Self { fees, own, lot, paid, unburned, duration_s, next_duration_s, discount_bps, recorded })
    }
}

fn recorded_of(cell: &Cell) -> Result<Recorded, CellError> {
    let mut from = cell.parser();
    let rates = load_amounts::<RECORDED>(&mut from)?;
    from.ensure_empty()?;
    Recorded::of(rates).ok_or(CellError::Value("rate"))
}

fn bps(value: u64) -> Result<u16, CellError> {
    u16::try_from(value).map_err(|_| CellError::Value("basis points"))
}

impl VaultData {
    /// A vault as it is deployed.
    ///
    /// # Errors
    /// [`CellError`] never, for the parameters' starts fit.
    pub fn new(terms: VaultTerms) -> Result<Self, CellError> {
        Ok(Self {
            burn: Amount::ZERO,
            unsold: Amount::ZERO,
            auditors: Amount::ZERO,
            treasury: Amount::ZERO,
            fees_cum: Amount::ZERO,
            epoch: VaultEpoch::default(),
            auditors_bps: bps(Parameter::AuditorsBps.bounds().start)?,
            treasury_bps: bps(Parameter::TreasuryBps.bounds().start)?,
            auction: Sale::new()?,
            terms,
        })
    }

    /// From when the open epoch can be closed, in seconds since the Unix epoch.
    pub fn closes_s(&self) -> u64 {
        u64::from(self.epoch.opened_s).saturating_add(self.terms.epoch_s.into())
    }

    /// The auction that is open, or was last: what was sold is gone, and the rest is sold as a lot of its own would be.
    pub fn auction_now(&self) -> Auction {
        Auction::open(self.unsold, self.auction.recorded.last(), self.epoch.opened_s.into(), self.auction.duration_s)
    }

    /// As the contract stores it.
    ///
    /// # Errors
    /// [`CellError`] for an amount that TON cannot hold.
    pub fn to_cell(&self) -> Result<ArcCell, CellError> {
        let mut to = CellBuilder::new();
        store_amounts(&mut to, [self.burn, self.unsold, self.auditors, self.treasury, self.fees_cum, self.epoch.fees])?;
        to.store_u32(32, self.epoch.number)?.store_u32(32, self.epoch.opened_s)?;
        to.store_u16(16, self.auditors_bps)?.store_u16(16, self.treasury_bps)?;
        to.store_child(self.auction.to_cell()?)?.store_child(self.terms.to_cell()?)?;
        Ok(to.build()?.to_arc())
    }

    /// Reads an account's data.
    ///
    /// # Errors
    /// [`CellError`] when no vault stores such a cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let [burn, unsold, auditors, treasury, fees_cum, fees] = load_amounts(&mut from)?;
        let epoch = VaultEpoch { number: from.load_u32(32)?, opened_s: from.load_u32(32)?, fees };
        let (auditors_bps, treasury_bps) = (from.load_u16(16)?, from.load_u16(16)?);
        let auction = Sale::from_cell(&*from.next_reference()?)?;
        let terms = VaultTerms::from_cell(&*from.next_reference()?)?;
        from.ensure_empty()?;
        Ok(Self { burn, unsold, auditors, treasury, fees_cum, epoch, auditors_bps, treasury_bps, auction, terms })
    }
}
