//! What 60 epochs of a day could release at most.

use cocoon_market::Amount;
use cocoon_settlement::economy::auction::Rate;
use cocoon_settlement::economy::emission::{Emission, Schedule};
use cocoon_settlement::economy::genesis;
use cocoon_settlement::economy::reward::{Burn, Claims, Payout, Pool};
use cocoon_settlement::economy::vesting::Vesting;

use crate::stage::{COCOON, DAY_S, tons};

/// So soon that the calendar keeps nobody waiting.
const HALF_LIFE: u32 = 1;

/// Everything that circulates at the start is there on the first day, though stakers' shares vest; whoever has COCOON burns all of it each
/// day, at no more than it is valued at; all is claimed for, paid as soon as contracts can, taken as it vests, and burned again.
pub(crate) fn released_at_most(days: u32) -> Amount {
    let market = Rate::new(Amount::from_nano(50 * COCOON)).unwrap();
    let mut pool = Pool::new(Emission::new(Schedule::new(genesis::RESERVE, HALF_LIFE).unwrap()));
    let mut held = Amount::sum([genesis::STAKERS, genesis::OPENING]).unwrap();
    let (mut vesting, mut open, mut payable) = (Vesting::default(), None::<Claims>, Amount::ZERO);
    for day in 0..days {
        let now_s = day * DAY_S;
        vesting.reward(std::mem::take(&mut payable), now_s).unwrap();
        held = Amount::sum([held, vesting.take(now_s).unwrap()]).unwrap();
        // A day's lot is claimed for on the next day, and paid on the day after.
        payable = open.take().map_or(Amount::ZERO, |claims| pool.close(&claims).as_ref().map(Payout::paid).unwrap());
        let burned = std::mem::take(&mut held);
        pool.burn(burned).unwrap();
        let fees = tons(1_000_000_000);
        let mut claims = Claims::open(Burn { fees, lot: fees, burned }, market).unwrap();
        claims.register(fees).unwrap();
        open = Some(claims);
    }
    pool.emission().released()
}
