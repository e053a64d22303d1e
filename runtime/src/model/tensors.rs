//! Tensors on their way out of a file: taken by name, held against the shape they must have.

use std::collections::BTreeSet;

use super::LoadError;
use crate::engine::Weights;
use crate::engine::weights::{BLOCK, Elements};
use crate::gguf::Gguf;
use crate::safetensors::Checkpoint;

/// A file, or several, that have tensors by name.
pub(crate) trait TensorSource {
    /// Every name.
    fn names(&self) -> Vec<&str>;
    /// Extents of a tensor, slowest first; none where there is no such tensor.
    fn shape(&self, name: &str) -> Option<Vec<u64>>;
    /// The elements of a tensor, in the form that the file has them in.
    fn elements(&self, name: &str) -> Result<Elements, LoadError>;
}

impl TensorSource for Gguf {
    fn names(&self) -> Vec<&str> {
        self.tensors().keys().map(String::as_str).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<u64>> {
        self.tensors().get(name).map(|entry| entry.dimensions.iter().rev().copied().collect())
    }

    fn elements(&self, name: &str) -> Result<Elements, LoadError> {
        Ok(Gguf::elements(self, name)?)
    }
}

impl TensorSource for Checkpoint {
    fn names(&self) -> Vec<&str> {
        self.tensors().map(|(name, _)| name).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<u64>> {
        self.get(name).map(|entry| entry.shape.clone())
    }

    fn elements(&self, name: &str) -> Result<Elements, LoadError> {
        Ok(Elements::Values(self.dequantise(name)?))
    }
}

/// Bytes of a model's weights on an adapter: all its elements in single precision, whatever form the
/// file has them in. It is what a person is told beforehand, and what a device without room is said to lack.
pub(crate) fn adapter_bytes(source: &impl TensorSource) -> u64 {
    let elements = |name: &str| source.shape(name).unwrap_or_default().iter().fold(1, |all: u64, extent| all.saturating_mul(*extent));
    source.names().into_iter().map(|name| elements(name).saturating_mul(size_of::<f32>() as u64)).fold(0, u64::saturating_add)
}

/// Takes tensors out of a source, and remembers which were taken.
pub(super) struct Tensors<'a, S> {
    source: &'a S,
    taken: BTreeSet<String>,
    parameters: u64,
}

impl<'a, S: TensorSource> Tensors<'a, S> {
    pub(super) fn new(source: &'a S) -> Self {
        Self { source, taken: BTreeSet::new(), parameters: 0 }
    }

    /// Elements of all that was taken.
    pub(super) fn parameters(&self) -> u64 {
        self.parameters
    }

    /// A matrix `[rows, columns]`.
    pub(super) fn weights(&mut self, name: &str, rows: usize, columns: usize) -> Result<Weights, LoadError> {
        let elements = self.take(name, &[rows as u64, columns as u64])?;
        // Rows that are no whole blocks are there as values only; the file reader has checked the others.
        let whole = columns.is_multiple_of(BLOCK);
        Ok(Weights::new(rows, columns, if whole { elements } else { Elements::Values(elements.values()) }))
    }

    /// One number for each element of a row.
    pub(super) fn values(&mut self, name: &str, width: usize) -> Result<Vec<f32>, LoadError> {
        Ok(self.take(name, &[width as u64])?.values())
    }

    /// A tensor left over belongs to a variant that would be computed wrongly without it, unless
    /// `ignored` knows its name.
    pub(super) fn check_all_taken(&self, ignored: impl Fn(&str) -> bool) -> Result<(), LoadError> {
        match self.source.names().into_iter().find(|name| !self.taken.contains(*name) && !ignored(name)) {
            Some(name) => Err(LoadError::UnexpectedTensor { name: name.to_owned() }),
            None => Ok(()),
        }
    }

    fn take(&mut self, name: &str, expected: &[u64]) -> Result<Elements, LoadError> {
        let found = self.source.shape(name).ok_or_else(|| LoadError::MissingTensor { name: name.to_owned() })?;
        if found != expected {
            return Err(LoadError::TensorShape { name: name.to_owned(), found, expected: expected.to_vec() });
        }
        let elements = self.source.elements(name)?;
        if !elements.are_finite() {
            return Err(LoadError::NotFinite { name: name.to_owned() });
        }
        if self.taken.insert(name.to_owned()) {
            self.parameters += expected.iter().product::<u64>();
        }
        Ok(elements)
    }
}
