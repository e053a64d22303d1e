use super::*;
use crate::engine::Batch;
use crate::gguf::{GgufWriter, Value};
use crate::tiny::tiny_llama;
use crate::tokenizer::TokenId;

fn tiny() -> Model {
    Model::from_gguf(&Gguf::from_bytes(tiny_llama(1)).unwrap(), &Device::cpu()).unwrap()
}

fn load(bytes: Vec<u8>) -> Result<Model, LoadError> {
    Model::from_gguf(&Gguf::from_bytes(bytes)?, &Device::cpu())
}

/// The tiny model's file with one metadata entry or tensor replaced (none: removed).
fn with_metadata(key: &str, value: Option<Value>) -> Vec<u8> {
    rewritten(|name| (name == key).then(|| value.clone()), |_| false)
}

fn rewritten(replace: impl Fn(&str) -> Option<Option<Value>>, drop_tensor: impl Fn(&str) -> bool) -> Vec<u8> {
    let file = Gguf::from_bytes(tiny_llama(1)).unwrap();
    let mut writer = GgufWriter::new();
    for (key, value) in file.metadata() {
        match replace(key) {
            None => writer = writer.metadata(key, value.clone()),
            Some(Some(value)) => writer = writer.metadata(key, value),
            Some(None) => {}
        }
    }
    for (name, entry) in file.tensors().iter().filter(|(name, _)| !drop_tensor(name)) {
        let values = file.dequantise(name).unwrap();
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        writer = writer.tensor(name, &entry.dimensions, crate::gguf::TensorType::F32, bytes);
    }
    writer.finish()
}

/// Reads parts one after the other, and gives the scores behind each.
fn scores_of_parts(model: &Model, parts: &[&[TokenId]]) -> Vec<Vec<f32>> {
    let mut session = Arc::clone(model.network()).session();
    let mut start = 0;
    let read = |part: &&[TokenId]| {
        let mut batch = Batch::default();
        batch.push(part, start, (0..32).collect(), true);
        start += part.len();
        session.pass(&batch).unwrap().scores
    };
    parts.iter().map(read).collect()
}

fn scores(model: &Model, parts: &[&[TokenId]]) -> Vec<f32> {
    scores_of_parts(model, parts).pop().unwrap()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], error: f32) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= error * expected.abs().max(1.0), "{found} is not {expected}");
    }
}

#[test]
fn the_tiny_model_loads() {
    let model = tiny();
    assert_eq!(model.summary().context_tokens, 2_048);
    assert_eq!(model.summary().vocabulary, 288);
    assert_eq!(model.summary().name.as_deref(), Some("Tiny Llama of a seed"));
    assert!(model.device().is_cpu());
    assert_eq!(scores(&model, &[&[5, 6, 7]]).len(), 288);
}

#[test]
fn models_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Model>();
}

#[test]
fn a_prompt_in_parts_scores_as_in_one_piece() {
    let model = tiny();
    let whole = scores(&model, &[&[10, 20, 30, 40, 50, 60]]);
    assert_eq!(scores(&model, &[&[10, 20, 30], &[40, 50, 60]]), whole);
    assert_eq!(scores(&model, &[&[10], &[20], &[30], &[40], &[50], &[60]]), whole);
}

#[test]
fn the_order_of_tokens_matters() {
    let model = tiny();
    assert_ne!(scores(&model, &[&[20, 10, 30, 40]]), scores(&model, &[&[10, 20, 30, 40]]));
}

#[test]
fn many_pages_hold_what_they_were_given() {
    let model = tiny();
    let ids: Vec<TokenId> = (0..600).map(|i| 3 + (i * 7) % 280).collect();
    let parts: Vec<&[TokenId]> = ids.chunks(100).collect();
    assert_eq!(scores(&model, &parts), scores(&model, &[&ids]));
}

#[test]
fn the_tensor_types_of_a_file_hardly_matter() {
    // The CPU rounds what is not quantised to thirteen bits.
    let plain = load(rewritten(|_| None, |_| false)).unwrap();
    assert_close(&scores(&plain, &[&[5, 6, 7]]), &scores(&tiny(), &[&[5, 6, 7]]), 5e-3);
}

#[test]
fn without_an_output_matrix_the_embedding_serves() {
    let tied = load(rewritten(|_| None, |name| name == "output.weight")).unwrap();
    assert_eq!(scores(&tied, &[&[5, 6, 7]]).len(), 288);
    assert_ne!(scores(&tied, &[&[5, 6, 7]]), scores(&tiny(), &[&[5, 6, 7]]));
}

#[test]
fn files_of_other_kinds_are_refused_by_name() {
    let text = |text: &str| Some(Value::String(text.into()));
    let found = load(with_metadata("general.architecture", text("mamba"))).unwrap_err();
    assert!(matches!(found, LoadError::UnsupportedArchitecture { found } if found == "mamba"));
    let found = load(with_metadata("tokenizer.ggml.model", text("rwkv"))).unwrap_err();
    assert!(matches!(found, LoadError::Tokenizer(TokenizerError::UnknownKind { kind }) if kind == "rwkv"));
    let found = load(with_metadata("tokenizer.ggml.pre", text("qwen99"))).unwrap_err();
    assert!(matches!(found, LoadError::Tokenizer(TokenizerError::UnknownSplit(_))));
}

#[test]
fn missing_and_senseless_hyperparameters_are_refused() {
    for key in ["llama.block_count", "llama.embedding_length", "llama.attention.layer_norm_rms_epsilon", "general.architecture"] {
        assert!(matches!(load(with_metadata(key, None)), Err(LoadError::MissingMetadata { key: k }) if k == key));
    }
    let zeros = ["llama.block_count", "llama.embedding_length", "llama.attention.head_count", "llama.context_length"];
    for key in zeros {
        assert!(matches!(load(with_metadata(key, Some(Value::Uint(0)))), Err(LoadError::BadHyperparameter { .. })), "{key}");
        assert!(matches!(load(with_metadata(key, Some(Value::Uint(u64::MAX)))), Err(LoadError::BadHyperparameter { .. })), "{key}");
    }
    for (key, value) in [
        ("llama.attention.head_count_kv", Value::Uint(3)),
        ("llama.rope.dimension_count", Value::Uint(8)),
        ("llama.rope.freq_base", Value::Float(-1.0)),
        ("llama.attention.layer_norm_rms_epsilon", Value::Float(f64::NAN)),
    ] {
        assert!(matches!(load(with_metadata(key, Some(value))), Err(LoadError::BadHyperparameter { .. })), "{key}");
    }
}

#[test]
fn tensors_must_be_those_of_a_llama_and_fit_its_hyperparameters() {
    let missing = load(rewritten(|_| None, |name| name == "blk.1.attn_k.weight"));
    assert!(matches!(missing, Err(LoadError::MissingTensor { name }) if name == "blk.1.attn_k.weight"));
    let shape = load(with_metadata("llama.feed_forward_length", Some(Value::Uint(96))));
    assert!(matches!(shape, Err(LoadError::TensorShape { .. })));
    let extra = load(with_metadata("llama.block_count", Some(Value::Uint(1))));
    assert!(matches!(extra, Err(LoadError::UnexpectedTensor { name }) if name.starts_with("blk.1.")));
}

#[test]
fn chats_become_prompts_through_the_files_template() {
    let prompt = tiny().render_chat(&[ChatMessage::user("hi")]).unwrap();
    assert_eq!(prompt, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    let bare = load(with_metadata("tokenizer.chat_template", None)).unwrap();
    assert!(matches!(bare.render_chat(&[ChatMessage::user("hi")]), Err(ChatError::NoTemplate)));
}
