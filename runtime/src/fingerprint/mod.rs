//! Fingerprints of float inference: 258 bytes that say which final hidden states an answer came from.
//!
//! A provider of the `audited` tier fingerprints the outputs of the model's final norm while it
//! generates, and commits to the fingerprints in its receipt. An auditor, who holds the model,
//! reads prompt and claimed answer in one prefill and compares its own outputs with the
//! fingerprints, within a [`Tolerance`]: floats differ between devices, and between reading a token
//! alone and among others.
//!
//! # A chunk
//!
//! Up to [`CHUNK_ROWS`] rows are one chunk, flattened row after row. Its values are rounded to bf16
//! (to nearest, ties to even), and the [`TOP_VALUES`] of greatest magnitude are its peaks; of equal
//! magnitudes, the lower position precedes. `m` is the greatest number up to [`MODULUS_MAX`] modulo
//! which the positions of all peaks differ. The fingerprint is `m` and the polynomial of least
//! degree, over the integers modulo 65,497, that has at each position modulo `m` the value's
//! sixteen bits. A chunk of fewer values than [`TOP_VALUES`] has all of them as peaks, and its
//! upper coefficients are zero.
//!
//! # An answer
//!
//! [`FingerprintBuilder`] says which rows are which chunk; [`Fingerprints`] is the whole sequence.
//! What all this proves and what it does not is written in `docs/fingerprints.md`.
//!
//! # Source
//!
//! TOPLOC, arXiv 2501.16007. Where this differs: the first chunk is the end of the prompt and not
//! all of it, equal magnitudes have an order, positions are reduced by `m` in comparisons as well,
//! and the sign of a value is compared with its exponent.

mod answer;
mod compare;
mod field;
mod select;
#[cfg(test)]
mod tests;

use std::fmt;

pub use answer::{
    CompareError, FINGERPRINT_TAG, FINGERPRINTS_MAX, FingerprintBuilder, Fingerprints, FingerprintsParseError, fingerprint_count,
};
pub use compare::{Comparison, MantissaError, Tolerance, ToleranceError, Verdict, compare};

use select::{Peak, Selection};

/// Most rows in a chunk: the paper's 32 tokens.
pub const CHUNK_ROWS: usize = 32;

/// Values of a chunk that its fingerprint holds: the paper's 128.
pub const TOP_VALUES: usize = 128;

/// Bytes of a fingerprint: the modulus and a coefficient for each of the values, two bytes each.
pub const FINGERPRINT_BYTES: usize = 2 + 2 * TOP_VALUES;

/// Most values in a row. No model is wider than the loader takes, and positions in a chunk of such
/// rows stay far within 32 bits.
pub const WIDTH_MAX: usize = 1 << 20;

/// The greatest modulus of positions: the field's order, since positions are its elements.
pub const MODULUS_MAX: u16 = field::PRIME as u16;

/// Every modulus is above this. Below, so many positions would coincide that a fingerprint would
/// say little, and the search for one ends.
pub const MODULUS_ABOVE: u16 = 1 << 15;

/// The fingerprint of a chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Above [`MODULUS_ABOVE`], up to [`MODULUS_MAX`].
    modulus: u16,
    /// Constant term first, each below the field's order.
    coefficients: [u16; TOP_VALUES],
}

/// Why rows have no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// Rows without values, or wider than [`WIDTH_MAX`].
    #[error("rows of {width} values cannot be fingerprinted, rows of 1 to {WIDTH_MAX} can")]
    Width {
        /// Values in a row.
        width: usize,
    },
    /// The values are not whole rows, or not one row where one is asked for.
    #[error("{values} values are not whole rows of {width}")]
    RowLength {
        /// Values given.
        values: usize,
        /// Values in a row.
        width: usize,
    },
    /// A chunk of no rows, or of more than [`CHUNK_ROWS`].
    #[error("a chunk has 1 to {CHUNK_ROWS} rows, not {rows}")]
    ChunkRows {
        /// Rows given.
        rows: usize,
    },
    /// A value that is infinite or no number, or becomes so as bf16: the model or the device is broken.
    #[error("value {column} in row {row} of the chunk is not finite as bf16")]
    NotFinite {
        /// The row, counted in its chunk from 0.
        row: usize,
        /// The first such value in it, counted from 0.
        column: usize,
    },
    /// Positions coincide modulo every number allowed. That takes rows made for it.
    #[error("no modulus above {MODULUS_ABOVE} tells the positions of the largest values apart")]
    NoModulus,
    /// An answer longer than [`FINGERPRINTS_MAX`] fingerprints describe.
    #[error("an answer has at most {FINGERPRINTS_MAX} fingerprints")]
    AnswerTooLong,
}

/// Why bytes are not a fingerprint.
///
/// Who sent them did not follow the format: no honest provider sends such bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintParseError {
    /// Not [`FINGERPRINT_BYTES`] of them.
    #[error("a fingerprint has {FINGERPRINT_BYTES} bytes, not {bytes}")]
    Length {
        /// Bytes given.
        bytes: usize,
    },
    /// A modulus of 0, by which other implementations say that they failed.
    #[error("the modulus is 0: the provider could not make a fingerprint")]
    ZeroModulus,
    /// A modulus that nobody who follows the rule finds.
    #[error("modulus {modulus} is not above {MODULUS_ABOVE} and at most {MODULUS_MAX}")]
    Modulus {
        /// The modulus given.
        modulus: u16,
    },
    /// A coefficient that is no element of the field.
    #[error("coefficient {index} is {value}, not below {MODULUS_MAX}")]
    Coefficient {
        /// Which, the constant term being 0.
        index: usize,
        /// Its value.
        value: u16,
    },
}

impl Fingerprint {
    /// The fingerprint of a chunk: 1 to [`CHUNK_ROWS`] rows of `width` values.
    ///
    /// # Shapes
    ///
    /// `rows`: `[rows, width]`, flat.
    ///
    /// # Errors
    ///
    /// [`FingerprintError`] for other shapes and for values that are not finite as bf16.
    pub fn of(rows: &[f32], width: usize) -> Result<Self, FingerprintError> {
        Self::of_selection(&Selection::of(rows, width)?)
    }

    fn of_selection(selection: &Selection) -> Result<Self, FingerprintError> {
        let peaks = selection.peaks();
        let modulus = injective_modulus(&peaks).ok_or(FingerprintError::NoModulus)?;
        let xs = reduced_positions(&peaks, modulus);
        let ys: Vec<u32> = peaks.iter().map(|peak| peak.bits.into()).collect();
        let mut coefficients = [0; TOP_VALUES];
        coefficients.iter_mut().zip(field::interpolate(&xs, &ys)).for_each(|(to, from)| *to = from as u16);
        Ok(Self { modulus, coefficients })
    }

    /// What the fingerprint says are the sixteen bits at the positions of `peaks`; numbers below
    /// the field's order, not all of which are finite as bf16.
    fn values_at(&self, peaks: &[Peak]) -> Vec<u16> {
        let xs = reduced_positions(peaks, self.modulus);
        let values = field::evaluate(self.coefficients.iter().map(|coefficient| u32::from(*coefficient)), &xs);
        values.into_iter().map(|value| value as u16).collect()
    }

    /// Reads a fingerprint: the modulus, then the coefficients from the constant term on, each as
    /// two big-endian bytes.
    ///
    /// # Errors
    ///
    /// [`FingerprintParseError`] for anything that [`Fingerprint::of`] never makes by its form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FingerprintParseError> {
        let bytes: &[u8; FINGERPRINT_BYTES] = bytes.try_into().map_err(|_| FingerprintParseError::Length { bytes: bytes.len() })?;
        let (words, _) = bytes.as_chunks::<2>();
        let mut words = words.iter().map(|word| u16::from_be_bytes(*word));
        let modulus = match words.next().unwrap_or_default() {
            0 => return Err(FingerprintParseError::ZeroModulus),
            modulus if modulus <= MODULUS_ABOVE || modulus > MODULUS_MAX => return Err(FingerprintParseError::Modulus { modulus }),
            modulus => modulus,
        };
        let mut coefficients = [0; TOP_VALUES];
        for (index, (coefficient, value)) in coefficients.iter_mut().zip(words).enumerate() {
            if value >= MODULUS_MAX {
                return Err(FingerprintParseError::Coefficient { index, value });
            }
            *coefficient = value;
        }
        Ok(Self { modulus, coefficients })
    }

    /// The bytes that [`Fingerprint::from_bytes`] reads.
    pub fn to_bytes(&self) -> [u8; FINGERPRINT_BYTES] {
        let mut bytes = [0; FINGERPRINT_BYTES];
        let (words, _) = bytes.as_chunks_mut::<2>();
        let values = std::iter::once(&self.modulus).chain(&self.coefficients);
        words.iter_mut().zip(values).for_each(|(word, value)| *word = value.to_be_bytes());
        bytes
    }

    /// The number by which positions are reduced.
    pub fn modulus(&self) -> u16 {
        self.modulus
    }
}

/// All coefficients would fill a screen.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprint").field("modulus", &self.modulus).finish_non_exhaustive()
    }
}

/// The greatest modulus by which no two positions coincide.
fn injective_modulus(peaks: &[Peak]) -> Option<u16> {
    (MODULUS_ABOVE + 1..=MODULUS_MAX).rev().find(|modulus| is_injective(peaks, *modulus))
}

fn is_injective(peaks: &[Peak], modulus: u16) -> bool {
    // A bit for every number below 2^16.
    let mut seen = [0u64; 1 << 10];
    peaks.iter().all(|peak| {
        let position = peak.position % u32::from(modulus);
        let bit = 1 << (position % 64);
        // Always there, since every modulus is below 2^16.
        seen.get_mut(position as usize / 64).is_some_and(|word| {
            let new = *word & bit == 0;
            *word |= bit;
            new
        })
    })
}

fn reduced_positions(peaks: &[Peak], modulus: u16) -> Vec<u32> {
    peaks.iter().map(|peak| peak.position % u32::from(modulus)).collect()
}
