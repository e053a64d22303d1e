//! Jobs: the frames of `/cocoon/job/1`.
//!
//! ```text
//! requester                                provider
//!   Start(job, work)  -------------------->
//!               <-------------  Chunk(tokens, text, usage so far)      one or more, then
//!               <-------------  Receipt(for the slice)
//!   Voucher(over all receipts so far)  --->
//!               ...
//!               <-------------  Receipt(final)
//!               <-------------  Done(reason, usage)
//!   Voucher  ----------------------------->
//! ```
//!
//! That is [`Work::Generate`]. [`Work::Embed`] goes the same way, with `Vectors(vectors, usage so far)` in the place of
//! chunks. Either side may end it at any time: the requester with `Cancel`, the provider with `Stopped`; what was
//! receipted is still owed, what wasn't is not.

mod embed;
mod generate;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use embed::{
    Embed, TEXT_ENDS_TOKENS, TEXTS_BYTES_MAX, TEXTS_MAX, VECTOR_WIDTH_MAX, VECTORS_BYTES_MAX, Vector, Vectors, text_tokens_max,
};
pub use generate::{
    CHAT_MESSAGES_MAX, ChatMessage, Generate, MESSAGE_TOKENS_MAX, Prompt, STOP_SEQUENCE_BYTES_MAX, STOP_SEQUENCES_MAX, Sampling,
    TEMPLATE_TOKENS_MAX,
};

use crate::agreement::Refusal;
use crate::ids::{AgreementId, Digest, JobId};
use crate::price::Usage;
use crate::receipt::SignedReceipt;
use crate::signed::Inconsistent;
use crate::voucher::SignedVoucher;

/// The largest frame of a job stream: a prompt of a 32k context with room to spare.
pub const JOB_FRAME_BYTES_MAX: usize = 1 << 20;

/// Tokens in one chunk: a chunk is a handful of tokens, never a whole answer.
pub const CHUNK_TOKENS_MAX: usize = 1024;

/// What kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    /// Text is written.
    Generate,
    /// Texts are turned into vectors.
    Embed,
}

impl std::fmt::Display for WorkKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Generate => "text generation",
            Self::Embed => "embeddings",
        })
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Write an answer. Tokens read and tokens written are metered.
    Generate(Generate),
    /// Give the vectors of texts. Tokens read are metered.
    Embed(Embed),
}

impl Work {
    /// Its kind.
    pub const fn kind(&self) -> WorkKind {
        match self {
            Self::Generate(_) => WorkKind::Generate,
            Self::Embed(_) => WorkKind::Embed,
        }
    }

    /// The most tokens that its input can honestly have: no tokenizer makes more than one token of a byte, and a chat
    /// template or an encoder adds its own.
    pub fn input_tokens_max(&self) -> u64 {
        match self {
            Self::Generate(generate) => generate.input_tokens_max(),
            Self::Embed(embed) => embed.input_tokens_max().last().copied().unwrap_or(0),
        }
    }
}

/// A requester's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRequest {
    /// Under which agreement.
    pub agreement: AgreementId,
    /// Chosen by the requester at random.
    pub job: JobId,
    /// What is to be done.
    pub work: Work,
}

impl JobRequest {
    /// Checks bounds.
    ///
    /// # Errors
    /// [`Inconsistent`], naming the field.
    pub fn check(&self) -> Result<(), Inconsistent> {
        match &self.work {
            Work::Generate(generate) => generate.check(),
            Work::Embed(embed) => embed.check(),
        }
    }

    /// The commitment to the sampling seed that stands in the receipts; all zero where nothing is drawn.
    pub fn seed_commitment(&self) -> Digest {
        match &self.work {
            Work::Generate(Generate { seed, .. }) => {
                Digest(Sha256::new().chain_update(b"cocoon/seed/1\0").chain_update(seed).finalize().into())
            }
            Work::Embed(_) => Digest([0; 32]),
        }
    }
}

/// Why a job ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model said it was done, or every text has its vector.
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
    /// A text is longer than the model reads. Nothing was read.
    #[error("text {index} (counted from 0) has {tokens} tokens, and the model reads {context}")]
    TextTooLong {
        /// Which of the texts, from 0.
        index: u32,
        /// Its tokens.
        tokens: u32,
        /// The most that the model reads.
        context: u32,
    },
    /// Prompt and answer together need more memory for keys and values than this provider has. Nothing was read.
    #[error(
        "the prompt has {prompt_tokens} tokens and the answer may have {answer_tokens}, and the provider has memory for {tokens_max} \
         together: {needed_bytes} bytes of keys and values, of which {available_bytes} are there"
    )]
    MemoryExceeded {
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// The most that the answer may have: what was asked for, within the context.
        answer_tokens: u32,
        /// Tokens of prompt and answer together that there is memory for.
        tokens_max: u32,
        /// Bytes of keys and values that prompt and answer can need.
        needed_bytes: u64,
        /// Bytes that there are for them.
        available_bytes: u64,
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
    /// What is left of the cap does not pay for reading the prompt, or the texts.
    #[error("reading the input costs {cost}, and {left} is left of the cap")]
    CapTooSmall {
        /// What the input costs.
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
    /// Some vectors.
    Vectors(Vectors),
    /// For the work since the last receipt.
    Receipt(Box<SignedReceipt>),
    /// The work is complete and its final receipt was sent.
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
        JobRequest { agreement: AgreementId([1; 32]), job: JobId([2; 16]), work: Work::Generate(generate()) }
    }

    fn generate() -> Generate {
        Generate { prompt: Prompt::Raw("hello".into()), output_tokens_max: 1, sampling: Sampling::GREEDY, stop: Vec::new(), seed: [3; 32] }
    }

    fn broken(alter: impl FnOnce(&mut Generate)) -> Option<&'static str> {
        let mut generate = generate();
        alter(&mut generate);
        JobRequest { work: Work::Generate(generate), ..request() }.check().err().map(|inconsistent| inconsistent.field)
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
        assert_eq!(embed().seed_commitment(), Digest([0; 32]), "nothing is drawn");
    }

    fn embed() -> JobRequest {
        JobRequest { work: Work::Embed(Embed { texts: vec!["abc".into(), "d".into()] }), ..request() }
    }

    #[test]
    fn an_order_for_vectors_is_checked_and_bounded_too() {
        assert_eq!((embed().check(), embed().work.kind(), embed().work.input_tokens_max()), (Ok(()), WorkKind::Embed, 4 + 2 * 2));
        let empty = JobRequest { work: Work::Embed(Embed { texts: vec![] }), ..request() };
        assert_eq!(empty.check().map_err(|inconsistent| inconsistent.field), Err("texts"));
        assert_eq!(empty.work.input_tokens_max(), 0);
        let refused = [WorkKind::Generate, WorkKind::Embed].map(|serves| Refusal::OtherWork { serves }.to_string());
        assert!(refused[0].starts_with("this model serves text generation;") && refused[1].starts_with("this model serves embeddings;"));
        let long = StopReason::TextTooLong { index: 2, tokens: 300, context: 256 };
        assert_eq!(long.to_string(), "text 2 (counted from 0) has 300 tokens, and the model reads 256");
    }

    #[test]
    fn a_prompt_has_at_most_a_token_a_byte_and_a_template() {
        assert_eq!(request().work.input_tokens_max(), 5 + 512);
        let chat = Generate { prompt: Prompt::Chat(vec![message("abc"), message("d")]), ..generate() };
        assert_eq!(Work::Generate(chat).input_tokens_max(), (4 + 3 + 16) + (4 + 1 + 16) + 512);
    }

    #[test]
    fn reasons_read_as_sentences() {
        let amount = crate::amount::Amount::from_nano(1_500_000_000);
        assert_eq!(StopReason::Unpaid { unpaid: amount }.to_string(), "no voucher came for work worth 1.5");
        let large =
            StopReason::MemoryExceeded { prompt_tokens: 40, answer_tokens: 90, tokens_max: 97, needed_bytes: 5000, available_bytes: 3000 };
        assert_eq!(
            large.to_string(),
            "the prompt has 40 tokens and the answer may have 90, and the provider has memory for 97 together: 5000 bytes of keys and \
             values, of which 3000 are there"
        );
        assert_eq!(StopReason::Refused(Refusal::Expired).to_string(), "the job was refused: the proposal or agreement has expired");
    }
}
