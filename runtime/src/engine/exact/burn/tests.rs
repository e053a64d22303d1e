//! Operators on tensors against the reference, on every device that there is.

use burn::tensor::Device;

use super::ops::*;
use super::*;
use crate::engine::exact::arithmetic;
use crate::engine::exact::tests::{Linear, Norm, operators};

/// burn's own engine on the processor, and the adapter if there is one.
fn devices() -> Vec<Device> {
    let adapter = crate::Device::open(crate::DeviceChoice::Wgpu).ok();
    [Some(Device::flex()), adapter.and_then(|device| device.burn().cloned())].into_iter().flatten().collect()
}

fn row(values: &[i32], device: &Device) -> Ints<2> {
    upload(values.to_vec(), [1, values.len()], device)
}

fn back<const D: usize>(x: Ints<D>) -> Vec<i32> {
    integers(x).unwrap()
}

#[test]
fn shifts_round_as_on_processors() {
    let numbers = [0, 1, -1, 2, -2, 3, -3, 127, -128, 123_456_789, -987_654_321, i32::MAX, i32::MIN, 1 << 30, -(1 << 30)];
    for device in devices() {
        let x = row(&numbers, &device);
        for s in [-40, -32, -31, -3, -1, 0, 1, 2, 15, 30, 31, 32, 99] {
            let expected: Vec<i32> = numbers.iter().map(|x| arithmetic::sh(*x, s)).collect();
            assert_eq!(back(sh(x.clone(), row(&[s], &device))), expected, "{device:?}: {s}");
            if (1..=31).contains(&s) {
                assert_eq!(back(sh_by(x.clone(), s)), expected, "{device:?}: {s}");
            }
        }
        let counts: Vec<i32> = numbers.iter().map(|x| arithmetic::bits((*x).max(0))).collect();
        assert_eq!(back(bits(x.clamp_min(0))), counts, "{device:?}");
    }
}

#[test]
fn operators_give_the_references_results() {
    for device in devices() {
        let operators = operators();
        for (x, expected, exponent) in operators.norm15 {
            let (found, its) = norm15(row(&x, &device));
            assert_eq!((back(found), back(its)), (expected, vec![exponent]), "{device:?}: {x:?}");
        }
        for (x, expected, exponent) in operators.quant14 {
            let (found, its) = quant14(row(&x, &device));
            assert_eq!((back(found), back(its)), (expected, vec![exponent]), "{device:?}: {x:?}");
        }
        for (x, expected, multiplier) in operators.quant8 {
            let (found, its) = quant8(row(&x, &device));
            let expected = expected.into_iter().map(i32::from).collect();
            assert_eq!((back(found), back(its)), (expected, vec![multiplier]), "{device:?}: {x:?}");
        }
        let tables = DeviceTables::new(&device);
        for (gate, up, expected, exponents) in operators.activation {
            let shape = [1, exponents.len(), gate.len() / exponents.len()];
            let (x, its) = gated(&tables, upload(gate, shape, &device), upload(up, shape, &device));
            assert_eq!((back(x), back(its)), (expected, exponents), "{device:?}");
        }
        for Norm(x, weights, exponent, epsilon, .., expected, exponents) in operators.norm {
            let (found, places) = rms_norm(row(&x, &device), row(&weights, &device), epsilon);
            let operand = Operand::new(found, -(places + exponent));
            assert_eq!((back(operand.values), back(operand.exponents)), (expected, exponents), "{device:?}: {x:?}");
        }
    }
}

#[test]
fn products_are_the_references() {
    for device in devices() {
        let engine = Burn::new(device.clone());
        for case in operators().linear {
            let part = engine.part(&case.matrix());
            let Linear(x, a, .., places, expected) = case;
            let groups = a.len();
            let values = upload(x.clone(), [1, groups, x.len() / groups], &device);
            let operand = Operand { values, exponents: upload(a, [1, groups, 1], &device) };
            assert_eq!(back(part.product(&operand, places)), expected, "{device:?}");
        }
    }
}

#[test]
fn products_of_the_largest_operands_are_exact() {
    // A group, and a block of positions: all of one sign, and every other.
    for device in devices() {
        for k in [64, 512] {
            for (x, w) in [(16_383, 127), (-16_383, 127), (16_383, -127), (-16_383, -127), (127, 127), (-127, 127)] {
                for alternating in [false, true] {
                    let sign = |at: usize| if alternating && at % 2 == 1 { -1 } else { 1 };
                    let xs = upload((0..k).map(|at| x * sign(at)).collect(), [1, 1, k], &device).repeat_dim(1, 8);
                    let ws: Vec<f32> = (0..k).map(|at| (w * sign(at)) as f32).collect();
                    let ws = Tensor::<3>::from_data(TensorData::new(ws, [1, k, 1]), &device).repeat_dim(2, 8);
                    let expected = vec![k as i32 * x * w; 64];
                    assert_eq!(back(dots(xs.clone(), ws.clone())), expected, "{device:?}: {k} of {x} * {w}");
                    let rounded: Vec<i32> = expected.iter().map(|dot| arithmetic::sh(*dot, 7)).collect();
                    assert_eq!(back(dots_by_128(xs, ws)), rounded, "{device:?}: {k} of {x} * {w}");
                }
            }
        }
    }
}
