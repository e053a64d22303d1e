//! Counts what a node does, for `/metrics`.

use cocoon_p2p::{JobEnd, Node, NodeEvent, ProposalAnswer, ProviderEvent, Receiver};
use futures::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;

/// Counts peers and offers until the node stops.
pub(super) async fn watch(node: Node, cancel: CancellationToken) {
    let events = node.events();
    follow(events, cancel, count_node_event).await;
}

/// Counts deals and jobs until the provider stops.
pub(super) async fn watch_provider(events: Receiver<ProviderEvent>, cancel: CancellationToken) {
    follow(events, cancel, count_provider_event).await;
}

async fn follow<T>(mut events: impl Stream<Item = T> + Unpin, cancel: CancellationToken, count: fn(&T)) {
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            event = events.next() => match event {
                Some(event) => count(&event),
                None => return,
            },
        }
    }
}

fn count_node_event(event: &NodeEvent) {
    match event {
        NodeEvent::PeerConnected { .. } => metrics::gauge!("swarm_peers").increment(1.0),
        NodeEvent::PeerDisconnected { .. } => metrics::gauge!("swarm_peers").decrement(1.0),
        NodeEvent::OfferSeen { .. } => metrics::counter!("swarm_offers_total", "what" => "seen").increment(1),
        NodeEvent::OfferWithdrawn { .. } => metrics::counter!("swarm_offers_total", "what" => "withdrawn").increment(1),
        NodeEvent::OfferRejected { reason, .. } => {
            tracing::debug!(%reason, "offer rejected");
            metrics::counter!("swarm_offers_total", "what" => "rejected").increment(1);
        }
        NodeEvent::PeerBanned { .. } => metrics::counter!("swarm_peers_banned_total").increment(1),
        NodeEvent::Listening { address } => tracing::info!(%address, "listening"),
        NodeEvent::Reachable { address } => tracing::info!(%address, "reachable"),
        NodeEvent::DialFailed { .. } | NodeEvent::ProvidersFound { .. } => {}
    }
}

fn count_provider_event(event: &ProviderEvent) {
    match event {
        ProviderEvent::Published { offer, model } => tracing::info!(offer = %offer.short(), model = %model.short(), "offer published"),
        ProviderEvent::Withdrawn { model } => tracing::info!(model = %model.short(), "offer withdrawn"),
        ProviderEvent::Proposed { answer: ProposalAnswer::Refused(reason), .. } | ProviderEvent::CommitRefused { reason, .. } => {
            tracing::info!(%reason, "deal refused");
            metrics::counter!("swarm_refused_total", "what" => "deal").increment(1);
        }
        ProviderEvent::Proposed { answer: ProposalAnswer::Accepted | ProposalAnswer::Countered, .. } => {}
        ProviderEvent::Agreed { agreement, requester, cap, .. } => {
            tracing::info!(agreement = %agreement.short(), requester = %requester.short(), %cap, "agreed");
            metrics::counter!("swarm_agreements_total").increment(1);
        }
        ProviderEvent::JobRefused { reason, .. } => {
            tracing::info!(%reason, "job refused");
            metrics::counter!("swarm_refused_total", "what" => "job").increment(1);
        }
        ProviderEvent::JobStarted { job, .. } => tracing::info!(job = %job.short(), "job started"),
        ProviderEvent::Receipted { .. } | ProviderEvent::Paid { .. } => {}
        ProviderEvent::JobEnded { job, end, usage } => {
            tracing::info!(job = %job.short(), ?end, input = usage.input_tokens, output = usage.output_tokens, "job ended");
            metrics::counter!("swarm_jobs_total", "end" => end_word(end)).increment(1);
        }
    }
}

const fn end_word(end: &JobEnd) -> &'static str {
    match end {
        JobEnd::Finished(_) => "finished",
        JobEnd::Stopped(_) => "stopped",
        JobEnd::RequesterLost => "requester_lost",
    }
}
