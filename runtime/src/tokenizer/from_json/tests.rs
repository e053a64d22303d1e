use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::gguf::Gguf;
use crate::tiny::tiny_llama;
use crate::tokenizer::{EncodeError, TEXT_BYTES_MAX, TOKENIZER_BYTES_MAX, VOCABULARY_MAX, spell};

/// Rows of the model that the files here belong to.
const ROWS: usize = 400;

/// Single bytes as ids 0 to 255, then some longer tokens; `<s>` and `</s>` are added behind them.
fn file() -> Value {
    let mut vocabulary: Vec<String> = (0..=u8::MAX).map(|byte| spell(byte).to_string()).collect();
    vocabulary.extend(["ab", "abc", "Ġa", "12"].map(String::from));
    let vocabulary: serde_json::Map<String, Value> = vocabulary.into_iter().zip(0..).map(|(token, id)| (token, Value::from(id))).collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [
            {"id": 300, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            {"id": 301, "content": "<|im_end|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            {"id": 302, "content": "<think>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false},
        ],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel"},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "",
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocabulary,
            "merges": ["a b", "ab c", "Ġ a", "1 2"],
        },
    })
}

/// [`file`] with one entry replaced, named by a JSON pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut file = file();
    *file.pointer_mut(pointer).expect(pointer) = value;
    file
}

fn build(file: &Value, options: &TokenizerOptions<'_>) -> Result<Tokenizer, TokenizerFileError> {
    Tokenizer::from_json(file.to_string().as_bytes(), options)
}

fn options() -> TokenizerOptions<'static> {
    TokenizerOptions { vocabulary: ROWS, ..TokenizerOptions::default() }
}

fn sound(file: &Value) -> Tokenizer {
    build(file, &options()).unwrap()
}

fn refused(file: &Value) -> TokenizerFileError {
    build(file, &options()).unwrap_err()
}

/// The id of a token in [`file`].
fn id(token: &str) -> TokenId {
    file()["model"]["vocab"][token].as_u64().unwrap() as TokenId
}

/// A template with `token` in front of the text.
fn template(token: &str) -> Value {
    json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [],
        "special_tokens": {token: {"id": token, "ids": [300], "tokens": [token]}},
    })
}

#[test]
fn pairs_are_merged_in_the_files_order() {
    let tokenizer = sound(&file());
    assert_eq!(tokenizer.encode("abc ab a").unwrap(), [id("abc"), id("Ġ"), id("ab"), id("Ġa")]);
    assert_eq!(tokenizer.bytes_of(id("Ġa")), b" a");
    assert_eq!(tokenizer.vocabulary(), 303, "up to the highest id");
    assert_eq!(tokenizer.bytes_of(280), b"", "no token has the id");
    let pairs = with("/model/merges", json!([["a", "b"], ["ab", "c"], ["Ġ", "a"], ["1", "2"]]));
    assert_eq!(sound(&pairs).encode("abc ab").unwrap(), tokenizer.encode("abc ab").unwrap(), "the newer form");
}

#[test]
fn added_tokens_are_one_token_and_text_unless_special() {
    let tokenizer = sound(&file());
    let ids = tokenizer.encode("<think>a<|im_end|>").unwrap();
    assert_eq!(ids, [302, id("a"), 301]);
    assert_eq!(tokenizer.decode(&ids), "<think>a");
    assert!(tokenizer.is_end(301) && !tokenizer.is_end(300) && !tokenizer.is_end(302));
}

#[test]
fn special_tokens_come_from_the_other_files() {
    let options = TokenizerOptions { begin: Some("<s>"), end: Some("<|im_end|>"), end_tokens: &[7], ..options() };
    let tokenizer = build(&file(), &options).unwrap();
    assert_eq!((tokenizer.begin_text(), tokenizer.end_text()), ("<s>", "<|im_end|>"));
    assert!(tokenizer.is_end(301) && tokenizer.is_end(7));
    assert_eq!(tokenizer.encode("a").unwrap(), [id("a")]);
    let begins = TokenizerOptions { adds_begin: Some(true), ..options.clone() };
    assert_eq!(build(&file(), &begins).unwrap().encode("a").unwrap(), [300, id("a")]);
    assert_eq!(build(&file(), &begins).unwrap().encode("<s>a").unwrap(), [300, id("a")], "the text has it");
    let unknown = TokenizerOptions { begin: Some("<bos>"), ..options.clone() };
    assert!(matches!(build(&file(), &unknown), Err(TokenizerFileError::NoSuchToken { token, .. }) if token == "<bos>"));
    let unknown = TokenizerOptions { end: Some("<eos>"), ..options };
    assert!(matches!(build(&file(), &unknown), Err(TokenizerFileError::NoSuchToken { token, .. }) if token == "<eos>"));
}

#[test]
fn a_template_puts_the_begin_token_in_front() {
    let alone = with("/post_processor", template("<s>"));
    assert_eq!(sound(&alone).encode("a").unwrap(), [300, id("a")]);
    let sequence = with("/post_processor", json!({"type": "Sequence", "processors": [{"type": "ByteLevel"}, template("<s>")]}));
    assert_eq!(sound(&sequence).encode("a").unwrap(), [300, id("a")]);
    let never = TokenizerOptions { adds_begin: Some(false), ..options() };
    assert_eq!(build(&alone, &never).unwrap().encode("a").unwrap(), [id("a")], "the other file decides");
    let other = TokenizerOptions { begin: Some("<|im_end|>"), ..options() };
    assert!(matches!(build(&alone, &other), Err(TokenizerFileError::Unsupported { .. })));

    let mut behind = template("<s>");
    behind["single"].as_array_mut().unwrap().reverse();
    assert!(matches!(refused(&with("/post_processor", behind)), TokenizerFileError::Unsupported { .. }), "behind the text");
    let two = json!({"type": "Sequence", "processors": [template("<s>"), template("<s>")]});
    assert!(matches!(refused(&with("/post_processor", two)), TokenizerFileError::Unsupported { .. }));
    assert!(matches!(refused(&with("/post_processor", template("a"))), TokenizerFileError::IdMismatch { .. }), "its table says 300");
    assert!(matches!(refused(&with("/post_processor", template("<x>"))), TokenizerFileError::NoSuchToken { .. }));
    assert!(matches!(refused(&with("/post_processor", json!({"type": "RobertaProcessing"}))), TokenizerFileError::Unsupported { .. }));
}

/// A sequence of a cut by this expression and the spelling of bytes.
fn cutting(expression: &str) -> Value {
    json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
    ]})
}

#[test]
fn each_known_way_of_splitting_keeps_its_words_apart() {
    let count = |pre_tokenizer: &Value, text: &str| sound(&with("/pre_tokenizer", pre_tokenizer.clone())).encode(text).unwrap().len();
    let known = KNOWN_EXPRESSIONS.map(cutting);
    assert_eq!(known.each_ref().map(|cut| count(cut, "12")), [1, 1, 2, 2], "digits");
    assert_eq!(known.each_ref().map(|cut| count(cut, "1212")), [2, 3, 4, 4], "threes");
    assert_eq!(known.each_ref().map(|cut| count(cut, "abc a")), [2, 2, 2, 2], "letters");
    let digits = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": true},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
    ]});
    assert_eq!(count(&digits, "12"), 2);
}

#[test]
fn a_word_that_is_a_token_needs_no_merges_where_the_file_says_so() {
    let mut whole = with("/model/merges", json!([]));
    assert_eq!(sound(&whole).encode("abc").unwrap().len(), 3);
    whole["model"]["ignore_merges"] = Value::Bool(true);
    assert_eq!(sound(&whole).encode("abc").unwrap(), [id("abc")]);
}

#[test]
fn text_is_composed_where_the_file_says_so() {
    let decomposed = "e\u{301}";
    let composed = with("/normalizer", json!({"type": "NFC"}));
    assert_eq!(sound(&composed).decode(&sound(&composed).encode(decomposed).unwrap()), "é");
    let nested = with("/normalizer", json!({"type": "Sequence", "normalizers": [{"type": "NFC"}]}));
    assert_eq!(sound(&nested).encode(decomposed).unwrap(), sound(&composed).encode("é").unwrap());
    assert_eq!(sound(&file()).decode(&sound(&file()).encode(decomposed).unwrap()), decomposed);
    let none = with("/normalizer", json!({"type": "Sequence", "normalizers": []}));
    assert_eq!(sound(&none).decode(&sound(&none).encode(decomposed).unwrap()), decomposed);
}

#[test]
fn bytes_that_the_vocabulary_lacks_are_left_out_or_unknown() {
    let mut lacking = file();
    lacking["model"]["vocab"].as_object_mut().unwrap().remove("x");
    assert_eq!(sound(&lacking).encode("axa").unwrap(), [id("a"), id("a")]);
    lacking["model"]["unk_token"] = "<s>".into();
    assert_eq!(sound(&lacking).encode("axxa").unwrap(), [id("a"), 300, 300, id("a")]);
    lacking["model"]["fuse_unk"] = Value::Bool(true);
    assert_eq!(sound(&lacking).encode("axxa").unwrap(), [id("a"), 300, id("a")]);
    assert!(matches!(refused(&with("/model/unk_token", "<unk>".into())), TokenizerFileError::NoSuchToken { .. }));
}

#[test]
fn parts_that_would_be_computed_wrongly_are_refused() {
    let level = json!({"type": "ByteLevel"});
    let sequence = |parts: Value| json!({"type": "Sequence", "pretokenizers": parts});
    let mut inverted = cutting(KNOWN_EXPRESSIONS[1]);
    inverted["pretokenizers"][0]["invert"] = Value::Bool(true);
    let mut removing = cutting(KNOWN_EXPRESSIONS[1]);
    removing["pretokenizers"][0]["behavior"] = "Removed".into();
    let mut by_text = cutting("");
    by_text["pretokenizers"][0]["pattern"] = json!({"String": " "});
    for (pointer, value) in [
        ("/model/type", "Unigram".into()),
        ("/model/type", "WordPiece".into()),
        ("/model/byte_fallback", Value::Bool(true)),
        ("/model/continuing_subword_prefix", "##".into()),
        ("/model/end_of_word_suffix", "</w>".into()),
        ("/model/dropout", json!(0.1)),
        ("/normalizer", json!({"type": "Lowercase"})),
        ("/normalizer", json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Strip"}]})),
        ("/pre_tokenizer", Value::Null),
        ("/pre_tokenizer", json!({"type": "Whitespace"})),
        ("/pre_tokenizer", json!({"type": "Digits"})),
        ("/pre_tokenizer", json!({"type": "Sequence"})),
        ("/pre_tokenizer", sequence(json!([]))),
        ("/pre_tokenizer", sequence(json!([level, level]))),
        ("/pre_tokenizer", sequence(json!([level, {"type": "Digits"}]))),
        ("/pre_tokenizer", sequence(json!([sequence(json!([level]))]))),
        ("/pre_tokenizer", cutting("(a+)+b")),
        ("/pre_tokenizer", inverted),
        ("/pre_tokenizer", removing),
        ("/pre_tokenizer", by_text),
        ("/added_tokens/0/lstrip", Value::Bool(true)),
        ("/added_tokens/0/rstrip", Value::Bool(true)),
        ("/added_tokens/0/single_word", Value::Bool(true)),
        ("/added_tokens/0/content", "".into()),
    ] {
        let error = refused(&with(pointer, value.clone()));
        assert!(matches!(error, TokenizerFileError::Unsupported { .. }), "{pointer} {value}: {error:?}");
    }
    let no_pattern = sequence(json!([{"type": "Split", "behavior": "Isolated"}, level]));
    assert!(matches!(refused(&with("/pre_tokenizer", no_pattern)), TokenizerFileError::Missing { key: "pattern", .. }));
    let unigram = with("/model", json!({"type": "Unigram", "unk_id": 0, "vocab": [["a", -1.5]]}));
    assert!(matches!(refused(&unigram), TokenizerFileError::Unsupported { found, .. } if found == "\"Unigram\""));
}

#[test]
fn contradictory_files_are_refused() {
    use TokenizerError::{BadMerge, DuplicateToken};
    use TokenizerFileError::{BeyondModel, IdMismatch, Missing, Tokenizer as Shared};
    assert!(matches!(refused(&with("/model/merges", json!(["a x"]))), Shared(BadMerge { .. })), "makes no token");
    assert!(matches!(refused(&with("/model/merges", json!(["zz a"]))), Shared(BadMerge { .. })), "is not of tokens");
    assert!(matches!(refused(&with("/model/merges", Value::Null)), Missing { key: "merges", .. }));
    assert!(matches!(refused(&with("/model/vocab/ab", 3.into())), IdMismatch { id: 3, .. }), "two tokens of one id");
    assert!(matches!(refused(&with("/added_tokens/0/id", 3.into())), IdMismatch { id: 3, .. }), "two tokens of one id");
    assert!(matches!(refused(&with("/added_tokens/0/content", "ab".into())), IdMismatch { id: 300, .. }), "one token of two ids");
    assert!(matches!(refused(&with("/added_tokens/0/id", 400.into())), BeyondModel { id: 400, vocabulary: ROWS, .. }));
    assert!(matches!(refused(&with("/model/vocab/ab", u32::MAX.into())), BeyondModel { id: u32::MAX, .. }));
    let text = file().to_string();
    let twice = text.replacen("\"ab\":", "\"ab\":399,\"ab\":", 1);
    assert!(matches!(Tokenizer::from_json(twice.as_bytes(), &options()), Err(Shared(DuplicateToken { text })) if text == "ab"));
}

#[test]
fn added_tokens_that_normalising_makes_one_are_refused() {
    let mut file = with("/normalizer", json!({"type": "NFC"}));
    for (at, content) in ["o\u{30b}", "\u{151}"].into_iter().enumerate() {
        file["added_tokens"][at]["content"] = content.into();
        file["added_tokens"][at]["normalized"] = Value::Bool(true);
    }
    assert!(matches!(refused(&file), TokenizerFileError::AmbiguousToken { .. }));
    file["added_tokens"][1]["normalized"] = Value::Bool(false);
    assert_eq!(sound(&file).encode("\u{151}o\u{30b}").unwrap(), [301, 300], "each is looked for in its own form");
}

#[test]
fn files_of_another_shape_or_size_are_refused() {
    for (pointer, value) in [
        ("/model", Value::Null),
        ("/model/vocab/ab", json!(-1)),
        ("/model/vocab/ab", json!(1u64 << 32)),
        ("/model/vocab/ab", json!("1")),
        ("/model/merges", json!(["ab"])),
        ("/model/merges", json!([["a"]])),
        ("/model/merges", json!([["a", "b", "c"]])),
        ("/model/merges", json!([7])),
        ("/added_tokens", json!([{"id": 7}])),
        ("/added_tokens", json!({})),
        ("/pre_tokenizer", json!("ByteLevel")),
        ("/pre_tokenizer", json!({"use_regex": true})),
        ("/pre_tokenizer", json!({"type": "Sequence", "pretokenizers": vec![json!({"type": "Digits"}); 17]})),
    ] {
        let error = refused(&with(pointer, value.clone()));
        assert!(matches!(error, TokenizerFileError::Json(_)), "{pointer} {value}: {error:?}");
    }
    let long = vec![b' '; TOKENIZER_BYTES_MAX as usize + 1];
    assert!(matches!(Tokenizer::from_json(&long, &options()), Err(TokenizerFileError::TooLarge { .. })));
    assert!(matches!(sound(&file()).encode(&"a".repeat(TEXT_BYTES_MAX + 1)), Err(EncodeError::TooLong { .. })));
    let many: Vec<String> = (0..=VOCABULARY_MAX).map(|id| format!("\"{id}\":{id}")).collect();
    let many = format!(r#"{{"model":{{"type":"BPE","merges":[],"vocab":{{{}}}}}}}"#, many.join(","));
    let rows = TokenizerOptions { vocabulary: usize::MAX, ..options() };
    assert!(matches!(Tokenizer::from_json(many.as_bytes(), &rows), Err(TokenizerFileError::Json(_))));
    let high = with("/model/vocab/ab", VOCABULARY_MAX.into());
    assert!(matches!(build(&high, &rows), Err(TokenizerFileError::BeyondModel { .. })), "no model has so many rows");
}

/// The tiny Llama's tokenizer as the other kind of file.
fn tiny_as_json(gguf: &Gguf) -> Value {
    let texts = gguf.strings("tokenizer.ggml.tokens").unwrap().unwrap();
    let vocabulary: serde_json::Map<String, Value> = texts.iter().cloned().zip((0..).map(Value::from)).collect();
    let added: Vec<Value> = (0..3).map(|id| json!({"id": id, "content": texts[id], "special": true})).collect();
    json!({
        "added_tokens": added,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"vocab": vocabulary, "merges": gguf.strings("tokenizer.ggml.merges").unwrap().unwrap()},
    })
}

/// What is left of a file after changes is used as far as it goes.
fn exhaust(bytes: &[u8]) {
    let options = TokenizerOptions { begin: Some("<s>"), end: Some("<|im_end|>"), ..options() };
    if let Ok(tokenizer) = Tokenizer::from_json(bytes, &options)
        && let Ok(ids) = tokenizer.encode("<s>abc é 12\n<|im_end|>")
    {
        let _ = tokenizer.decode(&ids);
    }
}

proptest! {
    #[test]
    fn both_kinds_of_file_give_the_same_tokens(text in "(\\PC|[a-z ,.\n\t0-9]|<\\|im_start\\|>|<\\|im_end\\|>){0,60}") {
        let gguf = Gguf::from_bytes(tiny_llama(1)).unwrap();
        let ours = build(&tiny_as_json(&gguf), &options()).unwrap();
        let theirs = Tokenizer::from_gguf(&gguf).unwrap();
        let ids = ours.encode(&text).unwrap();
        prop_assert_eq!(&ids, &theirs.encode(&text).unwrap());
        prop_assert_eq!(ours.decode(&ids), theirs.decode(&ids));
        prop_assert!(ids.iter().all(|id| ours.is_end(*id) == theirs.is_end(*id)));
    }

    #[test]
    fn changed_bytes_and_truncations_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = with("/post_processor", template("<s>")).to_string().into_bytes();
        prop_assert!(Tokenizer::from_json(&bytes[..end.index(bytes.len())], &options()).is_err());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        exhaust(&bytes);
    }
}
