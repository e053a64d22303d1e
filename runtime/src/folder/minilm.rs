//! all-MiniLM-L6-v2 as it is published, against what an independent program read from it.
//!
//! `COCOON_MINILM` names its folder; `reference/minilm_tokens.py` wrote the golden file.

use std::path::PathBuf;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::*;

#[derive(Deserialize)]
struct Golden {
    model_sha256: String,
    sentences: Vec<Sentence>,
    tensors: Vec<Tensor>,
}

#[derive(Deserialize)]
struct Sentence {
    name: String,
    text: String,
    ids: Vec<TokenId>,
}

#[derive(Deserialize)]
struct Tensor {
    name: String,
    shape: Vec<u64>,
    first: [f32; 3],
    last: f32,
    sum: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../tests/reference/minilm_tokens.json")).unwrap()
}

/// The folder, or none with a line that says what is skipped.
fn folder() -> Option<ModelFolder> {
    let path = std::env::var_os("COCOON_MINILM").map(PathBuf::from);
    if path.is_none() {
        eprintln!("skipped: set COCOON_MINILM to the folder of all-MiniLM-L6-v2 to run this");
    }
    let path = path?;
    let file = std::fs::read(path.join("model.safetensors")).unwrap();
    assert_eq!(hex::encode(Sha256::digest(file)), golden().model_sha256, "another model");
    Some(ModelFolder::open(&path).unwrap())
}

#[test]
fn its_configuration_is_read() {
    let Some(folder) = folder() else { return };
    let expected = EncoderConfig {
        layers: 6,
        hidden: 384,
        feed_forward: 1536,
        heads: 12,
        vocabulary: 30522,
        context: 512,
        segments: 2,
        epsilon: 1e-12,
        activation: Activation::Gelu,
        sentence: SentenceConfig { pooling: Pooling::Mean, normalised: true, tokens_max: 256, lower_cased: false },
    };
    assert_eq!(*folder.config(), FolderConfig::Encoder(expected));
    assert_eq!(folder.licence(), Some("apache-2.0"));
    assert_eq!(*folder.text(), TextConfig { tokens_max: Some(512), ..TextConfig::default() });
    assert!(matches!(folder.tokenizer(), Err(FolderError::OtherKind { .. })));
}

#[test]
fn its_sentences_have_the_references_tokens() {
    let Some(folder) = folder() else { return };
    let encoder = folder.text_encoder().unwrap();
    assert_eq!((encoder.vocabulary(), encoder.tokens_max()), (30522, 256));
    for Sentence { name, text, ids } in golden().sentences {
        assert_eq!(encoder.encode(&text).unwrap(), ids, "{name}");
    }
}

#[test]
fn its_tensors_are_the_references() {
    let Some(folder) = folder() else { return };
    let checkpoint = folder.checkpoint().unwrap();
    let golden = golden().tensors;
    assert_eq!(golden.len(), 103);
    assert_eq!(checkpoint.tensors().count(), 104, "all of them, and the list of positions, which is of integers");
    for Tensor { name, shape, first, last, sum } in golden {
        assert_eq!(checkpoint.get(&name).unwrap().shape, shape, "{name}");
        let elements = checkpoint.dequantise(&name).unwrap();
        assert_eq!((&elements[..3], elements.last()), (&first[..], Some(&last)), "{name}");
        let total: f64 = elements.iter().map(|element| f64::from(*element)).sum();
        assert!((total - sum).abs() < 1e-6, "{name}: {total} and {sum}");
    }
}
