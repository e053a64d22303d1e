//! Certificates and attestations as files.

use serde_json::{Value, json};

use super::*;
use crate::attest::groth16::{ProofError, VerifyError};
use crate::attest::keyset::KeySetError;
use crate::attest::papers::{ATTESTATION_BYTES_MAX, Attestation, AttestationError, CERTIFICATES_BYTES_MAX, Certificates, PaperError};
use crate::attest::schnorr::PointError;
use crate::contract::{Attested, ProofBytes};

fn certificates() -> Certificates {
    Certificates { keys: keys(), audited: three().to_vec() }
}

/// The file with one value replaced, by its JSON pointer.
fn changed(file: &[u8], at: &str, to: Value) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(file).unwrap();
    *value.pointer_mut(at).unwrap() = to;
    serde_json::to_vec(&value).unwrap()
}

#[test]
fn certificates_are_read_as_they_were_written() {
    let file = certificates().to_json().unwrap();
    assert_eq!(Certificates::from_json(&file).unwrap(), certificates());
    let value: Value = serde_json::from_slice(&file).unwrap();
    assert_eq!(value["auditors"].as_array().unwrap().len(), 4, "unused places behind the last key are left out");
    assert_eq!(value["auditors"][1], Value::Null);
    assert_eq!(value["certificates"][0]["certificate"]["claim"], 7);
    assert!(file.len() < 600 * 3 + 500, "{} bytes", file.len());
}

#[test]
fn certificates_that_cannot_be_read_say_why() {
    let file = certificates().to_json().unwrap();
    let read = |at: &str, to: Value| Certificates::from_json(&changed(&file, at, to)).unwrap_err();
    let identity = format!("01{}", "00".repeat(31));
    assert!(matches!(read("/format", "cocoon-attestation/1".into()), PaperError::Format { want: "cocoon-certificates/1" }));
    assert!(matches!(read("/auditors/2", identity.clone().into()), PaperError::Auditor { place: 2, source: PointError::Identity }));
    let key = auditor(1).public().to_string();
    assert!(matches!(read("/auditors/3", key.into()), PaperError::Auditors(KeySetError::Twice { place: 3 })));
    let many = json!(vec![Value::Null; 65]);
    assert!(matches!(read("/auditors", many), PaperError::Auditors(KeySetError::TooMany { got: 65 })));
    assert!(matches!(read("/certificates/1/auditor", identity.into()), PaperError::Certificate { at: 1, source: PointError::Identity }));
    assert!(matches!(
        read("/certificates/2/signature", "ff".repeat(64).into()),
        PaperError::Certificate { at: 2, source: PointError::Point }
    ));
    for (at, to) in [
        ("/certificates/0/signature", json!("ff")),
        ("/certificates/0/auditor", json!("xy".repeat(32))),
        ("/certificates/0/certificate", json!({ "claim": 1 })),
        ("/certificates/0/certificate/fee_nanoton", json!(-1)),
        ("/certificates", json!(5)),
    ] {
        assert!(matches!(read(at, to), PaperError::Malformed(_)), "{at}");
    }
    assert!(matches!(Certificates::from_json(b"{}"), Err(PaperError::Malformed(_))));
    assert!(matches!(Certificates::from_json(&file[..file.len() - 3]), Err(PaperError::Malformed(_))));
    let large = vec![b' '; CERTIFICATES_BYTES_MAX + 1];
    assert!(matches!(Certificates::from_json(&large), Err(PaperError::TooLarge { most: CERTIFICATES_BYTES_MAX, .. })));
}

fn attestation() -> Attestation {
    let evidence = evidence();
    let proof = FOUR.prove_attestation(&evidence, THREADS, &[1; 32]).unwrap();
    Attestation::new(*evidence.statement(), evidence.size(), FOUR.verifying_key(), &proof)
}

#[test]
fn an_attestation_is_read_as_it_was_written_and_shows_its_statement() {
    let (attestation, key) = (attestation(), FOUR.verifying_key());
    let file = attestation.to_json().unwrap();
    assert_eq!(Attestation::from_json(&file).unwrap(), attestation);
    assert_eq!(attestation.verify(key), Ok(()));
    assert!(file.len() < ATTESTATION_BYTES_MAX / 4, "{} bytes", file.len());
    let told = Attested { epoch: 20_000, circuit: 1, lo: 7, hi: 1_000, fees: 75_000_002, proof: attestation.proof };
    assert_eq!(attestation.claim(), told);

    for (at, to) in [
        ("/network", json!(-3)),
        ("/provider", json!("52".repeat(32))),
        ("/epoch", json!(20_001)),
        ("/auditors", json!("00".repeat(32))),
        ("/first", json!(8)),
        ("/last", json!(1_001)),
        ("/fees_nanoton", json!("75000003")),
    ] {
        let other = Attestation::from_json(&changed(&file, at, to)).unwrap();
        assert_eq!(other.verify(key), Err(AttestationError::Refused(VerifyError::Refused)), "{at}");
    }
    let other = Attestation { size: Size::Sixteen, ..attestation };
    assert_eq!(other.verify(key), Err(AttestationError::Key { want: key.digest(), got: key.digest() }));
    let other = Attestation { key: Digest([1; 32]), ..attestation };
    assert_eq!(other.verify(key), Err(AttestationError::Key { want: Digest([1; 32]), got: key.digest() }));
    let other = Attestation { proof: ProofBytes([0; 192]), ..attestation };
    assert_eq!(other.verify(key), Err(AttestationError::Proof(ProofError::Point)));
}

#[test]
fn attestations_that_cannot_be_read_say_why() {
    let file = attestation().to_json().unwrap();
    let read = |at: &str, to: Value| Attestation::from_json(&changed(&file, at, to)).unwrap_err();
    assert!(matches!(read("/format", "cocoon-attestation/2".into()), PaperError::Format { want: "cocoon-attestation/1" }));
    assert!(matches!(read("/circuit", json!(5)), PaperError::Circuit { slots: 5 }));
    assert!(matches!(read("/auditors", json!("ff".repeat(32))), PaperError::Commitment(_)));
    let fees = u128::from(u64::MAX) + 1;
    assert!(matches!(read("/fees_nanoton", json!(fees.to_string())), PaperError::Fees { fees: said } if said == fees));
    for (at, to) in [("/proof", json!("00")), ("/epoch", json!(-1)), ("/fees_nanoton", json!(5)), ("/verifying_key", json!(null))] {
        assert!(matches!(read(at, to), PaperError::Malformed(_)), "{at}");
    }
    let mut more: Value = serde_json::from_slice(&file).unwrap();
    more["certificates"] = 3.into();
    assert!(matches!(Attestation::from_json(&serde_json::to_vec(&more).unwrap()), Err(PaperError::Malformed(_))), "no other fields");
    assert!(matches!(Attestation::from_json(&[b' '; ATTESTATION_BYTES_MAX + 1]), Err(PaperError::TooLarge { .. })));
}
