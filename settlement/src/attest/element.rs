//! Elements of BLS12-381's scalar field, as contracts and other rooms see them: 32 big-endian bytes below the order.

use std::fmt;

use ark_bls12_381::Fr;
use ark_ff::{BigInteger as _, PrimeField as _};

/// Bytes that stand for no element: they are not below the field's order.
///
/// A number and the same number plus the order would pass for one another in a proof, so only the lower one is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number of this field must be below its order; take the remainder once and send that")]
pub struct NotCanonical;

/// One element of the field that proofs speak about.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Element(pub(super) Fr);

impl Element {
    /// 32 bytes, big-endian: what a contract holds as a number.
    pub fn to_be_bytes(self) -> [u8; 32] {
        be_bytes(&self.0)
    }

    /// Reads 32 big-endian bytes.
    ///
    /// # Errors
    /// [`NotCanonical`].
    pub fn from_be_bytes(bytes: &[u8; 32]) -> Result<Self, NotCanonical> {
        let element = Fr::from_be_bytes_mod_order(bytes);
        if be_bytes(&element) == *bytes { Ok(Self(element)) } else { Err(NotCanonical) }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.to_be_bytes()))
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Element({self})")
    }
}

/// The bytes of an element, most significant first.
pub(super) fn be_bytes(element: &Fr) -> [u8; 32] {
    let mut bytes = [0u8; 32];
    for (to, from) in bytes.iter_mut().zip(element.into_bigint().to_bytes_be()) {
        *to = from;
    }
    bytes
}

/// The first 31 bytes of a hash as a number: always below the order, and one shift of what `SHA256U` leaves.
pub(super) fn truncated(hash: [u8; 32]) -> Fr {
    let [head @ .., _] = hash;
    Fr::from_be_bytes_mod_order(&head)
}

/// The two halves of a hash as numbers, high first: a whole one does not fit the field.
pub(super) fn halves(hash: &[u8; 32]) -> [Fr; 2] {
    let whole = hash.as_chunks::<16>().0;
    let mut out = [Fr::from(0u8); 2];
    for (to, from) in out.iter_mut().zip(whole) {
        *to = Fr::from(u128::from_be_bytes(*from));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lowest_of_equal_numbers_is_read() {
        let order = hex::decode("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001").unwrap();
        let mut bytes: [u8; 32] = order.try_into().unwrap();
        assert_eq!(Element::from_be_bytes(&bytes), Err(NotCanonical), "the order itself is zero's other name");
        bytes[31] = 0;
        let largest = Element::from_be_bytes(&bytes).unwrap();
        assert_eq!((largest.0, largest.to_be_bytes()), (-Fr::from(1u8), bytes));
        assert_eq!(Element::from_be_bytes(&[0xff; 32]), Err(NotCanonical));
    }

    #[test]
    fn a_hash_is_cut_or_halved_from_the_left() {
        let mut hash = [0u8; 32];
        (hash[15], hash[30], hash[31]) = (7, 5, 9);
        assert_eq!(halves(&hash), [Fr::from(7u8), Fr::from(0x0509u16)]);
        assert_eq!(truncated(hash), Fr::from(7u128 << 120) + Fr::from(5u8));
    }
}
