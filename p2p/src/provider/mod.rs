//! The provider's side: publish offers, answer negotiations, serve jobs, get paid.

mod config;
mod event;
mod jobs;
mod offers;
mod places;
mod service;

use std::sync::Arc;

use cocoon_market::OperatorKey;
use cocoon_market::agreement::Refusal;
use futures::SinkExt as _;
use futures::channel::{mpsc, oneshot};

use crate::broadcast::{Broadcast, Receiver};
use crate::execution::Executor;
use crate::node::{Node, NodeStopped, PublishError, ServeError};
use crate::payment::Payee;
use crate::shell::Entropy;

pub use config::{Listing, OFFER_LIFETIME_MS, ProviderConfig};
pub use event::{JobEnd, ProposalAnswer, ProviderEvent};
pub use places::AGREEMENTS_REMEMBERED_MAX;

/// Orders to the service that may wait for its attention.
const ORDERS_WAITING_MAX: usize = 16;

/// A handle to a running provider service. Clones speak to the same one.
#[derive(Clone, Debug)]
pub struct Provider {
    orders: mpsc::Sender<Order>,
    events: Broadcast<ProviderEvent>,
}

/// What a service is told.
#[derive(Debug)]
pub(crate) enum Order {
    Sell { listings: Vec<Listing>, reply: oneshot::Sender<Result<(), ProviderError>> },
    Pause { reason: Option<Refusal> },
    Shutdown { mode: Shutdown, reply: oneshot::Sender<()> },
}

/// How a service ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Takes nothing new, and returns when the running jobs have come to their end.
    Finish,
    /// Stops running jobs; their requesters are told why, and the work since the last receipt is forgone.
    Stop,
}

/// Why a service did not start, or did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The node already serves.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// An offer cannot be made of a listing.
    #[error("a listing makes no valid offer")]
    Listing(#[from] cocoon_market::signed::SignError),
    /// More offers than a provider may have.
    #[error(transparent)]
    Desk(#[from] cocoon_market::negotiation::DeskError),
    /// An offer could not be published.
    #[error("an offer could not be published")]
    Publish(#[from] PublishError),
    /// The node was shut down.
    #[error(transparent)]
    Node(#[from] NodeStopped),
    /// The service has ended.
    #[error("the provider service has stopped")]
    Stopped,
}

impl Provider {
    /// Starts serving over `node`: publishes the listings, answers whoever negotiates, runs their jobs on `executor` and
    /// is paid through `payee`.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn spawn(
        node: Node,
        key: OperatorKey,
        config: ProviderConfig,
        payee: Arc<dyn Payee>,
        executor: Arc<dyn Executor>,
    ) -> Result<Self, ProviderError> {
        Self::spawn_with_entropy(node, key, config, payee, executor, Entropy::system()).await
    }

    /// [`Self::spawn`], with another source of randomness.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn spawn_with_entropy(
        node: Node,
        key: OperatorKey,
        config: ProviderConfig,
        payee: Arc<dyn Payee>,
        executor: Arc<dyn Executor>,
        entropy: Entropy,
    ) -> Result<Self, ProviderError> {
        let (orders, inbox) = mpsc::channel(ORDERS_WAITING_MAX);
        let events = Broadcast::new();
        let inbound = node.serve().await?;
        let spawner = node.spawner().clone();
        let listings = config.listings.clone();
        let service = service::Service::new(node, key, config.jobs_max, payee, executor, entropy, events.clone());
        spawner.spawn(Box::pin(service.run(inbound, inbox)));
        let provider = Self { orders, events };
        provider.sell(listings).await?;
        Ok(provider)
    }

    /// What happens from now on.
    pub fn events(&self) -> Receiver<ProviderEvent> {
        self.events.subscribe()
    }

    /// Sells this from now on, and nothing else: changed listings are published anew, missing ones withdrawn. Agreements
    /// that stand are kept.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn sell(&self, listings: Vec<Listing>) -> Result<(), ProviderError> {
        let (reply, done) = oneshot::channel();
        self.orders.clone().send(Order::Sell { listings, reply }).await.map_err(|_| ProviderError::Stopped)?;
        done.await.map_err(|_| ProviderError::Stopped)?
    }

    /// Refuses new negotiations and new jobs with this reason until told otherwise; running jobs go on.
    pub async fn pause(&self, reason: Option<Refusal>) {
        // A service that has ended takes nothing new either.
        let _ = self.orders.clone().send(Order::Pause { reason }).await;
    }

    /// Withdraws the offers and ends the service; returns when the last job has ended.
    pub async fn shutdown(&self, mode: Shutdown) {
        let (reply, done) = oneshot::channel();
        if self.orders.clone().send(Order::Shutdown { mode, reply }).await.is_ok() {
            let _ = done.await;
        }
    }
}
