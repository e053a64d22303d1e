//! What becomes of jobs when a pass fails.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::pages::PagePool;
use super::{Seat, Served, Server, Waiting};
use crate::engine::EngineError;
use crate::generation::GenerateError;

/// Jobs that end well before one more is let in beside the others: a try that fails has all of them read anew.
const GOOD_ENDS: usize = 16;

impl Server {
    /// Ends every job that was in a pass whose engine failed; those that wait may have better luck,
    /// unless the device is gone.
    pub(super) fn fail_all(&mut self, error: &EngineError, out: &mut Vec<Served>) {
        tracing::error!(error = error as &dyn std::error::Error, jobs = self.seats.len(), "the engine failed");
        for seat in std::mem::take(&mut self.seats) {
            out.push(Served { ticket: seat.ticket, event: Err(GenerateError::Lost), meter: seat.meter(self.page_bytes) });
        }
        self.forget_pages();
        if matches!(error, EngineError::Lost { .. }) {
            self.lost = true;
            let ended = |job: Waiting| {
                let event = Err(if job.passes > 0 { GenerateError::Lost } else { GenerateError::NotBegun });
                Served { ticket: job.ticket, event, meter: job.meter() }
            };
            out.extend(self.waiting.drain(..).map(ended));
        }
    }

    /// Takes a step back after a pass that did not fit the device. Who has a seat to himself and does not fit ends, and so does the
    /// longest of a pass that takes a tensor which is not to be had; else there is one seat less. Whoever is left is read anew.
    pub(super) fn make_room(&mut self, plan: &[(usize, usize)], error: &EngineError, out: &mut Vec<Served>) {
        let ends = match error {
            EngineError::TooLarge(_) => plan.iter().max_by_key(|(at, tokens)| self.seats[*at].job.read() + tokens).map(|(at, _)| *at),
            _ => (self.seats.len() == 1).then_some(0),
        };
        tracing::warn!(
            error = error as &dyn std::error::Error,
            jobs = self.seats.len(),
            ends = ends.is_some(),
            "a pass does not fit the device"
        );
        match ends {
            Some(at) => {
                let seat = self.seats.remove(at);
                out.push(Served { ticket: seat.ticket, event: Err(GenerateError::NoMemory), meter: seat.meter(self.page_bytes) });
            }
            None => self.places = self.seats.len() - 1,
        }
        self.good_ends = 0;
        for Seat { ticket, mut job, cached_tokens, passes, .. } in std::mem::take(&mut self.seats).into_iter().rev() {
            job.rewind();
            self.waiting.push_front(Waiting { ticket, job, cached_tokens, passes });
        }
        self.forget_pages();
    }

    /// Counts a job that ended well; after enough of them one more may have a seat.
    pub(super) fn count_good_end(&mut self) {
        self.good_ends += 1;
        if self.good_ends >= GOOD_ENDS {
            self.good_ends = 0;
            self.places = (self.places + 1).min(self.limits.jobs);
        }
    }

    /// Begins with empty pages: what a failed pass wrote into them is not to be trusted. Nobody holds any.
    fn forget_pages(&mut self) {
        self.pool = PagePool::new(self.pool.total());
        self.session = Arc::clone(self.model.network()).session();
        self.model.network().tidy();
    }
}
