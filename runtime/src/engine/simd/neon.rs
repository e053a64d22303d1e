//! NEON: eight words to a vector, products with one word of another.
//!
//! Tested under an emulator, for its bits alone; what it is worth on a processor was not measured.

use std::arch::aarch64::*;

use super::{Loop, Nibbles, Simd, TILE, TILE_BLOCK, Words};
use crate::engine::weights::BLOCK;

/// NEON. Only to be used inside functions that are compiled for it.
#[derive(Debug)]
pub(super) struct Neon;

/// Words in a vector.
const LANES: usize = 8;

/// Vectors of a column pair.
const PAIR: usize = 2 * TILE / LANES;

/// The sums of a tile, four rows to a vector.
type Sums = [int32x4_t; TILE / 4];

pub(super) fn is_available() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

#[target_feature(enable = "neon")]
pub(super) fn run<L: Loop>(work: L) -> L::Output {
    work.run::<Neon>()
}

path_of_functions!(Neon);

#[inline]
#[target_feature(enable = "neon")]
fn nibbles(packed: &Nibbles, out: &mut Words) {
    let mask = vdupq_n_u16(0x0f);
    for (at, lanes) in packed.0.as_chunks::<LANES>().0.iter().enumerate() {
        // SAFETY: eight words are read from an array of eight.
        let lanes = unsafe { vld1q_u16(lanes.as_ptr()) };
        // Four vectors of lanes make a quarter; each of its nibbles is a vector of a column pair.
        let (quarter, part) = (at / PAIR, at % PAIR);
        let words = [
            vandq_u16(lanes, mask),
            vandq_u16(vshrq_n_u16::<4>(lanes), mask),
            vandq_u16(vshrq_n_u16::<8>(lanes), mask),
            vshrq_n_u16::<12>(lanes),
        ];
        for (nibble, words) in words.into_iter().enumerate() {
            store(out, (4 * quarter + nibble) * PAIR + part, vreinterpretq_s16_u16(words));
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn bytes(packed: &[i8; TILE_BLOCK], out: &mut Words) {
    for (at, bytes) in packed.as_chunks::<{ 2 * LANES }>().0.iter().enumerate() {
        // SAFETY: sixteen bytes are read from an array of sixteen.
        let bytes = unsafe { vld1q_s8(bytes.as_ptr()) };
        store(out, 2 * at, vmovl_s8(vget_low_s8(bytes)));
        store(out, 2 * at + 1, vmovl_high_s8(bytes));
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(out: &mut Words, vector: usize, words: int16x8_t) {
    let to = &mut out.0[vector * LANES..][..LANES];
    // SAFETY: eight words are written to a slice of eight.
    unsafe { vst1q_s16(to.as_mut_ptr(), words) }
}

#[inline]
#[target_feature(enable = "neon")]
fn dots<const T: usize>(block: &Words, x: [&[i16; BLOCK]; T]) -> [[i32; TILE]; T] {
    let mut sums = [[[vdupq_n_s32(0); TILE / 4]; 2]; T];
    let (quarters, _) = block.0.as_chunks::<{ 2 * TILE }>().0.as_chunks::<{ LANES / 2 }>();
    for (at, [first, second, third, fourth]) in quarters.iter().enumerate() {
        let x = x.map(|x| {
            let x = &x[at * LANES..][..LANES];
            // SAFETY: eight words are read from a slice of eight.
            unsafe { vld1q_s16(x.as_ptr()) }
        });
        add_pair::<0, 1, T>(&mut sums, first, &x);
        add_pair::<2, 3, T>(&mut sums, second, &x);
        add_pair::<4, 5, T>(&mut sums, third, &x);
        add_pair::<6, 7, T>(&mut sums, fourth, &x);
    }
    let mut out = [[0; TILE]; T];
    for (out, [first, second]) in out.iter_mut().zip(sums) {
        for ((out, first), second) in out.as_chunks_mut::<4>().0.iter_mut().zip(first).zip(second) {
            // SAFETY: four sums are written to an array of four.
            unsafe { vst1q_s32(out.as_mut_ptr(), vaddq_s32(first, second)) }
        }
    }
    out
}

/// Adds the products of a column pair with two neighbouring words of each row of activations.
///
/// One row alone has sums for each column of a pair: each waits for the one before it, and without
/// others beside it units would idle. More rows are enough for each other, and for the registers.
#[inline]
#[target_feature(enable = "neon")]
fn add_pair<const FIRST: i32, const SECOND: i32, const T: usize>(sums: &mut [[Sums; 2]; T], words: &[i16; 2 * TILE], x: &[int16x8_t; T]) {
    let apart = usize::from(T == 1);
    for (part, words) in words.as_chunks::<{ 2 * LANES }>().0.iter().enumerate() {
        // SAFETY: sixteen words are read from an array of sixteen; each column becomes a vector of its own.
        let int16x8x2_t(first, second) = unsafe { vld2q_s16(words.as_ptr()) };
        let (low, high) = (2 * part, 2 * part + 1);
        for (sums, x) in sums.iter_mut().zip(x) {
            sums[0][low] = vmlal_laneq_s16::<FIRST>(sums[0][low], vget_low_s16(first), *x);
            sums[0][high] = vmlal_high_laneq_s16::<FIRST>(sums[0][high], first, *x);
            sums[apart][low] = vmlal_laneq_s16::<SECOND>(sums[apart][low], vget_low_s16(second), *x);
            sums[apart][high] = vmlal_high_laneq_s16::<SECOND>(sums[apart][high], second, *x);
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn halves(packed: &[u16; TILE]) -> [f32; TILE] {
    let mut out = [0.0; TILE];
    for (half, out) in packed.as_chunks::<4>().0.iter().zip(out.as_chunks_mut::<4>().0) {
        // SAFETY: four halves are read from, and four singles written to, arrays of four.
        unsafe { vst1q_f32(out.as_mut_ptr(), vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(half.as_ptr())))) }
    }
    out
}
