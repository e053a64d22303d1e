//! The keeper: the task that carries orders to the chain, watches channels, and claims when it is worth it.
//!
//! It survives a chain that is out of reach: it tries again, ever more slowly up to a bound, and what is owed stays in the ledger.
//! After a restart it continues from there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cocoon_market::Amount;
use cocoon_settlement::ledger::Role;
use cocoon_settlement::settler::{ClaimPolicy, Progress};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, DeskError};

/// Events a listener may be behind. Orders are rare: this is a day's worth.
const PROGRESS_BEHIND_MAX: usize = 256;

/// When the keeper does what.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The pause between two rounds while an order is under way: a fraction of a block.
    pub busy: Duration,
    /// The pause between two looks at all channels. Well below a third of the challenge window, or work pauses.
    pub watch: Duration,
    /// The pause between two claims of what is worth a claim at all.
    pub claim_every: Duration,
    /// Claim at once when so much is undrawn in one channel.
    pub claim_above: Amount,
    /// Never claim less on one's own: a claim costs about 0.001 TON.
    pub claim_min: Amount,
    /// How long a receipt waits for those before it in its channel, before the channel is given up. They were sent before it, over the
    /// same connection.
    pub gap: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            busy: Duration::from_secs(1),
            watch: Duration::from_secs(30),
            claim_every: Duration::from_secs(3600),
            claim_above: Amount::from_nano(1_000_000_000),
            claim_min: Amount::from_nano(2_000_000),
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
    claimed: Instant,
    failures: u32,
}

impl Keeper {
    /// A keeper of this desk. The first claims come one `claim_every` after the start, except for what is urgent.
    pub fn new(desk: Arc<Desk>, pace: Pace, duty: Duty) -> Self {
        let (progress, _) = broadcast::channel(PROGRESS_BEHIND_MAX);
        Self { desk, pace, duty, progress, watched: None, claimed: Instant::now(), failures: 0 }
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
        let poor = done.iter().find_map(|step| match step {
            Progress::NeedsFunds { order, needed, balance } => Some((*order, *needed, *balance)),
            Progress::Sent { .. } | Progress::Confirmed { .. } | Progress::Failed { .. } | Progress::Requeued { .. } => None,
        });
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
        Ok(if is_busy && poor.is_none() { self.pace.busy } else { self.pace.watch })
    }

    async fn watch(&mut self) -> Result<(), DeskError> {
        let is_time = self.claimed.elapsed() >= self.pace.claim_every;
        let at_least = if is_time { self.pace.claim_min } else { self.pace.claim_above };
        watch(&self.desk, ClaimPolicy { at_least }).await?;
        self.watched = Some(Instant::now());
        if is_time {
            self.claimed = Instant::now();
        }
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

fn record(step: &Progress) {
    let name = match step {
        Progress::Sent { .. } => "sent",
        Progress::Confirmed { .. } => "confirmed",
        Progress::Failed { .. } => "failed",
        Progress::Requeued { .. } => "requeued",
        Progress::NeedsFunds { order, needed, balance } => {
            tracing::warn!(order = order.0, %needed, %balance, "the wallet holds too little for the next order");
            "needs_funds"
        }
    };
    metrics::counter!("swarm_orders_total", "step" => name).increment(1);
}

/// Claims what is worth at least `at_least` in each channel, and waits until the chain shows it, within a limit.
///
/// # Errors
/// [`DeskError`]; what was not claimed stays in the ledger.
pub async fn claim_all(desk: &Arc<Desk>, at_least: Amount, limit: Duration) -> Result<(), DeskError> {
    watch(desk, ClaimPolicy { at_least }).await?;
    let claims = desk.blocking(|desk| desk.ledger().open_orders()).await?;
    let by = Instant::now() + limit;
    for (id, _) in claims {
        desk.await_order(id, by.saturating_duration_since(Instant::now())).await?;
    }
    Ok(())
}
