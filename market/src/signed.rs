//! Signatures over received bytes.
//!
//! A signed object travels as the very bytes that were signed ([`Signed`]). Opening it checks size, signature and
//! meaning, in this order, and gives a [`Verified`] value that keeps those bytes: they can be forwarded, hashed and
//! filed, and are never encoded anew. Only [`Verified::open`] and [`Verified::sign`] make one, so a function that takes
//! a `Verified<Offer>` cannot be handed an unchecked offer.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError, EncodeError};
use crate::ids::NodeId;
use crate::keys::{BadSignature, OperatorKey, Signature, verify_raw};
use crate::penalty::Penalty;

/// Bytes, who signed them, and the signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Whose signature this claims to be.
    pub key: NodeId,
    /// Over the domain of the type and `bytes`.
    pub signature: Signature,
    /// The encoded value, as signed.
    #[serde(with = "crate::codec::hex_or_bytes")]
    pub bytes: Vec<u8>,
}

/// A type that travels signed.
///
/// Such types refuse fields they do not know: what was signed is what was read, and nothing beside it.
pub trait SignedObject: Clone + Serialize + DeserializeOwned {
    /// Separates this type's signatures from all others. Ends in its version.
    const DOMAIN: &'static str;
    /// The largest encoding that is read.
    const BYTES_MAX: usize;

    /// Whether `key` may sign this value.
    fn may_sign(&self, key: &NodeId) -> bool;

    /// Checks the value by itself: bounds and consistency of its fields, without a clock.
    ///
    /// # Errors
    /// [`Inconsistent`], naming the field.
    fn check(&self) -> Result<(), Inconsistent>;
}

/// A field that no honest node would have filled so.
///
/// Peer penalty: ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Inconsistent {
    /// Which field.
    pub field: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
}

/// Why a signed object was not accepted.
///
/// Peer penalty: ban for each variant; honest software produces none of them.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Too large or not CBOR.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The signature is wrong.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// Signed by somebody who has no say in it.
    #[error("signed by {key}, who is not a party")]
    WrongSigner {
        /// Who signed.
        key: NodeId,
    },
    /// The value contradicts itself.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
}

impl OpenError {
    /// What it costs the peer that sent it.
    pub const fn penalty(&self) -> Penalty {
        Penalty::Ban
    }
}

/// Why a value was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// It cannot be encoded within its bound.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// This key has no say in it.
    #[error("the key of {key} may not sign this")]
    WrongSigner {
        /// Whose key was tried.
        key: NodeId,
    },
    /// The value contradicts itself, and every reader would refuse it.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
}

/// A value whose signature, signer and consistency were checked, with the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    signed: Signed,
}

impl<T: SignedObject> Verified<T> {
    /// Checks and opens what came from outside.
    ///
    /// # Errors
    /// [`OpenError`]; the size is checked before the signature, the signature before the bytes are read.
    pub fn open(signed: Signed) -> Result<Self, OpenError> {
        if signed.bytes.len() > T::BYTES_MAX {
            return Err(DecodeError::TooLarge { len: signed.bytes.len(), max: T::BYTES_MAX }.into());
        }
        verify_raw(&signed.key, &preimage::<T>(&signed.bytes), &signed.signature)?;
        let value: T = codec::decode(&signed.bytes, T::BYTES_MAX)?;
        if !value.may_sign(&signed.key) {
            return Err(OpenError::WrongSigner { key: signed.key });
        }
        value.check()?;
        Ok(Self { value, signed })
    }

    /// Encodes and signs a value of our own.
    ///
    /// # Errors
    /// [`SignError`] when no reader would accept it.
    pub fn sign(value: T, key: &OperatorKey) -> Result<Self, SignError> {
        let node = key.node_id();
        if !value.may_sign(&node) {
            return Err(SignError::WrongSigner { key: node });
        }
        value.check()?;
        let bytes = codec::encode(&value, T::BYTES_MAX)?;
        let signature = key.sign_raw(&preimage::<T>(&bytes));
        Ok(Self { value, signed: Signed { key: node, signature, bytes } })
    }

    /// Adds this key's signature over the very bytes that were received.
    ///
    /// # Errors
    /// [`SignError::WrongSigner`].
    pub fn countersign(&self, key: &OperatorKey) -> Result<Self, SignError> {
        let node = key.node_id();
        if !self.value.may_sign(&node) {
            return Err(SignError::WrongSigner { key: node });
        }
        let signature = key.sign_raw(&preimage::<T>(&self.signed.bytes));
        Ok(Self { value: self.value.clone(), signed: Signed { key: node, signature, bytes: self.signed.bytes.clone() } })
    }
}

impl<T> Verified<T> {
    /// The value.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// The bytes it came in, ready to be forwarded.
    pub const fn signed(&self) -> &Signed {
        &self.signed
    }

    /// Who signed.
    pub const fn signer(&self) -> NodeId {
        self.signed.key
    }

    /// The blake3 hash of the signed bytes: the object's id.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.signed.bytes).as_bytes()
    }

    /// The bytes and signature alone.
    pub fn into_signed(self) -> Signed {
        self.signed
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

fn preimage<T: SignedObject>(bytes: &[u8]) -> Vec<u8> {
    [T::DOMAIN.as_bytes(), &[0], bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{NOW, key, offer};
    use crate::ids::ModelId;
    use crate::offer::{Offer, Withdrawal};

    fn withdrawal(n: u8) -> Withdrawal {
        Withdrawal { provider: key(n).node_id(), model: ModelId([1; 32]), sequence: 3, issued_at: NOW }
    }

    #[test]
    fn what_is_signed_opens_with_the_same_bytes() {
        let mine = Verified::sign(offer(1), &key(1)).unwrap();
        let opened = Verified::<Offer>::open(mine.signed().clone()).unwrap();
        assert_eq!(opened, mine);
        assert_eq!(opened.value(), &offer(1));
        assert_eq!(opened.signer(), key(1).node_id());
        assert_eq!(opened.hash(), *blake3::hash(&mine.signed().bytes).as_bytes());
        assert_eq!(opened.id().0, opened.hash());
        assert_eq!(opened.clone().into_signed(), *mine.signed());
    }

    #[test]
    fn a_changed_byte_a_changed_signature_and_another_key_are_refused() {
        let good = Verified::sign(withdrawal(1), &key(1)).unwrap().into_signed();
        let open = |alter: fn(&mut Signed)| {
            let mut signed = good.clone();
            alter(&mut signed);
            let refused = Verified::<Withdrawal>::open(signed).unwrap_err();
            assert_eq!(refused.penalty(), Penalty::Ban);
            refused
        };
        assert!(matches!(open(|s| s.bytes[20] ^= 1), OpenError::Signature(_)));
        assert!(matches!(open(|s| s.signature.0[3] ^= 1), OpenError::Signature(_)));
        assert!(matches!(open(|s| s.key = key(2).node_id()), OpenError::Signature(_)));
        assert!(matches!(open(|s| s.key = NodeId([0xff; 32])), OpenError::Signature(_)), "not a point");
        assert!(matches!(open(|s| s.bytes.push(0)), OpenError::Signature(_)));
        assert!(matches!(open(|s| s.bytes = vec![0; 256]), OpenError::Signature(_)), "the bound itself is read");
        assert!(matches!(open(|s| s.bytes = vec![0; 257]), OpenError::Decode(DecodeError::TooLarge { len: 257, max: 256 })));
    }

    #[test]
    fn the_bytes_of_one_type_are_not_those_of_another() {
        let bytes = Verified::sign(withdrawal(1), &key(1)).unwrap().into_signed().bytes;
        let signature = key(1).sign_raw(&preimage::<Offer>(&bytes));
        let crossed = Signed { key: key(1).node_id(), signature, bytes };
        assert!(matches!(Verified::<Withdrawal>::open(crossed), Err(OpenError::Signature(_))));
    }

    #[test]
    fn only_who_may_sign_signs() {
        assert!(matches!(Verified::sign(withdrawal(1), &key(2)), Err(SignError::WrongSigner { .. })));
        let bytes = codec::encode(&withdrawal(1), Withdrawal::BYTES_MAX).unwrap();
        let signature = key(2).sign_raw(&preimage::<Withdrawal>(&bytes));
        let forged = Signed { key: key(2).node_id(), signature, bytes };
        assert!(matches!(Verified::<Withdrawal>::open(forged), Err(OpenError::WrongSigner { .. })));
        let mine = Verified::sign(withdrawal(1), &key(1)).unwrap();
        assert!(matches!(mine.countersign(&key(2)), Err(SignError::WrongSigner { .. })));
        assert_eq!(mine.countersign(&key(1)).unwrap(), mine);
    }

    #[test]
    fn what_contradicts_itself_is_neither_signed_nor_opened() {
        let empty = Offer { capacity: 0, ..offer(1) };
        assert!(matches!(Verified::sign(empty.clone(), &key(1)), Err(SignError::Inconsistent(_))));
        let bytes = codec::encode(&empty, Offer::BYTES_MAX).unwrap();
        let signature = key(1).sign_raw(&preimage::<Offer>(&bytes));
        let signed = Signed { key: key(1).node_id(), signature, bytes };
        assert!(matches!(Verified::<Offer>::open(signed), Err(OpenError::Inconsistent(_))));
    }

    #[test]
    fn a_field_that_nobody_knows_is_refused() {
        let mut map: std::collections::BTreeMap<String, serde_cbor::Value> =
            serde_cbor::from_slice(&codec::encode(&withdrawal(1), 256).unwrap()).unwrap();
        map.insert("free".into(), serde_cbor::Value::Bool(true));
        let bytes = serde_cbor::to_vec(&map).unwrap();
        let signature = key(1).sign_raw(&preimage::<Withdrawal>(&bytes));
        let signed = Signed { key: key(1).node_id(), signature, bytes };
        assert!(matches!(Verified::<Withdrawal>::open(signed), Err(OpenError::Decode(_))));
    }

    #[test]
    fn a_key_of_small_order_signs_nothing() {
        // The neutral element of the curve: every signature (R, 0) with the same R holds for it, unless checked strictly.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert_eq!(verify_raw(&NodeId(neutral), b"anything", &Signature(signature)), Err(BadSignature));
    }
}
