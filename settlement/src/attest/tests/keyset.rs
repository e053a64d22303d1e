//! What the circuit of the auditors' list refuses.

use ark_ec::twisted_edwards::TECurveConfig as _;
use ark_ec::{AffineRepr as _, CurveGroup as _};
use ark_ed_on_bls12_381::{EdwardsAffine, EdwardsConfig};
use ark_ff::{AdditiveGroup as _, Field as _, Zero as _};

use super::*;
use crate::attest::Element;
use crate::attest::keyset::{KEY_SET_BYTES, KeySetAssignment, KeySetCircuit, KeySetError, PLACES, commitment, inputs};
use crate::attest::schnorr::{PointError, PublicKey};

fn holds(assignment: KeySetAssignment) -> bool {
    satisfied(KeySetCircuit(assignment))
}

/// The honest public inputs of a list, whatever it holds.
fn of_list(list: Vec<[Fr; 2]>) -> KeySetAssignment {
    let mut assignment = KeySetAssignment::new(&keys(), &LISTED);
    assignment.inputs = inputs(&list, &LISTED, Element(commitment(&list))).map(|element| element.0);
    assignment.inverses = list.iter().map(|[x, _]| x.inverse().unwrap_or_default()).collect();
    assignment.list = list;
    assignment
}

fn pair(point: EdwardsAffine) -> [Fr; 2] {
    [point.x, point.y]
}

#[test]
fn lists_of_keys_hold() {
    let full: Vec<_> = (1..=64).map(|n| Some(auditor(n).public())).collect();
    for keys in [KeySet::new(&[]).unwrap(), keys(), KeySet::new(&full).unwrap()] {
        assert!(holds(KeySetAssignment::new(&keys, &LISTED)));
        assert_eq!(KeySet::from_bytes(&keys.to_bytes()).unwrap(), keys);
    }
}

#[test]
fn list_and_commitment_agree() {
    let good = KeySetAssignment::new(&keys(), &LISTED);
    let other = KeySet::new(&[Some(auditor(4).public())]).unwrap();
    let mismatched = inputs(&other.coordinates(), &LISTED, keys().commitment()).map(|element| element.0);
    assert!(!holds(KeySetAssignment { inputs: mismatched, ..good.clone() }), "the stored list is another than the committed one");
    assert!(!holds(KeySetAssignment { inputs: mismatched, ..KeySetAssignment::new(&other, &LISTED) }), "and the other way around");
    for at in 0..3 {
        let mut changed = good.clone();
        changed.inputs[at] += Fr::from(1u8);
        assert!(!holds(changed), "public input {at}");
    }
    let mut swapped = good.list.clone();
    swapped.swap(0, 2);
    assert!(!holds(KeySetAssignment { list: swapped, ..good }), "places count");
}

#[test]
fn the_challenge_hangs_on_list_and_commitment() {
    let list = keys().coordinates();
    let [_, challenge, _] = inputs(&list, &LISTED, Element(commitment(&list)));
    let [_, other, _] = inputs(&list, &LISTED, Element(Fr::from(1u8)));
    let [_, another, _] = inputs(&list, &[0x12; 32], keys().commitment());
    assert!(challenge != other && challenge != another);
}

#[test]
fn a_listed_key_is_in_the_subgroup_and_not_the_identity() {
    let torsion = EdwardsAffine::new_unchecked(Fr::zero(), -Fr::from(1u8));
    let shifted = (auditor(1).public().point() + torsion).into_affine();
    let off_curve = EdwardsAffine::new_unchecked(Fr::from(1u8), Fr::from(1u8));
    let half_empty = EdwardsAffine::new_unchecked(Fr::zero(), Fr::from(5u8));
    for bad in [EdwardsAffine::zero(), torsion, shifted, off_curve, half_empty] {
        let [x, y] = pair(bad).map(|coordinate| Element(coordinate).to_be_bytes());
        let refused = PublicKey::from_coordinates(&x, &y).unwrap_err();
        assert_eq!(refused, if bad.is_on_curve() && bad.is_zero() { PointError::Identity } else { PointError::Point });
        let mut list = keys().coordinates();
        list[1] = pair(bad);
        assert!(!holds(of_list(list)), "{bad:?}");
    }
    let mut list = keys().coordinates();
    list[1] = pair(auditor(7).public().point());
    assert!(!holds(of_list(list.clone())), "the witness is not an eighth of it");
    let mut good = of_list(list);
    good.eighths[1] = KeySetAssignment::new(&KeySet::new(&[Some(auditor(7).public())]).unwrap(), &LISTED).eighths[0];
    assert!(holds(good));
}

/// A list with this pair in place 1, and an eighth that goes with it.
fn with(pair: [Fr; 2], eighth: [Fr; 2]) -> KeySetAssignment {
    let mut list = keys().coordinates();
    list[1] = pair;
    let mut assignment = of_list(list);
    assignment.eighths[1] = eighth;
    assignment
}

#[test]
fn both_coordinates_are_those_of_the_eighth_times_eight() {
    let seventh = KeySetAssignment::new(&KeySet::new(&[Some(auditor(7).public())]).unwrap(), &LISTED);
    let ([x, y], eighth) = (seventh.list[0], seventh.eighths[0]);
    assert!(holds(with([x, y], eighth)));
    assert!(!holds(with([Fr::from(5u8), y], eighth)) && !holds(with([x, Fr::from(5u8)], eighth)));
    // Both coordinates times three, and "used" three: what it could be without the rule that makes it zero or one.
    let three = Fr::from(3u8);
    let mut scaled = with([x * three, y * three], eighth);
    scaled.inverses[1] = three / (x * three);
    assert!(!holds(scaled));
    let mut hidden = with([x, y], eighth);
    hidden.inverses[1] = Fr::zero();
    assert!(!holds(hidden), "a key is used");
}

#[test]
fn an_eighth_is_on_the_curve() {
    let double = |[x, y]: [Fr; 2]| {
        let (xy, one) = (x * y, Fr::from(1u8));
        let product = EdwardsConfig::COEFF_D * xy * xy;
        [xy.double() / (one + product), (x * x + y * y) / (one - product)]
    };
    let eighth = [Fr::from(2u8), Fr::from(3u8)];
    assert!(!holds(with(double(double(double(eighth))), eighth)), "the addition law takes any pair to some pair");
}

#[test]
fn bytes_that_are_no_list_say_why() {
    let key = auditor(1).public();
    assert_eq!(KeySet::new(&[Some(key), None, Some(key)]), Err(KeySetError::Twice { place: 2 }));
    assert_eq!(KeySet::new(&[None; PLACES + 1]), Err(KeySetError::TooMany { got: 65 }));
    assert_eq!(KeySet::from_bytes(&[0; KEY_SET_BYTES - 1]), Err(KeySetError::Length { got: 4095 }));
    let mut bytes = keys().to_bytes();
    bytes[64 + 63] = 1;
    assert_eq!(KeySet::from_bytes(&bytes), Err(KeySetError::Key { place: 1, source: PointError::Identity }));
    bytes[64] = 0xff;
    assert_eq!(KeySet::from_bytes(&bytes), Err(KeySetError::Key { place: 1, source: PointError::Point }));
    assert_eq!((keys().place(&auditor(3).public()), keys().place(&auditor(4).public())), (Some(3), None));
}
