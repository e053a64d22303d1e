//! How much of what somebody earned is theirs by now.
//!
//! Of a reward, 30% can be taken at once and 70% vests over 90 days, evenly. An account holds one such line, however many rewards joined
//! it: a new reward puts the end where the remaining times of both, weighted by what is still locked, come to. A unit waits as long as it
//! would in a line of its own, on average, and a contract stores four numbers.
//!
//! Invariant, a property test: granted = taken + free + locked + slashed, and free + taken never shrinks but by taking.

use cocoon_market::{Amount, AmountError};

use super::{DAY_S, portion};

/// Of a reward, what can be taken at once, in basis points.
pub const LIQUID_BPS: u32 = 3_000;

/// How long the rest of a reward vests.
pub const REWARD_VEST_S: u32 = 90 * DAY_S;

/// What somebody has earned and not yet taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vesting {
    /// Can be taken.
    pub(crate) free: Amount,
    /// Becomes free evenly from `since_s` to `until_s`.
    pub(crate) locked: Amount,
    pub(crate) since_s: u32,
    pub(crate) until_s: u32,
}

impl Vesting {
    /// What can be taken now.
    ///
    /// # Errors
    /// [`AmountError`] never, for amounts below the cap.
    pub fn free(&self, now_s: u32) -> Result<Amount, AmountError> {
        Ok(self.at(now_s)?.free)
    }

    /// What still vests.
    ///
    /// # Errors
    /// As for [`Vesting::free`].
    pub fn locked(&self, now_s: u32) -> Result<Amount, AmountError> {
        Ok(self.at(now_s)?.locked)
    }

    /// When all that still vests is free, in seconds since the Unix epoch.
    pub const fn until_s(&self) -> u32 {
        self.until_s
    }

    /// Adds a reward: a part at once, the rest over [`REWARD_VEST_S`].
    ///
    /// # Errors
    /// [`AmountError::Overflow`] beyond all money, and nothing changed.
    pub fn reward(&mut self, amount: Amount, now_s: u32) -> Result<(), AmountError> {
        let (free, locked) = amount.split_bps(LIQUID_BPS)?;
        let mut next = self.lock(locked, REWARD_VEST_S, now_s)?;
        next.free = next.free.checked_add(free)?;
        *self = next;
        Ok(())
    }

    /// Adds a grant that vests from nothing, such as those of the start.
    ///
    /// # Errors
    /// As for [`Vesting::reward`].
    pub fn grant(&mut self, amount: Amount, vest_s: u32, now_s: u32) -> Result<(), AmountError> {
        *self = self.lock(amount, vest_s, now_s)?;
        Ok(())
    }

    /// Takes what is free.
    ///
    /// # Errors
    /// As for [`Vesting::free`].
    pub fn take(&mut self, now_s: u32) -> Result<Amount, AmountError> {
        let mut next = self.at(now_s)?;
        let taken = std::mem::take(&mut next.free);
        *self = next;
        Ok(taken)
    }

    /// Takes a part, in basis points, of what still vests: the part of the stake that was slashed. What is free is its owner's.
    ///
    /// # Errors
    /// [`AmountError::Share`] above the whole.
    pub fn slash(&mut self, bps: u32, now_s: u32) -> Result<Amount, AmountError> {
        let mut next = self.at(now_s)?;
        let (slashed, left) = next.locked.split_bps(bps)?;
        next.locked = left;
        *self = next;
        Ok(slashed)
    }

    /// The same line, begun anew now.
    fn at(&self, now_s: u32) -> Result<Self, AmountError> {
        let now_s = now_s.max(self.since_s);
        let freed = match self.until_s.checked_sub(now_s) {
            None | Some(0) => self.locked,
            Some(_) => {
                let (passed, whole) = (now_s.saturating_sub(self.since_s), self.until_s.saturating_sub(self.since_s));
                portion(self.locked, u128::from(passed), u128::from(whole))?
            }
        };
        Ok(Self { free: self.free.checked_add(freed)?, locked: self.locked.checked_sub(freed)?, since_s: now_s, until_s: self.until_s })
    }

    fn lock(&self, amount: Amount, vest_s: u32, now_s: u32) -> Result<Self, AmountError> {
        let mut line = self.at(now_s)?;
        let whole = line.locked.checked_add(amount)?;
        let left_s = |line: &Self| u128::from(line.until_s.saturating_sub(line.since_s));
        let weigh = |amount: Amount, seconds: u128| amount.nano().checked_mul(seconds).ok_or(AmountError::Overflow);
        let weight = weigh(line.locked, left_s(&line))?.checked_add(weigh(amount, u128::from(vest_s))?).ok_or(AmountError::Overflow)?;
        // Rounded up: nobody vests sooner by joining lines.
        let seconds = if whole.is_zero() { 0 } else { weight.div_ceil(whole.nano()) };
        line.until_s = line.since_s.saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX));
        line.locked = whole;
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START_S: u32 = 1_800_000_000;

    fn nano(nano: u128) -> Amount {
        Amount::from_nano(nano)
    }

    #[test]
    fn a_reward_is_free_in_part_at_once_and_whole_after_ninety_days() {
        let mut vesting = Vesting::default();
        vesting.reward(nano(1_000), START_S).unwrap();
        let free = |day: u32| vesting.free(START_S + day * DAY_S).unwrap().nano();
        assert_eq!([0, 9, 45, 89, 90, 1_000].map(free), [300, 370, 650, 992, 1_000, 1_000]);
        assert_eq!(vesting.locked(START_S + 45 * DAY_S).unwrap(), nano(350));
        assert_eq!(vesting.free(START_S - 1).unwrap(), nano(300), "a clock that runs back frees nothing");
    }

    #[test]
    fn a_grant_begins_with_nothing() {
        let mut vesting = Vesting::default();
        vesting.grant(nano(100), 180 * DAY_S, START_S).unwrap();
        assert_eq!([0, 90, 180].map(|day| vesting.free(START_S + day * DAY_S).unwrap().nano()), [0, 50, 100]);
        vesting.grant(Amount::ZERO, 9, START_S).unwrap();
        assert_eq!(vesting.free(START_S + 90 * DAY_S).unwrap(), nano(50), "nothing changes nothing");
    }

    #[test]
    fn a_second_reward_moves_the_end_by_its_weight() {
        let mut vesting = Vesting::default();
        vesting.reward(nano(1_000), START_S).unwrap();
        // 350 are locked for 45 days more, and 1,050 for 90: 78.75 days for all.
        vesting.reward(nano(1_500), START_S + 45 * DAY_S).unwrap();
        let later = START_S + 45 * DAY_S + 78 * DAY_S + DAY_S * 3 / 4;
        assert_eq!(vesting.until_s(), later);
        assert_eq!(vesting.locked(later - 1).unwrap(), nano(1));
        assert_eq!(vesting.free(later).unwrap(), nano(2_500));
    }

    #[test]
    fn a_slash_takes_of_what_vests_alone() {
        let mut vesting = Vesting::default();
        vesting.reward(nano(1_000), START_S).unwrap();
        assert_eq!(vesting.slash(5_000, START_S + 45 * DAY_S).unwrap(), nano(175));
        assert_eq!(vesting.take(START_S + 45 * DAY_S).unwrap(), nano(650));
        assert_eq!(vesting.slash(10_001, START_S), Err(AmountError::Share(10_001)));
        assert_eq!(vesting.take(START_S + 90 * DAY_S).unwrap(), nano(175));
        assert_eq!(vesting.slash(10_000, START_S + 90 * DAY_S).unwrap(), Amount::ZERO);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Reward(u64),
        Grant(u64, u32),
        Take,
        Slash(u32),
    }

    fn step() -> impl Strategy<Value = (Step, u32)> {
        let step = prop_oneof![
            any::<u64>().prop_map(Step::Reward),
            (any::<u64>(), 1u32..400 * DAY_S).prop_map(|(amount, vest_s)| Step::Grant(amount, vest_s)),
            Just(Step::Take),
            (0u32..=10_000).prop_map(Step::Slash),
        ];
        (step, 0u32..40 * DAY_S)
    }

    proptest! {
        /// Whatever happens in whatever order, every unit is taken, free, locked or slashed.
        #[test]
        fn every_unit_is_somewhere(steps in proptest::collection::vec(step(), 1..60)) {
            let (mut vesting, mut now_s) = (Vesting::default(), START_S);
            let (mut granted, mut gone) = (0u128, 0u128);
            for (step, pause_s) in steps {
                now_s = now_s.saturating_add(pause_s);
                let free = vesting.free(now_s).unwrap();
                match step {
                    Step::Reward(amount) => {
                        vesting.reward(nano(amount.into()), now_s).unwrap();
                        granted += u128::from(amount);
                    }
                    Step::Grant(amount, vest_s) => {
                        vesting.grant(nano(amount.into()), vest_s, now_s).unwrap();
                        granted += u128::from(amount);
                    }
                    Step::Take => gone += vesting.take(now_s).unwrap().nano(),
                    Step::Slash(bps) => gone += vesting.slash(bps, now_s).unwrap().nano(),
                }
                let (now_free, locked) = (vesting.free(now_s).unwrap(), vesting.locked(now_s).unwrap());
                prop_assert_eq!(now_free.nano() + locked.nano() + gone, granted);
                prop_assert!(matches!(step, Step::Take) || now_free >= free, "what is free stays free");
            }
        }

        /// Rewards that join one line are all free when the last of them would be alone, or before.
        #[test]
        fn joining_keeps_nobody_waiting_longer_than_the_last(rewards in proptest::collection::vec((1u64.., 0u32..20 * DAY_S), 1..20)) {
            let (mut vesting, mut now_s, mut granted) = (Vesting::default(), START_S, 0u128);
            for (amount, pause_s) in rewards {
                now_s += pause_s;
                granted += u128::from(amount);
                vesting.reward(nano(amount.into()), now_s).unwrap();
            }
            prop_assert_eq!(vesting.free(now_s + REWARD_VEST_S).unwrap().nano(), granted);
        }
    }
}
