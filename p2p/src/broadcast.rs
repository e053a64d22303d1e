//! Events for many listeners, none of whom can hold up the others.
//!
//! Each subscriber has a bounded queue. A slow one loses its oldest events and is told how many; the sender never waits.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures::Stream;

/// Events a subscriber may fall behind. A person reads a hundred lines; a program that is further behind is stuck.
pub const EVENTS_BEHIND_MAX: usize = 1024;

struct Queue<T> {
    events: VecDeque<T>,
    lost: u64,
    closed: bool,
    waker: Option<Waker>,
}

fn lock<T>(queue: &Mutex<Queue<T>>) -> MutexGuard<'_, Queue<T>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A queue that ends with its subscriber.
type Subscriber<T> = Weak<Mutex<Queue<T>>>;

/// The sending end.
pub(crate) struct Broadcast<T> {
    subscribers: Arc<Mutex<Vec<Subscriber<T>>>>,
}

impl<T> Clone for Broadcast<T> {
    fn clone(&self) -> Self {
        Self { subscribers: Arc::clone(&self.subscribers) }
    }
}

impl<T> std::fmt::Debug for Broadcast<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broadcast").finish_non_exhaustive()
    }
}

impl<T: Clone> Broadcast<T> {
    pub(crate) fn new() -> Self {
        Self { subscribers: Arc::default() }
    }

    /// A new subscriber; it sees what is sent from now on.
    pub(crate) fn subscribe(&self) -> Receiver<T> {
        let queue = Arc::new(Mutex::new(Queue { events: VecDeque::new(), lost: 0, closed: false, waker: None }));
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&queue));
        Receiver { queue }
    }

    /// Gives `event` to every subscriber.
    pub(crate) fn send(&self, event: &T) {
        self.each(|queue| {
            if queue.events.len() >= EVENTS_BEHIND_MAX {
                queue.events.pop_front();
                queue.lost = queue.lost.saturating_add(1);
            }
            queue.events.push_back(event.clone());
        });
    }

    /// Ends the stream of every subscriber, after what it has not read yet.
    pub(crate) fn close(&self) {
        self.each(|queue| queue.closed = true);
    }

    fn each(&self, mut act: impl FnMut(&mut Queue<T>)) {
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|weak| {
            let Some(queue) = weak.upgrade() else { return false };
            let mut queue = lock(&queue);
            act(&mut queue);
            if let Some(waker) = queue.waker.take() {
                waker.wake();
            }
            true
        });
    }
}

/// The receiving end: a stream that ends when the sender closes.
pub struct Receiver<T> {
    queue: Arc<Mutex<Queue<T>>>,
}

impl<T> Receiver<T> {
    /// Takes the next event if there is one.
    pub fn try_next(&mut self) -> Option<T> {
        lock(&self.queue).events.pop_front()
    }

    /// How many events were lost since this was last asked, because this subscriber was too slow.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut lock(&self.queue).lost)
    }
}

impl<T> std::fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("waiting", &lock(&self.queue).events.len()).finish_non_exhaustive()
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut queue = lock(&self.queue);
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if queue.closed {
            return Poll::Ready(None);
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt as _, StreamExt as _};

    #[test]
    fn a_slow_subscriber_loses_the_oldest_and_is_told() {
        let hub = Broadcast::new();
        let (mut slow, mut quick) = (hub.subscribe(), hub.subscribe());
        for n in 0..EVENTS_BEHIND_MAX + 3 {
            hub.send(&n);
            assert_eq!(quick.try_next(), Some(n));
        }
        assert_eq!((slow.take_lost(), slow.take_lost(), quick.take_lost()), (3, 0, 0));
        assert_eq!(slow.try_next(), Some(3));
    }

    #[test]
    fn a_closed_stream_ends_after_what_is_left() {
        let hub = Broadcast::new();
        let mut rx = hub.subscribe();
        hub.send(&1);
        assert_eq!(rx.next().now_or_never(), Some(Some(1)));
        assert_eq!(rx.next().now_or_never(), None, "it waits");
        hub.send(&2);
        hub.close();
        assert_eq!(rx.next().now_or_never(), Some(Some(2)));
        assert_eq!(rx.next().now_or_never(), Some(None));
    }
}
