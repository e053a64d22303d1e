//! Reading and writing cells with this crate's types.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cocoon_market::{Amount, ContractAddress};
use num_bigint::BigUint;
use tonlib_core::TonHash;
use tonlib_core::cell::dict::predefined_readers::{key_reader_u8, val_reader_ref_cell};
use tonlib_core::cell::dict::predefined_writers::val_writer_ref_cell;
use tonlib_core::cell::{ArcCell, BagOfCells, Cell, CellBuilder, CellParser, TonCellError};

/// A cell that cannot be built or does not have the expected layout.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// Too few bits or references, or too many.
    #[error("the cell does not have the expected layout")]
    Layout(#[source] TonCellError),
    /// A number that no field of this kind holds.
    #[error("the field {0} holds no value it may have")]
    Value(&'static str),
}

impl From<TonCellError> for CellError {
    fn from(error: TonCellError) -> Self {
        Self::Layout(error)
    }
}

pub(super) fn store_amount(to: &mut CellBuilder, amount: Amount) -> Result<(), CellError> {
    if amount.nano() >= 1 << 120 {
        return Err(CellError::Value("coins"));
    }
    to.store_coins(&BigUint::from(amount.nano()))?;
    Ok(())
}

pub(super) fn load_amount(from: &mut CellParser<'_>) -> Result<Amount, CellError> {
    u128::try_from(from.load_coins()?).map(Amount::from_nano).map_err(|_| CellError::Value("coins"))
}

pub(super) fn store_amounts<const N: usize>(to: &mut CellBuilder, amounts: [Amount; N]) -> Result<(), CellError> {
    amounts.into_iter().try_for_each(|amount| store_amount(to, amount))
}

pub(super) fn load_amounts<const N: usize>(from: &mut CellParser<'_>) -> Result<[Amount; N], CellError> {
    let mut amounts = [Amount::ZERO; N];
    for amount in &mut amounts {
        *amount = load_amount(from)?;
    }
    Ok(amounts)
}

/// Amounts as a value of a dictionary, whose writers know the library's errors alone.
pub(super) fn write_amounts<const N: usize>(to: &mut CellBuilder, amounts: [Amount; N]) -> Result<(), TonCellError> {
    amounts.into_iter().try_for_each(|amount| to.store_coins(&BigUint::from(amount.nano())).map(drop))
}

/// Reads what [`write_amounts`] wrote.
pub(super) fn read_amounts<const N: usize>(from: &mut CellParser<'_>) -> Result<[Amount; N], TonCellError> {
    let mut amounts = [Amount::ZERO; N];
    for amount in &mut amounts {
        let nano = u128::try_from(from.load_coins()?);
        *amount = nano.map(Amount::from_nano).map_err(|_| TonCellError::CellParserError("an amount beyond all money".to_owned()))?;
    }
    Ok(amounts)
}

/// Stores a dictionary of cells.
pub(super) fn store_cells(to: &mut CellBuilder, cells: &BTreeMap<u8, ArcCell>) -> Result<(), CellError> {
    let cells: HashMap<u8, ArcCell> = cells.iter().map(|(key, cell)| (*key, ArcCell::clone(cell))).collect();
    to.store_dict(8, val_writer_ref_cell, cells)?;
    Ok(())
}

/// Reads what [`store_cells`] stored.
pub(super) fn load_cells(from: &mut CellParser<'_>) -> Result<BTreeMap<u8, ArcCell>, CellError> {
    Ok(from.load_dict(8, key_reader_u8, val_reader_ref_cell)?.into_iter().collect())
}

/// How contracts write that there is no account.
pub(super) const NOBODY: ContractAddress = ContractAddress([0; 32]);

/// An account that may be nobody, which contracts write as zero.
pub(super) fn account_or_nobody(account: [u8; 32]) -> Option<ContractAddress> {
    (account != NOBODY.0).then_some(ContractAddress(account))
}

/// What [`account_or_nobody`] reads.
pub(super) fn nobody_or(account: Option<ContractAddress>) -> ContractAddress {
    account.unwrap_or(NOBODY)
}

pub(super) fn load_account_hash(from: &mut CellParser<'_>) -> Result<ContractAddress, CellError> {
    load_32(from).map(ContractAddress)
}

pub(super) fn load_32(from: &mut CellParser<'_>) -> Result<[u8; 32], CellError> {
    let mut bytes = [0u8; 32];
    from.load_slice(&mut bytes)?;
    Ok(bytes)
}

/// Reads a 32-bit signed number. The parser's own method refuses negative ones.
pub(super) fn load_i32(from: &mut CellParser<'_>) -> Result<i32, CellError> {
    Ok(i32::from_be_bytes(from.load_u32(32)?.to_be_bytes()))
}

pub(super) fn load_64_bytes(from: &mut CellParser<'_>) -> Result<[u8; 64], CellError> {
    let mut bytes = [0u8; 64];
    from.load_slice(&mut bytes)?;
    Ok(bytes)
}

/// The bytes of a cell without references.
pub(super) fn whole_bytes(cell: &Cell) -> Result<Vec<u8>, CellError> {
    if !cell.bit_len().is_multiple_of(8) || !cell.references().is_empty() {
        return Err(CellError::Value("statement"));
    }
    Ok(cell.data().to_vec())
}

/// A cell of these bytes alone.
pub(super) fn bytes_cell(bytes: &[u8]) -> Result<ArcCell, CellError> {
    let mut cell = CellBuilder::new();
    cell.store_slice(bytes)?;
    Ok(cell.build()?.to_arc())
}

/// The `StateInit` of TON's block.tlb that has this code and data, and nothing else. Its hash is the account.
pub(crate) fn state_init(code: &ArcCell, data: &ArcCell) -> Result<ArcCell, TonCellError> {
    let mut init = CellBuilder::new();
    // No split depth, not special, code and data present, no libraries.
    init.store_u8(5, 0b00110)?.store_reference(code)?.store_reference(data)?;
    Ok(init.build()?.to_arc())
}

pub(super) fn from_base64(text: &str) -> Result<ArcCell, CellError> {
    Ok(BagOfCells::parse_base64(text)?.single_root()?)
}

pub(super) fn to_base64(cell: &ArcCell) -> Result<String, CellError> {
    Ok(STANDARD.encode(BagOfCells::new(std::slice::from_ref(cell)).serialize(true)?))
}

pub(crate) fn hash_of(cell: &Cell) -> [u8; 32] {
    let hash: TonHash = cell.cell_hash();
    hash.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_whole_bytes_and_nothing_beside_them() {
        let bytes = bytes_cell(&[7; 3]).unwrap();
        let mut with_bits = CellBuilder::new();
        with_bits.store_slice(&[7; 3]).unwrap().store_u8(4, 0).unwrap();
        let mut with_more = CellBuilder::new();
        with_more.store_slice(&[7; 3]).unwrap().store_reference(&bytes).unwrap();
        assert_eq!(whole_bytes(&bytes).unwrap(), [7; 3]);
        for cell in [&mut with_bits, &mut with_more] {
            assert!(whole_bytes(&cell.build().unwrap()).is_err());
        }
    }
}
