//! The final states of an answer on their way into fingerprints.

use crate::fingerprint::{CHUNK_ROWS, FingerprintBuilder, FingerprintError, Fingerprints};

/// Takes final states as they are computed: of a prompt's end in any pieces, then of the answer.
///
/// An error stays: what is fingerprinted behind a row left out would be of other rows than the
/// auditor's.
#[derive(Debug)]
pub(super) struct Recorder {
    width: usize,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The prompt's rows so far, and how many there will be.
    Prompt {
        rows: Vec<f32>,
        count: usize,
    },
    Answer(FingerprintBuilder),
    Failed(FingerprintError),
}

impl Recorder {
    /// For a prompt of so many tokens, in a model whose final states have `width` values.
    pub(super) fn new(prompt_tokens: usize, width: usize) -> Self {
        Self { width, stage: Stage::Prompt { rows: Vec::new(), count: prompt_tokens.min(CHUNK_ROWS) } }
    }

    /// Takes the states of the tokens read next, `[tokens, width]`; of a prompt's tokens, those of
    /// the last [`CHUNK_ROWS`] alone.
    pub(super) fn push(&mut self, states: &[f32]) {
        if let Err(error) = self.try_push(states) {
            self.stage = Stage::Failed(error);
        }
    }

    fn try_push(&mut self, states: &[f32]) -> Result<(), FingerprintError> {
        match &mut self.stage {
            Stage::Prompt { rows, count } => {
                rows.extend_from_slice(states);
                if rows.len() >= *count * self.width {
                    self.stage = Stage::Answer(FingerprintBuilder::new(rows, self.width)?);
                }
                Ok(())
            }
            Stage::Answer(builder) => states.chunks(self.width).try_for_each(|row| builder.push(row)),
            Stage::Failed(error) => Err(*error),
        }
    }

    /// The fingerprints so far, once the prompt has been read.
    pub(super) fn fingerprints(&self) -> Option<Result<Fingerprints, FingerprintError>> {
        match &self.stage {
            Stage::Prompt { .. } => None,
            Stage::Answer(builder) => Some(builder.fingerprints()),
            Stage::Failed(error) => Some(Err(*error)),
        }
    }
}
