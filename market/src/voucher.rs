//! Vouchers: signed cumulative payment, and the countersignature of the receipts it pays for.
//!
//! A voucher has a fixed layout of 96 bytes, signed with plain ed25519 as those bytes, so that the channel contract
//! checks it with one `CHKSIGNS`:
//!
//! ```text
//! "CCV1" | network i32 | channel 32 | sequence u64 | cumulative nano u128 | receipts root 32
//! ```

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::ids::{ChannelRef, ContractAddress, Digest, NetworkId, NodeId};
use crate::keys::{BadSignature, OperatorKey, Signature, verify_raw};

/// Marks a voucher among all bytes an operator key signs.
pub const VOUCHER_TAG: [u8; 4] = *b"CCV1";

/// Length of a voucher. A TVM cell holds 127 bytes.
pub const VOUCHER_BYTES: usize = 96;

/// Marks a cooperative close among all bytes an operator key signs.
pub const CLOSE_TAG: [u8; 4] = *b"CCC1";

/// Length of a cooperative close.
pub const CLOSE_BYTES: usize = 64;

/// "Of this channel's deposit, so much in all is yours, for these receipts."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Voucher {
    /// Which channel.
    pub channel: ChannelRef,
    /// How many receipts it covers.
    pub sequence: u64,
    /// All that was ever paid in this channel.
    pub cumulative: Amount,
    /// Root of the receipts tree over the receipts it covers.
    pub receipts_root: Digest,
}

/// Bytes that are not a statement of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Not as long as the layout.
    #[error("{got} bytes where the layout has {want}")]
    Length {
        /// What came.
        got: usize,
        /// What the layout has.
        want: usize,
    },
    /// Another domain tag.
    #[error("the domain tag is not {0:?}")]
    Tag([u8; 4]),
}

impl Voucher {
    /// The signed bytes.
    pub fn to_bytes(&self) -> [u8; VOUCHER_BYTES] {
        let parts: [&[u8]; 6] = [
            &VOUCHER_TAG,
            &self.channel.network.0.to_be_bytes(),
            self.channel.address.as_bytes(),
            &self.sequence.to_be_bytes(),
            &self.cumulative.to_be_bytes(),
            self.receipts_root.as_bytes(),
        ];
        fill(parts)
    }

    /// Reads the layout.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes, VOUCHER_BYTES)?;
        reader.tag(VOUCHER_TAG)?;
        Ok(Self {
            channel: ChannelRef { network: NetworkId(i32::from_be_bytes(reader.take())), address: ContractAddress(reader.take()) },
            sequence: u64::from_be_bytes(reader.take()),
            cumulative: Amount::from_be_bytes(reader.take()),
            receipts_root: Digest(reader.take()),
        })
    }

    /// Signs it. Journal it first: a voucher that left is money.
    pub fn sign(self, key: &OperatorKey) -> SignedVoucher {
        SignedVoucher { voucher: self, signature: key.sign_raw(&self.to_bytes()) }
    }
}

/// A voucher as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SignedVoucher {
    /// The voucher.
    pub voucher: Voucher,
    /// Of the requester, over its 96 bytes.
    pub signature: Signature,
}

impl SignedVoucher {
    /// Checks the signature.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, requester: &NodeId) -> Result<(), BadSignature> {
        verify_raw(requester, &self.voucher.to_bytes(), &self.signature)
    }
}

/// "We are done; this is the last figure." Signed by both parties, it ends a channel without a challenge window.
///
/// ```text
/// "CCC1" | network i32 | channel 32 | sequence u64 | cumulative nano u128
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CooperativeClose {
    /// Which channel.
    pub channel: ChannelRef,
    /// How many receipts there were.
    pub sequence: u64,
    /// All that the provider gets out of the channel, fee included.
    pub cumulative: Amount,
}

impl CooperativeClose {
    /// The signed bytes.
    pub fn to_bytes(&self) -> [u8; CLOSE_BYTES] {
        let parts: [&[u8]; 5] = [
            &CLOSE_TAG,
            &self.channel.network.0.to_be_bytes(),
            self.channel.address.as_bytes(),
            &self.sequence.to_be_bytes(),
            &self.cumulative.to_be_bytes(),
        ];
        fill(parts)
    }

    /// One party's signature.
    pub fn sign(&self, key: &OperatorKey) -> Signature {
        key.sign_raw(&self.to_bytes())
    }

    /// Checks one party's signature.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, party: &NodeId, signature: &Signature) -> Result<(), BadSignature> {
        verify_raw(party, &self.to_bytes(), signature)
    }
}

/// Lays parts one after the other. The layouts of this crate fill their arrays exactly, which their tests show.
pub(crate) fn fill<const N: usize, const PARTS: usize>(parts: [&[u8]; PARTS]) -> [u8; N] {
    let mut out = [0u8; N];
    for (to, from) in out.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    out
}

/// Takes fixed-width fields off bytes whose length was checked once.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], want: usize) -> Result<Self, LayoutError> {
        if bytes.len() == want { Ok(Self(bytes)) } else { Err(LayoutError::Length { got: bytes.len(), want }) }
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0u8; N];
        let (head, rest) = self.0.split_at(N.min(self.0.len()));
        for (to, from) in field.iter_mut().zip(head) {
            *to = *from;
        }
        self.0 = rest;
        field
    }

    fn tag(&mut self, want: [u8; 4]) -> Result<(), LayoutError> {
        if self.take() == want { Ok(()) } else { Err(LayoutError::Tag(want)) }
    }
}
