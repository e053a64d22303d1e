//! Logs: to stderr, filtered, as text or as JSON.

use std::borrow::Cow;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::environment::Environment;
use crate::failure::{Exit, NextStep};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged when `RUST_LOG` does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Only what stops us.
    Quiet,
    /// What deserves attention: for commands that print a result and end.
    Normal,
    /// What an operator acts on: for commands that keep running.
    Informed,
    /// Minor changes of state, in our own crates.
    Debug,
    /// Everything, packets included.
    Trace,
}

impl Verbosity {
    /// From the count of `-v` and `-q`, starting from what the command has by itself.
    pub fn from_flags(base: Self, verbose: u8, quiet: bool) -> Self {
        match (quiet, verbose) {
            (true, _) => Self::Quiet,
            (false, 0) => base,
            (false, 1) => Self::Debug,
            (false, _) => Self::Trace,
        }
    }

    const fn filter(self) -> &'static str {
        match self {
            Self::Quiet => "error",
            // Kademlia warns of every search before the first peer is there, which is how each node begins; cubecl of every operation on
            // a device that was lost, which is said once where it is handled.
            Self::Normal => "warn,libp2p_kad=error,cubecl_common=error",
            Self::Informed => {
                "warn,libp2p_kad=error,cubecl_common=error,cocoon_swarm=info,cocoon_p2p=info,cocoon_settlement=info,cocoon_runtime=info,cocoon_market=info"
            }
            Self::Debug => "info,cocoon_swarm=debug,cocoon_p2p=debug,cocoon_settlement=debug,cocoon_runtime=debug,cocoon_market=debug",
            Self::Trace => "debug,cocoon_swarm=trace,cocoon_p2p=trace,cocoon_settlement=trace,cocoon_runtime=trace,cocoon_market=trace",
        }
    }
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `RUST_LOG` is not a filter.
    #[error("RUST_LOG {filter:?} is not a log filter")]
    Filter {
        /// What it says.
        filter: String,
        /// Where it goes wrong.
        #[source]
        source: ParseError,
    },
    /// Another logger was there first.
    #[error("logging was already started in this process")]
    Started(#[source] TryInitError),
}

impl NextStep for LoggingError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Filter { .. } => "unset RUST_LOG, or write it like RUST_LOG=info,cocoon_p2p=debug".into(),
            Self::Started(_) => "start it once".into(),
        }
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Starts logging for this process.
///
/// # Errors
/// [`LoggingError`].
pub fn init(verbosity: Verbosity, format: LogFormat, environment: &Environment) -> Result<(), LoggingError> {
    let filter = environment.log_filter.as_deref().unwrap_or(verbosity.filter());
    let filter = EnvFilter::builder().parse(filter).map_err(|source| LoggingError::Filter { filter: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_target(false).with_ansi(!environment.no_color && io::stderr().is_terminal()).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().map_err(LoggingError::Started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_move_the_verbosity_and_quiet_wins() {
        let check = |base, verbose, quiet, expected| assert_eq!(Verbosity::from_flags(base, verbose, quiet), expected);
        check(Verbosity::Normal, 0, false, Verbosity::Normal);
        check(Verbosity::Informed, 0, false, Verbosity::Informed);
        check(Verbosity::Normal, 1, false, Verbosity::Debug);
        check(Verbosity::Normal, 9, false, Verbosity::Trace);
        check(Verbosity::Informed, 2, true, Verbosity::Quiet);
    }

    #[test]
    fn every_built_in_filter_parses() {
        for verbosity in [Verbosity::Quiet, Verbosity::Normal, Verbosity::Informed, Verbosity::Debug, Verbosity::Trace] {
            EnvFilter::builder().parse(verbosity.filter()).unwrap();
        }
    }

    #[test]
    fn a_wrong_filter_is_an_error_with_an_example() {
        let environment = Environment { log_filter: Some("cocoon=loud=very".into()), ..Environment::default() };
        let error = init(Verbosity::Normal, LogFormat::Text, &environment).unwrap_err();
        assert!(matches!(error, LoggingError::Filter { .. }), "{error}");
    }
}
