//! Where the passphrase comes from: a file, the environment, or the person at the terminal.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use console::Term;
use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::failure::{Exit, NextStep};

/// The shortest passphrase for new keys. Argon2id makes a guess cost a tenth of a second; below eight characters that is
/// not enough.
const PASSPHRASE_CHARS_MIN: usize = 8;

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// None was given, and nobody can be asked.
    #[error("the keystore has a passphrase, and there is no terminal to ask for it")]
    NobodyToAsk,
    /// The file with it cannot be read.
    #[error("cannot read the passphrase from {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The prompt failed.
    #[error("cannot read from the terminal")]
    Terminal(#[source] io::Error),
    /// The two entries of a new one differ.
    #[error("the two passphrases differ")]
    Differ,
    /// A new one is too easy to guess.
    #[error("the passphrase has {chars} characters, expected at least {PASSPHRASE_CHARS_MIN}")]
    TooShort {
        /// How many it has.
        chars: usize,
    },
}

impl NextStep for PassphraseError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::NobodyToAsk => "--passphrase-file FILE, or set COCOON_PASSPHRASE".into(),
            Self::File { .. } => "a file whose first line is the passphrase, readable by you alone".into(),
            Self::Terminal(_) => "--passphrase-file FILE".into(),
            Self::Differ => "again".into(),
            Self::TooShort { .. } => "a longer one: four random words are good".into(),
        }
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Where the passphrase comes from. The first that is there is taken.
#[derive(Clone, Debug, Default)]
pub struct PassphraseSource {
    file: Option<PathBuf>,
    environment: Option<Zeroizing<String>>,
}

impl PassphraseSource {
    /// The file that was named, else the environment's, else whoever sits at the terminal.
    pub fn new(file: Option<&Path>, environment: &Environment) -> Self {
        Self { file: file.map(Path::to_owned), environment: environment.passphrase.clone() }
    }

    /// A passphrase that is known already.
    pub fn known(passphrase: &str) -> Self {
        Self { file: None, environment: Some(Zeroizing::new(passphrase.to_owned())) }
    }

    /// The passphrase of an existing keystore.
    ///
    /// # Errors
    /// [`PassphraseError`].
    pub fn get(&self) -> Result<Zeroizing<String>, PassphraseError> {
        match self.given()? {
            Some(given) => Ok(given),
            None => prompt("Passphrase of the keystore: "),
        }
    }

    /// The passphrase for a new keystore: asked for twice, and not too short.
    ///
    /// # Errors
    /// [`PassphraseError`].
    pub fn choose(&self) -> Result<Zeroizing<String>, PassphraseError> {
        let chosen = match self.given()? {
            Some(given) => given,
            None => {
                let chosen = prompt("New passphrase for the keystore: ")?;
                check_length(&chosen)?;
                if *prompt("The same again: ")? != *chosen {
                    return Err(PassphraseError::Differ);
                }
                chosen
            }
        };
        check_length(&chosen)?;
        Ok(chosen)
    }

    fn given(&self) -> Result<Option<Zeroizing<String>>, PassphraseError> {
        let Some(path) = &self.file else { return Ok(self.environment.clone()) };
        let file = |source| PassphraseError::File { path: path.clone(), source };
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(file)?);
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            return Err(file(io::Error::new(io::ErrorKind::InvalidData, "its first line is empty")));
        }
        Ok(Some(Zeroizing::new(line.to_owned())))
    }
}

fn check_length(passphrase: &str) -> Result<(), PassphraseError> {
    let chars = passphrase.chars().count();
    if chars < PASSPHRASE_CHARS_MIN { Err(PassphraseError::TooShort { chars }) } else { Ok(()) }
}

/// Asks without showing what is typed.
fn prompt(question: &str) -> Result<Zeroizing<String>, PassphraseError> {
    let term = Term::stderr();
    if !term.is_term() || !console::user_attended() {
        return Err(PassphraseError::NobodyToAsk);
    }
    term.write_str(question).and_then(|()| term.read_secure_line()).map(Zeroizing::new).map_err(PassphraseError::Terminal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_stands_above_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        std::fs::write(&path, "from the file\nsecond line\n").unwrap();
        let environment = Environment { passphrase: Some(Zeroizing::new("from the environment".into())), ..Environment::default() };
        assert_eq!(*PassphraseSource::new(Some(&path), &environment).get().unwrap(), "from the file");
        assert_eq!(*PassphraseSource::new(None, &environment).get().unwrap(), "from the environment");
    }

    #[test]
    fn a_file_without_a_passphrase_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        let get = || PassphraseSource::new(Some(&path), &Environment::default()).get();
        assert!(matches!(get(), Err(PassphraseError::File { .. })));
        std::fs::write(&path, "\nx").unwrap();
        assert!(matches!(get(), Err(PassphraseError::File { .. })));
    }

    #[test]
    fn new_passphrases_have_a_length_old_ones_do_not() {
        let short = PassphraseSource::known("1234567");
        assert!(matches!(short.choose(), Err(PassphraseError::TooShort { chars: 7 })));
        assert!(short.get().is_ok());
        assert!(PassphraseSource::known("12345678").choose().is_ok());
    }
}
