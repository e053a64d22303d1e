//! Products with quantised matrices.
//!
//! Activations are rounded to fourteen bits, with a scale for every thirty-two of a row; weights
//! stay as the file has them, or become words of thirteen bits if it has floats. What is summed in
//! a block are integers; blocks are added up in single precision, in the order of the columns,
//! without fused operations. So a row's result is the same bits on every path, for every number of
//! threads, and whatever rows are beside it.

use std::ops::Range;

use rayon::prelude::*;

use super::rounding::round_block;
use crate::engine::Weights;
use crate::engine::processor::SPREAD_ELEMENTS;
use crate::engine::simd::{Isa, Loop, Nibbles, Portable, Simd, TILE, TILE_BLOCK, Words, prefetch};
use crate::engine::tiles::{Destination, ROWS_INNER, product_into, tiles};
use crate::engine::weights::{BLOCK, Elements, Part, WordBlock};

/// Scales of the rows of a tile, for every block.
#[derive(Debug)]
enum Scales {
    /// As files have them.
    Half(Vec<[u16; TILE]>),
    /// Where half precision does not hold them.
    Single(Vec<[f32; TILE]>),
}

impl Scales {
    /// Halves if nothing is lost by it.
    fn new(scales: Vec<[f32; TILE]>) -> Self {
        let halves: Option<Vec<[u16; TILE]>> = scales
            .iter()
            .map(|scales| {
                let halves = scales.map(half::f16::from_f32);
                (halves.map(half::f16::to_f32) == *scales).then(|| halves.map(half::f16::to_bits))
            })
            .collect();
        halves.map_or(Self::Single(scales), Self::Half)
    }

    #[inline(always)]
    fn get<S: Simd>(&self, at: usize) -> [f32; TILE] {
        match self {
            Self::Half(halves) => S::halves(&halves[at]),
            Self::Single(scales) => scales[at],
        }
    }
}

/// Blocks of tiles, tile after tile, in one of three forms.
#[derive(Debug)]
enum Blocks {
    Nibbles(Vec<Nibbles>, Scales),
    Bytes(Vec<[i8; TILE_BLOCK]>),
    Words(Vec<Words>),
}

/// Rows of one form, in tiles; the last one is filled up with zeros.
#[derive(Debug)]
struct Tiles {
    rows: usize,
    /// Blocks of a row.
    width: usize,
    blocks: Blocks,
    scales: Scales,
}

/// A matrix.
#[derive(Debug)]
pub(crate) struct Matrix {
    columns: usize,
    parts: Vec<Tiles>,
}

impl Matrix {
    pub(super) fn new(weights: &Weights) -> Self {
        let parts = weights.parts.iter().map(|part| Tiles::new(part, weights.columns)).collect();
        Self { columns: weights.columns, parts }
    }

    /// Elements of a result.
    pub(super) fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// A row of the matrix in single precision.
    pub(super) fn row(&self, mut row: usize) -> Vec<f32> {
        for part in &self.parts {
            if row < part.rows {
                return part.row(row, self.columns);
            }
            row -= part.rows;
        }
        vec![0.0; self.columns]
    }

    /// The products with all rows of `x`, `[rows of x, rows of the matrix]`.
    pub(super) fn product(&self, x: &Rounded, isa: Isa) -> Vec<f32> {
        let (rows, width) = (x.rows(), self.rows());
        let mut out = vec![0.0; rows * width];
        let mut first = 0;
        for part in &self.parts {
            let to = Destination { out: &mut out, width, first, rows: part.rows };
            product_into(to, |tile, start, sums| isa.run(OneTile { part, tile, x, start, sums }));
            first += part.rows;
        }
        out
    }
}

impl Tiles {
    fn new(part: &Part, columns: usize) -> Self {
        let (rows, width) = (part.rows, columns.div_ceil(BLOCK));
        match &part.elements {
            Elements::Nibbles(all) => {
                let blocks = tiles(rows, width, |tile| {
                    let mut out = Nibbles([0; TILE_BLOCK / 4]);
                    tile.each(all, |row, block| {
                        for column in 0..BLOCK {
                            let (lane, shift) = Nibbles::place(row, column);
                            out.0[lane] |= u16::from(block.nibble(column)) << shift;
                        }
                    });
                    out
                });
                let offsets = Scales::new(tiles(rows, width, |tile| tile.scales(all, |block| block.offset)));
                let scales = Scales::new(tiles(rows, width, |tile| tile.scales(all, |block| block.scale)));
                Self { rows, width, blocks: Blocks::Nibbles(blocks, offsets), scales }
            }
            Elements::Bytes(all) => {
                let blocks = tiles(rows, width, |tile| tile.placed(all, |block| &block.bytes));
                let scales = Scales::new(tiles(rows, width, |tile| tile.scales(all, |block| block.scale)));
                Self { rows, width, blocks: Blocks::Bytes(blocks), scales }
            }
            Elements::Words(all) => Self::of_words(rows, width, all),
            Elements::Values(all) => {
                let row = |row: &[f32]| row.chunks(BLOCK).map(WordBlock::nearest).collect::<Vec<_>>();
                Self::of_words(rows, width, &all.chunks(columns.max(1)).flat_map(row).collect::<Vec<_>>())
            }
        }
    }

    fn of_words(rows: usize, width: usize, all: &[WordBlock]) -> Self {
        let blocks = tiles(rows, width, |tile| Words(tile.placed(all, |block| &block.words)));
        let scales = Scales::new(tiles(rows, width, |tile| tile.scales(all, |block| block.scale)));
        Self { rows, width, blocks: Blocks::Words(blocks), scales }
    }

    fn row(&self, row: usize, columns: usize) -> Vec<f32> {
        let (tile, lane) = (row / TILE, row % TILE);
        let mut buffer = Words::ZERO;
        let mut out = Vec::with_capacity(self.width * BLOCK);
        for at in tile * self.width..(tile + 1) * self.width {
            let scale = self.scales.get::<Portable>(at)[lane];
            let (words, offset) = match &self.blocks {
                Blocks::Nibbles(blocks, offsets) => (blocks.words::<Portable>(at, &mut buffer), offsets.get::<Portable>(at)[lane]),
                Blocks::Bytes(blocks) => (blocks.words::<Portable>(at, &mut buffer), 0.0),
                Blocks::Words(blocks) => (blocks.words::<Portable>(at, &mut buffer), 0.0),
            };
            out.extend((0..BLOCK).map(|column| scale * f32::from(words.0[Words::place(lane, column)]) + offset));
        }
        out.truncate(columns);
        out
    }

    /// The products of a tile with rows of `x` from `start` on, as many as there are sums.
    #[inline(always)]
    fn tile<S: Simd>(&self, tile: usize, x: &Rounded, start: usize, sums: &mut [[f32; TILE]]) {
        // Each form has a loop of its own, so that none does what only another needs.
        match &self.blocks {
            Blocks::Nibbles(blocks, offsets) => self.tile_of::<S>(blocks, Some(offsets), tile, x, start, sums),
            Blocks::Bytes(blocks) => self.tile_of::<S>(blocks, None, tile, x, start, sums),
            Blocks::Words(blocks) => self.tile_of::<S>(blocks, None, tile, x, start, sums),
        }
    }

    #[inline(always)]
    fn tile_of<S: Simd>(
        &self,
        blocks: &impl Packed,
        offsets: Option<&Scales>,
        tile: usize,
        x: &Rounded,
        start: usize,
        sums: &mut [[f32; TILE]],
    ) {
        let mut buffer = Words::ZERO;
        for block in 0..self.width {
            let at = tile * self.width + block;
            let scales = self.scales.get::<S>(at);
            let offsets = offsets.map(|offsets| offsets.get::<S>(at));
            let words = blocks.words::<S>(at, &mut buffer);
            let (fours, rest) = sums.as_chunks_mut::<ROWS_INNER>();
            let whole = ROWS_INNER * fours.len();
            for (group, sums) in fours.iter_mut().enumerate() {
                let row = start + ROWS_INNER * group;
                let parts = std::array::from_fn::<_, ROWS_INNER, _>(|at| x.block(row + at, block));
                let dots = S::dots(words, parts.map(|part| part.values));
                for ((sums, dots), part) in sums.iter_mut().zip(dots).zip(parts) {
                    accumulate(sums, dots, &scales, offsets.as_ref(), part);
                }
            }
            for (row, sums) in rest.iter_mut().enumerate() {
                let part = x.block(start + whole + row, block);
                let [dots] = S::dots(words, [part.values]);
                accumulate(sums, dots, &scales, offsets.as_ref(), part);
            }
        }
    }
}

/// Blocks of one form.
trait Packed {
    /// A block's words, unpacked into `buffer` if they are not kept as such.
    fn words<'a, S: Simd>(&'a self, at: usize, buffer: &'a mut Words) -> &'a Words;
}

impl Packed for Vec<Nibbles> {
    #[inline(always)]
    fn words<'a, S: Simd>(&'a self, at: usize, buffer: &'a mut Words) -> &'a Words {
        bring(self, at);
        S::nibbles(&self[at], buffer);
        buffer
    }
}

impl Packed for Vec<[i8; TILE_BLOCK]> {
    #[inline(always)]
    fn words<'a, S: Simd>(&'a self, at: usize, buffer: &'a mut Words) -> &'a Words {
        bring(self, at);
        S::bytes(&self[at], buffer);
        buffer
    }
}

impl Packed for Vec<Words> {
    #[inline(always)]
    fn words<'a, S: Simd>(&'a self, at: usize, _: &'a mut Words) -> &'a Words {
        bring(self, at);
        &self[at]
    }
}

/// Asks for the block that will be wanted some blocks later.
#[inline(always)]
fn bring<T>(blocks: &[T], at: usize) {
    const AHEAD: usize = 8;
    if let Some(block) = blocks.get(at + AHEAD) {
        prefetch(block);
    }
}

/// The products of one tile.
struct OneTile<'a> {
    part: &'a Tiles,
    tile: usize,
    x: &'a Rounded,
    start: usize,
    sums: &'a mut [[f32; TILE]],
}

impl Loop for OneTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        self.part.tile::<S>(self.tile, self.x, self.start, self.sums);
    }
}

/// Adds a block: `scale * x.scale * dots + offset * x.sum`, row by row.
#[inline(always)]
fn accumulate(sums: &mut [f32; TILE], dots: [i32; TILE], scales: &[f32; TILE], offsets: Option<&[f32; TILE]>, x: RoundedBlock<'_>) {
    for row in 0..TILE {
        sums[row] += scales[row] * x.scale * dots[row] as f32;
    }
    if let Some(offsets) = offsets {
        for row in 0..TILE {
            sums[row] += offsets[row] * x.sum;
        }
    }
}

/// Activations, rounded block by block. The same block of all rows lies together, as products go
/// through them.
#[derive(Debug)]
pub(super) struct Rounded {
    rows: usize,
    values: Vec<[i16; BLOCK]>,
    /// Scale of each block, and the sum of what it stands for.
    scales: Vec<(f32, f32)>,
}

/// One block of a row.
#[derive(Clone, Copy)]
struct RoundedBlock<'a> {
    values: &'a [i16; BLOCK],
    scale: f32,
    sum: f32,
}

impl Rounded {
    /// Rounds rows of `columns`.
    pub(super) fn new(x: &[f32], columns: usize, isa: Isa) -> Self {
        let width = columns.div_ceil(BLOCK);
        let rows = x.len() / columns.max(1);
        let mut values = vec![[0; BLOCK]; rows * width];
        let mut scales = vec![(0.0, 0.0); rows * width];
        let round = |block: usize, values: &mut [[i16; BLOCK]], scales: &mut [(f32, f32)]| {
            let columns = (columns, block * BLOCK..columns.min((block + 1) * BLOCK));
            isa.run(RoundBlocks { x, columns, values, scales });
        };
        if x.len() < SPREAD_ELEMENTS {
            let all = values.chunks_mut(rows.max(1)).zip(scales.chunks_mut(rows.max(1)));
            all.enumerate().for_each(|(block, (values, scales))| round(block, values, scales));
        } else {
            let all = values.par_chunks_mut(rows).zip(scales.par_chunks_mut(rows));
            all.enumerate().for_each(|(block, (values, scales))| round(block, values, scales));
        }
        Self { rows, values, scales }
    }

    fn rows(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    fn block(&self, row: usize, block: usize) -> RoundedBlock<'_> {
        let at = block * self.rows + row;
        let (scale, sum) = self.scales[at];
        RoundedBlock { values: &self.values[at], scale, sum }
    }
}

/// Rounds the same block of all rows.
struct RoundBlocks<'a> {
    x: &'a [f32],
    /// Columns of a row, and those of the block.
    columns: (usize, Range<usize>),
    values: &'a mut [[i16; BLOCK]],
    scales: &'a mut [(f32, f32)],
}

impl Loop for RoundBlocks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let (width, block) = self.columns;
        for ((row, values), scale) in self.x.chunks(width).zip(self.values).zip(self.scales) {
            let x = &row[block.clone()];
            // Of whole blocks the compiler knows the size.
            *scale = match x.as_array::<BLOCK>() {
                Some(x) => round_block(x, values),
                None => round_block(x, values),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::weights::{ByteBlock, NibbleBlock};
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    fn number(random: &mut ChaCha8Rng) -> f32 {
        random.next_u32() as f32 / u32::MAX as f32 - 0.5
    }

    /// Random weights of a form, 0 to 3.
    fn weights(form: u8, rows: usize, columns: usize, random: &mut ChaCha8Rng) -> Weights {
        let blocks = rows * columns / BLOCK;
        let byte = |random: &mut ChaCha8Rng| random.next_u32().to_le_bytes()[0];
        let half = |random: &mut ChaCha8Rng| half::f16::from_f32(number(random)).to_f32();
        let elements = match form {
            0 => Elements::Nibbles(
                (0..blocks)
                    .map(|_| NibbleBlock { scale: half(random), offset: half(random), nibbles: std::array::from_fn(|_| byte(random)) })
                    .collect(),
            ),
            1 => Elements::Bytes(
                (0..blocks)
                    .map(|_| ByteBlock { scale: number(random), bytes: std::array::from_fn(|_| byte(random).cast_signed()) })
                    .collect(),
            ),
            2 => Elements::Words(
                (0..blocks)
                    .map(|_| WordBlock {
                        scale: number(random),
                        words: std::array::from_fn(|_| (random.next_u32() % 8_191) as i16 - 4_095),
                    })
                    .collect(),
            ),
            _ => Elements::Values((0..rows * columns).map(|_| number(random)).collect()),
        };
        Weights::new(rows, columns, elements)
    }

    #[test]
    fn a_product_is_that_of_the_values_up_to_rounding() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for form in 0..4 {
            let (rows, columns) = (37, 96);
            let weights = weights(form, rows, columns, &mut random);
            let x: Vec<f32> = (0..3 * columns).map(|_| number(&mut random)).collect();
            let found = Matrix::new(&weights).product(&Rounded::new(&x, columns, Isa::Portable), Isa::detect());
            let dense = weights.values();
            for (at, found) in found.iter().enumerate() {
                let (row, x) = (&dense[at % rows * columns..][..columns], &x[at / rows * columns..][..columns]);
                let exact: f64 = row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                let size: f64 = row.iter().zip(x).map(|(w, x)| (f64::from(*w) * f64::from(*x)).abs()).sum();
                assert!((f64::from(*found) - exact).abs() < 2e-4 * size, "form {form}: {found} is not {exact}");
            }
        }
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        for form in 0..3 {
            let weights = weights(form, 20, 64, &mut random);
            let matrix = Matrix::new(&weights);
            for (row, expected) in weights.values().chunks_exact(64).enumerate() {
                assert_eq!(matrix.row(row), expected);
            }
        }
    }

    #[test]
    fn widths_that_are_no_whole_blocks_are_filled_with_zeros() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let weights = weights(3, 5, 40, &mut random);
        let x = vec![1.0; 40];
        let found = Matrix::new(&weights).product(&Rounded::new(&x, 40, Isa::Portable), Isa::detect());
        for (row, found) in weights.values().chunks_exact(40).zip(found) {
            let exact: f32 = row.iter().sum();
            assert!((found - exact).abs() < 5e-3, "{found} is not {exact}");
        }
    }

    #[test]
    fn numbers_that_are_none_stay_none() {
        let mut random = ChaCha8Rng::seed_from_u64(4);
        let weights = weights(1, 16, 32, &mut random);
        let mut x = vec![1.0; 32];
        x[7] = f32::INFINITY;
        let found = Matrix::new(&weights).product(&Rounded::new(&x, 32, Isa::Portable), Isa::detect());
        assert!(found.iter().all(|value| value.is_nan()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn paths_and_neighbours_do_not_change_a_bit(seed in any::<u64>(), form in 0u8..4, rows in 1usize..70, blocks in 1usize..5, count in 1usize..80) {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let columns = blocks * BLOCK;
            let matrix = Matrix::new(&weights(form, rows, columns, &mut random));
            let x: Vec<f32> = (0..count * columns).map(|_| number(&mut random)).collect();
            let together = matrix.product(&Rounded::new(&x, columns, Isa::Portable), Isa::Portable);
            for isa in Isa::available() {
                for (at, x) in x.chunks_exact(columns).enumerate() {
                    let alone = matrix.product(&Rounded::new(x, columns, isa), isa);
                    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                    prop_assert_eq!(bits(&alone), bits(&together[at * rows..][..rows]));
                }
            }
        }
    }
}
