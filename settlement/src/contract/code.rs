//! The code of each contract, as `contracts/build.mjs` compiled it.

use std::sync::LazyLock;

use serde::Deserialize;
use tonlib_core::cell::ArcCell;

use super::cells::{CellError, from_base64, hash_of, state_init};

/// A contract of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Contract {
    /// `contracts/channel.tolk`.
    Channel,
    /// `contracts/governor.tolk`.
    Governor,
    /// `contracts/jetton-minter.tolk`.
    JettonMinter,
    /// `contracts/jetton-wallet.tolk`.
    JettonWallet,
    /// `contracts/lock.tolk`.
    Lock,
    /// `contracts/provider.tolk`.
    Provider,
    /// `contracts/registry.tolk`.
    Registry,
    /// `contracts/rewards.tolk`.
    Rewards,
    /// `contracts/vault.tolk`.
    Vault,
}

#[derive(Deserialize)]
struct Build {
    code: String,
}

/// In the order of [`Contract::ALL`].
static CODES: LazyLock<[Option<ArcCell>; Contract::ALL.len()]> = LazyLock::new(|| Contract::ALL.map(Contract::parse));

impl Contract {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Channel,
        Self::Governor,
        Self::JettonMinter,
        Self::JettonWallet,
        Self::Lock,
        Self::Provider,
        Self::Registry,
        Self::Rewards,
        Self::Vault,
    ];

    const fn build(self) -> &'static str {
        match self {
            Self::Channel => include_str!("../../contracts/build/channel.json"),
            Self::Governor => include_str!("../../contracts/build/governor.json"),
            Self::JettonMinter => include_str!("../../contracts/build/jetton-minter.json"),
            Self::JettonWallet => include_str!("../../contracts/build/jetton-wallet.json"),
            Self::Lock => include_str!("../../contracts/build/lock.json"),
            Self::Provider => include_str!("../../contracts/build/provider.json"),
            Self::Registry => include_str!("../../contracts/build/registry.json"),
            Self::Rewards => include_str!("../../contracts/build/rewards.json"),
            Self::Vault => include_str!("../../contracts/build/vault.json"),
        }
    }

    fn parse(self) -> Option<ArcCell> {
        let build: Build = serde_json::from_str(self.build()).ok()?;
        from_base64(&build.code).ok()
    }

    /// Its code.
    ///
    /// # Errors
    /// [`CellError`] if the file compiled into this program is damaged, which a test rules out.
    pub fn code(self) -> Result<ArcCell, CellError> {
        let code = Self::ALL.iter().position(|contract| *contract == self).and_then(|position| CODES.get(position));
        code.and_then(Option::clone).ok_or(CellError::Value("code"))
    }

    /// The hash of [`Contract::code`], which an honest account shows.
    ///
    /// # Errors
    /// As for [`Contract::code`].
    pub fn code_hash(self) -> Result<[u8; 32], CellError> {
        self.code().map(|cell| hash_of(&cell))
    }

    /// The `StateInit` that deploys it with this data. Its hash is the contract's account.
    ///
    /// # Errors
    /// As for [`Contract::code`].
    pub fn state_init(self, data: &ArcCell) -> Result<ArcCell, CellError> {
        Ok(state_init(&self.code()?, data)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_code_has_the_committed_hash() {
        for contract in Contract::ALL {
            let build: serde_json::Value = serde_json::from_str(contract.build()).unwrap();
            assert_eq!(hex::encode(contract.code_hash().unwrap()), build["hash"].as_str().unwrap(), "{contract:?}");
        }
    }
}
