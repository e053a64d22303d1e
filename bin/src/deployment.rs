//! What a network has once, its token and its vault: put on its chain.
//!
//! Everything here blocks; async callers run it on a thread that may block.

use std::borrow::Cow;
use std::time::Duration;

use cocoon_market::{Amount, AmountError, ContractAddress};
use cocoon_settlement::chain::{AccountStatus, Address, Bounce, Chain, ChainError, Faucet};
use cocoon_settlement::contract::CellError;
use cocoon_settlement::wallet::{Outgoing, OwnerWallet, SignedTransfer, WalletError, next_seqno};

use crate::chain::poll;
use crate::config::Founding;
use crate::failure::NextStep;
use crate::output::ton_text;

/// What a vault is deployed with. What the deployment does not cost stays there and pays for its storage for many years.
const VAULT_VALUE: Amount = Amount::from_nano(100_000_000);

/// What the token is founded with: its four first wallets, their storage, and all work. What that does not cost comes back or pays for
/// the minter's storage.
const TOKEN_VALUE: Amount = Amount::from_nano(300_000_000);

/// What stays in the wallet for its own gas.
const WALLET_FEES: Amount = Amount::from_nano(20_000_000);

/// How long a signed message can take effect.
const VALID_S: u64 = 120;

/// How often the chain is asked: a fraction of a devnet's block.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// Why a network is not founded.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The chain.
    #[error("the chain did not answer")]
    Chain(#[from] ChainError),
    /// The message cannot be made.
    #[error("the message cannot be made")]
    Wallet(#[from] WalletError),
    /// The code of a contract in this program is damaged.
    #[error("the network's contracts cannot be made")]
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

/// A signed message that founds a network, and what its wallet holds.
#[derive(Debug)]
pub struct Deployment {
    /// The message.
    pub signed: SignedTransfer,
    /// What it carries.
    pub value: Amount,
    /// What the wallet must hold for it.
    pub needed: Amount,
    /// What it holds.
    pub balance: Amount,
}

/// Signs what founds a network from its founder's wallet: the token, divided, and the vault. Nothing is sent.
///
/// # Errors
/// [`DeployError`].
pub fn prepare(chain: &dyn Chain, wallet: &OwnerWallet, founding: &Founding) -> Result<Deployment, DeployError> {
    let account = chain.account(&wallet.address())?;
    let valid_until = u32::try_from(chain.head()?.unix_s.saturating_add(VALID_S)).unwrap_or(u32::MAX);
    let token = Outgoing {
        to: Address::from(founding.minter.address()?),
        value: TOKEN_VALUE,
        bounce: Bounce::No,
        body: Some(founding.genesis.to_cell(0)?),
        state_init: Some(founding.minter.state_init()?),
    };
    let vault = Outgoing {
        to: Address::from(founding.vault.address()?),
        value: VAULT_VALUE,
        bounce: Bounce::No,
        body: None,
        state_init: Some(founding.vault.state_init()?),
    };
    let signed = wallet.sign(next_seqno(&account)?, valid_until, &[token, vault])?;
    let value = TOKEN_VALUE.checked_add(VAULT_VALUE)?;
    Ok(Deployment { signed, value, needed: needed()?, balance: account.balance })
}

/// What a wallet must hold to found a network.
fn needed() -> Result<Amount, AmountError> {
    Amount::sum([VAULT_VALUE, TOKEN_VALUE, WALLET_FEES])
}

/// Sends what founds a network, and waits until the chain shows its vault.
///
/// # Errors
/// [`DeployError`].
pub fn deploy(chain: &dyn Chain, wallet: &OwnerWallet, founding: &Founding, wait: Duration) -> Result<Deployment, DeployError> {
    let deployment = prepare(chain, wallet, founding)?;
    if deployment.balance < deployment.needed {
        return Err(DeployError::Poor { needed: deployment.needed, balance: deployment.balance });
    }
    chain.send_boc(&deployment.signed.boc)?;
    let address = founding.vault.address()?;
    await_seen("the vault", wait, || is_deployed(chain, address))?;
    Ok(deployment)
}

/// Founds a devnet with the faucet's money, unless it was. Whether it was done now.
///
/// # Errors
/// [`DeployError`].
pub fn ensure_devnet(
    chain: &dyn Chain,
    faucet: &dyn Faucet,
    founder: &OwnerWallet,
    founding: &Founding,
    wait: Duration,
) -> Result<bool, DeployError> {
    if is_deployed(chain, founding.vault.address()?)? {
        return Ok(false);
    }
    let needed = needed()?;
    let is_funded = || -> Result<bool, ChainError> { Ok(chain.account(&founder.address())?.balance >= needed) };
    if !is_funded()? {
        faucet.fund(&founder.address(), needed)?;
        await_seen("the faucet's transfer", wait, is_funded)?;
    }
    deploy(chain, founder, founding, wait)?;
    Ok(true)
}

fn await_seen(what: &'static str, wait: Duration, mut is_seen: impl FnMut() -> Result<bool, ChainError>) -> Result<(), DeployError> {
    let seen = poll(wait, LOOK_PERIOD, || Ok(is_seen()?.then_some(())))?;
    seen.ok_or(DeployError::NotSeen { what, waited: wait })
}

#[cfg(test)]
mod tests {
    use cocoon_market::amount::NANO;
    use cocoon_settlement::chain::embedded::{Blocks, Embedded, Options};
    use cocoon_settlement::contract::{MinterData, VaultData, WalletData};

    use super::*;
    use crate::config::{devnet_founder, devnet_founding};

    const WAIT: Duration = Duration::from_secs(60);

    fn chain() -> Embedded {
        Embedded::in_memory(Options { blocks: Blocks::Instant, ..Options::default() }).unwrap()
    }

    #[test]
    fn a_devnet_is_founded_once() {
        let (chain, founder, founding) = (chain(), devnet_founder().unwrap(), devnet_founding().unwrap());
        assert!(ensure_devnet(&chain, &chain, &founder, &founding, WAIT).unwrap());
        assert!(!ensure_devnet(&chain, &chain, &founder, &founding, WAIT).unwrap(), "it is there");
        let data = |account: ContractAddress| chain.account(&Address::from(account)).unwrap().data.unwrap();
        assert_eq!(VaultData::from_cell(&data(founding.vault.address().unwrap())).unwrap().terms, founding.vault);
        let minter = founding.minter.address().unwrap();
        let token = MinterData::from_cell(&data(minter)).unwrap();
        assert_eq!((token.supply.nano() / NANO, token.founder), (400_000_000, None), "all of it is made, and nobody makes more");
        let wallet = |owner| WalletData::from_cell(&data(WalletData::new(owner, minter).address().unwrap())).unwrap().balance.nano() / NANO;
        assert_eq!([founder.account(), founding.vault.treasury].map(wallet), [380_000_000, 20_000_000]);
    }

    #[test]
    fn an_empty_wallet_founds_nothing_and_says_what_it_lacks() {
        let (chain, founding) = (chain(), devnet_founding().unwrap());
        let error = deploy(&chain, &OwnerWallet::from_seed(&[9; 32]).unwrap(), &founding, WAIT).unwrap_err();
        assert!(matches!(error, DeployError::Poor { .. }) && error.next_step().contains("wallet deposit"), "{error}");
        assert!(!is_deployed(&chain, founding.vault.address().unwrap()).unwrap());
    }
}
