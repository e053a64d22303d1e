//! `swarm dossier`.

use super::NotAvailable;
use crate::cli::DossierCommand;
use crate::context::Context;
use crate::failure::Failure;

/// Runs `swarm dossier`.
///
/// # Errors
/// [`NotAvailable`].
pub fn run(_: &Context, _: &DossierCommand) -> Result<(), Failure> {
    Err(NotAvailable { command: "dossier" }.into())
}
