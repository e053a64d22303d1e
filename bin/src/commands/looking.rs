//! A network as its chain shows it, for commands that send nothing: they need no passphrase, and can be asked while a node runs.

use std::sync::Arc;

use cocoon_market::ContractAddress;
use cocoon_settlement::chain::Chain;
use cocoon_settlement::contract::ProviderTerms;
use cocoon_settlement::settler::NetworkContracts;

use super::telling::account_of;
use crate::chain;
use crate::config::Config;
use crate::context::Context;
use crate::failure::Failure;
use crate::wiring::own::class_number;

/// The chain, and what the configured network has there.
pub(super) struct Look {
    pub(super) chain: Arc<dyn Chain>,
    pub(super) network: NetworkContracts,
}

impl Look {
    /// Opens the chain and finds the network.
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        let terms = config.chain.network_terms()?;
        let chain = chain::open(&config.chain)?.chain;
        let network = NetworkContracts::find(&*chain, &terms)?;
        Ok(Self { chain, network })
    }
}

/// This home's wallet.
pub(super) fn own_account(context: &Context, config: &Config) -> Result<ContractAddress, Failure> {
    Ok(account_of(context.public_keys(config.chain.network)?.owner)?)
}

/// What is fixed for this home's contract as a provider.
pub(super) fn own_terms(context: &Context, config: &Config) -> Result<ProviderTerms, Failure> {
    let keys = context.public_keys(config.chain.network)?;
    let (owner, class) = (account_of(keys.owner)?, class_number(config.provide.class));
    Ok(ProviderTerms { owner, operator: keys.operator, class, network: config.chain.network_terms()? })
}
