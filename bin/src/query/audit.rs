//! Where all the money of a node is, and that it sums.

use std::borrow::Cow;

use cocoon_settlement::ledger::{Audit, AuditError, Ledger};
use serde::{Deserialize, Serialize};

use super::Question;
use crate::failure::{Failure, NextStep};

/// The ledger could not be audited.
#[derive(Debug, thiserror::Error)]
#[error("the ledger cannot be audited")]
pub struct AuditBooksError(#[from] AuditError);

impl NextStep for AuditBooksError {
    fn next_step(&self) -> Cow<'static, str> {
        match &self.0 {
            AuditError::Ledger(_) => "swarm doctor, which checks the disk".into(),
            AuditError::Totals(_) => "swarm channels ls --all, and look for a channel with an amount that cannot be".into(),
        }
    }
}

/// The account of everything.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct AuditBooks {}

impl Question for AuditBooks {
    const NAME: &'static str = "audit";
    type Answer = Audit;

    fn answer(&self, ledger: &Ledger) -> Result<Audit, Failure> {
        Ok(ledger.audit().map_err(AuditBooksError)?)
    }
}
