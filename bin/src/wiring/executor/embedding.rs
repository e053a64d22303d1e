//! The thread of a model that gives vectors: it reads texts of all its jobs together, one of each job in turn.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use cocoon_market::ids::Digest;
use cocoon_market::job::{Vector, Vectors};
use cocoon_market::{FinishReason, JobId, Refusal, StopReason, Usage, Work, WorkKind};
use cocoon_p2p::execution::ExecutionEvent;
use cocoon_runtime::commitment::TokenCommitment;
use cocoon_runtime::embedding::PASS_ROWS;
use cocoon_runtime::{Cancel, EmbedError, Embedder, Embedding, EngineError, TextTokens};

use super::front::Front;
use super::outbox::Outbox;
use super::{Order, count_seconds, count_tokens, count_without_memory};

/// A job that the model's thread has.
struct Running {
    job: JobId,
    outbox: Outbox,
    cancel: Cancel,
    /// Those that no pass has taken yet.
    texts: VecDeque<TextTokens>,
    /// How many a pass has taken that have no vector yet.
    in_pass: usize,
    usage: Usage,
    started: Instant,
}

/// Whether there is still something to compute with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    Works,
    Lost,
}

/// Why a pass gave no vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// The driver lost the device.
    Lost,
    /// There is no memory left.
    NoMemory,
    /// The model does not work.
    Broken,
}

impl Failure {
    fn of(error: &EmbedError) -> Self {
        match error {
            EmbedError::Engine(EngineError::Lost { .. }) => Self::Lost,
            EmbedError::Engine(EngineError::OutOfMemory | EngineError::TooLarge(_)) => Self::NoMemory,
            EmbedError::Engine(_) | EmbedError::Text { .. } | EmbedError::NotFinite { .. } => Self::Broken,
        }
    }

    /// What the job's requester is told.
    fn reason(self) -> StopReason {
        match self {
            Self::NoMemory => {
                count_without_memory();
                StopReason::Refused(Refusal::Unavailable)
            }
            Self::Lost | Self::Broken => StopReason::Internal,
        }
    }
}

/// The place of a job among those of the thread; later ones are higher.
type Place = u64;

/// The thread of a model: its jobs, and where their events go.
pub(super) struct Desk {
    model: Arc<Embedder>,
    front: Front,
    running: BTreeMap<Place, Running>,
    next_place: Place,
    /// Whose turn it is.
    turn: Place,
}

impl Desk {
    pub(super) fn new(model: Arc<Embedder>, front: Front) -> Self {
        Self { model, front, running: BTreeMap::new(), next_place: 0, turn: 0 }
    }

    /// Serves until nobody can add an order and all are done. Gives the front back when the device is lost; all jobs have left it then.
    pub(super) fn run(mut self) -> Option<Front> {
        while self.front.is_open() || !self.running.is_empty() {
            while let Some(order) = self.front.order() {
                self.take(order);
            }
            self.flush();
            let pass = self.next_pass();
            if !pass.is_empty() {
                if self.work(pass) == Device::Lost {
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
        let texts = match self.read(job, &work) {
            Ok(texts) => texts,
            Err(reason) => {
                tracing::info!(%job, %reason, "job failed");
                return self.front.leave(outbox, ExecutionEvent::Failed(reason));
            }
        };
        let mut input = TokenCommitment::input();
        texts.iter().for_each(|text| input.extend(text.ids.iter().copied()));
        let input_tokens = texts.iter().map(tokens_of).sum();
        outbox.push(ExecutionEvent::InputRead { input_tokens, input: Digest(input.digest()) });
        let running = Running { job, outbox, cancel, texts: texts.into(), in_pass: 0, usage: Usage::default(), started: Instant::now() };
        self.running.insert(self.next_place, running);
        self.next_place += 1;
    }

    /// The texts as tokens, if the model has a place for each.
    fn read(&self, job: JobId, work: &Work) -> Result<Vec<TextTokens>, StopReason> {
        let Work::Embed(embed) = work else { return Err(StopReason::Refused(Refusal::OtherWork { serves: WorkKind::Embed })) };
        let texts = self.model.encode(&embed.texts).map_err(|error| {
            tracing::info!(%job, error = &error as &dyn std::error::Error, "order refused");
            StopReason::Malformed
        })?;
        let short = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        match texts.iter().enumerate().find(|(_, text)| text.cut > 0) {
            Some((index, text)) => Err(StopReason::TextTooLong {
                index: short(index),
                tokens: short(text.ids.len().saturating_add(text.cut)),
                context: short(self.model.summary().tokens_max),
            }),
            None => Ok(texts),
        }
    }

    /// Sends what found no place before, and ends jobs that are not wanted any more.
    fn flush(&mut self) {
        self.running.values_mut().for_each(|running| running.outbox.flush());
        let cancelled: Vec<Place> = self.running.iter().filter(|(_, running)| running.cancel.is_cancelled()).map(|(at, _)| *at).collect();
        cancelled.into_iter().for_each(|place| self.end(place, FinishReason::Cancelled));
        self.front.flush();
    }

    /// The texts to read next: one of each job in turn, until a pass is full. Jobs whose vectors nobody takes wait.
    fn next_pass(&mut self) -> Vec<(Place, TextTokens)> {
        let ready = |(place, running): (&Place, &Running)| running.outbox.is_empty().then_some(*place);
        let (before, after) = (self.running.range(..self.turn), self.running.range(self.turn..));
        let mut turns: VecDeque<Place> = after.chain(before).filter_map(ready).collect();
        let (mut pass, mut rows) = (Vec::new(), 0);
        while let Some(place) = turns.pop_front() {
            let Some(running) = self.running.get_mut(&place) else { continue };
            let Some(text) = running.texts.pop_front() else { continue };
            if !pass.is_empty() && rows + text.ids.len() > PASS_ROWS {
                running.texts.push_front(text);
                self.turn = place;
                break;
            }
            running.in_pass += 1;
            rows += text.ids.len();
            pass.push((place, text));
            turns.push_back(place);
        }
        pass
    }

    fn work(&mut self, pass: Vec<(Place, TextTokens)>) -> Device {
        let (places, texts): (Vec<Place>, Vec<TextTokens>) = pass.into_iter().unzip();
        match self.embed(&texts) {
            Ok(found) => self.hand_out(places.iter().copied().zip(found)),
            Err(Failure::Lost) => {
                self.fail_all();
                return Device::Lost;
            }
            // What has no memory at once may have it in turn.
            Err(Failure::NoMemory) if texts.len() > 1 => {
                let mut first: Vec<_> = places.into_iter().zip(texts).collect();
                let second = first.split_off(first.len() / 2);
                for half in [first, second] {
                    if self.work(half) == Device::Lost {
                        return Device::Lost;
                    }
                }
            }
            // One job's text is not to end another's job.
            Err(_) if places.iter().any(|place| *place != places[0]) => {
                for place in places.iter().copied().collect::<BTreeSet<_>>() {
                    let own = places.iter().zip(&texts).filter(|(at, _)| **at == place).map(|(_, text)| text.clone());
                    if self.work(own.map(|text| (place, text)).collect()) == Device::Lost {
                        return Device::Lost;
                    }
                }
            }
            Err(failure) => places.first().into_iter().for_each(|place| self.fail(*place, failure.reason())),
        }
        Device::Works
    }

    fn embed(&self, texts: &[TextTokens]) -> Result<Vec<Embedding>, Failure> {
        // The model is not changed by a pass, so a panic leaves nothing half done.
        match catch_unwind(AssertUnwindSafe(|| self.model.embed_encoded(texts))) {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                report(&error);
                Err(Failure::of(&error))
            }
            Err(_) => {
                tracing::error!("the model panicked; the jobs of this pass are tried one by one");
                Err(Failure::Broken)
            }
        }
    }

    /// Ends every job when the device is gone: those that had begun, and those that had not.
    fn fail_all(&mut self) {
        let reason = |running: &Running| match running.in_pass > 0 || running.usage != Usage::default() {
            true => StopReason::Internal,
            false => StopReason::Refused(Refusal::Unavailable),
        };
        let ends: Vec<_> = self.running.iter().map(|(place, running)| (*place, reason(running))).collect();
        ends.into_iter().for_each(|(place, reason)| self.fail(place, reason));
    }

    fn hand_out(&mut self, found: impl Iterator<Item = (Place, Embedding)>) {
        let per_frame = Vectors::per_frame(self.model.summary().width);
        let mut of_jobs: BTreeMap<Place, Vec<Embedding>> = BTreeMap::new();
        found.for_each(|(place, embedding)| of_jobs.entry(place).or_default().push(embedding));
        for (place, embeddings) in of_jobs {
            let Some(running) = self.running.get_mut(&place) else { continue };
            embeddings.chunks(per_frame).for_each(|some| running.give(some));
            running.in_pass = running.in_pass.saturating_sub(embeddings.len());
            if running.texts.is_empty() && running.in_pass == 0 {
                self.end(place, FinishReason::Stop);
            }
        }
    }

    fn end(&mut self, place: Place, reason: FinishReason) {
        let Some(running) = self.running.remove(&place) else { return };
        count_seconds(running.started);
        count_tokens(running.usage);
        tracing::debug!(job = %running.job, tokens = running.usage.input_tokens, ?reason, "job done");
        self.front.leave(running.outbox, ExecutionEvent::Finished { reason, usage: running.usage });
    }

    fn fail(&mut self, place: Place, reason: StopReason) {
        let Some(running) = self.running.remove(&place) else { return };
        tracing::error!(job = %running.job, %reason, "job failed");
        self.front.leave(running.outbox, ExecutionEvent::Failed(reason));
    }
}

impl Running {
    /// Sends some vectors.
    fn give(&mut self, embeddings: &[Embedding]) {
        let read: u64 = embeddings.iter().map(|embedding| count(embedding.tokens)).sum();
        self.usage.input_tokens = self.usage.input_tokens.saturating_add(read);
        let vectors = embeddings.iter().map(|embedding| Vector::new(&embedding.vector)).collect();
        self.outbox.push(ExecutionEvent::Vectors { vectors, usage: self.usage });
    }
}

fn report(error: &EmbedError) {
    tracing::error!(error = error as &dyn std::error::Error, "the model or its device failed");
}

fn tokens_of(text: &TextTokens) -> u64 {
    count(text.ids.len())
}

fn count(tokens: usize) -> u64 {
    u64::try_from(tokens).unwrap_or(u64::MAX)
}
