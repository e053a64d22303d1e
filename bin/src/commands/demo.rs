//! `swarm demo`.

use super::NotAvailable;
use crate::cli::DemoArgs;
use crate::context::Context;
use crate::failure::Failure;

/// Runs `swarm demo`.
///
/// # Errors
/// [`NotAvailable`].
#[expect(clippy::unused_async, reason = "the others are awaited")]
pub async fn run(_: &Context, _: &DemoArgs) -> Result<(), Failure> {
    Err(NotAvailable { command: "demo" }.into())
}
