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
pub(crate) mod search;
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

/// Passes the named calls on, as they are, to the chain behind a wrapper.
macro_rules! pass_on {
    ($this:ident => $chain:expr; $($call:ident)+) => { $($crate::chain::pass_on!(@$call $this => $chain);)+ };
    (@network $this:ident => $chain:expr) => {
        fn network(&self) -> cocoon_market::NetworkId {
            let $this = self;
            $chain.network()
        }
    };
    (@head $this:ident => $chain:expr) => {
        fn head(&self) -> Result<$crate::chain::Head, $crate::chain::ChainError> {
            let $this = self;
            $chain.head()
        }
    };
    (@block $this:ident => $chain:expr) => {
        fn block(&self, seqno: u32) -> Result<$crate::chain::Head, $crate::chain::ChainError> {
            let $this = self;
            $chain.block(seqno)
        }
    };
    (@covered_lt $this:ident => $chain:expr) => {
        fn covered_lt(&self, address: &$crate::chain::Address, seqno: u32) -> Result<u64, $crate::chain::ChainError> {
            let $this = self;
            $chain.covered_lt(address, seqno)
        }
    };
    (@account $this:ident => $chain:expr) => {
        fn account(&self, address: &$crate::chain::Address) -> Result<$crate::chain::AccountState, $crate::chain::ChainError> {
            let $this = self;
            $chain.account(address)
        }
    };
    (@transactions $this:ident => $chain:expr) => {
        fn transactions(
            &self,
            address: &$crate::chain::Address,
            page: $crate::chain::Page,
        ) -> Result<Vec<$crate::chain::Transaction>, $crate::chain::ChainError> {
            let $this = self;
            $chain.transactions(address, page)
        }
    };
    (@run_get_method $this:ident => $chain:expr) => {
        fn run_get_method(
            &self,
            address: &$crate::chain::Address,
            method: &str,
            arguments: &[$crate::chain::StackItem],
        ) -> Result<$crate::chain::MethodResult, $crate::chain::ChainError> {
            let $this = self;
            $chain.run_get_method(address, method, arguments)
        }
    };
    (@send_boc $this:ident => $chain:expr) => {
        fn send_boc(&self, boc: &[u8]) -> Result<$crate::chain::Hash, $crate::chain::ChainError> {
            let $this = self;
            $chain.send_boc(boc)
        }
    };
    (@config_param $this:ident => $chain:expr) => {
        fn config_param(&self, index: u32) -> Result<tonlib_core::cell::ArcCell, $crate::chain::ChainError> {
            let $this = self;
            $chain.config_param(index)
        }
    };
    (@block_transactions $this:ident => $chain:expr) => {
        fn block_transactions(&self, seqno: u32) -> Result<Vec<$crate::chain::Transaction>, $crate::chain::ChainError> {
            let $this = self;
            $chain.block_transactions(seqno)
        }
    };
    (@estimate_fees $this:ident => $chain:expr) => {
        fn estimate_fees(&self, query: &$crate::chain::FeeQuery) -> Result<$crate::chain::Fees, $crate::chain::ChainError> {
            let $this = self;
            $chain.estimate_fees(query)
        }
    };
}
pub(crate) use pass_on;

impl<C: Chain + ?Sized> Chain for Arc<C> {
    pass_on!(this => (**this); network head block covered_lt account transactions run_get_method send_boc config_param block_transactions estimate_fees);
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
