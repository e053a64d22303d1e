//! What is injected so that a simulator can run a node: the wall clock, and the executor of tasks.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cocoon_market::Timestamp;
use futures::FutureExt as _;
use futures::future::{self, BoxFuture, Either};
use futures_timer::Delay;
use web_time::{SystemTime, UNIX_EPOCH};

/// The wall clock, for everything that is signed or expires.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock of one's own.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The system's clock.
    pub fn system() -> Self {
        Self::new(|| {
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
        })
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// Runs tasks in the background.
#[derive(Clone)]
pub struct Spawner(Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>);

impl Spawner {
    /// An executor of one's own, for example `Spawner::new(|task| { tokio::spawn(task); })`.
    pub fn new(spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(spawn))
    }

    /// Runs a task.
    pub fn spawn(&self, task: BoxFuture<'static, ()>) {
        (self.0)(task);
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner").finish_non_exhaustive()
    }
}

impl libp2p::swarm::Executor for Spawner {
    fn exec(&self, future: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.spawn(future);
    }
}

/// Fills bytes at random.
type Fill = dyn Fn(&mut [u8]) + Send + Sync;

/// Randomness, for names and seeds.
#[derive(Clone)]
pub struct Entropy(Arc<Fill>);

impl Entropy {
    /// A source of one's own; the simulator's is seeded.
    pub fn new(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// The system's randomness.
    pub fn system() -> Self {
        Self::new(|bytes| getrandom::fill(bytes).expect("a system without randomness has made no keys and runs no node"))
    }

    /// So many random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0u8; N];
        (self.0)(&mut bytes);
        bytes
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entropy").finish_non_exhaustive()
    }
}

/// The time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// Waits for `future`, but not longer than `limit`.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let future = std::pin::pin!(future);
    match future::select(future, Delay::new(limit)).await {
        Either::Left((output, _)) => Ok(output),
        Either::Right(((), mut future)) => future.as_mut().now_or_never().ok_or(Elapsed),
    }
}

/// A timer that follows a machine's `poll_timeout`.
///
/// A deadline that moves away with every token must not cost a timer a token: the old timer is left to fire, and the
/// machine, asked too early, does nothing and is asked again. A clock that jumped, as over a machine's sleep, is believed:
/// what is overdue is due at once, whatever the timer says.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    armed: Option<(Timestamp, Delay)>,
}

impl Deadline {
    /// Sees to it that [`Self::reached`] returns at `due`, or earlier.
    pub(crate) fn set(&mut self, now: Timestamp, due: Option<Timestamp>) {
        let Some(due) = due else { return };
        if self.armed.as_ref().is_none_or(|(at, _)| *at > due || due <= now) {
            self.armed = Some((due, Delay::new(Duration::from_millis(due.since_ms(now)))));
        }
    }

    /// Returns when it is time to ask the machine; never when nothing is set.
    ///
    /// # Cancel safety
    /// A cancelled wait loses nothing.
    pub(crate) async fn reached(&mut self) {
        match &mut self.armed {
            Some((_, delay)) => delay.await,
            None => future::pending().await,
        }
        self.armed = None;
    }
}
