//! Questions and answers: negotiations, pulls of offers, job streams; and whose fault it was.

use cocoon_market::agreement::{NegotiateRequest, NegotiateResponse, Refusal};
use futures::channel::oneshot;
use libp2p::Multiaddr;
use libp2p::request_response::{self, OutboundFailure, OutboundRequestId, ResponseChannel};

use super::ReachError;
use super::actor::Actor;
use super::command::Inquiry;
use super::event::{Found, NodeEvent};
use super::streams::JobStream;
use crate::identity::market_peer;
use crate::penalty::{Offence, Verdict};
use crate::protocol::exchange::Received;
use crate::protocol::offers::{PullRequest, PullResponse};

type Reply<T> = oneshot::Sender<T>;

impl Actor {
    /// Sends a message of a negotiation.
    pub(super) fn ask(
        &mut self,
        peer: libp2p::PeerId,
        addresses: Vec<Multiaddr>,
        request: NegotiateRequest,
        reply: Reply<Result<NegotiateResponse, ReachError>>,
    ) {
        if self.is_banned(&peer) {
            let _ = reply.send(Err(ReachError::Banned));
            return;
        }
        self.intend_offer(peer);
        let id = self.swarm.behaviour_mut().negotiate.send_request_with_addresses(&peer, Received::Message(request), addresses);
        self.asked.insert(id, reply);
    }

    pub(super) fn open_job(&mut self, peer: libp2p::PeerId, reply: Reply<Result<JobStream, ReachError>>) {
        if self.is_banned(&peer) {
            let _ = reply.send(Err(ReachError::Banned));
            return;
        }
        let addresses = self.offered_by(&peer);
        self.intend_offer(peer);
        self.swarm.behaviour_mut().jobs.open(peer, addresses, reply);
    }

    /// Where a peer can be dialled, as its offers say. Who is connected is not looked for in the book.
    fn offered_by(&self, peer: &libp2p::PeerId) -> Vec<Multiaddr> {
        if self.swarm.is_connected(peer) {
            return Vec::new();
        }
        super::parse_addresses(&self.offers.addresses_of(&market_peer(peer)))
    }

    /// A peer of which something is wanted is of use; and if it must be dialled for that, gossip found it.
    fn intend_offer(&mut self, peer: libp2p::PeerId) {
        self.neighbours.used(self.now(), &peer);
        if !self.swarm.is_connected(&peer) {
            self.discovery.intend(peer, Found::Gossip);
        }
    }

    pub(super) fn on_negotiate(&mut self, event: request_response::Event<Received<NegotiateRequest>, Received<NegotiateResponse>>) {
        use request_response::{Event, Message};
        match event {
            Event::Message { peer, message: Message::Request { request: Received::Message(request), channel, .. }, .. } => {
                self.on_inquiry(peer, request, channel);
            }
            Event::Message { peer, message: Message::Request { request: Received::Garbage, .. }, .. } => self.on_garbage(peer),
            Event::Message { peer, message: Message::Response { request_id, response }, .. } => {
                let answer = self.answer_of(peer, response);
                self.give_answer(request_id, answer);
            }
            Event::OutboundFailure { request_id, error, .. } => self.give_answer(request_id, Err(reach_error(&error))),
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
    }

    fn give_answer(&mut self, request: OutboundRequestId, answer: Result<NegotiateResponse, ReachError>) {
        if let Some(reply) = self.asked.remove(&request) {
            let _ = reply.send(answer);
        }
    }

    fn answer_of<T>(&mut self, peer: libp2p::PeerId, received: Received<T>) -> Result<T, ReachError> {
        match received {
            Received::Message(message) => Ok(message),
            Received::Garbage => {
                self.on_garbage(peer);
                Err(ReachError::Malformed)
            }
        }
    }

    fn on_garbage(&mut self, peer: libp2p::PeerId) {
        self.penalise(&market_peer(&peer), Offence::Garbage);
    }

    fn on_inquiry(&mut self, peer: libp2p::PeerId, request: NegotiateRequest, channel: ResponseChannel<Received<NegotiateResponse>>) {
        let sender = market_peer(&peer);
        self.neighbours.used(self.now(), &peer);
        if !self.negotiators.allow(self.now().0, &sender) {
            self.penalise(&sender, Offence::Low);
            return self.respond(channel, NegotiateResponse::Refused(Refusal::Unavailable));
        }
        let Some(service) = &mut self.service else {
            return self.respond(channel, NegotiateResponse::Refused(Refusal::UnknownOffer));
        };
        if let Err(full) = service.inquiries.try_send(Inquiry { peer: sender, request, channel }) {
            let gone = full.is_disconnected();
            self.respond(full.into_inner().channel, NegotiateResponse::Refused(Refusal::Unavailable));
            if gone {
                self.service = None;
            }
        }
    }

    pub(super) fn respond(&mut self, channel: ResponseChannel<Received<NegotiateResponse>>, response: NegotiateResponse) {
        // The asker may have left in the meantime; it will ask again.
        let _ = self.swarm.behaviour_mut().negotiate.send_response(channel, Received::Message(response));
    }

    pub(super) fn on_pull(&mut self, event: request_response::Event<Received<PullRequest>, Received<PullResponse>>) {
        use request_response::{Event, Message};
        match event {
            Event::Message { message: Message::Request { request: Received::Message(request), channel, .. }, .. } => {
                let response = self.offers.answer_pull(self.clock.now(), request);
                let _ = self.swarm.behaviour_mut().pull.send_response(channel, Received::Message(response));
            }
            Event::Message { peer, message: Message::Request { request: Received::Garbage, .. }, .. } => self.on_garbage(peer),
            Event::Message { peer, message: Message::Response { request_id, response }, .. } => {
                let taken = self.answer_of(peer, response).map(|response| self.take_pulled(peer, response));
                self.end_pull(request_id, taken);
            }
            Event::OutboundFailure { request_id, error, .. } => self.end_pull(request_id, Err(reach_error(&error))),
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
    }

    fn end_pull(&mut self, request: OutboundRequestId, taken: Result<usize, ReachError>) {
        if let Some(Some(reply)) = self.pulls.remove(&request) {
            let _ = reply.send(taken);
        }
    }

    pub(super) fn is_banned(&self, peer: &libp2p::PeerId) -> bool {
        self.penalties.is_banned(self.now().0, &market_peer(peer))
    }

    /// Adds an offence, and cuts the peer off when that was one too many.
    pub(super) fn penalise(&mut self, peer: &cocoon_market::PeerId, offence: Offence) {
        let Some(target) = crate::identity::libp2p_peer(peer) else { return };
        let now = self.now().0;
        let behaviour = self.swarm.behaviour_mut();
        match self.penalties.add(now, peer, offence) {
            Verdict::Tolerated { score } => {
                behaviour.gossip.set_application_score(&target, gossip_score(score));
            }
            Verdict::Banned { until_ms } => {
                behaviour.gossip.set_application_score(&target, gossip_score(crate::penalty::BAN_SCORE));
                if behaviour.banned.block_peer(target) {
                    tracing::info!(peer = %target, "peer banned");
                    self.emit(NodeEvent::PeerBanned { peer: peer.clone(), until_ms });
                }
            }
        }
    }
}

/// A penalty on the scale of gossip, which stops listening to a neighbour at -80: at a third of the way to a ban.
fn gossip_score(penalty: u32) -> f64 {
    -f64::from(penalty) / 4.0
}

fn reach_error(failure: &OutboundFailure) -> ReachError {
    match failure {
        OutboundFailure::DialFailure => ReachError::Unreachable,
        OutboundFailure::Timeout => ReachError::Timeout,
        OutboundFailure::ConnectionClosed | OutboundFailure::Io(_) => ReachError::Lost,
        OutboundFailure::UnsupportedProtocols => ReachError::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::penalty::BAN_SCORE;

    #[test]
    fn gossip_stops_listening_at_a_third_of_the_way_to_a_ban() {
        assert!(gossip_score(0) >= 0.0);
        assert!(gossip_score(319) > -80.0 && gossip_score(320) <= -80.0);
        assert!(gossip_score(BAN_SCORE) < gossip_score(320));
    }
}
