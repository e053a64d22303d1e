//! The papers of one job.

use std::borrow::Cow;

use cocoon_settlement::dossier::{Dossier, DossierError};
use cocoon_settlement::ledger::Ledger;
use serde::{Deserialize, Serialize};

use super::{Question, jobs};
use crate::failure::{Failure, NextStep};

/// The dossier cannot be put together.
#[derive(Debug, thiserror::Error)]
#[error("the dossier cannot be put together")]
pub struct CollectError(#[from] DossierError);

impl NextStep for CollectError {
    fn next_step(&self) -> Cow<'static, str> {
        "swarm jobs ls, which lists the jobs of this node".into()
    }
}

/// Everything that proves a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CollectDossier {
    /// Its id, or the beginning of it.
    pub job: String,
}

impl Question for CollectDossier {
    const NAME: &'static str = "dossier";
    type Answer = Dossier;

    fn answer(&self, ledger: &Ledger) -> Result<Dossier, Failure> {
        let (job, _) = jobs::find(ledger, &self.job)?;
        Ok(Dossier::collect(ledger, job).map_err(CollectError)?)
    }
}
