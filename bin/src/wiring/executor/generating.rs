//! The thread of a model that writes text: it reads the tokens of all its jobs together.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use cocoon_market::ids::Digest;
use cocoon_market::job::{Generate, Sampling};
use cocoon_market::{FinishReason, JobId, Refusal, StopReason, Usage, Work, WorkKind};
use cocoon_p2p::execution::ExecutionEvent;
use cocoon_runtime::generation::{self, GenerateError};
use cocoon_runtime::serve::{AdmitError, Served, Ticket};
use cocoon_runtime::{Cancel, ChatMessage, Event, GenerationRequest, Model, Prompt, RequestError, Server, ServingLimits};

use super::front::Front;
use super::outbox::Outbox;
use super::{Order, count_seconds, count_tokens, count_without_memory};

/// A job that the model's thread has.
struct Running {
    job: JobId,
    outbox: Outbox,
    started: Instant,
    wrote: bool,
}

/// The thread of a model: its server, and where each job's events go.
pub(super) struct Desk {
    server: Server,
    front: Front,
    limits: ServingLimits,
    running: BTreeMap<Ticket, Running>,
}

impl Desk {
    pub(super) fn new(model: Arc<Model>, front: Front, limits: ServingLimits) -> Self {
        Self { server: Server::new(model, limits), front, limits, running: BTreeMap::new() }
    }

    /// Serves until nobody can add an order and all are done. Gives the front back when the device is lost; all jobs have left it then.
    pub(super) fn run(mut self) -> Option<Front> {
        while self.front.is_open() || !self.running.is_empty() {
            while let Some(order) = self.front.order() {
                self.take(order);
            }
            self.flush();
            if self.server.can_work() {
                self.step();
                if self.server.is_lost() {
                    return Some(self.front);
                }
            } else if self.front.is_open() || !self.running.is_empty() {
                let running = self.running.values_mut().map(|running| &mut running.outbox);
                if let Some(order) = self.front.wait(running) {
                    self.take(order);
                }
            }
        }
        None
    }

    fn take(&mut self, order: Order) {
        let Order { job, work, events, cancel } = order;
        let mut outbox = Outbox::new(events, cancel.clone());
        if cancel.is_cancelled() {
            return self.front.leave(outbox, ExecutionEvent::Finished { reason: FinishReason::Cancelled, usage: Usage::default() });
        }
        match self.admit(job, work, &cancel, &mut outbox) {
            Ok(ticket) => {
                self.running.insert(ticket, Running { job, outbox, started: Instant::now(), wrote: false });
            }
            Err(reason) => {
                tracing::info!(%job, %reason, "job failed");
                self.front.leave(outbox, ExecutionEvent::Failed(reason));
            }
        }
    }

    fn admit(&mut self, job: JobId, work: Work, cancel: &Cancel, outbox: &mut Outbox) -> Result<Ticket, StopReason> {
        let Work::Generate(generate) = work else { return Err(StopReason::Refused(Refusal::OtherWork { serves: WorkKind::Generate })) };
        let request = translate(generate, cancel)?;
        let taken = self.server.admit(&request).map_err(|error| not_admitted(job, &error))?;
        // Before the model reads the prompt, so that a cap which does not pay for reading ends the job here.
        outbox.push(ExecutionEvent::InputRead { input_tokens: taken.input_tokens, input: Digest(taken.input_commitment) });
        Ok(taken.ticket)
    }

    fn step(&mut self) {
        // What a panic leaves half done is the server's, which is replaced.
        match catch_unwind(AssertUnwindSafe(|| self.server.step())) {
            Ok(served) => {
                metrics::gauge!("swarm_cache_bytes").set(self.server.cache_bytes() as f64);
                served.into_iter().for_each(|served| self.forward(served));
            }
            Err(_) => self.fail_all(),
        }
    }

    /// Ends every job after a panic inside the model.
    fn fail_all(&mut self) {
        tracing::error!(jobs = self.running.len(), "the model panicked; its jobs have failed");
        self.server = Server::new(Arc::clone(self.server.model()), self.limits);
        for (_, running) in std::mem::take(&mut self.running) {
            self.front.leave(running.outbox, ExecutionEvent::Failed(StopReason::Internal));
        }
    }

    fn forward(&mut self, served: Served) {
        let Some(running) = self.running.get_mut(&served.ticket) else { return };
        match served.event {
            Ok(Event::Token(token)) => {
                if !std::mem::replace(&mut running.wrote, true) {
                    metrics::histogram!("swarm_first_token_ms").record(running.started.elapsed().as_secs_f64() * 1000.0);
                }
                running.outbox.token(token.id, &token.text, token.usage);
                if running.outbox.is_full() {
                    self.server.pause(served.ticket, true);
                }
            }
            Ok(Event::Finished(finish)) => {
                running.outbox.text(&finish.text, finish.usage);
                record_speed(finish.usage, running.started);
                let cached = served.meter.cached_tokens;
                tracing::debug!(job = %running.job, cached, passes = served.meter.passes, bytes = served.meter.cache_bytes, "job done");
                metrics::counter!("swarm_tokens_total", "kind" => "cached").increment(cached);
                self.end(served.ticket, ExecutionEvent::Finished { reason: reason(finish.reason), usage: finish.usage });
            }
            Err(error) => {
                let reason = failed(running.job, &error);
                self.end(served.ticket, ExecutionEvent::Failed(reason));
            }
        }
    }

    fn end(&mut self, ticket: Ticket, last: ExecutionEvent) {
        if let Some(running) = self.running.remove(&ticket) {
            count_seconds(running.started);
            self.front.leave(running.outbox, last);
        }
    }

    /// Sends what found no place before, and lets jobs go on whose events did.
    fn flush(&mut self) {
        for (ticket, running) in &mut self.running {
            running.outbox.flush();
            self.server.pause(*ticket, running.outbox.is_full());
        }
        self.front.flush();
    }
}

fn not_admitted(job: JobId, error: &AdmitError) -> StopReason {
    match error {
        AdmitError::Request(error) => refused(job, error),
        AdmitError::TooLarge { prompt_tokens, answer_tokens, tokens_max, needed_bytes, available_bytes } => StopReason::MemoryExceeded {
            prompt_tokens: tokens(*prompt_tokens),
            answer_tokens: tokens(*answer_tokens),
            tokens_max: tokens(*tokens_max),
            needed_bytes: *needed_bytes,
            available_bytes: *available_bytes,
        },
        AdmitError::Busy { waiting } => StopReason::Refused(Refusal::Busy { running: u16::try_from(*waiting).unwrap_or(u16::MAX) }),
    }
}

fn record_speed(usage: Usage, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    count_tokens(usage);
    if seconds > 0.0 && usage.output_tokens > 0 {
        metrics::histogram!("swarm_tokens_per_second").record(usage.output_tokens as f64 / seconds);
    }
}

/// The runtime's request for a market's order.
fn translate(request: Generate, cancel: &Cancel) -> Result<GenerationRequest, StopReason> {
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
        fingerprints: false,
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
        GenerateError::NoMemory => {
            count_without_memory();
            StopReason::Refused(Refusal::Unavailable)
        }
        GenerateError::NotBegun => StopReason::Refused(Refusal::Unavailable),
        GenerateError::Scores(_) | GenerateError::Engine(_) | GenerateError::Lost => {
            tracing::error!(%job, error = error as &dyn std::error::Error, "the model or its device failed");
            StopReason::Internal
        }
    }
}

fn refused(job: JobId, error: &RequestError) -> StopReason {
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

/// A number of tokens as it is sent.
fn tokens(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

const fn reason(reason: generation::FinishReason) -> FinishReason {
    match reason {
        generation::FinishReason::Stop => FinishReason::Stop,
        generation::FinishReason::Length => FinishReason::Length,
        generation::FinishReason::StopSequence => FinishReason::StopSequence,
        generation::FinishReason::Cancelled => FinishReason::Cancelled,
    }
}
