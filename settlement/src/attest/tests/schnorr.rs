//! Auditors' second keys, natively.

use ark_ed_on_bls12_381::Fr as Exponent;
use ark_ff::{BigInteger as _, PrimeField as _};
use cocoon_market::keys::BadSignature;
use cocoon_market::{OperatorKey, Signature as Ed25519Signature};
use proptest::prelude::*;

use super::*;
use crate::attest::schnorr::{BindingError, BindingReadError, KeyBinding, PointError, PublicKey, Signature};

#[test]
fn a_key_is_its_seed_and_a_signature_its_message() {
    let (key, certificate) = (auditor(1), certificate(7, 5));
    assert_eq!(key.public().to_string(), "e8b8bfe334b9f33825e06731b06749efe2f3259e890137ca9fd9c4f9834c6457");
    assert_eq!(
        hex::encode(key.sign(&certificate).to_bytes()),
        "85a986492e2a6964ad7f8d19b18741f6d2348fb51fcb6d4f6a074b455a85d56245ee56548c46865eba30fc424e661373b03fafd95175e5968919864701915d0e"
    );
    assert_eq!(key.sign(&certificate), SecretKey::from_seed(&[1; 32]).sign(&certificate), "no randomness");
    assert!(format!("{key:?}").contains("e8b8bfe334b9f33825e06731b06749efe2f3259e890137ca9fd9c4f9834c6457"));
}

#[test]
fn encodings_have_one_form_and_no_weak_points() {
    let mut identity = [0u8; 32];
    identity[0] = 1;
    assert_eq!(PublicKey::from_bytes(&identity), Err(PointError::Identity));
    identity[31] = 0x80;
    assert_eq!(PublicKey::from_bytes(&identity), Err(PointError::Point), "minus zero");
    assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(PointError::Point), "y = 0 has order four");
    assert_eq!(PublicKey::from_bytes(&[0xff; 32]), Err(PointError::Point), "y beyond the order");
    let signature = auditor(1).sign(&certificate(7, 5));
    let mut bytes = signature.to_bytes();
    assert_eq!(Signature::from_bytes(&bytes), Ok(signature));
    // The same response plus the order of the subgroup.
    let mut response = Exponent::from_le_bytes_mod_order(&bytes[32..]).into_bigint();
    response.add_with_carry(&Exponent::MODULUS);
    bytes[32..].copy_from_slice(&response.to_bytes_le());
    assert_eq!(Signature::from_bytes(&bytes), Err(PointError::Response));
}

#[test]
fn a_binding_needs_both_keys() {
    let (owner, other) = (OperatorKey::from_seed(&[1; 32]), OperatorKey::from_seed(&[2; 32]));
    let binding = KeyBinding::new(NetworkId::DEVNET, &owner, &auditor(1));
    assert_eq!(binding.verify(), Ok(auditor(1).public()));
    assert_eq!(KeyBinding::from_bytes(&binding.to_bytes()), Ok(binding));

    let stolen = KeyBinding::new(NetworkId::DEVNET, &other, &auditor(1));
    let mut claimed = KeyBinding { possession: binding.possession, ..stolen };
    assert_eq!(claimed.verify(), Err(BindingError::Possession), "another's key");
    claimed.owner = binding.owner;
    assert_eq!(claimed.verify(), Err(BindingError::Owner));
    let mut elsewhere = binding;
    elsewhere.statement.network = NetworkId::TESTNET;
    assert_eq!(elsewhere.verify(), Err(BindingError::Owner));
    let mut nowhere = binding;
    nowhere.statement.x = Digest([0; 32]);
    assert_eq!(nowhere.verify(), Err(BindingError::Key(PointError::Point)));
    assert_eq!(KeyBinding { owner: Ed25519Signature([0; 64]), ..binding }.verify(), Err(BindingError::Owner));

    let bytes = binding.to_bytes();
    assert_eq!(KeyBinding::from_bytes(&bytes[..231]), Err(BindingReadError::Length { got: 231 }));
    assert_eq!(KeyBinding::from_bytes(&[&bytes[..], &[0]].concat()), Err(BindingReadError::Length { got: 233 }));
    assert_eq!(KeyBinding::from_bytes(&bytes[..3]), Err(BindingReadError::Length { got: 3 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_signature_holds_for_one_certificate_by_one_key(
        seed in any::<[u8; 32]>(),
        claim in any::<u64>(),
        fee in any::<u64>(),
        flip in 0usize..512,
    ) {
        let (key, one) = (SecretKey::from_seed(&seed), certificate(claim, fee));
        let signature = key.sign(&one);
        let public = PublicKey::from_bytes(&key.public().to_bytes()).unwrap();
        prop_assert_eq!(public.verify(&one, &signature), Ok(()));
        prop_assert_eq!(public.verify(&Certificate { fee_nanoton: fee ^ 1, ..one }, &signature), Err(BadSignature));
        prop_assert_eq!(auditor(1).public().verify(&one, &signature), Err(BadSignature));
        let mut bytes = signature.to_bytes();
        bytes[flip / 8] ^= 1 << (flip % 8);
        prop_assert!(Signature::from_bytes(&bytes).map_or(true, |changed| public.verify(&one, &changed).is_err()));
    }
}
