//! `swarm lock` and `unlock`: COCOON that votes.

use std::borrow::Cow;

use cocoon_market::{Amount, ContractAddress};
use cocoon_settlement::chain::{Address, Bounce, Chain};
use cocoon_settlement::contract::{ContractMessage, GovernorData, LockData, LockMessage, Purpose};
use cocoon_settlement::economy::locks::{LOCK_WEEKS_MAX, WEEK_S, week_begins_s, week_of, weight};
use cocoon_settlement::settler::{NetworkContracts, Placed};
use serde::Serialize;

use super::blocking;
use super::looking::{Look, own_account};
use super::telling::{Ask, Course, Scene, TellError, tell};
use super::token::{ask_wallet, with_enough};
use crate::cli::{LockArgs, LockCommand, UnlockArgs, UntilArgs};
use crate::context::Context;
use crate::failure::{Exit, Failure, NextStep};
use crate::output::{cocoon_text, span_text, time_text};
use crate::wiring::desk::DeskError;

/// Why a lock is as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockError {
    #[error("it is not said how much to lock")]
    NoAmount,
    #[error("it is not said until when")]
    NoEnd,
    #[error("nothing is locked")]
    Nothing,
    #[error("a lock ends between one and {LOCK_WEEKS_MAX} weeks from now, and not at {}", time_text(*.0))]
    End(u64),
    #[error("the lock ends at {}, and is never shortened", time_text(*.0))]
    Shorter(u64),
    #[error("the lock ends at {} already", time_text(*.0))]
    Same(u64),
    #[error("the governor has not counted yet what was locked last")]
    NotCounted,
    #[error("the lock ends at {}, in {}", time_text(*ends_s), span_text(*left_s))]
    Running { ends_s: u64, left_s: u64 },
}

impl NextStep for LockError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::NoAmount | Self::Nothing => "swarm lock 100 --weeks 52".into(),
            Self::NoEnd => "--until DATE, or --weeks N".into(),
            Self::End(_) => "a day within that time: --until DATE, or --weeks N".into(),
            Self::Shorter(_) | Self::Same(_) => "a later day; swarm lock shows the lock".into(),
            Self::NotCounted => "again in a minute; swarm lock shows whether it is".into(),
            Self::Running { .. } => "again after that".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NoAmount | Self::NoEnd | Self::End(_) => Exit::Usage,
            Self::Nothing | Self::Shorter(_) | Self::Same(_) | Self::NotCounted | Self::Running { .. } => Exit::Failed,
        }
    }
}

/// Runs `swarm lock`.
///
/// # Errors
/// No keys, no chain, no governor, or a lock that stays as it is.
pub async fn lock(context: &Context, args: LockArgs) -> Result<(), Failure> {
    match (args.command, args.amount, args.until) {
        (Some(LockCommand::Lengthen { until, sending }), ..) => {
            tell(context, sending, "lengthened", move |scene| ask_to_lengthen(scene, until), after, State::text).await
        }
        (None, Some(amount), until) => {
            tell(context, args.sending, "locked", move |scene| ask_to_lock(scene, amount, until), after, State::text).await
        }
        (None, None, UntilArgs { until: None, weeks: None }) => {
            let context = context.clone();
            blocking(move || show(&context)).await
        }
        (None, None, _) => Err(LockError::NoAmount.into()),
    }
}

/// Runs `swarm unlock`.
///
/// # Errors
/// As for [`lock`].
pub async fn unlock(context: &Context, args: UnlockArgs) -> Result<(), Failure> {
    tell(context, args.sending, "unlocked", ask_to_unlock, after, State::text).await
}

/// An owner's lock as it is shown.
#[derive(Clone, Debug, Serialize)]
struct State {
    lock: Address,
    owner: Address,
    locked_nanococoon: Amount,
    /// Could not be sent to the owner.
    owed_nanococoon: Amount,
    /// In seconds since the Unix epoch; 0 before anything was locked.
    ends_s: u64,
    /// What it weighs now, and all locks together.
    weight_nanococoon: Amount,
    all_nanococoon: Amount,
    /// Since when it is as it is; none while the governor has not counted that.
    since_s: Option<u32>,
    /// Proposals that it voted on and whose votes are not over.
    votes: Vec<u32>,
    seen_at_s: u64,
}

impl State {
    fn of(governor: &Placed<GovernorData>, owner: ContractAddress, lock: &Placed<LockData>) -> Result<Self, TellError> {
        let (data, now_s) = (&lock.data, lock.now_s());
        Ok(Self {
            lock: Address::from(lock.at),
            owner: Address::from(owner),
            locked_nanococoon: data.amount,
            owed_nanococoon: data.owed,
            ends_s: data.ends_s().into(),
            weight_nanococoon: weight(data.amount, data.ends_week, now_s).map_err(DeskError::from)?,
            all_nanococoon: weight_of_all(&governor.data, now_s)?,
            since_s: data.since_s.filter(|_| !data.amount.is_zero()),
            votes: data.ballots.keys().copied().collect(),
            seen_at_s: lock.seen_at_s,
        })
    }

    fn text(&self) -> String {
        if self.locked_nanococoon.is_zero() && self.owed_nanococoon.is_zero() {
            return "Nothing is locked; swarm lock 100 --weeks 52 locks 100 COCOON for a year".to_owned();
        }
        let ends = match self.ends_s.saturating_sub(self.seen_at_s) {
            0 => format!("{}; swarm unlock takes it out", time_text(self.ends_s)),
            left_s => format!("{}, in {}", time_text(self.ends_s), span_text(left_s)),
        };
        let since = self.since_s.map_or("not counted yet".to_owned(), |since_s| {
            format!("since {}; it votes on what was proposed later", time_text(since_s.into()))
        });
        let mut lines = vec![
            format!("lock    {}", self.lock.friendly(Bounce::Yes)),
            format!("locked  {}", cocoon_text(self.locked_nanococoon)),
            format!("ends    {ends}"),
            format!("weighs  {} of {} in all", self.weight_nanococoon, self.all_nanococoon),
            format!("as is   {since}"),
        ];
        if !self.owed_nanococoon.is_zero() {
            lines.push(format!("owed    {}; swarm unlock takes it out", cocoon_text(self.owed_nanococoon)));
        }
        if !self.votes.is_empty() {
            let votes: Vec<_> = self.votes.iter().map(ToString::to_string).collect();
            lines.push(format!("voted   on {}", votes.join(", ")));
        }
        lines.join("\n")
    }
}

/// What all locks of a governor weigh together.
pub(super) fn weight_of_all(data: &GovernorData, at_s: u32) -> Result<Amount, TellError> {
    Ok(data.locks().weight(at_s).map_err(DeskError::from)?)
}

/// Shows the lock. It needs the chain alone, so that it can be asked while a node runs.
fn show(context: &Context) -> Result<(), Failure> {
    let config = context.config()?;
    let owner = own_account(context, &config)?;
    let Look { chain, network } = Look::open(&config)?;
    context.out().result(&state(&*chain, &network, owner)?, State::text);
    Ok(())
}

fn state(chain: &dyn Chain, network: &NetworkContracts, owner: ContractAddress) -> Result<State, TellError> {
    let governor = network.governor(chain)?;
    let lock = match network.lock(chain, governor.at, owner)? {
        Some(lock) => lock,
        None => Placed {
            at: network.lock_of(governor.at, owner)?,
            data: LockData::new(owner, governor.at),
            balance: Amount::ZERO,
            seen_at_s: governor.seen_at_s,
        },
    };
    State::of(&governor, owner, &lock)
}

fn after(scene: &Scene, _course: &Course) -> Result<State, Failure> {
    Ok(state(scene.chain(), &scene.network()?, scene.owner())?)
}

/// The week at whose beginning a lock of such a length ends: the first whole one after it, and not more than can be.
fn ends_week(until: UntilArgs, now_s: u32) -> Result<u32, LockError> {
    let this_week = week_of(now_s);
    let last_week = this_week.saturating_add(LOCK_WEEKS_MAX);
    let ends_s = match (until.until, until.weeks) {
        (Some(day), _) => day.begins_s(),
        (None, Some(weeks)) => u64::from(weeks).saturating_mul(WEEK_S.into()).saturating_add(now_s.into()),
        (None, None) => return Err(LockError::NoEnd),
    };
    let week = u32::try_from(ends_s.div_ceil(WEEK_S.into())).unwrap_or(u32::MAX);
    // So many weeks from now are a part of a week more than can be, which nobody asked for.
    let week = if until.until.is_none() { week.min(last_week) } else { week };
    if week <= this_week || week > last_week { Err(LockError::End(ends_s)) } else { Ok(week) }
}

/// Whether a lock can be what it is asked to become.
fn check(lock: Option<&LockData>, ends_week: u32, is_more: bool) -> Result<(), LockError> {
    let Some(lock) = lock.filter(|lock| !lock.amount.is_zero()) else {
        return if is_more { Ok(()) } else { Err(LockError::Nothing) };
    };
    match (lock.since_s, ends_week.cmp(&lock.ends_week)) {
        (None, _) => Err(LockError::NotCounted),
        (Some(_), std::cmp::Ordering::Less) => Err(LockError::Shorter(lock.ends_s().into())),
        (Some(_), std::cmp::Ordering::Equal) if !is_more => Err(LockError::Same(lock.ends_s().into())),
        (Some(_), _) => Ok(()),
    }
}

fn ask_to_lock(scene: &Scene, amount: Amount, until: UntilArgs) -> Result<Ask, Failure> {
    let network = with_enough(scene, amount)?;
    let governor = network.governor(scene.chain())?;
    let ends_week = ends_week(until, governor.now_s())?;
    let lock = network.lock(scene.chain(), governor.at, scene.owner())?;
    check(lock.as_ref().map(|lock| &lock.data), ends_week, true)?;
    let message = ContractMessage::Move { amount, to: governor.at, purpose: Purpose::Lock { ends_week } };
    let changes = format!("{} would be locked until {}", cocoon_text(amount), time_text(week_begins_s(ends_week).into()));
    ask_wallet(scene, &network, message, changes)
}

fn ask_to_lengthen(scene: &Scene, until: UntilArgs) -> Result<Ask, Failure> {
    let (network, governor, lock) = own_lock(scene)?;
    let ends_week = ends_week(until, lock.now_s())?;
    check(Some(&lock.data), ends_week, false)?;
    let changes = format!("{} would stay locked until {}", cocoon_text(lock.data.amount), time_text(week_begins_s(ends_week).into()));
    ask_lock(scene, &network, governor.at, LockMessage::Lengthen(ends_week), changes)
}

fn ask_to_unlock(scene: &Scene) -> Result<Ask, Failure> {
    let (network, governor, lock) = own_lock(scene)?;
    let ends_s = u64::from(lock.data.ends_s());
    let left_s = ends_s.saturating_sub(lock.seen_at_s);
    if left_s > 0 && lock.data.owed.is_zero() {
        return Err(LockError::Running { ends_s, left_s }.into());
    }
    let ended = if left_s == 0 { lock.data.amount } else { Amount::ZERO };
    let out = ended.checked_add(lock.data.owed).unwrap_or(Amount::MAX);
    let changes = format!("{} would come to the wallet", cocoon_text(out));
    ask_lock(scene, &network, governor.at, LockMessage::Unlock, changes)
}

/// The owner's lock, with something in it, and whose it is.
pub(super) fn own_lock(scene: &Scene) -> Result<(NetworkContracts, Placed<GovernorData>, Placed<LockData>), Failure> {
    let network = scene.network()?;
    let governor = network.governor(scene.chain())?;
    let lock = network.lock(scene.chain(), governor.at, scene.owner())?;
    let lock = lock.filter(|lock| !(lock.data.amount.is_zero() && lock.data.owed.is_zero())).ok_or(LockError::Nothing)?;
    Ok((network, governor, lock))
}

/// A message to the owner's lock, which `changes` so.
pub(super) fn ask_lock(
    scene: &Scene,
    network: &NetworkContracts,
    governor: ContractAddress,
    message: LockMessage,
    changes: String,
) -> Result<Ask, Failure> {
    let lock = network.lock_of(governor, scene.owner())?;
    Ok(Ask::message(scene, network, Some(governor), lock, ContractMessage::Lock(message), changes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Day;

    /// A Thursday, a day after a week began.
    const NOW_S: u32 = 2_976 * WEEK_S + 86_400;

    #[test]
    fn a_lock_ends_with_the_week_it_is_asked_to_last_into() {
        let week = |until, weeks| ends_week(UntilArgs { until, weeks }, NOW_S).map(|week| week - 2_976);
        assert_eq!((week(None, Some(1)).unwrap(), week(None, Some(103)).unwrap(), week(None, Some(104)).unwrap()), (2, 104, 104));
        let day = |day: u32| Some(Day(2_976 * 7 + day));
        assert_eq!((week(day(7), None).unwrap(), week(day(8), None).unwrap(), week(day(728), None).unwrap()), (1, 2, 104));
        for wrong in [0, 729] {
            assert!(matches!(week(day(wrong), None), Err(LockError::End(_))), "{wrong}");
        }
        assert!(matches!(week(None, None), Err(LockError::NoEnd)));
    }

    #[test]
    fn a_lock_is_never_shortened_and_changes_one_step_at_a_time() {
        let account = ContractAddress([1; 32]);
        let lock = LockData { amount: Amount::from_nano(5), ends_week: 3_000, ..LockData::new(account, account) };
        let asked = |week, is_more| check(Some(&lock), week, is_more);
        assert!(asked(3_000, true).is_ok() && asked(3_001, false).is_ok());
        assert!(matches!(asked(2_999, true), Err(LockError::Shorter(_))));
        assert!(matches!(asked(3_000, false), Err(LockError::Same(_))));
        assert!(matches!(check(Some(&LockData { since_s: None, ..lock.clone() }), 3_001, true), Err(LockError::NotCounted)));
        assert!(matches!(check(None, 3_001, false), Err(LockError::Nothing)));
        assert!(check(None, 3_001, true).is_ok());
    }

    #[test]
    fn a_lock_is_shown_with_its_end_and_its_weight() {
        let account = ContractAddress([1; 32]);
        let state = State {
            lock: Address::from(account),
            owner: Address::from(account),
            locked_nanococoon: "10".parse().unwrap(),
            owed_nanococoon: Amount::ZERO,
            ends_s: u64::from(NOW_S) + 864_000,
            weight_nanococoon: "0.5".parse().unwrap(),
            all_nanococoon: "4".parse().unwrap(),
            since_s: Some(NOW_S),
            votes: vec![3, 7],
            seen_at_s: NOW_S.into(),
        };
        let text = state.text();
        assert!(text.contains("in 10 days") && text.contains("0.5 of 4 in all") && text.contains("on 3, 7"), "{text}");
        let over = State { seen_at_s: state.ends_s, ..state.clone() };
        assert!(over.text().contains("swarm unlock"), "{}", over.text());
        let empty = State { locked_nanococoon: Amount::ZERO, ..state };
        assert!(empty.text().contains("Nothing is locked"), "{}", empty.text());
    }
}
