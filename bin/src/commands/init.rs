//! `swarm init`: keys and a configuration.

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

use cocoon_settlement::chain::Bounce;
use cocoon_settlement::wallet::Mnemonic;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::InitArgs;
use crate::config;
use crate::context::Context;
use crate::failure::{Exit, Failure, NextStep};
use crate::keystore::{self, Keys, KeystoreError, Protection, PublicKeys};
use crate::output::Tone;

/// Bytes a file of words may have: 24 words have some 170.
const WORDS_BYTES_MAX: u64 = 4096;

/// The words of an existing wallet could not be had.
#[derive(Debug, thiserror::Error)]
enum RestoreError {
    #[error("cannot read the words from {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the words are no wallet's")]
    Words(#[source] cocoon_settlement::wallet::WalletError),
}

impl NextStep for RestoreError {
    fn next_step(&self) -> Cow<'static, str> {
        "a file with the 24 words, separated by spaces or lines; \"-\" reads them from stdin".into()
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    public: PublicKeys,
    home: PathBuf,
    config_written: bool,
    protected: bool,
    /// Only of a wallet that was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    mnemonic: Option<String>,
}

/// Runs `swarm init`.
///
/// # Errors
/// [`KeystoreError`] above all when there are keys already.
pub fn run(context: &Context, args: &InitArgs) -> Result<(), Failure> {
    let path = context.home().keystore_file();
    if path.exists() {
        return Err(KeystoreError::Exists { path }.into());
    }
    let keys = match &args.restore {
        Some(file) => Keys::with_mnemonic(args.network, read_words(file)?)?,
        None => Keys::generate(args.network)?,
    };
    context.home().create()?;
    if args.no_passphrase {
        keystore::create(&path, &keys, &Protection::None)?;
    } else {
        let passphrase = context.passphrase().choose()?;
        keystore::create(&path, &keys, &Protection::Passphrase(&passphrase))?;
    }
    let made = Made {
        public: keys.public()?,
        home: context.home().root().to_owned(),
        config_written: config::write_new(&context.home().config_file(), args.network)?,
        protected: !args.no_passphrase,
        mnemonic: args.restore.is_none().then(|| keys.mnemonic().phrase().to_owned()),
    };
    context.out().result(&made, |made| text(context, made));
    Ok(())
}

fn text(context: &Context, made: &Made) -> String {
    let out = context.out();
    let PublicKeys { network, owner, operator } = &made.public;
    let mut lines = vec![format!("Made a node for {} in {}.", network.name(), made.home.display()), String::new()];
    if let Some(words) = &made.mnemonic {
        lines.push(out.paint(Tone::Strong, "These 24 words are the money. Write them down; they are not shown again:"));
        let words: Vec<&str> = words.split(' ').collect();
        lines.extend(words.chunks(6).map(|row| format!("  {}", row.join(" "))));
        lines.push(String::new());
    }
    lines.push(format!("  wallet  {}", owner.friendly(Bounce::No)));
    lines.push(format!("  node    {operator}"));
    if !made.protected {
        let warning = "The keys are not encrypted: whoever reads keys.json owns them. For a devnet only.";
        lines.push(format!("\n{}", out.paint(Tone::Warning, warning)));
    }
    if !made.config_written {
        lines.push("\nA configuration was there already and stays as it is.".to_owned());
    }
    lines.push("\nNext: swarm doctor; swarm wallet deposit; swarm up --provide MODEL, or swarm ask \"...\"".to_owned());
    lines.join("\n")
}

fn read_words(file: &Path) -> Result<Mnemonic, RestoreError> {
    let read = |source| RestoreError::Read { path: file.to_owned(), source };
    let mut text = Zeroizing::new(String::new());
    if file == Path::new("-") {
        std::io::stdin().lock().take(WORDS_BYTES_MAX).read_to_string(&mut text).map_err(read)?;
    } else {
        std::fs::File::open(file).map_err(read)?.take(WORDS_BYTES_MAX).read_to_string(&mut text).map_err(read)?;
    }
    Mnemonic::parse(&text).map_err(RestoreError::Words)
}
