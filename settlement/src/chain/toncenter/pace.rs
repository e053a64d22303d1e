//! How fast an endpoint is asked: not faster than it allows, and not at all while it wants to be left alone.
//!
//! Time and sleep enter through [`Timer`], so that tests need neither.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Requests a second that toncenter allows without a key.
pub const RATE_WITHOUT_KEY: NonZeroU32 = NonZeroU32::MIN;
/// Requests a second that toncenter allows with the key that everybody gets.
pub const RATE_WITH_KEY: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
/// A request waits for its turn so long at the most. Whoever asks faster than that for long is told so instead of piling up threads.
pub const TURN_WAIT_MAX: Duration = Duration::from_secs(30);
/// The longest that an endpoint's wish to be left alone is believed, so that none can silence a node for days.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Tells the time and lets it pass.
pub trait Timer: Send + Sync {
    /// Time since some fixed moment. Never goes back.
    fn now(&self) -> Duration;

    /// Seconds since the Unix epoch by this machine's clock.
    fn unix_s(&self) -> u64;

    /// Waits.
    fn sleep(&self, duration: Duration);
}

/// The time of this machine.
#[derive(Debug, Clone, Copy)]
pub struct SystemTimer {
    start: Instant,
}

impl Default for SystemTimer {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Timer for SystemTimer {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn unix_s(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// How fast to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// So many requests a second, evenly spaced: endpoints count in windows of their own, and in none of them is this too many.
    PerSecond(NonZeroU32),
    /// As fast as it goes: an endpoint of one's own.
    Unlimited,
}

impl Rate {
    /// What toncenter allows.
    pub const fn of_toncenter(has_key: bool) -> Self {
        Self::PerSecond(if has_key { RATE_WITH_KEY } else { RATE_WITHOUT_KEY })
    }
}

/// A request's turn is too far away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TurnTooFar(pub(super) Duration);

/// A bucket that holds one token: a request takes it, and time puts it back.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// When there is a token again.
    free_at: Duration,
    /// Until when the endpoint wants to be left alone.
    closed_until: Duration,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, state: Mutex::new(State { free_at: Duration::ZERO, closed_until: Duration::ZERO }) }
    }

    /// Takes a turn. How long to wait for it.
    pub(super) fn take(&self, now: Duration) -> Result<Duration, TurnTooFar> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let start = now.max(state.closed_until);
        let (wait_until, free_at) = match self.rate {
            Rate::Unlimited => (start, Duration::ZERO),
            Rate::PerSecond(per_s) => {
                let one = Duration::from_secs(1).checked_div(per_s.get()).unwrap_or(Duration::from_secs(1));
                let turn = state.free_at.max(start);
                (turn, turn.saturating_add(one))
            }
        };
        let wait = wait_until.saturating_sub(now);
        if wait > TURN_WAIT_MAX {
            return Err(TurnTooFar(wait));
        }
        state.free_at = free_at;
        Ok(wait)
    }

    /// Leaves the endpoint alone for so long. Turns that are taken already stay.
    pub(super) fn close(&self, now: Duration, pause: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed_until = state.closed_until.max(now.saturating_add(pause.min(RETRY_AFTER_MAX)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn per_second(rate: u32) -> Bucket {
        Bucket::new(Rate::PerSecond(NonZeroU32::new(rate).unwrap()))
    }

    fn waits(bucket: &Bucket, now_ms: u64, count: usize) -> Vec<u64> {
        let take = |_| u64::try_from(bucket.take(Duration::from_millis(now_ms)).unwrap().as_millis()).unwrap();
        (0..count).map(take).collect()
    }

    #[test]
    fn requests_are_spaced_as_the_rate_says() {
        let bucket = per_second(1);
        assert_eq!(waits(&bucket, 0, 3), [0, 1_000, 2_000]);
        assert_eq!(waits(&bucket, 2_500, 1), [500]);
        assert_eq!(waits(&bucket, 60_000, 2), [0, 1_000], "a long pause saves up nothing");
        let bucket = per_second(10);
        assert_eq!(waits(&bucket, 5_000, 4), [0, 100, 200, 300]);
    }

    #[test]
    fn an_endpoint_of_ones_own_is_asked_at_once() {
        assert_eq!(waits(&Bucket::new(Rate::Unlimited), 0, 100), [0; 100]);
    }

    #[test]
    fn who_waits_too_long_is_told_and_takes_no_turn() {
        let bucket = per_second(1);
        assert_eq!(waits(&bucket, 0, 31).last(), Some(&30_000));
        for _ in 0..5 {
            assert_eq!(bucket.take(Duration::ZERO), Err(TurnTooFar(Duration::from_secs(31))));
        }
        assert_eq!(waits(&bucket, 1_000, 1), [30_000]);
    }

    #[test]
    fn an_endpoint_is_left_alone_as_long_as_it_asks_for_but_not_for_days() {
        for rate in [Rate::Unlimited, Rate::of_toncenter(false)] {
            let bucket = Bucket::new(rate);
            bucket.close(Duration::ZERO, Duration::from_secs(7));
            bucket.close(Duration::ZERO, Duration::from_secs(3));
            assert_eq!(waits(&bucket, 1_000, 1), [6_000]);
            bucket.close(Duration::ZERO, Duration::from_secs(1_000_000));
            assert_eq!(bucket.take(Duration::ZERO), Err(TurnTooFar(RETRY_AFTER_MAX)));
            assert_eq!(waits(&bucket, 300_000, 1), [0]);
        }
    }
}
