//! One answer in the making, apart from what computes it: which tokens are read next, and what
//! becomes of the scores.

use cocoon_market::Usage;

use super::recorder::Recorder;
use super::stop::StopScanner;
use super::{Cancel, Event, Finish, FinishReason, GenerateError, GeneratedToken, GenerationRequest, RequestError};
use crate::commitment::{TokenCommitment, commit_input};
use crate::fingerprint::{CHUNK_ROWS, FingerprintError, Fingerprints};
use crate::model::Model;
use crate::sampling::Sampler;
use crate::tokenizer::{TextStream, TokenId, Tokenizer};

/// The tokens that a job wants to be read next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Next<'a> {
    /// At least one.
    pub(crate) ids: &'a [TokenId],
    /// Whether they are the last ones known, so that scores are wanted.
    pub(crate) wanted: bool,
    /// How many of the last ones are fingerprinted, so that their final states are wanted.
    pub(crate) shown: usize,
}

/// An answer in the making.
#[derive(Debug)]
pub(crate) struct Job {
    /// The prompt, and what was chosen behind it.
    tokens: Vec<TokenId>,
    prompt: usize,
    /// Tokens that keys and values are kept of.
    read: usize,
    /// Most tokens that have ever been read; what is read once more is neither metered nor recorded again.
    reached: usize,
    sampler: Sampler,
    text: TextStream,
    stops: StopScanner,
    cancel: Cancel,
    tokens_max: u64,
    output_tokens: u64,
    input_commitment: [u8; 32],
    output: TokenCommitment,
    /// None if no fingerprints were asked for.
    recorder: Option<Recorder>,
    /// Why there will be no more tokens, once that is known.
    ending: Option<FinishReason>,
}

impl Job {
    /// Checks a request.
    pub(crate) fn new(model: &Model, request: &GenerationRequest) -> Result<Self, RequestError> {
        let tokens = model.encode_prompt(&request.prompt)?;
        let (prompt, context) = (tokens.len(), model.summary().context_tokens);
        if prompt >= context {
            return Err(RequestError::ContextExceeded { prompt, context });
        }
        if request.max_tokens == 0 {
            return Err(RequestError::NoTokensWanted);
        }
        let room = (context - prompt) as u64;
        Ok(Self {
            stops: StopScanner::new(&request.stop)?,
            input_commitment: commit_input(&tokens),
            tokens,
            prompt,
            read: 0,
            reached: 0,
            sampler: Sampler::new(request.sampling),
            text: TextStream::default(),
            cancel: request.cancel.clone(),
            tokens_max: room.min(request.max_tokens.into()),
            output_tokens: 0,
            output: TokenCommitment::output(),
            recorder: request.fingerprints.then(|| Recorder::new(prompt, model.network().width())),
            ending: None,
        })
    }

    /// Number of prompt tokens.
    pub(crate) fn prompt(&self) -> usize {
        self.prompt
    }

    /// Prompt and answer so far.
    pub(crate) fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// Most tokens of the answer: what was asked for, within the context.
    pub(crate) fn answer_max(&self) -> usize {
        self.tokens_max as usize
    }

    /// Tokens that may be skipped if keys and values of all but the last of them are there already.
    pub(crate) fn skippable(&self) -> &[TokenId] {
        // A token whose state is fingerprinted has to be read, and the first such one ends what is skipped.
        let end = if self.recorder.is_some() { self.first_shown() + 1 } else { self.tokens.len() };
        self.tokens.get(..end).unwrap_or(&self.tokens)
    }

    /// The first token that counts for fingerprints.
    fn first_shown(&self) -> usize {
        self.prompt.saturating_sub(CHUNK_ROWS)
    }

    /// Most positions that will be kept: the last token chosen is never read.
    pub(crate) fn positions_max(&self) -> usize {
        self.prompt + self.answer_max() - 1
    }

    /// Positions that are kept.
    pub(crate) fn read(&self) -> usize {
        self.read
    }

    /// Whether scores come with the next token read.
    pub(crate) fn is_writing(&self) -> bool {
        self.tokens.len() - self.read == 1
    }

    /// Tokens to read next, at most `max`.
    pub(crate) fn next(&self, max: usize) -> Next<'_> {
        let end = self.tokens.len().min(self.read + max);
        let first = self.read.max(self.reached).max(self.first_shown());
        let shown = if self.recorder.is_some() { end.saturating_sub(first) } else { 0 };
        Next { ids: &self.tokens[self.read..end], wanted: end == self.tokens.len(), shown }
    }

    /// Takes the final states that were wanted of tokens just read.
    pub(crate) fn record(&mut self, states: &[f32]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.push(states);
        }
    }

    /// The fingerprints of the answer so far, if they were asked for and the prompt has been read.
    pub(crate) fn fingerprints(&self) -> Option<Result<Fingerprints, FingerprintError>> {
        self.recorder.as_ref()?.fingerprints()
    }

    /// Counts tokens that were read, or whose keys and values were there already.
    pub(crate) fn advance(&mut self, tokens: usize) {
        self.read += tokens;
        self.reached = self.reached.max(self.read);
    }

    /// Has everything read anew, because keys and values are gone. The answer goes on where it is.
    pub(crate) fn rewind(&mut self) {
        self.read = 0;
    }

    /// Ends the job at its next step.
    pub(crate) fn end(&mut self, reason: FinishReason) {
        self.ending = Some(reason);
    }

    /// Whether the next step is the last event.
    pub(crate) fn will_end(&self) -> bool {
        self.ending.is_some() || self.cancel.is_cancelled()
    }

    /// The last event, if there will be no more tokens.
    pub(crate) fn ending(&mut self) -> Option<Event> {
        if self.ending.is_none() && self.cancel.is_cancelled() {
            self.ending = Some(FinishReason::Cancelled);
        }
        self.ending.map(|reason| self.finish(reason))
    }

    /// Chooses a token.
    pub(crate) fn choose(&mut self, scores: &[f32], tokenizer: &Tokenizer) -> Result<Event, GenerateError> {
        let id = self.sampler.choose(scores)?;
        self.tokens.push(id);
        self.output.push(id);
        self.output_tokens += 1;
        let text = self.text.push(tokenizer.bytes_of(id));
        let (text, stopped) = self.stops.push(&text);
        self.ending = if stopped {
            Some(FinishReason::StopSequence)
        } else if tokenizer.is_end(id) {
            Some(FinishReason::Stop)
        } else if self.output_tokens >= self.tokens_max {
            Some(FinishReason::Length)
        } else {
            None
        };
        Ok(Event::Token(GeneratedToken { id, text, usage: self.usage() }))
    }

    /// Everything metered: prompt tokens as they are read.
    pub(crate) fn usage(&self) -> Usage {
        Usage { input_tokens: self.reached.min(self.prompt) as u64, output_tokens: self.output_tokens }
    }

    pub(crate) fn input_commitment(&self) -> [u8; 32] {
        self.input_commitment
    }

    pub(crate) fn output_commitment(&self) -> [u8; 32] {
        self.output.digest()
    }

    fn finish(&mut self, reason: FinishReason) -> Event {
        let text = if reason == FinishReason::StopSequence { String::new() } else { self.rest() };
        let (input_commitment, output_commitment) = (self.input_commitment, self.output.digest());
        let (usage, fingerprints) = (self.usage(), self.fingerprints());
        Event::Finished(Finish { reason, text, usage, input_commitment, output_commitment, fingerprints })
    }

    /// Text still held back: half a character, or what was no stop sequence after all.
    fn rest(&mut self) -> String {
        let (mut text, stopped) = self.stops.push(&self.text.finish());
        if !stopped {
            text.push_str(&self.stops.flush());
        }
        text
    }
}
