//! `swarm up`.

use super::NotAvailable;
use crate::cli::UpArgs;
use crate::context::Context;
use crate::failure::Failure;

/// Runs `swarm up`.
///
/// # Errors
/// [`NotAvailable`].
#[expect(clippy::unused_async, reason = "the others are awaited")]
pub async fn run(_: &Context, _: &UpArgs) -> Result<(), Failure> {
    Err(NotAvailable { command: "up" }.into())
}
