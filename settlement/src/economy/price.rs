//! The published reference price of a class of work. It commands nobody: providers set their own prices.
//!
//! ```text
//! u  = paid units / units that stand behind collateral
//! p' = clamp(p x (1 + d x clip((u - u*) / u*, -1, 1)), p_min, p_max)
//! ```
//!
//! With a small step the price settles wherever demand reacts to it at all; a step of an eighth is as far as that can be relied on when
//! utilisation is seen one epoch late. So `d` lies between 1/64 and 1/8, `u*` between a half and nine tenths, by construction.
//!
//! Invariants, each a property test: a step moves the price by at most `d`; it stays within its bounds; at `u*` it stands still.

use cocoon_market::{Amount, AmountError};

use super::portion;

/// The whole of a [`Curve`]'s parts.
const WHOLE: u32 = 65_536;

/// A curve's parameters, within the bounds that no vote moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Curve {
    step: u32,
    target: u32,
    min: Amount,
    max: Amount,
}

impl Curve {
    /// The usual step, a sixteenth.
    pub const STEP: u32 = WHOLE / 16;

    /// The usual target, seven tenths.
    pub const TARGET: u32 = 45_875;

    /// A curve with a step and a target in parts of 65,536 and a least and a most price; `None` outside of the bounds.
    pub fn new(step: u32, target: u32, min: Amount, max: Amount) -> Option<Self> {
        let is_step = (WHOLE / 64..=WHOLE / 8).contains(&step);
        let is_target = (WHOLE / 2..=58_982).contains(&target);
        (is_step && is_target && !min.is_zero() && min <= max).then_some(Self { step, target, min, max })
    }

    /// The price after an epoch in which so many units were paid, of so many that stood behind collateral. Where nothing stood there, nobody
    /// was there to sell: the price rises.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] for amounts beyond all work.
    pub fn next(&self, price: Amount, paid: u64, backed: u64) -> Result<Amount, AmountError> {
        let (paid, aim) = (
            u128::from(paid).checked_mul(WHOLE.into()).ok_or(AmountError::Overflow)?,
            u128::from(backed).checked_mul(self.target.into()).ok_or(AmountError::Overflow)?,
        );
        let most = portion(price, self.step.into(), WHOLE.into())?;
        let moved = if aim == 0 { most } else { portion(most, paid.abs_diff(aim).min(aim), aim)? };
        let next = if paid >= aim { price.checked_add(moved)? } else { price.checked_sub(moved)? };
        Ok(next.clamp(self.min, self.max))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nano(nano: u128) -> Amount {
        Amount::from_nano(nano)
    }

    fn usual() -> Curve {
        Curve::new(Curve::STEP, Curve::TARGET, nano(1), nano(1_000_000)).unwrap()
    }

    #[test]
    fn the_price_stands_still_at_its_target_and_moves_by_a_step_at_most() {
        let next = |paid, backed| usual().next(nano(16_000), paid, backed).unwrap().nano();
        assert_eq!(next(45_875, 65_536), 16_000, "seven tenths");
        assert_eq!([next(0, 100), next(35, 100), next(100, 100), next(500, 100)], [15_000, 15_501, 16_428, 17_000]);
        assert_eq!([next(0, 0), next(9, 0)], [17_000, 17_000], "nobody sells");
    }

    #[test]
    fn the_price_keeps_its_bounds() {
        let curve = Curve::new(8_192, 45_875, nano(100), nano(110)).unwrap();
        assert_eq!([(0, 9), (9, 9)].map(|(paid, backed)| curve.next(nano(105), paid, backed).unwrap().nano()), [100, 110]);
    }

    #[test]
    fn parameters_beyond_their_bounds_are_none() {
        let is_curve = |step, target| Curve::new(step, target, nano(1), nano(1)).is_some();
        assert_eq!([1_023, 1_024, 8_192, 8_193].map(|step| is_curve(step, Curve::TARGET)), [false, true, true, false]);
        assert_eq!([32_767, 32_768, 58_982, 58_983].map(|target| is_curve(Curve::STEP, target)), [false, true, true, false]);
        assert!(Curve::new(Curve::STEP, Curve::TARGET, nano(2), nano(1)).is_none());
        assert!(Curve::new(Curve::STEP, Curve::TARGET, nano(0), nano(1)).is_none());
    }

    proptest! {
        /// A step is never larger than `d`, and never in the wrong direction.
        #[test]
        fn a_step_is_bounded_and_points_to_the_target(
            step in 1_024u32..=8_192, target in 32_768u32..=58_982, price in 1u128..1 << 80, paid in any::<u32>(), backed in any::<u32>(),
        ) {
            let curve = Curve::new(step, target, nano(1), Amount::MAX).unwrap();
            let next = curve.next(nano(price), paid.into(), backed.into()).unwrap().nano();
            prop_assert!(next.abs_diff(price) <= price * u128::from(step) / u128::from(WHOLE));
            let is_busy = u64::from(paid) * u64::from(WHOLE) >= u64::from(backed) * u64::from(target);
            let is_right = if is_busy { next >= price } else { next <= price };
            prop_assert!(is_right);
        }
    }
}
