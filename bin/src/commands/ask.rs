//! `swarm ask`.

use super::NotAvailable;
use crate::cli::AskArgs;
use crate::context::Context;
use crate::failure::Failure;

/// Runs `swarm ask`.
///
/// # Errors
/// [`NotAvailable`].
#[expect(clippy::unused_async, reason = "the others are awaited")]
pub async fn run(_: &Context, _: &AskArgs) -> Result<(), Failure> {
    Err(NotAvailable { command: "ask" }.into())
}
