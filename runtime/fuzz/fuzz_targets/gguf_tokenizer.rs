//! Tokenizers inside GGUF files, of both kinds, made of the input: parts between bytes of 0xff are a text, then tokens.
//!
//! A token's first byte is its kind, its second its score, the rest its text; with byte pairs a text of two parts with a space
//! between them is a merge as well. SentencePiece's 256 byte tokens and its space are there already, so that most files are sound.
#![no_main]

use cocoon_runtime_fuzz::gguf::{Array, Gguf, GgufWriter, Value};
use cocoon_runtime_fuzz::spell;
use cocoon_runtime_fuzz::tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;

#[derive(Default)]
struct Vocabulary {
    texts: Vec<String>,
    kinds: Vec<i64>,
    scores: Vec<f64>,
    merges: Vec<String>,
}

impl Vocabulary {
    fn push(&mut self, text: String, kind: i64, score: f64) {
        // One that is there already would only make the file a contradictory one.
        if !self.texts.contains(&text) {
            self.texts.push(text);
            self.kinds.push(kind);
            self.scores.push(score);
        }
    }

    fn take(&mut self, part: &[u8]) {
        let [kind, score, text @ ..] = part else { return };
        let text = String::from_utf8_lossy(text).into_owned();
        if let Some((left, right)) = text.split_once(' ') {
            self.merges.push(text.clone());
            for half in [left.to_owned(), right.to_owned(), [left, right].concat()] {
                self.push(half, 1, 0.0);
            }
        } else {
            self.push(text, (kind % 7).into(), f64::from(*score) / 16.0 - 8.0);
        }
    }

    fn tokenizer(self, kind: &str, settings: u8) -> Option<Tokenizer> {
        let bit = |at: u8| Value::Bool(settings >> at & 1 == 1);
        let file = GgufWriter::new()
            .metadata("tokenizer.ggml.model", Value::String(kind.to_owned()))
            // Those whose expressions are compiled once in a process, or the fuzzer would do little else.
            .metadata("tokenizer.ggml.pre", Value::String(if settings >> 7 == 1 { "smollm" } else { "gpt-2" }.into()))
            .metadata("tokenizer.ggml.tokens", Value::Array(Array::String(self.texts)))
            .metadata("tokenizer.ggml.token_type", Value::Array(Array::Int(self.kinds)))
            .metadata("tokenizer.ggml.scores", Value::Array(Array::Float(self.scores)))
            .metadata("tokenizer.ggml.merges", Value::Array(Array::String(self.merges)))
            .metadata("tokenizer.ggml.bos_token_id", Value::Uint(0))
            .metadata("tokenizer.ggml.add_bos_token", bit(1))
            .metadata("tokenizer.ggml.add_space_prefix", bit(2));
        Tokenizer::from_gguf(&Gguf::from_bytes(file.finish()).expect("what was written can be read")).ok()
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((settings, rest)) = bytes.split_first() else { return };
    let mut parts = rest.split(|byte| *byte == 0xff);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let is_pieces = settings & 1 == 1;
    let mut vocabulary = Vocabulary::default();
    for byte in 0..=u8::MAX {
        if is_pieces { vocabulary.push(format!("<0x{byte:02X}>"), 6, 0.0) } else { vocabulary.push(spell(byte).into(), 1, 0.0) }
    }
    if is_pieces {
        vocabulary.push("\u{2581}".into(), 1, -9.0);
    }
    parts.for_each(|part| vocabulary.take(part));
    let (tokens, has_control) = (vocabulary.texts.len(), vocabulary.kinds.iter().any(|kind| matches!(kind, 2 | 3)));
    let Some(tokenizer) = vocabulary.tokenizer(if is_pieces { "llama" } else { "gpt2" }, *settings) else { return };
    let ids = tokenizer.encode(&text).expect("a short text can be encoded");
    assert!(ids.iter().all(|id| (*id as usize) < tokens));
    let again = tokenizer.decode(&ids);
    if is_pieces && !has_control {
        let space = if settings >> 2 & 1 == 1 && !text.is_empty() { " " } else { "" };
        let whole = format!("{space}{}", text.replace('\u{2581}', " "));
        // The token that texts are to begin with is that of the byte zero. It is put in front unless it is there.
        let begin = if settings >> 1 & 1 == 1 { "\0" } else { "" };
        assert!(again == format!("{begin}{whole}") || again == whole && whole.starts_with('\0'), "{text:?} became {again:?}");
    }
});
