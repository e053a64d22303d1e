//! Keys and values in pages, rounded to fourteen bits and laid out as matrices are.
//!
//! The scores of a page are the product of a matrix, a row for each position, with a query; and what
//! is mixed of its values the product of another, a row for each element, with the weights of its
//! positions. So both lie in tiles, and the loops of products are those of attention too. Half the
//! memory of single precision, which is what attention over many positions waits for.

use super::rounding::{factors, nearest, round_block};
use crate::engine::processor::Slots;
use crate::engine::simd::{Loop, Simd, TILE, Words};
use crate::engine::weights::BLOCK;
use crate::engine::{CacheShape, PAGE_POSITIONS, PageId};

/// Tiles of a page's positions. A page is a block of them, as products have it.
const HALVES: usize = PAGE_POSITIONS / TILE;
const _: () = assert!(PAGE_POSITIONS == BLOCK);

/// Something of each position of a page.
pub(super) type Positions = [f32; PAGE_POSITIONS];

/// A page: keys and values of all layers.
#[derive(Debug)]
struct Page {
    /// `[layer][head]`, then `[half][block]` of keys, then `[tile]` of values.
    words: Box<[Words]>,
    /// `[layer][head]`, then one for each block of keys, then one of values.
    scales: Box<[Positions]>,
}

/// Keys and values in pages.
#[derive(Debug)]
pub(crate) struct Pages {
    shape: CacheShape,
    pages: Slots<Page>,
}

/// A head's keys and values in a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept<'a> {
    /// `[half][block]`
    pub(super) keys: &'a [Words],
    /// Of each block of each position.
    pub(super) key_scales: &'a [Positions],
    /// `[tile]`
    pub(super) values: &'a [Words],
    pub(super) value_scales: &'a Positions,
}

impl Pages {
    pub(super) fn new(shape: CacheShape) -> Self {
        Self { shape, pages: Slots::new() }
    }

    /// Blocks of a head's elements, and tiles of them.
    fn blocks_and_tiles(&self) -> (usize, usize) {
        blocks_and_tiles(self.shape)
    }

    fn page(&mut self, id: PageId) -> &mut Page {
        let (words, scales) = words_and_scales(self.shape);
        self.pages.page(id, || Page { words: vec![Words::ZERO; words].into(), scales: vec![[0.0; PAGE_POSITIONS]; scales].into() })
    }

    /// What keeps the key and the value of a head.
    pub(super) fn keep<'a>(&'a mut self, place: Place, key: &'a [f32], value: &'a [f32]) -> Keep<'a> {
        let (blocks, tiles) = self.blocks_and_tiles();
        let head = place.layer * self.shape.keys + place.head;
        let page = self.page(place.page);
        let words = &mut page.words[head * (HALVES * blocks + tiles)..][..HALVES * blocks + tiles];
        let (keys, values) = words.split_at_mut(HALVES * blocks);
        let scales = &mut page.scales[head * (blocks + 1)..][..blocks + 1];
        Keep { position: place.position, key, value, keys, values, scales }
    }

    /// A head's keys and values in a page.
    pub(super) fn head(&self, layer: usize, id: PageId, head: usize) -> Kept<'_> {
        let (blocks, tiles) = self.blocks_and_tiles();
        let head = layer * self.shape.keys + head;
        let page = self.pages.used(id);
        let (keys, values) = page.words[head * (HALVES * blocks + tiles)..][..HALVES * blocks + tiles].split_at(HALVES * blocks);
        let scales = &page.scales[head * (blocks + 1)..][..blocks + 1];
        Kept { keys, key_scales: &scales[..blocks], values, value_scales: &scales[blocks] }
    }
}

fn blocks_and_tiles(shape: CacheShape) -> (usize, usize) {
    (shape.size.div_ceil(BLOCK), shape.size.div_ceil(TILE))
}

/// How many of both a page has.
fn words_and_scales(shape: CacheShape) -> (usize, usize) {
    let (heads, (blocks, tiles)) = (shape.layers * shape.keys, blocks_and_tiles(shape));
    (heads * (HALVES * blocks + tiles), heads * (blocks + 1))
}

/// Bytes of a page, keys and values of all layers.
pub(crate) fn page_bytes(shape: CacheShape) -> u64 {
    let (words, scales) = words_and_scales(shape);
    (words * size_of::<Words>() + scales * size_of::<Positions>()) as u64
}

/// Where a key and a value are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) layer: usize,
    pub(super) page: PageId,
    pub(super) head: usize,
    /// In the page.
    pub(super) position: usize,
}

/// Rounds a key and a value into a page.
pub(super) struct Keep<'a> {
    position: usize,
    key: &'a [f32],
    value: &'a [f32],
    keys: &'a mut [Words],
    values: &'a mut [Words],
    scales: &'a mut [Positions],
}

impl Loop for Keep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { position, key, value, keys, values, scales } = self;
        let blocks = scales.len() - 1;
        let keys = &mut keys[position / TILE * blocks..][..blocks];
        for ((key, words), scales) in key.chunks(BLOCK).zip(keys).zip(&mut *scales) {
            let mut rounded = [0; BLOCK];
            (scales[position], _) = round_block(key, &mut rounded);
            for (column, pair) in rounded.chunks_exact(2).enumerate() {
                words.0[Words::place(position % TILE, 2 * column)..][..2].copy_from_slice(pair);
            }
        }
        let (inverse, scale) = factors(value);
        scales[blocks][position] = scale;
        for (value, words) in value.chunks(TILE).zip(values) {
            for (row, value) in value.iter().enumerate() {
                words.0[Words::place(row, position)] = nearest(value * inverse) as i16;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_takes_what_is_said() {
        let shape = CacheShape { layers: 2, keys: 3, size: 20 };
        let mut cache = Pages::new(shape);
        let page = cache.page(1);
        assert_eq!((size_of_val(&*page.words) + size_of_val(&*page.scales)) as u64, page_bytes(shape));
    }
}
