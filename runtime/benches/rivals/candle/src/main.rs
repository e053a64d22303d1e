//! Tokens of a GGUF model under candle, for `benches/compare.py`, which says what is asked and answered.
//!
//! ```text
//! RUSTFLAGS=-Ctarget-cpu=native RAYON_NUM_THREADS=2 cargo run --locked --release -- MODEL.gguf
//! ```
//!
//! Candle chooses its instructions when it is compiled, so without the flag it has none of this machine's. The sequences of a
//! case are of equal length and one tensor, prompts are read in one piece, and decoding is greedy.

use std::error::Error;
use std::io::BufRead;
use std::time::Instant;

use candle_core::quantized::gguf_file;
use candle_core::{DType, Device, Tensor};
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
        let [batch, prompt, answer] = numbers[..] else { return Err("a case is a batch, a prompt's length and an answer's".into()) };
        let (prefill_s, decode_s) = case(&mut model, batch, prompt, answer)?;
        let (rows, tokens) = (batch * prompt, batch * (answer - 1));
        println!(r#"{{"prefill_s":{prefill_s},"prefill_tokens":{rows},"decode_s":{decode_s},"decode_tokens":{tokens}}}"#);
    }
    Ok(())
}

/// Seconds of the prompts, and of the tokens after the first. A pass at position 0 forgets what was before.
fn case(model: &mut ModelWeights, batch: usize, prompt: usize, answer: usize) -> Result<(f64, f64)> {
    let ids: Vec<u32> = (0..batch).flat_map(|s| (0..prompt).map(move |i| (1_000 + (i + 97 * s) % 1_000) as u32)).collect();
    let start = Instant::now();
    let mut tokens = next(model, Tensor::from_vec(ids, (batch, prompt), &Device::Cpu)?, 0)?;
    let first = Instant::now();
    for step in 0..answer - 1 {
        tokens = next(model, tokens, prompt + step)?;
    }
    Ok(((first - start).as_secs_f64(), first.elapsed().as_secs_f64()))
}

/// The likeliest token of each sequence, `[batch, 1]`. Asking for the values leaves nothing to be computed later.
fn next(model: &mut ModelWeights, tokens: Tensor, position: usize) -> Result<Tensor> {
    let likeliest = model.forward(&tokens, position)?.argmax(1)?.to_dtype(DType::U32)?;
    let ids = likeliest.to_vec1::<u32>()?;
    Ok(Tensor::from_vec(ids, (tokens.dim(0)?, 1), &Device::Cpu)?)
}
