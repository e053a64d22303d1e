//! What work costs.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::amount::{Amount, AmountError};

/// Prices are per million tokens, the field's customary unit.
const TOKENS_PER_PRICE: NonZeroU64 = NonZeroU64::MIN.saturating_add(999_999);

/// Metered work. Cumulative within a job: later figures are never smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Tokens read: the prompt of a generation, the texts whose vectors were given, the batch of a training step.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

impl Usage {
    /// Whether nothing in `self` is below `earlier`.
    pub const fn covers(self, earlier: Self) -> bool {
        self.input_tokens >= earlier.input_tokens && self.output_tokens >= earlier.output_tokens
    }
}

/// The prices of one offer or agreement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    /// For starting a job, whatever its size.
    pub job: Amount,
    /// For a million tokens read.
    pub input_per_mtok: Amount,
    /// For a million tokens written.
    pub output_per_mtok: Amount,
}

impl PriceTable {
    /// What so much work costs, rounded up to the nano-unit.
    ///
    /// # Errors
    /// [`AmountError::Overflow`].
    pub fn cost(&self, usage: Usage) -> Result<Amount, AmountError> {
        let input = self.input_per_mtok.mul_div_ceil(usage.input_tokens, TOKENS_PER_PRICE)?;
        let output = self.output_per_mtok.mul_div_ceil(usage.output_tokens, TOKENS_PER_PRICE)?;
        Amount::sum([self.job, input, output])
    }

    /// The most output tokens that may follow so much input before the cost exceeds `cap`.
    pub fn output_tokens_within(&self, cap: Amount, input_tokens: u64) -> u64 {
        let Ok(before) = self.cost(Usage { input_tokens, output_tokens: 0 }) else { return 0 };
        let Ok(left) = cap.checked_sub(before) else { return 0 };
        // Rounding up, `n` tokens cost at most `left` exactly when n * price <= left * 1,000,000.
        let budget = left.nano().saturating_mul(TOKENS_PER_PRICE.get().into());
        let tokens = budget.checked_div(self.output_per_mtok.nano()).unwrap_or(u128::MAX);
        u64::try_from(tokens).unwrap_or(u64::MAX)
    }

    /// The larger price of the two, each for itself.
    #[must_use]
    pub fn at_least(&self, floor: &Self) -> Self {
        Self {
            job: self.job.max(floor.job),
            input_per_mtok: self.input_per_mtok.max(floor.input_per_mtok),
            output_per_mtok: self.output_per_mtok.max(floor.output_per_mtok),
        }
    }

    /// The smaller price of the two, each for itself.
    #[must_use]
    pub fn at_most(&self, ceiling: &Self) -> Self {
        Self {
            job: self.job.min(ceiling.job),
            input_per_mtok: self.input_per_mtok.min(ceiling.input_per_mtok),
            output_per_mtok: self.output_per_mtok.min(ceiling.output_per_mtok),
        }
    }

    /// Whether no price here is above the one there.
    pub fn is_at_most(&self, limit: &Self) -> bool {
        self.job <= limit.job && self.input_per_mtok <= limit.input_per_mtok && self.output_per_mtok <= limit.output_per_mtok
    }
}

impl std::fmt::Display for PriceTable {
    /// In whole units: `0.001 a job + 0.02 in + 0.05 out per million tokens`, without what is free.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.job.is_zero() {
            write!(f, "{} a job + ", self.job)?;
        }
        write!(f, "{} in + {} out per million tokens", self.input_per_mtok, self.output_per_mtok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::price;

    #[test]
    fn a_cost_is_rounded_up_part_by_part() {
        let table = price(10, 1, 1_000_001);
        let cost = |input_tokens, output_tokens| table.cost(Usage { input_tokens, output_tokens }).map(Amount::nano);
        assert_eq!(cost(0, 0), Ok(10));
        assert_eq!(cost(1, 0), Ok(11));
        assert_eq!(cost(1_000_000, 0), Ok(11));
        assert_eq!(cost(1_000_001, 1), Ok(10 + 2 + 2));
        assert_eq!(price(u128::MAX, 1, 0).cost(Usage { input_tokens: 1, output_tokens: 0 }), Err(AmountError::Overflow));
        assert_eq!(price(0, u128::MAX, 0).cost(Usage { input_tokens: 2, output_tokens: 0 }), Err(AmountError::Overflow));
    }

    #[test]
    fn a_cap_pays_for_so_many_tokens_and_not_for_one_more() {
        for (job, output, cap, expected) in [(10, 1_000_001, 21, 9), (10, 1_000_000, 21, 10), (0, 3, 2, 333_333), (10, 7, 11, 0)] {
            let (table, cap) = (price(job, 1, output), Amount::from_nano(cap));
            assert_eq!(table.output_tokens_within(cap, 1), expected, "{table:?} {cap}");
            let cost = |output_tokens| table.cost(Usage { input_tokens: 1, output_tokens }).unwrap();
            assert!(cost(expected) <= cap && cost(expected + 1) > cap);
        }
        assert_eq!(price(12, 0, 1).output_tokens_within(Amount::from_nano(11), 0), 0, "not even the job");
        assert_eq!(price(12, 0, 0).output_tokens_within(Amount::from_nano(12), 9), u64::MAX, "free");
    }

    #[test]
    fn tables_are_compared_price_by_price() {
        let (a, b) = (price(1, 5, 3), price(2, 4, 3));
        assert_eq!((a.at_least(&b), a.at_most(&b)), (price(2, 5, 3), price(1, 4, 3)));
        assert!(a.is_at_most(&a) && !a.is_at_most(&b) && !b.is_at_most(&a));
        for above in [price(2, 5, 3), price(1, 6, 3), price(1, 5, 4)] {
            assert!(a.is_at_most(&above) && !above.is_at_most(&a));
        }
    }

    #[test]
    fn later_usage_covers_earlier() {
        let usage = |input_tokens, output_tokens| Usage { input_tokens, output_tokens };
        assert!(usage(2, 2).covers(usage(2, 2)) && usage(3, 2).covers(usage(2, 2)) && usage(2, 3).covers(usage(2, 2)));
        assert!(!usage(1, 3).covers(usage(2, 2)) && !usage(3, 1).covers(usage(2, 2)));
    }

    #[test]
    fn a_table_reads_as_a_sentence() {
        assert_eq!(price(0, 20_000_000, 50_000_000).to_string(), "0.02 in + 0.05 out per million tokens");
        assert_eq!(price(1_000_000, 0, 5).to_string(), "0.001 a job + 0 in + 0.000000005 out per million tokens");
    }
}
