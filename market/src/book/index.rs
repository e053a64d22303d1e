//! The index of the book: compact entries, findable by id, by provider, by expiry, and by what they are worth.

use std::collections::{BTreeMap, HashMap};

use crate::book::calendar::Calendar;
use crate::book::entry::ShelfKey;
use crate::book::shelf::Shelf;
use crate::book::{BookConfig, BookError, OFFERS_PER_PROVIDER_MAX, OfferEntry};
use crate::ids::{ModelId, NodeId, OfferId};
use crate::time::Timestamp;

/// Where an entry lies.
pub type Slot = u32;

/// What lies in a slot.
#[derive(Clone, Copy, Debug)]
enum Held {
    Offer(OfferEntry),
    /// Remembers that offers up to this sequence were taken back, until the last of them would have expired.
    Withdrawn {
        provider: NodeId,
        model: ModelId,
        sequence: u64,
        expires_at: Timestamp,
    },
}

impl Held {
    const fn model(&self) -> &ModelId {
        match self {
            Self::Offer(entry) => &entry.model,
            Self::Withdrawn { model, .. } => model,
        }
    }

    const fn provider(&self) -> &NodeId {
        match self {
            Self::Offer(entry) => &entry.provider,
            Self::Withdrawn { provider, .. } => provider,
        }
    }

    const fn sequence(&self) -> u64 {
        match self {
            Self::Offer(entry) => entry.sequence,
            Self::Withdrawn { sequence, .. } => *sequence,
        }
    }

    const fn expires_at(&self) -> Timestamp {
        match self {
            Self::Offer(entry) => entry.expires_at,
            Self::Withdrawn { expires_at, .. } => *expires_at,
        }
    }

    const fn entry(&self) -> Option<&OfferEntry> {
        match self {
            Self::Offer(entry) => Some(entry),
            Self::Withdrawn { .. } => None,
        }
    }
}

/// What an insertion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where the entry lies now.
    pub slot: Slot,
    /// The entry whose place it took.
    pub replaced: Option<OfferId>,
}

/// The index: everything about offers but the offers.
#[derive(Clone, Debug)]
pub struct Index {
    config: BookConfig,
    slots: Vec<Option<Held>>,
    free: Vec<Slot>,
    /// Offers and withdrawals.
    held: usize,
    offers: usize,
    by_id: HashMap<OfferId, Slot>,
    by_provider: HashMap<NodeId, Vec<Slot>>,
    by_model: HashMap<ModelId, BTreeMap<ShelfKey, Shelf>>,
    calendar: Calendar,
}

impl Index {
    /// An empty index.
    pub fn new(config: BookConfig) -> Self {
        Self {
            config,
            slots: Vec::new(),
            free: Vec::new(),
            held: 0,
            offers: 0,
            by_id: HashMap::new(),
            by_provider: HashMap::new(),
            by_model: HashMap::new(),
            calendar: Calendar::default(),
        }
    }

    /// How many offers it holds.
    pub const fn len(&self) -> usize {
        self.offers
    }

    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.offers == 0
    }

    /// Where an offer lies.
    pub fn slot(&self, id: &OfferId) -> Option<Slot> {
        self.by_id.get(id).copied()
    }

    /// The entry in a slot.
    pub fn entry(&self, slot: Slot) -> Option<&OfferEntry> {
        self.at(slot).and_then(Held::entry)
    }

    /// The slots of a provider's offers and withdrawals.
    pub fn slots_of(&self, provider: &NodeId) -> &[Slot] {
        self.by_provider.get(provider).map_or(&[], Vec::as_slice)
    }

    /// All entries, in the order of their slots.
    pub fn entries(&self) -> impl Iterator<Item = (Slot, &OfferEntry)> {
        (0..).zip(&self.slots).filter_map(|(slot, held)| Some((slot, held.as_ref()?.entry()?)))
    }

    pub(crate) fn shelves(&self, model: &ModelId) -> impl Iterator<Item = (&ShelfKey, &Shelf)> {
        self.by_model.get(model).into_iter().flatten()
    }

    /// Breaks ties between offers of equal rank in an order of this book's own, so that not every requester in the world
    /// runs to the same provider.
    pub(crate) fn tie(&self, provider: &NodeId) -> u64 {
        let head = provider.as_bytes().first_chunk().map_or(0, |head| u64::from_le_bytes(*head));
        // A product mixes upwards only; turned, the second one mixes the upper half into all the rest.
        (head ^ self.config.tie_salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32).wrapping_mul(0xd6e8_feb8_6659_fd93)
    }

    /// Files an entry.
    ///
    /// # Errors
    /// [`BookError`]; the index is as before.
    pub fn insert(&mut self, now: Timestamp, entry: OfferEntry) -> Result<Placed, BookError> {
        if entry.expires_at <= now {
            return Err(BookError::Expired);
        }
        if !self.config.networks.contains(&entry.network) {
            return Err(BookError::OtherNetwork(entry.network));
        }
        let (slot, replaced) = self.place(Held::Offer(entry))?;
        self.by_id.insert(entry.id, slot);
        self.offers = self.offers.saturating_add(1);
        let item = entry.item(slot, self.tie(&entry.provider));
        self.by_model.entry(entry.model).or_default().entry(entry.shelf()).or_default().insert(item);
        Ok(Placed { slot, replaced })
    }

    /// Takes back the offers of a provider for a model up to a sequence, and refuses them until `until`.
    ///
    /// # Errors
    /// [`BookError`]; the index is as before.
    pub fn withdraw(
        &mut self,
        now: Timestamp,
        provider: NodeId,
        model: ModelId,
        sequence: u64,
        until: Timestamp,
    ) -> Result<Placed, BookError> {
        if until <= now {
            return Err(BookError::Expired);
        }
        let (slot, replaced) = self.place(Held::Withdrawn { provider, model, sequence, expires_at: until })?;
        Ok(Placed { slot, replaced })
    }

    /// Removes what was over a second ago, after looking at `most` entries at most, and says from which slots.
    pub fn expire(&mut self, now: Timestamp, most: usize) -> Vec<Slot> {
        let mut emptied = Vec::new();
        for _ in 0..most {
            let Some(slot) = self.calendar.pop_due(now) else { break };
            if self.at(slot).is_some_and(|held| Calendar::is_past(held.expires_at(), now)) {
                self.remove(slot);
                emptied.push(slot);
            }
        }
        emptied
    }

    /// When [`Self::expire`] may have something to do.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.calendar.next_due()
    }

    /// Empties a slot.
    pub fn remove(&mut self, slot: Slot) {
        let Some(held) = self.vacate(slot) else { return };
        self.free.push(slot);
        if let Some(slots) = self.by_provider.get_mut(held.provider()) {
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                self.by_provider.remove(held.provider());
            }
        }
    }

    /// Puts something into the slot of what it replaces, or into a free one.
    fn place(&mut self, held: Held) -> Result<(Slot, Option<OfferId>), BookError> {
        let known = self.by_provider.get(held.provider()).map_or(&[][..], Vec::as_slice);
        let old = known.iter().find_map(|slot| Some((*slot, self.at(*slot).filter(|old| old.model() == held.model())?)));
        if let Some((slot, old)) = old {
            if held.sequence() <= old.sequence() {
                return Err(BookError::Stale { have: old.sequence(), got: held.sequence() });
            }
            let replaced = old.entry().map(|entry| entry.id);
            self.vacate(slot);
            self.occupy(slot, held);
            return Ok((slot, replaced));
        }
        if known.len() >= OFFERS_PER_PROVIDER_MAX {
            return Err(BookError::ProviderFull);
        }
        if self.held >= self.config.offers_max {
            return Err(BookError::Full);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => Slot::try_from(self.slots.len()).map_err(|_| BookError::Full)?,
        };
        self.by_provider.entry(*held.provider()).or_default().push(slot);
        self.occupy(slot, held);
        Ok((slot, None))
    }

    fn occupy(&mut self, slot: Slot, held: Held) {
        self.held = self.held.saturating_add(1);
        self.calendar.file(held.expires_at(), slot);
        match self.slots.get_mut(at(slot)) {
            Some(place) => *place = Some(held),
            None => self.slots.push(Some(held)),
        }
        if self.calendar.is_stale(self.held) {
            self.rewrite_calendar();
        }
    }

    fn rewrite_calendar(&mut self) {
        self.calendar = Calendar::default();
        for (slot, held) in (0..).zip(&self.slots) {
            if let Some(held) = held {
                self.calendar.file(held.expires_at(), slot);
            }
        }
    }

    /// Takes what is in a slot out of every index but the provider's.
    fn vacate(&mut self, slot: Slot) -> Option<Held> {
        let held = self.slots.get_mut(at(slot)).and_then(Option::take)?;
        self.held = self.held.saturating_sub(1);
        if let Some(entry) = held.entry() {
            self.by_id.remove(&entry.id);
            self.offers = self.offers.saturating_sub(1);
            self.unshelve(entry, slot);
        }
        Some(held)
    }

    fn unshelve(&mut self, entry: &OfferEntry, slot: Slot) {
        let item = entry.item(slot, self.tie(&entry.provider));
        let Some(shelves) = self.by_model.get_mut(&entry.model) else { return };
        if let Some(shelf) = shelves.get_mut(&entry.shelf()) {
            shelf.remove(&item);
            if shelf.len() == 0 {
                shelves.remove(&entry.shelf());
            }
        }
        if shelves.is_empty() {
            self.by_model.remove(&entry.model);
        }
    }

    fn at(&self, slot: Slot) -> Option<&Held> {
        self.slots.get(at(slot)).and_then(Option::as_ref)
    }
}

/// A slot as an index. Where an address has fewer than 32 bits, no vector has so many slots.
pub(crate) fn at(slot: Slot) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}
