//! Tokens of a GGUF model under candle, for `benches/compare.py`, which says what is asked and answered.
//!
//! ```text
//! RUSTFLAGS=-Ctarget-cpu=native RAYON_NUM_THREADS=2 cargo run --locked --release -- MODEL.gguf
//! ```
//!
//! Candle chooses its instructions when it is compiled, so without the flag it has none of this machine's. Prompts are read in
//! one piece, and decoding is greedy. A batch is one: this version refuses the projection behind several sequences ("input tensor
//! is not contiguous").

use std::error::Error;
use std::io::BufRead;
use std::time::Instant;

use candle_core::quantized::gguf_file;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or("usage: cocoon-rival-candle MODEL.gguf")?;
    let mut file = std::fs::File::open(&path)?;
    let content = gguf_file::Content::read(&mut file)?;
    let mut model = ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?;
    let simd = format!("avx {}, f16c {}", candle_core::utils::with_avx(), candle_core::utils::with_f16c());
    println!(r#"{{"program":"candle","version":"candle-transformers 0.11.1","system":"{simd}"}}"#);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let numbers: Vec<usize> = line.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
        let [1, prompt, answer] = numbers[..] else { return Err("a case is a batch of 1, a prompt's length and an answer's".into()) };
        let (prefill_s, decode_s) = case(&mut model, prompt, answer)?;
        let tokens = answer - 1;
        println!(r#"{{"prefill_s":{prefill_s},"prefill_tokens":{prompt},"decode_s":{decode_s},"decode_tokens":{tokens}}}"#);
    }
    Ok(())
}

/// Seconds of the prompts, and of the tokens after the first. A pass at position 0 forgets what was before.
fn case(model: &mut ModelWeights, prompt: usize, answer: usize) -> Result<(f64, f64)> {
    let ids: Vec<u32> = (0..prompt).map(|at| (1_000 + at % 1_000) as u32).collect();
    let start = Instant::now();
    let mut token = next(model, &ids, 0)?;
    let first = Instant::now();
    for step in 0..answer - 1 {
        token = next(model, &[token], prompt + step)?;
    }
    Ok(((first - start).as_secs_f64(), first.elapsed().as_secs_f64()))
}

/// The likeliest token behind some.
fn next(model: &mut ModelWeights, tokens: &[u32], position: usize) -> Result<u32> {
    let scores = model.forward(&Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?, position)?;
    Ok(scores.squeeze(0)?.argmax(0)?.to_scalar()?)
}
