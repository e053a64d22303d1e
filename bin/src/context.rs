//! What every command starts from.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::cli::Globals;
use crate::config::{Config, ConfigError, Endpoint, Network};
use crate::environment::Environment;
use crate::failure::{Exit, Failure, NextStep};
use crate::home::{Home, HomeError};
use crate::keystore::{self, Keys, PassphraseSource};
use crate::models::ModelStore;
use crate::output::Output;

/// What every command starts from: where the node lives, what it was told, and where to print.
#[derive(Clone, Debug)]
pub struct Context {
    home: Home,
    /// The configuration file, and whether it was asked for by name.
    config_file: Option<PathBuf>,
    chain: Option<String>,
    passphrase: PassphraseSource,
    environment: Environment,
    out: Output,
}

/// Keys of one network with a configuration for another.
#[derive(Debug, thiserror::Error)]
#[error("the keys are for {keys}, but the configuration is for {config}")]
pub struct NetworkMismatch {
    keys: &'static str,
    config: &'static str,
}

impl NextStep for NetworkMismatch {
    fn next_step(&self) -> Cow<'static, str> {
        "one home for each network: --home DIR".into()
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Context {
    /// From the options of every command.
    ///
    /// # Errors
    /// [`HomeError::Unknown`].
    pub fn new(globals: &Globals, environment: Environment, out: Output) -> Result<Self, HomeError> {
        Ok(Self {
            home: Home::find(globals.home.as_deref(), &environment)?,
            config_file: globals.config.clone(),
            chain: globals.chain.clone(),
            passphrase: PassphraseSource::new(globals.passphrase_file.as_deref(), &environment),
            environment,
            out,
        })
    }

    /// The same in another home, for programs that run several nodes.
    #[must_use]
    pub fn in_home(&self, root: &Path) -> Self {
        Self { home: Home::at(root), config_file: None, ..self.clone() }
    }

    /// The directory of the node.
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// Where to print.
    pub const fn out(&self) -> &Output {
        &self.out
    }

    /// The environment.
    pub const fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Where the passphrase comes from.
    pub const fn passphrase(&self) -> &PassphraseSource {
        &self.passphrase
    }

    /// The configuration file, whether it is there or not.
    pub fn config_file(&self) -> PathBuf {
        self.config_file.clone().unwrap_or_else(|| self.home.config_file())
    }

    /// Reads the configuration: the file that was named, else that of the home if it is there, else the defaults; then what the
    /// command line says above it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn config(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.config_file {
            Some(file) => Config::load(file)?,
            None => Config::load_or_default(&self.home.config_file())?,
        };
        if let Some(given) = &self.chain {
            config.chain.endpoint =
                given.parse::<Endpoint>().map_err(|source| ConfigError::ChainOption { given: given.clone(), source })?;
            config.check()?;
        }
        Ok(config)
    }

    /// Opens the keys, asking for their passphrase if they have one.
    ///
    /// # Errors
    /// [`keystore::KeystoreError`]; [`NetworkMismatch`] when they are for another network than the configuration.
    pub fn keys(&self, network: Network) -> Result<Keys, Failure> {
        let keys = keystore::open(&self.home.keystore_file(), &self.passphrase)?;
        check_network(keys.network(), network)?;
        Ok(keys)
    }

    /// What of the keys anyone may see; needs no passphrase.
    ///
    /// # Errors
    /// As [`Context::keys`].
    pub fn public_keys(&self, network: Network) -> Result<keystore::PublicKeys, Failure> {
        let keys = keystore::public(&self.home.keystore_file())?;
        check_network(keys.network, network)?;
        Ok(keys)
    }

    /// The models of the node.
    pub fn models(&self, config: &Config) -> ModelStore {
        ModelStore::new(&self.home, &config.models, &self.environment)
    }
}

fn check_network(keys: Network, config: Network) -> Result<(), NetworkMismatch> {
    if keys == config { Ok(()) } else { Err(NetworkMismatch { keys: keys.name(), config: config.name() }) }
}
