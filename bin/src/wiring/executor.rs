//! Runs jobs for the provider service: one thread a model, which works on all its jobs together.
//!
//! ```text
//! provider service --start--> queue (bounded) --> thread of the model --> events (bounded) --> provider service
//! ```
//!
//! Tokens and vectors go out one by one while the network keeps up. While it does not, that job waits and the others go on. A
//! panic inside the model ends the jobs that it had, never the node.

mod embedding;
mod front;
mod generating;
mod outbox;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use cocoon_market::job::JobRequest;
use cocoon_market::{JobId, ModelId, Refusal, StopReason, Usage, Work, WorkKind};
use cocoon_p2p::execution::{CancelHandle, EXECUTION_EVENTS_MAX, Execution, ExecutionEvent, Executor};
use cocoon_runtime::{Cancel, ServingLimits};
use futures::channel::mpsc;

use super::serving::Loaded;
use front::Front;

/// Runs the jobs of all models that are served.
#[derive(Debug)]
pub struct ModelExecutor {
    lanes: BTreeMap<ModelId, Lane>,
}

/// The thread of one model.
#[derive(Debug)]
struct Lane {
    serves: WorkKind,
    /// The thread ends when this is dropped and the queue is empty.
    orders: mpsc::Sender<Order>,
    /// Jobs that wait or run.
    inside: Arc<AtomicUsize>,
    /// Most of them: those that are read together, and those that may wait. The provider's desk admits no more than its capacity at once;
    /// this bounds what slips through while others end.
    inside_max: usize,
}

/// A job on its way to a model.
struct Order {
    job: JobId,
    work: Work,
    events: mpsc::Sender<ExecutionEvent>,
    cancel: Cancel,
}

impl ModelExecutor {
    /// Starts a thread for each model, which may use so much.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn new(models: impl IntoIterator<Item = (ModelId, Loaded)>, limits: ServingLimits) -> io::Result<Self> {
        let lanes = models.into_iter().map(|(id, model)| Ok((id, Lane::start(id, model, limits)?))).collect::<io::Result<_>>()?;
        Ok(Self { lanes })
    }

    /// Jobs that wait for a model or run on it.
    pub fn inside(&self, model: ModelId) -> usize {
        self.lanes.get(&model).map_or(0, |lane| lane.inside.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl Executor for ModelExecutor {
    async fn start(&self, model: ModelId, request: JobRequest) -> Result<Execution, StopReason> {
        let lane = self.lanes.get(&model).ok_or(StopReason::Refused(Refusal::UnknownOffer))?;
        if request.work.kind() != lane.serves {
            return Err(StopReason::Refused(Refusal::OtherWork { serves: lane.serves }));
        }
        request.check().map_err(|_| StopReason::Malformed)?;
        lane.start_job(request)
    }
}

impl Lane {
    fn start(id: ModelId, model: Loaded, limits: ServingLimits) -> io::Result<Self> {
        let inside_max = limits.jobs.saturating_add(limits.waiting);
        let (orders, queue) = mpsc::channel(inside_max);
        let inside = Arc::new(AtomicUsize::new(0));
        let (serves, front) = (model.work(), Front::new(queue, Arc::clone(&inside)));
        let run = move || match model {
            Loaded::Text(model) => generating::Desk::new(model, front, limits).run(),
            Loaded::Vectors(model) => embedding::Desk::new(model, front).run(),
        };
        std::thread::Builder::new().name(format!("model-{}", id.short())).spawn(run)?;
        Ok(Self { serves, orders, inside, inside_max })
    }

    fn start_job(&self, request: JobRequest) -> Result<Execution, StopReason> {
        let (tx, events) = mpsc::channel(EXECUTION_EVENTS_MAX);
        let cancel = Cancel::default();
        let switch = cancel.clone();
        let JobRequest { job, work, .. } = request;
        let ahead = self.inside.fetch_add(1, Ordering::Relaxed);
        let busy = StopReason::Refused(Refusal::Busy { running: u16::try_from(ahead).unwrap_or(u16::MAX) });
        let sent = match ahead < self.inside_max {
            true => self.orders.clone().try_send(Order { job, work, events: tx, cancel }),
            false => {
                self.inside.fetch_sub(1, Ordering::Relaxed);
                return Err(busy);
            }
        };
        if let Err(error) = sent {
            self.inside.fetch_sub(1, Ordering::Relaxed);
            // The thread ends only with the executor, or by a panic outside of any job.
            return Err(if error.is_full() { busy } else { StopReason::Internal });
        }
        tracing::debug!(%job, ahead, "job queued");
        metrics::gauge!("swarm_jobs_inside").increment(1.0);
        Ok(Execution { events, cancel: CancelHandle::with_hook(move || switch.cancel()) })
    }
}

/// Takes a job off the count of those inside.
fn count_out(inside: &AtomicUsize) {
    inside.fetch_sub(1, Ordering::Relaxed);
    metrics::gauge!("swarm_jobs_inside").decrement(1.0);
}

fn count_tokens(usage: Usage) {
    metrics::counter!("swarm_tokens_total", "kind" => "input").increment(usage.input_tokens);
    metrics::counter!("swarm_tokens_total", "kind" => "output").increment(usage.output_tokens);
}

fn count_seconds(started: Instant) {
    metrics::histogram!("swarm_job_seconds").record(started.elapsed().as_secs_f64());
}

#[cfg(test)]
mod tests;
