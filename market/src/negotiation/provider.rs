//! The provider's side of one negotiation. The transition table is in the [module above](super).

use crate::agreement::{
    Agreement, AgreementTerms, ChannelProblem, NegotiateResponse, PROPOSAL_LIFETIME_MS_MAX, Proposal, ProposalTimeError, Refusal, Terms,
};
use crate::ids::{AgreementId, PeerId, ProposalId};
use crate::keys::OperatorKey;
use crate::negotiation::{Reject, Verdict};
use crate::signed::Verified;
use crate::time::{CLOCK_SKEW_MS, Timestamp};

/// The longest a check of the channel may take before the commit is forgotten: two blocks and the retries of a chain's
/// HTTP face.
pub const CHANNEL_CHECK_MS_MAX: u64 = 60_000;

/// Checks of one channel at once. A commit that was doubled on its way is looked at twice; more would let a peer make us
/// ask the chain as often as it likes.
pub const CHANNEL_CHECKS_MAX: u8 = 2;

/// Who sells: shared by all negotiations of a provider.
#[derive(Clone, Debug)]
pub struct Seller {
    /// Signs counter-proposals and agreements.
    pub key: OperatorKey,
    /// The peer that serves the jobs.
    pub peer: PeerId,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum ProviderEvent {
    /// A proposal came, and the policy judged it.
    Proposed {
        /// What came.
        proposal: Box<Verified<Proposal>>,
        /// What the policy says.
        verdict: Verdict,
    },
    /// The requester's half of the agreement came.
    Committed(Box<Verified<AgreementTerms>>),
    /// The channel was looked at.
    ChannelChecked {
        /// The agreement of the check.
        agreement: Box<Agreement>,
        /// Whether the channel suits. When it does, the agreement is already in the journal.
        outcome: Result<(), Refusal>,
    },
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum ProviderEffect {
    /// Answer.
    Reply(NegotiateResponse),
    /// Look at the channel on chain; when it suits, write the agreement to the journal; then report.
    CheckChannel(Box<Agreement>),
}

/// Where the negotiation stands.
#[derive(Clone, Debug)]
pub enum ProviderState {
    /// Nothing was proposed.
    New,
    /// Our counter-proposal is with the requester.
    Countered(Box<Verified<Proposal>>),
    /// Our half of the agreement is with the requester.
    Accepted(Box<Verified<AgreementTerms>>),
    /// Both halves are here; the channel is being looked at.
    Checking(Box<Agreement>),
    /// The agreement stands.
    Standing(Box<Agreement>),
    /// We said no.
    Refused,
}

impl ProviderState {
    const fn name(&self) -> &'static str {
        match self {
            Self::New => "nothing is proposed",
            Self::Countered(_) => "a counter-proposal waits for its answer",
            Self::Accepted(_) => "an acceptance waits for its commit",
            Self::Checking(_) => "the channel is being checked",
            Self::Standing(_) => "the agreement stands",
            Self::Refused => "the negotiation is refused",
        }
    }
}

/// One negotiation, seen by the provider.
#[derive(Clone, Debug)]
pub struct ProviderNegotiation {
    /// Proposals seen and what each was answered; as many as a negotiation has rounds.
    answered: Vec<(ProposalId, NegotiateResponse)>,
    /// When the last proposal ends.
    until: Timestamp,
    /// Checks of the channel that have not reported.
    checks: u8,
    state: ProviderState,
}

impl Default for ProviderNegotiation {
    fn default() -> Self {
        Self { answered: Vec::new(), until: Timestamp::default(), checks: 0, state: ProviderState::New }
    }
}

impl ProviderNegotiation {
    /// The negotiation that led to this agreement, as a provider's journal holds it.
    pub fn restored(agreement: Agreement) -> Self {
        let accepted = NegotiateResponse::Accept(agreement.by_provider().clone());
        Self {
            answered: vec![(agreement.body().proposal, accepted)],
            // The proposal isn't kept; it was not over when accepted, so it ends no later than this.
            until: agreement.body().accepted_at.plus_ms(PROPOSAL_LIFETIME_MS_MAX.saturating_add(CLOCK_SKEW_MS)),
            checks: 0,
            state: ProviderState::Standing(Box::new(agreement)),
        }
    }

    /// Where it stands.
    pub const fn state(&self) -> &ProviderState {
        &self.state
    }

    /// The terms that we proposed ourselves and that wait for an answer.
    pub const fn counter(&self) -> Option<&Verified<Proposal>> {
        match &self.state {
            ProviderState::Countered(counter) => Some(counter),
            ProviderState::New
            | ProviderState::Accepted(_)
            | ProviderState::Checking(_)
            | ProviderState::Standing(_)
            | ProviderState::Refused => None,
        }
    }

    /// The agreement that our half proposes, or that stands.
    pub fn agreement_id(&self) -> Option<AgreementId> {
        match &self.state {
            ProviderState::Accepted(half) => Some(half.id()),
            ProviderState::Checking(agreement) | ProviderState::Standing(agreement) => Some(agreement.id()),
            ProviderState::New | ProviderState::Countered(_) | ProviderState::Refused => None,
        }
    }

    /// When it may be forgotten: no message of it has an effect any more.
    pub const fn forget_at(&self) -> Timestamp {
        match &self.state {
            ProviderState::Checking(_) => self.until.plus_ms(CHANNEL_CHECK_MS_MAX),
            ProviderState::New
            | ProviderState::Countered(_)
            | ProviderState::Accepted(_)
            | ProviderState::Standing(_)
            | ProviderState::Refused => self.until,
        }
    }

    /// What this proposal was answered, when it was seen before.
    pub fn answer_to(&self, proposal: &ProposalId) -> Option<&NegotiateResponse> {
        self.answered.iter().find_map(|(id, answer)| (id == proposal).then_some(answer))
    }

    /// Takes an event.
    ///
    /// # Errors
    /// [`Reject`]; the state is as before.
    pub fn apply(&mut self, now: Timestamp, seller: &Seller, event: ProviderEvent) -> Result<Vec<ProviderEffect>, Reject> {
        match event {
            ProviderEvent::Proposed { proposal, verdict } => self.on_proposed(now, seller, &proposal, verdict),
            ProviderEvent::Committed(half) => self.on_committed(now, *half),
            ProviderEvent::ChannelChecked { agreement, outcome } => self.on_channel_checked(agreement, outcome),
        }
    }

    fn on_proposed(
        &mut self,
        now: Timestamp,
        seller: &Seller,
        proposal: &Verified<Proposal>,
        verdict: Verdict,
    ) -> Result<Vec<ProviderEffect>, Reject> {
        let id = proposal.id();
        if let Some(answer) = self.answer_to(&id) {
            return Ok(vec![ProviderEffect::Reply(answer.clone())]);
        }
        self.check_turn(proposal)?;
        check_proposal(now, seller, proposal)?;
        let (state, answer) = match verdict {
            Verdict::Accept => accept(now, seller, proposal)?,
            Verdict::Counter(terms) => counter(now, seller, proposal, *terms)?,
            Verdict::Refuse(refusal) => (ProviderState::Refused, NegotiateResponse::Refused(refusal)),
        };
        self.state = state;
        self.until = proposal.expires_at;
        self.answered.push((id, answer.clone()));
        Ok(vec![ProviderEffect::Reply(answer)])
    }

    /// A first proposal opens a new negotiation; any other answers the counter-proposal that waits, once.
    fn check_turn(&self, proposal: &Proposal) -> Result<(), Reject> {
        match &self.state {
            ProviderState::New if proposal.in_reply_to.is_none() => Ok(()),
            ProviderState::Countered(counter) => check_reply(counter, proposal),
            ProviderState::New
            | ProviderState::Accepted(_)
            | ProviderState::Checking(_)
            | ProviderState::Standing(_)
            | ProviderState::Refused => Err(self.out_of_turn("a proposal")),
        }
    }

    fn on_committed(&mut self, now: Timestamp, by_requester: Verified<AgreementTerms>) -> Result<Vec<ProviderEffect>, Reject> {
        let half = match &self.state {
            ProviderState::Accepted(half) => half.as_ref().clone(),
            ProviderState::Checking(agreement) if agreement.id() == by_requester.id() => {
                let agreement = agreement.clone();
                return Ok(self.check_channel(agreement));
            }
            ProviderState::Standing(agreement) if agreement.id() == by_requester.id() => {
                return Ok(vec![ProviderEffect::Reply(NegotiateResponse::Committed(agreement.id()))]);
            }
            ProviderState::Checking(_) | ProviderState::Standing(_) => return Err(Reject::Foreign("agreement")),
            ProviderState::New | ProviderState::Countered(_) | ProviderState::Refused => return Err(self.out_of_turn("a commit")),
        };
        if self.until <= now {
            return Err(ProposalTimeError::Expired { ago_ms: now.since_ms(self.until) }.into());
        }
        let agreement = Box::new(Agreement::new(half, by_requester)?);
        self.state = ProviderState::Checking(agreement.clone());
        Ok(self.check_channel(agreement))
    }

    fn check_channel(&mut self, agreement: Box<Agreement>) -> Vec<ProviderEffect> {
        if self.checks >= CHANNEL_CHECKS_MAX {
            // "Not yet": the requester comes back for the answer.
            return vec![ProviderEffect::Reply(NegotiateResponse::Refused(Refusal::Channel(ChannelProblem::NotOpen)))];
        }
        self.checks = self.checks.saturating_add(1);
        vec![ProviderEffect::CheckChannel(agreement)]
    }

    /// Several checks may run at once, when a commit is doubled. One that found the channel good decides: its agreement is
    /// in the journal.
    fn on_channel_checked(&mut self, agreement: Box<Agreement>, outcome: Result<(), Refusal>) -> Result<Vec<ProviderEffect>, Reject> {
        if self.agreement_id().is_none() {
            return Err(self.out_of_turn("a check of the channel"));
        }
        if self.agreement_id() != Some(agreement.id()) {
            return Err(Reject::Foreign("agreement"));
        }
        self.checks = self.checks.saturating_sub(1);
        let answer = match outcome {
            Err(refusal) if !matches!(self.state, ProviderState::Standing(_)) => {
                self.state = ProviderState::Accepted(Box::new(agreement.provider_half().clone()));
                NegotiateResponse::Refused(refusal)
            }
            Ok(()) | Err(_) => {
                let id = agreement.id();
                self.state = ProviderState::Standing(agreement);
                NegotiateResponse::Committed(id)
            }
        };
        Ok(vec![ProviderEffect::Reply(answer)])
    }

    const fn out_of_turn(&self, event: &'static str) -> Reject {
        Reject::OutOfTurn { state: self.state.name(), event }
    }
}

/// What any proposal must be before it is worth an answer of ours.
fn check_proposal(now: Timestamp, seller: &Seller, proposal: &Verified<Proposal>) -> Result<(), Reject> {
    if proposal.provider != seller.key.node_id() {
        return Err(Reject::Foreign("provider"));
    }
    if proposal.signer() != proposal.requester {
        return Err(Reject::Foreign("signer"));
    }
    Ok(proposal.check_time(now)?)
}

/// Whether `proposal` continues the negotiation in which we said `counter`.
fn check_reply(counter: &Verified<Proposal>, proposal: &Proposal) -> Result<(), Reject> {
    [
        (proposal.in_reply_to == Some(counter.id()), "proposal"),
        (Some(proposal.round) == counter.round.checked_add(1), "round"),
        (proposal.offer == counter.offer, "offer"),
        (proposal.requester == counter.requester, "requester"),
        (proposal.requester_peer == counter.requester_peer, "requester's peer"),
        (proposal.terms.channel == counter.terms.channel, "channel"),
    ]
    .into_iter()
    .find(|(same, _)| !same)
    .map_or(Ok(()), |(_, what)| Err(Reject::Foreign(what)))
}

fn accept(now: Timestamp, seller: &Seller, proposal: &Verified<Proposal>) -> Result<(ProviderState, NegotiateResponse), Reject> {
    let agreed = AgreementTerms {
        proposal: proposal.id(),
        offer: proposal.offer,
        requester: proposal.requester,
        requester_peer: proposal.requester_peer.clone(),
        provider: proposal.provider,
        provider_peer: seller.peer.clone(),
        terms: proposal.terms.clone(),
        accepted_at: now,
    };
    let half = Verified::sign(agreed, &seller.key)?;
    let answer = NegotiateResponse::Accept(half.signed().clone());
    Ok((ProviderState::Accepted(Box::new(half)), answer))
}

fn counter(
    now: Timestamp,
    seller: &Seller,
    proposal: &Verified<Proposal>,
    terms: Terms,
) -> Result<(ProviderState, NegotiateResponse), Reject> {
    let counter = Proposal {
        in_reply_to: Some(proposal.id()),
        round: proposal.round.saturating_add(1),
        terms,
        issued_at: now,
        // A counter that outlived the proposal would keep the negotiation in memory longer than its requester asked for.
        expires_at: proposal.expires_at.min(now.plus_ms(PROPOSAL_LIFETIME_MS_MAX)),
        ..proposal.value().clone()
    };
    let counter = Verified::sign(counter, &seller.key)?;
    let answer = NegotiateResponse::Counter(counter.signed().clone());
    Ok((ProviderState::Countered(Box::new(counter)), answer))
}
