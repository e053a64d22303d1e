//! What stands behind the jobs that are open.
//!
//! A cheat gains `G` from each of `N` jobs that are open or can still be disputed. One in `1/q` is audited, and a cheat that is found
//! loses what was allocated in that window: on average it gets away with `1/q` jobs before. So cheating loses when
//!
//! ```text
//! S >= 1.5 x (N + 1/q) x G
//! ```
//!
//! Where jobs differ, `N x G` is the sum of what they gain, and those that get away are each worth no more than the largest.

use cocoon_market::amount::BPS_WHOLE;
use cocoon_market::{Amount, AmountError};

/// What a cheat gains of the jobs that are open or can still be disputed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gains {
    /// Of all together.
    pub sum: Amount,
    /// Of the one that gains most.
    pub largest: Amount,
}

impl Gains {
    /// The same with one more job.
    ///
    /// # Errors
    /// [`AmountError::Overflow`].
    pub fn with(self, gain: Amount) -> Result<Self, AmountError> {
        Ok(Self { sum: self.sum.checked_add(gain)?, largest: self.largest.max(gain) })
    }
}

/// What must be allocated when `audited_bps` of ten thousand jobs are audited. Rounded up; nothing where nothing is to be gained.
///
/// # Errors
/// [`AmountError::Share`] for a rate above the whole or of nothing, which no collateral makes good; [`AmountError::Overflow`].
pub fn required(gains: Gains, audited_bps: u32) -> Result<Amount, AmountError> {
    if audited_bps == 0 || audited_bps > BPS_WHOLE {
        return Err(AmountError::Share(audited_bps));
    }
    // 1.5 (sum + W / q largest) = 3 (sum q + W largest) / 2 q, with q in parts of W.
    let weighed = |amount: Amount, weight: u32| amount.checked_mul(u64::from(weight));
    let product = weighed(gains.sum, audited_bps)?.checked_add(weighed(gains.largest, BPS_WHOLE)?)?.checked_mul(3)?;
    Ok(Amount::from_nano(product.nano().div_ceil(u128::from(audited_bps).saturating_mul(2))))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn nano(nano: u128) -> Amount {
        Amount::from_nano(nano)
    }

    fn gains(of: &[u128]) -> Gains {
        of.iter().try_fold(Gains::default(), |gains, gain| gains.with(nano(*gain))).unwrap()
    }

    #[test]
    fn the_rule_in_numbers() {
        assert_eq!(required(gains(&[1_000]), 500), Ok(nano(31_500)), "a twentieth is audited: 1.5 x (1 + 20) x 1000");
        assert_eq!(required(gains(&[1_000; 10]), 10_000), Ok(nano(16_500)));
        assert_eq!(required(gains(&[4_000, 1_000, 2_000]), 10_000), Ok(nano(16_500)), "1.5 x (7000 + 4000)");
        assert_eq!(required(gains(&[1]), 9_999), Ok(nano(4)), "rounded up");
        assert_eq!(required(gains(&[]), 1), Ok(Amount::ZERO));
        assert_eq!(required(gains(&[1]), 0), Err(AmountError::Share(0)));
        assert_eq!(required(gains(&[1]), 10_001), Err(AmountError::Share(10_001)));
        assert_eq!(required(gains(&[u128::MAX]), 10_000), Err(AmountError::Overflow));
        assert_eq!(gains(&[u128::MAX]).with(nano(1)), Err(AmountError::Overflow));
    }

    proptest! {
        /// What a cheat of all open jobs gains, together with those that it got away with before, is no more than two thirds of what it
        /// loses; and the rule asks for no more than it says.
        #[test]
        fn cheating_loses(open in vec(0u128..1 << 70, 0..50), audited_bps in 1u32..=10_000) {
            let collateral = required(gains(&open), audited_bps).unwrap();
            let (sum, largest) = (open.iter().sum::<u128>(), open.iter().max().copied().unwrap_or(0));
            let gained = sum + largest * 10_000 / u128::from(audited_bps);
            prop_assert!(collateral.nano() * 2 >= gained * 3);
            prop_assert!(collateral.nano() * 2 <= (gained + 1) * 3 + 1);
        }
    }
}
