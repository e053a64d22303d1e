//! Products of fourteen-bit activations with bytes, in tiles; the sums of each group are rounded
//! to sixteen bits less, and shifted to the places of the result.

use super::Rows;
use crate::engine::exact::GROUP_MIN;
use crate::engine::exact::arithmetic::sh;
use crate::engine::exact::integers::{IntegerMatrix, group_of};
use crate::engine::processor::map_row_pairs;
use crate::engine::simd::{Isa, Loop, Simd, TILE, TILE_BLOCK, Words};
use crate::engine::tiles::{Destination, ROWS_INNER, product_into, tiles};
use crate::engine::weights::BLOCK;

/// Activations in groups with an exponent each.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(super) width: usize,
    pub(super) group: usize,
    /// `[rows][width]`
    pub(super) values: Vec<i16>,
    /// `[rows][width / group]`
    pub(super) exponents: Vec<i32>,
}

impl Operand {
    /// Rounds rows: `round` is given a row, its exponents and the size of a group.
    pub(super) fn new(mut rows: Rows, round: impl Fn(&mut [i32], &mut [i32], usize) + Sync) -> Self {
        let group = group_of(rows.width).unwrap_or(GROUP_MIN);
        let groups = rows.width / group;
        let mut exponents = vec![0; rows.values.len() / group];
        map_row_pairs((&mut rows.values, rows.width), (&mut exponents, groups), |_, row, exponents| round(row, exponents, group));
        Self::from_parts(rows, exponents)
    }

    /// Of rows that are rounded, and the exponents of their groups.
    pub(super) fn from_parts(rows: Rows, exponents: Vec<i32>) -> Self {
        let group = group_of(rows.width).unwrap_or(GROUP_MIN);
        let values = rows.values.into_iter().map(|value| value as i16).collect();
        Self { width: rows.width, group, values, exponents }
    }

    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.width
    }

    #[inline(always)]
    fn block(&self, row: usize, block: usize) -> &[i16; BLOCK] {
        &self.values.as_chunks::<BLOCK>().0[row * (self.width / BLOCK) + block]
    }

    #[inline(always)]
    fn exponent(&self, row: usize, group: usize) -> i32 {
        self.exponents[row * (self.width / self.group) + group]
    }
}

/// A matrix in tiles; the last one is filled up with zeros.
#[derive(Debug)]
pub(super) struct Tiles {
    rows: usize,
    /// Groups of a row, and blocks of a group.
    groups: usize,
    blocks: usize,
    exponent: i32,
    /// `[tile][group][block]`
    bytes: Vec<[i8; TILE_BLOCK]>,
    /// `[tile][group]`
    multipliers: Vec<[u16; TILE]>,
}

impl Tiles {
    pub(super) fn new(matrix: &IntegerMatrix) -> Self {
        let (rows, groups) = (matrix.rows(), matrix.columns / matrix.group);
        let bytes = tiles(rows, matrix.columns / BLOCK, |tile| tile.placed(matrix.weights.as_chunks::<BLOCK>().0, |block| block));
        let multipliers = tiles(rows, groups, |tile| tile.scales(&matrix.multipliers, |multiplier| *multiplier));
        Self { rows, groups, blocks: matrix.group / BLOCK, exponent: matrix.exponent, bytes, multipliers }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Writes results with so many binary places into rows of `width` elements, from element
    /// `first` of each.
    pub(super) fn product_into(&self, x: &Operand, places: i32, isa: Isa, out: &mut [i32], first: usize, width: usize) {
        let to = Destination { out, width, first, rows: self.rows };
        product_into(to, |tile, start, sums| isa.run(OneTile { tiles: self, tile, x, places, start, sums }));
    }

    /// The products of a tile with rows of `x` from `start` on, as many as there are sums.
    #[inline(always)]
    fn tile<S: Simd>(&self, tile: usize, x: &Operand, places: i32, start: usize, sums: &mut [[i32; TILE]]) {
        let mut words = [Words::ZERO, Words::ZERO];
        for group in 0..self.groups {
            let at = tile * self.groups + group;
            let multipliers = self.multipliers[at].map(i32::from);
            let words = &mut words[..self.blocks];
            for (words, bytes) in words.iter_mut().zip(&self.bytes[at * self.blocks..]) {
                S::bytes(bytes, words);
            }
            let shift = |row: usize| self.exponent - places - 7 - x.exponent(row, group);
            let (fours, rest) = sums.as_chunks_mut::<ROWS_INNER>();
            let whole = ROWS_INNER * fours.len();
            for (four, sums) in fours.iter_mut().enumerate() {
                let row = start + ROWS_INNER * four;
                let dots = dots::<S, ROWS_INNER>(words, |at, block| x.block(row + at, group * self.blocks + block));
                for (at, (sums, dots)) in sums.iter_mut().zip(dots).enumerate() {
                    accumulate(sums, &dots, &multipliers, shift(row + at));
                }
            }
            for (at, sums) in rest.iter_mut().enumerate() {
                let row = start + whole + at;
                let [dots] = dots::<S, 1>(words, |_, block| x.block(row, group * self.blocks + block));
                accumulate(sums, &dots, &multipliers, shift(row));
            }
        }
    }
}

/// The products of one tile.
struct OneTile<'a> {
    tiles: &'a Tiles,
    tile: usize,
    x: &'a Operand,
    places: i32,
    start: usize,
    sums: &'a mut [[i32; TILE]],
}

impl Loop for OneTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        self.tiles.tile::<S>(self.tile, self.x, self.places, self.start, self.sums);
    }
}

/// Sums of products over the blocks of a group.
#[inline(always)]
fn dots<'a, S: Simd, const T: usize>(words: &[Words], x: impl Fn(usize, usize) -> &'a [i16; BLOCK]) -> [[i32; TILE]; T] {
    let mut sums = [[0i32; TILE]; T];
    for (block, words) in words.iter().enumerate() {
        let more = S::dots(words, std::array::from_fn::<_, T, _>(|at| x(at, block)));
        for (sums, more) in sums.iter_mut().zip(more) {
            for (sum, more) in sums.iter_mut().zip(more) {
                *sum = sum.wrapping_add(more);
            }
        }
    }
    sums
}

/// Adds a group: `sh(sh(d, 7) * multiplier, shift)`.
#[inline(always)]
fn accumulate(sums: &mut [i32; TILE], dots: &[i32; TILE], multipliers: &[i32; TILE], shift: i32) {
    // Within these the rounding summand cannot overflow; trained models have no others.
    if (1..=30).contains(&shift) {
        let half = 1 << (shift - 1);
        for row in 0..TILE {
            let scaled = (dots[row].wrapping_add(64) >> 7).wrapping_mul(multipliers[row]);
            sums[row] = sums[row].wrapping_add(scaled.wrapping_add(half) >> shift);
        }
    } else {
        for row in 0..TILE {
            sums[row] = sums[row].wrapping_add(sh(sh(dots[row], 7).wrapping_mul(multipliers[row]), shift));
        }
    }
}
