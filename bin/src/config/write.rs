//! Writes the first configuration of a node: the example, with the choices made at `swarm init`.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use super::{Endpoint, Network};
use crate::durable::{self, Existing};
use crate::failure::NextStep;

/// The example, which is also the template.
const EXAMPLE: &str = include_str!("../../config.example.toml");

/// Why the configuration was not written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the configuration {path}")]
pub struct WriteConfigError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl NextStep for WriteConfigError {
    fn next_step(&self) -> Cow<'static, str> {
        "check permissions and free space of the home, or choose another with --home DIR".into()
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
        Err(source) => Err(WriteConfigError { path: path.to_owned(), source }),
    }
}

/// The example with another network.
fn text(network: Network) -> String {
    let endpoint = |network| format!("endpoint = \"{}\"", Endpoint::default_of(network));
    let name = |network: Network| format!("network = \"{}\"", network.name());
    EXAMPLE.replacen(&name(Network::default()), &name(network), 1).replacen(&endpoint(Network::default()), &endpoint(network), 1)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

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
