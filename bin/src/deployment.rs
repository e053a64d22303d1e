//! The contract that a network has once, its vault: put on its chain.
//!
//! Everything here blocks; async callers run it on a thread that may block.

use std::borrow::Cow;
use std::time::Duration;

use cocoon_market::{Amount, AmountError, ContractAddress};
use cocoon_settlement::chain::{AccountStatus, Address, Bounce, Chain, ChainError, Faucet};
use cocoon_settlement::contract::{CellError, VaultTerms};
use cocoon_settlement::wallet::{Outgoing, OwnerWallet, SignedTransfer, WalletError, next_seqno};

use crate::chain::poll;
use crate::failure::NextStep;
use crate::output::ton_text;

/// What a vault is deployed with. What the deployment does not cost stays there and pays for its storage for many years.
pub const VAULT_VALUE: Amount = Amount::from_nano(100_000_000);

/// What stays in the wallet for its own gas.
const WALLET_FEES: Amount = Amount::from_nano(20_000_000);

/// How long a signed message can take effect.
const VALID_S: u64 = 120;

/// How often the chain is asked: a fraction of a devnet's block.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// The wallet that deploys the vault of a devnet. Anybody may have its key: what it is given is worth nothing.
const DEVNET_SEED: &[u8; 32] = b"cocoon devnet: deploys the vault";

/// Why the vault is not there.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The chain.
    #[error("the chain did not answer")]
    Chain(#[from] ChainError),
    /// The message cannot be made.
    #[error("the message cannot be made")]
    Wallet(#[from] WalletError),
    /// The vault's code in this program is damaged.
    #[error("the vault cannot be made")]
    Cell(#[from] CellError),
    /// A sum beyond all money.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// The wallet is too poor.
    #[error("the wallet holds {}, and deploying takes {}", ton_text(*balance), ton_text(*needed))]
    Poor {
        /// What it takes.
        needed: Amount,
        /// What there is.
        balance: Amount,
    },
    /// The chain did not show it.
    #[error("the chain did not show {what} within {} s", waited.as_secs())]
    NotSeen {
        /// What was waited for.
        what: &'static str,
        /// How long.
        waited: Duration,
    },
}

impl NextStep for DeployError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Chain(error) => error.next_step(),
            Self::Poor { .. } => "swarm wallet deposit, then again".into(),
            Self::NotSeen { .. } => "the same again, which looks first whether it is there by now".into(),
            Self::Wallet(_) | Self::Cell(_) | Self::Amount(_) => "another build of this program: this one is damaged".into(),
        }
    }
}

/// Whether something is deployed there.
///
/// # Errors
/// [`ChainError`].
pub fn is_deployed(chain: &dyn Chain, contract: ContractAddress) -> Result<bool, ChainError> {
    Ok(chain.account(&Address::from(contract))?.status == AccountStatus::Active)
}

/// A signed message that deploys a vault, and what its wallet holds.
#[derive(Debug)]
pub struct Deployment {
    /// The message.
    pub signed: SignedTransfer,
    /// What the wallet must hold for it.
    pub needed: Amount,
    /// What it holds.
    pub balance: Amount,
}

/// Signs what deploys the vault from a wallet. Nothing is sent.
///
/// # Errors
/// [`DeployError`].
pub fn prepare(chain: &dyn Chain, wallet: &OwnerWallet, vault: &VaultTerms) -> Result<Deployment, DeployError> {
    let account = chain.account(&wallet.address())?;
    let valid_until = u32::try_from(chain.head()?.unix_s.saturating_add(VALID_S)).unwrap_or(u32::MAX);
    let to = Address::from(vault.address()?);
    let outgoing = Outgoing { to, value: VAULT_VALUE, bounce: Bounce::No, body: None, state_init: Some(vault.state_init()?) };
    let signed = wallet.sign(next_seqno(&account)?, valid_until, &[outgoing])?;
    Ok(Deployment { signed, needed: VAULT_VALUE.checked_add(WALLET_FEES)?, balance: account.balance })
}

/// Sends what deploys the vault, and waits until the chain shows it.
///
/// # Errors
/// [`DeployError`].
pub fn deploy(chain: &dyn Chain, wallet: &OwnerWallet, vault: &VaultTerms, wait: Duration) -> Result<Deployment, DeployError> {
    let deployment = prepare(chain, wallet, vault)?;
    if deployment.balance < deployment.needed {
        return Err(DeployError::Poor { needed: deployment.needed, balance: deployment.balance });
    }
    chain.send_boc(&deployment.signed.boc)?;
    let address = vault.address()?;
    await_seen("the vault", wait, || is_deployed(chain, address))?;
    Ok(deployment)
}

/// Puts the vault of a devnet there with the faucet's money, unless it is there. Whether it was put there now.
///
/// # Errors
/// [`DeployError`].
pub fn ensure_devnet_vault(chain: &dyn Chain, faucet: &dyn Faucet, vault: &VaultTerms, wait: Duration) -> Result<bool, DeployError> {
    if is_deployed(chain, vault.address()?)? {
        return Ok(false);
    }
    let wallet = OwnerWallet::from_seed(DEVNET_SEED)?;
    let needed = VAULT_VALUE.checked_add(WALLET_FEES)?;
    let is_funded = || -> Result<bool, ChainError> { Ok(chain.account(&wallet.address())?.balance >= needed) };
    if !is_funded()? {
        faucet.fund(&wallet.address(), needed)?;
        await_seen("the faucet's transfer", wait, is_funded)?;
    }
    deploy(chain, &wallet, vault, wait)?;
    Ok(true)
}

fn await_seen(what: &'static str, wait: Duration, mut is_seen: impl FnMut() -> Result<bool, ChainError>) -> Result<(), DeployError> {
    let seen = poll(wait, LOOK_PERIOD, || Ok(is_seen()?.then_some(())))?;
    seen.ok_or(DeployError::NotSeen { what, waited: wait })
}

#[cfg(test)]
mod tests {
    use cocoon_settlement::chain::embedded::{Blocks, Embedded, Options};
    use cocoon_settlement::contract::VaultData;

    use super::*;
    use crate::config::devnet_vault;

    const WAIT: Duration = Duration::from_secs(60);

    fn chain() -> Embedded {
        Embedded::in_memory(Options { blocks: Blocks::Instant, ..Options::default() }).unwrap()
    }

    #[test]
    fn a_devnet_gets_its_vault_once() {
        let (chain, vault) = (chain(), devnet_vault().unwrap());
        assert!(ensure_devnet_vault(&chain, &chain, &vault, WAIT).unwrap());
        assert!(!ensure_devnet_vault(&chain, &chain, &vault, WAIT).unwrap(), "it is there");
        let account = chain.account(&Address::from(vault.address().unwrap())).unwrap();
        assert_eq!(VaultData::from_cell(&account.data.unwrap()).unwrap().terms, vault);
    }

    #[test]
    fn an_empty_wallet_deploys_nothing_and_says_what_it_lacks() {
        let (chain, vault) = (chain(), devnet_vault().unwrap());
        let error = deploy(&chain, &OwnerWallet::from_seed(&[9; 32]).unwrap(), &vault, WAIT).unwrap_err();
        assert!(matches!(error, DeployError::Poor { .. }) && error.next_step().contains("wallet deposit"), "{error}");
        assert!(!is_deployed(&chain, vault.address().unwrap()).unwrap());
    }
}
