//! The fingerprints of a whole answer: which rows are which chunk, and what a receipt commits to.

use std::fmt;

use sha2::{Digest, Sha256};

use super::compare::{Comparison, compare_selection};
use super::select::{Selection, count_rows};
use super::{CHUNK_ROWS, FINGERPRINT_BYTES, Fingerprint, FingerprintError, FingerprintParseError};

/// Starts the commitment to an answer's fingerprints.
pub const FINGERPRINT_TAG: &[u8; 8] = b"cocoon/f";

/// Most fingerprints of an answer: a prompt's, and those of 2^20 rows. The longest contexts that
/// models are made for hold about so many tokens, and the fingerprints are some 8 MB.
pub const FINGERPRINTS_MAX: usize = 1 + (1 << 20) / CHUNK_ROWS;

/// How many fingerprints an answer has, by the rows that were computed behind its prompt. An answer
/// of `n` tokens has `n - 1` such rows: its last token is not read by the model.
pub fn fingerprint_count(answer_rows: usize) -> usize {
    1 + answer_rows.div_ceil(CHUNK_ROWS)
}

/// The fingerprints of an answer, in order: at least one, at most [`FINGERPRINTS_MAX`].
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprints(Vec<Fingerprint>);

/// Why bytes are not the fingerprints of an answer.
///
/// Who sent them did not follow the format: no honest provider sends such bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintsParseError {
    /// None, or a part of one.
    #[error("{bytes} bytes are not one or more fingerprints of {FINGERPRINT_BYTES} bytes")]
    Length {
        /// Bytes given.
        bytes: usize,
    },
    /// More than any answer has.
    #[error("{count} fingerprints are too many, an answer has at most {FINGERPRINTS_MAX}")]
    TooMany {
        /// Fingerprints given.
        count: usize,
    },
    /// One of them is none.
    #[error("fingerprint {index} is malformed")]
    Fingerprint {
        /// Which, counted from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: FingerprintParseError,
    },
}

/// Why an answer's fingerprints were not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// Fingerprints of an answer of another length. If the rows are those of the tokens claimed,
    /// that is the fault of who made the fingerprints.
    #[error("the answer has {expected} fingerprints, not {found}")]
    Count {
        /// By the rows computed.
        expected: usize,
        /// Those at hand.
        found: usize,
    },
    /// The auditor's own rows are of no use.
    #[error("cannot compare the rows computed")]
    Rows(#[from] FingerprintError),
}

/// Makes the fingerprints of an answer while it is generated.
///
/// Rows are outputs of the model's final norm. The first chunk is the prompt's last
/// [`CHUNK_ROWS`] rows, all of a shorter prompt's; the last of them is the one that the answer's
/// first token was chosen from. The rows behind the prompt, one for each token of the answer that
/// the model has read, follow in chunks of [`CHUNK_ROWS`], the last of which may be shorter. Chunks
/// never join prompt and answer.
#[derive(Clone, Debug)]
pub struct FingerprintBuilder {
    done: Vec<Fingerprint>,
    /// The chunk that rows go to; full, it waits for the next row.
    open: Selection,
}

impl FingerprintBuilder {
    /// Begins with a prompt.
    ///
    /// # Shapes
    ///
    /// `prompt_rows`: `[rows, width]`, flat; all rows of the prompt or at least its last
    /// [`CHUNK_ROWS`], of which no others count.
    ///
    /// # Errors
    ///
    /// [`FingerprintError`], also for a prompt without rows.
    pub fn new(prompt_rows: &[f32], width: usize) -> Result<Self, FingerprintError> {
        let first = Fingerprint::of_selection(&prompt_selection(prompt_rows, width)?)?;
        Ok(Self { done: vec![first], open: Selection::new(width)? })
    }

    /// Takes the row of the next token of the answer: `[width]`.
    ///
    /// # Errors
    ///
    /// [`FingerprintError`]; the row is then not taken.
    pub fn push(&mut self, row: &[f32]) -> Result<(), FingerprintError> {
        if self.open.rows() == CHUNK_ROWS {
            if self.done.len() + 1 == FINGERPRINTS_MAX {
                return Err(FingerprintError::AnswerTooLong);
            }
            let next = Selection::new(self.open.width())?;
            self.done.push(Fingerprint::of_selection(&self.open)?);
            self.open = next;
        }
        self.open.push(row)
    }

    /// The fingerprints of the rows so far, as if the answer ended here; more may follow.
    ///
    /// # Errors
    ///
    /// [`FingerprintError::NoModulus`] for rows made to have none.
    pub fn fingerprints(&self) -> Result<Fingerprints, FingerprintError> {
        let mut fingerprints = self.done.clone();
        if self.open.rows() > 0 {
            fingerprints.push(Fingerprint::of_selection(&self.open)?);
        }
        Ok(Fingerprints(fingerprints))
    }
}

impl Fingerprints {
    /// Reads fingerprints, one behind the other.
    ///
    /// # Errors
    ///
    /// [`FingerprintsParseError`] for none, for too many, and for one that is malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FingerprintsParseError> {
        let (fingerprints, rest) = bytes.as_chunks::<FINGERPRINT_BYTES>();
        if fingerprints.len() > FINGERPRINTS_MAX {
            return Err(FingerprintsParseError::TooMany { count: fingerprints.len() });
        }
        if fingerprints.is_empty() || !rest.is_empty() {
            return Err(FingerprintsParseError::Length { bytes: bytes.len() });
        }
        let parse = |(index, bytes): (usize, &[u8; FINGERPRINT_BYTES])| {
            Fingerprint::from_bytes(bytes).map_err(|source| FingerprintsParseError::Fingerprint { index, source })
        };
        fingerprints.iter().enumerate().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// The bytes that [`Fingerprints::from_bytes`] reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(Fingerprint::to_bytes).collect()
    }

    /// What a receipt says of the fingerprints: the SHA-256 of [`FINGERPRINT_TAG`] and their bytes.
    pub fn commitment(&self) -> [u8; 32] {
        let mut hasher = Sha256::new_with_prefix(FINGERPRINT_TAG);
        self.0.iter().for_each(|fingerprint| hasher.update(fingerprint.to_bytes()));
        hasher.finalize().into()
    }

    /// All of them: the prompt's, then the answer's.
    pub fn as_slice(&self) -> &[Fingerprint] {
        &self.0
    }

    /// Compares each with the rows that an auditor computed from the tokens claimed.
    ///
    /// # Shapes
    ///
    /// `prompt_rows`: `[rows, width]`, flat, as [`FingerprintBuilder::new`] takes them.
    /// `answer_rows`: `[rows, width]`, flat, of all tokens of the answer but the last.
    ///
    /// # Errors
    ///
    /// [`CompareError`]; the two variants say whose fault it is.
    pub fn compare(&self, prompt_rows: &[f32], answer_rows: &[f32], width: usize) -> Result<Vec<Comparison>, CompareError> {
        let prompt = prompt_selection(prompt_rows, width)?;
        let expected = fingerprint_count(count_rows(answer_rows, width)?);
        if expected != self.0.len() {
            return Err(CompareError::Count { expected, found: self.0.len() });
        }
        let answer = answer_rows.chunks(CHUNK_ROWS * width).map(|rows| Selection::of(rows, width));
        let selections = std::iter::once(Ok(prompt)).chain(answer);
        self.0.iter().zip(selections).map(|(fingerprint, selection)| Ok(compare_selection(fingerprint, &selection?))).collect()
    }
}

/// Thousands of fingerprints would fill a log.
impl fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprints").field("count", &self.0.len()).finish_non_exhaustive()
    }
}

/// The chunk of a prompt: its last rows.
fn prompt_selection(prompt_rows: &[f32], width: usize) -> Result<Selection, FingerprintError> {
    let before = count_rows(prompt_rows, width)?.saturating_sub(CHUNK_ROWS);
    Selection::of(prompt_rows.get(before * width..).unwrap_or_default(), width)
}
