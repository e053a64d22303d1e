//! Proofs and key files, end to end, and what is refused of them.

use ark_bls12_381::{Fq, Fq2, G1Affine, G2Affine};
use ark_ff::PrimeField as _;
use ark_serialize::CanonicalSerialize as _;

use super::*;
use crate::attest::evidence::Statement;
use crate::attest::groth16::{DevelopmentKey, Origin, PROOF_BYTES, Proof, ProofError, ProveError, VerifyError, VerifyingKey};
use crate::attest::{Element, KeyFileError, NotCanonical};

static PROOF: LazyLock<Proof> = LazyLock::new(|| FOUR.prove_attestation(&evidence(), THREADS, &[1; 32]).unwrap());

fn verify(statement: &Statement, proof: &Proof) -> Result<(), VerifyError> {
    FOUR.verifying_key().verify_attestation(statement, proof)
}

fn file_of(key: &VerifyingKey) -> Vec<u8> {
    let mut file = Vec::new();
    key.write(&mut file).unwrap();
    file
}

#[test]
fn a_proof_shows_its_statement_and_no_other() {
    let good = *evidence().statement();
    assert_eq!(verify(&good, &PROOF), Ok(()));
    assert_eq!((good.first, good.last, good.total_nanoton), (7, 1_000, 75_000_002));
    let older = KeySet::new(&[Some(auditor(1).public()), None, None, Some(auditor(3).public())]).unwrap().commitment();
    let others = [
        Statement { network: NetworkId::TESTNET, ..good },
        Statement { provider: ContractAddress([0x52; 32]), ..good },
        Statement { epoch: good.epoch + 1, ..good },
        Statement { auditors: older, ..good },
        Statement { first: 8, ..good },
        Statement { last: 1_001, ..good },
        Statement { total_nanoton: good.total_nanoton + 1, ..good },
    ];
    for other in others {
        assert_eq!(verify(&other, &PROOF), Err(VerifyError::Refused), "{other:?}");
    }
}

#[test]
fn the_same_number_by_another_name_is_no_public_input() {
    let [_, _, packed] = evidence().statement().inputs();
    let mut alias = num_bigint::BigUint::from_bytes_be(&packed.to_be_bytes());
    alias += num_bigint::BigUint::from(Fr::MODULUS);
    let alias: [u8; 32] = alias.to_bytes_be().try_into().unwrap();
    assert_eq!(Element::from_be_bytes(&alias), Err(NotCanonical));
}

#[test]
fn a_changed_proof_is_refused() {
    let good = PROOF.to_bytes();
    assert_eq!(Proof::from_bytes(&good).as_ref(), Ok(&*PROOF));
    for at in (0..PROOF_BYTES * 8).step_by(61) {
        let mut changed = good;
        changed[at / 8] ^= 1 << (at % 8);
        match Proof::from_bytes(&changed) {
            Ok(proof) => assert_eq!(verify(evidence().statement(), &proof), Err(VerifyError::Refused), "bit {at}"),
            Err(error) => assert_eq!(error, ProofError::Point),
        }
    }
    let negated_c = {
        let mut changed = good;
        changed[144] ^= 0x20;
        changed
    };
    assert_eq!(verify(evidence().statement(), &Proof::from_bytes(&negated_c).unwrap()), Err(VerifyError::Refused));
    assert_eq!(Proof::from_bytes(&good[..191]), Err(ProofError::Length { got: 191 }));
    assert_eq!(Proof::from_bytes(&[&good[..], &[0]].concat()), Err(ProofError::Length { got: 193 }));
    assert_eq!(Proof::from_bytes(&[]), Err(ProofError::Length { got: 0 }));
}

#[test]
fn points_outside_their_groups_are_refused() {
    let g1 = (1u64..).find_map(|x| G1Affine::get_point_from_x_unchecked(Fq::from(x), false)).unwrap();
    let g2 = (1u64..).find_map(|x| G2Affine::get_point_from_x_unchecked(Fq2::new(Fq::from(x), Fq::from(1u8)), false)).unwrap();
    assert!(g1.is_on_curve() && !g1.is_in_correct_subgroup_assuming_on_curve());
    assert!(g2.is_on_curve() && !g2.is_in_correct_subgroup_assuming_on_curve());
    let (mut a, mut b) = (PROOF.to_bytes(), PROOF.to_bytes());
    let mut c = a;
    g1.serialize_compressed(&mut a[..48]).unwrap();
    g2.serialize_compressed(&mut b[48..144]).unwrap();
    g1.serialize_compressed(&mut c[144..]).unwrap();
    for bytes in [a, b, c] {
        assert_eq!(Proof::from_bytes(&bytes), Err(ProofError::Point));
    }
}

#[test]
fn development_keys_are_the_pinned_ones() {
    assert_eq!(FOUR.verifying_key().digest().to_string(), FOUR.circuit().development_digest());
    let other = setup(Circuit::KeySet, &[1; 32], THREADS).unwrap();
    assert_ne!(other.verifying_key().digest().to_string(), Circuit::KeySet.development_digest(), "another seed, other keys");
}

#[test]
fn development_keys_are_refused_on_the_main_network() {
    let mainnet = DevelopmentKey(NetworkId::MAINNET);
    let certificate = Certificate { network: NetworkId::MAINNET, ..certificate(7, 5) };
    let evidence = Evidence::new(&keys(), &[audited(1, certificate)]).unwrap();
    let proven = FOUR.prove_attestation(&evidence, THREADS, &[1; 32]);
    assert!(matches!(proven, Err(ProveError::DevelopmentKey(refused)) if refused == mainnet));
    assert_eq!(verify(evidence.statement(), &PROOF), Err(VerifyError::DevelopmentKey(mainnet)));
    let mut file = file_of(FOUR.verifying_key());
    file[10] = 0;
    let disguised = VerifyingKey::read(&mut &file[..]).unwrap();
    assert_eq!((disguised.origin(), disguised.admit(NetworkId::MAINNET)), (Origin::Ceremony, Err(mainnet)), "the mark was rubbed off");
    assert_eq!(disguised.admit(NetworkId::TESTNET), Ok(()));
}

#[test]
fn a_key_is_for_its_circuit() {
    let five: Vec<_> = (1..=5).map(|claim| audited(1, certificate(claim, 1))).collect();
    let evidence = Evidence::new(&keys(), &five).unwrap();
    assert_eq!(evidence.size(), Size::Sixteen);
    let four = Circuit::Attestation(Size::Four);
    assert!(matches!(FOUR.prove_attestation(&evidence, THREADS, &[1; 32]), Err(ProveError::Circuit { key }) if key == four));
    assert!(
        matches!(FOUR.prove_key_set(NetworkId::DEVNET, &keys(), &LISTED, THREADS, &[1; 32]), Err(ProveError::Circuit { key }) if key == four)
    );
    let refused = FOUR.verifying_key().verify_key_set(NetworkId::DEVNET, &keys(), &LISTED, &PROOF);
    assert_eq!(refused, Err(VerifyError::Circuit { key: four }));
}

#[test]
fn keys_are_read_as_they_were_written() {
    let read = VerifyingKey::read(&mut &file_of(FOUR.verifying_key())[..]).unwrap();
    assert_eq!((read.digest(), read.origin()), (FOUR.verifying_key().digest(), Origin::Development));
    assert_eq!(read.verify_attestation(evidence().statement(), &PROOF), Ok(()));
    let mut file = Vec::new();
    FOUR.write(&mut file).unwrap();
    let read = ProvingKey::read(&mut &file[..]).unwrap();
    assert_eq!(read.prove_attestation(&evidence(), THREADS, &[1; 32]).unwrap(), *PROOF);

    let mut damaged = file.clone();
    damaged[5_000_000] ^= 1;
    assert!(matches!(ProvingKey::read(&mut &damaged[..]), Err(KeyFileError::Hash { .. })));
    assert!(matches!(ProvingKey::read(&mut &file[..file.len() - 1]), Err(KeyFileError::Length)));
    file.push(0);
    assert!(matches!(ProvingKey::read(&mut &file[..]), Err(KeyFileError::Length)));
}

#[test]
fn files_that_are_no_key_say_why() {
    let good = file_of(FOUR.verifying_key());
    let read = |at: usize, value: u8| {
        let mut file = good.clone();
        file[at] = value;
        VerifyingKey::read(&mut &file[..])
    };
    assert!(matches!(read(0, b'X'), Err(KeyFileError::Magic)));
    assert!(matches!(read(5, 2), Err(KeyFileError::Version { got: 2 })));
    for (at, value) in [(6, 2), (6, 3), (7, 2), (7, 3), (9, 5), (10, 2), (11, 1)] {
        assert!(matches!(read(at, value), Err(KeyFileError::Header)), "byte {at}");
    }
    for (at, value) in [(12, 1), (19, 0), (18, 3)] {
        assert!(matches!(read(at, value), Err(KeyFileError::Length)), "byte {at}: the length");
    }
    for at in [20, 51, 52, 579] {
        assert!(matches!(read(at, !good[at]), Err(KeyFileError::Hash { .. })), "byte {at}");
    }
    for len in [0, 3, 51, 52, 100, 579] {
        let short = VerifyingKey::read(&mut &good[..len]);
        assert!(matches!(short, Err(KeyFileError::Io(_) | KeyFileError::Length)), "{len} bytes");
    }
    assert!(matches!(ProvingKey::read(&mut &good[..]), Err(KeyFileError::Header)), "a verifying key is no proving key");
}

#[test]
fn a_file_with_the_right_hash_of_wrong_points_is_no_key() {
    use sha2::Digest as _;
    let mut file = file_of(FOUR.verifying_key());
    file[52..100].copy_from_slice(&[0xff; 48]);
    let hash = sha2::Sha256::digest(&file[52..]);
    file[20..52].copy_from_slice(&hash);
    assert!(matches!(VerifyingKey::read(&mut &file[..]), Err(KeyFileError::Points(_))));
}

#[test]
fn a_lists_length_is_not_believed() {
    use sha2::Digest as _;
    let mut file = Vec::new();
    FOUR.write(&mut file).unwrap();
    // The first list of points begins after the header, the verifying key and two points.
    let at = 52 + 528 + 2 * 96;
    file[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    let hash = sha2::Sha256::digest(&file[52..]);
    file[20..52].copy_from_slice(&hash);
    assert!(matches!(ProvingKey::read(&mut &file[..]), Err(KeyFileError::Length)));
}

#[test]
fn the_prover_checks_its_own_proof() {
    let mut damaged = FOUR.clone();
    damaged.key.l_query.reverse();
    assert!(matches!(damaged.prove_attestation(&evidence(), THREADS, &[1; 32]), Err(ProveError::SelfCheck)));
}

#[test]
fn cells_hold_the_points_where_the_contract_reads_them() {
    let (key, bytes) = (FOUR.verifying_key().to_cell().unwrap(), FOUR.verifying_key().to_bytes());
    let data = |cell: &tonlib_core::cell::Cell| cell.data().to_vec();
    assert_eq!(data(&key), [&bytes[..48], &bytes[336..384]].concat());
    for (at, from) in [(0, 48), (1, 144), (2, 240)] {
        assert_eq!(data(key.reference(at).unwrap()), bytes[from..from + 96]);
    }
    let inputs = key.reference(3).unwrap();
    assert_eq!((data(inputs), data(inputs.reference(0).unwrap())), (bytes[384..480].to_vec(), bytes[480..].to_vec()));
    let (proof, bytes) = (PROOF.to_cell().unwrap(), PROOF.to_bytes());
    assert_eq!(data(&proof), [&bytes[..48], &bytes[144..]].concat());
    assert_eq!(data(proof.reference(0).unwrap()), bytes[48..144]);
}
