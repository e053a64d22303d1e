//! What a search in the book gives to somebody outside the node's task.

use std::sync::Arc;

use cocoon_market::matching::{self, Score, Why};
use cocoon_market::{Offer, Verified};

/// An offer that fits a demand.
#[derive(Clone, Debug)]
pub struct Match {
    /// The offer.
    pub offer: Arc<Verified<Offer>>,
    /// Why it stands where it stands.
    pub score: Score,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Matches {
    /// What fits, best first.
    pub best: Vec<Match>,
    /// Why there is not more: filled when fewer offers fit than were asked for.
    pub why: Option<Why>,
}

impl Matches {
    /// Copies out of the book what passes the filter.
    pub(super) fn copied(found: matching::Matches<'_>, most: usize, keep: impl Fn(&Offer) -> bool) -> Self {
        let kept = found.ranked.into_iter().filter(|one| keep(one.offer));
        let best = kept.take(most).map(|one| Match { offer: Arc::new(one.offer.clone()), score: one.score }).collect();
        Self { best, why: found.why }
    }
}
