//! A model whose device was lost: how often, and how soon, it is loaded again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cocoon_runtime::{Device, DeviceError, LoadError};

use super::super::serving::{Loaded, Reload};

/// How patient a thread is with its device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Before the second try of a period; it doubles with each further one. The first comes at once, since most drivers have a reset
    /// behind them when they tell of it.
    pub(super) wait: Duration,
    /// The longest wait. Jobs that wait meanwhile are worth less than the time their requesters give them.
    pub(super) wait_max: Duration,
    /// Tries in a period. A device that is lost more often is broken, and every try takes memory that burn does not give back.
    pub(super) tries_max: usize,
    /// How long a try counts.
    pub(super) period: Duration,
}

impl Patience {
    /// Six tries in ten minutes, with up to half a minute between them.
    pub(super) const USUAL: Self =
        Self { wait: Duration::from_secs(1), wait_max: Duration::from_secs(30), tries_max: 6, period: Duration::from_secs(600) };
}

/// The tries of one thread.
#[derive(Debug)]
pub(super) struct Tries {
    patience: Patience,
    /// When those of the current period were made.
    made: VecDeque<Instant>,
}

impl Tries {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, made: VecDeque::new() }
    }

    /// How long to wait before the next try, which counts from now on; none if there were too many.
    pub(super) fn next(&mut self, now: Instant) -> Option<Duration> {
        let Patience { wait, wait_max, tries_max, period } = self.patience;
        self.made.retain(|made| now.saturating_duration_since(*made) < period);
        if self.made.len() >= tries_max {
            return None;
        }
        let wait = match u32::try_from(self.made.len()).unwrap_or(u32::MAX) {
            0 => Duration::ZERO,
            before => wait.saturating_mul(2u32.saturating_pow(before - 1)).min(wait_max),
        };
        self.made.push_back(now);
        Some(wait)
    }
}

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
enum ReviveError {
    #[error("the device cannot be opened again")]
    Device(#[from] DeviceError),
    #[error("the model cannot be loaded again")]
    Load(#[from] LoadError),
}

/// Loads a model again that was on a device which was lost; none when there were too many tries. Blocks.
pub(super) fn revive(lost: &Device, reload: &Arc<dyn Reload>, tries: &mut Tries) -> Option<Loaded> {
    metrics::counter!("swarm_device_lost_total").increment(1);
    while let Some(wait) = tries.next(Instant::now()) {
        tracing::warn!(device = %lost, wait_ms = wait.as_millis(), "the device was lost; the model is loaded again");
        std::thread::sleep(wait);
        let revived = lost.reopen().map_err(ReviveError::from).and_then(|device| Ok(reload.reload(&device)?));
        match revived {
            Ok(model) => {
                tracing::warn!(device = %lost, "the model is served again");
                count("served_again");
                return Some(model);
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, device = %lost, "a try to serve again failed");
                count("failed");
            }
        }
    }
    tracing::error!(device = %lost, "the device was lost too often; its model is not served any more, restart the node");
    count("given_up");
    None
}

fn count(outcome: &'static str) {
    metrics::counter!("swarm_model_restarts_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_tries_are_bounded_within_a_period() {
        let second = Duration::from_secs(1);
        let patience = Patience { wait: second, wait_max: 5 * second, tries_max: 5, period: 100 * second };
        let (mut tries, start) = (Tries::new(patience), Instant::now());
        let waits: Vec<_> = (0..6).map(|at| tries.next(start + at * second)).collect();
        assert_eq!(waits, [0, 1, 2, 4, 5].map(|wait| Some(wait * second)).into_iter().chain([None]).collect::<Vec<_>>());
        assert_eq!(tries.next(start + 99 * second), None);
        assert_eq!(tries.next(start + 100 * second), Some(5 * second), "the first try no longer counts");
        assert_eq!(tries.next(start + 1000 * second), Some(Duration::ZERO), "none does");
    }
}
