//! When entries are over, to the second.

use std::collections::BTreeMap;

use crate::book::Slot;
use crate::time::Timestamp;

/// Milliseconds that share a page: an offer lives an hour, so there are some 3,600 pages, and nobody minds a second.
const PAGE_MS: u64 = 1000;

/// Entries filed beyond twice those that live before the calendar is written anew.
const SPARE: usize = 1024;

/// Slots by the second in which they are over.
///
/// Nothing is ever taken off a page before its time: whoever reads it looks whether the slot still holds what was filed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calendar {
    pages: BTreeMap<u64, Vec<Slot>>,
    filed: usize,
}

impl Calendar {
    pub(crate) fn file(&mut self, expires_at: Timestamp, slot: Slot) {
        self.pages.entry(page(expires_at)).or_default().push(slot);
        self.filed = self.filed.saturating_add(1);
    }

    /// The next slot of a page that is wholly past.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Slot> {
        let mut first = self.pages.first_entry()?;
        if end(*first.key()) > now {
            return None;
        }
        let slot = first.get_mut().pop();
        if first.get().is_empty() {
            first.remove();
        }
        self.filed = self.filed.saturating_sub(usize::from(slot.is_some()));
        slot
    }

    /// When a page is wholly past next.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.pages.first_key_value().map(|(page, _)| end(*page))
    }

    /// Whether the page of this moment is wholly past.
    pub(crate) const fn is_past(expires_at: Timestamp, now: Timestamp) -> bool {
        end(page(expires_at)).0 <= now.0
    }

    /// Whether most of what is filed lives no more.
    pub(crate) const fn is_stale(&self, live: usize) -> bool {
        self.filed > live.saturating_mul(2).saturating_add(SPARE)
    }
}

/// The page on which this moment is.
const fn page(at: Timestamp) -> u64 {
    at.0 / PAGE_MS
}

/// The first moment after a page.
const fn end(page: u64) -> Timestamp {
    Timestamp(page.saturating_add(1).saturating_mul(PAGE_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_due_when_it_is_wholly_past() {
        let mut calendar = Calendar::default();
        assert_eq!((calendar.next_due(), calendar.pop_due(Timestamp(u64::MAX))), (None, None));
        calendar.file(Timestamp(2000), 3);
        calendar.file(Timestamp(1999), 2);
        calendar.file(Timestamp(1000), 1);
        assert_eq!(calendar.next_due(), Some(Timestamp(2000)));
        assert_eq!(calendar.pop_due(Timestamp(1999)), None);
        assert_eq!((calendar.pop_due(Timestamp(2000)), calendar.pop_due(Timestamp(2000))), (Some(1), Some(2)));
        assert_eq!((calendar.pop_due(Timestamp(2999)), calendar.next_due()), (None, Some(Timestamp(3000))));
        assert_eq!(calendar.pop_due(Timestamp(3000)), Some(3));
        assert_eq!(calendar.next_due(), None);
    }

    #[test]
    fn it_is_stale_when_more_is_filed_than_twice_what_lives() {
        let mut calendar = Calendar::default();
        for slot in 0..u32::try_from(SPARE).unwrap() + 20 {
            calendar.file(Timestamp(1), slot);
        }
        assert!(!calendar.is_stale(10) && calendar.is_stale(9));
        calendar.pop_due(Timestamp(1000));
        assert!(!calendar.is_stale(10) && calendar.is_stale(9), "1043 are filed");
        calendar.pop_due(Timestamp(1000));
        assert!(!calendar.is_stale(9));
    }
}
