//! What is the same for all providers of a network, and so part of the address of each one's contract.

use std::borrow::Cow;

use cocoon_market::{ContractAddress, NetworkId};
use cocoon_settlement::attest::auditor::{DevelopmentAuditor, DevelopmentAuditorError};
use cocoon_settlement::attest::list::{AuditorList, AuditorListError};
use cocoon_settlement::attest::pinned::{self, PinnedKeyError};
use cocoon_settlement::chain::Address;
use cocoon_settlement::chain::embedded::{FaucetError, faucet_address};
use cocoon_settlement::contract::founding::{Believed, Founding, Plan};
use cocoon_settlement::contract::{CellError, NetworkTerms};
use cocoon_settlement::wallet::{OwnerWallet, WalletError};
use serde::Deserialize;

use super::{ChainConfig, Network, text};
use crate::failure::{Exit, NextStep};

/// The wallet that founds a devnet. Anybody may have its key: what it is given is worth nothing.
const DEVNET_SEED: &[u8; 32] = b"cocoon devnet: deploys the vault";

/// Epochs at the first rate that release half of the reserve: two years of days.
pub const HALF_LIFE: u32 = 730;

/// When the treasury starts to vest unless whoever founds the network says otherwise: 1 December 2026. A date that everybody knows makes
/// the address of a network's governor one that everybody can compute.
pub const TREASURY_FROM_S: u32 = 1_796_083_200;

/// The network fee of a devnet, in basis points of what is drawn from a channel.
const DEVNET_FEE_BPS: u16 = 500;

/// How long collateral is held back on a devnet, whose people want to see it come back.
const DEVNET_UNBOND_S: u32 = 600;

/// An epoch of a devnet.
const DEVNET_EPOCH_S: u32 = 60;

/// How long an operator of a devnet may take to answer a poke.
const DEVNET_ANSWER_S: u32 = 60;

/// What is the same for all providers of a network, as it stands in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// Where fees go.
    #[serde(deserialize_with = "text::parsed")]
    pub vault: Address,
    /// Who may slash.
    #[serde(deserialize_with = "text::parsed")]
    pub dispute: Address,
    /// Who pays rewards.
    #[serde(deserialize_with = "text::parsed")]
    pub rewards: Address,
    /// What of each draw is the network's, in basis points.
    pub fee_bps: u16,
    /// How long released collateral can still be slashed, in seconds.
    pub unbond_s: u32,
    /// How long an epoch is, in seconds.
    pub epoch_s: u32,
    /// How long an operator may take to answer a poke, in seconds.
    pub answer_s: u32,
}

impl NetworkConfig {
    /// The same as contracts store it.
    pub const fn on(&self, network: NetworkId) -> NetworkTerms {
        NetworkTerms {
            network,
            vault: ContractAddress(self.vault.hash),
            dispute: ContractAddress(self.dispute.hash),
            rewards: ContractAddress(self.rewards.hash),
            fee_bps: self.fee_bps,
            unbond_s: self.unbond_s,
            epoch_s: self.epoch_s,
            answer_s: self.answer_s,
        }
    }
}

impl From<NetworkTerms> for NetworkConfig {
    fn from(terms: NetworkTerms) -> Self {
        Self {
            vault: Address::from(terms.vault),
            dispute: Address::from(terms.dispute),
            rewards: Address::from(terms.rewards),
            fee_bps: terms.fee_bps,
            unbond_s: terms.unbond_s,
            epoch_s: terms.epoch_s,
            answer_s: terms.answer_s,
        }
    }
}

/// Why the network's terms are not known.
#[derive(Debug, thiserror::Error)]
pub enum TermsError {
    /// They are not configured, and only a devnet has its own.
    #[error("the configuration has no [chain.terms], which say where fees go and who may slash on {network}")]
    Absent {
        /// The network.
        network: &'static str,
    },
    /// The faucet's account cannot be computed.
    #[error("the devnet's faucet cannot be made")]
    Faucet(#[from] FaucetError),
    /// The founder's wallet cannot be made.
    #[error("the wallet that founds a devnet cannot be made")]
    Wallet(#[from] WalletError),
    /// The code of a contract in this program is damaged.
    #[error("the address of the network's contracts cannot be computed")]
    Cell(#[from] CellError),
    /// There is no development auditor to begin with.
    #[error("a network cannot begin with the development auditor")]
    Auditor(#[from] DevelopmentAuditorError),
    /// Its keys make no list.
    #[error("the development auditor cannot be listed")]
    Listing(#[from] AuditorListError),
    /// The verifying keys in this program are damaged.
    #[error(transparent)]
    Keys(#[from] PinnedKeyError),
}

impl NextStep for TermsError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Absent { network } => format!(
                "copy [chain.terms] from whoever runs the network; or deploy one of your own: swarm chain deploy --network {network}"
            )
            .into(),
            Self::Auditor(_) => "found it on testnet, where its keys are worth nothing".into(),
            Self::Faucet(_) | Self::Wallet(_) | Self::Cell(_) | Self::Listing(_) | Self::Keys(_) => {
                "another build of this program: this one is damaged".into()
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Absent { .. } | Self::Auditor(_) => Exit::Usage,
            Self::Faucet(_) | Self::Wallet(_) | Self::Cell(_) | Self::Listing(_) | Self::Keys(_) => Exit::Failed,
        }
    }
}

/// A network of this plan, ready to be founded. It begins with the development keys and the development auditor, which votes replace: no
/// money that is worth something may hang on it before.
///
/// # Errors
/// [`TermsError::Auditor`] on the main network, and [`TermsError::Cell`].
pub fn founding(plan: Plan) -> Result<Founding, TermsError> {
    let believed = Believed { auditors: development_auditors(plan.network)?.set(), keys: pinned::development_cells()? };
    Ok(Founding::new(plan, believed)?)
}

/// Whose certificates count in a network that was just founded: the development auditor's.
///
/// # Errors
/// [`TermsError::Auditor`] on the main network.
pub fn development_auditors(network: NetworkId) -> Result<AuditorList, TermsError> {
    let auditor = DevelopmentAuditor::new(network, 0)?;
    Ok(AuditorList::new(network, &[Some(auditor.listed())])?)
}

/// The wallet that founds devnets.
///
/// # Errors
/// [`TermsError::Wallet`].
pub fn devnet_founder() -> Result<OwnerWallet, TermsError> {
    Ok(OwnerWallet::from_seed(DEVNET_SEED)?)
}

/// What every devnet has unless it is told otherwise: its faucet is who may slash, and its times are short.
///
/// # Errors
/// [`TermsError`].
pub fn devnet_founding() -> Result<Founding, TermsError> {
    founding(Plan {
        network: NetworkId::DEVNET,
        founder: devnet_founder()?.account(),
        dispute: ContractAddress(faucet_address()?.hash),
        treasury_from_s: TREASURY_FROM_S,
        fee_bps: DEVNET_FEE_BPS,
        unbond_s: DEVNET_UNBOND_S,
        epoch_s: DEVNET_EPOCH_S,
        answer_s: DEVNET_ANSWER_S,
        half_life: HALF_LIFE,
    })
}

impl ChainConfig {
    /// What is the same for all providers of the network: as configured, else, on a devnet, its own vault, the faucet as who may slash,
    /// and short times.
    ///
    /// # Errors
    /// [`TermsError`].
    pub fn network_terms(&self) -> Result<NetworkTerms, TermsError> {
        match (&self.terms, self.network) {
            (Some(configured), network) => Ok(configured.on(network.id())),
            (None, Network::Devnet) => Ok(devnet_founding()?.providers),
            (None, Network::Testnet | Network::Mainnet) => Err(TermsError::Absent { network: self.network.name() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devnet_has_terms_of_its_own_and_other_networks_are_told_theirs() {
        let terms = |network| ChainConfig { network, ..ChainConfig::default() }.network_terms();
        let devnet = terms(Network::Devnet).unwrap();
        assert_eq!(devnet.vault, devnet_founding().unwrap().vault.address().unwrap());
        for network in [Network::Testnet, Network::Mainnet] {
            let error = terms(network).unwrap_err();
            assert!(error.next_step().contains(&format!("swarm chain deploy --network {}", network.name())), "{error}");
            let chain = ChainConfig { network, terms: Some(devnet.into()), ..ChainConfig::default() };
            assert_eq!(chain.network_terms().unwrap(), NetworkTerms { network: network.id(), ..devnet });
        }
    }
}
