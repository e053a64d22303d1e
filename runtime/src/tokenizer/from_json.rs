//! Byte-level BPE from a `tokenizer.json`.

#[cfg(test)]
mod tests;

use serde::de::IgnoredAny;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper};

use super::file::{Inner, List, Merge, ModelPart, Outer, Part, Pattern, Piece, TokenizerFile, Words, unsupported};
use super::split::{self, KNOWN_EXPRESSIONS};
use super::{BytePairs, Parts, TokenId, Tokenizer, TokenizerError, TokenizerFileError, check_merge, token_bytes};

/// What other files of the folder say about a tokenizer.
#[derive(Clone, Debug, Default)]
pub struct TokenizerOptions<'a> {
    /// Rows of the model's embedding, which no token's id may reach.
    pub vocabulary: usize,
    /// The begin token as the vocabulary spells it.
    pub begin: Option<&'a str>,
    /// The end token as the vocabulary spells it.
    pub end: Option<&'a str>,
    /// Whether prompts begin with the begin token; where nothing is said, `tokenizer.json` decides.
    pub adds_begin: Option<bool>,
    /// Tokens that end an answer beside the end token.
    pub end_tokens: &'a [TokenId],
}

impl Tokenizer {
    /// Builds the tokenizer that a `tokenizer.json` describes.
    ///
    /// # Errors
    ///
    /// [`TokenizerFileError`] when the file is too long or no tokenizer, is of an unknown kind, or
    /// contradicts itself or the model.
    pub fn from_json(bytes: &[u8], options: &TokenizerOptions<'_>) -> Result<Self, TokenizerFileError> {
        let mut file = TokenizerFile::parse(bytes)?;
        file.check_kind("BPE")?;
        check_model(&file.model)?;
        let words = file.take_words(options.vocabulary)?;
        let template_begin = file.post_processor().map_or(Ok(None), |part| begin_of(part, &words))?;
        let begin = options.begin.map(|token| words.id_of("begin token", token)).transpose()?;
        if template_begin.is_some() && begin.is_some() && begin != template_begin {
            return Err(unsupported("post-processor", "another token in front than the begin token", "the begin token in front"));
        }
        let merges = file.model.merges.take().ok_or(TokenizerFileError::Missing { part: "model", key: "merges" })?;
        let pair = |Merge(left, right): &Merge| check_merge(left, right, &words.ids);
        let normalizer = file.normalizer().map_or(Ok(None), normalizer_of)?;
        words.check_added(normalizer.as_ref())?;
        let pairs = BytePairs {
            ids: words.ids.clone(),
            merges: merges.0.iter().map(pair).collect::<Result<_, _>>()?,
            added: words.added.clone(),
            normalizer,
            pre_tokenizer: pre_tokenizer_of(file.pre_tokenizer())?,
            ignores_merges: file.model.ignore_merges.unwrap_or(false),
            unknown: unknown_of(&file.model, &words)?,
            fuses_unknown: file.model.fuse_unk.unwrap_or(false),
        };
        let file_end = options.end.map(|token| words.id_of("end token", token)).transpose()?;
        let (texts, kinds) = words.into_rows();
        let parts = Parts {
            texts,
            kinds,
            begin: begin.or(template_begin),
            file_end,
            more_ends: options.end_tokens.to_vec(),
            adds_begin: options.adds_begin.unwrap_or(template_begin.is_some()),
        };
        Ok(Self::assemble(parts, pairs.build()?, token_bytes))
    }
}

/// Refuses what byte-level BPE does not have.
fn check_model(model: &ModelPart) -> Result<(), TokenizerFileError> {
    const SUPPORTED: &str = "byte-level BPE";
    let affix = |affix: &Option<String>| affix.as_deref().is_some_and(|text| !text.is_empty());
    if model.byte_fallback == Some(true) {
        return Err(unsupported("model", "byte_fallback", SUPPORTED));
    }
    if affix(&model.continuing_subword_prefix) || affix(&model.end_of_word_suffix) {
        return Err(unsupported("model", "marks at parts of words", SUPPORTED));
    }
    match model.dropout {
        Some(dropout) if dropout != 0.0 => Err(unsupported("model", "dropout", SUPPORTED)),
        _ => Ok(()),
    }
}

fn unknown_of(model: &ModelPart, words: &Words) -> Result<Option<String>, TokenizerFileError> {
    let Some(token) = &model.unk_token else { return Ok(None) };
    words.id_of("unknown token", token)?;
    Ok(Some(token.clone()))
}

/// Composed characters, or the text as it is.
fn normalizer_of(part: &Outer) -> Result<Option<NormalizerWrapper>, TokenizerFileError> {
    fn check<T>(part: &Part<T>) -> Result<(), TokenizerFileError> {
        if part.kind == "NFC" { Ok(()) } else { Err(unsupported("normalizer", &part.kind, "NFC")) }
    }
    let composing = part.each(check::<Inner>, check::<IgnoredAny>)?;
    Ok((!composing.is_empty()).then_some(NFC.into()))
}

/// Cuts, then the spelling of bytes.
fn pre_tokenizer_of(part: Option<&Outer>) -> Result<PreTokenizerWrapper, TokenizerFileError> {
    const PART: &str = "pre-tokenizer";
    const SUPPORTED: &str = "known cuts, then one ByteLevel";
    let Some(part) = part else { return Err(unsupported(PART, "null", SUPPORTED)) };
    let mut steps = part.each(step_of::<Inner>, step_of::<IgnoredAny>)?;
    let spells = |step: &PreTokenizerWrapper| matches!(step, PreTokenizerWrapper::ByteLevel(_));
    match (steps.iter().position(spells), steps.len()) {
        (Some(0), 1) => Ok(steps.remove(0)),
        (Some(first), len) if first + 1 == len => Ok(split::sequence(steps)),
        _ => Err(unsupported(PART, &part.kind, SUPPORTED)),
    }
}

fn step_of<T>(part: &Part<T>) -> Result<PreTokenizerWrapper, TokenizerFileError> {
    let on = |flag: Option<bool>| flag.unwrap_or(true);
    match part.kind.as_str() {
        "ByteLevel" => Ok(ByteLevel::new(on(part.add_prefix_space), on(part.trim_offsets), on(part.use_regex)).into()),
        "Digits" => Ok(Digits::new(part.individual_digits.unwrap_or(false)).into()),
        "Split" => cut_of(part),
        kind => Err(unsupported("pre-tokenizer", kind, "ByteLevel, Digits or Split")),
    }
}

fn cut_of<T>(part: &Part<T>) -> Result<PreTokenizerWrapper, TokenizerFileError> {
    const SUPPORTED: &str = "a known expression that isolates what it finds";
    let expression = match &part.pattern {
        Some(Pattern::Regex(expression)) => expression.as_str(),
        Some(Pattern::String(text)) => return Err(unsupported("split", text, SUPPORTED)),
        None => return Err(TokenizerFileError::Missing { part: "split", key: "pattern" }),
    };
    let isolates = part.behavior.as_deref() == Some("Isolated") && part.invert != Some(true);
    if !isolates || !KNOWN_EXPRESSIONS.contains(&expression) {
        return Err(unsupported("split", expression, SUPPORTED));
    }
    split::cut(expression).map_err(|error| TokenizerError::Build(error).into())
}

/// The token that a post-processor puts in front of a text; it may do nothing else.
fn begin_of(part: &Outer, words: &Words) -> Result<Option<TokenId>, TokenizerFileError> {
    let begins = part.each(|alone| front_of(alone, words), |inner| front_of(inner, words))?;
    let mut begins = begins.into_iter().flatten();
    match (begins.next(), begins.next()) {
        (begin, None) => Ok(begin),
        (_, Some(_)) => Err(unsupported("post-processor", "several tokens in front", "one token in front")),
    }
}

fn front_of<T>(part: &Part<T>, words: &Words) -> Result<Option<TokenId>, TokenizerFileError> {
    const SUPPORTED: &str = "ByteLevel, or TemplateProcessing of a text with one token in front";
    let pieces = match (part.kind.as_str(), &part.single) {
        ("ByteLevel", _) => return Ok(None),
        ("TemplateProcessing", Some(List(pieces))) => pieces.as_slice(),
        (kind, _) => return Err(unsupported("post-processor", kind, SUPPORTED)),
    };
    match pieces {
        [Piece::Sequence { id }] if id == "A" => Ok(None),
        [Piece::SpecialToken { id: token }, Piece::Sequence { id }] if id == "A" => words.special_of(part, token).map(Some),
        _ => Err(unsupported("post-processor", "another template", SUPPORTED)),
    }
}
