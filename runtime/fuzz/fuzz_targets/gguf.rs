//! GGUF files: every tensor of a file that is read has as many elements as its table row says.
#![no_main]

use cocoon_runtime_fuzz::gguf::Gguf;
use cocoon_runtime_fuzz::tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Gguf::from_bytes(bytes.to_vec()) else { return };
    for (name, entry) in file.tensors() {
        assert_eq!(file.dequantise(name).expect("every type that is read is known").len(), entry.elements());
    }
    // Building a tokenizer takes a hundred times as long as reading a file; what is found of it needs no tensors beside it.
    if file.tensors().is_empty() {
        let _ = Tokenizer::from_gguf(&file);
    }
});
