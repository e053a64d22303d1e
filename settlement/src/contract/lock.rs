//! A lock's address, messages and stored data.

use std::collections::{BTreeMap, HashMap};

use cocoon_market::{Amount, ContractAddress};
use serde::{Deserialize, Serialize};
use tonlib_core::cell::dict::predefined_readers::key_reader_u32;
use tonlib_core::cell::{ArcCell, Cell, CellBuilder, CellParser, TonCellError};

use super::cells::{CellError, hash_of, load_account_hash, load_amounts, store_amounts};
use super::code::Contract;
use super::governor::Action;
use super::message::{QueryId, begun};
use crate::economy::locks::week_begins_s;

const OP_LENGTHEN: u32 = 0x434c_0001;
const OP_VOTE: u32 = 0x434c_0002;
const OP_PROPOSE: u32 = 0x434c_0003;
const OP_UNLOCK: u32 = 0x434c_0004;

/// In a lock's cells: not yet, neither counted nor heard.
const NOT_YET: u32 = u32::MAX;

/// What an owner's lock stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockData {
    /// What is locked.
    pub amount: Amount,
    /// What could not be sent to the owner, and can be taken out.
    pub owed: Amount,
    /// It ends when this week begins, counted from the Unix epoch.
    pub ends_week: u32,
    /// When its weight was last raised, in seconds since the Unix epoch; none while the governor has not counted it.
    pub since_s: Option<u32>,
    /// The votes that are not over, and when they are; none while the governor has not heard it.
    pub ballots: BTreeMap<u32, Option<u32>>,
    /// Whose it is.
    pub owner: ContractAddress,
    /// In whose wallet the COCOON lies.
    pub governor: ContractAddress,
}

/// What an owner can tell its lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockMessage {
    /// Let it end when this week begins.
    Lengthen(u32),
    /// Vote with all that it weighs.
    Vote {
        /// On which proposal.
        number: u32,
        /// Whether for it.
        is_yes: bool,
    },
    /// Propose something.
    Propose(Action),
    /// Take out what was locked.
    Unlock,
}

impl LockData {
    /// The lock of an owner, as it is deployed.
    pub const fn new(owner: ContractAddress, governor: ContractAddress) -> Self {
        Self { amount: Amount::ZERO, owed: Amount::ZERO, ends_week: 0, since_s: Some(0), ballots: BTreeMap::new(), owner, governor }
    }

    /// Where it lives, whatever is locked.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn address(&self) -> Result<ContractAddress, CellError> {
        let initial = Self::new(self.owner, self.governor).to_cell()?;
        Ok(ContractAddress(hash_of(&*Contract::Lock.state_init(&initial)?)))
    }

    /// When it ends, in seconds since the Unix epoch.
    pub const fn ends_s(&self) -> u32 {
        week_begins_s(self.ends_week)
    }

    /// As the contract stores it.
    ///
    /// # Errors
    /// [`CellError`] for an amount that TON cannot hold.
    pub fn to_cell(&self) -> Result<ArcCell, CellError> {
        let mut to = CellBuilder::new();
        store_amounts(&mut to, [self.amount, self.owed])?;
        to.store_u32(32, self.ends_week)?.store_u32(32, self.since_s.unwrap_or(NOT_YET))?;
        let ballots: HashMap<u32, u32> = self.ballots.iter().map(|(number, until)| (*number, until.unwrap_or(NOT_YET))).collect();
        to.store_dict(32, store_time, ballots)?;
        to.store_slice(self.owner.as_bytes())?.store_slice(self.governor.as_bytes())?;
        Ok(to.build()?.to_arc())
    }

    /// Reads an account's data.
    ///
    /// # Errors
    /// [`CellError`] when no lock stores such a cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let [amount, owed] = load_amounts(&mut from)?;
        let (ends_week, since_s) = (from.load_u32(32)?, when(from.load_u32(32)?));
        let ballots = from.load_dict(32, key_reader_u32, load_time)?;
        let ballots = ballots.into_iter().map(|(number, until)| (number, when(until))).collect();
        let (owner, governor) = (load_account_hash(&mut from)?, load_account_hash(&mut from)?);
        from.ensure_empty()?;
        Ok(Self { amount, owed, ends_week, since_s, ballots, owner, governor })
    }
}

fn when(stored: u32) -> Option<u32> {
    (stored != NOT_YET).then_some(stored)
}

fn store_time(to: &mut CellBuilder, time: u32) -> Result<(), TonCellError> {
    to.store_u32(32, time)?;
    Ok(())
}

fn load_time(from: &mut CellParser<'_>) -> Result<u32, TonCellError> {
    from.load_u32(32)
}

impl LockMessage {
    /// The body of the internal message.
    ///
    /// # Errors
    /// [`CellError`] as for [`Action::to_cell`].
    pub fn to_cell(&self, query: QueryId) -> Result<ArcCell, CellError> {
        let mut to = begun(self.opcode(), query)?;
        match self {
            Self::Lengthen(week) => {
                to.store_u32(32, *week)?;
            }
            Self::Vote { number, is_yes } => {
                to.store_u32(32, *number)?.store_bit(*is_yes)?;
            }
            Self::Propose(action) => {
                to.store_reference(&action.to_cell()?)?;
            }
            Self::Unlock => {}
        }
        Ok(to.build()?.to_arc())
    }

    const fn opcode(&self) -> u32 {
        match self {
            Self::Lengthen(_) => OP_LENGTHEN,
            Self::Vote { .. } => OP_VOTE,
            Self::Propose(_) => OP_PROPOSE,
            Self::Unlock => OP_UNLOCK,
        }
    }
}
