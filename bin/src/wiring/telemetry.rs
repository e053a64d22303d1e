//! Counts what a node does, for `/metrics`.

use cocoon_market::agreement::{ChannelProblem, Refusal};
use cocoon_market::job::{FinishReason, StopReason};
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
            metrics::counter!("swarm_refused_total", "what" => "deal", "reason" => refusal_word(reason)).increment(1);
        }
        ProviderEvent::Proposed { answer: ProposalAnswer::Accepted | ProposalAnswer::Countered, .. } => {}
        ProviderEvent::Agreed { agreement, requester, cap, .. } => {
            tracing::info!(agreement = %agreement.short(), requester = %requester.short(), %cap, "agreed");
            metrics::counter!("swarm_agreements_total").increment(1);
        }
        ProviderEvent::JobRefused { reason, .. } => {
            tracing::info!(%reason, "job refused");
            metrics::counter!("swarm_refused_total", "what" => "job", "reason" => stop_word(reason)).increment(1);
        }
        ProviderEvent::JobStarted { job, .. } => tracing::info!(job = %job.short(), "job started"),
        ProviderEvent::Receipted { .. } | ProviderEvent::Paid { .. } => {}
        ProviderEvent::JobEnded { job, end, usage } => {
            tracing::info!(job = %job.short(), ?end, input = usage.input_tokens, output = usage.output_tokens, "job ended");
            metrics::counter!("swarm_jobs_total", "end" => end_word(end), "reason" => end_reason(end)).increment(1);
        }
    }
}

/// Why somebody was refused, as a label: one word each, so that their number is that of the variants.
const fn refusal_word(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::UnknownOffer => "unknown_offer",
        Refusal::PriceTooLow { .. } => "price_too_low",
        Refusal::CapAboveDeposit { .. } => "cap_above_deposit",
        Refusal::CollateralTaken { .. } => "collateral_taken",
        Refusal::Term(_) => "term",
        Refusal::Busy { .. } => "busy",
        Refusal::OtherWork { .. } => "other_work",
        Refusal::Expired => "expired",
        Refusal::Unknown => "unknown",
        Refusal::Malformed => "malformed",
        Refusal::TooManyRounds => "too_many_rounds",
        Refusal::Channel(ChannelProblem::NotOpen) => "channel_not_open",
        Refusal::Channel(ChannelProblem::Closing) => "channel_closing",
        Refusal::Channel(ChannelProblem::ForeignCode) => "channel_foreign_code",
        Refusal::Channel(ChannelProblem::OtherTerms) => "channel_other_terms",
        Refusal::Channel(ChannelProblem::TooSmall) => "channel_too_small",
        Refusal::ChainOutOfSight => "chain_out_of_sight",
        Refusal::Unavailable => "unavailable",
    }
}

/// Why a job was stopped or never started, as a label.
const fn stop_word(reason: &StopReason) -> &'static str {
    match reason {
        StopReason::Refused(refusal) => refusal_word(refusal),
        StopReason::Malformed => "malformed",
        StopReason::ContextExceeded { .. } => "context_exceeded",
        StopReason::TextTooLong { .. } => "text_too_long",
        StopReason::MemoryExceeded { .. } => "memory_exceeded",
        StopReason::Unpaid { .. } => "unpaid",
        StopReason::BadVoucher => "bad_voucher",
        StopReason::ChainOutOfSight => "chain_out_of_sight",
        StopReason::Internal => "internal",
        StopReason::Shutdown => "shutdown",
        StopReason::CapTooSmall { .. } => "cap_too_small",
    }
}

/// Why a job ended, as a label.
const fn end_reason(end: &JobEnd) -> &'static str {
    match end {
        JobEnd::Finished(FinishReason::Stop) => "stop",
        JobEnd::Finished(FinishReason::Length) => "length",
        JobEnd::Finished(FinishReason::StopSequence) => "stop_sequence",
        JobEnd::Finished(FinishReason::Cancelled) => "cancelled",
        JobEnd::Stopped(reason) => stop_word(reason),
        JobEnd::RequesterLost => "requester_lost",
    }
}

const fn end_word(end: &JobEnd) -> &'static str {
    match end {
        JobEnd::Finished(_) => "finished",
        JobEnd::Stopped(_) => "stopped",
        JobEnd::RequesterLost => "requester_lost",
    }
}

#[cfg(test)]
mod tests {
    use cocoon_market::PeerId;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn refusals_are_counted_by_their_reason() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let refused = |reason| ProviderEvent::JobRefused { peer: PeerId(Vec::new()), reason };
        metrics::with_local_recorder(&recorder, || {
            count_provider_event(&refused(StopReason::Refused(Refusal::ChainOutOfSight)));
            count_provider_event(&refused(StopReason::Refused(Refusal::ChainOutOfSight)));
            count_provider_event(&refused(StopReason::Refused(Refusal::Channel(ChannelProblem::Closing))));
        });
        let page = handle.render();
        assert!(page.contains("swarm_refused_total{what=\"job\",reason=\"chain_out_of_sight\"} 2"), "{page}");
        assert!(page.contains("swarm_refused_total{what=\"job\",reason=\"channel_closing\"} 1"), "{page}");
    }
}
