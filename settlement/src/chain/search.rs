//! Looking through an account's transactions, newest first.

use super::{Address, Chain, ChainError, PAGE_MAX, Page, Transaction, TxId};

/// How far back to look.
#[derive(Clone, Copy)]
pub(crate) struct Reach {
    /// Only what is newer than this logical time.
    pub(crate) after_lt: u64,
    /// No page behind one that reaches back to this, in seconds since the Unix epoch.
    pub(crate) from_s: u64,
    /// No more pages than this.
    pub(crate) pages_max: usize,
}

/// What a look showed.
pub(crate) struct Look {
    pub(crate) found: Option<Transaction>,
    /// Whether pages ran out before the look had reached as far as it should.
    pub(crate) is_cut: bool,
    after_lt: u64,
    newest_lt: Option<u64>,
}

impl Look {
    /// Whether no transaction at all was shown.
    pub(crate) const fn is_empty(&self) -> bool {
        self.newest_lt.is_none()
    }

    /// Whether the transactions that were shown end before the state that was read, whose newest is `last`. Then ours may be among those
    /// that were not shown, and to sign anew would be to do it twice: endpoints behind one name are not always equally far.
    pub(crate) fn is_behind(&self, last: Option<TxId>) -> bool {
        self.found.is_none() && last.is_some_and(|last| last.lt > self.newest_lt.unwrap_or(self.after_lt))
    }
}

/// Looks for the newest transaction of `account` that is ours. The client has checked that each names the one before it.
///
/// # Errors
/// [`ChainError`] when the chain does not say.
pub(crate) fn look_through(
    chain: &dyn Chain,
    account: &Address,
    reach: Reach,
    is_ours: impl Fn(&Transaction) -> bool,
) -> Result<Look, ChainError> {
    let Reach { after_lt, from_s, pages_max } = reach;
    let mut page = Page { from: None, after_lt, limit: PAGE_MAX };
    let mut look = Look { found: None, is_cut: false, after_lt, newest_lt: None };
    for _ in 0..pages_max {
        let shown = chain.transactions(account, page)?;
        look.newest_lt = look.newest_lt.or(shown.first().map(|newest| newest.id.lt));
        let oldest = shown.last().map(|oldest| (oldest.previous, oldest.unix_s));
        look.found = shown.into_iter().find(&is_ours);
        match oldest {
            Some((Some(next), unix_s)) if look.found.is_none() && next.lt > after_lt && unix_s >= from_s => page.from = Some(next),
            _ => return Ok(look),
        }
    }
    look.is_cut = true;
    Ok(look)
}
