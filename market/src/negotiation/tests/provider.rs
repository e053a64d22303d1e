//! One test for each guard of the provider's machine, policy and desk.

use super::*;

#[test]
fn another_deal_is_refused_by_its_term() {
    let check = |alter: fn(&mut Terms), name| {
        let proposal = proposal_with(|p| alter(&mut p.terms));
        assert_eq!(refusal(propose(&mut desk(), &proposal)), (Refusal::Term(name), Penalty::None));
    };
    check(|t| t.model = ModelId([0; 32]), TermName::Model);
    check(|t| t.channel.network = NetworkId::MAINNET, TermName::Network);
    check(|t| t.tier = Tier::Audited, TermName::Tier);
    check(|t| t.confidentiality = Confidentiality::Sealed, TermName::Confidentiality);
    check(|t| t.expires_at = NOW, TermName::ExpiresAt);
}

#[test]
fn the_last_round_is_accepted_or_refused() {
    let last = |alter: fn(&mut Terms)| {
        let mut proposal = proposal_with(|_| ()).value().clone();
        proposal.round = ROUNDS_MAX - 1;
        alter(&mut proposal.terms);
        policy().evaluate(NOW, &proposal)
    };
    assert_eq!(last(|_| ()), Verdict::Accept);
    assert_eq!(last(|t| t.price.job = Amount::ZERO), Verdict::Refuse(Refusal::PriceTooLow { lowest: offer(1).price }));
    assert_eq!(last(|t| t.jobs_max = 99), Verdict::Refuse(Refusal::TooManyRounds));
    let mut earlier = proposal_with(|_| ()).value().clone();
    earlier.round = ROUNDS_MAX - 3;
    earlier.terms.jobs_max = 99;
    assert!(matches!(policy().evaluate(NOW, &earlier), Verdict::Counter(_)));
}

#[test]
fn a_proposal_must_be_ours_fresh_and_from_its_own_peer() {
    let foreign = proposal_with(|p| p.provider = key(STRANGER).node_id());
    assert_eq!(refusal(propose(&mut desk(), &foreign)), (Refusal::Malformed, Penalty::Ban));
    let relayed = proposal_with(|_| ()).into_signed();
    let answer = desk().handle(NOW, &peer(STRANGER), NegotiateRequest::Propose(relayed));
    assert_eq!(refusal(answer), (Refusal::Malformed, Penalty::Ban));
    let over = proposal_with(|p| {
        p.issued_at = Timestamp(NOW.0 - 10);
        p.expires_at = NOW;
    });
    assert_eq!(refusal(propose(&mut desk(), &over)), (Refusal::Expired, Penalty::None));
    let early = proposal_with(|p| {
        p.issued_at = NOW.plus_ms(CLOCK_SKEW_MS + 1);
        p.expires_at = NOW.plus_ms(CLOCK_SKEW_MS + 2);
    });
    assert_eq!(refusal(propose(&mut desk(), &early)), (Refusal::Malformed, Penalty::Low));
    let mut forged = proposal_with(|_| ()).into_signed();
    forged.bytes[10] ^= 1;
    assert_eq!(refusal(desk().handle(NOW, &from_requester(), NegotiateRequest::Propose(forged))), (Refusal::Malformed, Penalty::Ban));
}

#[test]
fn an_answer_of_its_own_kind_opens_nothing() {
    let orphan = proposal_with(|p| {
        p.round = 2;
        p.in_reply_to = Some(ProposalId([5; 32]));
    });
    let mut desk = desk();
    assert_eq!(refusal(propose(&mut desk, &orphan)), (Refusal::Unknown, Penalty::None));
    let event = ProviderEvent::Proposed { proposal: Box::new(orphan), verdict: Verdict::Accept };
    let reject = ProviderNegotiation::default().apply(NOW, &seller(), event).unwrap_err();
    assert_eq!(reject.to_string(), "a proposal came while nothing is proposed");
}

#[test]
fn a_providers_own_counter_is_no_proposal() {
    let low = proposal_with(|p| p.terms.price = price(0, 0, 0));
    let mut desk = desk();
    let counter = countered(propose(&mut desk, &low));
    assert_eq!(refusal(propose(&mut desk, &counter)).1, Penalty::Ban);
    let event = ProviderEvent::Proposed { proposal: Box::new(counter), verdict: Verdict::Accept };
    let mut machine = ProviderNegotiation::default();
    assert!(machine.apply(NOW, &seller(), event).is_err());
}

#[test]
fn an_offer_that_is_withdrawn_unknown_or_over_takes_no_proposals() {
    let mut desk = desk();
    desk.withdraw(&OfferId(signed_offer().hash()));
    assert_eq!(refusal(propose(&mut desk, &proposal_with(|_| ()))).0, Refusal::UnknownOffer);
    let late = offer(1).expires_at;
    let proposal = proposal_with(|p| {
        p.issued_at = late;
        p.expires_at = late.plus_ms(1000);
        p.terms.expires_at = late.plus_ms(1000);
    });
    let answer = self::desk().handle(late, &from_requester(), NegotiateRequest::Propose(proposal.into_signed()));
    assert_eq!(refusal(answer).0, Refusal::UnknownOffer);
    let foreign = Verified::sign(offer(STRANGER), &key(STRANGER)).unwrap();
    assert_eq!(desk.publish(&foreign, policy()), Err(DeskError::Foreign));
}

#[test]
fn offers_on_a_desk_are_bounded() {
    let mut desk = ProviderDesk::new(seller());
    let nth = |n: usize| Verified::sign(Offer { sequence: n as u64, ..offer(PROVIDER) }, &key(PROVIDER)).unwrap();
    for n in 0..DESK_OFFERS_MAX {
        desk.publish(&nth(n), policy()).unwrap();
    }
    assert_eq!(desk.publish(&nth(DESK_OFFERS_MAX), policy()), Err(DeskError::TooManyOffers));
    assert_eq!(desk.publish(&nth(0), policy()), Ok(()), "a known one may be renewed");
}

#[test]
fn a_paused_desk_says_why_and_keeps_its_word_about_what_it_accepted() {
    let mut desk = desk();
    let half = accepted(propose(&mut desk, &proposal_with(|_| ())));
    let low = proposal_with(|p| p.terms.price = price(0, 0, 0));
    let counter = countered(propose(&mut desk, &low));
    desk.pause(Some(Refusal::ChainOutOfSight));
    assert_eq!(refusal(propose(&mut desk, &proposal_with(|p| p.nonce = 2))).0, Refusal::ChainOutOfSight);
    assert_eq!(refusal(propose(&mut desk, &reply_to(&counter, |_| ()))).0, Refusal::ChainOutOfSight);
    check_of(commit(&mut desk, NOW, &half));
    desk.pause(None);
    accepted(propose(&mut desk, &proposal_with(|p| p.nonce = 2)));
}

fn reply_to(counter: &Verified<Proposal>, alter: impl FnOnce(&mut Proposal)) -> Verified<Proposal> {
    let mut reply = Proposal { in_reply_to: Some(ProposalId(counter.hash())), round: counter.round + 1, ..counter.value().clone() };
    alter(&mut reply);
    let signer = if reply.requester == key(STRANGER).node_id() { STRANGER } else { REQUESTER };
    Verified::sign(reply, &key(signer)).unwrap()
}

#[test]
fn a_counter_is_answered_once_by_the_one_who_got_it() {
    let mut desk = desk();
    let counter = countered(propose(&mut desk, &proposal_with(|p| p.terms.price = price(0, 0, 0))));
    let mut foreign = |alter: fn(&mut Proposal)| {
        let reply = reply_to(&counter, alter);
        let from = reply.requester_peer.clone();
        refusal(desk.handle(NOW, &from, NegotiateRequest::Propose(reply.into_signed())))
    };
    for alter in [
        (|p| p.round = 4) as fn(&mut Proposal),
        |p| p.offer = OfferId([0; 32]),
        |p| p.requester = key(STRANGER).node_id(),
        |p| p.requester_peer = peer(STRANGER),
        |p| p.terms.channel = crate::ids::ChannelRef { address: ContractAddress([0; 32]), ..CHANNEL },
    ] {
        assert_eq!(foreign(alter), (Refusal::Malformed, Penalty::Ban));
    }
    let half = accepted(propose(&mut desk, &reply_to(&counter, |_| ())));
    let second = propose(&mut desk, &reply_to(&counter, |p| p.nonce = 77));
    assert_eq!(refusal(second), (Refusal::Unknown, Penalty::None));
    assert_eq!(accepted(propose(&mut desk, &reply_to(&counter, |_| ()))), half, "the same answer again");
}

#[test]
fn a_reply_to_a_requesters_own_proposal_is_foreign() {
    let mut desk = desk();
    let first = proposal_with(|p| p.terms.price = price(0, 0, 0));
    let counter = countered(propose(&mut desk, &first));
    let reply = reply_to(&counter, |p| p.in_reply_to = Some(ProposalId(first.hash())));
    assert_eq!(refusal(propose(&mut desk, &reply)), (Refusal::Malformed, Penalty::Ban));
}

#[test]
fn a_counter_is_kept_although_the_policy_changed() {
    let mut desk = desk();
    let counter = countered(propose(&mut desk, &proposal_with(|p| p.terms.price = price(0, 0, 0))));
    desk.withdraw(&OfferId(signed_offer().hash()));
    let other = reply_to(&counter, |p| p.terms.jobs_max = 1);
    accepted(propose(&mut desk.clone(), &reply_to(&counter, |_| ())));
    assert_eq!(refusal(propose(&mut desk, &other)).0, Refusal::UnknownOffer, "but only to the letter");
}

#[test]
fn a_counter_ends_with_the_proposal_it_answers() {
    let mut desk = desk();
    let low = proposal_with(|p| {
        p.terms.price = price(0, 0, 0);
        p.issued_at = Timestamp(NOW.0 - 5);
        p.expires_at = NOW.plus_ms(1000);
    });
    let counter = countered(propose(&mut desk, &low));
    assert_eq!((counter.issued_at, counter.expires_at), (NOW, NOW.plus_ms(1000)));
    let reply = reply_to(&counter, |p| p.expires_at = NOW.plus_ms(2000)).into_signed();
    let answer = desk.handle(NOW.plus_ms(1000), &from_requester(), NegotiateRequest::Propose(reply));
    assert_eq!(refusal(answer).0, Refusal::Unknown);
}

#[test]
fn a_repeated_proposal_gets_the_same_answer_at_any_time() {
    let mut desk = desk();
    let proposal = proposal_with(|_| ());
    let half = accepted(propose(&mut desk, &proposal));
    let again = desk.handle(NOW.plus_ms(7000), &from_requester(), NegotiateRequest::Propose(proposal.signed().clone()));
    assert_eq!(accepted(again), half);
    let low = proposal_with(|p| p.terms.price = price(0, 0, 0));
    let counter = countered(propose(&mut desk, &low));
    accepted(propose(&mut desk, &reply_to(&counter, |_| ())));
    assert_eq!(countered(propose(&mut desk, &low)), counter);
    assert_eq!(desk.len(), 2);
}

#[test]
fn a_commit_needs_the_requesters_hand_under_our_words_in_time() {
    let mut desk = desk();
    let proposal = proposal_with(|_| ());
    let half = accepted(propose(&mut desk, &proposal));
    let mine = desk.handle(NOW, &from_requester(), NegotiateRequest::Commit(half.clone()));
    assert_eq!(refusal(mine), (Refusal::Malformed, Penalty::Ban), "our own half is not theirs");
    let mut other = Verified::<AgreementTerms>::open(half.clone()).unwrap().value().clone();
    other.terms.price = price(0, 0, 0);
    let other = Verified::sign(other, &key(REQUESTER)).unwrap().into_signed();
    assert_eq!(refusal(desk.handle(NOW, &from_requester(), NegotiateRequest::Commit(other))), (Refusal::Unknown, Penalty::None));
    let good = Agreement::commit(Verified::open(half.clone()).unwrap(), &key(REQUESTER)).unwrap().by_requester().clone();
    let relayed = desk.handle(NOW, &peer(STRANGER), NegotiateRequest::Commit(good));
    assert_eq!(refusal(relayed), (Refusal::Malformed, Penalty::Ban));
    let late = proposal.expires_at;
    check_of(commit(&mut desk.clone(), Timestamp(late.0 - 1), &half));
    assert_eq!(refusal(commit(&mut desk, late, &half)).0, Refusal::Unknown, "forgotten when over");
}

#[test]
fn the_machine_itself_refuses_a_late_commit() {
    let proposal = proposal_with(|_| ());
    let mut machine = ProviderNegotiation::default();
    let event = ProviderEvent::Proposed { proposal: Box::new(proposal.clone()), verdict: Verdict::Accept };
    let effects = machine.apply(NOW, &seller(), event).unwrap();
    let [ProviderEffect::Reply(NegotiateResponse::Accept(half))] = &effects[..] else { panic!("expected an acceptance") };
    let mine = Verified::<AgreementTerms>::open(half.clone()).unwrap().countersign(&key(REQUESTER)).unwrap();
    let reject = machine.apply(proposal.expires_at, &seller(), ProviderEvent::Committed(Box::new(mine.clone()))).unwrap_err();
    assert_eq!((reject.refusal(), reject.penalty()), (Refusal::Expired, Penalty::None));
    machine.apply(Timestamp(proposal.expires_at.0 - 1), &seller(), ProviderEvent::Committed(Box::new(mine))).unwrap();
}

#[test]
fn a_channel_that_does_not_suit_yet_may_suit_later() {
    let mut desk = desk();
    let half = accepted(propose(&mut desk, &proposal_with(|_| ())));
    let agreement = check_of(commit(&mut desk, NOW, &half));
    let not_open = Refusal::Channel(ChannelProblem::NotOpen);
    let said = desk.channel_checked(NOW, agreement.clone(), Err(not_open.clone()));
    assert_eq!(said, NegotiateResponse::Refused(not_open));
    let again = check_of(commit(&mut desk, NOW, &half));
    assert_eq!(again, agreement);
    assert_eq!(desk.channel_checked(NOW, again, Ok(())), NegotiateResponse::Committed(agreement.id()));
    assert_eq!(reply(commit(&mut desk, NOW, &half)), NegotiateResponse::Committed(agreement.id()));
}

#[test]
fn of_two_checks_the_one_that_found_the_channel_good_decides() {
    for good_first in [true, false] {
        let mut desk = desk();
        let half = accepted(propose(&mut desk, &proposal_with(|_| ())));
        let agreement = check_of(commit(&mut desk, NOW, &half));
        check_of(commit(&mut desk, NOW, &half));
        let third = refusal(commit(&mut desk, NOW, &half));
        assert_eq!(third.0, Refusal::Channel(ChannelProblem::NotOpen), "no more than two at once");
        let bad = Err(Refusal::Unavailable);
        let outcomes = if good_first { [Ok(()), bad] } else { [bad, Ok(())] };
        let last = outcomes.map(|outcome| desk.channel_checked(NOW, agreement.clone(), outcome)).into_iter().next_back().unwrap();
        assert_eq!(last, NegotiateResponse::Committed(agreement.id()));
        assert_eq!(reply(commit(&mut desk, NOW, &half)), NegotiateResponse::Committed(agreement.id()));
    }
}

#[test]
fn checks_are_counted_down() {
    let mut desk = desk();
    let half = accepted(propose(&mut desk, &proposal_with(|_| ())));
    for _ in 0..5 {
        let agreement = check_of(commit(&mut desk, NOW, &half));
        desk.channel_checked(NOW, agreement, Err(Refusal::Unavailable));
    }
}

#[test]
fn a_check_that_outlasts_the_proposal_still_counts() {
    let mut desk = desk();
    let proposal = proposal_with(|_| ());
    let half = accepted(propose(&mut desk, &proposal));
    let agreement = check_of(commit(&mut desk, NOW, &half));
    let late = proposal.expires_at.plus_ms(CHANNEL_CHECK_MS_MAX - 1);
    desk.expire(late);
    assert_eq!(desk.len(), 1);
    assert_eq!(desk.channel_checked(late, agreement.clone(), Ok(())), NegotiateResponse::Committed(agreement.id()));
    desk.expire(late);
    assert!(desk.is_empty());
    assert_eq!(desk.channel_checked(late, agreement.clone(), Ok(())), NegotiateResponse::Committed(agreement.id()));
    let no = Refusal::Unavailable;
    assert_eq!(desk.channel_checked(late, agreement, Err(no.clone())), NegotiateResponse::Refused(no));
}

#[test]
fn a_check_of_another_agreement_is_rejected() {
    let one = proposal_with(|_| ());
    let half = accepted(propose(&mut desk(), &one));
    let other = Agreement::commit(Verified::open(half).unwrap(), &key(REQUESTER)).unwrap();
    let checked = || ProviderEvent::ChannelChecked { agreement: Box::new(other.clone()), outcome: Ok(()) };
    let mut fresh = ProviderNegotiation::default();
    assert!(matches!(fresh.apply(NOW, &seller(), checked()), Err(Reject::OutOfTurn { .. })));
    let proposal = Box::new(proposal_with(|p| p.nonce = 2));
    fresh.apply(NOW, &seller(), ProviderEvent::Proposed { proposal, verdict: Verdict::Accept }).unwrap();
    assert!(matches!(fresh.apply(NOW, &seller(), checked()), Err(Reject::Foreign("agreement"))));
    let commit = || ProviderEvent::Committed(Box::new(Verified::<AgreementTerms>::open(other.by_requester().clone()).unwrap()));
    assert!(matches!(fresh.apply(NOW, &seller(), commit()), Err(Reject::Agreement(_))));
    let mut standing = ProviderNegotiation::restored(Agreement::open(other.by_provider().clone(), other.by_requester().clone()).unwrap());
    assert!(matches!(standing.apply(NOW, &seller(), commit()).unwrap()[..], [ProviderEffect::Reply(_)]));
    assert!(matches!(ProviderNegotiation::default().apply(NOW, &seller(), commit()), Err(Reject::OutOfTurn { .. })));
}

#[test]
fn a_standing_agreement_is_not_confused_with_another() {
    let half_of = |nonce| accepted(propose(&mut desk(), &proposal_with(|p| p.nonce = nonce)));
    let agreement = |nonce| Agreement::commit(Verified::open(half_of(nonce)).unwrap(), &key(REQUESTER)).unwrap();
    let other = Verified::<AgreementTerms>::open(agreement(2).by_requester().clone()).unwrap();
    let mut standing = ProviderNegotiation::restored(agreement(1));
    let reject = standing.apply(NOW, &seller(), ProviderEvent::Committed(Box::new(other.clone()))).unwrap_err();
    assert!(matches!(reject, Reject::Foreign("agreement")));
    let mut checking = ProviderNegotiation::default();
    let proposal = Box::new(proposal_with(|p| p.nonce = 1));
    checking.apply(NOW, &seller(), ProviderEvent::Proposed { proposal, verdict: Verdict::Accept }).unwrap();
    let mine = Verified::<AgreementTerms>::open(agreement(1).by_requester().clone()).unwrap();
    checking.apply(NOW, &seller(), ProviderEvent::Committed(Box::new(mine))).unwrap();
    assert!(matches!(checking.apply(NOW, &seller(), ProviderEvent::Committed(Box::new(other))), Err(Reject::Foreign("agreement"))));
}

#[test]
fn after_a_restart_the_journals_agreement_answers_for_its_proposal() {
    let mut desk = desk();
    let proposal = proposal_with(|_| ());
    let half = accepted(propose(&mut desk, &proposal));
    let agreement = check_of(commit(&mut desk, NOW, &half));
    desk.channel_checked(NOW, agreement.clone(), Ok(()));
    let mut fresh = self::desk();
    fresh.restore(NOW, (*agreement).clone());
    fresh.restore(NOW, (*agreement).clone());
    assert_eq!(fresh.len(), 1);
    assert_eq!(accepted(propose(&mut fresh, &proposal)), half);
    assert_eq!(reply(commit(&mut fresh, NOW, &half)), NegotiateResponse::Committed(agreement.id()));
    let mut later = self::desk();
    later.restore(NOW.plus_ms(PROPOSAL_LIFETIME_MS_MAX + CLOCK_SKEW_MS), *agreement);
    assert!(later.is_empty(), "nobody can ask about it any more");
}

#[test]
fn a_peer_and_all_peers_are_bounded_and_refusals_take_no_room() {
    let mut desk = desk();
    for nonce in 0..DESK_NEGOTIATIONS_PER_PEER_MAX as u64 {
        propose(&mut desk, &proposal_with(|p| (p.nonce, p.terms.tier) = (nonce, Tier::Exact)));
        assert_eq!(desk.len(), nonce as usize);
        accepted(propose(&mut desk, &proposal_with(|p| p.nonce = nonce)));
    }
    let more = proposal_with(|p| p.nonce = 99);
    assert_eq!(refusal(propose(&mut desk, &more)).0, Refusal::Unavailable);
    assert_eq!(desk.len(), DESK_NEGOTIATIONS_PER_PEER_MAX);
    let due = desk.poll_timeout().unwrap().0;
    assert_eq!(due, more.expires_at);
    desk.expire(due);
    assert!(desk.is_empty() && desk.poll_timeout().is_none());
    assert!(desk.is_blank(), "nothing is left in any index");
}

#[test]
fn all_peers_together_are_bounded() {
    let mut desk = desk();
    let nth = |n: usize| PeerId((n as u32).to_be_bytes().to_vec());
    let mut ask = |n: usize| {
        let proposal = proposal_with(|p| p.requester_peer = nth(n));
        reply(desk.handle(NOW, &nth(n), NegotiateRequest::Propose(proposal.into_signed())))
    };
    for n in 0..DESK_NEGOTIATIONS_MAX {
        assert!(matches!(ask(n), NegotiateResponse::Accept(_)));
    }
    assert_eq!(ask(DESK_NEGOTIATIONS_MAX), NegotiateResponse::Refused(Refusal::Unavailable));
}

#[test]
fn a_counter_that_is_over_is_judged_anew() {
    // A requester whose clock is ahead: its proposal outlives our counter.
    let mut desk = desk();
    let ahead = NOW.plus_ms(10_000);
    let low = proposal_with(|p| {
        (p.issued_at, p.expires_at) = (ahead, ahead.plus_ms(PROPOSAL_LIFETIME_MS_MAX));
        p.terms.price = price(0, 0, 0);
    });
    let counter = countered(propose(&mut desk, &low));
    let over = NOW.plus_ms(PROPOSAL_LIFETIME_MS_MAX);
    assert_eq!(counter.expires_at, over);
    desk.withdraw(&signed_offer().id());
    let reply = reply_to(&counter, |p| (p.issued_at, p.expires_at) = (over, over.plus_ms(1000)));
    let at = |now| desk.clone().handle(now, &from_requester(), NegotiateRequest::Propose(reply.signed().clone()));
    accepted(at(Timestamp(over.0 - 1)));
    assert_eq!(refusal(at(over)).0, Refusal::UnknownOffer);
}

#[test]
fn a_peer_that_ends_one_negotiation_may_open_one_more() {
    let mut desk = desk();
    let nth = |n: u64, lives_ms| proposal_with(|p| (p.nonce, p.expires_at) = (n, NOW.plus_ms(lives_ms)));
    for n in 0..DESK_NEGOTIATIONS_PER_PEER_MAX as u64 {
        accepted(propose(&mut desk, &nth(n, if n < 2 { 100 } else { 1000 })));
    }
    desk.expire(NOW.plus_ms(100));
    assert!(!desk.is_empty() && !desk.is_blank());
    let mut open = |n| desk.handle(NOW.plus_ms(100), &from_requester(), NegotiateRequest::Propose(nth(n, 1000).into_signed()));
    accepted(open(100));
    accepted(open(101));
    assert_eq!(refusal(open(102)).0, Refusal::Unavailable);
}

#[test]
fn a_clock_set_back_revives_nothing() {
    let mut desk = desk();
    let proposal = proposal_with(|_| ());
    accepted(propose(&mut desk, &proposal));
    desk.expire(proposal.expires_at);
    assert_eq!(refusal(propose(&mut desk, &proposal)).0, Refusal::Expired);
}
