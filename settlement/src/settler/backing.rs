//! How much collateral must stand behind what a provider agreed to, and when its contract is told so.

use std::collections::BTreeMap;

use cocoon_market::amount::BPS_WHOLE;
use cocoon_market::{Amount, AmountError, ChannelRef, Timestamp};

use super::shell::{SettleError, Settler};
use super::stake::ProviderView;
use crate::contract::{ChannelStatus, Command};
use crate::economy::collateral::{Gains, required};
use crate::ledger::{ChannelBook, LedgerError, OpenAgreement, Order, OrderId, Role};

/// Agreements of a provider that may be open at once. Each ends within a day, and all are looked through each time that anything changes.
pub const OPEN_AGREEMENTS_MAX: usize = 4_096;

/// How much of the work is audited, in basis points. What is not audited by others is judged by its requester, who sees all of it: the
/// most there can be, so that this is the least that the rule ever asks for.
const AUDITED_BPS: u32 = BPS_WHOLE;

/// Collateral is allocated in so many parts, each of which costs one order to the contract.
const PARTS: u64 = 8;

/// What stands behind a provider's work, and what it must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backing {
    /// The collateral that is not being released.
    pub standing: Amount,
    /// What the open agreements need of it.
    pub open: Amount,
    /// What they need together with another one.
    pub needed: Amount,
}

impl Settler {
    /// What stands behind our work, and what the agreements that are open need with another one under which so much is at risk. `None` when we do not provide,
    /// or have more open agreements than we may.
    ///
    /// # Errors
    /// [`SettleError::Provider`] when our contract is not there; [`SettleError::Chain`], [`SettleError::Ledger`], [`SettleError::Amount`].
    pub fn backing_with(&self, at_risk: Amount, now: Timestamp) -> Result<Option<Backing>, SettleError> {
        let Some(view) = self.own_contract()? else { return Ok(None) };
        let open = self.ledger.open_agreements(now, OPEN_AGREEMENTS_MAX)?;
        if open.len() >= OPEN_AGREEMENTS_MAX {
            return Ok(None);
        }
        let gains = self.gains(&open)?;
        // A peer has its say in what is at risk: what is beyond all money nothing carries.
        let needed = gains.with(at_risk).and_then(|gains| required(gains, AUDITED_BPS)).unwrap_or(Amount::MAX);
        Ok(Some(Backing { standing: view.data.stake.standing(), open: required(gains, AUDITED_BPS)?, needed }))
    }

    /// What our contract should be told to allocate for the agreements that are open; `None` when it is told well enough.
    ///
    /// # Errors
    /// [`SettleError::Ledger`], [`SettleError::Amount`].
    pub fn allocation(&self, view: &ProviderView, now: Timestamp) -> Result<Option<Amount>, SettleError> {
        let open = self.ledger.open_agreements(now, OPEN_AGREEMENTS_MAX)?;
        let needed = required(self.gains(&open)?, AUDITED_BPS)?;
        let stake = view.data.stake;
        Ok(next_allocation(stake.standing(), stake.allocated, needed)?)
    }

    /// Orders the [allocation](Self::allocation), unless one is ordered already.
    ///
    /// # Errors
    /// [`SettleError::Ledger`], [`SettleError::Amount`].
    pub fn allocate(&self, view: &ProviderView, now: Timestamp) -> Result<Option<OrderId>, SettleError> {
        let contract = view.contract;
        let is_ours = |open: &Order| matches!(open, Order::Operator { contract: of, command: Command::Allocate(_) } if *of == contract);
        if self.open_order(is_ours)?.is_some() {
            return Ok(None);
        }
        let Some(amount) = self.allocation(view, now)? else { return Ok(None) };
        let order = Order::Operator { contract, command: Command::Allocate(amount) };
        Ok(Some(self.ledger.add_order(order, now)?))
    }

    /// What a cheat would gain of these agreements.
    fn gains(&self, open: &[OpenAgreement]) -> Result<Gains, SettleError> {
        let mut of_channels: BTreeMap<ChannelRef, Vec<Amount>> = BTreeMap::new();
        for agreement in open {
            of_channels.entry(agreement.channel).or_default().push(agreement.at_risk);
        }
        let mut gains = Gains::default();
        for (channel, at_risk) in of_channels {
            let most = match self.ledger.channel(channel) {
                Ok(book) => payable(&book),
                // Ours as a requester that never came to a channel.
                Err(LedgerError::UnknownChannel(_)) => Amount::ZERO,
                Err(error) => return Err(error.into()),
            };
            let of_channel = gains_of_channel(&at_risk, most)?;
            gains = Gains { sum: gains.sum.checked_add(of_channel.sum)?, largest: gains.largest.max(of_channel.largest) };
        }
        Ok(gains)
    }
}

/// The most that a channel can pay us.
fn payable(book: &ChannelBook) -> Amount {
    let is_open = book.head().sight.is_none_or(|sight| sight.status == ChannelStatus::Open);
    if book.record().role == Role::Provider && book.head().end.is_none() && is_open { book.deposit() } else { Amount::ZERO }
}

/// Agreements of one channel gain no more together than it can pay.
fn gains_of_channel(at_risk: &[Amount], most: Amount) -> Result<Gains, AmountError> {
    let mut gains = Gains::default();
    for of_one in at_risk {
        gains = gains.with((*of_one).min(most))?;
    }
    Ok(Gains { sum: gains.sum.min(most), ..gains })
}

/// What the contract is told to allocate, if it is worth telling. Raised as soon as more is needed, in whole parts of the collateral, and
/// lowered when half would do: agreements come and go, and each order costs gas.
fn next_allocation(standing: Amount, allocated: Amount, needed: Amount) -> Result<Option<Amount>, AmountError> {
    let part = standing.nano().div_ceil(PARTS.into()).max(1);
    let parts = needed.nano().div_ceil(part);
    let target = Amount::from_nano(parts.checked_mul(part).ok_or(AmountError::Overflow)?).min(standing);
    let is_worth_it = if target > allocated { needed > allocated } else { target < allocated && target.checked_mul(2)? <= allocated };
    Ok(is_worth_it.then_some(target))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nano(nano: u128) -> Amount {
        Amount::from_nano(nano)
    }

    #[test]
    fn a_channel_gains_no_more_than_it_can_pay() {
        let gains = |at_risk: &[u128], most| gains_of_channel(&at_risk.iter().copied().map(nano).collect::<Vec<_>>(), nano(most)).unwrap();
        assert_eq!(gains(&[10, 30], 100), Gains { sum: nano(40), largest: nano(30) });
        assert_eq!(gains(&[10, 30], 35), Gains { sum: nano(35), largest: nano(30) });
        assert_eq!(gains(&[10, 30], 20), Gains { sum: nano(20), largest: nano(20) });
        assert_eq!(gains(&[10, 30], 0), Gains::default());
    }

    #[test]
    fn allocation_goes_up_at_once_in_parts_and_down_when_half_would_do() {
        let next = |allocated, needed| next_allocation(nano(800), nano(allocated), nano(needed)).unwrap().map(Amount::nano);
        assert_eq!(next(0, 0), None);
        assert_eq!(next(0, 1), Some(100));
        assert_eq!(next(100, 100), None);
        assert_eq!(next(100, 101), Some(200));
        assert_eq!(next(200, 101), None);
        assert_eq!(next(200, 100), Some(100));
        assert_eq!(next(400, 201), None);
        assert_eq!(next(400, 200), Some(200));
        assert_eq!(next(100, 0), Some(0));
        assert_eq!([next(150, 101), next(150, 150), next(150, 151)], [None, None, Some(200)], "told when the collateral was another");
        assert_eq!(next(700, 5_000), Some(800), "all there is");
        assert_eq!(next(800, 5_000), None);
        assert_eq!(next_allocation(Amount::ZERO, Amount::ZERO, nano(1)), Ok(None));
    }

    proptest! {
        /// What is told is never more than stands, carries what is needed as far as anything does, and is told once.
        #[test]
        fn an_allocation_carries_what_it_can(standing in 0u128..1 << 80, share in 0u128..=1_000, needed in 0u128..1 << 80) {
            let allocated = standing * share / 1_000;
            let next = next_allocation(nano(standing), nano(allocated), nano(needed)).unwrap();
            let then = next.map_or(allocated, Amount::nano);
            prop_assert!(then <= standing);
            prop_assert!(then >= needed.min(standing));
            prop_assert_ne!(next, Some(nano(allocated)));
            prop_assert_eq!(next_allocation(nano(standing), nano(then), nano(needed)), Ok(None));
        }
    }
}
