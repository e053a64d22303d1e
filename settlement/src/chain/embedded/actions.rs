//! The list of actions, as the executor has to be given it.
//!
//! A message may be sent in a mode that does not exist. TON fails the transaction then; the executor does so as well, unless the same mode asks
//! for errors to be ignored. So that flag is taken from modes that do not exist.

use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::error::Error;
use tycho_types::models::{OutAction, SendMsgFlags};
use tycho_types::prelude::Load;

/// Actions of one transaction; of a longer list, nothing is executed.
const ACTIONS_MAX: usize = 255;

/// The list with that flag taken where it has to be; none if it is fine as it is.
pub(super) fn without_ignored_modes(actions: &Cell) -> Result<Option<Cell>, Error> {
    let mut items = Vec::new();
    let mut rest = actions.clone();
    while !rest.is_exotic() && !rest.as_slice_allow_exotic().is_empty() && items.len() <= ACTIONS_MAX {
        let Some(before) = rest.reference_cloned(0) else { break };
        items.push(std::mem::replace(&mut rest, before));
    }
    if items.len() > ACTIONS_MAX || !items.iter().any(|item| ignored_mode(item).is_some()) {
        return Ok(None);
    }
    items.iter().rev().try_fold(rest, rebuilt).map(Some)
}

/// A message's mode without the flag, if the mode does not exist and has the flag.
fn ignored_mode(item: &Cell) -> Option<SendMsgFlags> {
    let mut slice = item.as_slice_allow_exotic();
    slice.load_reference().ok()?;
    let OutAction::SendMsg { mode, .. } = OutAction::load_from(&mut slice).ok()? else { return None };
    let unknown = mode.bits() & !SendMsgFlags::all().bits() != 0;
    let both = mode.contains(SendMsgFlags::ALL_BALANCE.union(SendMsgFlags::WITH_REMAINING_BALANCE));
    let affected = slice.is_empty() && mode.contains(SendMsgFlags::IGNORE_ERROR) && (unknown || both);
    affected.then_some(SendMsgFlags::from_bits_retain(mode.bits() & !SendMsgFlags::IGNORE_ERROR.bits()))
}

/// An item behind those that were before it.
fn rebuilt(before: Cell, item: &Cell) -> Result<Cell, Error> {
    let mut slice = item.as_slice_allow_exotic();
    slice.load_reference()?;
    let mut builder = CellBuilder::new();
    builder.store_reference(before)?;
    if let Some(mode) = ignored_mode(item) {
        builder.store_u32(slice.load_u32()?)?;
        slice.load_u8()?;
        builder.store_u8(mode.bits())?;
    }
    builder.store_slice(slice)?;
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(modes: &[u8]) -> Cell {
        modes.iter().fold(Cell::default(), |before, mode| {
            let mut builder = CellBuilder::new();
            builder.store_reference(before).unwrap();
            builder.store_u32(OutAction::TAG_SEND_MSG).unwrap();
            builder.store_u8(*mode).unwrap();
            builder.store_reference(Cell::default()).unwrap();
            builder.build().unwrap()
        })
    }

    #[test]
    fn only_modes_that_do_not_exist_are_touched() {
        assert_eq!(without_ignored_modes(&list(&[])).unwrap(), None);
        assert_eq!(without_ignored_modes(&list(&[0, 1, 2, 3, 4, 64, 66, 128, 130, 192])).unwrap(), None);
        assert_eq!(without_ignored_modes(&list(&[3, 6, 194, 2])).unwrap(), Some(list(&[3, 4, 192, 2])));
    }

    #[test]
    fn a_list_too_long_is_left_alone() {
        assert!(without_ignored_modes(&list(&[6; 255])).unwrap().is_some());
        assert_eq!(without_ignored_modes(&list(&[6; 256])).unwrap(), None);
    }
}
