//! Who may work here now: agreements at hand, places taken, the sign to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cocoon_market::agreement::{Agreement, Refusal};
use cocoon_market::{AgreementId, JobId, Timestamp};
use futures::channel::mpsc;

/// Agreements kept in memory, some 4 kB each; others are looked up in the payee's store.
pub const AGREEMENTS_REMEMBERED_MAX: usize = 4096;

#[derive(Debug, Default)]
struct State {
    agreements: BTreeMap<AgreementId, Arc<Agreement>>,
    running: BTreeMap<AgreementId, BTreeSet<JobId>>,
    paused: Option<Refusal>,
}

/// Shared by the service and its jobs.
#[derive(Debug)]
pub(super) struct Places {
    jobs_max: usize,
    state: Mutex<State>,
}

impl Places {
    pub(super) fn new(jobs_max: usize) -> Arc<Self> {
        Arc::new(Self { jobs_max, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pause(&self, reason: Option<Refusal>) {
        self.lock().paused = reason;
    }

    /// Keeps an agreement at hand. When there are too many, those that are over go first, then any: they can be looked up.
    pub(super) fn remember(&self, now: Timestamp, agreement: Arc<Agreement>) {
        let mut state = self.lock();
        if state.agreements.len() >= AGREEMENTS_REMEMBERED_MAX {
            state.agreements.retain(|_, held| held.terms().expires_at > now);
        }
        if state.agreements.len() >= AGREEMENTS_REMEMBERED_MAX {
            state.agreements.pop_first();
        }
        state.agreements.insert(agreement.id(), agreement);
    }

    pub(super) fn agreement(&self, id: &AgreementId) -> Option<Arc<Agreement>> {
        self.lock().agreements.get(id).cloned()
    }

    /// Takes a place for a job; it is free again when the [`Place`] is dropped.
    pub(super) fn take(self: &Arc<Self>, agreement: &Agreement, job: JobId, alive: mpsc::Sender<()>) -> Result<Place, Refusal> {
        let mut state = self.lock();
        if let Some(reason) = &state.paused {
            return Err(reason.clone());
        }
        let all: usize = state.running.values().map(BTreeSet::len).sum();
        let here = state.running.entry(agreement.id()).or_default();
        let full = all >= self.jobs_max || here.len() >= usize::from(agreement.terms().jobs_max);
        // One job id names one job: two final receipts for it would convict us.
        if full || !here.insert(job) {
            let running = u16::try_from(all).unwrap_or(u16::MAX);
            forget_empty(&mut state, &agreement.id());
            return Err(Refusal::Busy { running });
        }
        Ok(Place { places: Arc::clone(self), agreement: agreement.id(), job, _alive: alive })
    }
}

fn forget_empty(state: &mut State, agreement: &AgreementId) {
    if state.running.get(agreement).is_some_and(BTreeSet::is_empty) {
        state.running.remove(agreement);
    }
}

/// A job's place.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    agreement: AgreementId,
    job: JobId,
    /// Lets the service see when the last job has ended.
    _alive: mpsc::Sender<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        if let Some(jobs) = state.running.get_mut(&self.agreement) {
            jobs.remove(&self.job);
        }
        forget_empty(&mut state, &self.agreement);
    }
}
