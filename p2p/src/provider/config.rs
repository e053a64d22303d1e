//! What a provider sells.

use cocoon_market::negotiation::Policy;
use cocoon_market::offer::{Confidentiality, DeviceClaim, ModelClaim, OFFER_LIFETIME_MS_MAX, SettlementTerms, Tier};
use cocoon_market::{Amount, NodeId, Offer, PeerId, PriceTable, Timestamp};

/// How long an offer lives, and how early, at the earliest, it is announced again. A re-announcement falls into the last
/// third of an offer's life, at a random moment, so that providers that started together do not speak together.
pub const OFFER_LIFETIME_MS: u64 = OFFER_LIFETIME_MS_MAX;

/// One thing for sale: an offer, without what changes with each publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// What is served.
    pub model: ModelClaim,
    /// On what.
    pub device: DeviceClaim,
    /// For how much.
    pub price: PriceTable,
    /// How it is verified.
    pub tier: Tier,
    /// What the provider can see.
    pub confidentiality: Confidentiality,
    /// Jobs served at once.
    pub capacity: u16,
    /// Tokens between two receipts, written ones of text and read ones for vectors.
    pub slice_tokens: u32,
    /// Unpaid work at which a job stops.
    pub float: Amount,
    /// How it is paid.
    pub settlement: SettlementTerms,
    /// The most that one agreement may cost.
    pub cap_max: Amount,
    /// What the provider lets itself be talked into; `None` is the listing itself, up to `cap_max`.
    pub policy: Option<Policy>,
}

impl Listing {
    /// The offer to publish now.
    pub(crate) fn offer(&self, seller: NodeId, peer: PeerId, addresses: Vec<String>, sequence: u64, now: Timestamp) -> Offer {
        Offer {
            provider: seller,
            peer,
            addresses,
            model: self.model.clone(),
            device: self.device.clone(),
            price: self.price,
            tier: self.tier,
            confidentiality: self.confidentiality,
            capacity: self.capacity,
            slice_tokens: self.slice_tokens,
            float: self.float,
            settlement: self.settlement,
            sequence,
            issued_at: now,
            expires_at: now.plus_ms(OFFER_LIFETIME_MS),
        }
    }

    /// What the provider lets itself be talked into.
    pub(crate) fn policy(&self, offer: &Offer) -> Policy {
        self.policy.clone().unwrap_or_else(|| Policy::for_offer(offer, self.cap_max))
    }
}

/// What a provider service is told at its start.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// What it sells, one listing a model.
    pub listings: Vec<Listing>,
    /// Jobs at once, over all models: what the machine carries.
    pub jobs_max: usize,
}

impl ProviderConfig {
    /// As many jobs as the listings offer together.
    pub fn new(listings: Vec<Listing>) -> Self {
        let jobs_max = listings.iter().map(|listing| usize::from(listing.capacity)).sum();
        Self { listings, jobs_max }
    }
}
