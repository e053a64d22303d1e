//! `swarm econ reward`: what a job could earn, before it is taken.

use cocoon_market::{Amount, AmountError};
use cocoon_settlement::economy::auction::Rate;
use cocoon_settlement::economy::emission::Emission;
use cocoon_settlement::economy::genesis;
use cocoon_settlement::economy::reward::{Burn, Claims, Pool, REWARD_BPS, RewardError};
use cocoon_settlement::economy::vesting::LIQUID_BPS;
use cocoon_settlement::settler::NetworkError;
use serde::Serialize;

use super::beyond;
use crate::commands::looking::Look;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{cocoon_text, ton_text};

/// What a job's fee comes to.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Projection {
    price_nanoton: Amount,
    /// The network's part of the price, and what of that is burned.
    fee_nanoton: Amount,
    burn_nanoton: Amount,
    /// What that is worth at the median, in COCOON.
    burned_nanococoon: Amount,
    reward_nanococoon: Amount,
    /// Free at once; the rest vests over 90 days.
    free_nanococoon: Amount,
    /// What the epoch's budget leaves of nine tenths of the burn, in basis points of those.
    budget_bps: u64,
}

/// What the epoch has so far.
struct Epoch {
    fees: Amount,
    burn: Amount,
    median: Rate,
    emission: Emission,
}

/// Runs it.
pub(super) fn run(context: &Context, price: Amount) -> Result<(), Failure> {
    let Look { chain, network } = Look::open(&context.config()?)?;
    let data = &network.vault().data;
    let emission = network.rewards(&*chain)?.data.schedule().map_err(NetworkError::from)?;
    let epoch = Epoch { fees: data.epoch.fees, burn: data.burn, median: data.auction.recorded.median(), emission };
    let kept_bps = u32::from(data.auditors_bps).saturating_add(data.treasury_bps.into());
    let projection = Projection::of(price, network.terms().fee_bps, kept_bps, &epoch).map_err(beyond)?;
    context.out().result(&projection, Projection::text);
    Ok(())
}

impl Projection {
    fn of(price: Amount, fee_bps: u16, kept_bps: u32, epoch: &Epoch) -> Result<Self, AmountError> {
        let (fee, _) = price.split_bps(fee_bps.into())?;
        let (_, burn) = fee.split_bps(kept_bps)?;
        let lot = epoch.burn.checked_add(burn)?;
        let fees = epoch.fees.checked_add(fee)?;
        let (own, all) = (epoch.median.value(burn)?, epoch.median.value(lot)?);
        let reward = paid(fee, &Burn { fees, lot, burned: all }, epoch)?;
        let (most, _) = own.split_bps(REWARD_BPS)?;
        let (free, _) = reward.split_bps(LIQUID_BPS)?;
        let share = reward.nano().saturating_mul(10_000).checked_div(most.nano()).unwrap_or(10_000);
        Ok(Self {
            price_nanoton: price,
            fee_nanoton: fee,
            burn_nanoton: burn,
            burned_nanococoon: own,
            reward_nanococoon: reward,
            free_nanococoon: free,
            budget_bps: u64::try_from(share.min(10_000)).unwrap_or(10_000),
        })
    }

    fn text(&self) -> String {
        let budget = match self.budget_bps {
            9_999..=10_000 => "the epoch's budget carries it".to_owned(),
            bps => format!("the epoch's budget carries {}.{:02}% of nine tenths of that", bps / 100, bps % 100),
        };
        [
            format!("job      {}", ton_text(self.price_nanoton)),
            format!("fee      {}, of which {} is burned", ton_text(self.fee_nanoton), ton_text(self.burn_nanoton)),
            format!("burn     {} at the median of the last seven auctions", cocoon_text(self.burned_nanococoon)),
            format!(
                "reward   {} at most, {} of it at once and the rest over 90 days; {budget}",
                cocoon_text(self.reward_nanococoon),
                cocoon_text(self.free_nanococoon)
            ),
            "It takes auditors' certificates for the work, and is no promise: it hangs on what the auction fetches and on who else claims."
                .to_owned(),
        ]
        .join("\n")
    }
}

/// What the machine would pay for the fee, were all fees of the epoch claimed for and all of its lot sold at the median.
fn paid(fee: Amount, burn: &Burn, epoch: &Epoch) -> Result<Amount, AmountError> {
    let over = |error: RewardError| match error {
        RewardError::Amount(error) => error,
        RewardError::Fees { .. } | RewardError::Emission(_) => AmountError::Overflow,
    };
    let mut claims = Claims::open(*burn, epoch.median)?;
    let part = claims.register(fee).map_err(over)?;
    claims.register(burn.fees.saturating_sub(fee)).map_err(over)?;
    let mut pool = Pool::new(epoch.emission);
    // What was ever burned is never what binds here: it is at least what was released, over nine tenths.
    pool.burn(genesis::CAP)?;
    pool.close(&claims).map_err(over)?.of(part)
}

#[cfg(test)]
mod tests {
    use cocoon_settlement::economy::emission::Schedule;

    use super::*;

    fn nano(nano: u128) -> Amount {
        Amount::from_nano(nano)
    }

    fn epoch(fees: u128, burn: u128) -> Epoch {
        let median = Rate::new(nano(50_000_000_000)).unwrap();
        Epoch { fees: nano(fees), burn: nano(burn), median, emission: Emission::new(Schedule::NETWORK) }
    }

    #[test]
    fn a_job_earns_nine_tenths_of_what_its_fee_burns() {
        let projection = Projection::of(nano(1_000_000_000), 500, 3_000, &epoch(0, 0)).unwrap();
        assert_eq!((projection.fee_nanoton, projection.burn_nanoton), (nano(50_000_000), nano(35_000_000)));
        assert_eq!((projection.burned_nanococoon, projection.reward_nanococoon), (nano(1_750_000_000), nano(1_575_000_000)));
        assert_eq!((projection.free_nanococoon, projection.budget_bps), (nano(472_500_000), 10_000));
        assert!(projection.text().contains("the epoch's budget carries it"));
    }

    #[test]
    fn where_more_is_burned_than_an_epoch_may_pay_each_gets_its_part() {
        // A hundred thousand TON of fees: their 70,000 burn 3.5 million COCOON, and the first epoch has 219,178.
        let crowded = Projection::of(nano(1_000_000_000), 500, 3_000, &epoch(100_000_000_000_000, 70_000_000_000_000)).unwrap();
        assert!(crowded.reward_nanococoon < nano(110_000_000) && crowded.reward_nanococoon > nano(109_000_000), "{crowded:?}");
        assert_eq!(crowded.budget_bps, 695);
        assert!(crowded.text().contains("carries 6.95% of"));
    }

    #[test]
    fn a_job_for_nothing_earns_nothing() {
        let projection = Projection::of(Amount::ZERO, 500, 3_000, &epoch(0, 0)).unwrap();
        assert_eq!(projection.reward_nanococoon, Amount::ZERO);
    }
}
