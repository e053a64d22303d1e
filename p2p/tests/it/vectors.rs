//! Orders of vectors: given, receipted, paid; and what happens when they are not.

use cocoon_market::job::{FinishReason, StopReason, Vector};
use cocoon_market::{Amount, Demand, Usage, WorkKind};
use cocoon_p2p::testing::{Answer, PayerFault, Stumble, mock_vector};
use cocoon_p2p::{EmbedOrder, JobEnd, JobError, JobEvent, ProviderEvent};
use futures::StreamExt as _;

use super::world::{PRICE, World, demand, drain, wait_for};

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| "word ".repeat(1 + n % 7)).collect()
}

/// What the mock reads of texts: a token for each word, and two at the ends of each text.
fn tokens(texts: &[String]) -> u64 {
    texts.iter().map(|text| text.split_whitespace().count() as u64 + 2).sum()
}

fn cost(texts: &[String]) -> Amount {
    Amount::from_nano(u128::from(PRICE * tokens(texts)))
}

fn vectors_of(events: &[JobEvent]) -> Vec<Vector> {
    events.iter().flat_map(|event| if let JobEvent::Vectors(some) = event { some.vectors.clone() } else { Vec::new() }).collect()
}

#[tokio::test]
async fn each_text_gets_its_vector_and_every_token_read_is_receipted_and_paid() {
    let world = World::of_vectors(Answer { chunk: 3, ..Answer::of(0) }).await;
    let agreement = world.agree_on_vectors().await;
    let texts = texts(100);
    let (events, error) = drain(&mut world.embed(&agreement, &texts).await).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(vectors_of(&events), texts.iter().map(|text| mock_vector(text)).collect::<Vec<_>>());
    let usage = Usage { input_tokens: tokens(&texts), output_tokens: 0 };
    assert_eq!(events.last(), Some(&JobEvent::Done { reason: FinishReason::Stop, usage, paid: cost(&texts) }));
    assert_eq!(world.ended().await, JobEnd::Finished(FinishReason::Stop));
    let channel = agreement.terms().channel;
    assert_eq!(world.payee.balance(&channel), (cost(&texts), cost(&texts)));
    // A slice of 16 tokens is full after one or two of the mock's chunks of three texts.
    let receipts = world.payee.receipts(&channel);
    assert!((17..=34).contains(&receipts.len()), "{}", receipts.len());
    let sum = Amount::sum(receipts.iter().map(|receipt| receipt.receipt.body.amount)).unwrap();
    assert_eq!(sum, cost(&texts));
}

#[tokio::test]
async fn a_demand_for_text_never_meets_a_model_of_vectors() {
    let world = World::of_vectors(Answer::of(1)).await;
    world.agree_on_vectors().await;
    let found = world.client.find(&demand(), 1).await.unwrap();
    assert!(found.best.is_empty());
    assert!(found.why.unwrap().to_string().contains("kind of work: 1"));
    let text = World::new(Answer::of(1)).await;
    text.offer().await;
    assert!(text.client.find(&Demand { work: WorkKind::Embed, ..demand() }, 1).await.unwrap().best.is_empty());
}

#[tokio::test]
async fn a_provider_that_is_lost_was_paid_for_the_vectors_that_came() {
    let world = World::of_vectors(Answer { stumble: Stumble::FailAfter(50), ..Answer::of(0) }).await;
    let agreement = world.agree_on_vectors().await;
    let texts = texts(100);
    let (events, error) = drain(&mut world.embed(&agreement, &texts).await).await;
    let Some(JobError::Stopped { reason: StopReason::Internal, progress }) = error else { panic!("{error:?}") };
    let came = vectors_of(&events).len();
    assert_eq!((came, progress.received_tokens), (50, tokens(&texts[..50])));
    assert!(progress.paid <= cost(&texts[..50]) && progress.paid > Amount::ZERO, "never for more than came");
}

#[tokio::test]
async fn a_cancelled_order_of_vectors_is_paid_up_to_where_it_came() {
    let world = World::of_vectors(Answer::of(0)).await;
    let agreement = world.agree_on_vectors().await;
    let texts = texts(2000);
    let mut handle = world.embed(&agreement, &texts).await;
    assert!(matches!(handle.next().await, Some(Ok(JobEvent::Vectors(_)))));
    handle.cancel();
    let (events, error) = drain(&mut handle).await;
    assert!(error.is_none(), "{error:?}");
    let Some(JobEvent::Done { reason: FinishReason::Cancelled, usage, paid }) = events.last() else { panic!("{:?}", events.last()) };
    let came = 1 + vectors_of(&events).len();
    assert_eq!((usage.input_tokens, *paid), (tokens(&texts[..came]), cost(&texts[..came])));
    assert!(came < texts.len());
}

#[tokio::test]
async fn an_order_beyond_the_bounds_is_not_sent() {
    let world = World::of_vectors(Answer::of(0)).await;
    let agreement = world.agree_on_vectors().await;
    for texts in [vec![], vec![String::new()], texts(2049)] {
        assert!(matches!(world.client.run(&agreement, EmbedOrder::new(texts)).await, Err(JobError::Order(_))));
    }
}

#[tokio::test]
async fn unpaid_vectors_stop_at_the_float() {
    let world = World::of_vectors(Answer::of(0)).await;
    let agreement = world.agree_on_vectors().await;
    world.payer.misbehave(PayerFault::Withholds);
    let mut told = world.provider.events();
    let float = agreement.terms().float;
    let _handle = world.embed(&agreement, &texts(2000)).await;
    wait_for(&mut told, |event| matches!(event, ProviderEvent::Receipted { cumulative, .. } if *cumulative > float).then_some(())).await;
    // Whoever did not wait would have given thousands of vectors by the end of another negotiation.
    world.agree_on_vectors().await;
    world.client_node.shutdown().await;
    let ended = |event: &ProviderEvent| if let ProviderEvent::JobEnded { usage, .. } = event { Some(*usage) } else { None };
    let unpaid = agreement.terms().price.cost(wait_for(&mut told, ended).await).unwrap();
    let largest_text = Amount::from_nano(u128::from(PRICE * 9));
    assert!(unpaid > float && unpaid <= float.checked_add(largest_text).unwrap(), "{unpaid}");
}
