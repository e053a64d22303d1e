//! Choosing the next token from the model's scores.
//!
//! Given equal scores, equal settings and an equal seed, every platform chooses the same token:
//! ties go to the lower id, sums run in one written order, the exponential is computed here from
//! IEEE operations only, and the i-th output takes the i-th 64-bit word of a ChaCha20 stream.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::tokenizer::TokenId;

/// Highest temperature taken, as in the API that requesters know.
pub const TEMPERATURE_MAX: f32 = 2.0;

/// How tokens are chosen. Only valid settings can be constructed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    temperature: f32,
    top_k: u32,
    top_p: f32,
    seed: [u8; 32],
}

/// Why settings were refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// Not a number, negative, or above the limit.
    #[error("temperature {temperature} is not within 0 and {TEMPERATURE_MAX}")]
    Temperature {
        /// What was asked for.
        temperature: f32,
    },
    /// Not a number, not above zero, or above one.
    #[error("top_p {top_p} is not above 0 and at most 1")]
    TopP {
        /// What was asked for.
        top_p: f32,
    },
}

/// The scores are of no use; the model or the device is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// No token has a score.
    #[error("no scores")]
    Empty,
    /// A score is not a number, or infinite.
    #[error("score of token {id} is not a finite number")]
    NotFinite {
        /// The first such token.
        id: TokenId,
    },
}

impl Sampling {
    /// Always the token with the highest score.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, seed: [0; 32] }
    }

    /// Draws tokens. Temperature 0 is greedy; `top_k` 0 and `top_p` 1 exclude nothing.
    ///
    /// # Errors
    ///
    /// [`SamplingError`] for settings that mean nothing.
    pub fn new(temperature: f32, top_k: u32, top_p: f32, seed: [u8; 32]) -> Result<Self, SamplingError> {
        if !(0.0..=TEMPERATURE_MAX).contains(&temperature) {
            return Err(SamplingError::Temperature { temperature });
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(SamplingError::TopP { top_p });
        }
        Ok(Self { temperature, top_k, top_p, seed })
    }

    /// Whether the choice needs no chance.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0 || self.top_k == 1
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self::greedy()
    }
}

/// Chooses tokens, one after the other.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    stream: ChaCha20Rng,
}

impl Sampler {
    /// A sampler at the first output token.
    pub fn new(sampling: Sampling) -> Self {
        Self { sampling, stream: ChaCha20Rng::from_seed(sampling.seed) }
    }

    /// Chooses a token. `scores` are the model's logits, by token id.
    ///
    /// # Errors
    ///
    /// [`ScoreError`] when a score is not finite.
    pub fn choose(&mut self, scores: &[f32]) -> Result<TokenId, ScoreError> {
        let word = self.stream.next_u64();
        let best = highest(scores)?;
        if self.sampling.is_greedy() {
            return Ok(best as TokenId);
        }
        // The upper 53 bits give a number in [0, 1) that a double holds exactly.
        let chance = (word >> 11) as f64 / (1u64 << 53) as f64;
        Ok(draw(&self.sampling, scores, scores[best], chance) as TokenId)
    }
}

/// The index of the highest score; of equal ones, the first.
fn highest(scores: &[f32]) -> Result<usize, ScoreError> {
    let mut best = 0;
    for (id, score) in scores.iter().enumerate() {
        if !score.is_finite() {
            return Err(ScoreError::NotFinite { id: id as TokenId });
        }
        if *score > scores[best] {
            best = id;
        }
    }
    if scores.is_empty() { Err(ScoreError::Empty) } else { Ok(best) }
}

/// A token and its weight, in no order or from the highest down.
type Candidate = (usize, f64);

fn draw(sampling: &Sampling, scores: &[f32], best: f32, chance: f64) -> usize {
    let temperature = f64::from(sampling.temperature);
    let weigh = |score: f32| exp((f64::from(score) - f64::from(best)) / temperature);
    let mut candidates: Vec<Candidate> = scores.iter().map(|score| weigh(*score)).enumerate().collect();
    if sampling.top_k > 0 {
        keep_top_k(&mut candidates, sampling.top_k as usize);
    }
    if sampling.top_p < 1.0 {
        keep_top_p(&mut candidates, f64::from(sampling.top_p));
    }
    let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
    let mut left = chance * total;
    for (id, weight) in &candidates {
        left -= weight;
        if left < 0.0 {
            return *id;
        }
    }
    // Rounding can leave a crumb beyond the last candidate with a weight.
    candidates.iter().rev().find(|(_, weight)| *weight > 0.0).map_or(0, |(id, _)| *id)
}

/// Heavier first; of equal weights, the lower id.
fn descending(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Leaves the `count` heaviest, sorted.
fn keep_top_k(candidates: &mut Vec<Candidate>, count: usize) {
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, descending);
        candidates.truncate(count);
    }
    candidates.sort_unstable_by(descending);
}

/// Leaves the fewest of the heaviest that have `share` of the weight, sorted.
///
/// Only as many are sorted as are likely to be kept, since vocabularies are large.
fn keep_top_p(candidates: &mut Vec<Candidate>, share: f64) {
    let target: f64 = share * candidates.iter().map(|(_, weight)| weight).sum::<f64>();
    let mut sorted = 64;
    while sorted < candidates.len() {
        candidates.select_nth_unstable_by(sorted, descending);
        if candidates[..sorted].iter().map(|(_, weight)| weight).sum::<f64>() >= 1.01 * target {
            break;
        }
        sorted *= 4;
    }
    let sorted = sorted.min(candidates.len());
    candidates.truncate(sorted);
    candidates.sort_unstable_by(descending);
    let mut sum = 0.0;
    let kept = candidates.iter().position(|(_, weight)| {
        sum += weight;
        sum >= target
    });
    candidates.truncate(kept.map_or(sorted, |last| last + 1));
}

/// `e^x` for `x <= 0`, to about 1e-15, from additions, multiplications and divisions alone:
/// platforms' own exponentials differ in the last bit.
pub(crate) fn exp(x: f64) -> f64 {
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    if x < -700.0 {
        return 0.0;
    }
    let exponent = (x * std::f64::consts::LOG2_E).round();
    let rest = (x - exponent * LN2_HIGH) - exponent * LN2_LOW;
    // Taylor to the thirteenth power: |rest| <= ln2/2, so what is cut off is below 1e-17.
    let series = (1..=13).rev().fold(1.0, |sum, n| 1.0 + sum * rest / f64::from(n));
    let power = f64::from_bits(((1023 + exponent as i64) as u64) << 52);
    series * power
}

#[cfg(test)]
mod tests;
