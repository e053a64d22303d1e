//! AVX2: sixteen words to a vector, eight rows.

use std::arch::x86_64::*;

use super::{Loop, Nibbles, Simd, TILE, TILE_BLOCK, Words};
use crate::engine::weights::BLOCK;

/// AVX2 with F16C. Only to be used inside functions that are compiled for both.
#[derive(Debug)]
pub(super) struct Avx2;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c")
}

#[target_feature(enable = "avx2,f16c")]
pub(super) fn run<L: Loop>(work: L) -> L::Output {
    work.run::<Avx2>()
}

/// Words in a vector.
const LANES: usize = 16;

path_of_functions!(Avx2);

#[inline]
#[target_feature(enable = "avx2")]
fn nibbles(packed: &Nibbles, out: &mut Words) {
    let mask = _mm256_set1_epi16(0x0f);
    for (at, lanes) in packed.0.as_chunks::<LANES>().0.iter().enumerate() {
        // SAFETY: sixteen words are read from an array of sixteen.
        let lanes = unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) };
        // Two vectors of lanes make a quarter; each of its nibbles is a vector of a column pair.
        let (quarter, half) = (at / 2, at % 2);
        let words = [
            _mm256_and_si256(lanes, mask),
            _mm256_and_si256(_mm256_srli_epi16::<4>(lanes), mask),
            _mm256_and_si256(_mm256_srli_epi16::<8>(lanes), mask),
            _mm256_srli_epi16::<12>(lanes),
        ];
        for (nibble, words) in words.into_iter().enumerate() {
            store(out, (4 * quarter + nibble) * 2 + half, words);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn bytes(packed: &[i8; TILE_BLOCK], out: &mut Words) {
    for (at, bytes) in packed.as_chunks::<LANES>().0.iter().enumerate() {
        // SAFETY: sixteen bytes are read from an array of sixteen.
        let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        store(out, at, _mm256_cvtepi8_epi16(bytes));
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(out: &mut Words, vector: usize, words: __m256i) {
    let to = &mut out.0[vector * LANES..][..LANES];
    // SAFETY: sixteen words are written to a slice of sixteen.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), words) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn dots<const T: usize>(block: &Words, x: [&[i16; BLOCK]; T]) -> [[i32; TILE]; T] {
    let mut sums = [[_mm256_setzero_si256(); 2]; T];
    for (pair, words) in block.0.as_chunks::<{ 2 * LANES }>().0.iter().enumerate() {
        // SAFETY: twice sixteen words are read from an array of thirty-two.
        let words = unsafe { [_mm256_loadu_si256(words.as_ptr().cast()), _mm256_loadu_si256(words.as_ptr().add(LANES).cast())] };
        for (sums, x) in sums.iter_mut().zip(x) {
            let x = _mm256_set1_epi32(i32::from(x[2 * pair].cast_unsigned()) | i32::from(x[2 * pair + 1]) << 16);
            sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(words[0], x));
            sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(words[1], x));
        }
    }
    let mut out = [[0; TILE]; T];
    for (out, sums) in out.iter_mut().zip(sums) {
        // SAFETY: twice eight sums are written to an array of sixteen.
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), sums[0]);
            _mm256_storeu_si256(out.as_mut_ptr().add(8).cast(), sums[1]);
        }
    }
    out
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn halves(packed: &[u16; TILE]) -> [f32; TILE] {
    let mut out = [0.0; TILE];
    for (half, out) in packed.as_chunks::<8>().0.iter().zip(out.as_chunks_mut::<8>().0) {
        // SAFETY: eight halves are read from, and eight singles written to, arrays of eight.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(half.as_ptr().cast()))) }
    }
    out
}
