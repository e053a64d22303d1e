//! An executor without a model.

use std::time::Duration;

use async_trait::async_trait;
use cocoon_market::commitment::TokenCommitment;
use cocoon_market::job::{FinishReason, JobRequest, Prompt, StopReason};
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

/// Runs every job by counting.
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
        self.spawner.spawn(Box::pin(count(self.answer, request, tx, cancel.clone())));
        Ok(Execution { events, cancel })
    }
}

async fn count(answer: Answer, request: JobRequest, mut tx: mpsc::Sender<ExecutionEvent>, cancel: CancelHandle) {
    let prompt = prompt_tokens(&request.prompt);
    let mut usage = Usage { input_tokens: prompt.len() as u64, output_tokens: 0 };
    let wanted = answer.tokens.min(request.output_tokens_max);
    if tx.send(ExecutionEvent::Prefilled { usage, input: TokenCommitment::of(&prompt) }).await.is_err() {
        return;
    }
    let mut written = 0;
    while written < wanted {
        if !answer.pace.is_zero() {
            Delay::new(answer.pace).await;
        }
        if cancel.is_cancelled() {
            let _ = tx.send(ExecutionEvent::Finished { reason: FinishReason::Cancelled, usage }).await;
            return;
        }
        match answer.stumble {
            Stumble::FailAfter(tokens) if written >= tokens => {
                let _ = tx.send(ExecutionEvent::Failed(StopReason::Internal)).await;
                return;
            }
            Stumble::VanishAfter(tokens) if written >= tokens => return,
            Stumble::HangAfter(tokens) if written >= tokens => return hang(&mut tx).await,
            _ => {}
        }
        let upto = written.saturating_add(answer.chunk).min(wanted);
        let tokens: Vec<u32> = (written..upto).collect();
        let text = tokens.iter().map(|token| format!("t{token} ")).collect();
        written = upto;
        usage.output_tokens = u64::from(written);
        if tx.send(ExecutionEvent::Tokens { tokens, text, usage }).await.is_err() {
            return;
        }
    }
    let reason = if written < answer.tokens { FinishReason::Length } else { FinishReason::Stop };
    let _ = tx.send(ExecutionEvent::Finished { reason, usage }).await;
}

/// Holds the queue open without using it, until its reader is gone.
async fn hang(tx: &mut mpsc::Sender<ExecutionEvent>) {
    while !tx.is_closed() {
        Delay::new(Duration::from_millis(20)).await;
    }
}
