//! `futures-timer`'s face over the simulator's clock.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use simclock::TimerKey;

/// A future that completes when virtual time has advanced by a duration.
pub struct Delay {
    deadline_ns: u64,
    timer: Option<TimerKey>,
}

impl Delay {
    /// Completes `duration` from now.
    pub fn new(duration: Duration) -> Self {
        Self { deadline_ns: deadline_ns(duration), timer: None }
    }

    /// Completes `duration` from now instead.
    pub fn reset(&mut self, duration: Duration) {
        // A task that waits on this delay is woken by the new timer, so its waker moves along.
        let waker = self.timer.take().and_then(|key| {
            let waker = simclock::rewake(key, std::task::Waker::noop());
            simclock::cancel(key);
            waker
        });
        self.deadline_ns = deadline_ns(duration);
        self.timer = waker.map(|waker| simclock::set(self.deadline_ns, waker));
    }
}

fn deadline_ns(duration: Duration) -> u64 {
    simclock::now_ns().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if simclock::now_ns() >= self.deadline_ns {
            if let Some(key) = self.timer.take() {
                simclock::cancel(key);
            }
            return Poll::Ready(());
        }
        let waiting = self.timer.is_some_and(|key| simclock::rewake(key, cx.waker()).is_some());
        if !waiting {
            self.timer = Some(simclock::set(self.deadline_ns, cx.waker().clone()));
        }
        Poll::Pending
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        if let Some(key) = self.timer.take() {
            simclock::cancel(key);
        }
    }
}

impl fmt::Debug for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delay({} ns)", self.deadline_ns)
    }
}
