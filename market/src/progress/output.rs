//! What a job gives: the tokens of an answer, or the vectors of texts.

use crate::commitment::{TokenCommitment, VectorCommitment};
use crate::ids::Digest;
use crate::job::{Generate, Vector, Work};
use crate::price::Usage;

/// The most that a job may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputMax {
    /// So many tokens of an answer.
    Tokens(u32),
    /// The vectors of so many texts.
    Vectors(u32),
}

impl OutputMax {
    /// What this work may give.
    pub fn of(work: &Work) -> Self {
        match work {
            Work::Generate(Generate { output_tokens_max, .. }) => Self::Tokens(*output_tokens_max),
            Work::Embed(embed) => Self::Vectors(u32::try_from(embed.texts.len()).unwrap_or(u32::MAX)),
        }
    }
}

/// What a job has given, as its receipts commit to it.
#[derive(Clone, Debug)]
pub(super) enum Output {
    Tokens(TokenCommitment),
    Vectors(VectorCommitment),
}

impl Output {
    /// Nothing yet.
    pub(super) fn none(of: OutputMax) -> Self {
        match of {
            OutputMax::Tokens(_) => Self::Tokens(TokenCommitment::default()),
            OutputMax::Vectors(_) => Self::Vectors(VectorCommitment::default()),
        }
    }

    pub(super) fn extend_tokens(&mut self, tokens: &[u32]) {
        if let Self::Tokens(commitment) = self {
            commitment.extend(tokens);
        }
    }

    pub(super) fn extend_vectors(&mut self, vectors: &[Vector]) {
        if let Self::Vectors(commitment) = self {
            commitment.extend(vectors);
        }
    }

    /// How many vectors were given.
    pub(super) const fn vectors(&self) -> u64 {
        match self {
            Self::Tokens(_) => 0,
            Self::Vectors(commitment) => commitment.count(),
        }
    }

    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Tokens(commitment) => commitment.digest(),
            Self::Vectors(commitment) => commitment.digest(),
        }
    }

    /// The tokens that slices are measured in: those written into an answer, those read for vectors.
    pub(super) const fn slice_tokens(&self, usage: Usage) -> u64 {
        match self {
            Self::Tokens(_) => usage.output_tokens,
            Self::Vectors(_) => usage.input_tokens,
        }
    }
}
