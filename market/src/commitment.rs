//! Commitments to tokens and vectors: what a receipt says was read and given.
//!
//! ```text
//! SHA-256("cocoon/tokens/1" 0x00 | each id as u32, big-endian)
//! SHA-256("cocoon/vectors/1" 0x00 | for each vector: its width as u32 | the bits of each element as u32, big-endian)
//! ```
//!
//! Both sides extend theirs as tokens or vectors come, so that a receipt in the middle of an answer costs one finalisation.

use sha2::{Digest as _, Sha256};

use crate::ids::Digest;
use crate::job::Vector;

const DOMAIN: &[u8] = b"cocoon/tokens/1\0";

const VECTORS_DOMAIN: &[u8] = b"cocoon/vectors/1\0";

/// A growing commitment to a sequence of token ids.
#[derive(Clone, Debug)]
pub struct TokenCommitment {
    hash: Sha256,
    count: u64,
}

impl Default for TokenCommitment {
    fn default() -> Self {
        Self { hash: Sha256::new_with_prefix(DOMAIN), count: 0 }
    }
}

impl TokenCommitment {
    /// The commitment to these tokens.
    pub fn of(tokens: &[u32]) -> Digest {
        let mut commitment = Self::default();
        commitment.extend(tokens);
        commitment.digest()
    }

    /// Appends tokens.
    pub fn extend(&mut self, tokens: &[u32]) {
        for token in tokens {
            self.hash.update(token.to_be_bytes());
            self.count = self.count.saturating_add(1);
        }
    }

    /// How many tokens it covers.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The commitment to all tokens so far.
    pub fn digest(&self) -> Digest {
        Digest(self.hash.clone().finalize().into())
    }
}

/// A growing commitment to a sequence of vectors.
#[derive(Clone, Debug)]
pub struct VectorCommitment {
    hash: Sha256,
    count: u64,
}

impl Default for VectorCommitment {
    fn default() -> Self {
        Self { hash: Sha256::new_with_prefix(VECTORS_DOMAIN), count: 0 }
    }
}

impl VectorCommitment {
    /// The commitment to these vectors.
    pub fn of(vectors: &[Vector]) -> Digest {
        let mut commitment = Self::default();
        commitment.extend(vectors);
        commitment.digest()
    }

    /// Appends vectors.
    pub fn extend(&mut self, vectors: &[Vector]) {
        for vector in vectors {
            // No vector that travels is wider than a frame has bytes.
            self.hash.update(u32::try_from(vector.width()).unwrap_or(u32::MAX).to_be_bytes());
            self.hash.update(vector.as_bytes());
            self.count = self.count.saturating_add(1);
        }
    }

    /// How many vectors it covers.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The commitment to all vectors so far.
    pub fn digest(&self) -> Digest {
        Digest(self.hash.clone().finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn vectors_are_hashed_with_their_widths_and_bits() {
        let by_hand =
            [b"cocoon/vectors/1\0".as_slice(), &[0, 0, 0, 2, 0x3f, 0x80, 0, 0, 0x80, 0, 0, 0], &[0, 0, 0, 1, 0x3f, 0, 0, 0]].concat();
        let vectors = [Vector::new(&[1.0, -0.0]), Vector::new(&[0.5])];
        assert_eq!(VectorCommitment::of(&vectors), Digest(Sha256::digest(by_hand).into()));
        let mut grown = VectorCommitment::default();
        grown.extend(&vectors[..1]);
        assert_ne!(grown.digest(), VectorCommitment::of(&vectors));
        grown.extend(&vectors[1..]);
        assert_eq!((grown.digest(), grown.count()), (VectorCommitment::of(&vectors), 2));
        assert_ne!(VectorCommitment::of(&[Vector::new(&[1.0, 0.5])]), VectorCommitment::of(&[Vector::new(&[1.0]), Vector::new(&[0.5])]));
    }

    #[test]
    fn it_is_the_hash_of_the_domain_and_the_ids() {
        let by_hand = Sha256::digest([b"cocoon/tokens/1\0".as_slice(), &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]].concat());
        assert_eq!(TokenCommitment::of(&[1, u32::MAX]), Digest(by_hand.into()));
        assert_eq!(TokenCommitment::default().digest(), Digest(Sha256::digest(b"cocoon/tokens/1\0").into()));
    }

    proptest! {
        #[test]
        fn it_does_not_depend_on_how_the_tokens_came(tokens in prop::collection::vec(any::<u32>(), 0..50), cut in 0usize..50) {
            let (head, tail) = tokens.split_at(cut.min(tokens.len()));
            let mut grown = TokenCommitment::default();
            grown.extend(head);
            let _ = grown.digest();
            grown.extend(tail);
            prop_assert_eq!(grown.digest(), TokenCommitment::of(&tokens));
            prop_assert_eq!(grown.count(), tokens.len() as u64);
        }
    }
}
