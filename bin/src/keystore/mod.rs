//! The keys of a node: one file, `keys.json`, for its owner alone.
//!
//! | key | what it does | in the file as |
//! |---|---|---|
//! | owner | holds the money: opens channels, withdraws | the 24 words of a TON wallet |
//! | operator | signs offers, agreements, receipts, vouchers | an ed25519 seed |
//! | identity | names the peer in libp2p | an ed25519 seed |
//!
//! The file is written once, whole or not at all, and never overwritten. Its secrets are sealed with a passphrase; without one only on a
//! devnet, whose money is worth nothing, and the file says so. What is not secret (network, wallet address, node id) can be
//! read without the passphrase, and is authenticated once the secrets are open.

mod file;
mod passphrase;
mod seal;

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use cocoon_market::{NodeId, OperatorKey};
use cocoon_settlement::chain::Address;
use cocoon_settlement::wallet::{Mnemonic, OwnerWallet, WalletError};
use serde::Serialize;
use zeroize::Zeroizing;

pub use passphrase::{PassphraseError, PassphraseSource};

use crate::config::Network;
use crate::durable::{self, Existing};
use crate::failure::{Exit, NextStep};
use seal::Cost;

/// Bytes a keystore may have: some twenty times what it has.
const KEYSTORE_BYTES_MAX: u64 = 64 << 10;

/// All keys of a node. Wiped from memory when dropped.
#[derive(Debug, Clone)]
pub struct Keys {
    network: Network,
    mnemonic: Mnemonic,
    operator: OperatorKey,
    identity_seed: Seed,
}

/// A seed that is not shown.
#[derive(Clone)]
struct Seed(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// What of the keys anyone may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PublicKeys {
    /// The network they are for.
    pub network: Network,
    /// The owner's wallet.
    pub owner: Address,
    /// The operator's public key.
    pub operator: NodeId,
}

/// How the secrets in the file are protected.
#[derive(Debug)]
pub enum Protection<'a> {
    /// Sealed with this passphrase.
    Passphrase(&'a str),
    /// Not at all; for devnets.
    None,
}

impl Keys {
    /// New keys for a network.
    ///
    /// # Errors
    /// [`KeystoreError::Random`], [`KeystoreError::Wallet`].
    pub fn generate(network: Network) -> Result<Self, KeystoreError> {
        Self::with_mnemonic(network, Mnemonic::generate()?)
    }

    /// The wallet of existing words, with new keys beside it.
    ///
    /// # Errors
    /// [`KeystoreError::Random`].
    pub fn with_mnemonic(network: Network, mnemonic: Mnemonic) -> Result<Self, KeystoreError> {
        let random = || seal::random().map(Zeroizing::new).map_err(|_| KeystoreError::Random);
        Ok(Self { network, mnemonic, operator: OperatorKey::from_seed(&*random()?), identity_seed: Seed(random()?) })
    }

    /// The network they are for.
    pub const fn network(&self) -> Network {
        self.network
    }

    /// The words of the owner's wallet, for the person who writes them down.
    pub const fn mnemonic(&self) -> &Mnemonic {
        &self.mnemonic
    }

    /// The owner's wallet.
    ///
    /// # Errors
    /// [`KeystoreError::Wallet`].
    pub fn wallet(&self) -> Result<OwnerWallet, KeystoreError> {
        Ok(OwnerWallet::new(&self.mnemonic)?)
    }

    /// The operator key.
    pub const fn operator(&self) -> &OperatorKey {
        &self.operator
    }

    /// The seed of the libp2p identity.
    pub fn identity_seed(&self) -> &[u8; 32] {
        &self.identity_seed.0
    }

    /// What of them anyone may see.
    ///
    /// # Errors
    /// [`KeystoreError::Wallet`].
    pub fn public(&self) -> Result<PublicKeys, KeystoreError> {
        Ok(PublicKeys { network: self.network, owner: self.wallet()?.address(), operator: self.operator.node_id() })
    }
}

/// Writes a new keystore.
///
/// # Errors
/// [`KeystoreError::Exists`] when there is one, which is left as it is; [`KeystoreError::Unprotected`] for keys that may hold
/// real money; [`KeystoreError::Write`].
pub fn create(path: &Path, keys: &Keys, protection: &Protection<'_>) -> Result<(), KeystoreError> {
    create_at_cost(path, keys, protection, Cost::STRONG)
}

fn create_at_cost(path: &Path, keys: &Keys, protection: &Protection<'_>, cost: Cost) -> Result<(), KeystoreError> {
    if matches!(protection, Protection::None) && keys.network != Network::Devnet {
        return Err(KeystoreError::Unprotected { network: keys.network.name() });
    }
    let text = file::encode(keys, protection, cost)?;
    durable::write(path, text.as_bytes(), Existing::Keep).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeystoreError::Exists { path: path.to_owned() },
        _ => KeystoreError::Write { path: path.to_owned(), source },
    })
}

/// Opens a keystore, asking for its passphrase if it has one.
///
/// # Errors
/// [`KeystoreError`].
pub fn open(path: &Path, passphrase: &PassphraseSource) -> Result<Keys, KeystoreError> {
    let file = read(path)?;
    file.open(path, passphrase)
}

/// Reads what of a keystore anyone may see. It is believed by whoever reads it, not verified: that takes the passphrase.
///
/// # Errors
/// [`KeystoreError`].
pub fn public(path: &Path) -> Result<PublicKeys, KeystoreError> {
    Ok(read(path)?.public)
}

/// Whether a keystore can be opened without a passphrase.
///
/// # Errors
/// [`KeystoreError`].
pub fn is_unprotected(path: &Path) -> Result<bool, KeystoreError> {
    Ok(read(path)?.is_unprotected())
}

fn read(path: &Path) -> Result<file::KeyFile, KeystoreError> {
    let io = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeystoreError::Missing { path: path.to_owned() },
        _ => KeystoreError::Read { path: path.to_owned(), source },
    };
    let metadata = std::fs::metadata(path).map_err(io)?;
    check_permissions(path, &metadata)?;
    if metadata.len() > KEYSTORE_BYTES_MAX {
        return Err(KeystoreError::Damaged { path: path.to_owned() });
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(io)?);
    file::decode(&text).map_err(|()| KeystoreError::Damaged { path: path.to_owned() })
}

#[cfg(unix)]
fn check_permissions(path: &Path, metadata: &std::fs::Metadata) -> Result<(), KeystoreError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeystoreError::Permissions { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_permissions(_: &Path, _: &std::fs::Metadata) -> Result<(), KeystoreError> {
    Ok(())
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// There is none.
    #[error("there are no keys at {path}")]
    Missing {
        /// Where they should be.
        path: PathBuf,
    },
    /// There is one already.
    #[error("there are keys at {path} already")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others can read it.
    #[error("others can read the keys at {path} (permissions {mode:03o})")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It cannot be read.
    #[error("cannot read the keys at {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write the keys to {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is no keystore, or not one that this release knows.
    #[error("{path} is no keystore of this release, or damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase does not open it.
    #[error("the passphrase does not open {path}")]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase is right, and what it opens was changed by somebody.
    #[error("{path} was changed after it was written")]
    Tampered {
        /// The file.
        path: PathBuf,
    },
    /// Without a passphrase on a network whose money is worth something.
    #[error("keys for {network} need a passphrase")]
    Unprotected {
        /// The network.
        network: &'static str,
    },
    /// There is no passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The wallet library refuses.
    #[error("the wallet cannot be made")]
    Wallet(#[from] WalletError),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
}

impl NextStep for KeystoreError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Missing { .. } => "swarm init, which makes them; or name their directory with --home DIR".into(),
            Self::Exists { .. } => "use them; or choose another directory with --home DIR. Nothing was changed".into(),
            Self::Permissions { path, .. } => {
                format!("chmod 600 {}; and if others may have read them, move the money", path.display()).into()
            }
            Self::Read { .. } | Self::Write { .. } => "swarm doctor, which checks permissions and free space".into(),
            Self::Damaged { .. } | Self::Tampered { .. } => {
                "swarm init --restore WORDS in another --home: the 24 words bring the money back".into()
            }
            Self::WrongPassphrase { .. } => "the passphrase that swarm init was given".into(),
            Self::Unprotected { .. } => "without --no-passphrase".into(),
            Self::Passphrase(error) => error.next_step(),
            Self::Wallet(_) => "24 words as a TON wallet wrote them, without a password".into(),
            Self::Random => "again later; early in a machine's start there may be none".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Unprotected { .. } => Exit::Usage,
            Self::Passphrase(error) => error.exit(),
            Self::Missing { .. }
            | Self::Exists { .. }
            | Self::Permissions { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Damaged { .. }
            | Self::WrongPassphrase { .. }
            | Self::Tampered { .. }
            | Self::Wallet(_)
            | Self::Random => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests;
