//! Keys and values in pages on a device.

use std::fmt;
use std::ops::Range;

use burn::Tensor;
use burn::tensor::kind::Numeric;
use burn::tensor::{Device, Int, TensorData};

use crate::engine::{CacheShape, PAGE_POSITIONS, Span};

/// Pages that a cache starts with.
const PAGES_MIN: usize = 8;

/// Keys and values of all layers.
pub(crate) struct Pages<K: Numeric> {
    /// What a position keeps of keys, and of values: `[heads, elements]`.
    shape: [usize; 2],
    pages: usize,
    /// More are not asked for ahead of need.
    pages_max: usize,
    /// `[pages * positions, heads, elements]` each; none only while being written.
    layers: Vec<[Option<Tensor<3, K>>; 2]>,
}

impl<K: Numeric> fmt::Debug for Pages<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("shape", &self.shape).field("pages", &self.pages).finish_non_exhaustive()
    }
}

/// A span, and where its sequence lies.
#[derive(Debug)]
pub(crate) struct KeptSpan {
    pub(crate) span: Span,
    /// Rows of the cache that hold the sequence, `[end]`.
    gather: Tensor<1, Int>,
}

impl KeptSpan {
    pub(crate) fn new(span: &Span, device: &Device) -> Self {
        Self { gather: indices(places(span, 0), device), span: span.clone() }
    }
}

/// Indices on a device.
pub(crate) fn indices(indices: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    // Rows are fewer than tokens in a batch or positions in a cache, far below what an i32 holds.
    let indices: Vec<i32> = indices.map(|index| index as i32).collect();
    let len = indices.len();
    Tensor::from_data(TensorData::new(indices, [len]), device)
}

/// Rows of the cache for the positions of a span from one on.
fn places(span: &Span, from: usize) -> impl Iterator<Item = usize> + '_ {
    (from..span.end()).map(|position| span.pages[position / PAGE_POSITIONS] as usize * PAGE_POSITIONS + position % PAGE_POSITIONS)
}

/// Bytes of a page, keys and values of all layers.
pub(crate) fn page_bytes(shape: CacheShape) -> u64 {
    2 * shape.layers as u64 * shape.tensor_bytes(1)
}

impl<K: Numeric> Pages<K> {
    /// Nothing yet. No tensor will have more bytes than that, unless a span needs it.
    pub(crate) fn new(shape: CacheShape, tensor_bytes_max: u64) -> Self {
        let layers = (0..shape.layers).map(|_| [None, None]).collect();
        Self { shape: [shape.keys, shape.size], pages: 0, pages_max: shape.pages_within(tensor_bytes_max), layers }
    }

    #[cfg(test)]
    pub(crate) fn pages(&self) -> usize {
        self.pages
    }

    /// Grows to what spans need.
    pub(crate) fn reserve<'a>(&mut self, spans: impl Iterator<Item = &'a KeptSpan>, device: &Device) {
        let pages = spans.flat_map(|span| &span.span.pages).max().map_or(0, |last| *last as usize + 1);
        if pages <= self.pages {
            return;
        }
        let held = self.pages * PAGE_POSITIONS;
        self.pages = pages.max((2 * self.pages).max(PAGES_MIN).min(self.pages_max));
        let shape = [self.pages * PAGE_POSITIONS, self.shape[0], self.shape[1]];
        for slot in self.layers.iter_mut().flatten() {
            let empty = Tensor::zeros(shape, device);
            *slot = Some(match slot.take() {
                Some(old) => empty.slice_assign([0..held, 0..shape[1], 0..shape[2]], old),
                None => empty,
            });
        }
    }

    /// Writes new keys and values `[rows, heads, elements]`, and gives all of the sequence
    /// `[end, heads, elements]`.
    pub(crate) fn keep(&mut self, layer: usize, span: &KeptSpan, new: [Tensor<3, K>; 2]) -> [Tensor<3, K>; 2] {
        let mut all = new;
        for (slot, all) in self.layers[layer].iter_mut().zip(&mut all) {
            // The slot is emptied first: with one owner, a tensor is written in place.
            let mut held = slot.take().expect("reserve fills every slot before keep");
            for (rows, place) in runs(&span.span) {
                let [_, heads, elements] = all.dims();
                let part = all.clone().slice([rows.clone()]);
                held = held.slice_assign([place..place + rows.len(), 0..heads, 0..elements], part);
            }
            *all = held.clone().select(0, span.gather.clone());
            *slot = Some(held);
        }
        all
    }
}

/// New rows of a span that lie in one page, with their place in the cache.
fn runs(span: &Span) -> Vec<(Range<usize>, usize)> {
    let mut runs: Vec<(Range<usize>, usize)> = Vec::new();
    for (row, place) in places(span, span.start).enumerate() {
        match runs.last_mut() {
            Some((rows, first)) if *first + rows.len() == place && place % PAGE_POSITIONS != 0 => rows.end += 1,
            _ => runs.push((row..row + 1, place)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_takes_what_is_said() {
        let device = Device::flex();
        let shape = CacheShape { layers: 2, keys: 3, size: 20 };
        let mut cache: Pages<burn::tensor::Float> = Pages::new(shape, u64::MAX);
        let span = KeptSpan::new(&Span { rows: 0..1, start: 0, pages: vec![0] }, &device);
        cache.reserve([&span].into_iter(), &device);
        let taken: usize = cache.layers.iter().flatten().flatten().map(|slot| slot.shape().num_elements() * slot.dtype().size()).sum();
        assert_eq!(taken as u64, cache.pages as u64 * page_bytes(shape));
    }
}
