//! Group commit: while one thread writes, the others gather and are written together by the next.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use cocoon_market::OperatorKey;
use tonlib_core::cell::ArcCell;

use super::batch::Batch;
use super::error::LedgerError;
use super::record::{decode, encode};
use super::state::State;
use super::store::{Damage, Store, StoreError, Table, Write, WriteMode};
use super::verifier::Verifier;
use crate::contract::{CellError, OperatorOrder};

/// Version of the entries' layout.
const FORMAT: u32 = 1;

/// The durable books of one operator key. Shared between threads; every method blocks until its entry is durable, so async callers
/// run it on a thread that may block.
pub struct Ledger {
    store: Box<dyn Store>,
    key: OperatorKey,
    verifier: Verifier,
    /// None after a commit failed, because the store alone knows then how much of it is there. Locked for moments only, so that
    /// those who ask never wait for the disk.
    state: Mutex<Option<Arc<State>>>,
    line: Mutex<Line>,
    moved: Condvar,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Who waits to be written.
#[derive(Default)]
struct Line {
    waiting: Vec<Waiter>,
    has_leader: bool,
}

type Work = Box<dyn FnOnce(&mut Batch<'_>) + Send>;
type Outcome = Arc<Mutex<Option<Result<(), StoreError>>>>;

struct Waiter {
    work: Work,
    outcome: Outcome,
}

impl Ledger {
    /// Opens the books of this key, reads them back and checks that they fit together.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when they don't, or belong to another key.
    pub fn open(store: impl Store + 'static, key: OperatorKey) -> Result<Self, LedgerError> {
        let store: Box<dyn Store> = Box::new(store);
        check_owner(&*store, &key)?;
        let state = State::load(&*store)?;
        let state = Mutex::new(Some(Arc::new(state)));
        Ok(Self { store, key, verifier: Verifier::default(), state, line: Mutex::default(), moved: Condvar::new() })
    }

    /// Whose books these are.
    pub fn node_id(&self) -> cocoon_market::NodeId {
        self.key.node_id()
    }

    /// Signs an operator's message. It is in the books as an order before, and binds nobody until it is sent.
    ///
    /// # Errors
    /// [`CellError`] when the command fits no message.
    pub fn sign_operator(&self, order: &OperatorOrder) -> Result<ArcCell, CellError> {
        order.sign(&self.key)
    }

    /// Enters what `work` does, durably, together with what other threads are entering at the moment. Each of the batch's methods
    /// decides for itself; what `work` returns is returned once everything is durable.
    ///
    /// # Errors
    /// [`LedgerError::Store`] when it could not be made durable; then nothing of it was entered.
    pub fn commit<T: Send + 'static>(&self, work: impl FnOnce(&mut Batch<'_>) -> T + Send + 'static) -> Result<T, LedgerError> {
        let result = Arc::new(Mutex::new(None));
        let outcome = Outcome::default();
        let into = Arc::clone(&result);
        let work: Work = Box::new(move |batch| *lock(&into) = Some(work(batch)));
        let mut line = lock(&self.line);
        line.waiting.push(Waiter { work, outcome: Arc::clone(&outcome) });
        loop {
            if let Some(outcome) = lock(&outcome).take() {
                outcome?;
                return lock(&result).take().ok_or(LedgerError::Store(StoreError::BrokenOff));
            }
            if line.has_leader {
                line = self.moved.wait(line).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            line.has_leader = true;
            let lead = Lead { ledger: self, outcomes: Vec::new() };
            let waiting = std::mem::take(&mut line.waiting);
            drop(line);
            lead.write(waiting);
            line = lock(&self.line);
        }
    }

    /// Only the leader calls this, so nobody else changes the state meanwhile.
    fn write_together(&self, works: Vec<Work>) -> Result<(), StoreError> {
        let staged = self.make_durable(works).inspect_err(|_| *lock(&self.state) = None)?;
        if let Some(state) = &mut *lock(&self.state) {
            Arc::make_mut(state).merge(staged);
        }
        Ok(())
    }

    fn make_durable(&self, works: Vec<Work>) -> Result<State, StoreError> {
        let state = self.state()?;
        let mut batch = Batch::new(&*self.store, &self.key, &state);
        for work in works {
            work(&mut batch);
        }
        let (writes, staged) = batch.finish()?;
        if !writes.is_empty() {
            self.store.commit(&writes)?;
        }
        Ok(staged)
    }

    fn state(&self) -> Result<Arc<State>, StoreError> {
        let mut slot = lock(&self.state);
        if let Some(state) = &*slot {
            return Ok(Arc::clone(state));
        }
        Ok(Arc::clone(slot.insert(Arc::new(State::load(&*self.store)?))))
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(super) const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    pub(super) fn with_state<T>(&self, ask: impl FnOnce(&State) -> T) -> Result<T, LedgerError> {
        Ok(ask(&*self.state()?))
    }
}

/// A thread's turn to write. Whatever happens to it, those who wait get an answer and somebody else the next turn.
struct Lead<'a> {
    ledger: &'a Ledger,
    outcomes: Vec<Outcome>,
}

impl Lead<'_> {
    fn write(mut self, waiting: Vec<Waiter>) {
        let (works, outcomes) = waiting.into_iter().map(|waiter| (waiter.work, waiter.outcome)).unzip();
        self.outcomes = outcomes;
        let result = self.ledger.write_together(works);
        for outcome in self.outcomes.drain(..) {
            *lock(&outcome) = Some(result.clone());
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        for outcome in self.outcomes.drain(..) {
            *lock(&outcome) = Some(Err(StoreError::BrokenOff));
        }
        lock(&self.ledger.line).has_leader = false;
        self.ledger.moved.notify_all();
    }
}

/// No thread leaves these locks with something half done: what is behind them is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_owner(store: &dyn Store, key: &OperatorKey) -> Result<(), StoreError> {
    const FORMAT_KEY: &[u8] = b"format";
    const OWNER_KEY: &[u8] = b"owner";
    let owner = key.node_id();
    let Some(format) = store.get(Table::Meta, FORMAT_KEY)? else {
        let line = |key: &[u8], value| Write { table: Table::Meta, key: key.to_vec(), value, mode: WriteMode::Insert };
        return store.commit(&[line(FORMAT_KEY, encode(Table::Meta, &FORMAT)?), line(OWNER_KEY, encode(Table::Meta, &owner)?)]);
    };
    let found: u32 = decode(Table::Meta, &format)?;
    if found != FORMAT {
        return Err(StoreError::Damaged(Damage::Format { found, readable: FORMAT }));
    }
    let stored = store.get(Table::Meta, OWNER_KEY)?.ok_or(StoreError::Damaged(Damage::Entry(Table::Meta)))?;
    let stored: cocoon_market::NodeId = decode(Table::Meta, &stored)?;
    if stored == owner { Ok(()) } else { Err(StoreError::Damaged(Damage::Owner(stored))) }
}
