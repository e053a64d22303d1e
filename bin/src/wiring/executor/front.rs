//! The front of a model's thread: where orders come in, and where jobs that ended send their last events.

use std::sync::Arc;

use cocoon_market::StopReason;
use cocoon_p2p::execution::ExecutionEvent;
use futures::channel::mpsc;

use super::lane::Shared;
use super::outbox::{Outbox, wait};
use super::{Order, count_out};

/// The way in and out of a thread.
pub(super) struct Front {
    queue: mpsc::Receiver<Order>,
    shared: Arc<Shared>,
    /// Whether anybody can add an order.
    open: bool,
    /// Jobs that have ended, and whose last events found no place yet.
    leaving: Vec<Outbox>,
}

impl Front {
    pub(super) fn new(queue: mpsc::Receiver<Order>, shared: Arc<Shared>) -> Self {
        Self { queue, shared, open: true, leaving: Vec::new() }
    }

    /// Whether there may be more to do, beside the jobs that run.
    pub(super) fn is_open(&self) -> bool {
        self.open || !self.leaving.is_empty()
    }

    /// The next order, if one is there.
    pub(super) fn order(&mut self) -> Option<Order> {
        match self.queue.try_recv() {
            Ok(order) => Some(order),
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Closed) => {
                self.open = false;
                None
            }
        }
    }

    /// Lets a job go that has ended.
    pub(super) fn leave(&mut self, mut outbox: Outbox, last: ExecutionEvent) {
        count_out(&self.shared);
        outbox.push(last);
        self.leaving.push(outbox);
    }

    /// Refuses orders until nobody can add one.
    pub(super) fn refuse(mut self, reason: &StopReason) {
        loop {
            while let Some(order) = self.order() {
                self.turn_away(order, reason);
            }
            self.flush();
            if !self.is_open() {
                return;
            }
            if let Some(order) = self.wait(std::iter::empty()) {
                self.turn_away(order, reason);
            }
        }
    }

    fn turn_away(&mut self, order: Order, reason: &StopReason) {
        self.leave(Outbox::new(order.events, order.cancel), ExecutionEvent::Failed(reason.clone()));
    }

    /// Sends last events that found no place before.
    pub(super) fn flush(&mut self) {
        self.leaving.retain_mut(|outbox| {
            outbox.flush();
            !outbox.is_empty()
        });
    }

    /// Waits for an order, or for somebody to take events that wait, those of jobs that run among them.
    pub(super) fn wait<'a>(&'a mut self, running: impl Iterator<Item = &'a mut Outbox>) -> Option<Order> {
        wait(&mut self.queue, running.chain(self.leaving.iter_mut()).collect())
    }
}
