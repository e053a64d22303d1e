//! Tiny models of every family, from both formats and in both engines, against logits that an
//! independent program computed in double precision (`tests/reference/families.py`).

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::engine::Batch;
use crate::engine::burn::Burn;
use crate::safetensors::{Checkpoint, SafetensorsWriter};
use crate::tokenizer::TokenId;

#[derive(Deserialize)]
struct Golden {
    models: Vec<GoldenModel>,
}

#[derive(Deserialize)]
struct GoldenModel {
    name: String,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    input: Vec<TokenId>,
    logits: Vec<f32>,
    greedy: Vec<TokenId>,
}

fn golden() -> Vec<GoldenModel> {
    serde_json::from_str::<Golden>(include_str!("../../tests/reference/families.json")).unwrap().models
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/families").join(name)
}

/// Both formats of a model.
fn paths(name: &str) -> [PathBuf; 2] {
    [path(name), path(&format!("{name}.gguf"))]
}

fn on_cpu(path: &Path) -> Arc<dyn Network> {
    Arc::clone(Model::load(path, &Device::cpu()).unwrap().network())
}

fn on_flex(path: &Path) -> Arc<dyn Network> {
    let kernels = Burn::new(::burn::tensor::Device::flex());
    if path.is_dir() {
        let folder = ModelFolder::open(path).unwrap();
        let FolderConfig::Decoder(config) = folder.config() else { panic!("an encoder") };
        let (checkpoint, tokens) = (folder.checkpoint().unwrap(), folder.tokenizer().unwrap().vocabulary());
        let source = Source { tensors: &checkpoint, naming: &naming::FOLDER, rows: config.vocabulary, tokens };
        Arc::new(load::load(&source, Config::from_folder(config), kernels).unwrap().0)
    } else {
        let file = Gguf::open(path).unwrap();
        let tokens = Tokenizer::from_gguf(&file).unwrap().vocabulary();
        let source = Source { tensors: &file, naming: &naming::GGUF, rows: tokens, tokens };
        Arc::new(load::load(&source, Config::from_gguf(&file).unwrap(), kernels).unwrap().0)
    }
}

/// Scores of what follows `ids`.
fn scores(network: &Arc<dyn Network>, ids: &[TokenId]) -> Vec<f32> {
    let mut batch = Batch::default();
    batch.push(ids, 0, (0..4).collect(), true);
    Arc::clone(network).session().pass(&batch).unwrap().scores
}

fn largest_difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max)
}

#[track_caller]
fn check(engine: fn(&Path) -> Arc<dyn Network>, error: f32) {
    let models = golden();
    assert_eq!(models.len(), 6);
    for GoldenModel { name, answers } in models {
        for path in paths(&name) {
            let network = engine(&path);
            let differences = answers.iter().map(|answer| largest_difference(&scores(&network, &answer.input), &answer.logits));
            let worst = differences.fold(0.0, f32::max);
            eprintln!("{}: off by {worst:.1e}", path.display());
            assert!(worst <= error, "{}: off by {worst}", path.display());
        }
    }
}

/// Single precision rounds by 2^-24. These models make some 10^2 times that of it at the most: a
/// feature left out moves some logit by 0.09 or more, another epsilon by 1.7e-4.
const SINGLE_ERROR: f32 = 3e-5;

/// Weights of thirteen bits are rounded by 2^-13 of the largest of their block, activations by half
/// of that; with the same factor of some 10^2 this comes to some 1e-2.
const ROUNDED_ERROR: f32 = 2e-2;

#[test]
fn single_precision_gives_the_references_logits() {
    check(on_flex, SINGLE_ERROR);
}

#[test]
fn rounded_weights_and_activations_give_nearly_the_references_logits() {
    check(on_cpu, ROUNDED_ERROR);
}

/// The reference's token is the best, or behind it by no more than two scores can be off.
#[track_caller]
fn check_greedy(engine: fn(&Path) -> Arc<dyn Network>, error: f32) {
    for GoldenModel { name, answers } in golden() {
        for path in paths(&name) {
            let network = engine(&path);
            for answer in &answers {
                let mut ids = answer.input.clone();
                for expected in &answer.greedy {
                    let found = scores(&network, &ids);
                    let best = found.iter().copied().fold(f32::MIN, f32::max);
                    let behind = best - found[*expected as usize];
                    assert!(behind <= 2.0 * error, "{}: {expected} is behind by {behind}", path.display());
                    ids.push(*expected);
                }
            }
        }
    }
}

#[test]
fn greedy_answers_are_the_references() {
    check_greedy(on_flex, 0.0);
    check_greedy(on_cpu, ROUNDED_ERROR);
}

#[test]
fn a_folder_gives_a_whole_model() {
    let model = Model::load(path("qwen2"), &Device::cpu()).unwrap();
    let file = Model::load(path("qwen2.gguf"), &Device::cpu()).unwrap();
    let (summary, of_file) = (model.summary(), file.summary());
    assert_eq!((summary.family, summary.context_tokens, summary.vocabulary), (Family::Qwen2, 128, 96));
    assert_eq!((summary.parameters, summary.context_tokens), (of_file.parameters, of_file.context_tokens));
    let text = "hello there";
    assert_eq!(model.tokenizer().encode(text).unwrap(), file.tokenizer().encode(text).unwrap());
    assert!(matches!(model.render_chat(&[ChatMessage::user("hi")]), Err(ChatError::NoTemplate)));
}

/// A copy of a model's folder: entries of its configuration replaced, tensors changed, and more added.
fn changed(
    name: &str,
    entries: Value,
    change: impl Fn(&str, &mut Vec<u64>, &mut Vec<f32>),
    more: &[(String, Vec<f32>)],
) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut config: Value = serde_json::from_slice(&std::fs::read(path(name).join("config.json")).unwrap()).unwrap();
    config.as_object_mut().unwrap().extend(entries.as_object().unwrap().clone());
    let checkpoint = Checkpoint::open(&path(name)).unwrap();
    let mut writer = SafetensorsWriter::new();
    for (tensor, entry) in checkpoint.tensors() {
        let (mut shape, mut values) = (entry.shape.clone(), checkpoint.dequantise(tensor).unwrap());
        change(tensor, &mut shape, &mut values);
        writer = writer.f32(tensor, &shape, &values);
    }
    for (tensor, values) in more {
        writer = writer.f32(tensor, &[values.len() as u64], values);
    }
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    std::fs::write(dir.path().join("model.safetensors"), writer.finish()).unwrap();
    std::fs::copy(path(name).join("tokenizer.json"), dir.path().join("tokenizer.json")).unwrap();
    std::fs::write(dir.path().join("chat_template.jinja"), "{{ messages[0].content }}!").unwrap();
    dir
}

fn unchanged(_: &str, _: &mut Vec<u64>, _: &mut Vec<f32>) {}

fn refusal(dir: &tempfile::TempDir) -> LoadError {
    Model::load(dir.path(), &Device::cpu()).unwrap_err()
}

const PROMPT: [TokenId; 12] = [5, 60, 12, 33, 8, 71, 40, 9, 22, 64, 3, 17];

#[test]
fn the_template_of_a_folder_is_used() {
    let dir = changed("llama", json!({}), unchanged, &[]);
    let model = Model::load(dir.path(), &Device::cpu()).unwrap();
    assert_eq!(model.render_chat(&[ChatMessage::user("hi")]).unwrap(), "hi!");
}

#[test]
fn a_window_hides_what_is_out_of_its_reach() {
    let other_first = [&[7], &PROMPT[1..]].concat();
    for engine in [on_cpu, on_flex] {
        let moved = |window: Value| {
            let network = engine(changed("mistral", json!({ "sliding_window": window }), unchanged, &[]).path());
            largest_difference(&scores(&network, &PROMPT), &scores(&network, &other_first))
        };
        // Two layers reach back two windows less the position itself.
        assert_eq!(moved(json!(6)), 0.0);
        assert!(moved(json!(7)) > 1e-4 && moved(Value::Null) > 1e-4);
    }
}

#[test]
fn the_first_layers_of_a_qwen_may_have_no_window() {
    let other_first = [&[7], &PROMPT[1..]].concat();
    let moved = |first_layer: usize| {
        let entries = json!({"use_sliding_window": true, "sliding_window": 2, "max_window_layers": first_layer});
        let network = on_cpu(changed("qwen2", entries, unchanged, &[]).path());
        largest_difference(&scores(&network, &PROMPT), &scores(&network, &other_first))
    };
    assert_eq!(moved(0), 0.0);
    assert!(moved(1) > 1e-4 && moved(2) > 1e-4);
    assert_ne!(moved(1), moved(2));
}

fn biases(value: f32, of_output: f32) -> Vec<(String, Vec<f32>)> {
    let widths = [("q_proj", 32, value), ("k_proj", 8, value), ("v_proj", 8, value), ("o_proj", 32, of_output)];
    let of_layer =
        |layer: usize| widths.map(|(part, width, value)| (format!("model.layers.{layer}.self_attn.{part}.bias"), vec![value; width]));
    (0..2).flat_map(of_layer).collect()
}

#[test]
fn a_llama_may_have_biases_on_its_whole_attention() {
    let with = |more: &[(String, Vec<f32>)]| changed("llama", json!({"attention_bias": true}), unchanged, more);
    let plain = scores(&on_cpu(&path("llama")), &PROMPT);
    assert_eq!(scores(&on_cpu(with(&biases(0.0, 0.0)).path()), &PROMPT), plain);
    assert!(largest_difference(&scores(&on_cpu(with(&biases(0.5, 0.0)).path()), &PROMPT), &plain) > 1e-2);
    assert!(largest_difference(&scores(&on_cpu(with(&biases(0.0, 0.5)).path()), &PROMPT), &plain) > 1e-2);
    let missing = &biases(0.0, 0.0)[..7];
    assert!(matches!(refusal(&with(missing)), LoadError::MissingTensor { name } if name == "model.layers.1.self_attn.o_proj.bias"));
    let unasked = changed("llama", json!({}), unchanged, &biases(0.0, 0.0));
    assert!(matches!(refusal(&unasked), LoadError::UnexpectedTensor { .. }));
}

#[test]
fn rows_of_no_token_are_left_out() {
    let more_rows = |name: &str, shape: &mut Vec<u64>, values: &mut Vec<f32>| {
        if name == "model.embed_tokens.weight" {
            shape[0] += 8;
            values.extend(vec![9.0; 8 * 32]);
        }
    };
    let dir = changed("llama", json!({"vocab_size": 104}), more_rows, &[]);
    assert_eq!(Model::load(dir.path(), &Device::cpu()).unwrap().summary().vocabulary, 96);
    for engine in [on_cpu, on_flex] {
        assert_eq!(scores(&engine(dir.path()), &PROMPT), scores(&engine(&path("llama")), &PROMPT));
    }
}

#[test]
fn what_repeats_what_is_known_is_ignored_and_all_else_is_refused() {
    let frequencies = ("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), vec![1.0; 4]);
    let repeated = ("lm_head.weight".to_owned(), vec![1.0; 4]);
    let tied = changed("llama", json!({}), unchanged, &[frequencies, repeated]);
    assert_eq!(scores(&on_cpu(tied.path()), &PROMPT), scores(&on_cpu(&path("llama")), &PROMPT));
    let apart = changed("llama", json!({"tie_word_embeddings": false}), unchanged, &[]);
    assert!(matches!(refusal(&apart), LoadError::MissingTensor { name } if name == "lm_head.weight"));
    let extra = changed("llama", json!({}), unchanged, &[("model.extra.weight".to_owned(), vec![1.0])]);
    assert!(matches!(refusal(&extra), LoadError::UnexpectedTensor { name } if name == "model.extra.weight"));
    let narrow = changed("llama", json!({"intermediate_size": 16}), unchanged, &[]);
    assert!(matches!(refusal(&narrow), LoadError::TensorShape { found, expected, .. } if found == [32, 32] && expected == [16, 32]));
    let damaged = changed("llama", json!({}), |_, _, values| values[0] = f32::INFINITY, &[]);
    assert!(matches!(refusal(&damaged), LoadError::NotFinite { .. }));
}
