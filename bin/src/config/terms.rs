//! What is the same for all providers of a network, and so part of the address of each one's contract.

use std::borrow::Cow;

use cocoon_market::{ContractAddress, NetworkId};
use cocoon_settlement::chain::Address;
use cocoon_settlement::chain::embedded::{FaucetError, faucet_address};
use cocoon_settlement::contract::{CellError, Genesis, MinterTerms, NetworkTerms, VaultTerms};
use cocoon_settlement::wallet::{OwnerWallet, WalletError};
use serde::Deserialize;

use super::{ChainConfig, Network, text};
use crate::failure::{Exit, NextStep};

/// The wallet that founds a devnet. Anybody may have its key: what it is given is worth nothing.
const DEVNET_SEED: &[u8; 32] = b"cocoon devnet: deploys the vault";

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
}

impl NextStep for TermsError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Absent { network } => format!(
                "copy [chain.terms] from whoever runs the network; or deploy one of your own: swarm chain deploy --network {network}"
            )
            .into(),
            Self::Faucet(_) | Self::Wallet(_) | Self::Cell(_) => "another build of this program: this one is damaged".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Absent { .. } => Exit::Usage,
            Self::Faucet(_) | Self::Wallet(_) | Self::Cell(_) => Exit::Failed,
        }
    }
}

/// What a network is founded with: its token, which is made once, and its vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Founding {
    /// The token.
    pub minter: MinterTerms,
    /// Who gets its parts.
    pub genesis: Genesis,
    /// The vault.
    pub vault: VaultTerms,
}

impl Founding {
    /// A network that this account founds. Until there are contracts that pay rewards and count votes, the founder stands in for both: the
    /// reserve is safe from nobody but by its word.
    ///
    /// # Errors
    /// [`TermsError::Cell`].
    pub fn by(founder: ContractAddress, network: NetworkId, treasury: ContractAddress, epoch_s: u32) -> Result<Self, TermsError> {
        let minter = MinterTerms { network, founder };
        let genesis = Genesis { reserve: founder, treasury, stakers: founder, opening: founder };
        let vault = VaultTerms { network, treasury, registry: founder, minter: minter.address()?, rewards: founder, epoch_s };
        Ok(Self { minter, genesis, vault })
    }
}

/// The wallet that founds devnets.
///
/// # Errors
/// [`TermsError::Wallet`].
pub fn devnet_founder() -> Result<OwnerWallet, TermsError> {
    Ok(OwnerWallet::from_seed(DEVNET_SEED)?)
}

/// What every devnet has unless it is told otherwise: its treasury is the faucet.
///
/// # Errors
/// [`TermsError`].
pub fn devnet_founding() -> Result<Founding, TermsError> {
    let treasury = ContractAddress(faucet_address()?.hash);
    Founding::by(devnet_founder()?.account(), NetworkId::DEVNET, treasury, DEVNET_EPOCH_S)
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
    let vault = devnet_founding()?.vault;
    Ok(NetworkTerms {
        network: vault.network,
        vault: vault.address()?,
        dispute: vault.treasury,
        rewards: vault.rewards,
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
        assert_eq!(devnet.vault, devnet_founding().unwrap().vault.address().unwrap());
        for network in [Network::Testnet, Network::Mainnet] {
            let error = terms(network).unwrap_err();
            assert!(error.next_step().contains(&format!("swarm chain deploy --network {}", network.name())), "{error}");
            let chain = ChainConfig { network, terms: Some(devnet.into()), ..ChainConfig::default() };
            assert_eq!(chain.network_terms().unwrap(), NetworkTerms { network: network.id(), ..devnet });
        }
    }
}
