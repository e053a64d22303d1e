//! What the gateway needs of whoever answers its requests.

use std::fmt;

use axum::http::StatusCode;
use cocoon_market::job::{FinishReason, StopReason, Vector};
use cocoon_market::{Amount, Refusal, Usage};
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::error::{ApiError, ErrorKind};
use super::request::ChatOrder;
use super::request::embeddings::EmbeddingsOrder;
use super::response::ModelCard;

/// Answers chats, and makes vectors.
pub trait Backend: Send + Sync + 'static {
    /// The models that can be asked right now.
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelCard>, ChatFailure>>;

    /// Begins to answer a chat. Dropping the answer ends the job.
    fn chat(&self, order: ChatOrder) -> BoxFuture<'_, Result<Answer, ChatFailure>>;

    /// Makes the vectors of texts. Dropping the future ends the job.
    fn embed(&self, order: EmbeddingsOrder) -> BoxFuture<'_, Result<Embeddings, ChatFailure>>;
}

/// The vectors of texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// One for each text, in their order.
    pub vectors: Vec<Vector>,
    /// All metered work.
    pub usage: Usage,
}

/// An answer in the making.
pub struct Answer {
    /// Names the job in the answer's id, so that `swarm jobs show` finds it.
    pub job: String,
    /// Its pieces; the last one is [`ChatEvent::Finished`] or an error.
    pub events: BoxStream<'static, Result<ChatEvent, ChatFailure>>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("job", &self.job).finish_non_exhaustive()
    }
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChatEvent {
    /// More text; never empty.
    Text(String),
    /// The end.
    Finished {
        /// Why.
        reason: FinishReason,
        /// All metered work.
        usage: Usage,
        /// What was paid for it.
        paid: Amount,
    },
}

/// Why a request was not answered, in the words of its backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChatFailure {
    /// No model of this name is known.
    #[error("the model `{0}` does not exist here; see /v1/models")]
    UnknownModel(String),
    /// The order itself is impossible.
    #[error("{0}")]
    BadOrder(String),
    /// The prompt does not fit.
    #[error("the prompt has {tokens} tokens, the model's context {context}")]
    ContextExceeded {
        /// Tokens of the prompt.
        tokens: u32,
        /// Tokens of the context.
        context: u32,
    },
    /// Prompt and answer do not fit into the provider's memory.
    #[error("{reason}; ask for fewer tokens or shorten the messages")]
    MemoryExceeded {
        /// The provider's figures.
        reason: StopReason,
        /// Whether a shorter answer would do, or the prompt alone is too long.
        prompt_fits: bool,
    },
    /// A text is longer than the model reads.
    #[error("input {index} (counted from 0) has {tokens} tokens, and the model reads {context}; split it into shorter ones")]
    TextTooLong {
        /// Which of the texts, from 0.
        index: u32,
        /// Its tokens.
        tokens: u32,
        /// The most that the model reads.
        context: u32,
    },
    /// The model's vectors have another number of elements.
    #[error("`dimensions` is {asked}, and vectors of this model have {width} elements; they cannot be shortened, so leave it out")]
    Dimensions {
        /// How many were asked for.
        asked: u32,
        /// How many they have.
        width: u32,
    },
    /// The wallet or the cap does not reach.
    #[error("{0}")]
    Money(String),
    /// Nobody can do it right now.
    #[error("{0}")]
    NoProvider(String),
    /// Whoever began it did not finish.
    #[error("{0}")]
    Broken(String),
}

impl ChatFailure {
    /// What a provider's reason for stopping means to a client.
    pub fn stopped(reason: &StopReason) -> Self {
        match reason {
            StopReason::ContextExceeded { tokens, context } => Self::ContextExceeded { tokens: *tokens, context: *context },
            StopReason::TextTooLong { index, tokens, context } => Self::TextTooLong { index: *index, tokens: *tokens, context: *context },
            StopReason::MemoryExceeded { prompt_tokens, tokens_max, .. } => {
                Self::MemoryExceeded { reason: reason.clone(), prompt_fits: prompt_tokens < tokens_max }
            }
            StopReason::Refused(Refusal::OtherWork { .. }) | StopReason::Malformed => Self::BadOrder(reason.to_string()),
            StopReason::CapTooSmall { .. } => Self::Money(format!("{reason}; raise requester.cap_ton")),
            StopReason::Refused(_) => Self::NoProvider(reason.to_string()),
            StopReason::Unpaid { .. }
            | StopReason::BadVoucher
            | StopReason::ChainOutOfSight
            | StopReason::Internal
            | StopReason::Shutdown => Self::Broken(reason.to_string()),
        }
    }
}

impl From<ChatFailure> for ApiError {
    fn from(failure: ChatFailure) -> Self {
        let message = failure.to_string();
        let (status, kind, param, code) = match failure {
            ChatFailure::UnknownModel(_) => (StatusCode::NOT_FOUND, ErrorKind::InvalidRequest, Some("model"), "model_not_found"),
            ChatFailure::BadOrder(_) => (StatusCode::BAD_REQUEST, ErrorKind::InvalidRequest, None, "invalid_value"),
            ChatFailure::ContextExceeded { .. } => {
                (StatusCode::BAD_REQUEST, ErrorKind::InvalidRequest, Some("messages"), "context_length_exceeded")
            }
            // The code that clients know: what they do about it, to send fewer messages or ask for a shorter answer, helps here too.
            ChatFailure::MemoryExceeded { prompt_fits, .. } => {
                let param = if prompt_fits { "max_tokens" } else { "messages" };
                (StatusCode::BAD_REQUEST, ErrorKind::InvalidRequest, Some(param), "context_length_exceeded")
            }
            ChatFailure::Dimensions { .. } => (StatusCode::BAD_REQUEST, ErrorKind::InvalidRequest, Some("dimensions"), "invalid_value"),
            ChatFailure::TextTooLong { .. } => {
                (StatusCode::BAD_REQUEST, ErrorKind::InvalidRequest, Some("input"), "context_length_exceeded")
            }
            // Clients send a 429 again and again; what lacks here is money, which waiting does not bring.
            ChatFailure::Money(_) => (StatusCode::PAYMENT_REQUIRED, ErrorKind::InsufficientQuota, None, "insufficient_quota"),
            ChatFailure::NoProvider(_) => (StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Server, None, "no_provider"),
            ChatFailure::Broken(_) => (StatusCode::BAD_GATEWAY, ErrorKind::Server, None, "provider_failed"),
        };
        Self { param: param.map(str::to_owned), ..Self::new(status, kind, code, message) }
    }
}
