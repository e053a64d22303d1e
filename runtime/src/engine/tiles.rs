//! Matrices cut into tiles of sixteen rows, and products that are computed tile by tile.

use std::marker::PhantomData;

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
    let (tiles, count) = (rows.div_ceil(TILE), out.len() / width);
    let least = if count == 1 { TASK_TILES } else { 1 };
    let out = Shared::new(out);
    // All tiles go by a group of rows before the next group comes, so that its rows stay near.
    let tasks = (0..count.div_ceil(ROWS_TOGETHER) * tiles).into_par_iter().with_min_len(least);
    tasks.for_each_init(
        || [[T::default(); TILE]; ROWS_TOGETHER],
        |sums, task| {
            let (start, at) = (task / tiles * ROWS_TOGETHER, task % tiles);
            let sums = &mut sums[..ROWS_TOGETHER.min(count - start)];
            sums.fill([T::default(); TILE]);
            tile(at, start, sums);
            let columns = TILE.min(rows - at * TILE);
            for (row, sums) in (start..).zip(sums) {
                // SAFETY: each task has rows or columns that no other has.
                unsafe { out.write(row * width + first + at * TILE, &sums[..columns]) };
            }
        },
    );
}

/// Elements of which several threads write different ones.
pub(crate) struct Shared<'a, T> {
    elements: *mut T,
    len: usize,
    of: PhantomData<&'a mut [T]>,
}

// SAFETY: it only writes, and whoever calls sees to it that threads write different elements.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T: Copy> Shared<'a, T> {
    pub(crate) fn new(elements: &'a mut [T]) -> Self {
        Self { elements: elements.as_mut_ptr(), len: elements.len(), of: PhantomData }
    }

    /// Writes elements from one on.
    ///
    /// # Safety
    ///
    /// No other thread writes any of them meanwhile.
    pub(crate) unsafe fn write(&self, first: usize, values: &[T]) {
        assert!(first <= self.len && values.len() <= self.len - first, "results go where there is room");
        // SAFETY: they are inside of what was borrowed, as was just seen, and nobody else writes there.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.elements.add(first), values.len()) };
    }
}
