//! Prices as people write them.

use cocoon_market::{Amount, PriceTable};
use serde::Deserialize;

use super::text;

/// A price table with amounts in TON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Price {
    /// For starting a job.
    #[serde(rename = "job_ton", deserialize_with = "text::parsed")]
    pub job: Amount,
    /// For a million tokens read.
    #[serde(rename = "input_ton_per_mtok", deserialize_with = "text::parsed")]
    pub input_per_mtok: Amount,
    /// For a million tokens written.
    #[serde(rename = "output_ton_per_mtok", deserialize_with = "text::parsed")]
    pub output_per_mtok: Amount,
}

impl Default for Price {
    fn default() -> Self {
        Self { job: Amount::ZERO, input_per_mtok: Amount::from_nano(20_000_000), output_per_mtok: Amount::from_nano(80_000_000) }
    }
}

impl From<Price> for PriceTable {
    fn from(price: Price) -> Self {
        Self { job: price.job, input_per_mtok: price.input_per_mtok, output_per_mtok: price.output_per_mtok }
    }
}
