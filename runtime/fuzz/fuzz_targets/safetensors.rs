//! Safetensors files: every tensor of a kind that is known has as many elements as its table row says.
#![no_main]

use cocoon_runtime_fuzz::safetensors::Safetensors;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Safetensors::from_bytes(bytes.to_vec()) else { return };
    for (name, entry) in file.tensors() {
        if let Ok(elements) = file.dequantise(name) {
            assert_eq!(elements.len(), entry.elements());
        }
    }
});
