//! What a network has, found on its chain: it begins with the vault that its terms name, and each contract names the next.

use std::fmt;

use cocoon_market::{Amount, ContractAddress};
use tonlib_core::cell::Cell;

use super::account::{AccountFault, data_of};
use super::search::PAGES_MAX;
use crate::chain::search::{Reach, look_through};
use crate::chain::{Address, Bounce, Chain, ChainError, Transaction};
use crate::contract::{
    Action, CellError, Contract, ContractMessage, Decision, GovernorData, GovernorMessage, LockData, LockMessage, NetworkTerms,
    ProviderMessage, Purpose, RegistryData, RewardsData, VaultData, VaultMessage, WalletData,
};
use crate::ledger::Order;

/// A contract that a network has once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Where fees go, and where they are sold.
    Vault,
    /// What was decided.
    Registry,
    /// Who pays for verified usage.
    Rewards,
    /// Who decides.
    Governor,
    /// What somebody locked for a time.
    Lock,
    /// Somebody's COCOON.
    Wallet,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vault => "vault",
            Self::Registry => "registry",
            Self::Rewards => "contract for rewards",
            Self::Governor => "governor",
            Self::Lock => "lock",
            Self::Wallet => "jetton wallet",
        })
    }
}

/// Why a network has not what was looked for.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The chain.
    #[error("the chain did not answer")]
    Chain(#[from] ChainError),
    /// The account is none of our contracts.
    #[error("{} is not this network's {part}", Address::from(*at).friendly(Bounce::Yes))]
    Account {
        /// What it should be.
        part: Part,
        /// Where.
        at: ContractAddress,
        /// Why it is not.
        #[source]
        fault: AccountFault,
    },
    /// The account's data is not what its code stores.
    #[error("{} stores what no {part} stores", Address::from(*at).friendly(Bounce::Yes))]
    Data {
        /// What it should be.
        part: Part,
        /// Where.
        at: ContractAddress,
        /// What is wrong with it.
        #[source]
        source: CellError,
    },
    /// It is the contract of another network.
    #[error("{} is the {part} of another network", Address::from(*at).friendly(Bounce::Yes))]
    Other {
        /// What it should be.
        part: Part,
        /// Where.
        at: ContractAddress,
    },
    /// The network was founded without it.
    #[error("this network's founder stands in for its {0}")]
    StandIn(Part),
    /// The code of a contract in this program is damaged.
    #[error("the address of one of the network's contracts cannot be computed")]
    Cell(#[from] CellError),
}

impl NetworkError {
    /// Whether there is nothing at the address.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Account { fault: AccountFault::NotDeployed, .. })
    }
}

/// A contract as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// Where it is.
    pub at: ContractAddress,
    /// What it stores.
    pub data: T,
    /// What the account holds, in TON.
    pub balance: Amount,
    /// When that was seen, in seconds since the Unix epoch.
    pub seen_at_s: u64,
}

impl<T> Placed<T> {
    /// When it was seen, as contracts count time.
    pub fn now_s(&self) -> u32 {
        u32::try_from(self.seen_at_s).unwrap_or(u32::MAX)
    }
}

/// What a network has, as far as its vault says.
#[derive(Clone, Debug)]
pub struct NetworkContracts {
    terms: NetworkTerms,
    vault: Placed<VaultData>,
}

impl NetworkContracts {
    /// Looks at the vault of these terms: its code, and that its address is a hash over what is fixed for it.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn find(chain: &dyn Chain, terms: &NetworkTerms) -> Result<Self, NetworkError> {
        let vault = place(chain, Part::Vault, Contract::Vault, terms.vault, VaultData::from_cell)?;
        let is_ours = vault.data.terms.address()? == vault.at && vault.data.terms.network == terms.network;
        if is_ours { Ok(Self { terms: *terms, vault }) } else { Err(NetworkError::Other { part: Part::Vault, at: terms.vault }) }
    }

    /// The vault, as it was found.
    pub const fn vault(&self) -> &Placed<VaultData> {
        &self.vault
    }

    /// What is the same for all providers of the network.
    pub const fn terms(&self) -> &NetworkTerms {
        &self.terms
    }

    /// The minter of COCOON.
    pub const fn minter(&self) -> ContractAddress {
        self.vault.data.terms.minter
    }

    /// Whether one account was named as both registry and rewards, which no account can be: the founder's own.
    fn is_stood_in(&self) -> bool {
        self.vault.data.terms.registry == self.vault.data.terms.rewards
    }

    /// What was decided.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn registry(&self, chain: &dyn Chain) -> Result<Placed<RegistryData>, NetworkError> {
        if self.is_stood_in() {
            return Err(NetworkError::StandIn(Part::Registry));
        }
        let registry = place(chain, Part::Registry, Contract::Registry, self.vault.data.terms.registry, RegistryData::from_cell)?;
        self.ours(Part::Registry, registry, |data| data.vault == self.vault.at)
    }

    /// Who pays for verified usage.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn rewards(&self, chain: &dyn Chain) -> Result<Placed<RewardsData>, NetworkError> {
        if self.is_stood_in() {
            return Err(NetworkError::StandIn(Part::Rewards));
        }
        let rewards = place(chain, Part::Rewards, Contract::Rewards, self.vault.data.terms.rewards, RewardsData::from_cell)?;
        self.ours(Part::Rewards, rewards, |data| data.known.vault == self.vault.at)
    }

    /// Who decides: whose decisions the registry keeps.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn governor(&self, chain: &dyn Chain) -> Result<Placed<GovernorData>, NetworkError> {
        if self.is_stood_in() {
            return Err(NetworkError::StandIn(Part::Governor));
        }
        let registry = self.registry(chain)?;
        let governor = place(chain, Part::Governor, Contract::Governor, registry.data.governor, GovernorData::from_cell)?;
        self.ours(Part::Governor, governor, |data| data.minter == self.minter() && data.registry == registry.at)
    }

    fn ours<T>(&self, part: Part, placed: Placed<T>, is_ours: impl FnOnce(&T) -> bool) -> Result<Placed<T>, NetworkError> {
        if is_ours(&placed.data) { Ok(placed) } else { Err(NetworkError::Other { part, at: placed.at }) }
    }

    /// Where somebody's COCOON is.
    ///
    /// # Errors
    /// [`NetworkError::Cell`].
    pub fn wallet_of(&self, owner: ContractAddress) -> Result<ContractAddress, NetworkError> {
        Ok(WalletData::new(owner, self.minter()).address()?)
    }

    /// How much COCOON somebody has; nothing where no wallet is deployed.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn balance(&self, chain: &dyn Chain, owner: ContractAddress) -> Result<Amount, NetworkError> {
        let at = self.wallet_of(owner)?;
        match place(chain, Part::Wallet, Contract::JettonWallet, at, WalletData::from_cell) {
            Ok(wallet) => Ok(wallet.data.balance),
            Err(error) if error.is_absent() => Ok(Amount::ZERO),
            Err(error) => Err(error),
        }
    }

    /// Where somebody's lock is, or would be.
    ///
    /// # Errors
    /// [`NetworkError::Cell`].
    pub fn lock_of(&self, governor: ContractAddress, owner: ContractAddress) -> Result<ContractAddress, NetworkError> {
        Ok(LockData::new(owner, governor).address()?)
    }

    /// What somebody locked; none where nothing ever was.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn lock(
        &self,
        chain: &dyn Chain,
        governor: ContractAddress,
        owner: ContractAddress,
    ) -> Result<Option<Placed<LockData>>, NetworkError> {
        match place(chain, Part::Lock, Contract::Lock, self.lock_of(governor, owner)?, LockData::from_cell) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a proposal is about, whoever made it: looked for among what locks told the governor. None where the endpoint does not show
    /// that any more.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn action_of(&self, chain: &dyn Chain, governor: ContractAddress, decision: &Decision) -> Result<Option<Action>, NetworkError> {
        let is_it = |action: &Action| action.hash().is_ok_and(|hash| hash == decision.action);
        let told = |transaction: &Transaction| {
            let body = &transaction.in_message.as_ref()?.body;
            Action::proposed(body).filter(is_it)
        };
        let reach = Reach { after_lt: 0, from_s: decision.proposed_s.into(), pages_max: PAGES_MAX };
        let look = look_through(chain, &Address::from(governor), reach, |transaction| told(transaction).is_some())?;
        Ok(look.found.as_ref().and_then(told))
    }

    /// The accounts that an order of `owner` reaches, so that it can be rehearsed on all of them. `governor` is where votes are.
    ///
    /// # Errors
    /// [`NetworkError::Cell`].
    pub fn reached(&self, owner: ContractAddress, governor: Option<ContractAddress>, order: &Order) -> Result<Vec<Address>, NetworkError> {
        let mut reached = vec![owner, order.destination()?];
        match order {
            Order::Tell { message, .. } => reached.extend(self.told(owner, governor, message)?),
            Order::Provider { message: ProviderMessage::Attest(_) | ProviderMessage::CollectReward(_), .. } => {
                reached.push(self.terms.rewards);
            }
            Order::Provider { message: ProviderMessage::TakeReward, .. } => {
                reached.extend([self.terms.rewards, self.wallet_of(self.terms.rewards)?, self.wallet_of(owner)?]);
            }
            Order::Open { .. }
            | Order::TopUp { .. }
            | Order::Claim(_)
            | Order::Close(_)
            | Order::Finish(_)
            | Order::CloseTogether { .. }
            | Order::Transfer { .. }
            | Order::Stake { .. }
            | Order::Provider { .. }
            | Order::Operator { .. } => {}
        }
        reached.sort_unstable();
        reached.dedup();
        Ok(reached.into_iter().map(Address::from).collect())
    }

    fn told(
        &self,
        owner: ContractAddress,
        governor: Option<ContractAddress>,
        message: &ContractMessage,
    ) -> Result<Vec<ContractAddress>, NetworkError> {
        let (vault, terms) = (self.vault.at, &self.vault.data.terms);
        let mut reached: Vec<_> = match message {
            ContractMessage::Lock(_) | ContractMessage::Governor(_) => governor.into_iter().collect(),
            ContractMessage::Move { .. } | ContractMessage::Burn(_) | ContractMessage::Vault(_) => Vec::new(),
        };
        match message {
            ContractMessage::Move { to, purpose, .. } => {
                reached.extend([*to, self.wallet_of(*to)?]);
                match purpose {
                    Purpose::Credit { provider } => reached.push(*provider),
                    Purpose::Lock { .. } => reached.push(self.lock_of(*to, owner)?),
                    Purpose::Nothing | Purpose::Bid { .. } => {}
                }
            }
            ContractMessage::Burn(_) => reached.push(terms.minter),
            ContractMessage::Vault(VaultMessage::CloseEpoch) => reached.extend([self.wallet_of(vault)?, terms.minter, terms.rewards]),
            ContractMessage::Vault(VaultMessage::PayTreasury) => reached.push(terms.treasury),
            ContractMessage::Lock(LockMessage::Unlock) => {
                reached.push(self.wallet_of(owner)?);
                reached.extend(governor.map(|governor| self.wallet_of(governor)).transpose()?);
            }
            ContractMessage::Governor(GovernorMessage::Execute { action, .. }) => match action {
                Action::SpendCocoon { to, .. } => {
                    reached.push(self.wallet_of(*to)?);
                    reached.extend(governor.map(|governor| self.wallet_of(governor)).transpose()?);
                }
                Action::SpendTon { to, .. } => reached.push(*to),
                Action::SetParameter { .. } | Action::SetVerifyingKey { .. } | Action::SetAuditors { .. } | Action::SetStandards(_) => {
                    reached.extend([terms.registry, vault, terms.rewards]);
                }
            },
            ContractMessage::Governor(GovernorMessage::Stop) => reached.push(terms.rewards),
            ContractMessage::Vault(VaultMessage::Fee { .. })
            | ContractMessage::Lock(LockMessage::Lengthen(_) | LockMessage::Vote { .. } | LockMessage::Propose(_))
            | ContractMessage::Governor(GovernorMessage::Introduce { .. }) => {}
        }
        Ok(reached)
    }
}

fn place<T>(
    chain: &dyn Chain,
    part: Part,
    contract: Contract,
    at: ContractAddress,
    read: impl FnOnce(&Cell) -> Result<T, CellError>,
) -> Result<Placed<T>, NetworkError> {
    let account = chain.account(&Address::from(at))?;
    let cell = data_of(&account, contract).map_err(|fault| NetworkError::Account { part, at, fault })?;
    let data = read(cell).map_err(|source| NetworkError::Data { part, at, source })?;
    Ok(Placed { at, data, balance: account.balance, seen_at_s: account.seen_at.unix_s })
}
