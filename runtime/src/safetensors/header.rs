//! What the `safetensors` crate takes on trust in a header, checked before it reads one.
//!
//! The crate keeps the last of several tensors of one name, takes any number of dimensions, and
//! buffers each row before it looks at it. Here each row is read once into bounded fields.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use safetensors::Dtype;
use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::{DIMENSIONS_MAX, NAME_BYTES_MAX, SafetensorsError, TENSORS_MAX};

/// The entry of the header that is not a tensor.
const METADATA: &str = "__metadata__";

/// Checks a header's rows; what is sound here may still contradict the rest of the file.
pub(super) fn check(header: &[u8]) -> Result<(), SafetensorsError> {
    let mut refusal = None;
    let mut json = serde_json::Deserializer::from_slice(header);
    let read = Rows { refusal: &mut refusal }.deserialize(&mut json).and_then(|()| json.end());
    match (refusal, read) {
        (Some(refusal), _) => Err(refusal),
        (None, Err(error)) => Err(SafetensorsError::Header(error)),
        (None, Ok(())) => Ok(()),
    }
}

/// Refuses a name that is too long, one too many, or there already.
pub(super) fn admit(names: &mut BTreeSet<String>, name: String) -> Result<(), SafetensorsError> {
    let bytes = name.len() as u64;
    if bytes > NAME_BYTES_MAX {
        return Err(SafetensorsError::AboveLimit { what: "bytes of a tensor's name", claimed: bytes, limit: NAME_BYTES_MAX });
    }
    if names.len() as u64 >= TENSORS_MAX {
        return Err(SafetensorsError::AboveLimit { what: "tensors", claimed: TENSORS_MAX + 1, limit: TENSORS_MAX });
    }
    match names.replace(name) {
        Some(name) => Err(SafetensorsError::DuplicateTensor { name }),
        None => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Rank,
    #[serde(rename = "data_offsets")]
    _data_offsets: (u64, u64),
}

impl Row<'_> {
    fn check(&self, name: &str) -> Result<(), SafetensorsError> {
        if self.shape.0 > DIMENSIONS_MAX {
            return Err(SafetensorsError::TooManyDimensions { name: name.to_owned(), limit: DIMENSIONS_MAX });
        }
        let known: StrDeserializer<'_, ValueError> = self.dtype.as_ref().into_deserializer();
        match Dtype::deserialize(known) {
            Ok(_) => Ok(()),
            Err(_) => Err(SafetensorsError::UnknownDtype { name: name.to_owned(), dtype: self.dtype.clone().into_owned() }),
        }
    }
}

/// The number of dimensions, whose extents nobody keeps yet.
struct Rank(usize);

impl<'de> Deserialize<'de> for Rank {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> Visitor<'de> for Count {
            type Value = Rank;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of extents")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut extents: A) -> Result<Rank, A::Error> {
                let mut rank = 0;
                while extents.next_element::<u64>()?.is_some() {
                    rank += 1;
                }
                Ok(Rank(rank))
            }
        }
        deserializer.deserialize_seq(Count)
    }
}

/// Reads the header's table; a refusal of ours is left beside serde's error, which has no place for it.
struct Rows<'a> {
    refusal: &'a mut Option<SafetensorsError>,
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a table of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<(), A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = table.next_key::<String>()? {
            let row = match name.as_str() {
                METADATA => table.next_value::<IgnoredAny>().map(|_| None)?,
                _ => Some(table.next_value::<Row<'de>>()?),
            };
            let sound = row.map_or(Ok(()), |row| row.check(&name)).and_then(|()| admit(&mut names, name));
            if let Err(refused) = sound {
                *self.refusal = Some(refused);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}
