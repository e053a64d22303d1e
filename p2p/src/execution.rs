//! How jobs are run: what the provider service needs of a runtime.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use cocoon_market::ids::Digest;
use cocoon_market::job::{FinishReason, JobRequest, StopReason, Vector};
use cocoon_market::{ModelId, Usage};
use futures::channel::mpsc;

/// Events an execution may be ahead of the network. At a chunk each token, 64 are half a second of a fast model: enough
/// to ride out a stall of the network, little enough that a requester who leaves wastes little work.
pub const EXECUTION_EVENTS_MAX: usize = 64;

/// Runs jobs.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Starts a job and returns at once; the work is reported through [`Execution::events`].
    ///
    /// # Errors
    /// [`StopReason`], sent to the requester.
    async fn start(&self, model: ModelId, request: JobRequest) -> Result<Execution, StopReason>;
}

/// A running job.
#[derive(Debug)]
pub struct Execution {
    /// What it does, in order; ends with [`ExecutionEvent::Finished`] or [`ExecutionEvent::Failed`]. Bounded, so that the
    /// work waits for the network.
    pub events: mpsc::Receiver<ExecutionEvent>,
    /// Ends it early.
    pub cancel: CancelHandle,
}

/// What a running job did. Usage is cumulative within the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecutionEvent {
    /// The input is tokenised. Comes first, and before the model reads it: what the cap does not pay for is then not read at
    /// all.
    InputRead {
        /// Tokens of the prompt, or of all texts.
        input_tokens: u64,
        /// Commitment to them.
        input: Digest,
    },
    /// Tokens were written.
    Tokens {
        /// The tokens.
        tokens: Vec<u32>,
        /// Their text; never half a character.
        text: String,
        /// Work so far.
        usage: Usage,
    },
    /// Vectors were made of the next texts: no more than [`Vectors::per_frame`](cocoon_market::job::Vectors::per_frame).
    Vectors {
        /// In the order of the texts.
        vectors: Vec<Vector>,
        /// Work so far: the tokens of all texts up to here.
        usage: Usage,
    },
    /// The end.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// All work.
        usage: Usage,
    },
    /// The end, by a failure.
    Failed(StopReason),
}

/// Asks a running job to end after the current token or pass. Cancelling twice is cancelling once.
#[derive(Clone)]
pub struct CancelHandle {
    flag: Arc<AtomicBool>,
    hook: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl CancelHandle {
    /// A flag that the execution looks at between tokens.
    pub fn new() -> Self {
        Self { flag: Arc::new(AtomicBool::new(false)), hook: None }
    }

    /// A flag, and something to do when it is first raised.
    pub fn with_hook(hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self { flag: Arc::new(AtomicBool::new(false)), hook: Some(Arc::new(hook)) }
    }

    /// Asks for the end.
    pub fn cancel(&self) {
        if !self.flag.swap(true, Ordering::AcqRel)
            && let Some(hook) = &self.hook
        {
            hook();
        }
    }

    /// Whether the end was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }
}

impl Default for CancelHandle {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}
