//! What the commands do. Each module has one entry, `run`, which takes the [`Context`] and the command's own options.

pub mod devnet;
pub mod doctor;
pub mod init;
pub mod models;
pub mod wallet;

pub mod ask;
pub mod attest;
pub mod auction;
pub mod audit;
pub mod chain;
pub mod channels;
pub mod demo;
pub mod dossier;
pub mod econ;
pub mod embed;
pub mod gateway;
pub mod gov;
pub mod jobs;
pub mod lock;
pub mod offers;
pub mod rewards;
pub mod stake;
pub mod token;
pub mod up;

mod dry_run;
mod looking;
mod purchase;
mod telling;

use std::borrow::Cow;

use crate::cli::Command;
use crate::context::Context;
use crate::failure::{Failure, NextStep};

/// Does what a command says.
///
/// # Errors
/// Whatever the command fails with.
pub async fn run(context: Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Init(args) => init::run(&context, &args),
        Command::Up(args) => Box::pin(up::run(&context, &args)).await,
        Command::Ask(args) => Box::pin(ask::run(&context, &args)).await,
        Command::Embed(args) => Box::pin(embed::run(&context, &args)).await,
        Command::Offers(args) => Box::pin(offers::run(&context, &args)).await,
        Command::Models(command) => models::run(&context, &command).await,
        Command::Wallet(command) => wallet::run(&context, command).await,
        Command::Channels(command) => channels::run(&context, command).await,
        Command::Stake(args) => Box::pin(stake::stake(&context, &args)).await,
        Command::Unstake(args) => Box::pin(stake::unstake(&context, &args)).await,
        Command::Withdraw(args) => Box::pin(stake::withdraw(&context, &args)).await,
        Command::Token(args) => Box::pin(token::run(&context, args)).await,
        Command::Econ(args) => econ::run(&context, args).await,
        Command::Auction(args) => Box::pin(auction::run(&context, args)).await,
        Command::Rewards(args) => Box::pin(rewards::run(&context, args)).await,
        Command::Lock(args) => Box::pin(lock::lock(&context, args)).await,
        Command::Unlock(args) => Box::pin(lock::unlock(&context, args)).await,
        Command::Gov(command) => Box::pin(gov::run(&context, command)).await,
        Command::Chain(command) => chain::run(&context, command).await,
        Command::Audit(args) => blocking(move || audit::run(&context, &args)).await,
        Command::Jobs(command) => blocking(move || jobs::run(&context, &command)).await,
        Command::Dossier(command) => blocking(move || dossier::run(&context, &command)).await,
        Command::Attest(command) => Box::pin(attest::run(&context, command)).await,
        Command::Devnet(args) => Box::pin(devnet::run(&context, &args)).await,
        Command::Doctor(args) => doctor::run(&context, &args).await,
        Command::Gateway(args) => Box::pin(gateway::run(&context, &args)).await,
        Command::Demo(args) => Box::pin(demo::run(&context, &args)).await,
    }
}

/// A command that this build does not have.
#[derive(Debug, thiserror::Error)]
#[error("swarm {command} is not in this build")]
pub struct NotAvailable {
    /// Its name.
    pub command: &'static str,
}

impl NextStep for NotAvailable {
    fn next_step(&self) -> Cow<'static, str> {
        "a newer build; swarm --help lists the commands".into()
    }
}

/// Runs something that blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // The work is never cancelled, so the only way to lose it is its own panic, which goes on here.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
