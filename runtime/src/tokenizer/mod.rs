//! Text to tokens and back, from the vocabulary inside the model file or beside it.
//!
//! A [`Tokenizer`] is that of a model that answers. Two kinds are known: byte-level BPE with the
//! ways of splitting text listed in [`split`], from a GGUF file (`tokenizer.ggml.model = "gpt2"`)
//! or from a folder's `tokenizer.json` (else [`TokenizerFileError`]); and SentencePiece's byte
//! pairs from a GGUF file (`"llama"`; else [`TokenizerError`]). A
//! [`TextEncoder`] is that of a model that turns text into vectors, by WordPiece. Encoding parses control tokens such
//! as `<|im_start|>` wherever they stand in the text, because chat templates write them there.
//! Bytes that a vocabulary lacks (some lack rare control characters) are left out, as the models'
//! own tokenizers do.

mod bytes;
pub(crate) use bytes::spell;
mod file;
mod file_error;
mod from_json;
mod pieces;
pub mod split;
mod stream;
mod text_encoder;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, TokenizerImpl};

use crate::gguf::{Array, Gguf, GgufError, Value};
pub use file_error::TokenizerFileError;
pub use from_json::TokenizerOptions;
use pieces::{SentencePieces, Vocabulary};
pub use split::UnknownSplit;
pub use stream::TextStream;
pub use text_encoder::{TextEncoder, TextEncoderOptions, TextTokens};

/// Index of a token in the vocabulary.
pub type TokenId = u32;

/// Largest vocabulary read. The largest published ones have 256 Ki tokens.
pub const VOCABULARY_MAX: usize = 1 << 20;

/// Longest text encoded, in bytes: about eight bytes for each token of a 128 Ki context.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Longest `tokenizer.json` read. The largest published ones have some 35 MB.
pub const TOKENIZER_BYTES_MAX: u64 = 64 << 20;

/// Where a file says what each token is for.
const KINDS_KEY: &str = "tokenizer.ggml.token_type";

/// Control tokens that end an answer, beside the one that the file names: files name only one,
/// and models trained on chats end a turn with another.
const END_TOKENS: [&str; 6] = ["<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>"];

/// Why a model file's tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The metadata cannot be read as needed.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// An entry that every tokenizer needs is missing.
    #[error("model file has no {key:?}")]
    Missing {
        /// Its key.
        key: &'static str,
    },
    /// A kind of tokenizer that is not known.
    #[error("tokenizer kind {kind:?} is not supported, only \"gpt2\" and \"llama\" are")]
    UnknownKind {
        /// The kind as the file names it.
        kind: String,
    },
    /// A way of splitting text that is not known.
    #[error(transparent)]
    UnknownSplit(#[from] UnknownSplit),
    /// More tokens than the limit.
    #[error("vocabulary of {tokens} tokens is above the limit of {VOCABULARY_MAX}")]
    VocabularyTooLarge {
        /// Tokens in the file.
        tokens: usize,
    },
    /// One text for two tokens.
    #[error("token {text:?} occurs twice in the vocabulary")]
    DuplicateToken {
        /// The text.
        text: String,
    },
    /// The list of kinds is not as long as the list of tokens.
    #[error("{kinds} token kinds for {tokens} tokens")]
    KindsMismatch {
        /// Length of the list of kinds.
        kinds: usize,
        /// Length of the list of tokens.
        tokens: usize,
    },
    /// The list of scores is not as long as the list of tokens.
    #[error("{scores} token scores for {tokens} tokens")]
    ScoresMismatch {
        /// Length of the list of scores.
        scores: usize,
        /// Length of the list of tokens.
        tokens: usize,
    },
    /// A score that is infinite or no number.
    #[error("the score of token {id} is infinite or no number")]
    BadScore {
        /// The token.
        id: TokenId,
    },
    /// A token above the limit.
    #[error("token {id} has {bytes} bytes, too many for a token")]
    TokenTooLong {
        /// The token.
        id: TokenId,
        /// Its length.
        bytes: usize,
    },
    /// More control and user-defined tokens than are looked for.
    #[error("control and user-defined tokens have {bytes} bytes together, too many to look for")]
    TooManyCuts {
        /// Their length together.
        bytes: usize,
    },
    /// A byte's token that is not spelled as one.
    #[error("token {text:?} is to stand for a byte, and is not spelled like <0x0A>")]
    BadByteToken {
        /// Its text.
        text: String,
    },
    /// A byte that no token stands for.
    #[error("vocabulary has no token for the byte 0x{byte:02X}")]
    MissingByte {
        /// The byte.
        byte: u8,
    },
    /// No token stands for a space.
    #[error("vocabulary has no token for a space, which is written \u{2581}")]
    MissingSpace,
    /// An entry by which texts would be changed first.
    #[error("model file has {key:?}, which is not supported")]
    Unsupported {
        /// Its key.
        key: &'static str,
    },
    /// A merge that is not two tokens whose concatenation is a token.
    #[error("merge {merge:?} does not join two tokens to a third")]
    BadMerge {
        /// The merge.
        merge: String,
    },
    /// A token id beyond the vocabulary.
    #[error("{key:?} is {id}, beyond the vocabulary of {tokens}")]
    IdOutOfRange {
        /// The entry that names it.
        key: &'static str,
        /// The id.
        id: u64,
        /// Size of the vocabulary.
        tokens: usize,
    },
    /// The tokenizer library refused what the file describes.
    #[error("tokenizer cannot be built")]
    Build(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a text was not encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The text is longer than the limit.
    #[error("text of {bytes} bytes is above the limit of {TEXT_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The splitting expression gave up on this text.
    #[error("text cannot be split into tokens")]
    Split(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a token is for. Codes as in `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Ordinary text.
    Normal,
    /// Steers the model; never part of the answer's text.
    Control,
    /// Text that is always one token.
    UserDefined,
    /// A byte of a character that is no token.
    Byte,
}

type Inner = TokenizerImpl<BPE, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// What turns text into tokens.
#[derive(Debug)]
enum Encoder {
    BytePairs(Box<Inner>),
    Pieces(Box<SentencePieces>),
}

/// What a tokenizer is built from, beside its encoder.
struct Parts {
    /// By id, as are the kinds.
    texts: Vec<String>,
    kinds: Vec<Kind>,
    begin: Option<TokenId>,
    file_end: Option<TokenId>,
    more_ends: Vec<TokenId>,
    adds_begin: bool,
}

/// What an encoder by byte pairs is built from.
struct BytePairs {
    ids: HashMap<String, TokenId>,
    merges: Vec<(String, String)>,
    /// Tokens that are looked for before anything else; each is in the vocabulary.
    added: Vec<AddedToken>,
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: PreTokenizerWrapper,
    /// Whether a word that is a token as a whole skips merging.
    ignores_merges: bool,
    /// The token for characters that the vocabulary lacks, which is in the vocabulary.
    unknown: Option<String>,
    fuses_unknown: bool,
}

/// A model's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    encoder: Encoder,
    texts: Vec<String>,
    bytes: Vec<Box<[u8]>>,
    begin: Option<TokenId>,
    end: BTreeSet<TokenId>,
    file_end: Option<TokenId>,
    adds_begin: bool,
}

impl Tokenizer {
    /// Builds the tokenizer that a model file describes.
    ///
    /// # Errors
    ///
    /// [`TokenizerError`] when it is of an unknown kind or contradicts itself.
    pub fn from_gguf(file: &Gguf) -> Result<Self, TokenizerError> {
        const KEY: &str = "tokenizer.ggml.model";
        match file.string(KEY)? {
            Some("gpt2") => Self::of_byte_pairs(file),
            Some("llama") => Self::of_pieces(file),
            Some(kind) => Err(TokenizerError::UnknownKind { kind: kind.to_owned() }),
            None => Err(TokenizerError::Missing { key: KEY }),
        }
    }

    fn of_byte_pairs(file: &Gguf) -> Result<Self, TokenizerError> {
        let split = split::Split::named(file.string("tokenizer.ggml.pre")?.unwrap_or("default"))?;
        let texts = read_texts(file)?;
        let kinds = read_kinds(file, texts.len(), kind_of)?;
        let ids = index(&texts)?;
        let pairs = BytePairs {
            merges: read_merges(file, &ids)?,
            added: added_tokens(&texts, &kinds),
            normalizer: split.normalizer(),
            pre_tokenizer: split.pre_tokenizer().map_err(TokenizerError::Build)?,
            ignores_merges: split.ignores_merges(),
            unknown: None,
            fuses_unknown: false,
            ids,
        };
        let parts = Parts::read(file, texts, kinds, split.adds_begin())?;
        Ok(Self::assemble(parts, pairs.build()?, token_bytes))
    }

    fn of_pieces(file: &Gguf) -> Result<Self, TokenizerError> {
        let vocabulary = Vocabulary::read(file)?;
        index(&vocabulary.texts)?;
        let encoder = Encoder::Pieces(Box::new(SentencePieces::new(file, &vocabulary)?));
        let Vocabulary { texts, kinds, .. } = vocabulary;
        Ok(Self::assemble(Parts::read(file, texts, kinds, true)?, encoder, pieces::token_bytes))
    }

    /// Builds a tokenizer of parts that agree with each other; `bytes_of` tells what a token stands for.
    fn assemble(parts: Parts, encoder: Encoder, bytes_of: fn(&str, Kind) -> Box<[u8]>) -> Self {
        let Parts { texts, kinds, begin, file_end, more_ends, adds_begin } = parts;
        let rows = || texts.iter().zip(&kinds);
        let known_ends = (0..).zip(rows()).filter(|(_, (text, kind))| **kind == Kind::Control && END_TOKENS.contains(&text.as_str()));
        let end = known_ends.map(|(id, _)| id).chain(file_end).chain(more_ends).collect();
        let bytes = rows().map(|(text, kind)| bytes_of(text, *kind)).collect();
        Self { encoder, bytes, begin, end, file_end, adds_begin: adds_begin && begin.is_some(), texts }
    }

    /// The tokens of `text`, after the begin token where the model wants one and the text has none.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the text is too long or defeats the splitting expression.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, EncodeError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(EncodeError::TooLong { bytes: text.len() });
        }
        let mut ids = match &self.encoder {
            Encoder::BytePairs(inner) => inner.encode_fast(text, false).map_err(EncodeError::Split)?.get_ids().to_vec(),
            Encoder::Pieces(pieces) => pieces.encode(text),
        };
        if let Some(begin) = self.begin.filter(|begin| self.adds_begin && ids.first() != Some(begin)) {
            ids.insert(0, begin);
        }
        Ok(ids)
    }

    /// The text of a whole sequence, control tokens left out, bytes that are no UTF-8 replaced. It begins with the space that
    /// SentencePiece puts in front of a text.
    pub fn decode(&self, ids: &[TokenId]) -> String {
        let mut stream = TextStream::default();
        let mut text: String = ids.iter().map(|id| stream.push(self.bytes_of(*id))).collect();
        text.push_str(&stream.finish());
        text
    }

    /// The bytes a token stands for; none for control tokens and ids beyond the vocabulary.
    pub fn bytes_of(&self, id: TokenId) -> &[u8] {
        self.bytes.get(id as usize).map_or(&[], |bytes| bytes)
    }

    /// Whether a token ends an answer.
    pub fn is_end(&self, id: TokenId) -> bool {
        self.end.contains(&id)
    }

    /// Number of tokens.
    pub fn vocabulary(&self) -> usize {
        self.texts.len()
    }

    /// The begin token as the vocabulary spells it, for chat templates.
    pub fn begin_text(&self) -> &str {
        self.text_of(self.begin)
    }

    /// The end token as the vocabulary spells it, for chat templates.
    pub fn end_text(&self) -> &str {
        self.text_of(self.file_end)
    }

    fn text_of(&self, id: Option<TokenId>) -> &str {
        id.and_then(|id| self.texts.get(id as usize)).map_or("", String::as_str)
    }
}

impl Parts {
    /// What a file says of its tokens; prompts begin with the begin token where it says so, or else by default.
    fn read(file: &Gguf, texts: Vec<String>, kinds: Vec<Kind>, adds_begin: bool) -> Result<Self, TokenizerError> {
        let tokens = texts.len();
        Ok(Self {
            begin: read_id(file, "tokenizer.ggml.bos_token_id", tokens)?,
            file_end: read_id(file, "tokenizer.ggml.eos_token_id", tokens)?,
            more_ends: read_id(file, "tokenizer.ggml.eot_token_id", tokens)?.into_iter().collect(),
            adds_begin: file.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(adds_begin),
            texts,
            kinds,
        })
    }
}

fn read_texts(file: &Gguf) -> Result<Vec<String>, TokenizerError> {
    const KEY: &str = "tokenizer.ggml.tokens";
    let texts = file.strings(KEY)?.ok_or(TokenizerError::Missing { key: KEY })?;
    if texts.len() > VOCABULARY_MAX {
        return Err(TokenizerError::VocabularyTooLarge { tokens: texts.len() });
    }
    Ok(texts.to_vec())
}

fn read_kinds(file: &Gguf, tokens: usize, kind_of: fn(i64) -> Kind) -> Result<Vec<Kind>, TokenizerError> {
    let codes: Vec<i64> = match file.get(KINDS_KEY) {
        None => return Ok(vec![Kind::Normal; tokens]),
        Some(Value::Array(Array::Int(codes))) => codes.clone(),
        Some(Value::Array(Array::Uint(codes))) => codes.iter().map(|code| i64::try_from(*code).unwrap_or(-1)).collect(),
        Some(_) => return Err(TokenizerError::Missing { key: KINDS_KEY }),
    };
    if codes.len() != tokens {
        return Err(TokenizerError::KindsMismatch { kinds: codes.len(), tokens });
    }
    Ok(codes.into_iter().map(kind_of).collect())
}

/// What a token of byte-level BPE is for.
fn kind_of(code: i64) -> Kind {
    match code {
        3 => Kind::Control,
        4 => Kind::UserDefined,
        _ => Kind::Normal,
    }
}

fn index(texts: &[String]) -> Result<HashMap<String, TokenId>, TokenizerError> {
    let mut ids = HashMap::with_capacity(texts.len());
    for (id, text) in (0..).zip(texts) {
        if ids.insert(text.clone(), id).is_some() {
            return Err(TokenizerError::DuplicateToken { text: text.clone() });
        }
    }
    Ok(ids)
}

fn read_id(file: &Gguf, key: &'static str, tokens: usize) -> Result<Option<TokenId>, TokenizerError> {
    let Some(id) = file.uint(key)? else { return Ok(None) };
    let inside = TokenId::try_from(id).ok().filter(|id| (*id as usize) < tokens);
    inside.map(Some).ok_or(TokenizerError::IdOutOfRange { key, id, tokens })
}

fn token_bytes(text: &str, kind: Kind) -> Box<[u8]> {
    match kind {
        Kind::Control => Box::default(),
        Kind::UserDefined => text.as_bytes().into(),
        Kind::Normal | Kind::Byte => bytes::decode(text).into(),
    }
}

/// Both halves of every merge. The library takes their being tokens on trust, so it is checked here.
fn read_merges(file: &Gguf, ids: &HashMap<String, TokenId>) -> Result<Vec<(String, String)>, TokenizerError> {
    const KEY: &str = "tokenizer.ggml.merges";
    let merges = file.strings(KEY)?.ok_or(TokenizerError::Missing { key: KEY })?;
    let halves = |merge: &String| match merge.split_once(' ') {
        Some((left, right)) => check_merge(left, right, ids),
        None => Err(TokenizerError::BadMerge { merge: merge.clone() }),
    };
    merges.iter().map(halves).collect()
}

fn check_merge(left: &str, right: &str, ids: &HashMap<String, TokenId>) -> Result<(String, String), TokenizerError> {
    let known = |part: &str| ids.contains_key(part);
    if known(left) && known(right) && known(&[left, right].concat()) {
        Ok((left.to_owned(), right.to_owned()))
    } else {
        Err(TokenizerError::BadMerge { merge: format!("{left} {right}") })
    }
}

/// The tokens that are looked for before anything else, from their kinds.
fn added_tokens(texts: &[String], kinds: &[Kind]) -> Vec<AddedToken> {
    let added = |(text, kind): (&String, &Kind)| {
        let special = match kind {
            Kind::Normal | Kind::Byte => return None,
            Kind::Control => true,
            Kind::UserDefined => false,
        };
        (!text.is_empty()).then(|| AddedToken::from(text.clone(), special).normalized(false))
    };
    texts.iter().zip(kinds).filter_map(added).collect()
}

impl BytePairs {
    fn build(self) -> Result<Encoder, TokenizerError> {
        let vocabulary: Vocab = self.ids.into_iter().collect();
        let bpe = BPE::builder().vocab_and_merges(vocabulary, self.merges).ignore_merges(self.ignores_merges).fuse_unk(self.fuses_unknown);
        let bpe = match self.unknown {
            Some(unknown) => bpe.unk_token(unknown),
            None => bpe,
        };
        let mut inner = Inner::new(bpe.build().map_err(TokenizerError::Build)?);
        inner.with_normalizer(self.normalizer).map_err(TokenizerError::Build)?;
        inner.with_pre_tokenizer(Some(self.pre_tokenizer));
        inner.add_tokens(self.added).map_err(TokenizerError::Build)?;
        Ok(Encoder::BytePairs(Box::new(inner)))
    }
}
