//! `tokenizer.json` of models that answer; behind a byte that no JSON has, a text for what was built. Every token of it is one that
//! the model has a row for.
#![no_main]

use cocoon_runtime_fuzz::tokenizer::{Tokenizer, TokenizerOptions};
use libfuzzer_sys::fuzz_target;

const VOCABULARY: usize = 1_024;

fuzz_target!(|bytes: &[u8]| {
    let (file, text) = bytes.split_at(bytes.iter().position(|byte| *byte == 0xff).unwrap_or(bytes.len()));
    let options = TokenizerOptions { vocabulary: VOCABULARY, ..TokenizerOptions::default() };
    let Ok(tokenizer) = Tokenizer::from_json(file, &options) else { return };
    let Ok(ids) = tokenizer.encode(&String::from_utf8_lossy(text)) else { return };
    assert!(ids.iter().all(|id| (*id as usize) < VOCABULARY));
    let _ = tokenizer.decode(&ids);
});
