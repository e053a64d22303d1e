//! `tokenizer.json` of models that give vectors; behind a byte that no JSON has, a text for what was built.
#![no_main]

use cocoon_runtime_fuzz::tokenizer::{TextEncoder, TextEncoderOptions};
use libfuzzer_sys::fuzz_target;

const VOCABULARY: usize = 1_024;
const TOKENS_MAX: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let (file, text) = bytes.split_at(bytes.iter().position(|byte| *byte == 0xff).unwrap_or(bytes.len()));
    let options = TextEncoderOptions { vocabulary: VOCABULARY, tokens_max: TOKENS_MAX, lower_cased: false };
    let Ok(encoder) = TextEncoder::from_json(file, &options) else { return };
    let Ok(ids) = encoder.encode(&String::from_utf8_lossy(text)) else { return };
    assert!(ids.len() <= TOKENS_MAX && ids.iter().all(|id| (*id as usize) < VOCABULARY));
});
