//! The whole engine, operation by operation: against the reference, and every path against every
//! other.

use std::num::NonZeroUsize;

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::*;
use crate::engine::exact::integers::IntegerMatrix;
use crate::engine::exact::tests::{Attend, Linear, operators};
use crate::engine::simd::Isa;
use crate::engine::{Heads, PAGE_POSITIONS, Sight};

fn matrix(integers: &IntegerMatrix, places: i32) -> Matrix {
    Matrix { columns: integers.columns, table: None, tiles: vec![Tiles::new(integers)], places }
}

fn engine(isa: Isa, threads: usize) -> Cpu {
    Cpu::new(Processor::with_isa(isa, NonZeroUsize::new(threads).unwrap()).unwrap())
}

#[test]
fn products_are_the_references_on_every_path() {
    for case in operators().linear {
        let matrix = matrix(&case.matrix(), case.5);
        let Linear(x, exponents, .., expected) = case;
        let operand = Operand::from_parts(Rows { width: x.len(), values: x }, exponents);
        for isa in Isa::available() {
            assert_eq!(engine(isa, 1).project(&operand, &matrix, None).values, expected, "{isa:?}");
        }
    }
}

/// Keys and values as they are in the vectors, in a cache.
fn filled(case: &Attend) -> (Pages, Span) {
    let seen = &case.3;
    let count = seen.1.len();
    let shape = CacheShape { layers: 1, keys: 1, size: case.1.len() };
    // Pages need not be in order.
    let pages: Vec<u32> = (0..count.div_ceil(PAGE_POSITIONS) as u32).rev().collect();
    let mut cache = Pages::new(shape);
    for position in 0..count {
        let page = pages[position / PAGE_POSITIONS];
        cache.put(0, page, position, &seen.0[position], (seen.1[position], seen.2[position]));
        cache.put(1, page, position, &seen.3[position], (seen.4[position], seen.5[position]));
    }
    (cache, Span { rows: 0..1, start: count - 1, pages })
}

#[test]
fn attention_is_the_references_on_every_path() {
    for case in operators().attend {
        let (cache, span) = filled(&case);
        let Attend(position, query, exponent, .., expected) = case;
        assert_eq!(span.start, position);
        for isa in Isa::available() {
            let found = attention::mixed(&query, exponent, &span, &cache, isa);
            assert_eq!(found, expected, "{isa:?}, position {position}");
        }
    }
}

fn integers(random: &mut ChaCha8Rng, rows: usize, columns: usize, extreme: bool) -> IntegerMatrix {
    let group = group_of(columns).unwrap();
    let mut word = || random.next_u32();
    IntegerMatrix {
        columns,
        group,
        exponent: 4,
        multipliers: (0..rows * columns / group).map(|_| if extreme { 1023 } else { 1 + (word() % 1023) as u16 }).collect(),
        weights: (0..rows * columns)
            .map(|_| {
                let word = word();
                if extreme { if word & 1 == 0 { 127 } else { -127 } } else { (word % 255) as i8 }
            })
            .map(|weight: i8| weight.max(-127))
            .collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn paths_threads_and_neighbours_do_not_change_a_product(
        seed in any::<u64>(), rows in 1usize..70, blocks in 1usize..6, count in 1usize..80, extreme in any::<bool>(), shift in -40i32..40,
    ) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let columns = 32 * blocks;
        let matrix = matrix(&integers(&mut random, rows, columns, extreme), 16);
        let values: Vec<i32> = (0..count * columns)
            .map(|_| if extreme { 16_383 - 32_766 * (random.next_u32() & 1) as i32 } else { (random.next_u32() % 32_767) as i32 - 16_383 })
            .collect();
        let exponents: Vec<i32> = (0..values.len() / matrix_group(columns)).map(|_| -shift - 19 - (random.next_u32() % 3) as i32).collect();
        let together = Operand::from_parts(Rows { width: columns, values: values.clone() }, exponents.clone());
        let expected = engine(Isa::Portable, 2).project(&together, &matrix, None).values;
        let groups = columns / matrix_group(columns);
        for isa in Isa::available() {
            let engine = engine(isa, 1);
            for (at, (values, exponents)) in values.chunks_exact(columns).zip(exponents.chunks_exact(groups)).enumerate() {
                let alone = Operand::from_parts(Rows { width: columns, values: values.to_vec() }, exponents.to_vec());
                prop_assert_eq!(&engine.project(&alone, &matrix, None).values, &expected[at * rows..][..rows]);
            }
        }
    }

    #[test]
    fn cuts_and_neighbours_do_not_change_an_attention(seed in any::<u64>(), cut in 1usize..74, top in 4u32..31) {
        const HEADS: Heads = Heads { queries: 4, keys: 2, size: 16 };
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let width = HEADS.row();
        let qkv: Vec<i32> = (0..75 * width).map(|_| (random.next_u32() >> (32 - top)) as i32 - (1 << (top - 1))).collect();
        let what = Attention::<IntegerVector> { heads: HEADS, sight: Sight::Back, norms: None, layer: 0 };
        let shape = CacheShape { layers: 1, keys: 2, size: 16 };
        let pages = vec![4, 0, 2];
        let sines = |start: usize, count: usize| (start..start + count).flat_map(|position| sines(&[1 << 20; 8], position)).collect::<Vec<_>>();
        let run = |engine: &Cpu, cache: &mut Pages, values: Vec<i32>, spans: Vec<Span>, sines: Vec<(i32, i32)>| {
            let pass = Pass { spans, sines, pairs: 8 };
            engine.attend(Rows { width, values }, &what, &pass, cache)
        };
        let span = |rows, start| Span { rows, start, pages: pages.clone() };
        let whole = run(&engine(Isa::Portable, 2), &mut Pages::new(shape), qkv.clone(), vec![span(0..75, 0)], sines(0, 75));
        for isa in Isa::available() {
            let (engine, mut cache) = (engine(isa, 1), Pages::new(shape));
            let mut found = Vec::new();
            for (start, end) in [(0, cut), (cut, 75)] {
                // Another sequence runs beside, on a page of its own.
                let other = Span { rows: 0..1, start: 0, pages: vec![7] };
                let rows = [&qkv[..width], &qkv[start * width..end * width]].concat();
                let sines = [sines(0, 1), sines(start, end - start)].concat();
                let out = run(&engine, &mut cache, rows, vec![other, span(1..1 + end - start, start)], sines);
                found.push(out.rows_from(1));
            }
            prop_assert_eq!(Operand::joined(&found), whole.rows_from(0));
        }
    }
}

fn matrix_group(columns: usize) -> usize {
    group_of(columns).unwrap()
}

impl Operand {
    /// Values and exponents of the rows from one on.
    fn rows_from(&self, row: usize) -> (Vec<i16>, Vec<i32>) {
        (self.values[row * self.width..].to_vec(), self.exponents[row * self.exponents.len() / self.rows()..].to_vec())
    }

    fn joined(parts: &[(Vec<i16>, Vec<i32>)]) -> (Vec<i16>, Vec<i32>) {
        parts.iter().cloned().reduce(|one, two| ([one.0, two.0].concat(), [one.1, two.1].concat())).unwrap()
    }
}
