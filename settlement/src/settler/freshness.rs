//! The rule that lets a provider work through chain trouble, within bounds.
//!
//! A requester may start to close its channel at any time, and the provider has the challenge window to claim. So a provider works on
//! only while its last verified sight of the channel is younger than a third of that window, which leaves two thirds to notice and to get a
//! claim through, and while all it is owed is covered by the deposit it saw. Beyond that it pauses and says why.

use cocoon_market::{Amount, Refusal, StopReason, Timestamp, agreement::ChannelProblem};

use crate::contract::ChannelStatus;
use crate::ledger::{ChainSight, ChannelBook};

/// The part of the challenge window for which a sight of the chain counts.
const WINDOW_PART: u64 = 3;

/// Why a provider takes no new risk in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Pause {
    /// Never seen on chain.
    #[error("the channel was not yet seen on its chain")]
    Unseen,
    /// Seen too long ago.
    #[error("the channel was last seen {age_ms} ms ago, and a sight counts for {counts_ms} ms")]
    Stale {
        /// How long ago.
        age_ms: u64,
        /// For how long it counts.
        counts_ms: u64,
    },
    /// The requester closes it.
    #[error("the requester is closing the channel; claims are taken until {deadline_s}")]
    Closing {
        /// Until when, in seconds since the Unix epoch.
        deadline_s: u32,
    },
    /// It is closed, or we signed its end.
    #[error("the channel is closed")]
    Closed,
    /// The deposit does not cover more.
    #[error("{owed} would be owed and {deposit} is deposited")]
    Exhausted {
        /// What would be owed.
        owed: Amount,
        /// What was deposited.
        deposit: Amount,
    },
}

impl Pause {
    /// How a requester that wants to start work is told.
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::Unseen => Refusal::Channel(ChannelProblem::NotOpen),
            Self::Stale { .. } => Refusal::ChainOutOfSight,
            Self::Closing { .. } | Self::Closed => Refusal::Channel(ChannelProblem::Closing),
            Self::Exhausted { .. } => Refusal::Channel(ChannelProblem::TooSmall),
        }
    }

    /// How a requester is told whose job stops.
    pub const fn stop_reason(&self) -> StopReason {
        match self {
            Self::Unseen | Self::Stale { .. } => StopReason::ChainOutOfSight,
            Self::Closing { .. } | Self::Closed | Self::Exhausted { .. } => StopReason::Refused(self.refusal()),
        }
    }
}

/// For how long a sight of a channel counts.
pub const fn sight_counts_ms(challenge_window_s: u32) -> u64 {
    // A `u64` holds every `u32`, and a thousand times it.
    #[allow(clippy::as_conversions)]
    let window_s = challenge_window_s as u64;
    window_s.saturating_mul(1000) / WINDOW_PART
}

/// Whether work worth `next` may be done in a channel of which so much is owed already.
///
/// # Errors
/// [`Pause`], which says what would have to change.
pub fn may_work(now: Timestamp, sight: Option<&ChainSight>, challenge_window_s: u32, owed: Amount, next: Amount) -> Result<(), Pause> {
    let sight = sight.ok_or(Pause::Unseen)?;
    match sight.status {
        ChannelStatus::Open => {}
        ChannelStatus::Closing { deadline_s } => return Err(Pause::Closing { deadline_s }),
        ChannelStatus::Closed => return Err(Pause::Closed),
    }
    let (age_ms, counts_ms) = (now.since_ms(sight.seen_at), sight_counts_ms(challenge_window_s));
    if age_ms >= counts_ms {
        return Err(Pause::Stale { age_ms, counts_ms });
    }
    let owed = owed.checked_add(next).unwrap_or(Amount::from_nano(u128::MAX));
    if owed > sight.deposit {
        return Err(Pause::Exhausted { owed, deposit: sight.deposit });
    }
    Ok(())
}

/// [`may_work`] for a channel in the ledger.
///
/// # Errors
/// [`Pause`].
pub fn may_work_in(now: Timestamp, book: &ChannelBook, next: Amount) -> Result<(), Pause> {
    if book.head().end.is_some() {
        return Err(Pause::Closed);
    }
    may_work(now, book.head().sight.as_ref(), book.record().terms.challenge_window_s, book.head().owed, next)
}

#[cfg(test)]
mod tests {
    use cocoon_market::ids::{ContractAddress, Digest};
    use cocoon_market::{NetworkId, OperatorKey};

    use super::*;
    use crate::contract::ChannelTerms;
    use crate::ledger::{Ledger, MemoryStore, Role};

    const DAY_S: u32 = 86_400;
    const SEEN: Timestamp = Timestamp(1_800_000_000_000);

    fn nano(nano: u128) -> Amount {
        Amount::from_nano(nano)
    }

    fn check(status: ChannelStatus, age_ms: u64, owed: u128) -> Result<(), Pause> {
        let sight = ChainSight { status, deposit: nano(100), drawn: nano(40), seen_at: SEEN };
        may_work(SEEN.plus_ms(age_ms), Some(&sight), DAY_S, nano(owed), nano(10))
    }

    #[test]
    fn a_sight_counts_for_a_third_of_the_window() {
        let third_ms = 8 * 3_600_000;
        assert_eq!(check(ChannelStatus::Open, third_ms - 1, 0), Ok(()));
        assert_eq!(check(ChannelStatus::Open, third_ms, 0), Err(Pause::Stale { age_ms: third_ms, counts_ms: third_ms }));
        assert_eq!(may_work(SEEN, None, DAY_S, nano(0), nano(0)), Err(Pause::Unseen));
    }

    #[test]
    fn what_is_owed_stays_within_the_deposit() {
        assert_eq!(check(ChannelStatus::Open, 0, 90), Ok(()));
        assert_eq!(check(ChannelStatus::Open, 0, 91), Err(Pause::Exhausted { owed: nano(101), deposit: nano(100) }));
        assert_eq!(check(ChannelStatus::Open, 0, u128::MAX).unwrap_err().refusal(), Refusal::Channel(ChannelProblem::TooSmall));
    }

    #[test]
    fn a_channel_that_is_ending_takes_no_new_work() {
        assert_eq!(check(ChannelStatus::Closing { deadline_s: 5 }, 0, 0), Err(Pause::Closing { deadline_s: 5 }));
        assert_eq!(check(ChannelStatus::Closed, 0, 0), Err(Pause::Closed));
    }

    #[test]
    fn a_channel_in_the_ledger_is_worked_in_by_the_same_rule_until_its_end_is_signed() {
        let terms = ChannelTerms {
            network: NetworkId::DEVNET,
            requester: OperatorKey::from_seed(&[1; 32]).node_id(),
            provider: OperatorKey::from_seed(&[2; 32]).node_id(),
            refund_to: ContractAddress([3; 32]),
            contract: ContractAddress([4; 32]),
            challenge_window_s: DAY_S,
            salt: Digest([6; 32]),
        };
        let ledger = Ledger::open(MemoryStore::default(), OperatorKey::from_seed(&[2; 32])).unwrap();
        let channel = ledger.record_channel(Role::Provider, terms, SEEN).unwrap();
        let may_work = |at, next| may_work_in(at, &ledger.channel(channel).unwrap(), nano(next));
        assert_eq!(may_work(SEEN, 0), Err(Pause::Unseen));
        let sight = ChainSight { status: ChannelStatus::Open, deposit: nano(100), drawn: nano(0), seen_at: SEEN };
        ledger.record_sight(channel, sight).unwrap();
        assert_eq!(may_work(SEEN, 100), Ok(()));
        assert_eq!(may_work(SEEN, 101), Err(Pause::Exhausted { owed: nano(101), deposit: nano(100) }));
        assert!(matches!(may_work(SEEN.plus_ms(8 * 3_600_000), 0), Err(Pause::Stale { .. })));
        ledger.end_channel(channel).unwrap();
        assert_eq!(may_work(SEEN, 0), Err(Pause::Closed));
    }

    #[test]
    fn a_window_of_no_time_stops_all_work() {
        let sight = ChainSight { status: ChannelStatus::Open, deposit: nano(100), drawn: nano(0), seen_at: SEEN };
        assert_eq!(may_work(SEEN, Some(&sight), 0, nano(0), nano(0)), Err(Pause::Stale { age_ms: 0, counts_ms: 0 }));
    }
}
