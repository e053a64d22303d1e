//! Jobs: the frames of `/cocoon/job/1`.
//!
//! ```text
//! requester                                provider
//!   Start(job, input, seed)  ------------->
//!               <-------------  Chunk(tokens, text, usage so far)      one or more, then
//!               <-------------  Receipt(for the slice)
//!   Voucher(over all receipts so far)  --->
//!               ...
//!               <-------------  Receipt(final)
//!               <-------------  Done(reason, usage)
//!   Voucher  ----------------------------->
//! ```
//!
//! Either side may end it at any time: the requester with `Cancel`, the provider with `Stopped`; what was receipted is
//! still owed, what wasn't is not.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::agreement::Refusal;
use crate::ids::{AgreementId, Digest, JobId};
use crate::price::Usage;
use crate::receipt::SignedReceipt;
use crate::signed::Inconsistent;
use crate::voucher::SignedVoucher;

/// The largest frame of a job stream: a prompt of a 32k context with room to spare.
pub const JOB_FRAME_BYTES_MAX: usize = 1 << 20;

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

/// Tokens in one chunk: a chunk is a handful of tokens, never a whole answer.
pub const CHUNK_TOKENS_MAX: usize = 1024;

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

/// A requester's order for one generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRequest {
    /// Under which agreement.
    pub agreement: AgreementId,
    /// Chosen by the requester at random.
    pub job: JobId,
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

impl JobRequest {
    /// Checks bounds.
    ///
    /// # Errors
    /// [`Inconsistent`], naming the field.
    pub fn check(&self) -> Result<(), Inconsistent> {
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
    pub fn input_tokens_max(&self) -> u64 {
        let bytes = match &self.prompt {
            Prompt::Raw(text) => text.len(),
            Prompt::Chat(messages) => messages.iter().fold(0, |sum: usize, message| {
                sum.saturating_add(message.role.len()).saturating_add(message.content.len()).saturating_add(MESSAGE_TOKENS_MAX)
            }),
        };
        u64::try_from(bytes.saturating_add(TEMPLATE_TOKENS_MAX)).unwrap_or(u64::MAX)
    }

    /// The commitment to the seed that stands in the receipts.
    pub fn seed_commitment(&self) -> Digest {
        Digest(Sha256::new().chain_update(b"cocoon/seed/1\0").chain_update(self.seed).finalize().into())
    }
}

/// Why a generation ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model said it was done.
    Stop,
    /// The limit of tokens, of the context or of the cap was reached.
    Length,
    /// A stop sequence came.
    StopSequence,
    /// The requester cancelled.
    Cancelled,
}

/// Why a provider ended a job before its end. Shown to the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StopReason {
    /// It never started.
    #[error("the job was refused: {0}")]
    Refused(Refusal),
    /// The order breaks a bound.
    #[error("the job's order is malformed")]
    Malformed,
    /// The prompt is longer than the context.
    #[error("the prompt has {tokens} tokens, the context {context}")]
    ContextExceeded {
        /// Tokens of the prompt.
        tokens: u32,
        /// Tokens of the context.
        context: u32,
    },
    /// Unpaid work reached the float.
    #[error("no voucher came for work worth {unpaid}")]
    Unpaid {
        /// What is unpaid.
        unpaid: crate::amount::Amount,
    },
    /// A voucher was wrong.
    #[error("a voucher did not fit the receipts")]
    BadVoucher,
    /// The provider lost sight of the chain.
    #[error("the provider lost sight of the chain")]
    ChainOutOfSight,
    /// The provider's own machine failed it.
    #[error("the provider's machine failed")]
    Internal,
    /// The provider shuts down.
    #[error("the provider is shutting down")]
    Shutdown,
    /// What is left of the cap does not pay for reading the prompt.
    #[error("reading the prompt costs {cost}, and {left} is left of the cap")]
    CapTooSmall {
        /// What the prompt costs.
        cost: crate::amount::Amount,
        /// What is left.
        left: crate::amount::Amount,
    },
}

/// From requester to provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequesterFrame {
    /// The order; first and once.
    Start(Box<JobRequest>),
    /// Pays all receipts up to its sequence.
    Voucher(SignedVoucher),
    /// Enough. What was receipted stays owed.
    Cancel,
}

/// From provider to requester.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProviderFrame {
    /// Some tokens of the answer.
    Chunk(Chunk),
    /// For the work since the last receipt.
    Receipt(Box<SignedReceipt>),
    /// The answer is complete and its final receipt was sent.
    Done {
        /// Why it ended.
        reason: FinishReason,
        /// All metered work.
        usage: Usage,
    },
    /// The job ends here.
    Stopped(StopReason),
}

/// Some tokens of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Counts from 0, without gaps.
    pub index: u64,
    /// The tokens.
    pub tokens: Vec<u32>,
    /// Their text: never half a character, and empty while a stop sequence may be beginning.
    pub text: String,
    /// All work up to here.
    pub usage: Usage,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> JobRequest {
        JobRequest {
            agreement: AgreementId([1; 32]),
            job: JobId([2; 16]),
            prompt: Prompt::Raw("hello".into()),
            output_tokens_max: 1,
            sampling: Sampling::GREEDY,
            stop: Vec::new(),
            seed: [3; 32],
        }
    }

    fn broken(alter: impl FnOnce(&mut JobRequest)) -> Option<&'static str> {
        let mut request = request();
        alter(&mut request);
        request.check().err().map(|inconsistent| inconsistent.field)
    }

    fn message(content: &str) -> ChatMessage {
        ChatMessage { role: "user".into(), content: content.into() }
    }

    #[test]
    fn each_field_is_bounded() {
        assert_eq!(broken(|_| ()), None);
        assert_eq!(broken(|r| r.prompt = Prompt::Chat(vec![])), Some("prompt"));
        assert_eq!(broken(|r| r.prompt = Prompt::Chat(vec![message("x"); 513])), Some("prompt"));
        assert_eq!(broken(|r| r.prompt = Prompt::Chat(vec![message("x"); 512])), None);
        assert_eq!(broken(|r| r.output_tokens_max = 0), Some("output_tokens_max"));
        assert_eq!(broken(|r| r.sampling.temperature_milli = 10_001), Some("sampling"));
        assert_eq!(broken(|r| r.sampling.temperature_milli = 10_000), None);
        assert_eq!(broken(|r| r.sampling.top_p_milli = 0), Some("sampling"));
        assert_eq!(broken(|r| r.sampling.top_p_milli = 1001), Some("sampling"));
        assert_eq!(broken(|r| r.sampling.top_p_milli = 1), None);
        assert_eq!(broken(|r| r.stop = vec!["x".into(); 9]), Some("stop"));
        assert_eq!(broken(|r| r.stop = vec!["x".into(); 8]), None);
        assert_eq!(broken(|r| r.stop = vec![String::new()]), Some("stop"));
        assert_eq!(broken(|r| r.stop = vec!["x".repeat(257)]), Some("stop"));
        assert_eq!(broken(|r| r.stop = vec!["x".repeat(256)]), None);
    }

    #[test]
    fn the_seed_is_bound_by_its_hash() {
        let by_hand = Sha256::digest([b"cocoon/seed/1\0".as_slice(), &[3; 32]].concat());
        assert_eq!(request().seed_commitment(), Digest(by_hand.into()));
    }

    #[test]
    fn a_prompt_has_at_most_a_token_a_byte_and_a_template() {
        assert_eq!(request().input_tokens_max(), 5 + 512);
        let chat = JobRequest { prompt: Prompt::Chat(vec![message("abc"), message("d")]), ..request() };
        assert_eq!(chat.input_tokens_max(), (4 + 3 + 16) + (4 + 1 + 16) + 512);
    }

    #[test]
    fn reasons_read_as_sentences() {
        let amount = crate::amount::Amount::from_nano(1_500_000_000);
        assert_eq!(StopReason::Unpaid { unpaid: amount }.to_string(), "no voucher came for work worth 1.5");
        assert_eq!(StopReason::Refused(Refusal::Expired).to_string(), "the job was refused: the proposal or agreement has expired");
    }
}
