//! Every operator against the vectors of `tests/reference/exact.py`.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::arithmetic::*;
use super::integers::{IntegerMatrix, IntegerVector};
use crate::engine::rope::{Rope, RopeConfig, halves};
use crate::folder::RopeScaling;

type Ints = Vec<i32>;

#[derive(Deserialize)]
struct Vectors {
    tables: Hashes,
    operators: Operators,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct Hashes {
    exp2: String,
    sigmoid: String,
    sine: String,
}

/// Each entry is inputs, then outputs.
#[derive(Deserialize)]
pub(super) struct Operators {
    sh: Vec<(i32, i32, i32)>,
    isqrt: Vec<(i32, i32)>,
    requantise: Vec<(i32, i32, i32, i32)>,
    sine: Vec<(u32, i32)>,
    sigmoid: Vec<(i32, i32)>,
    turns: Vec<(f64, usize, f64, Vec<u32>)>,
    pub(super) norm15: Vec<(Ints, Ints, i32)>,
    pub(super) quant14: Vec<(Ints, Ints, i32)>,
    pub(super) quant8: Vec<(Ints, Vec<i8>, i32)>,
    dot: Vec<(Vec<i16>, Vec<i8>, i32)>,
    matrix: Vec<MatrixCase>,
    norm_weights: Vec<(Vec<u32>, i32, Ints)>,
    pub(super) norm: Vec<Norm>,
    pub(super) linear: Vec<Linear>,
    heads: Vec<Head>,
    pub(super) attend: Vec<Attend>,
    head_norm: Vec<(Ints, Ints, i32, i32, Ints)>,
    halves: Vec<(usize, Ints, Vec<u32>, Ints)>,
    bias: (Vec<u32>, Ints),
    pub(super) activation: Vec<(Ints, Ints, Ints, Ints)>,
}

/// Bits of a matrix's elements; exponent, multipliers, weights.
#[derive(Deserialize)]
struct MatrixCase(Vec<Vec<u32>>, i32, Vec<Vec<u16>>, Vec<Vec<i8>>);

/// A row, weights, their exponent, epsilon; inner values; results and exponents by group.
#[derive(Deserialize)]
#[allow(dead_code)]
pub(super) struct Norm(pub Ints, pub Ints, pub i32, pub i32, pub i32, pub i32, pub i32, pub i32, pub Ints, pub Ints, pub Ints);

/// Activations and their exponents, a matrix (exponent, multipliers, weights), places, results.
#[derive(Deserialize)]
pub(super) struct Linear(pub Ints, pub Ints, pub i32, pub Vec<Vec<u16>>, pub Vec<Vec<i8>>, pub i32, pub Ints);

/// A position, a head and steps; as a query; as a key; as a value.
#[derive(Deserialize)]
struct Head(usize, Ints, Vec<u32>, Ints, i32, Vec<i8>, i32, i32, Vec<i8>, i32, i32);

/// A position, a query and its exponent; keys and values; inner values; the result.
#[derive(Deserialize)]
#[allow(dead_code)]
pub(super) struct Attend(pub usize, pub Ints, pub i32, pub Seen, pub i32, pub i32, pub Ints);

/// Keys with multipliers and exponents, and values.
#[derive(Deserialize)]
pub(super) struct Seen(pub Vec<Vec<i8>>, pub Ints, pub Ints, pub Vec<Vec<i8>>, pub Ints, pub Ints);

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../../tests/reference/exact.json")).unwrap()
}

pub(super) fn operators() -> Operators {
    vectors().operators
}

fn floats(bits: &[u32]) -> Vec<f32> {
    bits.iter().map(|bits| f32::from_bits(*bits)).collect()
}

impl Linear {
    pub(super) fn matrix(&self) -> IntegerMatrix {
        let columns = self.0.len();
        let group = columns / self.1.len();
        IntegerMatrix { columns, group, exponent: self.2, multipliers: self.3.concat(), weights: self.4.concat() }
    }
}

#[test]
fn tables_have_their_hashes() {
    let hash = |table: &[i32]| hex::encode(Sha256::digest(table.iter().flat_map(|x| (*x as u16).to_le_bytes()).collect::<Vec<_>>()));
    let hashes = vectors().tables;
    assert_eq!(hash(&TABLES.exp2), hashes.exp2);
    assert_eq!(hash(&TABLES.sigmoid), hashes.sigmoid);
    assert_eq!(hash(&TABLES.sine), hashes.sine);
}

#[test]
fn operators_on_numbers_give_the_references_results() {
    let operators = operators();
    for (x, s, expected) in operators.sh {
        assert_eq!(sh(x, s), expected, "sh({x}, {s})");
    }
    for (n, expected) in operators.isqrt {
        assert_eq!(n.isqrt(), expected);
    }
    for (d, m, s, expected) in operators.requantise {
        assert_eq!(sh(sh(d, 7).wrapping_mul(m), s), expected, "{d} * {m} >> {s}");
    }
    for (phase, expected) in operators.sine {
        assert_eq!(sine(phase), expected, "sine({phase})");
    }
    for (g, expected) in operators.sigmoid {
        assert_eq!(sigmoid(&TABLES.sigmoid, g), expected, "sigmoid({g})");
    }
}

#[test]
fn operators_on_vectors_give_the_references_results() {
    let operators = operators();
    for (mut x, expected, exponent) in operators.norm15 {
        assert_eq!((norm15(&mut x), x), (exponent, expected));
    }
    for (mut x, expected, exponent) in operators.quant14 {
        assert_eq!((quant14(&mut x), x), (exponent, expected));
    }
    for (x, expected, multiplier) in operators.quant8 {
        let mut found = vec![0; x.len()];
        assert_eq!((quant8(&x, &mut found), found), (multiplier, expected));
    }
    for (x, w, expected) in operators.dot {
        assert_eq!(dot(&x, &w), expected);
    }
    for (mut gate, mut up, expected, exponents) in operators.activation {
        let group = gate.len() / exponents.len();
        let pairs = gate.chunks_exact_mut(group).zip(up.chunks_exact_mut(group));
        assert_eq!(pairs.map(|(gate, up)| gated(gate, up)).collect::<Ints>(), exponents);
        assert_eq!(gate, expected);
    }
}

#[test]
fn weights_become_the_references_integers() {
    let operators = operators();
    for MatrixCase(bits, exponent, multipliers, weights) in operators.matrix {
        let matrix = IntegerMatrix::new(&floats(&bits.concat()), bits[0].len()).unwrap();
        assert_eq!((matrix.exponent, matrix.multipliers, matrix.weights), (exponent, multipliers.concat(), weights.concat()));
    }
    for (bits, exponent, values) in operators.norm_weights {
        assert_eq!(IntegerVector::norm(&floats(&bits)).unwrap(), IntegerVector { values, exponent });
    }
    let (bits, values) = operators.bias;
    assert_eq!(IntegerVector::bias(&floats(&bits)).unwrap().values, values);
    for (base, size, factor, expected) in operators.turns {
        let rope = Rope::new(RopeConfig { pairs: size / 2, base, scaling: RopeScaling::Linear { factor } }, None);
        assert_eq!(rope.steps(), expected);
    }
}

#[test]
fn norms_give_the_references_results() {
    let operators = operators();
    for Norm(mut row, weights, exponent, epsilon, .., expected, exponents) in operators.norm {
        let places = rms_norm(&mut row, &weights, epsilon) + exponent;
        let group = row.len() / exponents.len();
        let found: Ints = row.chunks_exact_mut(group).map(|x| quant14(x) - places).collect();
        assert_eq!((row, found), (expected, exponents));
    }
    for (mut head, weights, exponent, epsilon, expected) in operators.head_norm {
        let places = rms_norm(&mut head, &weights, epsilon) + exponent - 16;
        head.iter_mut().for_each(|x| *x = sh(*x, places));
        assert_eq!(head, expected);
    }
}

#[test]
fn heads_turn_as_the_references() {
    let operators = operators();
    for (position, mut head, steps, expected) in operators.halves {
        turn(&mut head, &sines(&steps, position).collect::<Vec<_>>());
        assert_eq!(head, expected);
    }
    for Head(position, head, steps, query, query_exponent, key, key_multiplier, key_exponent, value, value_multiplier, value_exponent) in
        operators.heads
    {
        // These heads have neighbours turn together.
        let order: Vec<usize> = (0..head.len()).map(halves(head.len())).collect();
        let sines: Vec<_> = sines(&steps, position).collect();
        let mut turned: Ints = order.iter().map(|old| head[*old]).collect();
        let exponent = norm15(&mut turned) - 16;
        turn(&mut turned, &sines);
        let mut bytes = vec![0; head.len()];
        assert_eq!((quant8(&turned, &mut bytes), exponent), (key_multiplier, key_exponent));
        assert_eq!(bytes, order.iter().map(|old| key[*old]).collect::<Vec<_>>());
        assert_eq!(exponent + quant14(&mut turned), query_exponent);
        assert_eq!(turned, order.iter().map(|old| query[*old]).collect::<Ints>());
        let mut plain = head;
        assert_eq!(norm15(&mut plain) - 16, value_exponent);
        assert_eq!((quant8(&plain, &mut bytes), bytes), (value_multiplier, value));
    }
}

#[test]
fn weights_beyond_all_bounds_are_refused() {
    let e = |x: f32| [x; 32];
    assert!(IntegerMatrix::new(&[1.0; 48], 48).is_err());
    assert!(IntegerMatrix::new(&e(1e30), 32).is_err() && IntegerMatrix::new(&e(1e-30), 32).is_err());
    assert!(IntegerVector::norm(&e(1e30)).is_err());
    assert!(IntegerVector::bias(&e(32_768.0)).is_err());
    assert!(super::integers::embedding(&e(65_536.0)).is_err());
}
