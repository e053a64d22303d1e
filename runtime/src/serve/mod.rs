//! Serving many requests with one model: continuous batching.
//!
//! A [`Server`] reads the tokens of all its jobs together, pass by pass. Jobs join and leave
//! between passes. It is a plain value without threads or clocks: whoever owns it calls
//! [`Server::step`] until it [is idle](Server::is_idle).
//!
//! # What a pass reads
//!
//! One token of every job that writes, since each of them waits for it. Then prompts, as far as
//! [`ServingLimits::rows`] allows: jobs that read theirs get equal shares, and what one does not
//! need goes to the next. A long prompt is read in parts, so nobody waits for it; and while
//! somebody writes, prompts get a smaller share of a pass, so that writing goes on smoothly.
//!
//! # Memory
//!
//! Keys and values lie in pages of a budget. A job is let in when all that it can ever need is
//! there, so it never has to be thrown out; until then it waits, in order of arrival. One that
//! could never fit is refused with the figures.
//!
//! The budget is not all there is to it: the device takes memory as pages are used, and may have none
//! left when others use it too. Then all are read anew and go on, one job less at once than before, until
//! enough have ended well; one that does not fit by itself ends with [`GenerateError::NoMemory`].
//!
//! # A device that is lost
//!
//! Jobs that were in a pass end with [`GenerateError::Lost`], those that waited with
//! [`GenerateError::NotBegun`], and the server is of no use any more ([`Server::is_lost`]): its owner
//! loads the model again on a device that [`Device::reopen`](crate::Device::reopen) has set up anew.
//!
//! # Beginnings that were read before
//!
//! Pages that are full stay until their room is needed, and a prompt that begins as an earlier one
//! skips them. How fast a first token comes may so tell a requester that somebody asked for the
//! same beginning; [`ServingLimits::reuse`] switches this off. The last tokens of a prompt whose
//! answer is fingerprinted are read anyway, since fingerprints are of their states.

mod failing;
mod pages;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::{Batch, EngineError, PAGE_POSITIONS, pages_of};
use crate::fingerprint::{FingerprintError, Fingerprints};
use crate::generation::{Event, GenerateError, GenerationRequest, Job, RequestError};
use crate::model::{Model, Outputs, Session};
use pages::{Hold, PagePool};

/// Rows of prompts in a pass while some job writes, as a share of all rows.
const SHARE_WHILE_WRITING: usize = 2;

/// Fewest rows that a prompt gets: below this, reading a matrix costs more than computing with it.
const PROMPT_ROWS_MIN: usize = 16;

/// What a server may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServingLimits {
    /// Jobs that read or write at once.
    pub jobs: usize,
    /// Jobs that wait to be let in.
    pub waiting: usize,
    /// Most tokens in a pass.
    pub rows: usize,
    /// Bytes for keys and values.
    pub cache_bytes: u64,
    /// Whether prompts may use what was read for earlier ones.
    pub reuse: bool,
}

impl Default for ServingLimits {
    /// Sixteen jobs, as many waiting, passes of 256 tokens, 1 GiB.
    fn default() -> Self {
        Self { jobs: 16, waiting: 16, rows: 256, cache_bytes: 1 << 30, reuse: true }
    }
}

impl ServingLimits {
    /// Most tokens of one job, prompt and answer together, that this model has context and memory for.
    pub fn tokens_max(&self, model: &Model) -> usize {
        tokens_in(self.pages(model)).min(model.summary().context_tokens)
    }

    /// Jobs of up to so many tokens each that are served at once.
    pub fn room(&self, model: &Model, tokens: usize) -> usize {
        let positions = tokens.min(model.summary().context_tokens).saturating_sub(1);
        (self.pages(model) / pages_of(positions).max(1)).min(self.jobs)
    }

    fn pages(&self, model: &Model) -> usize {
        let pages = usize::try_from(self.cache_bytes / model.network().page_bytes().max(1)).unwrap_or(usize::MAX);
        // More than all jobs together could ever use would only be a longer list.
        pages.min(self.jobs.saturating_mul(pages_of(model.summary().context_tokens))).min(model.network().pages_max())
    }
}

/// Most tokens of a job that has so many pages: the last token chosen is never read, so it keeps nothing.
fn tokens_in(pages: usize) -> usize {
    if pages == 0 { 0 } else { pages.saturating_mul(PAGE_POSITIONS).saturating_add(1) }
}

/// A job's number, unique in its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A request that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The job's number.
    pub ticket: Ticket,
    /// Tokens of its prompt.
    pub input_tokens: u64,
    /// Commitment to them.
    pub input_commitment: [u8; 32],
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The model cannot serve it.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It could never fit into the memory for keys and values.
    #[error(
        "a prompt of {prompt_tokens} tokens and an answer of up to {answer_tokens} need {needed_bytes} bytes for keys and values, \
         {available_bytes} are there, for {tokens_max} tokens: ask for fewer"
    )]
    TooLarge {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Most tokens of the answer, within the context.
        answer_tokens: usize,
        /// Tokens of prompt and answer together that would fit.
        tokens_max: usize,
        /// What prompt and answer can need.
        needed_bytes: u64,
        /// All there is.
        available_bytes: u64,
    },
    /// As many wait as may.
    #[error("{waiting} jobs wait already: try again later")]
    Busy {
        /// How many wait.
        waiting: usize,
    },
}

/// What was metered of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Tokens of the prompt that were not read because they had been before.
    pub cached_tokens: u64,
    /// Bytes of keys and values held.
    pub cache_bytes: u64,
    /// Passes that it took part in.
    pub passes: u64,
}

/// Something that happened to a job.
#[derive(Debug)]
pub struct Served {
    /// Which job.
    pub ticket: Ticket,
    /// What happened; an error ends the job, and so does [`Event::Finished`].
    pub event: Result<Event, GenerateError>,
    /// What was metered of it so far.
    pub meter: Meter,
}

/// A job that has its pages.
#[derive(Debug)]
struct Seat {
    ticket: Ticket,
    job: Job,
    hold: Hold,
    cached_tokens: u64,
    passes: u64,
    failed: bool,
    paused: bool,
}

/// A job that waits for room.
#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    job: Job,
    /// Of a job that had a seat before.
    cached_tokens: u64,
    passes: u64,
}

/// A model that serves many jobs.
#[derive(Debug)]
pub struct Server {
    model: Arc<Model>,
    session: Box<dyn Session>,
    limits: ServingLimits,
    page_bytes: u64,
    pool: PagePool,
    seats: Vec<Seat>,
    waiting: VecDeque<Waiting>,
    tickets: u64,
    /// Which job that reads its prompt comes first in the next pass.
    turn: usize,
    /// Jobs that may have a seat at once: fewer than the limit after the device ran out of memory.
    places: usize,
    /// Jobs that ended well since then.
    good_ends: usize,
    lost: bool,
}

impl Server {
    /// A server without jobs.
    pub fn new(model: Arc<Model>, limits: ServingLimits) -> Self {
        let network = Arc::clone(model.network());
        let page_bytes = network.page_bytes();
        let pool = PagePool::new(limits.pages(&model));
        let session = network.session();
        Self {
            model,
            session,
            limits,
            page_bytes,
            pool,
            seats: Vec::new(),
            waiting: VecDeque::new(),
            tickets: 0,
            turn: 0,
            places: limits.jobs,
            good_ends: 0,
            lost: false,
        }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Jobs that read, write or wait.
    pub fn jobs(&self) -> usize {
        self.seats.len() + self.waiting.len()
    }

    /// Bytes of keys and values that jobs hold.
    pub fn cache_bytes(&self) -> u64 {
        self.page_bytes.saturating_mul(self.pool.used() as u64)
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.jobs() == 0
    }

    /// Whether the device is lost, and the model with it.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether a step would do anything: some job has left, may begin, or has tokens to read.
    pub fn can_work(&self) -> bool {
        self.has_room_for_waiting() || self.seats.iter().any(|seat| !seat.paused || seat.job.will_end())
    }

    /// Takes a request.
    ///
    /// # Errors
    ///
    /// [`AdmitError`]; nothing has changed then.
    pub fn admit(&mut self, request: &GenerationRequest) -> Result<Admitted, AdmitError> {
        let job = Job::new(&self.model, request)?;
        let pages = pages_of(job.positions_max());
        if pages > self.pool.total() {
            return Err(self.too_large(&job));
        }
        if self.left_waiting(&job) > self.limits.waiting {
            return Err(AdmitError::Busy { waiting: self.waiting.len() });
        }
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        let admitted = Admitted { ticket, input_tokens: job.prompt() as u64, input_commitment: job.input_commitment() };
        self.waiting.push_back(Waiting { ticket, job, cached_tokens: 0, passes: 0 });
        Ok(admitted)
    }

    fn too_large(&self, job: &Job) -> AdmitError {
        let bytes = |pages: usize| self.page_bytes.saturating_mul(pages as u64);
        let total = self.pool.total();
        AdmitError::TooLarge {
            prompt_tokens: job.prompt(),
            answer_tokens: job.answer_max(),
            tokens_max: tokens_in(total),
            needed_bytes: bytes(pages_of(job.positions_max())),
            available_bytes: bytes(total),
        }
    }

    /// Leaves a job out of passes, or lets it go on: for one whose listener is behind.
    pub fn pause(&mut self, ticket: Ticket, paused: bool) {
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.ticket == ticket) {
            seat.paused = paused;
        }
    }

    /// The fingerprints of a job's answer so far: none if it has ended or not begun, or did not ask
    /// for them. Those of a whole answer come with its [`Event::Finished`].
    pub fn fingerprints(&self, ticket: Ticket) -> Option<Result<Fingerprints, FingerprintError>> {
        self.seats.iter().find(|seat| seat.ticket == ticket)?.job.fingerprints()
    }

    /// Reads one batch, and tells what happened.
    pub fn step(&mut self) -> Vec<Served> {
        let mut out = Vec::new();
        self.drop_ended(&mut out);
        self.seat_waiting(&mut out);
        let plan = self.plan();
        if plan.is_empty() {
            return out;
        }
        let batch = self.batch(&plan);
        match self.session.pass(&batch) {
            Ok(outputs) => self.take_outputs(&plan, &outputs, &mut out),
            Err(error @ (EngineError::OutOfMemory | EngineError::TooLarge(_))) => self.make_room(&plan, &error, &mut out),
            Err(error) => self.fail_all(&error, &mut out),
        }
        self.drop_ended(&mut out);
        out
    }

    /// Whether the first that waits has somewhere to go.
    fn has_room_for_waiting(&self) -> bool {
        self.waiting.front().is_some_and(|first| first.job.will_end() || self.pool.has_room(first.job.positions_max())) && self.has_seat()
    }

    /// Jobs that the next step would leave waiting if this one came too.
    fn left_waiting(&self, job: &Job) -> usize {
        let (mut seats, mut pages) = (self.seats.len(), self.pool.taken());
        let mut queue = self.waiting.iter().map(|waiting| &waiting.job).chain([job]).filter(|job| !job.will_end());
        while let Some(next) = queue.next() {
            seats += 1;
            pages += pages_of(next.positions_max());
            if seats > self.places || pages > self.pool.total() {
                return 1 + queue.count();
            }
        }
        0
    }

    fn has_seat(&self) -> bool {
        self.seats.len() < self.places
    }

    /// Lets jobs in as long as there is room, in the order in which they came.
    fn seat_waiting(&mut self, out: &mut Vec<Served>) {
        while let Some(mut first) = self.waiting.pop_front() {
            if let Some(event) = first.job.ending() {
                out.push(Served { ticket: first.ticket, event: Ok(event), meter: first.meter() });
                continue;
            }
            let known = if self.limits.reuse { first.job.skippable() } else { &[] };
            let hold = match self.has_seat() {
                true => self.pool.admit(known, first.job.positions_max()),
                false => None,
            };
            let Some(hold) = hold else {
                self.waiting.push_front(first);
                return;
            };
            let Waiting { ticket, mut job, cached_tokens, passes } = first;
            let cached = hold.pages().len() * PAGE_POSITIONS;
            job.advance(cached);
            let cached_tokens = if passes == 0 { cached as u64 } else { cached_tokens };
            self.seats.push(Seat { ticket, job, hold, cached_tokens, passes, failed: false, paused: false });
        }
    }

    /// How many tokens of which job are read next: pairs of a seat and a number.
    fn plan(&self) -> Vec<(usize, usize)> {
        let active = |at: &usize| !self.seats[*at].paused;
        let mut plan: Vec<(usize, usize)> =
            (0..self.seats.len()).filter(active).filter(|at| self.seats[*at].job.is_writing()).map(|at| (at, 1)).collect();
        let mut rows = self.limits.rows.saturating_sub(plan.len());
        if !plan.is_empty() {
            rows = rows.min(self.limits.rows / SHARE_WHILE_WRITING);
        }
        let reading: Vec<usize> = (0..self.seats.len()).filter(active).filter(|at| !self.seats[*at].job.is_writing()).collect();
        let first = self.turn.checked_rem(reading.len()).unwrap_or(0);
        for (behind, at) in reading.iter().skip(first).chain(reading.iter().take(first)).enumerate() {
            let share = (rows / (reading.len() - behind)).max(PROMPT_ROWS_MIN).min(rows);
            let tokens = self.seats[*at].job.next(share).ids.len();
            if tokens > 0 {
                plan.push((*at, tokens));
                rows -= tokens;
            }
        }
        plan
    }

    fn batch(&mut self, plan: &[(usize, usize)]) -> Batch {
        self.turn += 1;
        let mut batch = Batch::default();
        for (at, tokens) in plan {
            let seat = &mut self.seats[*at];
            self.pool.extend(&mut seat.hold, seat.job.read() + tokens);
            let next = seat.job.next(*tokens);
            batch.push(next.ids, seat.job.read(), seat.hold.pages().to_vec(), next.wanted);
            batch.show_last(next.shown);
        }
        batch
    }

    fn take_outputs(&mut self, plan: &[(usize, usize)], outputs: &Outputs, out: &mut Vec<Served>) {
        let (vocabulary, width) = (self.model.summary().vocabulary, self.model.network().width());
        let mut scores = outputs.scores.chunks_exact(vocabulary);
        let mut states = outputs.states.as_slice();
        for (at, tokens) in plan {
            let seat = &mut self.seats[*at];
            let next = seat.job.next(*tokens);
            let (wanted, shown) = (next.wanted, next.shown);
            seat.job.advance(*tokens);
            // The engine gives a state for each shown row, in order.
            let (own, others) = states.split_at(shown * width);
            states = others;
            seat.job.record(own);
            seat.passes += 1;
            if self.limits.reuse {
                self.pool.publish(&mut seat.hold, seat.job.tokens(), seat.job.read());
            }
            if wanted {
                // The engine gives a row of scores for each wanted row, in order.
                let event = seat.job.choose(scores.next().unwrap_or_default(), self.model.tokenizer());
                seat.failed = event.is_err();
                out.push(Served { ticket: seat.ticket, event, meter: seat.meter(self.page_bytes) });
            }
        }
    }

    /// Says goodbye to jobs that have ended.
    fn drop_ended(&mut self, out: &mut Vec<Served>) {
        let mut at = 0;
        while let Some(seat) = self.seats.get_mut(at) {
            let ending = if seat.failed { None } else { seat.job.ending() };
            if ending.is_none() && !seat.failed {
                at += 1;
                continue;
            }
            let seat = self.seats.remove(at);
            if !seat.failed {
                self.count_good_end();
            }
            if let Some(event) = ending {
                out.push(Served { ticket: seat.ticket, event: Ok(event), meter: seat.meter(self.page_bytes) });
            }
            self.pool.release(seat.hold);
        }
    }

    /// Ends a job without a further event, for instance because nobody listens any more.
    pub fn forget(&mut self, ticket: Ticket) {
        self.waiting.retain(|waiting| waiting.ticket != ticket);
        if let Some(at) = self.seats.iter().position(|seat| seat.ticket == ticket) {
            self.pool.release(self.seats.remove(at).hold);
        }
    }
}

impl Waiting {
    fn meter(&self) -> Meter {
        Meter { cached_tokens: self.cached_tokens, cache_bytes: 0, passes: self.passes }
    }
}

impl Seat {
    fn meter(&self, page_bytes: u64) -> Meter {
        Meter {
            cached_tokens: self.cached_tokens,
            cache_bytes: page_bytes.saturating_mul(self.hold.pages().len() as u64),
            passes: self.passes,
        }
    }
}
