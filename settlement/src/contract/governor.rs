//! The governor's terms, address, messages and stored data, and what is voted on.

use std::collections::{BTreeMap, HashMap};

use cocoon_market::ids::Digest;
use cocoon_market::{Amount, ContractAddress, NetworkId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tonlib_core::cell::dict::predefined_readers::key_reader_u32;
use tonlib_core::cell::{ArcCell, BagOfCells, Cell, CellBuilder, CellParser, TonCellError};

use super::cells::{
    CellError, NOBODY, account_or_nobody, from_base64, hash_of, load_32, load_account_hash, load_amount, load_amounts, load_i32, nobody_or,
    read_amounts, store_amount, store_amounts, to_base64, write_amounts,
};
use super::code::Contract;
use super::message::{QueryId, begun};
use crate::economy::locks::Locks;
use crate::economy::parameter::Weight;
use crate::economy::votes::Proposal;

const OP_LOCK: u32 = 0x4347_0001;
const OP_INTRODUCE: u32 = 0x4347_0002;
const OP_EXECUTE: u32 = 0x4347_0003;
const OP_STOP: u32 = 0x4347_0004;
const OP_PROPOSAL: u32 = 0x4347_0013;
const OP_SET_PARAMETER: u32 = 0x4347_2001;
const OP_SET_KEY: u32 = 0x4347_2002;
const OP_SET_AUDITORS: u32 = 0x4347_2003;
const OP_SET_STANDARDS: u32 = 0x4347_2004;
const OP_SPEND_COCOON: u32 = 0x4347_2005;
const OP_SPEND_TON: u32 = 0x4347_2006;

/// What is fixed for a governor. Its address is a hash over it and the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GovernorTerms {
    /// The chain.
    pub network: NetworkId,
    /// Who says, once, whom it works with.
    pub founder: ContractAddress,
    /// Whose jettons are locked.
    pub minter: ContractAddress,
    /// Who may stop payouts for a while.
    pub guardian: ContractAddress,
    /// When the treasury's vesting starts, in seconds since the Unix epoch.
    pub start_s: u32,
}

/// What a governor stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GovernorData {
    /// The number of the next proposal.
    pub next: u32,
    /// When the emergency stop was pulled last, in seconds since the Unix epoch; 0 if never.
    pub stopped_s: u32,
    /// COCOON that belongs to owners of locks.
    pub locked: Amount,
    /// COCOON of the treasury that was spent.
    pub spent: Amount,
    /// What ends in each week.
    pub weeks: BTreeMap<u32, Amount>,
    /// What is voted on, or was lately.
    pub proposals: BTreeMap<u32, Decision>,
    /// Who may still say whom it works with; none when that is done.
    pub founder: Option<ContractAddress>,
    /// Who keeps what was decided; zero before the introduction.
    pub registry: ContractAddress,
    /// Who is stopped; zero before the introduction.
    pub rewards: ContractAddress,
    /// The chain.
    pub network: NetworkId,
    /// Whose jettons are locked.
    pub minter: ContractAddress,
    /// Who may stop payouts for a while.
    pub guardian: ContractAddress,
    /// When the treasury's vesting starts, in seconds since the Unix epoch.
    pub start_s: u32,
}

/// A proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How much it matters: 0 tunes, 1 moves money, 2 says what is believed.
    pub class: u8,
    /// Whether it was carried out.
    pub is_done: bool,
    /// When it was made, in seconds since the Unix epoch.
    pub proposed_s: u32,
    /// The weight of all locks then.
    pub all: Amount,
    /// For it.
    pub yes: Amount,
    /// Against it.
    pub no: Amount,
    /// Hash of the action.
    pub action: Digest,
}

/// What is voted on. In text it is its cell, in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Changes a parameter.
    SetParameter {
        /// Which, by [`Parameter::place`](crate::economy::parameter::Parameter::place).
        which: u8,
        /// To what.
        value: u64,
    },
    /// Replaces the verifying key of a circuit.
    SetVerifyingKey {
        /// Which circuit.
        circuit: u8,
        /// The key's points.
        key: ArcCell,
    },
    /// Names the auditors.
    SetAuditors {
        /// Hash of their list.
        list: Digest,
        /// Its commitment.
        commitment: Digest,
    },
    /// Names the models and nodes that are believed, by the hash of a document.
    SetStandards(Digest),
    /// Spends COCOON of the treasury.
    SpendCocoon {
        /// Who gets it.
        to: ContractAddress,
        /// How much.
        amount: Amount,
    },
    /// Spends TON of the treasury.
    SpendTon {
        /// Who gets it.
        to: ContractAddress,
        /// How much.
        amount: Amount,
    },
}

/// What a governor can be told, beside what locks tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GovernorMessage {
    /// Whom it works with: from its founder, once.
    Introduce {
        /// Who keeps what was decided.
        registry: ContractAddress,
        /// Who is stopped.
        rewards: ContractAddress,
    },
    /// Carry out what was decided: from anybody.
    Execute {
        /// Which proposal.
        number: u32,
        /// What was voted on.
        action: Action,
    },
    /// Stop payouts for a while: from the guardian.
    Stop,
}

impl Decision {
    /// As the machine has it.
    ///
    /// # Errors
    /// [`CellError::Value`] for a class that no governor gives.
    pub fn proposal(&self) -> Result<Proposal, CellError> {
        let weight = match self.class {
            0 => Weight::Tuning,
            1 => Weight::Money,
            2 => Weight::Constitution,
            _ => return Err(CellError::Value("class")),
        };
        let Self { is_done, proposed_s, all, yes, no, .. } = *self;
        Ok(Proposal::resumed(weight, proposed_s, all, (yes, no), is_done))
    }
}

impl GovernorTerms {
    /// The `StateInit` that deploys it.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn state_init(&self) -> Result<ArcCell, CellError> {
        Contract::Governor.state_init(&GovernorData::new(*self).to_cell()?)
    }

    /// Where it lives.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn address(&self) -> Result<ContractAddress, CellError> {
        Ok(ContractAddress(hash_of(&*self.state_init()?)))
    }
}

/// What a transfer of COCOON to the governor tells it: lock what comes, until that week begins.
///
/// # Errors
/// [`CellError`] never, for it fits.
pub fn lock_payload(ends_week: u32) -> Result<ArcCell, CellError> {
    let mut to = CellBuilder::new();
    to.store_u32(32, OP_LOCK)?.store_u32(32, ends_week)?;
    Ok(to.build()?.to_arc())
}

impl Action {
    /// Its cell, whose hash is voted on.
    ///
    /// # Errors
    /// [`CellError`] for an amount that TON cannot hold.
    pub fn to_cell(&self) -> Result<ArcCell, CellError> {
        let mut to = CellBuilder::new();
        match self {
            Self::SetParameter { which, value } => {
                to.store_u32(32, OP_SET_PARAMETER)?.store_u8(8, *which)?.store_u64(64, *value)?;
            }
            Self::SetVerifyingKey { circuit, key } => {
                to.store_u32(32, OP_SET_KEY)?.store_u8(8, *circuit)?.store_reference(key)?;
            }
            Self::SetAuditors { list, commitment } => {
                to.store_u32(32, OP_SET_AUDITORS)?.store_slice(list.as_bytes())?.store_slice(commitment.as_bytes())?;
            }
            Self::SetStandards(hash) => {
                to.store_u32(32, OP_SET_STANDARDS)?.store_slice(hash.as_bytes())?;
            }
            Self::SpendCocoon { to: whom, amount } => store_payment(&mut to, OP_SPEND_COCOON, *whom, *amount)?,
            Self::SpendTon { to: whom, amount } => store_payment(&mut to, OP_SPEND_TON, *whom, *amount)?,
        }
        Ok(to.build()?.to_arc())
    }

    /// Reads an action.
    ///
    /// # Errors
    /// [`CellError`] when it is none.
    pub fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let action = match from.load_u32(32)? {
            OP_SET_PARAMETER => Self::SetParameter { which: from.load_u8(8)?, value: from.load_u64(64)? },
            OP_SET_KEY => Self::SetVerifyingKey { circuit: from.load_u8(8)?, key: from.next_reference()? },
            OP_SET_AUDITORS => Self::SetAuditors { list: Digest(load_32(&mut from)?), commitment: Digest(load_32(&mut from)?) },
            OP_SET_STANDARDS => Self::SetStandards(Digest(load_32(&mut from)?)),
            OP_SPEND_COCOON => Self::SpendCocoon { to: load_account_hash(&mut from)?, amount: load_amount(&mut from)? },
            OP_SPEND_TON => Self::SpendTon { to: load_account_hash(&mut from)?, amount: load_amount(&mut from)? },
            _ => return Err(CellError::Value("opcode")),
        };
        from.ensure_empty()?;
        Ok(action)
    }

    /// A new verifying key, from a bag of cells as files have it: as it is, or in base64.
    ///
    /// # Errors
    /// [`CellError`] when it is none, or has not one root.
    pub fn verifying_key(circuit: u8, file: &[u8]) -> Result<Self, CellError> {
        let text = std::str::from_utf8(file).ok().map(str::trim);
        let key = match text.and_then(|text| from_base64(text).ok()) {
            Some(key) => key,
            None => BagOfCells::parse(file)?.single_root()?,
        };
        Ok(Self::SetVerifyingKey { circuit, key })
    }

    /// The action in what a lock tells its governor of a proposal; none where a body is something else.
    pub fn proposed(body: &Cell) -> Option<Self> {
        let mut from = body.parser();
        if from.load_u32(32).ok()? != OP_PROPOSAL {
            return None;
        }
        Self::from_cell(body.references().first()?).ok()
    }

    /// What proposals name it by.
    ///
    /// # Errors
    /// As for [`Self::to_cell`].
    pub fn hash(&self) -> Result<Digest, CellError> {
        Ok(Digest(hash_of(&*self.to_cell()?)))
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.to_cell().and_then(|cell| to_base64(&cell)).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_base64(&text).and_then(|cell| Self::from_cell(&cell)).map_err(serde::de::Error::custom)
    }
}

fn store_payment(to: &mut CellBuilder, opcode: u32, whom: ContractAddress, amount: Amount) -> Result<(), CellError> {
    to.store_u32(32, opcode)?.store_slice(whom.as_bytes())?;
    store_amount(to, amount)
}

impl GovernorMessage {
    /// The body of the internal message.
    ///
    /// # Errors
    /// [`CellError`] as for [`Action::to_cell`].
    pub fn to_cell(&self, query: QueryId) -> Result<ArcCell, CellError> {
        let mut to = match self {
            Self::Introduce { registry, rewards } => {
                let mut to = begun(OP_INTRODUCE, query)?;
                to.store_slice(registry.as_bytes())?.store_slice(rewards.as_bytes())?;
                to
            }
            Self::Execute { number, action } => {
                let mut to = begun(OP_EXECUTE, query)?;
                to.store_u32(32, *number)?.store_reference(&action.to_cell()?)?;
                to
            }
            Self::Stop => begun(OP_STOP, query)?,
        };
        Ok(to.build()?.to_arc())
    }
}

impl GovernorData {
    /// As it is deployed.
    pub fn new(terms: GovernorTerms) -> Self {
        Self {
            next: 0,
            stopped_s: 0,
            locked: Amount::ZERO,
            spent: Amount::ZERO,
            weeks: BTreeMap::new(),
            proposals: BTreeMap::new(),
            founder: Some(terms.founder),
            registry: NOBODY,
            rewards: NOBODY,
            network: terms.network,
            minter: terms.minter,
            guardian: terms.guardian,
            start_s: terms.start_s,
        }
    }

    /// All locks, as the machine has them.
    pub fn locks(&self) -> Locks {
        Locks::resumed(self.weeks.clone())
    }

    /// As the contract stores it.
    ///
    /// # Errors
    /// [`CellError`] for an amount that TON cannot hold.
    pub fn to_cell(&self) -> Result<ArcCell, CellError> {
        let mut to = CellBuilder::new();
        to.store_u32(32, self.next)?.store_u32(32, self.stopped_s)?;
        store_amounts(&mut to, [self.locked, self.spent])?;
        let weeks: HashMap<u32, Amount> = self.weeks.iter().map(|(week, amount)| (*week, *amount)).collect();
        to.store_dict(32, |to: &mut CellBuilder, amount| write_amounts(to, [amount]), weeks)?;
        let proposals: HashMap<u32, Decision> = self.proposals.iter().map(|(number, its)| (*number, *its)).collect();
        to.store_dict(32, store_decision, proposals)?;
        let mut known = CellBuilder::new();
        known
            .store_slice(nobody_or(self.founder).as_bytes())?
            .store_slice(self.registry.as_bytes())?
            .store_slice(self.rewards.as_bytes())?;
        let mut terms = CellBuilder::new();
        terms
            .store_slice(&self.network.0.to_be_bytes())?
            .store_slice(self.minter.as_bytes())?
            .store_slice(self.guardian.as_bytes())?
            .store_u32(32, self.start_s)?
            .store_reference(&Contract::Lock.code()?)?;
        to.store_child(known.build()?)?.store_child(terms.build()?)?;
        Ok(to.build()?.to_arc())
    }

    /// Reads an account's data.
    ///
    /// # Errors
    /// [`CellError`] when no governor stores such a cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let (next, stopped_s) = (from.load_u32(32)?, from.load_u32(32)?);
        let [locked, spent] = load_amounts(&mut from)?;
        let weeks = from.load_dict(32, key_reader_u32, |from| read_amounts(from).map(|[amount]| amount))?.into_iter().collect();
        let proposals = from.load_dict(32, key_reader_u32, load_decision)?.into_iter().collect();
        let (founder, registry, rewards) = known_of(&*from.next_reference()?)?;
        let (network, minter, guardian, start_s) = terms_of(&*from.next_reference()?)?;
        from.ensure_empty()?;
        Ok(Self { next, stopped_s, locked, spent, weeks, proposals, founder, registry, rewards, network, minter, guardian, start_s })
    }
}

fn known_of(cell: &Cell) -> Result<(Option<ContractAddress>, ContractAddress, ContractAddress), CellError> {
    let mut from = cell.parser();
    let founder = account_or_nobody(load_32(&mut from)?);
    let known = (founder, load_account_hash(&mut from)?, load_account_hash(&mut from)?);
    from.ensure_empty()?;
    Ok(known)
}

fn terms_of(cell: &Cell) -> Result<(NetworkId, ContractAddress, ContractAddress, u32), CellError> {
    let mut from = cell.parser();
    let network = NetworkId(load_i32(&mut from)?);
    let (minter, guardian) = (load_account_hash(&mut from)?, load_account_hash(&mut from)?);
    let start_s = from.load_u32(32)?;
    if hash_of(&*from.next_reference()?) != Contract::Lock.code_hash()? {
        return Err(CellError::Value("lock code"));
    }
    from.ensure_empty()?;
    Ok((network, minter, guardian, start_s))
}

fn store_decision(to: &mut CellBuilder, its: Decision) -> Result<(), TonCellError> {
    to.store_u8(8, its.class)?.store_bit(its.is_done)?.store_u32(32, its.proposed_s)?;
    write_amounts(to, [its.all, its.yes, its.no])?;
    to.store_slice(its.action.as_bytes())?;
    Ok(())
}

fn load_decision(from: &mut CellParser<'_>) -> Result<Decision, TonCellError> {
    let (class, is_done, proposed_s) = (from.load_u8(8)?, from.load_bit()?, from.load_u32(32)?);
    let [all, yes, no] = read_amounts(from)?;
    let mut action = [0u8; 32];
    from.load_slice(&mut action)?;
    Ok(Decision { class, is_done, proposed_s, all, yes, no, action: Digest(action) })
}
