//! Orders for text: what the model reads, and how it is to write.

use serde::{Deserialize, Serialize};

use crate::signed::Inconsistent;

/// Messages in a chat. Longer chats are folded by the application that holds them.
pub const CHAT_MESSAGES_MAX: usize = 512;

/// Tokens that a chat template puts around one message: markers of its begin, role and end.
pub const MESSAGE_TOKENS_MAX: usize = 16;

/// Tokens that a chat template adds of its own: a default system prompt, today's date, the begin of the answer.
pub const TEMPLATE_TOKENS_MAX: usize = 512;

/// Stop sequences of a job; the OpenAI API allows four.
pub const STOP_SEQUENCES_MAX: usize = 8;

/// Bytes of one stop sequence.
pub const STOP_SEQUENCE_BYTES_MAX: usize = 256;

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`; the model's chat template gives it meaning.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// What the model reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Prompt {
    /// Through the model's chat template.
    Chat(Vec<ChatMessage>),
    /// As it stands.
    Raw(String),
}

/// How tokens are drawn. Integers, so that both sides and an auditor mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampling {
    /// Temperature in thousandths; 0 is greedy.
    pub temperature_milli: u32,
    /// Only the so many likeliest tokens; 0 is all.
    pub top_k: u32,
    /// Only the likeliest tokens that together have this probability, in thousandths; 1000 is all.
    pub top_p_milli: u32,
}

impl Sampling {
    /// Always the likeliest token.
    pub const GREEDY: Self = Self { temperature_milli: 0, top_k: 0, top_p_milli: 1000 };
}

/// An order for one generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generate {
    /// What the model reads.
    pub prompt: Prompt,
    /// The most tokens to write.
    pub output_tokens_max: u32,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// The requester's sampling seed; its hash goes into the receipts, so neither side can grind.
    pub seed: [u8; 32],
}

impl Generate {
    pub(super) fn check(&self) -> Result<(), Inconsistent> {
        let fail = |field, rule| Err(Inconsistent { field, rule });
        if let Prompt::Chat(messages) = &self.prompt
            && (messages.is_empty() || messages.len() > CHAT_MESSAGES_MAX)
        {
            return fail("prompt", "must have 1 to 512 messages");
        }
        if self.output_tokens_max == 0 {
            return fail("output_tokens_max", "must be positive");
        }
        if self.sampling.temperature_milli > 10_000 || self.sampling.top_p_milli == 0 || self.sampling.top_p_milli > 1000 {
            return fail("sampling", "temperature must be at most 10, top_p above 0 and at most 1");
        }
        if self.stop.len() > STOP_SEQUENCES_MAX || self.stop.iter().any(|s| s.is_empty() || s.len() > STOP_SEQUENCE_BYTES_MAX) {
            return fail("stop", "must be at most 8 texts of 1 to 256 bytes");
        }
        Ok(())
    }

    /// The most tokens that the prompt can honestly have: no tokenizer makes more than one token of a byte, and a chat
    /// template adds its own words.
    pub(super) fn input_tokens_max(&self) -> u64 {
        let bytes = match &self.prompt {
            Prompt::Raw(text) => text.len(),
            Prompt::Chat(messages) => messages.iter().fold(0, |sum: usize, message| {
                sum.saturating_add(message.role.len()).saturating_add(message.content.len()).saturating_add(MESSAGE_TOKENS_MAX)
            }),
        };
        u64::try_from(bytes.saturating_add(TEMPLATE_TOKENS_MAX)).unwrap_or(u64::MAX)
    }
}
