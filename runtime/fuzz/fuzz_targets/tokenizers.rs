//! Both kinds of tokenizer file, and a text for what was built: the first byte chooses the kind, and a
//! byte that no JSON has parts file and text.
#![no_main]

use cocoon_runtime::tokenizer::{TextEncoderOptions, TokenizerOptions};
use cocoon_runtime::{TextEncoder, Tokenizer};
use libfuzzer_sys::fuzz_target;

const VOCABULARY: usize = 1_024;
const TOKENS_MAX: usize = 64;

/// Every token of a text is one that the model has a row for.
fn byte_pairs(file: &[u8], text: &str) {
    let options = TokenizerOptions { vocabulary: VOCABULARY, ..TokenizerOptions::default() };
    let Ok(tokenizer) = Tokenizer::from_json(file, &options) else { return };
    let Ok(ids) = tokenizer.encode(text) else { return };
    assert!(ids.iter().all(|id| (*id as usize) < VOCABULARY));
    let _ = tokenizer.decode(&ids);
}

fn word_pieces(file: &[u8], text: &str) {
    let options = TextEncoderOptions { vocabulary: VOCABULARY, tokens_max: TOKENS_MAX, lower_cased: false };
    let Ok(encoder) = TextEncoder::from_json(file, &options) else { return };
    let Ok(ids) = encoder.encode(text) else { return };
    assert!(ids.len() <= TOKENS_MAX && ids.iter().all(|id| (*id as usize) < VOCABULARY));
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let (file, text) = bytes.split_at(bytes.iter().position(|byte| *byte == 0xff).unwrap_or(bytes.len()));
    let text = String::from_utf8_lossy(text);
    match choice % 2 {
        0 => byte_pairs(file, &text),
        _ => word_pieces(file, &text),
    }
});
