//! The chain a node is told to use: opened, and with its faucet if it has one.
//!
//! Everything here blocks; async callers run it on a thread that may block.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cocoon_market::Amount;
use cocoon_settlement::chain::embedded::{Blocks, Clock, Embedded, OpenError, Options, StoreError, system_clock};
use cocoon_settlement::chain::quorum::{Patience, Quorum};
use cocoon_settlement::chain::toncenter::{ApiKey, ApiKeyError, Rate, Toncenter};
use cocoon_settlement::chain::{Address, Chain, ChainError, Faucet, Hash};

use crate::config::{ChainConfig, Endpoint, Network, Secret};
use crate::failure::NextStep;

/// The file of an embedded chain in its directory.
pub(crate) const CHAIN_FILE: &str = "chain.redb";

/// How often a chain in this process makes a block unless somebody says otherwise.
pub const BLOCK_TIME: Duration = Duration::from_secs(2);

/// An open chain.
#[derive(Clone)]
pub struct OpenChain {
    /// The chain.
    pub chain: Arc<dyn Chain>,
    /// Free money, on a devnet.
    pub faucet: Option<Arc<dyn Faucet>>,
    /// The chain as what it is, if it runs in this process. Without [`Embedded::tick`] it makes blocks only when it is asked something.
    pub embedded: Option<Arc<Embedded>>,
}

impl fmt::Debug for OpenChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenChain").field("network", &self.chain.network()).finish_non_exhaustive()
    }
}

/// Why a chain is not open.
#[derive(Debug, thiserror::Error)]
pub enum ChainOpenError {
    /// The directory of an embedded chain cannot be made.
    #[error("cannot create {dir}")]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// An embedded chain cannot be opened.
    #[error("cannot open the chain in {dir}")]
    Embedded {
        /// Its directory.
        dir: PathBuf,
        /// The cause.
        #[source]
        source: Box<OpenError>,
    },
    /// A key that no endpoint gives out.
    #[error("{setting} is wrong")]
    Key {
        /// Which.
        setting: &'static str,
        /// The cause.
        #[source]
        source: ApiKeyError,
    },
    /// The two endpoints cannot be compared.
    #[error("the chain's two endpoints do not go together")]
    Witness(#[source] ChainError),
}

impl NextStep for ChainOpenError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Embedded { source, .. } if matches!(**source, OpenError::Store(StoreError::InUse)) => {
                "use it through the process that has it open: --chain http://127.0.0.1:8081".into()
            }
            Self::Embedded { dir, .. } => format!("if it is a devnet you can lose, remove {}", dir.display()).into(),
            Self::Directory { .. } => "check permissions and free space, or choose another directory".into(),
            Self::Key { setting, .. } => format!("change {setting} in the configuration").into(),
            Self::Witness(_) => "change chain.witness in the configuration".into(),
        }
    }
}

impl NextStep for ChainError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Unreachable { .. } => "swarm devnet, if it should run on this machine; else check chain.endpoint and the network".into(),
            Self::RateLimited { wait_s: Some(wait_s), .. } => {
                format!("again in {wait_s} s, or set chain.api_key and chain.requests_per_s in the configuration").into()
            }
            Self::RateLimited { wait_s: None, .. } => "again later, or set chain.api_key in the configuration".into(),
            Self::KeyRefused { .. } => {
                "set chain.api_key in the configuration to a key of this endpoint (chain.witness_api_key for the witness)".into()
            }
            Self::Unclear => "look for it before you send another: swarm wallet balance, swarm channels ls".into(),
            Self::Ahead { .. } => "synchronise this machine's clock (swarm doctor); if it is right, another chain.endpoint".into(),
            Self::Stale { .. } => {
                "synchronise this machine's clock (swarm doctor); if it is right, another chain.endpoint: this one lags".into()
            }
            Self::Lagging { .. } => "again in a minute; if it stays, another chain.endpoint or chain.witness".into(),
            Self::Unavailable { .. } | Self::BlockFull => "again in a minute".into(),
            Self::Malformed { .. } => "another chain.endpoint: this one does not speak toncenter's API".into(),
            Self::Disagreement { .. } => "again in a minute; if it stays, do not trust either endpoint with money".into(),
            Self::WrongNetwork { .. } => "a chain.endpoint of the network that chain.network names".into(),
            Self::Rejected(_) => "swarm wallet balance: the wallet may hold too little, or the clock may be wrong (swarm doctor)".into(),
            Self::Storage(_) => "swarm doctor, which checks permissions and free space".into(),
            _ => "swarm doctor, which checks the chain".into(),
        }
    }
}

/// Opens the configured chain. Nothing is asked yet of one that is reached over HTTP.
///
/// # Errors
/// [`ChainOpenError`].
pub fn open(config: &ChainConfig) -> Result<OpenChain, ChainOpenError> {
    let url = match &config.endpoint {
        Endpoint::Embedded(dir) => return Ok(OpenChain::from(open_embedded(dir, BLOCK_TIME)?)),
        Endpoint::Http(url) => url,
    };
    let first = || client(config, url, config.api_key.as_ref(), "chain.api_key");
    let faucet = match config.network {
        Network::Devnet => Some(Arc::new(RemoteFaucet(first()?)) as Arc<dyn Faucet>),
        Network::Testnet | Network::Mainnet => None,
    };
    let chain: Arc<dyn Chain> = match &config.witness {
        Some(Endpoint::Http(witness)) => {
            let second = client(config, witness, config.witness_api_key.as_ref(), "chain.witness_api_key")?;
            Arc::new(Quorum::new(first()?, second, Patience::default()).map_err(ChainOpenError::Witness)?)
        }
        Some(Endpoint::Embedded(_)) | None => Arc::new(first()?),
    };
    Ok(OpenChain { chain, faucet, embedded: None })
}

/// A client for one endpoint. Each has a key of its own: an endpoint is not told the other's.
fn client(config: &ChainConfig, url: &str, key: Option<&Secret>, setting: &'static str) -> Result<Toncenter, ChainOpenError> {
    let key = key.map(|key| ApiKey::new(key.reveal())).transpose().map_err(|source| ChainOpenError::Key { setting, source })?;
    let client = Toncenter::new(url, config.network.id(), key);
    Ok(match config.requests_per_s {
        Some(rate) => client.with_rate(Rate::PerSecond(rate)),
        None => client,
    })
}

/// Opens the chain in a directory, or starts a new one there.
///
/// # Errors
/// [`ChainOpenError`].
pub fn open_embedded(dir: &Path, block_time: Duration) -> Result<Embedded, ChainOpenError> {
    open_embedded_by(dir, block_time, system_clock())
}

/// The same, by another clock than this machine's.
///
/// # Errors
/// As for [`open_embedded`].
pub fn open_embedded_by(dir: &Path, block_time: Duration, clock: Clock) -> Result<Embedded, ChainOpenError> {
    std::fs::create_dir_all(dir).map_err(|source| ChainOpenError::Directory { dir: dir.to_owned(), source })?;
    let options = Options { blocks: Blocks::Every(block_time), clock };
    Embedded::open(&dir.join(CHAIN_FILE), options)
        .map_err(|source| ChainOpenError::Embedded { dir: dir.to_owned(), source: Box::new(source) })
}

impl From<Embedded> for OpenChain {
    fn from(embedded: Embedded) -> Self {
        let embedded = Arc::new(embedded);
        Self { chain: embedded.clone(), faucet: Some(embedded.clone()), embedded: Some(embedded) }
    }
}

/// The faucet of a devnet in another process.
struct RemoteFaucet(Toncenter);

impl Faucet for RemoteFaucet {
    fn fund(&self, address: &Address, amount: Amount) -> Result<Hash, ChainError> {
        self.0.fund(address, amount)
    }
}

/// Asks until there is an answer, or the time is over.
///
/// # Errors
/// The first that `ask` has.
pub fn poll_any<T, E>(wait: Duration, period: Duration, mut ask: impl FnMut() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    let start = Instant::now();
    loop {
        if let Some(found) = ask()? {
            return Ok(Some(found));
        }
        if start.elapsed() >= wait {
            return Ok(None);
        }
        std::thread::sleep(period);
    }
}

/// The same of a chain: one that is out of reach for a moment is asked again.
///
/// # Errors
/// What will not be better later.
pub fn poll<T>(wait: Duration, period: Duration, mut ask: impl FnMut() -> Result<Option<T>, ChainError>) -> Result<Option<T>, ChainError> {
    poll_any(wait, period, || match ask() {
        Err(error) if error.is_retryable() => Ok(None),
        answer => answer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedded_chain_is_opened_once_and_says_why_not_twice() {
        let dir = tempfile::tempdir().unwrap();
        let config = ChainConfig { endpoint: Endpoint::Embedded(dir.path().join("chain")), ..ChainConfig::default() };
        let first = open(&config).unwrap();
        assert!(first.faucet.is_some() && first.embedded.is_some());
        assert_eq!(first.chain.head().unwrap().seqno, 0);
        let error = open(&config).unwrap_err();
        assert!(error.next_step().contains("--chain http"), "{error}: {}", error.next_step());
    }

    #[test]
    fn a_key_that_is_none_is_named_and_not_shown() {
        let path = tempfile::tempdir().unwrap().path().join("config.toml");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        for (text, setting) in [
            ("[chain]\napi_key = \"se same\"\n", "chain.api_key"),
            ("[chain]\nwitness = \"http://b\"\nwitness_api_key = \"se same\"\n", "chain.witness_api_key"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = open(&crate::config::Config::load(&path).unwrap().chain).unwrap_err();
            assert!(error.to_string().contains(setting) && error.next_step().contains(setting), "{error}");
            assert!(!format!("{error:?} {error} {}", error.next_step()).contains("same"), "{error:?}");
        }
    }

    #[test]
    fn only_a_devnet_has_a_faucet() {
        let on = |network| open(&ChainConfig { network, endpoint: Endpoint::default_of(network), ..ChainConfig::default() }).unwrap();
        assert!(on(Network::Devnet).faucet.is_some());
        assert!(on(Network::Testnet).faucet.is_none());
        assert!(on(Network::Mainnet).faucet.is_none());
    }

    #[test]
    fn polling_forgives_a_moment_and_not_a_refusal() {
        let busy = || ChainError::BlockFull;
        let mut answers = vec![Ok(Some(7)), Err(busy()), Ok(None)];
        let found = poll(Duration::MAX, Duration::ZERO, || answers.pop().unwrap_or(Ok(None)));
        assert_eq!(found.unwrap(), Some(7));
        assert!(poll::<()>(Duration::MAX, Duration::ZERO, || Err(ChainError::Unsupported("x"))).is_err());
        assert_eq!(poll::<()>(Duration::ZERO, Duration::ZERO, || Ok(None)).unwrap(), None);
    }
}
