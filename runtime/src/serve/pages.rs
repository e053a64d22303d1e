//! Who has which pages of keys and values, and which pages hold a beginning that others may share.
//!
//! A page is full when all its positions are written, and then never changes: it is known by the
//! tokens in it and everything before them. Full pages outlive their job until the room is needed,
//! the longest unused first; a job whose prompt begins with the same tokens takes them as they are.
//!
//! # Invariants
//!
//! - Every page is held by jobs, kept for reuse, or free; [`PagePool::used`] counts the first.
//! - Promised and used pages together never exceed the pool, so a job that was let in can finish.

use std::collections::{BTreeMap, HashMap};

use crate::engine::{PAGE_POSITIONS, PageId, pages_of};
use crate::tokenizer::TokenId;

/// What a full page is known by: the hash of its tokens and all before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PageKey([u8; 32]);

impl PageKey {
    fn next(before: Option<Self>, tokens: &[TokenId]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&before.map_or([0; 32], |key| key.0));
        tokens.iter().for_each(|id| {
            hasher.update(&id.to_le_bytes());
        });
        Self(*hasher.finalize().as_bytes())
    }
}

#[derive(Debug, Default)]
struct Page {
    /// Jobs that hold it.
    holders: usize,
    /// What it is known by, once it is full.
    key: Option<PageKey>,
    /// When it was last let go.
    unused_since: u64,
}

/// All pages of a session.
#[derive(Debug)]
pub(super) struct PagePool {
    pages: Vec<Page>,
    free: Vec<PageId>,
    known: HashMap<PageKey, PageId>,
    /// Known pages that nobody holds, the longest unused first.
    unused: BTreeMap<u64, PageId>,
    clock: u64,
    used: usize,
    promised: usize,
}

/// A job's pages.
#[derive(Debug, Default)]
pub(super) struct Hold {
    pages: Vec<PageId>,
    /// Keys of those that are full and known, from the first on.
    keys: Vec<PageKey>,
    /// Pages that the job may still ask for.
    promised: usize,
}

impl Hold {
    /// The pages in the order of positions.
    pub(super) fn pages(&self) -> &[PageId] {
        &self.pages
    }
}

impl PagePool {
    pub(super) fn new(pages: usize) -> Self {
        // Taken from the end, so that the first pages are used first.
        let free = (0..pages as PageId).rev().collect();
        let pages = (0..pages).map(|_| Page::default()).collect();
        Self { pages, free, known: HashMap::new(), unused: BTreeMap::new(), clock: 0, used: 0, promised: 0 }
    }

    /// Pages in all.
    pub(super) fn total(&self) -> usize {
        self.pages.len()
    }

    /// Pages that jobs hold.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Pages that jobs hold or may still ask for.
    pub(super) fn taken(&self) -> usize {
        self.used + self.promised
    }

    /// Whether a job that shares nothing would be let in.
    pub(super) fn has_room(&self, positions: usize) -> bool {
        self.taken() + pages_of(positions) <= self.total()
    }

    /// Lets a job in that will keep up to `positions`, with the pages that hold the beginning of
    /// its prompt already. None if there is no room now. At least one token of the prompt is left
    /// to be read, since scores come from reading.
    pub(super) fn admit(&mut self, prompt: &[TokenId], positions: usize) -> Option<Hold> {
        let needed = pages_of(positions);
        let shared = self.shared(prompt);
        // Pages that others hold take no room; those that nobody holds do, as new ones would.
        let held = shared.iter().filter(|(page, _)| self.pages[*page as usize].holders > 0).count();
        if self.taken() + needed - held > self.total() {
            return None;
        }
        let mut hold = Hold { promised: needed - shared.len(), ..Hold::default() };
        self.promised += hold.promised;
        for (page, key) in shared {
            self.take(page);
            hold.pages.push(page);
            hold.keys.push(key);
        }
        Some(hold)
    }

    /// Gives a job the pages for positions up to `end`, out of what was promised to it.
    pub(super) fn extend(&mut self, hold: &mut Hold, end: usize) {
        while hold.pages.len() < pages_of(end) {
            debug_assert!(hold.promised > 0, "a job asks for more than it was let in with");
            let page = self.free.pop().or_else(|| self.reclaim());
            let Some(page) = page else { return };
            hold.promised = hold.promised.saturating_sub(1);
            self.promised = self.promised.saturating_sub(1);
            self.take(page);
            hold.pages.push(page);
        }
    }

    /// Makes the pages known that are full with the first `read` of a job's tokens.
    pub(super) fn publish(&mut self, hold: &mut Hold, tokens: &[TokenId], read: usize) {
        let full = (read / PAGE_POSITIONS).min(hold.pages.len());
        for at in hold.keys.len()..full {
            let Some(tokens) = tokens.get(at * PAGE_POSITIONS..(at + 1) * PAGE_POSITIONS) else { return };
            let key = PageKey::next(hold.keys.last().copied(), tokens);
            hold.keys.push(key);
            // If another job was first with the same tokens, its page stays the known one.
            if let std::collections::hash_map::Entry::Vacant(place) = self.known.entry(key) {
                place.insert(hold.pages[at]);
                self.pages[hold.pages[at] as usize].key = Some(key);
            }
        }
    }

    /// Takes back all that a job holds.
    pub(super) fn release(&mut self, hold: Hold) {
        self.promised -= hold.promised;
        // Later pages first: a beginning is of use without its end, but not the other way round.
        for page in hold.pages.into_iter().rev() {
            let entry = &mut self.pages[page as usize];
            entry.holders -= 1;
            if entry.holders > 0 {
                continue;
            }
            self.used -= 1;
            self.clock += 1;
            match entry.key {
                Some(_) => {
                    entry.unused_since = self.clock;
                    self.unused.insert(self.clock, page);
                }
                None => self.free.push(page),
            }
        }
    }

    /// Known pages that hold the beginning of a prompt.
    fn shared(&self, prompt: &[TokenId]) -> Vec<(PageId, PageKey)> {
        let mut found: Vec<(PageId, PageKey)> = Vec::new();
        let readable = prompt.len().saturating_sub(1) / PAGE_POSITIONS;
        for tokens in prompt.chunks_exact(PAGE_POSITIONS).take(readable) {
            let key = PageKey::next(found.last().map(|(_, key)| *key), tokens);
            let Some(page) = self.known.get(&key) else { break };
            found.push((*page, key));
        }
        found
    }

    fn take(&mut self, page: PageId) {
        let entry = &mut self.pages[page as usize];
        if entry.holders == 0 {
            self.used += 1;
            if entry.key.is_some() {
                self.unused.remove(&entry.unused_since);
            }
        }
        entry.holders += 1;
    }

    /// Forgets the page that was unused for longest.
    fn reclaim(&mut self) -> Option<PageId> {
        let (_, page) = self.unused.pop_first()?;
        if let Some(key) = self.pages[page as usize].key.take() {
            self.known.remove(&key);
        }
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(first: TokenId, count: usize) -> Vec<TokenId> {
        (first..).take(count).collect()
    }

    fn fill(pool: &mut PagePool, hold: &mut Hold, tokens: &[TokenId]) {
        pool.extend(hold, tokens.len());
        pool.publish(hold, tokens, tokens.len());
    }

    #[test]
    fn a_beginning_is_shared_and_the_last_token_is_read_anew() {
        let mut pool = PagePool::new(16);
        let prompt = tokens(0, 64);
        let mut first = pool.admit(&prompt, 70).unwrap();
        assert!(first.pages().is_empty());
        fill(&mut pool, &mut first, &prompt);
        let second = pool.admit(&prompt, 70).unwrap();
        assert_eq!(second.pages(), &first.pages()[..1], "the second page ends with the prompt");
        let longer = pool.admit(&tokens(0, 65), 70).unwrap();
        assert_eq!(longer.pages(), first.pages());
        let other = pool.admit(&tokens(1, 65), 70);
        assert!(other.is_some_and(|hold| hold.pages().is_empty()));
    }

    #[test]
    fn nobody_is_let_in_beyond_what_all_can_need() {
        let mut pool = PagePool::new(4);
        let hold = pool.admit(&tokens(0, 10), 65).unwrap();
        assert!(pool.admit(&tokens(0, 10), 33).is_none(), "three of four pages are promised");
        let last = pool.admit(&tokens(0, 10), 32).unwrap();
        pool.release(hold);
        pool.release(last);
        assert!(pool.admit(&tokens(0, 10), 128).is_some());
    }

    #[test]
    fn what_is_longest_unused_makes_room_first() {
        let mut pool = PagePool::new(2);
        for first in [0, 100] {
            let prompt = tokens(first, 33);
            let mut hold = pool.admit(&prompt, 32).unwrap();
            fill(&mut pool, &mut hold, &prompt[..32]);
            pool.release(hold);
        }
        let mut newcomer = pool.admit(&tokens(200, 10), 20).unwrap();
        pool.extend(&mut newcomer, 10);
        pool.release(newcomer);
        let kept = |pool: &PagePool, first| pool.shared(&tokens(first, 33)).len();
        assert_eq!((kept(&pool, 0), kept(&pool, 100)), (0, 1));
    }

    proptest! {
        /// Jobs come and go in any order: counts stay right, and nobody gets a page that changes under another.
        #[test]
        fn counts_stay_right(steps in proptest::collection::vec((0u32..4, 1usize..150, 0usize..60, any::<bool>()), 1..60)) {
            let mut pool = PagePool::new(12);
            let mut jobs: Vec<(Vec<TokenId>, Hold)> = Vec::new();
            for (kind, prompt, answer, leave) in steps {
                if leave && !jobs.is_empty() {
                    let (_, hold) = jobs.remove(prompt % jobs.len());
                    pool.release(hold);
                } else {
                    let all = tokens(kind * 1_000, prompt + answer);
                    if let Some(mut hold) = pool.admit(&all[..prompt], all.len()) {
                        fill(&mut pool, &mut hold, &all);
                        prop_assert_eq!(hold.pages().len(), all.len().div_ceil(PAGE_POSITIONS));
                        jobs.push((all, hold));
                    }
                }
                let mut held: Vec<PageId> = jobs.iter().flat_map(|(_, hold)| hold.pages().iter().copied()).collect();
                held.sort_unstable();
                held.dedup();
                prop_assert_eq!(held.len(), pool.used());
                prop_assert_eq!(pool.used() + pool.unused.len() + pool.free.len(), pool.total());
                prop_assert_eq!(pool.promised, jobs.iter().map(|(_, hold)| hold.promised).sum::<usize>());
                prop_assert!(pool.used() + pool.promised <= pool.total());
                // A page that is not full is one job's alone.
                for (all, hold) in &jobs {
                    if !all.len().is_multiple_of(PAGE_POSITIONS) {
                        let last = hold.pages().last().copied().unwrap();
                        prop_assert_eq!(pool.pages[last as usize].holders, 1);
                    }
                }
            }
            for (_, hold) in jobs {
                pool.release(hold);
            }
            prop_assert_eq!((pool.used(), pool.promised), (0, 0));
        }
    }
}
