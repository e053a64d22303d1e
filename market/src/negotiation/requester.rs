//! The requester's side of one negotiation. The transition table is in the [module above](super).

use crate::agreement::{
    Agreement, AgreementTerms, ChannelProblem, NegotiateRequest, NegotiateResponse, PROPOSAL_LIFETIME_MS_MAX, Proposal, ProposalTimeError,
    ROUNDS_MAX, Refusal, TermName, Terms,
};
use crate::amount::Amount;
use crate::ids::{AgreementId, PeerId};
use crate::keys::OperatorKey;
use crate::negotiation::Reject;
use crate::offer::{Offer, OfferTimeError};
use crate::price::PriceTable;
use crate::signed::{SignError, Signed, Verified};
use crate::time::Timestamp;

/// How long a requester waits before it sends a commit again to a provider that doesn't see the channel yet: less than
/// the time between two blocks, so that little is added to it.
pub const COMMIT_RETRY_MS: u64 = 1000;

/// How often one message is sent again after it was lost. The pauses between double, and four of them take seven
/// seconds: a reconnection fits in, an absent provider doesn't hold anybody up for long.
pub const RESENDS_MAX: u8 = 4;

/// The pause before a lost message is sent again for the first time.
const RESEND_MS: u64 = 500;

/// Who negotiates for itself.
#[derive(Clone, Debug)]
pub struct Buyer {
    /// Signs proposals and agreements.
    pub key: OperatorKey,
    /// The peer from which the messages come.
    pub peer: PeerId,
}

/// How far a requester goes to meet a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The highest prices.
    pub price_max: PriceTable,
    /// The smallest cap that is worth an agreement.
    pub cap_min: Amount,
    /// The most output tokens between two receipts: what the requester may lose to a provider that vanishes.
    pub slice_tokens_max: u32,
    /// The fewest jobs at once.
    pub jobs_min: u16,
    /// The longest wait for a first chunk.
    pub first_chunk_ms_max: u32,
    /// The longest wait for a further chunk.
    pub chunk_ms_max: u32,
    /// The earliest end of the agreement.
    pub expires_at_min: Timestamp,
}

impl Limits {
    /// These terms or none.
    pub const fn exactly(terms: &Terms) -> Self {
        Self {
            price_max: terms.price,
            cap_min: terms.cap,
            slice_tokens_max: terms.slice_tokens,
            jobs_min: terms.jobs_max,
            first_chunk_ms_max: terms.first_chunk_ms,
            chunk_ms_max: terms.chunk_ms,
            expires_at_min: terms.expires_at,
        }
    }

    /// The terms within the limits that are nearest to `theirs`. Never more cap, jobs or time than was wished for.
    fn nearest(&self, wished: &Terms, theirs: &Terms) -> Terms {
        Terms {
            price: theirs.price.at_most(&self.price_max),
            cap: theirs.cap.max(self.cap_min).min(wished.cap),
            slice_tokens: theirs.slice_tokens.min(self.slice_tokens_max),
            jobs_max: theirs.jobs_max.max(self.jobs_min).min(wished.jobs_max),
            first_chunk_ms: theirs.first_chunk_ms.min(self.first_chunk_ms_max),
            chunk_ms: theirs.chunk_ms.min(self.chunk_ms_max),
            expires_at: theirs.expires_at.max(self.expires_at_min).min(wished.expires_at),
            ..theirs.clone()
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum RequesterEvent {
    /// The provider answered the last message.
    Answered(NegotiateResponse),
    /// The last message or its answer was lost.
    Lost,
    /// The channel of the terms is open and holds the cap.
    Funded,
    /// It could not be opened or topped up.
    FundingFailed,
    /// [`RequesterNegotiation::poll_timeout`] was reached.
    Elapsed,
    /// The person changed their mind.
    Cancelled,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum RequesterEffect {
    /// Send this to the provider; report its answer, or that it was lost.
    Send(NegotiateRequest),
    /// See to it that the channel of these terms is open and holds their cap; then report it.
    Fund(Box<AgreementTerms>),
    /// The agreement stands: jobs may start.
    Committed(Box<Agreement>),
    /// There is no agreement.
    Ended(End),
}

/// Why a negotiation ended without an agreement. Shown to the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The provider said no.
    #[error("the provider refused: {0}")]
    Refused(Refusal),
    /// The provider stays outside the limits.
    #[error("the provider wants other terms: {}, a cap of {}, receipts every {} tokens", .theirs.price, .theirs.cap, .theirs.slice_tokens)]
    NoCommonGround {
        /// What it last proposed.
        theirs: Box<Terms>,
    },
    /// Nobody gave way.
    #[error("no agreement after {ROUNDS_MAX} proposals")]
    TooManyRounds,
    /// The proposal is over.
    #[error("the provider took too long to answer")]
    Expired,
    /// Messages were lost again and again.
    #[error("the provider cannot be reached")]
    Unreachable,
    /// The channel could not be opened.
    #[error("the payment channel could not be funded")]
    NotFunded,
    /// The person changed their mind.
    #[error("cancelled")]
    Cancelled,
}

/// Why a negotiation cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The offer is over.
    #[error(transparent)]
    Offer(#[from] OfferTimeError),
    /// The terms are about something else than the offer.
    #[error("the offer has another {0}")]
    Term(TermName),
    /// The proposal cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Where the negotiation stands.
#[derive(Clone, Debug)]
pub enum RequesterState {
    /// A proposal is with the provider.
    Proposed,
    /// The provider accepted; the channel is being seen to.
    Funding(Box<Verified<AgreementTerms>>),
    /// Our half is with the provider.
    Committing(Box<Agreement>),
    /// Both hold both halves.
    Committed(AgreementId),
    /// Over, without an agreement that we know of.
    Ended(End),
}

impl RequesterState {
    const fn name(&self) -> &'static str {
        match self {
            Self::Proposed => "waiting for an answer",
            Self::Funding(_) => "funding the channel",
            Self::Committing(_) => "committing",
            Self::Committed(_) => "committed",
            Self::Ended(_) => "over",
        }
    }
}

/// One negotiation, seen by the requester.
#[derive(Clone, Debug)]
pub struct RequesterNegotiation {
    buyer: Buyer,
    offer: Box<Verified<Offer>>,
    wished: Terms,
    limits: Limits,
    proposal: Box<Verified<Proposal>>,
    resends: u8,
    resend_at: Option<Timestamp>,
    state: RequesterState,
}

impl RequesterNegotiation {
    /// Opens a negotiation about `offer` by proposing `wished`; `nonce` is random.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        now: Timestamp,
        buyer: Buyer,
        offer: Verified<Offer>,
        wished: Terms,
        limits: Limits,
        nonce: u64,
    ) -> Result<(Self, Vec<RequesterEffect>), StartError> {
        offer.check_time(now)?;
        if let Some(name) = foreign_term(&offer, &wished) {
            return Err(StartError::Term(name));
        }
        let opening = Proposal {
            offer: offer.id(),
            requester: buyer.key.node_id(),
            requester_peer: buyer.peer.clone(),
            provider: offer.provider,
            in_reply_to: None,
            round: 0,
            terms: wished.clone(),
            nonce,
            issued_at: now,
            expires_at: now.plus_ms(PROPOSAL_LIFETIME_MS_MAX),
        };
        let proposal = Box::new(Verified::sign(opening, &buyer.key)?);
        let effects = vec![RequesterEffect::Send(NegotiateRequest::Propose(proposal.signed().clone()))];
        let offer = Box::new(offer);
        let machine = Self { buyer, offer, wished, limits, proposal, resends: 0, resend_at: None, state: RequesterState::Proposed };
        Ok((machine, effects))
    }

    /// Where it stands.
    pub const fn state(&self) -> &RequesterState {
        &self.state
    }

    /// The proposal that is, or was last, with the provider.
    pub const fn proposal(&self) -> &Verified<Proposal> {
        &self.proposal
    }

    /// The offer it is about.
    pub const fn offer(&self) -> &Verified<Offer> {
        &self.offer
    }

    /// When [`RequesterEvent::Elapsed`] is due, and what for.
    pub fn poll_timeout(&self) -> Option<(Timestamp, &'static str)> {
        match &self.state {
            RequesterState::Committed(_) | RequesterState::Ended(_) => None,
            RequesterState::Proposed | RequesterState::Funding(_) | RequesterState::Committing(_) => {
                let end = (self.proposal.expires_at, "the proposal expires");
                Some(self.resend_at.map_or(end, |at| end.min((at, "the last message is sent again"))))
            }
        }
    }

    /// Takes an event.
    ///
    /// # Errors
    /// [`Reject`]; the state is as before. After a reject with a penalty of ban there is no use in waiting longer.
    pub fn apply(&mut self, now: Timestamp, event: RequesterEvent) -> Result<Vec<RequesterEffect>, Reject> {
        if matches!(self.state, RequesterState::Committed(_) | RequesterState::Ended(_)) {
            return Err(Reject::Over);
        }
        if self.proposal.expires_at <= now {
            return Ok(self.end(End::Expired));
        }
        match event {
            RequesterEvent::Answered(NegotiateResponse::Counter(counter)) => self.on_counter(now, counter),
            RequesterEvent::Answered(NegotiateResponse::Accept(half)) => self.on_accept(now, half),
            RequesterEvent::Answered(NegotiateResponse::Committed(id)) => self.on_committed(id),
            RequesterEvent::Answered(NegotiateResponse::Refused(refusal)) => self.on_refused(now, refusal),
            RequesterEvent::Lost => self.on_lost(now),
            RequesterEvent::Funded => self.on_funded(),
            RequesterEvent::FundingFailed => self.on_funding_failed(),
            RequesterEvent::Elapsed => Ok(self.on_elapsed(now)),
            RequesterEvent::Cancelled => Ok(self.end(End::Cancelled)),
        }
    }

    fn on_counter(&mut self, now: Timestamp, counter: Signed) -> Result<Vec<RequesterEffect>, Reject> {
        if !matches!(self.state, RequesterState::Proposed) {
            return Err(self.out_of_turn("a counter-proposal"));
        }
        let counter = Verified::<Proposal>::open(counter)?;
        self.check_counter(now, &counter)?;
        let answer = self.limits.nearest(&self.wished, &counter.terms);
        if answer != counter.terms && answer == self.proposal.terms {
            return Ok(self.end(End::NoCommonGround { theirs: Box::new(counter.terms.clone()) }));
        }
        let round = counter.round.saturating_add(1);
        if round >= ROUNDS_MAX {
            return Ok(self.end(End::TooManyRounds));
        }
        let proposal = Proposal {
            in_reply_to: Some(counter.id()),
            round,
            terms: answer,
            issued_at: now,
            expires_at: now.plus_ms(PROPOSAL_LIFETIME_MS_MAX),
            ..self.proposal.value().clone()
        };
        *self.proposal = Verified::sign(proposal, &self.buyer.key)?;
        Ok(self.send_first())
    }

    /// A counter may change prices, sizes and deadlines, never the parties, the subject or the channel.
    fn check_counter(&self, now: Timestamp, counter: &Verified<Proposal>) -> Result<(), Reject> {
        let mine = self.proposal.value();
        let foreign = [
            (counter.in_reply_to == Some(self.proposal.id()), "proposal"),
            (Some(counter.round) == mine.round.checked_add(1), "round"),
            (counter.offer == mine.offer, "offer"),
            (counter.requester == mine.requester, "requester"),
            (counter.requester_peer == mine.requester_peer, "requester's peer"),
            (counter.provider == mine.provider, "provider"),
        ];
        if let Some((_, what)) = foreign.into_iter().find(|(same, _)| !same) {
            return Err(Reject::Foreign(what));
        }
        let altered = [
            (counter.terms.model == mine.terms.model, "model"),
            (counter.terms.tier == mine.terms.tier, "tier"),
            (counter.terms.confidentiality == mine.terms.confidentiality, "confidentiality"),
            (counter.terms.channel == mine.terms.channel, "channel"),
        ];
        if let Some((_, what)) = altered.into_iter().find(|(same, _)| !same) {
            return Err(Reject::Altered(what));
        }
        Ok(counter.check_time(now)?)
    }

    fn on_accept(&mut self, now: Timestamp, half: Signed) -> Result<Vec<RequesterEffect>, Reject> {
        if !matches!(self.state, RequesterState::Proposed) {
            return Err(self.out_of_turn("an acceptance"));
        }
        let half = Verified::<AgreementTerms>::open(half)?;
        self.check_accept(now, &half)?;
        let effect = RequesterEffect::Fund(Box::new(half.value().clone()));
        self.state = RequesterState::Funding(Box::new(half));
        self.resend_at = None;
        Ok(vec![effect])
    }

    /// An acceptance repeats the proposal, adds the peer of the offer and a time, and is signed by the provider.
    fn check_accept(&self, now: Timestamp, half: &Verified<AgreementTerms>) -> Result<(), Reject> {
        let mine = self.proposal.value();
        let foreign = [
            (half.signer() == mine.provider, "signer"),
            (half.proposal == self.proposal.id(), "proposal"),
            (half.offer == mine.offer, "offer"),
            (half.requester == mine.requester, "requester"),
            (half.requester_peer == mine.requester_peer, "requester's peer"),
            (half.provider == mine.provider, "provider"),
            (half.provider_peer == self.offer.peer, "provider's peer"),
        ];
        if let Some((_, what)) = foreign.into_iter().find(|(same, _)| !same) {
            return Err(Reject::Foreign(what));
        }
        if half.terms != mine.terms {
            return Err(Reject::Altered("terms"));
        }
        if !half.accepted_at.is_plausible_issue(now) {
            return Err(ProposalTimeError::FromTheFuture { ahead_ms: half.accepted_at.since_ms(now) }.into());
        }
        Ok(())
    }

    fn on_committed(&mut self, id: AgreementId) -> Result<Vec<RequesterEffect>, Reject> {
        let RequesterState::Committing(agreement) = &self.state else {
            return Err(self.out_of_turn("a confirmation"));
        };
        if agreement.id() != id {
            return Err(Reject::Foreign("agreement"));
        }
        let effect = RequesterEffect::Committed(agreement.clone());
        self.state = RequesterState::Committed(id);
        Ok(vec![effect])
    }

    fn on_refused(&mut self, now: Timestamp, refusal: Refusal) -> Result<Vec<RequesterEffect>, Reject> {
        match &self.state {
            RequesterState::Committing(_) if refusal == Refusal::Channel(ChannelProblem::NotOpen) => {
                self.resend_at = Some(now.plus_ms(COMMIT_RETRY_MS));
                Ok(Vec::new())
            }
            RequesterState::Proposed | RequesterState::Committing(_) => Ok(self.end(End::Refused(refusal))),
            RequesterState::Funding(_) | RequesterState::Committed(_) | RequesterState::Ended(_) => Err(self.out_of_turn("a refusal")),
        }
    }

    fn on_lost(&mut self, now: Timestamp) -> Result<Vec<RequesterEffect>, Reject> {
        if matches!(self.state, RequesterState::Funding(_)) {
            return Err(self.out_of_turn("a loss"));
        }
        if self.resends >= RESENDS_MAX {
            return Ok(self.end(End::Unreachable));
        }
        let pause = RESEND_MS.checked_shl(self.resends.into()).unwrap_or(RESEND_MS);
        self.resends = self.resends.saturating_add(1);
        self.resend_at = Some(now.plus_ms(pause));
        Ok(Vec::new())
    }

    fn on_funded(&mut self) -> Result<Vec<RequesterEffect>, Reject> {
        let RequesterState::Funding(half) = &self.state else {
            return Err(self.out_of_turn("funding"));
        };
        let agreement = Agreement::commit(half.as_ref().clone(), &self.buyer.key)?;
        self.state = RequesterState::Committing(Box::new(agreement));
        Ok(self.send_first())
    }

    fn on_funding_failed(&mut self) -> Result<Vec<RequesterEffect>, Reject> {
        if matches!(self.state, RequesterState::Funding(_)) {
            Ok(self.end(End::NotFunded))
        } else {
            Err(self.out_of_turn("a failure to fund"))
        }
    }

    fn on_elapsed(&mut self, now: Timestamp) -> Vec<RequesterEffect> {
        if self.resend_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.resend_at = None;
        self.message().into_iter().map(RequesterEffect::Send).collect()
    }

    fn send_first(&mut self) -> Vec<RequesterEffect> {
        self.resends = 0;
        self.resend_at = None;
        self.message().into_iter().map(RequesterEffect::Send).collect()
    }

    /// The message that waits for an answer.
    fn message(&self) -> Option<NegotiateRequest> {
        match &self.state {
            RequesterState::Proposed => Some(NegotiateRequest::Propose(self.proposal.signed().clone())),
            RequesterState::Committing(agreement) => Some(NegotiateRequest::Commit(agreement.by_requester().clone())),
            RequesterState::Funding(_) | RequesterState::Committed(_) | RequesterState::Ended(_) => None,
        }
    }

    fn end(&mut self, end: End) -> Vec<RequesterEffect> {
        self.state = RequesterState::Ended(end.clone());
        vec![RequesterEffect::Ended(end)]
    }

    const fn out_of_turn(&self, event: &'static str) -> Reject {
        Reject::OutOfTurn { state: self.state.name(), event }
    }
}

/// The first of the terms that the offer fixes and these terms have otherwise.
fn foreign_term(offer: &Offer, terms: &Terms) -> Option<TermName> {
    [
        (terms.model == offer.model.id, TermName::Model),
        (terms.channel.network == offer.settlement.network, TermName::Network),
        (terms.tier == offer.tier, TermName::Tier),
        (terms.confidentiality == offer.confidentiality, TermName::Confidentiality),
    ]
    .into_iter()
    .find_map(|(same, name)| (!same).then_some(name))
}
