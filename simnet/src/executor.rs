//! A single-threaded executor in virtual time.
//!
//! Tasks run in the order they became ready. When none is ready, the clock jumps to the next timer. No wall clock, no
//! threads and no I/O are involved, so a run is a function of its seed.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One spawned future. It is taken out while it is polled, so that it may wake or spawn freely.
struct Task {
    future: Mutex<Option<BoxFuture>>,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

#[derive(Default)]
struct Ready(Mutex<VecDeque<Arc<Task>>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A task that panicked takes the whole simulation down, so a poisoned lock is only seen on the way out.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            let ready = self.ready.clone();
            lock(&ready.0).push_back(self);
        }
    }
}

impl Task {
    fn run(self: Arc<Self>) {
        self.queued.store(false, Ordering::Relaxed);
        let Some(mut future) = lock(&self.future).take() else { return };
        let waker = Waker::from(self.clone());
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            *lock(&self.future) = Some(future);
        }
    }
}

/// A handle to the executor of this simulation. Clones are the same executor.
#[derive(Clone, Default)]
pub struct Executor {
    ready: Arc<Ready>,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Executor({} ready)", lock(&self.ready.0).len())
    }
}

impl Executor {
    /// Runs `future` in the background until it ends.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let future: BoxFuture = Box::pin(future);
        Arc::new(Task { future: Mutex::new(Some(future)), queued: AtomicBool::new(false), ready: self.ready.clone() }).wake();
    }

    /// Runs everything until virtual time has advanced by `duration`.
    pub fn run_for(&self, duration: Duration) {
        let limit_ns = simclock::now_ns().saturating_add(nanos(duration));
        while self.step(limit_ns) {}
    }

    /// Runs everything until `future` is done. `None` when it is not done within `limit` of virtual time.
    pub fn block_on<T: Send + 'static>(&self, limit: Duration, future: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let slot = Arc::new(Mutex::new(None));
        let result = slot.clone();
        self.spawn(async move {
            let value = future.await;
            *lock(&result) = Some(value);
        });
        let limit_ns = simclock::now_ns().saturating_add(nanos(limit));
        while lock(&slot).is_none() && self.step(limit_ns) {}
        lock(&slot).take()
    }

    /// Runs one task, or jumps to the next timer. `false` when neither is left before `limit_ns`.
    fn step(&self, limit_ns: u64) -> bool {
        let task = lock(&self.ready.0).pop_front();
        match task {
            Some(task) => {
                task.run();
                true
            }
            None => simclock::advance(limit_ns),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Gives way once, so that other ready tasks run first.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_timer::Delay;

    #[test]
    fn an_hour_of_virtual_time_needs_no_hour() {
        simclock::reset();
        let executor = Executor::default();
        let log = Arc::new(Mutex::new(Vec::new()));
        for (name, minutes) in [("b", 60), ("a", 10), ("c", 60)] {
            let log = log.clone();
            executor.spawn(async move {
                Delay::new(Duration::from_secs(60 * minutes)).await;
                lock(&log).push((name, simclock::now_ns() / 1_000_000_000));
            });
        }
        let done = executor.block_on(Duration::from_secs(5 * 3600), Delay::new(Duration::from_secs(2 * 3600)));
        assert!(done.is_some());
        assert_eq!(*lock(&log), [("a", 600), ("b", 3600), ("c", 3600)]);
    }

    #[test]
    fn what_is_never_done_ends_at_its_limit() {
        simclock::reset();
        let executor = Executor::default();
        assert_eq!(executor.block_on(Duration::from_secs(1), std::future::pending::<()>()), None);
        assert_eq!(simclock::now_ns(), 1_000_000_000);
    }

    #[test]
    fn a_reset_delay_wakes_at_its_new_time() {
        simclock::reset();
        let executor = Executor::default();
        let mut delay = Delay::new(Duration::from_secs(5));
        let at = executor.block_on(Duration::from_secs(60), async move {
            futures::future::poll_fn(|cx| {
                let _ = Pin::new(&mut delay).poll(cx);
                Poll::Ready(())
            })
            .await;
            delay.reset(Duration::from_secs(9));
            delay.await;
            simclock::now_ns()
        });
        assert_eq!(at, Some(9_000_000_000));
    }
}
