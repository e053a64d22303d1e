//! Points of BLS12-381 in the 48 and 96 bytes that TON's instructions take.
//!
//! The library is the one that TON's own node links, and every function here makes the calls that the node makes. That matters beyond
//! speed: multiplication of a point outside of the subgroup has no agreed result, so only the same algorithm ends the same way.
//!
//! This is the one module of the crate that is not safe Rust. What each call relies on: all pointers come from live references or
//! slices of a length checked here, and results are plain numbers without pointers.

use std::ptr;

use blst::{
    BLST_ERROR, Pairing, blst_core_verify_pk_in_g1, blst_fp, blst_fp_from_bendian, blst_fp2, blst_fp12, blst_map_to_g1, blst_map_to_g2,
    blst_p1, blst_p1_add_or_double_affine, blst_p1_affine, blst_p1_affine_in_g1, blst_p1_affine_is_inf, blst_p1_cneg, blst_p1_compress,
    blst_p1_from_affine, blst_p1_in_g1, blst_p1_mult, blst_p1_to_affine, blst_p1_uncompress, blst_p1s_mult_pippenger,
    blst_p1s_mult_pippenger_scratch_sizeof, blst_p2, blst_p2_add_or_double_affine, blst_p2_affine, blst_p2_affine_in_g2, blst_p2_cneg,
    blst_p2_compress, blst_p2_from_affine, blst_p2_in_g2, blst_p2_mult, blst_p2_uncompress, blst_p2s_mult_pippenger,
    blst_p2s_mult_pippenger_scratch_sizeof, limb_t,
};
use num_bigint::{BigInt, BigUint, Sign};

/// Bytes of a number of the base field.
pub(super) const FIELD_BYTES: usize = 48;
/// Domain of the signatures: proof of possession, hashed to the second group.
const DOMAIN: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
/// The order of both groups, big-endian.
const ORDER: [u8; 32] = [
    0x73, 0xed, 0xa7, 0x53, 0x29, 0x9d, 0x7d, 0x48, 0x33, 0x39, 0xd8, 0x08, 0x09, 0xa1, 0xd8, 0x05, 0x53, 0xbd, 0xa4, 0x02, 0xff, 0xfe,
    0x5b, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01,
];
/// Bits of a reduced scalar that a single multiplication reads.
const SCALAR_BITS: usize = 255;
/// Bits of a scalar that a sum of multiplications reads.
const SCALAR_BITS_OF_MANY: usize = 256;

/// Bytes that encode no point, or a point outside of the subgroup where that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadPoint;

/// A whole number below the order, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scalar {
    bytes: [u8; 32],
    /// Whether the number was zero before it was reduced.
    was_zero: bool,
}

/// The order of both groups.
pub(super) fn order() -> BigInt {
    BigInt::from_bytes_be(Sign::Plus, &ORDER)
}

impl From<&BigInt> for Scalar {
    fn from(value: &BigInt) -> Self {
        let order = BigUint::from_bytes_be(&ORDER);
        let reduced = value.modpow(&BigInt::from(1), &BigInt::from(order));
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(reduced.to_bytes_le().1).for_each(|(to, from)| *to = from);
        Self { bytes, was_zero: value.sign() == Sign::NoSign }
    }
}

/// One of the two groups that a pairing takes.
pub(super) trait Group {
    /// Bytes of a point.
    const BYTES: usize;
    /// Bytes of what is mapped to a point.
    const FIELD_BYTES: usize;
    type Affine: Copy + Default;
    type Point: Copy + Default;

    fn uncompress(bytes: &[u8]) -> Result<Self::Affine, BadPoint>;
    fn compress(point: &Self::Point) -> Vec<u8>;
    fn lift(affine: &Self::Affine) -> Self::Point;
    fn is_in_group(affine: &Self::Affine) -> bool;
    fn is_point_in_group(point: &Self::Point) -> bool;
    fn plus(point: &Self::Point, affine: &Self::Affine) -> Self::Point;
    fn minus(point: &Self::Point) -> Self::Point;
    fn times(point: &Self::Point, scalar: &Scalar) -> Self::Point;
    fn sum_of_products(points: &[Self::Affine], scalars: &[Scalar]) -> Self::Point;
    /// Maps numbers of the field, [`Group::FIELD_BYTES`] of them or fewer, to a point.
    fn map(field: &[u8]) -> Self::Point;
}

/// The group of public keys.
#[derive(Debug)]
pub(super) struct G1;
/// The group of signatures.
#[derive(Debug)]
pub(super) struct G2;

macro_rules! group {
    (
        $group:ident, $bytes:expr, $affine:ident, $point:ident, $uncompress:ident, $compress:ident, $lift:ident, $in_group:ident,
        $point_in_group:ident, $add:ident, $negate:ident, $multiply:ident, $many:ident, $scratch:ident, $map:item
    ) => {
        impl Group for $group {
            const BYTES: usize = $bytes;
            const FIELD_BYTES: usize = $bytes;
            type Affine = $affine;
            type Point = $point;

            fn uncompress(bytes: &[u8]) -> Result<Self::Affine, BadPoint> {
                let bytes: &[u8; $bytes] = bytes.try_into().map_err(|_| BadPoint)?;
                let mut affine = $affine::default();
                // SAFETY: the length of what is read was checked above.
                match unsafe { $uncompress(&mut affine, bytes.as_ptr()) } {
                    BLST_ERROR::BLST_SUCCESS => Ok(affine),
                    _ => Err(BadPoint),
                }
            }

            fn compress(point: &Self::Point) -> Vec<u8> {
                let mut bytes = vec![0; $bytes];
                // SAFETY: as many bytes are written as there are.
                unsafe { $compress(bytes.as_mut_ptr(), point) };
                bytes
            }

            fn lift(affine: &Self::Affine) -> Self::Point {
                let mut point = $point::default();
                // SAFETY: both are live.
                unsafe { $lift(&mut point, affine) };
                point
            }

            fn is_in_group(affine: &Self::Affine) -> bool {
                // SAFETY: it is live.
                unsafe { $in_group(affine) }
            }

            fn is_point_in_group(point: &Self::Point) -> bool {
                // SAFETY: it is live.
                unsafe { $point_in_group(point) }
            }

            fn plus(point: &Self::Point, affine: &Self::Affine) -> Self::Point {
                let mut sum = $point::default();
                // SAFETY: all three are live.
                unsafe { $add(&mut sum, point, affine) };
                sum
            }

            fn minus(point: &Self::Point) -> Self::Point {
                let mut negative = *point;
                // SAFETY: it is live.
                unsafe { $negate(&mut negative, true) };
                negative
            }

            fn times(point: &Self::Point, scalar: &Scalar) -> Self::Point {
                let mut product = $point::default();
                // SAFETY: 255 bits are read of 32 bytes.
                unsafe { $multiply(&mut product, point, scalar.bytes.as_ptr(), SCALAR_BITS) };
                product
            }

            fn sum_of_products(points: &[Self::Affine], scalars: &[Scalar]) -> Self::Point {
                let count = points.len().min(scalars.len());
                let mut sum = $point::default();
                if count == 0 {
                    return sum;
                }
                let pointers: Vec<*const $affine> = points.iter().map(ptr::from_ref).collect();
                let scalars: Vec<*const u8> = scalars.iter().map(|scalar| scalar.bytes.as_ptr()).collect();
                // SAFETY: no pointer is involved.
                let scratch_bytes = unsafe { $scratch(count) };
                let mut scratch: Vec<limb_t> = vec![0; scratch_bytes.div_ceil(size_of::<limb_t>())];
                // SAFETY: both lists hold `count` pointers to what is live, and the scratch space is as large as was asked for.
                unsafe {
                    $many(&mut sum, pointers.as_ptr(), count, scalars.as_ptr(), SCALAR_BITS_OF_MANY, scratch.as_mut_ptr());
                }
                sum
            }

            $map
        }
    };
}

group!(
    G1,
    48,
    blst_p1_affine,
    blst_p1,
    blst_p1_uncompress,
    blst_p1_compress,
    blst_p1_from_affine,
    blst_p1_affine_in_g1,
    blst_p1_in_g1,
    blst_p1_add_or_double_affine,
    blst_p1_cneg,
    blst_p1_mult,
    blst_p1s_mult_pippenger,
    blst_p1s_mult_pippenger_scratch_sizeof,
    fn map(bytes: &[u8]) -> Self::Point {
        let number = field(bytes);
        let mut point = blst_p1::default();
        // SAFETY: the number is live, and a second one is optional.
        unsafe { blst_map_to_g1(&mut point, &number, ptr::null()) };
        point
    }
);

group!(
    G2,
    96,
    blst_p2_affine,
    blst_p2,
    blst_p2_uncompress,
    blst_p2_compress,
    blst_p2_from_affine,
    blst_p2_affine_in_g2,
    blst_p2_in_g2,
    blst_p2_add_or_double_affine,
    blst_p2_cneg,
    blst_p2_mult,
    blst_p2s_mult_pippenger,
    blst_p2s_mult_pippenger_scratch_sizeof,
    fn map(bytes: &[u8]) -> Self::Point {
        let (real, imaginary) = bytes.split_at_checked(FIELD_BYTES).unwrap_or((bytes, &[]));
        let number = blst_fp2 { fp: [field(real), field(imaginary)] };
        let mut point = blst_p2::default();
        // SAFETY: the number is live, and a second one is optional.
        unsafe { blst_map_to_g2(&mut point, &number, ptr::null()) };
        point
    }
);

/// A number of the base field, reduced if it is too large.
fn field(bytes: &[u8]) -> blst_fp {
    let mut padded = [0; FIELD_BYTES];
    padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let mut number = blst_fp::default();
    // SAFETY: 48 bytes are read.
    unsafe { blst_fp_from_bendian(&mut number, padded.as_ptr()) };
    number
}

/// `a + b`. The second has to be in the subgroup, the first need not.
pub(super) fn add<G: Group>(a: &[u8], b: &[u8]) -> Result<Vec<u8>, BadPoint> {
    let (a, b) = (G::uncompress(a)?, G::uncompress(b)?);
    aggregate_into::<G>(&G::lift(&a), &b).map(|sum| G::compress(&sum))
}

/// `a - b`. The first has to be in the subgroup, the second need not.
pub(super) fn subtract<G: Group>(a: &[u8], b: &[u8]) -> Result<Vec<u8>, BadPoint> {
    let (a, b) = (G::uncompress(a)?, G::uncompress(b)?);
    aggregate_into::<G>(&G::minus(&G::lift(&b)), &a).map(|sum| G::compress(&sum))
}

pub(super) fn negate<G: Group>(a: &[u8]) -> Result<Vec<u8>, BadPoint> {
    Ok(G::compress(&G::minus(&G::lift(&G::uncompress(a)?))))
}

/// Nothing is looked at if the scalar is zero.
pub(super) fn multiply<G: Group>(a: &[u8], scalar: &Scalar) -> Result<Vec<u8>, BadPoint> {
    if scalar.was_zero {
        return Ok(zero::<G>());
    }
    Ok(G::compress(&G::times(&G::lift(&G::uncompress(a)?), scalar)))
}

pub(super) fn sum_of_products<G: Group>(terms: &[(Vec<u8>, Scalar)]) -> Result<Vec<u8>, BadPoint> {
    if let [(point, scalar)] = terms {
        return multiply::<G>(point, scalar);
    }
    let points = terms.iter().map(|(point, _)| G::uncompress(point)).collect::<Result<Vec<_>, _>>()?;
    let scalars: Vec<Scalar> = terms.iter().map(|(_, scalar)| *scalar).collect();
    Ok(G::compress(&G::sum_of_products(&points, &scalars)))
}

pub(super) fn zero<G: Group>() -> Vec<u8> {
    G::compress(&G::Point::default())
}

pub(super) fn map<G: Group>(field: &[u8]) -> Vec<u8> {
    G::compress(&G::map(field))
}

/// Whether the bytes are a point, and one of the subgroup.
pub(super) fn is_in_group<G: Group>(a: &[u8]) -> bool {
    G::uncompress(a).is_ok_and(|affine| G::is_point_in_group(&G::lift(&affine)))
}

/// Sums up signatures. All but the first have to be in the subgroup.
pub(super) fn aggregate(signatures: &[Vec<u8>]) -> Result<Vec<u8>, BadPoint> {
    let (first, rest) = signatures.split_first().ok_or(BadPoint)?;
    let first = G2::lift(&G2::uncompress(first)?);
    let sum = rest.iter().try_fold(first, |sum, signature| aggregate_into::<G2>(&sum, &G2::uncompress(signature)?))?;
    Ok(G2::compress(&sum))
}

fn aggregate_into<G: Group>(sum: &G::Point, next: &G::Affine) -> Result<G::Point, BadPoint> {
    if G::is_in_group(next) { Ok(G::plus(sum, next)) } else { Err(BadPoint) }
}

/// Whether `signature` is that of `message` by `key`.
pub(super) fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    key_of(key).and_then(|key| verify_one(&key, message, signature)).is_ok_and(|valid| valid)
}

/// Whether `signature` is the sum of the signatures of one message by all `keys`.
pub(super) fn verify_sum(keys: &[Vec<u8>], message: &[u8], signature: &[u8]) -> bool {
    let sum = || {
        let (first, rest) = keys.split_first().ok_or(BadPoint)?;
        let first = G1::lift(&key_of(first)?);
        let sum = rest.iter().try_fold(first, |sum, key| aggregate_into::<G1>(&sum, &key_of(key)?))?;
        let mut affine = blst_p1_affine::default();
        // SAFETY: both are live.
        unsafe { blst_p1_to_affine(&mut affine, &sum) };
        verify_one(&affine, message, signature)
    };
    sum().is_ok_and(|valid| valid)
}

/// Whether `signature` is the sum of signatures of a message each by a key each.
pub(super) fn verify_each(signed: &[(Vec<u8>, Vec<u8>)], signature: &[u8]) -> bool {
    let all = || {
        if signed.is_empty() {
            return Err(BadPoint);
        }
        let mut pairing = Pairing::new(true, DOMAIN);
        for (key, message) in signed {
            let key = key_of(key)?;
            if !G1::is_in_group(&key) {
                return Err(BadPoint);
            }
            pairing.aggregate(&key, false, &blst_p2_affine::default(), true, message, &[]);
        }
        pairing.commit();
        let signature = G2::uncompress(signature)?;
        if !G2::is_in_group(&signature) {
            return Err(BadPoint);
        }
        let mut expected = blst_fp12::default();
        Pairing::aggregated(&mut expected, &signature);
        Ok(pairing.finalverify(Some(&expected)))
    };
    all().is_ok_and(|valid| valid)
}

/// Whether the product of the pairings is one. Points outside of the subgroups are not refused.
pub(super) fn is_pairing_one(pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<bool, BadPoint> {
    let mut pairing = Pairing::new(true, DOMAIN);
    for (first, second) in pairs {
        let (first, second) = (G1::uncompress(first)?, G2::uncompress(second)?);
        pairing.raw_aggregate(&second, &first);
    }
    pairing.commit();
    Ok(pairing.finalverify(None))
}

/// A public key, which infinity is not.
fn key_of(bytes: &[u8]) -> Result<blst_p1_affine, BadPoint> {
    let key = G1::uncompress(bytes)?;
    // SAFETY: it is live.
    if unsafe { blst_p1_affine_is_inf(&key) } { Err(BadPoint) } else { Ok(key) }
}

fn verify_one(key: &blst_p1_affine, message: &[u8], signature: &[u8]) -> Result<bool, BadPoint> {
    let signature = G2::uncompress(signature)?;
    // SAFETY: the points are live, the lengths are those of the slices, and no augmentation is given.
    let result = unsafe {
        blst_core_verify_pk_in_g1(key, &signature, true, message.as_ptr(), message.len(), DOMAIN.as_ptr(), DOMAIN.len(), ptr::null(), 0)
    };
    Ok(result == BLST_ERROR::BLST_SUCCESS)
}
