//! Fields that are written as text and have a type of their own. Their errors say what was expected.

use std::fmt::Display;
use std::str::FromStr;

use cocoon_market::offer::ModelClass;
use serde::{Deserialize, Deserializer};

/// Reads a text through [`FromStr`].
pub(crate) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// Reads a text through [`FromStr`], for a key that may be absent.
pub(super) fn parsed_option<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    parsed(deserializer).map(Some)
}

/// Reads texts through [`FromStr`].
pub(super) fn parsed_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    Vec::<String>::deserialize(deserializer)?.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

/// Reads a resource class by the name it has among topics.
pub(super) fn class<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ModelClass, D::Error> {
    let text = String::deserialize(deserializer)?;
    let found = ModelClass::ALL.into_iter().find(|class| class.topic() == text);
    found.ok_or_else(|| {
        let known = ModelClass::ALL.map(ModelClass::topic).join(", ");
        serde::de::Error::custom(format_args!("no class {text:?}, expected one of {known}"))
    })
}
