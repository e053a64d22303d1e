//! Proposals, agreements and the messages of `/cocoon/negotiate/1`.
//!
//! ```text
//! requester                                   provider
//!   Propose(proposal, signed)  ------------->
//!               <-------------  Counter(proposal, signed)      other terms, or
//!               <-------------  Accept(agreement, signed)      these terms, or
//!               <-------------  Refused(reason)
//!   (opens or tops up the channel if needed)
//!   Commit(same agreement bytes, signed)  -->
//!               <-------------  Committed(id) | Refused(reason)
//! ```
//!
//! Both parties sign the same agreement bytes; only then is there an agreement.

mod refusal;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use refusal::{ChannelProblem, Refusal, TermName};

use crate::amount::Amount;
use crate::ids::{AgreementId, ChannelRef, ModelId, NodeId, OfferId, PEER_ID_BYTES_MAX, PeerId, ProposalId};
use crate::keys::OperatorKey;
use crate::offer::{Confidentiality, Tier};
use crate::penalty::Penalty;
use crate::price::PriceTable;
use crate::signed::{Inconsistent, OpenError, SignError, Signed, SignedObject, Verified};
use crate::time::Timestamp;

/// The longest a proposal may wait for its answer.
pub const PROPOSAL_LIFETIME_MS_MAX: u64 = 120_000;

/// The longest an agreement may run: a day, so that neither party is bound to a price it no longer wants.
pub const AGREEMENT_LIFETIME_MS_MAX: u64 = 86_400_000;

/// Proposals in one negotiation, both sides counted. Golem's users see three to four; more is haggling without end. Odd,
/// because the last proposal must be the requester's: only an acceptance or a refusal can answer it.
pub const ROUNDS_MAX: u8 = 5;

/// The terms of a deal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Which model.
    pub model: ModelId,
    /// Prices.
    pub price: PriceTable,
    /// The most that all jobs under the agreement may cost together.
    pub cap: Amount,
    /// How the work is verified.
    pub tier: Tier,
    /// What the provider can see.
    pub confidentiality: Confidentiality,
    /// Tokens between two receipts, written ones of text and read ones for vectors.
    pub slice_tokens: u32,
    /// Unpaid work at which the provider stops.
    pub float: Amount,
    /// Jobs at once.
    pub jobs_max: u16,
    /// The provider promises the first chunk of a job within this.
    pub first_chunk_ms: u32,
    /// The provider promises each further chunk within this.
    pub chunk_ms: u32,
    /// The channel that pays.
    pub channel: ChannelRef,
    /// No job starts after this.
    pub expires_at: Timestamp,
}

impl Terms {
    /// The most that is in the hands of one side while it is owed to the other: the float of each job that may run, within the cap. As a
    /// requester pays slice by slice, no more than that is lost to whoever cheats.
    pub fn at_risk(&self) -> Amount {
        self.float.checked_mul(self.jobs_max.into()).map_or(self.cap, |floats| floats.min(self.cap))
    }

    fn check(&self) -> Result<(), Inconsistent> {
        let fail = |field, rule| Err(Inconsistent { field, rule });
        if self.cap.is_zero() {
            return fail("cap", "must be positive");
        }
        if self.slice_tokens == 0 || self.jobs_max == 0 {
            return fail("slice_tokens", "slice and jobs must be positive");
        }
        if self.first_chunk_ms == 0 || self.chunk_ms == 0 {
            return fail("chunk_ms", "deadlines must be positive");
        }
        Ok(())
    }
}

/// One proposal in a negotiation, by either side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The offer it is about.
    pub offer: OfferId,
    /// Who buys.
    pub requester: NodeId,
    /// The buyer's peer.
    pub requester_peer: PeerId,
    /// Who sells.
    pub provider: NodeId,
    /// The proposal it answers; `None` opens the negotiation.
    pub in_reply_to: Option<ProposalId>,
    /// 0 for the first, one more with each answer.
    pub round: u8,
    /// What is proposed.
    pub terms: Terms,
    /// Random, so that two negotiations about the same terms differ.
    pub nonce: u64,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Proposal {
    /// Checks that it is neither over nor from the future.
    ///
    /// # Errors
    /// [`ProposalTimeError`].
    pub fn check_time(&self, now: Timestamp) -> Result<(), ProposalTimeError> {
        if self.expires_at <= now {
            return Err(ProposalTimeError::Expired { ago_ms: now.since_ms(self.expires_at) });
        }
        if !self.issued_at.is_plausible_issue(now) {
            return Err(ProposalTimeError::FromTheFuture { ahead_ms: self.issued_at.since_ms(now) });
        }
        Ok(())
    }
}

/// Why a consistent, well-signed proposal is not considered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposalTimeError {
    /// Over. Peer penalty: none; the way may have been slow.
    #[error("proposal expired {ago_ms} ms ago")]
    Expired {
        /// How long ago.
        ago_ms: u64,
    },
    /// From the future. Peer penalty: low; the clock may be wrong.
    #[error("proposal was issued {ahead_ms} ms in the future")]
    FromTheFuture {
        /// How far ahead.
        ahead_ms: u64,
    },
}

impl ProposalTimeError {
    /// What it costs the peer that sent it.
    pub const fn penalty(&self) -> Penalty {
        match self {
            Self::Expired { .. } => Penalty::None,
            Self::FromTheFuture { .. } => Penalty::Low,
        }
    }
}

impl Verified<Proposal> {
    /// Its id.
    pub fn id(&self) -> ProposalId {
        ProposalId(self.hash())
    }
}

impl SignedObject for Proposal {
    const DOMAIN: &'static str = "cocoon/proposal/1";
    const BYTES_MAX: usize = 2048;

    fn may_sign(&self, key: &NodeId) -> bool {
        // Even rounds are the requester's, odd ones the provider's, so neither can speak for the other.
        if self.round.is_multiple_of(2) { *key == self.requester } else { *key == self.provider }
    }

    fn check(&self) -> Result<(), Inconsistent> {
        let fail = |field, rule| Err(Inconsistent { field, rule });
        if self.round >= ROUNDS_MAX {
            return fail("round", "must be below 5");
        }
        if (self.round == 0) != self.in_reply_to.is_none() {
            return fail("in_reply_to", "must be absent in round 0 and present after");
        }
        if self.requester_peer.0.is_empty() || self.requester_peer.0.len() > PEER_ID_BYTES_MAX {
            return fail("requester_peer", "must be a peer id");
        }
        if self.requester == self.provider {
            return fail("provider", "must not be the requester");
        }
        if self.expires_at <= self.issued_at || self.expires_at.since_ms(self.issued_at) > PROPOSAL_LIFETIME_MS_MAX {
            return fail("expires_at", "must be within two minutes after issued_at");
        }
        self.terms.check()
    }
}

/// What both parties sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementTerms {
    /// The proposal that was accepted.
    pub proposal: ProposalId,
    /// The offer it began with.
    pub offer: OfferId,
    /// Who buys.
    pub requester: NodeId,
    /// The buyer's peer.
    pub requester_peer: PeerId,
    /// Who sells.
    pub provider: NodeId,
    /// The seller's peer.
    pub provider_peer: PeerId,
    /// The deal.
    pub terms: Terms,
    /// When the provider accepted.
    pub accepted_at: Timestamp,
}

impl SignedObject for AgreementTerms {
    const DOMAIN: &'static str = "cocoon/agreement/1";
    const BYTES_MAX: usize = 2048;

    fn may_sign(&self, key: &NodeId) -> bool {
        *key == self.requester || *key == self.provider
    }

    fn check(&self) -> Result<(), Inconsistent> {
        let fail = |field, rule| Err(Inconsistent { field, rule });
        if self.requester == self.provider {
            return fail("provider", "must not be the requester");
        }
        let peer = |p: &PeerId| !p.0.is_empty() && p.0.len() <= PEER_ID_BYTES_MAX;
        if !peer(&self.requester_peer) || !peer(&self.provider_peer) {
            return fail("peer", "must be a peer id");
        }
        if self.terms.expires_at <= self.accepted_at || self.terms.expires_at.since_ms(self.accepted_at) > AGREEMENT_LIFETIME_MS_MAX {
            return fail("expires_at", "must be within a day after accepted_at");
        }
        self.terms.check()
    }
}

impl Verified<AgreementTerms> {
    /// The id of the agreement that these words make once both have signed them.
    pub fn id(&self) -> AgreementId {
        AgreementId(self.hash())
    }
}

/// An agreement: one set of bytes, signed by both parties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    id: AgreementId,
    by_provider: Verified<AgreementTerms>,
    by_requester: Verified<AgreementTerms>,
}

/// Why two signed halves make no agreement.
#[derive(Debug, thiserror::Error)]
pub enum AgreementError {
    /// A half does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The halves are over different bytes. Peer penalty: ban.
    #[error("the two signatures are over different terms")]
    DifferentTerms,
    /// Not one signature of each party. Peer penalty: ban.
    #[error("an agreement needs one signature of each party")]
    MissingParty,
    /// Our own half could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl AgreementError {
    /// What it costs the peer whose half it was.
    pub const fn penalty(&self) -> Penalty {
        match self {
            Self::Open(_) | Self::DifferentTerms | Self::MissingParty => Penalty::Ban,
            Self::Sign(_) => Penalty::None,
        }
    }
}

impl Agreement {
    /// Puts the two halves together.
    ///
    /// # Errors
    /// [`AgreementError`] unless both are over the same bytes, one by each party.
    pub fn new(by_provider: Verified<AgreementTerms>, by_requester: Verified<AgreementTerms>) -> Result<Self, AgreementError> {
        if by_provider.signed().bytes != by_requester.signed().bytes {
            return Err(AgreementError::DifferentTerms);
        }
        if by_provider.signer() != by_provider.provider || by_requester.signer() != by_provider.requester {
            return Err(AgreementError::MissingParty);
        }
        Ok(Self { id: by_provider.id(), by_provider, by_requester })
    }

    /// Opens the two signed halves, as they were stored or received.
    ///
    /// # Errors
    /// [`AgreementError`].
    pub fn open(by_provider: Signed, by_requester: Signed) -> Result<Self, AgreementError> {
        Self::new(Verified::open(by_provider)?, Verified::open(by_requester)?)
    }

    /// The requester's act: adds its signature to the provider's acceptance.
    ///
    /// # Errors
    /// [`AgreementError`] when the key is not the requester's.
    pub fn commit(accepted: Verified<AgreementTerms>, key: &OperatorKey) -> Result<Self, AgreementError> {
        let mine = accepted.countersign(key)?;
        Self::new(accepted, mine)
    }

    /// Its id.
    pub const fn id(&self) -> AgreementId {
        self.id
    }

    /// What was agreed.
    pub const fn body(&self) -> &AgreementTerms {
        self.by_provider.value()
    }

    /// The deal.
    pub const fn terms(&self) -> &Terms {
        &self.body().terms
    }

    /// The half with the provider's signature, opened.
    pub(crate) const fn provider_half(&self) -> &Verified<AgreementTerms> {
        &self.by_provider
    }

    /// The half with the provider's signature.
    pub const fn by_provider(&self) -> &Signed {
        self.by_provider.signed()
    }

    /// The half with the requester's signature.
    pub const fn by_requester(&self) -> &Signed {
        self.by_requester.signed()
    }
}

/// A requester's message in a negotiation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NegotiateRequest {
    /// A signed [`Proposal`].
    Propose(Signed),
    /// The requester's half of the [`Agreement`].
    Commit(Signed),
}

/// A provider's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NegotiateResponse {
    /// A signed [`Proposal`] with other terms.
    Counter(Signed),
    /// The provider's half of the [`Agreement`].
    Accept(Signed),
    /// The agreement stands.
    Committed(AgreementId),
    /// No, and why.
    Refused(Refusal),
}

/// The largest message of a negotiation: one signed half and framing.
pub const NEGOTIATE_BYTES_MAX: usize = 4096;
