//! The economy's machines, told what the contracts were told and nothing of what they made of it. After each epoch all numbers of both
//! must be the same, to the unit.
//!
//! What a machine is told: fees, bids and their moments; ends of epochs; which fees were claimed for; which parts were asked for. What
//! bids bought, what was burned, valued, paid and how it vests it decides by itself.

use std::collections::{BTreeMap, HashSet, VecDeque};

use cocoon_market::amount::NANO;
use cocoon_market::{Amount, ContractAddress};
use cocoon_settlement::chain::Transaction;
use cocoon_settlement::contract::{Exit, Notice, ProofBytes, ProviderData, ProviderMessage, RewardsData, VaultData};
use cocoon_settlement::economy::auction::{Auction, Fill, Rate, Recorded};
use cocoon_settlement::economy::emission::{Emission, Schedule};
use cocoon_settlement::economy::genesis;
use cocoon_settlement::economy::reward::{Burn, Claims, Payout, Pool};
use cocoon_settlement::economy::vesting::Vesting;

use crate::books::{Account, Outcome, same};
use crate::words::{Word, word};

const AUDITORS_BPS: u32 = 2_000;
const TREASURY_BPS: u32 = 1_000;
/// An epoch without a reward to collect is forgotten once it is so old.
const CLAIM_EPOCHS: u32 = 3;

fn total(amounts: impl IntoIterator<Item = Amount>) -> Amount {
    Amount::sum(amounts).unwrap()
}

fn less(from: Amount, what: Amount) -> Amount {
    from.checked_sub(what).unwrap()
}

/// Whether `part` is at most nine tenths of `whole x share / all`, by whole numbers.
fn is_within(part: Amount, whole: Amount, share: Amount, all: Amount) -> bool {
    part.nano() * all.nano() * 10 <= whole.nano() * share.nano() * 9
}

/// What an epoch came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sold {
    pub(crate) epoch: u32,
    pub(crate) burn: Burn,
    /// Of the whole lot, the rest of earlier ones included.
    pub(crate) lot: Amount,
    pub(crate) left: Amount,
    pub(crate) paid: Amount,
    pub(crate) median: Rate,
}

impl Sold {
    /// What the market paid for a TON; nothing where nothing was sold.
    pub(crate) fn price(&self) -> Option<u128> {
        (self.paid.nano() * NANO).checked_div(self.lot.nano() - self.left.nano())
    }
}

/// What the claims of an epoch came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paid {
    pub(crate) epoch: u32,
    pub(crate) paid: Amount,
    pub(crate) halvings: u32,
}

pub(crate) struct Vault {
    epoch_s: u32,
    pub(crate) number: u32,
    pub(crate) opened_s: u32,
    pub(crate) duration_s: u32,
    next_duration_s: u32,
    fees: Amount,
    burn: Amount,
    auditors: Amount,
    treasury: Amount,
    fees_cum: Amount,
    unburned: Amount,
    pub(crate) auction: Auction,
    sale_fees: Amount,
    own: Amount,
    lot: Amount,
    pub(crate) recorded: Recorded,
    under_way: VecDeque<Sold>,
}

impl Vault {
    fn new(data: &VaultData) -> Self {
        let recorded = data.auction.recorded;
        Self {
            epoch_s: data.terms.epoch_s,
            number: 0,
            opened_s: 0,
            duration_s: 0,
            next_duration_s: data.auction.next_duration_s,
            fees: Amount::ZERO,
            burn: Amount::ZERO,
            auditors: Amount::ZERO,
            treasury: Amount::ZERO,
            fees_cum: Amount::ZERO,
            unburned: Amount::ZERO,
            auction: Auction::open(Amount::ZERO, recorded.last(), 0, 0),
            sale_fees: Amount::ZERO,
            own: Amount::ZERO,
            lot: Amount::ZERO,
            recorded,
            under_way: VecDeque::new(),
        }
    }

    fn fee(&mut self, amount: Amount) {
        let part = |bps| amount.split_bps(bps).unwrap().0;
        let (auditors, treasury) = (part(AUDITORS_BPS), part(TREASURY_BPS));
        self.auditors = total([self.auditors, auditors]);
        self.treasury = total([self.treasury, treasury]);
        self.burn = less(total([self.burn, amount]), total([auditors, treasury]));
        self.fees = total([self.fees, amount]);
        self.fees_cum = total([self.fees_cum, amount]);
    }

    fn bid(&mut self, cocoon: Amount, least: u64, now_s: u32) -> Option<Fill> {
        let mut next = self.auction;
        let fill = next.bid(cocoon, now_s.into()).ok().filter(|fill| fill.bought.nano() >= least.into())?;
        self.auction = next;
        self.unburned = total([self.unburned, fill.burned]);
        Some(fill)
    }

    /// When the auction first costs no more than that, in seconds since it was opened; never, if it ends before.
    pub(crate) fn moment(&self, rate: Rate) -> Option<u32> {
        let costs_more = |passed_s: u32| self.auction.rate(u64::from(self.opened_s + passed_s)).unwrap().is_some_and(|now| now > rate);
        let (mut from, mut to) = (0, self.duration_s);
        while from < to {
            let middle = from.midpoint(to);
            (from, to) = if costs_more(middle) { (middle + 1, to) } else { (from, middle) };
        }
        (from < self.duration_s).then_some(from)
    }

    /// Closes the epoch; says how much is destroyed, and what the rewards are told.
    fn close(&mut self, now_s: u32) -> Result<(Amount, Option<Sold>), Exit> {
        if now_s < self.opened_s + self.epoch_s {
            return Err(Exit::EpochRunning);
        }
        let (left, paid) = (self.auction.left(), self.auction.paid());
        let sold = (self.number > 0).then(|| {
            self.recorded.push(self.auction.recorded().unwrap());
            let burn = Burn { fees: self.sale_fees, lot: self.own, burned: self.auction.paid_for(self.own).unwrap() };
            Sold { epoch: self.number - 1, burn, lot: self.lot, left, paid, median: self.recorded.median() }
        });
        self.under_way.extend(sold);
        self.sale_fees = std::mem::take(&mut self.fees);
        self.own = std::mem::take(&mut self.burn);
        self.lot = total([self.own, left]);
        self.duration_s = self.next_duration_s.min(self.epoch_s);
        (self.number, self.opened_s) = (self.number + 1, now_s);
        self.auction = Auction::open(self.lot, self.recorded.last(), now_s.into(), self.duration_s);
        Ok((std::mem::take(&mut self.unburned), sold))
    }

    fn compare(&self, data: &VaultData) -> Outcome<()> {
        let epoch = (data.epoch.number, data.epoch.opened_s, data.auction.duration_s, data.auction.next_duration_s);
        same("the vault's epoch", epoch, (self.number, self.opened_s, self.duration_s, self.next_duration_s))?;
        let shares = [data.burn, data.unsold, data.auditors, data.treasury, data.fees_cum, data.epoch.fees];
        let expected = [self.burn, self.auction.left(), self.auditors, self.treasury, self.fees_cum, self.fees];
        same("what the vault holds", shares, expected)?;
        let sale = [data.auction.fees, data.auction.own, data.auction.lot, data.auction.paid, data.auction.unburned];
        same("the auction", sale, [self.sale_fees, self.own, self.lot, self.auction.paid(), self.unburned])?;
        same("recorded rates", data.auction.recorded, self.recorded)
    }
}

/// A payout, and what of it nobody asked for.
struct Promised {
    payout: Payout,
    registered: Amount,
    left: Amount,
    burn: Burn,
}

/// Claims that are open.
struct Open {
    epoch: u32,
    claims: Claims,
    burn: Burn,
    claimed: Amount,
    registered: Amount,
}

pub(crate) struct Rewards {
    schedule: Schedule,
    pub(crate) pool: Pool,
    pub(crate) burned: Amount,
    owed: Amount,
    open: Option<Open>,
    payouts: BTreeMap<u32, Promised>,
}

impl Rewards {
    fn new(half_life: u32) -> Self {
        let schedule = Schedule::new(genesis::RESERVE, half_life).unwrap();
        Self {
            schedule,
            pool: Pool::new(Emission::new(schedule)),
            burned: Amount::ZERO,
            owed: Amount::ZERO,
            open: None,
            payouts: BTreeMap::new(),
        }
    }

    /// Closes what is open and opens the next.
    fn sold(&mut self, sold: &Sold) -> Outcome<Option<Paid>> {
        let paid = self.open.take().map(|open| self.close(open)).transpose()?;
        self.pool.burn(sold.paid).unwrap();
        self.burned = total([self.burned, sold.paid]);
        let claims = Claims::open(sold.burn, sold.median).unwrap();
        self.open = Some(Open { epoch: sold.epoch, claims, burn: sold.burn, claimed: Amount::ZERO, registered: Amount::ZERO });
        Ok(paid)
    }

    /// With all that is promised of it.
    fn close(&mut self, open: Open) -> Outcome<Paid> {
        let (epoch, budget, rate) = (self.pool.emission().epoch(), self.pool.emission().budget().unwrap(), self.pool.emission().rate());
        let payout = self.pool.close(&open.claims).unwrap();
        let (paid, released) = (payout.paid(), self.pool.emission().released());
        let ceiling = self.schedule.ceiling(epoch).unwrap();
        let rules = [
            ("no more is released than nine tenths of what was burned", released.nano() * 10 <= self.burned.nano() * 9),
            ("no more is released than the calendar's ceiling", released <= ceiling),
            ("the rate never rises", self.pool.emission().rate() <= rate),
            ("an epoch pays nine tenths of its own burn", paid.nano() * 10 <= open.burn.burned.nano() * 9),
            ("an epoch pays its budget", paid <= budget),
        ];
        rules
            .into_iter()
            .try_for_each(|(rule, holds)| if holds { Ok(()) } else { Err(format!("epoch {}: not so: {rule}", open.epoch)) })?;
        self.owed = total([self.owed, paid]);
        if !paid.is_zero() {
            self.payouts.insert(open.epoch, Promised { payout, registered: open.registered, left: paid, burn: open.burn });
        }
        Ok(Paid { epoch: open.epoch, paid, halvings: self.schedule.halvings(released) })
    }

    fn attested(&mut self, epoch: u32, fees: Amount, is_true: bool) -> Result<Amount, Exit> {
        let open = self.open.as_mut().filter(|open| open.epoch == epoch).ok_or(Exit::ClaimsClosed)?;
        let mut next = open.claims;
        let part = next.register(fees).map_err(|_| Exit::OverFees)?;
        if !is_true {
            return Err(Exit::BadProof);
        }
        open.claims = next;
        open.claimed = total([open.claimed, fees]);
        open.registered = total([open.registered, part]);
        Ok(part)
    }

    fn collect(&mut self, epoch: u32, part: Amount) -> Result<Amount, Exit> {
        let promised = self.payouts.get_mut(&epoch).ok_or(Exit::NoPayout)?;
        let amount = promised.payout.of(part).unwrap();
        promised.left = promised.left.checked_sub(amount).map_err(|_| Exit::NoPayout)?;
        Ok(amount)
    }

    fn compare(&self, data: &RewardsData) -> Outcome<()> {
        same("emission", data.schedule().unwrap(), *self.pool.emission())?;
        same("ceiling", data.emission.ceiling, self.schedule.ceiling(self.pool.emission().epoch()).unwrap())?;
        same("burned and owed", [data.burned, data.owed], [self.burned, self.owed])?;
        let claims = data.claims.map(|its| (its.epoch, its.fees, its.claimed, its.registered));
        same("open claims", claims, self.open.as_ref().map(|its| (its.epoch, its.burn.fees, its.claimed, its.registered)))?;
        let payouts: Vec<_> = data.payouts.iter().map(|(epoch, its)| (*epoch, its.paid, its.registered, its.left)).collect();
        let here = self.payouts.iter().map(|(epoch, its)| (*epoch, its.payout.paid(), its.registered, its.left)).collect();
        same("payouts", payouts, here)
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fees {
    pub(crate) booked: Amount,
    pub(crate) claimed: Amount,
    part: Amount,
}

/// A provider's rewards.
#[derive(Clone, Default)]
pub(crate) struct Provider {
    pub(crate) epochs: BTreeMap<u32, Fees>,
    pub(crate) last: u64,
    /// What an attestation that is under way replaced: the last claim before it.
    pending: Option<u64>,
    pub(crate) vesting: Vesting,
    /// What it was rewarded with, by epochs.
    pub(crate) rewarded: BTreeMap<u32, Amount>,
}

impl Provider {
    fn attest(&mut self, epoch: u32, lo: u64, hi: u64, fees: u64) -> Result<(), Exit> {
        let check = |rule: bool, exit: Exit| if rule { Ok(()) } else { Err(exit) };
        check(self.pending.is_none(), Exit::ClaimPending)?;
        check(fees > 0 && lo <= hi, Exit::BadLayout)?;
        check(lo > self.last, Exit::IdsNotRising)?;
        let its = self.epochs.entry(epoch).or_default();
        let claimed = total([its.claimed, Amount::from_nano(fees.into())]);
        check(claimed <= its.booked, Exit::OverFees)?;
        its.claimed = claimed;
        self.pending = Some(std::mem::replace(&mut self.last, hi));
        Ok(())
    }

    /// What the owner may not have yet, and what it may.
    pub(crate) fn earned(&self, now_s: u32) -> Amount {
        total([self.vesting.free(now_s).unwrap(), self.vesting.locked(now_s).unwrap()])
    }

    /// Epochs before this one whose reward is not collected.
    pub(crate) fn collectable(&self, before: u32) -> Vec<u32> {
        self.epochs.range(..before).filter(|(_, fees)| !fees.part.is_zero()).map(|(epoch, _)| *epoch).collect()
    }

    fn compare(&self, data: &ProviderData) -> Outcome<()> {
        let its = &data.rewards;
        same("claims", (its.last_claim, its.is_pending, its.credit), (self.last, self.pending.is_some(), Amount::ZERO))?;
        same("what vests", its.vesting, self.vesting)?;
        let newest = self.epochs.keys().next_back().copied().unwrap_or(0);
        for (epoch, here) in &self.epochs {
            match its.epochs.get(epoch) {
                Some(fees) => same("fees of an epoch", [fees.booked, fees.claimed, fees.part], [here.booked, here.claimed, here.part])?,
                None => same("an epoch may be forgotten", here.part.is_zero() && epoch + CLAIM_EPOCHS < newest, true)?,
            }
        }
        same("epochs that nobody heard of", its.epochs.keys().all(|epoch| self.epochs.contains_key(epoch)), true)
    }
}

/// All of them.
pub(crate) struct Machines {
    vault_account: Account,
    rewards_account: Account,
    pub(crate) vault: Vault,
    pub(crate) rewards: Rewards,
    pub(crate) providers: BTreeMap<Account, Provider>,
    /// Proofs that prove something else.
    pub(crate) forged: HashSet<[u8; 192]>,
    pub(crate) sold: Vec<Sold>,
    pub(crate) paid: Vec<Paid>,
    /// COCOON that auctions destroyed.
    pub(crate) destroyed: Amount,
    /// What bids got, by bidder's account; and messages that were refused, by the reason.
    pub(crate) fills: Vec<(Account, u32, Fill)>,
    pub(crate) refused: BTreeMap<i32, u32>,
}

fn verdict<T: std::fmt::Debug>(transaction: &Transaction, here: &Result<T, Exit>) -> Outcome<()> {
    let code = (transaction.success, transaction.exit_code);
    let expected = match here {
        Ok(_) => (true, Some(0)),
        Err(exit) => (false, Some(exit.code())),
    };
    same("how it ended", code, expected)
}

/// The only notice among what a transaction sent that one looks for.
fn sent<T>(transaction: &Transaction, wanted: impl Fn(Notice) -> Option<T>) -> Option<T> {
    transaction.out_messages.iter().filter_map(|message| Notice::from_cell(&message.body).ok()).find_map(|(_, notice)| wanted(notice))
}

impl Machines {
    pub(crate) fn new(vault: (ContractAddress, &VaultData), rewards: ContractAddress, half_life: u32) -> Self {
        Self {
            vault_account: vault.0.0,
            rewards_account: rewards.0,
            vault: Vault::new(vault.1),
            rewards: Rewards::new(half_life),
            providers: BTreeMap::new(),
            forged: HashSet::new(),
            sold: Vec::new(),
            paid: Vec::new(),
            destroyed: Amount::ZERO,
            fills: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Whether messages to this account may be refused: the machines say then why.
    pub(crate) fn judges(&self, account: &Account) -> bool {
        *account == self.vault_account || *account == self.rewards_account || self.providers.contains_key(account)
    }

    /// Tells the machines what a contract was told, and holds what it did against what they make of it.
    pub(crate) fn observe(&mut self, transaction: &Transaction) -> Outcome<()> {
        if !transaction.success
            && let Some(code) = transaction.exit_code
        {
            *self.refused.entry(code).or_default() += 1;
        }
        let account = transaction.account.hash;
        if account == self.vault_account {
            self.at_vault(transaction)
        } else if account == self.rewards_account {
            self.at_rewards(transaction)
        } else if self.providers.contains_key(&account) {
            self.at_provider(transaction)
        } else {
            Ok(())
        }
    }

    fn at_vault(&mut self, transaction: &Transaction) -> Outcome<()> {
        let message = transaction.in_message.as_ref().unwrap();
        let now_s = u32::try_from(transaction.unix_s).unwrap();
        if let Ok((_, Notice::Fee { amount, credit })) = Notice::from_cell(&message.body) {
            same("credit", credit, Amount::ZERO)?;
            self.vault.fee(amount);
            let booked = sent(transaction, |notice| match notice {
                Notice::FeeBooked { epoch, booked, waived, credit } => Some((epoch, booked, waived, credit)),
                _ => None,
            });
            return same("a fee is booked", booked, Some((self.vault.number, amount, Amount::ZERO, Amount::ZERO)));
        }
        match word(message) {
            Some((Word::CloseEpoch, _)) => self.close_epoch(transaction, now_s),
            Some((Word::Notified { amount, least }, _)) => self.notified(transaction, amount, least, now_s),
            _ => {
                same("how the vault took it", transaction.success, true)?;
                let share = transaction
                    .out_messages
                    .iter()
                    .find(|message| matches!(Notice::from_cell(&message.body), Ok((_, Notice::TreasuryShare))));
                let Some(share) = share else { return Ok(()) };
                same("the treasury's share", share.value, std::mem::take(&mut self.vault.treasury))
            }
        }
    }

    fn close_epoch(&mut self, transaction: &Transaction, now_s: u32) -> Outcome<()> {
        let closed = self.vault.close(now_s);
        verdict(transaction, &closed)?;
        let Ok((destroyed, sold)) = closed else { return Ok(()) };
        self.destroyed = total([self.destroyed, destroyed]);
        self.sold.extend(sold);
        let told = sent(transaction, |notice| if matches!(notice, Notice::EpochSold { .. }) { Some(notice) } else { None });
        let here = sold.map(|its| Notice::EpochSold {
            epoch: its.epoch,
            fees: its.burn.fees,
            lot: its.burn.lot,
            burned: its.burn.burned,
            paid: its.paid,
            median: its.median.per_ton(),
        });
        same("what the rewards are told", told, here)
    }

    fn notified(&mut self, transaction: &Transaction, amount: Amount, least: Option<u64>, now_s: u32) -> Outcome<()> {
        same("a notification is taken", transaction.success, true)?;
        let fill = least.and_then(|least| self.vault.bid(amount, least, now_s));
        let bought = transaction.out_messages.iter().find_map(|message| match Notice::from_cell(&message.body) {
            Ok((_, Notice::Bought { bought, paid })) => Some((message.destination, bought, paid)),
            _ => None,
        });
        same("what a bid gets", bought.map(|(_, bought, paid)| (bought, paid)), fill.map(|fill| (fill.bought, fill.burned)))?;
        let back: Vec<_> = transaction.out_messages.iter().filter_map(word).collect();
        let change = fill.map_or(amount, |fill| fill.change);
        let expected = if change.is_zero() { vec![] } else { vec![(Word::Transfer(change), false)] };
        same("what goes back", back, expected)?;
        if let (Some(fill), Some((Some(to), _, _))) = (fill, bought) {
            self.fills.push((to.hash, self.vault.number, fill));
        }
        Ok(())
    }

    fn at_rewards(&mut self, transaction: &Transaction) -> Outcome<()> {
        let message = transaction.in_message.as_ref().unwrap();
        if let Ok((_, Notice::EpochSold { .. })) = Notice::from_cell(&message.body) {
            same("how the rewards took it", transaction.success, true)?;
            let sold = self.vault.under_way.pop_front().ok_or("an epoch that nobody sold")?;
            self.paid.extend(self.rewards.sold(&sold)?);
            return Ok(());
        }
        match word(message) {
            Some((Word::Attested { epoch, fees, proof, .. }, false)) => {
                let is_true = proof.is_some_and(|ProofBytes(bytes)| !self.forged.contains(&bytes));
                let part = self.rewards.attested(epoch, Amount::from_nano(fees.into()), is_true);
                verdict(transaction, &part)?;
                let registered = sent(transaction, |notice| match notice {
                    Notice::Registered { epoch, part } => Some((epoch, part)),
                    _ => None,
                });
                same("what fees burned", registered, part.ok().map(|part| (epoch, part)))
            }
            Some((Word::Collect { epoch, part }, false)) => {
                let amount = self.rewards.collect(epoch, part);
                verdict(transaction, &amount)?;
                let Ok(amount) = amount else { return Ok(()) };
                let provider = message.source.unwrap().hash;
                self.within_own_burn(provider, epoch, amount)?;
                self.providers.get_mut(&provider).unwrap().rewarded.insert(epoch, amount);
                let rewarded = sent(transaction, |notice| match notice {
                    Notice::Rewarded { epoch, amount } => Some((epoch, amount)),
                    _ => None,
                });
                same("a reward", rewarded, Some((epoch, amount)))
            }
            Some((Word::Release(amount), false)) => {
                same("how the rewards took it", transaction.success, true)?;
                self.rewards.owed = less(self.rewards.owed, amount);
                Ok(())
            }
            _ => same("how the rewards took it", transaction.success, true),
        }
    }

    /// A reward is at most nine tenths of what the fees that were claimed for burned.
    fn within_own_burn(&self, provider: Account, epoch: u32, amount: Amount) -> Outcome<()> {
        let (burn, fees) = (self.rewards.payouts[&epoch].burn, self.providers[&provider].epochs[&epoch]);
        same("nine tenths of its own burn", is_within(amount, burn.burned, fees.claimed, burn.fees), true)
    }

    fn at_provider(&mut self, transaction: &Transaction) -> Outcome<()> {
        let message = transaction.in_message.as_ref().unwrap();
        let now_s = u32::try_from(transaction.unix_s).unwrap();
        let provider = self.providers.get_mut(&transaction.account.hash).unwrap();
        match word(message) {
            Some((Word::Attested { epoch, fees, last, .. }, true)) => {
                let its = provider.epochs.get_mut(&epoch).ok_or("an epoch without fees")?;
                its.claimed = less(its.claimed, Amount::from_nano(fees.into()));
                same("the last claim before", Some(last), provider.pending.take())?;
                provider.last = last;
                return Ok(());
            }
            Some((Word::Collect { epoch, part }, true)) => {
                let its = provider.epochs.get_mut(&epoch).ok_or("an epoch without fees")?;
                its.part = total([its.part, part]);
                return Ok(());
            }
            _ => {}
        }
        match Notice::from_cell(&message.body) {
            Ok((_, Notice::FeeBooked { epoch, booked, .. })) => {
                let its = provider.epochs.entry(epoch).or_default();
                its.booked = total([its.booked, booked]);
            }
            Ok((_, Notice::Registered { epoch, part })) => {
                let its = provider.epochs.get_mut(&epoch).ok_or("an epoch without fees")?;
                its.part = total([its.part, part]);
                provider.pending = None;
            }
            Ok((_, Notice::Rewarded { amount, .. })) => provider.vesting.reward(amount, now_s).unwrap(),
            _ => return Self::told(transaction, provider, now_s),
        }
        same("how the provider took it", transaction.success, true)
    }

    /// What anybody tells a provider's contract.
    fn told(transaction: &Transaction, provider: &mut Provider, now_s: u32) -> Outcome<()> {
        let message = transaction.in_message.as_ref().unwrap();
        match ProviderMessage::from_cell(&message.body) {
            Ok((_, ProviderMessage::Attest(its))) => verdict(transaction, &provider.attest(its.epoch, its.lo, its.hi, its.fees)),
            Ok((_, ProviderMessage::CollectReward(epoch))) => {
                let part = provider.epochs.get_mut(&epoch).map(|fees| std::mem::take(&mut fees.part)).unwrap_or_default();
                verdict(transaction, &if part.is_zero() { Err(Exit::NothingToSend) } else { Ok(part) })
            }
            Ok((_, ProviderMessage::TakeReward)) => {
                let mut next = provider.vesting;
                let taken = next.take(now_s).unwrap();
                let judged = if taken.is_zero() { Err(Exit::NothingToSend) } else { Ok(taken) };
                verdict(transaction, &judged)?;
                if judged.is_ok() {
                    provider.vesting = next;
                    let released = transaction.out_messages.iter().find_map(word);
                    same("what is taken", released, Some((Word::Release(taken), false)))?;
                }
                Ok(())
            }
            _ => same("how the provider took it", transaction.success, true),
        }
    }

    pub(crate) fn compare(&self, vault: &VaultData, rewards: &RewardsData) -> Outcome<()> {
        self.vault.compare(vault)?;
        self.rewards.compare(rewards)
    }

    /// What providers collected of each epoch is at most what it paid, and that at most nine tenths of what its fees burned.
    pub(crate) fn nobody_got_more(&self) -> Outcome<()> {
        for (paid, sold) in self.paid.iter().zip(&self.sold) {
            same("epochs in order", paid.epoch, sold.epoch)?;
            let got = total(self.providers.values().filter_map(|its| its.rewarded.get(&paid.epoch)).copied());
            let is_so = got <= paid.paid && paid.paid.nano() * 10 <= sold.burn.burned.nano() * 9;
            same("rewards of an epoch are within its burn", is_so, true)?;
        }
        Ok(())
    }

    pub(crate) fn compare_provider(&self, account: &Account, data: &ProviderData) -> Outcome<()> {
        self.providers[account].compare(data)
    }
}
