//! Rotary position embedding.
//!
//! Heads are rotated in halves that face each other: element `i` pairs with `i + size / 2`. GGUF
//! files of Llamas store rows of the query and key projections so that neighbours pair;
//! [`halves`] puts them into halves at load, which changes no result.

use super::Batch;
use super::exact::integers::steps;
use crate::folder::RopeScaling;

/// How heads turn with their positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RopeConfig {
    /// Pairs that turn; the rest of a head does not.
    pub(crate) pairs: usize,
    /// The base of the frequencies.
    pub(crate) base: f64,
    /// What a longer context changes.
    pub(crate) scaling: RopeScaling,
}

/// The turning of heads.
#[derive(Debug)]
pub(crate) struct Rope {
    /// Angular frequency of each pair.
    frequencies: Vec<f64>,
    /// The same in units of 2^-32 turns per position, as exact engines count.
    steps: Vec<u32>,
}

/// Cosines and sines for each row of a pass, `[rows, pairs]`: element `i` of a head turns with
/// element `i + pairs`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Turns {
    /// Pairs in a head.
    pub(crate) pairs: usize,
    /// Cosines.
    pub(crate) cos: Vec<f32>,
    /// Sines.
    pub(crate) sin: Vec<f32>,
}

impl Rope {
    /// `divisors` stretch single frequencies, as GGUF files of Llama 3.1 and later have it.
    pub(crate) fn new(config: RopeConfig, divisors: Option<&[f32]>) -> Self {
        let RopeConfig { pairs, base, scaling } = config;
        let divisor = |pair: usize| divisors.and_then(|divisors| divisors.get(pair)).map_or(1.0, |divisor| f64::from(*divisor));
        let divisors: Vec<f64> = (0..pairs).map(divisor).collect();
        let frequency = |pair: usize| stretched(base.powf(-(pair as f64) / pairs as f64), scaling) / divisors[pair];
        let frequencies = (0..pairs).map(frequency).collect();
        Self { frequencies, steps: steps(&config, &divisors) }
    }

    /// The turn of each pair per position, in units of 2^-32 turns.
    pub(crate) fn steps(&self) -> &[u32] {
        &self.steps
    }

    /// The turns of the rows of a batch.
    pub(crate) fn turns(&self, batch: &Batch) -> Turns {
        let pairs = self.frequencies.len();
        let mut turns = Turns { pairs, cos: Vec::with_capacity(batch.ids.len() * pairs), sin: Vec::with_capacity(batch.ids.len() * pairs) };
        for position in batch.positions() {
            for frequency in &self.frequencies {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                turns.cos.push(cos as f32);
                turns.sin.push(sin as f32);
            }
        }
        turns
    }
}

/// A frequency as a model with a longer context has it.
///
/// # Source
///
/// Linear: Chen et al. (arXiv 2306.15595). Llama 3: its published reference, which leaves short
/// wavelengths alone, divides long ones, and goes from one to the other in between.
fn stretched(frequency: f64, scaling: RopeScaling) -> f64 {
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 { factor, low_freq_factor: low, high_freq_factor: high, original_context } => {
            let turns = original_context as f64 * frequency / std::f64::consts::TAU;
            let share = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            share * frequency + (1.0 - share) * frequency / factor
        }
    }
}

/// The old row for each new one, from neighbouring pairs to halves, head by head.
pub(crate) fn halves(head_size: usize) -> impl Fn(usize) -> usize {
    move |row| {
        let (head, at) = (row / head_size, row % head_size);
        let (parity, pair) = (at / (head_size / 2), at % (head_size / 2));
        head * head_size + 2 * pair + parity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_halves_head_by_head() {
        let order: Vec<usize> = (0..8).map(halves(4)).collect();
        assert_eq!(order, [0, 2, 1, 3, 4, 6, 5, 7]);
    }

    #[test]
    fn rows_turn_by_their_positions() {
        let rope = Rope::new(RopeConfig { pairs: 2, base: 100.0, scaling: RopeScaling::None }, None);
        let mut batch = Batch::default();
        batch.push(&[0, 0], 3, vec![0], true);
        batch.push(&[0], 9, vec![1], true);
        let turns = rope.turns(&batch);
        let angles = [3.0, 0.3, 4.0, 0.4, 9.0, 0.9f64];
        assert_eq!(turns.cos, angles.map(|angle| angle.cos() as f32));
        assert_eq!(turns.sin, angles.map(|angle| angle.sin() as f32));
    }

    #[test]
    fn llama_3_leaves_short_waves_and_divides_long_ones() {
        let scaling = RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 8_192 };
        assert_eq!(stretched(1.0, scaling), 1.0);
        assert_eq!(stretched(1e-5, scaling), 1e-5 / 8.0);
        let middle = std::f64::consts::TAU * 2.5 / 8_192.0;
        assert!((stretched(middle, scaling) - middle * (0.5 + 0.5 / 8.0)).abs() < 1e-15);
        assert_eq!(stretched(0.5, RopeScaling::Linear { factor: 4.0 }), 0.125);
    }
}
