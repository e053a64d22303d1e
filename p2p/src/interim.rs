//! Interim.
use cocoon_market::*;
use std::sync::Arc;
/// Book.
#[derive(Debug)]
pub struct Book(Vec<Arc<Verified<Offer>>>);
/// Matches.
#[derive(Debug)]
pub struct Matches {
    /// best
    pub best: Vec<Match>,
}
impl Book {
    /// new
    pub fn new(_: usize) -> Self {
        Self(vec![])
    }
    /// matches
    pub fn matches(&mut self, _: Timestamp, d: &Demand, k: usize) -> Matches {
        Matches { best: self.0.iter().filter(|o| o.model.id == d.model).take(k).cloned().map(|offer| Match { offer }).collect() }
    }
    /// offers
    pub fn offers(&self) -> impl Iterator<Item = &Arc<Verified<Offer>>> {
        self.0.iter()
    }
    /// insert
    pub fn insert(&mut self, _: Timestamp, o: Arc<Verified<Offer>>) -> Result<(), crate::node::OfferRejection> {
        if self.0.iter().any(|p| p.provider == o.provider && p.model.id == o.model.id && p.sequence >= o.sequence) {
            return Err(crate::node::OfferRejection::Outdated);
        }
        self.0.retain(|p| p.provider != o.provider || p.model.id != o.model.id);
        self.0.push(o);
        Ok(())
    }
    /// withdraw
    pub fn withdraw(&mut self, w: &Withdrawal) -> bool {
        let n = self.0.len();
        self.0.retain(|p| p.provider != w.provider || p.model.id != w.model || p.sequence >= w.sequence);
        self.0.len() != n
    }
    /// expire
    pub fn expire(&mut self, now: Timestamp) {
        self.0.retain(|o| o.expires_at > now);
    }
}
/// Slice
#[derive(Debug, Clone, Copy)]
pub struct Slice;

/// Match
#[derive(Debug, Clone)]
pub struct Match {
    /// offer
    pub offer: Arc<Verified<Offer>>,
}
