//! An executor without a model.

use std::time::Duration;

use async_trait::async_trait;
use cocoon_market::commitment::TokenCommitment;
use cocoon_market::job::{Embed, FinishReason, Generate, JobRequest, Prompt, StopReason, Vector};
use cocoon_market::{ModelId, Usage};
use futures::SinkExt as _;
use futures::channel::mpsc;
use futures_timer::Delay;

use crate::execution::{CancelHandle, EXECUTION_EVENTS_MAX, Execution, ExecutionEvent, Executor};
use crate::shell::Spawner;

/// What a mock executor answers to every prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Tokens it would write if nobody stopped it.
    pub tokens: u32,
    /// Tokens at a time.
    pub chunk: u32,
    /// The pause before each chunk; zero for none.
    pub pace: Duration,
    /// What goes wrong.
    pub stumble: Stumble,
}

impl Answer {
    /// So many tokens, one at a time, as fast as they are taken.
    pub const fn of(tokens: u32) -> Self {
        Self { tokens, chunk: 1, pace: Duration::ZERO, stumble: Stumble::Never }
    }
}

/// What goes wrong with an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stumble {
    /// Nothing.
    Never,
    /// It fails after so many tokens.
    FailAfter(u32),
    /// It says nothing more after so many tokens, until it is cancelled.
    HangAfter(u32),
    /// Its queue ends without a word after so many tokens.
    VanishAfter(u32),
}

/// Runs every job by counting, and orders of vectors by [`mock_vector`].
#[derive(Clone, Debug)]
pub struct MockExecutor {
    spawner: Spawner,
    answer: Answer,
}

impl MockExecutor {
    /// An executor that always gives the same answer.
    pub fn new(spawner: Spawner, answer: Answer) -> Self {
        Self { spawner, answer }
    }
}

/// Elements of a vector of [`mock_vector`].
pub const MOCK_WIDTH: usize = 3;

/// What a mock makes of a text: the numbers of its bytes and words, and a half.
pub fn mock_vector(text: &str) -> Vector {
    let count = |count: usize| f32::from(u16::try_from(count).unwrap_or(u16::MAX));
    Vector::new(&[count(text.len()), count(text.split_whitespace().count()), 0.5])
}

/// The tokens that a mock reads in a prompt: one for each word.
fn prompt_tokens(prompt: &Prompt) -> Vec<u32> {
    let words = match prompt {
        Prompt::Raw(text) => text.split_whitespace().count(),
        Prompt::Chat(messages) => messages.iter().map(|message| message.content.split_whitespace().count()).sum(),
    };
    (0..u32::try_from(words).unwrap_or(u32::MAX)).collect()
}

#[async_trait]
impl Executor for MockExecutor {
    async fn start(&self, _: ModelId, request: JobRequest) -> Result<Execution, StopReason> {
        let (tx, events) = mpsc::channel(EXECUTION_EVENTS_MAX);
        let cancel = CancelHandle::new();
        let work = Work { answer: self.answer, tx, cancel: cancel.clone() };
        self.spawner.spawn(match request.work {
            cocoon_market::Work::Generate(generate) => Box::pin(work.count(generate)),
            cocoon_market::Work::Embed(embed) => Box::pin(work.embed(embed)),
        });
        Ok(Execution { events, cancel })
    }
}

/// One job of a mock.
struct Work {
    answer: Answer,
    tx: mpsc::Sender<ExecutionEvent>,
    cancel: CancelHandle,
}

impl Work {
    /// Counts.
    async fn count(mut self, generate: Generate) {
        let prompt = prompt_tokens(&generate.prompt);
        let mut usage = Usage { input_tokens: prompt.len() as u64, output_tokens: 0 };
        let wanted = self.answer.tokens.min(generate.output_tokens_max);
        if !self.send(ExecutionEvent::InputRead { input_tokens: usage.input_tokens, input: TokenCommitment::of(&prompt) }).await {
            return;
        }
        let mut written = 0;
        while written < wanted {
            if !self.goes_on(written, usage).await {
                return;
            }
            let upto = written.saturating_add(self.answer.chunk).min(wanted);
            let tokens: Vec<u32> = (written..upto).collect();
            let text = tokens.iter().map(|token| format!("t{token} ")).collect();
            written = upto;
            usage.output_tokens = u64::from(written);
            if !self.send(ExecutionEvent::Tokens { tokens, text, usage }).await {
                return;
            }
        }
        let reason = if written < self.answer.tokens { FinishReason::Length } else { FinishReason::Stop };
        self.send(ExecutionEvent::Finished { reason, usage }).await;
    }

    /// Gives [`mock_vector`]s, as many at a time as tokens; what goes wrong goes wrong after so many of them.
    async fn embed(mut self, embed: Embed) {
        let tokens: Vec<u64> = embed.texts.iter().map(|text| text_tokens(text)).collect();
        let input = TokenCommitment::of(&(0..u32::try_from(tokens.len()).unwrap_or(u32::MAX)).collect::<Vec<_>>());
        if !self.send(ExecutionEvent::InputRead { input_tokens: tokens.iter().sum(), input }).await {
            return;
        }
        let (mut usage, mut given) = (Usage::default(), 0);
        let chunk = usize::try_from(self.answer.chunk).unwrap_or(usize::MAX).max(1);
        for (texts, tokens) in embed.texts.chunks(chunk).zip(tokens.chunks(chunk)) {
            if !self.goes_on(given, usage).await {
                return;
            }
            usage.input_tokens += tokens.iter().sum::<u64>();
            given += u32::try_from(texts.len()).unwrap_or(u32::MAX);
            if !self.send(ExecutionEvent::Vectors { vectors: texts.iter().map(|text| mock_vector(text)).collect(), usage }).await {
                return;
            }
        }
        self.send(ExecutionEvent::Finished { reason: FinishReason::Stop, usage }).await;
    }

    async fn send(&mut self, event: ExecutionEvent) -> bool {
        self.tx.send(event).await.is_ok()
    }

    /// Paces, and does what goes wrong by now; false when that was the end.
    async fn goes_on(&mut self, done: u32, usage: Usage) -> bool {
        if !self.answer.pace.is_zero() {
            Delay::new(self.answer.pace).await;
        }
        if self.cancel.is_cancelled() {
            self.send(ExecutionEvent::Finished { reason: FinishReason::Cancelled, usage }).await;
            return false;
        }
        match self.answer.stumble {
            Stumble::FailAfter(after) if done >= after => {
                self.send(ExecutionEvent::Failed(StopReason::Internal)).await;
                false
            }
            Stumble::VanishAfter(after) if done >= after => false,
            Stumble::HangAfter(after) if done >= after => {
                hang(&mut self.tx).await;
                false
            }
            _ => true,
        }
    }
}

/// The tokens that a mock reads in a text: one for each word, and one at each end.
fn text_tokens(text: &str) -> u64 {
    u64::try_from(text.split_whitespace().count()).unwrap_or(u64::MAX).saturating_add(2)
}

/// Holds the queue open without using it, until its reader is gone.
async fn hang(tx: &mut mpsc::Sender<ExecutionEvent>) {
    while !tx.is_closed() {
        Delay::new(Duration::from_millis(20)).await;
    }
}
