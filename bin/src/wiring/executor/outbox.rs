//! Where a job's events wait when the network is busy.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use cocoon_market::Usage;
use cocoon_p2p::execution::ExecutionEvent;
use cocoon_runtime::Cancel;
use futures::StreamExt as _;
use futures::channel::mpsc;
use futures::executor::block_on;

/// Tokens gathered while the network is busy; then the job waits. Well below the market's limit of a chunk.
const GATHERED_TOKENS_MAX: usize = 16;

/// The way out of a job. When nobody listens any more, the job is cancelled.
#[derive(Debug)]
pub(super) struct Outbox {
    tx: mpsc::Sender<ExecutionEvent>,
    /// In order; tokens are joined to the last event if that has tokens too.
    waiting: VecDeque<ExecutionEvent>,
    cancel: Cancel,
}

impl Outbox {
    pub(super) fn new(tx: mpsc::Sender<ExecutionEvent>, cancel: Cancel) -> Self {
        Self { tx, waiting: VecDeque::new(), cancel }
    }

    /// Adds a token, and sends what there is room for.
    pub(super) fn token(&mut self, id: u32, text: &str, usage: Usage) {
        self.gather(Some(id), text, usage);
        self.flush();
    }

    /// Adds text that was held back until the end.
    pub(super) fn text(&mut self, text: &str, usage: Usage) {
        if !text.is_empty() {
            self.gather(None, text, usage);
        }
    }

    /// Adds an event.
    pub(super) fn push(&mut self, event: ExecutionEvent) {
        self.waiting.push_back(event);
        self.flush();
    }

    /// Whether as many tokens wait as may.
    pub(super) fn is_full(&self) -> bool {
        matches!(self.waiting.back(), Some(ExecutionEvent::Tokens { tokens, .. }) if tokens.len() >= GATHERED_TOKENS_MAX)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends what there is room for.
    pub(super) fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            match self.tx.try_send(event) {
                Ok(()) => {}
                Err(error) if error.is_disconnected() => return self.close(),
                Err(error) => return self.waiting.push_front(error.into_inner()),
            }
        }
    }

    /// Asks to be woken when there is room; true if there is.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> bool {
        match self.tx.poll_ready(context) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => {
                self.close();
                true
            }
            Poll::Pending => false,
        }
    }

    fn gather(&mut self, id: Option<u32>, more: &str, now: Usage) {
        if let Some(ExecutionEvent::Tokens { tokens, text, usage }) = self.waiting.back_mut() {
            tokens.extend(id);
            text.push_str(more);
            *usage = now;
        } else {
            let tokens = id.into_iter().collect();
            self.waiting.push_back(ExecutionEvent::Tokens { tokens, text: more.to_owned(), usage: now });
        }
    }

    fn close(&mut self) {
        self.waiting.clear();
        self.cancel.cancel();
    }
}

/// Waits for an order, or for somebody to take events that wait; without any outbox, until there is an order or will be none.
pub(super) fn wait<T>(queue: &mut mpsc::Receiver<T>, mut outboxes: Vec<&mut Outbox>) -> Option<T> {
    block_on(std::future::poll_fn(|context| {
        let waiting = outboxes.iter_mut().filter(|outbox| !outbox.is_empty());
        // Every one is asked, so that each will wake this thread.
        let moved = waiting.map(|outbox| outbox.poll(context)).filter(|moved| *moved).count() > 0;
        match queue.poll_next_unpin(context) {
            Poll::Ready(Some(order)) => Poll::Ready(Some(order)),
            Poll::Ready(None) if !moved && !outboxes.is_empty() => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if moved => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }))
}
