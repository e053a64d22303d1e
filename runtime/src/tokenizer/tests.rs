use super::*;
use crate::gguf::GgufWriter;
use crate::tiny::tiny_llama;
use proptest::prelude::*;

fn tiny() -> Tokenizer {
    Tokenizer::from_gguf(&Gguf::from_bytes(tiny_llama(1)).unwrap()).unwrap()
}

/// A tokenizer over single bytes and `extra`, the first two tokens being control tokens.
struct Spec {
    pre: &'static str,
    extra: Vec<&'static str>,
    merges: Vec<&'static str>,
    metadata: Vec<(&'static str, Value)>,
}

impl Default for Spec {
    fn default() -> Self {
        Self { pre: "gpt-2", extra: vec![], merges: vec![], metadata: vec![] }
    }
}

impl Spec {
    fn build(&self) -> Result<Tokenizer, TokenizerError> {
        let bytes = (0..=u8::MAX).map(|byte| spell(byte).to_string());
        let tokens: Vec<String> =
            ["<s>", "<|eot_id|>"].map(String::from).into_iter().chain(bytes).chain(self.extra.iter().map(|t| (*t).to_owned())).collect();
        let kinds = (0..tokens.len()).map(|id| if id < 2 { 3 } else { 1 }).collect();
        let merges = self.merges.iter().map(|merge| (*merge).to_owned()).collect();
        let mut entries = vec![
            ("tokenizer.ggml.model", Value::String("gpt2".into())),
            ("tokenizer.ggml.pre", Value::String(self.pre.into())),
            ("tokenizer.ggml.tokens", Value::Array(Array::String(tokens))),
            ("tokenizer.ggml.token_type", Value::Array(Array::Int(kinds))),
            ("tokenizer.ggml.merges", Value::Array(Array::String(merges))),
        ];
        entries.retain(|(key, _)| self.metadata.iter().all(|(other, _)| other != key));
        let all = entries.into_iter().chain(self.metadata.clone());
        let file = all.fold(GgufWriter::new(), |file, (key, value)| file.metadata(key, value)).finish();
        Tokenizer::from_gguf(&Gguf::from_bytes(file)?)
    }
}

/// The id of the token that spells a byte.
fn byte(byte: u8) -> TokenId {
    2 + TokenId::from(byte)
}

#[test]
fn pairs_are_merged_in_the_files_order() {
    let tokenizer = tiny();
    let the = tokenizer.encode(" the").unwrap();
    assert_eq!(the.len(), 1);
    assert_eq!(tokenizer.bytes_of(the[0]), b" the");
    assert_eq!(tokenizer.encode("x").unwrap(), [3 + TokenId::from(b'x')]);
}

#[test]
fn control_tokens_are_one_token_and_no_text() {
    let tokenizer = tiny();
    let ids = tokenizer.encode("<|im_start|>a<|im_end|>").unwrap();
    assert_eq!(ids, [1, 3 + TokenId::from(b'a'), 2]);
    assert_eq!(tokenizer.decode(&ids), "a");
    assert!(tokenizer.is_end(2) && tokenizer.is_end(0) && !tokenizer.is_end(1));
    assert_eq!((tokenizer.begin_text(), tokenizer.end_text()), ("<|im_start|>", "<|im_end|>"));
}

#[test]
fn ids_beyond_the_vocabulary_have_no_text() {
    assert_eq!(tiny().decode(&[288, TokenId::MAX]), "");
}

#[test]
fn the_begin_token_comes_first_once_where_it_is_wanted() {
    let begin = |adds: Option<bool>, pre| {
        let adds = adds.map(|adds| ("tokenizer.ggml.add_bos_token", Value::Bool(adds)));
        let begin = ("tokenizer.ggml.bos_token_id", Value::Uint(0));
        Spec { pre, metadata: adds.into_iter().chain([begin]).collect(), ..Spec::default() }.build().unwrap()
    };
    assert_eq!(begin(Some(true), "gpt-2").encode("a").unwrap(), [0, byte(b'a')]);
    assert_eq!(begin(Some(true), "gpt-2").encode("<s>a").unwrap(), [0, byte(b'a')], "the text has it");
    assert_eq!(begin(Some(false), "llama-bpe").encode("a").unwrap(), [byte(b'a')]);
    assert_eq!(begin(None, "gpt-2").encode("a").unwrap(), [byte(b'a')], "not by default");
    assert_eq!(begin(None, "llama-bpe").encode("a").unwrap(), [0, byte(b'a')], "by default");
}

#[test]
fn each_way_of_splitting_keeps_its_words_apart() {
    let count = |pre, text: &str| {
        let spec =
            Spec { pre, extra: vec!["12", "123", "a.", "..", ".Ċ"], merges: vec!["1 2", "12 3", "a .", ". .", ". Ċ"], ..Spec::default() };
        spec.build().unwrap().encode(text).unwrap().len()
    };
    assert_eq!(["gpt-2", "smollm", "llama-bpe", "qwen2", "default"].map(|pre| count(pre, "123")), [1, 3, 1, 3, 1], "digits");
    assert_eq!(["gpt-2", "llama-bpe", "default"].map(|pre| count(pre, "123123")), [2, 2, 2], "threes");
    assert_eq!(["gpt-2", "smollm", "llama-bpe", "default"].map(|pre| count(pre, "a..")), [2, 2, 2, 2], "letters from punctuation");
    assert_eq!(["gpt-2", "llama-bpe", "qwen2"].map(|pre| count(pre, ".\n")), [2, 1, 1], "newlines after punctuation");
}

#[test]
fn qwen_composes_accents() {
    let tokens = |pre, text: &str| Spec { pre, ..Spec::default() }.build().unwrap().encode(text).unwrap();
    assert_eq!(tokens("qwen2", "e\u{301}"), tokens("qwen2", "é"));
    assert_ne!(tokens("gpt-2", "e\u{301}"), tokens("gpt-2", "é"));
}

#[test]
fn a_word_that_is_a_token_needs_no_merges_where_the_model_says_so() {
    let count = |pre| Spec { pre, extra: vec!["abc"], ..Spec::default() }.build().unwrap().encode("abc").unwrap().len();
    assert_eq!((count("llama-bpe"), count("gpt-2")), (1, 3));
}

#[test]
fn contradictory_files_are_refused() {
    let with = |key, value| Spec { metadata: vec![(key, value)], ..Spec::default() }.build().unwrap_err();
    let strings = |texts: &[&str]| Value::Array(Array::String(texts.iter().map(|text| (*text).to_owned()).collect()));
    assert!(matches!(with("tokenizer.ggml.model", Value::String("bert".into())), TokenizerError::UnknownKind { .. }));
    assert!(matches!(with("tokenizer.ggml.pre", Value::String("new".into())), TokenizerError::UnknownSplit(_)));
    assert!(matches!(with("tokenizer.ggml.merges", strings(&["a b"])), TokenizerError::BadMerge { .. }), "not a token");
    assert!(matches!(with("tokenizer.ggml.merges", strings(&["ab"])), TokenizerError::BadMerge { .. }), "not a pair");
    assert!(matches!(with("tokenizer.ggml.bos_token_id", Value::Uint(258)), TokenizerError::IdOutOfRange { id: 258, .. }));
    assert!(matches!(with("tokenizer.ggml.eos_token_id", Value::Uint(u64::MAX)), TokenizerError::IdOutOfRange { .. }));
    let kinds = Value::Array(Array::Int(vec![1; 3]));
    assert!(matches!(with("tokenizer.ggml.token_type", kinds), TokenizerError::KindsMismatch { kinds: 3, tokens: 258 }));
    let twice = Spec { extra: vec!["a"], ..Spec::default() }.build().unwrap_err();
    assert!(matches!(twice, TokenizerError::DuplicateToken { text } if text == "a"));
    let nothing = Tokenizer::from_gguf(&Gguf::from_bytes(GgufWriter::new().finish()).unwrap()).unwrap_err();
    assert!(matches!(nothing, TokenizerError::Missing { key: "tokenizer.ggml.model" }));
}

#[test]
fn text_above_the_limit_is_refused() {
    let long = "a".repeat(TEXT_BYTES_MAX + 1);
    assert!(matches!(tiny().encode(&long), Err(EncodeError::TooLong { .. })));
}

proptest! {
    #[test]
    fn text_survives_the_way_there_and_back(text in "\\PC{0,40}|[a-z ,.\n\t0-9]{0,60}") {
        prop_assume!(!text.contains("<|"));
        let tokenizer = tiny();
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text).unwrap()), text);
    }
}
