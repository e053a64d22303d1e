//! Looking through an account's transactions, newest first.

use super::shell::SettleError;
use crate::chain::{Address, Chain, Hash, PAGE_MAX, Page, Transaction, TxId};

/// Pages of transactions looked through. What takes ours takes one message at a time, so the first has it, unless hundreds of claims
/// were paid since.
pub(super) const PAGES_MAX: usize = 16;

/// How far back to look.
#[derive(Clone, Copy)]
pub(super) struct Reach {
    /// Only what is newer than this logical time.
    pub(super) after_lt: u64,
    /// No page behind one that reaches back to this, in seconds since the Unix epoch.
    pub(super) from_s: u64,
}

/// What a look showed.
pub(super) struct Look {
    pub(super) found: Option<Transaction>,
    /// Logical time of the newest transaction that was shown, or of where the look ended when none was.
    newest_lt: u64,
}

impl Look {
    /// Whether the transactions that were shown end before the state that was read, whose newest is `last`. Then ours may be among those
    /// that were not shown, and to sign anew would be to do it twice: endpoints behind one name are not always equally far.
    pub(super) fn is_behind(&self, last: Option<TxId>) -> bool {
        self.found.is_none() && last.is_some_and(|last| last.lt > self.newest_lt)
    }
}

/// Looks for the newest transaction of `account` that is ours.
///
/// # Errors
/// [`SettleError::Chain`], [`SettleError::TooManyTransactions`].
pub(super) fn look_through(
    chain: &dyn Chain,
    account: &Address,
    reach: Reach,
    is_ours: impl Fn(&Transaction) -> bool,
) -> Result<Look, SettleError> {
    let mut page = Page { from: None, after_lt: reach.after_lt, limit: PAGE_MAX };
    let mut newest_lt = reach.after_lt;
    for _ in 0..PAGES_MAX {
        let shown = chain.transactions(account, page)?;
        newest_lt = shown.first().map_or(newest_lt, |first| first.id.lt.max(newest_lt));
        let oldest = shown.last().map(|oldest| (oldest.previous, oldest.unix_s));
        if let Some(found) = shown.into_iter().find(&is_ours) {
            return Ok(Look { found: Some(found), newest_lt });
        }
        match oldest {
            Some((Some(next), unix_s)) if next.lt > reach.after_lt && unix_s >= reach.from_s => page.from = Some(next),
            _ => return Ok(Look { found: None, newest_lt }),
        }
    }
    Err(SettleError::TooManyTransactions(*account))
}

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
    look_through(chain, account, Reach { after_lt, from_s: 0 }, is_caused)
}
