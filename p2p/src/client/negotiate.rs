//! Carrying out a negotiation: what market's machine decides, with the network and the purse behind it.

use std::collections::VecDeque;
use std::time::Duration;

use cocoon_market::agreement::{Agreement, NegotiateRequest, NegotiateResponse, Refusal, Terms};
use cocoon_market::ids::ChannelRef;
use cocoon_market::negotiation::{Buyer, End, Limits, Reject, RequesterEffect, RequesterEvent, RequesterNegotiation, RequesterState};
use cocoon_market::{AgreementId, Amount, Offer, PriceTable, Proposal, Timestamp, Verified};
use futures_timer::Delay;

use super::{Client, NegotiateError};
use crate::node::ReachError;
use crate::penalty::Offence;

/// What a requester proposes, and how far it goes to meet the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DealWishes {
    /// The most that all jobs under the agreement may cost together.
    pub cap: Amount,
    /// The smallest cap that is still worth it.
    pub cap_min: Amount,
    /// The prices proposed first; `None` proposes the offer's.
    pub price: Option<PriceTable>,
    /// The highest prices; `None` goes up to the offer's.
    pub price_max: Option<PriceTable>,
    /// Tokens between two receipts; `None` takes the offer's.
    pub slice_tokens: Option<u32>,
    /// Jobs at once.
    pub jobs_max: u16,
    /// The wait for a first chunk, as proposed and at most.
    pub first_chunk_ms: (u32, u32),
    /// The wait for further chunks, as proposed and at most.
    pub chunk_ms: (u32, u32),
    /// How long the agreement is to run, as wished and at least.
    pub lifetime_ms: (u64, u64),
}

impl DealWishes {
    /// The offer's own terms, up to `cap`: half a day, up to sixteen jobs at once, patience for a cold model.
    pub const fn new(cap: Amount) -> Self {
        Self {
            cap,
            cap_min: Amount::from_nano(1),
            price: None,
            price_max: None,
            slice_tokens: None,
            jobs_max: 16,
            first_chunk_ms: (60_000, 180_000),
            chunk_ms: (15_000, 60_000),
            lifetime_ms: (43_200_000, 600_000),
        }
    }

    fn terms(&self, now: Timestamp, offer: &Offer, channel: ChannelRef) -> Terms {
        Terms {
            model: offer.model.id,
            price: self.price.unwrap_or(offer.price),
            cap: self.cap,
            tier: offer.tier,
            confidentiality: offer.confidentiality,
            slice_tokens: self.slice_tokens.unwrap_or(offer.slice_tokens),
            float: offer.float,
            jobs_max: self.jobs_max.min(offer.capacity),
            first_chunk_ms: self.first_chunk_ms.0,
            chunk_ms: self.chunk_ms.0,
            channel,
            expires_at: now.plus_ms(self.lifetime_ms.0),
        }
    }

    fn limits(&self, now: Timestamp, offer: &Offer) -> Limits {
        Limits {
            price_max: self.price_max.unwrap_or(offer.price),
            cap_min: self.cap_min,
            slice_tokens_max: self.slice_tokens.unwrap_or(offer.slice_tokens),
            jobs_min: 1,
            first_chunk_ms_max: self.first_chunk_ms.1,
            chunk_ms_max: self.chunk_ms.1,
            expires_at_min: now.plus_ms(self.lifetime_ms.1),
        }
    }
}

/// One step of a negotiation, for those who want to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NegotiationStep {
    /// We proposed.
    Proposed {
        /// Round, from 0.
        round: u8,
        /// What.
        terms: Box<Terms>,
    },
    /// The provider proposed other terms.
    Countered {
        /// Round.
        round: u8,
        /// What.
        terms: Box<Terms>,
    },
    /// The provider accepted.
    Accepted {
        /// What.
        terms: Box<Terms>,
    },
    /// The channel is being opened or topped up.
    Funding {
        /// Which.
        channel: ChannelRef,
        /// To carry so much.
        cap: Amount,
    },
    /// The channel is open.
    Funded {
        /// Which.
        channel: ChannelRef,
    },
    /// We signed and said so.
    Committing {
        /// The agreement.
        agreement: AgreementId,
    },
    /// The agreement stands.
    Agreed {
        /// It.
        agreement: AgreementId,
    },
    /// The provider said no, for now or for good.
    Refused {
        /// Why.
        reason: Refusal,
    },
    /// A message or its answer was lost.
    Lost,
}

impl Client {
    /// Negotiates an agreement about an offer.
    ///
    /// # Errors
    /// [`NegotiateError`].
    ///
    /// # Cancel safety
    /// Dropped before it returns, the provider may hold an agreement that we don't use. It costs nothing, and it ends by
    /// itself.
    pub async fn negotiate(&self, offer: &Verified<Offer>, wishes: DealWishes) -> Result<Agreement, NegotiateError> {
        self.negotiate_observed(offer, wishes, |_| {}).await
    }

    /// [`Self::negotiate`], telling `observe` of each step.
    ///
    /// # Errors
    /// [`NegotiateError`].
    pub async fn negotiate_observed(
        &self,
        offer: &Verified<Offer>,
        wishes: DealWishes,
        observe: impl FnMut(NegotiationStep) + Send,
    ) -> Result<Agreement, NegotiateError> {
        let channel = self.payer.channel_for(offer, wishes.cap).await?;
        let now = self.node.clock().now();
        let buyer = Buyer { key: self.key.clone(), peer: self.node.peer_id() };
        let (terms, limits) = (wishes.terms(now, offer, channel), wishes.limits(now, offer));
        let nonce = u64::from_be_bytes(self.entropy.bytes());
        let (machine, effects) = RequesterNegotiation::start(now, buyer, offer.clone(), terms, limits, nonce)?;
        Talk { client: self, machine, observe, effects: effects.into() }.carry_out().await
    }
}

/// A negotiation under way.
struct Talk<'a, F> {
    client: &'a Client,
    machine: RequesterNegotiation,
    observe: F,
    effects: VecDeque<RequesterEffect>,
}

impl<F: FnMut(NegotiationStep) + Send> Talk<'_, F> {
    async fn carry_out(mut self) -> Result<Agreement, NegotiateError> {
        loop {
            match self.effects.pop_front() {
                Some(RequesterEffect::Send(request)) => self.send(request).await?,
                Some(RequesterEffect::Fund(_)) => self.fund().await?,
                Some(RequesterEffect::Committed(agreement)) => {
                    (self.observe)(NegotiationStep::Agreed { agreement: agreement.id() });
                    return Ok(*agreement);
                }
                Some(RequesterEffect::Ended(end)) => return Err(end.into()),
                None => self.wait().await?,
            }
        }
    }

    fn apply(&mut self, event: RequesterEvent) -> Result<(), Reject> {
        let effects = self.machine.apply(self.client.node.clock().now(), event)?;
        self.effects.extend(effects);
        Ok(())
    }

    async fn send(&mut self, request: NegotiateRequest) -> Result<(), NegotiateError> {
        self.tell_sent(&request);
        let offer = self.machine.offer();
        match self.client.node.negotiate(&offer.peer, &offer.addresses, request).await {
            Ok(response) => self.take_answer(response).await,
            Err(ReachError::Unreachable | ReachError::Timeout | ReachError::Lost) => {
                (self.observe)(NegotiationStep::Lost);
                Ok(self.apply(RequesterEvent::Lost)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn take_answer(&mut self, response: NegotiateResponse) -> Result<(), NegotiateError> {
        self.tell_answered(&response);
        match self.apply(RequesterEvent::Answered(response)) {
            Ok(()) => Ok(()),
            Err(reject) => {
                if let Some(offence) = Offence::of(reject.penalty()) {
                    let peer = self.machine.offer().peer.clone();
                    self.client.node.penalise(&peer, offence).await;
                }
                Err(reject.into())
            }
        }
    }

    async fn fund(&mut self) -> Result<(), NegotiateError> {
        let RequesterState::Funding(accepted) = self.machine.state() else { return Ok(()) };
        let accepted = accepted.clone();
        (self.observe)(NegotiationStep::Accepted { terms: Box::new(accepted.terms.clone()) });
        (self.observe)(NegotiationStep::Funding { channel: accepted.terms.channel, cap: accepted.terms.cap });
        let payer = &self.client.payer;
        if let Err(error) = payer.fund(self.machine.offer(), &accepted).await {
            self.apply(RequesterEvent::FundingFailed)?;
            return Err(error.into());
        }
        (self.observe)(NegotiationStep::Funded { channel: accepted.terms.channel });
        self.apply(RequesterEvent::Funded)?;
        // Written down before the commit leaves: once the provider has it, the agreement binds us.
        if let RequesterState::Committing(agreement) = self.machine.state() {
            payer.agreed(agreement).await?;
        }
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), NegotiateError> {
        let Some((at, _)) = self.machine.poll_timeout() else { return Err(End::Expired.into()) };
        let pause = at.since_ms(self.client.node.clock().now());
        Delay::new(Duration::from_millis(pause)).await;
        Ok(self.apply(RequesterEvent::Elapsed)?)
    }

    fn tell_sent(&mut self, request: &NegotiateRequest) {
        let step = match request {
            NegotiateRequest::Propose(_) => {
                let proposal = self.machine.proposal();
                NegotiationStep::Proposed { round: proposal.round, terms: Box::new(proposal.terms.clone()) }
            }
            NegotiateRequest::Commit(_) => {
                let RequesterState::Committing(agreement) = self.machine.state() else { return };
                NegotiationStep::Committing { agreement: agreement.id() }
            }
        };
        (self.observe)(step);
    }

    fn tell_answered(&mut self, response: &NegotiateResponse) {
        match response {
            NegotiateResponse::Counter(signed) => {
                if let Ok(counter) = Verified::<Proposal>::open(signed.clone()) {
                    (self.observe)(NegotiationStep::Countered { round: counter.round, terms: Box::new(counter.terms.clone()) });
                }
            }
            NegotiateResponse::Refused(reason) => (self.observe)(NegotiationStep::Refused { reason: reason.clone() }),
            // Told when they are believed.
            NegotiateResponse::Accept(_) | NegotiateResponse::Committed(_) => {}
        }
    }
}
