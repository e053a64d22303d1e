//! What verified usage is paid out of the reserve.
//!
//! ```text
//! f     fees, in TON, of a claim; all of one epoch
//! b     = min(burned x f / fees, median x lot x f / fees)     COCOON burned for them
//! B     = sum of all b that were claimed of the epoch
//! paid  = min(0.9 B, budget, 0.9 burned ever - released ever)
//! R     = paid x b / B
//! ```
//!
//! So a reward is at most 0.9 of what its own fees burned, and less when more is claimed than the epoch may pay. What is not paid stays
//! in the reserve. Paying oneself always loses: whoever pays a fee, does the work, audits it and buys back the burned share loses the
//! treasury's part and a tenth of what it burned, whatever it bids (`docs/decisions/005`).
//!
//! Invariants, each a property test: R <= 0.9 b; the sum of R is at most paid; released ever <= 0.9 burned ever; no coalition gains.

use cocoon_market::{Amount, AmountError};

use super::auction::Rate;
use super::emission::{Emission, EmissionError};
use super::portion;

/// Of what was burned, the most that is paid as rewards, in basis points.
pub const REWARD_BPS: u32 = 9_000;

/// What came of an epoch's fees once their lot was sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burn {
    /// The network's fees of the epoch, in TON.
    pub fees: Amount,
    /// The part of them that was auctioned, in TON.
    pub lot: Amount,
    /// What that part fetched, in COCOON, and was burned: [`Auction::paid_for`](super::auction::Auction::paid_for).
    pub burned: Amount,
}

/// Claims of one epoch's rewards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    burn: Burn,
    /// What the epoch's lot is worth at most.
    valued: Amount,
    /// Fees that were claimed for.
    claimed: Amount,
    /// Sum of all b.
    registered: Amount,
}

/// An epoch's rewards, ready to be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payout {
    paid: Amount,
    registered: Amount,
}

/// The reserve and what was ever burned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    emission: Emission,
    burned: Amount,
}

/// Why a claim is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RewardError {
    /// More fees than the epoch had, or than are left to claim for.
    #[error("{asked} of fees are claimed for, and {left} are left")]
    Fees {
        /// What is claimed for.
        asked: Amount,
        /// What is left.
        left: Amount,
    },
    /// The reserve.
    #[error(transparent)]
    Emission(#[from] EmissionError),
    /// A product beyond all money.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

impl Claims {
    /// Opens the claims of an epoch whose lot was sold. `median` is that of the last auctions: fees are never valued above it, so that
    /// nobody gains by what somebody else overpaid.
    ///
    /// # Errors
    /// [`AmountError::Overflow`].
    pub fn open(burn: Burn, median: Rate) -> Result<Self, AmountError> {
        let valued = median.value(burn.lot)?.min(burn.burned);
        Ok(Self { burn, valued, claimed: Amount::ZERO, registered: Amount::ZERO })
    }

    /// Registers a claim over so much of the epoch's fees, and returns its b. That they were paid, and are claimed for once, is for the
    /// contract to know.
    ///
    /// # Errors
    /// [`RewardError::Fees`], and nothing changed.
    pub fn register(&mut self, fees: Amount) -> Result<Amount, RewardError> {
        let left = self.burn.fees.saturating_sub(self.claimed);
        if fees > left {
            return Err(RewardError::Fees { asked: fees, left });
        }
        let part = if self.burn.fees.is_zero() { Amount::ZERO } else { portion(self.valued, fees.nano(), self.burn.fees.nano())? };
        let registered = self.registered.checked_add(part)?;
        self.claimed = self.claimed.checked_add(fees)?;
        self.registered = registered;
        Ok(part)
    }
}

impl Payout {
    /// What a claim with this b is paid.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] for what was never registered.
    pub fn of(&self, part: Amount) -> Result<Amount, AmountError> {
        if self.registered.is_zero() { Ok(Amount::ZERO) } else { portion(self.paid, part.nano(), self.registered.nano()) }
    }

    /// What all of them are paid together, at most.
    pub const fn paid(&self) -> Amount {
        self.paid
    }
}

impl Pool {
    /// A pool that has released nothing, of a reserve's emission.
    pub const fn new(emission: Emission) -> Self {
        Self { emission, burned: Amount::ZERO }
    }

    /// The reserve's emission.
    pub const fn emission(&self) -> &Emission {
        &self.emission
    }

    /// Enters what an auction burned.
    ///
    /// # Errors
    /// [`AmountError::Overflow`].
    pub fn burn(&mut self, burned: Amount) -> Result<(), AmountError> {
        self.burned = self.burned.checked_add(burned)?;
        Ok(())
    }

    /// Closes an epoch: decides what its claims are paid, and opens the next.
    ///
    /// # Errors
    /// [`RewardError`], and nothing changed.
    pub fn close(&mut self, claims: &Claims) -> Result<Payout, RewardError> {
        let (of_all_burned, _) = self.burned.split_bps(REWARD_BPS)?;
        let (of_claims, _) = claims.registered.split_bps(REWARD_BPS)?;
        let headroom = of_all_burned.saturating_sub(self.emission.released());
        let paid = of_claims.min(self.emission.budget()?).min(headroom);
        self.emission.close(paid)?;
        Ok(Payout { paid, registered: claims.registered })
    }
}

#[cfg(test)]
mod tests {
    use cocoon_market::amount::NANO;
    use proptest::prelude::*;

    use super::super::auction::{Auction, Recorded};
    use super::super::emission::Schedule;
    use super::*;

    fn nano(nano: u128) -> Amount {
        Amount::from_nano(nano)
    }

    fn ton(ton: u128) -> Amount {
        nano(ton * NANO)
    }

    fn rate(cocoon: u128) -> Rate {
        Rate::new(ton(cocoon)).unwrap()
    }

    fn pool() -> Pool {
        Pool::new(Emission::new(Schedule::NETWORK))
    }

    /// An epoch with a network fee of 100 TON, whose lot of 70 fetched so much.
    fn epoch(burned: u128) -> Burn {
        Burn { fees: ton(100), lot: ton(70), burned: ton(burned) }
    }

    #[test]
    fn a_reward_is_nine_tenths_of_what_its_fees_burned() {
        let (mut pool, burn) = (pool(), epoch(3_500));
        pool.burn(burn.burned).unwrap();
        let mut claims = Claims::open(burn, rate(50)).unwrap();
        let part = claims.register(ton(10)).unwrap();
        assert_eq!(part, ton(350));
        let payout = pool.close(&claims).unwrap();
        assert_eq!((payout.of(part).unwrap(), payout.paid()), (ton(315), ton(315)));
        assert_eq!(pool.emission().released(), ton(315), "what nobody claimed for stays in the reserve");
    }

    #[test]
    fn what_was_overpaid_is_not_valued() {
        let part = |burned, median| Claims::open(epoch(burned), rate(median)).unwrap().register(ton(100)).unwrap();
        assert_eq!([part(3_500, 50), part(14_000, 50), part(3_500, 200)], [ton(3_500); 3]);
    }

    #[test]
    fn fees_are_claimed_for_once() {
        let mut claims = Claims::open(epoch(3_500), rate(50)).unwrap();
        assert_eq!(claims.register(ton(101)), Err(RewardError::Fees { asked: ton(101), left: ton(100) }));
        claims.register(ton(60)).unwrap();
        assert_eq!(claims.register(ton(41)), Err(RewardError::Fees { asked: ton(41), left: ton(40) }));
        claims.register(ton(40)).unwrap();
        let mut none = Claims::open(Burn { fees: Amount::ZERO, lot: Amount::ZERO, burned: Amount::ZERO }, rate(50)).unwrap();
        assert_eq!(none.register(Amount::ZERO), Ok(Amount::ZERO));
        assert_eq!(pool().close(&none).unwrap().of(ton(1)).unwrap(), Amount::ZERO);
    }

    /// One hotspot bought data credits for 145 dollars and earned HNT for about 21,000, because a fixed pot was shared by whoever was there.
    #[test]
    fn who_is_alone_in_an_epoch_gets_no_more_than_it_burned() {
        let mut pool = pool();
        let burn = Burn { fees: nano(207_142_857_143), lot: ton(145), burned: ton(145) };
        pool.burn(burn.burned).unwrap();
        let budget = pool.emission().budget().unwrap();
        assert!(budget > ton(145 * 1_000), "the pot is a thousand times larger");
        let mut claims = Claims::open(burn, rate(1)).unwrap();
        let part = claims.register(burn.fees).unwrap();
        assert_eq!(pool.close(&claims).unwrap().of(part).unwrap(), nano(130_500_000_000), "0.9x, where it was 145x");
    }

    #[test]
    fn more_than_the_epoch_may_pay_is_shared() {
        let mut pool = Pool::new(Emission::new(Schedule::new(ton(2_000), 10).unwrap()));
        let burn = epoch(3_500);
        pool.burn(burn.burned).unwrap();
        let mut claims = Claims::open(burn, rate(50)).unwrap();
        let (one, three) = (claims.register(ton(25)).unwrap(), claims.register(ton(75)).unwrap());
        let payout = pool.close(&claims).unwrap();
        assert_eq!((payout.of(one).unwrap(), payout.of(three).unwrap()), (ton(25), ton(75)), "of 100");
    }

    #[test]
    fn no_more_is_ever_released_than_nine_tenths_of_what_was_ever_burned() {
        let mut pool = pool();
        pool.burn(ton(1_000)).unwrap();
        let mut claims = Claims::open(epoch(3_500), rate(50)).unwrap();
        claims.register(ton(100)).unwrap();
        assert_eq!(pool.close(&claims).unwrap().paid(), ton(900), "whatever an epoch's account says");
        assert_eq!(pool.close(&claims).unwrap().paid(), Amount::ZERO);
    }

    proptest! {
        /// A coalition that pays a fee to itself, audits it, and bids in the auction of its own fees, over all it can choose: how much it
        /// washes beside how much honest work, what it bids and when, how far it pumped the recorded rates before, whether honest
        /// providers leave their rewards unclaimed, and how much earlier auctions left over. The market is `market` COCOON a TON: others
        /// buy what is left as soon as it costs that.
        #[test]
        fn no_coalition_gains(
            market in 1u128..100, washed in 1u128..10_000, honest in 0u128..10_000, unclaimed in any::<bool>(),
            bids_at in 0u64..86_400, bids_part in 0u128..=400, pumped in 0usize..20, headroom in 0u128..10_000_000, is_auditor in any::<bool>(),
            left_over in 0u128..10_000,
        ) {
            let market_rate = rate(market);
            let mut recorded = Recorded::new(market_rate);
            for _ in 0..pumped {
                let mut tiny = Auction::open(ton(1), recorded.last(), 0, 86_400);
                tiny.bid(ton(market * 1_000_000), 0).unwrap();
                recorded.push(tiny.recorded().unwrap());
            }
            // A job of J pays 95% to its provider, and of the network's 5% seven tenths are auctioned, two go to auditors, one to the treasury.
            let fee = |jobs: u128| (ton(jobs * 5), ton(jobs * 5).nano() * 7 / 10);
            let ((own_fee, own_lot), (other_fee, other_lot)) = (fee(washed), fee(honest));
            let fresh = nano(own_lot + other_lot);
            let lot = fresh.checked_add(ton(left_over)).unwrap();
            let mut auction = Auction::open(lot, recorded.last(), 0, 86_400);
            // Who waits until it is cheaper than the market comes after all others.
            let others_come = (0..86_400).step_by(60).find(|second| auction.rate(*second).unwrap().unwrap() <= market_rate);
            let at = auction.rate(bids_at).unwrap().unwrap();
            let bid = nano(lot.nano() * bids_part / 100).nano() * at.per_ton().nano() / NANO;
            let own = if at >= market_rate { auction.bid(nano(bid), bids_at).ok() } else { None };
            let to_others = others_come.map_or(Amount::ZERO, |_| market_rate.value(auction.left()).unwrap());
            let burned = auction.paid().checked_add(to_others).unwrap();
            let of_fresh = nano(burned.nano() * fresh.nano() / lot.nano());
            let burn = Burn { fees: own_fee.checked_add(other_fee).unwrap(), lot: fresh, burned: of_fresh };
            let mut pool = pool();
            pool.burn(burned.checked_add(ton(headroom)).unwrap()).unwrap();
            let mut claims = Claims::open(burn, recorded.median()).unwrap();
            let part = claims.register(own_fee).unwrap();
            if !unclaimed {
                claims.register(other_fee).unwrap();
            }
            let reward = pool.close(&claims).unwrap().of(part).unwrap().nano();

            let audited = if is_auditor { own_fee.nano() / 5 } else { 0 };
            let bought = own.map_or(0, |fill| fill.bought.nano());
            let paid = own.map_or(0, |fill| fill.burned.nano());
            // All in nano-COCOON at the market's rate. The reward is at most 0.9 of what its own fees burned.
            let worth = |nano_ton: u128| nano_ton * market;
            let gains = worth(audited + bought) + reward;
            let costs = worth(own_fee.nano()) + paid;
            prop_assert!(gains < costs, "{gains} for {costs}");
        }
    }
}
