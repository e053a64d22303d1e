//! Keeping a provider's offers in the swarm: published on change, announced again before they end, withdrawn at the end.

use std::collections::BTreeMap;

use cocoon_market::offer::{ADDRESS_BYTES_MAX, OFFER_ADDRESSES_MAX};
use cocoon_market::{ModelId, OfferId, Timestamp, Verified, Withdrawal};

use super::config::{Listing, OFFER_LIFETIME_MS};
use super::service::Service;
use super::{ProviderError, ProviderEvent};

/// How long new addresses are collected before the offers are published with them.
const ADDRESS_NEWS_MS: u64 = 5_000;

/// When an offer that could not be announced again is tried once more: often enough to succeed before it ends.
const RETRY_MS: u64 = 60_000;

/// A listing and its offer in the swarm.
#[derive(Debug)]
struct Standing {
    listing: Listing,
    offer: OfferId,
    renew_at: Timestamp,
}

/// All offers in the swarm.
#[derive(Debug, Default)]
pub(super) struct Standings(BTreeMap<ModelId, Standing>);

impl Standings {
    pub(super) fn models(&self) -> Vec<ModelId> {
        self.0.keys().copied().collect()
    }

    /// What stands, but is not among these.
    fn beyond(&self, listings: &[Listing]) -> Vec<ModelId> {
        self.0.keys().filter(|model| !listings.iter().any(|listing| listing.model.id == **model)).copied().collect()
    }

    fn stands(&self, listing: &Listing) -> bool {
        self.0.get(&listing.model.id).is_some_and(|standing| standing.listing == *listing)
    }

    /// When the next offer must be announced again.
    pub(super) fn next_renewal(&self) -> Option<Timestamp> {
        self.0.values().map(|standing| standing.renew_at).min()
    }

    /// Has everything announced again at `at`, if not earlier.
    fn renew_by(&mut self, at: Timestamp) {
        for standing in self.0.values_mut() {
            standing.renew_at = standing.renew_at.min(at);
        }
    }

    /// What must be announced again now. If that fails, it is due again later.
    fn take_due(&mut self, now: Timestamp) -> Vec<Listing> {
        let due = self.0.values_mut().filter(|standing| standing.renew_at <= now);
        let taken = due.map(|standing| {
            standing.renew_at = now.plus_ms(RETRY_MS);
            standing.listing.clone()
        });
        taken.collect()
    }
}

impl Service {
    /// Makes the swarm see these listings and no others.
    pub(super) async fn sell(&mut self, listings: Vec<Listing>) -> Result<(), ProviderError> {
        for model in self.standing.beyond(&listings) {
            self.withdraw(model).await?;
        }
        for listing in listings {
            if !self.standing.stands(&listing) {
                self.publish(listing).await?;
            }
        }
        Ok(())
    }

    /// Announces everything again in a moment: addresses tend to come several at once.
    pub(super) fn renew_soon(&mut self) {
        self.standing.renew_by(self.node.clock().now().plus_ms(ADDRESS_NEWS_MS));
    }

    /// Announces again what is due.
    pub(super) async fn renew(&mut self) {
        for listing in self.standing.take_due(self.node.clock().now()) {
            let model = listing.model.id;
            if let Err(error) = self.publish(listing).await {
                tracing::warn!(%error, %model, "offer not renewed");
            }
        }
    }

    async fn publish(&mut self, listing: Listing) -> Result<(), ProviderError> {
        let now = self.node.clock().now();
        let addresses = offer_addresses(self.node.listen_addresses().await?);
        let (seller, peer) = (self.key.node_id(), self.node.peer_id());
        self.sequence = sequence_after(self.sequence, now);
        let offer = Verified::sign(listing.offer(seller, peer, addresses, self.sequence, now), &self.key)?;
        let (id, model) = (OfferId(offer.hash()), listing.model.id);
        self.desk.publish(&offer, listing.policy(&offer))?;
        self.node.publish_offer(offer).await?;
        // The offer before it stays good on our desk until it ends: requesters may hold it.
        let renew_at = renewal_after(now, u64::from_be_bytes(self.entropy.bytes()));
        let before = self.standing.0.insert(model, Standing { listing, offer: id, renew_at });
        if before.is_none() {
            self.node.provide(model).await?;
        }
        self.emit(ProviderEvent::Published { offer: id, model });
        Ok(())
    }

    /// Takes an offer out of the swarm and off the desk.
    pub(super) async fn withdraw(&mut self, model: ModelId) -> Result<(), ProviderError> {
        let Some(standing) = self.standing.0.remove(&model) else { return Ok(()) };
        self.desk.withdraw(&standing.offer);
        let now = self.node.clock().now();
        // Above the offer's own sequence, so that it ends that offer.
        self.sequence = sequence_after(self.sequence, now);
        let withdrawal = Withdrawal { provider: self.key.node_id(), model, sequence: self.sequence, issued_at: now };
        self.node.stop_providing(model).await?;
        self.node.withdraw(Verified::sign(withdrawal, &self.key)?).await?;
        self.emit(ProviderEvent::Withdrawn { model });
        Ok(())
    }
}

/// The next sequence. Grows over restarts without a store, because time does.
fn sequence_after(last: u64, now: Timestamp) -> u64 {
    now.0.max(last.saturating_add(1))
}

/// Somewhere in the last third of the life of an offer made now, but not in its last tenth.
const fn renewal_after(now: Timestamp, random: u64) -> Timestamp {
    let window = OFFER_LIFETIME_MS / 3 - OFFER_LIFETIME_MS / 10;
    now.plus_ms(OFFER_LIFETIME_MS * 2 / 3 + random % window)
}

/// The addresses that help others most: those of this machine alone come last.
fn offer_addresses(mut addresses: Vec<String>) -> Vec<String> {
    addresses.retain(|address| address.len() <= ADDRESS_BYTES_MAX);
    addresses.sort_by_key(|address| address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/"));
    addresses.truncate(OFFER_ADDRESSES_MAX);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::NOW;
    use crate::testing::listing;

    fn standing(renewals: &[(u8, u64)]) -> Standings {
        let made = renewals.iter().map(|(model, renew_at)| {
            let (model, offer) = (ModelId([*model; 32]), OfferId([*model; 32]));
            (model, Standing { listing: listing(model, 1000), offer, renew_at: Timestamp(*renew_at) })
        });
        Standings(made.collect())
    }

    fn models(listings: &[Listing]) -> Vec<u8> {
        listings.iter().map(|listing| listing.model.id.0[0]).collect()
    }

    #[test]
    fn what_is_due_is_announced_again_and_a_failure_is_tried_again_a_minute_later() {
        let mut standings = standing(&[(1, 300), (2, 100), (3, 200)]);
        assert_eq!(standings.next_renewal(), Some(Timestamp(100)));
        assert_eq!(models(&standings.take_due(Timestamp(99))), []);
        assert_eq!(models(&standings.take_due(Timestamp(200))), [2, 3]);
        assert_eq!(standings.next_renewal(), Some(Timestamp(300)));
        assert_eq!(models(&standings.take_due(Timestamp(300))), [1]);
        assert_eq!(standings.next_renewal(), Some(Timestamp(60_200)));
        assert_eq!(Standings::default().next_renewal(), None);
    }

    #[test]
    fn a_new_address_is_announced_soon_unless_that_comes_sooner_by_itself() {
        let mut standings = standing(&[(1, 300), (2, 100)]);
        standings.renew_by(Timestamp(200));
        assert_eq!(models(&standings.take_due(Timestamp(100))), [2]);
        assert_eq!(models(&standings.take_due(Timestamp(200))), [1]);
    }

    #[test]
    fn only_what_changed_is_published_and_only_what_is_gone_is_withdrawn() {
        let standings = standing(&[(1, 300), (2, 100), (3, 1)]);
        let (same, dearer) = (listing(ModelId([1; 32]), 1000), listing(ModelId([2; 32]), 1001));
        assert!(standings.stands(&same) && !standings.stands(&dearer) && !standings.stands(&listing(ModelId([4; 32]), 1000)));
        assert_eq!(standings.beyond(&[same, dearer]), [ModelId([3; 32])]);
        assert_eq!(standings.beyond(&[]), standings.models());
        assert_eq!(standings.models().len(), 3);
    }

    #[test]
    fn sequences_grow_within_a_millisecond_and_over_restarts() {
        assert_eq!(sequence_after(0, Timestamp(7)), 7);
        assert_eq!(sequence_after(7, Timestamp(7)), 8);
        assert_eq!(sequence_after(8, Timestamp(3)), 9, "though the clock went back");
    }

    #[test]
    fn an_offer_is_announced_again_between_two_thirds_and_nine_tenths_of_its_life() {
        let (first, last) = (NOW.plus_ms(2_400_000), NOW.plus_ms(3_239_999));
        assert_eq!((renewal_after(NOW, 0), renewal_after(NOW, 839_999), renewal_after(NOW, 840_000)), (first, last, first));
    }

    #[test]
    fn an_offer_lists_few_addresses_and_loopback_last() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let sorted = offer_addresses(texts(&["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", &"x".repeat(ADDRESS_BYTES_MAX + 1)]));
        assert_eq!(sorted, texts(&["/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1"]));
        let many: Vec<String> = (0..20).map(|n| format!("/ip4/10.0.0.{n}/tcp/1")).collect();
        assert_eq!(offer_addresses(many).len(), OFFER_ADDRESSES_MAX);
    }
}
