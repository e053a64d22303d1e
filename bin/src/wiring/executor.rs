//! Runs jobs for the provider service: one thread a copy of a model, which works on all its jobs together.
//!
//! ```text
//! provider service --start--> queue (bounded) --> thread of the model --> events (bounded) --> provider service
//! ```
//!
//! Tokens and vectors go out one by one while the network keeps up. While it does not, that job waits and the others go on. A
//! panic inside the model ends the jobs that it had, never the node. Of several copies of a model, on several adapters, a job goes to
//! one that serves, and of those to the one with the fewest jobs.
//!
//! # When a device fails
//!
//! - A job that finds no memory is refused ([`Refusal::Unavailable`]), and the others go on.
//! - A driver that loses the device ends what ran on it ([`StopReason::Internal`], upon which a requester may ask another) and refuses
//!   what had not begun. The thread opens the adapter anew and loads its model again, at once at first, then after growing waits; orders
//!   that come meanwhile wait in its queue. After too many tries it refuses everything. Threads on other adapters notice nothing of it.

mod embedding;
mod front;
mod generating;
mod lane;
mod outbox;
mod recovery;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use async_trait::async_trait;
use cocoon_market::job::JobRequest;
use cocoon_market::{JobId, ModelId, Refusal, StopReason, Usage, Work};
use cocoon_p2p::execution::{Execution, ExecutionEvent, Executor};
use cocoon_runtime::{Cancel, ServingLimits};
use futures::channel::mpsc;

use super::serving::{Loaded, Reload};
use lane::{Health, Lane, Last, Shared};
use recovery::Patience;

/// Runs the jobs of all models that are served.
#[derive(Debug)]
pub struct ModelExecutor {
    /// Copies of each model, in the order in which they were placed.
    lanes: BTreeMap<ModelId, Vec<Lane>>,
}

/// A copy of a model, and who loads it again.
type Reloadable = (Loaded, Arc<dyn Reload>);

/// Models of which no copy is served any more, because their devices were given up. Whoever sells them withdraws the offers.
pub type GivenUp = mpsc::Receiver<ModelId>;

/// A job on its way to a model.
struct Order {
    job: JobId,
    work: Work,
    events: mpsc::Sender<ExecutionEvent>,
    cancel: Cancel,
}

impl ModelExecutor {
    /// Starts a thread for each copy of a model, which may use so much.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn new(models: impl IntoIterator<Item = (ModelId, Loaded, Arc<dyn Reload>)>, limits: ServingLimits) -> io::Result<(Self, GivenUp)> {
        Self::with_patience(models, limits, Patience::USUAL)
    }

    fn with_patience(
        models: impl IntoIterator<Item = (ModelId, Loaded, Arc<dyn Reload>)>,
        limits: ServingLimits,
        patience: Patience,
    ) -> io::Result<(Self, GivenUp)> {
        let mut copies: BTreeMap<ModelId, Vec<Reloadable>> = BTreeMap::new();
        models.into_iter().for_each(|(id, model, reload)| copies.entry(id).or_default().push((model, reload)));
        // Every sender has a place of its own, and each is used once at most.
        let (tell, given_up) = mpsc::channel(0);
        let mut lanes = BTreeMap::new();
        for (id, copies) in copies {
            let last = Last::new(id, copies.len(), &tell);
            let start = |(model, reload)| Lane::start(model, reload, last.clone(), limits, patience);
            lanes.insert(id, copies.into_iter().map(start).collect::<io::Result<Vec<_>>>()?);
        }
        Ok((Self { lanes }, given_up))
    }

    /// Jobs that wait for a model or run on it.
    pub fn inside(&self, model: ModelId) -> usize {
        self.lanes.get(&model).map_or(0, |copies| copies.iter().map(Lane::inside).sum())
    }
}

#[async_trait]
impl Executor for ModelExecutor {
    async fn start(&self, model: ModelId, request: JobRequest) -> Result<Execution, StopReason> {
        let copies = self.lanes.get(&model).ok_or(StopReason::Refused(Refusal::UnknownOffer))?;
        let best = copies.iter().min_by_key(|lane| (lane.shared.health(), lane.inside()));
        let lane = best.filter(|lane| lane.shared.health() != Health::GivenUp).ok_or(StopReason::Refused(Refusal::Unavailable))?;
        if request.work.kind() != lane.serves {
            return Err(StopReason::Refused(Refusal::OtherWork { serves: lane.serves }));
        }
        request.check().map_err(|_| StopReason::Malformed)?;
        lane.start_job(request)
    }
}

/// Takes a job off the count of those inside.
fn count_out(shared: &Shared) {
    shared.inside.fetch_sub(1, Ordering::Relaxed);
    metrics::gauge!("swarm_jobs_inside").decrement(1.0);
}

fn count_tokens(usage: Usage) {
    metrics::counter!("swarm_tokens_total", "kind" => "input").increment(usage.input_tokens);
    metrics::counter!("swarm_tokens_total", "kind" => "output").increment(usage.output_tokens);
}

fn count_without_memory() {
    metrics::counter!("swarm_jobs_without_memory_total").increment(1);
}

fn count_seconds(started: Instant) {
    metrics::histogram!("swarm_job_seconds").record(started.elapsed().as_secs_f64());
}

#[cfg(test)]
mod tests;
