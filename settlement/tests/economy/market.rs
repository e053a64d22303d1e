//! Providers, requesters and bidders over many epochs, by a seed.
//!
//! The first provider is one that pays itself: it is its own requester and bidder, among all others.

use cocoon_market::ids::{Digest, NetworkId};
use cocoon_market::{Amount, Certificate};
use cocoon_settlement::attest::evidence::{Audited, Evidence};
use cocoon_settlement::attest::groth16::{Circuit, Size, development_seed, setup};
use cocoon_settlement::contract::ProofBytes;
use cocoon_settlement::economy::auction::{BID_MIN, Rate};
use cocoon_settlement::economy::genesis;
use cocoon_settlement::economy::vesting::Vesting;
use rand_chacha_03::ChaCha20Rng;
use rand_chacha_03::rand_core::{RngCore as _, SeedableRng as _};

use crate::books::Nano;
use crate::machines::Paid;
use crate::stage::{ANYONE, COCOON, DAY_S, Founding, OPENING, REAL, SIMULATED, STAKERS, Stage, TON, Who, auditor};

/// The provider that pays itself.
const DEALER: usize = 0;
/// The one whose first claims are proven for real.
const PROVEN: usize = 1;

/// How large a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) epochs: u32,
    pub(crate) providers: usize,
    pub(crate) requesters: usize,
    pub(crate) bidders: usize,
    pub(crate) founding: Founding,
    /// What the work of a channel costs in an epoch, on average, in nano-TON.
    pub(crate) work: u128,
}

/// What is done at a moment of an epoch.
#[derive(Clone, Debug)]
enum Act {
    Bid { who: Who, amount: u128, least: u64 },
    Mistake { who: Who, amount: u128 },
    Deposit { line: usize, amount: u128 },
    Batch { provider: usize, work: Vec<(usize, u128)> },
    Claim { line: usize, amount: u128 },
    Attest { provider: usize, epoch: u32, part: u128 },
    Forge { provider: usize, epoch: u32 },
    Late { provider: usize, epoch: u32 },
    Collect { provider: usize, epoch: u32 },
    Take { provider: usize },
    PayTreasury,
    TooEarly,
}

pub(crate) struct Market {
    plan: Plan,
    pub(crate) stage: Stage,
    random: ChaCha20Rng,
    bidders: Vec<Who>,
    owners: Vec<Who>,
    stakers: Vesting,
    late: Vec<(usize, u32)>,
    is_proven: bool,
    /// Vouchers that were drawn, and proofs that were made by the prover.
    pub(crate) claims: u64,
    pub(crate) proofs: u32,
    pub(crate) bids: u32,
}

impl Market {
    pub(crate) fn open(plan: Plan) -> Self {
        let mut stage = Stage::found(plan.founding);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&plan.seed.to_be_bytes());
        let funds = plan.work * u128::from(plan.epochs + 20) / TON;
        let owners: Vec<_> = (0..plan.providers).map(|of| stage.person(if of == DEALER { funds } else { 1_000 })).collect();
        let bidders: Vec<_> = (0..plan.bidders).map(|_| stage.person(1_000)).collect();
        let requesters: Vec<_> = (1..plan.requesters).map(|_| stage.person(funds)).collect();
        stage.settle();
        owners.iter().for_each(|owner| {
            stage.provider(*owner);
        });
        // The opening auction sold all to bidders.
        let each = genesis::OPENING.nano() / u128::try_from(plan.bidders).unwrap() - COCOON;
        bidders.iter().for_each(|bidder| stage.give(OPENING, *bidder, each));
        stage.settle();
        let deposit = 4 * plan.work;
        stage.channel(owners[DEALER], DEALER, deposit);
        for (at, requester) in requesters.iter().enumerate() {
            stage.channel(*requester, 1 + at % (plan.providers - 1), deposit);
        }
        stage.settle();
        let mut stakers = Vesting::default();
        stakers.grant(genesis::STAKERS, genesis::STAKERS_VEST_S, stage.now_s()).unwrap();
        Self {
            plan,
            stage,
            random: ChaCha20Rng::from_seed(seed),
            bidders,
            owners,
            stakers,
            late: Vec::new(),
            is_proven: false,
            claims: 0,
            proofs: 0,
            bids: 0,
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.next_u64() % end
    }

    fn is_one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// So many percent of it, between the two.
    fn part(&mut self, of: u128, from: u64, to: u64) -> u128 {
        let percent = from + self.below(to - from + 1);
        of * u128::from(percent) / 100
    }

    /// Goes on until so many epochs are over and their claims paid.
    pub(crate) fn run(&mut self) {
        self.stage.next_epoch(ANYONE);
        while self.stage.machines.paid.len() < usize::try_from(self.plan.epochs).unwrap() {
            self.epoch();
        }
    }

    fn epoch(&mut self) {
        let mut acts = Vec::new();
        self.plan_bids(&mut acts);
        self.plan_work(&mut acts);
        self.plan_rewards(&mut acts);
        acts.sort_by_key(|(at, _)| *at);
        for (at, act) in acts {
            self.stage.at_moment(at);
            self.act(act);
        }
        self.stage.settle();
        self.stage.next_epoch(ANYONE);
    }

    fn act(&mut self, act: Act) {
        let stage = &mut self.stage;
        match act {
            Act::Bid { who, amount, least } => stage.bid(who, amount, least),
            Act::Mistake { who, amount } => stage.mistake(who, amount),
            Act::Deposit { line, amount } => stage.deposit(line, amount),
            Act::Batch { provider, work } => stage.batch(provider, &work),
            Act::Claim { line, amount } => stage.claim(ANYONE, line, amount),
            Act::Attest { provider, epoch, part } => self.attest(provider, epoch, part),
            Act::Forge { provider, epoch } => self.forge(provider, epoch),
            Act::Late { provider, epoch } => {
                let fees = stage.unclaimed(provider, epoch);
                stage.attest_simulated(ANYONE, provider, epoch, fees);
            }
            Act::Collect { provider, epoch } => stage.collect(ANYONE, provider, epoch),
            Act::Take { provider } => stage.take(provider),
            Act::PayTreasury => stage.pay_treasury(ANYONE),
            Act::TooEarly => stage.close_epoch(ANYONE),
        }
    }

    // ---- Bids.

    /// Early stakers get what has vested, and sell it.
    fn release_stakers(&mut self) {
        let free = self.stakers.take(self.stage.now_s()).unwrap().nano();
        let number = usize::try_from(self.stage.machines.vault.number).unwrap();
        let bidder = self.bidders[number % self.bidders.len()];
        if free > 0 {
            self.stage.give(STAKERS, bidder, free);
            self.stage.settle();
        }
    }

    /// Whoever has COCOON wants TON for a part of it, and waits for the rate at which all that is offered buys the lot, or for one that it
    /// takes for that.
    fn plan_bids(&mut self, acts: &mut Vec<(u32, Act)>) {
        self.release_stakers();
        let (number, duration_s) = (self.stage.machines.vault.number, self.stage.machines.vault.duration_s);
        self.plan_oddities(acts, number, duration_s);
        let lot = self.stage.machines.vault.auction.left().nano();
        // Nobody comes: after an epoch with next to no fees, and once to a whole lot.
        if number % 26 == 7 || number == 54 || lot == 0 {
            return;
        }
        let mut offers = Vec::new();
        for who in self.bidders.clone() {
            let has = self.stage.cocoon(who);
            let part = self.part(has, 50, 90);
            offers.push((who, part));
        }
        for who in self.owners.clone() {
            if !self.is_one_in(3) {
                offers.push((who, self.stage.cocoon(who) / 100 * 98));
            }
        }
        offers.retain(|(_, amount)| *amount >= BID_MIN.nano());
        let last = self.stage.machines.vault.recorded.last().per_ton().nano();
        let fair = (offers.iter().map(|(_, amount)| *amount).sum::<u128>() * TON / lot).min(last * 102 / 100);
        for (who, amount) in offers {
            let wanted = self.part(fair, 97, 103);
            let moment = Rate::new(Amount::from_nano(wanted)).and_then(|rate| self.stage.machines.vault.moment(rate));
            let last = self.is_one_in(4).then_some(duration_s - 1);
            let Some(at) = moment.or(last) else { continue };
            acts.push((at, Act::Bid { who, amount, least: 0 }));
            self.bids += 1;
        }
    }

    /// Bids that are too small, too early, too late, or ask for too much; and COCOON that says nothing.
    fn plan_oddities(&mut self, acts: &mut Vec<(u32, Act)>, number: u32, duration_s: u32) {
        let pick = self.below(u64::try_from(self.bidders.len()).unwrap());
        let who = self.bidders[usize::try_from(pick).unwrap()];
        let has = self.stage.cocoon(who);
        if has < 1_000 * BID_MIN.nano() {
            return;
        }
        let small = BID_MIN.nano() + u128::from(self.below(10 * 1_000_000_000));
        let act = match number % 6 {
            0 => (7, Act::Bid { who, amount: BID_MIN.nano() - 1, least: 0 }),
            1 => (0, Act::Bid { who, amount: small, least: 0 }),
            2 => (duration_s - 1, Act::Bid { who, amount: small, least: 0 }),
            3 => (duration_s + 5, Act::Bid { who, amount: small, least: 0 }),
            4 => (duration_s / 2, Act::Bid { who, amount: small, least: u64::MAX }),
            _ => (11, Act::Mistake { who, amount: small }),
        };
        acts.push(act);
    }

    // ---- Work.

    fn plan_work(&mut self, acts: &mut Vec<(u32, Act)>) {
        let number = self.stage.machines.vault.number;
        // Now and then next to nothing is asked for.
        let usual = if number % 13 == 6 { self.plan.work / 1_000 } else { self.plan.work };
        for provider in 0..self.plan.providers {
            let lines: Vec<_> = (0..self.stage.lines.len()).filter(|line| self.stage.lines[*line].provider == provider).collect();
            let mut work = Vec::new();
            for line in lines {
                if self.is_one_in(8) {
                    continue;
                }
                let amount = self.part(usual, 20, 180) + u128::from(self.below(1_000));
                let left = self.stage.lines[line].deposit - self.stage.lines[line].drawn;
                if left < 2 * amount {
                    acts.push((DAY_S, Act::Deposit { line, amount: 6 * self.plan.work }));
                }
                if self.is_one_in(12) {
                    acts.push((DAY_S + 600, Act::Claim { line, amount }));
                } else {
                    work.push((line, amount));
                }
                self.claims += 1;
            }
            if !work.is_empty() {
                let again = self.is_one_in(6).then(|| work.iter().map(|(line, amount)| (*line, amount / 100 + 1)).collect());
                acts.push((if provider.is_multiple_of(2) { 2 } else { 3 } * DAY_S, Act::Batch { provider, work }));
                if let Some(work) = again {
                    acts.push((4 * DAY_S, Act::Batch { provider, work }));
                }
            }
        }
        if number % 10 == 5 {
            acts.push((5 * DAY_S, Act::PayTreasury));
            acts.push((5 * DAY_S + 1, Act::TooEarly));
        }
    }

    // ---- Rewards.

    fn plan_rewards(&mut self, acts: &mut Vec<(u32, Act)>) {
        let number = self.stage.machines.vault.number;
        for (provider, epoch) in std::mem::take(&mut self.late) {
            acts.push((2 * DAY_S + 100, Act::Late { provider, epoch }));
        }
        for provider in 0..self.plan.providers {
            if let Some(epoch) = number.checked_sub(2).filter(|epoch| self.stage.unclaimed(provider, *epoch) > 0) {
                let fees = self.stage.unclaimed(provider, epoch);
                let (first, second) = (3 * DAY_S + 100, 3 * DAY_S + 200);
                match self.below(150) {
                    0 => {}
                    1 => self.late.push((provider, epoch)),
                    2 => acts.push((first, Act::Attest { provider, epoch, part: (fees * 3 / 5).max(1) })),
                    3..10 if fees > 1 => {
                        acts.push((first, Act::Attest { provider, epoch, part: fees / 2 }));
                        acts.push((second, Act::Attest { provider, epoch, part: fees - fees / 2 }));
                    }
                    10..15 => {
                        acts.push((first, Act::Forge { provider, epoch }));
                        acts.push((second, Act::Attest { provider, epoch, part: fees }));
                    }
                    _ => acts.push((first, Act::Attest { provider, epoch, part: fees })),
                }
            }
            let desk = self.stage.account_of(provider);
            let collectable = self.stage.machines.providers[&desk].collectable(number.saturating_sub(2));
            for epoch in collectable {
                if !self.is_one_in(10) {
                    acts.push((4 * DAY_S + 100, Act::Collect { provider, epoch }));
                }
            }
            let vesting = self.stage.machines.providers[&desk].vesting;
            let free = vesting.free(self.stage.now_s() + 4 * DAY_S).unwrap();
            if !free.is_zero() && !self.is_one_in(4) {
                acts.push((4 * DAY_S + 200, Act::Take { provider }));
            }
        }
    }

    fn attest(&mut self, provider: usize, epoch: u32, fees: u128) {
        if provider == PROVEN && !self.is_proven {
            self.is_proven = true;
            return self.prove(provider, epoch, fees);
        }
        let claims = 1 + self.below(60);
        let statement = self.stage.statement(provider, epoch, claims, u64::try_from(fees).unwrap());
        let proof = self.stage.prove(&statement);
        self.stage.attest(ANYONE, provider, &statement, SIMULATED, proof);
    }

    /// A proof of a nano-unit less.
    fn forge(&mut self, provider: usize, epoch: u32) {
        let fees = u64::try_from(self.stage.unclaimed(provider, epoch)).unwrap();
        let statement = self.stage.statement(provider, epoch, 4, fees);
        let mut other = statement;
        other.total_nanoton -= 1;
        let ProofBytes(bytes) = self.stage.prove(&other);
        self.stage.machines.forged.insert(bytes);
        self.stage.attest(ANYONE, provider, &statement, SIMULATED, ProofBytes(bytes));
    }

    /// Four certificates by listed auditors, and the prover's own proof of them.
    fn prove(&mut self, provider: usize, epoch: u32, fees: u128) {
        let threads = std::num::NonZeroUsize::MIN;
        let statement = self.stage.statement(provider, epoch, 4, u64::try_from(fees).unwrap());
        let quarter = statement.total_nanoton / 4;
        let audited: Vec<_> = (0..4u64)
            .map(|at| {
                let by = auditor(1 + u8::try_from(at % 3).unwrap());
                let fee_nanoton = if at == 3 { statement.total_nanoton - 3 * quarter } else { quarter };
                let claim = statement.first + at;
                let segment = Digest([u8::try_from(at).unwrap(); 32]);
                let certificate =
                    Certificate { network: NetworkId::DEVNET, provider: statement.provider, epoch, claim, fee_nanoton, segment };
                Audited { certificate, auditor: by.public(), signature: by.sign(&certificate) }
            })
            .collect();
        let evidence = Evidence::new(&self.stage.auditors, &audited).unwrap();
        assert_eq!(*evidence.statement(), statement);
        let key = setup(Circuit::Attestation(Size::Four), &development_seed(), threads).unwrap();
        let proof = key.prove_attestation(&evidence, threads, &[7; 32]).unwrap();
        self.proofs += 1;
        self.stage.attest(ANYONE, provider, &statement, REAL, ProofBytes(proof.to_bytes()));
    }

    // ---- What came of it.

    /// Epochs whose payout ended with another halving.
    pub(crate) fn halvings(&self) -> Vec<u32> {
        let paid = &self.stage.machines.paid;
        let mut before = 0;
        let more = |its: &&Paid| {
            let is_more = its.halvings > before;
            before = its.halvings;
            is_more
        };
        paid.iter().filter(more).map(|its| its.epoch).collect()
    }

    /// What the provider that pays itself has less or more, in nano-TON, gas aside: fees it paid, less the auditors' part of them; what it
    /// was rewarded and what it bought, each at the price of its auction. And its fees.
    pub(crate) fn dealer(&self) -> (Nano, Nano) {
        let machines = &self.stage.machines;
        let its = &machines.providers[&self.stage.account_of(DEALER)];
        let nano = |amount: u128| Nano::try_from(amount).unwrap();
        let price = |epoch: u32| machines.sold[usize::try_from(epoch).unwrap()].price();
        let worth = |cocoon: Amount, epoch: u32| price(epoch).map_or(0, |price| nano(cocoon.nano() * TON / price));
        // Fees whose reward could not be collected yet are not counted.
        let done = machines.paid.last().map_or(0, |its| its.epoch);
        let fees: Nano = its.epochs.range(..done).map(|(_, fees)| nano(fees.booked.nano())).sum();
        let rewarded: Nano = its.rewarded.iter().map(|(epoch, reward)| worth(*reward, *epoch)).sum();
        let account = self.stage.account(self.owners[DEALER]).0;
        let fills = machines.fills.iter().filter(|(who, ..)| *who == account);
        let traded: Nano = fills.map(|(_, number, fill)| nano(fill.bought.nano()) - worth(fill.burned, number - 1)).sum();
        (rewarded + traded - fees + fees / 5, fees)
    }
}
