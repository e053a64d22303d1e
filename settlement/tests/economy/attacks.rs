//! Providers that pay themselves.
//!
//! The coalition is its own requester, provider, auditor and bidder. Its work costs it nothing. What it has is counted on all its
//! accounts before and after: TON at its face, COCOON at what the market pays, that which still vests in full. And as if nobody paid for
//! audits but it were the auditor of all its claims, the auditors' part of its fees is counted as its own.
//!
//! The market: others buy what is left of each lot as soon as it costs 50 COCOON a TON, which is where the vault begins.

use cocoon_market::Amount;
use cocoon_settlement::economy::auction::Rate;

use crate::books::Nano;
use crate::stage::{ANYONE, COCOON, Founding, OPENING, Stage, TON, Who};

/// COCOON for a TON at the market.
const MARKET: u128 = 50;
/// What a job of the coalition costs, and its fee.
const WORK: u128 = 20_000 * TON;
const FEE: u128 = WORK / 20;

/// What is around the coalition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Around {
    /// Nobody: no other fees, no other bids.
    Nobody,
    /// Three honest providers with as much work each, and others who bid.
    Others,
    /// No other fees, others who bid, and epochs before in which nothing was paid, so that four rates are to be had.
    Quiet,
    /// What an earlier auction left over is three times the coalition's own part of the lot.
    Rest,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// In nano-TON, by the market; the auditors' part of its own fees is back.
    pub(crate) gained: Nano,
    /// In nano-COCOON.
    pub(crate) reward: u128,
    pub(crate) fees: u128,
}

struct Cast {
    stage: Stage,
    dealer: Who,
    desk: usize,
    line: usize,
    honest: Vec<(usize, usize)>,
}

fn cast(honest: usize) -> Cast {
    let mut stage = Stage::found(Founding::NETWORK);
    let dealer = stage.person(100_000);
    let requesters: Vec<_> = (0..honest).map(|_| (stage.person(100_000), stage.person(1_000))).collect();
    stage.settle();
    let desk = stage.provider(dealer);
    let desks: Vec<_> = requesters.iter().map(|(_, owner)| stage.provider(*owner)).collect();
    stage.give(OPENING, dealer, 1_000_000 * COCOON);
    stage.settle();
    let line = stage.channel(dealer, desk, WORK);
    let lines = requesters.iter().zip(&desks).map(|((requester, _), desk)| (*desk, stage.channel(*requester, *desk, WORK))).collect();
    stage.next_epoch(ANYONE);
    Cast { stage, dealer, desk, line, honest: lines }
}

/// A coalition pays itself once, and sees it through to the reward.
pub(crate) fn pays_itself(around: Around) -> Ended {
    let Cast { mut stage, dealer, desk, line, honest } = cast(if around == Around::Others || around == Around::Rest { 3 } else { 0 });
    if around == Around::Quiet {
        (0..4).for_each(|_| stage.next_epoch(ANYONE));
    }
    if around == Around::Rest {
        honest.iter().for_each(|(desk, line)| stage.batch(*desk, &[(*line, WORK)]));
        stage.next_epoch(ANYONE);
    }
    let everything = |stage: &Stage| (stage.tons_of(&[dealer], &[desk]), stage.cocoons_of(&[dealer], &[desk]));
    let before = everything(&stage);
    let epoch = stage.machines.vault.number;
    stage.batch(desk, &[(line, WORK)]);
    if around == Around::Others {
        honest.iter().for_each(|(desk, line)| stage.batch(*desk, &[(*line, WORK)]));
    }
    stage.next_epoch(ANYONE);
    sell(&mut stage, dealer, around);
    stage.next_epoch(ANYONE);
    stage.attest_simulated(dealer, desk, epoch, FEE);
    if around == Around::Others {
        honest.iter().for_each(|(desk, _)| stage.attest_simulated(ANYONE, *desk, epoch, FEE));
    }
    stage.settle();
    stage.next_epoch(ANYONE);
    stage.collect(dealer, desk, epoch);
    stage.settle();
    let (ton, cocoon) = everything(&stage);
    let audited = Nano::try_from(FEE / 5).unwrap();
    let gained = ton - before.0 + audited + (cocoon - before.1) / Nano::try_from(MARKET).unwrap();
    let reward = stage.machines.providers[&stage.account_of(desk)].rewarded[&epoch].nano();
    Ended { gained, reward, fees: FEE }
}

/// When the auction costs what the market pays.
fn at_market(stage: &Stage) -> u32 {
    let market = Rate::new(Amount::from_nano(MARKET * COCOON)).unwrap();
    stage.machines.vault.moment(market).unwrap()
}

/// The coalition buys as much as its own fees brought, at the market's rate; others buy the rest.
fn sell(stage: &mut Stage, dealer: Who, around: Around) {
    stage.at(at_market(stage));
    stage.bid(dealer, FEE * 7 / 10 * MARKET, 0);
    stage.settle();
    if around != Around::Nobody {
        stage.bid(OPENING, 1_000_000 * COCOON, 0);
        stage.settle();
    }
    assert!(stage.machines.vault.auction.left().is_zero());
}

/// One provider spends fees of which 145 COCOON are burned, in an epoch in which nobody else is there. Returns the reward and what a fixed
/// pot, shared by whoever was there, would have paid: the epoch's budget.
pub(crate) fn hip_10() -> (u128, u128, u128) {
    let Cast { mut stage, dealer, desk, line, .. } = cast(0);
    let burned = 145 * COCOON;
    // Seven tenths of a twentieth of the work are sold at the market's rate.
    let fee = burned / MARKET * 10 / 7 + 1;
    let epoch = stage.machines.vault.number;
    stage.batch(desk, &[(line, 20 * fee)]);
    stage.next_epoch(ANYONE);
    stage.at(at_market(&stage));
    stage.bid(OPENING, burned, 0);
    stage.settle();
    stage.next_epoch(ANYONE);
    stage.attest_simulated(dealer, desk, epoch, stage.unclaimed(desk, epoch));
    stage.settle();
    let pot = stage.machines.rewards.pool.emission().budget().unwrap().nano();
    stage.next_epoch(ANYONE);
    stage.collect(ANYONE, desk, epoch);
    stage.settle();
    let reward = stage.machines.providers[&stage.account_of(desk)].rewarded[&epoch].nano();
    (stage.machines.destroyed.nano(), reward, pot)
}
