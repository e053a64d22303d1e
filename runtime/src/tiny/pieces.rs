//! The tokens of the tiny Llama by SentencePiece: as many as it has in byte-level BPE.

use super::VOCABULARY;
use crate::gguf::{Array, GgufWriter, Value};

const CONTROL: [(&str, i64); 3] = [("<unk>", 2), ("<s>", 3), ("</s>", 3)];

/// Pieces beside single bytes, those that join first in front.
const PIECES: [&str; 29] = [
    "\u{2581}t",
    "\u{2581}a",
    "in",
    "he",
    "re",
    "on",
    "er",
    "\u{2581}the",
    "at",
    "en",
    "es",
    "nd",
    "or",
    "is",
    "ing",
    "\u{2581}and",
    "\u{2581}",
    "e",
    "t",
    "a",
    "o",
    "n",
    "i",
    "h",
    "s",
    "r",
    "d",
    "g",
    "l",
];

const TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}";

pub(super) fn tokenizer(file: GgufWriter) -> GgufWriter {
    let control = CONTROL.map(|(text, kind)| (text.to_owned(), 0.0, kind));
    let bytes = (0..=u8::MAX).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6));
    let pieces = (0u8..).zip(PIECES).map(|(rank, text)| (text.to_owned(), -f64::from(rank), 1));
    let tokens: Vec<(String, f64, i64)> = control.into_iter().chain(bytes).chain(pieces).collect();
    debug_assert_eq!(tokens.len() as u64, VOCABULARY);
    file.metadata("tokenizer.ggml.model", Value::String("llama".into()))
        .metadata("tokenizer.ggml.tokens", Value::Array(Array::String(tokens.iter().map(|token| token.0.clone()).collect())))
        .metadata("tokenizer.ggml.scores", Value::Array(Array::Float(tokens.iter().map(|token| token.1).collect())))
        .metadata("tokenizer.ggml.token_type", Value::Array(Array::Int(tokens.iter().map(|token| token.2).collect())))
        .metadata("tokenizer.ggml.bos_token_id", Value::Uint(1))
        .metadata("tokenizer.ggml.eos_token_id", Value::Uint(2))
        .metadata("tokenizer.ggml.unknown_token_id", Value::Uint(0))
        .metadata("tokenizer.ggml.add_bos_token", Value::Bool(true))
        .metadata("tokenizer.ggml.add_eos_token", Value::Bool(false))
        .metadata("tokenizer.ggml.add_space_prefix", Value::Bool(true))
        .metadata("tokenizer.chat_template", Value::String(TEMPLATE.into()))
}
