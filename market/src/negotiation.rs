//! The negotiation machines: from an offer to one agreement, signed by both.
//!
//! [`RequesterNegotiation`] and [`ProviderNegotiation`] are recorded machines: one instance a negotiation, driven by
//! `apply(now, event)`, which changes the state and returns effects in the order in which they are to be performed. A
//! [`Reject`] leaves the state as it was. [`ProviderDesk`] holds a provider's many negotiations within bounds, and
//! [`Policy`] is what a provider lets itself be talked into.
//!
//! Requester:
//!
//! ```text
//! from         event                          to           effect
//! (start)                                     Proposed     Send(Propose)
//! Proposed     Answered(Counter), suits       Proposed     Send(Propose) with exactly the counter's terms
//! Proposed     Answered(Counter), too dear    Proposed     Send(Propose) with the limits, or Ended
//! Proposed     Answered(Accept)               Funding      Fund
//! Proposed     Answered(Refused)              Ended        Ended
//! Funding      Funded                         Committing   Send(Commit)
//! Funding      FundingFailed                  Ended        Ended
//! Committing   Answered(Committed)            Committed    Committed
//! Committing   Answered(Refused), not yet     Committing   -          Send(Commit) again after a second
//! Committing   Answered(Refused)              Ended        Ended
//! Proposed, Committing   Lost                 the same     -          Send the same after a pause; Ended after 4 times
//! any live     Elapsed, a resend is due       the same     Send the last message again
//! any live     any, the proposal is over      Ended        Ended
//! any live     Cancelled                      Ended        Ended
//! ```
//!
//! Provider:
//!
//! ```text
//! from         event                          to           effect
//! New          Proposed, verdict Accept       Accepted     Reply(Accept)
//! New          Proposed, verdict Counter      Countered    Reply(Counter)
//! New          Proposed, verdict Refuse       Refused      Reply(Refused)
//! Countered    Proposed, answers the counter  as from New  as from New
//! any          Proposed, seen before          the same     Reply as before
//! Accepted     Committed                      Checking     CheckChannel
//! Checking     Committed                      Checking     CheckChannel, or Reply(Refused) when two run already
//! Checking     ChannelChecked(suits)          Standing     Reply(Committed)
//! Checking     ChannelChecked(no)             Accepted     Reply(Refused); a later Commit is looked at anew
//! Standing     Committed, ChannelChecked      Standing     Reply(Committed)
//! ```
//!
//! Invariants, kept under every order of events, duplicates and losses (`negotiation/tests.rs`):
//!
//! - NE-1: one negotiation, and so one proposal, leads to one agreement at most.
//! - NE-2: a proposal seen before gets the answer it got before.
//! - NE-3: when both sides hold an agreement, it is the same one.
//! - NE-4: a requester never ends up with terms outside its limits, nor a provider with terms outside its policy.

mod desk;
mod policy;
mod provider;
mod requester;

#[cfg(test)]
mod tests;

use crate::agreement::{AgreementError, ProposalTimeError, Refusal};
use crate::penalty::Penalty;
use crate::signed::{OpenError, SignError};

pub use desk::{Answer, DESK_NEGOTIATIONS_MAX, DESK_NEGOTIATIONS_PER_PEER_MAX, DESK_OFFERS_MAX, DeskError, ProviderDesk};
pub use policy::{Policy, Verdict};
pub use provider::{CHANNEL_CHECK_MS_MAX, CHANNEL_CHECKS_MAX, ProviderEffect, ProviderEvent, ProviderNegotiation, ProviderState, Seller};
pub use requester::{
    Buyer, COMMIT_RETRY_MS, End, Limits, RESENDS_MAX, RequesterEffect, RequesterEvent, RequesterNegotiation, RequesterState, StartError,
};

/// Why an event was not applied. The machine is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum Reject {
    /// The negotiation is over. Peer penalty: none; messages cross.
    #[error("the negotiation is over")]
    Over,
    /// The message does not fit the state. Peer penalty: none; messages cross and are doubled.
    #[error("{event} came while {state}")]
    OutOfTurn {
        /// In which state.
        state: &'static str,
        /// What came.
        event: &'static str,
    },
    /// The message does not open. Peer penalty: that of [`OpenError`].
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The message belongs to another negotiation or party. Peer penalty: ban.
    #[error("the message names another {0}")]
    Foreign(&'static str),
    /// The message changes what was not its to change. Peer penalty: ban.
    #[error("the message changes the {0}")]
    Altered(&'static str),
    /// Too late, or from the future. Peer penalty: none or low.
    #[error(transparent)]
    Time(#[from] ProposalTimeError),
    /// The two halves make no agreement. Peer penalty: that of [`AgreementError`].
    #[error(transparent)]
    Agreement(#[from] AgreementError),
    /// Our own message could not be signed. Peer penalty: none.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl Reject {
    /// What it costs the peer whose message was rejected.
    pub const fn penalty(&self) -> Penalty {
        match self {
            Self::Over | Self::OutOfTurn { .. } | Self::Sign(_) => Penalty::None,
            Self::Foreign(_) | Self::Altered(_) => Penalty::Ban,
            Self::Open(error) => error.penalty(),
            Self::Time(error) => error.penalty(),
            Self::Agreement(error) => error.penalty(),
        }
    }

    /// What a provider answers to the message.
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::Over | Self::Time(ProposalTimeError::Expired { .. }) => Refusal::Expired,
            Self::OutOfTurn { .. } => Refusal::Unknown,
            Self::Open(_)
            | Self::Foreign(_)
            | Self::Altered(_)
            | Self::Agreement(_)
            | Self::Time(ProposalTimeError::FromTheFuture { .. }) => Refusal::Malformed,
            Self::Sign(_) => Refusal::Unavailable,
        }
    }
}
