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
