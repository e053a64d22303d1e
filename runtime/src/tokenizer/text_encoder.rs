//! WordPiece from a `tokenizer.json`: the tokens of a text for BERT.

#[cfg(test)]
mod tests;

use serde::de::IgnoredAny;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, TokenizerImpl};

use super::file::{List, ModelPart, Outer, Part, Piece, TokenizerFile, Words, unsupported};
use super::{EncodeError, TEXT_BYTES_MAX, TokenId, TokenizerError, TokenizerFileError};

/// Longest word that is looked up in parts, twice what BERT has: the time it may take grows with
/// the cube of it.
const WORD_CHARS_MAX: usize = 200;

type Pieces = TokenizerImpl<WordPiece, NormalizerWrapper, BertPreTokenizer, PostProcessorWrapper, DecoderWrapper>;

/// What other files of the folder say about a text encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextEncoderOptions {
    /// Rows of the model's embedding, which no token's id may reach.
    pub vocabulary: usize,
    /// Most tokens of a text, with those at its two ends.
    pub tokens_max: usize,
    /// Whether texts are lower-cased before anything else.
    pub lower_cased: bool,
}

/// The tokenizer of a model that turns texts into vectors.
#[derive(Debug)]
pub struct TextEncoder {
    inner: Pieces,
    ends: (TokenId, TokenId),
    tokens_max: usize,
    lower_cased: bool,
    vocabulary: usize,
}

/// A text as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextTokens {
    /// Its tokens between those at its two ends, at most [`TextEncoder::tokens_max`].
    pub ids: Vec<TokenId>,
    /// Tokens of the text that had no place.
    pub cut: usize,
}

impl TextEncoder {
    /// Builds the WordPiece tokenizer that a `tokenizer.json` describes. What the file itself says
    /// of lengths is the state of the program that wrote it, and counts for nothing.
    ///
    /// # Errors
    ///
    /// [`TokenizerFileError`] when the file is too long or no tokenizer, is of an unknown kind, or
    /// contradicts itself or the model.
    pub fn from_json(bytes: &[u8], options: &TextEncoderOptions) -> Result<Self, TokenizerFileError> {
        let &TextEncoderOptions { vocabulary, tokens_max, lower_cased } = options;
        if tokens_max <= 2 {
            return Err(TokenizerFileError::NoPlace { tokens_max });
        }
        let mut file = TokenizerFile::parse(bytes)?;
        file.check_kind("WordPiece")?;
        let words = file.take_words(vocabulary)?;
        check_pre_tokenizer(file.pre_tokenizer())?;
        let ends = ends_of(file.post_processor(), &words)?;
        let normalizer = file.normalizer().map(normalizer_of).transpose()?;
        words.check_added(normalizer.as_ref())?;
        let inner = build(&file.model, normalizer, &words)?;
        let (texts, _) = words.into_rows();
        Ok(Self { inner, ends, tokens_max, lower_cased, vocabulary: texts.len() })
    }

    /// The tokens of `text` between the tokens at its two ends, cut to the most that the model takes.
    ///
    /// # Errors
    ///
    /// [`EncodeError::TooLong`] when the text is above the limit of bytes.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, EncodeError> {
        Ok(self.encode_counted(text)?.ids)
    }

    /// As [`TextEncoder::encode`], with the number of tokens that were cut off.
    ///
    /// # Errors
    ///
    /// As [`TextEncoder::encode`].
    pub fn encode_counted(&self, text: &str) -> Result<TextTokens, EncodeError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(EncodeError::TooLong { bytes: text.len() });
        }
        let encoded = match self.lower_cased {
            true => self.inner.encode_fast(text.to_lowercase(), false),
            false => self.inner.encode_fast(text, false),
        };
        let encoded = encoded.map_err(EncodeError::Split)?;
        let (first, last) = self.ends;
        let all = encoded.get_ids();
        let inside = &all[..all.len().min(self.tokens_max - 2)];
        let ids = std::iter::once(first).chain(inside.iter().copied()).chain([last]).collect();
        Ok(TextTokens { ids, cut: all.len() - inside.len() })
    }

    /// Most tokens of a text, with those at its two ends.
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// One more than the highest id of a token.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }
}

fn build(model: &ModelPart, normalizer: Option<NormalizerWrapper>, words: &Words) -> Result<Pieces, TokenizerFileError> {
    let missing = |key| TokenizerFileError::Missing { part: "model", key };
    let unknown = model.unk_token.clone().ok_or_else(|| missing("unk_token"))?;
    words.id_of("unknown token", &unknown)?;
    let prefix = model.continuing_subword_prefix.clone().ok_or_else(|| missing("continuing_subword_prefix"))?;
    let word_chars = model.max_input_chars_per_word.ok_or_else(|| missing("max_input_chars_per_word"))?;
    if word_chars > WORD_CHARS_MAX {
        return Err(unsupported("model", "words that are longer", "words of at most 200 characters"));
    }
    let vocabulary = words.ids.iter().map(|(token, id)| (token.clone(), *id));
    let pieces = WordPiece::builder()
        .vocab(vocabulary.collect::<tokenizers::models::bpe::Vocab>())
        .unk_token(unknown)
        .continuing_subword_prefix(prefix)
        .max_input_chars_per_word(word_chars)
        .build()
        .map_err(TokenizerError::Build)?;
    let mut inner = Pieces::new(pieces);
    inner.with_normalizer(normalizer).map_err(TokenizerError::Build)?;
    inner.with_pre_tokenizer(Some(BertPreTokenizer));
    inner.add_tokens(words.added.iter().cloned()).map_err(TokenizerError::Build)?;
    Ok(inner)
}

fn check_pre_tokenizer(part: Option<&Outer>) -> Result<(), TokenizerFileError> {
    match part.map_or("null", |part| part.kind.as_str()) {
        "BertPreTokenizer" => Ok(()),
        kind => Err(unsupported("pre-tokenizer", kind, "BertPreTokenizer")),
    }
}

/// Cleaning, characters of Chinese apart, accents, case: each as the file says.
fn normalizer_of(part: &Outer) -> Result<NormalizerWrapper, TokenizerFileError> {
    const PART: &str = "normalizer";
    if part.kind != "BertNormalizer" {
        return Err(unsupported(PART, &part.kind, "BertNormalizer"));
    }
    let flag = |flag: Option<bool>, key| flag.ok_or(TokenizerFileError::Missing { part: PART, key });
    let clean = flag(part.clean_text, "clean_text")?;
    let apart = flag(part.handle_chinese_chars, "handle_chinese_chars")?;
    Ok(BertNormalizer::new(clean, apart, part.strip_accents, flag(part.lowercase, "lowercase")?).into())
}

/// The tokens that a post-processor puts at the two ends of a text; it may do nothing else.
fn ends_of(part: Option<&Outer>, words: &Words) -> Result<(TokenId, TokenId), TokenizerFileError> {
    const PART: &str = "post-processor";
    const SUPPORTED: &str = "one token at each end of a text";
    let Some(part) = part else { return Err(unsupported(PART, "null", SUPPORTED)) };
    let ends = part.each(|alone| both_of(alone, words), |inner| both_of::<IgnoredAny>(inner, words))?;
    match ends.as_slice() {
        [ends] => Ok(*ends),
        _ => Err(unsupported(PART, &part.kind, SUPPORTED)),
    }
}

fn both_of<T>(part: &Part<T>, words: &Words) -> Result<(TokenId, TokenId), TokenizerFileError> {
    let named = |(token, id): &(String, TokenId)| match words.id_of("post-processor's token", token)? {
        known if known == *id => Ok(known),
        _ => Err(TokenizerFileError::IdMismatch { token: token.clone(), id: *id }),
    };
    match (part.kind.as_str(), &part.single, &part.cls, &part.sep) {
        ("BertProcessing", _, Some(first), Some(last)) => Ok((named(first)?, named(last)?)),
        ("TemplateProcessing", Some(List(pieces)), ..) => match pieces.as_slice() {
            [Piece::SpecialToken { id: first }, Piece::Sequence { id }, Piece::SpecialToken { id: last }] if id == "A" => {
                Ok((words.special_of(part, first)?, words.special_of(part, last)?))
            }
            _ => Err(unsupported("post-processor", "another template", "one token at each end of a text")),
        },
        (kind, ..) => Err(unsupported("post-processor", kind, "BertProcessing or TemplateProcessing")),
    }
}
