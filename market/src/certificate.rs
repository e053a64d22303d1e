//! Certificates: an auditor's signed verdict that the work behind one claim is what was paid for.
//!
//! A claim puts a receipts root on chain, a draw opens leaves of it, and an auditor that saw every drawn job opened and passed says
//! so, once, for that claim. Rewards are paid on certificates alone, so a certificate names the contract, the epoch and the number of
//! the claim it is about: it is good for nothing else. Its layout has 92 bytes and is signed with plain ed25519 as those bytes:
//!
//! ```text
//! "CCA1" | network i32 | provider's contract 32 | epoch u32 | claim u64 | fee nano-TON u64 | segment 32
//! ```
//!
//! The segment is what was looked at: SHA-256 over `channel 32 | receipts root 32 | drawn from u64 | drawn to u64`.
//!
//! An auditor also has a key on a second curve, under which proofs hide who audited. [`AuditorKey`] ties it to the ed25519 key; this
//! crate carries its coordinates and knows nothing of the curve:
//!
//! ```text
//! "CCJ1" | network i32 | auditor 32 | x 32 | y 32
//! ```

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::{ContractAddress, Digest, NetworkId, NodeId};
use crate::keys::{BadSignature, OperatorKey, Signature, verify_raw};
use crate::layout::{LayoutError, Reader, fill};

/// Marks a certificate among all bytes an auditor signs.
pub const CERTIFICATE_TAG: [u8; 4] = *b"CCA1";

/// Length of a certificate. A TVM cell holds 127 bytes.
pub const CERTIFICATE_BYTES: usize = 92;

/// Marks the binding of an auditor's second key among all bytes an auditor signs.
pub const AUDITOR_KEY_TAG: [u8; 4] = *b"CCJ1";

/// Length of the binding of an auditor's second key.
pub const AUDITOR_KEY_BYTES: usize = 104;

/// What an auditor looked at: the receipts of one channel that a claim newly paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// The channel's account.
    pub channel: ContractAddress,
    /// Root of the receipts tree that the claim put on chain.
    pub receipts_root: Digest,
    /// The first receipt of the segment, counted from zero.
    pub drawn_from: u64,
    /// The first receipt after it.
    pub drawn_to: u64,
}

impl Segment {
    /// What a certificate says of it.
    pub fn digest(&self) -> Digest {
        let hash = Sha256::new()
            .chain_update(self.channel.as_bytes())
            .chain_update(self.receipts_root.as_bytes())
            .chain_update(self.drawn_from.to_be_bytes())
            .chain_update(self.drawn_to.to_be_bytes());
        Digest(hash.finalize().into())
    }
}

/// "Every drawn job of this claim was opened, and passed."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The chain.
    pub network: NetworkId,
    /// The contract of the provider that claimed.
    pub provider: ContractAddress,
    /// The vault's epoch in which the claim's fee was booked.
    pub epoch: u32,
    /// The claim's number in the provider's contract.
    pub claim: u64,
    /// The claim's network fee, in nano-TON.
    pub fee_nanoton: u64,
    /// [`Segment::digest`] of what was looked at.
    pub segment: Digest,
}

impl Certificate {
    /// The signed bytes.
    pub fn to_bytes(&self) -> [u8; CERTIFICATE_BYTES] {
        let parts: [&[u8]; 7] = [
            &CERTIFICATE_TAG,
            &self.network.0.to_be_bytes(),
            self.provider.as_bytes(),
            &self.epoch.to_be_bytes(),
            &self.claim.to_be_bytes(),
            &self.fee_nanoton.to_be_bytes(),
            self.segment.as_bytes(),
        ];
        fill(parts)
    }

    /// Reads the layout.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes, CERTIFICATE_BYTES)?;
        reader.tag(CERTIFICATE_TAG)?;
        let provider = reader.channel();
        Ok(Self {
            network: provider.network,
            provider: provider.address,
            epoch: u32::from_be_bytes(reader.take()),
            claim: u64::from_be_bytes(reader.take()),
            fee_nanoton: u64::from_be_bytes(reader.take()),
            segment: Digest(reader.take()),
        })
    }

    /// Signs it.
    pub fn sign(self, auditor: &OperatorKey) -> SignedCertificate {
        SignedCertificate { certificate: self, signature: auditor.sign_raw(&self.to_bytes()) }
    }
}

/// A certificate as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SignedCertificate {
    /// The certificate.
    pub certificate: Certificate,
    /// Of the auditor, over its 92 bytes.
    pub signature: Signature,
}

impl SignedCertificate {
    /// Checks the signature.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, auditor: &NodeId) -> Result<(), BadSignature> {
        verify_raw(auditor, &self.certificate.to_bytes(), &self.signature)
    }
}

/// "On this network, the key with these coordinates is mine too."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditorKey {
    /// The chain whose registry may list the key.
    pub network: NetworkId,
    /// The auditor.
    pub auditor: NodeId,
    /// The first affine coordinate of the second key, big-endian.
    pub x: Digest,
    /// The second affine coordinate, big-endian.
    pub y: Digest,
}

impl AuditorKey {
    /// The signed bytes.
    pub fn to_bytes(&self) -> [u8; AUDITOR_KEY_BYTES] {
        let parts: [&[u8]; 5] =
            [&AUDITOR_KEY_TAG, &self.network.0.to_be_bytes(), self.auditor.as_bytes(), self.x.as_bytes(), self.y.as_bytes()];
        fill(parts)
    }

    /// Reads the layout.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes, AUDITOR_KEY_BYTES)?;
        reader.tag(AUDITOR_KEY_TAG)?;
        Ok(Self {
            network: NetworkId(i32::from_be_bytes(reader.take())),
            auditor: NodeId(reader.take()),
            x: Digest(reader.take()),
            y: Digest(reader.take()),
        })
    }

    /// The auditor's signature.
    pub fn sign(&self, auditor: &OperatorKey) -> Signature {
        auditor.sign_raw(&self.to_bytes())
    }

    /// Checks the signature of the auditor it names.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, signature: &Signature) -> Result<(), BadSignature> {
        verify_raw(&self.auditor, &self.to_bytes(), signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{CHANNEL, key};
    use crate::layout::LAYOUT_BYTES_MAX;
    use proptest::prelude::*;

    const CERTIFICATE: Certificate = Certificate {
        network: CHANNEL.network,
        provider: CHANNEL.address,
        epoch: 0x0102_0304,
        claim: 0x0506_0708_090a_0b0c,
        fee_nanoton: 0x1112_1314_1516_1718,
        segment: Digest([0x44; 32]),
    };

    fn auditor_key() -> AuditorKey {
        AuditorKey { network: CHANNEL.network, auditor: key(1).node_id(), x: Digest([0x11; 32]), y: Digest([0x22; 32]) }
    }

    #[test]
    fn a_certificate_has_its_fields_at_fixed_places() {
        let bytes = CERTIFICATE.to_bytes();
        assert!(bytes.len() == 92 && bytes.len() <= LAYOUT_BYTES_MAX);
        assert_eq!(&bytes[0..4], b"CCA1");
        assert_eq!(bytes[4..8], (-777_i32).to_be_bytes());
        assert_eq!(bytes[8..40], [3; 32]);
        assert_eq!(bytes[40..52], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(bytes[52..60], [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
        assert_eq!(bytes[60..92], [0x44; 32]);
    }

    #[test]
    fn an_auditors_key_has_its_fields_at_fixed_places() {
        let bytes = auditor_key().to_bytes();
        assert!(bytes.len() == 104 && bytes.len() <= LAYOUT_BYTES_MAX);
        assert_eq!(&bytes[0..4], b"CCJ1");
        assert_eq!(bytes[4..8], (-777_i32).to_be_bytes());
        assert_eq!(bytes[8..40], *key(1).node_id().as_bytes());
        assert_eq!((&bytes[40..72], &bytes[72..104]), (&[0x11; 32][..], &[0x22; 32][..]));
    }

    #[test]
    fn a_segment_is_hashed_field_by_field() {
        let segment =
            Segment { channel: CHANNEL.address, receipts_root: Digest([4; 32]), drawn_from: 0x0102_0304_0506_0708, drawn_to: 0x1112 };
        let bytes = [&[3; 32][..], &[4; 32], &[1, 2, 3, 4, 5, 6, 7, 8], &[0, 0, 0, 0, 0, 0, 0x11, 0x12]].concat();
        assert_eq!(segment.digest().0, <[u8; 32]>::from(Sha256::digest(bytes)));
    }

    #[test]
    fn only_the_layout_is_read() {
        let (certificate, key) = (CERTIFICATE.to_bytes(), auditor_key().to_bytes());
        assert_eq!(Certificate::from_bytes(&certificate), Ok(CERTIFICATE));
        assert_eq!(AuditorKey::from_bytes(&key), Ok(auditor_key()));
        assert_eq!(Certificate::from_bytes(&certificate[..91]), Err(LayoutError::Length { got: 91, want: 92 }));
        assert_eq!(Certificate::from_bytes(&key), Err(LayoutError::Length { got: 104, want: 92 }));
        assert_eq!(AuditorKey::from_bytes(&certificate), Err(LayoutError::Length { got: 92, want: 104 }));
        let (mut other, mut other_key) = (certificate, key);
        other[3] = b'2';
        other_key[2] = b'A';
        assert_eq!(Certificate::from_bytes(&other), Err(LayoutError::Tag(*b"CCA1")));
        assert_eq!(AuditorKey::from_bytes(&other_key), Err(LayoutError::Tag(*b"CCJ1")));
    }

    #[test]
    fn a_signature_holds_for_one_statement_by_one_key() {
        let signed = CERTIFICATE.sign(&key(1));
        assert_eq!(signed.verify(&key(1).node_id()), Ok(()));
        assert_eq!(signed.verify(&key(2).node_id()), Err(BadSignature));
        let next = SignedCertificate { certificate: Certificate { claim: CERTIFICATE.claim + 1, ..CERTIFICATE }, ..signed };
        assert_eq!(next.verify(&key(1).node_id()), Err(BadSignature));
        let signature = auditor_key().sign(&key(1));
        assert_eq!(auditor_key().verify(&signature), Ok(()));
        assert_eq!(auditor_key().verify(&auditor_key().sign(&key(2))), Err(BadSignature), "another auditor's");
        assert_eq!(AuditorKey { network: NetworkId::TESTNET, ..auditor_key() }.verify(&signature), Err(BadSignature));
    }

    proptest! {
        #[test]
        fn layouts_round_trip_and_junk_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..130)) {
            if let Ok(certificate) = Certificate::from_bytes(&bytes) {
                prop_assert_eq!(&certificate.to_bytes()[..], &bytes[..]);
            }
            let mut tagged = bytes.clone();
            tagged.resize(CERTIFICATE_BYTES, 0);
            tagged[..4].copy_from_slice(&CERTIFICATE_TAG);
            prop_assert_eq!(&Certificate::from_bytes(&tagged).unwrap().to_bytes()[..], &tagged[..]);
            tagged.resize(AUDITOR_KEY_BYTES, 0);
            tagged[..4].copy_from_slice(&AUDITOR_KEY_TAG);
            prop_assert_eq!(&AuditorKey::from_bytes(&tagged).unwrap().to_bytes()[..], &tagged[..]);
        }
    }
}
