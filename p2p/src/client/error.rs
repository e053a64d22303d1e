//! Why a requester did not get what it asked for.

use cocoon_market::agreement::{AgreementError, Refusal};
use cocoon_market::job::StopReason;
use cocoon_market::negotiation::{End, Reject, StartError};
use cocoon_market::progress::JobFault;
use cocoon_market::signed::Inconsistent;
use cocoon_market::{Amount, Usage};

use crate::node::{NodeStopped, ReachError};
use crate::payment::PayError;
use crate::protocol::frame::FrameError;

/// Why no offers were looked for. That nothing fits is no error: the matches then say why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// The node was shut down.
    #[error(transparent)]
    Stopped(#[from] NodeStopped),
}

/// Why there is no agreement.
#[derive(Debug, thiserror::Error)]
pub enum NegotiateError {
    /// The negotiation could not begin.
    #[error("cannot propose")]
    Start(#[from] StartError),
    /// It ended without an agreement.
    #[error(transparent)]
    Ended(#[from] End),
    /// The provider sent what does not belong into this negotiation. Peer penalty: that of the reject.
    #[error("the provider broke the protocol")]
    Protocol(#[from] Reject),
    /// The provider cannot be reached.
    #[error("cannot reach the provider")]
    Reach(#[from] ReachError),
    /// The channel could not be named, funded, or the agreement not be recorded.
    #[error("cannot pay under this agreement")]
    Payment(#[from] PayError),
    /// The two halves do not fit; only a bug can do that here.
    #[error(transparent)]
    Agreement(#[from] AgreementError),
}

/// What a job had cost and given when it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobProgress {
    /// What the vouchers of this job paid.
    pub paid: Amount,
    /// Tokens that arrived, or whose vectors did.
    pub received_tokens: u64,
    /// Work as the provider last metered it.
    pub usage: Usage,
}

/// Why a job did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The order breaks a bound; nothing was sent.
    #[error("the order is malformed")]
    Order(#[from] Inconsistent),
    /// The provider cannot be reached; nothing was paid.
    #[error("cannot reach the provider")]
    Reach(#[from] ReachError),
    /// The provider vanished. The rest of the work can be had from another one.
    #[error("the provider was lost after {received_tokens} tokens; {paid} was paid")]
    ProviderLost {
        /// What the vouchers of this job paid.
        paid: Amount,
        /// Tokens that arrived, or whose vectors did.
        received_tokens: u64,
        /// Work as the provider last metered it.
        usage: Usage,
        /// What the stream said last.
        #[source]
        cause: Option<FrameError>,
    },
    /// The provider missed a deadline of the agreement.
    #[error("the provider sent nothing for {waited_ms} ms, after {} tokens; {} was paid", .progress.received_tokens, .progress.paid)]
    TooSlow {
        /// How long we waited.
        waited_ms: u64,
        /// Up to here.
        progress: JobProgress,
    },
    /// The provider ended the job.
    #[error("the provider stopped: {reason}")]
    Stopped {
        /// Why, as it says.
        reason: StopReason,
        /// Up to here.
        progress: JobProgress,
    },
    /// The provider sent what does not fit the agreement, the order or what it sent before. Peer penalty: ban.
    #[error("the provider's work does not add up")]
    Cheated {
        /// What does not fit.
        #[source]
        cause: JobFault,
        /// Up to here.
        progress: JobProgress,
    },
    /// The provider sent bytes that are no frame. Peer penalty: garbage.
    #[error("the provider sent garbage")]
    Garbage {
        /// What was wrong with it.
        #[source]
        cause: FrameError,
        /// Up to here.
        progress: JobProgress,
    },
    /// A receipt could not be paid.
    #[error("cannot pay the provider")]
    Payment {
        /// Why.
        #[source]
        cause: PayError,
        /// Up to here.
        progress: JobProgress,
    },
}

impl JobError {
    /// What the job had cost and given.
    pub fn progress(&self) -> JobProgress {
        match self {
            Self::Order(_) | Self::Reach(_) => JobProgress::default(),
            Self::ProviderLost { paid, received_tokens, usage, .. } => {
                JobProgress { paid: *paid, received_tokens: *received_tokens, usage: *usage }
            }
            Self::TooSlow { progress, .. }
            | Self::Stopped { progress, .. }
            | Self::Cheated { progress, .. }
            | Self::Garbage { progress, .. }
            | Self::Payment { progress, .. } => *progress,
        }
    }

    /// Whether the provider failed: what was our own fault, or a plain refusal, says nothing about it.
    pub(crate) const fn is_providers_fault(&self) -> bool {
        match self {
            Self::Order(_) | Self::Reach(_) | Self::Payment { .. } => false,
            Self::Stopped { reason, .. } => matches!(reason, StopReason::Internal | StopReason::Shutdown | StopReason::ChainOutOfSight),
            Self::ProviderLost { .. } | Self::TooSlow { .. } | Self::Cheated { .. } | Self::Garbage { .. } => true,
        }
    }

    /// Whether another provider may do what this one didn't.
    pub fn elsewhere(&self) -> bool {
        match self {
            Self::Order(_) | Self::Payment { .. } => false,
            Self::Stopped { reason, .. } => !matches!(
                reason,
                StopReason::Malformed
                    | StopReason::ContextExceeded { .. }
                    | StopReason::TextTooLong { .. }
                    | StopReason::Refused(Refusal::OtherWork { .. })
            ),
            Self::Reach(_) | Self::ProviderLost { .. } | Self::TooSlow { .. } | Self::Cheated { .. } | Self::Garbage { .. } => true,
        }
    }
}
