//! Certificates that are split into batches, and what is wrong with them.

use super::*;
use crate::attest::evidence::EvidenceError;

/// Certificates of these claims, each with a fee of 5.
fn claims(claims: impl IntoIterator<Item = u64>) -> Vec<Audited> {
    claims.into_iter().map(|claim| audited(1, certificate(claim, 5))).collect()
}

/// First claim, last claim, fees and circuit of each batch.
fn split(audited: &[Audited], largest: Size) -> Result<Vec<(u64, u64, u64, Size)>, EvidenceError> {
    let batches = Evidence::split(&keys(), audited, largest)?;
    assert_eq!(batches.iter().map(Evidence::certificates).sum::<usize>(), audited.len());
    let row = |batch: &Evidence| (batch.statement().first, batch.statement().last, batch.statement().total_nanoton, batch.size());
    Ok(batches.iter().map(row).collect())
}

#[test]
fn batches_are_as_few_as_can_be_and_no_larger_than_they_must() {
    use Size::{Four, Sixteen, SixtyFour};
    assert_eq!(split(&claims([9]), SixtyFour), Ok(vec![(9, 9, 5, Four)]));
    assert_eq!(split(&claims(1..=5), SixtyFour), Ok(vec![(1, 5, 25, Sixteen)]));
    assert_eq!(split(&claims(1..=5), Four), Ok(vec![(1, 4, 20, Four), (5, 5, 5, Four)]));
    assert_eq!(split(&claims(1..=17), SixtyFour), Ok(vec![(1, 17, 85, SixtyFour)]));
    assert_eq!(split(&claims(1..=17), Sixteen), Ok(vec![(1, 16, 80, Sixteen), (17, 17, 5, Four)]));
    assert_eq!(split(&claims(1..=68), SixtyFour), Ok(vec![(1, 64, 320, SixtyFour), (65, 68, 20, Four)]));
    assert_eq!(split(&claims(1..=69), SixtyFour), Ok(vec![(1, 64, 320, SixtyFour), (65, 69, 25, Sixteen)]));
}

#[test]
fn a_fault_is_named_by_its_place_among_all_certificates() {
    let with = |at: usize, change: fn(&mut Audited)| {
        let mut audited = claims(1..=9);
        change(&mut audited[at]);
        split(&audited, Size::Four)
    };
    assert_eq!(split(&[], Size::Four), Err(EvidenceError::Count { got: 0 }));
    for at in [1, 3, 4, 8] {
        assert_eq!(with(at, |one| one.certificate.claim -= 1), Err(EvidenceError::Order { at }), "twice");
        assert_eq!(with(at, |one| one.certificate.claim = 0), Err(EvidenceError::Order { at }), "backwards");
        assert_eq!(with(at, |one| one.certificate.epoch += 1), Err(EvidenceError::Domain { at }));
        assert_eq!(with(at, |one| one.certificate.provider = ContractAddress([9; 32])), Err(EvidenceError::Domain { at }));
        assert_eq!(with(at, |one| one.certificate.network = NetworkId::TESTNET), Err(EvidenceError::Domain { at }));
        assert_eq!(with(at, |one| one.auditor = auditor(4).public()), Err(EvidenceError::Auditor { at }));
        assert_eq!(with(at, |one| one.certificate.fee_nanoton += 1), Err(EvidenceError::Signature { at }));
    }
    let rich = [1, 2].map(|claim| audited(1, certificate(claim, u64::MAX)));
    assert_eq!(split(&rich, Size::Four), Err(EvidenceError::Total));
}

#[test]
fn where_money_is_real_the_circuit_for_tests_is_not_used() {
    let on = |network| {
        let one = audited(1, Certificate { network, ..certificate(7, 5) });
        Evidence::new(&keys(), &[one]).unwrap().size()
    };
    assert_eq!([NetworkId::DEVNET, NetworkId::TESTNET, NetworkId::MAINNET].map(on), [Size::Four, Size::Four, Size::Sixteen]);
}
