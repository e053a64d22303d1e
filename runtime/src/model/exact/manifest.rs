//! The manifest: which integers a model's weights are.

use cocoon_market::ids::Digest;
use cocoon_market::tree;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::engine::exact::arithmetic::fixed_epsilon;
use crate::engine::exact::integers::{IntegerMatrix, embedding};
use crate::engine::exact::{matrices, vector};
use crate::engine::rope::Rope;
use crate::engine::{MatrixRole, VectorRole, Weights};
use crate::folder::AttentionBias;
use crate::gguf::Gguf;
use crate::model::LoadError;
use crate::model::config::Config;
use crate::model::load::{Source, rope_divisors};
use crate::model::tensors::{TensorSource, Tensors};

/// The version of `docs/exact.md` that this code computes by.
const ARITHMETIC: u32 = 1;

/// What a node must hold to be held to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// BLAKE3 of the model file.
    pub model: [u8; 32],
    /// SHA-256 root over the integers that its weights become.
    pub weights: Digest,
}

impl Manifest {
    pub(super) fn new(file: &Gguf, source: &Source<'_, Gguf>, config: &Config) -> Result<Self, LoadError> {
        Ok(Self { model: file.blake3(), weights: weights_root(source, config)? })
    }

    /// Its one encoding.
    pub fn to_json(&self) -> String {
        let (model, weights) = (blake3::Hash::from_bytes(self.model), self.weights);
        format!(r#"{{"arithmetic":{ARITHMETIC},"model_blake3":"{model}","weights_root":"{weights}"}}"#)
    }

    /// BLAKE3 of the encoding: the name of the exact tier's model.
    pub fn name(&self) -> [u8; 32] {
        *blake3::hash(self.to_json().as_bytes()).as_bytes()
    }
}

/// Digests of rows, tensor after tensor.
#[derive(Default)]
struct RowDigests {
    tensors: u32,
    digests: Vec<Digest>,
}

impl RowDigests {
    fn push(&mut self, rows: usize, bytes: impl Fn(usize) -> Vec<u8> + Sync) {
        let tensor = self.tensors;
        let digest = |row: usize| {
            let hash = Sha256::new_with_prefix(b"cocoon/exact/w/1\0").chain_update(tensor.to_be_bytes());
            Digest(hash.chain_update((row as u32).to_be_bytes()).chain_update(bytes(row)).finalize().into())
        };
        self.digests.par_extend((0..rows).into_par_iter().map(digest));
        self.tensors += 1;
    }

    fn matrix(&mut self, matrix: &IntegerMatrix) {
        let groups = matrix.columns / matrix.group;
        self.push(matrix.rows(), |row| {
            let mut bytes = matrix.exponent.to_be_bytes().to_vec();
            bytes.extend(matrix.multipliers[row * groups..][..groups].iter().flat_map(|multiplier| multiplier.to_be_bytes()));
            bytes.extend(matrix.weights[row * matrix.columns..][..matrix.columns].iter().map(|weight| weight.cast_unsigned()));
            bytes
        });
    }

    fn norm(&mut self, values: &[f32], role: VectorRole) -> Result<(), LoadError> {
        let norm = vector(values, role)?;
        self.push(1, |_| {
            // A norm's weights are sixteen bits wide by their making.
            let weights = norm.values.iter().flat_map(|weight| (*weight as i16).to_be_bytes());
            norm.exponent.to_be_bytes().into_iter().chain(weights).collect()
        });
        Ok(())
    }

    fn integers(&mut self, values: &[i32], width: usize) {
        self.push(values.len() / width.max(1), |row| integer_bytes(&values[row * width..][..width]).collect());
    }
}

fn integer_bytes(values: &[i32]) -> impl Iterator<Item = u8> + '_ {
    values.iter().flat_map(|value| value.to_be_bytes())
}

/// The root over all rows, in the order of section 3.5.
fn weights_root(source: &Source<'_, Gguf>, config: &Config) -> Result<Digest, LoadError> {
    let naming = source.naming;
    let mut tensors = Tensors::new(source.tensors);
    let mut rows = RowDigests::default();
    let table = |tensors: &mut Tensors<'_, Gguf>, name: &str| {
        tensors.weights(name, source.rows, config.hidden).map(|weights| weights.first_rows(source.tokens))
    };
    let words = table(&mut tensors, naming.embedding)?;
    rows.integers(&embedding(&words.values())?, config.hidden);
    for layer in 0..config.layers {
        push_layer(source, config, layer, &mut tensors, &mut rows)?;
    }
    rows.norm(&tensors.values(naming.norm, config.hidden)?, VectorRole::Norm)?;
    let head = if config.tied { words } else { table(&mut tensors, naming.head)? };
    push_matrix(&mut rows, &head, MatrixRole::Inner)?;
    let rope = Rope::new(config.rope, rope_divisors(source, config, &mut tensors)?.as_deref());
    let epsilon = fixed_epsilon(config.epsilon as f32, 28);
    rows.push(1, |_| integer_bytes(&[epsilon]).chain(rope.steps().iter().flat_map(|step| step.to_be_bytes())).collect());
    Ok(tree::root(&rows.digests))
}

fn push_matrix(rows: &mut RowDigests, weights: &Weights, role: MatrixRole) -> Result<(), LoadError> {
    matrices(weights, role)?.iter().for_each(|matrix| rows.matrix(matrix));
    Ok(())
}

fn push_layer<S: TensorSource>(
    source: &Source<'_, S>,
    config: &Config,
    layer: usize,
    tensors: &mut Tensors<'_, S>,
    rows: &mut RowDigests,
) -> Result<(), LoadError> {
    let &Config { hidden, feed_forward, heads, family, biases, .. } = config;
    let naming = source.naming;
    let name = |part: &str| naming.weight(layer, part);
    let (queries, keys) = (heads.queries * heads.size, heads.keys * heads.size);
    let normed = family.has_head_norms();
    rows.norm(&tensors.values(&name(naming.attention_norm), hidden)?, VectorRole::Norm)?;
    let inputs = [(naming.query, queries, true), (naming.key, keys, false), (naming.value, keys, false)];
    for (part, width, is_query) in inputs {
        let role = if is_query { MatrixRole::Attention { size: heads.size, normed } } else { MatrixRole::Inner };
        push_matrix(rows, &tensors.weights(&name(part), width, hidden)?, role)?;
        if biases != AttentionBias::None {
            let role = if is_query { VectorRole::AttentionBias(heads) } else { VectorRole::Bias };
            rows.integers(&vector(&tensors.values(&naming.bias(layer, part), width)?, role)?.values, width);
        }
    }
    if normed {
        rows.norm(&tensors.values(&name(naming.query_norm), heads.size)?, VectorRole::QueryNorm)?;
        rows.norm(&tensors.values(&name(naming.key_norm), heads.size)?, VectorRole::Norm)?;
    }
    push_matrix(rows, &tensors.weights(&name(naming.attention_out), hidden, queries)?, MatrixRole::Output)?;
    rows.norm(&tensors.values(&name(naming.feed_forward_norm), hidden)?, VectorRole::Norm)?;
    for part in [naming.gate, naming.up] {
        push_matrix(rows, &tensors.weights(&name(part), feed_forward, hidden)?, MatrixRole::Inner)?;
    }
    push_matrix(rows, &tensors.weights(&name(naming.down), hidden, feed_forward)?, MatrixRole::Output)
}
