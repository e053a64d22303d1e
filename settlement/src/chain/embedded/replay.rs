//! The chain's log, executed once more.
//!
//! Every block names its transactions, and those that came from outside carry the message that caused them. From these messages and the times
//! of the blocks alone, the whole chain can be made again: a block that then has another hash was tampered with, or was made by
//! another version of this program.

use tycho_types::models::{MsgInfo, Transaction};

use super::block::{OpenBlock, execution};
use super::committed::Committed;
use super::store::{BlockRecord, Store, StoreError};
use super::{Embedded, OpenError, start};
use crate::chain::{Address, ChainError};

/// Why a chain could not be made again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log cannot be read, or the second chain cannot be written.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The second chain has no beginning.
    #[error("the chain's beginning cannot be made again")]
    Start(#[from] OpenError),
    /// A block does not come out as it is written.
    #[error("block {seqno} does not come out of its messages as it is written")]
    Differs {
        /// The first such block.
        seqno: u32,
    },
    /// A block was written by a version of this program that did not list its transactions.
    #[error("block {seqno} does not list its transactions")]
    NoLog {
        /// The first such block.
        seqno: u32,
    },
}

impl From<StoreError> for ReplayError {
    fn from(error: StoreError) -> Self {
        Self::Chain(error.into())
    }
}

impl Embedded {
    /// Makes the whole chain again, in memory, and compares it block by block. Returns how many blocks came out as they are written. The chain stands
    /// still meanwhile.
    ///
    /// # Errors
    /// [`ReplayError::Differs`] at the first block that does not.
    pub fn replay(&self) -> Result<u32, ReplayError> {
        let inner = self.settled()?;
        let recorded = &inner.committed;
        let find = |seqno| recorded.store.block(seqno)?.ok_or(StoreError::Damaged("list of blocks"));
        let store = Store::in_memory()?;
        let began_at = cocoon_market::Timestamp(find(0)?.unix_ms);
        start(&store, &self.faucet.genesis(began_at).map_err(OpenError::from)?, began_at)?;
        let first = store.head()?.ok_or(StoreError::Damaged("list of blocks"))?;
        let mut again = Committed::new(store, first)?;
        compare(again.head(), &find(0)?)?;
        for seqno in 1..=recorded.head().seqno {
            let record = find(seqno)?;
            self.replay_block(&mut again, recorded, &record)?;
            compare(again.head(), &record)?;
        }
        Ok(recorded.head().seqno)
    }

    fn replay_block(&self, again: &mut Committed, recorded: &Committed, record: &BlockRecord) -> Result<(), ReplayError> {
        let seqno = record.seqno;
        let transactions = recorded.store.block_transactions(seqno)?.ok_or(ReplayError::NoLog { seqno })?;
        let mut open = OpenBlock::new(*again.head(), record.unix_ms, self.limits);
        open.deliver_all(again, &self.config)?;
        for (account, cell) in transactions {
            let message = cell.parse::<Transaction>().map_err(execution)?.in_msg;
            let Some(message) = message else { continue };
            if let MsgInfo::ExtIn(_) = message.parse::<MsgInfo>().map_err(execution)? {
                let (workchain, hash) = account.split_first().ok_or(StoreError::Damaged("list of transactions"))?;
                let hash = hash.try_into().map_err(|_| StoreError::Damaged("list of transactions"))?;
                let address = Address { workchain: i8::from_be_bytes([*workchain]), hash };
                match open.accept(again, &self.config, &address, &message) {
                    Err(ChainError::Rejected(_) | ChainError::BlockFull) => return Err(ReplayError::Differs { seqno }),
                    accepted => accepted?,
                }
            }
        }
        open.deliver_all(again, &self.config)?;
        Ok(again.commit(&mut open)?)
    }
}

fn compare(again: &BlockRecord, record: &BlockRecord) -> Result<(), ReplayError> {
    if again == record { Ok(()) } else { Err(ReplayError::Differs { seqno: record.seqno }) }
}
