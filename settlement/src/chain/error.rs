//! What can go wrong between us and a chain.

use cocoon_market::NetworkId;

/// An error of the layer below, kept for the log.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a chain did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// No answer: no connection, or the time for it ran out.
    #[error("chain endpoint {endpoint} cannot be reached")]
    Unreachable {
        /// Its base url.
        endpoint: String,
        /// What the connection said.
        #[source]
        source: Cause,
    },
    /// The endpoint wants fewer requests, or would if it were asked as often as we would like to.
    #[error("chain endpoint {endpoint} limits our requests{}; an API key raises the limit", wait_text(*wait_s))]
    RateLimited {
        /// Its base url.
        endpoint: String,
        /// Seconds until it may be asked again, if that is known.
        wait_s: Option<u64>,
    },
    /// The endpoint does not let us in.
    #[error("chain endpoint {endpoint} does not accept our API key, or wants one (status {status})")]
    KeyRefused {
        /// Its base url.
        endpoint: String,
        /// The HTTP status.
        status: u16,
    },
    /// A message was refused that may have arrived at an earlier attempt, and then was refused because it was taken.
    #[error("the message was refused, but may have been taken before; only its transaction tells")]
    Unclear,
    /// A block that is from the future by this machine's clock.
    #[error("chain endpoint {endpoint} is {ahead_s} s ahead of this machine's clock; one of them is wrong")]
    Ahead {
        /// Its base url.
        endpoint: String,
        /// By so much, in seconds.
        ahead_s: u64,
    },
    /// The newest block is old.
    #[error("the newest block at chain endpoint {endpoint} is {age_s} s old; it lags, or this machine's clock is wrong")]
    Stale {
        /// Its base url.
        endpoint: String,
        /// How old, in seconds.
        age_s: u64,
    },
    /// The endpoint answered that it cannot serve now.
    #[error("chain endpoint {endpoint} is unavailable (status {status}): {said}")]
    Unavailable {
        /// Its base url.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// Its words, shortened.
        said: String,
    },
    /// The next block has no room left; the one after it may have.
    #[error("the block in the making is full")]
    BlockFull,
    /// The message will not become a transaction as the chain stands.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The endpoint's answer makes no sense.
    #[error("malformed answer to {call}: {fault}")]
    Malformed {
        /// What was asked.
        call: &'static str,
        /// What is wrong with the answer.
        fault: AnswerFault,
    },
    /// Two endpoints contradict each other where money depends on the answer.
    #[error("chain endpoints disagree about {about}")]
    Disagreement {
        /// What they disagree about.
        about: Disputed,
    },
    /// One of two endpoints is so far behind the other that they cannot be compared.
    #[error("one of the two chain endpoints is {blocks} blocks behind the other")]
    Lagging {
        /// So far.
        blocks: u32,
    },
    /// There is no such thing on the chain.
    #[error("the chain has no such {0}")]
    NotFound(Sought),
    /// This chain does not offer the call.
    #[error("this chain does not offer {0}")]
    Unsupported(&'static str),
    /// The request cannot be made as it is.
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// The endpoint serves another network than the one we are on.
    #[error("expected {expected}, but the endpoint serves {found}")]
    WrongNetwork {
        /// Ours.
        expected: NetworkId,
        /// The endpoint's.
        found: NetworkId,
    },
    /// The embedded chain could not read or write its store.
    #[error("the embedded chain's store failed")]
    Storage(#[source] Cause),
    /// The embedded chain's virtual machine failed, which is a defect of this program, not of a contract.
    #[error("the embedded chain failed to execute")]
    Execution(#[source] Cause),
}

impl ChainError {
    /// Whether the same request may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            // What is the asker's fault stays one, but for a time-out (408).
            Self::Unavailable { status, .. } => !matches!(*status, 400..=407 | 409..=499),
            Self::Unreachable { .. }
            | Self::RateLimited { .. }
            | Self::Unclear
            | Self::Ahead { .. }
            | Self::Stale { .. }
            | Self::BlockFull
            | Self::Malformed { .. }
            | Self::Disagreement { .. }
            | Self::Lagging { .. }
            | Self::Storage(_) => true,
            Self::Rejected(_)
            | Self::KeyRefused { .. }
            | Self::NotFound(_)
            | Self::Unsupported(_)
            | Self::BadRequest(_)
            | Self::WrongNetwork { .. }
            | Self::Execution(_) => false,
        }
    }

    /// Whether a message that this is said of may be on its way all the same.
    pub const fn may_have_arrived(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Unavailable { .. } | Self::Unclear | Self::Malformed { .. } => true,
            Self::RateLimited { .. }
            | Self::KeyRefused { .. }
            | Self::Ahead { .. }
            | Self::Stale { .. }
            | Self::BlockFull
            | Self::Rejected(_)
            | Self::Disagreement { .. }
            | Self::Lagging { .. }
            | Self::NotFound(_)
            | Self::Unsupported(_)
            | Self::BadRequest(_)
            | Self::WrongNetwork { .. }
            | Self::Storage(_)
            | Self::Execution(_) => false,
        }
    }
}

fn wait_text(wait_s: Option<u64>) -> String {
    wait_s.map(|wait_s| format!(" for {wait_s} s")).unwrap_or_default()
}

/// Why a chain refused a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The bytes are no bag of one cell, or the cell is no message.
    #[error("the message is malformed")]
    Malformed,
    /// More bytes than the network carries.
    #[error("the message has {bytes} bytes, above the limit of {bytes_max}")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// Cells nested deeper than the network allows.
    #[error("the message is {depth} cells deep, above the limit of {depth_max}")]
    TooDeep {
        /// What it has.
        depth: u16,
        /// What is allowed.
        depth_max: u16,
    },
    /// Only messages from outside can be sent; the others come from contracts.
    #[error("not an external message")]
    NotExternal,
    /// No such workchain.
    #[error("the destination's workchain {0} is not part of this chain")]
    Workchain(i8),
    /// The destination did not accept the message, or there is nothing there to accept it.
    #[error("the destination did not accept the message ({})", exit_code_text(*exit_code))]
    NotAccepted {
        /// With what its code ended, if it ran at all.
        exit_code: Option<i32>,
    },
    /// The endpoint refused in words that we do not know.
    #[error("the chain refused the message: {said}")]
    Unexplained {
        /// Its words, shortened.
        said: String,
    },
}

fn exit_code_text(exit_code: Option<i32>) -> String {
    exit_code.map_or_else(|| "its code did not run".to_owned(), |code| format!("exit code {code}"))
}

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerFault {
    /// Not JSON.
    #[error("it is not JSON")]
    NotJson,
    /// More bytes than any honest answer has.
    #[error("it has more than {0} bytes")]
    TooLarge(usize),
    /// A field is absent or of another type.
    #[error("field {0} is missing or wrong")]
    Field(&'static str),
    /// A cell that is none.
    #[error("field {0} is not a bag of one cell")]
    Cell(&'static str),
    /// A transaction that is none, or another than it says.
    #[error("a transaction does not match its id or cannot be read")]
    Transaction,
    /// A stack entry of unknown form.
    #[error("a stack entry cannot be read")]
    Stack,
    /// More entries than were asked for.
    #[error("it has more entries than were asked for")]
    TooMany,
    /// Transactions that are not linked newest to oldest, or of another account.
    #[error("transactions do not follow one another")]
    Order,
}

/// What two endpoints disagree about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Disputed {
    /// The same block has two hashes.
    #[error("a block")]
    Block,
    /// What an account holds.
    #[error("the balance of an account")]
    Balance,
    /// The code of a contract.
    #[error("the code of a contract")]
    Code,
    /// The data of a contract.
    #[error("the data of a contract")]
    Data,
    /// Whether an account is deployed or frozen.
    #[error("the status of an account")]
    Status,
    /// The transactions of an account.
    #[error("the transactions of an account")]
    Transactions,
    /// The result of a get-method.
    #[error("the result of a get-method")]
    Method,
    /// A configuration parameter.
    #[error("a configuration parameter")]
    Config,
    /// Which network they serve.
    #[error("the network they serve")]
    Network,
}

/// What was looked for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Sought {
    /// A block.
    #[error("block")]
    Block,
    /// A transaction.
    #[error("transaction")]
    Transaction,
    /// A configuration parameter.
    #[error("configuration parameter")]
    ConfigParam,
    /// Code to run at an address.
    #[error("contract")]
    Contract,
}
