//! A home with its keys and its chain open: what everything that settles begins with.

use std::sync::Arc;
use std::time::Duration;

use cocoon_settlement::chain::Chain;
use cocoon_settlement::chain::embedded::Embedded;
use cocoon_settlement::contract::ProviderTerms;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::desk::Desk;
use super::node::StartError;
use super::office::open_desk;

use crate::chain::{self, BLOCK_TIME};
use crate::commands::blocking;
use crate::config::Config;
use crate::context::Context;
use crate::failure::Failure;
use crate::keystore::Keys;

/// A home with its keys and its chain open.
pub struct OpenHome {
    /// What it was told.
    pub config: Config,
    /// Its keys.
    pub keys: Keys,
    /// Its chain.
    pub chain: Arc<dyn Chain>,
    /// While this lives, a chain in this process makes blocks.
    pub ticking: DropGuard,
}

impl std::fmt::Debug for OpenHome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenHome").field("config", &self.config).finish_non_exhaustive()
    }
}

impl OpenHome {
    /// Reads the configuration and opens keys and chain. Call it within a tokio runtime.
    ///
    /// # Errors
    /// Whatever of that fails.
    pub async fn open(context: &Context) -> Result<Self, Failure> {
        let context = context.clone();
        let (config, keys, chain) = blocking(move || -> Result<_, Failure> {
            let config = context.config()?;
            let keys = context.keys(config.chain.network)?;
            let chain = chain::open(&config.chain)?;
            Ok((config, keys, chain))
        })
        .await?;
        let ticking = CancellationToken::new();
        if let Some(embedded) = chain.embedded {
            tokio::spawn(tick(embedded, BLOCK_TIME, ticking.clone()));
        }
        Ok(Self { config, keys, chain: chain.chain, ticking: ticking.drop_guard() })
    }

    /// A desk over this home's ledger and chain, which claims through the contract of these terms if there are any.
    ///
    /// # Errors
    /// As for [`open_desk`].
    pub async fn desk(&self, context: &Context, provider: Option<ProviderTerms>) -> Result<Arc<Desk>, StartError> {
        let confirmations = self.config.chain.confirmations();
        open_desk(&self.keys, context.home().ledger_file(), Arc::clone(&self.chain), provider, confirmations).await
    }
}

/// Makes the blocks of a chain in this process until cancelled.
pub async fn tick(chain: Arc<Embedded>, block_time: Duration, cancel: CancellationToken) {
    let mut interval = tokio::time::interval(block_time);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            _ = interval.tick() => {
                let chain = Arc::clone(&chain);
                if let Err(error) = blocking(move || chain.tick()).await {
                    tracing::error!(error = &error as &dyn std::error::Error, "no block was made");
                }
            }
        }
    }
}
