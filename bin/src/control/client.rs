//! The side that asks.

use std::borrow::Cow;
use std::io::{self, Read as _};
use std::time::Duration;

use super::place::Place;
use super::{ANSWER_BYTES_MAX, Call, PROTOCOL, Reply};
use crate::failure::{Failure, NextStep};
use crate::home::Home;
use crate::query::Question;

/// Longest a node may take to answer: it reads a ledger of years in a part of this.
const PATIENCE: Duration = Duration::from_secs(30);

/// The way to a node that runs.
#[derive(Debug)]
pub struct Connection(Place);

/// Why a node that runs did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The connection.
    #[error("the running node of this home did not answer")]
    Broken(#[source] io::Error),
    /// Nonsense.
    #[error("the answer of the running node makes no sense")]
    Malformed(#[source] serde_json::Error),
    /// More than any answer has.
    #[error("the answer of the running node is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// It is of another release.
    #[error("the running node speaks version {theirs} of its control protocol, this program version {PROTOCOL}")]
    OtherProtocol {
        /// Its version.
        theirs: u32,
    },
}

impl NextStep for ControlError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Broken(_) => "again; if the node is stuck, stop it, and the ledger is read without it".into(),
            Self::Malformed(_) => "stop the node and start it with this release; remove control.json from the home if none runs".into(),
            Self::TooLong => "ask for less, such as --limit 100".into(),
            Self::OtherProtocol { .. } => "stop the node and start it with this release".into(),
        }
    }
}

/// Finds the node of a home. None if none runs; what a dead one left behind is no node. Blocks.
pub fn connect(home: &Home) -> Option<Connection> {
    Place::all(home).into_iter().find(|place| place.connect(PATIENCE).is_ok()).map(Connection)
}

impl Connection {
    /// Asks.
    ///
    /// # Errors
    /// [`ControlError`], and what the question fails with.
    pub fn ask<Q: Question>(&self, question: &Q) -> Result<Q::Answer, Failure> {
        let details = serde_json::to_value(question).map_err(ControlError::Malformed)?;
        let call = Call { protocol: PROTOCOL, token: self.0.token().map(str::to_owned), question: Q::NAME.to_owned(), details };
        match self.exchange(&call)? {
            Reply::Answer(value) => Ok(serde_json::from_value(value).map_err(ControlError::Malformed)?),
            Reply::Failed(told) => Err(told.into()),
            Reply::OtherProtocol(theirs) => Err(ControlError::OtherProtocol { theirs }.into()),
        }
    }

    fn exchange(&self, call: &Call) -> Result<Reply, ControlError> {
        let mut line = serde_json::to_vec(call).map_err(ControlError::Malformed)?;
        line.push(b'\n');
        let mut stream = self.0.connect(PATIENCE).map_err(ControlError::Broken)?;
        stream.write_all(&line).map_err(ControlError::Broken)?;
        let limit = u64::try_from(ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
        let mut answer = Vec::new();
        let read = stream.take(limit + 1).read_to_end(&mut answer).map_err(ControlError::Broken)?;
        if read > ANSWER_BYTES_MAX {
            return Err(ControlError::TooLong);
        }
        if read == 0 {
            return Err(ControlError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&answer).map_err(ControlError::Malformed)
    }
}
