//! Floats rounded to integers that share a scale.

use crate::engine::weights::BLOCK;

/// Largest magnitude of a rounded element. Sums of thirty-two products of two of them stay within
/// an `i32`; see [`crate::engine::weights::WORD_MAX`] too.
pub(super) const ROUNDED_MAX: f32 = 8_191.0;

/// Rounds a block; gives its scale and the sum of what it stands for.
#[inline(always)]
pub(super) fn round_block(x: &[f32], values: &mut [i16; BLOCK]) -> (f32, f32) {
    let (inverse, scale) = factors(x);
    let mut sum = 0i32;
    for (value, x) in values.iter_mut().zip(x) {
        let nearest = nearest(x * inverse);
        // Thirty-two of fifteen bits; a check would keep the loop from being one of vectors.
        sum = sum.wrapping_add(nearest);
        *value = nearest as i16;
    }
    (scale, scale * sum as f32)
}

/// What elements are multiplied by to become integers, and what those are multiplied by again.
#[inline(always)]
pub(super) fn factors(x: &[f32]) -> (f32, f32) {
    let largest = largest(x);
    match largest {
        0.0 => (0.0, 0.0),
        _ if largest.is_finite() => (ROUNDED_MAX / largest, largest / ROUNDED_MAX),
        // What is no number makes results that are none, which end the job with an error.
        _ => (0.0, f32::NAN),
    }
}

/// The largest magnitude, or what is no number where there is one. Magnitudes are in the order of
/// their bits, and the maximum of integers is a vector's own.
#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    const MAGNITUDE: u32 = 0x7fff_ffff;
    f32::from_bits(x.iter().map(|x| x.to_bits() & MAGNITUDE).fold(0, u32::max))
}

/// The nearest integer, of two the even one, for magnitudes below 2^22. Adding a number whose last
/// place is the unit leaves rounding to the addition, which every vector unit has.
#[inline(always)]
pub(super) fn nearest(x: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    // Neither overflows; a check would keep it from being a vector.
    (x + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_no_number_where_one_is() {
        assert_eq!((largest(&[]), largest(&[-0.0]), largest(&[1.0, -3.5, 2.0])), (0.0, 0.0, 3.5));
        assert_eq!(largest(&[1.0, f32::NEG_INFINITY]), f32::INFINITY);
        assert!(largest(&[f32::INFINITY, -f32::NAN, 1.0]).is_nan());
    }

    #[test]
    fn a_block_is_within_half_a_step() {
        let x: [f32; BLOCK] = std::array::from_fn(|at| (at as f32 - 11.3) * 0.37);
        let mut values = [0; BLOCK];
        let (scale, sum) = round_block(&x, &mut values);
        assert!(x.iter().zip(values).all(|(x, value)| (x - scale * f32::from(value)).abs() <= 0.5001 * scale));
        assert_eq!(sum, scale * values.iter().map(|value| f32::from(*value)).sum::<f32>());
        assert!(round_block(&[1.0, f32::NAN], &mut values).0.is_nan());
    }
}
