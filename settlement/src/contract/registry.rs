//! The registry's terms, address, messages and stored data.

use std::collections::{BTreeMap, HashMap};

use cocoon_market::ids::Digest;
use cocoon_market::{ContractAddress, NetworkId};
use serde::{Deserialize, Serialize};
use tonlib_core::cell::dict::predefined_readers::key_reader_u8;
use tonlib_core::cell::{ArcCell, Cell, CellBuilder, CellParser, TonCellError};

use super::cells::{
    CellError, NOBODY, account_or_nobody, hash_of, load_32, load_account_hash, load_cells, load_i32, nobody_or, store_cells,
};
use super::code::Contract;
use super::message::{QueryId, begun};
use super::proof::ProofBytes;
use crate::economy::parameter::{Parameter, Setting};

const OP_INTRODUCE: u32 = 0x434e_0001;
const OP_PROVE_AUDITORS: u32 = 0x434e_0003;
const OP_TELL: u32 = 0x434e_0004;
const TELL_KEY: u8 = 64;
const TELL_AUDITORS: u8 = 128;

/// What a registry is deployed with. Its address is a hash over it and the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryTerms {
    /// The chain.
    pub network: NetworkId,
    /// Whose decisions it keeps.
    pub governor: ContractAddress,
    /// Who says, once, whom it tells.
    pub founder: ContractAddress,
    /// The auditors that the network begins with.
    pub auditors: AuditorSet,
    /// Verifying keys by circuit, which votes replace.
    pub keys: BTreeMap<u8, ArcCell>,
}

/// A list of auditors, known by two hashes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditorSet {
    /// Hash of the list's cell.
    pub list: Digest,
    /// What proofs are made for.
    pub commitment: Digest,
}

impl AuditorSet {
    /// Nobody, as a network has it before anybody is listed.
    pub const NOBODY: Self = Self { list: Digest([0; 32]), commitment: Digest([0; 32]) };
}

/// A parameter that a vote changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// What it is now.
    pub value: u64,
    /// Since when, in seconds since the Unix epoch.
    pub changed_s: u32,
}

/// What a registry stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryData {
    /// Hash of the document that says which models and nodes are believed.
    pub standards: Digest,
    /// The chain.
    pub network: NetworkId,
    /// Whose decisions it keeps.
    pub governor: ContractAddress,
    /// What votes changed, by [`Parameter::place`].
    pub parameters: BTreeMap<u8, Changed>,
    /// Verifying keys by circuit.
    pub keys: BTreeMap<u8, ArcCell>,
    /// Whose certificates count.
    pub auditors: AuditorSet,
    /// Whose will, once somebody proves that the two hashes agree.
    pub pending: Option<AuditorSet>,
    /// Who may still say whom it tells; none when that is done.
    pub founder: Option<ContractAddress>,
    /// Told of parameters that it works with; zero before the introduction.
    pub vault: ContractAddress,
    /// Told of keys and auditors; zero before the introduction.
    pub rewards: ContractAddress,
}

/// What a registry can be told, by anybody unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryMessage {
    /// Whom it tells: from its founder, once.
    Introduce {
        /// Of parameters.
        vault: ContractAddress,
        /// Of keys and auditors.
        rewards: ContractAddress,
    },
    /// The auditors' list that was decided on, and a proof that its commitment is one of it.
    ProveAuditors {
        /// Places of the list.
        count: u8,
        /// The list; `contracts/messages.tolk` has its layout.
        list: ArcCell,
        /// The proof.
        proof: ProofBytes,
    },
    /// Have whoever uses it told again what holds.
    Tell(Told),
}

/// What somebody is told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// The vault, a parameter by its [`Parameter::place`].
    Parameter(u8),
    /// The rewards, the verifying key of a circuit.
    Key(u8),
    /// The rewards, the auditors' commitment.
    Auditors,
}

impl RegistryTerms {
    /// The `StateInit` that deploys it.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn state_init(&self) -> Result<ArcCell, CellError> {
        Contract::Registry.state_init(&RegistryData::new(self.clone()).to_cell()?)
    }

    /// Where it lives.
    ///
    /// # Errors
    /// [`CellError`] as for [`Contract::code`].
    pub fn address(&self) -> Result<ContractAddress, CellError> {
        Ok(ContractAddress(hash_of(&*self.state_init()?)))
    }
}

impl RegistryMessage {
    /// The body of the internal message.
    ///
    /// # Errors
    /// [`CellError`] never, for all fits.
    pub fn to_cell(&self, query: QueryId) -> Result<ArcCell, CellError> {
        let mut to = match self {
            Self::Introduce { vault, rewards } => {
                let mut to = begun(OP_INTRODUCE, query)?;
                to.store_slice(vault.as_bytes())?.store_slice(rewards.as_bytes())?;
                to
            }
            Self::ProveAuditors { count, list, proof } => {
                let mut to = begun(OP_PROVE_AUDITORS, query)?;
                to.store_u8(8, *count)?.store_reference(list)?.store_reference(&proof.to_cell()?)?;
                to
            }
            Self::Tell(told) => {
                let mut to = begun(OP_TELL, query)?;
                to.store_u8(8, told.code())?;
                to
            }
        };
        Ok(to.build()?.to_arc())
    }
}

impl Told {
    const fn code(self) -> u8 {
        match self {
            Self::Parameter(place) => place,
            Self::Key(circuit) => TELL_KEY.saturating_add(circuit),
            Self::Auditors => TELL_AUDITORS,
        }
    }
}

impl RegistryData {
    /// As it is deployed.
    pub fn new(terms: RegistryTerms) -> Self {
        Self {
            standards: Digest([0; 32]),
            network: terms.network,
            governor: terms.governor,
            parameters: BTreeMap::new(),
            keys: terms.keys,
            auditors: terms.auditors,
            pending: None,
            founder: Some(terms.founder),
            vault: NOBODY,
            rewards: NOBODY,
        }
    }

    /// What a parameter is.
    pub fn value(&self, parameter: Parameter) -> u64 {
        self.parameters.get(&parameter.place()).map_or(parameter.bounds().start, |changed| changed.value)
    }

    /// A parameter as it is, with its bounds and the time of its last change.
    pub fn setting(&self, parameter: Parameter) -> Setting {
        let changed = self.parameters.get(&parameter.place());
        changed.map_or(Setting::new(parameter), |changed| Setting::resumed(parameter, changed.value, changed.changed_s))
    }

    /// As the contract stores it.
    ///
    /// # Errors
    /// [`CellError`] never, for all fits.
    pub fn to_cell(&self) -> Result<ArcCell, CellError> {
        let mut to = CellBuilder::new();
        to.store_slice(self.standards.as_bytes())?.store_slice(&self.network.0.to_be_bytes())?.store_slice(self.governor.as_bytes())?;
        let parameters: HashMap<u8, Changed> = self.parameters.iter().map(|(place, changed)| (*place, *changed)).collect();
        to.store_dict(8, store_changed, parameters)?;
        store_cells(&mut to, &self.keys)?;
        let mut auditors = self.auditors.begun()?;
        auditors.store_bit(self.pending.is_some())?;
        if let Some(pending) = self.pending {
            auditors.store_child(pending.begun()?.build()?)?;
        }
        let mut known = CellBuilder::new();
        known.store_slice(nobody_or(self.founder).as_bytes())?.store_slice(self.vault.as_bytes())?.store_slice(self.rewards.as_bytes())?;
        to.store_child(auditors.build()?)?.store_child(known.build()?)?;
        Ok(to.build()?.to_arc())
    }

    /// Reads an account's data.
    ///
    /// # Errors
    /// [`CellError`] when no registry stores such a cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let (standards, network) = (Digest(load_32(&mut from)?), NetworkId(load_i32(&mut from)?));
        let governor = load_account_hash(&mut from)?;
        let parameters = from.load_dict(8, key_reader_u8, load_changed)?.into_iter().collect();
        let keys = load_cells(&mut from)?;
        let (auditors, pending) = auditors_of(&*from.next_reference()?)?;
        let known = from.next_reference()?;
        from.ensure_empty()?;
        let mut known = known.parser();
        let founder = account_or_nobody(load_32(&mut known)?);
        let (vault, rewards) = (load_account_hash(&mut known)?, load_account_hash(&mut known)?);
        known.ensure_empty()?;
        Ok(Self { standards, network, governor, parameters, keys, auditors, pending, founder, vault, rewards })
    }
}

impl AuditorSet {
    fn begun(self) -> Result<CellBuilder, CellError> {
        let mut to = CellBuilder::new();
        to.store_slice(self.list.as_bytes())?.store_slice(self.commitment.as_bytes())?;
        Ok(to)
    }

    fn load(from: &mut CellParser<'_>) -> Result<Self, CellError> {
        Ok(Self { list: Digest(load_32(from)?), commitment: Digest(load_32(from)?) })
    }
}

fn auditors_of(cell: &Cell) -> Result<(AuditorSet, Option<AuditorSet>), CellError> {
    let mut from = cell.parser();
    let its = AuditorSet::load(&mut from)?;
    let mut pending = None;
    if from.load_bit()? {
        let cell = from.next_reference()?;
        let mut next = cell.parser();
        pending = Some(AuditorSet::load(&mut next)?);
        next.ensure_empty()?;
    }
    from.ensure_empty()?;
    Ok((its, pending))
}

fn store_changed(to: &mut CellBuilder, changed: Changed) -> Result<(), TonCellError> {
    to.store_u64(64, changed.value)?.store_u32(32, changed.changed_s)?;
    Ok(())
}

fn load_changed(from: &mut CellParser<'_>) -> Result<Changed, TonCellError> {
    Ok(Changed { value: from.load_u64(64)?, changed_s: from.load_u32(32)? })
}
