//! CBOR within bounds: the transport encoding of everything that isn't a fixed layout.

use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserializer, Serialize};

/// Why bytes from outside were not understood.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Larger than its type may be; refused before reading.
    #[error("{len} bytes where at most {max} are allowed")]
    TooLarge {
        /// What came.
        len: usize,
        /// The bound of this type.
        max: usize,
    },
    /// Not CBOR, or not of this type.
    #[error("malformed CBOR")]
    Malformed(#[source] serde_cbor::Error),
}

/// Why a value could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The value is larger than its readers accept.
    #[error("{len} bytes where readers accept at most {max}")]
    TooLarge {
        /// The encoded length.
        len: usize,
        /// The bound of this type.
        max: usize,
    },
    /// The encoder refused.
    #[error("cannot encode as CBOR")]
    Encoder(#[source] serde_cbor::Error),
}

/// Reads one value that fills `bytes` exactly.
///
/// # Errors
/// [`DecodeError`] when `bytes` is longer than `max`, isn't CBOR, has bytes left over, or isn't a `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLarge { len: bytes.len(), max });
    }
    serde_cbor::from_slice(bytes).map_err(DecodeError::Malformed)
}

/// Writes one value.
///
/// # Errors
/// [`EncodeError`] when the value is larger than `max`, so that nothing is sent that every reader would refuse.
pub fn encode<T: Serialize>(value: &T, max: usize) -> Result<Vec<u8>, EncodeError> {
    let bytes = serde_cbor::to_vec(value).map_err(EncodeError::Encoder)?;
    if bytes.len() > max {
        return Err(EncodeError::TooLarge { len: bytes.len(), max });
    }
    Ok(bytes)
}

/// Reads a byte string of exactly `N` bytes.
pub(crate) fn fixed_bytes<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
    struct Fixed<const N: usize>;
    impl<const N: usize> Visitor<'_> for Fixed<N> {
        type Value = [u8; N];
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a byte string of {N} bytes")
        }
        fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<[u8; N], E> {
            bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
        }
    }
    deserializer.deserialize_bytes(Fixed)
}

/// `#[serde(with = "codec::hex_or_bytes")]`: a variable byte string, hex in JSON, bytes in CBOR.
pub(crate) mod hex_or_bytes {
    use super::*;
    use serde::{Deserialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.serialize_str(&hex::encode(bytes)) } else { serializer.serialize_bytes(bytes) }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a byte string")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        if deserializer.is_human_readable() {
            return hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom);
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
