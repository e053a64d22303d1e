//! One test for each guard of the requester's machine.

use super::*;

#[test]
fn it_starts_only_from_a_live_offer_and_about_what_it_offers() {
    let start = |now, wished: Terms| RequesterNegotiation::start(now, buyer(), signed_offer(), wished, Limits::exactly(&terms()), 1);
    assert!(matches!(start(offer(1).expires_at, terms()), Err(StartError::Offer(_))));
    let other = |alter: fn(&mut Terms)| {
        let mut wished = terms();
        alter(&mut wished);
        match start(NOW, wished) {
            Err(StartError::Term(name)) => name,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(other(|t| t.model = ModelId([0; 32])), TermName::Model);
    assert_eq!(other(|t| t.channel.network = NetworkId::MAINNET), TermName::Network);
    assert_eq!(other(|t| t.tier = Tier::Exact), TermName::Tier);
    assert_eq!(other(|t| t.confidentiality = Confidentiality::Sealed), TermName::Confidentiality);
    assert!(matches!(start(NOW, Terms { cap: Amount::ZERO, ..terms() }), Err(StartError::Sign(_))));
}

fn counter_with(requester: &RequesterNegotiation, alter: impl FnOnce(&mut Proposal)) -> Signed {
    let mut counter =
        Proposal { round: 1, in_reply_to: Some(ProposalId(requester.proposal().hash())), ..requester.proposal().value().clone() };
    alter(&mut counter);
    let signer = if counter.provider == key(PROVIDER).node_id() { PROVIDER } else { STRANGER };
    Verified::sign(counter, &key(signer)).unwrap().into_signed()
}

#[test]
fn a_counter_may_change_neither_parties_nor_subject_nor_channel() {
    let check = |alter: fn(&mut Proposal), expect: &str| {
        let (mut requester, _) = start();
        let counter = counter_with(&requester, alter);
        let reject = requester.apply(NOW, answered(NegotiateResponse::Counter(counter))).unwrap_err();
        assert_eq!(reject.to_string(), expect);
        assert_eq!(reject.penalty(), Penalty::Ban);
        assert!(matches!(requester.state(), RequesterState::Proposed), "a reject changes nothing");
    };
    check(|p| p.in_reply_to = Some(ProposalId([0; 32])), "the message names another proposal");
    check(|p| p.round = 3, "the message names another round");
    check(|p| p.offer = OfferId([0; 32]), "the message names another offer");
    check(|p| p.requester = key(STRANGER).node_id(), "the message names another requester");
    check(|p| p.requester_peer = peer(STRANGER), "the message names another requester's peer");
    check(|p| p.provider = key(STRANGER).node_id(), "the message names another provider");
    check(|p| p.terms.model = ModelId([0; 32]), "the message changes the model");
    check(|p| p.terms.tier = Tier::Exact, "the message changes the tier");
    check(|p| p.terms.confidentiality = Confidentiality::Sealed, "the message changes the confidentiality");
    check(|p| p.terms.channel.address = ContractAddress([0; 32]), "the message changes the channel");
}

#[test]
fn a_counter_must_be_of_now() {
    let (mut requester, _) = start();
    let over = counter_with(&requester, |p| {
        p.issued_at = Timestamp(NOW.0 - 10);
        p.expires_at = NOW;
    });
    let reject = requester.apply(NOW, answered(NegotiateResponse::Counter(over))).unwrap_err();
    assert!(matches!(reject, Reject::Time(_)));
    assert_eq!(reject.penalty(), Penalty::None);
    let future = counter_with(&requester, |p| {
        p.issued_at = NOW.plus_ms(CLOCK_SKEW_MS + 1);
        p.expires_at = NOW.plus_ms(CLOCK_SKEW_MS + 2);
    });
    let reject = requester.apply(NOW, answered(NegotiateResponse::Counter(future))).unwrap_err();
    assert_eq!(reject.penalty(), Penalty::Low);
}

#[test]
fn its_own_proposal_is_no_counter() {
    let (mut requester, _) = start();
    let echo = requester.proposal().signed().clone();
    assert!(matches!(requester.apply(NOW, answered(NegotiateResponse::Counter(echo))), Err(Reject::Foreign("proposal"))));
}

#[test]
fn it_goes_to_its_limits_and_no_further() {
    let wished = Terms { price: price(0, 0, 0), ..terms() };
    let limits = Limits { price_max: price(500, 500_000, 9_000_000), ..Limits::exactly(&wished) };
    let (mut requester, first) = start_with(wished, limits, 1);
    let mut desk = desk();
    let counter = reply(desk.handle(NOW, &from_requester(), first));
    let second = sent(requester.apply(NOW, answered(counter)).unwrap());
    assert_eq!(requester.proposal().terms.price, price(500, 500_000, 4_000_000), "no more than is asked where less will do");
    let counter = reply(desk.handle(NOW, &from_requester(), second));
    let end = ended(requester.apply(NOW, answered(counter)).unwrap());
    assert_eq!(end, End::NoCommonGround { theirs: Box::new(terms()) });
}

#[test]
fn each_limit_is_kept() {
    let check = |alter: fn(&mut Terms), kept: fn(&Terms) -> bool| {
        let (mut requester, _) = start();
        let counter = counter_with(&requester, |p| {
            alter(&mut p.terms);
            // Something that suits, so that the answer differs from what was proposed before.
            p.terms.float = Amount::from_nano(1);
        });
        let answer = sent(requester.apply(NOW, answered(NegotiateResponse::Counter(counter))).unwrap());
        let NegotiateRequest::Propose(answer) = answer else { panic!("expected a proposal") };
        let answer = Verified::<Proposal>::open(answer).unwrap();
        assert!(kept(&answer.terms), "{:?}", answer.terms);
        assert_eq!(answer.terms.float, Amount::from_nano(1));
    };
    check(|t| t.price.job = Amount::from_nano(1_001), |t| t.price == terms().price);
    check(|t| t.cap = Amount::from_nano(1), |t| t.cap == terms().cap);
    check(|t| t.cap = Amount::from_nano(2_000_000), |t| t.cap == terms().cap);
    check(|t| t.slice_tokens = 33, |t| t.slice_tokens == 32);
    check(|t| t.slice_tokens = 31, |t| t.slice_tokens == 31);
    check(|t| t.jobs_max = 1, |t| t.jobs_max == 2);
    check(|t| t.jobs_max = 3, |t| t.jobs_max == 2);
    check(|t| t.first_chunk_ms = 60_001, |t| t.first_chunk_ms == 60_000);
    check(|t| t.chunk_ms = 15_001, |t| t.chunk_ms == 15_000);
    check(|t| t.expires_at = NOW.plus_ms(1), |t| t.expires_at == terms().expires_at);
    check(|t| t.expires_at = NOW.plus_ms(3_700_000), |t| t.expires_at == terms().expires_at);
}

#[test]
fn haggling_ends() {
    let wished = terms();
    let limits = Limits { price_max: price(u128::MAX, u128::MAX, u128::MAX), ..Limits::exactly(&wished) };
    let (mut requester, _) = start_with(wished, limits, 1);
    for round in [1, 3] {
        let counter = counter_with(&requester, |p| {
            p.round = round;
            p.terms.price.job = Amount::from_nano(10_000 * u128::from(round));
        });
        sent(requester.apply(NOW, answered(NegotiateResponse::Counter(counter))).unwrap());
    }
    assert_eq!(requester.proposal().round, ROUNDS_MAX - 1);
}

fn half_with(requester: &RequesterNegotiation, alter: impl FnOnce(&mut AgreementTerms)) -> Signed {
    let mine = requester.proposal().value().clone();
    let mut agreed = AgreementTerms {
        proposal: ProposalId(requester.proposal().hash()),
        offer: mine.offer,
        requester: mine.requester,
        requester_peer: mine.requester_peer,
        provider: mine.provider,
        provider_peer: peer(PROVIDER),
        terms: mine.terms,
        accepted_at: NOW,
    };
    alter(&mut agreed);
    let signer = [PROVIDER, STRANGER].into_iter().find(|n| agreed.may_sign(&key(*n).node_id())).unwrap();
    Verified::sign(agreed, &key(signer)).unwrap().into_signed()
}

#[test]
fn an_acceptance_repeats_the_proposal_exactly() {
    let check = |alter: fn(&mut AgreementTerms), expect: &str| {
        let (mut requester, _) = start();
        let half = half_with(&requester, alter);
        let reject = requester.apply(NOW, answered(NegotiateResponse::Accept(half))).unwrap_err();
        assert_eq!(reject.to_string(), expect);
        assert_eq!(reject.penalty(), Penalty::Ban);
        assert!(matches!(requester.state(), RequesterState::Proposed));
    };
    check(|a| a.proposal = ProposalId([0; 32]), "the message names another proposal");
    check(|a| a.offer = OfferId([0; 32]), "the message names another offer");
    check(|a| a.requester = key(STRANGER).node_id(), "the message names another requester");
    check(|a| a.requester_peer = peer(STRANGER), "the message names another requester's peer");
    check(|a| a.provider_peer = peer(STRANGER), "the message names another provider's peer");
    check(|a| a.terms.price.output_per_mtok = Amount::from_nano(4_000_001), "the message changes the terms");
    check(|a| a.terms.expires_at = a.terms.expires_at.plus_ms(1), "the message changes the terms");
    check(|a| a.provider = key(STRANGER).node_id(), "the message names another signer");
}

#[test]
fn an_acceptance_by_another_party_of_the_same_words_is_none() {
    // The stranger sells, the requester's own key signs: may_sign lets a requester sign, the machine does not.
    let (mut requester, _) = start();
    let half = Verified::<AgreementTerms>::open(half_with(&requester, |_| ())).unwrap();
    let echo = half.countersign(&key(REQUESTER)).unwrap().into_signed();
    assert!(matches!(requester.apply(NOW, answered(NegotiateResponse::Accept(echo))), Err(Reject::Foreign("signer"))));
}

#[test]
fn an_acceptance_from_the_future_is_refused() {
    let (mut requester, _) = start();
    let half = half_with(&requester, |a| a.accepted_at = NOW.plus_ms(CLOCK_SKEW_MS + 1));
    let reject = requester.apply(NOW, answered(NegotiateResponse::Accept(half))).unwrap_err();
    assert_eq!(reject.penalty(), Penalty::Low);
    let half = half_with(&requester, |a| a.accepted_at = NOW.plus_ms(CLOCK_SKEW_MS));
    requester.apply(NOW, answered(NegotiateResponse::Accept(half))).unwrap();
}

#[test]
fn an_answer_after_the_proposal_is_over_ends_it() {
    let (mut requester, _) = start();
    let half = half_with(&requester, |_| ());
    let late = NOW.plus_ms(PROPOSAL_LIFETIME_MS_MAX);
    assert_eq!(requester.poll_timeout().unwrap().0, late);
    assert_eq!(ended(requester.apply(late, answered(NegotiateResponse::Accept(half))).unwrap()), End::Expired);
}

#[test]
fn a_lost_message_is_sent_again_four_times_with_growing_pauses() {
    let (mut requester, first) = start();
    let mut now = NOW;
    for pause in [500, 1000, 2000, 4000] {
        assert!(requester.apply(now, RequesterEvent::Lost).unwrap().is_empty());
        assert_eq!(requester.poll_timeout().unwrap().0, now.plus_ms(pause));
        assert!(requester.apply(now.plus_ms(pause - 1), RequesterEvent::Elapsed).unwrap().is_empty(), "too early");
        now = now.plus_ms(pause);
        assert_eq!(sent(requester.apply(now, RequesterEvent::Elapsed).unwrap()), first);
        assert!(requester.apply(now, RequesterEvent::Elapsed).unwrap().is_empty(), "once");
    }
    assert_eq!(ended(requester.apply(now, RequesterEvent::Lost).unwrap()), End::Unreachable);
}

fn committing() -> (RequesterNegotiation, NegotiateRequest) {
    let (mut requester, _) = start();
    let half = half_with(&requester, |_| ());
    requester.apply(NOW, answered(NegotiateResponse::Accept(half))).unwrap();
    let commit = sent(requester.apply(NOW, RequesterEvent::Funded).unwrap());
    (requester, commit)
}

#[test]
fn a_commit_is_repeated_until_the_provider_sees_the_channel() {
    let (mut requester, commit) = committing();
    let not_yet = NegotiateResponse::Refused(Refusal::Channel(ChannelProblem::NotOpen));
    assert!(requester.apply(NOW, answered(not_yet)).unwrap().is_empty());
    let due = NOW.plus_ms(COMMIT_RETRY_MS);
    assert_eq!(requester.poll_timeout().unwrap().0, due);
    assert_eq!(sent(requester.apply(due, RequesterEvent::Elapsed).unwrap()), commit);
    let no = Refusal::Channel(ChannelProblem::TooSmall);
    let end = ended(requester.apply(due, answered(NegotiateResponse::Refused(no.clone()))).unwrap());
    assert_eq!(end, End::Refused(no));
}

#[test]
fn not_open_ends_a_negotiation_that_has_nothing_to_commit() {
    let (mut requester, _) = start();
    let no = Refusal::Channel(ChannelProblem::NotOpen);
    assert_eq!(ended(requester.apply(NOW, answered(NegotiateResponse::Refused(no.clone()))).unwrap()), End::Refused(no));
}

#[test]
fn a_confirmation_of_another_agreement_is_none() {
    let (mut requester, _) = committing();
    let other = answered(NegotiateResponse::Committed(AgreementId([0; 32])));
    assert!(matches!(requester.apply(NOW, other), Err(Reject::Foreign("agreement"))));
    assert!(matches!(requester.state(), RequesterState::Committing(_)));
}

#[test]
fn what_does_not_fit_the_state_changes_nothing() {
    let (mut fresh, _) = start();
    let half = half_with(&fresh, |_| ());
    let counter = counter_with(&fresh, |_| ());
    for event in [RequesterEvent::Funded, RequesterEvent::FundingFailed, answered(NegotiateResponse::Committed(AgreementId([0; 32])))] {
        assert!(matches!(fresh.apply(NOW, event), Err(Reject::OutOfTurn { .. })));
    }
    let out_of_turn = fresh.apply(NOW, RequesterEvent::Funded).unwrap_err().to_string();
    assert_eq!(out_of_turn, "funding came while waiting for an answer");
    fresh.apply(NOW, answered(NegotiateResponse::Accept(half.clone()))).unwrap();
    let events = [
        answered(NegotiateResponse::Accept(half.clone())),
        answered(NegotiateResponse::Counter(counter.clone())),
        answered(NegotiateResponse::Refused(Refusal::Unknown)),
        RequesterEvent::Lost,
    ];
    for event in events {
        let reject = fresh.apply(NOW, event).unwrap_err();
        assert!(matches!(reject, Reject::OutOfTurn { .. }));
        assert_eq!((reject.penalty(), reject.refusal()), (Penalty::None, Refusal::Unknown));
    }
    assert!(matches!(fresh.state(), RequesterState::Funding(_)));
    assert!(fresh.apply(NOW, RequesterEvent::Elapsed).unwrap().is_empty());
    fresh.apply(NOW, RequesterEvent::Funded).unwrap();
    for event in [RequesterEvent::Funded, answered(NegotiateResponse::Accept(half)), answered(NegotiateResponse::Counter(counter))] {
        assert!(matches!(fresh.apply(NOW, event), Err(Reject::OutOfTurn { .. })));
    }
}

#[test]
fn an_acceptance_forgets_a_resend_that_was_due() {
    let (mut requester, _) = start();
    requester.apply(NOW, RequesterEvent::Lost).unwrap();
    let half = half_with(&requester, |_| ());
    requester.apply(NOW, answered(NegotiateResponse::Accept(half))).unwrap();
    assert_eq!(requester.poll_timeout().unwrap().1, "the proposal expires");
}

#[test]
fn failing_to_fund_and_a_change_of_mind_end_it() {
    let (mut requester, _) = start();
    assert_eq!(ended(requester.apply(NOW, RequesterEvent::Cancelled).unwrap()), End::Cancelled);
    let (mut requester, _) = start();
    let half = half_with(&requester, |_| ());
    requester.apply(NOW, answered(NegotiateResponse::Accept(half))).unwrap();
    assert_eq!(ended(requester.apply(NOW, RequesterEvent::FundingFailed).unwrap()), End::NotFunded);
    assert!(requester.poll_timeout().is_none());
}
