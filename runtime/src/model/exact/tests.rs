//! Whole models against the vectors of `tests/reference/exact.py`.

use serde::Deserialize;

use super::*;
use crate::generation::{Event, GenerationRequest, Prompt};
use crate::sampling::Sampling;
use crate::tiny::tiny_llama;

#[derive(Deserialize)]
struct Vectors {
    tiny: OfModel,
    model: OfModel,
}

#[derive(Deserialize)]
struct OfModel {
    manifest: ManifestVector,
    layers: Layers,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct ManifestVector {
    arithmetic: u32,
    model_blake3: String,
    weights_root: String,
}

#[derive(Deserialize)]
struct Layers {
    input: Vec<TokenId>,
    /// `[position][layer]`
    digests: Vec<Vec<String>>,
}

#[derive(Deserialize)]
struct Answer {
    name: String,
    input: Vec<TokenId>,
    output: Vec<TokenId>,
    logits_sha256: String,
    activation_root: String,
    sampling: Option<Drawn>,
}

#[derive(Deserialize)]
struct Drawn {
    temperature: f32,
    top_k: u32,
    top_p: f32,
    seed: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../../tests/reference/exact.json")).unwrap()
}

fn tiny(device: &Device) -> ExactModel {
    ExactModel::from_gguf(&Gguf::from_bytes(tiny_llama(1)).unwrap(), device).unwrap()
}

fn check_manifest(model: &ExactModel, expected: &ManifestVector) {
    let manifest = model.manifest();
    assert_eq!(hex::encode(manifest.model), expected.model_blake3);
    assert_eq!(hex::encode(manifest.weights.0), expected.weights_root);
    let json = format!(
        r#"{{"arithmetic":{},"model_blake3":"{}","weights_root":"{}"}}"#,
        expected.arithmetic, expected.model_blake3, expected.weights_root
    );
    assert_eq!(manifest.to_json(), json);
    assert_eq!(manifest.name(), *blake3::hash(json.as_bytes()).as_bytes());
}

fn check_layers(model: &ExactModel, expected: &Layers) {
    let found = model.activations(&expected.input).unwrap();
    assert_eq!(found.positions(), expected.input.len());
    for (position, layers) in expected.digests.iter().enumerate() {
        for (layer, digest) in layers.iter().enumerate() {
            assert_eq!(hex::encode(found.digest(position, layer).unwrap().0), *digest, "position {position}, layer {layer}");
        }
        assert_eq!(found.digest(position, layers.len()), None);
    }
}

fn check_answer(model: &ExactModel, answer: &Answer) {
    let mut request = GenerationRequest::new(Prompt::Tokens(answer.input.clone()), answer.output.len() as u32);
    if let Some(drawn) = &answer.sampling {
        let seed = hex::decode(&drawn.seed).unwrap().try_into().unwrap();
        request.sampling = Sampling::new(drawn.temperature, drawn.top_k, drawn.top_p, seed).unwrap();
    }
    let tokens: Vec<TokenId> = model
        .model()
        .start(&request)
        .unwrap()
        .filter_map(|event| match event.unwrap() {
            Event::Token(token) => Some(token.id),
            Event::Finished(_) => None,
        })
        .collect();
    // A model may say that it is done, which the reference does not listen to.
    assert_eq!(tokens, answer.output[..tokens.len()], "{}", answer.name);
    assert!(tokens.len() + 1 >= answer.output.len(), "{}", answer.name);
    let read = [&answer.input[..], &answer.output[..answer.output.len() - 1]].concat();
    let root = model.activations(&read).unwrap().root();
    assert_eq!(hex::encode(root.0), answer.activation_root, "{}", answer.name);
    assert_eq!(logits_hash(model, &answer.input), answer.logits_sha256, "{}", answer.name);
}

/// SHA-256 of the logits behind a prompt as the integers that they are.
fn logits_hash(model: &ExactModel, input: &[TokenId]) -> String {
    let mut batch = Batch::default();
    batch.push(input, 0, (0..pages_of(input.len()) as PageId).collect(), true);
    let scores = Arc::clone(&model.network).session().pass(&batch).unwrap().scores;
    hex::encode(Sha256::digest(scores.iter().flat_map(|score| ((score * 65_536.0) as i32).to_be_bytes()).collect::<Vec<_>>()))
}

fn check(model: &ExactModel, expected: &OfModel) {
    check_manifest(model, &expected.manifest);
    check_layers(model, &expected.layers);
    expected.answers.iter().for_each(|answer| check_answer(model, answer));
}

#[test]
fn the_tiny_model_computes_what_the_reference_computes() {
    check(&tiny(&Device::cpu()), &vectors().tiny);
}

#[test]
fn a_real_model_computes_what_the_reference_computes() {
    let Ok(path) = std::env::var("COCOON_MODEL") else {
        return eprintln!("skipped: COCOON_MODEL is not set");
    };
    let model = ExactModel::load(path, &Device::cpu()).unwrap();
    check(&model, &vectors().model);
}
