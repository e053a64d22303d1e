//! Matrices cut into tiles of sixteen rows, and products that are computed tile by tile.

use rayon::prelude::*;

use super::simd::{TILE, TILE_BLOCK, Words};
use super::weights::BLOCK;

/// Rows of activations that go through a tile together: their sums and a column block of them
/// stay in the nearest cache.
const ROWS_TOGETHER: usize = 64;

/// Rows of activations in one turn of the inner loop: as many sums as there are registers for.
pub(crate) const ROWS_INNER: usize = 4;

/// Tiles that one task computes when there is one row: some ten microseconds at common widths,
/// well above what handing out a task costs.
const TASK_TILES: usize = 8;

/// One tile's share of the rows of a matrix in blocks.
pub(crate) struct TileOf {
    tile: usize,
    block: usize,
    rows: usize,
    width: usize,
}

impl TileOf {
    /// Hands over this tile's blocks, with their rows inside the tile.
    pub(crate) fn each<B>(&self, all: &[B], mut take: impl FnMut(usize, &B)) {
        let first = self.tile * TILE;
        for row in 0..TILE.min(self.rows - first) {
            if let Some(block) = all.get((first + row) * self.width + self.block) {
                take(row, block);
            }
        }
    }

    /// The elements of this tile's blocks where products look for them.
    pub(crate) fn placed<B, T: Copy + Default>(&self, all: &[B], elements: impl Fn(&B) -> &[T; BLOCK]) -> [T; TILE_BLOCK] {
        let mut out = [T::default(); TILE_BLOCK];
        self.each(all, |row, block| {
            for (column, element) in elements(block).iter().enumerate() {
                out[Words::place(row, column)] = *element;
            }
        });
        out
    }

    /// Something of each of this tile's blocks.
    pub(crate) fn scales<B, T: Copy + Default>(&self, all: &[B], scale: impl Fn(&B) -> T) -> [T; TILE] {
        let mut out = [T::default(); TILE];
        self.each(all, |row, block| out[row] = scale(block));
        out
    }
}

/// Something for each block of each tile of a matrix with so many blocks in a row.
pub(crate) fn tiles<T: Send>(rows: usize, width: usize, make: impl Fn(TileOf) -> T + Sync) -> Vec<T> {
    let count = rows.div_ceil(TILE) * width;
    (0..count).into_par_iter().map(|at| make(TileOf { tile: at / width, block: at % width, rows, width })).collect()
}

/// Where the results of a matrix go: into rows of `width` elements, from element `first` of each,
/// as many as the matrix has rows.
pub(crate) struct Destination<'a, T> {
    pub(crate) out: &'a mut [T],
    pub(crate) width: usize,
    pub(crate) first: usize,
    pub(crate) rows: usize,
}

/// Computes a product on all threads. `tile` adds the products of a tile with rows of activations,
/// from one on, as many as there are sums.
pub(crate) fn product_into<T>(to: Destination<'_, T>, tile: impl Fn(usize, usize, &mut [[T; TILE]]) + Sync)
where
    T: Copy + Default + Send + Sync,
{
    let Destination { out, width, first, rows } = to;
    if out.len() == width {
        let out = &mut out[first..first + rows];
        return out.par_chunks_mut(TASK_TILES * TILE).enumerate().for_each(|(task, out)| {
            for (at, out) in out.chunks_mut(TILE).enumerate() {
                let mut sums = [[T::default(); TILE]; 1];
                tile(task * TASK_TILES + at, 0, &mut sums);
                out.copy_from_slice(&sums[0][..out.len()]);
            }
        });
    }
    for (group, out) in out.chunks_mut(ROWS_TOGETHER * width).enumerate() {
        let (start, together) = (group * ROWS_TOGETHER, out.len() / width);
        let mut sums = vec![[T::default(); TILE]; rows.div_ceil(TILE) * together];
        sums.par_chunks_mut(together).enumerate().for_each(|(at, sums)| tile(at, start, sums));
        out.par_chunks_mut(width).enumerate().for_each(|(row, out)| {
            for (tile, out) in out[first..first + rows].chunks_mut(TILE).enumerate() {
                out.copy_from_slice(&sums[tile * together + row][..out.len()]);
            }
        });
    }
}
