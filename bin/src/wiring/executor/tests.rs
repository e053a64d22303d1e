use cocoon_market::job::{Embed, Generate, Prompt as Ask, Sampling, Vector};
use cocoon_market::{AgreementId, FinishReason, Usage, WorkKind};
use cocoon_runtime::{Device, Embedder, Gguf, Model, tiny};
use futures::StreamExt as _;

use super::*;

mod failing;

const MODEL: ModelId = ModelId([7; 32]);

const VECTORS: ModelId = ModelId([6; 32]);

/// Four jobs together, eight waiting.
const LIMITS: ServingLimits = ServingLimits { jobs: 4, waiting: 8, rows: 256, cache_bytes: 1 << 30, reuse: true };

fn executor() -> ModelExecutor {
    executor_with(LIMITS)
}

fn executor_with(limits: ServingLimits) -> ModelExecutor {
    let models = [(MODEL, Loaded::Text(Arc::new(llama()))), (VECTORS, Loaded::Vectors(Arc::new(bert())))];
    // Nothing loses these models, and no file has them.
    let nowhere: Arc<dyn Reload> = Arc::new(std::path::PathBuf::new());
    ModelExecutor::new(models.map(|(id, model)| (id, model, Arc::clone(&nowhere))), limits).unwrap().0
}

fn llama() -> Model {
    Model::from_gguf(&Gguf::from_bytes(tiny::tiny_llama(1)).unwrap(), &Device::cpu()).unwrap()
}

fn bert() -> Embedder {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in tiny::tiny_bert(1) {
        std::fs::write(dir.path().join(path), bytes).unwrap();
    }
    Embedder::open(dir.path(), &Device::cpu()).unwrap()
}

fn embed(texts: &[String]) -> JobRequest {
    JobRequest { work: Work::Embed(Embed { texts: texts.to_vec() }), ..request("", 1) }
}

/// Texts of many lengths, which fill several passes.
fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("bee{}", "s dance".repeat(n % 9))).collect()
}

async fn made(executor: &ModelExecutor, texts: &[String]) -> Vec<ExecutionEvent> {
    executor.start(VECTORS, embed(texts)).await.unwrap().events.collect().await
}

fn vectors_of(events: &[ExecutionEvent]) -> Vec<Vector> {
    events.iter().flat_map(|event| if let ExecutionEvent::Vectors { vectors, .. } = event { vectors.clone() } else { vec![] }).collect()
}

fn own_vectors(texts: &[String]) -> Vec<Vector> {
    let found = bert().embed(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    found.iter().map(|embedding| Vector::new(&embedding.vector)).collect()
}

fn request(prompt: &str, output_tokens_max: u32) -> JobRequest {
    JobRequest { agreement: AgreementId([1; 32]), job: JobId([2; 16]), work: Work::Generate(generate(prompt, output_tokens_max)) }
}

fn generate(prompt: &str, output_tokens_max: u32) -> Generate {
    Generate { prompt: Ask::Raw(prompt.to_owned()), output_tokens_max, sampling: Sampling::GREEDY, stop: Vec::new(), seed: [3; 32] }
}

async fn events(executor: &ModelExecutor, request: JobRequest) -> Vec<ExecutionEvent> {
    executor.start(MODEL, request).await.unwrap().events.collect().await
}

#[tokio::test]
async fn a_job_reads_then_writes_then_ends_and_usage_only_grows() {
    let events = events(&executor(), request("once upon a time", 20)).await;
    let usages: Vec<Usage> = events
        .iter()
        .skip(1)
        .map(|event| match event {
            ExecutionEvent::InputRead { .. } | ExecutionEvent::Vectors { .. } => panic!("{event:?}"),
            ExecutionEvent::Tokens { usage, .. } | ExecutionEvent::Finished { usage, .. } => *usage,
            ExecutionEvent::Failed(reason) => panic!("{reason}"),
        })
        .collect();
    assert!(usages.windows(2).all(|pair| pair[1].covers(pair[0])), "{usages:?}");
    assert!(matches!(events.first(), Some(ExecutionEvent::InputRead { input_tokens, .. }) if *input_tokens > 0));
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
    let StopReason::Refused(Refusal::Busy { running }) = refused else { panic!("{refused:?}") };
    assert!(usize::from(running) >= LIMITS.waiting && executor.inside(MODEL) >= LIMITS.waiting, "{running}");
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
    assert_eq!(
        last(JobRequest { work: Work::Generate(Generate { sampling: hot, ..generate("hello", 5) }), ..request("hello", 5) }).await,
        ExecutionEvent::Failed(StopReason::Malformed)
    );
    let foreign = executor.start(ModelId([8; 32]), request("hello", 5)).await.unwrap_err();
    assert_eq!(foreign, StopReason::Refused(Refusal::UnknownOffer));
}

#[tokio::test]
async fn what_could_never_fit_is_refused_with_the_figures() {
    // Four pages of 32 positions, 13 KiB each.
    let executor = executor_with(ServingLimits { cache_bytes: 1 << 16, ..LIMITS });
    let last = async |tokens| events(&executor, request("a", tokens)).await.pop().unwrap();
    assert!(matches!(last(128).await, ExecutionEvent::Finished { usage, .. } if usage.output_tokens == 128));
    let refused = StopReason::MemoryExceeded {
        prompt_tokens: 1,
        answer_tokens: 129,
        tokens_max: 129,
        needed_bytes: (5 * 13) << 10,
        available_bytes: (4 * 13) << 10,
    };
    assert_eq!(last(129).await, ExecutionEvent::Failed(refused));
}

#[tokio::test]
async fn many_jobs_run_at_once_and_a_reader_who_stalls_holds_up_no_other() {
    let executor = executor();
    let mut stalled = executor.start(MODEL, request("hello", 1500)).await.unwrap();
    assert!(matches!(stalled.events.next().await, Some(ExecutionEvent::InputRead { .. })));
    let others: Vec<_> = (0..5).map(|at| events(&executor, request(&"word ".repeat(at + 1), 40))).collect();
    for events in futures::future::join_all(others).await {
        assert!(matches!(events.last(), Some(ExecutionEvent::Finished { usage, .. }) if usage.output_tokens == 40));
    }
    let rest: Vec<_> = stalled.events.collect().await;
    assert!(matches!(rest.last(), Some(ExecutionEvent::Finished { usage, .. }) if usage.output_tokens == 1500));
}

#[tokio::test]
async fn texts_are_read_then_given_in_order_and_metered_one_by_one() {
    let texts = texts(100);
    let events = made(&executor(), &texts).await;
    assert_eq!(vectors_of(&events), own_vectors(&texts));
    let read = bert().encode(&texts).unwrap();
    let tokens: u64 = read.iter().map(|text| text.ids.len() as u64).sum();
    let ids: Vec<_> = read.iter().flat_map(|text| text.ids.clone()).collect();
    let input = cocoon_market::ids::Digest(cocoon_runtime::commitment::commit_input(&ids));
    assert_eq!(events[0], ExecutionEvent::InputRead { input_tokens: tokens, input });
    let usage = Usage { input_tokens: tokens, output_tokens: 0 };
    assert_eq!(events.last(), Some(&ExecutionEvent::Finished { reason: FinishReason::Stop, usage }));
    let (mut so_far, mut given) = (0, 0);
    for event in &events[1..events.len() - 1] {
        let ExecutionEvent::Vectors { vectors, usage } = event else { panic!("{event:?}") };
        so_far += read[given..given + vectors.len()].iter().map(|text| text.ids.len() as u64).sum::<u64>();
        given += vectors.len();
        assert_eq!(*usage, Usage { input_tokens: so_far, output_tokens: 0 });
    }
    assert!(events.len() > 4, "several passes");
}

#[tokio::test]
async fn many_orders_share_passes_and_a_reader_who_stalls_holds_up_no_other() {
    let executor = executor();
    let mut stalled = executor.start(VECTORS, embed(&texts(2000))).await.unwrap();
    assert!(matches!(stalled.events.next().await, Some(ExecutionEvent::InputRead { .. })));
    let orders: Vec<Vec<String>> = (1..6).map(|n| texts(n * 20)).collect();
    let all = futures::future::join_all(orders.iter().map(|texts| made(&executor, texts))).await;
    for (texts, events) in orders.iter().zip(&all) {
        assert_eq!(vectors_of(events), own_vectors(texts), "what stands beside changes no bit");
    }
    let rest: Vec<_> = stalled.events.collect().await;
    assert_eq!(vectors_of(&rest).len(), 2000);
}

#[tokio::test]
async fn an_order_of_vectors_that_is_cancelled_or_left_makes_room() {
    let executor = executor();
    let mut execution = executor.start(VECTORS, embed(&texts(2000))).await.unwrap();
    assert!(execution.events.next().await.is_some());
    execution.cancel.cancel();
    let events: Vec<_> = execution.events.collect().await;
    assert!(matches!(events.last(), Some(ExecutionEvent::Finished { reason: FinishReason::Cancelled, .. })), "{:?}", events.last());
    assert!(vectors_of(&events).len() < 2000);
    drop(executor.start(VECTORS, embed(&texts(2000))).await.unwrap());
    assert_eq!(vectors_of(&made(&executor, &texts(3)).await).len(), 3);
}

#[tokio::test]
async fn orders_that_do_not_fit_the_model_are_told_apart() {
    let executor = executor();
    let other = StopReason::Refused(Refusal::OtherWork { serves: WorkKind::Embed });
    assert_eq!(executor.start(VECTORS, request("hello", 5)).await.unwrap_err(), other);
    let other = StopReason::Refused(Refusal::OtherWork { serves: WorkKind::Generate });
    assert_eq!(executor.start(MODEL, embed(&texts(1))).await.unwrap_err(), other);
    assert_eq!(executor.start(VECTORS, embed(&[])).await.unwrap_err(), StopReason::Malformed);
    let long = "word ".repeat(100);
    let events = made(&executor, &["short".into(), long]).await;
    assert_eq!(events, [ExecutionEvent::Failed(StopReason::TextTooLong { index: 1, tokens: 402, context: 256 })]);
}
