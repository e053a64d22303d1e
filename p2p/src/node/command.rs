//! What the handle and the services ask of the node's task.

use cocoon_market::agreement::{NegotiateRequest, NegotiateResponse};
use cocoon_market::reputation::Experienced;
use cocoon_market::{Demand, Experience, ModelId, NodeId, Offer, OfferId, PeerId, Verified, Withdrawal};
use futures::SinkExt as _;
use futures::channel::{mpsc, oneshot};
use libp2p::Multiaddr;
use libp2p::request_response::ResponseChannel;

use super::matches::Matches;
use super::streams::JobStream;
use super::{DialError, NodeStopped, PublishError, ReachError, ServeError};
use crate::penalty::Offence;
use crate::protocol::exchange::Received;

type Reply<T> = oneshot::Sender<T>;

/// One request to the node's task.
#[derive(Debug)]
pub(crate) enum Command {
    ListenAddresses(Reply<Vec<String>>),
    ConnectedPeers(Reply<Vec<PeerId>>),
    Dial {
        address: Multiaddr,
        reply: Reply<Result<(), DialError>>,
    },
    PublishOffer {
        offer: Box<Verified<Offer>>,
        reply: Reply<Result<OfferId, PublishError>>,
    },
    Withdraw {
        withdrawal: Box<Verified<Withdrawal>>,
        reply: Reply<Result<(), PublishError>>,
    },
    Provide {
        model: ModelId,
        reply: Reply<()>,
    },
    StopProviding {
        model: ModelId,
        reply: Reply<()>,
    },
    FindProviders {
        model: ModelId,
        reply: Reply<Vec<PeerId>>,
    },
    PullOffers {
        peer: libp2p::PeerId,
        model: ModelId,
        reply: Reply<Result<usize, ReachError>>,
    },
    Matches {
        demand: Box<Demand>,
        k: usize,
        reply: Reply<Matches>,
    },
    Offers {
        model: Option<ModelId>,
        max: usize,
        reply: Reply<Vec<Verified<Offer>>>,
    },
    Negotiate {
        peer: libp2p::PeerId,
        addresses: Vec<Multiaddr>,
        request: NegotiateRequest,
        reply: Reply<Result<NegotiateResponse, ReachError>>,
    },
    Respond {
        channel: ResponseChannel<Received<NegotiateResponse>>,
        response: Box<NegotiateResponse>,
    },
    OpenJob {
        peer: libp2p::PeerId,
        reply: Reply<Result<JobStream, ReachError>>,
    },
    Serve {
        answers: Answers,
        reply: Reply<Result<Inbound, ServeError>>,
    },
    Learn {
        provider: NodeId,
        experienced: Experienced,
    },
    Experience(Reply<Experience>),
    Recall {
        experience: Box<Experience>,
        reply: Reply<()>,
    },
    Penalise {
        peer: PeerId,
        offence: Offence,
    },
    Shutdown {
        reply: Reply<()>,
    },
}

/// What others bring to a node that serves.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// Messages of negotiations.
    pub(crate) inquiries: mpsc::Receiver<Inquiry>,
    /// Job streams.
    pub(crate) jobs: mpsc::Receiver<(PeerId, JobStream)>,
    /// To answer with.
    pub(crate) answers: Answers,
}

/// One message of a negotiation, waiting for its answer.
#[derive(Debug)]
pub(crate) struct Inquiry {
    pub(crate) peer: PeerId,
    pub(crate) request: NegotiateRequest,
    pub(crate) channel: ResponseChannel<Received<NegotiateResponse>>,
}

/// The way back for answers.
#[derive(Clone, Debug)]
pub(crate) struct Answers(pub(super) mpsc::Sender<Command>);

impl Answers {
    /// Sends the answer to an inquiry.
    pub(crate) async fn send(
        &self,
        channel: ResponseChannel<Received<NegotiateResponse>>,
        response: NegotiateResponse,
    ) -> Result<(), NodeStopped> {
        self.0.clone().send(Command::Respond { channel, response: Box::new(response) }).await.map_err(|_| NodeStopped)
    }
}
