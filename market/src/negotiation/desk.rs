//! A provider's desk: all its negotiations, within bounds.

use std::collections::{BTreeMap, BTreeSet};

use crate::agreement::{Agreement, AgreementTerms, NegotiateRequest, NegotiateResponse, Proposal, Refusal};
use crate::ids::{AgreementId, NodeId, OfferId, PeerId, ProposalId};
use crate::keys::OperatorKey;
use crate::negotiation::{Policy, ProviderEffect, ProviderEvent, ProviderNegotiation, ProviderState, Reject, Seller, Verdict};
use crate::offer::Offer;
use crate::penalty::Penalty;
use crate::signed::{Signed, Verified};
use crate::time::Timestamp;

/// Negotiations open at once. Each lives two minutes and holds about 10 kB, so this is 40 MB and 34 new ones a second.
pub const DESK_NEGOTIATIONS_MAX: usize = 4096;

/// Negotiations open at once with one peer: a gateway that serves many people opens a few at a time.
pub const DESK_NEGOTIATIONS_PER_PEER_MAX: usize = 16;

/// Offers of one provider under which proposals are taken: every model it serves, each in a few versions of the last hour.
pub const DESK_OFFERS_MAX: usize = 256;

/// What a desk says to a message.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Send this.
    Reply(NegotiateResponse),
    /// Look at the channel on chain; when it suits, write the agreement to the journal; then call
    /// [`ProviderDesk::channel_checked`] and send what that returns.
    CheckChannel(Box<Agreement>),
}

/// Why a desk does not take an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// Another provider's.
    #[error("the offer is another provider's")]
    Foreign,
    /// More than [`DESK_OFFERS_MAX`].
    #[error("{DESK_OFFERS_MAX} offers stand already")]
    TooManyOffers,
}

/// How a negotiation is named on this desk.
type Number = u64;

/// An offer of ours under which proposals are taken.
#[derive(Clone, Debug)]
struct StandingOffer {
    policy: Policy,
    expires_at: Timestamp,
}

/// A negotiation and what its indexes need.
#[derive(Clone, Debug)]
struct Filed {
    machine: ProviderNegotiation,
    peer: PeerId,
    /// Its keys in `by_proposal`: the requester's proposals and ours.
    proposals: BTreeSet<ProposalId>,
    /// Its key in `by_agreement`.
    agreement: Option<AgreementId>,
    /// Its place in `deadlines`.
    forget_at: Timestamp,
}

/// All negotiations of one provider. Nothing of it must be kept when the process ends, but the agreements that stand.
#[derive(Clone, Debug)]
pub struct ProviderDesk {
    seller: Seller,
    offers: BTreeMap<OfferId, StandingOffer>,
    paused: Option<Refusal>,
    negotiations: BTreeMap<Number, Filed>,
    next: Number,
    by_proposal: BTreeMap<ProposalId, Number>,
    by_agreement: BTreeMap<AgreementId, Number>,
    per_peer: BTreeMap<PeerId, usize>,
    deadlines: BTreeSet<(Timestamp, Number)>,
    /// The latest moment seen: a clock set back must not revive what was forgotten.
    clock: Timestamp,
}

impl ProviderDesk {
    /// A desk without offers: it refuses everything.
    pub fn new(seller: Seller) -> Self {
        Self {
            seller,
            offers: BTreeMap::new(),
            paused: None,
            negotiations: BTreeMap::new(),
            next: 0,
            by_proposal: BTreeMap::new(),
            by_agreement: BTreeMap::new(),
            per_peer: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            clock: Timestamp::default(),
        }
    }

    /// Takes proposals under this offer of ours until it expires.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn publish(&mut self, offer: &Verified<Offer>, policy: Policy) -> Result<(), DeskError> {
        if offer.provider != self.seller.key.node_id() {
            return Err(DeskError::Foreign);
        }
        let id = offer.id();
        if self.offers.len() >= DESK_OFFERS_MAX && !self.offers.contains_key(&id) {
            return Err(DeskError::TooManyOffers);
        }
        self.offers.insert(id, StandingOffer { policy, expires_at: offer.expires_at });
        Ok(())
    }

    /// Takes no new proposals under this offer. Negotiations that have begun go on.
    pub fn withdraw(&mut self, offer: &OfferId) {
        self.offers.remove(offer);
    }

    /// Refuses every proposal with this reason until told otherwise. Commits of what was accepted are still taken.
    pub fn pause(&mut self, reason: Option<Refusal>) {
        self.paused = reason;
    }

    /// Remembers an agreement from the journal, so that messages about it are answered as before a restart.
    pub fn restore(&mut self, now: Timestamp, agreement: Agreement) {
        self.expire(now);
        let (peer, proposal) = (agreement.body().requester_peer.clone(), agreement.body().proposal);
        let machine = ProviderNegotiation::restored(agreement);
        if machine.forget_at() > self.clock && !self.by_proposal.contains_key(&proposal) {
            self.file(peer, machine, proposal);
        }
    }

    /// Negotiations held.
    pub fn len(&self) -> usize {
        self.negotiations.len()
    }

    /// Whether no negotiation is held.
    pub fn is_empty(&self) -> bool {
        self.negotiations.is_empty()
    }

    /// The node it negotiates for.
    pub fn provider(&self) -> NodeId {
        self.seller.key.node_id()
    }

    /// The key it signs with.
    pub const fn key(&self) -> &OperatorKey {
        &self.seller.key
    }

    /// When [`Self::expire`] has something to do.
    pub fn poll_timeout(&self) -> Option<(Timestamp, &'static str)> {
        self.deadlines.first().map(|(at, _)| (*at, "a negotiation is forgotten"))
    }

    /// Forgets what is over: negotiations and offers.
    pub fn expire(&mut self, now: Timestamp) {
        self.clock = self.clock.max(now);
        let clock = self.clock;
        self.offers.retain(|_, offer| offer.expires_at > clock);
        while let Some(&(at, number)) = self.deadlines.first()
            && at <= clock
        {
            self.forget(number);
        }
    }

    /// Answers a message that came from `peer`, and says what it costs that peer.
    pub fn handle(&mut self, now: Timestamp, peer: &PeerId, request: NegotiateRequest) -> (Answer, Penalty) {
        self.expire(now);
        let outcome = match request {
            NegotiateRequest::Propose(signed) => self.on_propose(peer, signed),
            NegotiateRequest::Commit(signed) => self.on_commit(peer, signed),
        };
        match outcome {
            Ok(answer) => (answer, Penalty::None),
            Err(reject) => (Answer::Reply(NegotiateResponse::Refused(reject.refusal())), reject.penalty()),
        }
    }

    /// Takes the outcome of a check that [`Answer::CheckChannel`] asked for, and returns what is to be sent. `Ok` says that
    /// the agreement is in the journal.
    pub fn channel_checked(&mut self, now: Timestamp, agreement: Box<Agreement>, outcome: Result<(), Refusal>) -> NegotiateResponse {
        let id = agreement.id();
        let held = self.by_agreement.get(&id).copied();
        let effects = held.map(|number| self.apply(number, ProviderEvent::ChannelChecked { agreement, outcome: outcome.clone() }));
        self.expire(now);
        match effects {
            Some(Ok(effects)) => reply_of(effects),
            Some(Err(reject)) => NegotiateResponse::Refused(reject.refusal()),
            // The check outlasted the negotiation. What is in the journal stands all the same.
            None => outcome.map_or_else(NegotiateResponse::Refused, |()| NegotiateResponse::Committed(id)),
        }
    }

    fn on_propose(&mut self, peer: &PeerId, signed: Signed) -> Result<Answer, Reject> {
        let proposal = Box::new(Verified::<Proposal>::open(signed)?);
        if proposal.requester_peer != *peer {
            return Err(Reject::Foreign("requester's peer"));
        }
        let known = self.by_proposal.get(&proposal.id()).or_else(|| self.by_proposal.get(proposal.in_reply_to.as_ref()?));
        match known.copied() {
            Some(number) => self.on_continued(number, proposal),
            None => self.on_opened(proposal),
        }
    }

    fn on_opened(&mut self, proposal: Box<Verified<Proposal>>) -> Result<Answer, Reject> {
        if self.negotiations.len() >= DESK_NEGOTIATIONS_MAX
            || self.per_peer.get(&proposal.requester_peer).is_some_and(|held| *held >= DESK_NEGOTIATIONS_PER_PEER_MAX)
        {
            return Ok(Answer::Reply(NegotiateResponse::Refused(Refusal::Unavailable)));
        }
        let (peer, id) = (proposal.requester_peer.clone(), proposal.id());
        let verdict = self.judge(&proposal);
        let mut machine = ProviderNegotiation::default();
        let effects = machine.apply(self.clock, &self.seller, ProviderEvent::Proposed { proposal, verdict })?;
        // A refusal is not kept: it binds nobody, and keeping it would let strangers fill the desk.
        if !matches!(machine.state(), ProviderState::Refused) {
            self.file(peer, machine, id);
        }
        Ok(answer_of(effects))
    }

    fn on_continued(&mut self, number: Number, proposal: Box<Verified<Proposal>>) -> Result<Answer, Reject> {
        let id = proposal.id();
        let counter = self.negotiations.get(&number).and_then(|filed| filed.machine.counter());
        // A counter-proposal is our word as long as it lasts, whatever became of the offer and the policy since.
        let keeps_word = counter.is_some_and(|ours| ours.terms == proposal.terms && ours.expires_at > self.clock);
        let verdict = match (&self.paused, keeps_word) {
            (Some(reason), _) => Verdict::Refuse(reason.clone()),
            (None, true) => Verdict::Accept,
            (None, false) => self.judge(&proposal),
        };
        let effects = self.apply(number, ProviderEvent::Proposed { proposal, verdict })?;
        self.index_proposal(number, id);
        Ok(answer_of(effects))
    }

    fn on_commit(&mut self, peer: &PeerId, signed: Signed) -> Result<Answer, Reject> {
        let half = Box::new(Verified::<AgreementTerms>::open(signed)?);
        if half.requester_peer != *peer {
            return Err(Reject::Foreign("requester's peer"));
        }
        match self.by_agreement.get(&half.id()).copied() {
            Some(number) => Ok(answer_of(self.apply(number, ProviderEvent::Committed(half))?)),
            None => Ok(Answer::Reply(NegotiateResponse::Refused(Refusal::Unknown))),
        }
    }

    /// What the policy of its offer says to a proposal.
    fn judge(&self, proposal: &Proposal) -> Verdict {
        if let Some(reason) = &self.paused {
            return Verdict::Refuse(reason.clone());
        }
        match self.offers.get(&proposal.offer) {
            Some(offer) => offer.policy.evaluate(self.clock, proposal),
            None => Verdict::Refuse(Refusal::UnknownOffer),
        }
    }

    fn apply(&mut self, number: Number, event: ProviderEvent) -> Result<Vec<ProviderEffect>, Reject> {
        let Some(filed) = self.negotiations.get_mut(&number) else { return Err(Reject::Over) };
        let effects = filed.machine.apply(self.clock, &self.seller, event)?;
        self.refile(number);
        Ok(effects)
    }

    fn file(&mut self, peer: PeerId, machine: ProviderNegotiation, opening: ProposalId) {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        let held = self.per_peer.entry(peer.clone()).or_default();
        *held = held.saturating_add(1);
        let forget_at = machine.forget_at();
        self.negotiations.insert(number, Filed { machine, peer, proposals: BTreeSet::new(), agreement: None, forget_at });
        self.index_proposal(number, opening);
        self.refile(number);
    }

    fn index_proposal(&mut self, number: Number, proposal: ProposalId) {
        if let Some(filed) = self.negotiations.get_mut(&number) {
            filed.proposals.insert(proposal);
            self.by_proposal.insert(proposal, number);
        }
    }

    /// Brings the indexes up to date after the machine moved.
    fn refile(&mut self, number: Number) {
        let Some(filed) = self.negotiations.get_mut(&number) else { return };
        self.deadlines.remove(&(filed.forget_at, number));
        filed.forget_at = filed.machine.forget_at();
        self.deadlines.insert((filed.forget_at, number));
        filed.agreement = filed.machine.agreement_id();
        if let Some(agreement) = filed.agreement {
            self.by_agreement.insert(agreement, number);
        }
        if let Some(counter) = filed.machine.counter().map(|counter| counter.id()) {
            self.index_proposal(number, counter);
        }
    }

    /// Whether no index holds anything.
    #[cfg(test)]
    pub(super) fn is_blank(&self) -> bool {
        self.by_proposal.is_empty() && self.by_agreement.is_empty() && self.per_peer.is_empty() && self.deadlines.is_empty()
    }

    fn forget(&mut self, number: Number) {
        let Some(filed) = self.negotiations.remove(&number) else { return };
        self.deadlines.remove(&(filed.forget_at, number));
        for proposal in &filed.proposals {
            self.by_proposal.remove(proposal);
        }
        if let Some(agreement) = &filed.agreement {
            self.by_agreement.remove(agreement);
        }
        if let Some(held) = self.per_peer.get_mut(&filed.peer) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.per_peer.remove(&filed.peer);
            }
        }
    }
}

fn answer_of(effects: Vec<ProviderEffect>) -> Answer {
    match effects.into_iter().next() {
        Some(ProviderEffect::CheckChannel(agreement)) => Answer::CheckChannel(agreement),
        Some(ProviderEffect::Reply(reply)) => Answer::Reply(reply),
        None => Answer::Reply(NegotiateResponse::Refused(Refusal::Unavailable)),
    }
}

fn reply_of(effects: Vec<ProviderEffect>) -> NegotiateResponse {
    match answer_of(effects) {
        Answer::Reply(reply) => reply,
        Answer::CheckChannel(_) => NegotiateResponse::Refused(Refusal::Unavailable),
    }
}
