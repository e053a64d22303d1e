//! AVX-512 with VNNI: thirty-two words to a vector, all rows of a tile.

use std::arch::x86_64::*;

use super::{Loop, Nibbles, Simd, TILE, TILE_BLOCK, Words};
use crate::engine::weights::BLOCK;

/// AVX-512 with VNNI. Only to be used inside functions that are compiled for it.
#[derive(Debug)]
pub(super) struct Vnni;

/// Words in a vector.
const LANES: usize = 32;

/// Sums of a row that are kept side by side when there are few rows: each waits for the one before
/// it, and without others beside it the unit would idle.
const SUMS: usize = 4;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni")
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn run<L: Loop>(work: L) -> L::Output {
    work.run::<Vnni>()
}

path_of_functions!(Vnni);

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn nibbles(packed: &Nibbles, out: &mut Words) {
    let mask = _mm512_set1_epi16(0x0f);
    for (quarter, lanes) in packed.0.as_chunks::<LANES>().0.iter().enumerate() {
        // SAFETY: thirty-two words are read from an array of thirty-two.
        let lanes = unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) };
        let words = [
            _mm512_and_si512(lanes, mask),
            _mm512_and_si512(_mm512_srli_epi16::<4>(lanes), mask),
            _mm512_and_si512(_mm512_srli_epi16::<8>(lanes), mask),
            _mm512_srli_epi16::<12>(lanes),
        ];
        for (nibble, words) in words.into_iter().enumerate() {
            store(out, 4 * quarter + nibble, words);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn bytes(packed: &[i8; TILE_BLOCK], out: &mut Words) {
    for (at, bytes) in packed.as_chunks::<LANES>().0.iter().enumerate() {
        // SAFETY: thirty-two bytes are read from an array of thirty-two.
        let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
        store(out, at, _mm512_cvtepi8_epi16(bytes));
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(out: &mut Words, vector: usize, words: __m512i) {
    let to = &mut out.0[vector * LANES..][..LANES];
    // SAFETY: thirty-two words are written to a slice of thirty-two.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), words) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dots<const T: usize>(block: &Words, x: [&[i16; BLOCK]; T]) -> [[i32; TILE]; T] {
    if T < SUMS { dots_beside::<T, SUMS>(block, x) } else { dots_beside::<T, 1>(block, x) }
}

/// With `BESIDE` sums a row.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dots_beside<const T: usize, const BESIDE: usize>(block: &Words, x: [&[i16; BLOCK]; T]) -> [[i32; TILE]; T] {
    let mut sums = [[_mm512_setzero_si512(); BESIDE]; T];
    for (turn, vectors) in block.0.as_chunks::<LANES>().0.as_chunks::<BESIDE>().0.iter().enumerate() {
        for (at, words) in vectors.iter().enumerate() {
            let pair = turn * BESIDE + at;
            // SAFETY: thirty-two words are read from an array of thirty-two.
            let words = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
            for (sums, x) in sums.iter_mut().zip(x) {
                let x = _mm512_set1_epi32(i32::from(x[2 * pair].cast_unsigned()) | i32::from(x[2 * pair + 1]) << 16);
                sums[at] = _mm512_dpwssd_epi32(sums[at], words, x);
            }
        }
    }
    let mut out = [[0; TILE]; T];
    for (out, sums) in out.iter_mut().zip(sums) {
        let sum = sums.into_iter().reduce(|sum, next| _mm512_add_epi32(sum, next)).unwrap_or(_mm512_setzero_si512());
        // SAFETY: sixteen sums are written to an array of sixteen.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) }
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f")]
fn halves(packed: &[u16; TILE]) -> [f32; TILE] {
    let mut out = [0.0; TILE];
    // SAFETY: sixteen halves are read from, and sixteen singles written to, arrays of sixteen.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), _mm512_cvtph_ps(_mm256_loadu_si256(packed.as_ptr().cast()))) }
    out
}
