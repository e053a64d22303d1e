//! The largest values of a chunk, and where they are.

use super::{CHUNK_ROWS, FingerprintError, TOP_VALUES, WIDTH_MAX};

/// The least magnitude, as bits of an `f32` without its sign, that is infinite or no number once
/// rounded to bf16: half a step above the largest finite bf16, where the tie goes up.
const UNBOUNDED: u32 = 0x7f7f_8000;

/// Values looked at together: enough for vector instructions to find their largest, few enough
/// that one large value among them costs little.
const BLOCK: usize = 64;

/// Candidates kept before all but the largest are dropped: so many that dropping stays cheap even
/// when values grow throughout the chunk.
const CANDIDATES_MAX: usize = 4 * TOP_VALUES;

/// One of the largest values of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peak {
    /// Where it is in the chunk, row after row.
    pub(super) position: u32,
    /// Its value as bf16.
    pub(super) bits: u16,
}

/// Finds the largest values of a chunk as its rows come.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    width: usize,
    rows: usize,
    /// Ordered as the values are: magnitude, then the lower position. See [`key`].
    candidates: Vec<u64>,
    /// Values of less magnitude are not among the largest: enough others precede them.
    least: u16,
}

impl Selection {
    /// A chunk without rows, each of which will have `width` values.
    pub(super) fn new(width: usize) -> Result<Self, FingerprintError> {
        if width == 0 || width > WIDTH_MAX {
            return Err(FingerprintError::Width { width });
        }
        Ok(Self { width, rows: 0, candidates: Vec::with_capacity(CANDIDATES_MAX), least: 0 })
    }

    /// The chunk of all `rows`, row after row.
    pub(super) fn of(rows: &[f32], width: usize) -> Result<Self, FingerprintError> {
        let mut selection = Self::new(width)?;
        let count = count_rows(rows, width)?;
        if !(1..=CHUNK_ROWS).contains(&count) {
            return Err(FingerprintError::ChunkRows { rows: count });
        }
        rows.chunks_exact(width).try_for_each(|row| selection.push(row))?;
        Ok(selection)
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Takes one more row. Refused, it leaves the selection as it was.
    pub(super) fn push(&mut self, row: &[f32]) -> Result<(), FingerprintError> {
        if row.len() != self.width {
            return Err(FingerprintError::RowLength { values: row.len(), width: self.width });
        }
        if self.rows >= CHUNK_ROWS {
            return Err(FingerprintError::ChunkRows { rows: self.rows + 1 });
        }
        if magnitude_max(row) >= UNBOUNDED {
            let column = row.iter().position(|value| magnitude(*value) >= UNBOUNDED).unwrap_or_default();
            return Err(FingerprintError::NotFinite { row: self.rows, column });
        }
        let start = (self.rows * self.width) as u32;
        for (block, first) in row.chunks(BLOCK).zip((start..).step_by(BLOCK)) {
            self.take(block, first);
        }
        self.rows += 1;
        Ok(())
    }

    /// Takes the values at positions from `first`, all of them finite.
    fn take(&mut self, block: &[f32], first: u32) {
        // Rounding keeps the order of magnitudes, so the largest of the block speaks for all.
        if round(magnitude_max(block)) < self.least {
            return;
        }
        for (value, position) in block.iter().zip(first..) {
            let bits = bf16(*value);
            if bits & 0x7fff >= self.least {
                self.candidates.push(key(Peak { position, bits }));
                if self.candidates.len() == CANDIDATES_MAX {
                    self.drop_small();
                }
            }
        }
    }

    /// Drops all candidates but the largest, and lets in only values above the least of those: an
    /// equal one would come later, and the earlier precedes it.
    fn drop_small(&mut self) {
        let (_, last, _) = self.candidates.select_nth_unstable_by(TOP_VALUES - 1, |a, b| b.cmp(a));
        self.least = (peak(*last).bits & 0x7fff) + 1;
        self.candidates.truncate(TOP_VALUES);
    }

    /// The largest values, by position; fewer than [`TOP_VALUES`] only if the chunk has fewer.
    pub(super) fn peaks(&self) -> Vec<Peak> {
        let mut keys = self.candidates.clone();
        if keys.len() > TOP_VALUES {
            keys.select_nth_unstable_by(TOP_VALUES - 1, |a, b| b.cmp(a));
            keys.truncate(TOP_VALUES);
        }
        let mut peaks: Vec<Peak> = keys.into_iter().map(peak).collect();
        peaks.sort_unstable_by_key(|peak| peak.position);
        peaks
    }
}

/// How many rows of `width` values `values` are.
pub(super) fn count_rows(values: &[f32], width: usize) -> Result<usize, FingerprintError> {
    match values.len().checked_rem(width) {
        Some(0) => Ok(values.len() / width),
        Some(_) => Err(FingerprintError::RowLength { values: values.len(), width }),
        None => Err(FingerprintError::Width { width }),
    }
}

/// A number that orders as peaks do: by magnitude, then by the lower position. The sign is last,
/// where it decides nothing, since no two positions are equal.
fn key(peak: Peak) -> u64 {
    u64::from(peak.bits & 0x7fff) << 33 | u64::from(!peak.position) << 1 | u64::from(peak.bits >> 15)
}

/// The peak of a [`key`].
fn peak(key: u64) -> Peak {
    Peak { position: !((key >> 1) as u32), bits: (key >> 33) as u16 | ((key & 1) as u16) << 15 }
}

/// The bits of a value without its sign: they order as the magnitudes do, numbers before infinity
/// before what is no number.
fn magnitude(value: f32) -> u32 {
    value.to_bits() & 0x7fff_ffff
}

/// The largest magnitude; 0 of nothing. Compared as signed numbers, which plain SSE2 can.
fn magnitude_max(values: &[f32]) -> u32 {
    values.iter().fold(0i32, |most, value| most.max(magnitude(*value).cast_signed())).cast_unsigned()
}

/// A magnitude below [`UNBOUNDED`] as bf16: to nearest, ties to even.
fn round(magnitude: u32) -> u16 {
    ((magnitude + 0x7fff + (magnitude >> 16 & 1)) >> 16) as u16
}

/// A value of magnitude below [`UNBOUNDED`] as bf16.
fn bf16(value: f32) -> u16 {
    round(magnitude(value)) | (value.to_bits() >> 16) as u16 & 0x8000
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_go_to_even_and_only_overflow_is_unbounded() {
        for (bits, rounded) in [(0x3f80_8000, 0x3f80), (0x3f81_8000, 0x3f82), (0x3f80_8001, 0x3f81), (0x3fff_8000, 0x4000), (1, 0)] {
            assert_eq!(bf16(f32::from_bits(bits)), rounded, "{bits:08x}");
            assert_eq!(bf16(f32::from_bits(bits | 0x8000_0000)), rounded | 0x8000, "-{bits:08x}");
        }
        assert_eq!(round(UNBOUNDED - 1), 0x7f7f);
        assert_eq!(round(UNBOUNDED), 0x7f80, "infinity");
    }

    #[test]
    fn what_is_not_finite_as_bf16_is_refused_and_changes_nothing() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::from_bits(UNBOUNDED), f32::from_bits(u32::MAX)] {
            let mut selection = Selection::of(&[3.0; 200], 200).unwrap();
            let before = selection.peaks();
            let mut row = [9.0; 200];
            row[77] = bad;
            assert_eq!(selection.push(&row), Err(FingerprintError::NotFinite { row: 1, column: 77 }));
            assert_eq!((selection.rows(), selection.peaks()), (1, before));
        }
        assert!(Selection::of(&[f32::from_bits(UNBOUNDED - 1)], 1).is_ok());
    }

    #[test]
    fn a_full_chunk_takes_no_more_rows() {
        let mut selection = Selection::of(&[1.0; 3 * CHUNK_ROWS], 3).unwrap();
        let before = selection.peaks();
        assert_eq!(selection.push(&[9.0; 3]), Err(FingerprintError::ChunkRows { rows: 33 }));
        assert_eq!(selection.peaks(), before);
    }

    #[test]
    fn of_equal_magnitudes_the_first_is_taken_whatever_its_sign() {
        let rows: Vec<f32> = (0..4_096).map(|at| if at % 3 == 0 { -2.0 } else { 2.0 }).collect();
        let positions: Vec<u32> = Selection::of(&rows, 1_024).unwrap().peaks().into_iter().map(|peak| peak.position).collect();
        assert_eq!(positions, (0..128).collect::<Vec<u32>>());
    }

    #[test]
    fn values_equal_once_rounded_are_equal() {
        let mut row = [1.0f32; 129];
        row[128] = 1.001;
        assert!(Selection::of(&row, 129).unwrap().peaks().iter().all(|peak| peak.position < 128));
        row[128] = 1.01;
        assert!(Selection::of(&row, 129).unwrap().peaks().iter().any(|peak| peak.position == 128));
    }

    /// What the rule says, by sorting everything.
    fn sorted(rows: &[f32]) -> Vec<Peak> {
        let mut peaks: Vec<Peak> = rows.iter().zip(0..).map(|(value, position)| Peak { position, bits: bf16(*value) }).collect();
        peaks.sort_by_key(|peak| std::cmp::Reverse(peak.bits & 0x7fff));
        peaks.truncate(TOP_VALUES);
        peaks.sort_by_key(|peak| peak.position);
        peaks
    }

    proptest! {
        #[test]
        fn the_largest_are_those_that_sorting_finds(
            width in 1usize..300,
            rows in 1usize..=CHUNK_ROWS,
            steps in prop_oneof![Just(3i32), Just(1_000), Just(1_000_000)],
            seed in proptest::collection::vec(any::<i32>(), 300 * CHUNK_ROWS),
        ) {
            let values: Vec<f32> = seed[..width * rows].iter().map(|n| (n % steps) as f32 / 7.0).collect();
            prop_assert_eq!(Selection::of(&values, width).unwrap().peaks(), sorted(&values));
            let mut growing = values;
            growing.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
            prop_assert_eq!(Selection::of(&growing, width).unwrap().peaks(), sorted(&growing));
        }
    }
}
