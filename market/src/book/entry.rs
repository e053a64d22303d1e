//! The searchable part of an offer.

use crate::book::BookError;
use crate::book::shelf::Item;
use crate::ids::{ModelId, NetworkId, NodeId, OfferId};
use crate::job::WorkKind;
use crate::matching::CompactPrice;
use crate::offer::{Confidentiality, Offer, Tier};
use crate::signed::Verified;
use crate::time::Timestamp;

/// All that the index holds of an offer: what matching needs, without addresses, names and signature.
///
/// The book makes it from a [`Verified<Offer>`]. It proves nothing by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferEntry {
    /// Its id.
    pub id: OfferId,
    /// Whose it is.
    pub provider: NodeId,
    /// For which model.
    pub model: ModelId,
    /// For which kind of work.
    pub work: WorkKind,
    /// On which chain it is paid.
    pub network: NetworkId,
    /// How it is verified.
    pub tier: Tier,
    /// What the provider can see.
    pub confidentiality: Confidentiality,
    /// For how much.
    pub price: CompactPrice,
    /// The claimed speed.
    pub tokens_per_s: u32,
    /// The context served.
    pub context_tokens: u32,
    /// Its place among the provider's offers.
    pub sequence: u64,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl OfferEntry {
    /// The searchable part of this offer.
    ///
    /// # Errors
    /// [`BookError::PriceTooHigh`].
    pub fn of(offer: &Verified<Offer>) -> Result<Self, BookError> {
        Ok(Self {
            id: offer.id(),
            provider: offer.provider,
            model: offer.model.id,
            work: offer.model.serves.work(),
            network: offer.settlement.network,
            tier: offer.tier,
            confidentiality: offer.confidentiality,
            price: CompactPrice::of(&offer.price).ok_or(BookError::PriceTooHigh)?,
            tokens_per_s: offer.device.tokens_per_s,
            context_tokens: offer.model.context_tokens,
            sequence: offer.sequence,
            expires_at: offer.expires_at,
        })
    }

    pub(crate) const fn item(&self, slot: u32, tie: u64) -> Item {
        Item {
            price: self.price,
            tie,
            tokens_per_s: self.tokens_per_s,
            context_tokens: self.context_tokens,
            expires_at: self.expires_at,
            slot,
        }
    }

    pub(crate) const fn shelf(&self) -> ShelfKey {
        ShelfKey { work: self.work, network: self.network, tier: self.tier, confidentiality: self.confidentiality }
    }
}

/// What all offers of a shelf have in common, but the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShelfKey {
    pub(crate) work: WorkKind,
    pub(crate) network: NetworkId,
    pub(crate) tier: Tier,
    pub(crate) confidentiality: Confidentiality,
}
