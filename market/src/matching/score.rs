//! What an offer is worth: one number, in integers.

use crate::amount::Amount;
use crate::demand::Demand;
use crate::job::WorkKind;
use crate::price::{PriceTable, Usage};
use crate::reputation::{ONE_1024, Record};
use crate::time::Timestamp;

/// Millionths of a nano-unit in a nano-unit: prices are per million tokens, and ranks are compared before rounding.
const SCALE: u128 = 1_000_000;

/// A job that takes this long counts as twice as dear as one that takes none.
pub const LATENCY_DOUBLES_MS: u64 = 30_000;

/// The most by which slowness makes an offer dearer, in 1024ths, above its own price: three times more.
const LATENCY_EXTRA_MAX: u64 = 3 * ONE_1024;

/// The time to the first tokens of a provider nobody has measured.
const FIRST_CHUNK_GUESS_MS: u64 = 1000;

/// Why an offer stands where it stands: `rank = (cost + 1 nano) * latency * reliability`, lower is better.
///
/// The one nano-unit lets free offers differ by their speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// What the expected job costs.
    pub cost: Amount,
    /// How long it is expected to take.
    pub time_ms: u64,
    /// The factor for that time, in 1024ths: from 1 to 4.
    pub latency_1024: u64,
    /// The factor for the provider's reliability, in 1024ths: from 1 to 8.
    pub reliability_1024: u64,
    /// The product, in 2^20ths of a millionth of a nano-unit.
    pub rank: u128,
}

impl Score {
    /// The price at which this offer would be as good as it is, were it instant and certain.
    pub fn effective(&self) -> Amount {
        let nano = (self.rank >> 20_u32).checked_div(SCALE).unwrap_or(0);
        Amount::from_nano(nano.saturating_sub(1))
    }
}

/// The prices of an entry, per million tokens, in nano-units. Eighteen billion whole units fit; offers above aren't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompactPrice {
    /// For starting a job.
    pub job: u64,
    /// For a million tokens read.
    pub input: u64,
    /// For a million tokens written.
    pub output: u64,
}

impl CompactPrice {
    /// The same prices, when they fit.
    pub fn of(price: &PriceTable) -> Option<Self> {
        let compact = |amount: Amount| u64::try_from(amount.nano()).ok();
        Some(Self { job: compact(price.job)?, input: compact(price.input_per_mtok)?, output: compact(price.output_per_mtok)? })
    }

    /// The highest prices that fit and are not above these.
    pub(crate) fn ceiling(price: &PriceTable) -> Self {
        let compact = |amount: Amount| u64::try_from(amount.nano()).unwrap_or(u64::MAX);
        Self { job: compact(price.job), input: compact(price.input_per_mtok), output: compact(price.output_per_mtok) }
    }

    /// Whether no price here is above the one there.
    pub(crate) const fn is_at_most(&self, limit: &Self) -> bool {
        self.job <= limit.job && self.input <= limit.input && self.output <= limit.output
    }

    /// The same prices.
    pub fn table(&self) -> PriceTable {
        PriceTable {
            job: Amount::from_nano(self.job.into()),
            input_per_mtok: Amount::from_nano(self.input.into()),
            output_per_mtok: Amount::from_nano(self.output.into()),
        }
    }

    /// The exact cost of `usage` and one nano-unit, in millionths of a nano-unit.
    pub(crate) fn scaled(&self, usage: Usage) -> u128 {
        let part = |price: u64, count: u128| u128::from(price).saturating_mul(count);
        part(self.job, SCALE)
            .saturating_add(part(self.input, usage.input_tokens.into()))
            .saturating_add(part(self.output, usage.output_tokens.into()))
            .saturating_add(SCALE)
    }
}

/// The factor for a job that takes so long, in 1024ths.
pub(crate) fn latency_1024(time_ms: u64) -> u64 {
    let extra = time_ms.saturating_mul(ONE_1024).checked_div(LATENCY_DOUBLES_MS).unwrap_or(LATENCY_EXTRA_MAX);
    ONE_1024.saturating_add(extra.min(LATENCY_EXTRA_MAX))
}

/// How long so many tokens take a provider that nobody has measured and that claims this speed.
pub(crate) fn claimed_ms(tokens: u64, tokens_per_s: u32) -> u64 {
    FIRST_CHUNK_GUESS_MS.saturating_add(working_ms(tokens, tokens_per_s))
}

fn working_ms(tokens: u64, tokens_per_s: u32) -> u64 {
    tokens.saturating_mul(1000).checked_div(tokens_per_s.into()).unwrap_or(u64::MAX)
}

/// How long the expected job takes a provider that was measured. What was measured is how fast it writes, which says nothing of how
/// fast it reads.
fn measured_ms(demand: &Demand, tokens_per_s: u32, record: &Record) -> u64 {
    let tokens = demand.timed_tokens();
    let working = match (demand.work, record.tokens_per_s_milli()) {
        (WorkKind::Generate, Some(milli)) => tokens.saturating_mul(1_000_000).checked_div(milli).unwrap_or(u64::MAX),
        (WorkKind::Generate, None) | (WorkKind::Embed, _) => working_ms(tokens, tokens_per_s),
    };
    record.first_chunk_ms().unwrap_or(FIRST_CHUNK_GUESS_MS).saturating_add(working)
}

/// The rank of a price at these factors.
pub(crate) const fn rank(scaled_cost: u128, latency_1024: u128, reliability_1024: u128) -> u128 {
    scaled_cost.saturating_mul(latency_1024).saturating_mul(reliability_1024)
}

/// The score of an offer.
pub(crate) fn score(now: Timestamp, price: &CompactPrice, tokens_per_s: u32, demand: &Demand, record: Option<&Record>) -> Score {
    let expected = demand.expected;
    let time_ms = match record {
        Some(record) => measured_ms(demand, tokens_per_s, record),
        None => claimed_ms(demand.timed_tokens(), tokens_per_s),
    };
    let latency_1024 = latency_1024(time_ms);
    let reliability_1024 = record.copied().unwrap_or_default().reliability_1024(now);
    Score {
        cost: price.table().cost(expected).unwrap_or(Amount::MAX),
        time_ms,
        latency_1024,
        reliability_1024,
        rank: rank(price.scaled(expected), latency_1024.into(), reliability_1024.into()),
    }
}
