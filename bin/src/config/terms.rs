//! What is the same for all providers of a network, and so part of the address of each one's contract.

use std::borrow::Cow;

use cocoon_market::{ContractAddress, NetworkId};
use cocoon_settlement::chain::Address;
use cocoon_settlement::chain::embedded::{FaucetError, faucet_address};
use cocoon_settlement::contract::{CellError, NetworkTerms, VaultTerms};
use serde::Deserialize;

use super::{ChainConfig, Network, text};
use crate::failure::{Exit, NextStep};

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
    /// The vault's code in this program is damaged.
    #[error("the vault's address cannot be computed")]
    Cell(#[from] CellError),
}

impl NextStep for TermsError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Absent { network } => format!(
                "copy [chain.terms] from whoever runs the network; or deploy one of your own: swarm chain deploy --network {network}"
            )
            .into(),
            Self::Faucet(_) | Self::Cell(_) => "another build of this program: this one is damaged".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Absent { .. } => Exit::Usage,
            Self::Faucet(_) | Self::Cell(_) => Exit::Failed,
        }
    }
}

/// The vault that every devnet has unless it is told otherwise: its treasury is the faucet.
///
/// # Errors
/// [`TermsError::Faucet`].
pub fn devnet_vault() -> Result<VaultTerms, TermsError> {
    Ok(VaultTerms { network: NetworkId::DEVNET, treasury: ContractAddress(faucet_address()?.hash) })
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
            (None, Network::Devnet) => devnet_terms(),
            (None, Network::Testnet | Network::Mainnet) => Err(TermsError::Absent { network: self.network.name() }),
        }
    }
}

fn devnet_terms() -> Result<NetworkTerms, TermsError> {
    let vault = devnet_vault()?;
    Ok(NetworkTerms {
        network: vault.network,
        vault: vault.address()?,
        dispute: vault.treasury,
        fee_bps: DEVNET_FEE_BPS,
        unbond_s: DEVNET_UNBOND_S,
        epoch_s: DEVNET_EPOCH_S,
        answer_s: DEVNET_ANSWER_S,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devnet_has_terms_of_its_own_and_other_networks_are_told_theirs() {
        let terms = |network| ChainConfig { network, ..ChainConfig::default() }.network_terms();
        let devnet = terms(Network::Devnet).unwrap();
        assert_eq!(devnet.vault, devnet_vault().unwrap().address().unwrap());
        for network in [Network::Testnet, Network::Mainnet] {
            let error = terms(network).unwrap_err();
            assert!(error.next_step().contains(&format!("swarm chain deploy --network {}", network.name())), "{error}");
            let chain = ChainConfig { network, terms: Some(devnet.into()), ..ChainConfig::default() };
            assert_eq!(chain.network_terms().unwrap(), NetworkTerms { network: network.id(), ..devnet });
        }
    }
}
