use std::sync::LazyLock;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::device::Device;
use crate::generation::{Event, FinishReason, GenerationRequest, Prompt};
use crate::gguf::{GgufWriter, TensorType};
use crate::model::{LoadError, Model};
use crate::tiny::{tiny_llama, tiny_llama_of_pieces};
use crate::tokenizer::{EncodeError, TEXT_BYTES_MAX, TextStream, Tokenizer};

const BEGIN: TokenId = 1;
const END: TokenId = 2;

/// A vocabulary of control tokens, bytes, and what a test adds.
#[derive(Clone, Debug)]
struct Spec {
    tokens: Vec<(String, f64, i64)>,
    metadata: Vec<(&'static str, Value)>,
}

impl Spec {
    fn new(pieces: &[(&str, f64)]) -> Self {
        let control = [("<unk>", 2), ("<s>", 3), ("</s>", 3)].map(|(text, kind)| (text.to_owned(), 0.0, kind));
        let bytes = (0..=u8::MAX).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6));
        let pieces = [(SPACE, -1000.0)].iter().chain(pieces).map(|(text, score)| ((*text).to_owned(), *score, 1));
        Self { tokens: control.into_iter().chain(bytes).chain(pieces).collect(), metadata: Vec::new() }
    }

    fn with(mut self, key: &'static str, value: Value) -> Self {
        self.metadata.push((key, value));
        self
    }

    fn token(mut self, text: &str, score: f64, kind: i64) -> Self {
        self.tokens.push((text.to_owned(), score, kind));
        self
    }

    fn build(&self) -> Result<Tokenizer, TokenizerError> {
        let mut entries = vec![
            ("tokenizer.ggml.model", Value::String("llama".into())),
            ("tokenizer.ggml.tokens", Value::Array(Array::String(self.tokens.iter().map(|token| token.0.clone()).collect()))),
            ("tokenizer.ggml.scores", Value::Array(Array::Float(self.tokens.iter().map(|token| token.1).collect()))),
            ("tokenizer.ggml.token_type", Value::Array(Array::Int(self.tokens.iter().map(|token| token.2).collect()))),
            ("tokenizer.ggml.bos_token_id", Value::Uint(BEGIN.into())),
            ("tokenizer.ggml.eos_token_id", Value::Uint(END.into())),
        ];
        entries.retain(|(key, _)| self.metadata.iter().all(|(other, _)| other != key));
        let all = entries.into_iter().chain(self.metadata.clone());
        let file = all.fold(GgufWriter::new(), |file, (key, value)| file.metadata(key, value)).finish();
        Tokenizer::from_gguf(&Gguf::from_bytes(file)?)
    }

    /// The tokens of a text, as the vocabulary spells them.
    fn spelled(&self, text: &str) -> Vec<String> {
        let ids = self.build().unwrap().encode(text).unwrap();
        ids.iter().map(|id| self.tokens[*id as usize].0.clone()).collect()
    }
}

#[derive(Deserialize)]
struct Reference {
    models: Vec<Vocabulary>,
}

#[derive(Deserialize)]
struct Vocabulary {
    name: String,
    add_space_prefix: bool,
    tokens: Vec<String>,
    scores: Vec<f64>,
    kinds: Vec<i64>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<TokenId>,
}

impl Vocabulary {
    fn tokenizer(&self) -> Tokenizer {
        let rows = self.tokens.iter().zip(&self.scores).zip(&self.kinds);
        let tokens = rows.map(|((text, score), kind)| (text.clone(), *score, *kind)).collect();
        let spec = Spec { tokens, metadata: vec![("tokenizer.ggml.add_bos_token", Value::Bool(false))] };
        spec.with("tokenizer.ggml.add_space_prefix", Value::Bool(self.add_space_prefix)).build().unwrap()
    }
}

fn reference() -> Vec<Vocabulary> {
    serde_json::from_str::<Reference>(include_str!("../../../tests/reference/sentencepiece.json")).unwrap().models
}

#[test]
fn texts_are_tokens_as_the_reference_has_them() {
    let models = reference();
    assert_eq!(models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["plain", "defined", "ties"]);
    for model in models {
        let tokenizer = model.tokenizer();
        assert!(model.cases.len() > 90);
        for Case { text, ids } in &model.cases {
            assert_eq!(tokenizer.encode(text).unwrap(), *ids, "{}: {text:?}", model.name);
        }
    }
}

#[test]
fn tokens_are_texts_however_they_come() {
    for model in reference() {
        let tokenizer = model.tokenizer();
        let control = ["<s>", "</s>", "<unk>"];
        for Case { text, ids } in model.cases.iter().filter(|case| control.iter().all(|token| !case.text.contains(token))) {
            let prefix = if model.add_space_prefix && !text.is_empty() { " " } else { "" };
            let whole = format!("{prefix}{}", text.replace(SPACE, " "));
            assert_eq!(tokenizer.decode(ids), whole, "{}", model.name);
            let mut stream = TextStream::default();
            let pieces: Vec<String> = ids.iter().map(|id| stream.push(tokenizer.bytes_of(*id))).collect();
            assert!(pieces.iter().all(|piece| !piece.contains(char::REPLACEMENT_CHARACTER) || text.contains(char::REPLACEMENT_CHARACTER)));
            assert_eq!(pieces.concat(), whole, "{}: nothing is held back at the end", model.name);
        }
    }
}

#[test]
fn the_highest_score_joins_first_and_of_equals_the_leftmost() {
    let letters = [("a", -9.0), ("b", -9.0), ("c", -9.0)];
    let with = |pieces: &[(&str, f64)]| {
        Spec::new(&[&letters[..], pieces].concat())
            .with("tokenizer.ggml.add_space_prefix", Value::Bool(false))
            .with(ADDS_BEGIN, Value::Bool(false))
    };
    assert_eq!(with(&[("ab", -2.0), ("bc", -1.0)]).spelled("abc"), ["a", "bc"]);
    assert_eq!(with(&[("ab", -1.0), ("bc", -2.0)]).spelled("abc"), ["ab", "c"]);
    assert_eq!(with(&[("ab", 0.0), ("bc", -0.0)]).spelled("abc"), ["ab", "c"], "the sign of zero says nothing");
    assert_eq!(with(&[("aa", -1.0)]).spelled("aaaaa"), ["aa", "aa", "a"]);
    assert_eq!(with(&[("abc", 5.0)]).spelled("abc"), ["a", "b", "c"], "no two neighbours are a token");
    assert_eq!(with(&[("abc", 5.0), ("bc", -8.0)]).spelled("abc"), ["abc"]);
}

const ADDS_BEGIN: &str = "tokenizer.ggml.add_bos_token";

#[test]
fn control_and_byte_tokens_are_not_joined_to() {
    let pieces =
        [("<", -1.0), ("s>", -1.0), ("s", -2.0), (">", -2.0), ("<0", -1.0), ("x41>", -1.0), ("0", -9.0), ("x", -9.0), ("x4", -3.0)];
    let spec = Spec::new(&pieces).token("1>", -3.0, 1).with("tokenizer.ggml.add_space_prefix", Value::Bool(false));
    assert_eq!(spec.spelled("<<s>"), ["<s>", "<", "<s>"]);
    assert_eq!(spec.spelled("<0x41>"), ["<s>", "<0", "x41>"]);
}

#[test]
fn texts_begin_with_the_begin_token_once() {
    let spec = Spec::new(&[("a", -1.0)]);
    assert_eq!(spec.spelled("a"), ["<s>", SPACE, "a"]);
    assert_eq!(spec.spelled("<s>a"), ["<s>", SPACE, "a"], "the text has it");
    assert_eq!(spec.spelled(""), ["<s>"]);
    assert_eq!(spec.clone().with(ADDS_BEGIN, Value::Bool(false)).spelled("a"), [SPACE, "a"]);
    assert_eq!(spec.clone().with("tokenizer.ggml.add_eos_token", Value::Bool(false)).spelled("a"), ["<s>", SPACE, "a"]);
    let tokenizer = spec.build().unwrap();
    assert!(tokenizer.is_end(END) && !tokenizer.is_end(BEGIN));
    assert_eq!((tokenizer.begin_text(), tokenizer.end_text()), ("<s>", "</s>"));
    let turns = Spec::new(&[]).token("<|im_end|>", 0.0, 3).token("<|eot_id|>", 0.0, 4);
    let eot = turns.tokens.len() as TokenId - 1;
    let turns = turns.with("tokenizer.ggml.eot_token_id", Value::Uint(eot.into())).build().unwrap();
    assert!(turns.is_end(eot - 1) && turns.is_end(eot));
}

#[test]
fn user_defined_tokens_may_be_written_with_spaces_or_with_what_stands_for_them() {
    for text in ["   ", "\u{2581}\u{2581}\u{2581}"] {
        let spec = Spec::new(&[("a", -1.0)]).token(text, 0.0, 4);
        assert_eq!(spec.spelled("a    a"), ["<s>", SPACE, "a", text, SPACE, "a"]);
        let tokenizer = spec.build().unwrap();
        assert_eq!(tokenizer.decode(&tokenizer.encode("a    a").unwrap()), " a    a");
    }
}

#[test]
fn contradictory_files_are_refused() {
    let sound = Spec::new(&[("a", -1.0)]);
    let tokens = sound.tokens.len();
    let with = |key, value| sound.clone().with(key, value).build().unwrap_err();
    let floats = |count: usize, odd: f64| Value::Array(Array::Float((1..count).map(|_| 0.0).chain([odd]).collect()));
    assert!(matches!(with("tokenizer.ggml.scores", Value::Uint(1)), TokenizerError::Missing { key: "tokenizer.ggml.scores" }));
    let short = with("tokenizer.ggml.scores", floats(5, 0.0));
    assert!(matches!(short, TokenizerError::ScoresMismatch { scores: 5, tokens: found } if found == tokens));
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let bad = with("tokenizer.ggml.scores", floats(tokens, odd));
        assert!(matches!(bad, TokenizerError::BadScore { id } if id as usize == tokens - 1), "{bad}");
    }
    let kinds = with("tokenizer.ggml.token_type", Value::Array(Array::Int(vec![1; 3])));
    assert!(matches!(kinds, TokenizerError::KindsMismatch { kinds: 3, .. }));
    assert!(matches!(with("tokenizer.ggml.bos_token_id", Value::Uint(tokens as u64)), TokenizerError::IdOutOfRange { .. }));
    for key in ["tokenizer.ggml.remove_extra_whitespaces", "tokenizer.ggml.add_eos_token"] {
        assert!(matches!(with(key, Value::Bool(true)), TokenizerError::Unsupported { key: found } if found == key));
    }
    assert!(matches!(with("tokenizer.ggml.precompiled_charsmap", Value::Array(Array::Uint(vec![1]))), TokenizerError::Unsupported { .. }));
    assert!(sound.clone().with("tokenizer.ggml.remove_extra_whitespaces", Value::Bool(false)).build().is_ok());
}

#[test]
fn vocabularies_that_cannot_spell_every_text_are_refused() {
    let sound = Spec::new(&[("a", -1.0)]);
    let without = |text: &str| {
        let mut spec = sound.clone();
        spec.tokens.retain(|token| token.0 != text);
        spec.build().unwrap_err()
    };
    assert!(matches!(without("<0x0A>"), TokenizerError::MissingByte { byte: 10 }));
    assert!(matches!(without(SPACE), TokenizerError::MissingSpace));
    let odd = |text: &str| sound.clone().token(text, 0.0, 6).build().unwrap_err();
    for text in ["<0x0a>", "<0x+1>", "<0xé>", "<0x0A", "0x0A>", "<0x00A>", ""] {
        assert!(matches!(odd(text), TokenizerError::BadByteToken { text: found } if found == text));
    }
    let twice = sound.clone().token("a", 0.0, 1).build().unwrap_err();
    assert!(matches!(twice, TokenizerError::DuplicateToken { text } if text == "a"));
    let mut spec = sound.clone();
    spec.tokens[20].2 = 1;
    assert!(matches!(spec.build(), Err(TokenizerError::MissingByte { byte: 17 })), "a byte's token is marked as one");
}

#[test]
fn absurd_sizes_are_refused() {
    let sound = Spec::new(&[]);
    let long = "x".repeat(TOKEN_BYTES_MAX + 1);
    for kind in [1, 3, 4] {
        let refused = sound.clone().token(&long, 0.0, kind).build().unwrap_err();
        assert!(matches!(refused, TokenizerError::TokenTooLong { id: 260, bytes } if bytes == TOKEN_BYTES_MAX + 1));
        assert!(sound.clone().token(&long[1..], 0.0, kind).build().is_ok());
    }
    let many = (0..=CUT_BYTES_MAX / TOKEN_BYTES_MAX).fold(sound, |spec, at| spec.token(&format!("{at:0>512}"), 0.0, 3 + at as i64 % 2));
    assert!(matches!(many.build(), Err(TokenizerError::TooManyCuts { .. })));
    let tokenizer = Spec::new(&[]).build().unwrap();
    assert!(matches!(tokenizer.encode(&"a".repeat(TEXT_BYTES_MAX + 1)), Err(EncodeError::TooLong { .. })));
}

#[test]
fn the_longest_texts_take_steps_in_proportion_to_their_length() {
    // A quadratic algorithm would take hours for each of these.
    let lengths = (1..=9).map(|power| "a".repeat(1 << power)).collect::<Vec<_>>();
    let pieces: Vec<(&str, f64)> =
        [("a", -1.0)].into_iter().chain(lengths.iter().map(|text| (text.as_str(), -(text.len() as f64)))).collect();
    let tokenizer = Spec::new(&pieces).token("<x>", 0.0, 3).token("yy", 0.0, 4).build().unwrap();
    let full = |unit: &str| unit.repeat(TEXT_BYTES_MAX / unit.len());
    assert_eq!(tokenizer.encode(&full("a")).unwrap().len(), 2 + TEXT_BYTES_MAX / 512);
    assert_eq!(tokenizer.encode(&full(" ")).unwrap().len(), 2 + TEXT_BYTES_MAX);
    assert_eq!(tokenizer.encode(&full("語")).unwrap().len(), 2 + full("語").len());
    assert_eq!(tokenizer.encode(&full("<x>")).unwrap().len(), 1 + TEXT_BYTES_MAX / 3);
    assert_eq!(tokenizer.encode(&full("yy")).unwrap().len(), 2 + TEXT_BYTES_MAX / 2);
}

#[test]
fn a_whole_file_of_the_family_loads_and_answers() {
    let model = Model::from_gguf(&Gguf::from_bytes(tiny_llama_of_pieces(1)).unwrap(), &Device::cpu()).unwrap();
    let prompt = model.encode_prompt(&Prompt::Chat(vec![crate::ChatMessage::user("größe 👍")])).unwrap();
    assert_eq!(prompt[0], BEGIN);
    assert_eq!(model.tokenizer().decode(&prompt), " [INST] größe 👍 [/INST]");
    let (mut text, mut ids) = (String::new(), Vec::new());
    for event in model.start(&GenerationRequest::new(Prompt::Tokens(prompt), 200)).unwrap() {
        match event.unwrap() {
            Event::Token(token) => {
                ids.push(token.id);
                text.push_str(&token.text);
            }
            Event::Finished(finish) => {
                text.push_str(&finish.text);
                assert_eq!(finish.reason, FinishReason::Length);
            }
        }
    }
    assert_eq!((ids.len(), text), (200, model.tokenizer().decode(&ids)));
    assert!(ids.iter().any(|id| model.tokenizer().bytes_of(*id).len() > 1), "it writes pieces, not only bytes");
}

#[test]
fn a_vocabulary_of_another_size_than_the_model_is_refused() {
    let file = Gguf::from_bytes(tiny_llama_of_pieces(1)).unwrap();
    assert_eq!(file.tensors().len(), Gguf::from_bytes(tiny_llama(1)).unwrap().tensors().len(), "only the tokenizers differ");
    let shorter = |value: &Value| match value.clone() {
        Value::Array(Array::String(mut all)) => Value::Array(Array::String(all.drain(..all.len() - 1).collect())),
        Value::Array(Array::Float(mut all)) => Value::Array(Array::Float(all.drain(..all.len() - 1).collect())),
        Value::Array(Array::Int(mut all)) => Value::Array(Array::Int(all.drain(..all.len() - 1).collect())),
        other => other,
    };
    let mut writer = file.metadata().iter().fold(GgufWriter::new(), |writer, (key, value)| writer.metadata(key, shorter(value)));
    for (name, entry) in file.tensors() {
        let bytes = file.dequantise(name).unwrap().iter().flat_map(|value| value.to_le_bytes()).collect();
        writer = writer.tensor(name, &entry.dimensions, TensorType::F32, bytes);
    }
    let found = Model::from_gguf(&Gguf::from_bytes(writer.finish()).unwrap(), &Device::cpu()).unwrap_err();
    assert!(matches!(found, LoadError::TensorShape { .. }), "{found}");
}

proptest! {
    #[test]
    fn text_survives_the_way_there_and_back(text in "\\PC{0,40}|[a-zé👍 ,.\n\t0-9]{0,60}") {
        prop_assume!(!text.contains(['<', '\u{2581}']));
        static BUILT: LazyLock<Vec<(bool, Tokenizer)>> =
            LazyLock::new(|| reference().iter().map(|model| (model.add_space_prefix, model.tokenizer())).collect());
        for (begins_with_space, tokenizer) in BUILT.iter() {
            let prefix = if *begins_with_space && !text.is_empty() { " " } else { "" };
            prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text).unwrap()), format!("{prefix}{text}"));
        }
    }
}
