//! The offers a node knows: its own, and the book of everybody's.

use std::collections::BTreeMap;

use cocoon_market::book::{Book, BookConfig};
use cocoon_market::codec;
use cocoon_market::matching::{self, MATCHES_MAX};
use cocoon_market::offer::{ModelClass, OfferMessage};
use cocoon_market::reputation::{Experience, Experienced};
use cocoon_market::{Demand, ModelId, NodeId, Offer, OfferId, PeerId, Timestamp, Verified, Withdrawal};
use futures::channel::oneshot;
use libp2p::gossipsub::{self, MessageAcceptance, PublishError as GossipError};

use super::actor::Actor;
use super::behaviour::{class_of, topic};
use super::config::NodeConfig;
use super::event::{NodeEvent, OfferPath, OfferRejection};
use super::gossip::{Gate, Judgement, Origin, Passed, open_offer};
use super::matches::Matches;
use super::{PublishError, ReachError};
use crate::identity::{Identity, market_peer};
use crate::protocol::exchange::Received;
use crate::protocol::offers::{PULL_OFFERS_MAX, PullRequest, PullResponse};

/// A message of this node that is or was to be published.
#[derive(Debug)]
struct Own {
    class: ModelClass,
    bytes: Vec<u8>,
    /// Nobody has listened yet.
    pending: bool,
}

/// Rounds of removing expired offers at one housekeeping: ten thousand offers, ten milliseconds.
const EXPIRE_ROUNDS_MAX: usize = 10;

/// The offers a node knows.
#[derive(Debug)]
pub(super) struct Offers {
    pub(super) gate: Gate,
    book: Book,
    own: BTreeMap<ModelId, Own>,
    own_peer: PeerId,
    experience: Experience,
}

impl Offers {
    pub(super) fn new(config: &NodeConfig, identity: &Identity) -> Self {
        // A secret of the node's own, and the same one after a restart.
        let secret = identity.keypair().derive_secret(b"cocoon/book-order/1").unwrap_or_default();
        let salt = secret.first_chunk().map_or(0, |head| u64::from_le_bytes(*head));
        let book = BookConfig { offers_max: config.limits.book_offers, ..BookConfig::with_salt(salt) };
        Self {
            gate: Gate::new(&config.gossip),
            book: Book::new(book),
            own: BTreeMap::new(),
            own_peer: identity.peer_id(),
            experience: Experience::default(),
        }
    }

    /// The best offers of others for a demand.
    pub(super) fn matches(&self, now: Timestamp, demand: &Demand, k: usize) -> Matches {
        // This node's own offer for the model may be among the best, and is not for sale to itself.
        let asked = k.saturating_add(1).min(MATCHES_MAX);
        let found = matching::best(&self.book, demand, &self.experience, asked, now);
        Matches::copied(found, k, |offer| offer.peer != self.own_peer)
    }

    pub(super) fn learn(&mut self, now: Timestamp, provider: NodeId, experienced: Experienced) {
        self.experience.learn(now, provider, experienced);
    }

    pub(super) const fn experience(&self) -> &Experience {
        &self.experience
    }

    pub(super) fn recall(&mut self, experience: Experience) {
        self.experience = experience;
    }

    /// Offers for a model, or for all.
    pub(super) fn list(&self, model: Option<ModelId>, max: usize) -> Vec<Verified<Offer>> {
        match model {
            Some(model) => self.book.of_model(&model).take(max).cloned().collect(),
            None => self.book.iter().take(max).cloned().collect(),
        }
    }

    /// Where a peer listens, as its offers say.
    pub(super) fn addresses_of(&self, peer: &PeerId) -> Vec<String> {
        self.book.iter().find(|offer| offer.peer == *peer).map(|offer| offer.addresses.clone()).unwrap_or_default()
    }

    /// What this node tells who asks.
    pub(super) fn answer_pull(&self, now: Timestamp, request: PullRequest) -> PullResponse {
        let fresh = self.list(request.model, PULL_OFFERS_MAX).into_iter().filter(|offer| offer.check_time(now).is_ok());
        PullResponse { offers: fresh.map(Verified::into_signed).collect() }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        for _ in 0..EXPIRE_ROUNDS_MAX {
            if self.book.expire(now) == 0 {
                break;
            }
        }
    }
}

impl Actor {
    /// Puts a checked offer into the book, and says so when it is news.
    fn file(&mut self, offer: Verified<Offer>, how: OfferPath) -> Result<OfferId, OfferRejection> {
        let (id, provider, model) = (OfferId(offer.hash()), offer.provider, offer.model.id);
        let now = self.now();
        self.offers.book.insert(now, offer)?;
        self.emit(NodeEvent::OfferSeen { id, provider, model, how });
        Ok(id)
    }

    pub(super) fn publish_offer(&mut self, offer: Verified<Offer>) -> Result<OfferId, PublishError> {
        offer.check_time(self.now())?;
        if offer.peer != market_peer(self.swarm.local_peer_id()) {
            return Err(PublishError::ForeignPeer);
        }
        let bytes = codec::encode(&OfferMessage::Offer(offer.signed().clone()), OfferMessage::BYTES_MAX)?;
        let (class, model, id) = (offer.model.class, offer.model.id, OfferId(offer.hash()));
        // The same offer a second time is no news, but no fault either.
        if let Err(reason) = self.file(offer, OfferPath::Own) {
            tracing::debug!(%reason, "own offer not in the book");
        }
        self.offers.own.insert(model, Own { class, bytes, pending: true });
        self.publish_own(model)?;
        Ok(id)
    }

    pub(super) fn withdraw(&mut self, withdrawal: Verified<Withdrawal>) -> Result<(), PublishError> {
        let bytes = codec::encode(&OfferMessage::Withdrawal(withdrawal.signed().clone()), OfferMessage::BYTES_MAX)?;
        let model = withdrawal.model;
        let was = self.offers.own.remove(&model);
        if let Err(reason) = self.shelve(&withdrawal) {
            tracing::debug!(%reason, "own withdrawal not in the book");
        }
        // An offer that never left needs no withdrawal.
        let Some(was) = was.filter(|own| !own.pending) else { return Ok(()) };
        self.offers.own.insert(model, Own { class: was.class, bytes, pending: true });
        self.publish_own(model)
    }

    /// Puts a withdrawal into the book, and says so when it ended an offer.
    fn shelve(&mut self, withdrawal: &Verified<Withdrawal>) -> Result<(), OfferRejection> {
        let ended = self.offers.book.withdraw(self.now(), withdrawal)?;
        if ended.is_some() {
            self.emit(NodeEvent::OfferWithdrawn { provider: withdrawal.provider, model: withdrawal.model });
        }
        Ok(())
    }

    /// Gossips what waits for listeners.
    pub(super) fn publish_pending(&mut self) {
        let pending: Vec<ModelId> = self.offers.own.iter().filter(|(_, own)| own.pending).map(|(model, _)| *model).collect();
        for model in pending {
            if let Err(error) = self.publish_own(model) {
                tracing::warn!(%error, "an offer could not be published");
            }
        }
    }

    fn publish_own(&mut self, model: ModelId) -> Result<(), PublishError> {
        let Some(own) = self.offers.own.get_mut(&model).filter(|own| own.pending) else { return Ok(()) };
        match self.swarm.behaviour_mut().gossip.publish(topic(own.class), own.bytes.clone()) {
            Ok(_) | Err(GossipError::Duplicate) => {
                own.pending = false;
                Ok(())
            }
            Err(GossipError::NoPeersSubscribedToTopic | GossipError::AllQueuesFull(_)) => Ok(()),
            Err(error) => Err(PublishError::Gossip(error)),
        }
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let acceptance = self.judge_message(propagation_source, &message);
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.report_message_validation_result(&message_id, &propagation_source, acceptance);
            }
            gossipsub::Event::Subscribed { .. } => self.publish_pending(),
            _ => {}
        }
    }

    fn judge_message(&mut self, neighbour: libp2p::PeerId, message: &gossipsub::Message) -> MessageAcceptance {
        let neighbour = market_peer(&neighbour);
        // Strict validation lets no message without a source through.
        let source = message.source.map_or_else(|| neighbour.clone(), |source| market_peer(&source));
        let origin = Origin { neighbour, source, class: class_of(&message.topic) };
        match self.take_message(&origin, &message.data) {
            Ok(()) => MessageAcceptance::Accept,
            Err(reason) => self.refuse_message(&origin, reason),
        }
    }

    fn take_message(&mut self, origin: &Origin, data: &[u8]) -> Result<(), OfferRejection> {
        let now = self.now();
        match self.offers.gate.check(now, origin, data)? {
            Passed::Offer(offer) => self.file(*offer, OfferPath::Gossip).map(drop),
            Passed::Withdrawal(withdrawal) => self.shelve(&withdrawal),
        }
    }

    fn refuse_message(&mut self, origin: &Origin, reason: OfferRejection) -> MessageAcceptance {
        if reason != OfferRejection::Outdated {
            self.emit(NodeEvent::OfferRejected { peer: origin.source.clone(), reason: reason.clone() });
        }
        let Judgement { neighbour, source, is_invalid } = Judgement::of(&reason, origin);
        tracing::debug!(peer = ?origin.neighbour, %reason, "offer refused");
        if let Some(offence) = neighbour {
            self.penalise(&origin.neighbour, offence);
        }
        if let Some(offence) = source {
            self.penalise(&origin.source, offence);
        }
        if is_invalid { MessageAcceptance::Reject } else { MessageAcceptance::Ignore }
    }

    /// Asks a peer for what it knows.
    pub(super) fn pull(&mut self, peer: libp2p::PeerId, model: Option<ModelId>, reply: Option<oneshot::Sender<Result<usize, ReachError>>>) {
        if self.is_banned(&peer) {
            if let Some(reply) = reply {
                let _ = reply.send(Err(ReachError::Banned));
            }
            return;
        }
        let id = self.swarm.behaviour_mut().pull.send_request(&peer, Received::Message(PullRequest { model }));
        self.pulls.insert(id, reply);
    }

    /// Puts pulled offers into the book; gives how many were valid.
    pub(super) fn take_pulled(&mut self, peer: libp2p::PeerId, response: PullResponse) -> usize {
        let (peer, now, own) = (market_peer(&peer), self.now(), market_peer(self.swarm.local_peer_id()));
        let mut valid = 0usize;
        for signed in response.offers.into_iter().take(PULL_OFFERS_MAX) {
            let filed = open_offer(now, signed)
                .and_then(|offer| if offer.peer == own { Err(OfferRejection::Outdated) } else { self.file(offer, OfferPath::Pull) });
            match filed {
                Ok(_) | Err(OfferRejection::Outdated) => valid += 1,
                Err(reason) => {
                    if let Some(offence) = reason.offence_of_neighbour(true) {
                        self.emit(NodeEvent::OfferRejected { peer: peer.clone(), reason });
                        self.penalise(&peer, offence);
                        break;
                    }
                }
            }
        }
        valid
    }
}

#[cfg(test)]
mod tests {
    use cocoon_market::OperatorKey;

    use super::*;
    use crate::fixtures::{NOW, offer, peer};

    #[test]
    fn one_tidying_clears_a_full_page_of_the_book() {
        let mut offers = Offers::new(&NodeConfig::default(), &Identity::from_seed([1; 32]));
        let many = cocoon_market::book::EXPIRE_MAX * 2;
        for n in 0..u32::try_from(many).unwrap() {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&n.to_be_bytes());
            let key = OperatorKey::from_seed(&seed);
            offers.book.insert(NOW, Verified::sign(offer(&key, peer(2), 1), &key).unwrap()).unwrap();
        }
        assert_eq!(offers.book.len(), many);
        offers.expire(NOW.plus_ms(1_800_000));
        assert_eq!(offers.book.len(), many, "nothing is over");
        offers.expire(NOW.plus_ms(3_602_000));
        assert_eq!(offers.book.len(), 0);
    }
}
