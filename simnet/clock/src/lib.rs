//! The simulator's clock: virtual nanoseconds and an ordered set of timers, one per thread.
//!
//! Time stands still while tasks run and jumps to the next deadline when none can. Timers that are due at the same
//! nanosecond fire in the order they were set, so a simulation is a function of its inputs alone.
//!
//! The state is local to a thread: simulations on different threads do not see each other, and the patched
//! `futures-timer` and `web-time` reach it without a handle, as their callers expect.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::task::Waker;

/// Where virtual Unix time starts, in seconds: 2026-01-01T00:00:00Z.
pub const EPOCH_UNIX_S: u64 = 1_767_225_600;

/// Names one timer; ordered by deadline, then by when it was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey {
    deadline_ns: u64,
    sequence: u64,
}

#[derive(Default)]
struct Clock {
    now_ns: u64,
    sequence: u64,
    timers: BTreeMap<TimerKey, Waker>,
}

thread_local! {
    static CLOCK: RefCell<Clock> = RefCell::default();
}

/// Virtual nanoseconds since the simulation began.
pub fn now_ns() -> u64 {
    CLOCK.with_borrow(|clock| clock.now_ns)
}

/// Back to the beginning, with no timer set.
pub fn reset() {
    // Wakers may own tasks whose destructors cancel timers, so they are dropped after the borrow has ended.
    let old = CLOCK.replace(Clock::default());
    drop(old);
}

/// Sets a timer; `waker` is woken when virtual time reaches `deadline_ns`.
pub fn set(deadline_ns: u64, waker: Waker) -> TimerKey {
    CLOCK.with_borrow_mut(|clock| {
        clock.sequence += 1;
        let key = TimerKey { deadline_ns, sequence: clock.sequence };
        clock.timers.insert(key, waker);
        key
    })
}

/// Changes who is woken; the timer keeps its place. Gives back the former waker, `None` if the timer has fired.
pub fn rewake(key: TimerKey, waker: &Waker) -> Option<Waker> {
    CLOCK.with_borrow_mut(|clock| clock.timers.get_mut(&key).map(|slot| std::mem::replace(slot, waker.clone())))
}

/// Forgets a timer.
pub fn cancel(key: TimerKey) {
    let waker = CLOCK.with_borrow_mut(|clock| clock.timers.remove(&key));
    drop(waker);
}

/// When the next timer is due.
pub fn next_deadline_ns() -> Option<u64> {
    CLOCK.with_borrow(|clock| clock.timers.keys().next().map(|key| key.deadline_ns))
}

/// Jumps to the next deadline and wakes the first timer due then. Nothing happens, and `false` is returned, when there
/// is none at or before `limit_ns`; then time stands at `limit_ns`.
pub fn advance(limit_ns: u64) -> bool {
    let waker = CLOCK.with_borrow_mut(|clock| {
        let due = clock.timers.first_entry().filter(|first| first.key().deadline_ns <= limit_ns);
        let Some(first) = due else {
            clock.now_ns = clock.now_ns.max(limit_ns);
            return None;
        };
        let deadline_ns = first.key().deadline_ns;
        let waker = first.remove();
        clock.now_ns = clock.now_ns.max(deadline_ns);
        Some(waker)
    });
    waker.map(Waker::wake).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::Wake;

    struct Log(usize, Arc<Mutex<Vec<usize>>>);
    impl Wake for Log {
        fn wake(self: Arc<Self>) {
            self.1.lock().expect("no test panics while logging").push(self.0);
        }
    }

    #[test]
    fn timers_fire_by_deadline_then_by_age() {
        reset();
        let log = Arc::new(Mutex::new(Vec::new()));
        let next = AtomicUsize::new(0);
        let waker = || Waker::from(Arc::new(Log(next.fetch_add(1, Ordering::Relaxed), log.clone())));
        set(20, waker());
        set(10, waker());
        let cancelled = set(10, waker());
        set(10, waker());
        cancel(cancelled);
        assert_eq!(next_deadline_ns(), Some(10));
        while advance(15) {}
        assert_eq!((now_ns(), log.lock().expect("as above").clone()), (15, vec![1, 3]));
        while advance(100) {}
        assert_eq!((now_ns(), log.lock().expect("as above").clone()), (100, vec![1, 3, 0]));
    }
}
