//! A message that would be sent, as every `--dry-run` shows it.

use cocoon_market::Amount;
use cocoon_settlement::chain::embedded::{Rehearsal, rehearse};
use cocoon_settlement::chain::{Address, Bounce, Chain, ChainError, Transaction};
use cocoon_settlement::settler::Preview;
use serde::Serialize;

use crate::output::ton_text;

/// A message that would be sent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct DryRun {
    /// What it carries.
    pub(super) value_nanoton: Amount,
    /// What the wallet must hold, its own gas included: more than this it cannot cost.
    cost_max_nanoton: Amount,
    balance_nanoton: Amount,
    #[serde(flatten)]
    pub(super) cost: Cost,
    /// Its hash, in hexadecimal.
    message_hash: String,
    /// The message itself, base64.
    boc: String,
}

/// A message that would be sent, and what it would change.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Prepared {
    pub(super) contract: Address,
    /// What would be different afterwards: a sentence's end, for people.
    pub(super) changes: String,
    #[serde(flatten)]
    pub(super) message: DryRun,
    /// What becomes of value that is not used: a sentence's end, too.
    #[serde(skip)]
    pub(super) rest: &'static str,
}

impl Prepared {
    pub(super) fn text(&self) -> String {
        format!("Nothing was sent. If it were, {}.\n{}", self.changes, self.message.text(self.rest))
    }
}

/// What a message would use up and come to, found by executing it on the accounts as they are.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cost {
    /// All fees of all transactions.
    pub(super) cost_nanoton: Amount,
    gas_used: u64,
    transactions: usize,
    /// The first transaction that would fail, if one would.
    fails: Option<Failing>,
}

#[derive(Clone, Debug, Serialize)]
struct Failing {
    account: Address,
    exit_code: Option<i32>,
}

/// Whether a transaction did not do what it was asked to. Money that nobody asked back for stays where no contract is, too.
pub(super) fn is_refused(transaction: &Transaction) -> bool {
    let asks_back = transaction.in_message.as_ref().is_none_or(|message| message.bounce);
    !transaction.success && (transaction.exit_code.is_some() || asks_back)
}

impl DryRun {
    /// What the settler would send, executed on the wallet and the contract that it goes to.
    ///
    /// # Errors
    /// [`ChainError`] when they cannot be read, or the wallet would not take the message.
    pub(super) fn of(chain: &dyn Chain, preview: Preview, wallet: Address, contract: Address) -> Result<Self, ChainError> {
        Self::over(chain, preview, &[wallet, contract])
    }

    /// The same, executed on all accounts that it reaches.
    ///
    /// # Errors
    /// As for [`Self::of`].
    pub(super) fn over(chain: &dyn Chain, preview: Preview, reached: &[Address]) -> Result<Self, ChainError> {
        let cost = Cost::of(&rehearse(chain, &preview.message.bytes().unwrap_or_default(), reached)?);
        Ok(Self {
            value_nanoton: preview.value,
            cost_max_nanoton: preview.needed,
            balance_nanoton: preview.balance,
            cost,
            message_hash: preview.message.hash.to_string(),
            boc: preview.message.boc,
        })
    }

    /// Who would refuse it, and with which exit code.
    pub(super) fn refusal(&self) -> Option<(Address, Option<i32>)> {
        self.cost.fails.as_ref().map(|failing| (failing.account, failing.exit_code))
    }

    /// What it costs and comes to, and the message: the end of what people are shown.
    pub(super) fn text(&self, rest: &str) -> String {
        let value = ton_text(self.value_nanoton);
        format!("The message carries {value}; {}, {rest}.\n{}\n  hash {}", self.cost.text(), self.boc, self.message_hash)
    }
}

impl Cost {
    pub(super) fn of(rehearsal: &Rehearsal) -> Self {
        Self {
            cost_nanoton: rehearsal.cost,
            gas_used: rehearsal.gas_used(),
            transactions: rehearsal.transactions.len(),
            fails: rehearsal
                .transactions
                .iter()
                .find(|transaction| is_refused(transaction))
                .map(|failing| Failing { account: failing.account, exit_code: failing.exit_code }),
        }
    }

    pub(super) fn text(&self) -> String {
        let Self { cost_nanoton, gas_used, transactions, fails } = self;
        let cost = format!("its {transactions} transactions use {gas_used} gas and cost {}", ton_text(*cost_nanoton));
        match fails {
            None => cost,
            Some(Failing { account, exit_code: Some(code) }) => {
                format!("{} would refuse it with exit code {code}; {cost}", account.friendly(Bounce::Yes))
            }
            Some(Failing { account, exit_code: None }) => format!("nothing would take it at {}; {cost}", account.friendly(Bounce::Yes)),
        }
    }
}
