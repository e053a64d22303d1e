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
use crate::ids::{ChannelRef, Digest, NodeId};
use crate::keys::{BadSignature, OperatorKey, Signature, verify_raw};
use crate::layout::{LayoutError, Reader, fill};

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
            channel: reader.channel(),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

    /// Reads the layout.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes, CLOSE_BYTES)?;
        reader.tag(CLOSE_TAG)?;
        Ok(Self {
            channel: reader.channel(),
            sequence: u64::from_be_bytes(reader.take()),
            cumulative: Amount::from_be_bytes(reader.take()),
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{CHANNEL, key};
    use crate::layout::LAYOUT_BYTES_MAX;
    use proptest::prelude::*;

    const VOUCHER: Voucher = Voucher {
        channel: CHANNEL,
        sequence: 0x0102_0304_0506_0708,
        cumulative: Amount::from_nano(0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20),
        receipts_root: Digest([0x44; 32]),
    };

    const CLOSE: CooperativeClose = CooperativeClose { channel: CHANNEL, sequence: VOUCHER.sequence, cumulative: VOUCHER.cumulative };

    #[test]
    fn a_voucher_has_its_fields_at_fixed_places() {
        let bytes = VOUCHER.to_bytes();
        assert!(bytes.len() == 96 && bytes.len() <= LAYOUT_BYTES_MAX);
        assert_eq!(&bytes[0..4], b"CCV1");
        assert_eq!(bytes[4..8], (-777_i32).to_be_bytes());
        assert_eq!(bytes[8..40], [3; 32]);
        assert_eq!(bytes[40..48], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(bytes[48..64], VOUCHER.cumulative.to_be_bytes());
        assert_eq!(bytes[64..96], [0x44; 32]);
    }

    #[test]
    fn a_cooperative_close_has_its_fields_at_fixed_places() {
        let bytes = CLOSE.to_bytes();
        assert!(bytes.len() == 64 && bytes.len() <= LAYOUT_BYTES_MAX);
        assert_eq!(&bytes[0..4], b"CCC1");
        assert_eq!(bytes[4..64], VOUCHER.to_bytes()[4..64]);
    }

    #[test]
    fn only_the_layout_is_read() {
        let (voucher, close) = (VOUCHER.to_bytes(), CLOSE.to_bytes());
        assert_eq!(Voucher::from_bytes(&voucher), Ok(VOUCHER));
        assert_eq!(CooperativeClose::from_bytes(&close), Ok(CLOSE));
        assert_eq!(Voucher::from_bytes(&voucher[..95]), Err(LayoutError::Length { got: 95, want: 96 }));
        assert_eq!(Voucher::from_bytes(&[&voucher[..], &[0]].concat()), Err(LayoutError::Length { got: 97, want: 96 }));
        assert_eq!(CooperativeClose::from_bytes(&voucher), Err(LayoutError::Length { got: 96, want: 64 }));
        let mut other = voucher;
        other[3] = b'2';
        assert_eq!(Voucher::from_bytes(&other), Err(LayoutError::Tag(*b"CCV1")));
        let mut other = close;
        other[0] = 0;
        assert_eq!(CooperativeClose::from_bytes(&other), Err(LayoutError::Tag(*b"CCC1")));
    }

    #[test]
    fn a_signature_holds_for_one_statement_by_one_key() {
        let signed = VOUCHER.sign(&key(1));
        assert_eq!(signed.verify(&key(1).node_id()), Ok(()));
        assert_eq!(signed.verify(&key(2).node_id()), Err(BadSignature));
        let more = SignedVoucher { voucher: Voucher { sequence: VOUCHER.sequence + 1, ..VOUCHER }, ..signed };
        assert_eq!(more.verify(&key(1).node_id()), Err(BadSignature));
        let signature = CLOSE.sign(&key(1));
        assert_eq!(CLOSE.verify(&key(1).node_id(), &signature), Ok(()));
        assert_eq!(CLOSE.verify(&key(2).node_id(), &signature), Err(BadSignature));
        assert_eq!(CLOSE.verify(&key(1).node_id(), &signed.signature), Err(BadSignature), "a voucher is no close");
    }

    proptest! {
        #[test]
        fn layouts_round_trip_and_junk_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..130)) {
            if let Ok(voucher) = Voucher::from_bytes(&bytes) {
                prop_assert_eq!(&voucher.to_bytes()[..], &bytes[..]);
            }
            let mut tagged = bytes.clone();
            tagged.resize(VOUCHER_BYTES, 0);
            tagged[..4].copy_from_slice(&VOUCHER_TAG);
            prop_assert_eq!(&Voucher::from_bytes(&tagged).unwrap().to_bytes()[..], &tagged[..]);
            tagged.resize(CLOSE_BYTES, 0);
            tagged[..4].copy_from_slice(&CLOSE_TAG);
            prop_assert_eq!(&CooperativeClose::from_bytes(&tagged).unwrap().to_bytes()[..], &tagged[..]);
        }
    }
}
