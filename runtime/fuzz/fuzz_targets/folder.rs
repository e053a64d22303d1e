//! A whole folder: the first byte says which files there are, and each gets its part of the bytes, up to the next 0xff.
#![no_main]

use cocoon_runtime_fuzz::folder::ModelFolder;
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 8] = [
    "model.safetensors.index.json",
    "generation_config.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "README.md",
];

/// A configuration with which the other files count: of a decoder, or of an encoder.
const CONFIGS: [&str; 2] = [
    r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":16,"intermediate_size":32,"num_hidden_layers":1,
        "num_attention_heads":2,"vocab_size":64,"rms_norm_eps":1e-5,"max_position_embeddings":64,"hidden_act":"silu"}"#,
    r#"{"model_type":"bert","architectures":["BertModel"],"hidden_size":16,"intermediate_size":32,"num_hidden_layers":1,
        "num_attention_heads":2,"vocab_size":64,"layer_norm_eps":1e-12,"max_position_embeddings":64,"type_vocab_size":2,"hidden_act":"gelu"}"#,
];

fuzz_target!(|bytes: &[u8]| {
    let Some(([kind, which], rest)) = bytes.split_first_chunk() else { return };
    let dir = tempfile::tempdir().expect("the system has room for a folder");
    std::fs::create_dir(dir.path().join("1_Pooling")).expect("it does");
    std::fs::write(dir.path().join("config.json"), CONFIGS[usize::from(kind % 2)]).expect("it does");
    let parts = rest.split(|byte| *byte == 0xff);
    for ((_, file), part) in FILES.iter().enumerate().filter(|(bit, _)| which >> bit & 1 == 1).zip(parts) {
        std::fs::write(dir.path().join(file), part).expect("it does");
    }
    let Ok(folder) = ModelFolder::open(dir.path()) else { return };
    let _ = folder.checkpoint();
});
