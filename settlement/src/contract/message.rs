//! Bodies of the messages a channel takes and sends.

use cocoon_market::voucher::CLOSE_TAG;
use cocoon_market::{Amount, ChannelRef, ContractAddress, CooperativeClose, NetworkId, Signature, SignedVoucher, Voucher};
use tonlib_core::cell::{ArcCell, Cell, CellBuilder, CellParser};

use super::cells::{CellError, bytes_cell, load_32, load_64_bytes, load_amount, load_i32, store_amount, whole_bytes};

/// Chosen by the sender and repeated in every message that answers; zero when nobody cares.
pub type QueryId = u64;

const OP_DEPOSIT: u32 = 0x4343_0001;
const OP_CLAIM: u32 = 0x4343_0002;
const OP_CLOSE_UNILATERAL: u32 = 0x4343_0003;
const OP_FINISH_CLOSE: u32 = 0x4343_0004;
const OP_CLOSE_COOPERATIVE: u32 = 0x4343_0005;
const OP_PAID: u32 = 0x4343_0101;
const OP_FEE: u32 = 0x4343_0102;
const OP_REFUND: u32 = 0x4343_0103;
const OP_EXCESSES: u32 = 0xd532_76db;

/// What a channel can be told. `contracts/README.md` says who may, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelMessage {
    /// Opens the channel or tops it up; so much of the message's value joins the deposit.
    Deposit(Amount),
    /// Draws what a voucher pays.
    Claim(SignedVoucher),
    /// Starts the challenge window.
    CloseUnilateral,
    /// Refunds what nobody claimed within the window.
    FinishClose,
    /// Ends the channel at once.
    CloseCooperative {
        /// What both parties signed.
        statement: CooperativeClose,
        /// The requester's signature.
        requester: Signature,
        /// The provider's signature.
        provider: Signature,
    },
}

impl ChannelMessage {
    /// The body of the internal message.
    ///
    /// # Errors
    /// [`CellError`] for an amount that no TON message can carry.
    pub fn to_cell(&self, query: QueryId) -> Result<ArcCell, CellError> {
        let mut to = CellBuilder::new();
        to.store_u32(32, self.opcode())?.store_u64(64, query)?;
        match self {
            Self::Deposit(amount) => store_amount(&mut to, *amount)?,
            Self::Claim(signed) => {
                to.store_slice(signed.signature.as_bytes())?.store_reference(&bytes_cell(&signed.voucher.to_bytes())?)?;
            }
            Self::CloseUnilateral | Self::FinishClose => {}
            Self::CloseCooperative { statement, requester, provider } => {
                let mut rest = CellBuilder::new();
                rest.store_slice(provider.as_bytes())?.store_reference(&bytes_cell(&statement.to_bytes())?)?;
                to.store_slice(requester.as_bytes())?.store_child(rest.build()?)?;
            }
        }
        Ok(to.build()?.to_arc())
    }

    /// Reads a body back, as the contract would.
    ///
    /// # Errors
    /// [`CellError`] when it is no such message.
    pub fn from_cell(cell: &Cell) -> Result<(QueryId, Self), CellError> {
        let mut from = cell.parser();
        let opcode = from.load_u32(32)?;
        let query = from.load_u64(64)?;
        let message = match opcode {
            OP_DEPOSIT => Self::Deposit(load_amount(&mut from)?),
            OP_CLAIM => Self::Claim(load_claim(&mut from)?),
            OP_CLOSE_UNILATERAL => Self::CloseUnilateral,
            OP_FINISH_CLOSE => Self::FinishClose,
            OP_CLOSE_COOPERATIVE => load_cooperative(&mut from)?,
            _ => return Err(CellError::Value("opcode")),
        };
        from.ensure_empty()?;
        Ok((query, message))
    }

    const fn opcode(&self) -> u32 {
        match self {
            Self::Deposit(_) => OP_DEPOSIT,
            Self::Claim(_) => OP_CLAIM,
            Self::CloseUnilateral => OP_CLOSE_UNILATERAL,
            Self::FinishClose => OP_FINISH_CLOSE,
            Self::CloseCooperative { .. } => OP_CLOSE_COOPERATIVE,
        }
    }
}

fn load_claim(from: &mut CellParser<'_>) -> Result<SignedVoucher, CellError> {
    let signature = Signature(load_64_bytes(from)?);
    let voucher = Voucher::from_bytes(&whole_bytes(&*from.next_reference()?)?).map_err(|_| CellError::Value("voucher"))?;
    Ok(SignedVoucher { voucher, signature })
}

fn load_cooperative(from: &mut CellParser<'_>) -> Result<ChannelMessage, CellError> {
    let requester = Signature(load_64_bytes(from)?);
    let rest = from.next_reference()?;
    let mut rest = rest.parser();
    let provider = Signature(load_64_bytes(&mut rest)?);
    let statement = load_statement(&*rest.next_reference()?)?;
    rest.ensure_empty()?;
    Ok(ChannelMessage::CloseCooperative { statement, requester, provider })
}

fn load_statement(cell: &Cell) -> Result<CooperativeClose, CellError> {
    let mut from = cell.parser();
    if from.load_u32(32)?.to_be_bytes() != CLOSE_TAG {
        return Err(CellError::Value("statement"));
    }
    let channel = ChannelRef { network: NetworkId(load_i32(&mut from)?), address: ContractAddress(load_32(&mut from)?) };
    let sequence = from.load_u64(64)?;
    let cumulative = u128::try_from(from.load_uint(128)?).map(Amount::from_nano).map_err(|_| CellError::Value("statement"))?;
    from.ensure_empty()?;
    Ok(CooperativeClose { channel, sequence, cumulative })
}

/// What a channel says when it moves money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelNotice {
    /// To the provider, with its share.
    Paid {
        /// Receipts covered.
        sequence: u64,
        /// What left the deposit, fee included.
        drawn: Amount,
        /// The network fee of it.
        fee: Amount,
    },
    /// To the fee account, with the fee.
    Fee {
        /// What left the deposit, fee included.
        drawn: Amount,
    },
    /// To the requester, with what was left.
    Refund,
    /// To whoever sent the message, with what its work did not cost.
    Excesses,
}

impl ChannelNotice {
    /// Reads a body.
    ///
    /// # Errors
    /// [`CellError`] when it is none of ours.
    pub fn from_cell(cell: &Cell) -> Result<(QueryId, Self), CellError> {
        let mut from = cell.parser();
        let opcode = from.load_u32(32)?;
        let query = from.load_u64(64)?;
        let notice = match opcode {
            OP_PAID => Self::Paid { sequence: from.load_u64(64)?, drawn: load_amount(&mut from)?, fee: load_amount(&mut from)? },
            OP_FEE => Self::Fee { drawn: load_amount(&mut from)? },
            OP_REFUND => Self::Refund,
            OP_EXCESSES => Self::Excesses,
            _ => return Err(CellError::Value("opcode")),
        };
        from.ensure_empty()?;
        Ok((query, notice))
    }
}
