//! What stands behind how many open jobs.
//!
//! A cheat gains `G` from each of `N` jobs that are open or can still be disputed. One in `1/q` is audited, and a cheat that is found
//! loses what was allocated in that window: on average it gets away with `1/q` jobs before. So cheating loses when
//!
//! ```text
//! S >= 1.5 x (N + 1/q) x G
//! ```

use cocoon_market::amount::BPS_WHOLE;
use cocoon_market::{Amount, AmountError};

/// What must be allocated for `jobs` jobs of at most `gain` each, when `audited_bps` of ten thousand are audited. Rounded up.
///
/// # Errors
/// [`AmountError::Share`] for a rate above the whole or of nothing, which no collateral makes good; [`AmountError::Overflow`].
pub fn required(jobs: u32, gain: Amount, audited_bps: u32) -> Result<Amount, AmountError> {
    if audited_bps == 0 || audited_bps > BPS_WHOLE {
        return Err(AmountError::Share(audited_bps));
    }
    // 1.5 (N + W / q) G = 3 (N q + W) G / 2 q, with q in parts of W.
    let weight = u128::from(jobs).saturating_mul(audited_bps.into()).saturating_add(BPS_WHOLE.into()).saturating_mul(3);
    let product = gain.nano().checked_mul(weight).ok_or(AmountError::Overflow)?;
    Ok(Amount::from_nano(product.div_ceil(u128::from(audited_bps).saturating_mul(2))))
}

/// How many jobs of at most `gain` each a collateral carries.
///
/// # Errors
/// As for [`required`].
pub fn jobs_max(collateral: Amount, gain: Amount, audited_bps: u32) -> Result<u32, AmountError> {
    if required(1, gain, audited_bps)? > collateral {
        return Ok(0);
    }
    let (mut carries, mut too_many) = (1, u32::MAX);
    if required(too_many, gain, audited_bps)? <= collateral {
        return Ok(too_many);
    }
    while too_many.abs_diff(carries) > 1 {
        let middle = carries.midpoint(too_many);
        if required(middle, gain, audited_bps)? <= collateral {
            carries = middle;
        } else {
            too_many = middle;
        }
    }
    Ok(carries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nano(nano: u128) -> Amount {
        Amount::from_nano(nano)
    }

    #[test]
    fn the_rule_in_numbers() {
        assert_eq!(required(1, nano(1_000), 500), Ok(nano(31_500)), "a twentieth is audited: 1.5 x (1 + 20) x 1000");
        assert_eq!(required(10, nano(1_000), 10_000), Ok(nano(16_500)));
        assert_eq!(required(1, nano(1), 9_999), Ok(nano(4)), "rounded up");
        assert_eq!(required(1, nano(1), 0), Err(AmountError::Share(0)));
        assert_eq!(required(1, nano(1), 10_001), Err(AmountError::Share(10_001)));
        assert_eq!(jobs_max(nano(31_499), nano(1_000), 500), Ok(0));
        assert_eq!(jobs_max(nano(31_500), nano(1_000), 500), Ok(1));
        assert_eq!(jobs_max(nano(32_999), nano(1_000), 500), Ok(1));
        assert_eq!(jobs_max(nano(1), Amount::ZERO, 500), Ok(u32::MAX));
    }

    proptest! {
        /// What a cheat of all open jobs gains is less than two thirds of what it may lose, and no more jobs fit than the rule says.
        #[test]
        fn cheating_loses(jobs in 0u32..100_000, gain in 0u128..1 << 70, audited_bps in 1u32..=10_000) {
            let collateral = required(jobs, nano(gain), audited_bps).unwrap();
            let gains = gain * (u128::from(jobs) * u128::from(audited_bps) + 10_000) / u128::from(audited_bps);
            prop_assert!(collateral.nano() * 2 >= gains * 3);
            if jobs > 0 && gain > 0 {
                prop_assert!(jobs_max(collateral, nano(gain), audited_bps).unwrap() >= jobs);
                let less = collateral.checked_sub(nano(1)).unwrap();
                prop_assert!(jobs_max(less, nano(gain), audited_bps).unwrap() < jobs);
            }
        }
    }
}
