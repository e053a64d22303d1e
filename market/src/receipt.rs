//! Receipts: metered work with its commitments, signed by the provider.
//!
//! A receipt covers the work between it and the one before (a slice); the last one of a job is final. Receipts of a
//! channel are numbered from 1 without gaps and chained by digest. The header has a fixed layout of 112 bytes, signed
//! as those bytes, because a contract may have to judge two of them:
//!
//! ```text
//! "CCR1" | network i32 | channel 32 | sequence u64 | job 16 | cumulative nano u128 | body digest 32
//! ```
//!
//! The body travels beside it; the header names it by the SHA-256 of its own fixed layout.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::amount::Amount;
use crate::ids::{AgreementId, ChannelRef, Digest, JobId, NodeId};
use crate::keys::{BadSignature, OperatorKey, Signature, verify_raw};
use crate::layout::{LayoutError, Reader, fill};
use crate::penalty::Penalty;
use crate::price::Usage;
use crate::time::Timestamp;

/// Marks a receipt header among all bytes an operator key signs.
pub const RECEIPT_TAG: [u8; 4] = *b"CCR1";

/// Length of a receipt header. A TVM cell holds 127 bytes.
pub const RECEIPT_HEADER_BYTES: usize = 112;

/// What a contract may see of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptHeader {
    /// In which channel.
    pub channel: ChannelRef,
    /// Place in the channel, from 1.
    pub sequence: u64,
    /// For which job.
    pub job: JobId,
    /// All that the channel owes up to and with this receipt.
    pub cumulative: Amount,
    /// SHA-256 of the body.
    pub body: Digest,
}

impl ReceiptHeader {
    /// The signed bytes.
    pub fn to_bytes(&self) -> [u8; RECEIPT_HEADER_BYTES] {
        let parts: [&[u8]; 7] = [
            &RECEIPT_TAG,
            &self.channel.network.0.to_be_bytes(),
            self.channel.address.as_bytes(),
            &self.sequence.to_be_bytes(),
            self.job.as_bytes(),
            &self.cumulative.to_be_bytes(),
            self.body.as_bytes(),
        ];
        fill(parts)
    }

    /// Reads the layout.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes, RECEIPT_HEADER_BYTES)?;
        reader.tag(RECEIPT_TAG)?;
        Ok(Self {
            channel: reader.channel(),
            sequence: u64::from_be_bytes(reader.take()),
            job: JobId(reader.take()),
            cumulative: Amount::from_be_bytes(reader.take()),
            body: Digest(reader.take()),
        })
    }

    /// The leaf of this receipt in the receipts tree, and the link to it in the next one.
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.to_bytes()).into())
    }
}

/// What was done for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptBody {
    /// Under which agreement.
    pub agreement: AgreementId,
    /// The receipt before it in the channel; all zero for the first.
    pub previous: Digest,
    /// All metered work of the job up to here.
    pub usage: Usage,
    /// What this slice costs.
    pub amount: Amount,
    /// Commitment to the tokens of the input.
    pub input: Digest,
    /// Commitment to the tokens written, or the vectors given, so far.
    pub output: Digest,
    /// Commitment to the requester's sampling seed; all zero where nothing is drawn.
    pub seed: Digest,
    /// Commitment to the work itself; all zero in the `plain` tier.
    pub work: Digest,
    /// Whether it is the job's last.
    pub last: bool,
    /// When it was issued.
    pub issued_at: Timestamp,
}

impl ReceiptBody {
    /// SHA-256 over the fields in their order, each at its fixed width.
    pub fn digest(&self) -> Digest {
        let hash = Sha256::new()
            .chain_update(b"cocoon/receipt-body/1\0")
            .chain_update(self.agreement.as_bytes())
            .chain_update(self.previous.as_bytes())
            .chain_update(self.usage.input_tokens.to_be_bytes())
            .chain_update(self.usage.output_tokens.to_be_bytes())
            .chain_update(self.amount.to_be_bytes())
            .chain_update(self.input.as_bytes())
            .chain_update(self.output.as_bytes())
            .chain_update(self.seed.as_bytes())
            .chain_update(self.work.as_bytes())
            .chain_update([u8::from(self.last)])
            .chain_update(self.issued_at.0.to_be_bytes());
        Digest(hash.finalize().into())
    }
}

/// A receipt before it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// What a contract may see.
    pub header: ReceiptHeader,
    /// What was done.
    pub body: ReceiptBody,
}

/// A receipt as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// The receipt.
    pub receipt: Receipt,
    /// Of the provider, over the 112 bytes of the header.
    pub signature: Signature,
}

/// Why a receipt is not what it claims.
///
/// Peer penalty: ban for each variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The signature is wrong.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// The header names another body.
    #[error("the receipt's header names another body")]
    Body,
}

impl ReceiptError {
    /// What it costs the provider.
    pub const fn penalty(&self) -> Penalty {
        Penalty::Ban
    }
}

impl Receipt {
    /// A receipt at this place of a channel, its header naming its body.
    pub fn new(channel: ChannelRef, sequence: u64, job: JobId, cumulative: Amount, body: ReceiptBody) -> Self {
        Self { header: ReceiptHeader { channel, sequence, job, cumulative, body: body.digest() }, body }
    }

    /// Signs it.
    pub fn sign(self, key: &OperatorKey) -> SignedReceipt {
        SignedReceipt { receipt: self, signature: key.sign_raw(&self.header.to_bytes()) }
    }
}

impl SignedReceipt {
    /// Checks signature and body.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn verify(&self, provider: &NodeId) -> Result<(), ReceiptError> {
        if self.receipt.body.digest() != self.receipt.header.body {
            return Err(ReceiptError::Body);
        }
        Ok(verify_raw(provider, &self.receipt.header.to_bytes(), &self.signature)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{CHANNEL, NOW, key};
    use crate::layout::LAYOUT_BYTES_MAX;

    fn body() -> ReceiptBody {
        ReceiptBody {
            agreement: AgreementId([1; 32]),
            previous: Digest([2; 32]),
            usage: Usage { input_tokens: 3, output_tokens: 4 },
            amount: Amount::from_nano(5),
            input: Digest([6; 32]),
            output: Digest([7; 32]),
            seed: Digest([8; 32]),
            work: Digest([9; 32]),
            last: false,
            issued_at: NOW,
        }
    }

    fn receipt() -> Receipt {
        Receipt::new(CHANNEL, 0x0102_0304_0506_0708, JobId([5; 16]), Amount::from_nano(1 << 100), body())
    }

    #[test]
    fn a_header_has_its_fields_at_fixed_places() {
        let bytes = receipt().header.to_bytes();
        assert!(bytes.len() == 112 && bytes.len() <= LAYOUT_BYTES_MAX);
        assert_eq!(&bytes[0..4], b"CCR1");
        assert_eq!(bytes[4..8], (-777_i32).to_be_bytes());
        assert_eq!(bytes[8..40], [3; 32]);
        assert_eq!(bytes[40..48], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(bytes[48..64], [5; 16]);
        assert_eq!(bytes[64..80], (1_u128 << 100).to_be_bytes());
        assert_eq!(bytes[80..112], body().digest().0);
        assert_eq!(receipt().header.digest(), Digest(Sha256::digest(bytes).into()));
    }

    #[test]
    fn only_the_layout_is_read() {
        let bytes = receipt().header.to_bytes();
        assert_eq!(ReceiptHeader::from_bytes(&bytes), Ok(receipt().header));
        assert_eq!(ReceiptHeader::from_bytes(&bytes[1..]), Err(LayoutError::Length { got: 111, want: 112 }));
        let mut other = bytes;
        other[2] = b'V';
        assert_eq!(ReceiptHeader::from_bytes(&other), Err(LayoutError::Tag(RECEIPT_TAG)));
    }

    #[test]
    fn every_field_of_the_body_is_in_its_digest() {
        let alter: [fn(&mut ReceiptBody); 11] = [
            |b| b.agreement.0[0] ^= 1,
            |b| b.previous.0[0] ^= 1,
            |b| b.usage.input_tokens ^= 1,
            |b| b.usage.output_tokens ^= 1,
            |b| b.amount = Amount::from_nano(4),
            |b| b.input.0[0] ^= 1,
            |b| b.output.0[0] ^= 1,
            |b| b.seed.0[0] ^= 1,
            |b| b.work.0[0] ^= 1,
            |b| b.last = true,
            |b| b.issued_at.0 ^= 1,
        ];
        for (n, alter) in alter.into_iter().enumerate() {
            let mut other = body();
            alter(&mut other);
            assert_ne!(other.digest(), body().digest(), "field {n}");
        }
    }

    #[test]
    fn a_signature_holds_for_one_receipt_by_one_key() {
        let signed = receipt().sign(&key(1));
        assert_eq!(signed.verify(&key(1).node_id()), Ok(()));
        assert_eq!(signed.verify(&key(2).node_id()), Err(ReceiptError::Signature(BadSignature)));
        let mut other = signed;
        other.receipt.header.sequence += 1;
        assert_eq!(other.verify(&key(1).node_id()), Err(ReceiptError::Signature(BadSignature)));
        let mut other = signed;
        other.receipt.body.last = true;
        assert_eq!(other.verify(&key(1).node_id()), Err(ReceiptError::Body));
        assert_eq!(ReceiptError::Body.penalty(), Penalty::Ban);
    }
}
