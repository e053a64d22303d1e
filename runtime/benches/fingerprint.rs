//! Microseconds to fingerprint a chunk and to compare one, beside what the rules say literally:
//! sort all values, and divide differences pair by pair.
//!
//! Both are asked for the same chunks in the same run on one core, and must agree on every byte.

use std::hint::black_box;
use std::time::Instant;

use cocoon_runtime::fingerprint::{CHUNK_ROWS, Fingerprint, FingerprintBuilder, MODULUS_ABOVE, MODULUS_MAX, TOP_VALUES, compare};

/// Widths of hidden states measured: SmolLM2-135M, an 8B Llama, a 405B Llama.
const WIDTHS: [usize; 3] = [576, 4_096, 16_384];

/// Chunks measured of each width.
const CHUNKS: u64 = 16;

/// Runs of each measurement; the best counts, since the machine may be shared.
const RUNS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("microseconds a chunk of {CHUNK_ROWS} rows, best of {RUNS} runs over {CHUNKS} chunks");
    println!("width    naive     ours   ratio   compare   push of a row");
    for width in WIDTHS {
        let chunks: Vec<Vec<f32>> = (0..CHUNKS).map(|seed| hidden_states(seed, width)).collect();
        for chunk in &chunks {
            assert_eq!(Fingerprint::of(chunk, width)?.to_bytes(), naive(chunk)[..], "both ways agree");
        }
        let fingerprints: Vec<Fingerprint> = chunks.iter().map(|chunk| Fingerprint::of(chunk, width)).collect::<Result<_, _>>()?;
        let naive = best(&chunks, |_, chunk| naive(chunk));
        let ours = best(&chunks, |_, chunk| Fingerprint::of(chunk, width));
        let comparing = best(&chunks, |at, chunk| compare(&fingerprints[at], chunk, width));

        let builder = FingerprintBuilder::new(&chunks[0], width)?;
        let rows = best(&chunks, |_, chunk| {
            let mut builder = builder.clone();
            chunk.chunks(width).try_for_each(|row| builder.push(row)).map(|()| builder)
        });
        let row = rows / CHUNK_ROWS as f64;
        println!("{width:>5} {naive:>8.1} {ours:>8.1} {:>7.1} {comparing:>9.1} {row:>9.2}", naive / ours);
    }
    Ok(())
}

/// Microseconds a chunk.
fn best<R>(chunks: &[Vec<f32>], run: impl Fn(usize, &[f32]) -> R) -> f64 {
    let once = || {
        let start = Instant::now();
        chunks.iter().enumerate().for_each(|(at, chunk)| _ = black_box(run(at, black_box(chunk))));
        start.elapsed().as_secs_f64() * 1e6 / chunks.len() as f64
    };
    (0..RUNS).map(|_| once()).fold(f64::MAX, f64::min)
}

/// Values as a norm puts them out: most of them small, sums of four uniform ones, and one in 64
/// stretched, as a few columns of every model are.
fn hidden_states(seed: u64, width: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 24) as f32 - 0.5
    };
    let mut value = |at: usize| (0..4).map(|_| uniform()).sum::<f32>() * if at.is_multiple_of(64) { 8.0 } else { 1.0 };
    (0..CHUNK_ROWS * width).map(|at| value(at % width)).collect()
}

/// The fingerprint's bytes, by the rules as they are written and nothing else.
fn naive(chunk: &[f32]) -> Vec<u8> {
    let mut peaks: Vec<(usize, u16)> = chunk.iter().map(|value| bf16(*value)).enumerate().collect();
    peaks.sort_by_key(|(_, bits)| std::cmp::Reverse(bits & 0x7fff));
    peaks.truncate(TOP_VALUES);
    let distinct = |modulus: &u16| {
        let mut positions: Vec<usize> = peaks.iter().map(|(position, _)| position % usize::from(*modulus)).collect();
        positions.sort_unstable();
        positions.windows(2).all(|pair| pair[0] != pair[1])
    };
    let modulus = (MODULUS_ABOVE + 1..=MODULUS_MAX).rev().find(distinct).unwrap_or_default();
    let points: Vec<(u64, u64)> = peaks.iter().map(|(position, bits)| ((position % usize::from(modulus)) as u64, (*bits).into())).collect();
    let words = std::iter::once(modulus).chain(newton(&points).into_iter().map(|coefficient| coefficient as u16));
    words.flat_map(u16::to_be_bytes).collect()
}

fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

const PRIME: u64 = MODULUS_MAX as u64;

/// Divided differences, expanded; constant term first.
fn newton(points: &[(u64, u64)]) -> Vec<u64> {
    let mut table: Vec<u64> = points.iter().map(|(_, y)| *y).collect();
    for step in 1..points.len() {
        for at in (step..points.len()).rev() {
            let difference = PRIME + points[at].0 - points[at - step].0;
            table[at] = (PRIME + table[at] - table[at - 1]) * power(difference % PRIME, PRIME - 2) % PRIME;
        }
    }
    let mut polynomial = vec![0; points.len()];
    for at in (0..points.len()).rev() {
        let negated = PRIME - points[at].0;
        for power in (0..points.len()).rev() {
            let raised = if power == 0 { table[at] } else { polynomial[power - 1] };
            polynomial[power] = (raised + negated * polynomial[power]) % PRIME;
        }
    }
    polynomial
}

fn power(base: u64, exponent: u64) -> u64 {
    match exponent {
        0 => 1,
        odd if odd % 2 == 1 => base * power(base, odd - 1) % PRIME,
        even => power(base * base % PRIME, even / 2),
    }
}
