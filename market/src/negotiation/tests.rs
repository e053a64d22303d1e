//! What the tests of the negotiation share, and the way it goes when all goes well.

mod provider;
mod requester;
mod world;

use super::*;
use crate::agreement::{
    Agreement, AgreementTerms, ChannelProblem, NegotiateRequest, NegotiateResponse, PROPOSAL_LIFETIME_MS_MAX, Proposal, ROUNDS_MAX,
    TermName, Terms,
};
use crate::amount::Amount;
use crate::fixtures::{CHANNEL, NOW, key, offer, peer, price, terms};
use crate::ids::{AgreementId, ContractAddress, ModelId, NetworkId, OfferId, PeerId, ProposalId};
use crate::offer::{Confidentiality, Offer, Tier};
use crate::signed::{Signed, SignedObject, Verified};
use crate::time::{CLOCK_SKEW_MS, Timestamp};

const PROVIDER: u8 = 1;
const REQUESTER: u8 = 2;
const STRANGER: u8 = 9;

fn seller() -> Seller {
    Seller { key: key(PROVIDER), peer: peer(PROVIDER) }
}

fn buyer() -> Buyer {
    Buyer { key: key(REQUESTER), peer: peer(REQUESTER) }
}

fn signed_offer() -> Verified<Offer> {
    Verified::sign(offer(PROVIDER), &key(PROVIDER)).unwrap()
}

fn policy() -> Policy {
    Policy::for_offer(&offer(PROVIDER), Amount::from_nano(5_000_000))
}

fn desk() -> ProviderDesk {
    let mut desk = ProviderDesk::new(seller());
    desk.publish(&signed_offer(), policy()).unwrap();
    desk
}

fn start_with(wished: Terms, limits: Limits, nonce: u64) -> (RequesterNegotiation, NegotiateRequest) {
    let (machine, effects) = RequesterNegotiation::start(NOW, buyer(), signed_offer(), wished, limits, nonce).unwrap();
    (machine, sent(effects))
}

fn start() -> (RequesterNegotiation, NegotiateRequest) {
    start_with(terms(), Limits::exactly(&terms()), 1)
}

/// The one message among the effects.
fn sent(effects: Vec<RequesterEffect>) -> NegotiateRequest {
    let Ok([RequesterEffect::Send(request)]) = <[RequesterEffect; 1]>::try_from(effects) else { panic!("expected one message") };
    request
}

fn ended(effects: Vec<RequesterEffect>) -> End {
    let Ok([RequesterEffect::Ended(end)]) = <[RequesterEffect; 1]>::try_from(effects) else { panic!("expected an end") };
    end
}

fn reply(answer: (Answer, Penalty)) -> NegotiateResponse {
    let Answer::Reply(reply) = answer.0 else { panic!("expected a reply") };
    reply
}

fn refusal(answer: (Answer, Penalty)) -> (Refusal, Penalty) {
    let penalty = answer.1;
    let NegotiateResponse::Refused(refusal) = reply(answer) else { panic!("expected a refusal") };
    (refusal, penalty)
}

fn check_of(answer: (Answer, Penalty)) -> Box<Agreement> {
    let Answer::CheckChannel(agreement) = answer.0 else { panic!("expected a check of the channel") };
    agreement
}

fn accepted(answer: (Answer, Penalty)) -> Signed {
    let NegotiateResponse::Accept(half) = reply(answer) else { panic!("expected an acceptance") };
    half
}

fn countered(answer: (Answer, Penalty)) -> Verified<Proposal> {
    let NegotiateResponse::Counter(counter) = reply(answer) else { panic!("expected a counter") };
    Verified::open(counter).unwrap()
}

fn answered(response: NegotiateResponse) -> RequesterEvent {
    RequesterEvent::Answered(response)
}

fn from_requester() -> PeerId {
    peer(REQUESTER)
}

/// A first proposal by the requester, altered.
fn proposal_with(alter: impl FnOnce(&mut Proposal)) -> Verified<Proposal> {
    let mut proposal = start().0.proposal().value().clone();
    alter(&mut proposal);
    Verified::sign(proposal, &key(REQUESTER)).unwrap()
}

fn propose(desk: &mut ProviderDesk, proposal: &Verified<Proposal>) -> (Answer, Penalty) {
    desk.handle(NOW, &from_requester(), NegotiateRequest::Propose(proposal.signed().clone()))
}

fn commit(desk: &mut ProviderDesk, now: Timestamp, half: &Signed) -> (Answer, Penalty) {
    let agreement = Agreement::commit(Verified::open(half.clone()).unwrap(), &key(REQUESTER)).unwrap();
    desk.handle(now, &from_requester(), NegotiateRequest::Commit(agreement.by_requester().clone()))
}

mod happy {
    use super::*;

    #[test]
    fn an_offer_becomes_an_agreement_that_both_hold() {
        let (mut requester, propose) = start();
        let mut desk = desk();
        let accept = reply(desk.handle(NOW, &from_requester(), propose));
        let effects = requester.apply(NOW, answered(accept)).unwrap();
        assert!(matches!(&effects[..], [RequesterEffect::Fund(agreed)] if agreed.terms == terms()));
        let commit = sent(requester.apply(NOW, RequesterEvent::Funded).unwrap());
        let agreement = check_of(desk.handle(NOW, &from_requester(), commit));
        let confirmed = desk.channel_checked(NOW, agreement.clone(), Ok(()));
        assert_eq!(confirmed, NegotiateResponse::Committed(agreement.id()));
        let effects = requester.apply(NOW, answered(confirmed)).unwrap();
        assert!(matches!(&effects[..], [RequesterEffect::Committed(mine)] if **mine == *agreement));
        assert!(matches!(requester.state(), RequesterState::Committed(id) if *id == agreement.id()));
        assert!(requester.poll_timeout().is_none());
        assert!(matches!(requester.apply(NOW, RequesterEvent::Lost), Err(Reject::Over)));
    }

    #[test]
    fn terms_out_of_bounds_are_countered_with_the_nearest_within() {
        let low = Terms {
            price: price(0, 2_000_000, 3_000_000),
            cap: Amount::from_nano(9_000_000),
            slice_tokens: 1,
            float: Amount::from_nano(99_999),
            jobs_max: 50,
            first_chunk_ms: 1,
            chunk_ms: 1,
            expires_at: NOW.plus_ms(u64::from(u32::MAX)),
            ..terms()
        };
        let proposal = proposal_with(|p| p.terms = low);
        let counter = countered(propose(&mut desk(), &proposal));
        let bounds = Terms {
            price: price(1_000, 2_000_000, 4_000_000),
            cap: Amount::from_nano(5_000_000),
            slice_tokens: 8,
            float: Amount::from_nano(10_000),
            jobs_max: 4,
            first_chunk_ms: 60_000,
            chunk_ms: 15_000,
            expires_at: NOW.plus_ms(86_400_000),
            ..terms()
        };
        assert_eq!(counter.terms, bounds);
        assert_eq!((counter.round, counter.in_reply_to), (1, Some(ProposalId(proposal.hash()))));
        let wide = proposal_with(|p| p.terms.slice_tokens = 99);
        assert_eq!(countered(propose(&mut desk(), &wide)).terms.slice_tokens, 32);
    }

    #[test]
    fn a_counter_within_the_limits_is_proposed_back_as_it_is_and_accepted() {
        let wished = Terms { price: price(0, 0, 0), ..terms() };
        let limits = Limits { price_max: terms().price, ..Limits::exactly(&wished) };
        let (mut requester, first) = start_with(wished, limits, 1);
        let mut desk = desk();
        let counter = reply(desk.handle(NOW, &from_requester(), first));
        let second = sent(requester.apply(NOW.plus_ms(5), answered(counter)).unwrap());
        assert_eq!(requester.proposal().terms, terms());
        assert_eq!(requester.proposal().round, 2);
        assert_eq!(requester.proposal().expires_at, NOW.plus_ms(5 + PROPOSAL_LIFETIME_MS_MAX));
        accepted(desk.handle(NOW.plus_ms(5), &from_requester(), second));
    }
}
