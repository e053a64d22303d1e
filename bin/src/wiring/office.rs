//! A desk with its keeper: whoever gives an order there can wait until the chain shows it.
//!
//! It is the one place that sends messages of a home's wallet on behalf of its channels. A node has one, and so has a command that
//! settles without joining the network. One a ledger at a time: the ledger sees to that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cocoon_market::OperatorKey;
use cocoon_p2p::Clock;
use cocoon_settlement::chain::{Chain, Confirmations};
use cocoon_settlement::contract::ProviderTerms;
use cocoon_settlement::ledger::{Ledger, LedgerError, RedbStore, StoreError};
use cocoon_settlement::settler::{Progress, Settler};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::desk::Desk;
use super::keeper::{Duty, Keeper, Pace};
use super::node::StartError;
use crate::keystore::Keys;
use crate::signals::StopSignals;

/// A desk with its keeper.
#[derive(Debug)]
pub struct Office {
    desk: Arc<Desk>,
    keeper: JoinHandle<()>,
    progress: broadcast::Sender<Progress>,
    /// Lets the keeper go when the office is dropped.
    cancel: DropGuard,
}

impl Office {
    /// Lets a keeper begin at a desk. Call it within a tokio runtime.
    pub fn start(desk: Arc<Desk>, pace: Pace, duty: Duty) -> Self {
        let keeper = Keeper::new(Arc::clone(&desk), pace, duty);
        let (progress, cancel) = (keeper.progress(), CancellationToken::new());
        let keeper = tokio::spawn(keeper.run(cancel.clone()));
        Self { desk, keeper, progress, cancel: cancel.drop_guard() }
    }

    /// The ledger and the chain.
    pub const fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// What comes of its orders to the chain, from now on.
    pub fn settling(&self) -> broadcast::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Lets the keeper end what it is doing. Orders that are not carried out stay in the ledger.
    pub async fn close(self) {
        drop(self.cancel);
        // A keeper that panicked has said so; its orders are in the ledger.
        let _ = self.keeper.await;
    }

    /// The same, unless somebody asks to stop meanwhile: what the keeper is doing may hang on a chain that does not answer.
    pub async fn close_unless(self, signals: &mut StopSignals) {
        tokio::select! {
            biased;
            () = signals.requested() => {}
            () = self.close() => {}
        }
    }
}

/// Opens the ledger of these keys, and a desk over it, which claims through the contract of these terms if there are any, and for which
/// a transaction counts when it lies so deep. Nothing is carried out there yet.
///
/// # Errors
/// [`StartError::InUse`], [`StartError::Ledger`], [`StartError::Keys`].
pub async fn open_desk(
    keys: &Keys,
    ledger: PathBuf,
    chain: Arc<dyn Chain>,
    provider: Option<ProviderTerms>,
    confirmations: Confirmations,
) -> Result<Arc<Desk>, StartError> {
    let (wallet, key) = (keys.wallet()?, keys.operator().clone());
    let ledger = tokio::task::spawn_blocking(move || open_ledger(&ledger, key));
    let ledger = Arc::new(ledger.await.map_err(|panic| StartError::Thread(io::Error::other(panic)))??);
    let settler = Settler::new(chain, wallet, ledger).with_confirmations(confirmations);
    let settler = match provider {
        Some(terms) => settler.with_provider(terms),
        None => settler,
    };
    Ok(Arc::new(Desk::new(settler, Clock::system())))
}

/// Opens the ledger of a key, creating it if it is not there. Blocks.
///
/// # Errors
/// [`StartError::InUse`], [`StartError::Ledger`].
pub fn open_ledger(path: &Path, key: OperatorKey) -> Result<Ledger, StartError> {
    let opened = RedbStore::open(path).map_err(LedgerError::from).and_then(|store| Ledger::open(store, key));
    opened.map_err(|source| match source {
        LedgerError::Store(StoreError::InUse) => StartError::InUse { path: path.to_owned() },
        source => StartError::Ledger { path: path.to_owned(), source },
    })
}

#[cfg(test)]
mod tests;
