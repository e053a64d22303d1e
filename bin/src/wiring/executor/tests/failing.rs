//! Devices that fail: what becomes of jobs, of the model, and of its neighbours.

use std::sync::Mutex;
use std::time::Duration;

use cocoon_runtime::testing::{Gate, LostAt, RoomFor};
use cocoon_runtime::{EngineError, LoadError};

use super::*;

/// No waiting, and three tries however long the test takes.
const IMPATIENT: Patience = Patience { wait: Duration::ZERO, wait_max: Duration::ZERO, tries_max: 3, period: Duration::from_secs(3600) };

/// What loading the model again comes to, time after time; when nothing is left, it fails.
#[derive(Debug, Default)]
struct Again(Mutex<Vec<Loaded>>);

impl Again {
    fn new(models: impl IntoIterator<Item = Loaded>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(models.into_iter().collect())))
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Reload for Again {
    fn reload(&self, _: &Device) -> Result<Loaded, LoadError> {
        let mut models = self.0.lock().unwrap();
        if models.is_empty() { Err(LoadError::Engine(EngineError::OutOfMemory)) } else { Ok(models.remove(0)) }
    }
}

fn text(gate: Arc<dyn Gate>) -> Loaded {
    Loaded::Text(Arc::new(llama().behind(gate)))
}

fn vectors(gate: Arc<dyn Gate>) -> Loaded {
    Loaded::Vectors(Arc::new(bert().behind(gate)))
}

fn sound() -> Arc<dyn Gate> {
    LostAt::new(u64::MAX)
}

fn executor_of(models: Vec<(ModelId, Loaded, Arc<Again>)>) -> ModelExecutor {
    told(models).0
}

/// As [`executor_of`], and what it tells of models that are given up.
fn told(models: Vec<(ModelId, Loaded, Arc<Again>)>) -> (ModelExecutor, GivenUp) {
    let models = models.into_iter().map(|(id, model, again)| (id, model, again as Arc<dyn Reload>));
    ModelExecutor::with_patience(models, LIMITS, IMPATIENT).unwrap()
}

fn health(executor: &ModelExecutor, model: ModelId) -> Vec<Health> {
    executor.lanes[&model].iter().map(|lane| lane.shared.health()).collect()
}

/// Waits until every copy is in that state. They come to it by themselves.
async fn until(executor: &ModelExecutor, model: ModelId, wanted: Health) {
    while health(executor, model).iter().any(|health| *health != wanted) {
        tokio::task::yield_now().await;
    }
}

fn finished(events: &[ExecutionEvent]) -> bool {
    matches!(events.last(), Some(ExecutionEvent::Finished { .. }))
}

const UNAVAILABLE: StopReason = StopReason::Refused(Refusal::Unavailable);

#[tokio::test]
async fn a_lost_device_ends_its_jobs_and_the_next_one_is_served_by_the_model_loaded_again() {
    let again = Again::new([text(sound())]);
    let neighbour = Again::new([]);
    let executor =
        executor_of(vec![(MODEL, text(LostAt::new(5)), Arc::clone(&again)), (VECTORS, vectors(sound()), Arc::clone(&neighbour))]);
    let running = executor.start(MODEL, request("hello", 100)).await.unwrap().events.collect::<Vec<_>>().await;
    assert_eq!(running.last(), Some(&ExecutionEvent::Failed(StopReason::Internal)));
    assert!(running.len() > 2, "it had begun to write");
    let next = events(&executor, request("hello", 20)).await;
    assert!(finished(&next), "{next:?}");
    assert_eq!((again.left(), executor.inside(MODEL)), (0, 0));
    assert_eq!(health(&executor, VECTORS), [Health::Serving]);
    assert_eq!(vectors_of(&made(&executor, &texts(3)).await), own_vectors(&texts(3)), "the other model has not noticed");
}

#[tokio::test]
async fn jobs_that_had_not_begun_are_refused_and_not_failed() {
    let executor = executor_of(vec![(MODEL, text(LostAt::new(0)), Again::new([text(sound())]))]);
    let mut jobs = Vec::new();
    for _ in 0..LIMITS.jobs + 4 {
        jobs.push(executor.start(MODEL, request("hello", 4)).await.unwrap().events);
    }
    let mut ends = Vec::new();
    for job in jobs {
        ends.push(job.collect::<Vec<_>>().await.pop().unwrap());
    }
    let failed = ends.iter().filter(|end| **end == ExecutionEvent::Failed(StopReason::Internal)).count();
    assert!((1..=LIMITS.jobs).contains(&failed), "those of the first pass: {failed}");
    let others = ends.iter().filter(|end| **end != ExecutionEvent::Failed(StopReason::Internal));
    assert!(others.clone().count() > 0);
    // Whoever came before the device was lost is refused; whoever came after it waited, and is served.
    others.for_each(|end| assert!(matches!(end, ExecutionEvent::Failed(UNAVAILABLE) | ExecutionEvent::Finished { .. }), "{end:?}"));
}

#[tokio::test]
async fn a_device_that_is_lost_again_and_again_is_given_up_and_refuses() {
    let lost = || text(LostAt::new(0));
    let again = Again::new([lost(), lost(), lost(), lost()]);
    let executor = executor_of(vec![(MODEL, lost(), Arc::clone(&again))]);
    for _ in 0..3 {
        assert_eq!(events(&executor, request("hello", 5)).await.pop(), Some(ExecutionEvent::Failed(StopReason::Internal)));
        until(&executor, MODEL, Health::Serving).await;
    }
    assert_eq!(events(&executor, request("hello", 5)).await.pop(), Some(ExecutionEvent::Failed(StopReason::Internal)));
    until(&executor, MODEL, Health::GivenUp).await;
    assert_eq!(executor.start(MODEL, request("hello", 5)).await.unwrap_err(), UNAVAILABLE);
    assert_eq!(again.left(), 1, "three tries, and no fourth");
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_again_is_tried_so_often_and_no_more() {
    let (executor, mut given_up) = told(vec![(MODEL, text(LostAt::new(0)), Again::new([]))]);
    assert_eq!(events(&executor, request("hello", 5)).await.pop(), Some(ExecutionEvent::Failed(StopReason::Internal)));
    assert_eq!(given_up.next().await, Some(MODEL), "so that its offer is withdrawn");
    until(&executor, MODEL, Health::GivenUp).await;
    assert_eq!(executor.start(MODEL, request("hello", 5)).await.unwrap_err(), UNAVAILABLE);
}

#[tokio::test]
async fn of_several_copies_one_that_is_given_up_leaves_the_jobs_to_the_other() {
    let (executor, mut given_up) = told(vec![(MODEL, text(LostAt::new(0)), Again::new([])), (MODEL, text(sound()), Again::new([]))]);
    let first = events(&executor, request("hello", 5)).await;
    assert_eq!(first.last(), Some(&ExecutionEvent::Failed(StopReason::Internal)), "the first copy is as free as the second");
    while health(&executor, MODEL) != [Health::GivenUp, Health::Serving] {
        tokio::task::yield_now().await;
    }
    for _ in 0..4 {
        assert!(finished(&events(&executor, request("hello", 5)).await));
    }
    drop(executor);
    assert_eq!(given_up.next().await, None, "a model that one copy still serves is not told to be gone");
}

#[tokio::test]
async fn jobs_go_to_the_copy_that_has_the_fewest() {
    let executor = executor_of(vec![(MODEL, text(sound()), Again::new([])), (MODEL, text(sound()), Again::new([]))]);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(executor.start(MODEL, request("hello", 2000)).await.unwrap());
    }
    assert_eq!(executor.lanes[&MODEL].iter().map(Lane::inside).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(executor.inside(MODEL), 4);
}

/// Memory for so many tokens in a pass.
#[derive(Debug)]
struct TokensAtOnce(usize);

impl Gate for TokensAtOnce {
    fn pass(&self, tokens: usize, _: usize) -> Result<(), EngineError> {
        if tokens > self.0 { Err(EngineError::OutOfMemory) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_job_that_finds_no_memory_is_refused_and_those_beside_it_go_on() {
    let executor = executor_of(vec![(MODEL, text(Arc::new(TokensAtOnce(100))), Again::new([]))]);
    let small = executor.start(MODEL, request("hello", 60)).await.unwrap();
    let large = executor.start(MODEL, request(&"word ".repeat(300), 5)).await.unwrap();
    let (small, large): (Vec<_>, Vec<_>) = tokio::join!(small.events.collect(), large.events.collect());
    assert_eq!(large.last(), Some(&ExecutionEvent::Failed(UNAVAILABLE)));
    assert!(matches!(small.last(), Some(ExecutionEvent::Finished { usage, .. }) if usage.output_tokens == 60), "{:?}", small.last());
    assert!(finished(&events(&executor, request("hello", 5)).await), "the next one is served as ever");
}

#[tokio::test]
async fn vectors_know_the_same_failures() {
    let again = Again::new([vectors(Arc::new(RoomFor(2)))]);
    let executor = executor_of(vec![(VECTORS, vectors(LostAt::new(1)), Arc::clone(&again))]);
    let lost = made(&executor, &texts(600)).await;
    assert_eq!(lost.last(), Some(&ExecutionEvent::Failed(StopReason::Internal)));
    assert!(!vectors_of(&lost).is_empty(), "what was made before is given");
    assert_eq!(vectors_of(&made(&executor, &texts(5)).await), own_vectors(&texts(5)), "two at a time, as there is memory for no more");
    assert_eq!(again.left(), 0);
    let executor = executor_of(vec![(VECTORS, vectors(Arc::new(RoomFor(0))), Again::new([]))]);
    assert_eq!(made(&executor, &texts(2)).await.last(), Some(&ExecutionEvent::Failed(UNAVAILABLE)));
}
