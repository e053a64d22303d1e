//! Reading tokens that are known already: an auditor reads an answer that was claimed, and a
//! measurement of perplexity a text.
//!
//! Nothing is chosen here. The model reads the tokens as they are, as many at once as a pass takes,
//! which costs a prefill. For each token from a first one on it hands out its final state, the
//! scores of what may follow it, or both.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::engine::{Batch, EngineError, PageId, pages_of};
use crate::fingerprint::{CHUNK_ROWS, CompareError, Comparison, FingerprintBuilder, FingerprintError, Fingerprints};
use crate::generation::{Prompt, RequestError};
use crate::model::Model;
use crate::sampling::{Sampler, Sampling, ScoreError};
use crate::tokenizer::TokenId;

/// Tokens read in one pass unless told otherwise: the scores of so many, of a vocabulary of 200,000,
/// are 100 MB.
const PASS_TOKENS: NonZeroUsize = NonZeroUsize::new(128).unwrap();

/// What is wanted of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The first token that something is wanted of, counted from 0.
    pub first: usize,
    /// Whether final states are wanted.
    pub states: bool,
    /// Whether scores are wanted.
    pub scores: bool,
    /// Most tokens in a pass.
    pub pass_tokens: NonZeroUsize,
}

impl Default for Reading {
    /// States and scores of all tokens.
    fn default() -> Self {
        Self { first: 0, states: true, scores: true, pass_tokens: PASS_TOKENS }
    }
}

/// What a model makes of a token and those before it.
#[derive(Clone, Copy, Debug)]
pub struct ReadToken<'a> {
    /// Which token, counted from 0.
    pub index: usize,
    /// What its final norm puts out; empty if not wanted.
    pub state: &'a [f32],
    /// Scores of what may follow it, by token id; empty if not wanted.
    pub scores: &'a [f32],
}

/// Why tokens were not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There are none, or not all are tokens of the model.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// More than the model can have before it.
    #[error("{tokens} tokens do not fit into the context of {context}: read fewer")]
    ContextExceeded {
        /// How many.
        tokens: usize,
        /// How many fit.
        context: usize,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The model gave scores that are no numbers, so nothing can be drawn from them.
    #[error("model is broken")]
    Scores(#[from] ScoreError),
}

impl Model {
    /// Reads tokens, handing each from [`Reading::first`] on to `take`, in order.
    ///
    /// # Errors
    ///
    /// [`ReadError`], before anything is read or when the device fails.
    pub fn read(&self, tokens: &[TokenId], reading: &Reading, mut take: impl FnMut(ReadToken<'_>)) -> Result<(), ReadError> {
        self.encode_prompt(&Prompt::Tokens(tokens.to_vec()))?;
        let context = self.summary().context_tokens;
        if tokens.len() > context {
            return Err(ReadError::ContextExceeded { tokens: tokens.len(), context });
        }
        let (vocabulary, width) = (self.summary().vocabulary, self.network().width());
        let mut session = Arc::clone(self.network()).session();
        let mut start = 0;
        for part in tokens.chunks(reading.pass_tokens.get()) {
            let first = reading.first.saturating_sub(start).min(part.len());
            let outputs = session.pass(&batch(part, start, first, reading))?;
            let mut states = outputs.states.chunks_exact(width);
            let mut scores = outputs.scores.chunks_exact(vocabulary);
            for index in start + first..start + part.len() {
                // An engine gives a row for each that was asked for.
                let (state, scores) = (states.next().unwrap_or_default(), scores.next().unwrap_or_default());
                take(ReadToken { index, state, scores });
            }
            start += part.len();
        }
        Ok(())
    }

    /// Reads a prompt and the answer claimed to it, for comparing with the answer's fingerprints.
    /// With `sampling`, each token of the answer is drawn again as well, behind those claimed.
    ///
    /// # Errors
    ///
    /// As [`Model::read`], and [`ReadError::Scores`].
    pub fn read_answer(&self, prompt: &[TokenId], answer: &[TokenId], sampling: Option<Sampling>) -> Result<AnswerReading, ReadError> {
        let first = prompt.len().saturating_sub(CHUNK_ROWS);
        let reading = Reading { first, scores: sampling.is_some(), ..Reading::default() };
        let mut out = AnswerReading { prompt: Vec::new(), answer: Vec::new(), width: self.network().width(), drawn: Vec::new() };
        let mut sampler = sampling.map(Sampler::new);
        let mut broken = None;
        self.read(&answered(prompt, answer), &reading, |token| {
            let rows = if token.index < prompt.len() { &mut out.prompt } else { &mut out.answer };
            rows.extend_from_slice(token.state);
            // The answer's first token comes from the prompt's last.
            if let Some(sampler) = sampler.as_mut().filter(|_| token.index + 1 >= prompt.len()) {
                match sampler.choose(token.scores) {
                    Ok(id) => out.drawn.push(id),
                    Err(error) => broken = Some(error),
                }
            }
        })?;
        broken.map_or(Ok(out), |error| Err(error.into()))
    }
}

/// The tokens that an answer's fingerprints are of: the prompt, and the answer but for its last.
pub fn answered(prompt: &[TokenId], answer: &[TokenId]) -> Vec<TokenId> {
    [prompt, answer.split_last().map_or(&[], |(_, rest)| rest)].concat()
}

/// A pass over the tokens from position `start` on, of which those from `first` on are wanted.
fn batch(tokens: &[TokenId], start: usize, first: usize, reading: &Reading) -> Batch {
    let mut batch = Batch::default();
    // The session has no other sequence, so its pages are simply counted.
    batch.push(tokens, start, (0..pages_of(start + tokens.len()) as PageId).collect(), false);
    if reading.scores {
        batch.wanted.extend(first..tokens.len());
    }
    if reading.states {
        batch.show_last(tokens.len() - first);
    }
    batch
}

/// What an auditor makes of a claimed answer.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerReading {
    /// Of the prompt's last tokens, `[tokens, width]`.
    prompt: Vec<f32>,
    /// Of the answer's tokens but the last, `[tokens, width]`.
    answer: Vec<f32>,
    width: usize,
    drawn: Vec<TokenId>,
}

impl AnswerReading {
    /// The tokens that the auditor draws where those of the answer are, each behind the tokens
    /// claimed before it; none if no sampling was given.
    pub fn drawn(&self) -> &[TokenId] {
        &self.drawn
    }

    /// The fingerprints that the answer has by this reading.
    ///
    /// # Errors
    ///
    /// [`FingerprintError`] for states that have none.
    pub fn fingerprints(&self) -> Result<Fingerprints, FingerprintError> {
        let mut builder = FingerprintBuilder::new(&self.prompt, self.width)?;
        self.answer.chunks(self.width).try_for_each(|row| builder.push(row))?;
        builder.fingerprints()
    }

    /// How far each fingerprint is from the auditor's final states.
    ///
    /// # Errors
    ///
    /// [`CompareError`], as [`Fingerprints::compare`].
    pub fn compare(&self, fingerprints: &Fingerprints) -> Result<Vec<Comparison>, CompareError> {
        fingerprints.compare(&self.prompt, &self.answer, self.width)
    }
}

#[cfg(test)]
mod tests;
