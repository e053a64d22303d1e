//! A message that would be sent, as every `--dry-run` shows it.

use cocoon_market::Amount;
use cocoon_settlement::settler::Preview;
use serde::Serialize;

/// A message that would be sent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct DryRun {
    /// What it carries.
    pub(super) value_nanoton: Amount,
    /// What it usually costs.
    pub(super) cost_nanoton: Amount,
    /// What the wallet must hold, its own gas included: more than this it cannot cost.
    cost_max_nanoton: Amount,
    balance_nanoton: Amount,
    /// Its hash, in hexadecimal.
    pub(super) message_hash: String,
    /// The message itself, base64.
    pub(super) boc: String,
}

impl DryRun {
    /// What the settler would send, and what such a message usually costs.
    pub(super) fn of(preview: Preview, cost: Amount) -> Self {
        Self {
            value_nanoton: preview.value,
            cost_nanoton: cost,
            cost_max_nanoton: preview.needed,
            balance_nanoton: preview.balance,
            message_hash: preview.message.hash.to_string(),
            boc: preview.message.boc,
        }
    }
}
