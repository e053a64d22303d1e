//! NE-1 to NE-4 under every order of events.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Machines of both sides, a network that reorders, doubles and loses, a chain that comes and goes, and a provider that restarts.
#[derive(Debug)]
struct World {
    now: Timestamp,
    requesters: Vec<RequesterNegotiation>,
    desk: ProviderDesk,
    policy: Policy,
    limits: Limits,
    to_provider: Vec<(usize, NegotiateRequest)>,
    to_requester: Vec<(usize, NegotiateResponse)>,
    checks: Vec<(usize, Box<Agreement>)>,
    answers: BTreeMap<ProposalId, NegotiateResponse>,
    journal: BTreeMap<AgreementId, Agreement>,
    committed: Vec<Agreement>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    ToProvider { index: u8, keep: bool },
    ToRequester { index: u8, keep: bool },
    LoseToProvider(u8),
    Funding { who: u8, works: bool },
    Check { index: u8, suits: bool },
    Lost(u8),
    Elapsed(u8),
    Wait(u32),
    Restart,
    Withdraw,
    Pause(bool),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<u8>(), prop::bool::weighted(0.3)).prop_map(|(index, keep)| Step::ToProvider { index, keep }),
        8 => (any::<u8>(), prop::bool::weighted(0.3)).prop_map(|(index, keep)| Step::ToRequester { index, keep }),
        1 => any::<u8>().prop_map(Step::LoseToProvider),
        4 => (any::<u8>(), prop::bool::weighted(0.9)).prop_map(|(who, works)| Step::Funding { who, works }),
        4 => (any::<u8>(), prop::bool::weighted(0.7)).prop_map(|(index, suits)| Step::Check { index, suits }),
        1 => any::<u8>().prop_map(Step::Lost),
        2 => any::<u8>().prop_map(Step::Elapsed),
        2 => (0u32..20_000).prop_map(Step::Wait),
        1 => Just(Step::Restart),
        1 => Just(Step::Withdraw),
        1 => any::<bool>().prop_map(Step::Pause),
    ]
}

impl World {
    fn new(wished: &Terms, limits: Limits, policy: Policy) -> Self {
        let mut desk = ProviderDesk::new(seller());
        desk.publish(&signed_offer(), policy.clone()).unwrap();
        let (requesters, first): (Vec<_>, Vec<_>) = (0..2).map(|nonce| start_with(wished.clone(), limits.clone(), nonce)).unzip();
        Self {
            now: NOW,
            requesters,
            desk,
            policy,
            limits,
            to_provider: first.into_iter().enumerate().collect(),
            to_requester: Vec::new(),
            checks: Vec::new(),
            answers: BTreeMap::new(),
            journal: BTreeMap::new(),
            committed: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::ToProvider { index, keep } => {
                if let Some((who, request)) = take(&mut self.to_provider, index, keep) {
                    self.deliver(who, request);
                }
            }
            Step::ToRequester { index, keep } => {
                if let Some((who, response)) = take(&mut self.to_requester, index, keep) {
                    self.tell(who, answered(response));
                }
            }
            Step::LoseToProvider(index) => drop(take(&mut self.to_provider, index, false)),
            Step::Funding { who, works } => {
                self.tell(usize::from(who) % 2, if works { RequesterEvent::Funded } else { RequesterEvent::FundingFailed });
            }
            Step::Check { index, suits } => {
                if let Some((who, agreement)) = take(&mut self.checks, index, false) {
                    self.checked(who, agreement, suits);
                }
            }
            Step::Lost(who) => self.tell(usize::from(who) % 2, RequesterEvent::Lost),
            Step::Elapsed(who) => self.tell(usize::from(who) % 2, RequesterEvent::Elapsed),
            Step::Wait(ms) => self.now = self.now.plus_ms(ms.into()),
            Step::Restart => self.restart(),
            Step::Withdraw => self.desk.withdraw(&OfferId(signed_offer().hash())),
            Step::Pause(paused) => self.desk.pause(paused.then_some(Refusal::ChainOutOfSight)),
        }
    }

    fn deliver(&mut self, who: usize, request: NegotiateRequest) {
        let (answer, penalty) = self.desk.handle(self.now, &from_requester(), request.clone());
        assert_eq!(penalty, Penalty::None, "honest machines are never blamed");
        match answer {
            Answer::Reply(response) => {
                if let NegotiateRequest::Propose(proposal) = &request {
                    self.check_same_answer(ProposalId(*blake3::hash(&proposal.bytes).as_bytes()), &response);
                }
                self.to_requester.push((who, response));
            }
            Answer::CheckChannel(agreement) => self.checks.push((who, agreement)),
        }
    }

    /// NE-2, for what binds: a refusal is no promise.
    fn check_same_answer(&mut self, proposal: ProposalId, response: &NegotiateResponse) {
        let before = self.answers.get(&proposal);
        if let Some(before @ (NegotiateResponse::Accept(_) | NegotiateResponse::Counter(_))) = before
            && !matches!(response, NegotiateResponse::Refused(_))
        {
            assert_eq!(before, response);
        }
        self.answers.insert(proposal, response.clone());
    }

    fn checked(&mut self, who: usize, agreement: Box<Agreement>, suits: bool) {
        if suits {
            self.journal.insert(agreement.id(), (*agreement).clone());
        }
        let outcome = if suits { Ok(()) } else { Err(Refusal::Channel(ChannelProblem::NotOpen)) };
        let response = self.desk.channel_checked(self.now, agreement, outcome);
        if suits {
            assert!(matches!(response, NegotiateResponse::Committed(_)), "what is in the journal stands");
        }
        self.to_requester.push((who, response));
    }

    fn tell(&mut self, who: usize, event: RequesterEvent) {
        match self.requesters[who].apply(self.now, event) {
            Ok(effects) => effects.into_iter().for_each(|effect| self.perform(who, effect)),
            Err(reject) => assert!(reject.penalty() < Penalty::Ban || matches!(reject, Reject::Foreign(_)), "{reject}"),
        }
    }

    fn perform(&mut self, who: usize, effect: RequesterEffect) {
        match effect {
            RequesterEffect::Send(request) => self.to_provider.push((who, request)),
            RequesterEffect::Committed(agreement) => self.committed.push(*agreement),
            RequesterEffect::Fund(_) | RequesterEffect::Ended(_) => {}
        }
    }

    fn restart(&mut self) {
        // Checks die with the process; what they wrote down before does not.
        self.checks.clear();
        self.answers.clear();
        self.desk = ProviderDesk::new(seller());
        let _ = self.desk.publish(&signed_offer(), self.policy.clone());
        for agreement in self.journal.values() {
            self.desk.restore(self.now, agreement.clone());
        }
    }

    fn check_invariants(&self) {
        let mut proposals: Vec<_> = self.journal.values().map(|a| a.body().proposal).collect();
        proposals.sort();
        let held = proposals.len();
        proposals.dedup();
        assert_eq!(proposals.len(), held, "NE-1: two agreements for one proposal");
        assert!(held <= self.requesters.len(), "NE-1: two agreements in one negotiation");
        for agreement in &self.committed {
            assert_eq!(self.journal.get(&agreement.id()), Some(agreement), "NE-3: the provider holds what the requester holds");
            assert!(agreement.terms().price.is_at_most(&self.limits.price_max), "NE-4: outside the requester's limits");
            assert!(agreement.terms().cap >= self.limits.cap_min && agreement.terms().slice_tokens <= self.limits.slice_tokens_max);
        }
        for agreement in self.journal.values() {
            assert!(self.policy.price_min.is_at_most(&agreement.terms().price), "NE-4: outside the provider's policy");
            assert!(agreement.terms().cap <= self.policy.cap_max && agreement.terms().jobs_max <= self.policy.jobs_max);
        }
    }
}

fn take<T: Clone>(queue: &mut Vec<T>, index: u8, keep: bool) -> Option<T> {
    if queue.is_empty() {
        return None;
    }
    let index = usize::from(index) % queue.len();
    Some(if keep { queue[index].clone() } else { queue.swap_remove(index) })
}

fn worlds() -> impl Strategy<Value = World> {
    let wished = (0u128..3, 0u128..3, 1u32..64, 1u16..8).prop_map(|(a, b, slice, jobs)| Terms {
        price: price(a * 500, 1_000_000, b * 2_000_000),
        slice_tokens: slice,
        jobs_max: jobs,
        ..terms()
    });
    (wished, 0u128..4, 1u32..64, 1u16..4).prop_map(|(wished, most, slice, jobs)| {
        let limits = Limits {
            price_max: price(most * 500, 1_000_000, most * 2_000_000),
            slice_tokens_max: slice.max(wished.slice_tokens),
            jobs_min: jobs.min(wished.jobs_max),
            ..Limits::exactly(&wished)
        };
        let wished = Terms { price: wished.price.at_most(&limits.price_max), ..wished };
        World::new(&wished, limits, policy())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_order_of_events_breaks_the_invariants(mut world in worlds(), steps in prop::collection::vec(steps(), 1..80)) {
        for step in steps {
            world.step(step);
            world.check_invariants();
        }
    }
}

#[test]
fn most_random_worlds_come_to_an_agreement_when_nothing_is_lost() {
    // Guards the property above against a world in which nothing ever happens.
    let limits = Limits { price_max: terms().price, ..Limits::exactly(&terms()) };
    let mut world = World::new(&Terms { price: price(0, 0, 0), ..terms() }, limits, policy());
    for _ in 0..30 {
        for step in [Step::ToProvider { index: 0, keep: false }, Step::ToRequester { index: 0, keep: false }] {
            world.step(step);
        }
        for who in [0, 1] {
            world.step(Step::Funding { who, works: true });
        }
        world.step(Step::Check { index: 0, suits: true });
    }
    world.check_invariants();
    assert_eq!(world.committed.len(), 2);
}
