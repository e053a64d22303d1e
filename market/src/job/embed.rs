//! Orders for vectors of texts, and the vectors as they travel.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::JOB_FRAME_BYTES_MAX;
use crate::price::Usage;
use crate::signed::Inconsistent;

/// Texts of one order; the OpenAI API allows so many.
pub const TEXTS_MAX: usize = 2048;

/// Bytes of all texts of one order together: a frame, less room for its other fields and for the five bytes that CBOR
/// puts before each text.
pub const TEXTS_BYTES_MAX: usize = JOB_FRAME_BYTES_MAX.saturating_sub(64 << 10);

/// Tokens that an encoder puts around one text: a marker at each of its two ends.
pub const TEXT_ENDS_TOKENS: usize = 2;

/// Elements of a vector: twice those of the widest encoders that are published.
pub const VECTOR_WIDTH_MAX: usize = 8192;

/// Bytes of the vectors in one frame: half of what a frame may have, so that more than one vector of the greatest width
/// fits, and no requester waits long for a frame to be complete.
pub const VECTORS_BYTES_MAX: usize = JOB_FRAME_BYTES_MAX.saturating_div(2);

/// Bytes of an element.
const ELEMENT_BYTES: usize = 4;

/// An order for the vectors of texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embed {
    /// The texts. Their vectors come in this order.
    pub texts: Vec<String>,
}

impl Embed {
    pub(super) fn check(&self) -> Result<(), Inconsistent> {
        let fail = |rule| Err(Inconsistent { field: "texts", rule });
        if self.texts.is_empty() || self.texts.len() > TEXTS_MAX {
            return fail("must be 1 to 2048 texts");
        }
        if self.texts.iter().any(String::is_empty) {
            return fail("must not be empty");
        }
        if self.texts.iter().fold(0, |sum: usize, text| sum.saturating_add(text.len())) > TEXTS_BYTES_MAX {
            return fail("must have at most 983040 bytes together");
        }
        Ok(())
    }

    /// The most tokens that the first texts can honestly have together: one entry for each number of them, from one.
    pub fn input_tokens_max(&self) -> Vec<u64> {
        let sum = |sum: &mut u64, text: &String| {
            *sum = sum.saturating_add(text_tokens_max(text));
            Some(*sum)
        };
        self.texts.iter().scan(0, sum).collect()
    }
}

/// The most tokens that a text can honestly have: one a byte, and those at its ends.
pub fn text_tokens_max(text: &str) -> u64 {
    u64::try_from(text.len().saturating_add(TEXT_ENDS_TOKENS)).unwrap_or(u64::MAX)
}

/// The vector of a text, to the bit.
///
/// On the wire this is a byte string: each element in single precision, big-endian. In JSON it is hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Vector(Vec<u8>);

impl Vector {
    /// The vector of these elements.
    pub fn new(elements: &[f32]) -> Self {
        Self(elements.iter().flat_map(|element| element.to_bits().to_be_bytes()).collect())
    }

    /// Its elements, in their order.
    pub fn elements(&self) -> impl ExactSizeIterator<Item = f32> {
        self.0.as_chunks::<ELEMENT_BYTES>().0.iter().map(|bytes| f32::from_bits(u32::from_be_bytes(*bytes)))
    }

    /// How many elements it has.
    pub fn width(&self) -> usize {
        self.elements().len()
    }

    /// The elements as they travel.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether every element is a number that is not infinite.
    pub fn is_finite(&self) -> bool {
        self.elements().all(f32::is_finite)
    }
}

impl std::fmt::Debug for Vector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.elements()).finish()
    }
}

impl Serialize for Vector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::codec::hex_or_bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Vec<u8> = crate::codec::hex_or_bytes::deserialize(deserializer)?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(ELEMENT_BYTES) {
            return Err(serde::de::Error::custom("a vector has four bytes an element, and at least one element"));
        }
        Ok(Self(bytes))
    }
}

/// Some vectors of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vectors {
    /// Counts from 0, without gaps.
    pub index: u64,
    /// Those of the next texts, in their order.
    pub vectors: Vec<Vector>,
    /// All work up to here.
    pub usage: Usage,
}

impl Vectors {
    /// How many vectors of a width one frame may carry: at least one.
    pub const fn per_frame(width: usize) -> usize {
        match VECTORS_BYTES_MAX.checked_div(width.saturating_mul(ELEMENT_BYTES)) {
            Some(count) if count > 0 => count,
            Some(_) | None => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use crate::job::ProviderFrame;
    use proptest::prelude::*;

    fn broken(texts: Vec<String>) -> Option<&'static str> {
        Embed { texts }.check().err().map(|inconsistent| inconsistent.rule)
    }

    #[test]
    fn an_order_has_some_texts_and_not_too_many_bytes() {
        assert_eq!(broken(vec![]), Some("must be 1 to 2048 texts"));
        assert_eq!(broken(vec!["x".into(); TEXTS_MAX + 1]), Some("must be 1 to 2048 texts"));
        assert_eq!(broken(vec!["x".into(); TEXTS_MAX]), None);
        assert_eq!(broken(vec!["x".into(), String::new()]), Some("must not be empty"));
        assert_eq!(broken(vec!["x".repeat(TEXTS_BYTES_MAX - 1), "y".into()]), None);
        let rule = broken(vec!["x".repeat(TEXTS_BYTES_MAX), "y".into()]).unwrap();
        assert_eq!(rule, format!("must have at most {TEXTS_BYTES_MAX} bytes together"));
    }

    #[test]
    fn a_text_has_at_most_a_token_a_byte_and_its_ends() {
        let order = Embed { texts: vec!["abc".into(), "é".into(), "d".into()] };
        assert_eq!(order.input_tokens_max(), [5, 9, 12]);
    }

    #[test]
    fn the_fullest_frame_fits() {
        for width in [1, 384, VECTOR_WIDTH_MAX] {
            let count = Vectors::per_frame(width).min(TEXTS_MAX);
            assert!(count * width * 4 <= VECTORS_BYTES_MAX && count > 1);
            let usage = Usage { input_tokens: u64::MAX, output_tokens: u64::MAX };
            let vectors = Vectors { index: u64::MAX, vectors: vec![Vector::new(&vec![1.0; width]); count], usage };
            assert!(codec::encode(&ProviderFrame::Vectors(vectors), JOB_FRAME_BYTES_MAX).is_ok());
        }
        assert_eq!((Vectors::per_frame(0), Vectors::per_frame(usize::MAX)), (1, 1));
    }

    #[test]
    fn a_vector_has_whole_elements() {
        for bytes in [vec![], vec![0; 3], vec![0; 5]] {
            let sent = codec::encode(&serde_cbor::Value::Bytes(bytes), 99).unwrap();
            assert!(codec::decode::<Vector>(&sent, 99).is_err());
        }
        assert!(!Vector::new(&[1.0, f32::NAN]).is_finite() && !Vector::new(&[f32::INFINITY]).is_finite());
        assert!(Vector::new(&[f32::MAX, -0.0]).is_finite());
        assert_eq!(format!("{:?}", Vector::new(&[0.5, -1.0])), "[0.5, -1.0]");
    }

    proptest! {
        #[test]
        fn every_bit_of_a_vector_arrives(bits in prop::collection::vec(any::<u32>(), 1..20)) {
            let elements: Vec<f32> = bits.iter().copied().map(f32::from_bits).collect();
            let vector = Vector::new(&elements);
            prop_assert_eq!(vector.width(), bits.len());
            let sent = codec::encode(&vector, 1000).unwrap();
            let back: Vector = codec::decode(&sent, 1000).unwrap();
            prop_assert_eq!(back.elements().map(f32::to_bits).collect::<Vec<_>>(), bits);
            prop_assert_eq!(serde_json::from_str::<Vector>(&serde_json::to_string(&vector).unwrap()).unwrap(), vector);
        }
    }
}
