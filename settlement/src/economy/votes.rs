//! How a change is decided: proposed, voted on by what is locked, and carried out only after everybody had time to leave.
//!
//! ```text
//! proposed --a day--> open --ten days--> over --2 or 7 days--> may be carried out --fourteen days--> lapsed
//!    ^ the snapshot: what each lock weighs, and all of them together
//! ```
//!
//! It passes when a third of all weight took part and more than half of that agreed; two thirds for what decides what is believed.
//! Whether the change is within its bounds is asked when it is carried out, of what is the case then.
//!
//! The emergency stop is a brake and no wheel: it only stops, for seven days at most, and cannot be pulled again before thirty have passed.
//!
//! Invariants, each with a test: nothing is carried out that did not pass, or before its time, or twice; the votes of a proposal sum
//! to at most the weight at its snapshot; a stop ends.

use std::collections::BTreeMap;

use cocoon_market::amount::BPS_WHOLE;
use cocoon_market::{Amount, AmountError};

use super::DAY_S;
use super::locks::{Lock, Locks};
use super::parameter::Weight;

/// From a proposal to its vote, so that nobody is voted over asleep.
pub const DELAY_S: u32 = DAY_S;

/// How long is voted.
pub const VOTE_S: u32 = 10 * DAY_S;

/// How long what passed may be carried out; then it lapses, and the world it was decided for is gone.
pub const GRACE_S: u32 = 14 * DAY_S;

/// Proposals at once. A lock keeps its votes until they are over, so this bounds what a lock stores.
pub const OPEN_MAX: usize = 8;

/// Of all weight, what a proposer must have, in basis points.
const THRESHOLD_BPS: u32 = 10;

/// Of all weight, what must take part, in basis points.
const QUORUM_BPS: u32 = 3_300;

/// How long an emergency stop lasts.
pub const STOP_S: u32 = 7 * DAY_S;

/// From one emergency stop to the next.
pub const STOP_AGAIN_S: u32 = 30 * DAY_S;

/// The number of a proposal.
pub type ProposalNumber = u32;

/// A change that is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    weight: Weight,
    proposed_s: u32,
    /// The weight of all locks then.
    all: Amount,
    yes: Amount,
    no: Amount,
    is_done: bool,
}

/// Where a proposal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not voted on yet.
    Waiting,
    /// Voted on.
    Open,
    /// It did not pass.
    Refused,
    /// It passed, and waits so that who disagrees can leave.
    Passed {
        /// When it may be carried out, in seconds since the Unix epoch.
        from_s: u32,
    },
    /// Anybody may carry it out.
    Ready,
    /// Nobody did in time.
    Lapsed,
    /// It was carried out.
    Done,
}

/// Why something is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VoteError {
    /// Not enough weight to propose.
    #[error("a proposer's lock weighs {least} at least, and this one {weight}")]
    TooLight {
        /// What it weighs.
        weight: Amount,
        /// What it must.
        least: Amount,
    },
    /// [`OPEN_MAX`] are voted on.
    #[error("{OPEN_MAX} proposals are open; wait until one is over")]
    TooMany,
    /// There is none of this number, or it was decided and forgotten.
    #[error("there is no such proposal")]
    Unknown,
    /// It is somewhere else.
    #[error("the proposal is {0:?}")]
    Phase(Phase),
    /// The lock is too young, ends too soon, or weighs nothing.
    #[error("this lock has no voice in this vote")]
    NoVoice,
    /// It has voted.
    #[error("this lock has voted")]
    Voted,
    /// A sum beyond all money.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

impl Proposal {
    /// As it is somewhere along its way: `votes` are those for it and those against it, `all` what all locks weighed when it was made.
    pub const fn resumed(weight: Weight, proposed_s: u32, all: Amount, votes: (Amount, Amount), is_done: bool) -> Self {
        let (yes, no) = votes;
        Self { weight, proposed_s, all, yes, no, is_done }
    }

    /// When its vote begins and ends, in seconds since the Unix epoch.
    pub const fn voting_s(&self) -> (u32, u32) {
        let from_s = self.proposed_s.saturating_add(DELAY_S);
        (from_s, from_s.saturating_add(VOTE_S))
    }

    /// How long it waits after a vote that it passes.
    pub const fn timelock_s(&self) -> u32 {
        match self.weight {
            Weight::Tuning => 2 * DAY_S,
            Weight::Money | Weight::Constitution => 7 * DAY_S,
        }
    }

    /// For, against, and all there is.
    pub const fn tally(&self) -> (Amount, Amount, Amount) {
        (self.yes, self.no, self.all)
    }

    /// Where it is.
    ///
    /// # Errors
    /// [`AmountError`] never, for weights below the cap.
    pub fn phase(&self, now_s: u32) -> Result<Phase, AmountError> {
        let (from_s, until_s) = self.voting_s();
        if self.is_done {
            return Ok(Phase::Done);
        }
        if now_s < until_s {
            return Ok(if now_s < from_s { Phase::Waiting } else { Phase::Open });
        }
        if !self.has_passed()? {
            return Ok(Phase::Refused);
        }
        let ready_s = until_s.saturating_add(self.timelock_s());
        let lapses_s = ready_s.saturating_add(GRACE_S);
        Ok(match now_s {
            now_s if now_s < ready_s => Phase::Passed { from_s: ready_s },
            now_s if now_s < lapses_s => Phase::Ready,
            _ => Phase::Lapsed,
        })
    }

    fn has_passed(&self) -> Result<bool, AmountError> {
        let cast = self.yes.checked_add(self.no)?;
        let took_part = !cast.is_zero() && cast.checked_mul(BPS_WHOLE.into())? >= self.all.checked_mul(QUORUM_BPS.into())?;
        let agreed = match self.weight {
            Weight::Tuning | Weight::Money => self.yes > self.no,
            Weight::Constitution => self.yes.checked_mul(3)? >= cast.checked_mul(2)?,
        };
        Ok(took_part && agreed)
    }
}

/// The votes of one lock that are not over: which, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ballots(BTreeMap<ProposalNumber, u32>);

/// All proposals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Votes {
    proposals: BTreeMap<ProposalNumber, Proposal>,
    next: ProposalNumber,
}

impl Votes {
    /// A proposal.
    ///
    /// # Errors
    /// [`VoteError::Unknown`].
    pub fn get(&self, number: ProposalNumber) -> Result<&Proposal, VoteError> {
        self.proposals.get(&number).ok_or(VoteError::Unknown)
    }

    /// Proposes a change of this weight.
    ///
    /// # Errors
    /// [`VoteError::TooLight`], [`VoteError::TooMany`], and nothing changed.
    pub fn propose(&mut self, proposer: &Lock, locks: &Locks, weight: Weight, now_s: u32) -> Result<ProposalNumber, VoteError> {
        let (all, own) = (locks.weight(now_s)?, proposer.weight(now_s)?);
        let least = all.split_bps(THRESHOLD_BPS)?.0.max(Amount::from_nano(1));
        if own < least {
            return Err(VoteError::TooLight { weight: own, least });
        }
        self.forget(now_s)?;
        let open = self.proposals.values().filter(|proposal| now_s < proposal.voting_s().1).count();
        if open >= OPEN_MAX {
            return Err(VoteError::TooMany);
        }
        let number = self.next;
        self.next = self.next.checked_add(1).ok_or(VoteError::TooMany)?;
        self.proposals.insert(number, Proposal { weight, proposed_s: now_s, all, yes: Amount::ZERO, no: Amount::ZERO, is_done: false });
        Ok(number)
    }

    /// Votes with a lock, once and with all of it.
    ///
    /// # Errors
    /// [`VoteError`], and nothing changed.
    pub fn vote(
        &mut self,
        number: ProposalNumber,
        lock: &Lock,
        ballots: &mut Ballots,
        is_yes: bool,
        now_s: u32,
    ) -> Result<Amount, VoteError> {
        let proposal = self.proposals.get_mut(&number).ok_or(VoteError::Unknown)?;
        let phase = proposal.phase(now_s)?;
        if phase != Phase::Open {
            return Err(VoteError::Phase(phase));
        }
        ballots.0.retain(|_, until_s| now_s < *until_s);
        if ballots.0.contains_key(&number) {
            return Err(VoteError::Voted);
        }
        let until_s = proposal.voting_s().1;
        let voice = lock.voice(proposal.proposed_s, until_s)?;
        if voice.is_zero() {
            return Err(VoteError::NoVoice);
        }
        let side = if is_yes { &mut proposal.yes } else { &mut proposal.no };
        *side = side.checked_add(voice)?;
        ballots.0.insert(number, until_s);
        Ok(voice)
    }

    /// What is decided for good needs no room.
    fn forget(&mut self, now_s: u32) -> Result<(), AmountError> {
        let mut over = Vec::new();
        for (number, proposal) in &self.proposals {
            if matches!(proposal.phase(now_s)?, Phase::Refused | Phase::Lapsed | Phase::Done) {
                over.push(*number);
            }
        }
        for number in over {
            self.proposals.remove(&number);
        }
        Ok(())
    }

    /// Takes a change that may be carried out now, once. Whoever carries it out asks the [bounds](super::parameter) whether it still fits;
    /// one that does not is done too.
    ///
    /// # Errors
    /// [`VoteError::Phase`].
    pub fn carry_out(&mut self, number: ProposalNumber, now_s: u32) -> Result<(), VoteError> {
        let proposal = self.proposals.get_mut(&number).ok_or(VoteError::Unknown)?;
        match proposal.phase(now_s)? {
            Phase::Ready => proposal.is_done = true,
            phase => return Err(VoteError::Phase(phase)),
        }
        Ok(())
    }
}

/// Whether payouts are stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stop {
    pulled_s: Option<u32>,
}

/// The emergency stop was pulled a short while ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the emergency stop was pulled lately, and cannot be again before {from_s}")]
pub struct StoppedLately {
    /// When it may be, in seconds since the Unix epoch.
    pub from_s: u32,
}

impl Stop {
    /// Whether it holds.
    pub fn is_stopped(&self, now_s: u32) -> bool {
        self.pulled_s.is_some_and(|pulled_s| now_s < pulled_s.saturating_add(STOP_S))
    }

    /// Stops.
    ///
    /// # Errors
    /// [`StoppedLately`].
    pub fn pull(&mut self, now_s: u32) -> Result<(), StoppedLately> {
        let from_s = self.pulled_s.map_or(0, |pulled_s| pulled_s.saturating_add(STOP_AGAIN_S));
        if now_s < from_s {
            return Err(StoppedLately { from_s });
        }
        self.pulled_s = Some(now_s);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::locks::{WEEK_S, week_of};
    use super::*;

    const START_S: u32 = 2_976 * WEEK_S;

    fn nano(nano: u128) -> Amount {
        Amount::from_nano(nano)
    }

    struct World {
        locks: Locks,
        each: Vec<(Lock, Ballots)>,
        votes: Votes,
    }

    impl World {
        /// Locks of these weights, for the longest time.
        fn new(weights: &[u128]) -> Self {
            let mut locks = Locks::default();
            let lock = |weight: &u128| (locks.lock(None, nano(*weight), week_of(START_S) + 104, START_S).unwrap(), Ballots::default());
            let each = weights.iter().map(lock).collect();
            Self { locks, each, votes: Votes::default() }
        }

        fn propose(&mut self, by: usize, weight: Weight, now_s: u32) -> Result<ProposalNumber, VoteError> {
            self.votes.propose(&self.each[by].0, &self.locks, weight, now_s)
        }

        fn vote(&mut self, number: ProposalNumber, by: usize, is_yes: bool, now_s: u32) -> Result<Amount, VoteError> {
            let (lock, ballots) = &mut self.each[by];
            self.votes.vote(number, lock, ballots, is_yes, now_s)
        }

        fn phase(&self, number: ProposalNumber, now_s: u32) -> Phase {
            self.votes.get(number).unwrap().phase(now_s).unwrap()
        }
    }

    const PROPOSED_S: u32 = START_S + 1;
    const OPENS_S: u32 = PROPOSED_S + DELAY_S;
    const ENDS_S: u32 = OPENS_S + VOTE_S;

    /// What becomes of a proposal on which these vote yes and no, out of these weights.
    fn outcome(weights: &[u128], yes: &[usize], no: &[usize], weight: Weight) -> Phase {
        let mut world = World::new(weights);
        let number = world.propose(0, weight, PROPOSED_S).unwrap();
        for (side, is_yes) in [(yes, true), (no, false)] {
            for by in side {
                world.vote(number, *by, is_yes, OPENS_S).unwrap();
            }
        }
        world.phase(number, ENDS_S)
    }

    #[test]
    fn the_times_are_those_of_the_document() {
        let days = [DELAY_S, VOTE_S, GRACE_S, STOP_S, STOP_AGAIN_S].map(|seconds| seconds / 86_400);
        assert_eq!((days, DELAY_S), ([1, 10, 14, 7, 30], 86_400));
    }

    #[test]
    fn a_change_goes_its_way_in_its_time() {
        let mut world = World::new(&[1_000_000]);
        let number = world.propose(0, Weight::Money, PROPOSED_S).unwrap();
        assert_eq!(world.vote(number, 0, true, OPENS_S - 1), Err(VoteError::Phase(Phase::Waiting)));
        world.vote(number, 0, true, OPENS_S).unwrap();
        assert_eq!(world.vote(number, 0, true, ENDS_S - 1), Err(VoteError::Voted));
        assert_eq!(world.vote(number, 0, true, ENDS_S), Err(VoteError::Phase(Phase::Passed { from_s: ENDS_S + 7 * DAY_S })));
        let ready_s = ENDS_S + 7 * DAY_S;
        assert_eq!(world.votes.carry_out(number, ready_s - 1), Err(VoteError::Phase(Phase::Passed { from_s: ready_s })));
        assert_eq!((world.phase(number, ready_s), world.phase(number, ready_s + GRACE_S - 1)), (Phase::Ready, Phase::Ready));
        assert_eq!(world.phase(number, ready_s + GRACE_S), Phase::Lapsed);
        assert_eq!(world.votes.clone().carry_out(number, ready_s + GRACE_S), Err(VoteError::Phase(Phase::Lapsed)));
        world.votes.carry_out(number, ready_s).unwrap();
        assert_eq!(world.votes.carry_out(number, ready_s), Err(VoteError::Phase(Phase::Done)));
        assert_eq!(world.votes.carry_out(9, ready_s), Err(VoteError::Unknown));
    }

    #[test]
    fn what_tunes_waits_two_days_and_what_moves_money_or_keys_seven() {
        let ready = |weight| match outcome(&[10_000], &[0], &[], weight) {
            Phase::Passed { from_s } => from_s - ENDS_S,
            other => panic!("{other:?}"),
        };
        assert_eq!([Weight::Tuning, Weight::Money, Weight::Constitution].map(ready), [2 * DAY_S, 7 * DAY_S, 7 * DAY_S]);
    }

    #[test]
    fn a_third_must_take_part_and_most_of_it_agree() {
        let is_passed = |phase| matches!(phase, Phase::Passed { .. });
        // As much as there are seconds in the longest time, so that no weight is rounded.
        let large = 104 * u128::from(WEEK_S);
        let passes = |parts: [u128; 3], weight| is_passed(outcome(&parts.map(|part| part * large), &[0], &[1], weight));
        assert!(passes([17, 16, 67], Weight::Money) && !passes([17, 15, 68], Weight::Money), "33 of 100 take part");
        assert!(!passes([20, 20, 60], Weight::Money), "half is not more than half");
        assert!(passes([40, 20, 40], Weight::Constitution) && !passes([39, 20, 41], Weight::Constitution), "two thirds");
        assert_eq!(outcome(&[10_000], &[], &[], Weight::Tuning), Phase::Refused, "nobody came");
    }

    #[test]
    fn who_has_too_little_does_not_propose() {
        let mut world = World::new(&[999, 998_001, 1_000]);
        assert_eq!(world.propose(0, Weight::Money, START_S), Err(VoteError::TooLight { weight: nano(999), least: nano(1_000) }));
        assert_eq!(world.propose(2, Weight::Money, START_S), Ok(0));
        let mut nobody = World::new(&[1]);
        let over = START_S + 200 * WEEK_S;
        assert_eq!(nobody.propose(0, Weight::Money, over), Err(VoteError::TooLight { weight: Amount::ZERO, least: nano(1) }));
    }

    #[test]
    fn proposals_at_once_are_bounded_and_what_is_decided_makes_room() {
        let mut world = World::new(&[1_000_000]);
        for number in 0..8 {
            assert_eq!(world.propose(0, Weight::Money, PROPOSED_S), Ok(number));
        }
        assert_eq!(world.propose(0, Weight::Money, ENDS_S - 1), Err(VoteError::TooMany));
        assert_eq!(world.propose(0, Weight::Money, ENDS_S), Ok(8));
        assert_eq!(world.votes.proposals.len(), 1, "those that nobody voted on are refused, and gone");
        assert_eq!(world.votes.get(0), Err(VoteError::Unknown));
    }

    #[test]
    fn what_is_over_takes_no_place_and_no_ballot() {
        let mut world = World::new(&[1_000_000, 1_000]);
        for number in 0..8 {
            world.propose(0, Weight::Money, PROPOSED_S).unwrap();
            world.vote(number, 0, true, OPENS_S).unwrap();
        }
        world.vote(0, 1, false, OPENS_S).unwrap();
        let (yes, no) = (world.each[0].0.weight(PROPOSED_S).unwrap(), world.each[1].0.weight(PROPOSED_S).unwrap());
        assert_eq!(world.votes.get(0).unwrap().tally(), (yes, no, world.locks.weight(PROPOSED_S).unwrap()));
        assert_eq!(world.each[0].1.0.len(), 8);
        // All eight passed and wait, and none is voted on.
        let next = world.propose(0, Weight::Money, ENDS_S).unwrap();
        world.votes.proposals.get_mut(&next).unwrap().proposed_s = ENDS_S - DELAY_S;
        world.vote(next, 0, true, ENDS_S).unwrap();
        assert_eq!(world.each[0].1.0.len(), 1);
    }

    #[test]
    fn what_was_locked_after_the_proposal_or_leaves_before_its_end_has_no_voice() {
        let mut world = World::new(&[1_000_000]);
        let number = world.propose(0, Weight::Money, PROPOSED_S).unwrap();
        let late = world.locks.lock(None, nano(9_000_000), week_of(START_S) + 104, PROPOSED_S).unwrap();
        let more = world.locks.lock(Some(world.each[0].0), nano(1), week_of(START_S) + 104, PROPOSED_S + 9).unwrap();
        let mut early = Locks::default();
        let soon = early.lock(None, nano(9_000_000), week_of(START_S) + 1, START_S).unwrap();
        for lock in [late, more, soon] {
            assert_eq!(world.votes.vote(number, &lock, &mut Ballots::default(), true, OPENS_S), Err(VoteError::NoVoice));
        }
        assert_eq!(world.votes.get(number).unwrap().tally().0, Amount::ZERO);
    }

    #[test]
    fn an_emergency_stop_ends_and_is_not_pulled_again_soon() {
        let mut stop = Stop::default();
        assert!(!stop.is_stopped(START_S));
        stop.pull(START_S).unwrap();
        assert!(stop.is_stopped(START_S) && stop.is_stopped(START_S + STOP_S - 1) && !stop.is_stopped(START_S + STOP_S));
        let from_s = START_S + STOP_AGAIN_S;
        assert_eq!(stop.pull(from_s - 1), Err(StoppedLately { from_s }));
        assert_eq!(stop.pull(from_s), Ok(()));
        assert!(stop.is_stopped(from_s));
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Propose(usize, Weight),
        Vote(u32, usize, bool),
        CarryOut(u32),
    }

    fn act() -> impl Strategy<Value = (Act, u32)> {
        let weight = prop_oneof![Just(Weight::Tuning), Just(Weight::Money), Just(Weight::Constitution)];
        let act = prop_oneof![
            1 => (0usize..4, weight).prop_map(|(by, weight)| Act::Propose(by, weight)),
            4 => (0u32..6, 0usize..4, any::<bool>()).prop_map(|(number, by, is_yes)| Act::Vote(number, by, is_yes)),
            2 => (0u32..6).prop_map(Act::CarryOut),
        ];
        (act, 0u32..3 * DAY_S)
    }

    proptest! {
        /// Whoever does what when: nobody votes twice, votes never sum to more than there was, and nothing is carried out but what passed,
        /// after its time, once.
        #[test]
        fn nothing_is_carried_out_that_did_not_pass(weights in vec(1u128..1 << 60, 4), acts in vec(act(), 1..120)) {
            let mut world = World::new(&weights);
            let mut now_s = START_S;
            let (mut voted, mut done) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
            for (act, pause_s) in acts {
                now_s += pause_s;
                match act {
                    Act::Propose(by, weight) => drop(world.propose(by, weight, now_s)),
                    Act::Vote(number, by, is_yes) => {
                        if world.vote(number, by, is_yes, now_s).is_ok() {
                            prop_assert!(voted.insert((number, by)));
                        }
                    }
                    Act::CarryOut(number) => {
                        let before = world.votes.get(number).copied();
                        if world.votes.carry_out(number, now_s).is_ok() {
                            let proposal = before.unwrap();
                            prop_assert!(done.insert(number));
                            prop_assert!(proposal.yes > proposal.no);
                            prop_assert!(now_s >= proposal.voting_s().1 + proposal.timelock_s());
                        }
                    }
                }
                for proposal in world.votes.proposals.values() {
                    let (yes, no, all) = proposal.tally();
                    prop_assert!(yes.nano() + no.nano() <= all.nano());
                }
                prop_assert!(world.each.iter().all(|(_, ballots)| ballots.0.len() <= OPEN_MAX));
            }
        }
    }
}
