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
        let ahead_ms = withdrawal.issued_at.since_ms(now.plus_ms(CLOCK_SKEW_MS));
        return Err(OfferRejection::Time(OfferTimeError::FromTheFuture { ahead_ms }));
    }
    Ok(withdrawal)
}

/// Who is to pay for a message that was refused, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) neighbour: Option<Offence>,
    /// Of the publisher, unless it has paid as the neighbour already.
    pub(super) source: Option<Offence>,
    /// Wrong by itself, whoever looks at it: gossip counts that against the neighbour as well.
    pub(super) is_invalid: bool,
}

impl Judgement {
    pub(super) fn of(reason: &OfferRejection, origin: &Origin) -> Self {
        let is_author = origin.neighbour == origin.source;
        let (source, neighbour) = (reason.offence_of_source(), reason.offence_of_neighbour(is_author));
        let is_invalid = matches!(source, Some(Offence::Garbage | Offence::Forgery));
        let has_paid = is_author && neighbour.is_some();
        Self { neighbour, source: if has_paid { None } else { source }, is_invalid }
    }
}

impl OfferRejection {
    /// What it costs the peer that published the message. Only what it is to blame for whoever hands the message on, and
    /// whenever: an old message can be replayed, and must not cost its honest author anything.
    const fn offence_of_source(&self) -> Option<Offence> {
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

#[cfg(test)]
mod tests {
    use cocoon_market::SignedObject;

    use super::*;
    use crate::fixtures::{NOW, key, offer, peer};
    use crate::rate::Rate;

    /// A message that peer 2 published and peer 9 handed on, on the topic of tiny models.
    fn origin() -> Origin {
        Origin { neighbour: peer(9), source: peer(2), class: Some(ModelClass::TextTiny) }
    }

    fn gate() -> Gate {
        Gate::new(&GossipConfig::default())
    }

    fn bytes_of(change: impl FnOnce(&mut Offer)) -> Vec<u8> {
        let mut offer = offer(&key(2), peer(2), 1);
        change(&mut offer);
        encode(OfferMessage::Offer(Verified::sign(offer, &key(2)).unwrap().into_signed()))
    }

    fn withdrawal(issued_at: Timestamp) -> Vec<u8> {
        let withdrawal = Withdrawal { provider: key(2).node_id(), model: cocoon_market::ModelId([7; 32]), sequence: 2, issued_at };
        encode(OfferMessage::Withdrawal(Verified::sign(withdrawal, &key(2)).unwrap().into_signed()))
    }

    fn encode(message: OfferMessage) -> Vec<u8> {
        codec::encode(&message, OfferMessage::BYTES_MAX).unwrap()
    }

    fn refused(now: Timestamp, origin: &Origin, data: &[u8]) -> OfferRejection {
        gate().check(now, origin, data).unwrap_err()
    }

    #[test]
    fn an_offer_passes_from_its_own_peer_on_its_own_topic_in_its_time() {
        assert!(matches!(gate().check(NOW, &origin(), &bytes_of(|_| {})), Ok(Passed::Offer(offer)) if offer.peer == peer(2)));
        let foreign = Origin { source: peer(3), ..origin() };
        assert_eq!(refused(NOW, &foreign, &bytes_of(|_| {})), OfferRejection::ForeignPeer);
        for class in [None, Some(ModelClass::TextLarge)] {
            assert_eq!(refused(NOW, &Origin { class, ..origin() }, &bytes_of(|_| {})), OfferRejection::WrongTopic);
        }
        let end = offer(&key(2), peer(2), 1).expires_at;
        let over = OfferRejection::Time(OfferTimeError::Expired { ago_ms: 0 });
        assert_eq!(refused(end, &origin(), &bytes_of(|_| {})), over);
        let early = Timestamp(NOW.0 - CLOCK_SKEW_MS - 3);
        let ahead = OfferRejection::Time(OfferTimeError::FromTheFuture { ahead_ms: 3 });
        assert_eq!(refused(early, &origin(), &bytes_of(|_| {})), ahead);
    }

    #[test]
    fn a_withdrawal_passes_unless_it_is_from_the_future() {
        assert!(matches!(gate().check(NOW, &origin(), &withdrawal(NOW)), Ok(Passed::Withdrawal(_))));
        assert!(gate().check(NOW, &origin(), &withdrawal(NOW.plus_ms(CLOCK_SKEW_MS))).is_ok());
        let ahead = OfferRejection::Time(OfferTimeError::FromTheFuture { ahead_ms: 3 });
        assert_eq!(refused(NOW, &origin(), &withdrawal(NOW.plus_ms(CLOCK_SKEW_MS + 3))), ahead);
    }

    #[test]
    fn what_is_forged_or_no_message_is_refused() {
        assert_eq!(refused(NOW, &origin(), &[0x9b; 30]), OfferRejection::Malformed);
        let OfferMessage::Offer(mut signed) = codec::decode(&bytes_of(|_| {}), OfferMessage::BYTES_MAX).unwrap() else { panic!() };
        signed.signature.0[0] ^= 1;
        assert_eq!(refused(NOW, &origin(), &encode(OfferMessage::Offer(signed))), OfferRejection::Signature);
        let large = Origin { class: None, ..origin() };
        assert_eq!(refused(NOW, &large, &vec![0; Offer::BYTES_MAX * 2]), OfferRejection::Malformed);
    }

    #[test]
    fn neighbours_publishers_and_providers_have_rates_of_their_own() {
        let one = Rate { burst: 1, every_ms: 1000 };
        let gate = |neighbour_rate, provider_rate| Gate::new(&GossipConfig { neighbour_rate, provider_rate, ..GossipConfig::default() });
        let many = Rate { burst: 9, every_ms: 1000 };
        let again = |mut gate: Gate, second: Origin, data: &[u8]| {
            assert!(gate.check(NOW, &origin(), &bytes_of(|_| {})).is_ok());
            gate.check(NOW, &second, data).err()
        };
        let other = Origin { source: peer(3), ..origin() };
        assert_eq!(again(gate(one, many), other, &bytes_of(|_| {})), Some(OfferRejection::NeighbourRate));
        assert_eq!(again(gate(many, one), origin(), &[]), Some(OfferRejection::ProviderRate), "the publisher's");
        let elsewhere = Origin { source: peer(3), neighbour: peer(3), ..origin() };
        let moved = bytes_of(|offer| offer.peer = peer(3));
        assert_eq!(again(gate(many, one), elsewhere.clone(), &moved), Some(OfferRejection::ProviderRate), "the provider's");
        assert_eq!(again(gate(many, many), elsewhere, &moved), None);
    }

    /// When it came from a neighbour, and when from its author.
    fn judged(reason: OfferRejection) -> [(Option<Offence>, Option<Offence>, bool); 2] {
        [9, 2].map(|neighbour| {
            let judgement = Judgement::of(&reason, &Origin { neighbour: peer(neighbour), ..origin() });
            (judgement.neighbour, judgement.source, judgement.is_invalid)
        })
    }

    #[test]
    fn what_is_wrong_by_itself_costs_all_who_handed_it_on() {
        let (garbage, forgery) = (Some(Offence::Garbage), Some(Offence::Forgery));
        for reason in [OfferRejection::Malformed, OfferRejection::WrongTopic] {
            assert_eq!(judged(reason), [(garbage, garbage, true), (garbage, None, true)]);
        }
        let inconsistent = OfferRejection::Inconsistent { field: "price" };
        for reason in [OfferRejection::Signature, inconsistent, OfferRejection::ForeignPeer] {
            assert_eq!(judged(reason), [(forgery, forgery, true), (forgery, None, true)]);
        }
    }

    #[test]
    fn a_flood_costs_its_author_and_a_wrong_clock_who_has_it() {
        let (none, low) = (None, Some(Offence::Low));
        assert_eq!(judged(OfferRejection::NeighbourRate), [(low, none, false), (low, none, false)]);
        assert_eq!(judged(OfferRejection::ProviderRate), [(none, none, false), (low, none, false)]);
        let future = OfferRejection::Time(OfferTimeError::FromTheFuture { ahead_ms: 1 });
        assert_eq!(judged(future), [(none, low, false), (none, low, false)]);
        let just_over = OfferRejection::Time(OfferTimeError::Expired { ago_ms: CLOCK_SKEW_MS });
        assert_eq!(judged(just_over), [(none, none, false); 2]);
        let long_over = OfferRejection::Time(OfferTimeError::Expired { ago_ms: CLOCK_SKEW_MS + 1 });
        assert_eq!(judged(long_over), [(low, none, false); 2], "an honest neighbour does not forward it");
    }

    #[test]
    fn what_others_cannot_know_costs_nobody_anything() {
        for reason in [OfferRejection::Outdated, OfferRejection::OtherNetwork, OfferRejection::BookFull] {
            assert_eq!(judged(reason), [(None, None, false); 2]);
        }
    }
}
