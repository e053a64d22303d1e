//! The thread of one copy of a model, from outside: its queue, its load and its health.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use cocoon_market::job::JobRequest;
use cocoon_market::{ModelId, Refusal, StopReason, WorkKind};
use cocoon_p2p::execution::{CancelHandle, EXECUTION_EVENTS_MAX, Execution};
use cocoon_runtime::{Cancel, ServingLimits};
use futures::channel::mpsc;

use super::super::serving::{Loaded, Reload};
use super::front::Front;
use super::recovery::{Patience, Tries, revive};
use super::{Order, embedding, generating};

/// How a thread is, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    /// It works.
    Serving,
    /// It lost its device, and loads its model again. Orders wait.
    Restarting,
    /// It lost its device too often. Orders are refused.
    GivenUp,
}

/// What a thread and those who give it orders share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Jobs that wait or run.
    pub(super) inside: AtomicUsize,
    health: AtomicU8,
}

impl Shared {
    pub(super) fn health(&self) -> Health {
        match self.health.load(Ordering::Acquire) {
            0 => Health::Serving,
            1 => Health::Restarting,
            _ => Health::GivenUp,
        }
    }

    fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Release);
    }
}

/// Tells when the last copy of a model is given up. Each copy has a clone.
#[derive(Clone, Debug)]
pub(super) struct Last {
    id: ModelId,
    copies: Arc<AtomicUsize>,
    tell: mpsc::Sender<ModelId>,
}

impl Last {
    pub(super) fn new(id: ModelId, copies: usize, tell: &mpsc::Sender<ModelId>) -> Self {
        Self { id, copies: Arc::new(AtomicUsize::new(copies)), tell: tell.clone() }
    }

    fn give_up(mut self) {
        if self.copies.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Where nobody listens, nothing is sold.
            let _ = self.tell.try_send(self.id);
        }
    }
}

/// The thread of one copy of a model.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) serves: WorkKind,
    /// The thread ends when this is dropped and the queue is empty.
    orders: mpsc::Sender<Order>,
    pub(super) shared: Arc<Shared>,
    /// Most jobs that wait or run: those that are read together, and those that may wait. The provider's desk admits no more than its
    /// capacity at once; this bounds what slips through while others end.
    inside_max: usize,
}

impl Lane {
    pub(super) fn start(model: Loaded, reload: Arc<dyn Reload>, last: Last, limits: ServingLimits, patience: Patience) -> io::Result<Self> {
        let inside_max = limits.jobs.saturating_add(limits.waiting);
        let (orders, queue) = mpsc::channel(inside_max);
        let shared = Arc::new(Shared::default());
        let (serves, front) = (model.work(), Front::new(queue, Arc::clone(&shared)));
        let name = format!("model-{}", last.id.short());
        let run = {
            let shared = Arc::clone(&shared);
            move || {
                if let Some(front) = serve(model, &reload, front, &shared, limits, Tries::new(patience)) {
                    last.give_up();
                    front.refuse(&StopReason::Refused(Refusal::Unavailable));
                }
            }
        };
        std::thread::Builder::new().name(name).spawn(run)?;
        Ok(Self { serves, orders, shared, inside_max })
    }

    pub(super) fn inside(&self) -> usize {
        self.shared.inside.load(Ordering::Relaxed)
    }

    pub(super) fn start_job(&self, request: JobRequest) -> Result<Execution, StopReason> {
        let (tx, events) = mpsc::channel(EXECUTION_EVENTS_MAX);
        let cancel = Cancel::default();
        let switch = cancel.clone();
        let JobRequest { job, work, .. } = request;
        let inside = &self.shared.inside;
        let ahead = inside.fetch_add(1, Ordering::Relaxed);
        let busy = StopReason::Refused(Refusal::Busy { running: u16::try_from(ahead).unwrap_or(u16::MAX) });
        let sent = match ahead < self.inside_max {
            true => self.orders.clone().try_send(Order { job, work, events: tx, cancel }),
            false => {
                inside.fetch_sub(1, Ordering::Relaxed);
                return Err(busy);
            }
        };
        if let Err(error) = sent {
            inside.fetch_sub(1, Ordering::Relaxed);
            // The thread ends only with the executor, or by a panic outside of any job.
            return Err(if error.is_full() { busy } else { StopReason::Internal });
        }
        tracing::debug!(%job, ahead, "job queued");
        metrics::gauge!("swarm_jobs_inside").increment(1.0);
        Ok(Execution { events, cancel: CancelHandle::with_hook(move || switch.cancel()) })
    }
}

/// Serves with a model, and with the same one loaded again whenever its device was lost, until nobody can add an order. Gives the front
/// back when the device was lost too often.
fn serve(
    mut model: Loaded,
    reload: &Arc<dyn Reload>,
    mut front: Front,
    shared: &Shared,
    limits: ServingLimits,
    mut tries: Tries,
) -> Option<Front> {
    loop {
        let device = model.device().clone();
        let lost = match model {
            Loaded::Text(model) => generating::Desk::new(model, front, limits).run(),
            Loaded::Vectors(model) => embedding::Desk::new(model, front).run(),
        };
        front = lost?;
        shared.set_health(Health::Restarting);
        // What jobs that ended have to say is not held up by the wait.
        front.flush();
        match revive(&device, reload, &mut tries) {
            Some(again) => model = again,
            None => {
                shared.set_health(Health::GivenUp);
                return Some(front);
            }
        }
        shared.set_health(Health::Serving);
    }
}
