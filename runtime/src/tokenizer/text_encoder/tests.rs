use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const TOKENS: [&str; 17] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "##a", "##b", "ab", "##abc", "é", "e", "!", "我", "Ab", "straße", "i"];

fn file() -> Value {
    let vocabulary: serde_json::Map<String, Value> =
        TOKENS.iter().zip(0..).map(|(token, id)| ((*token).to_owned(), Value::from(id))).collect();
    let special = |id: usize| json!({"id": id, "content": TOKENS[id], "special": true, "normalized": false});
    json!({
        "version": "1.0",
        "truncation": {"max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 128}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [special(0), special(1), special(2), special(3)],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "[SEP]"}}],
            "special_tokens": {"[CLS]": {"ids": [2]}, "[SEP]": {"ids": [3]}},
        },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    })
}

/// [`file`] with one entry replaced, named by a JSON pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut file = file();
    *file.pointer_mut(pointer).expect(pointer) = value;
    file
}

const OPTIONS: TextEncoderOptions = TextEncoderOptions { vocabulary: TOKENS.len(), tokens_max: 8, lower_cased: false };

fn build(file: &Value) -> Result<TextEncoder, TokenizerFileError> {
    TextEncoder::from_json(file.to_string().as_bytes(), &OPTIONS)
}

/// The tokens of a text, without those at its ends.
fn tokens(file: &Value, text: &str) -> Vec<&'static str> {
    let ids = build(file).unwrap().encode(text).unwrap();
    let tokens: Vec<&str> = ids.iter().map(|id| TOKENS[*id as usize]).collect();
    assert_eq!((tokens[0], tokens[tokens.len() - 1]), ("[CLS]", "[SEP]"));
    tokens[1..tokens.len() - 1].to_vec()
}

#[test]
fn words_are_cut_into_their_longest_pieces() {
    assert_eq!(tokens(&file(), "ab a!b"), ["ab", "a", "!", "b"]);
    assert_eq!(tokens(&file(), "abab"), ["ab", "##a", "##b"]);
    assert_eq!(tokens(&file(), "bababc"), ["b", "##a", "##b", "##abc"]);
    assert_eq!(tokens(&file(), "abx a"), ["[UNK]", "a"], "a word with a piece that is none");
    assert_eq!(tokens(&file(), ""), [""; 0]);
    assert_eq!(tokens(&file(), &"a".repeat(101)), ["[UNK]"], "too long a word");
}

#[test]
fn case_accents_and_chinese_are_as_the_file_says() {
    assert_eq!(tokens(&file(), "AB É 我a"), ["ab", "e", "我", "a"]);
    assert_eq!(tokens(&with("/normalizer/strip_accents", Value::Bool(false)), "É"), ["é"]);
    assert_eq!(tokens(&with("/normalizer/lowercase", Value::Bool(false)), "Ab é A"), ["Ab", "é", "[UNK]"], "case keeps accents");
    assert_eq!(tokens(&with("/normalizer/handle_chinese_chars", Value::Bool(false)), "a我"), ["[UNK]"]);
    assert_eq!(tokens(&file(), "a\u{0}b\u{a0}a"), ["ab", "a"]);
    assert_eq!(tokens(&with("/normalizer", Value::Null), "Ab é"), ["Ab", "é"]);
}

#[test]
fn texts_are_lower_cased_first_where_a_folder_says_so() {
    let file = with("/normalizer/lowercase", Value::Bool(false)).to_string();
    let encoder = TextEncoder::from_json(file.as_bytes(), &TextEncoderOptions { lower_cased: true, ..OPTIONS }).unwrap();
    assert_eq!(encoder.encode("Ab").unwrap(), [2, 8, 3]);
}

#[test]
fn special_tokens_in_a_text_stand_for_themselves() {
    assert_eq!(tokens(&file(), "a[SEP]b [PAD]"), ["a", "[SEP]", "b", "[PAD]"]);
}

#[test]
fn texts_are_cut_to_the_most_that_the_model_takes() {
    let encoder = build(&file()).unwrap();
    assert_eq!(encoder.encode("a a a a a a").unwrap(), [2, 4, 4, 4, 4, 4, 4, 3]);
    assert_eq!(encoder.encode("a a a a a b a").unwrap(), [2, 4, 4, 4, 4, 4, 5, 3], "not to the file's own limit");
    let counted = encoder.encode_counted("a a a a a b a a").unwrap();
    assert_eq!(counted, TextTokens { ids: vec![2, 4, 4, 4, 4, 4, 5, 3], cut: 2 });
    assert_eq!(encoder.encode_counted("a a a a a b").unwrap().cut, 0);
    let no_place = TextEncoder::from_json(file().to_string().as_bytes(), &TextEncoderOptions { tokens_max: 2, ..OPTIONS });
    assert!(matches!(no_place, Err(TokenizerFileError::NoPlace { tokens_max: 2 })));
    assert!(matches!(encoder.encode(&"a".repeat(TEXT_BYTES_MAX + 1)), Err(EncodeError::TooLong { .. })));
}

#[test]
fn the_older_post_processor_is_known() {
    let older = with("/post_processor", json!({"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}));
    assert_eq!(tokens(&older, "a"), ["a"]);
    let wrong = with("/post_processor", json!({"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 2]}));
    assert!(matches!(build(&wrong), Err(TokenizerFileError::IdMismatch { id: 2, .. })));
}

#[test]
fn parts_that_would_be_computed_wrongly_are_refused() {
    let roberta = json!({"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]});
    let mut front_only = file()["post_processor"].clone();
    front_only["single"].as_array_mut().unwrap().pop();
    for (pointer, value) in [
        ("/model/type", "BPE".into()),
        ("/model/max_input_chars_per_word", 201.into()),
        ("/normalizer", json!({"type": "Lowercase"})),
        ("/pre_tokenizer", Value::Null),
        ("/pre_tokenizer", json!({"type": "Whitespace"})),
        ("/post_processor", Value::Null),
        ("/post_processor", roberta),
        ("/post_processor", front_only),
        ("/post_processor", json!({"type": "Sequence", "processors": []})),
        ("/added_tokens/0/lstrip", Value::Bool(true)),
    ] {
        let mut changed = file();
        match pointer.rsplit_once('/').unwrap() {
            ("/added_tokens/0", key) => changed["added_tokens"][0][key] = value.clone(),
            _ => changed = with(pointer, value.clone()),
        }
        let error = build(&changed).unwrap_err();
        assert!(matches!(error, TokenizerFileError::Unsupported { .. }), "{pointer} {value}: {error:?}");
    }
}

#[test]
fn incomplete_and_contradictory_files_are_refused() {
    use TokenizerFileError::{BeyondModel, IdMismatch, Missing, NoSuchToken};
    assert!(matches!(build(&with("/model/unk_token", Value::Null)), Err(Missing { key: "unk_token", .. })));
    assert!(matches!(build(&with("/model/unk_token", "<unk>".into())), Err(NoSuchToken { .. })));
    assert!(matches!(build(&with("/model/continuing_subword_prefix", Value::Null)), Err(Missing { .. })));
    assert!(matches!(build(&with("/model/max_input_chars_per_word", Value::Null)), Err(Missing { .. })));
    assert!(matches!(build(&with("/normalizer/lowercase", Value::Null)), Err(Missing { key: "lowercase", .. })));
    assert!(matches!(build(&with("/model/vocab/ab", 17.into())), Err(BeyondModel { id: 17, vocabulary: 17, .. })));
    assert!(matches!(build(&with("/model/vocab/ab", 4.into())), Err(IdMismatch { id: 4 | 8, .. })));
    assert!(matches!(build(&with("/post_processor/special_tokens/[CLS]/ids", json!([4]))), Err(IdMismatch { .. })));
    assert!(matches!(build(&with("/post_processor/special_tokens/[CLS]/ids", json!([]))), Err(IdMismatch { .. })));
}

#[test]
fn added_tokens_that_normalising_empties_or_makes_one_are_refused() {
    let adding = |contents: [&str; 2]| {
        let mut file = file();
        let added = file["added_tokens"].as_array_mut().unwrap();
        added.extend(contents.iter().zip(17..).map(|(content, id)| json!({"id": id, "content": content, "normalized": true})));
        TextEncoder::from_json(file.to_string().as_bytes(), &TextEncoderOptions { vocabulary: 19, ..OPTIONS })
    };
    assert_eq!(adding(["Xx", "yy"]).unwrap().encode("axxYY").unwrap(), [2, 4, 17, 18, 3]);
    assert!(matches!(adding(["Xx", "xX"]), Err(TokenizerFileError::AmbiguousToken { token }) if token == "xX"));
    assert!(matches!(adding(["\u{7}", "yy"]), Err(TokenizerFileError::AmbiguousToken { token }) if token == "\u{7}"));
}

proptest! {
    #[test]
    fn every_text_has_tokens_within_the_limit(text in "(\\PC|\\pM|[ab!我É\n\u{0}\u{ad}]|\\[SEP\\]){0,40}") {
        let ids = build(&file()).unwrap().encode(&text).unwrap();
        prop_assert!((2..=8).contains(&ids.len()));
        prop_assert!(ids.iter().all(|id| (*id as usize) < TOKENS.len()));
    }

    #[test]
    fn changed_bytes_and_truncations_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = file().to_string().into_bytes();
        prop_assert!(TextEncoder::from_json(&bytes[..end.index(bytes.len())], &OPTIONS).is_err());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(encoder) = TextEncoder::from_json(&bytes, &OPTIONS) {
            prop_assert!(encoder.encode("AB é 我 [SEP] bab!").is_ok());
        }
    }
}
