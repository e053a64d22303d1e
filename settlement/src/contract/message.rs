//! Bodies of the messages that contracts take and send.

use cocoon_market::ids::Digest;
use cocoon_market::voucher::CLOSE_TAG;
use cocoon_market::{Amount, ChannelRef, ContractAddress, CooperativeClose, NetworkId, NodeId, Signature, SignedVoucher, Voucher};
use serde::{Deserialize, Serialize};
use tonlib_core::cell::{ArcCell, Cell, CellBuilder, CellParser};

use super::cells::{CellError, bytes_cell, load_32, load_64_bytes, load_amount, load_i32, store_amount, whole_bytes};
use super::proof::ProofBytes;

/// Chosen by the sender and repeated in every message that answers; zero when nobody cares.
pub type QueryId = u64;

const OP_DEPOSIT: u32 = 0x4343_0001;
const OP_CLAIM: u32 = 0x4343_0002;
const OP_CLOSE_UNILATERAL: u32 = 0x4343_0003;
const OP_FINISH_CLOSE: u32 = 0x4343_0004;
const OP_CLOSE_COOPERATIVE: u32 = 0x4343_0005;
const OP_PAID: u32 = 0x4343_0101;
const OP_REFUND: u32 = 0x4343_0103;
const OP_STAKE: u32 = 0x4350_0001;
const OP_UNBOND: u32 = 0x4350_0002;
const OP_WITHDRAW: u32 = 0x4350_0003;
const OP_WITHDRAW_OPERATIONS: u32 = 0x4350_0004;
const OP_SET_OPERATOR: u32 = 0x4350_0005;
const OP_SLASH: u32 = 0x4350_0006;
const OP_POKE: u32 = 0x4350_0007;
const OP_POKE_OVER: u32 = 0x4350_0008;
const OP_FLUSH: u32 = 0x4350_0009;
const OP_ATTEST: u32 = 0x4350_000a;
const OP_COLLECT_REWARD: u32 = 0x4350_000b;
const OP_TAKE_REWARD: u32 = 0x4350_000c;
const OP_REGISTERED: u32 = 0x4352_0102;
const OP_REWARDED: u32 = 0x4352_0103;
const OP_FEE_CREDIT: u32 = 0x4356_0103;
const OP_PROPOSED: u32 = 0x4347_0101;
const OP_SPENT: u32 = 0x4347_0102;
const OP_EARNINGS: u32 = 0x4350_0101;
const OP_WITHDRAWN: u32 = 0x4350_0102;
const OP_SLASHED: u32 = 0x4350_0103;
const OP_POKE_REWARD: u32 = 0x4350_0104;
const OP_FEE: u32 = 0x4356_0001;
const OP_PAY_TREASURY: u32 = 0x4356_0002;
const OP_TREASURY_SHARE: u32 = 0x4356_0101;
const OP_CLOSE_EPOCH: u32 = 0x4356_0004;
const OP_BID: u32 = 0x4356_0010;
const OP_CREDIT: u32 = 0x4356_0011;
const OP_FEE_BOOKED: u32 = 0x4356_0102;
const OP_BOUGHT: u32 = 0x4356_0104;
const OP_EPOCH_SOLD: u32 = 0x4352_0001;
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
        let mut to = begun(self.opcode(), query)?;
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
        let (opcode, query, mut from) = opened(cell)?;
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

/// The head of every body: what it is, and whose answer it asks for.
pub(super) fn begun(opcode: u32, query: QueryId) -> Result<CellBuilder, CellError> {
    let mut to = CellBuilder::new();
    to.store_u32(32, opcode)?.store_u64(64, query)?;
    Ok(to)
}

fn opened(body: &Cell) -> Result<(u32, QueryId, CellParser<'_>), CellError> {
    let mut from = body.parser();
    Ok((from.load_u32(32)?, from.load_u64(64)?, from))
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

/// What a provider's contract can be told by other accounts. `contracts/README.md` says who may, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderMessage {
    /// Adds to collateral and liveness bond; the rest of the value joins the operations balance.
    Stake {
        /// To the collateral.
        amount: Amount,
        /// To the bond.
        bond: Amount,
    },
    /// Starts to release collateral and bond.
    Unbond {
        /// Of the collateral.
        amount: Amount,
        /// Of the bond.
        bond: Amount,
    },
    /// Sends the owner what was released long enough ago.
    Withdraw,
    /// Sends the owner a part of the operations balance.
    WithdrawOperations(Amount),
    /// Replaces the operator's key.
    SetOperator(NodeId),
    /// Takes collateral.
    Slash {
        /// How much.
        amount: Amount,
        /// Who gets it.
        to: ContractAddress,
    },
    /// Asks whether the operator is there.
    Poke,
    /// Says that a poke was not answered in time.
    PokeOver,
    /// Sends fees and earnings on.
    Flush,
    /// Claims rewards for fees of an epoch.
    Attest(Attested),
    /// Has the reward of a vault's epoch brought here.
    CollectReward(u32),
    /// Sends the owner the COCOON that is free by now.
    TakeReward,
}

/// A claim of rewards: that so many certificates cover these fees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attested {
    /// The vault's epoch in which the fees were booked.
    pub epoch: u32,
    /// Which circuit the proof is for.
    pub circuit: u8,
    /// The first claim that the certificates are about.
    pub lo: u64,
    /// The last one.
    pub hi: u64,
    /// The sum of their fees, in nano-TON.
    pub fees: u64,
    /// The proof.
    pub proof: ProofBytes,
}

impl Attested {
    fn store(&self, to: &mut CellBuilder) -> Result<(), CellError> {
        to.store_u32(32, self.epoch)?.store_u8(8, self.circuit)?;
        to.store_u64(64, self.lo)?.store_u64(64, self.hi)?.store_u64(64, self.fees)?;
        to.store_reference(&self.proof.to_cell()?)?;
        Ok(())
    }

    fn load(from: &mut CellParser<'_>) -> Result<Self, CellError> {
        Ok(Self {
            epoch: from.load_u32(32)?,
            circuit: from.load_u8(8)?,
            lo: from.load_u64(64)?,
            hi: from.load_u64(64)?,
            fees: from.load_u64(64)?,
            proof: ProofBytes::from_cell(&*from.next_reference()?)?,
        })
    }
}

impl ProviderMessage {
    /// The body of the internal message.
    ///
    /// # Errors
    /// [`CellError`] for an amount that no TON message can carry.
    pub fn to_cell(&self, query: QueryId) -> Result<ArcCell, CellError> {
        let mut to = begun(self.opcode(), query)?;
        match self {
            Self::Stake { amount, bond } | Self::Unbond { amount, bond } => {
                store_amount(&mut to, *amount)?;
                store_amount(&mut to, *bond)?;
            }
            Self::WithdrawOperations(amount) => store_amount(&mut to, *amount)?,
            Self::SetOperator(key) => {
                to.store_slice(key.as_bytes())?;
            }
            Self::Slash { amount, to: whom } => {
                store_amount(&mut to, *amount)?;
                to.store_slice(whom.as_bytes())?;
            }
            Self::Attest(attested) => attested.store(&mut to)?,
            Self::CollectReward(epoch) => {
                to.store_u32(32, *epoch)?;
            }
            Self::Withdraw | Self::Poke | Self::PokeOver | Self::Flush | Self::TakeReward => {}
        }
        Ok(to.build()?.to_arc())
    }

    /// Reads a body back, as the contract would.
    ///
    /// # Errors
    /// [`CellError`] when it is no such message.
    pub fn from_cell(cell: &Cell) -> Result<(QueryId, Self), CellError> {
        let (opcode, query, mut from) = opened(cell)?;
        let message = match opcode {
            OP_STAKE => Self::Stake { amount: load_amount(&mut from)?, bond: load_amount(&mut from)? },
            OP_UNBOND => Self::Unbond { amount: load_amount(&mut from)?, bond: load_amount(&mut from)? },
            OP_WITHDRAW => Self::Withdraw,
            OP_WITHDRAW_OPERATIONS => Self::WithdrawOperations(load_amount(&mut from)?),
            OP_SET_OPERATOR => Self::SetOperator(NodeId(load_32(&mut from)?)),
            OP_SLASH => Self::Slash { amount: load_amount(&mut from)?, to: ContractAddress(load_32(&mut from)?) },
            OP_POKE => Self::Poke,
            OP_POKE_OVER => Self::PokeOver,
            OP_FLUSH => Self::Flush,
            OP_ATTEST => Self::Attest(Attested::load(&mut from)?),
            OP_COLLECT_REWARD => Self::CollectReward(from.load_u32(32)?),
            OP_TAKE_REWARD => Self::TakeReward,
            _ => return Err(CellError::Value("opcode")),
        };
        from.ensure_empty()?;
        Ok((query, message))
    }

    const fn opcode(&self) -> u32 {
        match self {
            Self::Stake { .. } => OP_STAKE,
            Self::Unbond { .. } => OP_UNBOND,
            Self::Withdraw => OP_WITHDRAW,
            Self::WithdrawOperations(_) => OP_WITHDRAW_OPERATIONS,
            Self::SetOperator(_) => OP_SET_OPERATOR,
            Self::Slash { .. } => OP_SLASH,
            Self::Poke => OP_POKE,
            Self::PokeOver => OP_POKE_OVER,
            Self::Flush => OP_FLUSH,
            Self::Attest(_) => OP_ATTEST,
            Self::CollectReward(_) => OP_COLLECT_REWARD,
            Self::TakeReward => OP_TAKE_REWARD,
        }
    }
}

/// What the vault can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VaultMessage {
    /// Brings network fees.
    Fee {
        /// How much, in TON.
        amount: Amount,
        /// What of it was paid in COCOON before, in TON.
        credit: Amount,
    },
    /// Sends the treasury its share.
    PayTreasury,
    /// Closes an epoch whose time is over.
    CloseEpoch,
}

/// What COCOON that is sent to the vault is for: the payload of the transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultPayload {
    /// A bid in the auction.
    Bid {
        /// The least TON that it is to buy, in nano-units; for less it comes back.
        least: u64,
    },
    /// A fee paid ahead.
    Credit {
        /// The provider's contract it is for.
        provider: ContractAddress,
    },
}

impl VaultPayload {
    /// The payload.
    ///
    /// # Errors
    /// [`CellError`] never, for both fit a cell.
    pub fn to_cell(&self) -> Result<ArcCell, CellError> {
        let mut to = CellBuilder::new();
        match self {
            Self::Bid { least } => to.store_u32(32, OP_BID)?.store_u64(64, *least)?,
            Self::Credit { provider } => to.store_u32(32, OP_CREDIT)?.store_slice(provider.as_bytes())?,
        };
        Ok(to.build()?.to_arc())
    }
}

impl VaultMessage {
    /// The body of the internal message.
    ///
    /// # Errors
    /// [`CellError`] for an amount that no TON message can carry.
    pub fn to_cell(&self, query: QueryId) -> Result<ArcCell, CellError> {
        let opcode = match self {
            Self::Fee { .. } => OP_FEE,
            Self::PayTreasury => OP_PAY_TREASURY,
            Self::CloseEpoch => OP_CLOSE_EPOCH,
        };
        let mut to = begun(opcode, query)?;
        if let Self::Fee { amount, credit } = self {
            store_amount(&mut to, *amount)?;
            store_amount(&mut to, *credit)?;
        }
        Ok(to.build()?.to_arc())
    }
}

/// What a contract says when it moves money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// From a channel to the provider's contract, with what is drawn.
    Paid {
        /// Drawn in all before.
        from: Amount,
        /// Drawn in all after.
        to: Amount,
        /// Root of the receipts that are paid for.
        receipts_root: Digest,
    },
    /// From a channel to the requester, with what was left.
    Refund,
    /// To the vault, with network fees.
    Fee {
        /// How much, in TON.
        amount: Amount,
        /// What of it was paid in COCOON before, in TON.
        credit: Amount,
    },
    /// From the vault to who brought a fee, with what was waived.
    FeeBooked {
        /// The vault's epoch.
        epoch: u32,
        /// What can be rewarded of it.
        booked: Amount,
        /// What of it came back.
        waived: Amount,
        /// What is left of the credit.
        credit: Amount,
    },
    /// From the vault to a bidder, with what it bought.
    Bought {
        /// In TON.
        bought: Amount,
        /// In COCOON.
        paid: Amount,
    },
    /// From the vault to the rewards: what an epoch's fees fetched.
    EpochSold {
        /// Which.
        epoch: u32,
        /// Its fees, and what of them was to be burned, in TON.
        fees: Amount,
        /// See `fees`.
        lot: Amount,
        /// What that fetched, in COCOON.
        burned: Amount,
        /// What the whole auction fetched, in COCOON.
        paid: Amount,
        /// The median of the last auctions, in COCOON for a whole TON.
        median: Amount,
    },
    /// From the vault to a provider's contract: somebody paid fees ahead, so much in TON.
    FeeCredit(Amount),
    /// From the rewards to a provider's contract: the attestation holds.
    Registered {
        /// For which of the vault's epochs.
        epoch: u32,
        /// What its fees burned, in COCOON.
        part: Amount,
    },
    /// From the rewards to a provider's contract: the reward of an epoch.
    Rewarded {
        /// Which of the vault's.
        epoch: u32,
        /// In COCOON.
        amount: Amount,
    },
    /// From the governor to whoever proposed: the proposal's number.
    Proposed(u32),
    /// From the governor to whom the treasury pays TON.
    Spent,
    /// To the owner, with what was earned.
    Earnings,
    /// To the owner, with what was withdrawn.
    Withdrawn,
    /// To whom the dispute contract named, with slashed collateral.
    Slashed,
    /// To who poked, with the price and a share of the bond.
    PokeReward,
    /// To the treasury, with its share.
    TreasuryShare,
    /// To whoever sent the message, with what its work did not cost.
    Excesses,
}

impl Notice {
    /// Reads a body.
    ///
    /// # Errors
    /// [`CellError`] when it is none of ours.
    pub fn from_cell(cell: &Cell) -> Result<(QueryId, Self), CellError> {
        let (opcode, query, mut from) = opened(cell)?;
        let notice = match opcode {
            OP_PAID => load_paid(&mut from)?,
            OP_REFUND => Self::Refund,
            OP_FEE => Self::Fee { amount: load_amount(&mut from)?, credit: load_amount(&mut from)? },
            OP_FEE_BOOKED => Self::FeeBooked {
                epoch: from.load_u32(32)?,
                booked: load_amount(&mut from)?,
                waived: load_amount(&mut from)?,
                credit: load_amount(&mut from)?,
            },
            OP_BOUGHT => Self::Bought { bought: load_amount(&mut from)?, paid: load_amount(&mut from)? },
            OP_EPOCH_SOLD => Self::EpochSold {
                epoch: from.load_u32(32)?,
                fees: load_amount(&mut from)?,
                lot: load_amount(&mut from)?,
                burned: load_amount(&mut from)?,
                paid: load_amount(&mut from)?,
                median: load_amount(&mut from)?,
            },
            OP_FEE_CREDIT => Self::FeeCredit(load_amount(&mut from)?),
            OP_REGISTERED => Self::Registered { epoch: from.load_u32(32)?, part: load_amount(&mut from)? },
            OP_REWARDED => Self::Rewarded { epoch: from.load_u32(32)?, amount: load_amount(&mut from)? },
            OP_PROPOSED => Self::Proposed(from.load_u32(32)?),
            OP_SPENT => Self::Spent,
            OP_EARNINGS => Self::Earnings,
            OP_WITHDRAWN => Self::Withdrawn,
            OP_SLASHED => Self::Slashed,
            OP_POKE_REWARD => Self::PokeReward,
            OP_TREASURY_SHARE => Self::TreasuryShare,
            OP_EXCESSES => Self::Excesses,
            _ => return Err(CellError::Value("opcode")),
        };
        from.ensure_empty()?;
        Ok((query, notice))
    }
}

fn load_paid(from: &mut CellParser<'_>) -> Result<Notice, CellError> {
    let notice = Notice::Paid { from: load_amount(from)?, to: load_amount(from)?, receipts_root: Digest(load_32(from)?) };
    // The hashes of the channel's terms are for the contract.
    load_32(from)?;
    load_32(from)?;
    Ok(notice)
}
