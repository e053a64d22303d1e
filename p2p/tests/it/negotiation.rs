//! From an offer to an agreement, and why not.

use cocoon_market::agreement::{ChannelProblem, Refusal};
use cocoon_market::negotiation::End;
use cocoon_market::{Amount, PriceTable};
use cocoon_p2p::testing::{Answer, PayerFault};
use cocoon_p2p::{DealWishes, NegotiateError, NegotiationStep, PayErrorKind, ProviderEvent, Shutdown};

use super::world::{World, wait_for};

const CAP: Amount = Amount::from_nano(1_000_000);

#[tokio::test]
async fn an_offer_becomes_an_agreement_signed_by_both() {
    let world = World::new(Answer::of(1)).await;
    let mut events = world.provider.events();
    let mut steps = Vec::new();
    let offer = world.offer().await;
    let agreement = world.client.negotiate_observed(&offer, DealWishes::new(CAP), |step| steps.push(step)).await.unwrap();
    assert_eq!(agreement.body().requester, world.client_key.node_id());
    assert_eq!(agreement.body().provider, world.provider_key.node_id());
    assert_eq!(agreement.terms().price, offer.price);
    let names: Vec<&str> = steps.iter().map(name).collect();
    assert_eq!(names, ["proposed", "accepted", "funding", "funded", "committing", "agreed"]);
    let agreed = |event: &ProviderEvent| if let ProviderEvent::Agreed { agreement, .. } = event { Some(*agreement) } else { None };
    assert_eq!(wait_for(&mut events, agreed).await, agreement.id());
    assert_eq!(world.payer.agreements(), vec![agreement]);
}

#[tokio::test]
async fn a_low_price_is_countered_and_the_counter_taken() {
    let world = World::new(Answer::of(1)).await;
    let offer = world.offer().await;
    let wishes = DealWishes { price: Some(PriceTable::default()), ..DealWishes::new(CAP) };
    let mut steps = Vec::new();
    let agreement = world.client.negotiate_observed(&offer, wishes, |step| steps.push(step)).await.unwrap();
    assert_eq!(agreement.terms().price, offer.price);
    let names: Vec<&str> = steps.iter().map(name).collect();
    assert_eq!(names, ["proposed", "countered", "proposed", "accepted", "funding", "funded", "committing", "agreed"]);
}

#[tokio::test]
async fn a_price_that_is_never_met_ends_without_an_agreement() {
    let world = World::new(Answer::of(1)).await;
    let offer = world.offer().await;
    let free = Some(PriceTable::default());
    let wishes = DealWishes { price: free, price_max: free, ..DealWishes::new(CAP) };
    let error = world.client.negotiate(&offer, wishes).await.unwrap_err();
    assert!(matches!(error, NegotiateError::Ended(End::NoCommonGround { .. } | End::Refused(Refusal::PriceTooLow { .. }))), "{error:?}");
}

#[tokio::test]
async fn a_wallet_without_funds_commits_to_nothing() {
    let world = World::new(Answer::of(1)).await;
    world.payer.misbehave(PayerFault::NoFunds);
    let error = world.client.negotiate(&world.offer().await, DealWishes::new(CAP)).await.unwrap_err();
    assert!(matches!(error, NegotiateError::Payment(cause) if cause.kind == PayErrorKind::Funds));
    assert!(world.payer.agreements().is_empty());
}

#[tokio::test]
async fn a_channel_that_does_not_suit_is_refused_with_a_reason() {
    let world = World::new(Answer::of(1)).await;
    world.payee.refuse(Some(Refusal::ChainOutOfSight));
    let error = world.client.negotiate(&world.offer().await, DealWishes::new(CAP)).await.unwrap_err();
    assert!(matches!(error, NegotiateError::Ended(End::Refused(Refusal::ChainOutOfSight))), "{error:?}");
}

#[tokio::test]
async fn an_offer_that_was_withdrawn_is_no_longer_negotiated() {
    let world = World::new(Answer::of(1)).await;
    let offer = world.offer().await;
    world.provider.sell(Vec::new()).await.unwrap();
    let error = world.client.negotiate(&offer, DealWishes::new(CAP)).await.unwrap_err();
    assert!(matches!(error, NegotiateError::Ended(End::Refused(Refusal::UnknownOffer))), "{error:?}");
}

#[tokio::test]
async fn a_paused_provider_refuses_with_its_reason() {
    let world = World::new(Answer::of(1)).await;
    let offer = world.offer().await;
    world.provider.pause(Some(Refusal::Unavailable)).await;
    let error = world.client.negotiate(&offer, DealWishes::new(CAP)).await.unwrap_err();
    assert!(matches!(error, NegotiateError::Ended(End::Refused(Refusal::Unavailable))), "{error:?}");
}

#[tokio::test]
async fn a_node_without_a_provider_knows_no_offer() {
    let world = World::new(Answer::of(1)).await;
    let offer = world.offer().await;
    world.provider.shutdown(Shutdown::Stop).await;
    let error = world.client.negotiate(&offer, DealWishes::new(CAP)).await.unwrap_err();
    assert!(matches!(error, NegotiateError::Ended(End::Refused(_))), "{error:?}");
}

#[tokio::test]
async fn a_peer_that_negotiates_too_often_is_refused_and_told_so() {
    use super::world::{config, node, node_with};
    use cocoon_p2p::NodeConfig;
    use cocoon_p2p::node::Limits;
    use cocoon_p2p::rate::Rate;
    let limits = Limits { negotiate_rate: Rate { burst: 2, every_ms: 600_000 }, ..Limits::default() };
    let world = World::on(node_with(1, NodeConfig { limits, ..config() }), node(2), Answer::of(1)).await;
    world.agree().await;
    let error = world.client.negotiate(&world.offer().await, DealWishes::new(CAP)).await.unwrap_err();
    assert!(matches!(error, NegotiateError::Ended(End::Refused(Refusal::Unavailable))), "{error:?}");
}

#[tokio::test]
async fn a_channel_that_is_not_seen_yet_is_asked_for_again_a_moment_later() {
    let world = World::new(Answer::of(1)).await;
    let not_yet = Refusal::Channel(ChannelProblem::NotOpen);
    world.payee.refuse(Some(not_yet.clone()));
    let (offer, mut refusals) = (world.offer().await, Vec::new());
    let observe = |step| {
        if let NegotiationStep::Refused { reason } = step {
            refusals.push(reason);
            world.payee.refuse(None);
        }
    };
    world.client.negotiate_observed(&offer, DealWishes::new(CAP), observe).await.unwrap();
    assert_eq!(refusals, [not_yet]);
}

fn name(step: &NegotiationStep) -> &'static str {
    match step {
        NegotiationStep::Proposed { .. } => "proposed",
        NegotiationStep::Countered { .. } => "countered",
        NegotiationStep::Accepted { .. } => "accepted",
        NegotiationStep::Funding { .. } => "funding",
        NegotiationStep::Funded { .. } => "funded",
        NegotiationStep::Committing { .. } => "committing",
        NegotiationStep::Agreed { .. } => "agreed",
        NegotiationStep::Refused { .. } => "refused",
        NegotiationStep::Lost => "lost",
    }
}
