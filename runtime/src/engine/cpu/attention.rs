//! Attention over keys and values in pages, page by page with a running maximum.
//!
//! Each query goes through its pages in order and by itself, so its result does not depend on which
//! queries are beside it.

use std::ops::Range;

use rayon::prelude::*;

use super::math::exp;
use super::pages::{Kept, Pages, Place, Positions};
use super::rounding::round_block;
use crate::engine::simd::{Isa, Loop, Simd, TILE, prefetch};
use crate::engine::tiles::Shared;
use crate::engine::weights::BLOCK;
use crate::engine::{Attention, Heads, PAGE_POSITIONS, Sight, Span};

/// Queries in one turn of the inner loop: as many sums as there are registers for.
const QUERIES_INNER: usize = 4;

/// Rows of a span that one task computes.
const TASK_ROWS: usize = 16;

/// A score that loses against any other. Finite, so that differences of two are numbers.
const UNSEEN: f32 = -1e30;

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
        keep_span(qkv, heads, what.layer, span, cache, isa);
    }
    let tasks: Vec<Task<'_>> = spans.iter().flat_map(|span| tasks(span, heads)).collect();
    let rows: usize = spans.iter().map(|span| span.rows.len()).sum();
    let mut mixed = vec![0.0; rows * heads.queries * heads.size];
    let mixer = Mixer { qkv, heads, sight: what.sight, layer: what.layer, cache, mixed: Shared::new(&mut mixed) };
    tasks.par_iter().for_each(|task| isa.run(OneTask { mixer: &mixer, task }));
    mixed
}

fn keep_span(qkv: &[f32], heads: Heads, layer: usize, span: &Span, cache: &mut Pages, isa: Isa) {
    let (from, width) = (heads.queries * heads.size, heads.keys * heads.size);
    for (row, position) in span.rows.clone().zip(span.start..) {
        let row = &qkv[row * heads.row() + from..][..2 * width];
        let (keys, values) = row.split_at(width);
        for (head, (key, value)) in keys.chunks_exact(heads.size).zip(values.chunks_exact(heads.size)).enumerate() {
            let place = Place { layer, page: span.pages[position / PAGE_POSITIONS], head, position: position % PAGE_POSITIONS };
            isa.run(cache.keep(place, key, value));
        }
    }
}

fn tasks(span: &Span, heads: Heads) -> impl Iterator<Item = Task<'_>> {
    let rows = span.rows.len();
    (0..rows)
        .step_by(TASK_ROWS)
        .flat_map(move |first| (0..heads.keys).map(move |head| Task { span, head, first, rows: TASK_ROWS.min(rows - first) }))
}

/// What the tasks of one attention share.
struct Mixer<'a> {
    qkv: &'a [f32],
    heads: Heads,
    sight: Sight,
    layer: usize,
    cache: &'a Pages,
    /// `[row][head][size]`
    mixed: Shared<'a, f32>,
}

/// A query, and the positions that it sees.
#[derive(Clone, Copy)]
struct Query<'a> {
    elements: &'a [f32],
    from: usize,
    until: usize,
    /// Where its result goes.
    place: usize,
}

impl Query<'_> {
    /// What it sees of a page that starts at some position.
    #[inline(always)]
    fn seen(&self, start: usize) -> Range<usize> {
        self.from.saturating_sub(start).min(PAGE_POSITIONS)..self.until.saturating_sub(start).min(PAGE_POSITIONS)
    }
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
}

impl Loop for OneTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        self.mixer.mix_task::<S>(self.task);
    }
}

impl<'a> Mixer<'a> {
    #[inline(always)]
    fn mix_task<S: Simd>(&self, task: &Task<'_>) {
        let mut room = Room::new(self.heads.size);
        let queries = task.rows * self.heads.group();
        let whole = queries - queries % QUERIES_INNER;
        for first in (0..whole).step_by(QUERIES_INNER) {
            self.mix::<S, QUERIES_INNER>(task, first, &mut room);
        }
        match queries - whole {
            3 => self.mix::<S, 3>(task, whole, &mut room),
            2 => self.mix::<S, 2>(task, whole, &mut room),
            1 => self.mix::<S, 1>(task, whole, &mut room),
            _ => {}
        }
    }

    /// Mixes `Q` queries of a task, from one on.
    #[inline(always)]
    fn mix<S: Simd, const Q: usize>(&self, task: &Task<'_>, first: usize, room: &mut Room) {
        let queries: [Query<'_>; Q] = std::array::from_fn(|at| self.query(task, first + at));
        room.round(&queries);
        let (blocks, sums) = (room.blocks.as_slice(), &mut room.sums[..Q * room.tiles]);
        sums.fill([0.0; TILE]);
        let mut running: [Running; Q] = std::array::from_fn(|_| Running { largest: UNSEEN, sum: 0.0 });
        let from = queries.iter().map(|query| query.from).min().unwrap_or(0) / PAGE_POSITIONS;
        let until = queries.iter().map(|query| query.until).max().unwrap_or(0).div_ceil(PAGE_POSITIONS);
        for (page, id) in task.span.pages.iter().enumerate().take(until).skip(from) {
            let kept = self.cache.head(self.layer, *id, task.head);
            // While this page is computed with, the next comes.
            let next = task.span.pages[..until].get(page + 1).map(|id| self.cache.head(self.layer, *id, task.head));
            let mut weights = scores::<S, Q>(blocks, kept, next);
            let mut fade = [1.0; Q];
            for (((weights, running), query), fade) in weights.iter_mut().zip(&mut running).zip(&queries).zip(&mut fade) {
                *fade = weigh(weights, running, &query.seen(page * PAGE_POSITIONS), kept.value_scales);
            }
            add_values::<S, Q>(&weights, fade, kept, next, sums);
        }
        for ((sums, running), query) in sums.chunks_mut(room.tiles).zip(&running).zip(&queries) {
            let sums = sums.as_flattened_mut();
            sums.iter_mut().for_each(|sum| *sum /= running.sum);
            // SAFETY: each query belongs to one task, and has a place of its own.
            unsafe { self.mixed.write(query.place, &sums[..self.heads.size]) };
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
        let (row, size) = (task.span.rows.start + row, self.heads.size);
        let elements = &self.qkv[row * self.heads.row() + head * size..][..size];
        Query { elements, from, until, place: (row * self.heads.queries + head) * size }
    }
}

/// A rounded block of a query, and its scale.
type Rounded = ([i16; BLOCK], f32);

/// What a task computes in.
struct Room {
    /// `[block][query]`
    blocks: Vec<[Rounded; QUERIES_INNER]>,
    /// Tiles of a head's elements.
    tiles: usize,
    /// `[query][tile]`
    sums: Vec<[f32; TILE]>,
}

impl Room {
    fn new(size: usize) -> Self {
        let tiles = size.div_ceil(TILE);
        let blocks = vec![[([0; BLOCK], 0.0); QUERIES_INNER]; size.div_ceil(BLOCK)];
        Self { blocks, tiles, sums: vec![[0.0; TILE]; QUERIES_INNER * tiles] }
    }

    #[inline(always)]
    fn round(&mut self, queries: &[Query<'_>]) {
        for (at, query) in queries.iter().enumerate() {
            for (elements, block) in query.elements.chunks(BLOCK).zip(&mut self.blocks) {
                let (rounded, scale) = &mut block[at];
                (*scale, _) = round_block(elements, rounded);
            }
        }
    }
}

/// Scores of the positions of a page.
#[inline(always)]
fn scores<S: Simd, const Q: usize>(queries: &[[Rounded; QUERIES_INNER]], kept: Kept<'_>, next: Option<Kept<'_>>) -> [Positions; Q] {
    let mut out = [[0.0; PAGE_POSITIONS]; Q];
    let mut next = next.map_or([].iter(), |next| next.keys.iter());
    for (half, keys) in kept.keys.chunks_exact(queries.len()).enumerate() {
        for ((keys, scales), queries) in keys.iter().zip(kept.key_scales).zip(queries) {
            if let Some(next) = next.next() {
                prefetch(next);
            }
            let dots = S::dots::<Q>(keys, std::array::from_fn(|at| &queries[at].0));
            let scales = &scales[half * TILE..][..TILE];
            for ((out, dots), (_, scale)) in out.iter_mut().zip(&dots).zip(queries) {
                for ((out, dot), key) in out[half * TILE..][..TILE].iter_mut().zip(dots).zip(scales) {
                    *out += key * scale * *dot as f32;
                }
            }
        }
    }
    out
}

/// Turns the scores of a page into weights, relative to the largest score so far, times the scales of
/// its values; gives what earlier sums are multiplied by because of that.
#[inline(always)]
fn weigh(scores: &mut Positions, running: &mut Running, seen: &Range<usize>, scales: &Positions) -> f32 {
    scores[..seen.start].fill(UNSEEN);
    scores[seen.end..].fill(UNSEEN);
    // Written so that a score that is no number stays in the maximum.
    let larger = |largest: f32, score: f32| if score <= largest { largest } else { score };
    let largest = larger(running.largest, folded(scores, larger));
    for score in scores.iter_mut() {
        *score = exp(*score - largest);
    }
    // Where nothing was seen yet, what is unseen is as large as the largest.
    scores[..seen.start].fill(0.0);
    scores[seen.end..].fill(0.0);
    let fade = exp(running.largest - largest);
    *running = Running { largest, sum: running.sum * fade + folded(scores, |sum, weight| sum + weight) };
    scores.iter_mut().zip(scales).for_each(|(weight, scale)| *weight *= scale);
    // The scales of what is unseen may be those of another job, and no numbers.
    scores[..seen.start].fill(0.0);
    scores[seen.end..].fill(0.0);
    fade
}

/// Folds the positions of a page, side by side and in one written order.
#[inline(always)]
fn folded(of: &Positions, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes: [f32; 8] = std::array::from_fn(|lane| f(f(of[lane], of[lane + 8]), f(of[lane + 16], of[lane + 24])));
    for half in [4, 2, 1] {
        for lane in 0..half {
            lanes[lane] = f(lanes[lane], lanes[lane + half]);
        }
    }
    lanes[0]
}

/// Adds the weighted values of a page to the sums, which fade first.
#[inline(always)]
fn add_values<S: Simd, const Q: usize>(
    weights: &[Positions; Q],
    fade: [f32; Q],
    kept: Kept<'_>,
    next: Option<Kept<'_>>,
    sums: &mut [[f32; TILE]],
) {
    let mut rounded = [([0; BLOCK], 0.0); Q];
    for ((values, scale), weights) in rounded.iter_mut().zip(weights) {
        (*scale, _) = round_block(weights, values);
    }
    let tiles = sums.len() / Q;
    for (tile, values) in kept.values.iter().enumerate() {
        if let Some(next) = next {
            prefetch(&next.values[tile]);
        }
        let dots = S::dots::<Q>(values, rounded.each_ref().map(|(values, _)| values));
        for (at, dots) in dots.iter().enumerate() {
            let (fade, scale) = (fade[at], rounded[at].1);
            for (sum, dot) in sums[at * tiles + tile].iter_mut().zip(dots) {
                *sum = *sum * fade + scale * *dot as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::CacheShape;
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
                        // Half a step of each of twenty elements of queries and keys moves a score by 0.01 at most, and
                        // with it a mean of values within two.
                        assert!((f64::from(*found) - exact).abs() < 0.01, "{sight:?} row {row} head {head}: {found} is not {exact}");
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
    fn what_an_earlier_job_left_in_a_page_is_not_seen() {
        let (first, second) = (vec![f32::NAN; 40 * HEADS.row()], rows(34, 4));
        let mut used = cache();
        attend(&first, &attention(Sight::Back), &[span(0..40, 0)], &mut used, Isa::detect());
        for sight in [Sight::Back, Sight::Window(3), Sight::Whole] {
            let alone = attend(&second, &attention(sight), &[span(0..34, 0)], &mut cache(), Isa::detect());
            assert_eq!(attend(&second, &attention(sight), &[span(0..34, 0)], &mut used, Isa::detect()), alone, "{sight:?}");
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
