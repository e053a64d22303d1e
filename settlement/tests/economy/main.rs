//! The token's economy on its contracts: five years of it, in 60 epochs of a month, on an embedded chain.
//!
//! Twenty providers work for fifty requesters through channels. Their fees go to the vault; bidders burn COCOON for what is auctioned; what
//! was burned is claimed for with proofs, paid out of the reserve, vests, and is bid again. Minter, wallets, vault, rewards, registry,
//! governor, providers and channels are the contracts, each transaction runs in the chain's machine and costs what it costs.
//!
//! After every block all TON and all COCOON must be somewhere, to the unit: what transactions say is held against what accounts say.
//! After every epoch the economy's machines ([`machines`]), which were told the same events and decide for themselves, must have the
//! numbers that the contracts store. Rules that hold for each claim, each epoch and all of them are checked where the numbers arise.
//!
//! # Why epochs of a month
//!
//! The rate halves when 160 of the reserve's 320 million have been released, and again at 240. A reward is at most nine tenths of a burn,
//! so that takes 178 and 267 million burned, while 60 circulate at the start: rewards must come back as bids. Of a reward 70% vests over
//! 90 days, whatever an epoch is. With epochs of a day, 60 of them release at most 122 million, even if all of the 60 were there on the
//! first day, everybody burned at once whatever there is, and no calendar held anybody up: a test here computes it. No halving is to be seen. A vault's epoch and a reserve's half-life are terms that a
//! network is founded with, so this network has the calendar of the real one, two years to a half-life, in 24 steps of a month instead of
//! 730 of a day. Reserve, cap, auctions and vesting are what they are.
//!
//! # Proofs
//!
//! Twelve hundred proofs by the prover would take hours. The first claims of one provider have one, of four certificates by listed
//! auditors, under the development key of that circuit. All others are under a key whose secrets this test knows ([`trapdoor`]), in the
//! place of the circuit for 64 certificates: the contract verifies them all the same, and refuses those for other numbers, but no
//! certificate stands behind them.
//!
//! # Providers that pay themselves
//!
//! One of the twenty does so all along, and [`attacks`] has it alone, among others, in a quiet epoch, and beside what an earlier auction
//! left over. Each time a sixth of its fees is gone, by what the market pays.
//!
//! `COCOON_ECONOMY_SEED` begins other runs.
#![allow(missing_docs, clippy::missing_docs_in_private_items)]

mod attacks;
mod books;
mod bound;
mod machines;
mod market;
mod stage;
mod trapdoor;
mod words;

use attacks::{Around, Ended, hip_10, pays_itself};
use cocoon_market::amount::NANO;
use cocoon_settlement::contract::Exit;
use cocoon_settlement::economy::genesis::{CAP, RESERVE};
use market::{Market, Plan};
use stage::{COCOON, Founding, TON};

/// Seen on the terminal with `--nocapture`.
fn row(what: &str, value: impl std::fmt::Display) {
    println!("{what:<44}{value}");
}

fn whole(nano: u128) -> u128 {
    nano / NANO
}

fn seed() -> u64 {
    std::env::var("COCOON_ECONOMY_SEED").map_or(1, |text| text.parse().expect("COCOON_ECONOMY_SEED must be a number"))
}

#[test]
fn sixty_epochs_keep_every_rule_and_halve_twice() {
    let plan =
        Plan { seed: seed(), epochs: 60, providers: 20, requesters: 50, bidders: 6, founding: Founding::MONTHS, work: 100_000 * TON };
    let mut market = Market::open(plan);
    market.run();
    let machines = &market.stage.machines;
    assert_eq!(machines.paid.len(), 60);
    assert_eq!(machines.nobody_got_more(), Ok(()));

    let halvings = market.halvings();
    let sold: Vec<_> = machines.sold.iter().filter(|sold| !sold.lot.is_zero()).collect();
    let sold_out = sold.iter().filter(|sold| sold.left.is_zero()).count();
    let nobody = sold.iter().filter(|sold| sold.paid.is_zero()).count();
    let (lost, fees) = market.dealer();
    let (burned, reward, pot) = hip_10();
    let released = machines.rewards.pool.emission().released().nano();
    row("seed, epochs", format!("{}, {}", plan.seed, machines.paid.len()));
    row("transactions, blocks", format!("{}, {}", market.stage.transactions, market.stage.blocks));
    row("vouchers drawn, bids, proofs by the prover", format!("{}, {}, {}", market.claims, market.bids, market.proofs));
    row("halvings, after the epochs", format!("{halvings:?}"));
    row("COCOON burned", whole(machines.destroyed.nano()));
    row("COCOON released, of the reserve", format!("{} of {}", whole(released), whole(RESERVE.nano())));
    row("of the cap that is left", whole(CAP.nano() - machines.destroyed.nano()));
    row("auctions, sold out, without a bid", format!("{}, {sold_out}, {nobody}", sold.len()));
    row("who pays itself loses of its fees, in percent", -lost * 100 / fees);
    row("the Helium case, of what was burned, in percent", reward * 100 / burned);
    row("and out of a fixed pot, in percent", pot * 100 / burned);
    row("refusals by exit code", format!("{:?}", machines.refused));

    assert!(halvings.len() >= 2, "{halvings:?}");
    assert!(sold_out * 2 > sold.len() && sold_out < sold.len() && nobody > 0, "lots sell out, or not, or find nobody");
    assert!(lost < -fees / 10, "{lost} of {fees}");
    assert!(market.stage.lines.iter().all(|line| line.drawn > 0), "every requester had work done");
    assert!(machines.providers.values().all(|its| its.rewarded.len() > 40), "and every provider was rewarded in most epochs");
    assert_eq!(market.proofs, 1);
    for exit in [Exit::ClaimsClosed, Exit::BadProof, Exit::EpochRunning] {
        assert!(machines.refused.contains_key(&exit.code()), "{exit:?} is met");
    }
}

#[test]
fn whoever_pays_itself_ends_with_less() {
    for around in [Around::Nobody, Around::Others, Around::Quiet, Around::Rest] {
        let Ended { gained, reward, fees } = pays_itself(around);
        let part = gained * 1_000 / i128::try_from(fees).unwrap();
        row(&format!("{around:?}: of its fees, in thousandths"), part);
        // The treasury's tenth, and a tenth of the seven tenths that were burned; and gas.
        assert!((-175..-140).contains(&part), "{around:?}: {gained}");
        assert!(reward <= fees * 7 / 10 * 50 * 9 / 10, "{around:?}: {reward}");
    }
}

/// One hotspot bought data credits for 145 dollars and earned HNT for about 21,000, because a fixed pot was shared by whoever was there.
#[test]
fn the_helium_case_pays_nine_tenths_of_what_was_burned() {
    let (burned, reward, pot) = hip_10();
    assert_eq!((burned, reward), (145 * COCOON, 145 * COCOON * 9 / 10));
    assert!(pot > 145 * burned, "the pot is large enough for the case: {pot}");
}

#[test]
fn sixty_epochs_of_a_day_cannot_release_half_of_the_reserve() {
    let released = bound::released_at_most(60).nano();
    row("60 daily epochs release at most", whole(released));
    assert_eq!(whole(released), 121_762_689);
    assert!(released < RESERVE.nano() / 2);
}
