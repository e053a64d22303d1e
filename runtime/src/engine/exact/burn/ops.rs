//! The operators of `docs/exact.md` on integer tensors: what `arithmetic` has, for all rows at once.
//!
//! Vectors lie along the last dimension; what belongs to a whole vector has one element there.

use burn::Tensor;
use burn::tensor::{Device, Int, TensorData};

use crate::engine::exact::arithmetic::{ACTIVATION_MAX, GATE_MAX, TABLES, norm_places};

/// Integers on a device.
pub(super) type Ints<const D: usize> = Tensor<D, Int>;

/// The three tables, and powers of two.
#[derive(Clone, Debug)]
pub(super) struct DeviceTables {
    pub(super) exp2: Ints<1>,
    sigmoid: Ints<1>,
}

impl DeviceTables {
    pub(super) fn new(device: &Device) -> Self {
        Self { exp2: upload(TABLES.exp2.to_vec(), [1024], device), sigmoid: upload(TABLES.sigmoid.to_vec(), [513], device) }
    }
}

pub(super) fn upload<const D: usize>(values: Vec<i32>, shape: [usize; D], device: &Device) -> Ints<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Entries of a table.
pub(super) fn look_up<const D: usize>(table: &Ints<1>, at: Ints<D>) -> Ints<D> {
    let shape = at.dims();
    table.clone().select(0, at.reshape([-1])).reshape(shape)
}

/// `x / 2^s`, rounded half up; `s` is for each element, or for each vector.
pub(super) fn sh<const D: usize>(x: Ints<D>, s: Ints<D>) -> Ints<D> {
    let shape = x.dims();
    let s = s.expand(shape);
    let half = x.clone().bitwise_right_shift(s.clone().clamp(1, 31).sub_scalar(1));
    let down = half.clone().bitwise_right_shift_scalar(1) + half.bitwise_and_scalar(1);
    let up = x.bitwise_left_shift(s.clone().neg().clamp(0, 31));
    let out = down.mask_where(s.clone().lower_equal_scalar(0), up);
    out.mask_fill(s.clone().greater_equal_scalar(32), 0).mask_fill(s.lower_equal_scalar(-32), 0)
}

/// `x / 2^s`, rounded half up, for one `s` from 1 to 31.
pub(super) fn sh_by<const D: usize>(x: Ints<D>, s: i32) -> Ints<D> {
    let half = if s == 1 { x } else { x.bitwise_right_shift_scalar(s - 1) };
    half.clone().bitwise_right_shift_scalar(1) + half.bitwise_and_scalar(1)
}

/// The least `b` with `x < 2^b`, for `x >= 0`.
pub(super) fn bits<const D: usize>(mut x: Ints<D>) -> Ints<D> {
    let mut bits = x.zeros_like();
    for step in [16, 8, 4, 2, 1] {
        let above = x.clone().greater_equal_scalar(1 << step).int().mul_scalar(step);
        x = x.bitwise_right_shift(above.clone());
        bits = bits + above;
    }
    // What is left is zero or one.
    bits + x
}

/// The absolute value; of the smallest integer, the greatest.
fn magnitude<const D: usize>(x: Ints<D>) -> Ints<D> {
    x.clamp_min(-i32::MAX).abs()
}

fn greatest<const D: usize>(x: &Ints<D>) -> Ints<D> {
    magnitude(x.clone()).max_dim(D - 1)
}

/// Scales vectors to fifteen bits; gives their exponents too.
pub(super) fn norm15<const D: usize>(x: Ints<D>) -> (Ints<D>, Ints<D>) {
    let top = greatest(&x);
    let exponent = bits(top.clone()).sub_scalar(15).mask_fill(top.equal_scalar(0), 0);
    (sh(x, exponent.clone()), exponent)
}

/// Rounds vectors to fourteen bits and a sign; gives their exponents too.
pub(super) fn quant14<const D: usize>(x: Ints<D>) -> (Ints<D>, Ints<D>) {
    let top = greatest(&x);
    let plain = bits(top.clone()).sub_scalar(14).clamp_min(0);
    let exponent = plain.clone() + sh(top, plain).greater_scalar(ACTIVATION_MAX).int();
    (sh(x, exponent.clone()), exponent)
}

/// Rounds vectors to bytes; gives their multipliers too.
pub(super) fn quant8<const D: usize>(x: Ints<D>) -> (Ints<D>, Ints<D>) {
    let m = greatest(&x).add_scalar(126).div_scalar(127).clamp_min(1);
    let wide = m.clone().expand(x.dims());
    let dividend = (x + wide.clone().mul_scalar(127)).mul_scalar(2) + wide.clone();
    (dividend.div(wide.mul_scalar(2)).sub_scalar(127), m)
}

/// The greatest `s` with `s * s <= n`, for `n` below 2^30.
fn isqrt<const D: usize>(n: Ints<D>) -> Ints<D> {
    // An adapter's root is within one of the true one; two steps each way leave room.
    let mut s = n.clone().float().sqrt().int();
    for _ in 0..2 {
        s = s.clone() - (s.clone() * s).greater(n.clone()).int();
    }
    for _ in 0..2 {
        let next = s.clone().add_scalar(1);
        s = s + (next.clone() * next).lower_equal(n.clone()).int();
    }
    s
}

/// Normalises vectors and multiplies them with weights; gives the binary places that the weights
/// do not add.
pub(super) fn rms_norm<const D: usize>(x: Ints<D>, weights: Ints<D>, epsilon: i32) -> (Ints<D>, i32) {
    let width = x.dims()[D - 1];
    let places = norm_places(width);
    let e = bits(greatest(&x)).sub_scalar(15).clamp_min(0);
    let x = sh(x, e.clone());
    let square = x.clone() * x.clone();
    let high = square.clone().bitwise_right_shift_scalar(15).sum_dim(D - 1);
    let low = square.bitwise_and_scalar(32_767).sum_dim(D - 1);
    let high = high + low.clone().bitwise_right_shift_scalar(15);
    let low = low.bitwise_and_scalar(32_767);
    let width = width as i32;
    let quotient = high.clone().div_scalar(width);
    let rest = high - quotient.clone().mul_scalar(width);
    let mean = quotient.mul_scalar(32_768) + (rest.mul_scalar(32_768) + low).div_scalar(width);
    let epsilon = mean.zeros_like().add_scalar(epsilon).bitwise_right_shift(e.mul_scalar(2).clamp_max(31));
    let mean = (mean + epsilon).clamp_min(1);
    let j = bits(mean.clone()).neg().add_scalar(30).bitwise_right_shift_scalar(1);
    let up = mean.clone().bitwise_left_shift(j.clone().clamp_min(0).mul_scalar(2));
    let n = up.mask_where(j.clone().lower_scalar(0), mean.bitwise_right_shift_scalar(2));
    let s = isqrt(n);
    let r = (s.zeros_like().add_scalar(1 << 29)).div(s);
    let t = sh(x.clone() * r.expand(x.dims()), j.neg().add_scalar(29 - places));
    (t * weights.expand(x.dims()), places)
}

/// The sigmoid of numbers with 16 binary places, with 15.
fn sigmoid<const D: usize>(tables: &DeviceTables, g: &Ints<D>) -> Ints<D> {
    let c = magnitude(g.clone()).clamp_max(GATE_MAX - 1);
    let i = c.clone().bitwise_right_shift_scalar(11);
    let here = look_up(&tables.sigmoid, i.clone());
    let next = look_up(&tables.sigmoid, i.add_scalar(1));
    let y = here.clone() + sh_by((next - here) * c.bitwise_and_scalar(2047), 11);
    y.clone().mask_where(g.clone().lower_scalar(0), y.neg().add_scalar(32_768))
}

/// `gate * sigmoid(gate) * up`, group by group; gives the exponents too.
pub(super) fn gated<const D: usize>(tables: &DeviceTables, gate: Ints<D>, up: Ints<D>) -> (Ints<D>, Ints<D>) {
    let open = sigmoid(tables, &gate);
    let shut = gate.clone().lower_equal_scalar(-GATE_MAX);
    let (gate, gate_exponent) = norm15(gate.mask_fill(shut, 0));
    let (up, up_exponent) = norm15(up);
    let (x, exponent) = quant14(sh_by(gate * open, 15) * up);
    (x, (exponent + gate_exponent + up_exponent).sub_scalar(32))
}

/// Turns heads `[rows, heads, size]` of fifteen bits by cosines and sines `[rows, 1, size / 2]`.
pub(super) fn turn(x: Ints<3>, [c, s]: &[Ints<3>; 2]) -> Ints<3> {
    let [rows, heads, size] = x.dims();
    let half = |from: usize| x.clone().slice([0..rows, 0..heads, from..from + size / 2]);
    let (first, second) = (half(0), half(size / 2));
    let one = first.clone() * c.clone() - second.clone() * s.clone();
    let two = first * s.clone() + second * c.clone();
    Tensor::cat(vec![sh_by(one, 14), sh_by(two, 14)], 2)
}

/// Sums of products of `x [batch, rows, k]`, at most fourteen bits and a sign, with bytes
/// `w [batch, k, n]`, shifted right by seven: `[batch, rows, n]`.
///
/// Each of two planes of seven bits is multiplied in `f32`, where its sums are exact.
pub(super) fn dots_by_128(x: Ints<3>, w: Tensor<3>) -> Ints<3> {
    let (high, low) = planes(x, w);
    high + sh_by(low, 7)
}

/// The sums themselves.
pub(super) fn dots(x: Ints<3>, w: Tensor<3>) -> Ints<3> {
    let (high, low) = planes(x, w);
    high.mul_scalar(128) + low
}

fn planes(x: Ints<3>, w: Tensor<3>) -> (Ints<3>, Ints<3>) {
    let [batch, rows, _] = x.dims();
    let negative = x.clone().bitwise_right_shift_scalar(31).bitwise_and_scalar(127);
    let high = (x.clone() + negative).bitwise_right_shift_scalar(7);
    let low = x - high.clone().mul_scalar(128);
    let sums = Tensor::cat(vec![high, low], 1).float().matmul(w).int();
    let n = sums.dims()[2];
    let plane = |from: usize| sums.clone().slice([0..batch, from..from + rows, 0..n]);
    (plane(0), plane(rows))
}
