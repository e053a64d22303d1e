//! COCOON that is locked for a time, and the weight that it votes with.
//!
//! ```text
//! weight = amount x time left / 104 weeks
//! ```
//!
//! Locks end at whole weeks, so that the weight of all is known from what ends in each of at most [`LOCK_WEEKS_MAX`] weeks, not from a
//! list that anybody can make longer.
//!
//! A lock counts in a vote with what it weighed when the proposal was made, if it was there before, was not changed since, and outlasts the
//! vote: what is borrowed for a vote has to stay borrowed, and nothing votes twice by being moved.
//!
//! Invariants, each with a test: no division or merging of locks weighs more than the whole; the weight of all locks is at least the
//! sum of theirs, and above it by less than one unit a lock; what was locked comes out once, and not before its end.

use std::collections::BTreeMap;

use cocoon_market::{Amount, AmountError};

use super::{DAY_S, portion};

/// A week, at whose end locks end.
pub const WEEK_S: u32 = 7 * DAY_S;

/// The longest a lock may take, and the time for which a unit weighs one.
pub const LOCK_WEEKS_MAX: u32 = 104;

const LOCK_S_MAX: u32 = LOCK_WEEKS_MAX * WEEK_S;

/// One owner's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    amount: Amount,
    /// It ends when this week begins, counted from the Unix epoch.
    ends_week: u32,
    /// When its weight was last raised.
    since_s: u32,
}

/// Why a lock is not made, changed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// It would end now, before, or after the longest time.
    #[error("a lock ends between one and {LOCK_WEEKS_MAX} weeks from now")]
    End,
    /// It would end before it does.
    #[error("a lock is never shortened")]
    Shorter,
    /// Neither more nor longer.
    #[error("nothing would change")]
    Nothing,
    /// It still runs.
    #[error("the lock ends at {ends_s}")]
    Running {
        /// When it ends, in seconds since the Unix epoch.
        ends_s: u32,
    },
    /// A sum beyond all money.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

impl Lock {
    /// What is locked.
    pub const fn amount(&self) -> Amount {
        self.amount
    }

    /// When it ends, in seconds since the Unix epoch.
    pub const fn ends_s(&self) -> u32 {
        week_begins_s(self.ends_week)
    }

    /// Its weight at a moment, whoever counts it.
    ///
    /// # Errors
    /// [`AmountError`] never, for amounts below the cap.
    pub fn weight(&self, at_s: u32) -> Result<Amount, AmountError> {
        weight(self.amount, self.ends_week, at_s)
    }

    /// Its weight in a vote on a proposal that was made at `snapshot_s` and is voted on until `until_s`; zero when it has no voice there.
    ///
    /// # Errors
    /// As for [`Lock::weight`].
    pub fn voice(&self, snapshot_s: u32, until_s: u32) -> Result<Amount, AmountError> {
        if self.since_s < snapshot_s && self.ends_s() >= until_s { self.weight(snapshot_s) } else { Ok(Amount::ZERO) }
    }
}

/// What all locks weigh together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    /// What ends in each week.
    ends: BTreeMap<u32, Amount>,
}

impl Locks {
    /// As they are somewhere along their way: what ends in each week.
    pub const fn resumed(ends: BTreeMap<u32, Amount>) -> Self {
        Self { ends }
    }

    /// The weight of all locks at a moment.
    ///
    /// # Errors
    /// [`AmountError`] never, for amounts below the cap.
    pub fn weight(&self, at_s: u32) -> Result<Amount, AmountError> {
        // Added up before they are divided: each lock alone is rounded down further.
        let mut sum = 0u128;
        for (week, amount) in &self.ends {
            let product = amount.nano().checked_mul(left_s(*week, at_s).into()).ok_or(AmountError::Overflow)?;
            sum = sum.checked_add(product).ok_or(AmountError::Overflow)?;
        }
        Ok(Amount::from_nano(sum.checked_div(LOCK_S_MAX.into()).unwrap_or(0)))
    }

    /// Locks so much more until a week, on top of what this owner has locked. It may be nothing, to lengthen a lock, and the week may be
    /// the lock's own, to add to it.
    ///
    /// # Errors
    /// [`LockError`], and nothing changed.
    pub fn lock(&mut self, before: Option<Lock>, amount: Amount, ends_week: u32, now_s: u32) -> Result<Lock, LockError> {
        self.forget(now_s);
        let this_week = week_of(now_s);
        // At most the longest time away: a week that has begun counts as whole.
        if ends_week <= this_week || ends_week > this_week.saturating_add(LOCK_WEEKS_MAX) {
            return Err(LockError::End);
        }
        if before.is_some_and(|before| ends_week < before.ends_week) {
            return Err(LockError::Shorter);
        }
        let had = before.map_or(Amount::ZERO, |before| before.amount);
        if amount.is_zero() && (had.is_zero() || before.is_some_and(|before| ends_week == before.ends_week)) {
            return Err(LockError::Nothing);
        }
        let whole = had.checked_add(amount)?;
        let mut ends = self.ends.clone();
        if let Some(before) = before {
            subtract(&mut ends, before.ends_week, before.amount);
        }
        let there = ends.entry(ends_week).or_insert(Amount::ZERO);
        *there = there.checked_add(whole)?;
        self.ends = ends;
        Ok(Lock { amount: whole, ends_week, since_s: now_s })
    }

    /// Gives back what was locked, once its time is over.
    ///
    /// # Errors
    /// [`LockError::Running`].
    pub fn unlock(&mut self, lock: Lock, now_s: u32) -> Result<Amount, LockError> {
        if now_s < lock.ends_s() {
            return Err(LockError::Running { ends_s: lock.ends_s() });
        }
        self.forget(now_s);
        Ok(lock.amount)
    }

    /// Weeks that are over weigh nothing.
    fn forget(&mut self, now_s: u32) {
        let this_week = week_of(now_s);
        self.ends.retain(|week, _| *week > this_week);
    }
}

/// When a week begins, in seconds since the Unix epoch.
pub const fn week_begins_s(week: u32) -> u32 {
    week.saturating_mul(WEEK_S)
}

/// The week that runs at a moment, counted from the Unix epoch.
pub fn week_of(at_s: u32) -> u32 {
    at_s.checked_div(WEEK_S).unwrap_or(0)
}

/// What so much weighs at a moment that is locked until a week begins.
///
/// # Errors
/// [`AmountError`] never, for amounts below the cap.
pub fn weight(amount: Amount, ends_week: u32, at_s: u32) -> Result<Amount, AmountError> {
    portion(amount, left_s(ends_week, at_s).into(), LOCK_S_MAX.into())
}

fn left_s(ends_week: u32, at_s: u32) -> u32 {
    week_begins_s(ends_week).saturating_sub(at_s)
}

/// A lock that is over was forgotten already.
fn subtract(ends: &mut BTreeMap<u32, Amount>, week: u32, amount: Amount) {
    if let Some(there) = ends.get_mut(&week) {
        *there = there.saturating_sub(amount);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const START_S: u32 = 2_976 * WEEK_S;

    fn nano(nano: u128) -> Amount {
        Amount::from_nano(nano)
    }

    /// So many weeks from the start.
    fn week(from_start: u32) -> u32 {
        week_of(START_S) + from_start
    }

    #[test]
    fn weeks_are_seven_days_from_the_unix_epoch() {
        assert_eq!([0, 604_799, 604_800, 1_800_000_000].map(week_of), [0, 0, 1, 2_976]);
        assert_eq!([0, 1, 2_976].map(week_begins_s), [0, 604_800, 1_799_884_800]);
    }

    #[test]
    fn a_unit_locked_for_the_longest_time_weighs_one_and_less_each_second() {
        let mut locks = Locks::default();
        let lock = locks.lock(None, nano(104_000), week(104), START_S).unwrap();
        let weights = [0, 1, 52, 103, 104, 200].map(|weeks| lock.weight(START_S + weeks * WEEK_S).unwrap().nano());
        assert_eq!(weights, [104_000, 103_000, 52_000, 1_000, 0, 0]);
        assert_eq!(locks.weight(START_S).unwrap(), nano(104_000));
        assert_eq!((lock.amount(), lock.ends_s()), (nano(104_000), START_S + 104 * WEEK_S));
    }

    #[test]
    fn a_lock_ends_within_its_bounds_and_is_never_shortened() {
        let mut locks = Locks::default();
        let now_s = START_S + 5;
        for bad in [week(0), week(105)] {
            assert_eq!(locks.lock(None, nano(1), bad, now_s), Err(LockError::End));
        }
        let lock = locks.lock(None, nano(10), week(50), now_s).unwrap();
        assert_eq!(locks.lock(Some(lock), nano(1), week(49), now_s), Err(LockError::Shorter));
        assert_eq!(locks.lock(Some(lock), Amount::ZERO, week(50), now_s), Err(LockError::Nothing));
        assert_eq!(locks.lock(None, Amount::ZERO, week(50), now_s), Err(LockError::Nothing));
        assert_eq!(locks.lock(Some(lock), Amount::MAX, week(50), now_s), Err(LockError::Amount(AmountError::Overflow)));
        assert_eq!(locks.weight(now_s).unwrap(), lock.weight(now_s).unwrap(), "nothing changed");
        let longer = locks.lock(Some(lock), Amount::ZERO, week(104), now_s).unwrap();
        let more = locks.lock(Some(longer), nano(5), week(104), now_s).unwrap();
        assert_eq!((longer.amount(), more.amount()), (nano(10), nano(15)));
        assert_eq!(locks.weight(now_s).unwrap(), more.weight(now_s).unwrap());
    }

    #[test]
    fn what_was_locked_comes_out_at_its_end() {
        let mut locks = Locks::default();
        let lock = locks.lock(None, nano(10), week(2), START_S).unwrap();
        let ends_s = START_S + 2 * WEEK_S;
        assert_eq!(locks.unlock(lock, ends_s - 1), Err(LockError::Running { ends_s }));
        assert_eq!(locks.unlock(lock, ends_s), Ok(nano(10)));
        assert!(locks.ends.is_empty(), "{locks:?}");
        let again = locks.lock(Some(lock), nano(1), week(9), ends_s).unwrap();
        assert_eq!(again.amount(), nano(11), "what was not taken out is locked anew");
        assert_eq!(locks.weight(ends_s).unwrap(), again.weight(ends_s).unwrap());
    }

    #[test]
    fn what_came_too_late_or_ends_too_soon_has_no_voice() {
        let mut locks = Locks::default();
        let lock = locks.lock(None, nano(104_000), week(10), START_S).unwrap();
        let until_s = START_S + 2 * WEEK_S;
        assert_eq!(lock.voice(START_S + 1, until_s).unwrap(), lock.weight(START_S + 1).unwrap());
        assert_eq!(lock.voice(START_S, until_s).unwrap(), Amount::ZERO, "made in the second of the proposal");
        let ends_s = START_S + 10 * WEEK_S;
        assert!(!lock.voice(START_S + 1, ends_s).unwrap().is_zero());
        assert_eq!(lock.voice(START_S + 1, ends_s + 1).unwrap(), Amount::ZERO, "gone before the vote ends");
        let later_s = START_S + 60;
        let more = locks.lock(Some(lock), nano(1), week(10), later_s).unwrap();
        assert_eq!(more.voice(later_s, until_s).unwrap(), Amount::ZERO, "and so is one that was added to");
    }

    proptest! {
        /// Whoever locks whatever for however long, all together weigh what each does, but for what is rounded down; and no part of a
        /// lock weighs more alone.
        #[test]
        fn the_weight_of_all_is_that_of_each(of in vec((1u64.., 1u32..=104, 0u32..WEEK_S), 1..30), at_weeks in 0u32..110) {
            let mut locks = Locks::default();
            let (mut each, mut now_s) = (Vec::new(), START_S);
            for (amount, weeks, pause_s) in of {
                now_s += pause_s / 30;
                each.push(locks.lock(None, nano(amount.into()), week_of(now_s) + weeks, now_s).unwrap());
            }
            let at_s = now_s + at_weeks * WEEK_S;
            let sum: u128 = each.iter().map(|lock| lock.weight(at_s).unwrap().nano()).sum();
            let all = locks.weight(at_s).unwrap().nano();
            prop_assert!(all >= sum && all - sum <= each.len() as u128, "{} of {}", sum, all);
            for lock in each {
                let half = nano(lock.amount.nano() / 2);
                let other = lock.amount.checked_sub(half).unwrap();
                let parts = [half, other].map(|amount| weight(amount, lock.ends_week, at_s).unwrap().nano());
                prop_assert!(parts.iter().sum::<u128>() <= lock.weight(at_s).unwrap().nano());
                prop_assert!(lock.weight(at_s).unwrap() <= lock.amount);
            }
            prop_assert!(locks.ends.len() <= LOCK_WEEKS_MAX as usize + 1);
        }

        /// A lock that grows step by step leaves no trace of what it was.
        #[test]
        fn a_lock_that_grows_is_counted_once(steps in vec((0u64..1 << 40, 0u32..20, 0u32..3 * WEEK_S), 1..20)) {
            let mut locks = Locks::default();
            let (mut lock, mut now_s, mut put_in) = (None::<Lock>, START_S, 0u128);
            for (amount, longer, pause_s) in steps {
                now_s += pause_s;
                let ends_week = lock.map_or(week_of(now_s) + 1, |lock| lock.ends_week.max(week_of(now_s) + 1)) + longer;
                if let Ok(next) = locks.lock(lock, nano(amount.into()), ends_week, now_s) {
                    put_in += u128::from(amount);
                    lock = Some(next);
                }
                let weight = lock.map_or(Amount::ZERO, |lock| lock.weight(now_s).unwrap());
                prop_assert_eq!(locks.weight(now_s).unwrap(), weight);
                prop_assert_eq!(lock.map_or(0, |lock| lock.amount.nano()), put_in);
            }
        }
    }
}
