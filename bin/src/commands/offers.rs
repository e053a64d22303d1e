//! `swarm offers`.

use super::NotAvailable;
use crate::cli::OffersArgs;
use crate::context::Context;
use crate::failure::Failure;

/// Runs `swarm offers`.
///
/// # Errors
/// [`NotAvailable`].
#[expect(clippy::unused_async, reason = "the others are awaited")]
pub async fn run(_: &Context, _: &OffersArgs) -> Result<(), Failure> {
    Err(NotAvailable { command: "offers" }.into())
}
