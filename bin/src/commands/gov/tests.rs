use std::collections::BTreeMap;

use cocoon_market::NetworkId;
use cocoon_market::amount::NANO;
use cocoon_market::ids::Digest;
use cocoon_settlement::contract::{AuditorSet, GovernorTerms, RegistryData, RegistryTerms};
use cocoon_settlement::economy::parameter::ParameterError;

use super::action::ActionError;
use super::*;
use crate::cli::ParameterName;

const PROPOSED_S: u32 = 1_800_000_000;
const DAY_S: u32 = 86_400;
const ACCOUNT: ContractAddress = ContractAddress([1; 32]);

fn whole(whole: u128) -> Amount {
    Amount::from_nano(whole * NANO)
}

/// A proposal about money, that a third of all weight voted for.
fn decision() -> Decision {
    let action = Action::SpendTon { to: ACCOUNT, amount: whole(2) }.hash().unwrap();
    Decision { class: 1, is_done: false, proposed_s: PROPOSED_S, all: whole(300), yes: whole(100), no: Amount::ZERO, action }
}

fn at(days: u32) -> View {
    View::of(7, &decision(), None, false, u64::from(PROPOSED_S + days * DAY_S)).unwrap()
}

fn registry() -> Placed<RegistryData> {
    let terms = RegistryTerms {
        network: NetworkId::DEVNET,
        governor: ACCOUNT,
        founder: ACCOUNT,
        auditors: AuditorSet::NOBODY,
        keys: BTreeMap::new(),
    };
    Placed { at: ACCOUNT, data: RegistryData::new(terms), balance: Amount::ZERO, seen_at_s: PROPOSED_S.into() }
}

fn governor() -> GovernorData {
    let terms = GovernorTerms { network: NetworkId::DEVNET, founder: ACCOUNT, minter: ACCOUNT, guardian: ACCOUNT, start_s: PROPOSED_S };
    GovernorData::new(terms)
}

#[test]
fn a_proposal_says_where_it_is_and_what_comes_next() {
    let phases: Vec<_> = [0, 1, 11, 18, 32].map(at).into_iter().map(|view| (view.phase, view.phase_text())).collect();
    let names: Vec<_> = phases.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, [PhaseName::Waiting, PhaseName::Open, PhaseName::Passed, PhaseName::Ready, PhaseName::Lapsed]);
    assert!(phases[0].1.contains("from 2027-01-16 08:00:00 UTC, in 24 h"), "{}", phases[0].1);
    assert!(phases[1].1.contains("until 2027-01-26 08:00:00 UTC, in 10 days"), "{}", phases[1].1);
    assert!(phases[2].1.contains("executed from 2027-02-02 08:00:00 UTC, in 7 days"), "{}", phases[2].1);
    let text = at(1).text();
    assert!(text.contains("100, 33.3%") && text.contains("300, of which 33%"), "{text}");
}

#[test]
fn a_queue_says_that_nothing_has_to_be_sent() {
    for (days, says) in [(1, "if it passes, it can be executed from 2027-02-02"), (11, "in 7 days"), (18, "swarm gov execute 7")] {
        let text = at(days).queue_text();
        assert!(text.contains(says) && text.contains("Nothing has to be sent"), "{text}");
    }
}

#[test]
fn a_lock_votes_once_on_what_was_proposed_after_it_and_ends_before_it() {
    let (opens, closes_week) = (u64::from(PROPOSED_S + DAY_S), (PROPOSED_S + 11 * DAY_S).div_ceil(7 * DAY_S));
    let data = LockData { amount: whole(5), ends_week: closes_week, since_s: Some(PROPOSED_S - 1), ..LockData::new(ACCOUNT, ACCOUNT) };
    let lock = |data: LockData| Placed { at: ACCOUNT, data, balance: Amount::ZERO, seen_at_s: opens };
    let refused = |data: LockData| check_voice(7, &decision(), &lock(data)).unwrap_err().headline();
    check_voice(7, &decision(), &lock(data.clone())).unwrap();
    assert!(refused(LockData { ballots: [(7, None)].into(), ..data.clone() }).contains("voted on proposal 7"));
    assert!(refused(LockData { since_s: Some(PROPOSED_S), ..data.clone() }).contains("after proposal 7 was made"));
    assert!(refused(LockData { since_s: None, ..data.clone() }).contains("after proposal 7 was made"));
    assert!(refused(LockData { ends_week: closes_week - 1, ..data.clone() }).contains("before the vote does"));
    let early = Placed { seen_at_s: opens - 1, ..lock(data) };
    assert!(check_voice(7, &decision(), &early).unwrap_err().headline().contains("is voted on from"));
}

#[test]
fn a_parameter_is_checked_against_its_bounds_before_anybody_votes() {
    let set = |value| check(&Action::SetParameter { which: ParameterName::FeeBps.parameter().place(), value }, &registry(), &governor());
    set(550).unwrap();
    let refused = |value| match set(value).unwrap_err() {
        ActionError::Parameter { source, .. } => source,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(1_501), ParameterError::Bounds { min: 100, max: 1_500 });
    assert_eq!(refused(626), ParameterError::Step { now: 500, step: 125 });
    assert_eq!(refused(500), ParameterError::Same { now: 500 });
    assert!(set(626).unwrap_err().to_string().starts_with("fee-bps stays as it is: one vote moves it"));
}

#[test]
fn the_treasury_is_not_asked_for_more_than_it_has() {
    let spend = |amount| check(&Action::SpendCocoon { to: ACCOUNT, amount }, &registry(), &GovernorData { spent: whole(5), ..governor() });
    spend(whole(19_999_995)).unwrap();
    assert!(matches!(spend(whole(19_999_996)), Err(ActionError::Treasury { .. })));
    assert!(matches!(spend(Amount::ZERO), Err(ActionError::Nothing)));
}

#[test]
fn a_key_is_a_bag_of_cells_as_it_is_or_in_base64() {
    let dir = tempfile::tempdir().unwrap();
    let command = |content: &[u8]| {
        let file = dir.path().join("key.boc");
        std::fs::write(&file, content).unwrap();
        ActionCommand::Key { circuit: 2, file, sending: SendingArgs { dry_run: true, wait: 1 } }
    };
    // An empty cell, as any TON program writes it.
    let text = "te6ccgEBAQEAAgAAAA==";
    let bytes = hex::decode("b5ee9c72010101010002000000").unwrap();
    let key = action_of(&command(&bytes)).unwrap();
    assert_eq!(action_of(&command(format!("{text}\n").as_bytes())).unwrap(), key);
    assert!(action_text(&key).contains("circuit 2"));
    assert!(action_of(&command(b"no cells")).unwrap_err().headline().contains("no bag of cells"));
    let missing = ActionCommand::Key { circuit: 2, file: dir.path().join("none"), sending: SendingArgs { dry_run: true, wait: 1 } };
    assert!(action_of(&missing).unwrap_err().headline().contains("cannot read"));
}

#[test]
fn actions_are_told_in_words() {
    let parameter = Action::SetParameter { which: ParameterName::AuctionSeconds.parameter().place(), value: 70_000 };
    assert_eq!(action_text(&parameter), "set auction-seconds to 70000");
    assert!(action_text(&Action::SpendTon { to: ACCOUNT, amount: whole(2) }).starts_with("send 2 TON of the treasury to UQ"));
    assert!(action_text(&Action::SetStandards(Digest([9; 32]))).ends_with(&"09".repeat(32)));
}

#[test]
fn a_list_without_proposals_says_how_to_make_one() {
    let list = List { governor: Address::from(ACCOUNT), proposals: vec![] };
    assert!(list.text().contains("swarm gov propose"));
    let list = List { proposals: vec![at(1)], ..list };
    assert!(list.text().contains("33.3%") && list.text().lines().count() == 2, "{}", list.text());
}
