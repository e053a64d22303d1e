//! Tokens a second of a real model: reading a prompt, and generating.
//!
//! `COCOON_MODEL` names the file, `COCOON_DEVICE` (auto, wgpu, cpu; default cpu) the device.
//! Without a file there is nothing to measure, and a line says so.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use cocoon_runtime::{Device, DeviceChoice, Event, GenerationRequest, Model, Prompt};

/// Runs of each measurement; the best counts, since the machine may be shared.
const RUNS: usize = 3;

/// Tokens generated in a run.
const ANSWER_TOKENS: u32 = 128;

/// Lengths of prompt measured.
const PROMPT_TOKENS: [usize; 3] = [128, 512, 1024];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(path) = std::env::var_os("COCOON_MODEL") else {
        println!("skipped: set COCOON_MODEL to a GGUF file to measure it");
        return Ok(());
    };
    let choice: DeviceChoice = std::env::var("COCOON_DEVICE").as_deref().unwrap_or("cpu").parse()?;
    let device = Device::open(choice)?;
    let start = Instant::now();
    let model = Model::load(path, &device)?;
    println!("device   {device}");
    println!("load     {:.2} s", start.elapsed().as_secs_f64());

    // Any tokens will do: the work does not depend on them.
    let prompt = |len: usize| Prompt::Tokens((0..len as u32).map(|i| 1_000 + i % 1_000).collect());
    run(&model, prompt(8), 4)?;
    for len in PROMPT_TOKENS {
        let best = (0..RUNS).map(|_| run(&model, prompt(len), 1)).try_fold(f64::MAX, |best, run| run.map(|(first, _)| best.min(first)))?;
        println!("prefill  {:>8.1} tokens/s of {len}", len as f64 / best);
    }
    for len in [16, 1024] {
        let best = (0..RUNS)
            .map(|_| run(&model, prompt(len), ANSWER_TOKENS))
            .try_fold(f64::MAX, |best, run| run.map(|(_, rest)| best.min(rest)))?;
        println!("decode   {:>8.1} tokens/s behind {len}", f64::from(ANSWER_TOKENS - 1) / best);
    }
    Ok(())
}

/// Seconds to the first token, and from there to the last.
fn run(model: &Model, prompt: Prompt, tokens: u32) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let mut first: Option<Duration> = None;
    model.generate(&GenerationRequest::new(prompt, tokens), &mut |event| {
        if matches!(event, Event::Token(_)) {
            first.get_or_insert_with(|| start.elapsed());
        }
        ControlFlow::Continue(())
    })?;
    let first = first.unwrap_or_default();
    Ok((first.as_secs_f64(), (start.elapsed() - first).as_secs_f64()))
}
