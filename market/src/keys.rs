//! The operator key: the hot ed25519 key that signs everything two peers exchange.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{IdError, NodeId, byte_id};

byte_id!(
    /// An ed25519 signature.
    Signature, 64, "signature"
);

/// A signature that does not fit its bytes and key.
///
/// Peer penalty: ban. An honest node never sends one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("signature does not verify")]
pub struct BadSignature;

/// The hot key of a node. Its public half is the node's [`NodeId`]. Wiped from memory when dropped.
#[derive(Clone)]
pub struct OperatorKey(SigningKey);

impl OperatorKey {
    /// The key of this 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for the keystore alone.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The node this key speaks for.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// Signs exactly these bytes; domain separation is the caller's layout.
    pub(crate) fn sign_raw(&self, bytes: &[u8]) -> Signature {
        Signature(self.0.sign(bytes).to_bytes())
    }
}

impl fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperatorKey({})", self.node_id().short())
    }
}

/// Verifies exactly these bytes, refusing weak keys and malleable signatures.
///
/// # Errors
/// [`BadSignature`].
pub(crate) fn verify_raw(key: &NodeId, bytes: &[u8], signature: &Signature) -> Result<(), BadSignature> {
    let key = VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| BadSignature)?;
    key.verify_strict(bytes, &ed25519_dalek::Signature::from_bytes(signature.as_bytes())).map_err(|_| BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_seed_and_shows_only_its_public_half() {
        let key = OperatorKey::from_seed(&[7; 32]);
        assert_eq!(key.seed(), [7; 32]);
        // RFC 8032, section 7.1, test 1: the seed and the public key it makes.
        let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let known = OperatorKey::from_seed(&seed.try_into().unwrap());
        assert_eq!(known.node_id().to_string(), public);
        assert_eq!(format!("{known:?}"), "OperatorKey(d75a9801)");
        assert_eq!(known.sign_raw(b"").to_string()[..16], *"e5564300c360ac72");
    }
}
