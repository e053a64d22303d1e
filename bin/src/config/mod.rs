//! The configuration of a node: one TOML file, read once, checked as a whole.
//!
//! `config.example.toml` shows every key with its default; a test keeps it true. The types here are both the file's form and
//! what the program runs on: fields have the narrowest type there is, so that most mistakes are found where they stand, and
//! [`Config::check`] finds those that take two fields to see.

mod endpoint;
mod error;
mod price;
mod rules;
mod terms;
pub(crate) mod text;
mod write;

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};

use cocoon_market::offer::{CHALLENGE_WINDOW_S_MIN, ModelClass, Tier};
use cocoon_market::{Amount, NetworkId};
use cocoon_runtime::device::{AdapterChoice, DeviceChoice};
use cocoon_runtime::{Device, ServingLimits};
use cocoon_settlement::chain::Confirmations;
use cocoon_settlement::settler::ClaimPolicy;
use serde::{Deserialize, Serialize};

pub use endpoint::{Endpoint, EndpointError};
pub use error::ConfigError;
pub use price::Price;
pub use terms::{HALF_LIFE, NetworkConfig, TREASURY_FROM_S, TermsError, development_auditors, devnet_founder, devnet_founding, founding};
pub use write::{WriteConfigError, write_new, write_terms};

/// Bytes a configuration file may have: a thousand times what anybody writes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The challenge window on a devnet, unless somebody says otherwise.
const DEVNET_WINDOW_S: u32 = 600;

/// The configuration of a node. See `config.example.toml` for what each key means to a person.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The peer.
    pub node: NodeConfig,
    /// Where money lies.
    pub chain: ChainConfig,
    /// Where models come from and are kept.
    pub models: ModelsConfig,
    /// What is sold.
    pub provide: ProvideConfig,
    /// How work is bought.
    pub requester: RequesterConfig,
    /// The OpenAI-compatible API.
    pub gateway: GatewayConfig,
}

/// The peer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// Where to listen, as multiaddresses.
    pub listen: Vec<String>,
    /// Peers to join through, as multiaddresses that end in `/p2p/<peer>`.
    pub bootstrap: Vec<String>,
    /// Addresses to announce beside those that peers observe.
    pub external: Vec<String>,
    /// Whether to look for peers on the local network.
    pub mdns: bool,
    /// Whether to ask the router to forward the listening ports.
    pub upnp: bool,
    /// Whether to relay connections of peers behind routers.
    pub relay: bool,
    /// Which part to take in the table of providers.
    pub kad: Kad,
    /// Most connections that others open.
    pub incoming_max: NonZeroU32,
    /// Most connections that this node opens.
    pub outgoing_max: NonZeroU32,
    /// Where to serve Prometheus metrics. When `None`, nowhere.
    pub metrics: Option<SocketAddr>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        let listen = ["/ip4/0.0.0.0/tcp/4141", "/ip4/0.0.0.0/udp/4141/quic-v1", "/ip6/::/tcp/4141", "/ip6/::/udp/4141/quic-v1"];
        Self {
            listen: listen.map(str::to_owned).to_vec(),
            bootstrap: Vec::new(),
            external: Vec::new(),
            mdns: true,
            upnp: true,
            relay: false,
            kad: Kad::Auto,
            incoming_max: const { NonZeroU32::new(512).unwrap() },
            outgoing_max: const { NonZeroU32::new(256).unwrap() },
            metrics: None,
        }
    }
}

/// Which part a node takes in the distributed table of providers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kad {
    /// Keeps records for others once it is known to be reachable.
    #[default]
    Auto,
    /// Keeps records for others: bootstrap peers, and swarms on private addresses.
    Server,
    /// Only asks.
    Client,
}

/// Where money lies.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainConfig {
    /// The network that keys and channels are for.
    pub network: Network,
    /// How to reach it.
    #[serde(deserialize_with = "text::parsed")]
    pub endpoint: Endpoint,
    /// A second endpoint that must agree where money depends on the answer. When `None`, the first is believed.
    #[serde(deserialize_with = "text::parsed_option")]
    pub witness: Option<Endpoint>,
    /// Key for the endpoint. When `None`, none is sent.
    pub api_key: Option<Secret>,
    /// Key for the witness, which is not told the endpoint's. When `None`, none is sent.
    pub witness_api_key: Option<Secret>,
    /// Requests a second that each endpoint allows. When `None`, what toncenter allows with a key and without; no limit on a devnet.
    pub requests_per_s: Option<NonZeroU32>,
    /// Masterchain blocks that must lie on a transaction before it counts. When `None`, as [`Confirmations::of_network`] says.
    pub confirmations: Option<u32>,
    /// What is the same for all providers of the network. When `None`, as [`ChainConfig::network_terms`] says.
    pub terms: Option<NetworkConfig>,
}

impl Default for ChainConfig {
    fn default() -> Self {
        let network = Network::default();
        Self {
            network,
            endpoint: Endpoint::default_of(network),
            witness: None,
            api_key: None,
            witness_api_key: None,
            requests_per_s: None,
            confirmations: None,
            terms: None,
        }
    }
}

/// Networks a node can be on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// A local chain, worth nothing
    #[default]
    Devnet,
    /// TON's public test network
    Testnet,
    /// TON's main network: real money
    Mainnet,
}

impl Network {
    /// Its number, as it stands in everything that is signed.
    pub const fn id(self) -> NetworkId {
        match self {
            Self::Devnet => NetworkId::DEVNET,
            Self::Testnet => NetworkId::TESTNET,
            Self::Mainnet => NetworkId::MAINNET,
        }
    }

    /// Its name in configuration and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Devnet => "devnet",
            Self::Testnet => "testnet",
            Self::Mainnet => "mainnet",
        }
    }
}

/// Where models come from and are kept.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsConfig {
    /// Where they are kept. When `None`, in the person's cache directory.
    pub cache: Option<PathBuf>,
    /// Where Hugging Face is.
    pub hugging_face: String,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self { cache: None, hugging_face: "https://huggingface.co".to_owned() }
    }
}

/// What is sold.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProvideConfig {
    /// Models, with a price of their own if they have one.
    pub models: Vec<ModelConfig>,
    /// The price of models that have none of their own.
    pub price: Price,
    /// What computes.
    #[serde(deserialize_with = "text::parsed")]
    pub device: DeviceChoice,
    /// Graphics adapters that compute, by position or part of the name. When empty, the one that `device` finds.
    #[serde(deserialize_with = "text::parsed_list")]
    pub adapters: Vec<AdapterChoice>,
    /// Threads that compute on the processor. When `None`, as many as it has.
    pub threads: Option<NonZeroU16>,
    /// Jobs served at once, of all models together. When `None`, as many as [`Served::capacity`](crate::wiring::serving::Served::capacity)
    /// finds room for.
    pub capacity: Option<NonZeroU16>,
    /// Jobs that one model reads and writes together.
    pub jobs_together: NonZeroU16,
    /// Jobs that may wait for a model until others end.
    pub jobs_waiting: u16,
    /// Memory for the keys and values of each model that writes, in MiB.
    pub memory_mib: NonZeroU32,
    /// Whether beginnings of prompts that were read for earlier jobs are kept for later ones.
    pub reuse: bool,
    /// Tokens written between two receipts.
    pub slice_tokens: NonZeroU32,
    /// Tokens read between two receipts for vectors.
    pub slice_tokens_read: NonZeroU32,
    /// Unpaid work at which this node stops.
    #[serde(rename = "float_ton", deserialize_with = "text::parsed")]
    pub float: Amount,
    /// The smallest deposit worth a channel.
    #[serde(rename = "deposit_min_ton", deserialize_with = "text::parsed")]
    pub deposit_min: Amount,
    /// Seconds between a unilateral close and the refund. When `None`, as [`ProvideConfig::challenge_window_s`] says.
    pub challenge_window_s: Option<u32>,
    /// How work is verified.
    pub tier: Tier,
    /// The resource class that this node works in. Its contract is for one.
    #[serde(deserialize_with = "text::class")]
    pub class: ModelClass,
    /// The collateral that a new contract is given on a devnet.
    #[serde(rename = "stake_ton", deserialize_with = "text::parsed")]
    pub stake: Amount,
    /// The liveness bond that it is given.
    #[serde(rename = "bond_ton", deserialize_with = "text::parsed")]
    pub bond: Amount,
    /// What its operations balance is given, at first and whenever it runs low.
    #[serde(rename = "operations_ton", deserialize_with = "text::parsed")]
    pub operations: Amount,
    /// The most that the chain's fees may be of what is claimed, in basis points.
    pub claim_fee_bps_max: u16,
    /// The most that may be paid by voucher and not drawn, of all channels together.
    #[serde(rename = "undrawn_max_ton", deserialize_with = "text::parsed")]
    pub undrawn_max: Amount,
}

impl Default for ProvideConfig {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            price: Price::default(),
            device: DeviceChoice::Auto,
            adapters: Vec::new(),
            threads: None,
            capacity: None,
            jobs_together: const { NonZeroU16::new(16).unwrap() },
            jobs_waiting: 32,
            memory_mib: const { NonZeroU32::new(1024).unwrap() },
            reuse: true,
            slice_tokens: const { NonZeroU32::new(32).unwrap() },
            slice_tokens_read: const { NonZeroU32::new(4096).unwrap() },
            float: Amount::from_nano(1_000_000),
            deposit_min: Amount::from_nano(200_000_000),
            challenge_window_s: None,
            tier: Tier::Plain,
            class: ModelClass::TextTiny,
            stake: Amount::from_nano(1_000_000_000),
            bond: Amount::from_nano(500_000_000),
            operations: Amount::from_nano(200_000_000),
            claim_fee_bps_max: 100,
            undrawn_max: Amount::from_nano(5_000_000_000),
        }
    }
}

impl ProvideConfig {
    /// When this node claims: its owner's two figures.
    pub const fn claims(&self) -> ClaimPolicy {
        ClaimPolicy { fee_bps_max: self.claim_fee_bps_max, undrawn_max: self.undrawn_max }
    }

    /// Seconds between a unilateral close and the refund: as configured, else the shortest that a network with real money takes, and ten
    /// minutes on a devnet, whose people want to see the refund.
    pub fn challenge_window_s(&self, network: Network) -> u32 {
        let usual = match network {
            Network::Devnet => DEVNET_WINDOW_S,
            Network::Testnet | Network::Mainnet => CHALLENGE_WINDOW_S_MIN,
        };
        self.challenge_window_s.unwrap_or(usual)
    }

    /// A device with as many threads as are configured.
    pub fn on(&self, device: Device) -> Device {
        match self.threads {
            Some(threads) => device.with_threads(threads.into()),
            None => device,
        }
    }

    /// What each copy of a model may use of this machine.
    pub fn serving_limits(&self) -> ServingLimits {
        ServingLimits {
            jobs: self.jobs_together.get().into(),
            waiting: self.jobs_waiting.into(),
            cache_bytes: u64::from(self.memory_mib.get()) << 20,
            reuse: self.reuse,
            ..ServingLimits::default()
        }
    }

    /// The price of a model: its own, else that of all.
    pub fn price_of(&self, model: &str) -> Price {
        let own = self.models.iter().find(|own| own.name.eq_ignore_ascii_case(model)).and_then(|own| own.price);
        own.unwrap_or(self.price)
    }
}

/// A model that is sold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Its name in the catalogue or among this node's own models.
    pub name: String,
    /// Its price. When `None`, that of all models.
    pub price: Option<Price>,
}

/// How work is bought.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequesterConfig {
    /// The model to ask when none is named.
    pub model: String,
    /// The model that makes vectors when none is named.
    pub embedding_model: String,
    /// The least verification.
    pub tier: Tier,
    /// What goes into a new channel.
    #[serde(rename = "deposit_ton", deserialize_with = "text::parsed")]
    pub deposit: Amount,
    /// The most one job may cost.
    #[serde(rename = "cap_ton", deserialize_with = "text::parsed")]
    pub cap: Amount,
    /// The least collateral that must stand behind a provider's work.
    #[serde(rename = "stake_min_ton", deserialize_with = "text::parsed")]
    pub stake_min: Amount,
    /// The most to pay. When `None`, any price within the cap.
    pub price_max: Option<Price>,
}

impl Default for RequesterConfig {
    fn default() -> Self {
        Self {
            model: "smollm2-135m-instruct".to_owned(),
            embedding_model: "all-minilm-l6-v2".to_owned(),
            tier: Tier::Plain,
            deposit: Amount::from_nano(1_000_000_000),
            cap: Amount::from_nano(50_000_000),
            stake_min: Amount::from_nano(1_000_000_000),
            price_max: None,
        }
    }
}

/// The OpenAI-compatible API.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Where it is served.
    pub listen: SocketAddr,
    /// What clients must send as their API key. When `None`, nothing; allowed on loopback only.
    pub token: Option<Secret>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), token: None }
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

impl Config {
    /// Reads and checks the configuration in a file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(read)?.len();
        if bytes > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLarge { path: path.to_owned(), bytes });
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        let mut config: Self =
            toml::from_str(&text).map_err(|source| ConfigError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        config.chain.resolve(path.parent().unwrap_or(Path::new(".")));
        config.check()?;
        Ok(config)
    }

    /// Reads the configuration if its file is there, else takes the defaults.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load_or_default(path: &Path) -> Result<Self, ConfigError> {
        match path.try_exists() {
            Ok(false) => Ok(Self::default()),
            // A file that cannot be looked at is reported by the attempt to read it.
            Ok(true) | Err(_) => Self::load(path),
        }
    }
}

impl ChainConfig {
    /// How deep a transaction must lie before it counts.
    pub fn confirmations(&self) -> Confirmations {
        self.confirmations.and_then(Confirmations::new).unwrap_or(Confirmations::of_network(self.network.id()))
    }

    /// Makes paths relative to the configuration's directory absolute.
    fn resolve(&mut self, dir: &Path) {
        for endpoint in std::iter::once(&mut self.endpoint).chain(&mut self.witness) {
            endpoint.resolve(dir);
        }
    }
}

#[cfg(test)]
mod tests;
