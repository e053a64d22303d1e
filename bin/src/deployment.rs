//! What a network has once, its token, vault, rewards, registry and governor: put on its chain.
//!
//! Everything here blocks; async callers run it on a thread that may block.

use std::borrow::Cow;
use std::time::Duration;

use cocoon_market::{Amount, AmountError, ContractAddress};
use cocoon_settlement::chain::{AccountStatus, Address, Chain, ChainError, Faucet};
use cocoon_settlement::contract::CellError;
use cocoon_settlement::contract::founding::Founding;
use cocoon_settlement::wallet::{OwnerWallet, SignedTransfer, WalletError, next_seqno};

use crate::chain::poll;
use crate::failure::NextStep;
use crate::output::ton_text;

/// What stays in the wallet for its own gas.
const WALLET_FEES: Amount = Amount::from_nano(40_000_000);

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

/// The messages that found a network, and what its wallet holds.
#[derive(Debug)]
pub struct Deployment {
    /// The signed messages, one after the other: a wallet sends four at once, and it takes more.
    pub signed: Vec<SignedTransfer>,
    /// What they carry.
    pub value: Amount,
    /// What the wallet must hold for them.
    pub needed: Amount,
    /// What it holds.
    pub balance: Amount,
}

/// Signs what founds a network from its founder's wallet. Nothing is sent.
///
/// # Errors
/// [`DeployError`].
pub fn prepare(chain: &dyn Chain, wallet: &OwnerWallet, founding: &Founding) -> Result<Deployment, DeployError> {
    let account = chain.account(&wallet.address())?;
    let valid_until = valid_until(chain)?;
    let steps = (next_seqno(&account)?..).zip(founding.steps()?);
    let signed = steps.map(|(seqno, step)| wallet.sign(seqno, valid_until, &step)).collect::<Result<_, _>>()?;
    let needed = needed(founding)?;
    Ok(Deployment { signed, value: needed.checked_sub(WALLET_FEES)?, needed, balance: account.balance })
}

fn valid_until(chain: &dyn Chain) -> Result<u32, DeployError> {
    Ok(u32::try_from(chain.head()?.unix_s.saturating_add(VALID_S)).unwrap_or(u32::MAX))
}

/// What a wallet must hold to found a network.
fn needed(founding: &Founding) -> Result<Amount, DeployError> {
    let values = founding.steps()?.into_iter().flatten().map(|message| message.value);
    Ok(Amount::sum(values.chain([WALLET_FEES]))?)
}

/// Sends what founds a network, and waits until the chain shows its rewards, which come last. What an earlier run did is not done again.
///
/// # Errors
/// [`DeployError`].
pub fn deploy(chain: &dyn Chain, wallet: &OwnerWallet, founding: &Founding, wait: Duration) -> Result<Deployment, DeployError> {
    let mut deployment = prepare(chain, wallet, founding)?;
    if deployment.balance < deployment.needed {
        return Err(DeployError::Poor { needed: deployment.needed, balance: deployment.balance });
    }
    deployment.signed.clear();
    let shown = [("the vault", founding.providers.vault), ("the rewards", founding.providers.rewards)];
    for ((what, contract), step) in shown.into_iter().zip(founding.steps()?) {
        if !is_deployed(chain, contract)? {
            let seqno = next_seqno(&chain.account(&wallet.address())?)?;
            let signed = wallet.sign(seqno, valid_until(chain)?, &step)?;
            chain.send_boc(&signed.boc)?;
            deployment.signed.push(signed);
            await_seen(what, wait, || is_deployed(chain, contract))?;
        }
    }
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
    if is_deployed(chain, founding.providers.rewards)? {
        return Ok(false);
    }
    let needed = needed(founding)?;
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
    use cocoon_settlement::contract::{GovernorData, MinterData, RegistryData, RewardsData, VaultData, VaultTerms, WalletData};

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
        let owners = [founder.account(), founding.genesis.treasury, founding.genesis.reserve];
        assert_eq!(owners.map(wallet), [60_000_000, 20_000_000, 320_000_000]);
    }

    #[test]
    fn everybody_knows_whom_it_works_with_and_the_founder_says_no_more() {
        let (chain, founder, founding) = (chain(), devnet_founder().unwrap(), devnet_founding().unwrap());
        ensure_devnet(&chain, &chain, &founder, &founding, WAIT).unwrap();
        let data = |account: ContractAddress| chain.account(&Address::from(account)).unwrap().data.unwrap();
        let VaultTerms { registry, rewards, treasury: governor, minter, .. } = founding.vault;
        let its = RewardsData::from_cell(&data(rewards)).unwrap();
        assert_eq!((its.founder, its.commitment), (None, founding.registry.auditors.commitment));
        assert_eq!((its.known.vault, its.known.registry), (founding.providers.vault, registry));
        assert_eq!((its.known.governor, its.known.minter, its.known.providers), (governor, minter, founding.providers.hash().unwrap()));
        let its = RegistryData::from_cell(&data(registry)).unwrap();
        assert_eq!((its.founder, its.governor, its.vault, its.rewards), (None, governor, founding.providers.vault, rewards));
        assert_eq!(its.keys.len(), 4, "of three sizes of attestations, and of the auditors' list");
        let its = GovernorData::from_cell(&data(governor)).unwrap();
        assert_eq!((its.founder, its.registry, its.rewards, its.guardian), (None, registry, rewards, founder.account()));
    }

    #[test]
    fn what_a_run_began_the_next_one_ends() {
        let (chain, founder, founding) = (chain(), devnet_founder().unwrap(), devnet_founding().unwrap());
        chain.fund(&founder.address(), needed(&founding).unwrap()).unwrap();
        let begun = prepare(&chain, &founder, &founding).unwrap();
        chain.send_boc(&begun.signed[0].boc).unwrap();
        assert!(!is_deployed(&chain, founding.providers.rewards).unwrap());
        assert!(ensure_devnet(&chain, &chain, &founder, &founding, WAIT).unwrap());
        assert!(is_deployed(&chain, founding.providers.rewards).unwrap());
    }

    #[test]
    fn an_empty_wallet_founds_nothing_and_says_what_it_lacks() {
        let (chain, founding) = (chain(), devnet_founding().unwrap());
        let error = deploy(&chain, &OwnerWallet::from_seed(&[9; 32]).unwrap(), &founding, WAIT).unwrap_err();
        assert!(matches!(error, DeployError::Poor { .. }) && error.next_step().contains("wallet deposit"), "{error}");
        assert!(!is_deployed(&chain, founding.vault.address().unwrap()).unwrap());
    }
}
