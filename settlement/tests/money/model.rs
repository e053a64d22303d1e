//! What the contracts of `contracts/README.md` do to money, said a second time and in whole numbers.
//!
//! The model is told of one message after another, in the order in which the chain delivered them, and says for each: whether the contract
//! takes it and if not why, what is stored then, what leaves for whom, and what stays on the account. It knows no cell, no signature
//! and no code of the crate but the names of exit codes; whoever made a statement says what is wrong with it.

use std::collections::BTreeMap;

use cocoon_settlement::contract::Exit;

/// An account of the basechain.
pub(crate) type Account = [u8; 32];
/// Nano-units. Signed, because what lies above a liability may be negative.
pub(crate) type Nano = i128;

/// Stays on a channel's account.
pub(crate) const CHANNEL_RESERVE: Nano = 10_000_000;
/// Stays on the account of a provider's contract.
pub(crate) const PROVIDER_RESERVE: Nano = 40_000_000;
/// Of a poke.
pub(crate) const POKE_PRICE: Nano = 50_000_000;
const POKE_PENALTY: Nano = 500_000_000;
const POKE_REWARD: Nano = 250_000_000;
/// Claims of one batch.
pub(crate) const BATCH_MAX: usize = 250;

/// A signed statement about a channel, and what its maker spoiled of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paper {
    pub(crate) sequence: u64,
    pub(crate) cumulative: Nano,
    pub(crate) root: [u8; 32],
    pub(crate) fault: Option<Exit>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    Deposit(Nano),
    Claim {
        paper: Paper,
        query: u64,
    },
    Close,
    Finish,
    Cooperative(Paper),
    Stake {
        amount: Nano,
        bond: Nano,
    },
    Unbond {
        amount: Nano,
        bond: Nano,
    },
    Withdraw,
    WithdrawOperations(Nano),
    Slash {
        amount: Nano,
        to: Account,
    },
    Poke,
    PokeOver,
    Flush,
    Batch {
        number: u32,
        claims: Vec<(Account, Paper)>,
    },
    Allocate {
        number: u32,
        amount: Nano,
    },
    Alive {
        number: u32,
    },
    Paid {
        from: Nano,
        to: Nano,
        root: [u8; 32],
        query: u64,
    },
    Returned {
        query: u64,
    },
    Fee(Nano),
    /// The vault's answer to a fee.
    Booked(Nano),
    PayTreasury,
    /// Money without words.
    Gift,
    Refund,
    Earnings,
    Withdrawn,
    Slashed,
    PokeReward,
    TreasuryShare,
}

/// A message that arrives.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Account,
    pub(crate) from: Account,
    pub(crate) say: Say,
    pub(crate) value: Nano,
    /// When, in seconds since the Unix epoch.
    pub(crate) now: Nano,
    /// What the account has before the message, rent paid.
    pub(crate) before: Nano,
    /// Whether it brings code and data, and that code ran: then it is there from now on, even if it refused.
    pub(crate) init: bool,
}

/// An amount, as far as it does not depend on the gas that was really used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    Exactly(Nano),
    AtLeast(Nano),
}

/// A message that leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) to: Account,
    pub(crate) say: Say,
    pub(crate) value: Sum,
}

/// What a contract does with a message it takes.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) sent: Vec<Sent>,
    /// What the account has afterwards.
    pub(crate) after: Sum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Open,
    Closing(Nano),
    Closed,
}

#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) requester: Account,
    pub(crate) provider: Account,
    pub(crate) window: Nano,
    pub(crate) deployed: bool,
    pub(crate) status: Status,
    pub(crate) deposit: Nano,
    pub(crate) drawn: Nano,
    pub(crate) sequence: u64,
    pub(crate) root: [u8; 32],
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Provider {
    pub(crate) owner: Account,
    pub(crate) deployed: bool,
    pub(crate) number: u32,
    pub(crate) batch: u32,
    pub(crate) outstanding: u16,
    pub(crate) earnings: Nano,
    pub(crate) fees: Nano,
    pub(crate) fees_cum: Nano,
    /// What of them the vault booked.
    pub(crate) booked: Nano,
    pub(crate) claims: u64,
    pub(crate) epoch_ends: Nano,
    pub(crate) epoch_paid: Nano,
    /// The epoch that is over: its end, what was drawn in it, what was allocated then.
    pub(crate) closed: (Nano, Nano, Nano),
    pub(crate) total: Nano,
    pub(crate) allocated: Nano,
    pub(crate) unbonding: Nano,
    pub(crate) unbond_at: Nano,
    pub(crate) bond: Nano,
    pub(crate) poke: Option<Account>,
    pub(crate) answer_by: Nano,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Vault {
    pub(crate) burn: Nano,
    pub(crate) auditors: Nano,
    pub(crate) treasury: Nano,
    pub(crate) fees_cum: Nano,
}

/// What is the same for all contracts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) vault: Account,
    pub(crate) treasury: Account,
    pub(crate) dispute: Account,
    pub(crate) fee_bps: Nano,
    pub(crate) unbond_s: Nano,
    pub(crate) epoch_s: Nano,
    pub(crate) answer_s: Nano,
}

/// The money of all contracts.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) rules: Rules,
    pub(crate) prices: Prices,
    pub(crate) channels: BTreeMap<Account, Channel>,
    pub(crate) providers: BTreeMap<Account, Provider>,
    pub(crate) vault: Vault,
}

/// Gas that each kind of message asks for, by its name in the contracts' sources, and what gas and forwarding cost.
#[derive(Clone, Debug)]
pub(crate) struct Prices(pub(crate) BTreeMap<String, Nano>);

impl Prices {
    /// Mainnet's of April 2026: 100 gas for 6,667, further gas and forwarding by 1/65,536 of a nano-unit, rounded up.
    fn gas(gas: Nano) -> Nano {
        6_667 + ((gas - 100) * 4_369_067 + 65_535) / 65_536
    }

    fn forward(bits: Nano, cells: Nano) -> Nano {
        66_667 + (bits * 4_369_067 + cells * 436_906_667 + 65_535) / 65_536
    }

    fn of(&self, name: &str) -> Nano {
        self.0[name]
    }

    fn work(&self, path: &str, forwards: Nano) -> Nano {
        Self::gas(self.of(path)) + forwards * Self::forward(self.of("MESSAGE_BITS"), self.of("MESSAGE_CELLS"))
    }

    fn paid(&self) -> Nano {
        self.work("GAS_PAID", 3) + self.fee()
    }

    /// What a fee brings beside itself.
    fn fee(&self) -> Nano {
        self.work("GAS_FEE", 0) + self.work("GAS_BOOKED", 1)
    }

    fn claim_value(&self) -> Nano {
        Self::forward(self.of("CLAIM_BITS"), self.of("CLAIM_CELLS")) + self.work("GAS_CLAIM", 0) + self.paid()
    }

    /// What an operator's message asks the operations balance for.
    fn order(&self, say: &Say) -> Nano {
        let claims = if let Say::Batch { claims, .. } = say { Nano::try_from(claims.len()).unwrap() } else { 0 };
        Self::gas(self.of("GAS_OPERATOR") + claims * self.of("GAS_BATCHED")) + claims * self.claim_value()
    }

    /// What a message asks its sender for at the least.
    pub(crate) fn asks(&self, say: &Say) -> Nano {
        match say {
            Say::Deposit(amount) => self.work("GAS_DEPOSIT", 0) + amount,
            Say::Claim { .. } => self.work("GAS_CLAIM", 0) + self.paid(),
            Say::Close => self.work("GAS_CLOSE", 0),
            Say::Finish => self.work("GAS_FINISH", 1),
            Say::Cooperative(_) => self.work("GAS_COOPERATIVE", 1) + self.paid(),
            Say::Stake { amount, bond } => self.work("GAS_STAKE", 0) + amount + bond,
            Say::Unbond { .. } => self.work("GAS_OWNER", 1),
            Say::Withdraw | Say::WithdrawOperations(_) => self.work("GAS_OWNER", 2),
            Say::Slash { .. } => self.work("GAS_SLASH", 2),
            Say::Poke => self.work("GAS_POKE", 1) + POKE_PRICE,
            Say::PokeOver => self.work("GAS_POKE_OVER", 3) + self.fee(),
            Say::Flush => self.work("GAS_FLUSH", 3) + self.fee(),
            Say::Fee(amount) => self.work("GAS_FEE", 0) + amount,
            Say::PayTreasury => self.work("GAS_PAY", 2),
            _ => 0,
        }
    }
}

impl Channel {
    /// What the account holds for the parties.
    pub(crate) fn owed(&self) -> Nano {
        if self.status == Status::Closed { 0 } else { self.deposit - self.drawn }
    }
}

impl Provider {
    /// What the account holds for others.
    pub(crate) fn held(&self) -> Nano {
        self.total + self.bond + self.earnings + self.fees + if self.poke.is_some() { POKE_PRICE } else { 0 }
    }
}

impl Vault {
    /// What the account holds for burning, auditors and treasury.
    pub(crate) fn shares(&self) -> Nano {
        self.burn + self.auditors + self.treasury
    }
}

fn check(rule: bool, exit: Exit) -> Result<(), Exit> {
    if rule { Ok(()) } else { Err(exit) }
}

impl Model {
    /// What the contract at `arrival.at` does with the message. A refusal changes nothing stored.
    pub(crate) fn take(&mut self, arrival: &Arrival) -> Result<Done, Exit> {
        let model = &*self;
        let (rules, prices) = (model.rules, model.prices.clone());
        if let Some(channel) = self.channels.get_mut(&arrival.at) {
            channel.deployed |= arrival.init;
            let mut next = channel.clone();
            let done = next.take(arrival, &prices)?;
            *channel = next;
            return Ok(done);
        }
        if let Some(provider) = self.providers.get_mut(&arrival.at) {
            provider.deployed |= arrival.init;
            let mut next = provider.clone();
            let done = next.take(arrival, &rules, &prices)?;
            *provider = next;
            return Ok(done);
        }
        let mut next = self.vault.clone();
        let done = next.take(arrival, &rules, &prices)?;
        self.vault = next;
        Ok(done)
    }
}

impl Channel {
    fn take(&mut self, arrival: &Arrival, prices: &Prices) -> Result<Done, Exit> {
        let Arrival { from, say, value, now, before, .. } = arrival;
        // There is nobody to answer where no code is.
        check(self.deployed, Exit::UnknownMessage)?;
        check(*value >= prices.asks(say) - if let Say::Deposit(amount) = say { *amount } else { 0 }, Exit::TooLittleValue)?;
        // What storage took of the parties' money is the sender's to make good.
        let reserve = before - self.owed();
        let good = |more: Nano| check(*value >= prices.asks(say) + more, Exit::TooLittleValue);
        check(self.status != Status::Closed, Exit::Closed)?;
        match say {
            Say::Deposit(amount) => {
                check(self.status == Status::Open, Exit::Closing)?;
                check(*amount > 0, Exit::ZeroDeposit)?;
                let missing = (CHANNEL_RESERVE - reserve).max(0);
                good(missing)?;
                self.deposit += amount;
                // A rest too small to send stays.
                let kept = self.owed() + reserve.max(CHANNEL_RESERVE);
                let sendable = *value >= prices.asks(say) + missing + prices.work("GAS_DEPOSIT", 1);
                Ok(Done { sent: vec![], after: if sendable { Sum::Exactly(kept) } else { Sum::AtLeast(kept) } })
            }
            Say::Claim { paper, query } => {
                if let Status::Closing(deadline) = self.status {
                    check(*now < deadline, Exit::WindowOver)?;
                }
                let (from, target) = (self.drawn, paper.cumulative.min(self.deposit));
                check(!matches!(paper.fault, Some(Exit::WrongNetwork)), Exit::WrongNetwork)?;
                check(!matches!(paper.fault, Some(Exit::WrongChannel)), Exit::WrongChannel)?;
                check(target > from, Exit::NothingToDraw)?;
                check(paper.fault.is_none(), Exit::BadSignature)?;
                good((-reserve).max(0))?;
                (self.drawn, self.sequence, self.root) = (target, paper.sequence, paper.root);
                let say = Say::Paid { from, to: target, root: paper.root, query: *query };
                let sent = Sent { to: self.provider, say, value: Sum::AtLeast(target - from + prices.paid() - prices.work("GAS_PAID", 1)) };
                Ok(Done { sent: vec![sent], after: Sum::Exactly(self.owed() + reserve.max(0)) })
            }
            Say::Close => {
                check(self.status == Status::Open, Exit::Closing)?;
                check(*from == self.requester, Exit::NotRequester)?;
                good((-reserve).max(0))?;
                self.status = Status::Closing(now + self.window);
                let kept = self.owed() + reserve.max(0);
                let sendable = *value >= prices.asks(say) + (-reserve).max(0) + prices.work("GAS_CLOSE", 1);
                Ok(Done { sent: vec![], after: if sendable { Sum::Exactly(kept) } else { Sum::AtLeast(kept) } })
            }
            Say::Finish => {
                let Status::Closing(deadline) = self.status else { return Err(Exit::NotClosing) };
                check(*now >= deadline, Exit::WindowOpen)?;
                good((-reserve).max(0))?;
                Ok(self.end(vec![], reserve, *value >= 2 * prices.asks(say) + (-reserve).max(0)))
            }
            Say::Cooperative(paper) => {
                check(!matches!(paper.fault, Some(Exit::WrongNetwork)), Exit::WrongNetwork)?;
                check(!matches!(paper.fault, Some(Exit::WrongChannel)), Exit::WrongChannel)?;
                check(paper.cumulative <= self.deposit, Exit::OverDeposit)?;
                check(paper.cumulative >= self.drawn, Exit::BelowDrawn)?;
                check(paper.fault.is_none(), Exit::BadSignature)?;
                good((-reserve).max(0))?;
                let drawn = paper.cumulative - self.drawn;
                let paid = Say::Paid { from: self.drawn, to: paper.cumulative, root: [0; 32], query: 0 };
                let value_paid = Sum::Exactly(drawn + prices.paid() - (prices.work("GAS_PAID", 1) - prices.work("GAS_PAID", 0)));
                let sent = (drawn > 0).then_some(Sent { to: self.provider, say: paid, value: value_paid });
                self.sequence = if drawn > 0 { paper.sequence } else { self.sequence };
                self.drawn = paper.cumulative;
                Ok(self.end(sent.into_iter().collect(), reserve, *value >= 2 * prices.asks(say) + (-reserve).max(0)))
            }
            _ => Err(Exit::UnknownMessage),
        }
    }

    /// Refunds the rest, and what was there for storage above the reserve.
    fn end(&mut self, mut sent: Vec<Sent>, reserve: Nano, sendable: bool) -> Done {
        let refund = self.owed() + (reserve - CHANNEL_RESERVE).max(0);
        if refund > 0 {
            sent.push(Sent { to: self.requester, say: Say::Refund, value: Sum::Exactly(refund) });
        }
        self.status = Status::Closed;
        let kept = reserve.clamp(0, CHANNEL_RESERVE);
        Done { sent, after: if sendable { Sum::Exactly(kept) } else { Sum::AtLeast(kept) } }
    }
}

impl Provider {
    fn take(&mut self, arrival: &Arrival, rules: &Rules, prices: &Prices) -> Result<Done, Exit> {
        let Arrival { from, say, value, now, before, .. } = arrival;
        check(self.deployed, Exit::UnknownMessage)?;
        check(*value >= prices.asks(say), Exit::TooLittleValue)?;
        let is_owner = check(*from == self.owner, Exit::NotOwner);
        let shortage = (self.held() - before).max(0);
        let good = check(*value >= prices.asks(say) + shortage, Exit::TooLittleValue);
        // All but the answer to the sender, which takes the rest of the value along.
        let sendable = *value >= 2 * prices.asks(say) + shortage;
        let answered =
            |sent: Vec<Sent>, after: Nano| Done { sent, after: if sendable { Sum::Exactly(after) } else { Sum::AtLeast(after) } };
        match say {
            Say::Stake { amount, bond } => {
                (self.total, self.bond) = (self.total + amount, self.bond + bond);
                let fees = prices.work("GAS_STAKE", 0);
                check(before + value >= fees + self.held() + PROVIDER_RESERVE, Exit::TooLittleValue)?;
                Ok(Done { sent: vec![], after: Sum::AtLeast(before + value - fees) })
            }
            Say::Unbond { amount, bond } => {
                is_owner?;
                check(*amount <= self.total - self.allocated - self.unbonding, Exit::StakeTooSmall)?;
                check(*bond <= self.bond, Exit::BondTooSmall)?;
                check(self.poke.is_none(), Exit::PokeOpen)?;
                (self.bond, self.total) = (self.bond - bond, self.total + bond);
                (self.unbonding, self.unbond_at) = (self.unbonding + amount + bond, now + rules.unbond_s);
                Ok(answered(vec![], *before))
            }
            Say::Withdraw => {
                is_owner?;
                good?;
                check(self.unbonding > 0, Exit::NothingUnbonding)?;
                check(*now >= self.unbond_at, Exit::StillUnbonding)?;
                let amount = std::mem::take(&mut self.unbonding);
                self.total -= amount;
                let sent = Sent { to: self.owner, say: Say::Withdrawn, value: Sum::Exactly(amount) };
                Ok(answered(vec![sent], before - amount + shortage))
            }
            Say::WithdrawOperations(amount) => {
                is_owner?;
                check(*amount <= before - self.held() - PROVIDER_RESERVE, Exit::OperationsEmpty)?;
                let sent = Sent { to: self.owner, say: Say::Withdrawn, value: Sum::Exactly(*amount) };
                Ok(answered(vec![sent], before - amount))
            }
            Say::Slash { amount, to } => {
                check(*from == rules.dispute, Exit::NotDispute)?;
                let taken = (*amount).min(self.total);
                self.total -= taken;
                self.unbonding = self.unbonding.min(self.total);
                self.allocated = self.allocated.min(self.total - self.unbonding);
                let there = taken.min(*before);
                let sent = (there > 0).then_some(Sent { to: *to, say: Say::Slashed, value: Sum::Exactly(there) });
                Ok(answered(sent.into_iter().collect(), before - there))
            }
            Say::Poke => {
                check(self.poke.is_none(), Exit::PokeOpen)?;
                check(*now >= self.answer_by + rules.answer_s, Exit::PokedLately)?;
                check(self.bond >= POKE_PENALTY, Exit::BondTooSmall)?;
                (self.poke, self.answer_by) = (Some(*from), now + rules.answer_s);
                Ok(answered(vec![], before + POKE_PRICE))
            }
            Say::PokeOver => {
                good?;
                let by = self.poke.ok_or(Exit::NoPoke)?;
                check(*now >= self.answer_by, Exit::PokeRunning)?;
                (self.bond, self.poke) = (self.bond - POKE_PENALTY, None);
                let reward = Sent { to: by, say: Say::PokeReward, value: Sum::Exactly(POKE_PRICE + POKE_REWARD) };
                let sent = vec![reward, fee(POKE_PENALTY - POKE_REWARD, rules, prices)];
                Ok(answered(sent, before - POKE_PRICE - POKE_PENALTY + shortage))
            }
            Say::Flush => {
                good?;
                let sum = self.fees + self.earnings;
                check(sum > 0, Exit::NothingToSend)?;
                let sent = self.send_on(rules, prices);
                Ok(answered(sent, before - sum + shortage))
            }
            Say::Paid { from, to, query, .. } => {
                if *now >= self.epoch_ends {
                    self.closed = (self.epoch_ends, self.epoch_paid, self.allocated);
                    (self.epoch_ends, self.epoch_paid) = ((now / rules.epoch_s + 1) * rules.epoch_s, 0);
                }
                let fee = to * rules.fee_bps / 10_000 - from * rules.fee_bps / 10_000;
                let above = before - self.held();
                (self.earnings, self.fees, self.fees_cum) = (self.earnings + to - from - fee, self.fees + fee, self.fees_cum + fee);
                (self.epoch_paid, self.claims) = (self.epoch_paid + to - from, self.claims + 1);
                let sent = if self.answered(*query) { self.send_on(rules, prices) } else { vec![] };
                // What the message brings beside what is drawn pays for all its work.
                Ok(Done { sent, after: Sum::AtLeast(self.held() + above) })
            }
            Say::Returned { query } => {
                let above = before - self.held();
                let send = self.answered(*query) && self.fees + self.earnings > 0 && *value >= prices.paid();
                let sent = if send { self.send_on(rules, prices) } else { vec![] };
                Ok(Done { sent, after: Sum::AtLeast(self.held() + above) })
            }
            Say::Batch { number, claims } => {
                check(*number == self.number, Exit::WrongNumber)?;
                check((1..=BATCH_MAX).contains(&claims.len()), Exit::BatchCount)?;
                let claim = |(to, paper): &(Account, Paper)| Sent {
                    to: *to,
                    say: Say::Claim { paper: *paper, query: u64::from(*number) },
                    value: Sum::AtLeast(1),
                };
                (self.batch, self.outstanding) = (*number, u16::try_from(claims.len()).unwrap());
                self.accept(say, *before, prices, claims.iter().map(claim).collect())
            }
            Say::Allocate { number, amount } => {
                check(*number == self.number, Exit::WrongNumber)?;
                check(*amount <= self.total - self.unbonding, Exit::StakeTooSmall)?;
                self.allocated = *amount;
                self.accept(say, *before, prices, vec![])
            }
            Say::Alive { number } => {
                check(*number == self.number, Exit::WrongNumber)?;
                check(self.poke.is_some(), Exit::NoPoke)?;
                check(*now < self.answer_by, Exit::PokeLate)?;
                self.poke = None;
                self.accept(say, *before, prices, vec![])
            }
            Say::Booked(amount) => {
                check(*from == rules.vault, Exit::NotVault)?;
                self.booked += amount;
                Ok(Done { sent: vec![], after: Sum::AtLeast(*before) })
            }
            Say::Gift => Ok(Done { sent: vec![], after: Sum::AtLeast(*before) }),
            _ => Err(Exit::UnknownMessage),
        }
    }

    /// From here on an operator's message costs the operations balance.
    fn accept(&mut self, say: &Say, before: Nano, prices: &Prices, sent: Vec<Sent>) -> Result<Done, Exit> {
        let held = self.held() + PROVIDER_RESERVE;
        check(before - held >= prices.order(say), Exit::OperationsEmpty)?;
        self.number += 1;
        Ok(Done { sent, after: Sum::AtLeast(held) })
    }

    /// Whether the last batch waits for nothing more.
    fn answered(&mut self, query: u64) -> bool {
        if query == u64::from(self.batch) {
            self.outstanding = self.outstanding.saturating_sub(1);
        }
        self.outstanding == 0
    }

    fn send_on(&mut self, rules: &Rules, prices: &Prices) -> Vec<Sent> {
        let (fees, earnings) = (std::mem::take(&mut self.fees), std::mem::take(&mut self.earnings));
        let earned = Sent { to: self.owner, say: Say::Earnings, value: Sum::Exactly(earnings) };
        (fees > 0).then(|| fee(fees, rules, prices)).into_iter().chain((earnings > 0).then_some(earned)).collect()
    }
}

fn fee(amount: Nano, rules: &Rules, prices: &Prices) -> Sent {
    Sent { to: rules.vault, say: Say::Fee(amount), value: Sum::Exactly(amount + prices.fee()) }
}

impl Vault {
    fn take(&mut self, arrival: &Arrival, rules: &Rules, prices: &Prices) -> Result<Done, Exit> {
        let Arrival { say, value, before, .. } = arrival;
        check(*value >= prices.asks(say), Exit::TooLittleValue)?;
        let reserve = before - self.shares();
        let kept = |vault: &Self, sent: Vec<Sent>| {
            let (kept, sendable) = (vault.shares() + reserve.max(0), *value >= prices.asks(say) + prices.work("GAS_FEE", 1));
            // If storage ate into the shares, what came is kept, and no more is promised.
            let after = if reserve < 0 {
                Sum::AtLeast(0)
            } else if sendable {
                Sum::Exactly(kept)
            } else {
                Sum::AtLeast(kept)
            };
            Done { sent, after }
        };
        match say {
            Say::Fee(amount) => {
                let (auditors, treasury) = (amount * 20 / 100, amount * 10 / 100);
                (self.auditors, self.treasury) = (self.auditors + auditors, self.treasury + treasury);
                (self.burn, self.fees_cum) = (self.burn + amount - auditors - treasury, self.fees_cum + amount);
                Ok(kept(self, vec![]))
            }
            Say::PayTreasury => {
                check(*value >= prices.asks(say) + (-reserve).max(0), Exit::TooLittleValue)?;
                check(self.treasury > 0, Exit::NothingToSend)?;
                let amount = std::mem::take(&mut self.treasury);
                let sent = Sent { to: rules.treasury, say: Say::TreasuryShare, value: Sum::Exactly(amount) };
                Ok(kept(self, vec![sent]))
            }
            Say::Gift => Ok(Done { sent: vec![], after: Sum::AtLeast(*before) }),
            _ => Err(Exit::UnknownMessage),
        }
    }
}
