//! The runtime's greedy answers equal those of an independent float32 reference, token by token.
//!
//! `COCOON_MODEL` names the file of SmolLM2-135M-Instruct that `reference/golden.json` was made
//! from, `COCOON_DEVICE` (auto, wgpu, cpu; default cpu) where to run it.

use std::path::PathBuf;

use cocoon_runtime::catalogue::SMOLLM2_135M_INSTRUCT;
use cocoon_runtime::{ChatMessage, Device, DeviceChoice, Event, GenerationRequest, Model, Prompt, TokenId};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    model_blake3: String,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    name: String,
    text: Option<String>,
    chat: Option<String>,
    input: Vec<TokenId>,
    output: Vec<TokenId>,
    /// Score of the token, the next best token, its score.
    top2: Vec<(f32, TokenId, f32)>,
}

impl Answer {
    fn prompt(&self) -> Prompt {
        match (&self.text, &self.chat) {
            (Some(text), _) => Prompt::Text(text.clone()),
            (None, Some(chat)) => Prompt::Chat(vec![ChatMessage::user(chat)]),
            (None, None) => Prompt::Tokens(self.input.clone()),
        }
    }
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("reference/golden.json")).unwrap()
}

/// The model file, or none with a line that says what is skipped.
fn model_path() -> Option<PathBuf> {
    let path = std::env::var_os("COCOON_MODEL").map(PathBuf::from);
    if path.is_none() {
        eprintln!("skipped: set COCOON_MODEL to the file of {} to run this", SMOLLM2_135M_INSTRUCT.name);
    }
    path
}

fn device() -> Device {
    let choice: DeviceChoice = std::env::var("COCOON_DEVICE").as_deref().unwrap_or("cpu").parse().unwrap();
    let device = Device::open(choice).unwrap();
    eprintln!("device: {device}");
    device
}

fn greedy(model: &Model, prompt: Prompt, tokens: usize) -> Vec<TokenId> {
    let events = model.start(&GenerationRequest::new(prompt, tokens as u32)).unwrap();
    events
        .filter_map(|event| match event.unwrap() {
            Event::Token(token) => Some(token.id),
            Event::Finished(_) => None,
        })
        .collect()
}

#[test]
fn the_vectors_are_of_the_catalogues_model() {
    assert_eq!(golden().model_blake3, blake3::Hash::from_bytes(SMOLLM2_135M_INSTRUCT.blake3).to_hex().as_str());
    assert!(golden().answers.iter().all(|answer| answer.output.len() == 64 && answer.top2.len() == 64));
}

#[test]
fn greedy_answers_equal_the_references() {
    let Some(path) = model_path() else { return };
    SMOLLM2_135M_INSTRUCT.verify(&path).unwrap();
    let model = Model::load(path, &device()).unwrap();
    for answer in golden().answers {
        assert_eq!(model.encode_prompt(&answer.prompt()).unwrap(), answer.input, "tokens of prompt {:?}", answer.name);
        let output = greedy(&model, answer.prompt(), answer.output.len());
        if let Some(step) = (0..answer.output.len()).find(|step| output.get(*step) != Some(&answer.output[*step])) {
            let (score, second, second_score) = answer.top2[step];
            panic!(
                "{:?} parts at step {step}: {:?} instead of {} (scored {score}; next best {second}, scored {second_score})",
                answer.name,
                output.get(step),
                answer.output[step],
            );
        }
    }
}
