//! Where things lie: the home of one node, and the cache that all homes of one person share.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::failure::{Exit, NextStep};

/// The directory of one node: configuration, keys, ledger, chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// Why there is no home.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Neither an option nor the environment names one.
    #[error("no home directory is known")]
    Unknown,
    /// It could not be made.
    #[error("cannot create {path}")]
    Create {
        /// What was to be made.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl NextStep for HomeError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Unknown => "name a directory with --home DIR or COCOON_HOME".into(),
            Self::Create { .. } => "check the permissions, or name another directory with --home DIR".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Unknown => Exit::Usage,
            Self::Create { .. } => Exit::Failed,
        }
    }
}

impl Home {
    /// The home that was asked for, else `$COCOON_HOME`, else `~/.cocoon`. Nothing is created.
    ///
    /// # Errors
    /// [`HomeError::Unknown`].
    pub fn find(asked: Option<&Path>, environment: &Environment) -> Result<Self, HomeError> {
        let root = asked
            .map(Path::to_path_buf)
            .or_else(|| environment.cocoon_home.clone())
            .or_else(|| environment.user_home.as_ref().map(|user| user.join(".cocoon")))
            .ok_or(HomeError::Unknown)?;
        Ok(Self { root })
    }

    /// A home at this directory.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The configuration.
    pub fn config_file(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// The keys.
    pub fn keystore_file(&self) -> PathBuf {
        self.root.join("keys.json")
    }

    /// The ledger: vouchers, receipts, agreements.
    pub fn ledger_file(&self) -> PathBuf {
        self.root.join("ledger.redb")
    }

    /// The socket at which a node that runs answers questions.
    pub fn control_socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// Where a node that answers questions on loopback says how.
    pub fn control_file(&self) -> PathBuf {
        self.root.join("control.json")
    }

    /// Models that this home knows beside the catalogue.
    pub fn models_file(&self) -> PathBuf {
        self.root.join("models.json")
    }

    /// The chain that `swarm devnet` keeps.
    pub fn devnet_dir(&self) -> PathBuf {
        self.root.join("devnet")
    }

    /// Dossiers of finished jobs.
    pub fn dossiers_dir(&self) -> PathBuf {
        self.root.join("dossiers")
    }

    /// Keys for attestations.
    pub fn attest_keys_dir(&self) -> PathBuf {
        self.root.join("attest").join("keys")
    }

    /// Attestations that were proven here.
    pub fn attestations_dir(&self) -> PathBuf {
        self.root.join("attest").join("proofs")
    }

    /// Makes the directory, for its owner alone, if it is not there.
    ///
    /// # Errors
    /// [`HomeError::Create`].
    pub fn create(&self) -> Result<(), HomeError> {
        create_private_dir(&self.root).map_err(|source| HomeError::Create { path: self.root.clone(), source })
    }
}

/// The directory for fetched models: `$XDG_CACHE_HOME/cocoon-swarm/models`, else `~/.cache/cocoon-swarm/models`, else in
/// the home. It is shared, because several nodes of one person should not fetch the same gigabytes twice.
pub fn models_cache_dir(home: &Home, environment: &Environment) -> PathBuf {
    environment
        .cache_home
        .clone()
        .or_else(|| environment.user_home.as_ref().map(|user| user.join(".cache")))
        .map_or_else(|| home.root().join("models"), |cache| cache.join("cocoon-swarm").join("models"))
}

/// Makes a directory, and those above it that are missing, for their owner alone.
///
/// # Errors
/// Whatever the file system says.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment { user_home: Some("/people/ada".into()), ..Environment::default() }
    }

    #[test]
    fn the_option_wins_over_the_variable_and_the_variable_over_the_default() {
        let mut environment = environment();
        let find = |asked: Option<&str>, environment: &Environment| Home::find(asked.map(Path::new), environment).unwrap();
        assert_eq!(find(None, &environment), Home::at("/people/ada/.cocoon"));
        environment.cocoon_home = Some("/srv/node".into());
        assert_eq!(find(None, &environment), Home::at("/srv/node"));
        assert_eq!(find(Some("here"), &environment), Home::at("here"));
    }

    #[test]
    fn without_any_home_the_error_says_what_to_set() {
        let error = Home::find(None, &Environment::default()).unwrap_err();
        assert!(error.next_step().contains("--home"), "{error}");
    }

    #[test]
    fn the_model_cache_is_shared_between_homes() {
        let (one, two) = (Home::at("/a"), Home::at("/b"));
        assert_eq!(models_cache_dir(&one, &environment()), models_cache_dir(&two, &environment()));
        assert_eq!(models_cache_dir(&one, &Environment::default()), Path::new("/a/models"));
    }

    #[cfg(unix)]
    #[test]
    fn a_new_home_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("deep/home"));
        home.create().unwrap();
        home.create().unwrap();
        assert_eq!(std::fs::metadata(home.root()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
