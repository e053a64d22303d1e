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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_fills_its_bytes_exactly() {
        let bytes = encode(&(1u8, "two"), 100).unwrap();
        assert_eq!(decode::<(u8, String)>(&bytes, 100).unwrap(), (1, "two".into()));
        assert!(matches!(decode::<(u8, String)>(&[&bytes[..], &[0]].concat(), 100), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<(u8, String)>(&bytes[..bytes.len() - 1], 100), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn bounds_hold_to_the_byte() {
        let bytes = encode(&[7u8; 9], 10).unwrap();
        assert_eq!(bytes.len(), 10);
        assert!(matches!(encode(&[7u8; 9], 9), Err(EncodeError::TooLarge { len: 10, max: 9 })));
        decode::<[u8; 9]>(&bytes, 10).unwrap();
        assert!(matches!(decode::<[u8; 9]>(&bytes, 9), Err(DecodeError::TooLarge { len: 10, max: 9 })));
    }

    #[test]
    fn lengths_that_are_only_claimed_allocate_nothing() {
        // A byte string, a text and an array of 2^62 items, in nine bytes each.
        for head in [0x5b, 0x7b, 0x9b] {
            let bytes = [&[head][..], &(1u64 << 62).to_be_bytes()].concat();
            assert!(decode::<Vec<u32>>(&bytes, 100).is_err());
            assert!(decode::<String>(&bytes, 100).is_err());
            assert!(decode::<crate::ids::PeerId>(&bytes, 100).is_err());
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(decode::<serde_cbor::Value>(&[0x81; 100_000], 1 << 20).is_err());
    }

    #[test]
    fn fixed_strings_have_their_length() {
        for len in [0, 31, 33] {
            let bytes = serde_cbor::to_vec(&serde_cbor::Value::Bytes(vec![1; len])).unwrap();
            assert!(decode::<crate::ids::NodeId>(&bytes, 100).is_err());
        }
        let array = serde_cbor::to_vec(&vec![1u8; 32]).unwrap();
        let why = |error: DecodeError| if let DecodeError::Malformed(error) = error { error.to_string() } else { String::new() };
        let error = decode::<crate::ids::NodeId>(&array, 100).map_err(why).unwrap_err();
        assert!(error.contains("expected a byte string of 32 bytes"), "an array of numbers is no byte string: {error}");
        let error = decode::<crate::ids::PeerId>(&array, 100).map_err(why).unwrap_err();
        assert!(error.contains("expected a byte string"), "{error}");
    }
}
