//! Finding what became of a message.

use super::shell::SettleError;
use crate::chain::search::{Look, Reach, look_through};
use crate::chain::{Address, Chain, Hash, Transaction};

/// Pages of transactions looked through. What takes ours takes one message at a time, so the first has it, unless hundreds of claims
/// were paid since.
pub(super) const PAGES_MAX: usize = 16;

/// The transaction of `account` that this message caused, if it is newer than `after_lt`.
///
/// # Errors
/// [`SettleError::Chain`], [`SettleError::TooManyTransactions`].
pub fn find_transaction(chain: &dyn Chain, account: &Address, message: &Hash, after_lt: u64) -> Result<Option<Transaction>, SettleError> {
    Ok(find_caused(chain, account, message, after_lt)?.found)
}

/// The same, with how far the look went.
pub(super) fn find_caused(chain: &dyn Chain, account: &Address, message: &Hash, after_lt: u64) -> Result<Look, SettleError> {
    let is_caused = |transaction: &Transaction| transaction.in_message.as_ref().is_some_and(|of| of.hash == *message);
    find(chain, account, after_lt, 0, is_caused)
}

/// The newest transaction of `account` that is ours, newer than `after_lt` and not on a page behind one that reaches back to `from_s`.
pub(super) fn find(
    chain: &dyn Chain,
    account: &Address,
    after_lt: u64,
    from_s: u64,
    is_ours: impl Fn(&Transaction) -> bool,
) -> Result<Look, SettleError> {
    let look = look_through(chain, account, Reach { after_lt, from_s, pages_max: PAGES_MAX }, is_ours)?;
    if look.is_cut { Err(SettleError::TooManyTransactions(*account)) } else { Ok(look) }
}
