//! Every CBOR decoder of the wire: the first byte chooses which.
#![no_main]

use cocoon_market::agreement::NEGOTIATE_BYTES_MAX;
use cocoon_market::codec;
use cocoon_market::job::JOB_FRAME_BYTES_MAX;
use cocoon_market::{
    AgreementTerms, NegotiateRequest, NegotiateResponse, Offer, OfferMessage, Proposal, ProviderFrame, RequesterFrame, Signed, SignedObject,
    Withdrawal,
};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is read is written again as something that is read as the same.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq>(bytes: &[u8], max: usize) {
    if let Ok(value) = codec::decode::<T>(bytes, max) {
        let again = codec::encode(&value, usize::MAX).expect("what was read can be written");
        assert!(codec::decode::<T>(&again, usize::MAX).is_ok_and(|read| read == value));
    }
}

/// A signed value is also checked by itself.
fn object<T: SignedObject + PartialEq>(bytes: &[u8]) {
    round_trip::<T>(bytes, T::BYTES_MAX);
    if let Ok(value) = codec::decode::<T>(bytes, T::BYTES_MAX) {
        let _ = value.check();
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    match choice % 10 {
        0 => round_trip::<OfferMessage>(bytes, OfferMessage::BYTES_MAX),
        1 => round_trip::<NegotiateRequest>(bytes, NEGOTIATE_BYTES_MAX),
        2 => round_trip::<NegotiateResponse>(bytes, NEGOTIATE_BYTES_MAX),
        3 => round_trip::<RequesterFrame>(bytes, JOB_FRAME_BYTES_MAX),
        4 => round_trip::<ProviderFrame>(bytes, JOB_FRAME_BYTES_MAX),
        5 => round_trip::<Signed>(bytes, NEGOTIATE_BYTES_MAX),
        6 => object::<Offer>(bytes),
        7 => object::<Withdrawal>(bytes),
        8 => object::<Proposal>(bytes),
        _ => object::<AgreementTerms>(bytes),
    }
});
