//! Tokens a second of a real model: reading a prompt, writing alone, and writing many answers at once.
//!
//! `COCOON_MODEL` names the file, `COCOON_DEVICE` (auto, wgpu, cpu; default cpu) the device,
//! `COCOON_THREADS` the threads. Without a file there is nothing to measure, and a line says so.
//! `rivals/` measures the same with what else a user might pick.

#[path = "shared/together.rs"]
mod together;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cocoon_runtime::{Device, DeviceChoice, Event, GenerationRequest, Model, Prompt, Server, ServingLimits};
use together::Together;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs of each measurement; the best counts, since the machine may be shared.
const RUNS: usize = 3;

/// Tokens generated in a run.
const ANSWER_TOKENS: u32 = 128;

/// Jobs at once.
const JOBS: [usize; 2] = [4, 16];

/// Tokens in the prompt of each of them.
const JOB_PROMPT_TOKENS: usize = 128;

/// Lengths of prompt measured.
const PROMPT_TOKENS: [usize; 3] = [128, 512, 1024];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(path) = std::env::var_os("COCOON_MODEL") else {
        println!("skipped: set COCOON_MODEL to a GGUF file to measure it");
        return Ok(());
    };
    let choice: DeviceChoice = std::env::var("COCOON_DEVICE").as_deref().unwrap_or("cpu").parse()?;
    let device = match std::env::var("COCOON_THREADS") {
        Ok(threads) => Device::open(choice)?.with_threads(threads.parse()?),
        Err(_) => Device::open(choice)?,
    };
    let start = Instant::now();
    let model = Arc::new(Model::load(path, &device)?);
    println!("device   {device}, {} threads", device.threads());
    println!("load     {:.2} s", start.elapsed().as_secs_f64());

    // Any tokens will do: the work does not depend on them.
    let prompt = |len: usize| Prompt::Tokens((0..len as u32).map(|i| 1_000 + i % 1_000).collect());
    run(&model, prompt(8), 4)?;
    let mut prefill = 0f64;
    for len in PROMPT_TOKENS {
        let best = (0..RUNS).map(|_| run(&model, prompt(len), 1)).try_fold(f64::MAX, |best, run| run.map(|(first, _)| best.min(first)))?;
        println!("prefill  {:>8.1} tokens/s of {len}", len as f64 / best);
        prefill = prefill.max(len as f64 / best);
    }
    for len in [128, 1024] {
        let best = (0..RUNS)
            .map(|_| run(&model, prompt(len), ANSWER_TOKENS))
            .try_fold(f64::MAX, |best, run| run.map(|(_, rest)| best.min(rest)))?;
        println!("decode   {:>8.1} tokens/s behind {len}", f64::from(ANSWER_TOKENS - 1) / best);
    }
    for jobs in JOBS {
        let limits = ServingLimits { jobs, reuse: false, ..ServingLimits::default() };
        let (mut written, mut all) = (0f64, 0f64);
        for _ in 0..RUNS {
            let run = Together::measure(&mut Server::new(Arc::clone(&model), limits), jobs, JOB_PROMPT_TOKENS, ANSWER_TOKENS)?;
            written = written.max(run.tokens_written as f64 / run.writing.as_secs_f64());
            all = all.max((run.tokens_read + run.tokens_written) as f64 / (run.reading + run.writing).as_secs_f64());
        }
        println!("decode   {written:>8.1} tokens/s of {jobs} jobs, {:.2} of the best prefill", written / prefill);
        println!("all      {all:>8.1} tokens/s of {jobs} jobs, read and written, {:.2} of the best prefill", all / prefill);
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
