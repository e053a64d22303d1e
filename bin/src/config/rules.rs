//! What a single field cannot show: the rules between them.

use std::collections::BTreeSet;

use cocoon_market::offer::{CHALLENGE_WINDOW_S_MAX, CHALLENGE_WINDOW_S_MIN, Tier};
use cocoon_runtime::device::DeviceChoice;
use cocoon_settlement::chain::{Address, BASECHAIN, Confirmations};

use super::{ChainConfig, Config, ConfigError, Endpoint, Network, NetworkConfig, NodeConfig, ProvideConfig, RequesterConfig};

/// Basis points of the whole.
const BPS: u16 = 10_000;

/// Threads that compute: more than any processor has that a model's layers could keep busy.
const THREADS_MAX: u16 = 1024;

/// Jobs served at once: each has a stream and a task, and agreements that allow so many bind collateral for all of them.
const CAPACITY_MAX: u16 = 1024;

/// Jobs that a model reads together: as many tokens as a pass has rows when all of them write.
const JOBS_TOGETHER_MAX: u16 = 256;

/// Jobs that wait for a model: the last of them would wait for minutes already.
const JOBS_WAITING_MAX: u16 = 1024;

/// Memory for keys and values: beyond any machine, so that a figure in bytes or KiB is noticed.
const MEMORY_MIB_MAX: u32 = 1 << 20;

/// The shortest challenge window on a devnet: channels are looked at twelve times in it, and not more than once a second.
const DEVNET_WINDOW_S_MIN: u32 = 12;

impl Config {
    /// Checks what a single field cannot show. Called by [`Config::load`]; call it again after changing fields.
    ///
    /// # Errors
    /// [`ConfigError::Rule`].
    pub fn check(&self) -> Result<(), ConfigError> {
        self.node.check()?;
        self.chain.check()?;
        self.provide.check(self.chain.network)?;
        self.requester.check()?;
        let exposed = !self.gateway.listen.ip().is_loopback() && self.gateway.token.is_none();
        rule(!exposed, "gateway.listen", "beyond loopback a gateway needs gateway.token, or strangers spend its money")
    }
}

impl NodeConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let multiaddress = |address: &String| address.starts_with('/');
        rule(self.listen.iter().all(multiaddress), "node.listen", "must be multiaddresses, such as \"/ip4/0.0.0.0/tcp/4141\"")?;
        rule(self.external.iter().all(multiaddress), "node.external", "must be multiaddresses, such as \"/ip4/203.0.113.7/tcp/4141\"")?;
        let names_peer = |address: &String| address.starts_with('/') && address.contains("/p2p/");
        rule(self.bootstrap.iter().all(names_peer), "node.bootstrap", "must be multiaddresses that end in /p2p/<peer>")
    }
}

impl ChainConfig {
    fn check(&self) -> Result<(), ConfigError> {
        for (key, endpoint) in [("chain.endpoint", Some(&self.endpoint)), ("chain.witness", self.witness.as_ref())] {
            let Some(endpoint) = endpoint else { continue };
            let devnet = self.network == Network::Devnet;
            rule(devnet || !endpoint.is_embedded(), key, "an embedded chain is a devnet; testnet and mainnet are reached over https")?;
            rule(devnet || endpoint.is_https(), key, "must be https: whoever can change the answers can take the money")?;
        }
        let over_http = |endpoint: &Endpoint| !endpoint.is_embedded();
        let comparable = self.witness.as_ref().is_none_or(|witness| over_http(witness) && over_http(&self.endpoint));
        rule(comparable, "chain.witness", "an embedded chain needs no witness and is none: it is this process itself")?;
        rule(self.witness.as_ref() != Some(&self.endpoint), "chain.witness", "must be another endpoint than chain.endpoint")?;
        let has_witness = self.witness.is_some() || self.witness_api_key.is_none();
        rule(has_witness, "chain.witness_api_key", "is a key for chain.witness, which is not set")?;
        let depth = self.confirmations.is_none_or(|blocks| Confirmations::new(blocks).is_some());
        rule(depth, "chain.confirmations", "must be at most 1000, about an hour of blocks")?;
        self.terms.as_ref().map_or(Ok(()), NetworkConfig::check)
    }
}

impl NetworkConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let in_basechain = |address: &Address| address.workchain == BASECHAIN;
        rule(in_basechain(&self.vault), "chain.terms.vault", "must be an address in the basechain (workchain 0)")?;
        rule(in_basechain(&self.dispute), "chain.terms.dispute", "must be an address in the basechain (workchain 0)")?;
        rule(in_basechain(&self.rewards), "chain.terms.rewards", "must be an address in the basechain (workchain 0)")?;
        rule(self.fee_bps <= BPS, "chain.terms.fee_bps", "must be at most 10000, which is all of a draw")?;
        rule(self.epoch_s > 0, "chain.terms.epoch_s", "must be positive")
    }
}

impl ProvideConfig {
    fn check(&self, network: Network) -> Result<(), ConfigError> {
        let mut names = BTreeSet::new();
        let distinct = self.models.iter().all(|model| names.insert(model.name.to_ascii_lowercase()));
        rule(distinct, "provide.models", "names a model twice")?;
        self.check_serving()?;
        let adapters = self.adapters.is_empty() || self.device != DeviceChoice::Cpu;
        rule(adapters, "provide.adapters", "are not used where provide.device is \"cpu\"")?;
        let window_s = self.challenge_window_s(network);
        let least = if network == Network::Devnet { DEVNET_WINDOW_S_MIN } else { CHALLENGE_WINDOW_S_MIN };
        rule(window_s >= least, "provide.challenge_window_s", "must be at least 86400 (a day); 12 on a devnet")?;
        rule(window_s <= CHALLENGE_WINDOW_S_MAX, "provide.challenge_window_s", "must be at most 2592000 (30 days)")?;
        rule(!self.float.is_zero(), "provide.float_ton", "must be positive, or no job can start")?;
        rule(self.tier == Tier::Plain, "provide.tier", "this release can only sell plain work")?;
        let fees = 1..=BPS;
        rule(fees.contains(&self.claim_fee_bps_max), "provide.claim_fee_bps_max", "must be from 1 to 10000, which is all of a claim")
    }
}

impl ProvideConfig {
    fn check_serving(&self) -> Result<(), ConfigError> {
        let threads = self.threads.is_none_or(|threads| threads.get() <= THREADS_MAX);
        rule(threads, "provide.threads", "must be at most 1024; unset, it is as many as the processor has")?;
        rule(self.capacity.is_none_or(|jobs| jobs.get() <= CAPACITY_MAX), "provide.capacity", "must be at most 1024")?;
        rule(self.jobs_together.get() <= JOBS_TOGETHER_MAX, "provide.jobs_together", "must be from 1 to 256")?;
        rule(self.jobs_waiting <= JOBS_WAITING_MAX, "provide.jobs_waiting", "must be at most 1024")?;
        rule(self.memory_mib.get() <= MEMORY_MIB_MAX, "provide.memory_mib", "must be from 1 to 1048576, which is a tebibyte")
    }
}

impl RequesterConfig {
    fn check(&self) -> Result<(), ConfigError> {
        rule(self.cap <= self.deposit, "requester.cap_ton", "must not exceed requester.deposit_ton, which is what pays it")
    }
}

fn rule(holds: bool, key: &'static str, rule: &'static str) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Rule { key, rule }) }
}
