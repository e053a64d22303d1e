//! Jobs: answered, receipted, paid; and what happens when they are not.

use std::time::Duration;

use cocoon_market::job::{FinishReason, StopReason};
use cocoon_market::{Amount, Usage};
use cocoon_p2p::testing::{Answer, PayerFault, Stumble};
use cocoon_p2p::{Found, JobEnd, JobError, JobEvent, Payee as _, ProviderEvent, Shutdown};
use futures::StreamExt as _;

use super::world::{PRICE, World, drain, order, text_of, wait_for};

/// What a prompt of four words and so many tokens cost.
fn cost(tokens: u64) -> Amount {
    Amount::from_nano(u128::from(PRICE * (4 + 2 * tokens)))
}

#[tokio::test]
async fn a_job_is_answered_receipted_and_paid_to_the_last_token() {
    let world = World::new(Answer::of(100)).await;
    let agreement = world.agree().await;
    let mut told = world.provider.events();
    let mut handle = world.run(&agreement, 100).await;
    let (events, error) = drain(&mut handle).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(text_of(&events), (0..100).map(|n| format!("t{n} ")).collect::<String>());
    let usage = Usage { input_tokens: 4, output_tokens: 100 };
    assert_eq!(events.last(), Some(&JobEvent::Done { reason: FinishReason::Stop, usage, paid: cost(100) }));
    let channel = agreement.terms().channel;
    assert_eq!(world.ended().await, JobEnd::Finished(FinishReason::Stop));
    assert_eq!(world.payee.balance(&channel), (cost(100), cost(100)));
    // Slices of 16 tokens, and the rest with the final receipt.
    assert_eq!(world.payee.receipts(&channel).len(), 7);
    let last = world.payer.vouchers(&channel).pop().unwrap();
    assert_eq!((last.voucher.sequence, last.voucher.cumulative), (7, cost(100)));
    // The provider's owner sees each of them, and nothing unpaid at the end.
    let (mut receipted, mut paid) = (Vec::new(), Vec::new());
    while let Some(event) = told.try_next() {
        match event {
            ProviderEvent::Receipted { sequence, .. } => receipted.push(sequence),
            ProviderEvent::Paid { sequence, cumulative, .. } => paid.push((sequence, cumulative)),
            _ => {}
        }
    }
    assert_eq!((receipted, paid.len(), paid.last()), ((1..=7).collect(), 7, Some(&(7, cost(100)))));
}

#[tokio::test]
async fn a_requester_remembers_how_its_jobs_went_over_a_restart() {
    let world = World::new(Answer::of(20)).await;
    let agreement = world.agree().await;
    let provider = agreement.body().provider;
    assert!(world.client_node.experience().await.unwrap().is_empty());
    drain(&mut world.run(&agreement, 20).await).await;
    let experience = world.client_node.experience().await.unwrap();
    assert!(experience.get(&provider).is_some_and(|record| record.first_chunk_ms().is_some()), "{experience:?}");
    let newcomer = super::world::node(42);
    newcomer.recall(experience.clone()).await.unwrap();
    assert_eq!(newcomer.experience().await.unwrap(), experience);
}

#[tokio::test]
async fn a_job_that_never_began_says_nothing_about_its_provider() {
    let world = World::new(Answer { stumble: Stumble::HangAfter(0), ..Answer::of(20) }).await;
    let agreement = world.agree().await;
    let mut handle = world.run(&agreement, 20).await;
    handle.cancel();
    let (events, error) = drain(&mut handle).await;
    assert!(matches!(events.as_slice(), [.., JobEvent::Done { reason: FinishReason::Cancelled, .. }]), "{events:?} {error:?}");
    assert!(world.client_node.experience().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_job_has_the_name_it_was_given() {
    use cocoon_market::JobId;
    use cocoon_p2p::GenerateOrder;
    let world = World::new(Answer::of(1)).await;
    let agreement = world.agree().await;
    let named = GenerateOrder { job: Some(JobId([5; 16])), ..order(1) };
    assert_eq!(world.client.run(&agreement, named).await.unwrap().job(), JobId([5; 16]));
    assert_ne!(world.run(&agreement, 1).await.job(), world.run(&agreement, 1).await.job());
}

#[tokio::test]
async fn a_provider_is_dialled_where_its_offer_says() {
    use cocoon_p2p::{Client, NodeEvent};
    // It listens nowhere: what connects the two can only be that it dials.
    let far = super::world::node_with(43, cocoon_p2p::NodeConfig { listen: Vec::new(), ..super::world::config() });
    let between = super::world::node(44);
    super::world::connect(&far, &between).await;
    let mut events = far.events();
    let world = World::on(super::world::node(1), between, Answer::of(10)).await;
    wait_for(&mut events, |event| matches!(event, NodeEvent::OfferSeen { .. }).then_some(())).await;
    // As after a restart: an agreement, and no connection with its provider.
    let client = Client::new(far.clone(), world.client_key.clone(), world.payer.clone());
    let agreement = super::world::agreement_with(&world, &world.client_key, far.peer_id(), 16);
    world.payee.agreed(&agreement).await.unwrap();
    let (_, error) = drain(&mut client.run(&agreement, order(10)).await.unwrap()).await;
    assert!(error.is_none(), "{error:?}");
    let provider = world.provider_node.peer_id();
    let how = wait_for(&mut events, |event| match event {
        NodeEvent::PeerConnected { peer, how } if *peer == provider => Some(*how),
        _ => None,
    });
    assert_eq!(how.await, Found::Gossip);
}

#[tokio::test]
async fn a_banned_peer_is_not_asked_for_anything() {
    use cocoon_p2p::penalty::Offence;
    use cocoon_p2p::{DealWishes, NegotiateError, ReachError};
    let world = World::new(Answer::of(1)).await;
    let (offer, agreement) = (world.offer().await, world.agree().await);
    let provider = world.provider_node.peer_id();
    assert_eq!(world.client_node.pull_offers(&provider, super::world::MODEL).await.unwrap(), 1);
    world.client_node.penalise(&provider, Offence::Forgery).await;
    let error = world.client.negotiate(&offer, DealWishes::new(cost(100))).await.unwrap_err();
    assert!(matches!(error, NegotiateError::Reach(ReachError::Banned)), "{error:?}");
    let error = world.client.run(&agreement, order(1)).await.unwrap_err();
    assert!(matches!(error, JobError::Reach(ReachError::Banned)), "{error:?}");
    let error = world.client_node.pull_offers(&provider, super::world::MODEL).await.unwrap_err();
    assert!(matches!(error, ReachError::Banned), "{error:?}");
}

#[tokio::test]
async fn a_second_job_uses_the_same_agreement_and_channel() {
    let world = World::new(Answer::of(20)).await;
    let agreement = world.agree().await;
    for _ in 0..2 {
        let (_, error) = drain(&mut world.run(&agreement, 20).await).await;
        assert!(error.is_none(), "{error:?}");
        world.ended().await;
    }
    let twice = Amount::from_nano(cost(20).nano() * 2);
    assert_eq!(world.payee.balance(&agreement.terms().channel), (twice, twice));
    assert_eq!(world.payer.agreements().len(), 1);
}

#[tokio::test]
async fn jobs_side_by_side_share_one_channel_without_a_gap() {
    let world = World::new(Answer::of(64)).await;
    let agreement = world.agree().await;
    let mut handles = Vec::new();
    for _ in 0..8 {
        handles.push(world.run(&agreement, 64).await);
    }
    let drained = futures::future::join_all(handles.iter_mut().map(drain)).await;
    for (_, error) in drained {
        assert!(error.is_none(), "{error:?}");
    }
    for _ in 0..8 {
        world.ended().await;
    }
    let all = Amount::from_nano(cost(64).nano() * 8);
    assert_eq!(world.payee.balance(&agreement.terms().channel), (all, all));
}

#[tokio::test]
async fn the_order_limits_the_answer() {
    let world = World::new(Answer::of(100)).await;
    let agreement = world.agree().await;
    let (events, error) = drain(&mut world.run(&agreement, 5).await).await;
    assert!(error.is_none(), "{error:?}");
    assert!(matches!(events.last(), Some(JobEvent::Done { reason: FinishReason::Length, paid, .. }) if *paid == cost(5)));
}

#[tokio::test]
async fn a_cancelled_job_is_paid_up_to_where_it_came() {
    let world = World::new(Answer { pace: Duration::from_millis(1), ..Answer::of(100_000) }).await;
    let agreement = world.agree().await;
    let mut handle = world.run(&agreement, 100_000).await;
    for _ in 0..3 {
        assert!(matches!(handle.next().await, Some(Ok(_))));
    }
    handle.cancel();
    let (events, error) = drain(&mut handle).await;
    assert!(error.is_none(), "{error:?}");
    let Some(JobEvent::Done { reason: FinishReason::Cancelled, usage, paid }) = events.last() else { panic!("{events:?}") };
    assert_eq!(*paid, cost(usage.output_tokens));
    world.ended().await;
    assert_eq!(world.payee.balance(&agreement.terms().channel), (*paid, *paid));
}

#[tokio::test]
async fn a_handle_that_is_dropped_cancels_its_job() {
    let world = World::new(Answer { pace: Duration::from_millis(1), ..Answer::of(100_000) }).await;
    let agreement = world.agree().await;
    let mut handle = world.run(&agreement, 100_000).await;
    assert!(matches!(handle.next().await, Some(Ok(JobEvent::Chunk(_)))));
    drop(handle);
    assert_eq!(world.ended().await, JobEnd::Finished(FinishReason::Cancelled));
}

#[tokio::test]
async fn a_provider_lost_in_the_middle_names_what_was_paid_and_received() {
    let world = World::new(Answer { pace: Duration::from_millis(1), ..Answer::of(100_000) }).await;
    let agreement = world.agree().await;
    let mut handle = world.run(&agreement, 100_000).await;
    let (mut chunks, mut paid) = (0u64, Amount::ZERO);
    while let Some(event) = handle.next().await {
        match event.unwrap() {
            JobEvent::Chunk(_) => chunks += 1,
            JobEvent::Receipted { receipt, .. } => paid = paid.checked_add(receipt.receipt.body.amount).unwrap(),
            JobEvent::Vectors(_) | JobEvent::Done { .. } => panic!("it cannot be done"),
        }
        if chunks == 40 {
            break;
        }
    }
    world.provider_node.shutdown().await;
    let (events, error) = drain(&mut handle).await;
    for event in events {
        match event {
            JobEvent::Chunk(_) => chunks += 1,
            JobEvent::Receipted { receipt, .. } => paid = paid.checked_add(receipt.receipt.body.amount).unwrap(),
            JobEvent::Vectors(_) | JobEvent::Done { .. } => panic!("it cannot be done"),
        }
    }
    let Some(JobError::ProviderLost { paid: named, received_tokens, .. }) = error else { panic!("{error:?}") };
    assert_eq!((named, received_tokens), (paid, chunks));
    assert!(!paid.is_zero());
}

#[tokio::test]
async fn an_executor_that_fails_stops_the_job_with_a_reason() {
    for stumble in [Stumble::FailAfter(20), Stumble::VanishAfter(20)] {
        let world = World::new(Answer { stumble, ..Answer::of(100) }).await;
        let agreement = world.agree().await;
        let (events, error) = drain(&mut world.run(&agreement, 100).await).await;
        let Some(JobError::Stopped { reason: StopReason::Internal, progress }) = error else { panic!("{error:?}") };
        assert_eq!(progress.received_tokens, 20);
        // One slice was receipted, and paid even if its voucher came after the end; the rest is the provider's loss.
        assert_eq!(progress.paid, cost(16));
        assert_eq!(world.ended().await, JobEnd::Stopped(StopReason::Internal));
        assert_eq!(world.payee.balance(&agreement.terms().channel), (cost(16), cost(16)));
        assert_eq!(text_of(&events).split_whitespace().count(), 20);
    }
}

#[tokio::test]
async fn a_final_receipt_that_is_refused_is_told_with_its_reason() {
    use cocoon_market::agreement::Refusal;
    // Fewer tokens than a slice has, so that the only receipt is the final one.
    let world = World::new(Answer { stumble: Stumble::HangAfter(5), ..Answer::of(100) }).await;
    let agreement = world.agree().await;
    let mut handle = world.run(&agreement, 100).await;
    for _ in 0..5 {
        assert!(matches!(handle.next().await, Some(Ok(JobEvent::Chunk(_)))));
    }
    world.payee.refuse(Some(Refusal::Unavailable));
    handle.cancel();
    let (_, error) = drain(&mut handle).await;
    let refused = StopReason::Refused(Refusal::Unavailable);
    assert!(matches!(&error, Some(JobError::Stopped { reason, progress }) if *reason == refused && progress.paid.is_zero()), "{error:?}");
    assert_eq!(world.ended().await, JobEnd::Stopped(refused));
}

#[tokio::test]
async fn a_voucher_that_does_not_fit_stops_the_job() {
    for fault in [PayerFault::Underpays, PayerFault::MisSigns] {
        let world = World::new(Answer::of(100)).await;
        let agreement = world.agree().await;
        world.payer.misbehave(fault);
        let (_, error) = drain(&mut world.run(&agreement, 100).await).await;
        // Banned at once: the word of it may or may not arrive before the connection is cut.
        assert!(
            matches!(error, Some(JobError::Stopped { reason: StopReason::BadVoucher, .. } | JobError::ProviderLost { .. })),
            "{error:?}"
        );
        world.ended().await;
        assert!(world.payee.vouchers(&agreement.terms().channel).is_empty());
    }
}

#[tokio::test]
async fn a_provider_that_shuts_down_finishes_or_stops_its_jobs() {
    let slow = Answer { pace: Duration::from_millis(2), ..Answer::of(60) };
    let world = World::new(slow).await;
    let agreement = world.agree().await;
    let mut handle = world.run(&agreement, 60).await;
    assert!(matches!(handle.next().await, Some(Ok(JobEvent::Chunk(_)))));
    let ((), (events, error)) = futures::join!(world.provider.shutdown(Shutdown::Finish), drain(&mut handle));
    assert!(error.is_none(), "{error:?}");
    assert!(matches!(events.last(), Some(JobEvent::Done { reason: FinishReason::Stop, .. })));

    let world = World::new(Answer { tokens: 100_000, ..slow }).await;
    let agreement = world.agree().await;
    let mut handle = world.run(&agreement, 100_000).await;
    assert!(matches!(handle.next().await, Some(Ok(JobEvent::Chunk(_)))));
    let ((), (_, error)) = futures::join!(world.provider.shutdown(Shutdown::Stop), drain(&mut handle));
    assert!(matches!(error, Some(JobError::Stopped { reason: StopReason::Shutdown, .. })), "{error:?}");
}

#[tokio::test]
async fn an_order_that_breaks_a_bound_never_leaves() {
    let world = World::new(Answer::of(1)).await;
    let agreement = world.agree().await;
    let error = world.client.run(&agreement, order(0)).await.unwrap_err();
    assert!(matches!(error, JobError::Order(_)), "{error:?}");
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_costs_nothing() {
    use cocoon_p2p::ReachError;
    let world = World::new(Answer::of(1)).await;
    let agreement = world.agree().await;
    world.provider_node.shutdown().await;
    let error = world.client.run(&agreement, order(1)).await.unwrap_err();
    assert!(matches!(error, JobError::Reach(ReachError::Unreachable | ReachError::Lost)), "{error:?}");
    assert!(error.progress().paid.is_zero() && error.elsewhere());
}

#[tokio::test]
async fn an_agreement_is_found_again_after_the_provider_service_restarted() {
    use cocoon_p2p::testing::{MockExecutor, listing};
    use cocoon_p2p::{Provider, ProviderConfig};
    let world = World::new(Answer::of(10)).await;
    let agreement = world.agree().await;
    world.provider.shutdown(Shutdown::Finish).await;
    let executor = std::sync::Arc::new(MockExecutor::new(super::world::spawner(), Answer::of(10)));
    let sells = ProviderConfig::new(vec![listing(super::world::MODEL, PRICE)]);
    let (node, key) = (world.provider_node.clone(), world.provider_key.clone());
    let _provider = Provider::spawn(node, key, sells, world.payee.clone(), executor).await.unwrap();
    let (_, error) = drain(&mut world.run(&agreement, 10).await).await;
    assert!(error.is_none(), "{error:?}");
}

#[tokio::test]
async fn a_provider_whose_books_are_older_than_the_requesters_numbers_no_receipt_twice() {
    use cocoon_p2p::payment::Payee as _;
    use cocoon_p2p::testing::{MockExecutor, MockPayee, listing};
    use cocoon_p2p::{Provider, ProviderConfig};
    let world = World::new(Answer::of(10)).await;
    let agreement = world.agree().await;
    let (_, error) = drain(&mut world.run(&agreement, 10).await).await;
    assert!(error.is_none(), "{error:?}");
    world.provider.shutdown(Shutdown::Finish).await;

    // Its books of before that job.
    let older = std::sync::Arc::new(MockPayee::new(world.provider_key.clone(), world.provider_node.clock().clone()));
    older.agreed(&agreement).await.unwrap();
    let slow = Answer { pace: Duration::from_millis(2), ..Answer::of(60) };
    let executor = std::sync::Arc::new(MockExecutor::new(super::world::spawner(), slow));
    let sells = ProviderConfig::new(vec![listing(super::world::MODEL, PRICE)]);
    let (node, key) = (world.provider_node.clone(), world.provider_key.clone());
    let _provider = Provider::spawn(node, key, sells, older.clone(), executor).await.unwrap();
    let (_, error) = drain(&mut world.run(&agreement, 60).await).await;
    assert!(error.is_some(), "the job does not go on");
    assert!(older.receipts(&agreement.terms().channel).is_empty());
}

#[tokio::test]
async fn an_agreement_serves_no_other_peer() {
    use cocoon_market::agreement::Refusal;
    use cocoon_p2p::Client;
    let world = World::new(Answer::of(10)).await;
    let agreement = world.agree().await;
    let stranger = super::world::node(41);
    super::world::connect(&stranger, &world.provider_node).await;
    let client = Client::new(stranger.clone(), world.client_key.clone(), world.payer.clone());
    let (_, error) = drain(&mut client.run(&agreement, order(10)).await.unwrap()).await;
    let refused = StopReason::Refused(Refusal::Unknown);
    assert!(matches!(error, Some(JobError::Stopped { ref reason, .. }) if *reason == refused), "{error:?}");
    assert!(stranger.experience().await.unwrap().is_empty(), "a plain refusal says nothing about a provider");
}

#[tokio::test]
async fn more_jobs_than_agreed_and_a_job_named_twice_are_refused() {
    use cocoon_market::JobId;
    use cocoon_market::agreement::Refusal;
    use cocoon_p2p::{DealWishes, GenerateOrder};
    let world = World::new(Answer { pace: Duration::from_millis(2), ..Answer::of(100_000) }).await;
    let wishes = DealWishes { jobs_max: 2, ..DealWishes::new(cost(100_000)) };
    let agreement = world.client.negotiate(&world.offer().await, wishes).await.unwrap();
    let named = || GenerateOrder { job: Some(JobId([5; 16])), ..order(100_000) };
    let mut first = world.client.run(&agreement, named()).await.unwrap();
    assert!(matches!(first.next().await, Some(Ok(JobEvent::Chunk(_)))));
    let (_, error) = drain(&mut world.client.run(&agreement, named()).await.unwrap()).await;
    let busy = |running| StopReason::Refused(Refusal::Busy { running });
    assert!(matches!(error, Some(JobError::Stopped { ref reason, .. }) if *reason == busy(1)), "{error:?}");
    let mut second = world.run(&agreement, 100_000).await;
    assert!(matches!(second.next().await, Some(Ok(JobEvent::Chunk(_)))));
    let (_, error) = drain(&mut world.run(&agreement, 5).await).await;
    assert!(matches!(error, Some(JobError::Stopped { ref reason, .. }) if *reason == busy(2)), "{error:?}");
}

#[tokio::test]
async fn more_streams_than_a_peer_may_open_are_reset() {
    use super::world::{config, node, node_with};
    use cocoon_p2p::NodeConfig;
    use cocoon_p2p::node::Limits;
    let limits = Limits { job_streams_per_peer: 1, ..Limits::default() };
    let slow = Answer { pace: Duration::from_millis(2), ..Answer::of(100_000) };
    let world = World::on(node_with(1, NodeConfig { limits, ..config() }), node(2), slow).await;
    let agreement = world.agree().await;
    let mut first = world.run(&agreement, 100_000).await;
    assert!(matches!(first.next().await, Some(Ok(JobEvent::Chunk(_)))));
    let second = world.client.run(&agreement, order(5)).await;
    let error = match second {
        Ok(mut handle) => drain(&mut handle).await.1,
        Err(error) => Some(error),
    };
    assert!(matches!(error, Some(JobError::ProviderLost { .. } | JobError::Reach(_))), "{error:?}");
    assert!(matches!(first.next().await, Some(Ok(_))));
}

#[tokio::test]
async fn the_cap_ends_the_answer_and_then_the_agreement() {
    use cocoon_market::agreement::Refusal;
    use cocoon_p2p::DealWishes;
    let world = World::new(Answer::of(100)).await;
    let agreement = world.client.negotiate(&world.offer().await, DealWishes::new(cost(30))).await.unwrap();
    let (events, error) = drain(&mut world.run(&agreement, 100).await).await;
    assert!(error.is_none(), "{error:?}");
    assert!(matches!(events.last(), Some(JobEvent::Done { reason: FinishReason::Length, paid, .. }) if *paid == cost(30)));
    let (_, error) = drain(&mut world.run(&agreement, 100).await).await;
    assert!(matches!(error, Some(JobError::Stopped { reason: StopReason::CapTooSmall { .. }, .. })), "{error:?}");
    world.payee.refuse(Some(Refusal::ChainOutOfSight));
    let (_, error) = drain(&mut world.run(&agreement, 100).await).await;
    let refused = StopReason::Refused(Refusal::ChainOutOfSight);
    assert!(matches!(error, Some(JobError::Stopped { reason, .. }) if reason == refused));
}
