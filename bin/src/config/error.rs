//! What can be wrong with a configuration.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use crate::failure::{Exit, NextStep};
use crate::output::bytes_text;

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is far larger than a configuration is.
    #[error("{path} is no configuration: it has {}", bytes_text(*bytes))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It is not TOML, or a key is unknown or has a value of another kind.
    #[error("wrong configuration in {path}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column, and what is wrong there.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Values contradict each other or a rule.
    #[error("wrong configuration: {key} {rule}")]
    Rule {
        /// The key.
        key: &'static str,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// `--chain` names no chain.
    #[error("wrong option --chain {given}")]
    ChainOption {
        /// What it says.
        given: String,
        /// What is expected.
        #[source]
        source: super::EndpointError,
    },
}

impl NextStep for ConfigError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Read { .. } => "swarm init, which writes one; or name it with --config FILE".into(),
            Self::TooLarge { .. } => "name the right file with --config FILE".into(),
            Self::Syntax { path, .. } => format!("edit {}; config.example.toml shows every key", path.display()).into(),
            Self::Rule { key, .. } => format!("change {key} in the configuration or on the command line").into(),
            Self::ChainOption { .. } => "--chain http://127.0.0.1:8081, as swarm devnet serves it".into(),
        }
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}
