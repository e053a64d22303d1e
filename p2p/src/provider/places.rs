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
    remembered_max: usize,
    state: Mutex<State>,
}

impl Places {
    pub(super) fn new(jobs_max: usize) -> Arc<Self> {
        Arc::new(Self { jobs_max, remembered_max: AGREEMENTS_REMEMBERED_MAX, state: Mutex::default() })
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
        if state.agreements.len() >= self.remembered_max {
            state.agreements.retain(|_, held| held.terms().expires_at > now);
        }
        if state.agreements.len() >= self.remembered_max {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{NOW, agreement};

    fn places(jobs_max: usize, remembered_max: usize) -> Arc<Places> {
        Arc::new(Places { jobs_max, remembered_max, state: Mutex::default() })
    }

    fn take(places: &Arc<Places>, agreement: &Agreement, job: u8) -> Result<Place, Refusal> {
        places.take(agreement, JobId([job; 16]), mpsc::channel(0).0)
    }

    fn running(taken: Result<Place, Refusal>) -> u16 {
        let Err(Refusal::Busy { running }) = taken else { panic!("{taken:?}") };
        running
    }

    #[test]
    fn a_full_memory_forgets_what_is_over_and_then_any() {
        let places = places(9, 3);
        let held = |agreement: &Agreement| places.agreement(&agreement.id()).is_some();
        let live: Vec<_> = (1..5).map(|nonce| agreement(nonce, 1, NOW.plus_ms(1001))).collect();
        // Not the one that would go first if none were over.
        let is_last = |over: &Agreement| live.iter().all(|live| live.id() < over.id());
        let over = (5..).map(|nonce| agreement(nonce, 1, NOW.plus_ms(1000))).find(is_last).unwrap();
        let remember = |now, agreement: &Agreement| places.remember(now, Arc::new(agreement.clone()));
        remember(NOW, &over);
        remember(NOW.plus_ms(1000), &live[0]);
        remember(NOW.plus_ms(1000), &live[1]);
        assert!(held(&over) && held(&live[0]) && held(&live[1]), "while there is room, nothing is forgotten");
        remember(NOW.plus_ms(1000), &live[2]);
        assert!(!held(&over) && live[..3].iter().all(held));
        remember(NOW.plus_ms(1000), &live[3]);
        assert!(held(&live[3]));
        assert_eq!(live.iter().filter(|agreement| held(agreement)).count(), 3);
    }

    #[test]
    fn an_agreement_has_so_many_places_and_a_job_one() {
        let places = places(9, 9);
        let two = agreement(1, 2, NOW.plus_ms(1000));
        let first = take(&places, &two, 1).unwrap();
        assert_eq!(running(take(&places, &two, 1)), 1, "it runs already");
        let second = take(&places, &two, 2).unwrap();
        assert_eq!(running(take(&places, &two, 3)), 2);
        drop(first);
        let third = take(&places, &two, 3).unwrap();
        assert_eq!(running(take(&places, &two, 2)), 2);
        drop((second, third));
        assert!(places.lock().running.is_empty(), "an agreement without jobs takes no room");
    }

    #[test]
    fn all_agreements_share_the_machine() {
        let places = places(2, 9);
        let (one, other) = (agreement(1, 5, NOW.plus_ms(1000)), agreement(2, 5, NOW.plus_ms(1000)));
        let first = take(&places, &one, 1).unwrap();
        let second = take(&places, &one, 2).unwrap();
        assert_eq!(running(take(&places, &other, 1)), 2);
        assert_eq!(places.lock().running.len(), 1, "who is refused takes no room");
        drop(first);
        let again = take(&places, &other, 1).unwrap();
        drop((second, again));
    }

    #[test]
    fn a_paused_provider_has_no_place_and_says_why() {
        let places = places(2, 9);
        let agreement = agreement(1, 5, NOW.plus_ms(1000));
        places.pause(Some(Refusal::ChainOutOfSight));
        assert!(matches!(take(&places, &agreement, 1), Err(Refusal::ChainOutOfSight)));
        places.pause(None);
        assert!(take(&places, &agreement, 1).is_ok());
    }
}
