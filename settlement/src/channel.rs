//! The channel as a pure machine: the contract's rules without the contract.
//!
//! It decides exactly what `contracts/channel.tolk` decides, in the same order of checks, and is held against the real
//! contract on the embedded chain by a test that compares every refusal and every nano-unit. Simulations pay through it,
//! and nodes ask it what a message would do before they spend gas on it. What it leaves out is what messages cost: gas,
//! forwarding and storage are the sender's and never touch the deposit.
//!
//! | from | event | to | effect |
//! |---|---|---|---|
//! | Open | deposited | Open | - |
//! | Open, Closing before the deadline | voucher delivered | same | pays the provider's contract |
//! | Open | close requested by the requester | Closing | - |
//! | Closing at the deadline or later | finish requested | Closed | refunds the requester |
//! | Open, Closing | both parties' close delivered | Closed | pays the provider's contract, refunds the requester |
//!
//! Invariants: `drawn <= deposit`; paid + refunded + held = deposited; nothing leaves `Closed`. How the provider's contract
//! divides what it gets is [`shares`].

use cocoon_market::{Amount, AmountError, ContractAddress, CooperativeClose, Signature, SignedVoucher, Timestamp};

use crate::contract::{CellError, ChannelData, ChannelStatus, ChannelTerms, Exit};

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    address: cocoon_market::ChannelRef,
    data: ChannelData,
}

/// What happened to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody added to the deposit.
    Deposited(Amount),
    /// Somebody delivered a voucher.
    VoucherDelivered(SignedVoucher),
    /// This account asked to close.
    CloseRequested {
        /// Who asked.
        by: ContractAddress,
    },
    /// Somebody asked to finish a close.
    FinishRequested,
    /// Somebody delivered a close that both parties signed.
    CloseDelivered {
        /// What they signed.
        statement: CooperativeClose,
        /// The requester's signature.
        requester: Signature,
        /// The provider's signature.
        provider: Signature,
    },
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Pay the provider's contract, network fee included.
    PayProvider(Amount),
    /// Refund the requester.
    Refund(Amount),
}

/// Why an event changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// The contract would end with this exit code.
    #[error(transparent)]
    Exit(#[from] Exit),
    /// The sum is beyond all money.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

impl Channel {
    /// A channel as it is deployed: open and empty.
    ///
    /// # Errors
    /// [`CellError`] if the contract's code is damaged.
    pub fn new(terms: ChannelTerms) -> Result<Self, CellError> {
        let address = terms.channel()?;
        let data = ChannelData {
            status: ChannelStatus::Open,
            deposit: Amount::ZERO,
            drawn: Amount::ZERO,
            sequence: 0,
            receipts_root: NO_ROOT,
            terms,
        };
        Ok(Self { address, data })
    }

    /// A channel as it was found on a chain.
    ///
    /// # Errors
    /// [`CellError`] if the contract's code is damaged.
    pub fn found(data: ChannelData) -> Result<Self, CellError> {
        Ok(Self { address: data.terms.channel()?, data })
    }

    /// Its state.
    pub const fn data(&self) -> &ChannelData {
        &self.data
    }

    /// Which channel it is.
    pub const fn address(&self) -> cocoon_market::ChannelRef {
        self.address
    }

    /// What of the deposit nobody has drawn yet. Nothing, once closed.
    pub fn held(&self) -> Amount {
        match self.data.status {
            ChannelStatus::Open | ChannelStatus::Closing { .. } => self.data.deposit.saturating_sub(self.data.drawn),
            ChannelStatus::Closed => Amount::ZERO,
        }
    }

    /// Takes one event.
    ///
    /// # Errors
    /// [`Reject`], and then nothing has changed.
    pub fn apply(&mut self, now: Timestamp, event: Event) -> Result<Vec<Effect>, Reject> {
        match event {
            Event::Deposited(amount) => self.deposited(amount),
            Event::VoucherDelivered(voucher) => self.voucher_delivered(now, &voucher),
            Event::CloseRequested { by } => self.close_requested(now, by),
            Event::FinishRequested => self.finish_requested(now),
            Event::CloseDelivered { statement, requester, provider } => self.close_delivered(&statement, &requester, &provider),
        }
    }

    fn deposited(&mut self, amount: Amount) -> Result<Vec<Effect>, Reject> {
        self.check_open()?;
        if amount.is_zero() {
            return Err(Exit::ZeroDeposit.into());
        }
        self.data.deposit = self.data.deposit.checked_add(amount)?;
        Ok(Vec::new())
    }

    fn voucher_delivered(&mut self, now: Timestamp, signed: &SignedVoucher) -> Result<Vec<Effect>, Reject> {
        match self.data.status {
            ChannelStatus::Open => {}
            ChannelStatus::Closing { deadline_s } if now.unix_s() < u64::from(deadline_s) => {}
            ChannelStatus::Closing { .. } => return Err(Exit::WindowOver.into()),
            ChannelStatus::Closed => return Err(Exit::Closed.into()),
        }
        let voucher = &signed.voucher;
        self.check_here(voucher.channel)?;
        let target = voucher.cumulative.min(self.data.deposit);
        if target <= self.data.drawn {
            return Err(Exit::NothingToDraw.into());
        }
        signed.verify(&self.data.terms.requester).map_err(|_| Exit::BadSignature)?;
        let effects = pay(&self.data, target)?;
        self.data.drawn = target;
        self.data.sequence = voucher.sequence;
        self.data.receipts_root = voucher.receipts_root;
        Ok(effects)
    }

    fn close_requested(&mut self, now: Timestamp, by: ContractAddress) -> Result<Vec<Effect>, Reject> {
        self.check_open()?;
        if by != self.data.terms.refund_to {
            return Err(Exit::NotRequester.into());
        }
        let deadline = now.unix_s().saturating_add(u64::from(self.data.terms.challenge_window_s));
        self.data.status = ChannelStatus::Closing { deadline_s: u32::try_from(deadline).map_err(|_| AmountError::Overflow)? };
        Ok(Vec::new())
    }

    fn finish_requested(&mut self, now: Timestamp) -> Result<Vec<Effect>, Reject> {
        match self.data.status {
            ChannelStatus::Closed => Err(Exit::Closed.into()),
            ChannelStatus::Open => Err(Exit::NotClosing.into()),
            ChannelStatus::Closing { deadline_s } if now.unix_s() < u64::from(deadline_s) => Err(Exit::WindowOpen.into()),
            ChannelStatus::Closing { .. } => Ok(self.close()),
        }
    }

    fn close_delivered(
        &mut self,
        statement: &CooperativeClose,
        requester: &Signature,
        provider: &Signature,
    ) -> Result<Vec<Effect>, Reject> {
        if self.data.status == ChannelStatus::Closed {
            return Err(Exit::Closed.into());
        }
        self.check_here(statement.channel)?;
        if statement.cumulative > self.data.deposit {
            return Err(Exit::OverDeposit.into());
        }
        if statement.cumulative < self.data.drawn {
            return Err(Exit::BelowDrawn.into());
        }
        let terms = &self.data.terms;
        statement.verify(&terms.requester, requester).map_err(|_| Exit::BadSignature)?;
        statement.verify(&terms.provider, provider).map_err(|_| Exit::BadSignature)?;
        let mut effects = pay(&self.data, statement.cumulative)?;
        if !effects.is_empty() {
            self.data.sequence = statement.sequence;
        }
        self.data.drawn = statement.cumulative;
        effects.extend(self.close());
        Ok(effects)
    }

    fn close(&mut self) -> Vec<Effect> {
        let refund = self.held();
        self.data.status = ChannelStatus::Closed;
        if refund.is_zero() { Vec::new() } else { vec![Effect::Refund(refund)] }
    }

    const fn check_open(&self) -> Result<(), Exit> {
        match self.data.status {
            ChannelStatus::Open => Ok(()),
            ChannelStatus::Closing { .. } => Err(Exit::Closing),
            ChannelStatus::Closed => Err(Exit::Closed),
        }
    }

    fn check_here(&self, channel: cocoon_market::ChannelRef) -> Result<(), Exit> {
        if channel.network != self.address.network {
            return Err(Exit::WrongNetwork);
        }
        if channel.address == self.address.address { Ok(()) } else { Err(Exit::WrongChannel) }
    }
}

const NO_ROOT: cocoon_market::ids::Digest = cocoon_market::ids::Digest([0; 32]);

/// What a provider's owner gets out of `cumulative` drawn from a channel in all, and the network's fee of it. What one draw brings is the
/// difference of two of them, so that many small draws pay exactly what one large draw pays.
///
/// # Errors
/// [`AmountError`] beyond all money, or for more than the whole as a fee.
pub fn shares(fee_bps: u16, cumulative: Amount) -> Result<(Amount, Amount), AmountError> {
    let (fee, net) = cumulative.split_bps(u32::from(fee_bps))?;
    Ok((net, fee))
}

/// What is drawn between what was drawn so far and `target`.
fn pay(data: &ChannelData, target: Amount) -> Result<Vec<Effect>, AmountError> {
    let drawn = target.checked_sub(data.drawn)?;
    Ok(if drawn.is_zero() { Vec::new() } else { vec![Effect::PayProvider(drawn)] })
}

#[cfg(all(test, feature = "embedded"))]
mod differential;
#[cfg(test)]
mod tests;
