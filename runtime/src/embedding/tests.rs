use std::path::PathBuf;

use serde::Deserialize;

use super::*;
use crate::engine::burn::Burn;
use crate::safetensors::SafetensorsWriter;
use crate::tiny::bert::{CONTEXT, HIDDEN, config_json, tensors, tokenizer_json};
use crate::tokenizer::TokenId;

fn weights(change: impl Fn(&str, &mut Vec<f32>)) -> Vec<u8> {
    crate::tiny::bert::weights(7, change)
}

/// A folder of the tiny encoder, with other files beside.
fn folder_of(weights: &[u8], beside: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    write("config.json", config_json().as_bytes());
    write("tokenizer.json", tokenizer_json().as_bytes());
    write("model.safetensors", weights);
    beside.iter().for_each(|(name, content)| write(name, content.as_bytes()));
    dir
}

fn folder(beside: &[(&str, &str)]) -> tempfile::TempDir {
    folder_of(&weights(|_, _| ()), beside)
}

const NORMALISED: &str =
    r#"[{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "1_Pooling"}, {"type": "a.Normalize", "path": "2"}]"#;

fn open(dir: &tempfile::TempDir) -> Embedder {
    Embedder::open(dir.path(), &Device::cpu()).unwrap()
}

/// The same model through burn, in single precision.
fn on_flex(dir: &tempfile::TempDir) -> Embedder {
    let folder = ModelFolder::open(dir.path()).unwrap();
    let kernels = Burn::new(::burn::tensor::Device::flex());
    let (network, _) = encoder::load(&folder.checkpoint().unwrap(), encoder_config(&folder).unwrap(), kernels).unwrap();
    Embedder { network: Arc::new(network), ..open(dir) }
}

fn vector(embedder: &Embedder, text: &str) -> Vec<f32> {
    embedder.embed(&[text]).unwrap().remove(0).vector
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum::<f32>().sqrt()
}

/// Texts of many lengths: over several pages, over several passes, one that is cut.
fn texts() -> Vec<String> {
    let words = ["a", "b", "c", "ab", "cab", "bca", "x"];
    let text = |count: usize| (0..count).map(|at| words[(at * at + count) % words.len()]).collect::<Vec<_>>().join(" ");
    (0..48).map(|at| text((at * 7) % 40)).chain([text(400)]).collect()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], error: f32) {
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
    assert!(worst <= error, "off by {worst}");
}

#[test]
fn a_vector_depends_on_its_own_text_alone() {
    for beside in [&[][..], &[("1_Pooling/config.json", r#"{"pooling_mode_cls_token": true}"#)]] {
        let embedder = open(&folder(beside));
        let texts = texts();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let together = embedder.embed(&texts).unwrap();
        let rows: usize = together.iter().map(|embedding| embedding.tokens).sum();
        assert!(rows > 2 * PASS_ROWS, "{rows} rows are no test of several passes");
        for (text, embedding) in texts.iter().zip(&together) {
            assert_eq!(embedder.embed(&[text]).unwrap(), std::slice::from_ref(embedding), "{text}");
        }
        let backwards: Vec<&str> = texts.iter().rev().copied().collect();
        assert!(embedder.embed(&backwards).unwrap().iter().rev().eq(&together));
    }
}

#[test]
fn engines_agree() {
    for beside in [&[][..], &[("modules.json", NORMALISED)]] {
        let dir = folder(beside);
        let texts = texts();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (cpu, flex) = (open(&dir).embed(&texts).unwrap(), on_flex(&dir).embed(&texts).unwrap());
        for (cpu, flex) in cpu.iter().zip(&flex) {
            assert_close(&cpu.vector, &flex.vector, 1e-3);
        }
    }
}

#[test]
fn every_tensor_counts() {
    let plain = vector(&open(&folder(&[])), "ab c");
    for (changed, _) in tensors() {
        // The bias of keys adds the same to all scores of a query, which changes no weight.
        let ignored = IGNORED_HERE.contains(&changed.as_str()) || changed.ends_with("self.key.bias");
        let dir = folder_of(
            &weights(|name, values| {
                if name == changed {
                    values.reverse();
                }
            }),
            &[],
        );
        let found = vector(&open(&dir), "ab c");
        let worst = found.iter().zip(&plain).map(|(found, plain)| (found - plain).abs()).fold(0.0, f32::max);
        assert_eq!(worst < 2e-3, ignored, "{changed} changes the vector by {worst}");
    }
}

const IGNORED_HERE: [&str; 2] = ["pooler.dense.weight", "pooler.dense.bias"];

#[test]
fn texts_are_metered_and_what_is_cut_is_said() {
    let limits = ("sentence_bert_config.json", r#"{"max_seq_length": 6}"#);
    let embedder = open(&folder(&[limits]));
    let found = embedder.embed(&["", "a b", "a b c ab", "a b c a b c"]).unwrap();
    let counts: Vec<(usize, usize)> = found.iter().map(|embedding| (embedding.tokens, embedding.tokens_cut)).collect();
    assert_eq!(counts, [(2, 0), (4, 0), (6, 1), (6, 2)]);
    assert_eq!(found[3].vector, vector(&embedder, "a b c a"));
    assert_eq!(embedder.embed(&[]).unwrap(), []);
}

#[test]
fn vectors_are_pooled_and_scaled_as_the_folder_says() {
    let (plain, scaled) = (vector(&open(&folder(&[])), "a b"), vector(&open(&folder(&[("modules.json", NORMALISED)])), "a b"));
    assert!((length(&plain) - 1.0).abs() > 0.1 && (length(&scaled) - 1.0).abs() < 1e-6);
    let factor = length(&plain);
    assert_close(&scaled.iter().map(|x| x * factor).collect::<Vec<_>>(), &plain, 1e-5);
    let first = vector(&open(&folder(&[("1_Pooling/config.json", r#"{"pooling_mode_cls_token": true}"#)])), "a b");
    assert!(plain.iter().zip(&first).any(|(plain, first)| (plain - first).abs() > 0.01));
}

#[test]
fn the_summary_is_that_of_the_folder() {
    let embedder = open(&folder(&[]));
    let pooler = HIDDEN * HIDDEN + HIDDEN;
    let parameters = tensors().iter().map(|(_, shape)| shape.iter().product::<u64>()).sum::<u64>() - pooler;
    assert_eq!(embedder.summary(), EmbedderSummary { width: HIDDEN as usize, tokens_max: CONTEXT as usize, parameters });
    assert!(embedder.device().is_cpu());
}

#[test]
fn weights_and_texts_that_cannot_be_used_are_refused_by_name() {
    let damaged = folder_of(
        &weights(|name, values| {
            if name.ends_with("1.output.dense.bias") {
                values[3] = f32::NAN;
            }
        }),
        &[],
    );
    let found = Embedder::open(damaged.path(), &Device::cpu());
    assert!(matches!(found, Err(LoadError::NotFinite { name }) if name == "encoder.layer.1.output.dense.bias"));
    let mut extra = tensors().into_iter().fold(SafetensorsWriter::new(), |writer, (name, shape)| {
        writer.f32(&name, &shape, &vec![0.5; shape.iter().product::<u64>() as usize])
    });
    extra = extra.f32("embeddings.more.weight", &[1], &[0.5]);
    let found = Embedder::open(folder_of(&extra.finish(), &[]).path(), &Device::cpu());
    assert!(matches!(found, Err(LoadError::UnexpectedTensor { name }) if name == "embeddings.more.weight"));
    let overflowing = open(&folder_of(&weights(|_, values| values.iter_mut().for_each(|x| *x *= 1e38)), &[]));
    assert!(matches!(overflowing.embed(&["a"]), Err(EmbedError::NotFinite { index: 0 })));
    let long = "a".repeat(crate::tokenizer::TEXT_BYTES_MAX + 1);
    assert!(matches!(open(&folder(&[])).embed(&["a", &long]), Err(EmbedError::Text { index: 1, .. })));
}

#[test]
fn a_long_text_has_a_pass_of_its_own() {
    let text = |tokens: usize| TextTokens { ids: vec![4; tokens], cut: 0 };
    let texts: Vec<TextTokens> = [100, 412, 1, 600, 600, 2, 3].map(text).to_vec();
    assert_eq!(passes(&texts), [0..2, 2..3, 3..4, 4..5, 5..7]);
    assert!(passes(&[]).is_empty());
}

#[derive(Deserialize)]
struct Golden {
    model_blake3: String,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    name: String,
    text: String,
    pieces: Vec<TokenId>,
    vector: Vec<f32>,
}

/// `COCOON_MINILM` names the folder of all-MiniLM-L6-v2; `reference/minilm.py` wrote the vectors.
#[test]
fn minilm_gives_the_references_vectors() {
    let Some(path) = std::env::var_os("COCOON_MINILM").map(PathBuf::from) else {
        eprintln!("skipped: set COCOON_MINILM to the folder of all-MiniLM-L6-v2 to run this");
        return;
    };
    let golden: Golden = serde_json::from_str(include_str!("../../tests/reference/minilm.json")).unwrap();
    let file = std::fs::read(path.join("model.safetensors")).unwrap();
    assert_eq!(blake3::hash(&file).to_hex().as_str(), golden.model_blake3, "another model");
    let embedder = Embedder::open(&path, &Device::cpu()).unwrap();
    assert_eq!((embedder.summary().width, embedder.summary().tokens_max), (384, 256));
    let texts: Vec<&str> = golden.answers.iter().map(|answer| answer.text.as_str()).collect();
    let found = embedder.embed(&texts).unwrap();
    for (Answer { name, pieces, vector, .. }, found) in golden.answers.iter().zip(&found) {
        assert_eq!(found.tokens, pieces.len(), "{name}");
        assert_eq!(found.tokens_cut > 0, name == "cut", "{name}");
        let cosine = found.vector.iter().zip(vector).map(|(x, y)| f64::from(x * y)).sum::<f64>() / f64::from(length(vector));
        eprintln!("{name}: cosine {cosine:.7}");
        assert!(cosine >= 0.999_9, "{name}: cosine {cosine}");
        assert!((length(&found.vector) - 1.0).abs() < 1e-5, "{name}");
    }
}
