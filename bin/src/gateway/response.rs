//! What `/v1/models`, `/v1/chat/completions` and `/v1/embeddings` answer.

use cocoon_market::Usage;
use cocoon_market::job::FinishReason;
use serde::Serialize;

/// A model that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelCard {
    /// Its name, to be used as `model`.
    pub id: String,
    /// Always `model`.
    pub object: &'static str,
    /// When an offer for it was first seen, in seconds since the Unix epoch.
    pub created: u64,
    /// Always `swarm`: whoever serves it is found for each request.
    pub owned_by: &'static str,
}

impl ModelCard {
    /// A card.
    pub fn new(id: String, created: u64) -> Self {
        Self { id, object: "model", created, owned_by: "swarm" }
    }
}

/// A list of things.
#[derive(Clone, Debug, Serialize)]
pub(super) struct List<T> {
    pub(super) object: &'static str,
    pub(super) data: Vec<T>,
}

/// Tokens that were read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct UsageCard {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl From<Usage> for UsageCard {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.input_tokens,
            completion_tokens: usage.output_tokens,
            total_tokens: usage.input_tokens.saturating_add(usage.output_tokens),
        }
    }
}

/// Tokens that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ReadCard {
    prompt_tokens: u64,
    total_tokens: u64,
}

impl From<Usage> for ReadCard {
    fn from(usage: Usage) -> Self {
        Self { prompt_tokens: usage.input_tokens, total_tokens: usage.input_tokens }
    }
}

/// The vectors of texts.
#[derive(Clone, Debug, Serialize)]
pub(super) struct EmbeddingsCard {
    pub(super) object: &'static str,
    pub(super) data: Vec<EmbeddingCard>,
    pub(super) model: String,
    pub(super) usage: ReadCard,
}

/// The vector of one text.
#[derive(Clone, Debug, Serialize)]
pub(super) struct EmbeddingCard {
    pub(super) object: &'static str,
    pub(super) index: usize,
    pub(super) embedding: Elements,
}

/// The elements of a vector.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Elements {
    /// As numbers.
    Float(Vec<f32>),
    /// In single precision, little-endian, as base64.
    Base64(String),
}

/// The API's word for the end of an answer.
pub(super) const fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::Cancelled => "stop",
        FinishReason::Length => "length",
    }
}

/// What all answers to one chat have in common.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) object: &'static str,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) system_fingerprint: Option<String>,
}

/// A whole answer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Completion {
    #[serde(flatten)]
    pub(super) head: Head,
    pub(super) choices: [Choice; 1],
    pub(super) usage: UsageCard,
}

/// The one choice of a whole answer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Choice {
    pub(super) index: u32,
    pub(super) message: AssistantMessage,
    pub(super) logprobs: Option<()>,
    pub(super) finish_reason: &'static str,
}

/// The text of a whole answer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct AssistantMessage {
    pub(super) role: &'static str,
    pub(super) content: String,
    pub(super) refusal: Option<String>,
}

/// A piece of a streamed answer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Piece {
    #[serde(flatten)]
    pub(super) head: Head,
    pub(super) choices: Vec<PieceChoice>,
    /// Absent unless the client asked for it; then null in all pieces but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Option<UsageCard>>,
}

/// The one choice of a piece.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PieceChoice {
    pub(super) index: u32,
    pub(super) delta: Delta,
    pub(super) logprobs: Option<()>,
    pub(super) finish_reason: Option<&'static str>,
}

/// What a piece adds.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
}
