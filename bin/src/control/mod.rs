//! Questions between processes of one home: a node that runs has the ledger to itself, and answers what others want to read of it.
//!
//! The node listens on a Unix socket in its home that its owner alone can open, and that asks the system who calls. Where that cannot
//! be (other systems, a home with a very long path) it listens on loopback and wants a token from a file that its owner alone can read.
//! A caller sends one line of JSON, is sent one back, and that was it. Nothing can be changed this way, only read.
//!
//! A node holds the lock of its ledger before it listens, so whatever it finds in the place of its socket was left by one that died.

mod client;
mod place;
mod server;
#[cfg(all(test, unix))]
mod tests;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use client::{Connection, ControlError, connect};
pub use server::{Server, serve};

use crate::failure::{Exit, Failure, NextStep};

/// Counts changes of what is said here, so that a node and a command of two releases know it.
const PROTOCOL: u32 = 1;

/// Bytes of a question: an id and a few numbers.
const QUESTION_BYTES_MAX: usize = 4096;

/// Bytes of an answer: twice the largest dossier, which is the longest there is.
const ANSWER_BYTES_MAX: usize = 2 * cocoon_settlement::dossier::DOSSIER_BYTES_MAX;

/// What a caller sends.
#[derive(Debug, Serialize, Deserialize)]
struct Call {
    protocol: u32,
    /// On loopback: what the file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    question: String,
    details: Value,
}

/// What it is sent back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Answer(Value),
    Failed(Told),
    /// The node is of another release.
    OtherProtocol(u32),
}

/// A failure of the node, in its words.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    error: String,
    because: Option<Box<Because>>,
    next: String,
    is_usage: bool,
}

/// A cause, and its cause.
#[derive(Debug, Serialize, Deserialize)]
struct Because {
    said: String,
    because: Option<Box<Self>>,
}

impl From<Failure> for Told {
    fn from(failure: Failure) -> Self {
        let because = failure.causes().into_iter().rev().fold(None, |because, said| Some(Box::new(Because { said, because })));
        Self { error: failure.headline(), because, next: failure.next_step(), is_usage: failure.exit() == Exit::Usage }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl std::error::Error for Told {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.because.as_deref().map(|because| because as _)
    }
}

impl std::error::Error for Because {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.because.as_deref().map(|because| because as _)
    }
}

impl NextStep for Told {
    fn next_step(&self) -> Cow<'static, str> {
        self.next.clone().into()
    }

    fn exit(&self) -> Exit {
        if self.is_usage { Exit::Usage } else { Exit::Failed }
    }
}
