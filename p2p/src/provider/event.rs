//! What a provider service tells those who watch it.

use cocoon_market::agreement::Refusal;
use cocoon_market::job::{FinishReason, StopReason};
use cocoon_market::{AgreementId, Amount, ChannelRef, JobId, ModelId, NodeId, OfferId, PeerId, Usage};

/// Something happened to a provider service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderEvent {
    /// An offer was published, for the first time or again.
    Published {
        /// The offer.
        offer: OfferId,
        /// For which model.
        model: ModelId,
    },
    /// An offer was taken back.
    Withdrawn {
        /// For which model.
        model: ModelId,
    },
    /// A requester proposed, and was answered.
    Proposed {
        /// Who.
        peer: PeerId,
        /// With what.
        answer: ProposalAnswer,
    },
    /// An agreement stands.
    Agreed {
        /// It.
        agreement: AgreementId,
        /// With whom.
        requester: NodeId,
        /// Which pays.
        channel: ChannelRef,
        /// Up to so much.
        cap: Amount,
    },
    /// A commit was refused.
    CommitRefused {
        /// For which agreement.
        agreement: AgreementId,
        /// Why.
        reason: Refusal,
    },
    /// A job was refused before it started.
    JobRefused {
        /// Whose.
        peer: PeerId,
        /// Why.
        reason: StopReason,
    },
    /// A job started.
    JobStarted {
        /// It.
        job: JobId,
        /// Under which agreement.
        agreement: AgreementId,
    },
    /// A receipt was signed and sent.
    Receipted {
        /// For which job.
        job: JobId,
        /// Its place in the channel.
        sequence: u64,
        /// For so much.
        amount: Amount,
        /// All that the channel owes with it.
        cumulative: Amount,
    },
    /// A voucher was taken and written down.
    Paid {
        /// By which job's stream.
        job: JobId,
        /// The receipts it covers.
        sequence: u64,
        /// All that the channel has paid with it.
        cumulative: Amount,
        /// What is still unpaid.
        unpaid: Amount,
    },
    /// A job ended.
    JobEnded {
        /// It.
        job: JobId,
        /// How.
        end: JobEnd,
        /// All metered work.
        usage: Usage,
    },
}

/// What a proposal was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposalAnswer {
    /// Yes.
    Accepted,
    /// Other terms.
    Countered,
    /// No.
    Refused(Refusal),
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// By itself, or by the requester's wish; receipted to the end.
    Finished(FinishReason),
    /// By us.
    Stopped(StopReason),
    /// The requester vanished.
    RequesterLost,
}
