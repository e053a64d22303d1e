//! What the embedded chain tells about itself to those who check it: whole cells, and the surroundings that code ran in.

use tonlib_core::cell::ArcCell;
use tycho_types::cell::CellBuilder;

use super::block::{OpenBlock, execution};
use super::store::{BlockRecord, account_key};
use super::{Embedded, block, keep};
use crate::chain::codec::to_edge;
use crate::chain::{Address, ChainError, Hash, Head, Sought};

/// What a block is to the code that runs in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surroundings {
    /// Number of the block.
    pub seqno: u32,
    /// When it is made, in seconds since the Unix epoch.
    pub unix_s: u64,
    /// Its logical time. The first transaction has the next one, and every other one a greater.
    pub lt: u64,
    /// What randomness in it is drawn from.
    pub seed: Hash,
    /// The block before.
    pub previous: Head,
}

impl Embedded {
    /// The configuration, as TON keeps it: a dictionary of parameters.
    ///
    /// # Errors
    /// [`ChainError::Execution`] if it cannot be carried over.
    pub fn config_cell(&self) -> Result<ArcCell, ChainError> {
        let root = self.config.raw.params.as_dict().root().as_ref().ok_or(ChainError::NotFound(Sought::ConfigParam))?;
        to_edge(root).map_err(|error| ChainError::Execution(error.into()))
    }

    /// An account with its newest transaction's name, as TON keeps it; also where there is none.
    ///
    /// # Errors
    /// [`ChainError::Storage`].
    pub fn shard_account(&self, address: &Address) -> Result<ArcCell, ChainError> {
        let account = self.current()?.committed.account(&account_key(address))?;
        let cell = CellBuilder::build_from(&account).map_err(execution)?;
        to_edge(&cell).map_err(|error| ChainError::Execution(error.into()))
    }

    /// What a block was to the code in it.
    ///
    /// # Errors
    /// [`ChainError::NotFound`] for the first block, in which no code ran, and for one that is not there.
    pub fn surroundings(&self, seqno: u32) -> Result<Surroundings, ChainError> {
        let inner = self.current()?;
        let find = |seqno| inner.committed.store.block(seqno)?.ok_or(ChainError::NotFound(Sought::Block));
        let before = seqno.checked_sub(1).ok_or(ChainError::NotFound(Sought::Block))?;
        let (block, previous) = (find(seqno)?, find(before)?);
        Ok(Surroundings {
            seqno,
            unix_s: block.head().unix_s,
            lt: block.lt_start,
            seed: block::seed_after(&previous.hash),
            previous: previous.head(),
        })
    }

    /// What the block in the making is to the code that runs in it now.
    ///
    /// # Errors
    /// [`ChainError::Storage`].
    pub fn next_surroundings(&self) -> Result<Surroundings, ChainError> {
        let mut inner = self.current()?;
        let open = self.open_block(&mut inner)?;
        let surroundings = open.surroundings();
        keep(&mut inner, open);
        Ok(surroundings)
    }
}

impl OpenBlock {
    fn surroundings(&self) -> Surroundings {
        let BlockRecord { seqno, hash, .. } = *self.head();
        Surroundings {
            seqno: seqno.saturating_add(1),
            unix_s: u64::from(self.unix_s()),
            lt: self.lt_start(),
            seed: block::seed_after(&hash),
            previous: self.head().head(),
        }
    }
}
