//! Why a channel was not ended, and what to do then.

use std::borrow::Cow;

use cocoon_market::{Amount, ChannelRef};
use cocoon_settlement::ledger::{LedgerError, OrderFailure};
use cocoon_settlement::settler::SettleError;

use crate::failure::{Exit, NextStep};
use crate::output::{span_text, time_text, ton_text};
use crate::query::channels::ChannelsError;
use crate::wiring::desk::DeskError;

/// Why a channel was not ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndError {
    #[error(transparent)]
    Find(#[from] ChannelsError),
    #[error("this node is the provider of channel {0}, and only its requester may close it and is refunded")]
    NotRequester(ChannelRef),
    #[error("channel {0} is not on the chain")]
    NotOnChain(ChannelRef),
    #[error("channel {0} is still being opened")]
    Opening(ChannelRef),
    #[error("channel {channel} is closing already; its challenge window ends {}", time_text((*deadline_s).into()))]
    Closing { channel: ChannelRef, deadline_s: u32 },
    #[error("channel {0} is closed already")]
    Closed(ChannelRef),
    #[error("channel {0} is open; only a closing one can be finished")]
    NotClosing(ChannelRef),
    #[error(
        "the challenge window of channel {channel} is open until {}, for another {}",
        time_text((*deadline_s).into()),
        span_text(*left_s)
    )]
    WindowOpen { channel: ChannelRef, deadline_s: u32, left_s: u64 },
    #[error("the wallet holds {}, and the message needs {}, most of which comes back", ton_text(*balance), ton_text(*needed))]
    Poor { needed: Amount, balance: Amount },
    #[error(transparent)]
    Desk(DeskError),
    #[error("interrupted before the chain showed it")]
    Interrupted,
}

impl From<DeskError> for EndError {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Poor { needed, balance, .. } => Self::Poor { needed, balance },
            error => Self::Desk(error),
        }
    }
}

impl From<SettleError> for EndError {
    fn from(error: SettleError) -> Self {
        Self::Desk(error.into())
    }
}

impl From<LedgerError> for EndError {
    fn from(error: LedgerError) -> Self {
        Self::Desk(error.into())
    }
}

impl NextStep for EndError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Find(error) => error.next_step(),
            Self::NotRequester(_) => "swarm up, which claims what vouchers pay this node, also while the channel closes".into(),
            Self::NotOnChain(_) => "nothing: no deposit lies there".into(),
            Self::Opening(channel) => format!("again when swarm channels show {} says open", channel.address.short()).into(),
            Self::Closing { channel, .. } => format!("swarm channels finish {} after that", channel.address.short()).into(),
            Self::Closed(_) => "swarm wallet balance; what was left has been refunded".into(),
            Self::NotClosing(channel) => format!("swarm channels close {} first", channel.address.short()).into(),
            Self::WindowOpen { .. } => "again after that; a node of this home that runs then does so by itself".into(),
            Self::Poor { .. } => "swarm wallet deposit".into(),
            Self::Desk(DeskError::Slow(_)) | Self::Interrupted => {
                "the same again, which waits for the message that is under way; a node of this home goes on with it, too".into()
            }
            Self::Desk(DeskError::Order(OrderFailure::WalletTooPoor)) => "swarm wallet deposit, then again".into(),
            Self::Desk(DeskError::Order(_) | DeskError::Channel(_) | DeskError::Provider(_)) => {
                "swarm channels show, which looks at the channel again".into()
            }
            Self::Desk(error) if error.is_chain_trouble() => "check the chain (--chain); swarm doctor looks closer".into(),
            Self::Desk(_) => "check the disk of the home; swarm doctor looks closer".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Find(error) => error.exit(),
            Self::NotRequester(_) | Self::NotClosing(_) => Exit::Usage,
            Self::NotOnChain(_)
            | Self::Opening(_)
            | Self::Closing { .. }
            | Self::Closed(_)
            | Self::WindowOpen { .. }
            | Self::Poor { .. }
            | Self::Desk(_)
            | Self::Interrupted => Exit::Failed,
        }
    }
}
