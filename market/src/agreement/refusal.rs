//! Why a provider says no.

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::job::WorkKind;
use crate::price::PriceTable;

/// Why a provider says no. Shown to the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The offer is not one of ours, or is over.
    #[error("the offer is unknown or over; look for a newer one")]
    UnknownOffer,
    /// The price is below what we take.
    #[error("the price is too low; the lowest taken is {lowest}")]
    PriceTooLow {
        /// The lowest prices taken.
        lowest: PriceTable,
    },
    /// The cap is above what we extend.
    #[error("the cap {cap} exceeds the deposit {deposit} behind it")]
    CapAboveDeposit {
        /// What was asked.
        cap: Amount,
        /// What lies in the channel.
        deposit: Amount,
    },
    /// The collateral does not carry another agreement.
    #[error("the provider's collateral does not carry this agreement: it takes {needed}, and {free} is free; take another offer")]
    CollateralTaken {
        /// What it takes.
        needed: Amount,
        /// What of the collateral backs no other agreement.
        free: Amount,
    },
    /// The order is for another kind of work than the model does.
    #[error("this model serves {serves}; order that, or take another model")]
    OtherWork {
        /// What it serves.
        serves: WorkKind,
    },
    /// A term other than the price does not suit.
    #[error("the term `{0}` does not suit this provider")]
    Term(TermName),
    /// All places are taken.
    #[error("the provider is busy with {running} jobs; try again or take another offer")]
    Busy {
        /// Jobs running.
        running: u16,
    },
    /// The proposal or agreement is over.
    #[error("the proposal or agreement has expired")]
    Expired,
    /// Nothing is known of the proposal or agreement.
    #[error("no such proposal or agreement")]
    Unknown,
    /// The message contradicts itself, its signature or its sender.
    #[error("the message was malformed or wrongly signed")]
    Malformed,
    /// The negotiation went on too long.
    #[error("too many rounds")]
    TooManyRounds,
    /// The channel is missing, closing, or not as agreed.
    #[error("the payment channel does not suit: {0}")]
    Channel(ChannelProblem),
    /// The provider has lost sight of the chain and takes no new risk.
    #[error("the provider cannot see the chain right now and takes no new work")]
    ChainOutOfSight,
    /// The provider is shutting down or out of a resource of its own, such as disk.
    #[error("the provider is not able to take work right now")]
    Unavailable,
}

/// Which term did not suit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TermName {
    /// The model.
    Model,
    /// The tier.
    Tier,
    /// The confidentiality.
    Confidentiality,
    /// The slice between two receipts.
    SliceTokens,
    /// The float.
    Float,
    /// Jobs at once.
    JobsMax,
    /// A deadline.
    Deadline,
    /// The end of the agreement.
    ExpiresAt,
    /// The network.
    Network,
    /// The cap.
    Cap,
}

impl std::fmt::Display for TermName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::Tier => "tier",
            Self::Confidentiality => "confidentiality",
            Self::SliceTokens => "slice_tokens",
            Self::Float => "float",
            Self::JobsMax => "jobs_max",
            Self::Deadline => "deadline",
            Self::ExpiresAt => "expires_at",
            Self::Network => "network",
            Self::Cap => "cap",
        })
    }
}

/// What is wrong with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ChannelProblem {
    /// Not on chain (yet).
    #[error("it is not open on chain")]
    NotOpen,
    /// It is closing or closed.
    #[error("it is closing or closed")]
    Closing,
    /// Its code is not the known contract's.
    #[error("its code is not the channel contract")]
    ForeignCode,
    /// Its parties, fee or window are not as agreed.
    #[error("its parties, fee or window are not as offered")]
    OtherTerms,
    /// It holds too little.
    #[error("its deposit is too small")]
    TooSmall,
}
