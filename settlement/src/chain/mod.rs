//! Chains behind one trait: serialized messages go in; account states, get-methods and transactions come out.
//!
//! | chain | what it is | feature |
//! |---|---|---|
//! | [`embedded`] | a TON chain in this process: real contract code, real gas and fees, on disk | `embedded` |
//! | [`toncenter`] | the HTTP API of toncenter, version 2: a client for testnet and mainnet, a server for any chain | `http` for the client |
//! | [`quorum`] | two chains that must agree before money depends on the answer | |
//!
//! [`confirmation`] says of a transaction whether it will stay: by the blocks that lie on it.
//!
//! Everything here blocks; async callers run it on a thread that may block.
//!
//! Modules in reading order: [`address`], [`types`], [`error`], [`codec`], [`confirmation`], then the chains.

pub mod address;
pub mod codec;
pub mod confirmation;
pub mod error;
pub mod types;

#[cfg(feature = "embedded")]
pub mod embedded;
pub mod quorum;
#[cfg(any(feature = "embedded", feature = "http"))]
pub mod toncenter;

#[cfg(all(test, feature = "embedded"))]
pub(crate) mod testing;

use std::sync::Arc;

use cocoon_market::{Amount, NetworkId};
use tonlib_core::cell::ArcCell;

pub use address::{Address, AddressError, BASECHAIN, Bounce, MASTERCHAIN};
pub use confirmation::{Confirmations, Standing};
pub use error::{AnswerFault, ChainError, Disputed, Rejection, Sought};
pub use types::{
    AccountState, AccountStatus, FeeQuery, Fees, Hash, Head, Message, MessageKind, MethodResult, PAGE_MAX, Page, Signatures, StackItem,
    Transaction, TxId,
};

/// Bytes an external message may have. The network's own limit.
pub const EXTERNAL_BYTES_MAX: usize = 65_535;
/// Cells an external message may be deep. The network's own limit.
pub const EXTERNAL_DEPTH_MAX: u16 = 512;
/// Values a get-method may be given. No contract of ours takes more than a handful; TVM's own limit is 255.
pub const METHOD_ARGUMENTS_MAX: usize = 64;
/// Bytes of a get-method's name. Names are hashed to 16 bits anyway; compilers accept no more.
pub const METHOD_NAME_BYTES_MAX: usize = 128;

/// A TON chain, near or far.
///
/// # Errors
/// Every method may fail with [`ChainError::Unreachable`] and its relatives for a remote chain, or [`ChainError::Storage`] for
/// the embedded one; [`ChainError::is_retryable`] tells whether to try again.
pub trait Chain: Send + Sync {
    /// Which network this is.
    fn network(&self) -> NetworkId;

    /// The newest block.
    fn head(&self) -> Result<Head, ChainError>;

    /// A block of the past.
    fn block(&self, seqno: u32) -> Result<Head, ChainError>;

    /// The logical time up to which the chain as of masterchain block `seqno` has what happened to this account: all its transactions
    /// before it are in that block or in one that it builds on. With [`Chain::head`] this tells how deep a transaction lies, see
    /// [`confirmation`].
    ///
    /// # Errors
    /// [`ChainError::Unsupported`] where the chain cannot tell.
    fn covered_lt(&self, _address: &Address, _seqno: u32) -> Result<u64, ChainError> {
        Err(ChainError::Unsupported("telling how deep a transaction lies"))
    }

    /// The state of an account. One that does not exist is [`AccountStatus::Uninitialized`] and empty.
    fn account(&self, address: &Address) -> Result<AccountState, ChainError>;

    /// Transactions of an account, newest first.
    fn transactions(&self, address: &Address, page: Page) -> Result<Vec<Transaction>, ChainError>;

    /// Runs a get-method of the contract at `address`. Arguments stand in the order of the method's parameters.
    ///
    /// # Errors
    /// [`ChainError::NotFound`] when there is no contract. A method that ends badly is no error: see [`MethodResult::exit_code`].
    fn run_get_method(&self, address: &Address, method: &str, arguments: &[StackItem]) -> Result<MethodResult, ChainError>;

    /// Sends a serialized external message and returns the root hash it will have as a transaction's `in_message`.
    ///
    /// That the chain took it does not mean that it took effect: look for the transaction.
    ///
    /// # Errors
    /// [`ChainError::Rejected`] when it will not become a transaction.
    fn send_boc(&self, boc: &[u8]) -> Result<Hash, ChainError>;

    /// A parameter of the chain's configuration: gas and forwarding prices among them.
    fn config_param(&self, index: u32) -> Result<ArcCell, ChainError>;

    /// The transactions of a block, in the order of their execution.
    ///
    /// # Errors
    /// [`ChainError::Unsupported`] where the chain cannot list them.
    fn block_transactions(&self, _seqno: u32) -> Result<Vec<Transaction>, ChainError> {
        Err(ChainError::Unsupported("listing the transactions of a block"))
    }

    /// What a message from outside would cost now. Nothing is sent.
    ///
    /// # Errors
    /// [`ChainError::Rejected`] when it would not be accepted, [`ChainError::Unsupported`] where the chain cannot tell.
    fn estimate_fees(&self, _query: &FeeQuery) -> Result<Fees, ChainError> {
        Err(ChainError::Unsupported("estimating fees"))
    }
}

impl<C: Chain + ?Sized> Chain for Arc<C> {
    fn network(&self) -> NetworkId {
        C::network(self)
    }

    fn head(&self) -> Result<Head, ChainError> {
        C::head(self)
    }

    fn block(&self, seqno: u32) -> Result<Head, ChainError> {
        C::block(self, seqno)
    }

    fn covered_lt(&self, address: &Address, seqno: u32) -> Result<u64, ChainError> {
        C::covered_lt(self, address, seqno)
    }

    fn account(&self, address: &Address) -> Result<AccountState, ChainError> {
        C::account(self, address)
    }

    fn transactions(&self, address: &Address, page: Page) -> Result<Vec<Transaction>, ChainError> {
        C::transactions(self, address, page)
    }

    fn run_get_method(&self, address: &Address, method: &str, arguments: &[StackItem]) -> Result<MethodResult, ChainError> {
        C::run_get_method(self, address, method, arguments)
    }

    fn send_boc(&self, boc: &[u8]) -> Result<Hash, ChainError> {
        C::send_boc(self, boc)
    }

    fn config_param(&self, index: u32) -> Result<ArcCell, ChainError> {
        C::config_param(self, index)
    }

    fn block_transactions(&self, seqno: u32) -> Result<Vec<Transaction>, ChainError> {
        C::block_transactions(self, seqno)
    }

    fn estimate_fees(&self, query: &FeeQuery) -> Result<Fees, ChainError> {
        C::estimate_fees(self, query)
    }
}

/// Free money, on the development chain alone.
pub trait Faucet: Send + Sync {
    /// Sends `amount` to `address` by a real transfer and returns the hash of the external message that does it.
    ///
    /// # Errors
    /// As for [`Chain::send_boc`].
    fn fund(&self, address: &Address, amount: Amount) -> Result<Hash, ChainError>;
}

/// Checks what every chain asks of a get-method's call.
///
/// # Errors
/// [`ChainError::BadRequest`].
pub fn check_method_call(method: &str, arguments: &[StackItem]) -> Result<(), ChainError> {
    if method.is_empty() || method.len() > METHOD_NAME_BYTES_MAX {
        return Err(ChainError::BadRequest("the name of a get-method has 1 to 128 bytes"));
    }
    if arguments.len() > METHOD_ARGUMENTS_MAX {
        return Err(ChainError::BadRequest("a get-method takes at most 64 arguments"));
    }
    Ok(())
}

/// Checks what every chain asks of a page.
///
/// # Errors
/// [`ChainError::BadRequest`].
pub fn check_page(page: Page) -> Result<(), ChainError> {
    if page.limit == 0 || page.limit > PAGE_MAX {
        return Err(ChainError::BadRequest("a page lists 1 to 100 transactions"));
    }
    Ok(())
}
