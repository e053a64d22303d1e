//! Whole models against the vectors of `tests/reference/exact.py`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::Deserialize;

use super::*;
use crate::engine::Activation;
use crate::engine::exact::{Burn, Cpu};
use crate::engine::processor::Processor;
use crate::engine::simd::Isa;
use crate::folder::{AttentionBias, RopeScaling, Window};
use crate::generation::{Event, FinishReason, GenerationRequest, Prompt};
use crate::model::config::Config;
use crate::model::load::load;
use crate::sampling::Sampling;
use crate::tiny::tiny_llama;
use crate::tokenizer::Tokenizer;

#[derive(Deserialize)]
struct Vectors {
    tiny: OfModel,
    /// The tiny models of the families, by name.
    families: BTreeMap<String, OfModel>,
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
    let (mut tokens, mut ended) = (Vec::new(), false);
    for event in model.model().start(&request).unwrap() {
        match event.unwrap() {
            Event::Token(token) => tokens.push(token.id),
            Event::Finished(finish) => ended = finish.reason == FinishReason::Stop,
        }
    }
    assert_eq!(tokens, answer.output[..tokens.len()], "{}", answer.name);
    // A model may say that it is done, which the reference does not listen to.
    assert!(ended || tokens.len() == answer.output.len(), "{}", answer.name);
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
fn every_family_computes_what_the_reference_computes() {
    let families = vectors().families;
    assert_eq!(families.len(), 5);
    for (name, expected) in families {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/reference/families/{name}.gguf"));
        check(&ExactModel::load(path, &Device::cpu()).unwrap(), &expected);
    }
}

#[test]
fn configurations_that_the_page_does_not_cover_are_refused() {
    let plain = OfFile::read(&Gguf::from_bytes(tiny_llama(1)).unwrap()).unwrap().config;
    let restricted = |change: &dyn Fn(&mut Config)| {
        let mut config = plain.clone();
        change(&mut config);
        config.restrict_to_exact().map(|()| config.context).map_err(|unsuitable| unsuitable.what)
    };
    assert_eq!(restricted(&|_| ()), Ok(2_048));
    assert_eq!(restricted(&|config| config.context = 1 << 20), Ok(131_072));
    assert_eq!(restricted(&|config| config.window = Some(Window { tokens: 8, first_layer: 0 })), Err("its attention"));
    assert_eq!(restricted(&|config| config.activation = Activation::Gelu), Err("its gates"));
    assert_eq!(restricted(&|config| config.biases = AttentionBias::All), Err("its attention"));
    let stretch = RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 8_192 };
    assert_eq!(restricted(&|config| config.rope.scaling = stretch), Err("its way of stretching positions"));
    assert_eq!(restricted(&|config| config.hidden = 32_768), Err("its widths"));
    assert_eq!(restricted(&|config| config.heads.size = 258), Err("its widths"));
    assert_eq!(restricted(&|config| config.epsilon = 0.25), Err("its epsilon"));
}

#[test]
fn a_real_model_computes_what_the_reference_computes() {
    let Ok(path) = std::env::var("COCOON_MODEL") else {
        return eprintln!("skipped: COCOON_MODEL is not set");
    };
    let model = ExactModel::load(path, &Device::cpu()).unwrap();
    check(&model, &vectors().model);
}

/// What a sequence came to.
#[derive(Clone, Debug, Default, PartialEq)]
struct Outcome {
    tokens: Vec<TokenId>,
    activations: Activations,
}

/// Reads sequences beside each other, and as many greedy tokens of each as asked for.
fn together(network: &Arc<dyn ExactNetwork>, prompts: &[Vec<TokenId>], tokens: usize) -> Vec<Outcome> {
    let mut session = Arc::clone(network).exact_session();
    let mut outcomes = vec![Outcome::default(); prompts.len()];
    let mut next: Vec<Vec<TokenId>> = prompts.to_vec();
    let pages = pages_of(prompts.iter().map(Vec::len).max().unwrap_or(0) + tokens);
    for _ in 0..tokens {
        let mut batch = Batch::default();
        for (at, (ids, outcome)) in next.iter().zip(&outcomes).enumerate() {
            let pages = (at * pages..(at + 1) * pages).map(|page| page as PageId).collect();
            batch.push(ids, outcome.activations.positions(), pages, true);
        }
        let mut layers = vec![Vec::new(); prompts.len()];
        let mut witness = |layer: usize, values: Vec<i32>| {
            let width = values.len() / batch.ids.len();
            for (span, layers) in batch.spans.iter().zip(&mut layers) {
                let rows = &values[span.rows.start * width..span.rows.end * width];
                layers.push(digests(layer, span.start, span.rows.len(), rows));
            }
        };
        let scores = session.pass_before(&batch, &mut witness).unwrap().scores;
        let vocabulary = scores.len() / prompts.len();
        for ((outcome, layers), (scores, next)) in outcomes.iter_mut().zip(layers).zip(scores.chunks_exact(vocabulary).zip(&mut next)) {
            outcome.activations.extend(&layers);
            let best = (0..vocabulary).rev().max_by(|one, two| scores[*one].total_cmp(&scores[*two])).unwrap() as TokenId;
            outcome.tokens.push(best);
            *next = vec![best];
        }
    }
    outcomes
}

/// Every engine that computes here, with its name; adapters where one was asked for.
fn networks(file: &Gguf) -> Vec<(String, Arc<dyn ExactNetwork>)> {
    let of_file = OfFile::read(file).unwrap();
    let mut networks: Vec<(String, Arc<dyn ExactNetwork>)> = Vec::new();
    for isa in Isa::available() {
        for threads in [1, 2] {
            let processor = Processor::with_isa(isa, NonZeroUsize::new(threads).unwrap()).unwrap();
            let (decoder, _) = load(&of_file.source(file), of_file.config.clone(), Cpu::new(processor)).unwrap();
            networks.push((format!("{isa:?}, {threads} threads"), Arc::new(decoder)));
        }
    }
    let choice = std::env::var("COCOON_DEVICE").ok().map(|choice| choice.parse().unwrap());
    if let Some(device) = choice.map(|choice| Device::open(choice).unwrap()).as_ref().and_then(Device::burn) {
        let (decoder, _) = load(&of_file.source(file), of_file.config.clone(), Burn::new(device.clone())).unwrap();
        networks.push((ADAPTER.to_owned(), Arc::new(decoder)));
    }
    networks
}

const ADAPTER: &str = "adapter";
const PROMPTS: usize = 20;
const PROMPT_TOKENS: usize = 64;

/// Twenty prompts of 64 tokens: alone, and in fours with other neighbours each time. On an adapter,
/// which may be a slow one, the first so many.
fn check_all_engines(file: &Gguf, prompts: &[Vec<TokenId>], tokens: usize, on_adapter: usize) {
    assert!(prompts.len() == PROMPTS && prompts.iter().all(|prompt| prompt.len() == PROMPT_TOKENS));
    let mut expected: Option<Vec<Outcome>> = None;
    for (name, network) in networks(file) {
        let prompts = if name == ADAPTER { &prompts[..on_adapter] } else { prompts };
        let alone: Vec<Outcome> = prompts.iter().flat_map(|prompt| together(&network, std::slice::from_ref(prompt), tokens)).collect();
        let expected = expected.get_or_insert_with(|| alone.clone());
        assert!(expected[..prompts.len()] == alone, "{name}: alone");
        for stride in [1, 7] {
            let order: Vec<usize> = (0..prompts.len()).map(|at| at * stride % prompts.len()).collect();
            for four in order.chunks(4) {
                let some: Vec<Vec<TokenId>> = four.iter().map(|at| prompts[*at].clone()).collect();
                for (at, found) in four.iter().zip(together(&network, &some, tokens)) {
                    assert!(expected[*at] == found, "{name}: prompt {at} among {four:?}");
                }
            }
        }
        eprintln!("{name}: equal outputs and roots");
    }
    let roots: std::collections::BTreeSet<_> = expected.iter().flatten().map(|outcome| outcome.activations.root().0).collect();
    assert_eq!(roots.len(), PROMPTS, "different prompts have different roots");
}

#[test]
fn all_engines_give_equal_outputs_and_roots() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let prompts: Vec<Vec<TokenId>> = (0..PROMPTS).map(|_| (0..PROMPT_TOKENS).map(|_| 3 + random.next_u32() % 285).collect()).collect();
    check_all_engines(&Gguf::from_bytes(tiny_llama(1)).unwrap(), &prompts, 3, PROMPTS);
}

#[test]
fn all_engines_give_equal_outputs_and_roots_of_a_real_model() {
    // Takes minutes, so it waits to be asked for by a device too.
    let (Ok(path), Ok(_)) = (std::env::var("COCOON_MODEL"), std::env::var("COCOON_DEVICE")) else {
        return eprintln!("skipped: COCOON_MODEL and COCOON_DEVICE are not both set");
    };
    let file = Gguf::open(Path::new(&path)).unwrap();
    let text =
        include_str!("../../../tests/reference/texts/pride.txt").to_owned() + include_str!("../../../tests/reference/texts/alice.txt");
    let ids = Tokenizer::from_gguf(&file).unwrap().encode(&text).unwrap();
    let prompts: Vec<Vec<TokenId>> = ids.chunks_exact(PROMPT_TOKENS).take(PROMPTS).map(<[TokenId]>::to_vec).collect();
    check_all_engines(&file, &prompts, 3, 4);
}

#[test]
fn tokens_that_cannot_have_been_read_are_refused() {
    let model = tiny(&Device::cpu());
    assert!(matches!(model.activations(&[5, 288]), Err(ActivationError::UnknownToken { id: 288, vocabulary: 288 })));
    assert!(matches!(model.activations(&[5; 2_049]), Err(ActivationError::ContextExceeded { tokens: 2_049, context: 2_048 })));
    assert_eq!(model.activations(&[]).unwrap().root(), cocoon_market::tree::empty_root());
}

#[test]
fn every_row_counts_in_the_root() {
    let model = tiny(&Device::cpu());
    let one = model.activations(&[5, 6, 7]).unwrap();
    let two = model.activations(&[5, 6, 8]).unwrap();
    assert_eq!(one.digest(1, 2), two.digest(1, 2));
    assert_ne!(one.digest(2, 0), two.digest(2, 0));
    assert_ne!(one.root(), two.root());
}
