//! The dot products of the parent module with AVX2: the same operations on the same lanes, so the
//! results are equal to the last bit.

use std::arch::x86_64::*;

use super::{ByteBlock, LANES, NibbleBlock, Part, total};

/// Sixteen lanes in two vectors.
type Lanes = (__m256, __m256);

#[target_feature(enable = "avx2")]
pub(super) fn nibble_dot(row: &[NibbleBlock], x: &[Part], sums: &[f32]) -> f32 {
    let mask = _mm_set1_epi8(0x0f);
    let mut lanes = (_mm256_setzero_ps(), _mm256_setzero_ps());
    let mut offsets = 0.0;
    for ((block, x), sum) in row.iter().zip(x).zip(sums) {
        // SAFETY: sixteen bytes are read from an array of sixteen.
        let nibbles = unsafe { _mm_loadu_si128(block.nibbles.as_ptr().cast()) };
        let low = _mm_and_si128(nibbles, mask);
        let high = _mm_and_si128(_mm_srli_epi16::<4>(nibbles), mask);
        let low = (_mm256_cvtepu8_epi32(low), _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(low)));
        let high = (_mm256_cvtepu8_epi32(high), _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(high)));
        lanes = accumulate(lanes, block.scale, low, high, x);
        offsets += block.offset * sum;
    }
    total(store(lanes)) + offsets
}

#[target_feature(enable = "avx2")]
pub(super) fn byte_dot(row: &[ByteBlock], x: &[Part]) -> f32 {
    let mut lanes = (_mm256_setzero_ps(), _mm256_setzero_ps());
    for (block, x) in row.iter().zip(x) {
        let (first, second) = block.bytes.split_at(LANES);
        // SAFETY: sixteen bytes are read from each half of an array of thirty-two.
        let (first, second) = unsafe { (_mm_loadu_si128(first.as_ptr().cast()), _mm_loadu_si128(second.as_ptr().cast())) };
        let first = (_mm256_cvtepi8_epi32(first), _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(first)));
        let second = (_mm256_cvtepi8_epi32(second), _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(second)));
        lanes = accumulate(lanes, block.scale, first, second, x);
    }
    total(store(lanes))
}

/// Adds a block: `scale * (first * x[..16] + second * x[16..])`, lane by lane.
#[target_feature(enable = "avx2")]
fn accumulate(lanes: Lanes, scale: f32, first: (__m256i, __m256i), second: (__m256i, __m256i), x: &Part) -> Lanes {
    let at = x.as_ptr();
    // SAFETY: four times eight elements are read from an array of thirty-two.
    let x = unsafe { [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8)), _mm256_loadu_ps(at.add(16)), _mm256_loadu_ps(at.add(24))] };
    let scale = _mm256_set1_ps(scale);
    let left = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(first.0), x[0]), _mm256_mul_ps(_mm256_cvtepi32_ps(second.0), x[2]));
    let right = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(first.1), x[1]), _mm256_mul_ps(_mm256_cvtepi32_ps(second.1), x[3]));
    (_mm256_add_ps(lanes.0, _mm256_mul_ps(scale, left)), _mm256_add_ps(lanes.1, _mm256_mul_ps(scale, right)))
}

#[target_feature(enable = "avx2")]
fn store(lanes: Lanes) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    // SAFETY: twice eight elements are written to an array of sixteen.
    unsafe {
        _mm256_storeu_ps(out.as_mut_ptr(), lanes.0);
        _mm256_storeu_ps(out.as_mut_ptr().add(8), lanes.1);
    }
    out
}
