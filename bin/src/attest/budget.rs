//! How much processor time a run may take on average.
//!
//! A batch cannot be paused once it has begun, so the budget is kept between batches: before the next one begins, the run waits until
//! all the processor time that this process has used since the run began, divided by the time that went by, is within the share.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// A share of a machine's processor time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Hundredths of all cores together, 1 to 100.
    pub percent: u8,
    /// How many there are.
    pub cores: NonZeroUsize,
}

impl Share {
    /// How much longer a run must last, having used so much and lasted so long, until its average is within the share.
    pub fn pause(self, used: Duration, lasted: Duration) -> Duration {
        let cores = u128::try_from(self.cores.get()).unwrap_or(u128::MAX);
        let whole = cores.saturating_mul(u128::from(self.percent.max(1)));
        let least = used.as_nanos().saturating_mul(100).div_ceil(whole);
        Duration::from_nanos(u64::try_from(least).unwrap_or(u64::MAX)).saturating_sub(lasted)
    }
}

/// What a run has used since it began.
#[derive(Debug)]
pub struct Meter {
    started: Instant,
    before: Option<Duration>,
    threads: NonZeroUsize,
}

impl Meter {
    /// Begins now. `threads` is what the run computes with, where the system does not tell what it used.
    pub fn start(threads: NonZeroUsize) -> Self {
        Self { started: Instant::now(), before: processor_time(), threads }
    }

    /// The processor time of this process and the time that went by, since the beginning.
    pub fn read(&self) -> (Duration, Duration) {
        let lasted = self.started.elapsed();
        let measured = processor_time().zip(self.before).map(|(now, before)| now.saturating_sub(before));
        let most = lasted.saturating_mul(u32::try_from(self.threads.get()).unwrap_or(u32::MAX));
        (measured.unwrap_or(most), lasted)
    }
}

/// Processor time of all threads of this process, if the system tells.
#[cfg(unix)]
fn processor_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

#[cfg(not(unix))]
fn processor_time() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_brings_the_average_down_to_the_share_and_no_further() {
        let pause = |percent, cores, used, lasted| {
            let share = Share { percent, cores: NonZeroUsize::new(cores).unwrap() };
            share.pause(Duration::from_secs(used), Duration::from_secs(lasted)).as_secs()
        };
        assert_eq!(pause(25, 4, 10, 10), 0, "one core of four");
        assert_eq!(pause(25, 4, 20, 10), 10);
        assert_eq!(pause(10, 2, 15, 15), 60, "15 of 75 seconds of two cores");
        assert_eq!(pause(100, 1, 15, 15), 0);
        assert_eq!(pause(100, 1, 0, 0), 0);
        assert_eq!(pause(1, 1, 1, 0), 100);
    }

    #[test]
    fn what_threads_compute_is_metered() {
        let meter = Meter::start(NonZeroUsize::MIN);
        let mut sum = 0u64;
        while meter.read().0 < Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let (used, lasted) = meter.read();
        assert!(used >= Duration::from_millis(5) && lasted > Duration::ZERO, "{used:?} in {lasted:?}");
    }
}
