//! This runtime's side of `benches/compare.py`, which says what is asked and answered.
//!
//! ```text
//! compare generate MODEL.gguf THREADS
//! compare exact MODEL.gguf THREADS
//! compare embed MODEL_FOLDER THREADS
//! ```
//!
//! A case is a line of three numbers, and is answered by a line of JSON. `BATCH PROMPT ANSWER` asks
//! for so many answers at once, to prompts of so many tokens, through a [`Server`] with its default
//! limits. `BATCH PIECES TIMES` asks for the vectors of so many texts at once, so many times.

#[path = "../benches/shared/together.rs"]
mod together;

use std::error::Error;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cocoon_runtime::{Device, Embedder, ExactModel, Model, Server, ServingLimits};
use together::Together;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The most answers at once.
const TOGETHER_MAX: usize = 16;

/// Words that are one piece each in vocabularies of English.
const WORDS: [&str; 16] =
    ["the", "old", "man", "and", "his", "small", "house", "by", "the", "river", "had", "seen", "many", "cold", "winters", "before"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, path, threads] = &arguments[..] else {
        return Err("usage: compare generate|exact|embed PATH THREADS".into());
    };
    let device = Device::cpu().with_threads(threads.parse()?);
    match what.as_str() {
        "generate" => {
            let mut server = server(Arc::new(Model::load(path, &device)?));
            answer(|batch, prompt, tokens| generate(&mut server, batch, prompt, tokens))
        }
        "exact" => {
            let mut server = server(Arc::clone(ExactModel::load(path, &device)?.model()));
            answer(|batch, prompt, tokens| generate(&mut server, batch, prompt, tokens))
        }
        "embed" => {
            let embedder = Embedder::open(Path::new(path), &device)?;
            answer(|batch, pieces, times| embed(&embedder, batch, pieces, times))
        }
        other => Err(format!("{other} is none of generate, exact and embed").into()),
    }
}

/// Says what this is, and answers a line for each case.
fn answer(mut case: impl FnMut(usize, usize, usize) -> Result<String>) -> Result<()> {
    println!(r#"{{"program":"cocoon-runtime","version":"{}","system":""}}"#, env!("CARGO_PKG_VERSION"));
    for line in std::io::stdin().lock().lines() {
        let numbers: Vec<usize> = line?.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
        let [first, second, third] = numbers[..] else { return Err("a case is three numbers".into()) };
        println!("{}", case(first, second, third)?);
    }
    Ok(())
}

/// One server for all cases, as a node has it: memory for keys and values that it has once, it keeps.
fn server(model: Arc<Model>) -> Server {
    Server::new(model, ServingLimits { jobs: TOGETHER_MAX, waiting: TOGETHER_MAX, reuse: false, ..ServingLimits::default() })
}

/// Answers at once.
fn generate(server: &mut Server, batch: usize, prompt: usize, tokens: usize) -> Result<String> {
    let Together { reading, tokens_read, writing, tokens_written } = Together::measure(server, batch, prompt, tokens.try_into()?)?;
    let (reading, writing) = (reading.as_secs_f64(), writing.as_secs_f64());
    Ok(format!(r#"{{"prefill_s":{reading},"prefill_tokens":{tokens_read},"decode_s":{writing},"decode_tokens":{tokens_written}}}"#))
}

/// Vectors of texts of so many word pieces, from the text on.
fn embed(embedder: &Embedder, batch: usize, pieces: usize, times: usize) -> Result<String> {
    // The pieces at a text's two ends are the model's own.
    let text = |at: usize| (0..pieces - 2).map(|word| WORDS[(word + at) % WORDS.len()]).collect::<Vec<_>>().join(" ");
    let texts: Vec<String> = (0..batch).map(text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let once = || -> Result<Duration> {
        let start = Instant::now();
        let vectors = embedder.embed(&texts)?;
        match vectors.iter().find(|vector| vector.tokens != pieces) {
            Some(other) => Err(format!("a text has {} pieces and not {pieces}", other.tokens).into()),
            None => Ok(start.elapsed()),
        }
    };
    once()?;
    let seconds = (0..times).try_fold(Duration::ZERO, |sum, _| Ok::<_, Box<dyn Error>>(sum + once()?))?.as_secs_f64();
    Ok(format!(r#"{{"s":{seconds},"texts":{}}}"#, batch * times))
}
