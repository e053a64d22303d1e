//! Money as checked integers.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nano-units in one whole unit of every asset we name (TON and COCOON both have nine decimals).
pub const NANO: u128 = 1_000_000_000;

/// Nine decimals: what [`NANO`] means when an amount is written or read as text.
const DECIMALS: usize = 9;

/// Basis points in the whole.
pub const BPS_WHOLE: u32 = 10_000;

/// An amount of one asset, in nano-units. Which asset is said by where the amount stands.
///
/// There is no arithmetic but the checked kind: money that overflows is an error, never a wrapped number.
///
/// On the wire this is a byte string of 16 bytes, big-endian, because CBOR integers stop at 64 bits; in JSON it is a
/// decimal string of nano-units, because JSON numbers stop at 53.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u128);

/// Why a calculation with money, or the reading of one, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The sum or product does not fit.
    #[error("amount overflow")]
    Overflow,
    /// More was taken than there is.
    #[error("cannot take {take} from {have} nano-units")]
    Underflow {
        /// What there is.
        have: u128,
        /// What was to be taken.
        take: u128,
    },
    /// Not a decimal number with at most nine decimals.
    #[error("not an amount: expected a decimal number with at most nine decimals, such as 1.5")]
    Malformed,
    /// More than [`BPS_WHOLE`] basis points.
    #[error("{0} basis points is more than the whole")]
    Share(u32),
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The largest amount there is.
    pub const MAX: Self = Self(u128::MAX);

    /// So many nano-units.
    pub const fn from_nano(nano: u128) -> Self {
        Self(nano)
    }

    /// The number of nano-units.
    pub const fn nano(self) -> u128 {
        self.0
    }

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`AmountError::Overflow`].
    pub fn checked_add(self, other: Self) -> Result<Self, AmountError> {
        self.0.checked_add(other.0).map(Self).ok_or(AmountError::Overflow)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`AmountError::Underflow`] when `other` is the larger.
    pub fn checked_sub(self, other: Self) -> Result<Self, AmountError> {
        self.0.checked_sub(other.0).map(Self).ok_or(AmountError::Underflow { have: self.0, take: other.0 })
    }

    /// The difference, or nothing when `other` is the larger.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The product with a count.
    ///
    /// # Errors
    /// [`AmountError::Overflow`].
    pub fn checked_mul(self, count: u64) -> Result<Self, AmountError> {
        self.0.checked_mul(u128::from(count)).map(Self).ok_or(AmountError::Overflow)
    }

    /// `self * count / per`, rounded up, so that a provider never works for less than the price.
    ///
    /// # Errors
    /// [`AmountError::Overflow`].
    pub fn mul_div_ceil(self, count: u64, per: NonZeroU64) -> Result<Self, AmountError> {
        let product = self.checked_mul(count)?;
        Ok(Self(product.0.div_ceil(u128::from(per.get()))))
    }

    /// Splits off a share in basis points, rounded down: `(share, rest)`, which add up to `self` exactly.
    ///
    /// # Errors
    /// [`AmountError::Share`] above the whole, [`AmountError::Overflow`].
    pub fn split_bps(self, bps: u32) -> Result<(Self, Self), AmountError> {
        if bps > BPS_WHOLE {
            return Err(AmountError::Share(bps));
        }
        let whole = NonZeroU64::from(std::num::NonZeroU32::new(BPS_WHOLE).ok_or(AmountError::Overflow)?);
        let share = Self(self.checked_mul(u64::from(bps))?.0.checked_div(u128::from(whole.get())).ok_or(AmountError::Overflow)?);
        Ok((share, self.checked_sub(share)?))
    }

    /// The sum of many.
    ///
    /// # Errors
    /// [`AmountError::Overflow`].
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, AmountError> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// The wire form.
    pub const fn to_be_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Reads the wire form.
    pub const fn from_be_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for Amount {
    /// Whole units with nine decimals, trailing zeros left out: `1.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, nano) = (self.0.checked_div(NANO).unwrap_or(0), self.0.checked_rem(NANO).unwrap_or(0));
        if nano == 0 {
            return f.pad(&whole.to_string());
        }
        let text = format!("{whole}.{nano:09}");
        f.pad(text.trim_end_matches('0'))
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    /// Reads whole units with up to nine decimals: `1`, `1.5`, `0.000000001`.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > DECIMALS {
            return Err(AmountError::Malformed);
        }
        let whole: u128 = whole.parse().map_err(|_| AmountError::Overflow)?;
        let nano: u128 = format!("{fraction:0<9}").parse().map_err(|_| AmountError::Malformed)?;
        whole.checked_mul(NANO).and_then(|w| w.checked_add(nano)).map(Self).ok_or(AmountError::Overflow)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(&self.0) } else { serializer.serialize_bytes(&self.to_be_bytes()) }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return text.parse().map(Self).map_err(serde::de::Error::custom);
        }
        crate::codec::fixed_bytes(deserializer).map(Self::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_has_nine_decimals_at_most() {
        assert_eq!("1.5".parse(), Ok(Amount::from_nano(1_500_000_000)));
        assert_eq!("0.000000001".parse(), Ok(Amount::from_nano(1)));
        for bad in ["", ".", "1.", ".5", "-1", "1e9", "0.0000000001", "+1", "1,5"] {
            assert_eq!(bad.parse::<Amount>(), Err(AmountError::Malformed), "{bad}");
        }
        assert_eq!("340282366920938463463374607431769".parse::<Amount>(), Err(AmountError::Overflow));
    }

    #[test]
    fn more_than_there_is_cannot_be_taken() {
        let err = Amount::from_nano(5).checked_sub(Amount::from_nano(9));
        assert_eq!(err, Err(AmountError::Underflow { have: 5, take: 9 }));
        assert_eq!(Amount::from_nano(5).saturating_sub(Amount::from_nano(9)), Amount::ZERO);
        assert_eq!(Amount::from_nano(9).saturating_sub(Amount::from_nano(5)), Amount::from_nano(4));
        assert_eq!(Amount::from_nano(u128::MAX).checked_add(Amount::from_nano(1)), Err(AmountError::Overflow));
        assert_eq!(Amount::from_nano(u128::MAX).checked_mul(2), Err(AmountError::Overflow));
        assert_eq!(Amount::from_nano(1).split_bps(BPS_WHOLE + 1), Err(AmountError::Share(10_001)));
        assert_eq!(Amount::from_nano(7).split_bps(BPS_WHOLE), Ok((Amount::from_nano(7), Amount::ZERO)));
    }

    proptest! {
        #[test]
        fn text_and_bytes_round_trip(nano in any::<u128>()) {
            let amount = Amount::from_nano(nano);
            prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
            let cbor = serde_cbor::to_vec(&amount).unwrap();
            prop_assert_eq!(cbor.len(), 17, "one head byte and sixteen");
            prop_assert_eq!(serde_cbor::from_slice::<Amount>(&cbor).unwrap(), amount);
        }

        #[test]
        fn a_split_adds_up(nano in 0..u128::MAX / 10_000, bps in 0..=BPS_WHOLE) {
            let whole = Amount::from_nano(nano);
            let (share, rest) = whole.split_bps(bps).unwrap();
            prop_assert_eq!(share.checked_add(rest), Ok(whole));
            prop_assert!(share.nano() * 10_000 <= nano * u128::from(bps));
        }

        #[test]
        fn rounding_up_never_underpays(nano in 0..u128::from(u64::MAX), count in any::<u64>(), per in 1..u64::MAX) {
            let cost = Amount::from_nano(nano).mul_div_ceil(count, NonZeroU64::new(per).unwrap()).unwrap();
            let exact = nano * u128::from(count);
            prop_assert!(cost.nano() * u128::from(per) >= exact || cost.nano().checked_mul(u128::from(per)).is_none());
            prop_assert!(cost.is_zero() || (cost.nano() - 1).checked_mul(u128::from(per)).is_none_or(|below| below < exact));
        }
    }
}
