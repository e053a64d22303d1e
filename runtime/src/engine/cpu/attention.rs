//! Keys and values in pages, and attention over them, page by page with a running maximum.
//!
//! In a page, keys lie `[head][half][element][16 positions]` and values `[head][part][position][16
//! elements]`: scores of sixteen positions and sums of sixteen elements are plain vectors, and each
//! loop goes straight through memory. Each query goes through its pages in order and by itself, so
//! its result does not depend on which queries are beside it.

use rayon::prelude::*;

use super::math::exp;
use crate::engine::simd::{Isa, Loop, Simd};
use crate::engine::{Attention, CacheShape, Heads, PAGE_POSITIONS, PageId, Sight, Span};

/// Queries in one turn of the inner loop: as many sums as there are registers for.
const QUERIES_INNER: usize = 4;

/// Sums kept side by side in one turn of the inner loop.
const VECTOR: usize = 16;

type Vector = [f32; VECTOR];

/// Rows of a span that one task computes.
const TASK_ROWS: usize = 16;

/// A score that loses against any other. Finite, so that differences of two are numbers.
const UNSEEN: f32 = -1e30;

/// Pages of all layers; those not used yet have no memory.
#[derive(Debug)]
pub(crate) struct Pages {
    shape: CacheShape,
    pages: Vec<Option<Box<[f32]>>>,
}

impl Pages {
    pub(super) fn new(shape: CacheShape) -> Self {
        Self { shape, pages: Vec::new() }
    }

    /// Where a layer's keys and values are in a page; values are filled up to whole vectors.
    fn keys(&self) -> usize {
        self.shape.page_elements()
    }

    fn values(&self) -> usize {
        self.shape.keys * padded(self.shape.size) * PAGE_POSITIONS
    }

    fn page(&mut self, id: PageId) -> &mut [f32] {
        let id = id as usize;
        if id >= self.pages.len() {
            self.pages.resize_with(id + 1, || None);
        }
        let elements = self.shape.layers * (self.keys() + self.values());
        self.pages[id].get_or_insert_with(|| vec![0.0; elements].into_boxed_slice())
    }

    /// Keeps the key and the value of a position.
    fn keep(&mut self, layer: usize, id: PageId, position: usize, key: &[f32], value: &[f32]) {
        let (keys, values, size) = (self.keys(), self.values(), self.shape.size);
        let padded = padded(size);
        let page = &mut self.page(id)[layer * (keys + values)..][..keys + values];
        let (key_page, value_page) = page.split_at_mut(keys);
        let (half, lane) = (position / VECTOR, position % VECTOR);
        for (key_page, key) in key_page.chunks_exact_mut(size * PAGE_POSITIONS).zip(key.chunks_exact(size)) {
            for (element, key) in key.iter().enumerate() {
                key_page[(half * size + element) * VECTOR + lane] = *key;
            }
        }
        for (value_page, value) in value_page.chunks_exact_mut(padded * PAGE_POSITIONS).zip(value.chunks_exact(size)) {
            for (part, value) in value.chunks(VECTOR).enumerate() {
                value_page[(part * PAGE_POSITIONS + position) * VECTOR..][..value.len()].copy_from_slice(value);
            }
        }
    }

    /// A head's keys and values in a page.
    fn head(&self, layer: usize, id: PageId, head: usize) -> (&[f32], &[f32]) {
        let (keys, values) = (self.keys(), self.values());
        let page = self.pages[id as usize].as_deref().expect("pages are written before they are read");
        let (key_page, value_page) = page[layer * (keys + values)..][..keys + values].split_at(keys);
        let (key, value) = (self.shape.size * PAGE_POSITIONS, padded(self.shape.size) * PAGE_POSITIONS);
        (&key_page[head * key..][..key], &value_page[head * value..][..value])
    }
}

fn padded(size: usize) -> usize {
    size.next_multiple_of(VECTOR)
}

/// A run of rows of a span under one key head.
#[derive(Clone, Debug)]
struct Task<'a> {
    span: &'a Span,
    head: usize,
    /// Inside the span.
    first: usize,
    rows: usize,
}

/// Keeps keys and values of rows that are normed and turned, and mixes what each query sees.
pub(super) fn attend<V>(qkv: &[f32], what: &Attention<'_, V>, spans: &[Span], cache: &mut Pages, isa: Isa) -> Vec<f32> {
    let heads = what.heads;
    for span in spans {
        keep_span(qkv, heads, what.layer, span, cache);
    }
    let tasks: Vec<Task<'_>> = spans.iter().flat_map(|span| tasks(span, heads)).collect();
    let width = heads.group() * heads.size;
    let rows: usize = spans.iter().map(|span| span.rows.len()).sum();
    let mut mixed = vec![0.0; rows * heads.queries * heads.size];
    let mut slices = Vec::with_capacity(tasks.len());
    let mut rest = mixed.as_mut_slice();
    for task in &tasks {
        let (slice, others) = rest.split_at_mut(task.rows * width);
        slices.push(slice);
        rest = others;
    }
    let mixer = Mixer { qkv, heads, sight: what.sight, layer: what.layer, cache };
    tasks.par_iter().zip(slices).for_each(|(task, out)| isa.run(OneTask { mixer: &mixer, task, out }));
    by_rows(&mixed, &tasks, rows, heads)
}

fn keep_span(qkv: &[f32], heads: Heads, layer: usize, span: &Span, cache: &mut Pages) {
    let (from, width) = (heads.queries * heads.size, heads.keys * heads.size);
    for (row, position) in span.rows.clone().zip(span.start..) {
        let row = &qkv[row * heads.row() + from..][..2 * width];
        let (key, value) = row.split_at(width);
        cache.keep(layer, span.pages[position / PAGE_POSITIONS], position % PAGE_POSITIONS, key, value);
    }
}

fn tasks(span: &Span, heads: Heads) -> impl Iterator<Item = Task<'_>> {
    let rows = span.rows.len();
    (0..rows)
        .step_by(TASK_ROWS)
        .flat_map(move |first| (0..heads.keys).map(move |head| Task { span, head, first, rows: TASK_ROWS.min(rows - first) }))
}

/// From `[task][row][group][size]` to `[row][head][size]`.
fn by_rows(mixed: &[f32], tasks: &[Task<'_>], rows: usize, heads: Heads) -> Vec<f32> {
    let (run, width) = (heads.group() * heads.size, heads.queries * heads.size);
    let mut out = vec![0.0; rows * width];
    let mut from = mixed.chunks_exact(run);
    for task in tasks {
        let first = task.span.rows.start + task.first;
        for (row, run_of_row) in (first..first + task.rows).zip(&mut from) {
            out[row * width + task.head * run..][..run].copy_from_slice(run_of_row);
        }
    }
    out
}

/// What the tasks of one attention share.
struct Mixer<'a> {
    qkv: &'a [f32],
    heads: Heads,
    sight: Sight,
    layer: usize,
    cache: &'a Pages,
}

/// A query, and the positions that it sees.
#[derive(Clone, Copy)]
struct Query<'a> {
    elements: &'a [f32],
    from: usize,
    until: usize,
}

/// The running state of a query: the largest score, and the sum of weights.
struct Running {
    largest: f32,
    sum: f32,
}

/// The queries of one task.
struct OneTask<'a> {
    mixer: &'a Mixer<'a>,
    task: &'a Task<'a>,
    out: &'a mut [f32],
}

impl Loop for OneTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        self.mixer.mix_task(self.task, self.out);
    }
}

impl<'a> Mixer<'a> {
    #[inline(always)]
    fn mix_task(&self, task: &Task<'_>, out: &mut [f32]) {
        let (size, group) = (self.heads.size, self.heads.group());
        let mut sums = vec![[0.0; VECTOR]; QUERIES_INNER * padded(size) / VECTOR];
        let queries = task.rows * group;
        for (at, out) in out.chunks_mut(QUERIES_INNER * size).enumerate() {
            let first = at * QUERIES_INNER;
            // A group that is not full repeats its last query, whose results are not kept.
            let some: [Query<'_>; QUERIES_INNER] = std::array::from_fn(|at| self.query(task, (first + at).min(queries - 1)));
            self.mix(task, &some, &mut sums, out);
        }
    }

    #[inline(always)]
    fn query(&self, task: &Task<'_>, at: usize) -> Query<'a> {
        let (row, of_group) = (task.first + at / self.heads.group(), at % self.heads.group());
        let head = task.head * self.heads.group() + of_group;
        let position = task.span.start + row;
        let (from, until) = match self.sight {
            Sight::Back => (0, position + 1),
            Sight::Window(window) => ((position + 1).saturating_sub(window), position + 1),
            Sight::Whole => (0, task.span.end()),
        };
        let elements = &self.qkv[(task.span.rows.start + row) * self.heads.row() + head * self.heads.size..][..self.heads.size];
        Query { elements, from, until }
    }

    #[inline(always)]
    fn mix(&self, task: &Task<'_>, queries: &[Query<'_>; QUERIES_INNER], sums: &mut [Vector], out: &mut [f32]) {
        sums.fill([0.0; VECTOR]);
        let mut running: [Running; QUERIES_INNER] = std::array::from_fn(|_| Running { largest: UNSEEN, sum: 0.0 });
        let from = queries.iter().map(|query| query.from).min().unwrap_or(0) / PAGE_POSITIONS;
        let until = queries.iter().map(|query| query.until).max().unwrap_or(0).div_ceil(PAGE_POSITIONS);
        for (page, id) in task.span.pages.iter().enumerate().take(until).skip(from) {
            let (keys, values) = self.cache.head(self.layer, *id, task.head);
            let mut weights = scores(queries.map(|query| query.elements), keys);
            let mut fade = [1.0; QUERIES_INNER];
            for (((weights, running), query), fade) in weights.iter_mut().zip(&mut running).zip(queries).zip(&mut fade) {
                *fade = weigh(weights, running, query, page * PAGE_POSITIONS);
            }
            add_values(&weights, fade, values, sums);
        }
        let vectors = padded(self.heads.size) / VECTOR;
        for ((out, sums), running) in out.chunks_mut(self.heads.size).zip(sums.chunks(vectors)).zip(&running) {
            for (out, sum) in out.iter_mut().zip(sums.as_flattened()) {
                *out = sum / running.sum;
            }
        }
    }
}

/// Scores of the positions of a page.
#[inline(always)]
fn scores(queries: [&[f32]; QUERIES_INNER], keys: &[f32]) -> [[f32; PAGE_POSITIONS]; QUERIES_INNER] {
    let mut out = [[0.0; PAGE_POSITIONS]; QUERIES_INNER];
    let keys = keys.as_chunks::<VECTOR>().0;
    let size = (keys.len() * VECTOR / PAGE_POSITIONS).max(1);
    for (vector, keys) in keys.chunks_exact(size).enumerate() {
        let mut sums = [[0.0; VECTOR]; QUERIES_INNER];
        add_products(&mut sums, queries, keys);
        for (out, sums) in out.iter_mut().zip(sums) {
            out[vector * VECTOR..][..VECTOR].copy_from_slice(&sums);
        }
    }
    out
}

/// Adds `factors[at] * vector` for each of a run of vectors to four sums, which stay in registers.
#[inline(always)]
fn add_products(sums: &mut [Vector; QUERIES_INNER], factors: [&[f32]; QUERIES_INNER], vectors: &[Vector]) {
    let mut local = *sums;
    let [first, second, third, fourth] = factors.map(|factors| factors.iter());
    for ((((vector, first), second), third), fourth) in vectors.iter().zip(first).zip(second).zip(third).zip(fourth) {
        for (sums, factor) in local.iter_mut().zip([first, second, third, fourth]) {
            for (sum, element) in sums.iter_mut().zip(vector) {
                *sum += factor * element;
            }
        }
    }
    *sums = local;
}

/// Turns the scores of a page into weights, relative to the largest score so far; gives what
/// earlier sums are multiplied by because of that.
#[inline(always)]
fn weigh(scores: &mut [f32; PAGE_POSITIONS], running: &mut Running, query: &Query<'_>, start: usize) -> f32 {
    let from = query.from.saturating_sub(start).min(PAGE_POSITIONS);
    let until = query.until.saturating_sub(start).min(PAGE_POSITIONS);
    scores[..from].fill(UNSEEN);
    scores[until..].fill(UNSEEN);
    // Written so that a score that is no number stays in the maximum.
    let larger = |largest: f32, score: f32| if score <= largest { largest } else { score };
    let mut lanes: [f32; 8] =
        std::array::from_fn(|lane| larger(larger(scores[lane], scores[lane + 8]), larger(scores[lane + 16], scores[lane + 24])));
    for half in [4, 2, 1] {
        for lane in 0..half {
            lanes[lane] = larger(lanes[lane], lanes[lane + half]);
        }
    }
    let largest = larger(running.largest, lanes[0]);
    for score in scores.iter_mut() {
        *score = exp(*score - largest);
    }
    // Where nothing was seen yet, what is unseen is as large as the largest.
    scores[..from].fill(0.0);
    scores[until..].fill(0.0);
    let mut lanes: [f32; 8] = std::array::from_fn(|lane| (scores[lane] + scores[lane + 8]) + (scores[lane + 16] + scores[lane + 24]));
    for half in [4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    let fade = exp(running.largest - largest);
    *running = Running { largest, sum: running.sum * fade + lanes[0] };
    fade
}

/// Adds the weighted values of a page to the sums, which fade first.
#[inline(always)]
fn add_values(weights: &[[f32; PAGE_POSITIONS]; QUERIES_INNER], fade: [f32; QUERIES_INNER], values: &[f32], sums: &mut [Vector]) {
    let vectors = sums.len() / QUERIES_INNER;
    let values = values.as_chunks::<VECTOR>().0;
    for (vector, values) in values.chunks_exact(PAGE_POSITIONS).enumerate() {
        let mut faded: [Vector; QUERIES_INNER] = std::array::from_fn(|at| sums[at * vectors + vector].map(|sum| sum * fade[at]));
        add_products(&mut faded, weights.each_ref().map(|weights| weights.as_slice()), values);
        for (at, faded) in faded.into_iter().enumerate() {
            sums[at * vectors + vector] = faded;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    const HEADS: Heads = Heads { queries: 6, keys: 2, size: 20 };

    fn rows(count: usize, seed: u64) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..count * HEADS.row()).map(|_| random.next_u32() as f32 / u32::MAX as f32 * 4.0 - 2.0).collect()
    }

    fn cache() -> Pages {
        Pages::new(CacheShape { layers: 2, keys: HEADS.keys, size: HEADS.size })
    }

    fn attention(sight: Sight) -> Attention<'static, ()> {
        Attention { heads: HEADS, sight, norms: None, layer: 1 }
    }

    /// One span over pages in an odd order.
    fn span(rows: std::ops::Range<usize>, start: usize) -> Span {
        Span { rows, start, pages: vec![3, 0, 2, 5] }
    }

    /// By the definition, in double precision.
    fn exact(qkv: &[f32], row: usize, head: usize, seen: std::ops::Range<usize>) -> Vec<f64> {
        let part = |row: usize, at: usize| &qkv[row * HEADS.row() + at * HEADS.size..][..HEADS.size];
        let key_head = HEADS.queries + head / HEADS.group();
        let score =
            |other: usize| -> f64 { part(row, head).iter().zip(part(other, key_head)).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum() };
        let weights: Vec<f64> = seen.clone().map(|other| score(other).exp()).collect();
        let total: f64 = weights.iter().sum();
        let value = |other: usize, at: usize| f64::from(part(other, key_head + HEADS.keys)[at]);
        (0..HEADS.size).map(|at| seen.clone().zip(&weights).map(|(other, weight)| weight * value(other, at)).sum::<f64>() / total).collect()
    }

    #[test]
    fn every_row_mixes_what_it_sees() {
        let (count, qkv) = (75, rows(75, 1));
        for sight in [Sight::Back, Sight::Window(40), Sight::Whole] {
            for isa in Isa::available() {
                let out = attend(&qkv, &attention(sight), &[span(0..count, 0)], &mut cache(), isa);
                for (at, found) in out.chunks_exact(HEADS.size).enumerate() {
                    let (row, head) = (at / HEADS.queries, at % HEADS.queries);
                    let seen = match sight {
                        Sight::Back => 0..row + 1,
                        Sight::Window(window) => (row + 1).saturating_sub(window)..row + 1,
                        Sight::Whole => 0..count,
                    };
                    for (found, exact) in found.iter().zip(exact(&qkv, row, head, seen)) {
                        assert!((f64::from(*found) - exact).abs() < 1e-5, "{sight:?} row {row} head {head}: {found} is not {exact}");
                    }
                }
            }
        }
    }

    #[test]
    fn cuts_neighbours_and_paths_do_not_change_a_bit() {
        let qkv = rows(75, 2);
        let whole = attend(&qkv, &attention(Sight::Back), &[span(0..75, 0)], &mut cache(), Isa::Portable);
        for isa in Isa::available() {
            let mut pages = cache();
            let mut found = Vec::new();
            for (start, end) in [(0, 1), (1, 34), (34, 35), (35, 75)] {
                // Another sequence runs beside, on pages of its own.
                let other = Span { rows: 0..1, start: 0, pages: vec![7] };
                let rows = [&rows(1, 9), &qkv[start * HEADS.row()..end * HEADS.row()]].concat();
                let out = attend(&rows, &attention(Sight::Back), &[other, span(1..1 + end - start, start)], &mut pages, isa);
                found.extend_from_slice(&out[HEADS.queries * HEADS.size..]);
            }
            assert_eq!(found, whole, "{isa:?}");
        }
    }

    #[test]
    fn a_score_that_is_no_number_is_not_hidden() {
        let mut qkv = rows(3, 3);
        qkv[0] = f32::NAN;
        let out = attend(&qkv, &attention(Sight::Back), &[span(0..3, 0)], &mut cache(), Isa::detect());
        assert!(out[0].is_nan() && !out[HEADS.queries * HEADS.size].is_nan());
    }
}
