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

use std::collections::BTreeSet;
use std::error::Error;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cocoon_runtime::{Device, Embedder, Event, ExactModel, GenerationRequest, Model, Prompt, Server, ServingLimits};

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

/// Answers at once. Reading ends when every job has its first token; tokens that others wrote until
/// then count as read, since each went through the model too. Writing is measured from there until
/// the first job ends, so that all are at it.
fn generate(server: &mut Server, batch: usize, prompt: usize, tokens: usize) -> Result<String> {
    let mut tickets = Vec::with_capacity(batch);
    for job in 0..batch {
        let ids = (0..prompt).map(|at| (1_000 + (at + 97 * job) % 1_000) as u32).collect();
        tickets.push(server.admit(&GenerationRequest::new(Prompt::Tokens(ids), tokens.try_into()?))?.ticket);
    }
    let start = Instant::now();
    let (mut begun, mut written, mut read) = (BTreeSet::new(), 0, None);
    let mut ended = false;
    while !ended {
        for served in server.step() {
            match served.event? {
                Event::Token(_) => written += usize::from(!begun.insert(served.ticket)),
                Event::Finished(_) => ended = true,
            }
        }
        if begun.len() == batch && read.is_none() {
            read = Some((Instant::now(), written));
        }
    }
    let until = Instant::now();
    tickets.into_iter().for_each(|ticket| server.forget(ticket));
    let (since, before) = read.ok_or("an answer ended before all had begun: ask for longer ones")?;
    let (reading, writing) = ((since - start).as_secs_f64(), until.duration_since(since).as_secs_f64());
    let (read, wrote) = (batch * prompt + before, written - before);
    Ok(format!(r#"{{"prefill_s":{reading},"prefill_tokens":{read},"decode_s":{writing},"decode_tokens":{wrote}}}"#))
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
