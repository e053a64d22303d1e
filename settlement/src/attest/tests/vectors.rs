//! The golden files that the contracts are tested against, made again from seeds and compared.
//!
//! `COCOON_VECTORS=write` writes them anew. Other development keys mean other proofs for every contract that has them. A proof of 64 slots
//! takes the example `attest-bench` a minute or more, so that here it is only verified.

use serde_json::{Value, json};
use tonlib_core::cell::{ArcCell, BagOfCells};

use super::*;
use crate::attest::Element;
use crate::attest::groth16::{Proof, VerifyError, VerifyingKey};
use crate::attest::papers::Attestation;
use crate::attest::pinned::development_key;
use crate::contract::cells::hash_of;

/// Of the proofs in the files: known to everybody, so they hide nothing.
const BLINDING: [u8; 32] = [9; 32];

fn path_of(name: &str) -> String {
    format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"))
}

fn check(name: &str, value: &Value) {
    let path = path_of(name);
    if std::env::var("COCOON_VECTORS").is_ok_and(|mode| mode == "write") {
        std::fs::write(&path, serde_json::to_string_pretty(value).unwrap() + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.len() < 10_000, "{name} has {} bytes", text.len());
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), *value, "{name}");
}

fn of_cell(cell: &ArcCell) -> Value {
    let boc = BagOfCells::new(std::slice::from_ref(cell)).serialize(false).unwrap();
    json!({ "hash": hex::encode(hash_of(cell)), "boc": hex::encode(boc) })
}

fn of_proof(key: &VerifyingKey, inputs: &[Element; 3], proof: &Proof) -> Value {
    json!({
        "verifying_key": hex::encode(key.to_bytes()),
        "verifying_key_cell": of_cell(&key.to_cell().unwrap()),
        "proof": hex::encode(proof.to_bytes()),
        "proof_cell": of_cell(&proof.to_cell().unwrap()),
        "inputs": inputs.map(|input| input.to_string()),
    })
}

#[test]
fn an_attestation_is_that_of_its_vector() {
    let (evidence, key) = (evidence(), FOUR.verifying_key());
    let proof = FOUR.prove_attestation(&evidence, THREADS, &BLINDING).unwrap();
    let statement = evidence.statement();
    key.verify_attestation(statement, &proof).unwrap();
    let mut vector = of_proof(key, &statement.inputs(), &proof);
    vector["network"] = statement.network.0.into();
    vector["provider"] = statement.provider.to_string().into();
    vector["epoch"] = statement.epoch.into();
    vector["first"] = statement.first.into();
    vector["last"] = statement.last.into();
    vector["total_nanoton"] = statement.total_nanoton.into();
    vector["certificates"] = three().map(|one| hex::encode(one.certificate.to_bytes())).as_slice().into();
    check("attestation", &vector);
}

#[test]
fn an_attestation_of_64_certificates_is_that_of_its_vector() {
    let mut vector: Value = serde_json::from_str(&std::fs::read_to_string(path_of("attestation_64")).unwrap()).unwrap();
    let file = vector["attestation"].take();
    let attestation = Attestation::from_json(file.to_string().as_bytes()).unwrap();
    let key = development_key(Circuit::Attestation(Size::SixtyFour)).unwrap();
    attestation.verify(&key).unwrap();
    let statement = attestation.statement;
    assert_eq!((statement.first, statement.last, statement.total_nanoton), (1, 190, 64_002_016), "64 claims, each three after the other");
    let (inputs, proof) = (statement.inputs(), Proof::from_bytes(&attestation.proof.0).unwrap());
    for at in 0..inputs.len() {
        let mut near = inputs;
        near[at].0 += Fr::from(1u8);
        assert_eq!(key.verify(NetworkId::DEVNET, &near, &proof), Err(VerifyError::Refused), "input {at}");
    }
    let smaller = development_key(Circuit::Attestation(Size::Four)).unwrap();
    assert_eq!(smaller.verify_attestation(&statement, &proof), Err(VerifyError::Refused), "the key of another size");
    let mut value = of_proof(&key, &inputs, &proof);
    value["attestation"] = file;
    check("attestation_64", &value);
}

#[test]
fn a_key_set_is_that_of_its_vector() {
    let proving = setup(Circuit::KeySet, &development_seed(), THREADS).unwrap();
    let (keys, key) = (keys(), proving.verifying_key());
    assert_eq!(key.digest().to_string(), Circuit::KeySet.development_digest());
    let proof = proving.prove_key_set(NetworkId::DEVNET, &keys, &LISTED, THREADS, &BLINDING).unwrap();
    key.verify_key_set(NetworkId::DEVNET, &keys, &LISTED, &proof).unwrap();
    let mut vector = of_proof(key, &keys.inputs(&LISTED), &proof);
    // Each place as its 64 bytes in the list, and null for 64 zeros.
    vector["list"] = keys.places().iter().map(|place| place.map(|key| hex::encode(key.coordinates().concat()))).collect();
    check("key_set", &vector);
}
