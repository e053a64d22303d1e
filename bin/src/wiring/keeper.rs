//! The keeper: the task that carries orders to the chain, watches channels, and claims when it is worth it.
//!
//! It survives a chain that is out of reach: it tries again, ever more slowly up to a bound, and what is owed stays in the ledger.
//! After a restart it continues from there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cocoon_market::Amount;
use cocoon_settlement::chain::Confirmations;
use cocoon_settlement::ledger::Role;
use cocoon_settlement::settler::{ClaimPolicy, Progress};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, DeskError, Poor, purse};
use super::own::{Means, upkeep};
use crate::config::ProvideConfig;

/// Events a listener may be behind. Orders are rare: this is a day's worth.
const PROGRESS_BEHIND_MAX: usize = 256;

/// When the keeper does what.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The pause between two rounds while an order is under way: a fraction of a block.
    pub busy: Duration,
    /// The pause between two looks at all channels. Well below a third of the challenge window, or work pauses.
    pub watch: Duration,
    /// When to claim, as far as it is not urgent.
    pub claims: ClaimPolicy,
    /// How deep a transaction must lie before an order is done.
    pub confirmations: Confirmations,
    /// What the operations balance of the own contract is topped up by when it runs low.
    pub operations: Amount,
    /// How long a receipt waits for those before it in its channel, before the channel is given up. They were sent before it, over the
    /// same connection.
    pub gap: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let provide = ProvideConfig::default();
        Self {
            busy: Duration::from_secs(1),
            watch: Duration::from_secs(30),
            claims: provide.claims(),
            confirmations: Confirmations::NONE,
            operations: provide.operations,
            gap: Duration::from_secs(20),
        }
    }
}

/// What a keeper is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Everything: a node's.
    All,
    /// The orders that somebody gives: a command's, which should do what it was told and nothing besides.
    Orders,
}

/// Carries orders, watches channels, claims.
#[derive(Debug)]
pub struct Keeper {
    desk: Arc<Desk>,
    pace: Pace,
    duty: Duty,
    progress: broadcast::Sender<Progress>,
    watched: Option<Instant>,
    means: Means,
    failures: u32,
    frozen: usize,
}

impl Keeper {
    /// A keeper of this desk.
    pub fn new(desk: Arc<Desk>, pace: Pace, duty: Duty) -> Self {
        let (progress, _) = broadcast::channel(PROGRESS_BEHIND_MAX);
        Self { desk, pace, duty, progress, watched: None, means: Means::default(), failures: 0, frozen: 0 }
    }

    /// What it does from now on.
    pub fn progress(&self) -> broadcast::Sender<Progress> {
        self.progress.clone()
    }

    /// Works until cancelled. Run it as a task.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = self.desk.bell.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause = match self.round().await {
                Ok(pause) => {
                    if self.failures > 0 {
                        tracing::info!("the chain is back");
                    }
                    self.failures = 0;
                    pause
                }
                Err(DeskError::Gone) => return,
                Err(error) => self.failed(&error),
            };
        }
    }

    /// One round, and the pause after it.
    async fn round(&mut self) -> Result<Duration, DeskError> {
        if self.duty == Duty::All && self.watched.is_none_or(|at| at.elapsed() >= self.pace.watch) {
            self.watch().await?;
        }
        let done = self.desk.blocking(|desk| desk.settler().tick(desk.now())).await?;
        let poor: Vec<Poor> = done.iter().filter_map(poor).collect();
        let is_poor = !poor.is_empty();
        for step in done {
            record(&step);
            // Nobody has to listen.
            let _ = self.progress.send(step);
        }
        self.desk.rounds.send_modify(|round| {
            round.count = round.count.wrapping_add(1);
            round.poor = poor;
        });
        let is_busy = !self.desk.blocking(|desk| desk.ledger().open_orders()).await?.is_empty();
        Ok(if is_busy && !is_poor { self.pace.busy } else { self.pace.watch })
    }

    async fn watch(&mut self) -> Result<(), DeskError> {
        watch(&self.desk, self.pace.claims).await?;
        self.means = upkeep(&self.desk, self.pace.operations, self.means).await?;
        self.count_frozen().await?;
        self.watched = Some(Instant::now());
        Ok(())
    }

    /// Says so when there are more channels whose books are not the newest.
    async fn count_frozen(&mut self) -> Result<(), DeskError> {
        let books = self.desk.blocking(|desk| desk.ledger().channels()).await?;
        let frozen = books.iter().filter(|book| book.rollback().is_some()).count();
        if frozen > self.frozen {
            tracing::error!(frozen, "channels are frozen, because their books are not the newest; swarm audit says what to do");
        }
        self.frozen = frozen;
        // A gauge is for people; a float holds every count of channels there can be.
        metrics::gauge!("swarm_frozen_channels").set(frozen as f64);
        Ok(())
    }

    fn failed(&mut self, error: &DeskError) -> Duration {
        self.failures = self.failures.saturating_add(1);
        // Never longer than between two looks: a chain that is back near the end of a challenge window must be seen in time.
        let pause = self.pace.busy.saturating_mul(1 << self.failures.min(6)).min(self.pace.watch.max(self.pace.busy));
        if self.failures == 1 {
            tracing::warn!(error = error as &dyn std::error::Error, "cannot settle for now; what is owed is kept and claimed later");
        } else {
            tracing::debug!(error = error as &dyn std::error::Error, tries = self.failures, "still cannot settle");
        }
        metrics::counter!("swarm_settle_failures_total").increment(1);
        pause
    }
}

/// Looks at all channels and orders what follows.
///
/// # Errors
/// [`DeskError`] when no channel could be looked at because of the chain.
async fn watch(desk: &Arc<Desk>, policy: ClaimPolicy) -> Result<(), DeskError> {
    let head = desk.blocking(|desk| desk.chain().head()).await?;
    let age_ms = desk.now().0.saturating_sub(head.unix_s.saturating_mul(1000));
    // A gauge is for people; milliseconds lose nothing they can see.
    metrics::gauge!("swarm_chain_head_age_seconds").set(age_ms as f64 / 1000.0);
    let failures = desk.blocking(move |desk| desk.settler().watch(policy, desk.now())).await?;
    for (channel, error) in failures {
        let error = DeskError::from(error);
        match error {
            // Named to a provider and not yet on chain, or being opened.
            DeskError::Channel(_) => tracing::debug!(%channel, %error, "channel not watched"),
            error if error.is_chain_trouble() => return Err(error),
            error => tracing::warn!(%channel, %error, "channel not watched"),
        }
    }
    let exposure = desk.blocking(|desk| desk.ledger().exposure(Role::Provider)).await?;
    metrics::gauge!("swarm_unpaid_nanoton").set(exposure.unpaid.nano() as f64);
    metrics::gauge!("swarm_undrawn_nanoton").set(exposure.undrawn.nano() as f64);
    Ok(())
}

fn poor(step: &Progress) -> Option<Poor> {
    match *step {
        Progress::NeedsFunds { order, sender, needed, balance } => Some(Poor { order, sender, needed, balance }),
        Progress::Sent { .. } | Progress::Confirmed { .. } | Progress::Failed { .. } | Progress::Requeued { .. } => None,
    }
}

fn record(step: &Progress) {
    let name = match step {
        Progress::Sent { .. } => "sent",
        Progress::Confirmed { .. } => "confirmed",
        Progress::Failed { .. } => "failed",
        Progress::Requeued { .. } => "requeued",
        Progress::NeedsFunds { order, sender, needed, balance } => {
            tracing::warn!(order = order.0, %needed, %balance, "{} holds too little for the next order", purse(*sender));
            "needs_funds"
        }
    };
    metrics::counter!("swarm_orders_total", "step" => name).increment(1);
}

/// Claims whatever is worth more than its claim costs, and waits until the chain shows it, within a limit.
///
/// # Errors
/// [`DeskError`]; what was not claimed stays in the ledger.
pub async fn claim_all(desk: &Arc<Desk>, limit: Duration) -> Result<(), DeskError> {
    watch(desk, ClaimPolicy::EVERYTHING).await?;
    let claims = desk.blocking(|desk| desk.ledger().open_orders()).await?;
    let by = Instant::now() + limit;
    for (id, _) in claims {
        desk.await_order(id, by.saturating_duration_since(Instant::now())).await?;
    }
    Ok(())
}
