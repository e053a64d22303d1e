//! The service's task: inquiries, checks of channels, job streams, orders, renewals.

use std::sync::Arc;

use cocoon_market::agreement::{Agreement, NegotiateResponse, Refusal};
use cocoon_market::negotiation::{Answer, ProviderDesk, Seller};
use cocoon_market::{OperatorKey, PeerId};
use futures::channel::{mpsc, oneshot};
use futures::future::{BoxFuture, FutureExt as _, Shared};
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, select_biased};
use libp2p::request_response::ResponseChannel;

use super::event::{ProposalAnswer, ProviderEvent};
use super::jobs::{self, Desk};
use super::offers::Standings;
use super::places::Places;
use super::{Order, Shutdown};
use crate::broadcast::Broadcast;
use crate::execution::Executor;
use crate::node::{Answers, Inbound, Inquiry, JobStream, Node, NodeEvent};
use crate::payment::Payee;
use crate::penalty::Offence;
use crate::protocol::exchange::Received;
use crate::shell::{Deadline, Entropy};

/// Checks of channels at once: each may ask a chain over HTTP.
const CHECKS_MAX: usize = 64;

/// A channel was looked at, for an agreement whose requester waits.
struct Checked {
    channel: ResponseChannel<Received<NegotiateResponse>>,
    agreement: Box<Agreement>,
    outcome: Result<(), Refusal>,
}

/// Tells jobs to stop.
pub(super) type StopSign = Shared<BoxFuture<'static, ()>>;

/// The state of the service's task.
pub(super) struct Service {
    pub(super) node: Node,
    pub(super) key: OperatorKey,
    pub(super) desk: ProviderDesk,
    pub(super) standing: Standings,
    pub(super) sequence: u64,
    pub(super) entropy: Entropy,
    payee: Arc<dyn Payee>,
    executor: Arc<dyn Executor>,
    events: Broadcast<ProviderEvent>,
    places: Arc<Places>,
    checks: FuturesUnordered<BoxFuture<'static, Checked>>,
}

/// Who waits for the end, and how it is to come.
type Ending = (Shutdown, Option<oneshot::Sender<()>>);

impl Service {
    pub(super) fn new(
        node: Node,
        key: OperatorKey,
        jobs_max: usize,
        payee: Arc<dyn Payee>,
        executor: Arc<dyn Executor>,
        entropy: Entropy,
        events: Broadcast<ProviderEvent>,
    ) -> Self {
        let desk = ProviderDesk::new(Seller { key: key.clone(), peer: node.peer_id() });
        let places = Places::new(jobs_max);
        let checks = FuturesUnordered::new();
        let standing = Standings::default();
        Self { node, key, desk, standing, sequence: 0, entropy, payee, executor, events, places, checks }
    }

    /// Runs until told to stop, or until the node or the last handle is gone.
    pub(super) async fn run(mut self, inbound: Inbound, mut orders: mpsc::Receiver<Order>) {
        let Inbound { mut inquiries, mut jobs, answers } = inbound;
        let (stop, stopped) = oneshot::channel::<()>();
        let stop_sign: StopSign = stopped.map(drop).boxed().shared();
        let (alive, mut all_ended) = mpsc::channel::<()>(0);
        let mut renewal = Deadline::default();
        let mut news = self.node.events().filter(|event| std::future::ready(is_new_address(event))).fuse();
        let (mode, waiting) = loop {
            renewal.set(self.node.clock().now(), self.standing.next_renewal());
            select_biased! {
                order = orders.next() => if let Some(ending) = self.on_order(order).await { break ending },
                checked = self.checks.select_next_some() => self.on_checked(checked, &answers).await,
                inquiry = inquiries.next() => match inquiry {
                    Some(inquiry) => self.on_inquiry(inquiry, &answers).await,
                    None => break (Shutdown::Stop, None),
                },
                stream = jobs.next() => match stream {
                    Some((peer, stream)) => self.on_stream(peer, stream, &stop_sign, &alive),
                    None => break (Shutdown::Stop, None),
                },
                _ = news.next() => self.renew_soon(),
                () = renewal.reached().fuse() => self.renew().await,
            }
        };
        drop((inquiries, jobs, alive));
        self.withdraw_all().await;
        // Dropping it tells the jobs to stop; keeping it lets them finish.
        let _keep = (mode == Shutdown::Finish).then_some(stop);
        // Every running job holds a sender; the channel ends with the last of them.
        while all_ended.next().await.is_some() {}
        self.events.close();
        if let Some(reply) = waiting {
            let _ = reply.send(());
        }
    }

    pub(super) fn emit(&self, event: ProviderEvent) {
        self.events.send(&event);
    }

    async fn on_order(&mut self, order: Option<Order>) -> Option<Ending> {
        match order {
            Some(Order::Sell { listings, reply }) => drop(reply.send(self.sell(listings).await)),
            Some(Order::Pause { reason }) => {
                self.places.pause(reason.clone());
                self.desk.pause(reason);
            }
            Some(Order::Shutdown { mode, reply }) => return Some((mode, Some(reply))),
            None => return Some((Shutdown::Stop, None)),
        }
        None
    }

    async fn on_inquiry(&mut self, inquiry: Inquiry, answers: &Answers) {
        let Inquiry { peer, request, channel } = inquiry;
        let proposing = matches!(request, cocoon_market::NegotiateRequest::Propose(_));
        let (answer, penalty) = self.desk.handle(self.node.clock().now(), &peer, request);
        if let Some(offence) = Offence::of(penalty) {
            self.node.penalise(&peer, offence).await;
        }
        match answer {
            Answer::Reply(response) => {
                if proposing {
                    self.emit(ProviderEvent::Proposed { peer, answer: answer_of(&response) });
                }
                self.answer(answers, channel, response).await;
            }
            Answer::CheckChannel(agreement) => self.check(channel, agreement, answers).await,
        }
    }

    async fn answer(&mut self, answers: &Answers, channel: ResponseChannel<Received<NegotiateResponse>>, response: NegotiateResponse) {
        if answers.send(channel, response).await.is_err() {
            tracing::debug!("an answer came after the node had stopped");
        }
    }

    /// Looks at the channel, and writes the agreement down when it suits.
    async fn check(&mut self, channel: ResponseChannel<Received<NegotiateResponse>>, agreement: Box<Agreement>, answers: &Answers) {
        if self.checks.len() >= CHECKS_MAX {
            let checked = Checked { channel, agreement, outcome: Err(Refusal::Unavailable) };
            return self.on_checked(checked, answers).await;
        }
        let payee = Arc::clone(&self.payee);
        self.checks.push(Box::pin(async move {
            let outcome = match payee.check_channel(agreement.body()).await {
                Ok(()) => payee.agreed(&agreement).await,
                Err(refusal) => Err(refusal),
            };
            Checked { channel, agreement, outcome }
        }));
    }

    async fn on_checked(&mut self, checked: Checked, answers: &Answers) {
        let Checked { channel, agreement, outcome } = checked;
        let now = self.node.clock().now();
        let event = match &outcome {
            Ok(()) => {
                self.places.remember(now, Arc::new(agreement.as_ref().clone()));
                let (body, terms) = (agreement.body(), agreement.terms());
                ProviderEvent::Agreed { agreement: agreement.id(), requester: body.requester, channel: terms.channel, cap: terms.cap }
            }
            Err(reason) => ProviderEvent::CommitRefused { agreement: agreement.id(), reason: reason.clone() },
        };
        let response = self.desk.channel_checked(now, agreement, outcome);
        self.emit(event);
        self.answer(answers, channel, response).await;
    }

    fn on_stream(&mut self, peer: PeerId, stream: JobStream, stop: &StopSign, alive: &mpsc::Sender<()>) {
        let desk = Desk {
            node: self.node.clone(),
            seller: self.key.node_id(),
            payee: Arc::clone(&self.payee),
            executor: Arc::clone(&self.executor),
            events: self.events.clone(),
            places: Arc::clone(&self.places),
        };
        self.node.spawner().spawn(Box::pin(jobs::serve(desk, peer, stream, stop.clone(), alive.clone())));
    }

    async fn withdraw_all(&mut self) {
        for model in self.standing.models() {
            if let Err(error) = self.withdraw(model).await {
                tracing::debug!(%error, %model, "offer not withdrawn");
            }
        }
    }
}

/// Offers list addresses; a new one is news for requesters.
fn is_new_address(event: &NodeEvent) -> bool {
    matches!(event, NodeEvent::Listening { .. } | NodeEvent::Reachable { .. })
}

fn answer_of(response: &NegotiateResponse) -> ProposalAnswer {
    match response {
        NegotiateResponse::Counter(_) => ProposalAnswer::Countered,
        NegotiateResponse::Accept(_) | NegotiateResponse::Committed(_) => ProposalAnswer::Accepted,
        NegotiateResponse::Refused(reason) => ProposalAnswer::Refused(reason.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::peer;

    #[test]
    fn only_a_new_address_of_this_node_is_news_for_its_offers() {
        let address = "/memory/1".to_owned();
        assert!(is_new_address(&NodeEvent::Listening { address: address.clone() }));
        assert!(is_new_address(&NodeEvent::Reachable { address }));
        assert!(!is_new_address(&NodeEvent::PeerDisconnected { peer: peer(1) }));
    }
}
