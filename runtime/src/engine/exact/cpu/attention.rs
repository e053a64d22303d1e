//! Bytes of keys and values in pages, and attention over them, block by block.

use rayon::prelude::*;

use crate::engine::exact::arithmetic::{BLOCK_POSITIONS, SCORE_MAX, TABLES, bits, dot, quant8, sh};
use crate::engine::processor::Slots;
use crate::engine::simd::{Isa, Loop, Simd};
use crate::engine::{Attention, CacheShape, Heads, PAGE_POSITIONS, PageId, Span};

/// A key or a value: bytes times `multiplier * 2^exponent`.
#[derive(Clone, Copy, Debug, Default)]
struct Scale {
    multiplier: i32,
    exponent: i32,
}

/// Keys or values of one page, all layers.
#[derive(Debug)]
struct Half {
    /// `[layer][head][position][element]`
    bytes: Box<[i8]>,
    /// `[layer][head][position]`
    scales: Box<[Scale]>,
}

/// Keys and values in pages.
#[derive(Debug)]
pub(crate) struct Pages {
    shape: CacheShape,
    pages: Slots<[Half; 2]>,
}

impl Pages {
    pub(super) fn new(shape: CacheShape) -> Self {
        Self { shape, pages: Slots::new() }
    }

    fn page(&mut self, id: PageId) -> &mut [Half; 2] {
        let scales = self.shape.page_heads();
        let bytes = scales * self.shape.size;
        let half = || Half { bytes: vec![0; bytes].into(), scales: vec![Scale::default(); scales].into() };
        self.pages.page(id, || [half(), half()])
    }

    /// Keeps the key or the value of a head: fifteen bits, and their exponent.
    fn keep(&mut self, half: usize, place: Place, head: &[i32], exponent: i32) {
        let (size, keys) = (self.shape.size, self.shape.keys);
        let at = ((place.layer * keys + place.head) * PAGE_POSITIONS) + place.position % PAGE_POSITIONS;
        let half = &mut self.page(place.page)[half];
        let multiplier = quant8(head, &mut half.bytes[at * size..][..size]);
        half.scales[at] = Scale { multiplier, exponent };
    }

    /// Keeps what is a key or a value already, of the first head of the first layer.
    #[cfg(test)]
    pub(super) fn put(&mut self, half: usize, page: PageId, position: usize, bytes: &[i8], (multiplier, exponent): (i32, i32)) {
        let at = position % PAGE_POSITIONS;
        let half = &mut self.page(page)[half];
        half.bytes[at * bytes.len()..][..bytes.len()].copy_from_slice(bytes);
        half.scales[at] = Scale { multiplier, exponent };
    }

    /// Keys or values of a head in a page, position after position.
    fn head(&self, half: usize, layer: usize, id: PageId, head: usize) -> (&[i8], &[Scale]) {
        let half = &self.pages.used(id)[half];
        let at = (layer * self.shape.keys + head) * PAGE_POSITIONS;
        let size = self.shape.size;
        (&half.bytes[at * size..][..PAGE_POSITIONS * size], &half.scales[at..][..PAGE_POSITIONS])
    }
}

/// Bytes of a page, keys and values of all layers: a byte for each element, and a scale for each head.
pub(super) fn page_bytes(shape: CacheShape) -> u64 {
    (2 * shape.page_heads() * (shape.size + size_of::<Scale>())) as u64
}

/// What the last position of a span sees with a query of its only head.
#[cfg(test)]
pub(super) fn mixed(query: &[i32], exponent: i32, span: &Span, cache: &Pages, isa: Isa) -> Vec<i32> {
    let mut scratch = Scratch { query: query.iter().map(|x| *x as i16).collect(), ..Scratch::default() };
    let mut out = vec![0; query.len()];
    let mixer = Mixer { cache, span, layer: 0, head: 0, exponent, seen: span.end() };
    isa.run(OneQuery { mixer, scratch: &mut scratch, out: &mut out });
    out
}

/// Where a key or a value is kept.
#[derive(Clone, Copy)]
struct Place {
    layer: usize,
    page: PageId,
    head: usize,
    position: usize,
}

const KEYS: usize = 0;
const VALUES: usize = 1;

/// Keeps keys and values of rows that are prepared, and mixes what each query sees; `exponents`
/// has one for each head of each row. Results have sixteen binary places.
pub(super) fn attend<V: Sync>(
    qkv: &[i32],
    exponents: &[i32],
    what: &Attention<'_, V>,
    spans: &[Span],
    cache: &mut Pages,
    isa: Isa,
) -> Vec<i32> {
    let heads = what.heads;
    for span in spans {
        keep_span(qkv, exponents, what, span, cache);
    }
    let rows: Vec<(&Span, usize)> = spans.iter().flat_map(|span| span.rows.clone().map(move |row| (span, row))).collect();
    let mut mixed = vec![0; rows.len() * heads.queries * heads.size];
    let cache = &*cache;
    mixed.par_chunks_mut(heads.size).enumerate().for_each_init(Scratch::default, |scratch, (at, out)| {
        let ((span, row), head) = (rows[at / heads.queries], at % heads.queries);
        let elements = &qkv[row * heads.row() + head * heads.size..][..heads.size];
        scratch.query.clear();
        scratch.query.extend(elements.iter().map(|x| *x as i16));
        let mixer = Mixer {
            cache,
            span,
            layer: what.layer,
            head: head / heads.group(),
            exponent: exponents[row * (heads.queries + 2 * heads.keys) + head],
            seen: span.start + row - span.rows.start + 1,
        };
        isa.run(OneQuery { mixer, scratch, out });
    });
    mixed
}

fn keep_span<V>(qkv: &[i32], exponents: &[i32], what: &Attention<'_, V>, span: &Span, cache: &mut Pages) {
    let Heads { queries, keys, size } = what.heads;
    let per_row = queries + 2 * keys;
    for (row, position) in span.rows.clone().zip(span.start..) {
        for (half, first) in [(KEYS, queries), (VALUES, queries + keys)] {
            for head in 0..keys {
                let index = row * per_row + first + head;
                let place = Place { layer: what.layer, page: span.pages[position / PAGE_POSITIONS], head, position };
                cache.keep(half, place, &qkv[index * size..][..size], exponents[index]);
            }
        }
    }
}

/// What a thread computes in.
#[derive(Default)]
struct Scratch {
    query: Vec<i16>,
    /// Scores of a block, then the weights of its values.
    scores: Vec<i32>,
    /// `[block][element]`
    sums: Vec<i32>,
    blocks: Vec<Block>,
}

/// What a block of positions adds up to, but for its values.
#[derive(Clone, Copy)]
struct Block {
    /// The exponent of the weights.
    top: i32,
    weight: i32,
    /// The exponent of the values.
    exponent: i32,
}

/// One query.
struct Mixer<'a> {
    cache: &'a Pages,
    span: &'a Span,
    layer: usize,
    /// Of keys and values.
    head: usize,
    /// Of the query.
    exponent: i32,
    /// Positions that it sees.
    seen: usize,
}

/// What a query is mixed with, and where to.
struct OneQuery<'a> {
    mixer: Mixer<'a>,
    scratch: &'a mut Scratch,
    out: &'a mut [i32],
}

impl Loop for OneQuery<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        self.mixer.mix(self.scratch, self.out);
    }
}

impl Mixer<'_> {
    #[inline(always)]
    fn mix(&self, scratch: &mut Scratch, out: &mut [i32]) {
        let count = self.seen.div_ceil(BLOCK_POSITIONS);
        scratch.sums.clear();
        scratch.sums.resize(count * out.len(), 0);
        scratch.blocks.clear();
        for block in 0..count {
            let sums = &mut scratch.sums[block * out.len()..][..out.len()];
            let summary = self.block(block, &scratch.query, &mut scratch.scores, sums);
            scratch.blocks.push(summary);
        }
        finish(&scratch.blocks, &scratch.sums, out);
    }

    /// The pages of a block, with the positions of each that are seen.
    fn pages(&self, block: usize) -> impl Iterator<Item = (PageId, usize)> + '_ {
        const PAGES: usize = BLOCK_POSITIONS / PAGE_POSITIONS;
        let first = block * PAGES;
        let last = (first + PAGES).min(self.seen.div_ceil(PAGE_POSITIONS));
        (first..last).map(|page| (self.span.pages[page], (self.seen - page * PAGE_POSITIONS).min(PAGE_POSITIONS)))
    }

    #[inline(always)]
    fn block(&self, block: usize, query: &[i16], scores: &mut Vec<i32>, sums: &mut [i32]) -> Block {
        scores.clear();
        let size = query.len();
        let mut exponent = i32::MIN;
        for (page, count) in self.pages(block) {
            let (keys, scales) = self.cache.head(KEYS, self.layer, page, self.head);
            for (key, scale) in keys.chunks_exact(size).zip(scales).take(count) {
                let product = sh(dot(query, key), 7).wrapping_mul(scale.multiplier);
                let score = sh(product, -(self.exponent + scale.exponent + 17));
                scores.push(score.clamp(-SCORE_MAX, SCORE_MAX));
            }
            let (_, scales) = self.cache.head(VALUES, self.layer, page, self.head);
            exponent = scales.iter().take(count).fold(exponent, |top, scale| top.max(scale.exponent));
        }
        let top = (scores.iter().fold(-SCORE_MAX, |top, score| top.max(*score)) + 1023) >> 10;
        let mut weight = 0;
        for score in scores.iter_mut() {
            let below = 1024 * top - *score;
            *score = sh(TABLES.exp2[(below & 1023) as usize], below >> 10);
            weight += *score;
        }
        let mut weights = scores.iter();
        for (page, count) in self.pages(block) {
            let (values, scales) = self.cache.head(VALUES, self.layer, page, self.head);
            for ((value, scale), weight) in values.chunks_exact(size).zip(scales).take(count).zip(&mut weights) {
                let z = sh(weight.wrapping_mul(scale.multiplier), 9 + exponent - scale.exponent);
                for (sum, value) in sums.iter_mut().zip(value) {
                    *sum = sum.wrapping_add(z.wrapping_mul(i32::from(*value)));
                }
            }
        }
        Block { top, weight, exponent }
    }
}

/// Brings all blocks to common exponents, and divides by the sum of weights.
fn finish(blocks: &[Block], sums: &[i32], out: &mut [i32]) {
    let top = blocks.iter().fold(i32::MIN, |top, block| top.max(block.top));
    let exponent = blocks.iter().fold(i32::MIN, |top, block| top.max(block.exponent));
    let weight = blocks.iter().fold(0i32, |sum, block| sum.wrapping_add(sh(block.weight, top - block.top))).max(1);
    let places = bits(weight) - 15;
    let inverse = (1 << 29) / sh(weight, places);
    let width = out.len();
    for (i, out) in out.iter_mut().enumerate() {
        let sum = blocks
            .iter()
            .zip(sums.chunks_exact(width))
            .fold(0i32, |sum, (block, sums)| sum.wrapping_add(sh(sums[i], 8 + (top - block.top) + (exponent - block.exponent))));
        *out = sh(sh(sum, places).wrapping_mul(inverse), -(exponent + 4));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_takes_what_is_said() {
        let shape = CacheShape { layers: 2, keys: 3, size: 64 };
        let mut cache = Pages::new(shape);
        let taken: usize = cache.page(1).iter().map(|half| size_of_val(&*half.bytes) + size_of_val(&*half.scales)).sum();
        assert_eq!(taken as u64, page_bytes(shape));
        let single = 2 * shape.page_heads() * shape.size * size_of::<f32>();
        assert!(2 * taken < single, "{taken} bytes are less than half of the {single} of single precision");
    }
}
