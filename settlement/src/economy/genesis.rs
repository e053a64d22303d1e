//! How the cap is divided at the start. Nothing is ever minted beside it.

use cocoon_market::Amount;

use super::DAY_S;

const COCOON: u128 = cocoon_market::amount::NANO;

/// All COCOON that can ever exist.
pub const CAP: Amount = Amount::from_nano(400_000_000 * COCOON);

/// Released for verified usage, by [`super::emission`] alone.
pub const RESERVE: Amount = Amount::from_nano(320_000_000 * COCOON);

/// For early stakers, against a proof that they stand on the list of the start.
pub const STAKERS: Amount = Amount::from_nano(40_000_000 * COCOON);

/// Sold for TON in the opening auction.
pub const OPENING: Amount = Amount::from_nano(20_000_000 * COCOON);

/// For the treasury, under the governor.
pub const TREASURY: Amount = Amount::from_nano(20_000_000 * COCOON);

/// How long an early staker's share vests.
pub const STAKERS_VEST_S: u32 = 180 * DAY_S;

/// How long the treasury's share vests.
pub const TREASURY_VEST_S: u32 = 730 * DAY_S;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_the_cap() {
        assert_eq!(Amount::sum([RESERVE, STAKERS, OPENING, TREASURY]), Ok(CAP));
        assert_eq!(RESERVE.nano() * 10, CAP.nano() * 8, "four fifths are for usage");
    }

    #[test]
    fn stakers_vest_for_half_a_year_and_the_treasury_for_two() {
        assert_eq!([STAKERS_VEST_S, TREASURY_VEST_S], [180, 730].map(|days| days * 86_400));
    }
}
