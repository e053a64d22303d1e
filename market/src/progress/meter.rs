//! The provider's side of one job. The transition table is in the [module above](super).

use std::collections::VecDeque;

use crate::agreement::Terms;
use crate::amount::Amount;
use crate::ids::Digest;
use crate::job::{CHUNK_TOKENS_MAX, Chunk, FinishReason, StopReason, VECTORS_BYTES_MAX, Vector, Vectors, Work};
use crate::price::{PriceTable, Usage};
use crate::progress::output::{Output, OutputMax};
use crate::time::Timestamp;

/// How long a provider waits for a voucher before it gives up: a requester signs and journals in milliseconds, so half a
/// minute covers its reconnection.
pub const VOUCHER_WAIT_MS: u64 = 30_000;

/// Receipts of one job that wait for a voucher. Work that costs nothing never reaches the float, and a requester that pays
/// for none of 64 slices in a row has stopped listening.
pub const RECEIPTS_UNPAID_MAX: usize = 64;

/// What a meter holds a job to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterTerms {
    /// Prices.
    pub price: PriceTable,
    /// The most this job may cost: what is left of the agreement's cap. Who runs jobs side by side divides it first.
    pub cap: Amount,
    /// Tokens between two receipts: those written into an answer, those read for vectors.
    pub slice_tokens: u32,
    /// Unpaid work at which it pauses.
    pub float: Amount,
    /// The most that was ordered.
    pub output_max: OutputMax,
}

impl MeterTerms {
    /// The terms of a job under an agreement that has so much left of its cap.
    pub fn new(terms: &Terms, work: &Work, cap_left: Amount) -> Self {
        Self { price: terms.price, cap: cap_left, slice_tokens: terms.slice_tokens, float: terms.float, output_max: OutputMax::of(work) }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeterEvent {
    /// The input is tokenised and about to be read by the model: a prompt at once, texts one by one.
    InputRead {
        /// How many tokens it has.
        input_tokens: u64,
        /// [`TokenCommitment`](crate::commitment::TokenCommitment) to them.
        input: Digest,
    },
    /// The model wrote.
    Produced {
        /// The tokens.
        tokens: Vec<u32>,
        /// Their text.
        text: String,
    },
    /// The model gave vectors.
    Embedded {
        /// Those of the next texts.
        vectors: Vec<Vector>,
        /// Tokens of all texts up to here.
        input_tokens: u64,
    },
    /// The receipt for the oldest slice that was asked for is signed and journalled, at this place in the channel.
    ReceiptSigned {
        /// The place.
        sequence: u64,
    },
    /// The ledger gave no receipt for the slice that was asked for last, and never will.
    ReceiptRefused(StopReason),
    /// A voucher for all receipts up to this place is journalled.
    VoucherAccepted {
        /// The place.
        sequence: u64,
    },
    /// The model came to an end.
    Finished(FinishReason),
    /// The requester has enough.
    Cancelled,
    /// The executor or this node cannot go on.
    Failed(StopReason),
    /// [`JobMeter::poll_timeout`] was reached.
    Elapsed,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeterEffect {
    /// Send this.
    SendChunk(Chunk),
    /// Send these.
    SendVectors(Vectors),
    /// Number, journal, sign and send a receipt; report its sequence.
    IssueReceipt(Slice),
    /// Take no more work from the executor.
    Pause,
    /// Go on.
    Resume,
    /// Stop the executor and tell the requester that the work is complete.
    Finish {
        /// Why it ended.
        reason: FinishReason,
        /// All metered work.
        usage: Usage,
    },
    /// Stop the executor and tell the requester why.
    Stop(StopReason),
    /// Nothing more will come.
    Close {
        /// What was receipted and not paid.
        unpaid: Amount,
    },
}

/// What a receipt is to say about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// All work up to here.
    pub usage: Usage,
    /// What the work since the slice before costs.
    pub amount: Amount,
    /// What all work up to here costs.
    pub total: Amount,
    /// Commitment to the tokens of the input.
    pub input: Digest,
    /// Commitment to the tokens written, or the vectors given, up to here.
    pub output: Digest,
    /// Whether it is the last.
    pub last: bool,
}

/// Why an event was not applied: each is a fault of the node itself, never of its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MeterReject {
    /// The event does not fit the state.
    #[error("{event} came while the job was {state}")]
    OutOfTurn {
        /// In which state.
        state: &'static str,
        /// What came.
        event: &'static str,
    },
    /// The executor went on although it was paused. The work was not taken; offer it again when it resumes.
    #[error("work came while the job was paused")]
    Paused,
    /// The executor did what was not ordered.
    #[error("{event} came for another kind of order")]
    OtherWork {
        /// What came.
        event: &'static str,
    },
    /// More vectors at once than a frame may have.
    #[error("{bytes} bytes of vectors at once where a frame has at most {VECTORS_BYTES_MAX}")]
    VectorsTooLarge {
        /// Their bytes.
        bytes: usize,
    },
    /// More vectors than texts.
    #[error("{got} vectors for {texts} texts")]
    TooManyVectors {
        /// How many came.
        got: u64,
        /// How many texts there are.
        texts: u32,
    },
    /// The executor called an order done whose texts have no vectors yet.
    #[error("the end came with {got} vectors for {texts} texts")]
    Unfinished {
        /// How many were given.
        got: u64,
        /// How many texts there are.
        texts: u32,
    },
    /// A text without a token, which no tokenizer gives.
    #[error("{got} tokens were read with {vectors} more vectors, after {before}")]
    InputTokens {
        /// Tokens read before.
        before: u64,
        /// Tokens read by now.
        got: u64,
        /// The vectors that came.
        vectors: usize,
    },
    /// More tokens at once than a chunk may have.
    #[error("{tokens} tokens at once where a chunk has at most {CHUNK_TOKENS_MAX}")]
    ChunkTooLarge {
        /// How many came.
        tokens: usize,
    },
    /// The ledger numbered receipts backwards.
    #[error("receipt {got} came after receipt {last}")]
    Sequence {
        /// The place of the receipt before.
        last: u64,
        /// The place given.
        got: u64,
    },
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterState {
    /// The input is being tokenised.
    Reading,
    /// Tokens or vectors come.
    Running,
    /// Waiting for a voucher.
    Paused {
        /// Since when.
        since: Timestamp,
    },
    /// Complete; waiting for the last voucher.
    Finishing {
        /// Since when.
        since: Timestamp,
    },
    /// Nothing more happens.
    Over,
}

impl MeterState {
    const fn name(self) -> &'static str {
        match self {
            Self::Reading => "being read",
            Self::Running => "running",
            Self::Paused { .. } => "paused",
            Self::Finishing { .. } => "finishing",
            Self::Over => "over",
        }
    }
}

/// Meters one job and says when to receipt, pause and stop.
#[derive(Clone, Debug)]
pub struct JobMeter {
    terms: MeterTerms,
    state: MeterState,
    input: Digest,
    output: Output,
    /// Frames of work.
    chunks: u64,
    usage: Usage,
    /// The price of `usage`.
    cost: Amount,
    /// What the last slice covered.
    receipted: Usage,
    receipted_cost: Amount,
    paid_cost: Amount,
    /// Totals of the slices that are not signed yet, oldest first.
    unsigned: VecDeque<Amount>,
    /// Place and total of the receipts that are not paid yet, oldest first.
    unpaid: VecDeque<(u64, Amount)>,
    last_sequence: u64,
}

impl JobMeter {
    /// A job that is about to begin.
    pub fn new(terms: MeterTerms) -> Self {
        Self {
            terms,
            state: MeterState::Reading,
            input: Digest([0; 32]),
            output: Output::none(terms.output_max),
            chunks: 0,
            usage: Usage::default(),
            cost: Amount::ZERO,
            receipted: Usage::default(),
            receipted_cost: Amount::ZERO,
            paid_cost: Amount::ZERO,
            unsigned: VecDeque::new(),
            unpaid: VecDeque::new(),
            last_sequence: 0,
        }
    }

    /// Where it stands.
    pub const fn state(&self) -> MeterState {
        self.state
    }

    /// All work so far.
    pub const fn usage(&self) -> Usage {
        self.usage
    }

    /// The price of all work so far.
    pub const fn cost(&self) -> Amount {
        self.cost
    }

    /// The price of the work that no voucher covers.
    pub fn unpaid(&self) -> Amount {
        self.cost.saturating_sub(self.paid_cost)
    }

    /// How many more tokens the order and the cap allow. An executor that is told so stops by itself with
    /// [`FinishReason::Length`]. For vectors none are written.
    pub fn output_tokens_left(&self) -> u64 {
        let OutputMax::Tokens(most) = self.terms.output_max else { return 0 };
        let within_cap = self.terms.price.output_tokens_within(self.terms.cap, self.usage.input_tokens);
        within_cap.min(most.into()).saturating_sub(self.usage.output_tokens)
    }

    /// When [`MeterEvent::Elapsed`] is due, and what for.
    pub const fn poll_timeout(&self) -> Option<(Timestamp, &'static str)> {
        match self.state {
            MeterState::Paused { since } | MeterState::Finishing { since } => {
                Some((since.plus_ms(VOUCHER_WAIT_MS), "a voucher is missing"))
            }
            MeterState::Reading | MeterState::Running | MeterState::Over => None,
        }
    }

    /// Takes an event.
    ///
    /// # Errors
    /// [`MeterReject`]; the state is as before.
    pub fn apply(&mut self, now: Timestamp, event: MeterEvent) -> Result<Vec<MeterEffect>, MeterReject> {
        match event {
            MeterEvent::InputRead { input_tokens, input } => self.on_input_read(input_tokens, input),
            MeterEvent::Produced { tokens, text } => self.on_produced(now, tokens, text),
            MeterEvent::Embedded { vectors, input_tokens } => self.on_embedded(now, vectors, input_tokens),
            MeterEvent::ReceiptSigned { sequence } => self.on_receipt_signed(sequence),
            MeterEvent::ReceiptRefused(reason) => self.on_receipt_refused(reason),
            MeterEvent::VoucherAccepted { sequence } => self.on_voucher(sequence),
            MeterEvent::Finished(reason) => self.on_finished(now, reason),
            MeterEvent::Cancelled => self.on_cancelled(now),
            MeterEvent::Failed(reason) => self.on_failed(reason),
            MeterEvent::Elapsed => Ok(self.on_elapsed(now)),
        }
    }

    /// A cap that does not pay for the whole input ends the job before any of it is read. A prompt counts as read from here on,
    /// texts as their vectors are given.
    fn on_input_read(&mut self, input_tokens: u64, input: Digest) -> Result<Vec<MeterEffect>, MeterReject> {
        if self.state != MeterState::Reading {
            return Err(self.out_of_turn("the input"));
        }
        let all = Usage { input_tokens, output_tokens: 0 };
        if self.within_cap(all).is_none() {
            self.state = MeterState::Over;
            let cost = self.terms.price.cost(all).unwrap_or(Amount::MAX);
            return Ok(vec![MeterEffect::Stop(StopReason::CapTooSmall { cost, left: self.terms.cap })]);
        }
        self.usage = match self.terms.output_max {
            OutputMax::Tokens(_) => all,
            OutputMax::Vectors(_) => Usage::default(),
        };
        self.cost = self.within_cap(self.usage).unwrap_or(self.terms.cap);
        self.input = input;
        self.state = MeterState::Running;
        Ok(Vec::new())
    }

    fn on_produced(&mut self, now: Timestamp, tokens: Vec<u32>, text: String) -> Result<Vec<MeterEffect>, MeterReject> {
        self.check_runs("tokens")?;
        let OutputMax::Tokens(most) = self.terms.output_max else { return Err(MeterReject::OtherWork { event: "tokens" }) };
        if tokens.len() > CHUNK_TOKENS_MAX {
            return Err(MeterReject::ChunkTooLarge { tokens: tokens.len() });
        }
        if tokens.is_empty() && text.is_empty() {
            return Ok(Vec::new());
        }
        let usage = Usage { output_tokens: self.usage.output_tokens.saturating_add(count(&tokens)), ..self.usage };
        if usage.output_tokens > most.into() {
            return Ok(self.finish(now, FinishReason::Length));
        }
        Ok(self.take(now, usage, |meter, index| {
            meter.output.extend_tokens(&tokens);
            MeterEffect::SendChunk(Chunk { index, tokens, text, usage })
        }))
    }

    fn on_embedded(&mut self, now: Timestamp, vectors: Vec<Vector>, input_tokens: u64) -> Result<Vec<MeterEffect>, MeterReject> {
        self.check_runs("vectors")?;
        let OutputMax::Vectors(texts) = self.terms.output_max else { return Err(MeterReject::OtherWork { event: "vectors" }) };
        let bytes = vectors.iter().fold(0, |sum: usize, vector| sum.saturating_add(vector.as_bytes().len()));
        if bytes > VECTORS_BYTES_MAX {
            return Err(MeterReject::VectorsTooLarge { bytes });
        }
        let (got, before) = (self.output.vectors().saturating_add(count(&vectors)), self.usage.input_tokens);
        if got > texts.into() {
            return Err(MeterReject::TooManyVectors { got, texts });
        }
        if input_tokens < before.saturating_add(count(&vectors)) {
            return Err(MeterReject::InputTokens { before, got: input_tokens, vectors: vectors.len() });
        }
        if vectors.is_empty() {
            return Ok(Vec::new());
        }
        let usage = Usage { input_tokens, output_tokens: 0 };
        Ok(self.take(now, usage, |meter, index| {
            meter.output.extend_vectors(&vectors);
            MeterEffect::SendVectors(Vectors { index, vectors, usage })
        }))
    }

    fn check_runs(&self, event: &'static str) -> Result<(), MeterReject> {
        match self.state {
            MeterState::Running => Ok(()),
            MeterState::Paused { .. } => Err(MeterReject::Paused),
            MeterState::Reading | MeterState::Finishing { .. } | MeterState::Over => Err(self.out_of_turn(event)),
        }
    }

    /// Sends work and accounts for it, unless the cap does not pay for it, which ends the job.
    fn take(&mut self, now: Timestamp, usage: Usage, send: impl FnOnce(&mut Self, u64) -> MeterEffect) -> Vec<MeterEffect> {
        let Some(cost) = self.within_cap(usage) else { return self.finish(now, FinishReason::Length) };
        (self.usage, self.cost) = (usage, cost);
        let index = self.chunks;
        self.chunks = self.chunks.saturating_add(1);
        let mut effects = vec![send(self, index)];
        effects.extend(self.account(now));
        effects
    }

    /// After work was done: a receipt when a slice is full, and a pause when too much is unpaid. What is unpaid when it
    /// pauses is receipted first, or nobody could pay it.
    fn account(&mut self, now: Timestamp) -> Vec<MeterEffect> {
        let mut effects = Vec::new();
        let since = self.output.slice_tokens(self.usage).saturating_sub(self.output.slice_tokens(self.receipted));
        let owed_too_much = self.unpaid() > self.terms.float;
        if since >= self.terms.slice_tokens.into() || (owed_too_much && since > 0) {
            effects.push(self.issue(false));
        }
        if self.must_pause() {
            self.state = MeterState::Paused { since: now };
            effects.push(MeterEffect::Pause);
        }
        effects
    }

    /// Only what is receipted can be paid, so it never waits without a receipt.
    fn must_pause(&self) -> bool {
        let receipts = self.unsigned.len().saturating_add(self.unpaid.len());
        receipts > 0 && (self.unpaid() > self.terms.float || receipts >= RECEIPTS_UNPAID_MAX)
    }

    fn issue(&mut self, last: bool) -> MeterEffect {
        let amount = self.cost.saturating_sub(self.receipted_cost);
        (self.receipted, self.receipted_cost) = (self.usage, self.cost);
        self.unsigned.push_back(self.cost);
        MeterEffect::IssueReceipt(Slice {
            usage: self.usage,
            amount,
            total: self.cost,
            input: self.input,
            output: self.output.digest(),
            last,
        })
    }

    fn on_receipt_signed(&mut self, sequence: u64) -> Result<Vec<MeterEffect>, MeterReject> {
        if sequence <= self.last_sequence {
            return Err(MeterReject::Sequence { last: self.last_sequence, got: sequence });
        }
        let Some(total) = self.unsigned.pop_front() else {
            return Err(self.out_of_turn("a signed receipt that nobody asked for"));
        };
        self.last_sequence = sequence;
        self.unpaid.push_back((sequence, total));
        Ok(Vec::new())
    }

    fn on_voucher(&mut self, sequence: u64) -> Result<Vec<MeterEffect>, MeterReject> {
        if self.state == MeterState::Over {
            return Err(self.out_of_turn("a voucher"));
        }
        while let Some(&(place, total)) = self.unpaid.front()
            && place <= sequence
        {
            self.paid_cost = total;
            self.unpaid.pop_front();
        }
        match self.state {
            MeterState::Paused { .. } if !self.must_pause() => {
                self.state = MeterState::Running;
                Ok(vec![MeterEffect::Resume])
            }
            MeterState::Finishing { .. } if self.unsigned.is_empty() && self.unpaid.is_empty() => Ok(self.close()),
            MeterState::Reading | MeterState::Running | MeterState::Paused { .. } | MeterState::Finishing { .. } | MeterState::Over => {
                Ok(Vec::new())
            }
        }
    }

    fn on_finished(&mut self, now: Timestamp, reason: FinishReason) -> Result<Vec<MeterEffect>, MeterReject> {
        if let (FinishReason::Stop, OutputMax::Vectors(texts)) = (reason, self.terms.output_max)
            && self.output.vectors() < texts.into()
        {
            return Err(MeterReject::Unfinished { got: self.output.vectors(), texts });
        }
        match self.state {
            MeterState::Running | MeterState::Paused { .. } => Ok(self.finish(now, reason)),
            MeterState::Reading | MeterState::Finishing { .. } | MeterState::Over => Err(self.out_of_turn("the end")),
        }
    }

    fn on_cancelled(&mut self, now: Timestamp) -> Result<Vec<MeterEffect>, MeterReject> {
        match self.state {
            MeterState::Running | MeterState::Paused { .. } => Ok(self.finish(now, FinishReason::Cancelled)),
            MeterState::Reading => {
                // Nothing was read, so nothing is owed and there is nothing to receipt.
                let mut effects = vec![MeterEffect::Finish { reason: FinishReason::Cancelled, usage: self.usage }];
                effects.extend(self.close());
                Ok(effects)
            }
            // Both ends at once.
            MeterState::Finishing { .. } | MeterState::Over => Ok(Vec::new()),
        }
    }

    fn on_failed(&mut self, reason: StopReason) -> Result<Vec<MeterEffect>, MeterReject> {
        match self.state {
            MeterState::Reading | MeterState::Running | MeterState::Paused { .. } => {
                self.state = MeterState::Over;
                Ok(vec![MeterEffect::Stop(reason)])
            }
            // The answer is complete and receipted; only its voucher is missing.
            MeterState::Finishing { .. } => Ok(self.close()),
            MeterState::Over => Err(self.out_of_turn("a failure")),
        }
    }

    /// What was to be said after the receipt is not true without it: the end of an answer, too.
    fn on_receipt_refused(&mut self, reason: StopReason) -> Result<Vec<MeterEffect>, MeterReject> {
        match self.state {
            MeterState::Running | MeterState::Paused { .. } | MeterState::Finishing { .. } => {
                self.state = MeterState::Over;
                Ok(vec![MeterEffect::Stop(reason)])
            }
            MeterState::Reading | MeterState::Over => Err(self.out_of_turn("a refused receipt")),
        }
    }

    fn on_elapsed(&mut self, now: Timestamp) -> Vec<MeterEffect> {
        if self.poll_timeout().is_none_or(|(due, _)| due > now) {
            return Vec::new();
        }
        if matches!(self.state, MeterState::Paused { .. }) {
            self.state = MeterState::Over;
            return vec![MeterEffect::Stop(StopReason::Unpaid { unpaid: self.unpaid() })];
        }
        self.close()
    }

    fn finish(&mut self, now: Timestamp, reason: FinishReason) -> Vec<MeterEffect> {
        self.state = MeterState::Finishing { since: now };
        vec![self.issue(true), MeterEffect::Finish { reason, usage: self.usage }]
    }

    fn close(&mut self) -> Vec<MeterEffect> {
        self.state = MeterState::Over;
        vec![MeterEffect::Close { unpaid: self.unpaid() }]
    }

    fn within_cap(&self, usage: Usage) -> Option<Amount> {
        self.terms.price.cost(usage).ok().filter(|cost| *cost <= self.terms.cap)
    }

    const fn out_of_turn(&self, event: &'static str) -> MeterReject {
        MeterReject::OutOfTurn { state: self.state.name(), event }
    }
}

fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}
