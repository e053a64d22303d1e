//! What an operator tells a provider's contract from outside, and the bytes it signs for that.

use cocoon_market::ids::Digest;
use cocoon_market::{Amount, ContractAddress, NetworkId, NodeId, OperatorKey, OperatorStatement, Signature, SignedVoucher};
use serde::{Deserialize, Serialize};
use tonlib_core::cell::{ArcCell, Cell, CellBuilder};

use super::ChannelTerms;
use super::cells::{CellError, hash_of, load_32, load_64_bytes, load_amount, store_amount};
use super::message::{ChannelMessage, QueryId};

/// Claims of one batch: a transaction does at most 255 actions.
pub const BATCH_MAX: usize = 250;

const OP_BATCH: u32 = 0x4350_4001;
const OP_ALLOCATE: u32 = 0x4350_4002;
const OP_ALIVE: u32 = 0x4350_4003;

/// A voucher to be drawn in a batch, with what the contract computes its channel's address from: a batch goes to the provider's own
/// channels and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchedClaim {
    /// The voucher.
    pub signed: SignedVoucher,
    /// Operator key of the channel's requester.
    pub requester: NodeId,
    /// Hash of the cell of what only the channel's end needs of its terms.
    pub close_terms: Digest,
}

impl BatchedClaim {
    /// The claim of a voucher in the channel of these terms.
    ///
    /// # Errors
    /// [`CellError`] when the terms fit no cell.
    pub fn new(signed: SignedVoucher, terms: &ChannelTerms) -> Result<Self, CellError> {
        Ok(Self { signed, requester: terms.requester, close_terms: terms.close_terms()? })
    }
}

/// What an operator can ask of its contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Draw what these vouchers pay, each in its channel; at most [`BATCH_MAX`].
    Batch(Vec<BatchedClaim>),
    /// Let so much of the collateral back open agreements.
    Allocate(Amount),
    /// Answer a poke.
    Alive,
}

impl Command {
    /// The command's cell. `number` is that of the message; the claims of a batch carry it as their query id.
    ///
    /// # Errors
    /// [`CellError::Value`] for a batch of none or of more than [`BATCH_MAX`].
    fn to_cell(&self, number: u32) -> Result<ArcCell, CellError> {
        let mut to = CellBuilder::new();
        match self {
            Self::Batch(claims) => {
                let count = u8::try_from(claims.len()).ok().filter(|count| (1..=BATCH_MAX).contains(&usize::from(*count)));
                to.store_u32(32, OP_BATCH)?.store_u8(8, count.ok_or(CellError::Value("batch"))?)?;
                to.store_child(claim_list(claims, QueryId::from(number))?)?;
            }
            Self::Allocate(amount) => {
                to.store_u32(32, OP_ALLOCATE)?;
                store_amount(&mut to, *amount)?;
            }
            Self::Alive => {
                to.store_u32(32, OP_ALIVE)?;
            }
        }
        Ok(to.build()?.to_arc())
    }

    fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let command = match from.load_u32(32)? {
            OP_BATCH => {
                let count = usize::from(from.load_u8(8)?);
                Self::Batch(claims_of(from.next_reference()?, count)?)
            }
            OP_ALLOCATE => Self::Allocate(load_amount(&mut from)?),
            OP_ALIVE => Self::Alive,
            _ => return Err(CellError::Value("opcode")),
        };
        from.ensure_empty()?;
        Ok(command)
    }
}

/// From its end to its beginning, so that no list is too deep for the stack of this program.
fn claim_list(claims: &[BatchedClaim], query: QueryId) -> Result<Cell, CellError> {
    let mut next: Option<Cell> = None;
    for claim in claims.iter().rev() {
        let mut node = CellBuilder::new();
        node.store_slice(claim.requester.as_bytes())?.store_slice(claim.close_terms.as_bytes())?;
        node.store_reference(&ChannelMessage::Claim(claim.signed).to_cell(query)?)?;
        if let Some(next) = next.take() {
            node.store_child(next)?;
        }
        next = Some(node.build()?);
    }
    next.ok_or(CellError::Value("batch"))
}

fn claims_of(first: ArcCell, count: usize) -> Result<Vec<BatchedClaim>, CellError> {
    let mut next = Some(first);
    let mut claims = Vec::new();
    while let Some(node) = next.take() {
        let mut from = node.parser();
        let (requester, close_terms) = (NodeId(load_32(&mut from)?), Digest(load_32(&mut from)?));
        let (_, message) = ChannelMessage::from_cell(&*from.next_reference()?)?;
        let ChannelMessage::Claim(signed) = message else { return Err(CellError::Value("claim")) };
        claims.push(BatchedClaim { signed, requester, close_terms });
        if claims.len() < count {
            next = Some(from.next_reference()?);
        }
        from.ensure_empty()?;
    }
    Ok(claims)
}

/// A command with what makes it count once, and here alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorOrder {
    /// The chain.
    pub network: NetworkId,
    /// The provider's contract.
    pub contract: ContractAddress,
    /// The contract's next number.
    pub number: u32,
    /// When the contract stops taking it, in seconds since the Unix epoch.
    pub valid_until_s: u32,
    /// What is asked.
    pub command: Command,
}

impl OperatorOrder {
    /// The body of the message from outside.
    ///
    /// # Errors
    /// [`CellError`] when the command fits no message.
    pub fn sign(&self, key: &OperatorKey) -> Result<ArcCell, CellError> {
        let command = self.command.to_cell(self.number)?;
        let signature = self.statement(&command).sign(key);
        let mut to = CellBuilder::new();
        to.store_slice(signature.as_bytes())?.store_u32(32, self.number)?.store_u32(32, self.valid_until_s)?.store_reference(&command)?;
        Ok(to.build()?.to_arc())
    }

    fn statement(&self, command: &Cell) -> OperatorStatement {
        OperatorStatement {
            network: self.network,
            contract: self.contract,
            number: self.number,
            valid_until_s: self.valid_until_s,
            command: Digest(hash_of(command)),
        }
    }

    /// Reads what a signed body asks for: its number, end of validity and command. Whose signature it is, only the contract knows.
    ///
    /// # Errors
    /// [`CellError`] when it is no operator's message.
    pub fn read(body: &Cell) -> Result<(u32, u32, Command, Signature), CellError> {
        let mut from = body.parser();
        let signature = Signature(load_64_bytes(&mut from)?);
        let (number, valid_until_s) = (from.load_u32(32)?, from.load_u32(32)?);
        let command = Command::from_cell(&*from.next_reference()?)?;
        from.ensure_empty()?;
        Ok((number, valid_until_s, command, signature))
    }
}
