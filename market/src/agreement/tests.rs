//! One test for each guard of proposals and agreements.

use super::*;
use crate::fixtures::{NOW, key, peer, terms};
use crate::time::CLOCK_SKEW_MS;

fn proposal() -> Proposal {
    Proposal {
        offer: OfferId([1; 32]),
        requester: key(2).node_id(),
        requester_peer: peer(2),
        provider: key(1).node_id(),
        in_reply_to: None,
        round: 0,
        terms: terms(),
        nonce: 7,
        issued_at: NOW,
        expires_at: NOW.plus_ms(1000),
    }
}

fn agreed() -> AgreementTerms {
    AgreementTerms {
        proposal: ProposalId([1; 32]),
        offer: OfferId([2; 32]),
        requester: key(2).node_id(),
        requester_peer: peer(2),
        provider: key(1).node_id(),
        provider_peer: peer(1),
        terms: terms(),
        accepted_at: NOW,
    }
}

fn broken<T: SignedObject>(mut value: T, alter: impl FnOnce(&mut T)) -> Option<&'static str> {
    alter(&mut value);
    value.check().err().map(|inconsistent| inconsistent.field)
}

#[test]
fn terms_are_bounded_wherever_they_stand() {
    let check = |alter: fn(&mut Terms), field| {
        assert_eq!(broken(proposal(), |p| alter(&mut p.terms)), field);
        assert_eq!(broken(agreed(), |a| alter(&mut a.terms)), field);
    };
    check(|_| (), None);
    check(|t| t.cap = Amount::ZERO, Some("cap"));
    check(|t| t.slice_tokens = 0, Some("slice_tokens"));
    check(|t| t.jobs_max = 0, Some("slice_tokens"));
    check(|t| t.first_chunk_ms = 0, Some("chunk_ms"));
    check(|t| t.chunk_ms = 0, Some("chunk_ms"));
}

#[test]
fn at_risk_is_the_float_of_each_job_at_once_within_the_cap() {
    let at_risk = |cap, float, jobs_max| {
        let (cap, float) = (Amount::from_nano(cap), Amount::from_nano(float));
        Terms { cap, float, jobs_max, ..terms() }.at_risk().nano()
    };
    assert_eq!([at_risk(100, 10, 3), at_risk(100, 10, 10), at_risk(100, 11, 10), at_risk(5, u128::MAX, 2)], [30, 100, 100, 5]);
}

#[test]
fn each_field_of_a_proposal_is_bounded() {
    let check = |alter: fn(&mut Proposal), field| assert_eq!(broken(proposal(), alter), field);
    check(|p| (p.round, p.in_reply_to) = (ROUNDS_MAX, Some(ProposalId([0; 32]))), Some("round"));
    check(|p| (p.round, p.in_reply_to) = (ROUNDS_MAX - 1, Some(ProposalId([0; 32]))), None);
    check(|p| p.in_reply_to = Some(ProposalId([0; 32])), Some("in_reply_to"));
    check(|p| p.round = 1, Some("in_reply_to"));
    check(|p| p.requester_peer = PeerId(vec![]), Some("requester_peer"));
    check(|p| p.requester_peer = PeerId(vec![1; 65]), Some("requester_peer"));
    check(|p| p.requester_peer = PeerId(vec![1; 64]), None);
    check(|p| p.provider = p.requester, Some("provider"));
    check(|p| p.expires_at = NOW, Some("expires_at"));
    check(|p| p.expires_at = NOW.plus_ms(1), None);
    check(|p| p.expires_at = NOW.plus_ms(PROPOSAL_LIFETIME_MS_MAX), None);
    check(|p| p.expires_at = NOW.plus_ms(PROPOSAL_LIFETIME_MS_MAX + 1), Some("expires_at"));
}

#[test]
fn each_field_of_an_agreement_is_bounded() {
    let check = |alter: fn(&mut AgreementTerms), field| assert_eq!(broken(agreed(), alter), field);
    check(|a| a.provider = a.requester, Some("provider"));
    check(|a| a.provider_peer = PeerId(vec![]), Some("peer"));
    check(|a| a.provider_peer = PeerId(vec![1; 65]), Some("peer"));
    check(|a| a.requester_peer = PeerId(vec![]), Some("peer"));
    check(|a| a.requester_peer = PeerId(vec![1; 65]), Some("peer"));
    check(|a| (a.requester_peer, a.provider_peer) = (PeerId(vec![1; 64]), PeerId(vec![2; 64])), None);
    check(|a| a.terms.expires_at = NOW, Some("expires_at"));
    check(|a| a.terms.expires_at = NOW.plus_ms(1), None);
    check(|a| a.terms.expires_at = NOW.plus_ms(AGREEMENT_LIFETIME_MS_MAX), None);
    check(|a| a.terms.expires_at = NOW.plus_ms(AGREEMENT_LIFETIME_MS_MAX + 1), Some("expires_at"));
}

#[test]
fn each_round_has_its_speaker() {
    let by = |round, n: u8| Proposal { round, ..proposal() }.may_sign(&key(n).node_id());
    assert!(by(0, 2) && by(2, 2) && by(1, 1) && by(3, 1));
    assert!(!by(0, 1) && !by(2, 1) && !by(1, 2) && !by(3, 2) && !by(0, 9));
}

#[test]
fn a_proposal_is_good_from_its_issue_to_its_end() {
    let at = |now| proposal().check_time(now);
    assert_eq!(at(Timestamp(NOW.0 + 999)), Ok(()));
    assert_eq!(at(Timestamp(NOW.0 + 1001)), Err(ProposalTimeError::Expired { ago_ms: 1 }));
    assert_eq!(at(NOW.plus_ms(1000)).map_err(|e| e.penalty()), Err(Penalty::None));
    assert_eq!(at(Timestamp(NOW.0 - CLOCK_SKEW_MS)), Ok(()));
    assert_eq!(at(Timestamp(NOW.0 - CLOCK_SKEW_MS - 1)).map_err(|e| e.penalty()), Err(Penalty::Low));
}

#[test]
fn an_agreement_needs_one_hand_of_each_party_under_the_same_words() {
    let by_provider = Verified::sign(agreed(), &key(1)).unwrap();
    let by_requester = by_provider.countersign(&key(2)).unwrap();
    let agreement = Agreement::new(by_provider.clone(), by_requester.clone()).unwrap();
    assert_eq!(agreement.id(), by_provider.id());
    assert_eq!((agreement.body(), agreement.terms()), (&agreed(), &terms()));
    let opened = Agreement::open(agreement.by_provider().clone(), agreement.by_requester().clone()).unwrap();
    assert_eq!(opened, agreement);
    assert_eq!(Agreement::commit(by_provider.clone(), &key(2)).unwrap(), agreement);

    let new = |a: &Verified<AgreementTerms>, b: &Verified<AgreementTerms>| Agreement::new(a.clone(), b.clone());
    assert!(matches!(new(&by_requester, &by_provider), Err(AgreementError::MissingParty)), "swapped");
    assert!(matches!(new(&by_provider, &by_provider), Err(AgreementError::MissingParty)));
    assert!(matches!(new(&by_requester, &by_requester), Err(AgreementError::MissingParty)));
    let other = Verified::sign(AgreementTerms { accepted_at: NOW.plus_ms(1), ..agreed() }, &key(2)).unwrap();
    assert!(matches!(new(&by_provider, &other), Err(AgreementError::DifferentTerms)));
    assert!(matches!(Agreement::commit(by_provider.clone(), &key(9)), Err(AgreementError::Sign(_))));
    assert!(matches!(Agreement::commit(by_provider.clone(), &key(1)), Err(AgreementError::MissingParty)));
    assert!(Verified::sign(agreed(), &key(9)).is_err());
    let penalties = [AgreementError::MissingParty, Agreement::commit(by_provider.clone(), &key(9)).unwrap_err()].map(|e| e.penalty());
    assert_eq!(penalties, [Penalty::Ban, Penalty::None]);
    let mut forged = by_provider.signed().clone();
    forged.signature.0[0] ^= 1;
    assert!(matches!(Agreement::open(forged, by_requester.signed().clone()), Err(AgreementError::Open(_))));
}

#[test]
fn the_largest_honest_messages_fit_their_bound() {
    let largest = Terms {
        price: crate::fixtures::price(u128::MAX, u128::MAX, u128::MAX),
        slice_tokens: u32::MAX,
        jobs_max: u16::MAX,
        first_chunk_ms: u32::MAX,
        chunk_ms: u32::MAX,
        ..terms()
    };
    let peer = PeerId(vec![1; PEER_ID_BYTES_MAX]);
    let agreed = AgreementTerms { requester_peer: peer.clone(), provider_peer: peer.clone(), terms: largest.clone(), ..agreed() };
    let half = Verified::sign(agreed, &key(1)).unwrap().into_signed();
    assert!(crate::codec::encode(&NegotiateResponse::Accept(half), NEGOTIATE_BYTES_MAX).is_ok());
    let reply = Some(ProposalId([1; 32]));
    let proposal = Proposal { requester_peer: peer, terms: largest, in_reply_to: reply, round: 2, nonce: u64::MAX, ..proposal() };
    let signed = Verified::sign(proposal, &key(2)).unwrap().into_signed();
    assert!(crate::codec::encode(&NegotiateRequest::Propose(signed), NEGOTIATE_BYTES_MAX).is_ok());
}

#[test]
fn refusals_read_as_sentences() {
    let lowest = terms().price;
    let too_low = Refusal::PriceTooLow { lowest }.to_string();
    assert_eq!(too_low, "the price is too low; the lowest taken is 0.000001 a job + 0.001 in + 0.004 out per million tokens");
    let names = [
        TermName::Model,
        TermName::Tier,
        TermName::Confidentiality,
        TermName::SliceTokens,
        TermName::Float,
        TermName::JobsMax,
        TermName::Deadline,
        TermName::ExpiresAt,
        TermName::Network,
        TermName::Cap,
    ];
    let mut texts: Vec<_> = names.map(|name| Refusal::Term(name).to_string()).to_vec();
    assert_eq!(texts[3], "the term `slice_tokens` does not suit this provider");
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), names.len());
}
