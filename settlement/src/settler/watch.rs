//! Looking at channels, and ordering what follows.

use std::collections::BTreeMap;

use cocoon_market::{Amount, ChannelRef, ContractAddress, SignedVoucher, Timestamp, Voucher};
use tracing::debug;

use super::carry::batch_needs;
use super::claims::{ClaimPolicy, Claimable, choose};
use super::shell::{Attempt, SettleError, Settler};
use super::stake::{ProviderView, verify_provider};
use super::verify::{ChannelView, Expected, verify_channel};
use crate::chain::confirmation::standing_of_account;
use crate::chain::{AccountState, Address, Confirmations, Standing};
use crate::contract::order::BatchedClaim;
use crate::contract::{ChannelStatus, Command};
use crate::ledger::{ChannelBook, LedgerError, Order, OrderId, Role};

impl Settler {
    /// Looks at a channel on chain, checks it against the book, and enters what was seen. More of a deposit than was seen before counts
    /// from when it lies deep enough; all else counts at once, since believing it too early loses nothing.
    ///
    /// # Errors
    /// [`SettleError::Channel`] when the account is not the channel.
    pub fn observe(&self, channel: ChannelRef) -> Result<ChannelView, SettleError> {
        let book = self.ledger.channel(channel)?;
        let account = self.chain.account(&Address::from(channel.address))?;
        let mut view = verify_channel(&account, &Expected::of_terms(&book.record().terms)?)?;
        let known = book.deposit();
        if !self.is_believed(&view, known, &account)? {
            view.sight.deposit = known.max(view.sight.drawn);
        }
        self.ledger.record_sight(channel, view.sight)?;
        Ok(view)
    }

    /// Whether the deposit that an account shows is no more than is known, or its newest transaction lies deep enough, and with it that one.
    fn is_believed(&self, view: &ChannelView, known: Amount, account: &AccountState) -> Result<bool, SettleError> {
        if view.sight.deposit <= known || self.confirmations == Confirmations::NONE {
            return Ok(true);
        }
        let standing = standing_of_account(self.chain(), &Address::from(view.channel.address), account, self.confirmations)?;
        Ok(standing == Standing::Settled)
    }

    /// Provider: looks at a channel that a requester names, checks it against what was agreed, and opens a book for it.
    ///
    /// # Errors
    /// [`SettleError::Channel`] when the account is not the channel that was agreed, [`SettleError::Unsettled`] while its deposit may go again.
    pub fn admit(&self, expected: &Expected, now: Timestamp) -> Result<ChannelView, SettleError> {
        let account = self.chain.account(&Address::from(expected.channel.address))?;
        let view = verify_channel(&account, expected)?;
        let known = match self.ledger.channel(expected.channel) {
            Ok(book) => book.deposit(),
            Err(LedgerError::UnknownChannel(_)) => Amount::ZERO,
            Err(error) => return Err(error.into()),
        };
        if !self.is_believed(&view, known, &account)? {
            return Err(SettleError::Unsettled);
        }
        self.ledger.commit(move |batch| {
            batch.record_channel(Role::Provider, view.terms, now)?;
            batch.record_sight(view.channel, view.sight)
        })??;
        Ok(view)
    }

    /// Looks at our own contract.
    ///
    /// # Errors
    /// [`SettleError::Provider`] when it is not there, or not ours; `None` when we do not provide.
    pub fn own_contract(&self) -> Result<Option<ProviderView>, SettleError> {
        let Some(terms) = self.provider() else { return Ok(None) };
        let contract = terms.address()?;
        let account = self.chain.account(&Address::from(contract))?;
        Ok(Some(verify_provider(&account, contract, self.ledger.node_id(), &terms.network)?))
    }

    /// Looks at all channels that are not closed, and orders what follows: claims by `policy`, at once where a channel is closing, and
    /// the refund of our own channels after their window. Channels that cannot be looked at are reported and do not hold up the others.
    ///
    /// # Errors
    /// [`SettleError`] when nothing could be ordered.
    pub fn watch(&self, policy: ClaimPolicy, now: Timestamp) -> Result<Vec<(ChannelRef, SettleError)>, SettleError> {
        let mut failures = Vec::new();
        let mut claimable = Vec::new();
        for book in self.ledger.channels()? {
            if book.head().sight.is_some_and(|sight| sight.status == ChannelStatus::Closed) {
                continue;
            }
            match self.watch_one(&book, now) {
                Ok(found) => claimable.extend(found),
                Err(error) => {
                    debug!(channel = %book.channel(), %error, "channel could not be looked at");
                    failures.push((book.channel(), error));
                }
            }
        }
        self.order_claims(claimable, policy, now)?;
        Ok(failures)
    }

    fn watch_one(&self, book: &ChannelBook, now: Timestamp) -> Result<Option<Claimable>, SettleError> {
        let channel = book.channel();
        let view = self.observe(channel)?;
        let is_over = |deadline_s: u32| view.sight.seen_at.unix_s() >= u64::from(deadline_s);
        match (book.record().role, view.sight.status) {
            (Role::Provider, ChannelStatus::Open) => self.claimable(channel, false),
            (Role::Provider, ChannelStatus::Closing { deadline_s }) if !is_over(deadline_s) => self.claimable(channel, true),
            (Role::Requester, ChannelStatus::Closing { deadline_s })
                if is_over(deadline_s) && !self.was_refused(channel, Attempt::Finish) =>
            {
                self.finish(channel, now)?;
                Ok(None)
            }
            (Role::Provider | Role::Requester, ChannelStatus::Open | ChannelStatus::Closing { .. } | ChannelStatus::Closed) => Ok(None),
        }
    }

    /// What a channel would pay now, unless that was refused.
    pub(super) fn claimable(&self, channel: ChannelRef, is_closing: bool) -> Result<Option<Claimable>, SettleError> {
        let book = self.ledger.channel(channel)?;
        let (Some(voucher), Some(sight)) = (book.claimable(), book.head().sight) else { return Ok(None) };
        let drawable = voucher.voucher.cumulative.min(sight.deposit).saturating_sub(sight.drawn);
        let is_out = drawable.is_zero() || self.was_refused(channel, Attempt::Claim(voucher.voucher.sequence));
        Ok((!is_out).then_some(Claimable { voucher, drawable, is_closing }))
    }

    /// Leaves out what claims under way draw.
    fn drop_under_way(&self, claimable: &mut Vec<Claimable>) -> Result<(), SettleError> {
        let mut under_way: BTreeMap<ChannelRef, Amount> = BTreeMap::new();
        for (_, record) in self.ledger.open_orders()? {
            for signed in record.order.claims() {
                let upto = under_way.entry(signed.voucher.channel).or_default();
                *upto = signed.voucher.cumulative.max(*upto);
            }
        }
        let is_under_way = |best: &Voucher| under_way.get(&best.channel).is_some_and(|upto| *upto >= best.cumulative);
        claimable.retain(|claimable| !is_under_way(&claimable.voucher.voucher));
        Ok(())
    }

    /// Orders what is due: in one batch through our contract, as far as the channels pay to it and its operations balance carries that. The
    /// rest goes one by one from the wallet, so that an empty balance costs more but loses nothing.
    fn order_claims(&self, mut claimable: Vec<Claimable>, policy: ClaimPolicy, now: Timestamp) -> Result<Vec<OrderId>, SettleError> {
        let mut orders = Vec::new();
        if claimable.is_empty() {
            return Ok(orders);
        }
        self.drop_under_way(&mut claimable)?;
        let mut vouchers = choose(claimable, policy);
        if vouchers.is_empty() {
            return Ok(orders);
        }
        if let Ok(Some(own)) = self.own_contract() {
            let (ours, others) = self.split_by_contract(vouchers, own.contract)?;
            if ours.is_empty() || own.operations() < batch_needs(ours.len())? {
                vouchers = ours.into_iter().map(|claim| claim.signed).chain(others).collect();
            } else {
                let order = Order::Operator { contract: own.contract, command: Command::Batch(ours) };
                orders.push(self.ledger.add_order(order, now)?);
                vouchers = others;
            }
        }
        for voucher in vouchers {
            orders.push(self.ledger.add_order(Order::Claim(voucher), now)?);
        }
        Ok(orders)
    }

    /// Those whose channels pay to this contract, ready for a batch, and the others: of a contract that we had before.
    fn split_by_contract(
        &self,
        vouchers: Vec<SignedVoucher>,
        contract: ContractAddress,
    ) -> Result<(Vec<BatchedClaim>, Vec<SignedVoucher>), SettleError> {
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        for signed in vouchers {
            let terms = self.ledger.channel(signed.voucher.channel)?.record().terms;
            if terms.contract == contract {
                ours.push(BatchedClaim::new(signed, &terms)?);
            } else {
                others.push(signed);
            }
        }
        Ok((ours, others))
    }

    /// Orders the best voucher of a channel to be drawn, unless that is under way or would draw nothing.
    ///
    /// # Errors
    /// [`SettleError`].
    pub fn claim(&self, channel: ChannelRef, now: Timestamp) -> Result<Option<OrderId>, SettleError> {
        let found = self.claimable(channel, true)?;
        Ok(self.order_claims(found.into_iter().collect(), ClaimPolicy::EVERYTHING, now)?.first().copied())
    }
}
