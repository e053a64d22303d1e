//! What a ledger's entries say, and their keys.

use cocoon_market::agreement::Terms;
use cocoon_market::ids::Digest;
use cocoon_market::tree::Frontier;
use cocoon_market::{
    AgreementId, AgreementTerms, Amount, ChannelRef, CooperativeClose, JobId, Signature, Signed, SignedObject, SignedReceipt,
    SignedVoucher, Timestamp, Usage, codec,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::rollback::Rollback;
use super::store::{Damage, StoreError, Table};
use crate::contract::{ChannelStatus, ChannelTerms};

/// On which side of a channel we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// We pay.
    Requester,
    /// We are paid.
    Provider,
}

/// An agreement as both parties signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementRecord {
    /// The half with the provider's signature.
    pub by_provider: Signed,
    /// The half with the requester's signature.
    pub by_requester: Signed,
    /// When it was written down.
    pub recorded_at: Timestamp,
}

/// An agreement under which jobs may still begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenAgreement {
    /// Which.
    pub id: AgreementId,
    /// The channel that pays.
    pub channel: ChannelRef,
    /// What is [at risk](cocoon_market::agreement::Terms::at_risk) under it.
    pub at_risk: Amount,
}

/// What an agreement allows its receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// The channel that pays.
    pub(super) channel: ChannelRef,
    /// The most that all jobs may cost together.
    pub(super) cap: Amount,
    /// Unpaid work of a job at which it is stopped.
    pub(super) float: Amount,
    /// Jobs at once.
    pub(super) jobs_max: u16,
}

impl AgreementRecord {
    /// Reads the terms without their signatures, which were checked before they were written down.
    pub(super) fn terms(&self) -> Result<Terms, StoreError> {
        let damaged = |_| StoreError::Damaged(Damage::Entry(Table::Agreements));
        let body: AgreementTerms = codec::decode(&self.by_provider.bytes, AgreementTerms::BYTES_MAX).map_err(damaged)?;
        Ok(body.terms)
    }

    pub(super) fn allowance(&self) -> Result<Allowance, StoreError> {
        let terms = self.terms()?;
        Ok(Allowance { channel: terms.channel, cap: terms.cap, float: terms.float, jobs_max: terms.jobs_max })
    }
}

/// A channel that we opened or that was opened to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRecord {
    /// Our side.
    pub role: Role,
    /// What was fixed at the opening.
    pub terms: ChannelTerms,
    /// When it was written down.
    pub recorded_at: Timestamp,
}

/// What we last saw of a channel on its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainSight {
    /// Where it was in its life.
    pub status: ChannelStatus,
    /// All that was ever deposited.
    pub deposit: Amount,
    /// All that was ever drawn.
    pub drawn: Amount,
    /// The time of the block we saw it in.
    pub seen_at: Timestamp,
}

/// How far a channel has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The receipts tree. Its count is the last receipt's sequence.
    pub receipts: Frontier,
    /// Digest of the last receipt; all zero before the first.
    pub last_receipt: Option<Digest>,
    /// All that the receipts sum to.
    pub owed: Amount,
    /// The best voucher: issued by a requester, accepted by a provider.
    pub voucher: Option<SignedVoucher>,
    /// The chain's side, when it was ever seen.
    pub sight: Option<ChainSight>,
    /// Our signature under a cooperative close. Nothing is receipted or paid after it.
    pub end: Option<(CooperativeClose, Signature)>,
    /// What a counterparty signed that these books should have and have not. Nothing is receipted or newly paid after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// Provider: a voucher of the requester for receipts that these books do not have. It proves nothing here, and pays on chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salvage: Option<SignedVoucher>,
}

/// A receipt and the root of the tree that ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptRecord {
    /// The receipt.
    pub receipt: SignedReceipt,
    /// What a voucher that covers it must carry.
    pub root: Digest,
}

/// A job's place in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Under which agreement.
    pub agreement: AgreementId,
    /// In which channel its receipts are.
    pub channel: ChannelRef,
    /// Its first receipt.
    pub first_sequence: u64,
    /// Its last receipt so far.
    pub last_sequence: u64,
    /// What it costs so far.
    pub amount: Amount,
    /// What was metered so far.
    pub usage: Usage,
    /// Whether its final receipt is there.
    pub is_final: bool,
    /// When its last receipt was issued.
    pub updated_at: Timestamp,
}

pub(super) fn channel_key(channel: ChannelRef) -> Vec<u8> {
    // The sign bit is turned, so that keys are ordered as the numbers are.
    let network = channel.network.0.cast_unsigned() ^ (1 << 31);
    [network.to_be_bytes().as_slice(), channel.address.as_bytes()].concat()
}

pub(super) fn sequence_key(channel: ChannelRef, sequence: u64) -> Vec<u8> {
    [channel_key(channel).as_slice(), &sequence.to_be_bytes()].concat()
}

/// In the order in which agreements end.
pub(super) fn expiry_key(expires_at: Timestamp, id: AgreementId) -> Vec<u8> {
    [&expires_at.0.to_be_bytes(), id.as_bytes().as_slice()].concat()
}

pub(super) fn expiring(key: &[u8]) -> Result<AgreementId, StoreError> {
    let id = key.split_first_chunk::<8>().and_then(|(_, id)| id.try_into().ok());
    id.map(AgreementId).ok_or(StoreError::Damaged(Damage::Entry(Table::Expiries)))
}

pub(super) fn job_key(job: JobId) -> Vec<u8> {
    job.as_bytes().to_vec()
}

pub(super) fn encode<T: Serialize>(table: Table, value: &T) -> Result<Vec<u8>, StoreError> {
    serde_cbor::to_vec(value).map_err(|_| StoreError::Damaged(Damage::Entry(table)))
}

pub(super) fn decode<T: DeserializeOwned>(table: Table, bytes: &[u8]) -> Result<T, StoreError> {
    serde_cbor::from_slice(bytes).map_err(|_| StoreError::Damaged(Damage::Entry(table)))
}
