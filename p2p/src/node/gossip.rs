//! What an offer must pass before it is believed or forwarded.
//!
//! The order is that of cost: size and rates first, then one signature, then what the offer says. Each message is looked
//! at once; gossip drops copies by their id before they get here.

use cocoon_market::codec;
use cocoon_market::offer::{ModelClass, OfferMessage, OfferTimeError};
use cocoon_market::signed::Signed;
use cocoon_market::time::CLOCK_SKEW_MS;
use cocoon_market::{NodeId, Offer, PeerId, Timestamp, Verified, Withdrawal};

use super::config::GossipConfig;
use super::event::OfferRejection;
use crate::penalty::Offence;
use crate::rate::RateLimiter;

/// Peers and providers whose rates are remembered: a day's worth of a large swarm's busiest.
const RATE_KEYS_MAX: usize = 20_000;

/// A message that may be believed and forwarded.
#[derive(Debug)]
pub(super) enum Passed {
    Offer(Box<Verified<Offer>>),
    Withdrawal(Box<Verified<Withdrawal>>),
}

/// Where a message came from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// Who handed it on.
    pub(super) neighbour: PeerId,
    /// Who published it; gossip has checked that signature.
    pub(super) source: PeerId,
    /// On the topic of which class.
    pub(super) class: Option<ModelClass>,
}

/// Checks offers on their way in.
#[derive(Debug)]
pub(super) struct Gate {
    neighbours: RateLimiter<PeerId>,
    sources: RateLimiter<PeerId>,
    providers: RateLimiter<NodeId>,
}

impl Gate {
    pub(super) fn new(config: &GossipConfig) -> Self {
        Self {
            neighbours: RateLimiter::new(config.neighbour_rate, RATE_KEYS_MAX),
            sources: RateLimiter::new(config.provider_rate, RATE_KEYS_MAX),
            providers: RateLimiter::new(config.provider_rate, RATE_KEYS_MAX),
        }
    }

    /// Checks a message of gossip.
    pub(super) fn check(&mut self, now: Timestamp, origin: &Origin, data: &[u8]) -> Result<Passed, OfferRejection> {
        if !self.neighbours.allow(now.0, &origin.neighbour) {
            return Err(OfferRejection::NeighbourRate);
        }
        if !self.sources.allow(now.0, &origin.source) {
            return Err(OfferRejection::ProviderRate);
        }
        let message = codec::decode(data, OfferMessage::BYTES_MAX).map_err(|_| OfferRejection::Malformed)?;
        let passed = match message {
            OfferMessage::Offer(signed) => Passed::Offer(Box::new(published_offer(now, origin, signed)?)),
            OfferMessage::Withdrawal(signed) => Passed::Withdrawal(Box::new(open_withdrawal(now, signed)?)),
        };
        let provider = match &passed {
            Passed::Offer(offer) => offer.provider,
            Passed::Withdrawal(withdrawal) => withdrawal.provider,
        };
        if !self.providers.allow(now.0, &provider) {
            return Err(OfferRejection::ProviderRate);
        }
        Ok(passed)
    }
}

fn published_offer(now: Timestamp, origin: &Origin, signed: Signed) -> Result<Verified<Offer>, OfferRejection> {
    let offer = open_offer(now, signed)?;
    if offer.peer != origin.source {
        return Err(OfferRejection::ForeignPeer);
    }
    if origin.class != Some(offer.model.class) {
        return Err(OfferRejection::WrongTopic);
    }
    Ok(offer)
}

/// Opens an offer that somebody handed on: signature, consistency, time.
pub(super) fn open_offer(now: Timestamp, signed: Signed) -> Result<Verified<Offer>, OfferRejection> {
    let offer = Verified::<Offer>::open(signed).map_err(|error| OfferRejection::from(&error))?;
    offer.check_time(now).map_err(OfferRejection::Time)?;
    Ok(offer)
}

fn open_withdrawal(now: Timestamp, signed: Signed) -> Result<Verified<Withdrawal>, OfferRejection> {
    let withdrawal = Verified::<Withdrawal>::open(signed).map_err(|error| OfferRejection::from(&error))?;
    if !withdrawal.issued_at.is_plausible_issue(now) {
        let ahead_ms = withdrawal.issued_at.since_ms(now);
        return Err(OfferRejection::Time(OfferTimeError::FromTheFuture { ahead_ms }));
    }
    Ok(withdrawal)
}

impl OfferRejection {
    /// What it costs the peer that published the message. Only what it is to blame for whoever hands the message on, and
    /// whenever: an old message can be replayed, and must not cost its honest author anything.
    pub(super) const fn offence_of_source(&self) -> Option<Offence> {
        match self {
            Self::Malformed | Self::WrongTopic => Some(Offence::Garbage),
            Self::Signature | Self::Inconsistent { .. } | Self::ForeignPeer => Some(Offence::Forgery),
            Self::Time(OfferTimeError::FromTheFuture { .. }) => Some(Offence::Low),
            Self::Time(OfferTimeError::Expired { .. })
            | Self::ProviderRate
            | Self::NeighbourRate
            | Self::Outdated
            | Self::OtherNetwork
            | Self::BookFull => None,
        }
    }

    /// What it costs the neighbour that handed it on. An honest neighbour checks as this node does, and forwards nothing
    /// that is wrong by itself or long over; a flood is its own only when it is the author.
    pub(super) const fn offence_of_neighbour(&self, is_author: bool) -> Option<Offence> {
        match self {
            Self::NeighbourRate => Some(Offence::Low),
            Self::ProviderRate if is_author => Some(Offence::Low),
            Self::Time(OfferTimeError::Expired { ago_ms }) if *ago_ms > CLOCK_SKEW_MS => Some(Offence::Low),
            Self::Malformed | Self::WrongTopic | Self::Signature | Self::Inconsistent { .. } | Self::ForeignPeer => {
                self.offence_of_source()
            }
            Self::Time(_) | Self::ProviderRate | Self::Outdated | Self::OtherNetwork | Self::BookFull => None,
        }
    }
}
