//! What the attestation's circuit refuses. Each witness here is made by hand, and wrong in one way only.

use ark_ec::{AffineRepr as _, CurveGroup as _};
use ark_ed_on_bls12_381::{EdwardsAffine, Fr as Exponent};
use ark_ff::{BigInteger as _, PrimeField as _, UniformRand as _, Zero as _};
use proptest::prelude::*;
use rand_chacha_03::ChaCha20Rng;
use rand_chacha_03::rand_core::SeedableRng as _;

use super::*;
use crate::attest::circuit::{Assignment, AttestationCircuit, Slot};
use crate::attest::evidence::EvidenceError;
use crate::attest::keyset::commitment;
use crate::attest::schnorr::challenge;

fn assignment(audited: &[Audited]) -> Assignment {
    Evidence::new(&keys(), audited).unwrap().assignment(Size::Four).unwrap()
}

fn good() -> Assignment {
    assignment(&three())
}

fn holds(assignment: Assignment) -> bool {
    satisfied(AttestationCircuit(assignment))
}

fn pack(first: Fr, last: Fr, total: Fr) -> Fr {
    let two_64 = Fr::from(1u128 << 64);
    (first * two_64 + last) * two_64 + total
}

/// The public number that fits the slots, whether or not it may be one, and unused slots that go on counting.
fn repack(assignment: &mut Assignment) {
    for at in 1..assignment.slots.len() {
        if !assignment.slots[at].used {
            assignment.slots[at].claim = assignment.slots[at - 1].claim + Fr::from(1u8);
        }
    }
    let used: Vec<_> = assignment.slots.iter().filter(|slot| slot.used).collect();
    assignment.packed = pack(used[0].claim, used[used.len() - 1].claim, used.iter().map(|slot| slot.fee).sum());
}

/// Puts another slot, which must be well signed for what it says, in place of one.
fn with(at: usize, slot: Slot) -> Assignment {
    let mut assignment = good();
    assignment.slots[at] = slot;
    repack(&mut assignment);
    assignment
}

fn slot_of(audited: Audited) -> Slot {
    assignment(&[audited]).slots[0]
}

/// Signs any elements, as an auditor that colludes could.
fn signed(by: u8, place: u8, claim: Fr, fee: Fr) -> Slot {
    let segment = [Fr::from(5u8), Fr::from(6u8)];
    let (challenge, response) = auditor(by).collude(good().domain, claim, fee, segment);
    Slot { used: true, place, claim, fee, segment, challenge, response }
}

#[test]
fn certificates_hold_with_and_without_unused_slots() {
    let all = [three().as_slice(), &[audited(2, certificate(u64::MAX, u64::MAX - 75_000_002))]].concat();
    for count in 1..=4 {
        assert!(holds(assignment(&all[..count])), "{count} certificates");
    }
    assert!(holds(with(2, signed(2, 2, Fr::from(9u8), Fr::from(1u8)))), "the tests' own signatures are good ones");
}

#[test]
fn a_certificate_counts_for_its_provider_network_and_epoch_alone() {
    let this = certificate(9, 5);
    let others = [
        Certificate { provider: ContractAddress([0x52; 32]), ..this },
        Certificate { epoch: this.epoch + 1, ..this },
        Certificate { network: NetworkId::TESTNET, ..this },
    ];
    assert!(holds(with(2, slot_of(audited(1, this)))));
    for other in others {
        assert!(!holds(with(2, slot_of(audited(1, other)))));
        let [first, second, _] = three();
        assert_eq!(Evidence::new(&keys(), &[first, second, audited(1, other)]).unwrap_err(), EvidenceError::Domain { at: 2 });
    }
    let mut other = good();
    other.domain += Fr::from(1u8);
    assert!(!holds(other), "the public domain is not theirs");
}

#[test]
fn each_claim_counts_once_and_upwards() {
    let [first, second, _] = three();
    for claim in [8, 7, 3, 0] {
        let again = audited(2, certificate(claim, 5));
        assert!(!holds(with(2, slot_of(again))), "{claim} after 8");
        assert_eq!(Evidence::new(&keys(), &[first, second, again]).unwrap_err(), EvidenceError::Order { at: 2 });
    }
    let mut lower = with(2, slot_of(audited(2, certificate(3, 5))));
    lower.packed = pack(Fr::from(3u8), Fr::from(8u8), Fr::from(50_000_006u64));
    assert!(!holds(lower), "the lowest claim is the first slot's, not the third's");
}

#[test]
fn no_claim_wraps_around() {
    let beyond = Fr::from(1u128 << 64);
    assert!(holds(with(2, signed(1, 0, beyond - Fr::from(1u8), Fr::from(1u8)))));
    assert!(!holds(with(2, signed(1, 0, beyond, Fr::from(1u8)))), "2^64 would read as the next lo");
    assert!(!holds(with(0, signed(1, 0, -Fr::from(1u8), Fr::from(1u8)))), "-1 is below 8 by counting on");
}

#[test]
fn only_listed_keys_sign() {
    let stranger = signed(9, 0, Fr::from(9u8), Fr::from(1u8));
    for place in [0, 1, 2, 63] {
        assert!(!holds(with(2, Slot { place, ..stranger })), "nobody listed signed it");
    }
    assert_eq!(Evidence::new(&keys(), &[audited(9, certificate(9, 5))]).unwrap_err(), EvidenceError::Auditor { at: 0 });
    let mut own_list = with(2, Slot { place: 1, ..stranger });
    own_list.list[1] = [auditor(9).public().point().x, auditor(9).public().point().y];
    assert!(!holds(own_list.clone()), "a list of one's own has another commitment");
    own_list.commitment = commitment(&own_list.list);
    assert!(holds(own_list), "which is all that is wrong with it");
}

#[test]
fn the_commitment_is_the_present_one() {
    let mut stale = good();
    stale.commitment = KeySet::new(&[Some(auditor(1).public())]).unwrap().commitment().0;
    assert!(!holds(stale));
}

#[test]
fn the_public_number_is_what_the_slots_say() {
    for (first, last, total) in
        [(7u64, 1_000u64, 75_000_003u64), (7, 1_000, 75_000_001), (6, 1_000, 75_000_002), (7, 1_001, 75_000_002), (7, 8, 75_000_002)]
    {
        let mut other = good();
        other.packed = pack(first.into(), last.into(), total.into());
        assert!(!holds(other), "{first} {last} {total}");
    }
}

#[test]
fn fees_neither_overflow_nor_borrow() {
    let [first, second, third] = three();
    let many = [first, second, Audited { ..third }, audited(2, certificate(1_001, u64::MAX))];
    assert_eq!(Evidence::new(&keys(), &many).unwrap_err(), EvidenceError::Total);
    let half = Fr::from(1u64 << 63);
    let mut overflow = with(1, signed(1, 0, Fr::from(8u8), half));
    overflow.slots[2] = signed(2, 2, Fr::from(9u8), half - Fr::from(50_000_000u64));
    repack(&mut overflow);
    assert!(!holds(overflow), "2^64 reads as a higher last claim and no fees");
    for fee in [-Fr::from(1u8), Fr::from(1u128 << 64), Fr::from(u128::MAX)] {
        assert!(!holds(with(2, signed(1, 0, Fr::from(9u8), fee))), "a fee has 64 bits");
    }
}

#[test]
fn an_unused_slot_adds_nothing() {
    let unsigned = Slot { used: false, fee: Fr::from(1_000u64), ..signed(9, 1, Fr::from(1_001u64), Fr::from(1u8)) };
    let mut smuggled = good();
    smuggled.slots[3] = unsigned;
    assert!(holds(smuggled.clone()), "it may hold anything");
    smuggled.packed += Fr::from(1_000u64);
    assert!(!holds(smuggled), "but does not count");
}

#[test]
fn used_slots_come_first() {
    let mut gap = good();
    gap.slots[1].used = false;
    repack(&mut gap);
    assert!(!holds(gap.clone()), "used, unused, used");
    let [first, second, third] = [0, 1, 2].map(|at| gap.slots[at].claim);
    gap.packed = pack(first, first - second + third, gap.slots[0].fee + gap.slots[2].fee);
    assert!(!holds(gap), "nor with what the used bits would make of it");
    let mut late = good();
    late.slots[0].used = false;
    repack(&mut late);
    assert!(!holds(late), "unused, used, used");
    let mut none = good();
    none.slots.iter_mut().for_each(|slot| slot.used = false);
    none.packed = pack(Fr::from(7u8), Fr::zero(), Fr::zero());
    assert!(!holds(none), "nothing at all");
}

#[test]
fn a_signature_is_over_all_of_a_certificate() {
    for at in 0..5 {
        let mut other = good();
        let slot = &mut other.slots[1];
        match at {
            0 => slot.fee += Fr::from(1u8),
            1 => slot.claim += Fr::from(1u8),
            2 => slot.segment[0] += Fr::from(1u8),
            3 => slot.segment[1] += Fr::from(1u8),
            _ => slot.place = 0,
        }
        repack(&mut other);
        assert!(!holds(other), "change {at}");
    }
    for at in 0..2 {
        let mut other = good();
        if at == 0 {
            other.slots[1].challenge ^= 1;
        } else {
            other.slots[1].response += Exponent::from(1u8);
        }
        assert!(!holds(other), "signature {at}");
    }
}

/// With the pair (0, 0) the addition law ends at (0, 0), whatever is signed: only the curve's equation keeps it out.
#[test]
fn nobody_signs_for_an_unused_place() {
    let nowhere = EdwardsAffine::new_unchecked(Fr::zero(), Fr::zero());
    let (claim, fee, segment) = (Fr::from(1_001u64), Fr::from(1u8), [Fr::from(5u8), Fr::from(6u8)]);
    let message = crate::attest::domain::message(good().domain, claim, fee, segment);
    let forged =
        Slot { used: true, place: 1, claim, fee, segment, challenge: challenge(&nowhere, &nowhere, message), response: Exponent::zero() };
    assert!(!holds(with(3, forged)));
}

/// A key of order two makes half of all challenges vanish: the registry's own proof has to keep it off the list, and does.
#[test]
fn a_key_of_low_order_would_let_anybody_sign() {
    let low = EdwardsAffine::new_unchecked(Fr::zero(), -Fr::from(1u8));
    let (claim, fee, segment) = (Fr::from(1_001u64), Fr::from(1u8), [Fr::from(5u8), Fr::from(6u8)]);
    let mut open = good();
    open.list[1] = [low.x, low.y];
    open.commitment = commitment(&open.list);
    let message = crate::attest::domain::message(open.domain, claim, fee, segment);
    let (challenge, response) = (1u64..)
        .map(|response| {
            let response = Exponent::from(response);
            (challenge(&(EdwardsAffine::generator() * response).into_affine(), &low, message), response)
        })
        .find(|(challenge, _)| challenge % 2 == 0)
        .unwrap();
    open.slots[3] = Slot { used: true, place: 1, claim, fee, segment, challenge, response };
    repack(&mut open);
    assert!(holds(open));
}

/// A hash that is so low that it plus the order still has 255 bits could be split in two ways.
#[test]
fn a_hash_has_one_challenge() {
    let (a, domain, segment) = (Exponent::from(77u8), good().domain, [Fr::from(5u8), Fr::from(6u8)]);
    let key = (EdwardsAffine::generator() * a).into_affine();
    let mut random = ChaCha20Rng::from_seed([1; 32]);
    let (claim, fee) = (Fr::from(1_001u64), Fr::from(1u8));
    let message = crate::attest::domain::message(domain, claim, fee, segment);
    let (honest, other) = std::iter::repeat_with(|| {
        let k = Exponent::rand(&mut random);
        let r = (EdwardsAffine::generator() * k).into_affine();
        let hash = crate::attest::schnorr::challenge_hash(&r, &key, message);
        let mut alias = hash.into_bigint();
        let carried = alias.add_with_carry(&Fr::MODULUS) || alias.num_bits() > 255;
        let split = |limbs: [u64; 4]| u128::from(limbs[1]) << 64 | u128::from(limbs[0]);
        let sign = |challenge: u128| (challenge, k + Exponent::from(challenge) * a);
        (!carried).then(|| (sign(split(hash.into_bigint().0)), sign(split(alias.0))))
    })
    .flatten()
    .next()
    .unwrap();
    let check = |(challenge, response)| {
        let mut assignment = good();
        assignment.list[1] = [key.x, key.y];
        assignment.commitment = commitment(&assignment.list);
        assignment.slots[3] = Slot { used: true, place: 1, claim, fee, segment, challenge, response };
        repack(&mut assignment);
        holds(assignment)
    };
    assert!(check(honest) && !check(other));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn any_certificates_in_order_hold(
        claims in prop::collection::btree_set(any::<u64>(), 1..=4),
        fees in prop::collection::vec(0..u64::MAX / 4, 4),
        by in prop::collection::vec(1u8..=3, 4),
    ) {
        let all: Vec<_> = claims.into_iter().zip(fees).zip(by).map(|((claim, fee), by)| audited(by, certificate(claim, fee))).collect();
        prop_assert!(holds(assignment(&all)));
    }
}
