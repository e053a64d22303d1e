//! A chain in virtual time: the real channel machine, without a virtual machine behind it.
//!
//! What a channel does with a deposit or a voucher is decided by `cocoon_settlement::channel`, which is held against the
//! contract itself where it lives. Transactions take effect one block time after they are sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cocoon_market::{Amount, ChannelRef, ContractAddress, SignedVoucher, Timestamp};
use cocoon_settlement::channel::{Channel, Effect, Event, Reject};
use cocoon_settlement::contract::ChannelTerms;
use futures_timer::Delay;

/// Time until a transaction takes effect, as on the embedded chain.
const BLOCK_TIME: Duration = Duration::from_secs(2);

/// Why a transaction changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// No contract lives there.
    #[error("no channel at {0}")]
    NoChannel(ChannelRef),
    /// The contract refused.
    #[error(transparent)]
    Rejected(#[from] Reject),
    /// The account holds too little, or a sum is beyond all money.
    #[error(transparent)]
    Amount(#[from] cocoon_market::AmountError),
    /// The contract's code is damaged.
    #[error(transparent)]
    Code(#[from] cocoon_settlement::contract::CellError),
}

#[derive(Default)]
struct State {
    balances: BTreeMap<ContractAddress, Amount>,
    channels: BTreeMap<ChannelRef, Channel>,
}

/// The chain all nodes of a simulation share. Clones are the same chain.
#[derive(Clone, Default)]
pub struct Chain(Arc<Mutex<State>>);

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chain({} channels)", self.lock().channels.len())
    }
}

/// Virtual wall-clock time.
pub fn now() -> Timestamp {
    Timestamp(simclock::EPOCH_UNIX_S * 1000 + simclock::now_ns() / 1_000_000)
}

impl Chain {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an account its money.
    pub fn mint(&self, account: ContractAddress, amount: Amount) {
        self.lock().balances.insert(account, amount);
    }

    /// What an account holds.
    pub fn balance(&self, account: ContractAddress) -> Amount {
        self.lock().balances.get(&account).copied().unwrap_or_default()
    }

    /// All money: of accounts, and in channels.
    ///
    /// # Errors
    /// [`ChainError::Amount`].
    pub fn total(&self) -> Result<Amount, ChainError> {
        let state = self.lock();
        let held = state.channels.values().map(Channel::held);
        Ok(Amount::sum(state.balances.values().copied().chain(held))?)
    }

    /// Whether a channel is open with at least this deposit.
    pub fn carries(&self, channel: &ChannelRef, deposit: Amount) -> bool {
        self.lock().channels.get(channel).is_some_and(|c| c.data().deposit >= deposit)
    }

    /// Opens a channel with a deposit.
    ///
    /// # Errors
    /// [`ChainError`].
    pub async fn open(&self, terms: ChannelTerms, deposit: Amount) -> Result<ChannelRef, ChainError> {
        Delay::new(BLOCK_TIME).await;
        let mut state = self.lock();
        let left = state.balances.get(&terms.refund_to).copied().unwrap_or_default().checked_sub(deposit)?;
        let from = terms.refund_to;
        let mut channel = Channel::new(terms)?;
        channel.apply(now(), Event::Deposited(deposit))?;
        let address = channel.address();
        state.balances.insert(from, left);
        state.channels.insert(address, channel);
        Ok(address)
    }

    /// Delivers a voucher.
    ///
    /// # Errors
    /// [`ChainError`].
    pub async fn claim(&self, voucher: SignedVoucher) -> Result<(), ChainError> {
        Delay::new(BLOCK_TIME).await;
        let mut state = self.lock();
        let at = voucher.voucher.channel;
        let channel = state.channels.get_mut(&at).ok_or(ChainError::NoChannel(at))?;
        let effects = channel.apply(now(), Event::VoucherDelivered(voucher))?;
        let terms = channel.data().terms;
        for effect in effects {
            let (to, amount) = match effect {
                Effect::PayProvider(amount) => (terms.contract, amount),
                Effect::Refund(amount) => (terms.refund_to, amount),
            };
            let balance = state.balances.entry(to).or_default();
            *balance = balance.checked_add(amount)?;
        }
        Ok(())
    }
}
