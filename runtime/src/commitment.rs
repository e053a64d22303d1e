//! Commitments: what a receipt says about a job's input and output.
//!
//! A commitment is the SHA-256 of a domain tag and every token id as four big-endian bytes. It is
//! taken as the tokens come, so a receipt can be written after any of them, and whoever holds the
//! tokens can recompute it.

use sha2::{Digest, Sha256};

use crate::tokenizer::TokenId;

/// Starts the commitment to a job's input tokens.
pub const INPUT_TAG: &[u8; 8] = b"cocoon/i";

/// Starts the commitment to a job's output tokens.
pub const OUTPUT_TAG: &[u8; 8] = b"cocoon/o";

/// A commitment in the making.
#[derive(Clone, Debug)]
pub struct TokenCommitment {
    hasher: Sha256,
}

impl TokenCommitment {
    /// Begins a commitment to input tokens.
    pub fn input() -> Self {
        Self { hasher: Sha256::new_with_prefix(INPUT_TAG) }
    }

    /// Begins a commitment to output tokens.
    pub fn output() -> Self {
        Self { hasher: Sha256::new_with_prefix(OUTPUT_TAG) }
    }

    /// Takes one more token.
    pub fn push(&mut self, id: TokenId) {
        self.hasher.update(id.to_be_bytes());
    }

    /// The commitment to all tokens taken so far; more may follow.
    pub fn digest(&self) -> [u8; 32] {
        self.hasher.clone().finalize().into()
    }
}

impl Extend<TokenId> for TokenCommitment {
    fn extend<I: IntoIterator<Item = TokenId>>(&mut self, ids: I) {
        ids.into_iter().for_each(|id| self.push(id));
    }
}

/// The commitment to a whole input.
pub fn commit_input(ids: &[TokenId]) -> [u8; 32] {
    commit(TokenCommitment::input(), ids)
}

/// The commitment to a whole output.
pub fn commit_output(ids: &[TokenId]) -> [u8; 32] {
    commit(TokenCommitment::output(), ids)
}

fn commit(mut commitment: TokenCommitment, ids: &[TokenId]) -> [u8; 32] {
    commitment.extend(ids.iter().copied());
    commitment.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_is_the_hash_of_tag_and_big_endian_ids() {
        let plain = Sha256::digest(b"cocoon/o\x00\x00\x00\x01\x00\x01\x00\x00");
        assert_eq!(commit_output(&[1, 0x0001_0000]), <[u8; 32]>::from(plain));
        assert_ne!(commit_input(&[1, 2]), commit_output(&[1, 2]), "a tag each");
    }

    #[test]
    fn every_prefix_can_be_committed_to() {
        let ids = [5, 6, 7, 8];
        let mut growing = TokenCommitment::output();
        for (taken, id) in ids.into_iter().enumerate() {
            assert_eq!(growing.digest(), commit_output(&ids[..taken]));
            growing.push(id);
        }
        assert_eq!(growing.digest(), commit_output(&ids));
    }
}
