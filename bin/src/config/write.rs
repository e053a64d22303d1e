//! Writes the first configuration of a node: the example, with the choices made at `swarm init`.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use cocoon_settlement::chain::Bounce;

use super::{Config, ConfigError, Endpoint, Network, NetworkConfig};
use crate::durable::{self, Existing};
use crate::failure::{Exit, NextStep};

/// The example, which is also the template.
const EXAMPLE: &str = include_str!("../../config.example.toml");

/// Why the configuration was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteConfigError {
    /// The file cannot be written.
    #[error("cannot write the configuration {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file to be changed cannot be read.
    #[error(transparent)]
    Read(#[from] ConfigError),
    /// The table stands there in a form that is not changed by machine, such as `terms = { .. }`.
    #[error("[chain.terms] cannot be written into {path}, where terms stand in another form")]
    Form {
        /// The file.
        path: PathBuf,
    },
}

impl NextStep for WriteConfigError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Write { .. } => "check permissions and free space of the home, or choose another with --home DIR".into(),
            Self::Read(error) => error.next_step(),
            Self::Form { .. } => "remove chain.terms from the file, and then again".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Write { .. } => Exit::Failed,
            Self::Read(error) => error.exit(),
            Self::Form { .. } => Exit::Usage,
        }
    }
}

/// Writes the configuration for a network, with comments. One that is there is kept; the answer says whether it was written.
///
/// # Errors
/// [`WriteConfigError`].
pub fn write_new(path: &Path, network: Network) -> Result<bool, WriteConfigError> {
    match durable::write(path, text(network).as_bytes(), Existing::Keep) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(WriteConfigError::Write { path: path.to_owned(), source }),
    }
}

/// The heading of the network's terms.
const TERMS_HEADING: &str = "[chain.terms]";

/// Writes the network's terms into a configuration, in the place of those that are there, and leaves the rest of it as it is.
///
/// # Errors
/// [`WriteConfigError`]; then nothing was changed.
pub fn write_terms(path: &Path, terms: &NetworkConfig) -> Result<(), WriteConfigError> {
    // Reads it as everybody does, so that only a sound configuration is changed.
    Config::load(path)?;
    let old = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let new = with_terms(&old, terms);
    let is_as_meant = toml::from_str::<Config>(&new).is_ok_and(|config| config.chain.terms.as_ref() == Some(terms));
    if !is_as_meant {
        return Err(WriteConfigError::Form { path: path.to_owned() });
    }
    durable::write(path, new.as_bytes(), Existing::Replace).map_err(|source| WriteConfigError::Write { path: path.to_owned(), source })
}

/// The text with these terms: where they stood, else at its end.
fn with_terms(old: &str, terms: &NetworkConfig) -> String {
    let table = format!(
        "{TERMS_HEADING}\nvault = \"{}\"\ndispute = \"{}\"\nrewards = \"{}\"\nfee_bps = {}\nunbond_s = {}\nepoch_s = {}\nanswer_s = {}\n",
        terms.vault.friendly(Bounce::Yes),
        terms.dispute.friendly(Bounce::Yes),
        terms.rewards.friendly(Bounce::Yes),
        terms.fee_bps,
        terms.unbond_s,
        terms.epoch_s,
        terms.answer_s,
    );
    let lines: Vec<&str> = old.lines().collect();
    let Some(start) = lines.iter().position(|line| line.trim() == TERMS_HEADING) else {
        return format!("{}\n\n{table}", old.trim_end());
    };
    // Up to what is no key of it: comments after its last key belong to what follows.
    let keys = lines.iter().skip(start + 1).take_while(|line| !line.trim_start().starts_with('[')).collect::<Vec<_>>();
    let last = keys.iter().rposition(|line| line.contains('=') && !line.trim_start().starts_with('#')).map_or(0, |last| last + 1);
    let (before, after) = (lines.iter().take(start), lines.iter().skip(start + 1 + last));
    let join = |lines: Vec<&&str>| lines.into_iter().map(|line| format!("{line}\n")).collect::<String>();
    format!("{}{table}{}", join(before.collect()), join(after.collect()))
}

/// The example with another network.
fn text(network: Network) -> String {
    let endpoint = |network| format!("endpoint = \"{}\"", Endpoint::default_of(network));
    let name = |network: Network| format!("network = \"{}\"", network.name());
    EXAMPLE.replacen(&name(Network::default()), &name(network), 1).replacen(&endpoint(Network::default()), &endpoint(network), 1)
}

#[cfg(test)]
mod tests {
    use cocoon_settlement::chain::Address;

    use super::*;

    fn terms(fee_bps: u16) -> NetworkConfig {
        let [vault, dispute, rewards] = [1, 2, 3].map(|byte| Address::basechain([byte; 32]));
        NetworkConfig { vault, dispute, rewards, fee_bps, unbond_s: 3, epoch_s: 4, answer_s: 5 }
    }

    #[test]
    fn terms_are_written_in_their_place_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        assert!(write_new(&path, Network::Testnet).unwrap());
        let before = std::fs::read_to_string(&path).unwrap();
        write_terms(&path, &terms(500)).unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.starts_with(before.trim_end()), "comments and all");
        assert_eq!(Config::load(&path).unwrap().chain.terms, Some(terms(500)));
    }

    #[test]
    fn terms_that_are_there_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let rest = "\n# how work is bought\n[requester]\ncap_ton = \"0.1\"\n";
        std::fs::write(&path, format!("# mine\n{}{rest}", with_terms("", &terms(500)).trim_start())).unwrap();
        write_terms(&path, &terms(400)).unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.starts_with("# mine\n[chain.terms]\n") && written.ends_with(rest), "{written}");
        assert_eq!(Config::load(&path).unwrap().chain.terms, Some(terms(400)));
    }

    #[test]
    fn terms_in_another_form_are_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let inline = with_terms("", &terms(500)).trim().replacen("[chain.terms]\n", "[chain]\nterms = { ", 1).replace('\n', ", ");
        let inline = inline.replacen("[chain], ", "[chain]\n", 1) + " }\n";
        std::fs::write(&path, &inline).unwrap();
        assert!(matches!(write_terms(&path, &terms(400)), Err(WriteConfigError::Form { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), inline);
    }

    #[test]
    fn what_init_writes_is_what_was_chosen() {
        for network in [Network::Devnet, Network::Testnet, Network::Mainnet] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("config.toml");
            assert!(write_new(&path, network).unwrap());
            let config = Config::load(&path).unwrap();
            assert_eq!((config.chain.network, &config.chain.endpoint), (network, &Endpoint::default_of(network)));
        }
    }

    #[test]
    fn an_existing_configuration_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, "# mine\n").unwrap();
        assert!(!write_new(&path, Network::Devnet).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
    }
}
