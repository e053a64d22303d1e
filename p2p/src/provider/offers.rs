//! Keeping a provider's offers in the swarm: published on change, announced again before they end, withdrawn at the end.

use cocoon_market::offer::{ADDRESS_BYTES_MAX, OFFER_ADDRESSES_MAX};
use cocoon_market::{ModelId, OfferId, Timestamp, Verified, Withdrawal};

use super::config::{Listing, OFFER_LIFETIME_MS};
use super::service::Service;
use super::{ProviderError, ProviderEvent};

/// How long new addresses are collected before the offers are published with them.
const ADDRESS_NEWS_MS: u64 = 5_000;

/// A listing and its offer in the swarm.
#[derive(Debug)]
pub(super) struct Standing {
    listing: Listing,
    offer: OfferId,
    renew_at: Timestamp,
}

impl Service {
    /// Makes the swarm see these listings and no others.
    pub(super) async fn sell(&mut self, listings: Vec<Listing>) -> Result<(), ProviderError> {
        let kept: Vec<ModelId> = listings.iter().map(|listing| listing.model.id).collect();
        let gone: Vec<ModelId> = self.standing.keys().filter(|model| !kept.contains(model)).copied().collect();
        for model in gone {
            self.withdraw(model).await?;
        }
        for listing in listings {
            let known = self.standing.get(&listing.model.id);
            if known.is_none_or(|standing| standing.listing != listing) {
                self.publish(listing).await?;
            }
        }
        Ok(())
    }

    /// When the next offer must be announced again.
    pub(super) fn next_renewal(&self) -> Option<Timestamp> {
        self.standing.values().map(|standing| standing.renew_at).min()
    }

    /// Announces everything again in a moment: addresses tend to come several at once.
    pub(super) fn renew_soon(&mut self) {
        let soon = self.node.clock().now().plus_ms(ADDRESS_NEWS_MS);
        for standing in self.standing.values_mut() {
            standing.renew_at = standing.renew_at.min(soon);
        }
    }

    /// Announces again what is due.
    pub(super) async fn renew(&mut self) {
        let now = self.node.clock().now();
        let due = self.standing.values().filter(|standing| standing.renew_at <= now);
        let listings: Vec<Listing> = due.map(|standing| standing.listing.clone()).collect();
        for listing in listings {
            let model = listing.model.id;
            if let Err(error) = self.publish(listing).await {
                tracing::warn!(%error, %model, "offer not renewed");
                self.try_again(model, now);
            }
        }
    }

    fn try_again(&mut self, model: ModelId, now: Timestamp) {
        if let Some(standing) = self.standing.get_mut(&model) {
            standing.renew_at = now.plus_ms(OFFER_LIFETIME_MS / 60);
        }
    }

    async fn publish(&mut self, listing: Listing) -> Result<(), ProviderError> {
        let now = self.node.clock().now();
        let addresses = offer_addresses(self.node.listen_addresses().await?);
        let (seller, peer, sequence) = (self.key.node_id(), self.node.peer_id(), self.next_sequence(now));
        let offer = Verified::sign(listing.offer(seller, peer, addresses, sequence, now), &self.key)?;
        let (id, model) = (OfferId(offer.hash()), listing.model.id);
        self.desk.publish(&offer, listing.policy(&offer))?;
        self.node.publish_offer(offer).await?;
        if self.standing.is_empty() || !self.standing.contains_key(&model) {
            self.node.provide(model).await?;
        }
        // The offer before it stays good on our desk until it ends: requesters may hold it.
        self.standing.insert(model, Standing { listing, offer: id, renew_at: self.renewal_after(now) });
        self.emit(ProviderEvent::Published { offer: id, model });
        Ok(())
    }

    /// Takes an offer out of the swarm and off the desk.
    pub(super) async fn withdraw(&mut self, model: ModelId) -> Result<(), ProviderError> {
        let Some(standing) = self.standing.remove(&model) else { return Ok(()) };
        self.desk.withdraw(&standing.offer);
        let now = self.node.clock().now();
        // Above the offer's own sequence, so that it ends that offer.
        let withdrawal = Withdrawal { provider: self.key.node_id(), model, sequence: self.next_sequence(now), issued_at: now };
        self.node.stop_providing(model).await?;
        self.node.withdraw(Verified::sign(withdrawal, &self.key)?).await?;
        self.emit(ProviderEvent::Withdrawn { model });
        Ok(())
    }

    /// Grows over restarts without a store, because time does.
    fn next_sequence(&mut self, now: Timestamp) -> u64 {
        self.sequence = now.0.max(self.sequence.saturating_add(1));
        self.sequence
    }

    /// Somewhere in the last third of the offer's life, but not in its last tenth.
    fn renewal_after(&self, now: Timestamp) -> Timestamp {
        let window = OFFER_LIFETIME_MS / 3 - OFFER_LIFETIME_MS / 10;
        let jitter = u64::from_be_bytes(self.entropy.bytes()) % window;
        now.plus_ms(OFFER_LIFETIME_MS * 2 / 3 + jitter)
    }
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

    #[test]
    fn an_offer_lists_few_addresses_and_loopback_last() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let sorted = offer_addresses(texts(&["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", &"x".repeat(ADDRESS_BYTES_MAX + 1)]));
        assert_eq!(sorted, texts(&["/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1"]));
        let many: Vec<String> = (0..20).map(|n| format!("/ip4/10.0.0.{n}/tcp/1")).collect();
        assert_eq!(offer_addresses(many).len(), OFFER_ADDRESSES_MAX);
    }
}
