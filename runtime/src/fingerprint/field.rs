//! Polynomials over the integers modulo 65,497.
//!
//! The prime is the format's: every finite bf16, read as sixteen bits, lies below it (the highest
//! is 65,407), and so does every element as sixteen bits. It is 2^16 - 39, so that reducing takes
//! shifts and small products, which compilers turn into vector instructions. Sums and products are
//! written as wrapping ones because they provably do not wrap, and checks would keep them scalar.

/// The modulus of all arithmetic here.
pub(super) const PRIME: u32 = 65_497;

/// 2^16 modulo [`PRIME`].
const FOLD: u32 = (1 << 16) - PRIME;

/// `value` modulo [`PRIME`], for every `value`.
#[inline]
fn reduce(value: u32) -> u32 {
    // At most 65,535 * 40 after the first fold, at most 65,535 + 39 * 39 after the second.
    let once = (value & 0xffff).wrapping_add((value >> 16).wrapping_mul(FOLD));
    let twice = (once & 0xffff).wrapping_add((once >> 16).wrapping_mul(FOLD));
    // Below the prime the difference wraps to a large number, and the minimum keeps `twice`.
    twice.min(twice.wrapping_sub(PRIME))
}

/// `a * b + c` of three elements: at most 65,496 * 65,497, which 32 bits hold.
#[inline]
fn mul_add(a: u32, b: u32, c: u32) -> u32 {
    reduce(a.wrapping_mul(b).wrapping_add(c))
}

/// `a - b` of two elements.
#[inline]
fn sub(a: u32, b: u32) -> u32 {
    reduce(a.wrapping_add(PRIME).wrapping_sub(b))
}

/// The polynomial of least degree through all `(xs[i], ys[i])`, constant term first, as many
/// coefficients as points. Elements all; no two of `xs` are equal.
///
/// It is the sum of `ys[i] / w[i] * M(x) / (x - xs[i])`, where `M` is the product of all
/// `x - xs[i]`, and `w[i]` the product of `xs[i] - xs[j]` over the others. That takes one inversion
/// a point where divided differences take one a pair, and the points are independent lanes.
pub(super) fn interpolate(xs: &[u32], ys: &[u32]) -> Vec<u32> {
    let master = product(xs);
    let mut scales = inverses(&weights(xs));
    scales.iter_mut().zip(ys).for_each(|(scale, y)| *scale = mul_add(*scale, *y, 0));

    let mut coefficients = vec![0; xs.len()];
    let mut quotients = vec![0; xs.len()];
    // Synthetic division by every `x - xs[i]` at once, from the highest power down.
    for (coefficient, above) in coefficients.iter_mut().zip(master.iter().skip(1)).rev() {
        let mut sum = 0u32;
        for ((quotient, x), scale) in quotients.iter_mut().zip(xs).zip(&scales) {
            *quotient = mul_add(*quotient, *x, *above);
            // Of elements, and far fewer than the 65,576 that 32 bits hold.
            sum = sum.wrapping_add(mul_add(*quotient, *scale, 0));
        }
        *coefficient = reduce(sum);
    }
    coefficients
}

/// The values at `xs` of the polynomial with `coefficients`, constant term first. Elements all.
pub(super) fn evaluate(coefficients: impl DoubleEndedIterator<Item = u32>, xs: &[u32]) -> Vec<u32> {
    let mut values = vec![0; xs.len()];
    for coefficient in coefficients.rev() {
        values.iter_mut().zip(xs).for_each(|(value, x)| *value = mul_add(*value, *x, coefficient));
    }
    values
}

/// The product of all `x - xs[i]`, constant term first.
fn product(xs: &[u32]) -> Vec<u32> {
    let mut product = Vec::with_capacity(xs.len() + 1);
    product.push(1);
    for x in xs {
        let negated = sub(0, *x);
        let mut shifted = Vec::with_capacity(xs.len() + 1);
        shifted.push(0);
        shifted.extend_from_slice(&product);
        shifted.iter_mut().zip(&product).for_each(|(to, from)| *to = mul_add(*from, negated, *to));
        product = shifted;
    }
    product
}

/// For each of `xs`, the product of its differences to all others.
fn weights(xs: &[u32]) -> Vec<u32> {
    let mut weights = vec![1; xs.len()];
    for other in xs {
        for (weight, x) in weights.iter_mut().zip(xs) {
            let difference = if x == other { 1 } else { sub(*x, *other) };
            *weight = mul_add(*weight, difference, 0);
        }
    }
    weights
}

/// The inverses of elements other than zero: their powers of `PRIME - 2`.
fn inverses(elements: &[u32]) -> Vec<u32> {
    let exponent = PRIME - 2;
    let mut powers = vec![1; elements.len()];
    for bit in (0..u32::BITS - exponent.leading_zeros()).rev() {
        let multiply = exponent >> bit & 1 == 1;
        for (power, element) in powers.iter_mut().zip(elements) {
            let squared = mul_add(*power, *power, 0);
            *power = if multiply { mul_add(squared, *element, 0) } else { squared };
        }
    }
    powers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_modulus_is_prime_and_above_every_finite_bf16() {
        assert!((2..256).all(|divisor| !PRIME.is_multiple_of(divisor)));
        assert!(u32::from(0xff7f_u16) < PRIME, "the most negative number");
    }

    #[test]
    fn every_element_but_zero_has_an_inverse() {
        let elements: Vec<u32> = (1..PRIME).collect();
        let products = elements.iter().zip(inverses(&elements)).map(|(element, inverse)| mul_add(*element, inverse, 0));
        assert!(products.into_iter().all(|product| product == 1));
    }

    #[test]
    fn edges_reduce() {
        for value in [0, 1, PRIME - 1, PRIME, PRIME + 1, 0xffff, 0x1_0000, u32::MAX - 1, u32::MAX, (PRIME - 1) * PRIME] {
            assert_eq!(reduce(value), value % PRIME, "{value}");
        }
    }

    /// Distinct elements, each with a value.
    fn points() -> impl Strategy<Value = Vec<(u32, u32)>> {
        proptest::collection::btree_map(0..PRIME, 0..PRIME, 1..129).prop_map(|points| points.into_iter().collect()).prop_shuffle()
    }

    proptest! {
        #[test]
        fn reducing_is_the_remainder(value in any::<u32>()) {
            prop_assert_eq!(reduce(value), value % PRIME);
        }

        #[test]
        fn the_interpolation_passes_through_all_points(points in points()) {
            let (xs, ys): (Vec<u32>, Vec<u32>) = points.into_iter().unzip();
            let coefficients = interpolate(&xs, &ys);
            prop_assert_eq!(coefficients.len(), xs.len());
            prop_assert_eq!(evaluate(coefficients.into_iter(), &xs), ys);
        }

        #[test]
        fn evaluation_is_the_sum_of_powers(coefficients in proptest::collection::vec(0..PRIME, 1..20), x in 0..PRIME) {
            let power = |k: usize| (0..k).fold(1u64, |power, _| power * u64::from(x) % u64::from(PRIME));
            let sum: u64 = coefficients.iter().enumerate().map(|(k, c)| u64::from(*c) * power(k)).sum();
            prop_assert_eq!(evaluate(coefficients.into_iter(), &[x]), vec![(sum % u64::from(PRIME)) as u32]);
        }
    }
}
