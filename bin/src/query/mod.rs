//! Questions about a node's ledger, and their answers.
//!
//! Each question is a value that answers itself from a ledger, so that one piece of code answers it wherever the ledger is open: in the
//! command that asks, or in the node that runs (see [`control`]). [`Books`] is either of the two.

pub mod audit;
pub mod channels;
pub mod dossier;
pub mod jobs;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cocoon_market::ChannelRef;
use cocoon_settlement::ledger::Ledger;
use cocoon_settlement::settler::{SettleError, Settler};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::chain::{self, ChainOpenError};
use crate::config::Config;
use crate::context::Context;
use crate::control::{self, Connection};
use crate::failure::Failure;
use crate::keystore::{Keys, KeystoreError};
use crate::wiring::node::StartError;
use crate::wiring::office::open_ledger;

/// Rows of a list, at most. A page of them is a few hundred kilobytes, and nobody reads more.
pub const ROWS_MAX: usize = 10_000;

/// How long to look for the node that has the ledger: one that starts or stops has it for moments without answering.
const STARTING: Duration = Duration::from_secs(3);

/// The pause between two looks.
const STARTING_PAUSE: Duration = Duration::from_millis(50);

/// A question about a ledger.
pub trait Question: Serialize + DeserializeOwned {
    /// Its name among all questions.
    const NAME: &'static str;
    /// What it is answered with.
    type Answer: Serialize + DeserializeOwned;

    /// Answers it. Blocks.
    ///
    /// # Errors
    /// What the person who asked is told.
    fn answer(&self, ledger: &Ledger) -> Result<Self::Answer, Failure>;
}

/// The books of a home, wherever they are open.
#[derive(Debug)]
pub enum Books {
    /// In a node that runs.
    InNode(Connection),
    /// In this process.
    Here(Box<OwnBooks>),
}

/// The books of a home, open in this process.
#[derive(Debug)]
pub struct OwnBooks {
    ledger: Arc<Ledger>,
    keys: Keys,
    config: Config,
}

impl Books {
    /// Asks the node of this home if one runs, which needs no keys; else opens the ledger. Blocks.
    ///
    /// # Errors
    /// [`StartError`], and whatever opening the keys fails with.
    pub fn open(context: &Context) -> Result<Self, Failure> {
        if let Some(node) = control::connect(context.home()) {
            return Ok(Self::InNode(node));
        }
        let config = context.config()?;
        let keys = context.keys(config.chain.network)?;
        let by = Instant::now() + STARTING;
        loop {
            match open_ledger(&context.home().ledger_file(), keys.operator().clone()) {
                Ok(ledger) => return Ok(Self::Here(Box::new(OwnBooks { ledger: Arc::new(ledger), keys, config }))),
                Err(StartError::InUse { .. }) if Instant::now() < by => std::thread::sleep(STARTING_PAUSE),
                Err(error) => return Err(error.into()),
            }
            if let Some(node) = control::connect(context.home()) {
                return Ok(Self::InNode(node));
            }
        }
    }

    /// Asks.
    ///
    /// # Errors
    /// What [`Question::answer`] fails with, and a node that does not answer.
    pub fn ask<Q: Question>(&self, question: &Q) -> Result<Q::Answer, Failure> {
        match self {
            Self::InNode(node) => node.ask(question),
            Self::Here(books) => question.answer(&books.ledger),
        }
    }
}

impl OwnBooks {
    /// Looks at channels on their chain and enters what is seen, as a node that runs does all the time. Blocks.
    ///
    /// # Errors
    /// [`LookError`], when the chain cannot be asked. A channel that is not there is no error.
    pub fn look_at(&self, channels: impl IntoIterator<Item = ChannelRef>) -> Result<(), LookError> {
        let chain = chain::open(&self.config.chain)?.chain;
        let settler = Settler::new(chain, self.keys.wallet()?, Arc::clone(&self.ledger));
        for channel in channels {
            match settler.observe(channel) {
                Ok(_) | Err(SettleError::Channel(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Why channels were not looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// There is no chain.
    #[error(transparent)]
    Open(#[from] ChainOpenError),
    /// There is no wallet.
    #[error(transparent)]
    Keys(#[from] KeystoreError),
    /// The chain or the ledger.
    #[error(transparent)]
    Settle(#[from] SettleError),
}
