//! A tiny BERT, generated from a seed: a real model folder for tests of vectors.
//!
//! It reads letters and digits one by one, so it takes any text, and its vectors, which are of length one, mean nothing.
//! Equal seeds give equal bytes on every platform.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::json;

use crate::safetensors::SafetensorsWriter;

const LAYERS: usize = 3;
/// Elements of a vector.
pub const HIDDEN: u64 = 48;
const FEED_FORWARD: u64 = 96;
/// Most tokens of a text, with those at its two ends.
pub const CONTEXT: u64 = 256;

const SPECIAL: [&str; 4] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];

/// What a text is spelled in, at the beginning of a word and inside it.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

fn words() -> Vec<String> {
    let special = SPECIAL.into_iter().map(str::to_owned);
    let letters = ["", "##"].into_iter().flat_map(|before| LETTERS.chars().map(move |letter| format!("{before}{letter}")));
    special.chain(letters).collect()
}

/// What makes a vector of the encoder's outputs: their mean, scaled to length one.
const MODULES: &str =
    r#"[{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "1_Pooling"}, {"type": "a.Normalize", "path": "2"}]"#;

/// The files of the folder: their paths in it, and what they hold.
pub fn tiny_bert(seed: u64) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("config.json", config_json().into_bytes()),
        ("model.safetensors", weights(seed, |_, _| ())),
        ("modules.json", MODULES.as_bytes().to_vec()),
        ("tokenizer.json", tokenizer_json().into_bytes()),
    ]
}

pub(crate) fn tokenizer_json() -> String {
    let vocabulary: serde_json::Map<String, serde_json::Value> =
        words().into_iter().zip(0..).map(|(word, id): (String, u64)| (word, id.into())).collect();
    json!({
        "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    })
    .to_string()
}

pub(crate) fn config_json() -> String {
    json!({
        "model_type": "bert", "num_hidden_layers": LAYERS, "hidden_size": HIDDEN, "intermediate_size": FEED_FORWARD,
        "num_attention_heads": 4, "vocab_size": words().len(), "max_position_embeddings": CONTEXT, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    })
    .to_string()
}

/// Names and shapes of all tensors.
pub(crate) fn tensors() -> Vec<(String, Vec<u64>)> {
    let mut all = Vec::new();
    let mut add = |name: String, shape: &[u64]| all.push((name, shape.to_vec()));
    for (part, rows) in [("word", words().len() as u64), ("position", CONTEXT), ("token_type", 2)] {
        add(format!("embeddings.{part}_embeddings.weight"), &[rows, HIDDEN]);
    }
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    let mut dense = vec![("pooler.dense".to_owned(), HIDDEN, HIDDEN)];
    for layer in 0..LAYERS {
        let at = format!("encoder.layer.{layer}");
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            dense.push((format!("{at}.attention.{part}"), HIDDEN, HIDDEN));
        }
        dense.push((format!("{at}.intermediate.dense"), FEED_FORWARD, HIDDEN));
        dense.push((format!("{at}.output.dense"), HIDDEN, FEED_FORWARD));
        norms.extend([format!("{at}.attention.output.LayerNorm"), format!("{at}.output.LayerNorm")]);
    }
    for (name, rows, columns) in dense {
        add(format!("{name}.weight"), &[rows, columns]);
        add(format!("{name}.bias"), &[rows]);
    }
    for name in norms {
        add(format!("{name}.weight"), &[HIDDEN]);
        add(format!("{name}.bias"), &[HIDDEN]);
    }
    all
}

/// The weights, from a seed: about as large as trained ones, so that every part changes results.
pub(crate) fn weights(seed: u64, change: impl Fn(&str, &mut Vec<f32>)) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut writer = SafetensorsWriter::new();
    for (name, shape) in tensors() {
        let count = shape.iter().product::<u64>();
        let offset = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
        let mut values: Vec<f32> = (0..count).map(|_| offset + (random.next_u32() as f32 / u32::MAX as f32 - 0.5) * 0.4).collect();
        change(&name, &mut values);
        writer = writer.f32(&name, &shape, &values);
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Embedder};

    #[test]
    fn its_folder_loads_and_tells_texts_apart() {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in tiny_bert(1) {
            std::fs::write(dir.path().join(path), bytes).unwrap();
        }
        let embedder = Embedder::open(dir.path(), &Device::cpu()).unwrap();
        assert_eq!((embedder.summary().width as u64, embedder.summary().tokens_max as u64), (HIDDEN, CONTEXT));
        let found = embedder.embed(&["Bees 7", "dance"]).unwrap();
        assert_eq!((found[0].tokens, found[1].tokens), (7, 7));
        let cosine: f32 = found[0].vector.iter().zip(&found[1].vector).map(|(x, y)| x * y).sum();
        assert!(cosine < 0.999, "{cosine}");
        assert_eq!(tiny_bert(1), tiny_bert(1));
        assert_ne!(tiny_bert(1)[1], tiny_bert(2)[1]);
    }
}
