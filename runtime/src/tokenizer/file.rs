//! The parts of a `tokenizer.json`, read into bounded fields.
//!
//! The `tokenizers` crate reads such files itself, but takes merges on trust that end in a panic,
//! gives added tokens other ids than the file where they contradict, and compiles any expression
//! to split with. Here the file is only data, and what is known is built from it by hand.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tokenizers::{AddedToken, NormalizedString, Normalizer, NormalizerWrapper};

use super::{Kind, TOKENIZER_BYTES_MAX, TokenId, TokenizerError, TokenizerFileError, VOCABULARY_MAX};

/// Most added tokens. Files have up to some thousand.
const ADDED_MAX: usize = 1 << 16;

/// Most parts of a sequence. Files have up to five.
const PARTS_MAX: usize = 16;

/// Longest piece of a file's text that an error repeats.
const SHOWN_CHARS_MAX: usize = 64;

#[derive(Deserialize)]
pub(super) struct TokenizerFile {
    #[serde(default)]
    added_tokens: List<Added, ADDED_MAX>,
    normalizer: Option<Outer>,
    pre_tokenizer: Option<Outer>,
    post_processor: Option<Outer>,
    pub(super) model: ModelPart,
}

#[derive(Deserialize)]
struct Added {
    id: TokenId,
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

/// The model of all kinds; each uses some of the fields.
#[derive(Deserialize)]
pub(super) struct ModelPart {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    vocab: Table<TokenId, VOCABULARY_MAX>,
    pub(super) merges: Option<List<Merge, VOCABULARY_MAX>>,
    pub(super) dropout: Option<f64>,
    pub(super) unk_token: Option<String>,
    pub(super) continuing_subword_prefix: Option<String>,
    pub(super) end_of_word_suffix: Option<String>,
    pub(super) max_input_chars_per_word: Option<usize>,
    pub(super) fuse_unk: Option<bool>,
    pub(super) byte_fallback: Option<bool>,
    pub(super) ignore_merges: Option<bool>,
}

/// A normalizer, pre-tokenizer or post-processor; each kind uses some of the fields.
#[derive(Deserialize)]
#[serde(bound(deserialize = "Inner: Deserialize<'de>"))]
pub(super) struct Part<Inner> {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(alias = "normalizers", alias = "pretokenizers", alias = "processors")]
    parts: Option<List<Inner, PARTS_MAX>>,
    pub(super) add_prefix_space: Option<bool>,
    pub(super) trim_offsets: Option<bool>,
    pub(super) use_regex: Option<bool>,
    pub(super) pattern: Option<Pattern>,
    pub(super) behavior: Option<String>,
    pub(super) invert: Option<bool>,
    pub(super) individual_digits: Option<bool>,
    pub(super) clean_text: Option<bool>,
    pub(super) handle_chinese_chars: Option<bool>,
    pub(super) strip_accents: Option<bool>,
    pub(super) lowercase: Option<bool>,
    pub(super) single: Option<List<Piece, PARTS_MAX>>,
    pub(super) special_tokens: Option<Table<Special, PARTS_MAX>>,
    pub(super) sep: Option<(String, TokenId)>,
    pub(super) cls: Option<(String, TokenId)>,
}

/// A part inside a sequence. Sequences inside sequences are refused by their kind.
pub(super) type Inner = Part<IgnoredAny>;

/// A part, alone or as a sequence.
pub(super) type Outer = Part<Inner>;

impl Outer {
    /// What `alone` or `inner` make of a single part, or of each part of a sequence.
    pub(super) fn each<T, E>(&self, alone: impl Fn(&Self) -> Result<T, E>, inner: impl Fn(&Inner) -> Result<T, E>) -> Result<Vec<T>, E> {
        match &self.parts {
            Some(List(parts)) if self.kind == "Sequence" => parts.iter().map(inner).collect(),
            _ => Ok(vec![alone(self)?]),
        }
    }
}

#[derive(Deserialize)]
pub(super) enum Pattern {
    Regex(String),
    String(String),
}

/// A place of the sequence that a post-processor makes.
#[derive(Deserialize)]
pub(super) enum Piece {
    SpecialToken { id: String },
    Sequence { id: String },
}

/// The ids that a special token of a post-processor stands for.
#[derive(Deserialize)]
pub(super) struct Special {
    ids: List<TokenId, PARTS_MAX>,
}

/// A merge, in the newer form of two texts or the older of one with a space.
pub(super) struct Merge(pub(super) String, pub(super) String);

/// A JSON list of at most `MAX` elements.
pub(super) struct List<T, const MAX: usize>(pub(super) Vec<T>);

/// A JSON table of at most `MAX` entries, each kept, so that keys that occur twice are seen.
pub(super) struct Table<T, const MAX: usize>(pub(super) Vec<(String, T)>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> Default for Table<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl TokenizerFile {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TokenizerFileError> {
        if bytes.len() as u64 > TOKENIZER_BYTES_MAX {
            return Err(TokenizerFileError::TooLarge { bytes: bytes.len() });
        }
        serde_json::from_slice(bytes).map_err(TokenizerFileError::Json)
    }

    pub(super) fn normalizer(&self) -> Option<&Outer> {
        self.normalizer.as_ref()
    }

    pub(super) fn pre_tokenizer(&self) -> Option<&Outer> {
        self.pre_tokenizer.as_ref()
    }

    pub(super) fn post_processor(&self) -> Option<&Outer> {
        self.post_processor.as_ref()
    }

    /// Refuses a model of another kind. Old files do not name it, and only BPE has merges.
    pub(super) fn check_kind(&self, supported: &'static str) -> Result<(), TokenizerFileError> {
        let unnamed = if self.model.merges.is_some() { "BPE" } else { "WordPiece" };
        let kind = self.model.kind.as_deref().unwrap_or(unnamed);
        if kind == supported { Ok(()) } else { Err(unsupported("model", kind, supported)) }
    }

    /// The words of a file for a model with so many rows, without their copies in this one.
    pub(super) fn take_words(&mut self, vocabulary: usize) -> Result<Words, TokenizerFileError> {
        let mut words = Words::default();
        for (token, id) in std::mem::take(&mut self.model.vocab).0 {
            words.insert(token, id, vocabulary)?;
        }
        for added in std::mem::take(&mut self.added_tokens).0 {
            words.add(added, vocabulary)?;
        }
        Ok(words)
    }
}

/// Says that a part is not supported, with the start of what the file has.
pub(super) fn unsupported(part: &'static str, found: &str, supported: &'static str) -> TokenizerFileError {
    TokenizerFileError::Unsupported { part, found: format!("{:?}", found.chars().take(SHOWN_CHARS_MAX).collect::<String>()), supported }
}

/// The whole vocabulary: the model's words and those added to them.
#[derive(Default)]
pub(super) struct Words {
    pub(super) ids: HashMap<String, TokenId>,
    /// By id; ids without a token have no text.
    texts: Vec<Option<String>>,
    kinds: Vec<Kind>,
    pub(super) added: Vec<AddedToken>,
}

impl Words {
    fn insert(&mut self, token: String, id: TokenId, vocabulary: usize) -> Result<(), TokenizerFileError> {
        let at = id as usize;
        if at >= vocabulary.min(VOCABULARY_MAX) {
            return Err(TokenizerFileError::BeyondModel { token, id, vocabulary });
        }
        if self.texts.len() <= at {
            self.texts.resize(at + 1, None);
            self.kinds.resize(at + 1, Kind::Normal);
        }
        if self.ids.contains_key(&token) {
            return Err(TokenizerError::DuplicateToken { text: token }.into());
        }
        if self.texts[at].is_some() {
            return Err(TokenizerFileError::IdMismatch { token, id });
        }
        self.texts[at] = Some(token.clone());
        self.ids.insert(token, id);
        Ok(())
    }

    /// Adds a token that the model's words may have already, under the same id.
    fn add(&mut self, added: Added, vocabulary: usize) -> Result<(), TokenizerFileError> {
        let Added { id, content, special, normalized, single_word, lstrip, rstrip } = added;
        if content.is_empty() || single_word || lstrip || rstrip {
            return Err(unsupported("added token", &content, "a text that is looked for as it is, without regard to spaces or words"));
        }
        match self.ids.get(&content) {
            None => self.insert(content.clone(), id, vocabulary)?,
            Some(known) if *known == id => {}
            Some(_) => return Err(TokenizerFileError::IdMismatch { token: content, id }),
        }
        self.kinds[id as usize] = if special { Kind::Control } else { Kind::UserDefined };
        self.added.push(AddedToken::from(content, special).normalized(normalized));
        Ok(())
    }

    /// The id of a token that something names.
    pub(super) fn id_of(&self, role: &'static str, token: &str) -> Result<TokenId, TokenizerFileError> {
        self.ids.get(token).copied().ok_or_else(|| TokenizerFileError::NoSuchToken { role, token: token.to_owned() })
    }

    /// The id of a special token that a post-processor names, in agreement with its own table.
    pub(super) fn special_of<T>(&self, part: &Part<T>, token: &str) -> Result<TokenId, TokenizerFileError> {
        let id = self.id_of("post-processor's token", token)?;
        let table = part.special_tokens.as_ref().map_or(&[][..], |Table(entries)| entries);
        match table.iter().find(|(name, _)| name == token) {
            Some((_, Special { ids: List(ids) })) if *ids != [id] => Err(TokenizerFileError::IdMismatch { token: token.to_owned(), id }),
            _ => Ok(id),
        }
    }

    /// Refuses added tokens that normalising makes equal: which of them is found would be chance.
    pub(super) fn check_added(&self, normalizer: Option<&NormalizerWrapper>) -> Result<(), TokenizerFileError> {
        let mut forms = HashSet::new();
        for AddedToken { content, .. } in self.added.iter().filter(|added| added.normalized) {
            let mut form = NormalizedString::from(content.as_str());
            normalizer.map_or(Ok(()), |normalizer| normalizer.normalize(&mut form)).map_err(TokenizerError::Build)?;
            if form.get().is_empty() || !forms.insert(form.get().to_owned()) {
                return Err(TokenizerFileError::AmbiguousToken { token: content.clone() });
            }
        }
        Ok(())
    }

    /// Texts and kinds by id.
    pub(super) fn into_rows(self) -> (Vec<String>, Vec<Kind>) {
        (self.texts.into_iter().map(Option::unwrap_or_default).collect(), self.kinds)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Bounded::<T, MAX>(PhantomData)).map(Self)
    }
}

/// Reads at most `MAX` elements.
struct Bounded<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a list of at most {MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            if elements.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Table<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BoundedTable::<T, MAX>(PhantomData)).map(Self)
    }
}

/// Reads at most `MAX` entries. Vocabularies of other kinds are lists; those are passed over, so
/// that the error is about the kind.
struct BoundedTable<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for BoundedTable<T, MAX> {
    type Value = Vec<(String, T)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a table of at most {MAX} entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = table.next_entry()? {
            if entries.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Vec::new())
    }
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Merge;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("two texts, or one with a space between them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Merge, E> {
                let (left, right) = text.split_once(' ').ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))?;
                Ok(Merge(left.to_owned(), right.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merge, A::Error> {
                match (list.next_element()?, list.next_element()?, list.next_element::<IgnoredAny>()?) {
                    (Some(left), Some(right), None) => Ok(Merge(left, right)),
                    _ => Err(A::Error::custom("a merge is of two texts")),
                }
            }
        }
        deserializer.deserialize_any(Pair)
    }
}
