//! Runs jobs for the provider service: one thread a model, one job at a time, first come first served.
//!
//! ```text
//! provider service --start--> queue (bounded) --> thread of the model --> events (bounded) --> provider service
//! ```
//!
//! Tokens go out one by one while the network keeps up. While it does not, they are gathered, and when too many are, the work
//! waits. A panic inside the model ends the job, never the node.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Instant;

use async_trait::async_trait;
use cocoon_market::ids::Digest;
use cocoon_market::job::{JobRequest, Sampling};
use cocoon_market::{FinishReason, JobId, ModelId, Refusal, StopReason, Usage};
use cocoon_p2p::execution::{CancelHandle, EXECUTION_EVENTS_MAX, Execution, ExecutionEvent, Executor};
use cocoon_runtime::generation::{self, GenerateError, Generation};
use cocoon_runtime::{Cancel, ChatMessage, Event, GenerationRequest, Model, Prompt, RequestError};
use futures::SinkExt as _;
use futures::channel::mpsc;
use futures::executor::block_on;

/// Jobs that may wait for one model. The provider's desk admits no more than its capacity at once; this bounds what slips through
/// while others end.
const QUEUE_MAX: usize = 32;

/// Tokens gathered while the network is busy; then the work waits. Well below the market's limit of a chunk.
const GATHERED_TOKENS_MAX: usize = 16;

/// Runs the jobs of all models that are served.
#[derive(Debug)]
pub struct ModelExecutor {
    lanes: BTreeMap<ModelId, Lane>,
}

/// The thread of one model.
#[derive(Debug)]
struct Lane {
    /// The thread ends when this is dropped and the queue is empty.
    orders: SyncSender<Order>,
    /// Jobs that wait or run.
    inside: Arc<AtomicUsize>,
}

/// A job on its way to a model.
struct Order {
    request: JobRequest,
    events: mpsc::Sender<ExecutionEvent>,
    cancel: Cancel,
}

impl ModelExecutor {
    /// Starts a thread for each model.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn new(models: impl IntoIterator<Item = (ModelId, Arc<Model>)>) -> io::Result<Self> {
        let lanes = models.into_iter().map(|(id, model)| Ok((id, Lane::start(id, model)?))).collect::<io::Result<_>>()?;
        Ok(Self { lanes })
    }

    /// Jobs that wait for a model or run on it.
    pub fn inside(&self, model: ModelId) -> usize {
        self.lanes.get(&model).map_or(0, |lane| lane.inside.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl Executor for ModelExecutor {
    async fn start(&self, model: ModelId, request: JobRequest) -> Result<Execution, StopReason> {
        let lane = self.lanes.get(&model).ok_or(StopReason::Refused(Refusal::UnknownOffer))?;
        lane.start_job(request)
    }
}

impl Lane {
    fn start(id: ModelId, model: Arc<Model>) -> io::Result<Self> {
        let (orders, queue) = sync_channel(QUEUE_MAX);
        let inside = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&inside);
        let run = move || serve(&model, &queue, &count);
        std::thread::Builder::new().name(format!("model-{}", id.short())).spawn(run)?;
        Ok(Self { orders, inside })
    }

    fn start_job(&self, request: JobRequest) -> Result<Execution, StopReason> {
        let (tx, events) = mpsc::channel(EXECUTION_EVENTS_MAX);
        let cancel = Cancel::default();
        let switch = cancel.clone();
        let job = request.job;
        let ahead = self.inside.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.orders.try_send(Order { request, events: tx, cancel }) {
            self.inside.fetch_sub(1, Ordering::Relaxed);
            return Err(match error {
                TrySendError::Full(_) => StopReason::Refused(Refusal::Busy { running: u16::try_from(ahead).unwrap_or(u16::MAX) }),
                // The thread ends only with the executor, or by a panic outside of any job.
                TrySendError::Disconnected(_) => StopReason::Internal,
            });
        }
        tracing::debug!(%job, ahead, "job queued");
        metrics::gauge!("swarm_jobs_inside").increment(1.0);
        Ok(Execution { events, cancel: CancelHandle::with_hook(move || switch.cancel()) })
    }
}

/// Serves the queue until nobody can add to it.
fn serve(model: &Model, queue: &Receiver<Order>, inside: &AtomicUsize) {
    while let Ok(order) = queue.recv() {
        let job = order.request.job;
        let started = Instant::now();
        // What a panic leaves half done is this job's own: the generation, which is dropped, and its event queue.
        let end = catch_unwind(AssertUnwindSafe(|| run(model, order)));
        if end.is_err() {
            tracing::error!(%job, "a job panicked inside the model");
        }
        inside.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("swarm_jobs_inside").decrement(1.0);
        metrics::histogram!("swarm_job_seconds").record(started.elapsed().as_secs_f64());
    }
}

/// Runs one job to its end, and says what that was.
fn run(model: &Model, order: Order) {
    let Order { request, events, cancel } = order;
    let job = request.job;
    let mut events = Events { tx: events, pending: None };
    if cancel.is_cancelled() {
        return events.end(ExecutionEvent::Finished { reason: FinishReason::Cancelled, usage: Usage::default() });
    }
    let mut guard = PanicGuard { tx: events.tx.clone(), armed: true };
    match attempt(model, request, &cancel, &mut events) {
        Ok(end) => events.end(end),
        Err(reason) => {
            tracing::info!(%job, %reason, "job failed");
            events.end(ExecutionEvent::Failed(reason));
        }
    }
    guard.armed = false;
}

/// Says that the job failed if a panic takes the thread out of it.
struct PanicGuard {
    tx: mpsc::Sender<ExecutionEvent>,
    armed: bool,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if self.armed {
            // A sender of its own has a place of its own in the queue, so this never waits.
            let _ = self.tx.try_send(ExecutionEvent::Failed(StopReason::Internal));
        }
    }
}

fn attempt(model: &Model, request: JobRequest, cancel: &Cancel, events: &mut Events) -> Result<ExecutionEvent, StopReason> {
    let job = request.job;
    let request = translate(request, cancel)?;
    let mut generation = model.start(&request).map_err(|error| refused(job, &error))?;
    let input = Digest(generation.input_commitment());
    let input_tokens = generation.input_tokens();
    // Before the model reads the prompt, so that a cap which does not pay for reading ends the job here.
    events.put(ExecutionEvent::Prefilled { usage: Usage { input_tokens, output_tokens: 0 }, input }, cancel);
    let started = Instant::now();
    let mut is_first = true;
    loop {
        let event = next(&mut generation, job)?;
        if std::mem::take(&mut is_first) {
            metrics::histogram!("swarm_first_token_ms").record(started.elapsed().as_secs_f64() * 1000.0);
        }
        match event {
            Event::Token(token) => events.token(token.id, &token.text, token.usage, cancel),
            Event::Finished(finish) => {
                events.text(finish.text, finish.usage);
                record_speed(finish.usage, started);
                return Ok(ExecutionEvent::Finished { reason: reason(finish.reason), usage: finish.usage });
            }
        }
    }
}

fn next(generation: &mut Generation<'_>, job: JobId) -> Result<Event, StopReason> {
    match generation.next() {
        Some(Ok(event)) => Ok(event),
        Some(Err(error)) => Err(failed(job, &error)),
        // A generation ends with `Finished`, after which it is not asked again.
        None => Err(StopReason::Internal),
    }
}

fn record_speed(usage: Usage, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    metrics::counter!("swarm_tokens_total", "kind" => "input").increment(usage.input_tokens);
    metrics::counter!("swarm_tokens_total", "kind" => "output").increment(usage.output_tokens);
    if seconds > 0.0 && usage.output_tokens > 0 {
        metrics::histogram!("swarm_tokens_per_second").record(usage.output_tokens as f64 / seconds);
    }
}

/// The way out of a job.
struct Events {
    tx: mpsc::Sender<ExecutionEvent>,
    pending: Option<Gathered>,
}

/// Tokens that found no place in the queue yet.
struct Gathered {
    tokens: Vec<u32>,
    text: String,
    usage: Usage,
}

impl Events {
    /// Adds a token and sends what is gathered if there is room.
    fn token(&mut self, id: u32, text: &str, usage: Usage, cancel: &Cancel) {
        let gathered = self.pending.get_or_insert_with(|| Gathered { tokens: Vec::new(), text: String::new(), usage });
        gathered.tokens.push(id);
        gathered.text.push_str(text);
        gathered.usage = usage;
        let full = gathered.tokens.len() >= GATHERED_TOKENS_MAX;
        let Some(event) = self.take_pending() else { return };
        match self.tx.try_send(event) {
            Ok(()) => {}
            Err(error) if error.is_disconnected() => cancel.cancel(),
            Err(error) if full => self.put(error.into_inner(), cancel),
            Err(error) => self.restore(error.into_inner()),
        }
    }

    /// Adds text that was held back until the end.
    fn text(&mut self, text: String, usage: Usage) {
        if !text.is_empty() {
            let gathered = self.pending.get_or_insert_with(|| Gathered { tokens: Vec::new(), text: String::new(), usage });
            gathered.text.push_str(&text);
            gathered.usage = usage;
        }
    }

    /// Sends an event, and waits for room. When nobody listens any more, the job is cancelled.
    fn put(&mut self, event: ExecutionEvent, cancel: &Cancel) {
        if block_on(self.tx.send(event)).is_err() {
            cancel.cancel();
        }
    }

    fn end(mut self, last: ExecutionEvent) {
        for event in self.take_pending().into_iter().chain([last]) {
            // Nobody listens: then nobody needs to know how it ended.
            let _ = block_on(self.tx.send(event));
        }
    }

    fn take_pending(&mut self) -> Option<ExecutionEvent> {
        self.pending.take().map(|Gathered { tokens, text, usage }| ExecutionEvent::Tokens { tokens, text, usage })
    }

    fn restore(&mut self, event: ExecutionEvent) {
        if let ExecutionEvent::Tokens { tokens, text, usage } = event {
            self.pending = Some(Gathered { tokens, text, usage });
        }
    }
}

/// The runtime's request for a market's order.
fn translate(request: JobRequest, cancel: &Cancel) -> Result<GenerationRequest, StopReason> {
    request.check().map_err(|_| StopReason::Malformed)?;
    let prompt = match request.prompt {
        cocoon_market::job::Prompt::Raw(text) => Prompt::Text(text),
        cocoon_market::job::Prompt::Chat(messages) => {
            Prompt::Chat(messages.into_iter().map(|message| ChatMessage { role: message.role, content: message.content }).collect())
        }
    };
    Ok(GenerationRequest {
        prompt,
        sampling: sampling(request.sampling, request.seed)?,
        stop: request.stop,
        max_tokens: request.output_tokens_max,
        cancel: cancel.clone(),
    })
}

fn sampling(sampling: Sampling, seed: [u8; 32]) -> Result<cocoon_runtime::Sampling, StopReason> {
    // Thousandths up to ten thousand are exact enough in single precision, and the same on every machine.
    let (temperature, top_p) = (sampling.temperature_milli as f32 / 1000.0, sampling.top_p_milli as f32 / 1000.0);
    cocoon_runtime::Sampling::new(temperature, sampling.top_k, top_p, seed).map_err(|_| StopReason::Malformed)
}

fn failed(job: JobId, error: &GenerateError) -> StopReason {
    match error {
        GenerateError::Request(error) => refused(job, error),
        GenerateError::Scores(_) | GenerateError::Device(_) | GenerateError::Unreadable => {
            tracing::error!(%job, error = error as &dyn std::error::Error, "the model or its device failed");
            StopReason::Internal
        }
    }
}

fn refused(job: JobId, error: &RequestError) -> StopReason {
    let tokens = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    match error {
        RequestError::ContextExceeded { prompt, context } => {
            StopReason::ContextExceeded { tokens: tokens(*prompt), context: tokens(*context) }
        }
        RequestError::Chat(_)
        | RequestError::Encode(_)
        | RequestError::Stop(_)
        | RequestError::EmptyPrompt
        | RequestError::NoTokensWanted
        | RequestError::UnknownToken { .. } => {
            tracing::info!(%job, error = error as &dyn std::error::Error, "order refused");
            StopReason::Malformed
        }
    }
}

const fn reason(reason: generation::FinishReason) -> FinishReason {
    match reason {
        generation::FinishReason::Stop => FinishReason::Stop,
        generation::FinishReason::Length => FinishReason::Length,
        generation::FinishReason::StopSequence => FinishReason::StopSequence,
        generation::FinishReason::Cancelled => FinishReason::Cancelled,
    }
}

#[cfg(test)]
mod tests;
