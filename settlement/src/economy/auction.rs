//! What burned fees fetch: a lot of TON is offered for COCOON at a rate that falls until somebody takes it. What is paid is burned.
//!
//! ```text
//! start  = 4 x reference          the last rate that was recorded
//! end    = reference / 4
//! rate   halves four times over the auction's duration, evenly in between
//! ```
//!
//! Every bid is filled at once at the rate of its moment: who waits pays less and may get nothing. A bid that would get nothing is
//! refused; one that asks for more than there is gets what there is and the rest of its money back. A lot that is not sold joins the
//! next one.
//!
//! The *recorded* rate moves at most a tenth from one auction to the next, so that nobody moves it far by overbidding once; when nothing
//! was sold it moves down by a tenth, and when nothing was on offer it stays. Rewards are valued by the median of the last seven.
//!
//! Invariants, each a property test: the rate never rises within an auction; what is sold and left is the lot; what is paid buys no more
//! than its rate says; the recorded rate stays within a tenth.

use cocoon_market::amount::NANO;
use cocoon_market::{Amount, AmountError};

use super::{halved, portion};

/// How often the rate halves within an auction: from four times the reference to a quarter of it.
const HALVINGS: u32 = 4;

/// How far above the reference an auction starts.
const START_FACTOR: u64 = 4;

/// The least that can be bid, so that each bid is worth its transaction.
pub const BID_MIN: Amount = Amount::from_nano(NANO / 10);

/// Auctions whose median counts.
pub const RECORDED: usize = 7;

/// What part the recorded rate may move from one auction to the next.
const STEP_PART: u128 = 10;

/// COCOON for one whole TON, in nano-units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(Amount);

/// One auction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auction {
    lot: Amount,
    reference: Rate,
    opened_s: u64,
    duration_s: u32,
    sold: Amount,
    paid: Amount,
}

/// What a bid got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// TON for the bidder.
    pub bought: Amount,
    /// COCOON to be burned.
    pub burned: Amount,
    /// COCOON that goes back, since there was no more to buy.
    pub change: Amount,
}

/// Why a bid gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BidError {
    /// It was over by then, or not begun.
    #[error("the auction is not open")]
    NotOpen,
    /// Below [`BID_MIN`], or it buys nothing at this rate.
    #[error("{bid} is too little")]
    TooLittle {
        /// What was bid.
        bid: Amount,
    },
    /// All was sold.
    #[error("all was sold")]
    SoldOut,
    /// A product beyond all money.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

impl Rate {
    /// So many nano-units of COCOON for a whole TON; `None` when that is nothing.
    pub const fn new(cocoon: Amount) -> Option<Self> {
        if cocoon.is_zero() { None } else { Some(Self(cocoon)) }
    }

    /// COCOON for a whole TON.
    pub const fn per_ton(self) -> Amount {
        self.0
    }

    /// What so much TON is worth, rounded down.
    ///
    /// # Errors
    /// [`AmountError::Overflow`].
    pub fn value(self, ton: Amount) -> Result<Amount, AmountError> {
        portion(ton, self.0.nano(), NANO)
    }

    /// What so much COCOON buys, rounded down.
    fn buys(self, cocoon: Amount) -> Result<Amount, AmountError> {
        portion(cocoon, NANO, self.0.nano())
    }

    /// What so much TON costs, rounded up.
    fn cost(self, ton: Amount) -> Result<Amount, AmountError> {
        let product = ton.nano().checked_mul(self.0.nano()).ok_or(AmountError::Overflow)?;
        Ok(Amount::from_nano(product.div_ceil(NANO)))
    }

    /// What is recorded after an auction that cleared at `cleared`, or sold nothing.
    fn next(self, cleared: Option<Self>) -> Self {
        let step = Amount::from_nano(self.0.nano().checked_div(STEP_PART).unwrap_or(0));
        let (low, high) = (self.0.saturating_sub(step), self.0.checked_add(step).unwrap_or(Amount::MAX));
        Self(cleared.map_or(low, |cleared| cleared.0.clamp(low, high)))
    }
}

impl Auction {
    /// Opens an auction of a lot.
    pub const fn open(lot: Amount, reference: Rate, opened_s: u64, duration_s: u32) -> Self {
        Self { lot, reference, opened_s, duration_s, sold: Amount::ZERO, paid: Amount::ZERO }
    }

    /// What is left of the lot.
    pub fn left(&self) -> Amount {
        self.lot.saturating_sub(self.sold)
    }

    /// What was paid, all of it to be burned.
    pub const fn paid(&self) -> Amount {
        self.paid
    }

    /// The rate at a moment; `None` when the auction is not open.
    ///
    /// # Errors
    /// [`AmountError::Overflow`].
    pub fn rate(&self, now_s: u64) -> Result<Option<Rate>, AmountError> {
        let Some(passed) = now_s.checked_sub(self.opened_s).filter(|passed| *passed < u64::from(self.duration_s)) else { return Ok(None) };
        let (passed, whole) = (u128::from(passed).saturating_mul(HALVINGS.into()), u128::from(self.duration_s));
        let halvings = passed.checked_div(whole).and_then(|halvings| u32::try_from(halvings).ok()).unwrap_or(HALVINGS);
        let high = halved(self.reference.0.checked_mul(START_FACTOR)?, halvings);
        // Halfway down within each halving.
        let within = passed.checked_rem(whole).unwrap_or(0);
        let fallen = portion(high, within, whole.saturating_mul(2))?;
        Ok(Rate::new(high.saturating_sub(fallen).max(Amount::from_nano(1))))
    }

    /// Fills a bid.
    ///
    /// # Errors
    /// [`BidError`], and nothing changed.
    pub fn bid(&mut self, cocoon: Amount, now_s: u64) -> Result<Fill, BidError> {
        let rate = self.rate(now_s)?.ok_or(BidError::NotOpen)?;
        let left = self.left();
        if left.is_zero() {
            return Err(BidError::SoldOut);
        }
        let wanted = rate.buys(cocoon)?;
        if cocoon < BID_MIN || wanted.is_zero() {
            return Err(BidError::TooLittle { bid: cocoon });
        }
        let (bought, burned) = if wanted <= left { (wanted, cocoon) } else { (left, rate.cost(left)?.min(cocoon)) };
        self.sold = self.sold.checked_add(bought)?;
        self.paid = self.paid.checked_add(burned)?;
        Ok(Fill { bought, burned, change: cocoon.checked_sub(burned)? })
    }

    /// Whether nothing more can be sold.
    pub fn is_over(&self, now_s: u64) -> bool {
        self.left().is_zero() || now_s >= self.opened_s.saturating_add(self.duration_s.into())
    }

    /// What was paid for a part of the lot. The rest was left over from earlier auctions, and what it fetches rewards nobody: whoever paid
    /// those fees had its time to claim for them.
    ///
    /// # Errors
    /// [`AmountError::Overflow`].
    pub fn paid_for(&self, part: Amount) -> Result<Amount, AmountError> {
        if self.lot.is_zero() { Ok(Amount::ZERO) } else { portion(self.paid, part.min(self.lot).nano(), self.lot.nano()) }
    }

    /// What is recorded once it is over. Where nothing was on offer, nothing is said of the rate.
    ///
    /// # Errors
    /// [`AmountError::Overflow`].
    pub fn recorded(&self) -> Result<Rate, AmountError> {
        if self.lot.is_zero() {
            return Ok(self.reference);
        }
        let cleared = if self.sold.is_zero() { None } else { Rate::new(portion(self.paid, NANO, self.sold.nano())?) };
        Ok(self.reference.next(cleared))
    }
}

/// The recorded rates of the last [`RECORDED`] auctions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded(pub(crate) [Rate; RECORDED]);

impl Recorded {
    /// As if every auction so far had cleared at the opening auction's rate.
    pub const fn new(opening: Rate) -> Self {
        Self([opening; RECORDED])
    }

    /// Those of earlier auctions, in COCOON for a whole TON, the newest last; `None` when one is nothing.
    pub(crate) fn of(rates: [Amount; RECORDED]) -> Option<Self> {
        rates.iter().all(|rate| !rate.is_zero()).then(|| Self(rates.map(Rate)))
    }

    /// The last one: the next auction's reference.
    pub const fn last(&self) -> Rate {
        let [.., last] = self.0;
        last
    }

    /// What rewards are valued at.
    pub fn median(&self) -> Rate {
        let mut sorted = self.0;
        sorted.sort_unstable();
        let [_, _, _, median, ..] = sorted;
        median
    }

    /// Adds an auction that is over.
    pub const fn push(&mut self, rate: Rate) {
        let [_, b, c, d, e, f, g] = self.0;
        self.0 = [b, c, d, e, f, g, rate];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_S: u32 = 86_400;

    fn nano(nano: u128) -> Amount {
        Amount::from_nano(nano)
    }

    fn rate(cocoon: u128) -> Rate {
        Rate::new(nano(cocoon * NANO)).unwrap()
    }

    fn auction() -> Auction {
        Auction::open(nano(100 * NANO), rate(50), 1_000, DAY_S)
    }

    #[test]
    fn the_rate_falls_from_four_times_the_reference_to_a_quarter() {
        let auction = auction();
        let at = |part: u64| auction.rate(1_000 + u64::from(DAY_S) * part / 8).unwrap().map(|rate| rate.per_ton().nano() / NANO);
        assert_eq!(
            (0..=8).map(at).collect::<Vec<_>>(),
            [200, 150, 100, 75, 50, 37, 25, 18].map(Some).into_iter().chain([None]).collect::<Vec<_>>()
        );
        assert_eq!(auction.rate(999).unwrap(), None);
    }

    #[test]
    fn a_bid_gets_what_its_rate_says_and_the_last_one_its_change() {
        let mut auction = auction();
        let middle = 1_000 + u64::from(DAY_S) / 2;
        let first = auction.bid(nano(1_000 * NANO), middle).unwrap();
        assert_eq!(first, Fill { bought: nano(20 * NANO), burned: nano(1_000 * NANO), change: Amount::ZERO });
        let last = auction.bid(nano(9_000 * NANO), middle).unwrap();
        assert_eq!(last, Fill { bought: nano(80 * NANO), burned: nano(4_000 * NANO), change: nano(5_000 * NANO) });
        assert!(auction.is_over(middle) && auction.paid() == nano(5_000 * NANO));
        assert_eq!(auction.bid(nano(NANO), middle), Err(BidError::SoldOut));
        assert_eq!(auction.recorded().unwrap(), rate(50));
    }

    #[test]
    fn a_bid_in_the_last_second_pays_the_least_and_one_after_it_is_late() {
        let mut auction = auction();
        let end = 1_000 + u64::from(DAY_S);
        assert!(!auction.is_over(end - 1) && auction.is_over(end));
        assert_eq!(auction.bid(nano(NANO), end), Err(BidError::NotOpen));
        assert_eq!(auction.bid(nano(NANO), 999), Err(BidError::NotOpen));
        let fill = auction.bid(nano(10_000 * NANO), end - 1).unwrap();
        assert_eq!(fill.bought, nano(100 * NANO));
        assert!(fill.burned.nano() / NANO == 1_250, "12.5 COCOON a TON");
        assert!(auction.is_over(end - 1), "all is sold");
    }

    #[test]
    fn dust_is_refused() {
        let mut auction = auction();
        let little = nano(99_999_999);
        assert_eq!(auction.bid(little, 1_000), Err(BidError::TooLittle { bid: little }));
        assert_eq!(auction.left(), nano(100 * NANO));
        assert!(auction.bid(nano(100_000_000), 1_000).is_ok());
        let dear = Auction::open(nano(NANO), Rate::new(nano(u128::from(u64::MAX) * NANO)).unwrap(), 0, DAY_S).bid(BID_MIN, 0);
        assert_eq!(dear, Err(BidError::TooLittle { bid: BID_MIN }), "it buys not even a nano-unit");
    }

    #[test]
    fn what_is_recorded_moves_at_most_a_tenth() {
        let sold_at = |part: u64| {
            let mut auction = auction();
            auction.bid(nano(100_000 * NANO), 1_000 + u64::from(DAY_S) * part / 64).unwrap();
            auction.recorded().unwrap()
        };
        assert_eq!(sold_at(0), rate(55), "however much is overbid");
        assert_eq!(sold_at(32), rate(50));
        assert_eq!(sold_at(63), rate(45));
        assert_eq!(auction().recorded().unwrap(), rate(45), "nothing was sold");
        let mut tiny = Rate::new(nano(5)).unwrap();
        for _ in 0..9 {
            tiny = tiny.next(None);
        }
        assert_eq!(tiny.per_ton(), nano(5), "it never falls to nothing");
    }

    #[test]
    fn only_a_part_is_paid_for_and_nothing_on_offer_says_nothing() {
        let mut auction = auction();
        auction.bid(nano(1_000 * NANO), 1_000 + u64::from(DAY_S) / 2).unwrap();
        let paid_for = |part: u128| auction.paid_for(nano(part * NANO)).unwrap();
        assert_eq!([0, 7, 100, 101].map(paid_for), [0, 70, 1_000, 1_000].map(|cocoon: u128| nano(cocoon * NANO)));
        let empty = Auction::open(Amount::ZERO, rate(50), 0, DAY_S);
        assert_eq!((empty.recorded().unwrap(), empty.paid_for(nano(1)).unwrap()), (rate(50), Amount::ZERO));
    }

    #[test]
    fn the_median_follows_after_four_auctions() {
        let mut recorded = Recorded::new(rate(50));
        let medians: Vec<_> = (0..5)
            .map(|_| {
                recorded.push(rate(55));
                recorded.median() == rate(55)
            })
            .collect();
        assert_eq!(medians, [false, false, false, true, true]);
        recorded.push(rate(60));
        assert_eq!((recorded.last(), recorded.median()), (rate(60), rate(55)));
        assert_eq!(rate(55).value(nano(NANO / 2)).unwrap(), nano(55 * NANO / 2));
    }

    proptest! {
        /// Whoever bids whatever whenever: the lot is sold once, at falling rates, and no nano-unit is lost.
        #[test]
        fn the_lot_is_sold_once_and_every_bid_is_accounted_for(
            lot in 1u128..1_000_000 * NANO, reference in 1u128..1_000_000 * NANO, bids in proptest::collection::vec((any::<u64>(), 0u64..5_000), 1..40),
        ) {
            let mut auction = Auction::open(nano(lot), Rate::new(nano(reference)).unwrap(), 0, DAY_S);
            let (mut now_s, mut bought, mut burned, mut before) = (0, 0, 0, None::<Rate>);
            for (bid, pause_s) in bids {
                now_s += pause_s;
                let rate = auction.rate(now_s).unwrap();
                prop_assert!(before.is_none() || rate <= before);
                before = rate;
                if let Ok(fill) = auction.bid(nano(bid.into()), now_s) {
                    prop_assert_eq!(fill.burned.nano() + fill.change.nano(), u128::from(bid));
                    prop_assert!(rate.unwrap().value(fill.bought).unwrap() <= fill.burned, "no cheaper than its rate");
                    bought += fill.bought.nano();
                    burned += fill.burned.nano();
                }
                prop_assert_eq!(bought + auction.left().nano(), lot);
                prop_assert_eq!(auction.paid().nano(), burned);
            }
            let recorded = auction.recorded().unwrap().per_ton().nano();
            prop_assert!(recorded.abs_diff(reference) <= reference / 10);
        }
    }
}
