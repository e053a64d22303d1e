//! Serving one job: what market's meter decides, with the stream, the executor and the payee behind it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cocoon_market::agreement::{Agreement, Refusal};
use cocoon_market::job::{FinishReason, JobRequest, ProviderFrame, RequesterFrame, StopReason};
use cocoon_market::progress::{JobMeter, MeterEffect, MeterEvent, MeterState, MeterTerms, Slice};
use cocoon_market::{JobId, NodeId, PeerId, SignedVoucher, Usage};
use futures::channel::mpsc;
use futures::{FutureExt as _, StreamExt as _, future, select_biased};

use super::event::{JobEnd, ProviderEvent};
use super::places::{Place, Places};
use super::service::StopSign;
use crate::broadcast::Broadcast;
use crate::execution::{Execution, ExecutionEvent, Executor};
use crate::node::{JobStream, Node};
use crate::payment::Payee;
use crate::penalty::Offence;
use crate::protocol::frame::FrameError;
use crate::protocol::job::{JobFrames, JobWriter, START_TIMEOUT, provider_end};
use crate::shell::{Deadline, within};

/// How long a job that this side broke off waits for the vouchers of its receipts: they are on their way.
const OWED_WAIT: Duration = Duration::from_secs(5);

/// What a job needs of the service.
pub(super) struct Desk {
    pub(super) node: Node,
    pub(super) seller: NodeId,
    pub(super) payee: Arc<dyn Payee>,
    pub(super) executor: Arc<dyn Executor>,
    pub(super) events: Broadcast<ProviderEvent>,
    pub(super) places: Arc<Places>,
}

/// Serves the job that `peer` opened a stream for.
pub(super) async fn serve(desk: Desk, peer: PeerId, stream: JobStream, stop: StopSign, alive: mpsc::Sender<()>) {
    let (mut frames, mut writer) = provider_end(stream);
    let Some(request) = desk.read_order(&peer, &mut frames).await else { return };
    match desk.admit(&peer, &request, alive).await {
        Ok(admitted) => {
            let (job, agreement) = (request.job, admitted.agreement.id());
            desk.events.send(&ProviderEvent::JobStarted { job, agreement });
            let events = desk.events.clone();
            let mut running = Running::new(desk, peer, admitted, &request, frames, writer);
            let end = running.carry_on(stop).await;
            events.send(&ProviderEvent::JobEnded { job, end, usage: running.meter.usage() });
        }
        Err(reason) => {
            desk.events.send(&ProviderEvent::JobRefused { peer, reason: reason.clone() });
            // Whoever does not read its refusal does not need it.
            let _ = writer.send(&ProviderFrame::Stopped(reason)).await;
            writer.close().await;
        }
    }
}

/// A job that may run.
struct Admitted {
    agreement: Arc<Agreement>,
    terms: MeterTerms,
    execution: Execution,
    place: Place,
}

impl Desk {
    /// The order is the first frame, and due at once.
    async fn read_order(&self, peer: &PeerId, frames: &mut JobFrames<RequesterFrame>) -> Option<JobRequest> {
        match within(START_TIMEOUT, frames.next()).await.map(Heard::of) {
            Ok(Heard::Order(request)) => return Some(*request),
            Ok(Heard::Voucher(_) | Heard::Cancel | Heard::Garbage) => self.node.penalise(peer, Offence::Garbage).await,
            Ok(Heard::Nothing) => {}
            Err(_) => self.node.penalise(peer, Offence::Low).await,
        }
        None
    }

    /// Checks the order against its agreement, takes a place and starts the execution.
    async fn admit(&self, peer: &PeerId, request: &JobRequest, alive: mpsc::Sender<()>) -> Result<Admitted, StopReason> {
        request.check().map_err(|_| StopReason::Malformed)?;
        let agreement = self.find_agreement(peer, request).await.map_err(StopReason::Refused)?;
        let place = self.places.take(&agreement, request.job, alive).map_err(StopReason::Refused)?;
        let cap_left = self.payee.admit(&agreement).await.map_err(StopReason::Refused)?;
        let terms = MeterTerms::new(agreement.terms(), &request.work, cap_left);
        let execution = self.executor.start(agreement.terms().model, request.clone()).await?;
        Ok(Admitted { agreement, terms, execution, place })
    }

    async fn find_agreement(&self, peer: &PeerId, request: &JobRequest) -> Result<Arc<Agreement>, Refusal> {
        let now = self.node.clock().now();
        let agreement = match self.places.agreement(&request.agreement) {
            Some(agreement) => agreement,
            None => {
                let found = self.payee.find_agreement(request.agreement).await?.ok_or(Refusal::Unknown)?;
                let found = Arc::new(found);
                self.places.remember(now, Arc::clone(&found));
                found
            }
        };
        // Another peer's agreement is as unknown as none.
        if agreement.body().requester_peer != *peer || agreement.body().provider != self.seller {
            return Err(Refusal::Unknown);
        }
        if agreement.terms().expires_at <= now {
            return Err(Refusal::Expired);
        }
        Ok(agreement)
    }
}

/// A job that runs.
struct Running {
    desk: Desk,
    peer: PeerId,
    agreement: Arc<Agreement>,
    job: JobId,
    seed: cocoon_market::ids::Digest,
    meter: JobMeter,
    execution: Execution,
    frames: JobFrames<RequesterFrame>,
    writer: JobWriter,
    deadline: Deadline,
    end: JobEnd,
    /// The places in the channel of the last receipt that was sent and the last voucher that came.
    receipted_to: u64,
    paid_to: u64,
    _place: Place,
}

/// What the stream brought.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Order(Box<JobRequest>),
    Voucher(SignedVoucher),
    Cancel,
    /// What no requester sends.
    Garbage,
    /// Nothing more: the stream ended or broke, which connections do.
    Nothing,
}

impl Heard {
    fn of(frame: Option<Result<RequesterFrame, FrameError>>) -> Self {
        match frame {
            Some(Ok(RequesterFrame::Start(request))) => Self::Order(request),
            Some(Ok(RequesterFrame::Voucher(voucher))) => Self::Voucher(voucher),
            Some(Ok(RequesterFrame::Cancel)) => Self::Cancel,
            Some(Err(error)) if error.is_garbage() => Self::Garbage,
            Some(Err(_)) | None => Self::Nothing,
        }
    }
}

/// What can happen next to a job.
enum Input {
    Heard(Heard),
    Work(Option<ExecutionEvent>),
    Time,
    Stop,
}

/// The requester cannot be written to.
struct Gone;

impl Running {
    fn new(
        desk: Desk,
        peer: PeerId,
        admitted: Admitted,
        request: &JobRequest,
        frames: JobFrames<RequesterFrame>,
        writer: JobWriter,
    ) -> Self {
        let Admitted { agreement, terms, execution, place } = admitted;
        Self {
            desk,
            peer,
            agreement,
            job: request.job,
            seed: request.seed_commitment(),
            meter: JobMeter::new(terms),
            execution,
            frames,
            writer,
            deadline: Deadline::default(),
            end: JobEnd::RequesterLost,
            receipted_to: 0,
            paid_to: 0,
            _place: place,
        }
    }

    async fn carry_on(&mut self, mut stop: StopSign) -> JobEnd {
        while self.meter.state() != MeterState::Over {
            let due = self.meter.poll_timeout().map(|(due, _)| due);
            self.deadline.set(self.desk.node.clock().now(), due);
            let input = self.next_input(&mut stop).await;
            if self.on_input(input).await.is_err() {
                self.execution.cancel.cancel();
                return JobEnd::RequesterLost;
            }
        }
        self.execution.cancel.cancel();
        // Whether it came or not, the job is over.
        let _ = within(OWED_WAIT, self.take_what_is_owed()).await;
        self.writer.close().await;
        self.end.clone()
    }

    /// Waits for vouchers after the end, until none is due or something else comes.
    async fn take_what_is_owed(&mut self) -> Result<(), StopReason> {
        while is_owed(&self.end, self.receipted_to, self.paid_to) {
            match Heard::of(self.frames.next().await) {
                Heard::Voucher(voucher) => drop(self.accept(&voucher).await?),
                // One that wants no more has nothing against it that there is no more.
                Heard::Cancel => {}
                Heard::Order(_) | Heard::Garbage | Heard::Nothing => break,
            }
        }
        Ok(())
    }

    async fn next_input(&mut self, stop: &mut StopSign) -> Input {
        let state = self.meter.state();
        // While too much is unpaid the work is left in its queue, which fills and holds the executor up.
        let takes_work = matches!(state, MeterState::Reading | MeterState::Running);
        let mut work = if takes_work { self.execution.events.next().left_future() } else { future::pending().right_future() };
        // A job that only waits for its last voucher is let wait: it ends soon, and with money.
        let stops = !matches!(state, MeterState::Finishing { .. });
        let mut stop = if stops { stop.left_future() } else { future::pending().right_future() };
        select_biased! {
            frame = self.frames.next().fuse() => Input::Heard(Heard::of(frame)),
            event = work => Input::Work(event),
            () = self.deadline.reached().fuse() => Input::Time,
            () = stop => Input::Stop,
        }
    }

    async fn on_input(&mut self, input: Input) -> Result<(), Gone> {
        match input {
            Input::Heard(Heard::Voucher(voucher)) => self.on_voucher(&voucher).await,
            Input::Heard(Heard::Cancel) => self.apply(MeterEvent::Cancelled).await,
            Input::Heard(Heard::Order(_) | Heard::Garbage) => self.on_garbage().await,
            Input::Heard(Heard::Nothing) => Err(Gone),
            Input::Work(Some(event)) => self.on_work(event).await,
            // An executor that ends without a word has failed.
            Input::Work(None) => self.apply(MeterEvent::Failed(StopReason::Internal)).await,
            Input::Time => self.apply(MeterEvent::Elapsed).await,
            Input::Stop => self.apply(MeterEvent::Failed(StopReason::Shutdown)).await,
        }
    }

    async fn on_garbage(&mut self) -> Result<(), Gone> {
        self.desk.node.penalise(&self.peer, Offence::Garbage).await;
        self.apply(MeterEvent::Failed(StopReason::Malformed)).await
    }

    async fn on_work(&mut self, event: ExecutionEvent) -> Result<(), Gone> {
        let event = match event {
            ExecutionEvent::InputRead { input_tokens, input } => MeterEvent::InputRead { input_tokens, input },
            ExecutionEvent::Tokens { tokens, text, .. } => MeterEvent::Produced { tokens, text },
            ExecutionEvent::Vectors { vectors, usage } => MeterEvent::Embedded { vectors, input_tokens: usage.input_tokens },
            ExecutionEvent::Finished { reason, .. } => MeterEvent::Finished(reason),
            ExecutionEvent::Failed(reason) => MeterEvent::Failed(reason),
        };
        self.apply(event).await
    }

    async fn on_voucher(&mut self, voucher: &SignedVoucher) -> Result<(), Gone> {
        let event = match self.accept(voucher).await {
            Ok(sequence) => MeterEvent::VoucherAccepted { sequence },
            Err(reason) => MeterEvent::Failed(reason),
        };
        self.apply(event).await
    }

    /// Has a voucher checked and written down; gives the place up to which it pays.
    async fn accept(&mut self, voucher: &SignedVoucher) -> Result<u64, StopReason> {
        let (agreement, sequence) = (&self.agreement, voucher.voucher.sequence);
        // Caught here, so that no payee has to think of it.
        let is_ours = voucher.voucher.channel == agreement.terms().channel && voucher.verify(&agreement.body().requester).is_ok();
        let accepted = if is_ours { self.desk.payee.accept(agreement, voucher).await } else { Err(StopReason::BadVoucher) };
        match accepted {
            Ok(unpaid) => {
                // What comes before the first receipt was given before, and shows that the requester has the same books.
                if self.receipted_to == 0 {
                    return Ok(sequence);
                }
                self.paid_to = self.paid_to.max(sequence);
                self.emit(&ProviderEvent::Paid { job: self.job, sequence, cumulative: voucher.voucher.cumulative, unpaid });
                Ok(sequence)
            }
            Err(reason) => {
                if reason == StopReason::BadVoucher {
                    self.desk.node.penalise(&self.peer, Offence::Forgery).await;
                }
                Err(reason)
            }
        }
    }

    fn emit(&self, event: &ProviderEvent) {
        self.desk.events.send(event);
    }

    /// Lets the meter decide, and does what it says, in its order.
    async fn apply(&mut self, event: MeterEvent) -> Result<(), Gone> {
        let mut effects = self.decide(event);
        while let Some(effect) = effects.pop_front() {
            match effect {
                MeterEffect::SendChunk(chunk) => self.send(&ProviderFrame::Chunk(chunk)).await?,
                MeterEffect::SendVectors(vectors) => self.send(&ProviderFrame::Vectors(vectors)).await?,
                MeterEffect::IssueReceipt(slice) => {
                    if let Err(reason) = self.issue(slice).await? {
                        effects = self.decide(MeterEvent::ReceiptRefused(reason));
                    }
                }
                // The state says so too, and the next input is chosen by it.
                MeterEffect::Pause | MeterEffect::Resume => {}
                MeterEffect::Finish { reason, usage } => self.finish(reason, usage).await?,
                MeterEffect::Stop(reason) => self.stop(reason).await?,
                MeterEffect::Close { unpaid } => tracing::debug!(job = %self.job, %unpaid, "no more vouchers are waited for"),
            }
        }
        Ok(())
    }

    /// A meter that rejects an event has met a fault of this node or its executor, and the job cannot go on.
    fn decide(&mut self, event: MeterEvent) -> VecDeque<MeterEffect> {
        let now = self.desk.node.clock().now();
        let effects = match self.meter.apply(now, event) {
            Ok(effects) => effects,
            Err(reject) => {
                tracing::error!(job = %self.job, error = %reject, "job broken off");
                self.meter.apply(now, MeterEvent::Failed(StopReason::Internal)).unwrap_or_default()
            }
        };
        effects.into()
    }

    async fn issue(&mut self, slice: Slice) -> Result<Result<(), StopReason>, Gone> {
        let amount = slice.amount;
        let signed = match self.desk.payee.receipt(&self.agreement, self.job, self.seed, slice).await {
            Ok(signed) => signed,
            Err(reason) => return Ok(Err(reason)),
        };
        let (sequence, cumulative) = (signed.receipt.header.sequence, signed.receipt.header.cumulative);
        if let Err(reject) = self.meter.apply(self.desk.node.clock().now(), MeterEvent::ReceiptSigned { sequence }) {
            tracing::error!(job = %self.job, error = %reject, "the ledger's receipt does not fit");
            return Ok(Err(StopReason::Internal));
        }
        self.send(&ProviderFrame::Receipt(Box::new(signed))).await?;
        self.receipted_to = sequence;
        self.emit(&ProviderEvent::Receipted { job: self.job, sequence, amount, cumulative });
        Ok(Ok(()))
    }

    async fn finish(&mut self, reason: FinishReason, usage: Usage) -> Result<(), Gone> {
        self.execution.cancel.cancel();
        self.end = JobEnd::Finished(reason);
        self.send(&ProviderFrame::Done { reason, usage }).await
    }

    async fn stop(&mut self, reason: StopReason) -> Result<(), Gone> {
        self.execution.cancel.cancel();
        self.end = JobEnd::Stopped(reason.clone());
        self.send(&ProviderFrame::Stopped(reason)).await
    }

    async fn send(&mut self, frame: &ProviderFrame) -> Result<(), Gone> {
        self.writer.send(frame).await.map_err(|error| {
            tracing::debug!(job = %self.job, %error, "the requester cannot be written to");
            Gone
        })
    }
}

/// Whether a job that this side broke off still has receipts to be paid. A requester that is itself the reason is not
/// waited for.
const fn is_owed(end: &JobEnd, receipted_to: u64, paid_to: u64) -> bool {
    let JobEnd::Stopped(reason) = end else { return false };
    paid_to < receipted_to && !matches!(reason, StopReason::BadVoucher | StopReason::Malformed | StopReason::Unpaid { .. })
}

#[cfg(test)]
mod tests {
    use std::io;

    use cocoon_market::codec::DecodeError;

    use super::*;

    #[test]
    fn a_stream_that_breaks_off_is_no_garbage() {
        let error = |error: FrameError| Heard::of(Some(Err(error)));
        assert_eq!(error(FrameError::Truncated), Heard::Nothing);
        assert_eq!(error(FrameError::Io(io::ErrorKind::ConnectionReset.into())), Heard::Nothing);
        assert_eq!(error(FrameError::Decode(DecodeError::TooLarge { len: 2, max: 1 })), Heard::Garbage);
        assert_eq!(Heard::of(None), Heard::Nothing);
        assert_eq!(Heard::of(Some(Ok(RequesterFrame::Cancel))), Heard::Cancel);
    }

    #[test]
    fn a_job_that_was_broken_off_waits_for_the_vouchers_of_its_receipts() {
        let stopped = |reason| JobEnd::Stopped(reason);
        assert!(is_owed(&stopped(StopReason::Shutdown), 2, 1));
        assert!(!is_owed(&stopped(StopReason::Shutdown), 2, 2));
        assert!(!is_owed(&stopped(StopReason::Shutdown), 1, 2), "another job of the channel may have paid for more");
        for reason in [StopReason::BadVoucher, StopReason::Malformed] {
            assert!(!is_owed(&stopped(reason), 2, 1), "the requester is the reason");
        }
        assert!(!is_owed(&JobEnd::RequesterLost, 2, 1));
        assert!(!is_owed(&JobEnd::Finished(FinishReason::Stop), 2, 1), "the meter has waited already");
    }
}
