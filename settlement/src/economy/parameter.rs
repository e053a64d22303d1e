//! What a vote may change: each parameter with the bounds that no vote moves, and how far one vote moves it.
//!
//! What is in no list here cannot be voted on: the cap, the schedule of emission, that a reward stays below its burn, that a slash stays
//! below the stake. The provider's share follows from the bound of the fee.
//!
//! Invariant, a property test: after any sequence of votes every parameter is within its bounds, and no vote moved one by more than its
//! step or sooner than [`COOLDOWN_S`] after the last.

use cocoon_market::amount::BPS_WHOLE;

use super::DAY_S;

/// After a parameter was changed, how long it stays as it is.
pub const COOLDOWN_S: u32 = 30 * DAY_S;

/// What can be voted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parameter {
    /// The price curve's step, in parts of 65,536.
    CurveStep,
    /// The utilisation at which the price stands still, in parts of 65,536.
    CurveTarget,
    /// How long a burn auction is open, in seconds.
    AuctionSeconds,
    /// The network's part of a job's price, in basis points.
    FeeBps,
    /// The auditors' part of that fee, in basis points.
    AuditorsBps,
    /// The treasury's part of that fee, in basis points.
    TreasuryBps,
    /// The least collateral of a provider whose offers are shown, in nano-TON.
    StakeMin,
    /// How long collateral is released, in seconds.
    UnbondSeconds,
    /// How much less a fee costs in COCOON, in basis points.
    DiscountBps,
}

/// How much a change matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It tunes a reference.
    Tuning,
    /// It moves money.
    Money,
    /// It decides what is believed: keys above all.
    Constitution,
}

/// The bounds of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What it is at the start.
    pub start: u64,
    /// The least it can be.
    pub min: u64,
    /// The most it can be.
    pub max: u64,
    /// How far one vote moves it, in basis points of what it is.
    pub step_bps: u64,
    /// How much it matters.
    pub weight: Weight,
}

impl Bounds {
    const fn new(start: u64, min: u64, max: u64, step_bps: u64, weight: Weight) -> Self {
        Self { start, min, max, step_bps, weight }
    }
}

/// Why a parameter stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Beyond the bounds that no vote moves.
    #[error("it is never below {min} or above {max}")]
    Bounds {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Too far at once.
    #[error("one vote moves it from {now} by {step} at most")]
    Step {
        /// What it is.
        now: u64,
        /// How far it may go.
        step: u64,
    },
    /// It is that already.
    #[error("it is {now} already")]
    Same {
        /// What it is.
        now: u64,
    },
    /// Changed a short while ago.
    #[error("it was changed lately, and stays as it is until {until_s}")]
    Cooling {
        /// When it may change again, in seconds since the Unix epoch.
        until_s: u32,
    },
}

impl Parameter {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::CurveStep,
        Self::CurveTarget,
        Self::AuctionSeconds,
        Self::FeeBps,
        Self::AuditorsBps,
        Self::TreasuryBps,
        Self::StakeMin,
        Self::UnbondSeconds,
        Self::DiscountBps,
    ];

    /// Its place in [`Self::ALL`], by which contracts know it.
    pub fn place(self) -> u8 {
        Self::ALL.iter().zip(0u8..).find(|(parameter, _)| **parameter == self).map_or(u8::MAX, |(_, place)| place)
    }

    /// Its bounds. Reasons: `docs/economy.md`.
    pub const fn bounds(self) -> Bounds {
        match self {
            Self::CurveStep => Bounds::new(4_096, 1_024, 8_192, 1_000, Weight::Tuning),
            Self::CurveTarget => Bounds::new(45_875, 32_768, 58_982, 1_000, Weight::Tuning),
            Self::AuctionSeconds => Bounds::new(72_000, 3_600, 86_400, 1_000, Weight::Tuning),
            Self::FeeBps => Bounds::new(500, 100, 1_500, 2_500, Weight::Money),
            Self::AuditorsBps => Bounds::new(2_000, 1_000, 4_000, 2_500, Weight::Money),
            Self::TreasuryBps => Bounds::new(1_000, 0, 2_000, 2_500, Weight::Money),
            Self::StakeMin => Bounds::new(1_000_000_000, 100_000_000, 1_000_000_000_000, 2_500, Weight::Money),
            Self::UnbondSeconds => Bounds::new(1_209_600, 604_800, 2_419_200, 2_500, Weight::Money),
            Self::DiscountBps => Bounds::new(1_000, 0, 2_500, 2_500, Weight::Money),
        }
    }
}

/// A parameter's value, and since when it is that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    parameter: Parameter,
    value: u64,
    changed_s: Option<u32>,
}

impl Setting {
    /// A parameter as it is at the start.
    pub const fn new(parameter: Parameter) -> Self {
        Self { parameter, value: parameter.bounds().start, changed_s: None }
    }

    /// A parameter that a vote changed, then.
    pub const fn resumed(parameter: Parameter, value: u64, changed_s: u32) -> Self {
        Self { parameter, value, changed_s: Some(changed_s) }
    }

    /// What it is.
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// Changes it, as far as one vote may.
    ///
    /// # Errors
    /// [`ParameterError`], and nothing changed.
    pub fn set(&mut self, value: u64, now_s: u32) -> Result<(), ParameterError> {
        let Bounds { min, max, step_bps, .. } = self.parameter.bounds();
        if !(min..=max).contains(&value) {
            return Err(ParameterError::Bounds { min, max });
        }
        if value == self.value {
            return Err(ParameterError::Same { now: value });
        }
        let until_s = self.changed_s.map_or(0, |changed_s| changed_s.saturating_add(COOLDOWN_S));
        if now_s < until_s {
            return Err(ParameterError::Cooling { until_s });
        }
        let step = step(self.value, step_bps);
        if value.abs_diff(self.value) > step {
            return Err(ParameterError::Step { now: self.value, step });
        }
        (self.value, self.changed_s) = (value, Some(now_s));
        Ok(())
    }
}

/// At least one, so that what was voted down to nothing can come back.
fn step(value: u64, step_bps: u64) -> u64 {
    let part = u128::from(value).saturating_mul(step_bps.into()).checked_div(BPS_WHOLE.into()).unwrap_or(0);
    u64::try_from(part).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const START_S: u32 = 1_800_000_000;

    #[test]
    fn a_vote_moves_a_parameter_by_its_step_and_no_further() {
        let set = |value| Setting::new(Parameter::FeeBps).set(value, START_S);
        assert_eq!((set(625), set(375)), (Ok(()), Ok(())));
        assert_eq!(
            (set(626), set(374)),
            (Err(ParameterError::Step { now: 500, step: 125 }), Err(ParameterError::Step { now: 500, step: 125 }))
        );
        assert_eq!(set(500), Err(ParameterError::Same { now: 500 }));
        assert_eq!(
            (set(99), set(1_501)),
            (Err(ParameterError::Bounds { min: 100, max: 1_500 }), Err(ParameterError::Bounds { min: 100, max: 1_500 }))
        );
    }

    #[test]
    fn a_parameter_rests_after_a_change() {
        let mut fee = Setting::new(Parameter::FeeBps);
        fee.set(600, START_S).unwrap();
        let until_s = START_S + 30 * 86_400;
        assert_eq!(fee.set(700, until_s - 1), Err(ParameterError::Cooling { until_s }));
        assert_eq!(fee.set(700, until_s), Ok(()));
        assert_eq!(fee.value(), 700);
    }

    #[test]
    fn what_was_voted_down_to_nothing_can_come_back() {
        let mut treasury = Setting { parameter: Parameter::TreasuryBps, value: 0, changed_s: None };
        assert_eq!(treasury.set(2, START_S), Err(ParameterError::Step { now: 0, step: 1 }));
        assert_eq!(treasury.set(1, START_S), Ok(()));
    }

    #[test]
    fn the_bounds_keep_what_is_promised() {
        for parameter in Parameter::ALL {
            let Bounds { start, min, max, step_bps, .. } = parameter.bounds();
            assert!(min <= start && start <= max && step_bps <= 2_500, "{parameter:?}");
        }
        assert!(Parameter::FeeBps.bounds().max <= 1_500, "a provider keeps 85%");
        let parts = Parameter::AuditorsBps.bounds().max + Parameter::TreasuryBps.bounds().max;
        assert!(parts < 10_000, "something is always burned");
        let curve =
            |step, target| super::super::price::Curve::new(step, target, cocoon_market::Amount::from_nano(1), cocoon_market::Amount::MAX);
        let (step, target) = (Parameter::CurveStep.bounds(), Parameter::CurveTarget.bounds());
        for bound in [step.min, step.start, step.max] {
            for aim in [target.min, target.start, target.max] {
                assert!(curve(u32::try_from(bound).unwrap(), u32::try_from(aim).unwrap()).is_some(), "{bound} {aim}");
            }
        }
    }

    proptest! {
        /// Whatever is voted for in whatever order: in bounds, by a step, and not too soon.
        #[test]
        fn no_sequence_of_votes_leaves_the_bounds(
            at in 0usize..Parameter::ALL.len(), votes in vec((0u64..3_000_000, any::<bool>(), 0u32..60 * DAY_S), 1..60),
        ) {
            let mut setting = Setting::new(Parameter::ALL[at]);
            let Bounds { min, max, step_bps, .. } = Parameter::ALL[at].bounds();
            let (mut now_s, mut changed_s) = (START_S, None::<u32>);
            for (by, is_up, pause_s) in votes {
                now_s += pause_s;
                let before = setting.value();
                let value = if is_up { before.saturating_add(by) } else { before.saturating_sub(by) };
                let done = setting.set(value, now_s);
                prop_assert!((min..=max).contains(&setting.value()));
                prop_assert!(setting.value().abs_diff(before) <= (before * step_bps / 10_000).max(1));
                if done.is_ok() {
                    prop_assert!(changed_s.is_none_or(|changed_s| now_s - changed_s >= COOLDOWN_S));
                    changed_s = Some(now_s);
                } else {
                    prop_assert_eq!(setting.value(), before);
                }
            }
        }
    }
}
