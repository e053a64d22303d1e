//! Comparing a fingerprint with the rows an auditor computed, and what is close enough.

use std::fmt;

use super::select::Selection;
use super::{Fingerprint, FingerprintError, TOP_VALUES};

/// Bits of a bf16's fraction.
const FRACTION_BITS: u32 = 7;

/// Those bits.
const FRACTION: u16 = (1 << FRACTION_BITS) - 1;

/// The largest difference of two fractions, in thousandths.
const ERROR_MILLI_MAX: u32 = FRACTION as u32 * 1_000;

/// How far an auditor's rows are from a fingerprint, at the auditor's own peaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Peaks compared: [`TOP_VALUES`], or all values of a chunk that has fewer.
    pub peaks: u32,
    /// Peaks whose sign and exponent the fingerprint gives.
    pub exponent_matches: u32,
    /// How far the fractions of those are apart; none when there are none.
    pub mantissa_error: Option<MantissaError>,
}

/// How far the seven bits of fraction are apart, over peaks whose sign and exponent match.
///
/// # Units
///
/// Thousandths of a bf16's last place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MantissaError {
    /// The mean, rounded up: it is above a bound in whole thousandths exactly if the true mean is.
    pub mean_milli: u32,
    /// The median; of an even number, the mean of the middle two. It is exact.
    pub median_milli: u32,
}

/// What an auditor accepts. It depends on model, number format and the devices compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    exponent_matches_min: u32,
    mean_milli_max: u32,
    median_milli_max: u32,
}

/// Bounds that accept everything or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToleranceError {
    /// Of every [`TOP_VALUES`] peaks, none or more than all would have to match.
    #[error("{exponent_matches_min} of {TOP_VALUES} exponents cannot be required, 1 to {TOP_VALUES} can")]
    ExponentMatches {
        /// What was asked for.
        exponent_matches_min: u32,
    },
    /// No error is above the bound.
    #[error("a bound of {milli} thousandths refuses nothing, one below {ERROR_MILLI_MAX} does")]
    Mantissa {
        /// What was asked for.
        milli: u32,
    },
}

/// What a tolerance says of a comparison. Of several bounds that fail, the first of these is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All bounds hold.
    Accepted,
    /// Too few peaks have the sign and exponent that the fingerprint gives.
    ExponentMatches {
        /// Those that have.
        found: u32,
        /// Peaks compared.
        peaks: u32,
        /// Of [`TOP_VALUES`], how many must.
        least: u32,
    },
    /// The fractions are too far apart on average.
    MantissaMean {
        /// Thousandths found.
        found_milli: u32,
        /// Thousandths allowed.
        most_milli: u32,
    },
    /// The fractions are too far apart in the middle.
    MantissaMedian {
        /// Thousandths found.
        found_milli: u32,
        /// Thousandths allowed.
        most_milli: u32,
    },
}

/// Compares a fingerprint with an auditor's rows of the same chunk.
///
/// The peaks are the auditor's own, and the fingerprint is asked for the value at each. Where it
/// had another peak it answers as good as at random.
///
/// # Shapes
///
/// `rows`: `[rows, width]`, flat, 1 to 32 rows.
///
/// # Errors
///
/// [`FingerprintError`] for rows that have no fingerprint themselves, which is no fault of who
/// made `fingerprint`.
pub fn compare(fingerprint: &Fingerprint, rows: &[f32], width: usize) -> Result<Comparison, FingerprintError> {
    Ok(compare_selection(fingerprint, &Selection::of(rows, width)?))
}

pub(super) fn compare_selection(fingerprint: &Fingerprint, selection: &Selection) -> Comparison {
    let peaks = selection.peaks();
    let claimed = fingerprint.values_at(&peaks);
    let matches = peaks.iter().map(|peak| peak.bits).zip(claimed).filter(|(ours, theirs)| (ours ^ theirs) & !FRACTION == 0);
    let mut errors: Vec<u16> = matches.map(|(ours, theirs)| (ours & FRACTION).abs_diff(theirs & FRACTION)).collect();
    Comparison { peaks: peaks.len() as u32, exponent_matches: errors.len() as u32, mantissa_error: mantissa_error(&mut errors) }
}

fn mantissa_error(errors: &mut [u16]) -> Option<MantissaError> {
    errors.sort_unstable();
    let upper = errors.get(errors.len() / 2)?;
    let lower = errors.get((errors.len() - 1) / 2)?;
    let sum: u32 = errors.iter().map(|error| u32::from(*error)).sum();
    Some(MantissaError {
        mean_milli: (sum * 1_000).div_ceil(errors.len() as u32),
        median_milli: (u32::from(*lower) + u32::from(*upper)) * 500,
    })
}

impl Tolerance {
    /// The bounds of the paper's experiments: at least 90 of 128 exponents, a mean of at most 10,
    /// a median of at most 8.
    ///
    /// # Source
    ///
    /// `vllm_validate_poly.py` of the paper's experiments.
    pub const PAPER: Self = Self { exponent_matches_min: 90, mean_milli_max: 10_000, median_milli_max: 8_000 };

    /// Accepts comparisons in which at least `exponent_matches_min` of every 128 peaks match, and
    /// whose mantissa errors are at most these. Of a chunk with fewer peaks, the same share must match.
    ///
    /// # Errors
    ///
    /// [`ToleranceError`] for bounds that would accept everything or nothing.
    pub fn new(exponent_matches_min: u32, mean_milli_max: u32, median_milli_max: u32) -> Result<Self, ToleranceError> {
        if !(1..=TOP_VALUES as u32).contains(&exponent_matches_min) {
            return Err(ToleranceError::ExponentMatches { exponent_matches_min });
        }
        if let Some(milli) = [mean_milli_max, median_milli_max].into_iter().find(|milli| *milli >= ERROR_MILLI_MAX) {
            return Err(ToleranceError::Mantissa { milli });
        }
        Ok(Self { exponent_matches_min, mean_milli_max, median_milli_max })
    }

    /// Whether a comparison is close enough, and if not, by which bound.
    pub fn judge(&self, comparison: &Comparison) -> Verdict {
        let Comparison { peaks, exponent_matches: found, .. } = *comparison;
        let enough = u64::from(found) * TOP_VALUES as u64 >= u64::from(self.exponent_matches_min) * u64::from(peaks);
        let (true, Some(error)) = (enough, comparison.mantissa_error) else {
            return Verdict::ExponentMatches { found, peaks, least: self.exponent_matches_min };
        };
        if error.mean_milli > self.mean_milli_max {
            return Verdict::MantissaMean { found_milli: error.mean_milli, most_milli: self.mean_milli_max };
        }
        if error.median_milli > self.median_milli_max {
            return Verdict::MantissaMedian { found_milli: error.median_milli, most_milli: self.median_milli_max };
        }
        Verdict::Accepted
    }

    /// The first chunk of an answer that is not accepted, counted from 0, with the bound that
    /// failed. An answer is accepted if there is none.
    pub fn first_rejected(&self, comparisons: &[Comparison]) -> Option<(usize, Verdict)> {
        comparisons.iter().map(|comparison| self.judge(comparison)).enumerate().find(|(_, verdict)| !verdict.is_accepted())
    }
}

impl Default for Tolerance {
    fn default() -> Self {
        Self::PAPER
    }
}

impl Verdict {
    /// Whether all bounds hold.
    pub fn is_accepted(&self) -> bool {
        *self == Self::Accepted
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => write!(f, "within tolerance"),
            Self::ExponentMatches { found, peaks, least } => {
                write!(f, "{found} of {peaks} signs and exponents match, at least {least} of every {TOP_VALUES} must")
            }
            Self::MantissaMean { found_milli, most_milli } => {
                write!(f, "mean mantissa error {} is above {}", Milli(*found_milli), Milli(*most_milli))
            }
            Self::MantissaMedian { found_milli, most_milli } => {
                write!(f, "median mantissa error {} is above {}", Milli(*found_milli), Milli(*most_milli))
            }
        }
    }
}

/// Thousandths, written as a decimal number.
struct Milli(u32);

impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}
