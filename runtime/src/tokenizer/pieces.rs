//! SentencePiece's byte pairs, `tokenizer.ggml.model = "llama"`: Llama 2, Mistral and their like.
//!
//! Text is joined from characters: of all neighbours whose joint text is a token, those whose token has the highest score become one,
//! the leftmost first where scores are equal, until no neighbours are a token. A character that is no token is spelled by its bytes.
//! A space is written `▁`, and where the file says so a text begins with one.
//!
//! Control tokens are cut out first, and each text between two of them begins anew. User-defined tokens are cut out of these, the
//! longest first, and join with nothing; they are text, so no space is put behind them.
//!
//! # Cost
//!
//! Each join looks up two new pairs, of which none is longer than the longest token; so a text of `n` bytes takes `n log n` steps
//! however it is chosen.
//!
//! # Source
//!
//! The rule is that of llama.cpp, which is SentencePiece's without normalisation. They differ after user-defined tokens, where
//! llama.cpp puts a space that is not in the text; there, SentencePiece is followed, by which the models were trained.

mod trie;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::{KINDS_KEY, Kind, TokenId, TokenizerError, read_kinds, read_texts};
use crate::gguf::{Array, Gguf, Value};
use trie::{Part, Trie};

/// What stands for a space.
const SPACE: &str = "\u{2581}";

/// Longest token, in bytes. Published vocabularies have runs of spaces of up to a hundred.
const TOKEN_BYTES_MAX: usize = 512;

/// Bytes of all control and user-defined tokens. Published vocabularies have some hundred short ones.
const CUT_BYTES_MAX: usize = 1 << 20;

/// Entries that would change texts before they are joined, or end what is to be continued.
const UNSUPPORTED: [&str; 3] =
    ["tokenizer.ggml.remove_extra_whitespaces", "tokenizer.ggml.precompiled_charsmap", "tokenizer.ggml.add_eos_token"];

/// A token that characters are joined to.
#[derive(Clone, Copy, Debug)]
struct Joint {
    id: TokenId,
    /// The place of its score among all; equal scores have one place.
    rank: u32,
}

/// What turns text into tokens.
#[derive(Debug)]
pub(super) struct SentencePieces {
    joints: HashMap<Box<str>, Joint>,
    /// Bytes of the longest of them.
    longest: usize,
    bytes: Box<[TokenId; 256]>,
    control: Trie,
    user_defined: Trie,
    begins_with_space: bool,
}

/// What a file says about its tokens.
pub(super) struct Vocabulary {
    pub(super) texts: Vec<String>,
    pub(super) kinds: Vec<Kind>,
    scores: Vec<f64>,
}

impl Vocabulary {
    pub(super) fn read(file: &Gguf) -> Result<Self, TokenizerError> {
        let texts = read_texts(file)?;
        if file.get(KINDS_KEY).is_none() {
            return Err(TokenizerError::Missing { key: KINDS_KEY });
        }
        let kinds = read_kinds(file, texts.len(), kind_of)?;
        let scores = read_scores(file, texts.len())?;
        match texts.iter().position(|text| text.len() > TOKEN_BYTES_MAX) {
            Some(id) => Err(TokenizerError::TokenTooLong { id: id as TokenId, bytes: texts[id].len() }),
            None => Ok(Self { texts, kinds, scores }),
        }
    }
}

impl SentencePieces {
    /// Builds the encoder of a vocabulary in which no text occurs twice.
    pub(super) fn new(file: &Gguf, vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        for key in UNSUPPORTED {
            match file.get(key) {
                None | Some(Value::Bool(false)) => {}
                Some(_) => return Err(TokenizerError::Unsupported { key }),
            }
        }
        let Vocabulary { texts, kinds, .. } = vocabulary;
        let of_kind = |kind: Kind| (0..).zip(texts).zip(kinds).filter(move |(_, own)| **own == kind).map(|((id, text), _)| (id, text));
        let ranks = ranks(&vocabulary.scores);
        let joints: HashMap<Box<str>, Joint> =
            of_kind(Kind::Normal).map(|(id, text)| (text.as_str().into(), Joint { id, rank: ranks[id as usize] })).collect();
        if !joints.contains_key(SPACE) {
            return Err(TokenizerError::MissingSpace);
        }
        let cut_bytes: usize = of_kind(Kind::Control).chain(of_kind(Kind::UserDefined)).map(|(_, text)| text.len()).sum();
        if cut_bytes > CUT_BYTES_MAX {
            return Err(TokenizerError::TooManyCuts { bytes: cut_bytes });
        }
        Ok(Self {
            longest: joints.keys().map(|text| text.len()).max().unwrap_or(0),
            joints,
            bytes: bytes(of_kind(Kind::Byte))?,
            control: of_kind(Kind::Control).map(|(id, text)| (text.as_bytes(), id)).collect(),
            // Some files write their spaces as such.
            user_defined: of_kind(Kind::UserDefined).map(|(id, text)| (text.replace(' ', SPACE), id)).collect(),
            begins_with_space: file.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true),
        })
    }

    /// The tokens of a text.
    pub(super) fn encode(&self, text: &str) -> Vec<TokenId> {
        let mut ids = Vec::new();
        for part in self.control.cut(text) {
            match part {
                Part::Token(id) => ids.push(id),
                Part::Text(text) => self.encode_plain(text, &mut ids),
            }
        }
        ids
    }

    /// Encodes a text without control tokens.
    fn encode_plain(&self, text: &str, ids: &mut Vec<TokenId>) {
        let prefix = if self.begins_with_space { SPACE } else { "" };
        let spelled = [prefix, &text.replace(' ', SPACE)].concat();
        for part in self.user_defined.cut(&spelled) {
            match part {
                Part::Token(id) => ids.push(id),
                Part::Text(text) => Joining::new(self, text).run(ids),
            }
        }
    }

    fn joint(&self, text: &str) -> Option<Joint> {
        // Longer texts are not even hashed, so that what a look-up costs is bounded.
        if text.len() > self.longest { None } else { self.joints.get(text).copied() }
    }
}

/// What a token stands for.
pub(super) fn token_bytes(text: &str, kind: Kind) -> Box<[u8]> {
    match kind {
        Kind::Control => Box::default(),
        Kind::Byte => byte_of(text).into_iter().collect(),
        Kind::Normal | Kind::UserDefined => text.replace(SPACE, " ").into_bytes().into(),
    }
}

/// What a token is for. Tokens marked as unused join like others, and the unknown token is found in texts like a control token.
fn kind_of(code: i64) -> Kind {
    match code {
        2 | 3 => Kind::Control,
        4 => Kind::UserDefined,
        6 => Kind::Byte,
        _ => Kind::Normal,
    }
}

fn read_scores(file: &Gguf, tokens: usize) -> Result<Vec<f64>, TokenizerError> {
    const KEY: &str = "tokenizer.ggml.scores";
    let Some(Value::Array(Array::Float(scores))) = file.get(KEY) else { return Err(TokenizerError::Missing { key: KEY }) };
    if scores.len() != tokens {
        return Err(TokenizerError::ScoresMismatch { scores: scores.len(), tokens });
    }
    match scores.iter().position(|score| !score.is_finite()) {
        Some(id) => Err(TokenizerError::BadScore { id: id as TokenId }),
        None => Ok(scores.clone()),
    }
}

/// The place of each score among all: equal scores have one place, higher ones a higher.
fn ranks(scores: &[f64]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Adding zero makes a negative zero a positive one, which is equal to it.
    let key = |at: usize| scores[at] + 0.0;
    order.sort_unstable_by(|one, other| key(*one).total_cmp(&key(*other)));
    let mut ranks = vec![0; scores.len()];
    for pair in order.windows(2) {
        ranks[pair[1]] = ranks[pair[0]] + u32::from(key(pair[0]) < key(pair[1]));
    }
    ranks
}

/// The token of each byte.
fn bytes<'a>(tokens: impl Iterator<Item = (TokenId, &'a String)>) -> Result<Box<[TokenId; 256]>, TokenizerError> {
    let mut found = [None; 256];
    for (id, text) in tokens {
        let byte = byte_of(text).ok_or_else(|| TokenizerError::BadByteToken { text: text.clone() })?;
        found[usize::from(byte)] = Some(id);
    }
    match (0..=u8::MAX).find(|byte| found[usize::from(*byte)].is_none()) {
        Some(byte) => Err(TokenizerError::MissingByte { byte }),
        None => Ok(Box::new(found.map(Option::unwrap_or_default))),
    }
}

/// The byte that a token such as `<0x0A>` stands for.
fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_spelled_so = digits.len() == 2 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
    if is_spelled_so { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// A run of characters that are one by now. Those that were joined to the one before have no bytes.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    start: u32,
    bytes: u32,
    before: u32,
    after: u32,
}

/// No symbol.
const NONE: u32 = u32::MAX;

/// Neighbours that would be a token. The greatest goes first: the highest rank, then the leftmost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    rank: u32,
    left: Reverse<u32>,
    right: u32,
    /// Of both when they were found; another number tells that one of them has changed since.
    bytes: u32,
}

/// A text that is being joined.
struct Joining<'a> {
    pieces: &'a SentencePieces,
    text: &'a str,
    symbols: Vec<Symbol>,
    pairs: BinaryHeap<Pair>,
}

impl<'a> Joining<'a> {
    /// Takes texts of far less than 4 GiB, which all are.
    fn new(pieces: &'a SentencePieces, text: &'a str) -> Self {
        let symbol = |(at, (start, character)): (u32, (usize, char))| Symbol {
            start: start as u32,
            bytes: character.len_utf8() as u32,
            before: at.checked_sub(1).unwrap_or(NONE),
            after: at + 1,
        };
        let mut symbols: Vec<Symbol> = (0..).zip(text.char_indices()).map(symbol).collect();
        if let Some(last) = symbols.last_mut() {
            last.after = NONE;
        }
        Self { pieces, text, symbols, pairs: BinaryHeap::new() }
    }

    fn run(mut self, ids: &mut Vec<TokenId>) {
        for right in 1..self.symbols.len() as u32 {
            self.offer(right - 1, right);
        }
        while let Some(pair) = self.pairs.pop() {
            self.join(pair);
        }
        for symbol in self.symbols.iter().filter(|symbol| symbol.bytes > 0) {
            let text = self.of(symbol.start, symbol.bytes);
            match self.pieces.joint(text) {
                Some(joint) => ids.push(joint.id),
                // Only a single character can be no token.
                None => ids.extend(text.bytes().map(|byte| self.pieces.bytes[usize::from(byte)])),
            }
        }
    }

    fn of(&self, start: u32, bytes: u32) -> &'a str {
        let start = start as usize;
        &self.text[start..start + bytes as usize]
    }

    /// Takes two neighbours in if they would be a token.
    fn offer(&mut self, left: u32, right: u32) {
        if left == NONE || right == NONE {
            return;
        }
        let (one, other) = (self.symbols[left as usize], self.symbols[right as usize]);
        let bytes = one.bytes + other.bytes;
        if let Some(Joint { rank, .. }) = self.pieces.joint(self.of(one.start, bytes)) {
            self.pairs.push(Pair { rank, left: Reverse(left), right, bytes });
        }
    }

    fn join(&mut self, pair: Pair) {
        let Pair { left: Reverse(left), right, bytes, .. } = pair;
        let (one, other) = (self.symbols[left as usize], self.symbols[right as usize]);
        if one.bytes == 0 || other.bytes == 0 || one.bytes + other.bytes != bytes {
            return;
        }
        self.symbols[left as usize] = Symbol { bytes, after: other.after, ..one };
        self.symbols[right as usize].bytes = 0;
        if let Some(after) = self.symbols.get_mut(other.after as usize) {
            after.before = left;
        }
        self.offer(one.before, left);
        self.offer(left, other.after);
    }
}
