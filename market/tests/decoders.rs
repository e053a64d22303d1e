//! Every decoder under junk: random bytes, truncations, changed bytes and sizes beyond the bound. None panics, none reads
//! more than its bound, and whatever one accepts it writes again as something it accepts.

use std::fmt::Debug;

use cocoon_market::agreement::NEGOTIATE_BYTES_MAX;
use cocoon_market::codec::{self, DecodeError};
use cocoon_market::job::JOB_FRAME_BYTES_MAX;
use cocoon_market::tree::Frontier;
use cocoon_market::{
    AgreementTerms, AuditorKey, Certificate, CooperativeClose, JobRequest, NegotiateRequest, NegotiateResponse, NodeId, Offer,
    OfferMessage, OpenError, OperatorStatement, Proposal, ProviderFrame, ReceiptHeader, RequesterFrame, Signature, Signed, SignedObject,
    SignedReceipt, SignedVoucher, Verified, Voucher, Withdrawal,
};
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const FRONTIER_BYTES_MAX: usize = 4096;

/// Decodes junk as one type.
type Decoder = fn(&[u8]);

fn decoder<T: Serialize + DeserializeOwned + PartialEq + Debug, const MAX: usize>(bytes: &[u8]) {
    match codec::decode::<T>(bytes, MAX) {
        Ok(value) => {
            assert!(bytes.len() <= MAX, "read beyond the bound");
            if let Ok(again) = codec::encode(&value, usize::MAX) {
                assert_eq!(codec::decode::<T>(&again, usize::MAX).expect("what was written is read"), value);
            }
        }
        Err(DecodeError::TooLarge { len, max }) => assert!(len == bytes.len() && len > max && max == MAX),
        Err(DecodeError::Malformed(_)) => assert!(bytes.len() <= MAX),
    }
}

/// Junk that is well signed, so that it reaches the decoder behind the signature.
fn opener<T: SignedObject + PartialEq + Debug>(bytes: &[u8]) {
    let key = SigningKey::from_bytes(&[1; 32]);
    let preimage = [T::DOMAIN.as_bytes(), &[0], bytes].concat();
    let signature = Signature(key.sign(&preimage).to_bytes());
    let signed = Signed { key: NodeId(key.verifying_key().to_bytes()), signature, bytes: bytes.to_vec() };
    match Verified::<T>::open(signed) {
        Ok(opened) => assert!(bytes.len() <= T::BYTES_MAX && opened.signed().bytes == bytes),
        Err(OpenError::Decode(DecodeError::TooLarge { len, max })) => assert!(len == bytes.len() && max == T::BYTES_MAX && len > max),
        Err(OpenError::Decode(_) | OpenError::Signature(_) | OpenError::WrongSigner { .. } | OpenError::Inconsistent(_)) => {
            assert!(bytes.len() <= T::BYTES_MAX);
        }
    }
}

fn layouts(bytes: &[u8]) {
    if let Ok(voucher) = Voucher::from_bytes(bytes) {
        assert_eq!(voucher.to_bytes(), bytes);
    }
    if let Ok(header) = ReceiptHeader::from_bytes(bytes) {
        assert_eq!(header.to_bytes(), bytes);
    }
    if let Ok(close) = CooperativeClose::from_bytes(bytes) {
        assert_eq!(close.to_bytes(), bytes);
    }
    if let Ok(statement) = OperatorStatement::from_bytes(bytes) {
        assert_eq!(statement.to_bytes(), bytes);
    }
    if let Ok(certificate) = Certificate::from_bytes(bytes) {
        assert_eq!(certificate.to_bytes(), bytes);
    }
    if let Ok(key) = AuditorKey::from_bytes(bytes) {
        assert_eq!(key.to_bytes(), bytes);
    }
}

const UNSIGNED: [Decoder; 15] = [
    decoder::<OfferMessage, { OfferMessage::BYTES_MAX }>,
    decoder::<NegotiateRequest, NEGOTIATE_BYTES_MAX>,
    decoder::<NegotiateResponse, NEGOTIATE_BYTES_MAX>,
    decoder::<RequesterFrame, JOB_FRAME_BYTES_MAX>,
    decoder::<ProviderFrame, JOB_FRAME_BYTES_MAX>,
    decoder::<JobRequest, JOB_FRAME_BYTES_MAX>,
    decoder::<Signed, NEGOTIATE_BYTES_MAX>,
    decoder::<SignedReceipt, NEGOTIATE_BYTES_MAX>,
    decoder::<SignedVoucher, NEGOTIATE_BYTES_MAX>,
    decoder::<Offer, { Offer::BYTES_MAX }>,
    decoder::<Withdrawal, { Withdrawal::BYTES_MAX }>,
    decoder::<Proposal, { Proposal::BYTES_MAX }>,
    decoder::<AgreementTerms, { AgreementTerms::BYTES_MAX }>,
    decoder::<Frontier, FRONTIER_BYTES_MAX>,
    layouts,
];

const SIGNED: [Decoder; 4] = [opener::<Offer>, opener::<Withdrawal>, opener::<Proposal>, opener::<AgreementTerms>];

fn all(bytes: &[u8]) {
    UNSIGNED.iter().chain(&SIGNED).for_each(|decode| decode(bytes));
}

/// The bytes of all golden vectors: junk that is nearly right finds more than junk that isn't.
fn seeds() -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let vectors = files.flat_map(|text| serde_json::from_str::<Vec<Value>>(&text).unwrap());
    let bytes = vectors.map(|vector| hex::decode(vector["bytes"].as_str().unwrap()).unwrap());
    bytes.filter(|bytes| !bytes.is_empty()).collect()
}

#[test]
fn every_vector_and_every_truncation_of_it() {
    for seed in seeds() {
        for len in 0..=seed.len() {
            UNSIGNED.iter().for_each(|decode| decode(&seed[..len]));
        }
        // These sign each time, so they take fewer.
        for len in (0..=seed.len()).step_by(17) {
            SIGNED.iter().for_each(|decode| decode(&seed[..len]));
        }
    }
}

#[test]
fn the_largest_that_is_read_and_one_byte_more() {
    for max in [Offer::BYTES_MAX, Withdrawal::BYTES_MAX, Proposal::BYTES_MAX, OfferMessage::BYTES_MAX, JOB_FRAME_BYTES_MAX] {
        for len in [max - 1, max, max + 1] {
            // One byte string, one text, and one array that fill the bytes exactly.
            for major in [0x40, 0x60, 0x80u8] {
                let claimed = u32::try_from(len - 5).unwrap();
                let mut bytes = vec![major | 26];
                bytes.extend(claimed.to_be_bytes());
                bytes.resize(len, 0);
                all(&bytes);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        all(&bytes);
    }

    #[test]
    fn changed_vectors(pick in any::<prop::sample::Index>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let seeds = seeds();
        let mut bytes = pick.get(&seeds).clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        all(&bytes);
    }

    #[test]
    fn spliced_vectors(a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(), tail in any::<prop::sample::Index>()) {
        let seeds = seeds();
        let (head, end) = (a.get(&seeds), b.get(&seeds));
        let bytes = [&head[..cut.index(head.len() + 1)], &end[tail.index(end.len() + 1)..]].concat();
        all(&bytes);
    }
}
