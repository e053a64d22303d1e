//! The receipts tree: an append-only SHA-256 Merkle tree in the shape of RFC 6962.
//!
//! A voucher carries the root over all receipts it pays for. Both parties keep only a [`Frontier`], at most one digest
//! a level, and extend it in O(log n). Leaves and nodes are hashed under different prefixes, so no inner node passes
//! for a leaf. SHA-256, because TVM can compute it.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::Digest;

/// The root of the empty tree: SHA-256 of nothing (RFC 6962, section 2.1).
pub fn empty_root() -> Digest {
    Digest(Sha256::digest([]).into())
}

fn leaf(digest: &Digest) -> Digest {
    Digest(Sha256::new().chain_update([0]).chain_update(digest.0).finalize().into())
}

fn node(left: &Digest, right: &Digest) -> Digest {
    Digest(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The right edge of a tree: the roots of its complete subtrees, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {
    count: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// Number of leaves.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The tree with one more leaf. The 2^64th leaf leaves the tree as it is; nobody lives to append it.
    #[must_use]
    pub fn appended(&self, receipt: &Digest) -> Self {
        let Some(count) = self.count.checked_add(1) else { return self.clone() };
        let mut peaks = self.peaks.clone();
        let mut top = leaf(receipt);
        for _ in 0..self.count.trailing_ones() {
            let Some(left) = peaks.pop() else { break };
            top = node(&left, &top);
        }
        peaks.push(top);
        Self { count, peaks }
    }

    /// The root of the tree.
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        let Some(&last) = peaks.next() else { return empty_root() };
        peaks.fold(last, |right, left| node(left, &right))
    }

    /// Whether the parts fit together, for a frontier that was read from a store.
    pub fn is_consistent(&self) -> bool {
        u32::try_from(self.peaks.len()) == Ok(self.count.count_ones())
    }
}

/// The root over these receipts, computed from nothing.
pub fn root<'a>(receipts: impl IntoIterator<Item = &'a Digest>) -> Digest {
    receipts.into_iter().fold(Frontier::default(), |tree, digest| tree.appended(digest)).root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition of RFC 6962, section 2.1, word for word.
    fn reference(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => empty_root(),
            [one] => leaf(one),
            many => {
                let split = many.len().next_power_of_two() / 2;
                node(&reference(&many[..split]), &reference(&many[split..]))
            }
        }
    }

    proptest! {
        #[test]
        fn the_frontier_computes_the_roots_of_rfc_6962(n in 0usize..70, salt in any::<u8>()) {
            let leaves: Vec<_> = (0..n).map(|i| Digest([u8::try_from(i).unwrap() ^ salt; 32])).collect();
            prop_assert_eq!(root(&leaves), reference(&leaves));
            let frontier = leaves.iter().fold(Frontier::default(), |t, d| t.appended(d));
            prop_assert!(frontier.is_consistent());
            prop_assert_eq!(frontier.count(), n as u64);
        }
    }

    #[test]
    fn three_receipts_make_a_pair_and_a_leaf() {
        let digests = [1, 2, 3].map(|n| Digest([n; 32]));
        let tree = digests.iter().fold(Frontier::default(), |tree, digest| tree.appended(digest));
        assert_eq!((tree.count(), tree.root()), (3, node(&node(&leaf(&digests[0]), &leaf(&digests[1])), &leaf(&digests[2]))));
        assert!(tree.is_consistent());
        assert!(!Frontier { count: 4, ..tree.clone() }.is_consistent());
        assert!(!Frontier { peaks: Vec::new(), ..tree }.is_consistent());
        let full = Frontier { count: u64::MAX, peaks: vec![digests[0]; 64] };
        assert_eq!(full.appended(&digests[1]), full);
    }

    #[test]
    fn the_empty_root_is_the_hash_of_nothing() {
        assert_eq!(root([]).to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
