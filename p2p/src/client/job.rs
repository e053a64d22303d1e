//! Running one job: what market's check decides, with the stream and the purse behind it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use cocoon_market::agreement::Agreement;
use cocoon_market::job::{
    Chunk, Embed, FinishReason, Generate, JobRequest, Prompt, ProviderFrame, RequesterFrame, Sampling, Vectors, Work, WorkKind,
};
use cocoon_market::progress::{CheckEffect, CheckEvent, JobCheck, JobFault, Outcome, RECEIPTS_UNPAID_MAX};
use cocoon_market::reputation::Experienced;
use cocoon_market::{AgreementId, Amount, JobId, SignedReceipt, SignedVoucher, Timestamp, Usage};
use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt as _, SinkExt as _, Stream, StreamExt as _, future, select_biased};

use super::{Client, JobError, JobProgress};
use crate::node::{Node, ReachError};
use crate::payment::{PayError, PayErrorKind, Payer};
use crate::penalty::Offence;
use crate::protocol::frame::FrameError;
use crate::protocol::job::{JobFrames, JobWriter, requester_end};
use crate::shell::{Deadline, Entropy, within};

/// Events a reader may be behind its job; beyond that the provider is held up, which costs nothing.
pub const JOB_EVENTS_MAX: usize = 1024;

/// How long payments under way may take to come to rest when their provider is gone: a payer waits no longer for a
/// missing receipt, which now never comes.
const PAYMENT_REST: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobOrder {
    /// Write text.
    Generate(GenerateOrder),
    /// Turn texts into vectors.
    Embed(EmbedOrder),
}

impl From<GenerateOrder> for JobOrder {
    fn from(order: GenerateOrder) -> Self {
        Self::Generate(order)
    }
}

impl From<EmbedOrder> for JobOrder {
    fn from(order: EmbedOrder) -> Self {
        Self::Embed(order)
    }
}

impl JobOrder {
    /// The order as it is sent, with what it leaves open drawn.
    fn request(self, agreement: AgreementId, entropy: &Entropy) -> JobRequest {
        let (job, work) = match self {
            Self::Generate(order) => {
                let GenerateOrder { prompt, output_tokens_max, sampling, stop, seed, job } = order;
                let seed = seed.unwrap_or_else(|| entropy.bytes());
                (job, Work::Generate(Generate { prompt, output_tokens_max, sampling, stop, seed }))
            }
            Self::Embed(EmbedOrder { texts, job }) => (job, Work::Embed(Embed { texts })),
        };
        JobRequest { agreement, job: job.unwrap_or_else(|| JobId(entropy.bytes())), work }
    }
}

/// Texts whose vectors are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedOrder {
    /// The texts, at most [`TEXTS_MAX`](cocoon_market::job::TEXTS_MAX). Their vectors come in this order.
    pub texts: Vec<String>,
    /// The job's name; `None` draws one.
    pub job: Option<JobId>,
}

impl EmbedOrder {
    /// The vectors of these texts.
    pub const fn new(texts: Vec<String>) -> Self {
        Self { texts, job: None }
    }
}

/// What is to be generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateOrder {
    /// What the model reads.
    pub prompt: Prompt,
    /// The most tokens to write.
    pub output_tokens_max: u32,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// The sampling seed; `None` draws one.
    pub seed: Option<[u8; 32]>,
    /// The job's name; `None` draws one.
    pub job: Option<JobId>,
}

impl GenerateOrder {
    /// The likeliest continuation of a prompt, up to so many tokens.
    pub const fn new(prompt: Prompt, output_tokens_max: u32) -> Self {
        Self { prompt, output_tokens_max, sampling: Sampling::GREEDY, stop: Vec::new(), seed: None, job: None }
    }
}

/// Something happened to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEvent {
    /// Some tokens came.
    Chunk(Chunk),
    /// Some vectors came.
    Vectors(Vectors),
    /// A slice was receipted and paid.
    Receipted {
        /// The provider's receipt.
        receipt: Box<SignedReceipt>,
        /// Our voucher.
        voucher: SignedVoucher,
    },
    /// The work is complete and paid; nothing follows.
    Done {
        /// Why it ended.
        reason: FinishReason,
        /// All metered work.
        usage: Usage,
        /// What it cost.
        paid: Amount,
    },
}

/// A running job: a stream of its events, which ends after [`JobEvent::Done`] or an error. Dropping it cancels the job.
#[derive(Debug)]
pub struct JobHandle {
    job: JobId,
    events: mpsc::Receiver<Result<JobEvent, JobError>>,
    cancel: mpsc::Sender<()>,
}

impl JobHandle {
    /// The job's name.
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// Asks the provider to stop. What was done is still receipted, paid, and reported with [`JobEvent::Done`].
    pub fn cancel(&mut self) {
        // Full means that it was asked already; closed, that the job is over.
        let _ = self.cancel.try_send(());
    }
}

impl Stream for JobHandle {
    type Item = Result<JobEvent, JobError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_next_unpin(cx)
    }
}

impl Client {
    /// Orders a job under an agreement.
    ///
    /// # Errors
    /// [`JobError::Order`] and [`JobError::Reach`]; everything later ends the stream.
    pub async fn run(&self, agreement: &Agreement, order: impl Into<JobOrder>) -> Result<JobHandle, JobError> {
        let request = order.into().request(agreement.id(), &self.entropy);
        request.check()?;
        let (job, kind) = (request.job, request.work.kind());
        let stream = self.node.open_job(&agreement.body().provider_peer).await?;
        let (frames, mut writer) = requester_end(stream);
        let now = self.node.clock().now();
        let check = JobCheck::new(now, agreement, &request, agreement.terms().cap);
        let shown = self.payer.last_voucher(agreement.terms().channel).await;
        writer.send(&RequesterFrame::Start(Box::new(request))).await.map_err(|_| ReachError::Lost)?;
        // It pays nothing of this job. A provider whose books are older than it is told before it numbers a receipt twice.
        if let Some(voucher) = shown {
            // A provider that refuses the job has perhaps closed its half; its reason is read next.
            let _ = writer.send(&RequesterFrame::Voucher(voucher)).await;
        }
        let (events_tx, events) = mpsc::channel(JOB_EVENTS_MAX);
        let (cancel, cancelled) = mpsc::channel(0);
        let running = Running {
            kind,
            node: self.node.clone(),
            payer: Arc::clone(&self.payer),
            agreement: Arc::new(agreement.clone()),
            check,
            frames,
            writer,
            events: events_tx,
            cancelled: Some(cancelled),
            payments: FuturesOrdered::new(),
            progress: JobProgress::default(),
            deadline: Deadline::default(),
            started_at: now,
            first_chunk_at: None,
            first_tokens: 0,
            last_chunk_at: now,
        };
        self.node.spawner().spawn(Box::pin(running.carry_out()));
        Ok(JobHandle { job, events, cancel })
    }
}

/// One receipt on its way to a voucher.
type Payment = BoxFuture<'static, (Box<SignedReceipt>, Result<SignedVoucher, PayError>)>;

struct Running {
    kind: WorkKind,
    node: Node,
    payer: Arc<dyn Payer>,
    agreement: Arc<Agreement>,
    check: JobCheck,
    frames: JobFrames<ProviderFrame>,
    writer: JobWriter,
    events: mpsc::Sender<Result<JobEvent, JobError>>,
    /// `None` once the provider was told.
    cancelled: Option<mpsc::Receiver<()>>,
    /// In the order of their receipts.
    payments: FuturesOrdered<Payment>,
    progress: JobProgress,
    deadline: Deadline,
    started_at: Timestamp,
    first_chunk_at: Option<Timestamp>,
    first_tokens: u64,
    last_chunk_at: Timestamp,
}

/// What can happen next to a job.
enum Input {
    Frame(Option<Result<ProviderFrame, FrameError>>),
    Paid(Box<SignedReceipt>, Result<SignedVoucher, PayError>),
    Cancel,
    Time,
}

impl Running {
    async fn carry_out(mut self) {
        let last = self.until_over().await;
        self.learn(&last).await;
        if last.is_err() && !self.check.is_over() {
            // The provider is told that nobody listens any more; it may be gone itself.
            let _ = self.writer.send(&RequesterFrame::Cancel).await;
        }
        self.writer.close().await;
        let _ = self.events.send(last).await;
    }

    async fn until_over(&mut self) -> Result<JobEvent, JobError> {
        loop {
            let due = self.check.poll_timeout().map(|(due, _)| due);
            self.deadline.set(self.node.clock().now(), due);
            let outcome = match self.next_input().await {
                Input::Frame(Some(Ok(frame))) => self.apply(CheckEvent::Frame(frame)).await?,
                Input::Frame(Some(Err(error))) => return Err(self.stream_failed(error).await),
                Input::Frame(None) => return Err(self.lost(None).await),
                Input::Paid(receipt, result) => self.on_paid(receipt, result).await?,
                Input::Cancel => self.on_cancel().await?,
                Input::Time => self.apply(CheckEvent::Elapsed).await?,
            };
            if let Some(outcome) = outcome {
                return self.settle(outcome).await;
            }
        }
    }

    async fn next_input(&mut self) -> Input {
        let mut frame = if self.payments.len() < RECEIPTS_UNPAID_MAX {
            self.frames.next().left_future().fuse()
        } else {
            // More receipts than anybody may have open: those that are here come first.
            future::pending().right_future().fuse()
        };
        let mut cancelled = match &mut self.cancelled {
            Some(cancelled) => cancelled.next().left_future().fuse(),
            None => future::pending().right_future().fuse(),
        };
        select_biased! {
            (receipt, result) = self.payments.select_next_some() => Input::Paid(receipt, result),
            frame = frame => Input::Frame(frame),
            // A handle that was dropped reads no answer: that cancels, too.
            _ = cancelled => Input::Cancel,
            () = self.deadline.reached().fuse() => Input::Time,
        }
    }

    /// Lets the check decide, and does what it says.
    async fn apply(&mut self, event: CheckEvent) -> Result<Option<Outcome>, JobError> {
        let effects = match self.check.apply(self.node.clock().now(), event) {
            Ok(effects) => effects,
            Err(fault) => return Err(self.faulted(fault).await),
        };
        for effect in VecDeque::from(effects) {
            match effect {
                CheckEffect::Deliver(chunk) => self.deliver(JobEvent::Chunk(chunk)).await,
                CheckEffect::DeliverVectors(vectors) => self.deliver(JobEvent::Vectors(vectors)).await,
                CheckEffect::Pay(receipt) => self.pay(receipt),
                CheckEffect::End(outcome) => return Ok(Some(outcome)),
            }
        }
        Ok(None)
    }

    async fn deliver(&mut self, work: JobEvent) {
        self.progress.usage = self.check.received();
        self.progress.received_tokens = match self.kind {
            WorkKind::Generate => self.progress.usage.output_tokens,
            WorkKind::Embed => self.progress.usage.input_tokens,
        };
        self.last_chunk_at = self.node.clock().now();
        if self.first_chunk_at.is_none() {
            (self.first_chunk_at, self.first_tokens) = (Some(self.last_chunk_at), self.progress.received_tokens);
        }
        // Nobody reads: the job ends through its cancellation.
        let _ = self.events.send(Ok(work)).await;
    }

    fn pay(&mut self, receipt: Box<SignedReceipt>) {
        let (payer, agreement) = (Arc::clone(&self.payer), Arc::clone(&self.agreement));
        self.payments.push_back(Box::pin(async move {
            let result = payer.pay(&agreement, &receipt).await;
            (receipt, result)
        }));
    }

    async fn on_paid(&mut self, receipt: Box<SignedReceipt>, result: Result<SignedVoucher, PayError>) -> Result<Option<Outcome>, JobError> {
        let voucher = match result {
            Ok(voucher) => voucher,
            Err(cause) => {
                if cause.kind == PayErrorKind::Receipt {
                    self.penalise(Offence::Forgery).await;
                }
                return Err(JobError::Payment { cause, progress: self.progress });
            }
        };
        if let Err(error) = self.writer.send(&RequesterFrame::Voucher(voucher)).await {
            return Err(self.lost(Some(error)).await);
        }
        self.progress.paid = self.progress.paid.checked_add(receipt.receipt.body.amount).unwrap_or(self.progress.paid);
        let _ = self.events.send(Ok(JobEvent::Receipted { receipt, voucher })).await;
        // After the end nothing waits for vouchers any more, but they are owed all the same.
        if self.check.is_over() { Ok(None) } else { self.apply(CheckEvent::VoucherSent).await }
    }

    async fn on_cancel(&mut self) -> Result<Option<Outcome>, JobError> {
        self.cancelled = None;
        if let Err(error) = self.writer.send(&RequesterFrame::Cancel).await {
            return Err(self.lost(Some(error)).await);
        }
        self.apply(CheckEvent::CancelSent).await
    }

    /// Pays what was receipted before the end, then says what the end was.
    async fn settle(&mut self, outcome: Outcome) -> Result<JobEvent, JobError> {
        while let Some((receipt, result)) = self.payments.next().await {
            self.on_paid(receipt, result).await?;
        }
        match outcome {
            Outcome::Done { reason, usage, .. } => Ok(JobEvent::Done { reason, usage, paid: self.progress.paid }),
            Outcome::Stopped { reason, .. } => Err(JobError::Stopped { reason, progress: self.progress }),
        }
    }

    async fn faulted(&mut self, fault: JobFault) -> JobError {
        if let Some(offence) = Offence::of(fault.penalty()) {
            self.penalise(offence).await;
        }
        match fault {
            JobFault::TooSlow { waited_ms } => JobError::TooSlow { waited_ms, progress: self.progress },
            cause => JobError::Cheated { cause, progress: self.progress },
        }
    }

    async fn stream_failed(&mut self, error: FrameError) -> JobError {
        if !error.is_garbage() {
            return self.lost(Some(error)).await;
        }
        self.penalise(Offence::Garbage).await;
        JobError::Garbage { cause: error, progress: self.progress }
    }

    /// The provider is gone. Payments under way are let come to rest: a journal is not to be left in the middle of a word.
    async fn lost(&mut self, cause: Option<FrameError>) -> JobError {
        let payments = &mut self.payments;
        let rest = async { while payments.next().await.is_some() {} };
        if within(PAYMENT_REST, rest).await.is_err() {
            tracing::warn!(agreement = %self.agreement.id(), "payments of a lost job were given up");
        }
        let JobProgress { paid, received_tokens, usage } = self.progress;
        JobError::ProviderLost { paid, received_tokens, usage, cause }
    }

    /// Remembers how it went, for the next choice of a provider.
    async fn learn(&mut self, last: &Result<JobEvent, JobError>) {
        let now = self.node.clock().now();
        let experienced = match last {
            // Nothing is learnt from a job that was broken off before it began.
            Ok(_) if self.first_chunk_at.is_none() => return,
            Ok(_) => {
                let first = self.first_chunk_at.unwrap_or(now);
                let tokens = match self.kind {
                    WorkKind::Generate => self.progress.received_tokens.saturating_sub(self.first_tokens),
                    // Remembered is how fast providers write, which is another speed.
                    WorkKind::Embed => 0,
                };
                Experienced::Succeeded { first_chunk_ms: first.since_ms(self.started_at), tokens, ms: self.last_chunk_at.since_ms(first) }
            }
            Err(JobError::Cheated { .. }) => Experienced::Cheated,
            Err(error) if error.is_providers_fault() => Experienced::Failed,
            Err(_) => return,
        };
        self.node.learn(self.agreement.body().provider, experienced).await;
    }

    async fn penalise(&mut self, offence: Offence) {
        self.node.penalise(&self.agreement.body().provider_peer, offence).await;
    }
}
