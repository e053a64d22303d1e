//! One shelf of the book: the offers of one model that differ only in price, speed and context.
//!
//! A k-d tree whose leaves are plain arrays: offers that cost about the same and are about as fast lie together, and
//! each leaf knows the best of each kind that it holds ([`Extent`]). A search orders the leaves by the best rank
//! that anything in them can have and reads from the front until nothing better can follow. Because ties
//! are an axis too, a million equal offers are as quick to search as a million different ones.

use crate::matching::{CompactPrice, claimed_ms, latency_1024};
use crate::price::Usage;
use crate::time::Timestamp;

/// Entries in a leaf before it is split: few enough to read in microseconds, many enough that a million offers have but a
/// few thousand leaves to order.
const LEAF_MAX: usize = 512;

/// Entries that a split leaves on either side at least.
const LEAF_MIN: usize = LEAF_MAX / 8;

/// The job by which the tree weighs prices against each other when it splits. Other jobs are answered exactly too, from
/// a few more leaves.
const TYPICAL: Usage = Usage { input_tokens: 1024, output_tokens: 512 };

/// Leaves beyond what the entries need before the tree is built anew: splits follow offers that have long expired.
const SPARE_LEAVES: usize = 8;

/// What a search needs of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) price: CompactPrice,
    /// Breaks ties between equal ranks.
    pub(crate) tie: u64,
    pub(crate) tokens_per_s: u32,
    pub(crate) context_tokens: u32,
    pub(crate) expires_at: Timestamp,
    pub(crate) slot: u32,
}

/// The best of each kind in a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) price_min: CompactPrice,
    pub(crate) tie_min: u64,
    pub(crate) tokens_per_s_max: u32,
    pub(crate) context_tokens_max: u32,
}

impl Extent {
    const EMPTY: Self = Self {
        price_min: CompactPrice { job: u64::MAX, input: u64::MAX, output: u64::MAX },
        tie_min: u64::MAX,
        tokens_per_s_max: 0,
        context_tokens_max: 0,
    };

    fn with(self, item: &Item) -> Self {
        Self {
            price_min: CompactPrice {
                job: self.price_min.job.min(item.price.job),
                input: self.price_min.input.min(item.price.input),
                output: self.price_min.output.min(item.price.output),
            },
            tie_min: self.tie_min.min(item.tie),
            tokens_per_s_max: self.tokens_per_s_max.max(item.tokens_per_s),
            context_tokens_max: self.context_tokens_max.max(item.context_tokens),
        }
    }

    fn of(items: &[Item]) -> Self {
        items.iter().fold(Self::EMPTY, Self::with)
    }
}

/// Offers that lie together.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) items: Vec<Item>,
    /// At least as good as anything here; better by what was removed since it was computed.
    pub(crate) extent: Extent,
    removed: usize,
}

impl Leaf {
    fn of(items: Vec<Item>) -> Self {
        Self { extent: Extent::of(&items), items, removed: 0 }
    }
}

/// By what a branch divides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Job,
    Input,
    Output,
    Speed,
    Context,
    Tie,
}

impl Axis {
    const ALL: [Self; 6] = [Self::Job, Self::Input, Self::Output, Self::Speed, Self::Context, Self::Tie];

    fn of(self, item: &Item) -> u64 {
        match self {
            Self::Job => item.price.job,
            Self::Input => item.price.input,
            Self::Output => item.price.output,
            Self::Speed => item.tokens_per_s.into(),
            Self::Context => item.context_tokens.into(),
            Self::Tie => item.tie,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Node {
    /// Entries below the threshold are at `below`, all others at `above`.
    Branch {
        axis: Axis,
        threshold: u64,
        below: usize,
        above: usize,
    },
    Leaf(usize),
}

/// The offers of one model, network, tier and confidentiality.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    nodes: Vec<Node>,
    leaves: Vec<Leaf>,
    len: usize,
}

impl Default for Shelf {
    fn default() -> Self {
        Self { nodes: vec![Node::Leaf(0)], leaves: vec![Leaf::of(Vec::new())], len: 0 }
    }
}

impl Shelf {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.leaves.iter().flat_map(|leaf| &leaf.items)
    }

    pub(crate) fn insert(&mut self, item: Item) {
        let (node, leaf) = self.find(&item);
        let Some(place) = self.leaves.get_mut(leaf) else { return };
        place.items.push(item);
        place.extent = place.extent.with(&item);
        self.len = self.len.saturating_add(1);
        if place.items.len() > LEAF_MAX {
            self.split(node, leaf);
        }
    }

    pub(crate) fn remove(&mut self, item: &Item) {
        let (_, leaf) = self.find(item);
        let Some(place) = self.leaves.get_mut(leaf) else { return };
        let Some(at) = place.items.iter().position(|other| other.slot == item.slot) else { return };
        place.items.swap_remove(at);
        place.removed = place.removed.saturating_add(1);
        if place.removed > place.items.len() / 8 {
            *place = Leaf::of(std::mem::take(&mut place.items));
        }
        self.len = self.len.saturating_sub(1);
        self.rebuild_when_sparse();
    }

    /// The node and the leaf where an entry is, or belongs.
    fn find(&self, item: &Item) -> (usize, usize) {
        let mut at = 0;
        loop {
            match self.nodes.get(at) {
                Some(Node::Branch { axis, threshold, below, above }) => at = if axis.of(item) < *threshold { *below } else { *above },
                Some(Node::Leaf(leaf)) => return (at, *leaf),
                None => return (0, usize::MAX),
            }
        }
    }

    fn split(&mut self, node: usize, leaf: usize) {
        let Some(full) = self.leaves.get_mut(leaf) else { return };
        let Some((axis, threshold)) = division(&full.items) else { return };
        let (below, above): (Vec<_>, Vec<_>) = full.items.iter().partition(|item| axis.of(item) < threshold);
        *full = Leaf::of(below);
        let new_leaf = self.leaves.len();
        self.leaves.push(Leaf::of(above));
        let below = self.nodes.len();
        self.nodes.extend([Node::Leaf(leaf), Node::Leaf(new_leaf)]);
        if let Some(parent) = self.nodes.get_mut(node) {
            *parent = Node::Branch { axis, threshold, below, above: below.saturating_add(1) };
        }
    }

    /// Builds the tree anew when most of its leaves are nearly empty. It takes as many removals as it moves entries.
    fn rebuild_when_sparse(&mut self) {
        let needed = self.len.checked_div(LEAF_MIN / 2).unwrap_or(0);
        if self.leaves.len() <= needed.saturating_add(SPARE_LEAVES) {
            return;
        }
        let old = std::mem::take(self);
        for item in old.items() {
            self.insert(*item);
        }
    }
}

/// Where to divide entries: along the axis that makes the largest difference to the price of a typical job and leaves
/// enough on either side; when none does, along the context, then the tie. Nothing when all are the same.
fn division(items: &[Item]) -> Option<(Axis, u64)> {
    let mut axes = Axis::ALL.map(|axis| {
        let values = || items.iter().map(|item| axis.of(item));
        (axis, values().min().unwrap_or(0), values().max().unwrap_or(0))
    });
    let cheapest = items.iter().map(|item| item.price.scaled(TYPICAL)).min().unwrap_or(0);
    axes.sort_by_key(|(axis, min, max)| std::cmp::Reverse(spread(*axis, *min, *max, cheapest)));
    axes.into_iter().find_map(|(axis, min, _)| Some((axis, threshold(items, axis, min)?)))
}

/// How far the price of a typical job differs between the ends of an axis. Context and tie make no difference.
fn spread(axis: Axis, min: u64, max: u64, cheapest: u128) -> u128 {
    let range = u128::from(max.saturating_sub(min));
    match axis {
        Axis::Job => range.saturating_mul(1_000_000),
        Axis::Input => range.saturating_mul(TYPICAL.input_tokens.into()),
        Axis::Output => range.saturating_mul(TYPICAL.output_tokens.into()),
        Axis::Speed => (cheapest >> 10_u32).saturating_mul(slowness(min).saturating_sub(slowness(max))),
        Axis::Context | Axis::Tie => 0,
    }
}

fn slowness(tokens_per_s: u64) -> u128 {
    latency_1024(claimed_ms(TYPICAL.output_tokens, u32::try_from(tokens_per_s).unwrap_or(u32::MAX))).into()
}

/// A value that leaves about half of the entries below it, and no side nearly empty: else somebody could make a leaf of
/// each offer.
fn threshold(items: &[Item], axis: Axis, min: u64) -> Option<u64> {
    let mut values: Vec<u64> = items.iter().map(|item| axis.of(item)).collect();
    let middle = values.len() / 2;
    let (_, median, above) = values.select_nth_unstable(middle);
    let value = if *median > min { *median } else { above.iter().copied().filter(|value| *value > min).min()? };
    let below = values.iter().filter(|other| **other < value).count();
    let smaller = below.min(values.len().saturating_sub(below));
    (smaller >= LEAF_MIN).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(slot: u32, job: u64, output: u64, tokens_per_s: u32, context_tokens: u32, tie: u64) -> Item {
        let price = CompactPrice { job, input: 5, output };
        Item { price, tie, tokens_per_s, context_tokens, expires_at: Timestamp(1), slot }
    }

    fn check(shelf: &Shelf, expect: &[Item]) {
        let mut held: Vec<_> = shelf.items().copied().collect();
        held.sort_by_key(|item| item.slot);
        assert_eq!(held, expect);
        assert_eq!(shelf.len(), expect.len());
        for leaf in shelf.leaves() {
            assert!(leaf.items.iter().all(|item| leaf.extent.with(item) == leaf.extent), "an extent covers its leaf");
            assert!(leaf.removed > 0 || leaf.extent == Extent::of(&leaf.items), "and nothing else");
            assert!(leaf.removed <= leaf.items.len() / 8);
            assert!(leaf.items.len() <= LEAF_MAX);
        }
        assert!(shelf.leaves().len() <= shelf.len() / (LEAF_MIN / 2) + SPARE_LEAVES);
    }

    #[test]
    fn equal_offers_are_divided_by_their_ties() {
        let mut shelf = Shelf::default();
        let items: Vec<_> = (0..3000).map(|n| item(n, 1, 1, 1, 1, u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        items.iter().for_each(|item| shelf.insert(*item));
        check(&shelf, &items);
        assert!(shelf.leaves().len() > 5);
        let best = shelf.leaves().iter().filter(|leaf| leaf.extent.tie_min < u64::MAX / 16).count();
        assert!(best <= 2, "small ties lie together");
    }

    #[test]
    fn a_full_leaf_is_halved() {
        let mut shelf = Shelf::default();
        let nth = |n: u32| item(n, u64::from(n), 1, 1, 1, u64::from(n));
        (0..512).for_each(|n| shelf.insert(nth(n)));
        assert_eq!(shelf.leaves().len(), 1);
        shelf.insert(nth(512));
        assert_eq!(shelf.leaves().iter().map(|leaf| leaf.items.len()).collect::<Vec<_>>(), [256, 257]);
        // Half of them at the minimum: the least above it divides.
        let mut shelf = Shelf::default();
        (0..513).for_each(|n| shelf.insert(item(n, u64::from(n.saturating_sub(400)), 1, 1, 1, 7)));
        assert_eq!(shelf.leaves().iter().map(|leaf| leaf.items.len()).collect::<Vec<_>>(), [401, 112]);
    }

    #[test]
    fn entries_are_divided_along_the_axis_that_matters_most_to_the_price() {
        // Two values on each axis, in all combinations.
        let axis = |job: [u64; 2], output: [u64; 2], tokens_per_s: [u32; 2]| {
            let nth = |n: u32| {
                let at = |shift: u32| usize::from((n >> shift) & 1 == 1);
                item(n, job[at(0)], output[at(1)], tokens_per_s[at(2)], 1, 7)
            };
            division(&(0..512).map(nth).collect::<Vec<_>>()).map(|(axis, _)| axis)
        };
        // 512 tokens at a million more a million cost 512 more.
        assert_eq!(axis([1000, 1511], [0, 1_000_000], [50; 2]), Some(Axis::Output));
        assert_eq!(axis([1000, 1513], [0, 1_000_000], [50; 2]), Some(Axis::Job));
        // 11 s instead of 6 s make a job about a sixth dearer.
        assert_eq!(axis([1_000_000, 1_150_000], [0; 2], [50, 100]), Some(Axis::Speed));
        assert_eq!(axis([1_000_000, 1_190_000], [0; 2], [50, 100]), Some(Axis::Job));
        assert_eq!(axis([1000; 2], [0; 2], [50; 2]), None);
    }

    #[test]
    fn the_extent_of_a_leaf_is_computed_anew_when_more_than_an_eighth_is_gone() {
        let mut shelf = Shelf::default();
        let nth = |n: u32| item(n, u64::from(n), 1, 1, 1, 7);
        (0..81).for_each(|n| shelf.insert(nth(n)));
        (0..9).for_each(|n| shelf.remove(&nth(n)));
        assert_eq!(shelf.leaves()[0].extent.price_min.job, 0, "9 of 72");
        shelf.remove(&nth(9));
        assert_eq!(shelf.leaves()[0].extent.price_min.job, 10);
    }

    #[test]
    fn a_tree_of_the_smallest_leaves_is_not_built_anew_at_every_removal() {
        let mut shelf = Shelf::default();
        // All the same but a few at the upper end each time: nothing else divides them.
        (0..449).for_each(|n| shelf.insert(item(n, 0, 1, 1, 1, 7)));
        (0..40 * 64).for_each(|n| shelf.insert(item(449 + n, 1000 - u64::from(n / 64), 1, 1, 1, 7)));
        let lengths = |shelf: &Shelf| shelf.leaves().iter().map(|leaf| leaf.items.len()).collect::<Vec<_>>();
        assert_eq!(lengths(&shelf), [vec![449], vec![64; 40]].concat());
        shelf.remove(&item(0, 0, 1, 1, 1, 7));
        assert_eq!(shelf.leaves()[0].removed, 1, "a leaf that was built anew has lost nothing");
    }

    #[test]
    fn nobody_can_make_a_leaf_of_each_offer() {
        let mut shelf = Shelf::default();
        for n in 0..4000 {
            let job = if n < 512 { 0 } else { 10_000 - u64::from(n) };
            shelf.insert(item(n, job, 1, 1, 1, u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        }
        assert!(shelf.leaves().iter().all(|leaf| leaf.items.len() >= LEAF_MIN));
    }

    #[test]
    fn offers_that_cannot_be_told_apart_share_a_leaf() {
        let mut shelf = Shelf::default();
        for n in 0..2000 {
            shelf.insert(item(n, 1, 1, 1, 1, 7));
        }
        assert_eq!((shelf.len(), shelf.leaves().len()), (2000, 1));
    }

    #[test]
    fn the_tree_shrinks_with_its_entries() {
        let mut shelf = Shelf::default();
        let items: Vec<_> = (0..20_000).map(|n| item(n, u64::from(n), 1, 1, 1, u64::from(n))).collect();
        items.iter().for_each(|item| shelf.insert(*item));
        assert!(shelf.leaves().len() > 40);
        for item in &items[100..] {
            shelf.remove(item);
        }
        check(&shelf, &items[..100]);
        shelf.remove(&items[500]);
        assert_eq!(shelf.len(), 100, "what isn't there is not removed");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_is_put_in_is_there_until_it_is_taken_out(
            seeds in prop::collection::vec((0u64..20, 0u64..5, 0u32..40, 0u32..3, any::<u64>()), 0..2500),
            keep_every in 1usize..7,
        ) {
            let items: Vec<_> = (0u32..).zip(&seeds).map(|(n, s)| item(n, s.0, s.1, s.2, s.3, s.4)).collect();
            let mut shelf = Shelf::default();
            items.iter().for_each(|item| shelf.insert(*item));
            check(&shelf, &items);
            let (kept, gone): (Vec<_>, Vec<_>) = items.iter().partition(|item| (item.slot as usize).is_multiple_of(keep_every));
            gone.iter().for_each(|item| shelf.remove(item));
            check(&shelf, &kept);
        }
    }
}
