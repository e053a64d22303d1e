use cocoon_market::AgreementId;
use cocoon_market::job::Prompt as Ask;
use cocoon_runtime::{Device, Gguf, tiny};
use futures::StreamExt as _;

use super::*;

const MODEL: ModelId = ModelId([7; 32]);

fn executor() -> ModelExecutor {
    let model = Model::from_gguf(&Gguf::from_bytes(tiny::tiny_llama(1)).unwrap(), &Device::cpu()).unwrap();
    ModelExecutor::new([(MODEL, Arc::new(model))]).unwrap()
}

fn request(prompt: &str, output_tokens_max: u32) -> JobRequest {
    JobRequest {
        agreement: AgreementId([1; 32]),
        job: JobId([2; 16]),
        prompt: Ask::Raw(prompt.to_owned()),
        output_tokens_max,
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        seed: [3; 32],
    }
}

async fn events(executor: &ModelExecutor, request: JobRequest) -> Vec<ExecutionEvent> {
    executor.start(MODEL, request).await.unwrap().events.collect().await
}

#[tokio::test]
async fn a_job_reads_then_writes_then_ends_and_usage_only_grows() {
    let events = events(&executor(), request("once upon a time", 20)).await;
    let usages: Vec<Usage> = events
        .iter()
        .map(|event| match event {
            ExecutionEvent::Prefilled { usage, .. } | ExecutionEvent::Tokens { usage, .. } | ExecutionEvent::Finished { usage, .. } => {
                *usage
            }
            ExecutionEvent::Failed(reason) => panic!("{reason}"),
        })
        .collect();
    assert!(usages.windows(2).all(|pair| pair[1].covers(pair[0])), "{usages:?}");
    assert!(matches!(events.first(), Some(ExecutionEvent::Prefilled { usage, .. }) if usage.input_tokens > 0));
    assert!(matches!(events.last(), Some(ExecutionEvent::Finished { reason: FinishReason::Length, usage }) if usage.output_tokens == 20));
    let tokens: usize = events.iter().map(|event| if let ExecutionEvent::Tokens { tokens, .. } = event { tokens.len() } else { 0 }).sum();
    assert_eq!(tokens, 20, "every metered token was sent");
}

#[tokio::test]
async fn a_reader_who_waits_gets_gathered_tokens_and_misses_none() {
    let execution = executor().start(MODEL, request("hello", 1000)).await;
    let events: Vec<_> = execution
        .unwrap()
        .events
        .then(|event| async {
            tokio::task::yield_now().await;
            event
        })
        .collect()
        .await;
    let tokens: usize = events.iter().map(|event| if let ExecutionEvent::Tokens { tokens, .. } = event { tokens.len() } else { 0 }).sum();
    assert_eq!(tokens, 1000);
}

#[tokio::test]
async fn a_cancelled_job_ends_early_and_the_next_one_runs() {
    let executor = executor();
    let mut execution = executor.start(MODEL, request("hello", 2000)).await.unwrap();
    assert!(execution.events.next().await.is_some());
    execution.cancel.cancel();
    let last = execution.events.collect::<Vec<_>>().await.pop();
    assert!(matches!(last, Some(ExecutionEvent::Finished { reason: FinishReason::Cancelled, .. })), "{last:?}");
    assert!(matches!(events(&executor, request("hello", 3)).await.last(), Some(ExecutionEvent::Finished { .. })));
}

#[tokio::test]
async fn a_job_nobody_listens_to_makes_room() {
    let executor = executor();
    drop(executor.start(MODEL, request("hello", 2000)).await.unwrap());
    assert!(matches!(events(&executor, request("hello", 3)).await.last(), Some(ExecutionEvent::Finished { .. })));
}

#[tokio::test]
async fn more_jobs_than_the_queue_holds_are_refused_as_busy() {
    let executor = executor();
    let mut held = Vec::new();
    let refused = loop {
        match executor.start(MODEL, request("hello", 2000)).await {
            Ok(execution) => held.push(execution),
            Err(reason) => break reason,
        }
    };
    assert!(matches!(refused, StopReason::Refused(Refusal::Busy { running }) if usize::from(running) >= QUEUE_MAX), "{refused:?}");
    assert!(executor.inside(MODEL) >= QUEUE_MAX);
    drop(held);
}

#[tokio::test]
async fn impossible_orders_are_told_apart() {
    let executor = executor();
    let last = async |request| events(&executor, request).await.pop().unwrap();
    let long = last(request(&"word ".repeat(5000), 5)).await;
    assert!(matches!(long, ExecutionEvent::Failed(StopReason::ContextExceeded { context: 2048, .. })), "{long:?}");
    assert_eq!(last(request("", 5)).await, ExecutionEvent::Failed(StopReason::Malformed));
    let hot = Sampling { temperature_milli: 9000, ..Sampling::GREEDY };
    assert_eq!(last(JobRequest { sampling: hot, ..request("hello", 5) }).await, ExecutionEvent::Failed(StopReason::Malformed));
    let foreign = executor.start(ModelId([8; 32]), request("hello", 5)).await.unwrap_err();
    assert_eq!(foreign, StopReason::Refused(Refusal::UnknownOffer));
}

#[tokio::test]
async fn many_jobs_run_at_once_and_a_reader_who_stalls_holds_up_no_other() {
    let executor = executor();
    let mut stalled = executor.start(MODEL, request("hello", 1500)).await.unwrap();
    assert!(matches!(stalled.events.next().await, Some(ExecutionEvent::Prefilled { .. })));
    let others: Vec<_> = (0..5).map(|at| events(&executor, request(&"word ".repeat(at + 1), 40))).collect();
    for events in futures::future::join_all(others).await {
        assert!(matches!(events.last(), Some(ExecutionEvent::Finished { usage, .. }) if usage.output_tokens == 40));
    }
    let rest: Vec<_> = stalled.events.collect().await;
    assert!(matches!(rest.last(), Some(ExecutionEvent::Finished { usage, .. }) if usage.output_tokens == 1500));
}
