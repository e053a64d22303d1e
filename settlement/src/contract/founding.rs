//! What a network has once, and the messages that found it.
//!
//! The addresses hang on one another: the vault's on all others, that of the rewards on nobody's. So what comes later in that order is told
//! to what comes before by the founder, once, and then the founder has no say any more.

use std::collections::BTreeMap;

use cocoon_market::{Amount, ContractAddress, NetworkId};
use tonlib_core::cell::ArcCell;

use super::cells::CellError;
use super::{
    AuditorSet, Genesis, GovernorMessage, GovernorTerms, MinterTerms, NetworkTerms, QueryId, RegistryMessage, RegistryTerms,
    RewardsIntroduction, RewardsTerms, VaultTerms,
};
use crate::chain::{Address, Bounce};
use crate::wallet::Outgoing;

/// What each contract beside the token's is deployed with. It stays there and pays for its storage for many years.
const CONTRACT_VALUE: Amount = Amount::from_nano(100_000_000);

/// What the token is founded with: its four first wallets, their storage, and all work. What that does not cost comes back or pays for
/// the minter's storage.
const TOKEN_VALUE: Amount = Amount::from_nano(300_000_000);

/// What a founder's word to a contract carries. What its work does not cost comes back.
const WORD_VALUE: Amount = Amount::from_nano(30_000_000);

/// Nobody waits for an answer.
const QUERY: QueryId = 0;

/// What whoever founds a network decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The chain.
    pub network: NetworkId,
    /// Who founds it, may stop payouts, and has the parts of early stakers and of the opening auction to give.
    pub founder: ContractAddress,
    /// Who may slash.
    pub dispute: ContractAddress,
    /// When the treasury starts to vest, in seconds since the Unix epoch.
    pub treasury_from_s: u32,
    /// What of each draw is the network's, in basis points.
    pub fee_bps: u16,
    /// How long released collateral can still be slashed, in seconds.
    pub unbond_s: u32,
    /// How long an epoch is, in seconds.
    pub epoch_s: u32,
    /// How long an operator may take to answer a poke, in seconds.
    pub answer_s: u32,
    /// Epochs at the first rate that release half of the reserve.
    pub half_life: u32,
}

/// Whose word a network believes at the start; votes replace both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Believed {
    /// The auditors.
    pub auditors: AuditorSet,
    /// Verifying keys by circuit.
    pub keys: BTreeMap<u8, ArcCell>,
}

impl Believed {
    /// Nobody's and nothing: a network that pays no rewards before a vote says whose certificates count.
    pub const NOTHING: Self = Self { auditors: AuditorSet::NOBODY, keys: BTreeMap::new() };
}

/// What a network is founded with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// The token.
    pub minter: MinterTerms,
    /// Who gets its parts.
    pub genesis: Genesis,
    /// Who counts votes and has the treasury.
    pub governor: GovernorTerms,
    /// Who keeps what was decided.
    pub registry: RegistryTerms,
    /// Who pays rewards out of the reserve.
    pub rewards: RewardsTerms,
    /// Where fees go.
    pub vault: VaultTerms,
    /// What is the same for all its providers.
    pub providers: NetworkTerms,
}

impl Founding {
    /// The network of a plan.
    ///
    /// # Errors
    /// [`CellError`] for a half-life of which no epoch could pay anything.
    pub fn new(plan: Plan, believed: Believed) -> Result<Self, CellError> {
        let Plan { network, founder, .. } = plan;
        let minter = MinterTerms { network, founder };
        let token = minter.address()?;
        let governor = GovernorTerms { network, founder, minter: token, guardian: founder, start_s: plan.treasury_from_s };
        let treasury = governor.address()?;
        let Believed { auditors, keys } = believed;
        let (half_life, commitment) = (plan.half_life, auditors.commitment);
        let rewards = RewardsTerms { network, founder, half_life, commitment, keys: keys.clone() };
        let reserve = rewards.address()?;
        let registry = RegistryTerms { network, governor: treasury, founder, auditors, keys };
        let genesis = Genesis { reserve, treasury, stakers: founder, opening: founder };
        let (epoch_s, registry_at) = (plan.epoch_s, registry.address()?);
        let vault = VaultTerms { network, treasury, registry: registry_at, minter: token, rewards: reserve, epoch_s };
        let providers = NetworkTerms {
            network,
            vault: vault.address()?,
            dispute: plan.dispute,
            rewards: reserve,
            fee_bps: plan.fee_bps,
            unbond_s: plan.unbond_s,
            epoch_s,
            answer_s: plan.answer_s,
        };
        Ok(Self { minter, genesis, governor, registry, rewards, vault, providers })
    }

    /// The messages of the founder's wallet, in two steps, because a wallet sends four at once: first all that needs no other to be there,
    /// then who works with whom. The rewards come last, so that where they are, the network is founded.
    ///
    /// # Errors
    /// [`CellError`] as for [`super::Contract::code`].
    pub fn steps(&self) -> Result<[Vec<Outgoing>; 2], CellError> {
        let VaultTerms { registry, minter, rewards, treasury, .. } = self.vault;
        let token =
            Outgoing { value: TOKEN_VALUE, body: Some(self.genesis.to_cell(QUERY)?), ..deployed(minter, self.minter.state_init()?) };
        let introduction = RewardsIntroduction { providers: self.providers, registry, governor: treasury, minter };
        Ok([
            vec![
                token,
                deployed(self.providers.vault, self.vault.state_init()?),
                deployed(treasury, self.governor.state_init()?),
                deployed(registry, self.registry.state_init()?),
            ],
            vec![
                word(treasury, GovernorMessage::Introduce { registry, rewards }.to_cell(QUERY)?),
                word(registry, RegistryMessage::Introduce { vault: self.providers.vault, rewards }.to_cell(QUERY)?),
                deployed(rewards, self.rewards.state_init()?),
                word(rewards, introduction.to_cell(QUERY)?),
            ],
        ])
    }
}

fn deployed(contract: ContractAddress, state_init: ArcCell) -> Outgoing {
    let to = Address::from(contract);
    Outgoing { to, value: CONTRACT_VALUE, bounce: Bounce::No, body: None, state_init: Some(state_init) }
}

fn word(contract: ContractAddress, body: ArcCell) -> Outgoing {
    Outgoing { to: Address::from(contract), value: WORD_VALUE, bounce: Bounce::Yes, body: Some(body), state_init: None }
}
