//! `swarm jobs`.

use super::NotAvailable;
use crate::cli::JobsCommand;
use crate::context::Context;
use crate::failure::Failure;

/// Runs `swarm jobs`.
///
/// # Errors
/// [`NotAvailable`].
pub fn run(_: &Context, _: &JobsCommand) -> Result<(), Failure> {
    Err(NotAvailable { command: "jobs" }.into())
}
