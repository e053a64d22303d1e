//! How much of the reserve an epoch may pay.
//!
//! The rate halves each time that half of what was left has been released, not by the calendar: where little is used, early providers keep
//! their rate for longer. A calendar ceiling keeps anybody from getting ahead of time by it, and what an epoch does not pay adds to the
//! next ones, up to three rates.
//!
//! ```text
//! E0       = reserve / 2H                            H epochs at the first rate release half of the reserve
//! h        = number of j >= 1 with reserve - released <= reserve >> j
//! rate     = E0 >> h
//! ceiling  = sum over the epochs so far of E0 >> (epoch / H)
//! budget   = min(rate + min(rollover, 3 rate), ceiling - released)
//! ```
//!
//! Invariants, each a property test: the rate never rises; released <= ceiling <= reserve; what is not paid is never lost to the reserve.

use cocoon_market::{Amount, AmountError};

use super::{genesis, halved};

/// Unpaid rates that may add to one epoch's.
const ROLLOVER_RATES_MAX: u64 = 3;

/// The halving schedule of a reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    reserve: Amount,
    half_life: u32,
}

/// What was released so far, and what may be next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emission {
    schedule: Schedule,
    /// The epoch that is open.
    epoch: u64,
    released: Amount,
    /// What earlier epochs could have paid and did not.
    rollover: Amount,
}

/// More was to be paid than the epoch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmissionError {
    /// Above the epoch's budget.
    #[error("{paid} is more than the epoch's {budget}")]
    OverBudget {
        /// What was to be paid.
        paid: Amount,
        /// What there is.
        budget: Amount,
    },
    /// A sum beyond all money.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

impl Schedule {
    /// The network's: daily epochs, and half of the reserve in two years at the earliest.
    pub const NETWORK: Self = Self { reserve: genesis::RESERVE, half_life: 730 };

    /// Another reserve and half-life in epochs, for tests and scenarios; `None` when no epoch could pay anything.
    pub fn new(reserve: Amount, half_life: u32) -> Option<Self> {
        let schedule = Self { reserve, half_life };
        (half_life > 0 && !schedule.first_rate().is_zero()).then_some(schedule)
    }

    /// What an epoch may pay before the first halving.
    pub fn first_rate(&self) -> Amount {
        let epochs = u128::from(self.half_life).saturating_mul(2);
        Amount::from_nano(self.reserve.nano().checked_div(epochs).unwrap_or(0))
    }

    /// Halvings after so much was released.
    pub fn halvings(&self, released: Amount) -> u32 {
        let left = self.reserve.saturating_sub(released);
        let is_past = |halvings: &u32| left <= halved(self.reserve, *halvings);
        u32::try_from((1..u128::BITS).take_while(is_past).count()).unwrap_or(u128::BITS)
    }

    /// What has still to be released until the rate halves again.
    pub fn to_halving(&self, released: Amount) -> Amount {
        let next = self.reserve.saturating_sub(halved(self.reserve, self.halvings(released).saturating_add(1)));
        next.saturating_sub(released)
    }

    /// What an epoch may pay after so much was released, rollover aside.
    pub fn rate(&self, released: Amount) -> Amount {
        halved(self.first_rate(), self.halvings(released))
    }

    /// The most that can have been released by the end of an epoch, the first of which is 0.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] never, for a schedule that was made.
    pub fn ceiling(&self, epoch: u64) -> Result<Amount, AmountError> {
        let (half_life, first_rate) = (u64::from(self.half_life), self.first_rate());
        let (mut left, mut sum) = (epoch.saturating_add(1), Amount::ZERO);
        for halvings in 0..u128::BITS {
            let rate = halved(first_rate, halvings);
            let epochs = left.min(half_life);
            sum = sum.checked_add(rate.checked_mul(epochs)?)?;
            left = left.saturating_sub(epochs);
        }
        Ok(sum)
    }
}

impl Emission {
    /// Nothing released, the first epoch open.
    pub const fn new(schedule: Schedule) -> Self {
        Self { schedule, epoch: 0, released: Amount::ZERO, rollover: Amount::ZERO }
    }

    /// As it is somewhere along its way: this epoch open, so much released, so much unpaid before.
    pub const fn resumed(schedule: Schedule, epoch: u64, released: Amount, rollover: Amount) -> Self {
        Self { schedule, epoch, released, rollover }
    }

    /// The epoch that is open.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// All that was ever released.
    pub const fn released(&self) -> Amount {
        self.released
    }

    /// How often the rate halved.
    pub fn halvings(&self) -> u32 {
        self.schedule.halvings(self.released)
    }

    /// What has still to be released until it halves again.
    pub fn to_halving(&self) -> Amount {
        self.schedule.to_halving(self.released)
    }

    /// What the open epoch may pay without rollover.
    pub fn rate(&self) -> Amount {
        self.schedule.rate(self.released)
    }

    /// What the open epoch may pay.
    ///
    /// # Errors
    /// [`AmountError`] never, for a schedule that was made.
    pub fn budget(&self) -> Result<Amount, AmountError> {
        let rate = self.rate();
        let wanted = rate.checked_add(self.rollover.min(rate.checked_mul(ROLLOVER_RATES_MAX)?))?;
        Ok(wanted.min(self.schedule.ceiling(self.epoch)?.saturating_sub(self.released)))
    }

    /// Closes the epoch with what it pays, and opens the next.
    ///
    /// # Errors
    /// [`EmissionError::OverBudget`], and nothing changed.
    pub fn close(&mut self, paid: Amount) -> Result<(), EmissionError> {
        let budget = self.budget()?;
        let Ok(unpaid) = budget.checked_sub(paid) else { return Err(EmissionError::OverBudget { paid, budget }) };
        self.released = self.released.checked_add(paid)?;
        self.rollover = unpaid;
        self.epoch = self.epoch.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nano(nano: u128) -> Amount {
        Amount::from_nano(nano)
    }

    #[test]
    fn the_rate_halves_when_half_of_what_is_left_is_gone() {
        let whole = |cocoon: u128| nano(cocoon * 1_000_000_000);
        let after = |cocoon| Emission::resumed(Schedule::NETWORK, 0, whole(cocoon), Amount::ZERO);
        let so_far = |cocoon| (after(cocoon).halvings(), after(cocoon).to_halving());
        assert_eq!(so_far(0), (0, whole(160_000_000)));
        assert_eq!(so_far(160_000_000), (1, whole(80_000_000)));
        assert_eq!(so_far(200_000_000), (1, whole(40_000_000)));
    }

    #[test]
    fn the_network_begins_with_its_first_rate_and_ends_with_nothing() {
        let schedule = Schedule::NETWORK;
        assert_eq!(schedule.first_rate(), nano(219_178_082_191_780), "219,178 COCOON a day");
        let last = (0..100_000).find(|years| schedule.ceiling(years * 365).unwrap() == schedule.ceiling(u64::MAX).unwrap());
        assert_eq!(last, Some(96), "the last unit is released after 96 years");
        let dust = genesis::RESERVE.checked_sub(schedule.ceiling(u64::MAX).unwrap()).unwrap();
        assert!(dust < nano(1_000_000), "{dust} of the reserve is never released");
    }

    #[test]
    fn whoever_takes_all_there_is_follows_the_calendar() {
        let schedule = Schedule::new(nano(1 << 40), 64).unwrap();
        let mut emission = Emission::new(schedule);
        for epoch in 0..64 * 20 {
            let budget = emission.budget().unwrap();
            assert_eq!(budget.nano(), schedule.first_rate().nano() >> (epoch / 64), "epoch {epoch}");
            emission.close(budget).unwrap();
            assert_eq!(emission.released(), schedule.ceiling(epoch).unwrap());
        }
    }

    #[test]
    fn the_rate_halves_by_what_was_released() {
        let schedule = Schedule::new(nano(1_000), 5).unwrap();
        let halvings = |released| schedule.halvings(nano(released));
        assert_eq!([0, 499, 500, 749, 750, 874, 875].map(halvings), [0, 0, 1, 1, 2, 2, 3]);
        assert_eq!([0, 500, 750].map(|released| schedule.rate(nano(released))), [nano(100), nano(50), nano(25)]);
        assert!(schedule.rate(nano(1_000)).is_zero());
    }

    #[test]
    fn what_was_not_paid_adds_up_to_three_rates_and_no_further() {
        let mut emission = Emission::new(Schedule::new(nano(1 << 30), 64).unwrap());
        let rate = emission.rate();
        let budgets: Vec<_> = (0..7)
            .map(|_| {
                let budget = emission.budget().unwrap();
                emission.close(Amount::ZERO).unwrap();
                budget.nano() / rate.nano()
            })
            .collect();
        assert_eq!(budgets, [1, 2, 3, 4, 4, 4, 4]);
        let budget = emission.budget().unwrap();
        let too_much = budget.checked_add(nano(1)).unwrap();
        assert_eq!(emission.close(too_much), Err(EmissionError::OverBudget { paid: too_much, budget }));
        emission.close(budget).unwrap();
        assert_eq!(emission.budget().unwrap(), rate, "what was paid does not roll over");
    }

    #[test]
    fn a_schedule_that_pays_nothing_is_none() {
        assert!(Schedule::new(nano(9), 5).is_none() && Schedule::new(nano(10), 5).is_some() && Schedule::new(nano(10), 0).is_none());
    }

    proptest! {
        /// However much each epoch pays, the rate never rises, and nobody gets ahead of the calendar or of the reserve.
        #[test]
        fn the_rate_never_rises_and_the_calendar_is_kept(
            reserve in 1_000u128..u128::from(u64::MAX), half_life in 1u32..40, parts in proptest::collection::vec(0u128..=100, 1..400),
        ) {
            let Some(schedule) = Schedule::new(nano(reserve), half_life) else { return Ok(()) };
            let mut emission = Emission::new(schedule);
            let mut rate = emission.rate();
            for part in parts {
                let budget = emission.budget().unwrap();
                prop_assert!(budget.nano() <= 4 * emission.rate().nano());
                emission.close(super::super::portion(budget, part, 100).unwrap()).unwrap();
                prop_assert!(emission.rate() <= rate);
                rate = emission.rate();
                let ceiling = schedule.ceiling(emission.epoch() - 1).unwrap();
                prop_assert!(emission.released() <= ceiling && ceiling <= nano(reserve));
            }
        }
    }
}
