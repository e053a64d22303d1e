//! What a provider lets itself be talked into.

use crate::agreement::{AGREEMENT_LIFETIME_MS_MAX, Proposal, ROUNDS_MAX, Refusal, TermName, Terms};
use crate::amount::Amount;
use crate::ids::{ModelId, NetworkId};
use crate::offer::{Confidentiality, Offer, Tier};
use crate::price::PriceTable;
use crate::time::Timestamp;

/// The shortest promise for a first chunk that [`Policy::for_offer`] makes: a cold model is read from disk and a full
/// context prefilled on a processor within it.
const FIRST_CHUNK_MS_MIN: u32 = 60_000;

/// The shortest promise for further chunks that [`Policy::for_offer`] makes: a chunk of tokens on a loaded processor.
const CHUNK_MS_MIN: u32 = 15_000;

/// The bounds within which a provider accepts terms under one of its offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The model served.
    pub model: ModelId,
    /// The chain money must lie on.
    pub network: NetworkId,
    /// The lowest prices taken.
    pub price_min: PriceTable,
    /// The most that one agreement may cost.
    pub cap_max: Amount,
    /// The tier served.
    pub tier: Tier,
    /// The confidentiality served.
    pub confidentiality: Confidentiality,
    /// The fewest output tokens between two receipts: each receipt is a signature and a durable write.
    pub slice_tokens_min: u32,
    /// The most output tokens between two receipts: what the provider risks at a time.
    pub slice_tokens_max: u32,
    /// The most unpaid work.
    pub float_max: Amount,
    /// The most jobs at once.
    pub jobs_max: u16,
    /// The shortest promise for a first chunk.
    pub first_chunk_ms_min: u32,
    /// The shortest promise for a further chunk.
    pub chunk_ms_min: u32,
    /// The longest that an agreement may run.
    pub lifetime_ms_max: u64,
}

/// What a provider says to a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Accept,
    /// Yes to these terms instead.
    Counter(Box<Terms>),
    /// No.
    Refuse(Refusal),
}

impl Policy {
    /// The policy of a provider that means its offer: its prices are the lowest, its slice, float and capacity the most.
    pub fn for_offer(offer: &Offer, cap_max: Amount) -> Self {
        Self {
            model: offer.model.id,
            network: offer.settlement.network,
            price_min: offer.price,
            cap_max,
            tier: offer.tier,
            confidentiality: offer.confidentiality,
            slice_tokens_min: offer.slice_tokens.div_ceil(4),
            slice_tokens_max: offer.slice_tokens,
            float_max: offer.float,
            jobs_max: offer.capacity,
            first_chunk_ms_min: FIRST_CHUNK_MS_MIN,
            chunk_ms_min: CHUNK_MS_MIN,
            lifetime_ms_max: AGREEMENT_LIFETIME_MS_MAX,
        }
    }

    /// Judges a proposal. Terms that are merely out of bounds are countered with the nearest ones within; what would make
    /// it another deal (model, tier, confidentiality, chain) is refused.
    pub fn evaluate(&self, now: Timestamp, proposal: &Proposal) -> Verdict {
        let terms = &proposal.terms;
        if let Some(name) = self.unsuitable(now, terms) {
            return Verdict::Refuse(Refusal::Term(name));
        }
        let corrected = self.corrected(now, terms);
        if corrected == *terms {
            return Verdict::Accept;
        }
        // The last round is the requester's: nobody could answer a counter to it.
        if proposal.round.saturating_add(1) < ROUNDS_MAX {
            return Verdict::Counter(Box::new(corrected));
        }
        Verdict::Refuse(if self.price_min.is_at_most(&terms.price) {
            Refusal::TooManyRounds
        } else {
            Refusal::PriceTooLow { lowest: self.price_min }
        })
    }

    /// The first term that no counter could mend.
    fn unsuitable(&self, now: Timestamp, terms: &Terms) -> Option<TermName> {
        [
            (terms.model == self.model, TermName::Model),
            (terms.channel.network == self.network, TermName::Network),
            (terms.tier == self.tier, TermName::Tier),
            (terms.confidentiality == self.confidentiality, TermName::Confidentiality),
            (terms.expires_at > now, TermName::ExpiresAt),
        ]
        .into_iter()
        .find_map(|(suits, name)| (!suits).then_some(name))
    }

    /// The terms within the policy that are nearest to these.
    fn corrected(&self, now: Timestamp, terms: &Terms) -> Terms {
        Terms {
            price: terms.price.at_least(&self.price_min),
            cap: terms.cap.min(self.cap_max),
            slice_tokens: terms.slice_tokens.max(self.slice_tokens_min).min(self.slice_tokens_max),
            float: terms.float.min(self.float_max),
            jobs_max: terms.jobs_max.min(self.jobs_max),
            first_chunk_ms: terms.first_chunk_ms.max(self.first_chunk_ms_min),
            chunk_ms: terms.chunk_ms.max(self.chunk_ms_min),
            expires_at: terms.expires_at.min(now.plus_ms(self.lifetime_ms_max.min(AGREEMENT_LIFETIME_MS_MAX))),
            ..terms.clone()
        }
    }
}
