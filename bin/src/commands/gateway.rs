//! `swarm gateway`.

use super::NotAvailable;
use crate::cli::GatewayArgs;
use crate::context::Context;
use crate::failure::Failure;

/// Runs `swarm gateway`.
///
/// # Errors
/// [`NotAvailable`].
#[expect(clippy::unused_async, reason = "the others are awaited")]
pub async fn run(_: &Context, _: &GatewayArgs) -> Result<(), Failure> {
    Err(NotAvailable { command: "gateway" }.into())
}
