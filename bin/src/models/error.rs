//! What can go wrong with model files.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use cocoon_market::ModelId;
use cocoon_runtime::LoadError;

use crate::failure::{Exit, NextStep, chain_text};
use crate::output::bytes_text;

/// Why a model is not to be had, or not to be managed.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Neither the catalogue nor this node knows the name.
    #[error("unknown model {name:?}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It is a model of this node's own whose file is gone.
    #[error("no source is known for {name}")]
    NoSource {
        /// Its name.
        name: String,
    },
    /// Every source failed.
    #[error("no source had {name}")]
    Sources {
        /// Its name.
        name: String,
        /// What each said.
        #[source]
        failures: SourceFailures,
    },
    /// Somebody ended it.
    #[error("interrupted; {}", kept_text(*kept_bytes))]
    Interrupted {
        /// What is here already.
        kept_bytes: u64,
    },
    /// A cached file is not what it is called.
    #[error("the file of {name} at {path} is damaged: its hash is another")]
    Damaged {
        /// Its name.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// A file of one's own is no model.
    #[error("{path} is not a GGUF file")]
    NotGguf {
        /// The file.
        path: PathBuf,
    },
    /// A folder of one's own is no model.
    #[error("{path} is not the folder of a model")]
    NoModelFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A model's file cannot be understood.
    #[error("{path} is no model that this release understands")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: LoadError,
    },
    /// A model whose file is not in the cache.
    #[error("{name} is not here")]
    NotHere {
        /// Its name.
        name: String,
    },
    /// A name that would be confused with another.
    #[error("a model is already called {name}")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A name that could not stand in offers and on command lines.
    #[error("{name:?} is no name for a model")]
    BadName {
        /// The name.
        name: String,
    },
    /// A path without a name.
    #[error("a file of one's own needs a name")]
    NameMissing,
    /// The list of this node's own models cannot be understood.
    #[error("the list of models {path} cannot be read")]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The file system failed.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl ModelError {
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }
}

fn kept_text(kept_bytes: u64) -> String {
    if kept_bytes == 0 { "nothing is kept".to_owned() } else { format!("{} are kept", bytes_text(kept_bytes)) }
}

impl NextStep for ModelError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Unknown { known, .. } => format!("one of {}; or your own: swarm models pull FILE --name NAME", known.join(", ")).into(),
            Self::NoSource { name } => format!("swarm models rm {name}, then swarm models pull FILE --name {name}").into(),
            Self::Sources { .. } => {
                "again, it goes on where it stopped; or bring the file by other means: swarm models pull FILE --name NAME".into()
            }
            Self::Interrupted { kept_bytes: 0 } => "the same command".into(),
            Self::Interrupted { .. } => "the same command, which goes on where it stopped".into(),
            Self::Damaged { name, .. } => format!("swarm models rm {name}, then swarm models pull {name}").into(),
            Self::NotGguf { .. } => "a file that ends in .gguf, or a folder as the Hugging Face hub has them".into(),
            Self::NoModelFolder { .. } => {
                "a folder as the Hugging Face hub has them: config.json, tokenizer.json, model.safetensors".into()
            }
            Self::Unreadable { .. } => "another one; families that are understood are llama, qwen2 and qwen3, and bert for vectors".into(),
            Self::NotHere { name } => format!("swarm models pull {name}").into(),
            Self::NameTaken { .. } => "another --name".into(),
            Self::BadName { .. } => "small letters, digits, dots, dashes and underscores; at most 96".into(),
            Self::NameMissing => "swarm models pull FILE --name NAME".into(),
            Self::Index { path, .. } => format!("repair or remove {}", path.display()).into(),
            Self::Io { .. } => "swarm doctor, which checks permissions and free space".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Unknown { .. } | Self::NameTaken { .. } | Self::BadName { .. } | Self::NameMissing | Self::NotHere { .. } => Exit::Usage,
            Self::NoSource { .. }
            | Self::Sources { .. }
            | Self::Interrupted { .. }
            | Self::Damaged { .. }
            | Self::NotGguf { .. }
            | Self::NoModelFolder { .. }
            | Self::Unreadable { .. }
            | Self::Index { .. }
            | Self::Io { .. } => Exit::Failed,
        }
    }
}

/// What each source said, in the order they were tried.
#[derive(Debug)]
pub struct SourceFailures(pub Vec<(String, SourceError)>);

impl fmt::Display for SourceFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(|(source, error)| format!("{source}: {}", chain_text(error))).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for SourceFailures {}

/// Why one source did not give the file.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No connection, or it broke, again and again.
    #[error("the connection failed")]
    Connection(#[source] Box<ureq::Error>),
    /// The server refused.
    #[error("the server answered with status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// The server's bytes are not those that were asked for.
    #[error("the server sent another range than asked for")]
    Range,
    /// The source has a file of another size.
    #[error("the file there has {}, expected {}", bytes_text(*found), bytes_text(*expected))]
    Size {
        /// Its size.
        found: u64,
        /// The model's size.
        expected: u64,
    },
    /// The file has another hash. It was removed.
    #[error("the file's hash is {found}, expected {expected}; it was removed")]
    Hash {
        /// Its hash.
        found: ModelId,
        /// The model's hash.
        expected: ModelId,
    },
    /// There is no Python that has pip.
    #[error("neither python3 nor python has pip")]
    NoPip,
    /// Python or pip failed.
    #[error("{program} failed: {said}")]
    Python {
        /// What was run.
        program: &'static str,
        /// The last of its words.
        said: String,
    },
    /// Somebody ended it.
    #[error("interrupted")]
    Interrupted,
    /// The file could not be written.
    #[error("writing failed")]
    Io(#[from] io::Error),
}

impl SourceError {
    /// Whether the same source may do better at the next attempt.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connection(_) => true,
            Self::Status { status } => *status == 429 || *status >= 500,
            Self::Range | Self::Size { .. } | Self::Hash { .. } | Self::NoPip | Self::Python { .. } | Self::Interrupted | Self::Io(_) => {
                false
            }
        }
    }
}
