//! What an interruption waits for: a write that has begun.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The work was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// Where all writes of a long work go through. Closing it waits for the one that goes through, and after that none does, so that
/// whoever closed it may end the process at once.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<State>);

#[derive(Debug, Default)]
struct State {
    closed: Mutex<bool>,
    news: Condvar,
}

impl Gate {
    /// Goes through, unless the gate is closed.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn pass<T>(&self, write: impl FnOnce() -> T) -> Result<T, Closed> {
        let closed = self.lock();
        if *closed { Err(Closed) } else { Ok(write()) }
    }

    /// Whether work may go on.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn check(&self) -> Result<(), Closed> {
        self.pass(|| ())
    }

    /// Waits so long, or until the gate is closed.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn pause(&self, time: Duration) -> Result<(), Closed> {
        let started = Instant::now();
        let mut closed = self.lock();
        while !*closed {
            let left = time.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            closed = self.0.news.wait_timeout(closed, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Err(Closed)
    }

    /// Lets nobody through any more.
    pub fn close(&self) {
        *self.lock() = true;
        self.0.news.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        // A write that panicked leaves the flag as it was.
        self.0.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn closing_waits_for_the_write_that_goes_through_and_lets_none_after_it() {
        let (gate, written) = (Gate::default(), AtomicBool::new(false));
        let (begun, heard) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                gate.pass(|| {
                    begun.send(()).unwrap();
                    // Whoever closes the gate now has to wait for what follows.
                    std::thread::yield_now();
                    written.store(true, Ordering::SeqCst);
                })
            });
            heard.recv().unwrap();
            gate.close();
            assert!(written.load(Ordering::SeqCst));
        });
        assert_eq!(gate.pass(|| panic!("a write after the gate was closed")), Err::<(), _>(Closed));
    }

    #[test]
    fn a_pause_ends_when_its_time_is_over_or_the_gate_is_closed() {
        let gate = Gate::default();
        assert_eq!(gate.pause(Duration::from_millis(1)), Ok(()));
        std::thread::scope(|scope| {
            let paused = scope.spawn(|| gate.pause(Duration::from_secs(3600)));
            gate.close();
            assert_eq!(paused.join().unwrap(), Err(Closed));
        });
    }
}
