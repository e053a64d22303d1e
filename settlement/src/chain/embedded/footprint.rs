//! The digest of the cells that an account consists of.
//!
//! Since version 11 of its rules, TON stores with every account of 26 cells or more the hash of a dictionary of them: each cell's hash,
//! how often it is referred to, and how many proofs are nested in it. It spares nodes from counting all over again; here it is there so that an
//! account has the hash it has on TON.

use std::collections::BTreeMap;

use tycho_executor::ExecutorState;
use tycho_types::cell::{Cell, CellBuilder, CellContext, DynCell};
use tycho_types::error::Error;
use tycho_types::models::{AccountState, AccountStatus, ShardAccount, StateInit, StorageExtra};
use tycho_types::prelude::{Dict, HashBytes, Store};

/// Cells from which on an account has a digest, its own root cell counted: mainnet's parameter 43.
const CELLS_MIN: usize = 26;
/// Nested proofs are counted up to here; what has two bits has no room for more.
const PROOFS_MAX: u8 = 3;

/// What the dictionary says of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    references: u32,
    nested_proofs: u8,
}

impl Store for Entry {
    fn store_into(&self, builder: &mut CellBuilder, _: &dyn CellContext) -> Result<(), Error> {
        builder.store_u32(self.references)?;
        builder.store_small_uint(self.nested_proofs, 2)
    }
}

/// Brings the digest up to date with what a transaction made of the account that was `before`.
pub(super) fn update(state: &mut ExecutorState<'_>, before: &ShardAccount) -> Result<(), Error> {
    let after = match (&state.state, state.end_status) {
        (AccountState::Active(after), AccountStatus::Active) => Some(after),
        _ => None,
    };
    let same = before.load_account()?.is_some_and(|before| match (&before.state, after) {
        (AccountState::Active(before), Some(after)) => roots(before).eq(roots(after)),
        _ => false,
    });
    if !same {
        state.storage_stat.storage_extra = after.map_or(Ok(StorageExtra::None), digest)?;
    }
    Ok(())
}

fn roots(state: &StateInit) -> impl Iterator<Item = &Cell> {
    [state.code.as_ref(), state.data.as_ref(), state.libraries.root().as_ref()].into_iter().flatten()
}

fn digest(state: &StateInit) -> Result<StorageExtra, Error> {
    let mut cells = BTreeMap::new();
    for root in roots(state) {
        count(root.as_ref(), &mut cells);
    }
    if cells.len().saturating_add(1) < CELLS_MIN {
        return Ok(StorageExtra::None);
    }
    let entries: Vec<(HashBytes, Entry)> = cells.into_iter().collect();
    let dictionary = Dict::<HashBytes, Entry>::try_from_sorted_slice(&entries)?;
    Ok(dictionary.into_root().map_or(StorageExtra::None, |root| StorageExtra::DictHash(*root.repr_hash())))
}

/// Counts a reference to a cell and, the first time, those within it. Returns how many proofs are nested in it. Accounts are at most 512
/// cells deep, so recursion ends in time.
fn count(cell: &DynCell, cells: &mut BTreeMap<HashBytes, Entry>) -> u8 {
    if let Some(known) = cells.get_mut(cell.repr_hash()) {
        known.references = known.references.saturating_add(1);
        return known.nested_proofs;
    }
    let within = cell.references().map(|reference| count(reference, cells)).max().unwrap_or(0);
    let nested_proofs = within.saturating_add(u8::from(cell.cell_type().is_merkle())).min(PROOFS_MAX);
    cells.insert(*cell.repr_hash(), Entry { references: 1, nested_proofs });
    nested_proofs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(value: u32, references: &[Cell]) -> Cell {
        let mut builder = CellBuilder::new();
        builder.store_u32(value).unwrap();
        references.iter().for_each(|reference| builder.store_reference(reference.clone()).unwrap());
        builder.build().unwrap()
    }

    fn chain_of(length: u32) -> Cell {
        (1..length).fold(cell(0, &[]), |inner, value| cell(value, &[inner]))
    }

    fn state(code: Cell, data: Cell) -> StateInit {
        StateInit { code: Some(code), data: Some(data), ..StateInit::default() }
    }

    #[test]
    fn a_cell_counts_once_and_its_references_all() {
        let shared = cell(1, &[]);
        let root = cell(2, &[shared.clone(), shared.clone(), cell(3, std::slice::from_ref(&shared))]);
        let mut cells = BTreeMap::new();
        assert_eq!(count(root.as_ref(), &mut cells), 0);
        assert_eq!(count(root.as_ref(), &mut cells), 0);
        let references = |cell: &Cell| cells[cell.repr_hash()].references;
        assert_eq!((cells.len(), references(&root), references(&shared)), (3, 2, 3));
    }

    #[test]
    fn small_accounts_have_no_digest() {
        let data = cell(1_000, &[]);
        assert_eq!(digest(&state(chain_of(23), data.clone())).unwrap(), StorageExtra::None);
        assert!(matches!(digest(&state(chain_of(24), data)).unwrap(), StorageExtra::DictHash(_)));
        let shared = chain_of(24);
        assert_eq!(digest(&state(shared.clone(), shared)).unwrap(), StorageExtra::None, "a cell counts once");
    }
}
