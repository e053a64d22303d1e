//! Devices that fail when a test says so, as real ones do when a driver resets or memory runs out.
//!
//! A [`Gate`] stands before every pass of a model. It stands between whoever plans passes and the
//! engine, so what it gives is handled as the engine's own word.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::embedding::Embedder;
use crate::engine::{Batch, EngineError};
use crate::model::encoder::TextNetwork;
use crate::model::{Model, Network, Outputs, Session};

/// Is asked before each pass.
pub trait Gate: fmt::Debug + Send + Sync {
    /// What the device has to say about a pass over so many tokens, of so many jobs or texts.
    ///
    /// # Errors
    ///
    /// What the pass is to fail with; nothing is computed then.
    fn pass(&self, tokens: usize, jobs: usize) -> Result<(), EngineError>;
}

/// A device that is lost from its n-th pass on, as a reset driver loses it.
#[derive(Debug)]
pub struct LostAt {
    pass: u64,
    passes: AtomicU64,
}

impl LostAt {
    /// Lost in the pass of that number, counted from 0, and in all after it.
    pub fn new(pass: u64) -> Arc<Self> {
        Arc::new(Self { pass, passes: AtomicU64::new(0) })
    }
}

impl Gate for LostAt {
    fn pass(&self, _: usize, _: usize) -> Result<(), EngineError> {
        match self.passes.fetch_add(1, Ordering::AcqRel) {
            before if before < self.pass => Ok(()),
            _ => Err(EngineError::Lost { reason: "the test lost it".to_owned() }),
        }
    }
}

/// A device that has memory for so many jobs or texts in a pass.
#[derive(Clone, Copy, Debug)]
pub struct RoomFor(pub usize);

impl Gate for RoomFor {
    fn pass(&self, _: usize, jobs: usize) -> Result<(), EngineError> {
        if jobs > self.0 { Err(EngineError::OutOfMemory) } else { Ok(()) }
    }
}

impl Model {
    /// The same model behind a gate.
    #[must_use]
    pub fn behind(self, gate: Arc<dyn Gate>) -> Self {
        self.map_network(|network| Arc::new(Gated { inner: network, gate }))
    }
}

impl Embedder {
    /// The same embedder behind a gate.
    #[must_use]
    pub fn behind(self, gate: Arc<dyn Gate>) -> Self {
        self.map_network(|network| Arc::new(Gated { inner: network, gate }))
    }
}

/// Something whose passes go through a gate.
#[derive(Debug)]
struct Gated<T: ?Sized> {
    gate: Arc<dyn Gate>,
    inner: T,
}

impl<T: ?Sized> Gated<T> {
    fn ask(&self, batch: &Batch) -> Result<(), EngineError> {
        self.gate.pass(batch.ids.len(), batch.spans.len())
    }
}

impl Network for Gated<Arc<dyn Network>> {
    fn page_bytes(&self) -> u64 {
        self.inner.page_bytes()
    }

    fn width(&self) -> usize {
        self.inner.width()
    }

    fn pages_max(&self) -> usize {
        self.inner.pages_max()
    }

    fn tidy(&self) {
        self.inner.tidy();
    }

    fn session(self: Arc<Self>) -> Box<dyn Session> {
        Box::new(Gated { gate: Arc::clone(&self.gate), inner: Arc::clone(&self.inner).session() })
    }
}

impl Session for Gated<Box<dyn Session>> {
    fn pass(&mut self, batch: &Batch) -> Result<Outputs, EngineError> {
        self.ask(batch)?;
        self.inner.pass(batch)
    }
}

impl TextNetwork for Gated<Arc<dyn TextNetwork>> {
    fn pass(&self, batch: &Batch) -> Result<Vec<f32>, EngineError> {
        self.ask(batch)?;
        self.inner.pass(batch)
    }

    fn tidy(&self) {
        self.inner.tidy();
    }
}
