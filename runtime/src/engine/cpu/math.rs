//! Functions of single elements, from IEEE operations alone: the same bits on every machine.

/// `e^x` for `x <= 0`, to about 1e-7 of itself; zero below what is normal in single precision.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const SHIFT: f32 = 12_582_912.0;
    /// Below this, powers of two leave the normal range.
    const LOWEST: f32 = -87.0;
    let clamped = if x > LOWEST { x } else { LOWEST };
    let shifted = clamped * std::f32::consts::LOG2_E + SHIFT;
    let exponent = shifted - SHIFT;
    let rest = (clamped - exponent * LN2_HIGH) - exponent * LN2_LOW;
    let mut series = 1.0 / 5_040.0;
    series = series * rest + 1.0 / 720.0;
    series = series * rest + 1.0 / 120.0;
    series = series * rest + 1.0 / 24.0;
    series = series * rest + 1.0 / 6.0;
    series = series * rest + 0.5;
    series = series * rest + 1.0;
    series = series * rest + 1.0;
    let whole = shifted.to_bits().wrapping_sub(SHIFT.to_bits());
    let power = f32::from_bits(whole.wrapping_add(127) << 23);
    if x > LOWEST { series * power } else { 0.0 }
}

/// `x * sigmoid(x)`
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    let e = exp(-x.abs());
    let sigmoid = if x >= 0.0 { 1.0 } else { e } / (1.0 + e);
    x * sigmoid
}

/// `x * Phi(x)` with the distribution function of the normal distribution.
///
/// # Source
///
/// Phi through the error function of Abramowitz and Stegun, 7.1.26, whose error is below 1.5e-7.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let mut series = 1.061_405_4;
    series = series * t - 1.453_152;
    series = series * t + 1.421_413_7;
    series = series * t - 0.284_496_74;
    series = series * t + 0.254_829_6;
    let tail = 0.5 * series * t * exp(-(z * z));
    x * if x >= 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_close_to_the_exact_ones() {
        for step in 0..20_000 {
            let x = -(step as f32) * 0.004_35;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() <= 3e-7 * exact, "{x}: {} is not {exact}", exp(x));
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!((exp(-88.0), exp(-1e30), exp(f32::NEG_INFINITY)), (0.0, 0.0, 0.0));
    }

    #[test]
    fn activations_are_close_to_the_exact_ones() {
        for step in -4_000..4_000 {
            let x = step as f32 * 0.005;
            let exact = f64::from(x) / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(silu(x)) - exact).abs() < 2e-6, "silu {x}");
        }
        for (x, exact) in [(-3.0, -0.004_049_69), (-1.0, -0.158_655_25), (0.0, 0.0), (0.5, 0.345_731_23), (2.0, 1.954_499_7)] {
            assert!((gelu(x) - exact).abs() < 1e-6, "gelu {x}: {}", gelu(x));
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        assert!(silu(f32::NAN).is_nan() && gelu(f32::NAN).is_nan());
    }
}
