//! Cells to bytes and back.
//!
//! The rest of the workspace handles `tonlib-core` cells; the virtual machine has cells of its own. The two meet as
//! bags of cells, here and nowhere else. Bytes from outside go through `tycho-types`' decoder, which checks what the bytes claim
//! before it believes them; `tonlib-core`'s own decoder is only given bytes that passed.

use tonlib_core::cell::{ArcCell, BagOfCells, TonCellError};

/// Bytes of the largest bag we decode: an account of 65,536 cells, the network's limit, with room for its frame.
pub const BOC_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Cells may be nested so deep; TON's own limit.
pub const CELL_DEPTH_MAX: u16 = 1024;

/// Bytes or cells that are not what they should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// More bytes than [`BOC_BYTES_MAX`].
    #[error("a bag of cells of {0} bytes is too large")]
    TooLarge(usize),
    /// Deeper than [`CELL_DEPTH_MAX`].
    #[error("a cell {0} deep is too deep")]
    TooDeep(u16),
    /// Not a bag of one cell.
    #[cfg(any(feature = "embedded", feature = "http"))]
    #[error("not a bag of one cell")]
    Boc(#[from] tycho_types::boc::de::Error),
    /// A cell that does not hold what it should.
    #[cfg(any(feature = "embedded", feature = "http"))]
    #[error("a cell does not hold what it should")]
    Cell(#[from] tycho_types::error::Error),
    /// `tonlib-core` cannot represent the cell.
    #[error("a cell cannot be represented")]
    Edge(#[from] TonCellError),
    /// An address of a form that accounts do not have.
    #[error("an address that is no account")]
    Address,
}

/// Serializes a cell and all it refers to.
///
/// # Errors
/// Only for cells that `tonlib-core` cannot serialize.
pub fn to_boc(cell: &ArcCell) -> Result<Vec<u8>, CodecError> {
    Ok(BagOfCells::new(std::slice::from_ref(cell)).serialize(false)?)
}

#[cfg(any(feature = "embedded", feature = "http"))]
pub use checked::from_boc;

#[cfg(feature = "embedded")]
pub(crate) use checked::{amount, from_edge, to_edge};
#[cfg(any(feature = "embedded", feature = "http"))]
pub(crate) use checked::{decode, parse_transaction};

#[cfg(any(feature = "embedded", feature = "http"))]
mod checked {
    use cocoon_market::Amount;
    use tonlib_core::cell::{ArcCell, BagOfCells};
    use tycho_types::boc::Boc;
    use tycho_types::cell::{Cell, CellBuilder};
    use tycho_types::models::{self as tlb, ComputePhase, IntAddr, MsgInfo, OrdinaryTxInfo, OwnedMessage, TxInfo};

    use super::{BOC_BYTES_MAX, CELL_DEPTH_MAX, CodecError};
    use crate::chain::{Address, Message, MessageKind, Transaction, TxId};

    /// Reads a bag of one cell from bytes that anyone may have written.
    ///
    /// # Errors
    /// [`CodecError`] for anything but a well-formed bag of one cell within the limits.
    pub fn from_boc(bytes: &[u8]) -> Result<ArcCell, CodecError> {
        to_edge(&decode(bytes)?)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Cell, CodecError> {
        if bytes.len() > BOC_BYTES_MAX {
            return Err(CodecError::TooLarge(bytes.len()));
        }
        let cell = Boc::decode(bytes)?;
        match cell.repr_depth() {
            depth if depth > CELL_DEPTH_MAX => Err(CodecError::TooDeep(depth)),
            _ => Ok(cell),
        }
    }

    pub(crate) fn to_edge(cell: &Cell) -> Result<ArcCell, CodecError> {
        Ok(BagOfCells::parse(&Boc::encode(cell))?.single_root()?)
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn from_edge(cell: &ArcCell) -> Result<Cell, CodecError> {
        decode(&super::to_boc(cell)?)
    }

    /// Reads a transaction of an account in `workchain`.
    pub(crate) fn parse_transaction(workchain: i8, cell: &Cell) -> Result<Transaction, CodecError> {
        let parsed = cell.parse::<tlb::Transaction>()?;
        let effect = Effect::of(&parsed.load_info()?);
        let out_messages = parsed.out_msgs.values().map(|message| parse_message(&message?)).collect::<Result<Vec<_>, CodecError>>()?;
        Ok(Transaction {
            id: TxId { lt: parsed.lt, hash: cell.repr_hash().0 },
            previous: (parsed.prev_trans_lt != 0).then_some(TxId { lt: parsed.prev_trans_lt, hash: parsed.prev_trans_hash.0 }),
            account: Address { workchain, hash: parsed.account.0 },
            unix_s: u64::from(parsed.now),
            in_message: parsed.in_msg.as_ref().map(parse_message).transpose()?,
            out_messages,
            total_fees: amount(parsed.total_fees.tokens),
            storage_fee: effect.storage_fee,
            gas_used: effect.gas_used,
            exit_code: effect.exit_code,
            action_code: effect.action_code,
            success: effect.success,
            raw: to_edge(cell)?,
        })
    }

    fn parse_message(cell: &Cell) -> Result<Message, CodecError> {
        let message = cell.parse::<OwnedMessage>()?;
        let (range, body) = &message.body;
        let mut parsed = Message {
            kind: MessageKind::Internal,
            source: None,
            destination: None,
            value: Amount::ZERO,
            forward_fee: Amount::ZERO,
            bounce: false,
            bounced: false,
            created_lt: 0,
            created_at_s: 0,
            body: to_edge(&CellBuilder::build_from(range.apply_allow_exotic(body))?)?,
            has_init: message.init.is_some(),
            hash: cell.repr_hash().0,
        };
        match &message.info {
            MsgInfo::Int(info) => {
                parsed.source = Some(address(&info.src)?);
                parsed.destination = Some(address(&info.dst)?);
                parsed.value = amount(info.value.tokens);
                parsed.forward_fee = amount(info.fwd_fee);
                (parsed.bounce, parsed.bounced) = (info.bounce, info.bounced);
                (parsed.created_lt, parsed.created_at_s) = (info.created_lt, u64::from(info.created_at));
            }
            MsgInfo::ExtIn(info) => {
                parsed.kind = MessageKind::ExternalIn;
                parsed.destination = Some(address(&info.dst)?);
            }
            MsgInfo::ExtOut(info) => {
                parsed.kind = MessageKind::ExternalOut;
                parsed.source = Some(address(&info.src)?);
                (parsed.created_lt, parsed.created_at_s) = (info.created_lt, u64::from(info.created_at));
            }
        }
        Ok(parsed)
    }

    pub(crate) const fn amount(tokens: tycho_types::num::Tokens) -> Amount {
        Amount::from_nano(tokens.into_inner())
    }

    fn address(address: &IntAddr) -> Result<Address, CodecError> {
        match address {
            IntAddr::Std(std) => Ok(Address { workchain: std.workchain, hash: std.address.0 }),
            IntAddr::Var(_) => Err(CodecError::Address),
        }
    }

    struct Effect {
        storage_fee: Amount,
        gas_used: u64,
        exit_code: Option<i32>,
        action_code: Option<i32>,
        success: bool,
    }

    impl Effect {
        fn of(info: &TxInfo) -> Self {
            match info {
                TxInfo::Ordinary(OrdinaryTxInfo { storage_phase, compute_phase, action_phase, aborted, .. }) => {
                    let storage_fee = storage_phase.as_ref().map_or(Amount::ZERO, |phase| amount(phase.storage_fees_collected));
                    Self::new(storage_fee, compute_phase, action_phase.as_ref(), *aborted)
                }
                TxInfo::TickTock(info) => Self::new(
                    amount(info.storage_phase.storage_fees_collected),
                    &info.compute_phase,
                    info.action_phase.as_ref(),
                    info.aborted,
                ),
            }
        }

        fn new(storage_fee: Amount, compute: &ComputePhase, action: Option<&tlb::ActionPhase>, aborted: bool) -> Self {
            let (gas_used, exit_code) = match compute {
                ComputePhase::Executed(phase) => (phase.gas_used.into_inner(), Some(phase.exit_code)),
                ComputePhase::Skipped(_) => (0, None),
            };
            Self { storage_fee, gas_used, exit_code, action_code: action.map(|phase| phase.result_code), success: !aborted }
        }
    }
}

#[cfg(all(test, any(feature = "embedded", feature = "http")))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tonlib_core::cell::{Cell, CellBuilder};

    fn chain_of_cells(depth: u16) -> ArcCell {
        (0..depth).fold(CellBuilder::new().build().unwrap().to_arc(), |inner, n| {
            let mut builder = CellBuilder::new();
            builder.store_u32(32, u32::from(n)).unwrap().store_reference(&inner).unwrap();
            builder.build().unwrap().to_arc()
        })
    }

    #[test]
    fn a_bag_within_the_limits_round_trips() {
        let cell = chain_of_cells(CELL_DEPTH_MAX);
        let read = from_boc(&to_boc(&cell).unwrap()).unwrap();
        assert_eq!(read.cell_hash(), cell.cell_hash());
    }

    #[test]
    fn a_cell_too_deep_is_refused() {
        let boc = to_boc(&chain_of_cells(CELL_DEPTH_MAX + 1)).unwrap();
        assert!(matches!(from_boc(&boc), Err(CodecError::TooDeep(1025))));
    }

    #[test]
    fn a_bag_too_large_is_refused_unread() {
        assert!(matches!(from_boc(&vec![0; BOC_BYTES_MAX + 1]), Err(CodecError::TooLarge(_))));
    }

    #[test]
    fn shared_cells_stay_shared() {
        let bomb = (0..200).fold(Cell::default().to_arc(), |inner, _| {
            let mut builder = CellBuilder::new();
            builder.store_reference(&inner).unwrap().store_reference(&inner).unwrap();
            builder.build().unwrap().to_arc()
        });
        let boc = to_boc(&bomb).unwrap();
        assert!(boc.len() < 2_000);
        assert_eq!(from_boc(&boc).unwrap().cell_hash(), bomb.cell_hash());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = from_boc(&bytes);
        }

        #[test]
        fn a_damaged_bag_never_panics(at in any::<prop::sample::Index>(), value in any::<u8>()) {
            let mut boc = to_boc(&chain_of_cells(5)).unwrap();
            let at = at.index(boc.len());
            boc[at] = value;
            if let Ok(cell) = from_boc(&boc) && let Ok(tycho) = decode(&boc) {
                prop_assert_eq!(cell.cell_hash().to_hex(), tycho.repr_hash().to_string());
                let _ = parse_transaction(0, &tycho);
            }
        }
    }
}
