//! Demands: what a requester wants. A demand is matched where it arises and never leaves its node.

use serde::{Deserialize, Serialize};

use crate::ids::{ModelId, NetworkId};
use crate::job::WorkKind;
use crate::offer::{Confidentiality, Tier};
use crate::price::{PriceTable, Usage};

/// What a requester wants, and what it would rather not pay or wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Which model.
    pub model: ModelId,
    /// Which kind of work.
    pub work: WorkKind,
    /// On which chain money lies.
    pub network: NetworkId,
    /// The most it will pay; `None` takes any price.
    pub price_max: Option<PriceTable>,
    /// What one job is expected to use: turns a price table into one price.
    pub expected: Usage,
    /// The least verification.
    pub tier: Tier,
    /// The least confidentiality.
    pub confidentiality: Confidentiality,
    /// The least context.
    pub context_tokens: u32,
    /// The least claimed speed, in tokens a second; 0 takes any.
    pub tokens_per_s: u32,
}

impl Demand {
    /// The tokens of the expected job that take its time: those written, or those read for vectors.
    pub const fn timed_tokens(&self) -> u64 {
        match self.work {
            WorkKind::Generate => self.expected.output_tokens,
            WorkKind::Embed => self.expected.input_tokens,
        }
    }
}
