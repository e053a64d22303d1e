//! Both kinds of checkpoint: the first byte chooses which.
#![no_main]

use cocoon_runtime::{Gguf, Safetensors, Tokenizer};
use libfuzzer_sys::fuzz_target;

/// Every tensor of a kind that is known has as many elements as its table row says.
fn safetensors(bytes: &[u8]) {
    let Ok(file) = Safetensors::from_bytes(bytes.to_vec()) else { return };
    for (name, entry) in file.tensors() {
        if let Ok(elements) = file.dequantise(name) {
            assert_eq!(elements.len(), entry.elements());
        }
    }
}

fn gguf(bytes: &[u8]) {
    let Ok(file) = Gguf::from_bytes(bytes.to_vec()) else { return };
    for (name, entry) in file.tensors() {
        assert_eq!(file.dequantise(name).expect("every type that is read is known").len(), entry.elements());
    }
    let _ = Tokenizer::from_gguf(&file);
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    match choice % 2 {
        0 => safetensors(bytes),
        _ => gguf(bytes),
    }
});
