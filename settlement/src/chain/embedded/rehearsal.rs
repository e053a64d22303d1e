//! What a message would do on another chain: executed here, on copies of the accounts that it reaches, and forgotten.

use cocoon_market::{Amount, Timestamp};
use tycho_types::dict::Dict;
use tycho_types::models::{AccountState as VmAccountState, ShardAccount, StateInit};

use super::block::execution;
use super::store::{AccountKey, account_key, new_account};
use super::{Blocks, Embedded, OpenError, Options};
use crate::chain::codec::from_edge;
use crate::chain::{AccountState, AccountStatus, Address, Chain, ChainError, Transaction};

/// What a message from outside would cause.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// All transactions, in their order.
    pub transactions: Vec<Transaction>,
    /// What they would cost together, forwarding included, without the rent that is due since the accounts' last transactions.
    pub cost: Amount,
}

impl Rehearsal {
    /// Gas that all of them use.
    pub fn gas_used(&self) -> u64 {
        self.transactions.iter().fold(0, |sum, transaction| sum.saturating_add(transaction.gas_used))
    }

    /// The first transaction that would not do what it was asked to.
    pub fn failure(&self) -> Option<&Transaction> {
        self.transactions.iter().find(|transaction| !transaction.success)
    }
}

/// Copies of accounts, on which messages are tried one after the other.
#[derive(Debug)]
pub struct RehearsalStage {
    copies: Embedded,
    /// Blocks whose transactions were told.
    told: u32,
    /// What all messages so far cost.
    spent: Amount,
}

impl RehearsalStage {
    /// The named accounts as `chain` shows them. All others are empty here, so name those whose code the messages reach. Prices are this
    /// program's own: TON's of 2026.
    ///
    /// # Errors
    /// Whatever reading the accounts fails with; [`ChainError::BadRequest`] when one is frozen.
    pub fn new(chain: &dyn Chain, reached: &[Address]) -> Result<Self, ChainError> {
        let mut accounts = Vec::new();
        let mut now_s = 0;
        for address in reached {
            let state = chain.account(address)?;
            now_s = state.seen_at.unix_s.max(now_s);
            accounts.push((*address, state));
        }
        let now = Timestamp(now_s.saturating_mul(1000));
        let begun: Vec<_> = accounts.iter().map(|(address, state)| copy(address, state)).collect::<Result<_, _>>()?;
        let options = Options { blocks: Blocks::Instant, clock: std::sync::Arc::new(move || now) };
        let copies = Embedded::with_accounts(begun.into_iter().flatten().collect(), options).map_err(|error| match error {
            OpenError::Store(error) => error.into(),
            error => ChainError::Execution(error.into()),
        })?;
        Ok(Self { copies, told: 0, spent: Amount::ZERO })
    }

    /// Executes a message from outside, on what those before it left.
    ///
    /// # Errors
    /// [`ChainError::Rejected`] as the chain would.
    pub fn send(&mut self, boc: &[u8]) -> Result<Rehearsal, ChainError> {
        self.copies.send_boc(boc)?;
        let last = self.copies.head()?.seqno;
        let mut transactions = Vec::new();
        for seqno in self.told.saturating_add(1)..=last {
            transactions.extend(self.copies.block_transactions(seqno)?);
        }
        let supply = self.copies.supply()?;
        let spent = supply.fees.checked_add(supply.burned).unwrap_or(Amount::MAX);
        let cost = spent.saturating_sub(self.spent);
        (self.told, self.spent) = (last, spent);
        Ok(Rehearsal { transactions, cost })
    }
}

/// Executes one message from outside on the named accounts, as [`RehearsalStage`] does.
///
/// # Errors
/// As for [`RehearsalStage::new`] and [`RehearsalStage::send`].
pub fn rehearse(chain: &dyn Chain, boc: &[u8], reached: &[Address]) -> Result<Rehearsal, ChainError> {
    RehearsalStage::new(chain, reached)?.send(boc)
}

/// The account as it would stand in the first block; `None` for one that does not exist.
fn copy(address: &Address, state: &AccountState) -> Result<Option<(AccountKey, ShardAccount)>, ChainError> {
    let cell = |cell: &Option<_>| cell.as_ref().map(from_edge).transpose().map_err(|error| ChainError::Execution(error.into()));
    let vm_state = match state.status {
        AccountStatus::Uninitialized if state.balance.is_zero() => return Ok(None),
        AccountStatus::Uninitialized => VmAccountState::Uninit,
        AccountStatus::Frozen => return Err(ChainError::BadRequest("an account that the message reaches is frozen")),
        AccountStatus::Active => {
            let (code, data) = (cell(&state.code)?, cell(&state.data)?);
            VmAccountState::Active(StateInit { split_depth: None, special: None, code, data, libraries: Dict::new() })
        }
    };
    let last_paid = u32::try_from(state.seen_at.unix_s).unwrap_or(u32::MAX);
    Ok(Some((account_key(address), new_account(address, state.balance, vm_state, last_paid).map_err(execution)?)))
}
