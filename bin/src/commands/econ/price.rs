//! `swarm econ price`: where the reference price of a class of work goes.

use std::borrow::Cow;

use cocoon_market::{Amount, AmountError};
use cocoon_settlement::chain::{Address, Bounce, Chain};
use cocoon_settlement::contract::ProviderData;
use cocoon_settlement::economy::parameter::Parameter;
use cocoon_settlement::economy::price::Curve;
use cocoon_settlement::settler::NetworkError;
use serde::Serialize;

use super::beyond;
use crate::commands::looking::{Look, own_terms};
use crate::config::Config;
use crate::context::Context;
use crate::failure::{Exit, Failure, NextStep};
use crate::output::{Table, ton_text};

/// The curve's own bounds, in nano-units: prices of a unit of work lie far within.
const PRICE_MIN: Amount = Amount::from_nano(1);
const PRICE_MAX: Amount = Amount::from_nano(1_000_000_000_000_000);

/// Why there is no price.
#[derive(Debug, thiserror::Error)]
enum PriceError {
    #[error("{} is no provider's contract", .0.friendly(Bounce::Yes))]
    NoProvider(Address),
    #[error("no collateral stood behind work in the last epoch of these providers")]
    NothingBacked,
    #[error("the registry's step and target are outside of the curve's bounds")]
    Curve,
    #[error("a price is more than nothing, and at most {}", ton_text(PRICE_MAX))]
    Price,
}

impl NextStep for PriceError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::NoProvider(_) | Self::NothingBacked => "--utilisation PERCENT, to see where the price would go".into(),
            Self::Curve => "another build of this program: this one has other bounds than the registry".into(),
            Self::Price => "swarm econ price 0.5".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Price => Exit::Usage,
            Self::NoProvider(_) | Self::NothingBacked | Self::Curve => Exit::Failed,
        }
    }
}

/// Work that was paid, and what could have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    paid: u64,
    backed: u64,
}

/// The price's way.
#[derive(Debug, Serialize)]
struct Course {
    /// Of what stood behind collateral, how much was paid, in basis points.
    utilisation_bps: u64,
    /// In parts of 65,536.
    step: u64,
    target: u64,
    prices_nanoton: Vec<Amount>,
}

/// Runs it.
pub(super) fn run(context: &Context, price: Amount, utilisation: Option<u16>, providers: &[Address], epochs: u16) -> Result<(), Failure> {
    if price.is_zero() || price > PRICE_MAX {
        return Err(PriceError::Price.into());
    }
    let config = context.config()?;
    let Look { chain, network } = Look::open(&config)?;
    let registry = network.registry(&*chain)?.data;
    let used = match utilisation {
        Some(percent) => Used { paid: percent.into(), backed: 100 },
        None if providers.is_empty() => recorded(&*chain, &[own(context, &config)?])?,
        None => recorded(&*chain, providers)?,
    };
    let (step, target) = (registry.value(Parameter::CurveStep), registry.value(Parameter::CurveTarget));
    let curve = curve(step, target).ok_or(PriceError::Curve)?;
    let prices_nanoton = follow(&curve, price, used, epochs).map_err(beyond)?;
    let utilisation_bps = used.paid.saturating_mul(10_000).checked_div(used.backed).unwrap_or(0);
    context.out().result(&Course { utilisation_bps, step, target, prices_nanoton }, Course::text);
    Ok(())
}

fn curve(step: u64, target: u64) -> Option<Curve> {
    Curve::new(u32::try_from(step).ok()?, u32::try_from(target).ok()?, PRICE_MIN, PRICE_MAX)
}

fn own(context: &Context, config: &Config) -> Result<Address, Failure> {
    Ok(Address::from(own_terms(context, config)?.address().map_err(NetworkError::from)?))
}

/// What the last epochs of these contracts recorded, together.
fn recorded(chain: &dyn Chain, providers: &[Address]) -> Result<Used, Failure> {
    let (mut paid, mut backed) = (Amount::ZERO, Amount::ZERO);
    for at in providers {
        let data = chain.account(at)?.data;
        let closed = data.and_then(|data| ProviderData::from_cell(&data).ok()).ok_or(PriceError::NoProvider(*at))?.closed;
        paid = paid.checked_add(closed.paid).map_err(beyond)?;
        backed = backed.checked_add(closed.backed).map_err(beyond)?;
    }
    let nano = |amount: Amount| u64::try_from(amount.nano()).unwrap_or(u64::MAX);
    if backed.is_zero() { Err(PriceError::NothingBacked.into()) } else { Ok(Used { paid: nano(paid), backed: nano(backed) }) }
}

/// The price now and after each of so many epochs like this one.
fn follow(curve: &Curve, price: Amount, used: Used, epochs: u16) -> Result<Vec<Amount>, AmountError> {
    let mut prices = vec![price];
    let mut now = price;
    for _ in 0..epochs {
        now = curve.next(now, used.paid, used.backed)?;
        prices.push(now);
    }
    Ok(prices)
}

impl Course {
    fn text(&self) -> String {
        let percent = |bps: u64| format!("{}.{:02}%", bps / 100, bps % 100);
        let of_whole = |parts: u64| percent(parts.saturating_mul(10_000) / 65_536);
        let mut table = Table::new(["epoch", "price"]).right([0, 1]);
        for (epoch, price) in self.prices_nanoton.iter().enumerate() {
            table.row([epoch.to_string(), ton_text(*price)]);
        }
        format!(
            "{} of what stood behind collateral was paid; the price stands still at {} and moves by {} an epoch at most.\n{table}",
            percent(self.utilisation_bps),
            of_whole(self.target),
            of_whole(self.step)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_class_grows_dearer_and_an_idle_one_cheaper() {
        let usual = curve(4_096, 45_875).unwrap();
        let price = Amount::from_nano(1_000_000_000);
        let after = |paid| follow(&usual, price, Used { paid, backed: 100 }, 3).unwrap();
        assert_eq!(after(140)[1].nano(), 1_062_500_000, "a sixteenth, and no more");
        assert!(after(85).windows(2).all(|pair| pair[1] > pair[0]));
        assert!(after(0).windows(2).all(|pair| pair[1] < pair[0]));
        assert_eq!(after(0).len(), 4);
        assert!(curve(16_384, 45_875).is_none(), "a quarter is beyond all votes");
    }
}
