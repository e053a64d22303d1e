//! The operator key: the hot ed25519 key that signs everything two peers exchange.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use crate::ids::{NodeId, byte_id};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::str::FromStr;

use crate::ids::IdError;

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
