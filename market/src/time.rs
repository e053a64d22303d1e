//! Time, as it stands in signed things.

use serde::{Deserialize, Serialize};

/// How far two honest clocks may differ. A minute covers unsynchronised desktops; chains tolerate about as much.
pub const CLOCK_SKEW_MS: u64 = 60_000;

/// Milliseconds since the Unix epoch. Local timers use a monotonic instant instead; the two never mix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This moment and `ms` milliseconds, or the end of time.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; nothing when `earlier` is later.
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole seconds since the Unix epoch, the chain's unit.
    pub const fn unix_s(self) -> u64 {
        self.0 / 1000
    }

    /// Whether a peer with an honest clock may have written this moment by `now`.
    pub const fn is_plausible_issue(self, now: Self) -> bool {
        self.0 <= now.0.saturating_add(CLOCK_SKEW_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_wrap() {
        assert_eq!(Timestamp(u64::MAX).plus_ms(1), Timestamp(u64::MAX));
        assert_eq!(Timestamp(5).plus_ms(2), Timestamp(7));
        assert_eq!(Timestamp(5).since_ms(Timestamp(7)), 0);
        assert_eq!(Timestamp(7).since_ms(Timestamp(5)), 2);
        assert_eq!((Timestamp(999).unix_s(), Timestamp(2_999).unix_s()), (0, 2));
    }

    #[test]
    fn an_honest_clock_is_at_most_a_minute_ahead() {
        let now = Timestamp(1_000_000);
        assert!(now.plus_ms(CLOCK_SKEW_MS).is_plausible_issue(now));
        assert!(!now.plus_ms(CLOCK_SKEW_MS + 1).is_plausible_issue(now));
        assert!(Timestamp(0).is_plausible_issue(now));
    }
}
