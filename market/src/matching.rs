//! Matching: the best offers for a demand, and why there are no better ones.
//!
//! ```text
//! rank        = (cost of the expected job + 1 nano) * latency * reliability       lower is better
//! latency     = 1 + min(time / 30 s, 3)          time from the claim, or as measured by ourselves
//! reliability = 1 + 7 * failure rate             see [`crate::reputation`]
//! ```
//!
//! Offers that break a constraint of the demand are not ranked at all. All of it is in integers, so every node that knows
//! the same ranks the same; offers of equal rank are ordered by a secret of the book.
//!
//! Providers that we have dealt with are few and scored one by one. All others share one reliability, so
//! the shelves of the book are read from the cheapest corner on, and only until nothing better can follow: a search in a
//! million offers reads a few thousand. The result is exactly that of reading all (`matching/tests.rs`).

mod explain;
mod score;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub use explain::{Change, Constraint, Why, explain};
pub use score::{CompactPrice, LATENCY_DOUBLES_MS, Score};

pub(crate) use score::{claimed_ms, latency_1024};

use crate::book::{Book, Extent, Index, Item, Leaf, OfferEntry, ShelfKey, Slot};
use crate::demand::Demand;
use crate::offer::Offer;
use crate::reputation::{Experience, ONE_1024, Record};
use crate::signed::Verified;
use crate::time::Timestamp;

/// The most offers returned at once: more fallbacks than a job ever needs.
pub const MATCHES_MAX: usize = 64;

/// An offer that fits.
#[derive(Clone, Copy, Debug)]
pub struct Match<'a> {
    /// The offer.
    pub offer: &'a Verified<Offer>,
    /// Why it stands where it stands.
    pub score: Score,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Matches<'a> {
    /// What fits, best first.
    pub ranked: Vec<Match<'a>>,
    /// Why there is not more: filled when fewer offers fit than were asked for.
    pub why: Option<Why>,
}

/// The best `k` offers for a demand, at most [`MATCHES_MAX`].
pub fn best<'a>(book: &'a Book, demand: &Demand, experience: &Experience, k: usize, now: Timestamp) -> Matches<'a> {
    let k = k.min(MATCHES_MAX);
    let found = best_entries(book.index(), demand, experience, k, now);
    let why = (found.len() < k).then(|| explain(book.index(), demand, experience, now));
    let ranked = found.into_iter().filter_map(|found| Some(Match { offer: book.at(found.slot)?, score: found.score })).collect();
    Matches { ranked, why }
}

/// An entry that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it lies.
    pub slot: Slot,
    /// Why it stands where it stands.
    pub score: Score,
}

/// [`best`] over the searchable part of a book.
pub fn best_entries(index: &Index, demand: &Demand, experience: &Experience, k: usize, now: Timestamp) -> Vec<Found> {
    let mut search = Search::new(index, demand, experience, k.min(MATCHES_MAX), now);
    search.among_known();
    search.among_strangers();
    search.found()
}

/// The order of results: rank, then the book's secret, then the slot.
type Order = (u128, u64, Slot);

struct Search<'a> {
    index: &'a Index,
    demand: &'a Demand,
    limit: Option<CompactPrice>,
    experience: &'a Experience,
    now: Timestamp,
    k: usize,
    /// The best so far, worst on top.
    best: BinaryHeap<Order>,
    stranger_1024: u128,
    /// That a search reads little is not seen in what it finds.
    #[cfg(test)]
    leaves_read: usize,
}

impl<'a> Search<'a> {
    fn new(index: &'a Index, demand: &'a Demand, experience: &'a Experience, k: usize, now: Timestamp) -> Self {
        Self {
            index,
            demand,
            limit: demand.price_max.as_ref().map(CompactPrice::ceiling),
            experience,
            now,
            k,
            best: BinaryHeap::with_capacity(k.saturating_add(1)),
            stranger_1024: Record::default().reliability_1024(now).into(),
            #[cfg(test)]
            leaves_read: 0,
        }
    }

    /// Scores every offer of every provider we have dealt with.
    fn among_known(&mut self) {
        for (provider, record) in self.experience.iter().filter(|(_, record)| !record.is_barred()) {
            for slot in self.index.slots_of(provider) {
                let Some(entry) = self.index.entry(*slot).filter(|entry| entry.model == self.demand.model) else { continue };
                let item = entry.item(*slot, self.index.tie(provider));
                if self.admits_shelf(&entry.shelf()) && self.admits(&item) {
                    self.take((self.score(entry, Some(record)).rank, item.tie, *slot));
                }
            }
        }
    }

    /// Reads the leaves of all suitable shelves, the most promising first, until none promises anything better.
    fn among_strangers(&mut self) {
        let index = self.index;
        let shelves = index.shelves(&self.demand.model).filter(|(key, _)| self.admits_shelf(key));
        let leaves = shelves.flat_map(|(_, shelf)| shelf.leaves()).filter(|leaf| self.may_hold(leaf));
        let leaves: Vec<&Leaf> = leaves.collect();
        let promises = leaves.iter().enumerate().map(|(at, leaf)| Reverse((self.promise(&leaf.extent), leaf.extent.tie_min, at)));
        let mut promises: BinaryHeap<_> = promises.collect();
        while let Some(Reverse((rank, tie, at))) = promises.pop() {
            if !self.would_take((rank, tie, 0)) {
                break;
            }
            if let Some(leaf) = leaves.get(at) {
                self.read(leaf);
            }
        }
    }

    fn read(&mut self, leaf: &Leaf) {
        #[cfg(test)]
        {
            self.leaves_read += 1;
        }
        let usage = self.demand.expected;
        for item in &leaf.items {
            let cost = item.price.scaled(usage);
            // Without the time it takes: a cheap way past most entries.
            if !self.would_take((score::rank(cost, ONE_1024.into(), self.stranger_1024), 0, 0)) || !self.admits(item) {
                continue;
            }
            let latency = latency_1024(claimed_ms(self.demand.timed_tokens(), item.tokens_per_s));
            let order = (score::rank(cost, latency.into(), self.stranger_1024), item.tie, item.slot);
            if self.would_take(order) && self.is_stranger(item.slot) {
                self.take(order);
            }
        }
    }

    fn is_stranger(&self, slot: Slot) -> bool {
        self.index.entry(slot).is_some_and(|entry| self.experience.get(&entry.provider).is_none())
    }

    /// The best rank that a stranger in this leaf can have.
    fn promise(&self, extent: &Extent) -> u128 {
        let usage = self.demand.expected;
        let latency = latency_1024(claimed_ms(self.demand.timed_tokens(), extent.tokens_per_s_max));
        score::rank(extent.price_min.scaled(usage), latency.into(), self.stranger_1024)
    }

    fn admits_shelf(&self, key: &ShelfKey) -> bool {
        key.work == self.demand.work
            && key.network == self.demand.network
            && key.tier >= self.demand.tier
            && key.confidentiality >= self.demand.confidentiality
    }

    fn admits(&self, item: &Item) -> bool {
        item.expires_at > self.now
            && item.context_tokens >= self.demand.context_tokens
            && item.tokens_per_s >= self.demand.tokens_per_s
            && self.limit.is_none_or(|limit| item.price.is_at_most(&limit))
    }

    /// Whether anything in a leaf may fit.
    fn may_hold(&self, leaf: &Leaf) -> bool {
        !leaf.items.is_empty()
            && leaf.extent.context_tokens_max >= self.demand.context_tokens
            && leaf.extent.tokens_per_s_max >= self.demand.tokens_per_s
            && self.limit.is_none_or(|limit| leaf.extent.price_min.is_at_most(&limit))
    }

    fn would_take(&self, order: Order) -> bool {
        self.best.len() < self.k || self.best.peek().is_some_and(|worst| order < *worst)
    }

    fn take(&mut self, order: Order) {
        if self.would_take(order) {
            self.best.push(order);
            if self.best.len() > self.k {
                self.best.pop();
            }
        }
    }

    fn score(&self, entry: &OfferEntry, record: Option<&Record>) -> Score {
        score::score(self.now, &entry.price, entry.tokens_per_s, self.demand, record)
    }

    fn found(self) -> Vec<Found> {
        let ordered = self.best.clone().into_sorted_vec();
        let scored = ordered.into_iter().filter_map(|(_, _, slot)| {
            let entry = self.index.entry(slot)?;
            Some(Found { slot, score: self.score(entry, self.experience.get(&entry.provider)) })
        });
        scored.collect()
    }
}
