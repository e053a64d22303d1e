//! The requester's side of one job: believes nothing that it cannot recompute.

use crate::agreement::Agreement;
use crate::amount::Amount;
use crate::ids::{AgreementId, ChannelRef, Digest, JobId, NodeId};
use crate::job::{
    CHUNK_TOKENS_MAX, Chunk, FinishReason, JobRequest, ProviderFrame, StopReason, VECTOR_WIDTH_MAX, VECTORS_BYTES_MAX, Vectors, Work,
};
use crate::offer::Tier;
use crate::penalty::Penalty;
use crate::price::{PriceTable, Usage};
use crate::progress::output::{Output, OutputMax};
use crate::receipt::{ReceiptError, SignedReceipt};
use crate::time::Timestamp;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckEvent {
    /// The provider sent this.
    Frame(ProviderFrame),
    /// The voucher for the oldest receipt that was to be paid is journalled and sent.
    VoucherSent,
    /// We sent `Cancel`.
    CancelSent,
    /// [`JobCheck::poll_timeout`] was reached.
    Elapsed,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckEffect {
    /// Give these tokens and this text to who asked.
    Deliver(Chunk),
    /// Give these vectors to who asked.
    DeliverVectors(Vectors),
    /// Let the ledger check the receipt's place in the channel, then pay it with a voucher.
    Pay(Box<SignedReceipt>),
    /// The job is over.
    End(Outcome),
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The work is complete.
    Done {
        /// Why it ended.
        reason: FinishReason,
        /// All work.
        usage: Usage,
        /// What it cost.
        cost: Amount,
    },
    /// The provider stopped. What was delivered and receipted stays so.
    Stopped {
        /// Why.
        reason: StopReason,
        /// What was received.
        received: Usage,
        /// What was receipted, and so is owed.
        cost: Amount,
    },
}

/// A rule of the job that the provider broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobFault {
    /// A chunk is missing, doubled or out of order. Peer penalty: ban; a stream keeps its order.
    #[error("chunk {got} came where chunk {want} was due")]
    ChunkIndex {
        /// Which was due.
        want: u64,
        /// Which came.
        got: u64,
    },
    /// More tokens than a chunk may have, or neither tokens nor text. Peer penalty: ban.
    #[error("a chunk of {tokens} tokens")]
    ChunkSize {
        /// How many.
        tokens: usize,
    },
    /// The usage is not what was received. Peer penalty: ban.
    #[error("usage of {} in and {} out was claimed where {} in and {} out were received", .claimed.input_tokens, .claimed.output_tokens, .received.input_tokens, .received.output_tokens)]
    Usage {
        /// What was claimed.
        claimed: Usage,
        /// What was received.
        received: Usage,
    },
    /// What was sent was not ordered. Peer penalty: ban.
    #[error("{0} came, which were not ordered")]
    OtherWork(&'static str),
    /// No vectors in a frame of them, or more than texts are left. Peer penalty: ban.
    #[error("{got} vectors came where {left} were left to come")]
    VectorCount {
        /// How many came.
        got: usize,
        /// How many texts had none.
        left: u64,
    },
    /// A vector wider than may be, or as wide as no other of the job. Peer penalty: ban.
    #[error("a vector of {got} elements came where {want} are due")]
    VectorWidth {
        /// How many it has.
        got: usize,
        /// How many it must have, or may have at most.
        want: usize,
    },
    /// More bytes of vectors than a frame may have. Peer penalty: ban.
    #[error("{bytes} bytes of vectors in one frame")]
    VectorBytes {
        /// How many.
        bytes: usize,
    },
    /// An element that is no number, or infinite. Peer penalty: ban; an encoder that gives such is broken.
    #[error("a vector has an element that is no number")]
    NotFinite,
    /// The order was called done, and texts have no vector. Peer penalty: ban.
    #[error("the work was called complete with {got} of {want} vectors")]
    Unfinished {
        /// How many came.
        got: u64,
        /// How many were ordered.
        want: u64,
    },
    /// The input cannot have so many tokens, or so few. Peer penalty: ban.
    #[error("{claimed} tokens read of an input that has at most {max}")]
    InputTokens {
        /// What was claimed.
        claimed: u64,
        /// The most it can be.
        max: u64,
    },
    /// More was written than ordered. Peer penalty: ban.
    #[error("{got} tokens written where {max} were ordered")]
    TooManyTokens {
        /// How many.
        got: u64,
        /// How many were ordered.
        max: u64,
    },
    /// The receipt does not verify. Peer penalty: ban.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The receipt is about something else. Peer penalty: ban.
    #[error("the receipt names another {0}")]
    Foreign(&'static str),
    /// The amount is not the price. Peer penalty: ban.
    #[error("the receipt asks {asked} for work that costs {price}")]
    Amount {
        /// What was asked.
        asked: Amount,
        /// What it costs.
        price: Amount,
    },
    /// The cap is exceeded. Peer penalty: ban.
    #[error("the job costs {cost}, above its cap {cap}")]
    AboveCap {
        /// What it costs.
        cost: Amount,
        /// The most it may cost.
        cap: Amount,
    },
    /// A commitment is not that of what was received. Peer penalty: ban.
    #[error("the receipt's {0} commitment is wrong")]
    Commitment(&'static str),
    /// A receipt for nothing. Peer penalty: ban; each costs a signature and a durable write.
    #[error("a receipt for no work")]
    EmptySlice,
    /// The receipt is from the future. Peer penalty: low; the clock may be wrong.
    #[error("the receipt was issued {ahead_ms} ms in the future")]
    FromTheFuture {
        /// How far ahead.
        ahead_ms: u64,
    },
    /// Something came after the final receipt. Peer penalty: ban.
    #[error("{0} came after the final receipt")]
    AfterTheEnd(&'static str),
    /// The work was called complete without a final receipt. Peer penalty: ban.
    #[error("the work was called complete before its final receipt")]
    NoFinalReceipt,
    /// The provider broke its promise of time. Peer penalty: low; machines get slow.
    #[error("nothing came within {waited_ms} ms")]
    TooSlow {
        /// How long we waited.
        waited_ms: u64,
    },
    /// The job is over. Peer penalty: none; frames cross.
    #[error("the job is over")]
    Over,
}

impl JobFault {
    /// What it costs the provider.
    pub const fn penalty(&self) -> Penalty {
        match self {
            Self::Over => Penalty::None,
            Self::TooSlow { .. } | Self::FromTheFuture { .. } => Penalty::Low,
            Self::ChunkIndex { .. }
            | Self::ChunkSize { .. }
            | Self::Usage { .. }
            | Self::OtherWork(_)
            | Self::VectorCount { .. }
            | Self::VectorWidth { .. }
            | Self::VectorBytes { .. }
            | Self::NotFinite
            | Self::Unfinished { .. }
            | Self::InputTokens { .. }
            | Self::TooManyTokens { .. }
            | Self::Receipt(_)
            | Self::Foreign(_)
            | Self::Amount { .. }
            | Self::AboveCap { .. }
            | Self::Commitment(_)
            | Self::EmptySlice
            | Self::AfterTheEnd(_)
            | Self::NoFinalReceipt => Penalty::Ban,
        }
    }
}

/// How far the job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Streaming,
    Receipted,
    Over,
}

/// Checks one job from the requester's side.
#[derive(Clone, Debug)]
pub struct JobCheck {
    provider: NodeId,
    agreement: AgreementId,
    channel: ChannelRef,
    job: JobId,
    price: PriceTable,
    cap: Amount,
    tier: Tier,
    seed: Digest,
    input_tokens_max: u64,
    output_max: OutputMax,
    /// The most tokens that the first texts may have, for each number of them; empty for a generation.
    texts_tokens_max: Vec<u64>,
    /// The width of the job's vectors, which the first one sets for all.
    width: Option<usize>,
    first_chunk_ms: u64,
    chunk_ms: u64,
    stage: Stage,
    chunks: u64,
    received: Usage,
    output: Output,
    /// The commitment to the prompt, which the first receipt sets for all.
    input: Option<Digest>,
    receipted: Usage,
    receipted_cost: Amount,
    /// Receipts that we have not paid yet: while there are any, it is we who are waited for.
    unpaid: u64,
    /// When the provider's clock began to run.
    waiting_since: Timestamp,
}

impl JobCheck {
    /// A job that was just ordered under `agreement`, of whose cap so much is left.
    pub fn new(now: Timestamp, agreement: &Agreement, request: &JobRequest, cap_left: Amount) -> Self {
        let (terms, output_max) = (agreement.terms(), OutputMax::of(&request.work));
        let texts_tokens_max = match &request.work {
            Work::Generate(_) => Vec::new(),
            Work::Embed(embed) => embed.input_tokens_max(),
        };
        Self {
            provider: agreement.body().provider,
            agreement: agreement.id(),
            channel: terms.channel,
            job: request.job,
            price: terms.price,
            cap: cap_left,
            tier: terms.tier,
            seed: request.seed_commitment(),
            input_tokens_max: request.work.input_tokens_max(),
            output_max,
            texts_tokens_max,
            width: None,
            first_chunk_ms: terms.first_chunk_ms.into(),
            chunk_ms: terms.chunk_ms.into(),
            stage: Stage::Streaming,
            chunks: 0,
            received: Usage::default(),
            output: Output::none(output_max),
            input: None,
            receipted: Usage::default(),
            receipted_cost: Amount::ZERO,
            unpaid: 0,
            waiting_since: now,
        }
    }

    /// Replaces the estimate of how many tokens the input has by the requester's own count and commitment.
    #[must_use]
    pub fn with_known_input(self, input_tokens: u64, input: Digest) -> Self {
        Self { input_tokens_max: input_tokens, input: Some(input), ..self }
    }

    /// All work received.
    pub const fn received(&self) -> Usage {
        self.received
    }

    /// What was receipted, and so is owed.
    pub const fn cost(&self) -> Amount {
        self.receipted_cost
    }

    /// Whether the job is over.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// When [`CheckEvent::Elapsed`] is due, and what for. Nothing is due while the provider waits for our voucher.
    pub fn poll_timeout(&self) -> Option<(Timestamp, &'static str)> {
        match self.stage {
            Stage::Streaming | Stage::Receipted if self.unpaid == 0 => Some(if self.chunks == 0 {
                (self.waiting_since.plus_ms(self.first_chunk_ms), "the first tokens or vectors are due")
            } else {
                (self.waiting_since.plus_ms(self.chunk_ms), "more are due")
            }),
            Stage::Streaming | Stage::Receipted | Stage::Over => None,
        }
    }

    /// Takes an event.
    ///
    /// # Errors
    /// [`JobFault`]; the check is as before. The job is not worth going on with, unless the fault is [`JobFault::Over`].
    pub fn apply(&mut self, now: Timestamp, event: CheckEvent) -> Result<Vec<CheckEffect>, JobFault> {
        if self.stage == Stage::Over {
            return Err(JobFault::Over);
        }
        match event {
            CheckEvent::Frame(ProviderFrame::Chunk(chunk)) => self.on_chunk(now, chunk),
            CheckEvent::Frame(ProviderFrame::Vectors(vectors)) => self.on_vectors(now, vectors),
            CheckEvent::Frame(ProviderFrame::Receipt(receipt)) => self.on_receipt(now, receipt),
            CheckEvent::Frame(ProviderFrame::Done { reason, usage }) => self.on_done(reason, usage),
            CheckEvent::Frame(ProviderFrame::Stopped(reason)) => Ok(self.on_stopped(reason)),
            CheckEvent::VoucherSent => Ok(self.on_voucher_sent(now)),
            CheckEvent::CancelSent => {
                // The provider ends at its next token; until then its promise holds as before.
                self.waiting_since = now;
                Ok(Vec::new())
            }
            CheckEvent::Elapsed => self.on_elapsed(now),
        }
    }

    fn on_chunk(&mut self, now: Timestamp, chunk: Chunk) -> Result<Vec<CheckEffect>, JobFault> {
        let OutputMax::Tokens(most) = self.output_max else { return Err(JobFault::OtherWork("tokens")) };
        self.check_place("a chunk", chunk.index)?;
        let tokens = chunk.tokens.len();
        if tokens > CHUNK_TOKENS_MAX || (tokens == 0 && chunk.text.is_empty()) {
            return Err(JobFault::ChunkSize { tokens });
        }
        let count = u64::try_from(tokens).unwrap_or(u64::MAX);
        let received =
            Usage { input_tokens: self.input_tokens(chunk.usage)?, output_tokens: self.received.output_tokens.saturating_add(count) };
        if chunk.usage != received {
            return Err(JobFault::Usage { claimed: chunk.usage, received });
        }
        if received.output_tokens > most.into() {
            return Err(JobFault::TooManyTokens { got: received.output_tokens, max: most.into() });
        }
        self.chunks = self.chunks.saturating_add(1);
        self.received = received;
        self.output.extend_tokens(&chunk.tokens);
        // Text alone is no progress, or a provider could feign it for ever.
        if tokens > 0 {
            self.waiting_since = now;
        }
        Ok(vec![CheckEffect::Deliver(chunk)])
    }

    fn on_vectors(&mut self, now: Timestamp, vectors: Vectors) -> Result<Vec<CheckEffect>, JobFault> {
        let OutputMax::Vectors(texts) = self.output_max else { return Err(JobFault::OtherWork("vectors")) };
        self.check_place("vectors", vectors.index)?;
        let (got, left) = (vectors.vectors.len(), u64::from(texts).saturating_sub(self.output.vectors()));
        let count = u64::try_from(got).unwrap_or(u64::MAX);
        if count == 0 || count > left {
            return Err(JobFault::VectorCount { got, left });
        }
        let width = self.check_vectors(&vectors)?;
        let received = self.check_texts_read(vectors.usage, count)?;
        self.chunks = self.chunks.saturating_add(1);
        self.received = received;
        self.width = width;
        self.output.extend_vectors(&vectors.vectors);
        self.waiting_since = now;
        Ok(vec![CheckEffect::DeliverVectors(vectors)])
    }

    /// Checks that vectors are as wide as each other and those before, and numbers; gives that width.
    fn check_vectors(&self, vectors: &Vectors) -> Result<Option<usize>, JobFault> {
        let mut width = self.width;
        let mut bytes: usize = 0;
        for vector in &vectors.vectors {
            let got = vector.width();
            let want = *width.get_or_insert(got.min(VECTOR_WIDTH_MAX));
            if got != want {
                return Err(JobFault::VectorWidth { got, want });
            }
            if !vector.is_finite() {
                return Err(JobFault::NotFinite);
            }
            bytes = bytes.saturating_add(vector.as_bytes().len());
        }
        if bytes > VECTORS_BYTES_MAX { Err(JobFault::VectorBytes { bytes }) } else { Ok(width) }
    }

    /// The usage after so many more vectors: each text has a token at least, and no more than bytes and ends.
    fn check_texts_read(&self, claimed: Usage, more: u64) -> Result<Usage, JobFault> {
        let read = usize::try_from(self.output.vectors().saturating_add(more)).unwrap_or(usize::MAX);
        let most = self.texts_tokens_max.get(read.saturating_sub(1)).copied().unwrap_or(0).min(self.input_tokens_max);
        if claimed.input_tokens > most {
            return Err(JobFault::InputTokens { claimed: claimed.input_tokens, max: most });
        }
        let received = Usage { output_tokens: 0, ..claimed };
        if claimed != received || claimed.input_tokens < self.received.input_tokens.saturating_add(more) {
            return Err(JobFault::Usage { claimed, received: self.received });
        }
        Ok(received)
    }

    const fn check_place(&self, what: &'static str, index: u64) -> Result<(), JobFault> {
        if !matches!(self.stage, Stage::Streaming) {
            return Err(JobFault::AfterTheEnd(what));
        }
        if index != self.chunks {
            return Err(JobFault::ChunkIndex { want: self.chunks, got: index });
        }
        Ok(())
    }

    /// The tokens read: of a prompt the provider's first word, within reason, holds for the whole job; of texts only those count
    /// whose vectors came.
    const fn input_tokens(&self, claimed: Usage) -> Result<u64, JobFault> {
        if self.chunks > 0 || matches!(self.output_max, OutputMax::Vectors(_)) {
            return Ok(self.received.input_tokens);
        }
        if claimed.input_tokens > self.input_tokens_max {
            return Err(JobFault::InputTokens { claimed: claimed.input_tokens, max: self.input_tokens_max });
        }
        Ok(claimed.input_tokens)
    }

    fn on_receipt(&mut self, now: Timestamp, signed: Box<SignedReceipt>) -> Result<Vec<CheckEffect>, JobFault> {
        if self.stage != Stage::Streaming {
            return Err(JobFault::AfterTheEnd("a receipt"));
        }
        signed.verify(&self.provider)?;
        let received = self.check_receipt(now, &signed)?;
        let body = &signed.receipt.body;
        self.input = Some(body.input);
        self.received = received;
        self.receipted = body.usage;
        self.receipted_cost = self.price_of(body.usage)?;
        self.unpaid = self.unpaid.saturating_add(1);
        if body.last {
            self.stage = Stage::Receipted;
        }
        Ok(vec![CheckEffect::Pay(signed)])
    }

    /// Everything about a receipt but its place in the channel. Returns what was received up to it.
    fn check_receipt(&self, now: Timestamp, signed: &SignedReceipt) -> Result<Usage, JobFault> {
        let (header, body) = (&signed.receipt.header, &signed.receipt.body);
        let names =
            [(header.channel == self.channel, "channel"), (header.job == self.job, "job"), (body.agreement == self.agreement, "agreement")];
        if let Some((_, what)) = names.into_iter().find(|(same, _)| !same) {
            return Err(JobFault::Foreign(what));
        }
        let received = Usage { input_tokens: self.input_tokens(body.usage)?, ..self.received };
        if body.usage != received {
            return Err(JobFault::Usage { claimed: body.usage, received });
        }
        if !body.last && self.output.slice_tokens(body.usage) == self.output.slice_tokens(self.receipted) {
            return Err(JobFault::EmptySlice);
        }
        let cost = self.price_of(body.usage)?;
        if cost > self.cap {
            return Err(JobFault::AboveCap { cost, cap: self.cap });
        }
        let price = cost.saturating_sub(self.receipted_cost);
        if body.amount != price {
            return Err(JobFault::Amount { asked: body.amount, price });
        }
        let commitments = [
            (body.output == self.output.digest(), "output"),
            (body.seed == self.seed, "seed"),
            (self.input.is_none_or(|input| input == body.input), "input"),
            (self.tier != Tier::Plain || body.work == Digest([0; 32]), "work"),
        ];
        if let Some((_, what)) = commitments.into_iter().find(|(right, _)| !right) {
            return Err(JobFault::Commitment(what));
        }
        if !body.issued_at.is_plausible_issue(now) {
            return Err(JobFault::FromTheFuture { ahead_ms: body.issued_at.since_ms(now) });
        }
        Ok(received)
    }

    fn price_of(&self, usage: Usage) -> Result<Amount, JobFault> {
        self.price.cost(usage).map_err(|_| JobFault::AboveCap { cost: Amount::MAX, cap: self.cap })
    }

    fn on_done(&mut self, reason: FinishReason, usage: Usage) -> Result<Vec<CheckEffect>, JobFault> {
        // A job that was cancelled before its input was read has nothing to receipt.
        let untouched = self.chunks == 0;
        if self.stage != Stage::Receipted && !untouched {
            return Err(JobFault::NoFinalReceipt);
        }
        if usage != self.received {
            return Err(JobFault::Usage { claimed: usage, received: self.received });
        }
        self.check_complete(reason)?;
        self.stage = Stage::Over;
        Ok(vec![CheckEffect::End(Outcome::Done { reason, usage, cost: self.receipted_cost })])
    }

    /// Who ends by itself has given a vector for each text; an answer is as long as its model says.
    fn check_complete(&self, reason: FinishReason) -> Result<(), JobFault> {
        let OutputMax::Vectors(texts) = self.output_max else { return Ok(()) };
        let (got, want) = (self.output.vectors(), texts.into());
        match reason {
            FinishReason::Stop if got < want => Err(JobFault::Unfinished { got, want }),
            FinishReason::Stop | FinishReason::StopSequence | FinishReason::Length | FinishReason::Cancelled => Ok(()),
        }
    }

    fn on_stopped(&mut self, reason: StopReason) -> Vec<CheckEffect> {
        self.stage = Stage::Over;
        vec![CheckEffect::End(Outcome::Stopped { reason, received: self.received, cost: self.receipted_cost })]
    }

    const fn on_voucher_sent(&mut self, now: Timestamp) -> Vec<CheckEffect> {
        self.unpaid = self.unpaid.saturating_sub(1);
        if self.unpaid == 0 {
            self.waiting_since = now;
        }
        Vec::new()
    }

    fn on_elapsed(&self, now: Timestamp) -> Result<Vec<CheckEffect>, JobFault> {
        match self.poll_timeout() {
            Some((due, _)) if due <= now => Err(JobFault::TooSlow { waited_ms: now.since_ms(self.waiting_since) }),
            Some(_) | None => Ok(Vec::new()),
        }
    }
}
