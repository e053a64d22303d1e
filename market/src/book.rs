//! The book: all offers this node knows, one per provider and model.
//!
//! Two layers: the [`Index`] holds the compact, searchable part of each offer ([`OfferEntry`]), the [`Book`] the signed
//! offers themselves, at the same slots. Only a [`Verified<Offer>`] gets in. A later sequence takes the
//! place of an earlier one, and a withdrawal the place of an offer, until every offer it could have been about is over.

mod calendar;
mod entry;
mod index;
mod shelf;

#[cfg(test)]
mod tests;

pub use entry::OfferEntry;
pub use index::{Index, Placed, Slot};

pub(crate) use entry::ShelfKey;
pub(crate) use index::at;
pub(crate) use shelf::{Extent, Item, Leaf};

use crate::ids::{ModelId, NetworkId, NodeId, OfferId};
use crate::offer::{OFFER_LIFETIME_MS_MAX, Offer, OfferTimeError, Withdrawal};
use crate::penalty::Penalty;
use crate::signed::Verified;
use crate::time::{CLOCK_SKEW_MS, Timestamp};

/// Offers and withdrawals held by default: a million and a fifth more. An offer takes about 2 kB, so a full book takes
/// 2.4 GB; a small node sets less.
pub const OFFERS_MAX: usize = 1_200_000;

/// Offers and withdrawals of one provider: the models that one machine serves.
pub const OFFERS_PER_PROVIDER_MAX: usize = 64;

/// Entries that one call of [`Book::expire`] removes: about a millisecond's work, so that a book never blocks its owner.
pub const EXPIRE_MAX: usize = 1024;

/// How a book is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookConfig {
    /// The chains whose offers are of use. Each is a shelf of its own for every model, so there are few.
    pub networks: Vec<NetworkId>,
    /// Offers and withdrawals held.
    pub offers_max: usize,
    /// Random and secret: orders offers of equal rank.
    pub tie_salt: u64,
}

impl BookConfig {
    /// The default bounds, for the chains named in [`NetworkId`].
    pub fn with_salt(tie_salt: u64) -> Self {
        Self { networks: vec![NetworkId::MAINNET, NetworkId::TESTNET, NetworkId::DEVNET], offers_max: OFFERS_MAX, tie_salt }
    }
}

/// Why an offer or a withdrawal was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// It is not of now. Peer penalty: that of [`OfferTimeError`].
    #[error(transparent)]
    Time(#[from] OfferTimeError),
    /// It is over. Peer penalty: none.
    #[error("the offer or withdrawal is over")]
    Expired,
    /// A later one is known, or this one. Peer penalty: none; gossip comes more than once.
    #[error("sequence {got} came after {have}")]
    Stale {
        /// The one we hold.
        have: u64,
        /// The one that came.
        got: u64,
    },
    /// It is paid on a chain of no use here. Peer penalty: none.
    #[error("offers on {0} are of no use here")]
    OtherNetwork(NetworkId),
    /// No price is so high. Peer penalty: ban.
    #[error("the price exceeds 2^64 nano-units")]
    PriceTooHigh,
    /// The provider has [`OFFERS_PER_PROVIDER_MAX`]. Peer penalty: low.
    #[error("{OFFERS_PER_PROVIDER_MAX} offers of this provider are known already")]
    ProviderFull,
    /// The book is full. Peer penalty: none.
    #[error("the book is full")]
    Full,
}

impl BookError {
    /// What it costs the provider whose message it was.
    pub const fn penalty(&self) -> Penalty {
        match self {
            Self::Time(OfferTimeError::FromTheFuture { .. }) | Self::ProviderFull => Penalty::Low,
            Self::PriceTooHigh => Penalty::Ban,
            Self::Time(OfferTimeError::Expired { .. }) | Self::Expired | Self::Stale { .. } | Self::OtherNetwork(_) | Self::Full => {
                Penalty::None
            }
        }
    }
}

/// All offers this node knows.
#[derive(Clone, Debug)]
pub struct Book {
    index: Index,
    offers: Vec<Option<Box<Verified<Offer>>>>,
}

impl Book {
    /// An empty book.
    pub fn new(config: BookConfig) -> Self {
        Self { index: Index::new(config), offers: Vec::new() }
    }

    /// Takes an offer; returns the id of the one it replaces.
    ///
    /// # Errors
    /// [`BookError`]; the book is as before.
    pub fn insert(&mut self, now: Timestamp, offer: Verified<Offer>) -> Result<Option<OfferId>, BookError> {
        offer.check_time(now)?;
        let placed = self.index.insert(now, OfferEntry::of(&offer)?)?;
        self.put(placed.slot, Some(Box::new(offer)));
        Ok(placed.replaced)
    }

    /// Takes back what a withdrawal names; returns the id of the offer that was held.
    ///
    /// # Errors
    /// [`BookError`]; the book is as before.
    pub fn withdraw(&mut self, now: Timestamp, withdrawal: &Verified<Withdrawal>) -> Result<Option<OfferId>, BookError> {
        if !withdrawal.issued_at.is_plausible_issue(now) {
            let ahead_ms = withdrawal.issued_at.since_ms(now.plus_ms(CLOCK_SKEW_MS));
            return Err(OfferTimeError::FromTheFuture { ahead_ms }.into());
        }
        // Every offer that was made before the withdrawal is over by then.
        let until = withdrawal.issued_at.plus_ms(OFFER_LIFETIME_MS_MAX);
        let placed = self.index.withdraw(now, withdrawal.provider, withdrawal.model, withdrawal.sequence, until)?;
        self.put(placed.slot, None);
        Ok(placed.replaced)
    }

    /// Removes what was over a second ago, at most [`EXPIRE_MAX`] entries, and returns how many it removed. What is over and
    /// still there is never matched.
    pub fn expire(&mut self, now: Timestamp) -> usize {
        let slots = self.index.expire(now, EXPIRE_MAX);
        slots.iter().for_each(|slot| self.put(*slot, None));
        slots.len()
    }

    /// When [`Self::expire`] may have something to do.
    pub fn poll_timeout(&self) -> Option<(Timestamp, &'static str)> {
        self.index.next_expiry().map(|at| (at, "an offer expires"))
    }

    /// Removes everything of a provider that is no longer to be dealt with.
    pub fn remove_provider(&mut self, provider: &NodeId) {
        for slot in self.index.slots_of(provider).to_vec() {
            self.index.remove(slot);
            self.put(slot, None);
        }
    }

    /// An offer by its id.
    pub fn get(&self, id: &OfferId) -> Option<&Verified<Offer>> {
        self.at(self.index.slot(id)?)
    }

    /// All offers, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Verified<Offer>> {
        self.offers.iter().flatten().map(Box::as_ref)
    }

    /// All offers for a model.
    pub fn of_model(&self, model: &ModelId) -> impl Iterator<Item = &Verified<Offer>> {
        self.index.shelves(model).flat_map(|(_, shelf)| shelf.items()).filter_map(|item| self.at(item.slot))
    }

    /// How many offers it holds.
    pub const fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The searchable part.
    pub const fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn at(&self, slot: Slot) -> Option<&Verified<Offer>> {
        self.offers.get(at(slot)).and_then(Option::as_deref)
    }

    fn put(&mut self, slot: Slot, offer: Option<Box<Verified<Offer>>>) {
        if self.offers.len() <= at(slot) {
            self.offers.resize_with(at(slot).saturating_add(1), || None);
        }
        if let Some(place) = self.offers.get_mut(at(slot)) {
            *place = offer;
        }
    }
}
