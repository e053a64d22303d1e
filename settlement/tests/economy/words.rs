//! Messages between contracts that no program reads, as `messages.tolk` lays them out.

use cocoon_market::Amount;
use cocoon_settlement::chain::Message;
use cocoon_settlement::contract::ProofBytes;
use tonlib_core::cell::{CellParser, TonCellError};

const BOUNCED: u32 = 0xffff_ffff;
const INTERNAL_TRANSFER: u32 = 0x178d_4519;
const BURN_NOTIFICATION: u32 = 0x7bdd_97de;
const TRANSFER_NOTIFICATION: u32 = 0x7362_d09c;
const JETTON_TRANSFER: u32 = 0x0f8a_7ea5;
const BID: u32 = 0x4356_0010;
const CLOSE_EPOCH: u32 = 0x4356_0004;
const ATTESTED: u32 = 0x4352_0002;
const COLLECT: u32 = 0x4352_0003;
const RELEASE: u32 = 0x4352_0004;

/// What a message says that moves COCOON or rewards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// COCOON on its way to a wallet.
    InternalTransfer(Amount),
    /// COCOON that a wallet destroyed, on its way to the minter.
    Burned(Amount),
    /// COCOON that somebody sent to the vault, and the least it is to buy if it is a bid.
    Notified {
        amount: Amount,
        least: Option<u64>,
    },
    /// An order to a wallet.
    Transfer(Amount),
    CloseEpoch,
    Attested {
        epoch: u32,
        fees: u64,
        last: u64,
        proof: Option<ProofBytes>,
    },
    Collect {
        epoch: u32,
        part: Amount,
    },
    Release(Amount),
}

/// What a message says, and whether it came back.
pub(crate) fn word(message: &Message) -> Option<(Word, bool)> {
    read(message).ok().flatten()
}

fn amount(from: &mut CellParser<'_>) -> Result<Amount, TonCellError> {
    Ok(Amount::from_nano(from.load_coins()?.try_into().expect("no more than 120 bits")))
}

fn read(message: &Message) -> Result<Option<(Word, bool)>, TonCellError> {
    let mut from = message.body.parser();
    let mut opcode = from.load_u32(32)?;
    let is_back = message.bounced && opcode == BOUNCED;
    if is_back {
        opcode = from.load_u32(32)?;
    }
    from.load_u64(64)?;
    let word = match opcode {
        INTERNAL_TRANSFER => Word::InternalTransfer(amount(&mut from)?),
        BURN_NOTIFICATION => Word::Burned(amount(&mut from)?),
        JETTON_TRANSFER => Word::Transfer(amount(&mut from)?),
        TRANSFER_NOTIFICATION => {
            let amount = amount(&mut from)?;
            from.load_address()?;
            let least = if from.load_bit()? { least(from.next_reference()?.parser()).ok().flatten() } else { None };
            Word::Notified { amount, least }
        }
        CLOSE_EPOCH => Word::CloseEpoch,
        ATTESTED => {
            let (epoch, fees, last) = (from.load_u32(32)?, from.load_u64(64)?, from.load_u64(64)?);
            let proof = if is_back { None } else { Some(proof(from)?) };
            Word::Attested { epoch, fees, last, proof }
        }
        COLLECT => Word::Collect { epoch: from.load_u32(32)?, part: amount(&mut from)? },
        RELEASE => Word::Release(amount(&mut from)?),
        _ => return Ok(None),
    };
    Ok(Some((word, is_back)))
}

fn least(mut from: CellParser<'_>) -> Result<Option<u64>, TonCellError> {
    if from.load_u32(32)? == BID { from.load_u64(64).map(Some) } else { Ok(None) }
}

/// Behind the circuit, the claims and the provider's origin.
fn proof(mut from: CellParser<'_>) -> Result<ProofBytes, TonCellError> {
    from.load_u8(8)?;
    from.load_u64(64)?;
    from.load_u64(64)?;
    from.next_reference()?;
    let cell = from.next_reference()?;
    ProofBytes::from_cell(&cell).map_err(|_| TonCellError::CellParserError("no proof".to_owned()))
}
