//! The operators of `docs/exact.md`, sections 1, 2 and 4, on single rows and heads.
//!
//! Sums, products and left shifts wrap, as the page says; where its section 8 shows that they do
//! not, wrapping only keeps loops free of checks.

use std::sync::LazyLock;

/// Positions of a block of attention.
pub(crate) const BLOCK_POSITIONS: usize = 512;

/// Greatest magnitude of an activation that goes into a product.
pub(crate) const ACTIVATION_MAX: i32 = 16_383;

/// Greatest magnitude of a score, and of a logit.
pub(crate) const SCORE_MAX: i32 = 1 << 24;

/// `x / 2^s`, rounded half up.
#[inline(always)]
pub(crate) fn sh(x: i32, s: i32) -> i32 {
    let half = x >> (s.clamp(1, 31) - 1);
    let down = if s >= 32 { 0 } else { (half >> 1) + (half & 1) };
    let up = if s <= -32 { 0 } else { x << (-s).clamp(0, 31) };
    if s > 0 { down } else { up }
}

/// The least `b` with `x < 2^b`, for `x >= 0`.
#[inline(always)]
pub(crate) fn bits(x: i32) -> i32 {
    (i32::BITS - x.leading_zeros()).cast_signed()
}

fn greatest(x: &[i32]) -> i32 {
    x.iter().fold(0, |greatest, x| greatest.max(x.saturating_abs()))
}

fn shift_all(x: &mut [i32], s: i32) {
    if (1..=31).contains(&s) {
        for x in x {
            let half = *x >> (s - 1);
            *x = (half >> 1) + (half & 1);
        }
    } else {
        x.iter_mut().for_each(|x| *x = sh(*x, s));
    }
}

/// Scales a vector to fifteen bits; gives the exponent.
pub(crate) fn norm15(x: &mut [i32]) -> i32 {
    let top = greatest(x);
    let exponent = if top == 0 { 0 } else { bits(top) - 15 };
    shift_all(x, exponent);
    exponent
}

/// Rounds a vector to fourteen bits and a sign; gives the exponent.
pub(crate) fn quant14(x: &mut [i32]) -> i32 {
    let top = greatest(x);
    let plain = (bits(top) - 14).max(0);
    let exponent = plain + i32::from(sh(top, plain) > ACTIVATION_MAX);
    shift_all(x, exponent);
    exponent
}

/// Rounds a vector of magnitudes up to 46,355 to bytes; gives the multiplier.
pub(crate) fn quant8(x: &[i32], out: &mut [i8]) -> i32 {
    let m = ((greatest(x) + 126) / 127).max(1);
    for (out, x) in out.iter_mut().zip(x) {
        *out = ((2 * (x + 127 * m) + m) / (2 * m) - 127) as i8;
    }
    m
}

/// The sum of products.
#[inline(always)]
pub(crate) fn dot(x: &[i16], w: &[i8]) -> i32 {
    x.iter().zip(w).fold(0i32, |sum, (x, w)| sum.wrapping_add(i32::from(*x).wrapping_mul(i32::from(*w))))
}

/// The three tables.
#[derive(Debug)]
pub(crate) struct Tables {
    /// `2^14 * 2^(-i/1024)`
    pub(crate) exp2: [i32; 1024],
    /// `2^15 / (1 + e^(-i/32))`
    pub(crate) sigmoid: [i32; 513],
    /// `2^14 * sin(pi * i / 512)`
    pub(crate) sine: [i32; 257],
}

/// No entry lies near a rounding boundary, so any double-precision library makes the same ones.
pub(crate) static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let round = |x: f64| (x + 0.5).floor() as i32;
    Tables {
        exp2: std::array::from_fn(|i| round(16_384.0 * (-(i as f64) / 1024.0).exp2()).min(ACTIVATION_MAX)),
        sigmoid: std::array::from_fn(|i| round(32_768.0 / (1.0 + (-(i as f64) / 32.0).exp()))),
        sine: std::array::from_fn(|i| round(16_384.0 * (std::f64::consts::PI * i as f64 / 512.0).sin())),
    }
});

/// The sine of a phase in units of 2^-32 turns, with 14 binary places.
pub(crate) fn sine(phase: u32) -> i32 {
    let table = &TABLES.sine;
    let quadrant = phase >> 30;
    let inside = (phase & ((1 << 30) - 1)).cast_signed();
    let z = if quadrant & 1 == 1 { (1 << 30) - inside } else { inside };
    let (i, f) = ((z >> 22) as usize, z >> 8 & 16_383);
    let y = table[i] + sh((table[(i + 1).min(256)] - table[i]) * f, 14);
    if quadrant & 2 == 2 { -y } else { y }
}

/// The sigmoid of a number with 16 binary places, with 15.
#[inline(always)]
pub(crate) fn sigmoid(table: &[i32; 513], g: i32) -> i32 {
    let c = g.saturating_abs().min(GATE_MAX - 1);
    let (i, f) = ((c >> 11) as usize, c & 2047);
    let y = table[i] + sh((table[i + 1] - table[i]) * f, 11);
    if g < 0 { 32_768 - y } else { y }
}

/// From this magnitude on a gate is open, or shut.
pub(crate) const GATE_MAX: i32 = 1 << 20;

/// `round(epsilon * 2^places)`
pub(crate) fn fixed_epsilon(epsilon: f32, places: i32) -> i32 {
    (f64::from(epsilon) * power_of_two(places) + 0.5).floor() as i32
}

/// `2^e` for exponents that a double has.
pub(crate) fn power_of_two(e: i32) -> f64 {
    f64::from_bits(u64::from((1023 + e).cast_unsigned()) << 52)
}

/// Normalises a row in place by the root of its mean square, and multiplies it with weights; gives
/// the binary places that the weights do not add.
pub(crate) fn rms_norm(row: &mut [i32], weights: &[i32], epsilon: i32) -> i32 {
    let width = row.len() as i32;
    let e = (bits(greatest(row)) - 15).max(0);
    shift_all(row, e);
    let (mut high, mut low) = (0i32, 0i32);
    for x in row.iter() {
        let square = x.wrapping_mul(*x);
        high = high.wrapping_add(square >> 15);
        low = low.wrapping_add(square & 32_767);
    }
    high += low >> 15;
    low &= 32_767;
    let mean = (high / width) * 32_768 + ((high % width) * 32_768 + low) / width;
    let mean = (mean + if 2 * e > 31 { 0 } else { epsilon >> (2 * e) }).max(1);
    let j = (30 - bits(mean)) >> 1;
    let n = if j < 0 { mean >> 2 } else { mean << (2 * j) };
    let r = (1 << 29) / n.isqrt();
    let places = norm_places(row.len());
    let shift = 29 - j - places;
    for (x, weight) in row.iter_mut().zip(weights) {
        *x = sh(x.wrapping_mul(r), shift).wrapping_mul(*weight);
    }
    places
}

/// Binary places of a normalised value in a row of some width.
pub(crate) fn norm_places(width: usize) -> i32 {
    15 - ((bits(width as i32 - 1) + 1) >> 1)
}

/// Turns a head of fifteen bits: element `i` with element `i + size / 2`.
pub(crate) fn turn(head: &mut [i32], sines: &[(i32, i32)]) {
    let (first, second) = head.split_at_mut(sines.len());
    for ((first, second), (c, s)) in first.iter_mut().zip(second).zip(sines) {
        let turned = (*first * c - *second * s, *first * s + *second * c);
        (*first, *second) = (sh(turned.0, 14), sh(turned.1, 14));
    }
}

/// Cosine and sine of each pair at a position.
pub(crate) fn sines(steps: &[u32], position: usize) -> impl Iterator<Item = (i32, i32)> + '_ {
    // Phases count turns modulo one, so a position counts modulo 2^32.
    let position = position as u32;
    steps.iter().map(move |step| {
        let phase = position.wrapping_mul(*step);
        (sine(phase.wrapping_add(1 << 30)), sine(phase))
    })
}

/// `gate * sigmoid(gate) * up` of a group, into `gate`; gives the exponent.
pub(crate) fn gated(gate: &mut [i32], up: &mut [i32]) -> i32 {
    let table = &TABLES.sigmoid;
    let mut open = [0i32; super::GROUP_MAX];
    for (gate, open) in gate.iter_mut().zip(&mut open) {
        *open = sigmoid(table, *gate);
        if *gate <= -GATE_MAX {
            *gate = 0;
        }
    }
    let exponents = norm15(gate) + norm15(up);
    for ((gate, up), open) in gate.iter_mut().zip(up).zip(open) {
        *gate = sh(gate.wrapping_mul(open), 15).wrapping_mul(*up);
    }
    quant14(gate) + exponents - 32
}
