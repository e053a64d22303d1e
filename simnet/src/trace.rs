//! What happened, in order: the lines by which two runs are compared.

use std::sync::{Arc, Mutex, PoisonError};

/// A shared log of a simulation. Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    /// Adds a line, marked with virtual time in microseconds.
    pub fn note(&self, node: &str, what: impl std::fmt::Display) {
        let line = format!("{:>12} {node:<10} {what}", simclock::now_ns() / 1000);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// All lines, each with its end.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    /// The blake3 hash of the text.
    pub fn hash(&self) -> String {
        blake3::hash(self.text().as_bytes()).to_hex().to_string()
    }
}
