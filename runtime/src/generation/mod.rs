//! Generating an answer, token by token.
//!
//! [`Model::start`] checks a request, and gives a [`Generation`]: an iterator over [`Event`]s that
//! does the work of one token in each step. Text is streamed with every token, but held back while
//! it may be half a character or the beginning of a stop sequence. The token that ends an answer
//! is in the stream too, with its work in the usage and its id in the commitment, and no text.
//!
//! | ends with | when |
//! |---|---|
//! | [`FinishReason::Stop`] | the model chose an end token |
//! | [`FinishReason::StopSequence`] | the text reached a stop sequence, which is cut off |
//! | [`FinishReason::Length`] | `max_tokens`, or the context, is used up |
//! | [`FinishReason::Cancelled`] | [`Cancel`] was called, between two tokens or two parts of a long prompt |
//!
//! Usage counts a prompt's tokens as they are read: all of them from the first generated token on,
//! fewer if the answer was cancelled before.
//!
//! Memory grows with the tokens: keys and values are kept in pages of thirty-two.

mod job;
mod recorder;
mod stop;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cocoon_market::Usage;

use crate::chat::{ChatError, ChatMessage};
use crate::engine::{Batch, EngineError, PageId, pages_of};
use crate::fingerprint::{FingerprintError, Fingerprints};
use crate::model::{Model, Session};
use crate::sampling::{Sampling, ScoreError};
use crate::tokenizer::{EncodeError, TokenId};
pub(crate) use job::Job;
pub use stop::{STOP_BYTES_MAX, STOPS_MAX, StopError};

/// Prompt tokens read in one pass. Large enough to keep a device busy, small enough that a
/// cancelled request ends soon and that attention scores of a long context stay in memory.
const PREFILL_TOKENS: usize = 512;

/// What the model is given to continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Text as it is.
    Text(String),
    /// A chat, through the model's template.
    Chat(Vec<ChatMessage>),
    /// Tokens, for instance an earlier prompt with what was generated so far.
    Tokens(Vec<TokenId>),
}

/// A request for an answer.
#[derive(Clone, Debug)]
pub struct GenerationRequest {
    /// What to continue.
    pub prompt: Prompt,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the answer, and are not part of it.
    pub stop: Vec<String>,
    /// Most tokens to generate.
    pub max_tokens: u32,
    /// Ends the generation from elsewhere.
    pub cancel: Cancel,
    /// Whether the answer is to be fingerprinted.
    pub fingerprints: bool,
}

impl GenerationRequest {
    /// A greedy request without stop sequences and fingerprints.
    pub fn new(prompt: Prompt, max_tokens: u32) -> Self {
        Self { prompt, sampling: Sampling::greedy(), stop: Vec::new(), max_tokens, cancel: Cancel::default(), fingerprints: false }
    }
}

/// A switch that ends generations from another thread. Clones are the same switch.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Ends the generations that hold this switch, at their next step.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the switch was used.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a request was refused before any work.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The chat did not become a prompt.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The prompt did not become tokens.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The stop sequences cannot work.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// The prompt has no token.
    #[error("prompt is empty")]
    EmptyPrompt,
    /// No token is wanted.
    #[error("max_tokens is 0")]
    NoTokensWanted,
    /// A token id beyond the vocabulary.
    #[error("token {id} is beyond the vocabulary of {vocabulary}")]
    UnknownToken {
        /// The id.
        id: TokenId,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// The prompt leaves no room for an answer.
    #[error("prompt of {prompt} tokens leaves no room in the context of {context}")]
    ContextExceeded {
        /// Tokens in the prompt.
        prompt: usize,
        /// Tokens in the context.
        context: usize,
    },
}

/// Why a generation failed.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The request was refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The model gave scores that are no numbers.
    #[error("model is broken")]
    Scores(#[from] ScoreError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine failed while it served this job together with others.
    #[error("the device failed, and the job with it: ask again")]
    Lost,
    /// The device was lost before this job had begun.
    #[error("the device was lost before the job began: ask again")]
    NotBegun,
    /// The device has no memory left for this job, beside those that go on.
    #[error("the device has no memory left for the job: ask for fewer tokens, or later")]
    NoMemory,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it.
    Stop,
    /// It is as long as allowed.
    Length,
    /// It reached a stop sequence.
    StopSequence,
    /// It was cancelled.
    Cancelled,
}

/// One step of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A token was generated.
    Token(GeneratedToken),
    /// The answer has ended; nothing follows.
    Finished(Finish),
}

/// A generated token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedToken {
    /// Its id.
    pub id: TokenId,
    /// Text that became certain with it; may be empty, and may be of earlier tokens.
    pub text: String,
    /// Everything metered so far, this token included.
    pub usage: Usage,
}

/// The end of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// Why it ended.
    pub reason: FinishReason,
    /// Text that was held back until now.
    pub text: String,
    /// Everything metered.
    pub usage: Usage,
    /// Commitment to the input tokens.
    pub input_commitment: [u8; 32],
    /// Commitment to the output tokens.
    pub output_commitment: [u8; 32],
    /// Fingerprints of the answer, if the request asked for them and the prompt was read to its end.
    pub fingerprints: Option<Result<Fingerprints, FingerprintError>>,
}

/// An answer in the making: an iterator over its [`Event`]s.
///
/// The last item is [`Event::Finished`] or an error. Dropping it ends the work.
#[derive(Debug)]
pub struct Generation<'m> {
    model: &'m Model,
    job: Job,
    session: Box<dyn Session>,
    finished: bool,
}

impl Model {
    /// The tokens of a prompt.
    ///
    /// # Errors
    ///
    /// [`RequestError`] when the prompt cannot be had as tokens of this model.
    pub fn encode_prompt(&self, prompt: &Prompt) -> Result<Vec<TokenId>, RequestError> {
        let vocabulary = self.tokenizer().vocabulary();
        let ids = match prompt {
            Prompt::Text(text) => self.tokenizer().encode(text)?,
            Prompt::Chat(messages) => self.tokenizer().encode(&self.render_chat(messages)?)?,
            Prompt::Tokens(ids) => ids.clone(),
        };
        match ids.iter().find(|id| **id as usize >= vocabulary) {
            Some(id) => Err(RequestError::UnknownToken { id: *id, vocabulary }),
            None if ids.is_empty() => Err(RequestError::EmptyPrompt),
            None => Ok(ids),
        }
    }

    /// Checks a request and gets ready; the work begins with the first step of the iterator.
    ///
    /// # Errors
    ///
    /// [`RequestError`] when the request cannot be served by this model.
    pub fn start(&self, request: &GenerationRequest) -> Result<Generation<'_>, RequestError> {
        let job = Job::new(self, request)?;
        Ok(Generation { model: self, job, session: Arc::clone(self.network()).session(), finished: false })
    }

    /// Generates a whole answer, handing every event to `on_event`, which may break it off.
    ///
    /// # Errors
    ///
    /// [`GenerateError`] when the request is refused, or the device or the model fails.
    pub fn generate(
        &self,
        request: &GenerationRequest,
        on_event: &mut dyn FnMut(&Event) -> ControlFlow<()>,
    ) -> Result<Finish, GenerateError> {
        let mut generation = self.start(request)?;
        loop {
            let event = generation.step()?;
            let flow = on_event(&event);
            match event {
                Event::Finished(finish) => return Ok(finish),
                Event::Token(_) if flow.is_break() => generation.job.end(FinishReason::Cancelled),
                Event::Token(_) => {}
            }
        }
    }
}

impl Generation<'_> {
    /// Number of prompt tokens.
    pub fn input_tokens(&self) -> u64 {
        self.job.prompt() as u64
    }

    /// Commitment to the input tokens.
    pub fn input_commitment(&self) -> [u8; 32] {
        self.job.input_commitment()
    }

    /// Commitment to the output tokens so far.
    pub fn output_commitment(&self) -> [u8; 32] {
        self.job.output_commitment()
    }

    /// The fingerprints of the answer so far: none if the request did not ask for them, or before
    /// its first token.
    pub fn fingerprints(&self) -> Option<Result<Fingerprints, FingerprintError>> {
        self.job.fingerprints()
    }

    fn step(&mut self) -> Result<Event, GenerateError> {
        loop {
            if let Some(event) = self.job.ending() {
                self.finished = true;
                return Ok(event);
            }
            let next = self.job.next(PREFILL_TOKENS);
            let (tokens, wanted) = (next.ids.len(), next.wanted);
            let end = self.job.read() + tokens;
            // The session has no other sequence, so its pages are simply counted.
            let pages = (0..pages_of(end) as PageId).collect();
            let mut batch = Batch::default();
            batch.push(next.ids, self.job.read(), pages, wanted);
            batch.show_last(next.shown);
            let outputs = self.session.pass(&batch)?;
            self.job.advance(tokens);
            self.job.record(&outputs.states);
            if wanted {
                return self.job.choose(&outputs.scores, self.model.tokenizer());
            }
        }
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Event, GenerateError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let step = self.step();
        self.finished |= step.is_err();
        Some(step)
    }
}
