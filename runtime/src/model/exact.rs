//! Models of the exact tier: what they compute is the same to the last bit on every machine, and
//! can be committed to. `docs/exact.md` is the specification.

mod manifest;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use cocoon_market::ids::Digest;
use cocoon_market::tree;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::decoder::ExactNetwork;
use super::load::{Loaded, load_exact_on};
use super::{LoadError, Model, OfFile};
use crate::device::Device;
use crate::engine::{Batch, EngineError, PageId, pages_of};
use crate::gguf::Gguf;
use crate::tokenizer::TokenId;
pub use manifest::Manifest;

/// Tokens that are read in one pass when activations are recomputed.
const PASS_TOKENS: usize = 256;

/// A model of the exact tier.
///
/// The weights become bytes with a multiplier for each 64, whatever the file has; on an adapter
/// they are `f32` that hold those integers.
#[derive(Debug)]
pub struct ExactModel {
    model: Arc<Model>,
    network: Arc<dyn ExactNetwork>,
    manifest: Manifest,
}

/// Why activations were not computed.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// A token id beyond the vocabulary.
    #[error("token {id} is beyond the vocabulary of {vocabulary}")]
    UnknownToken {
        /// The id.
        id: TokenId,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// More tokens than the model reads.
    #[error("{tokens} tokens are more than the context of {context}")]
    ContextExceeded {
        /// Tokens there are.
        tokens: usize,
        /// Tokens in the context.
        context: usize,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl ExactModel {
    /// Loads a GGUF file. Takes some seconds for each 100 million weights, since all of them are
    /// hashed.
    ///
    /// # Errors
    ///
    /// As [`Model::load`]; [`LoadError::Unsuitable`] for models that the page does not cover.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, LoadError> {
        Self::from_gguf(&Gguf::open(path.as_ref())?, device)
    }

    /// As [`ExactModel::load`], from a file that is already open.
    ///
    /// # Errors
    ///
    /// As [`ExactModel::load`].
    pub fn from_gguf(file: &Gguf, device: &Device) -> Result<Self, LoadError> {
        let mut of_file = OfFile::read(file)?;
        of_file.config.restrict_to_exact()?;
        let source = of_file.source(file);
        let manifest = Manifest::new(file, &source, &of_file.config)?;
        let Loaded { network, parameters } = load_exact_on(&source, of_file.config.clone(), device)?;
        let model = Model::new(Arc::clone(&network) as _, parameters, of_file, device);
        Ok(Self { model: Arc::new(model), network, manifest })
    }

    /// The model, to generate with as with any other.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// What a node must hold to be held to an answer.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Recomputes what a job computed that has read these tokens: its prompt, and of its answer all
    /// but the last.
    ///
    /// # Errors
    ///
    /// [`ActivationError`] for tokens that the model cannot have read, or when the engine fails.
    pub fn activations(&self, tokens: &[TokenId]) -> Result<Activations, ActivationError> {
        let summary = self.model.summary();
        let (vocabulary, context) = (summary.vocabulary, summary.context_tokens);
        if tokens.len() > context {
            return Err(ActivationError::ContextExceeded { tokens: tokens.len(), context });
        }
        if let Some(id) = tokens.iter().find(|id| **id as usize >= vocabulary) {
            return Err(ActivationError::UnknownToken { id: *id, vocabulary });
        }
        let mut session = Arc::clone(&self.network).exact_session();
        let pages: Vec<PageId> = (0..).take(pages_of(tokens.len())).collect();
        let mut activations = Activations::default();
        for part in tokens.chunks(PASS_TOKENS) {
            let start = activations.positions;
            let mut batch = Batch::default();
            batch.push(part, start, pages.clone(), false);
            let mut layers = Vec::new();
            session.pass_before(&batch, &mut |layer, values| layers.push(digests(layer, start, part.len(), &values)))?;
            activations.extend(&layers);
        }
        Ok(activations)
    }
}

/// Digests of the rows that go into each layer and come out of the last, by position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activations {
    positions: usize,
    /// `[position][layer]`
    digests: Vec<Digest>,
}

impl Activations {
    /// Positions there are.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// The digest of what goes into a layer at a position; one number behind the last layer, of
    /// what comes out of it.
    pub fn digest(&self, position: usize, layer: usize) -> Option<Digest> {
        let layers = self.digests.len() / self.positions.max(1);
        (layer < layers).then(|| self.digests.get(position * layers + layer)).flatten().copied()
    }

    /// The commitment: a SHA-256 tree over all of them, position after position.
    pub fn root(&self) -> Digest {
        tree::root(&self.digests)
    }

    /// Takes the next positions, layer by layer.
    fn extend(&mut self, layers: &[Vec<Digest>]) {
        let positions = layers.first().map_or(0, Vec::len);
        self.digests.extend((0..positions).flat_map(|position| layers.iter().map(move |layer| layer[position])));
        self.positions += positions;
    }
}

/// Digests of a layer's rows from a position on.
fn digests(layer: usize, start: usize, rows: usize, values: &[i32]) -> Vec<Digest> {
    let width = (values.len() / rows.max(1)).max(1);
    values.par_chunks(width).enumerate().map(|(row, values)| activation_digest(layer, start + row, values)).collect()
}

fn activation_digest(layer: usize, position: usize, values: &[i32]) -> Digest {
    let mut bytes = Vec::with_capacity(4 * values.len());
    values.iter().for_each(|value| bytes.extend(value.to_be_bytes()));
    let hash = Sha256::new_with_prefix(b"cocoon/exact/x/1\0")
        .chain_update((layer as u32).to_be_bytes())
        .chain_update((position as u32).to_be_bytes())
        .chain_update(bytes);
    Digest(hash.finalize().into())
}
