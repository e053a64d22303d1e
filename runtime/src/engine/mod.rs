//! What computes: the small set of operations that model families are written in, and the engines
//! that carry them out.
//!
//! A family (`model::decoder`, say) is one function over [`Kernels`]; it knows no device, no file
//! format and no precision. An engine knows nothing of families. So there is one definition of
//! each family, and one place for each device:
//!
//! | engine | computes in | runs on |
//! |---|---|---|
//! | [`cpu::Cpu`] | quantised weights, activations of fifteen bits, sums in `f32` | any processor, SIMD chosen at run time |
//! | [`burn::Burn`] | `f32` | whatever burn runs on: GPUs through wgpu |
//! | [`exact::Cpu`], [`exact::Burn`] | integers, as `docs/exact.md` has them | the same two, with equal bits |
//!
//! # Invariants
//!
//! - What a row becomes depends on its own sequence alone, never on its neighbours in the batch or
//!   on how a prompt was cut into passes. The CPU engine keeps this to the last bit.
//! - Engines do not check what they are given: spans lie inside the rows, pages inside the cache.
//!   Whoever plans a [`Batch`] is responsible, and nothing in it comes from a stranger.

mod activation;
pub(crate) mod burn;
pub(crate) mod cpu;
pub(crate) mod exact;

pub(crate) mod processor;
pub(crate) mod rope;
pub(crate) mod simd;
pub(crate) mod tiles;
pub(crate) mod weights;

use std::fmt;
use std::ops::Range;

use crate::tokenizer::TokenId;
pub use activation::Activation;
use rope::Rope;
pub(crate) use weights::Weights;

/// Positions whose keys and values lie together. Small enough that a short chat wastes little of
/// its last page, large enough that a page of one head fills vectors and fits the nearest cache.
pub(crate) const PAGE_POSITIONS: usize = 32;

/// A page's number in the cache of a session.
pub(crate) type PageId = u32;

/// Pages that hold so many positions.
pub(crate) const fn pages_of(positions: usize) -> usize {
    positions.div_ceil(PAGE_POSITIONS)
}

/// Why an engine gave no result.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// An operation on the device failed.
    #[error("device failed")]
    Device(#[from] ::burn::tensor::ExecutionError),
    /// The driver has lost the device, so that everything on it fails from now on.
    #[error("device is lost: {reason}")]
    Lost {
        /// As the driver puts it.
        reason: String,
    },
    /// The device had no memory left for something.
    #[error("device has no memory left")]
    OutOfMemory,
    /// Something would be larger than anything may be on the device.
    #[error(transparent)]
    TooLarge(#[from] TensorTooLarge),
    /// The device gave something of another type than was computed.
    #[error("device returned something that cannot be read")]
    Unreadable,
}

/// The rows that one sequence has in a pass, behind what its pages hold already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Where its rows are among those of the pass.
    pub(crate) rows: Range<usize>,
    /// Positions that were there before.
    pub(crate) start: usize,
    /// Its pages in order, enough for all positions up to the last row.
    pub(crate) pages: Vec<PageId>,
}

impl Span {
    /// Positions there are when the pass is over.
    pub(crate) fn end(&self) -> usize {
        self.start + self.rows.len()
    }
}

/// What a pass reads: tokens of one or several sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// A token for each row.
    pub(crate) ids: Vec<TokenId>,
    /// Which rows belong together; they cover all rows in order.
    pub(crate) spans: Vec<Span>,
    /// Rows whose results are wanted, ascending.
    pub(crate) wanted: Vec<usize>,
    /// Rows whose final states are wanted as well, ascending.
    pub(crate) shown: Vec<usize>,
}

impl Batch {
    /// Adds the next tokens of a sequence; with `wanted`, what follows the last one is asked for.
    pub(crate) fn push(&mut self, ids: &[TokenId], start: usize, pages: Vec<PageId>, wanted: bool) {
        let rows = self.ids.len()..self.ids.len() + ids.len();
        if wanted {
            self.wanted.extend(rows.clone().last());
        }
        self.ids.extend_from_slice(ids);
        self.spans.push(Span { rows, start, pages });
    }

    /// Asks for the final states of the last tokens added, so many of them.
    pub(crate) fn show_last(&mut self, tokens: usize) {
        let end = self.ids.len();
        self.shown.extend(end - tokens..end);
    }

    /// Whether a device can have the tensors of a pass that grow with sequences: what is kept, and the
    /// scores of all heads for all rows of a sequence.
    ///
    /// # Errors
    ///
    /// [`TensorTooLarge`] with the largest of them.
    pub(crate) fn check(&self, kept: CacheShape, query_heads: usize, tensor_bytes_max: u64) -> Result<(), TensorTooLarge> {
        let pages = self.spans.iter().flat_map(|span| &span.pages).max().map_or(0, |last| *last as usize + 1);
        let scores = self.spans.iter().map(|span| tensor_bytes([query_heads, span.rows.len(), span.end()])).max().unwrap_or(0);
        TensorTooLarge::check(kept.tensor_bytes(pages).max(scores), tensor_bytes_max)
    }

    /// The position of each row in its sequence.
    pub(crate) fn positions(&self) -> impl Iterator<Item = usize> {
        self.spans.iter().flat_map(|span| span.start..span.end())
    }
}

/// What the heads of an attention look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heads {
    /// Heads of queries.
    pub(crate) queries: usize,
    /// Heads of keys and of values; each is shared by a group of query heads.
    pub(crate) keys: usize,
    /// Elements in a head.
    pub(crate) size: usize,
}

impl Heads {
    /// Query heads that share a key head.
    pub(crate) fn group(self) -> usize {
        self.queries / self.keys
    }

    /// Elements of a row of queries, keys and values side by side.
    pub(crate) fn row(self) -> usize {
        (self.queries + 2 * self.keys) * self.size
    }
}

/// What a position sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Itself and all before it.
    Back,
    /// Itself and as many before it as make this many together.
    Window(usize),
    /// The whole sequence, which is read in one pass.
    Whole,
}

/// One attention of a family.
#[derive(Debug)]
pub(crate) struct Attention<'a, V> {
    /// Its heads.
    pub(crate) heads: Heads,
    /// What each position sees.
    pub(crate) sight: Sight,
    /// Weights of a root-mean-square norm over each query head and each key head, and its epsilon.
    pub(crate) norms: Option<(&'a V, &'a V, f32)>,
    /// Which layer's keys and values are meant.
    pub(crate) layer: usize,
}

/// How much a cache of keys and values holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheShape {
    /// Layers that keep something.
    pub(crate) layers: usize,
    /// Heads of keys, and of values.
    pub(crate) keys: usize,
    /// Elements in a head.
    pub(crate) size: usize,
}

impl CacheShape {
    /// Heads in one page, of keys or of values: one for each layer and position.
    pub(crate) fn page_heads(self) -> usize {
        self.layers * self.keys * PAGE_POSITIONS
    }

    /// Bytes of all keys, or of all values, of one layer in so many pages of a device: the tensor that grows.
    pub(crate) fn tensor_bytes(self, pages: usize) -> u64 {
        tensor_bytes([pages, PAGE_POSITIONS, self.keys, self.size])
    }

    /// Most pages of which no tensor has more bytes than that.
    pub(crate) fn pages_within(self, tensor_bytes_max: u64) -> usize {
        usize::try_from(tensor_bytes_max / self.tensor_bytes(1).max(1)).unwrap_or(usize::MAX)
    }
}

/// Bytes of a tensor in single precision, or of integers. Every number on an adapter has four.
pub(crate) fn tensor_bytes<const N: usize>(extents: [usize; N]) -> u64 {
    extents.iter().fold(size_of::<f32>() as u64, |bytes, extent| bytes.saturating_mul(*extent as u64))
}

/// A tensor that a device has no buffer for, whatever else is on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tensor of {needed_bytes} bytes, in single precision, is above the {limit_bytes} that the adapter allows")]
pub struct TensorTooLarge {
    /// What it would take.
    pub needed_bytes: u64,
    /// The most that one may take.
    pub limit_bytes: u64,
}

impl TensorTooLarge {
    /// Whether so many bytes are within a limit.
    ///
    /// # Errors
    ///
    /// Both, if not.
    pub(crate) fn check(needed_bytes: u64, limit_bytes: u64) -> Result<(), Self> {
        if needed_bytes > limit_bytes { Err(Self { needed_bytes, limit_bytes }) } else { Ok(()) }
    }
}

/// What a matrix is for. An engine may keep it in another form for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatrixRole {
    /// Rows of it are looked up.
    Table {
        /// Whether it is the head too.
        is_head: bool,
    },
    /// Queries, keys and values below each other, a part each.
    Attention {
        /// Elements in a head.
        size: usize,
        /// Whether each head is normed before it turns.
        normed: bool,
    },
    /// Its results are gates and the like, or scores.
    Inner,
    /// Its results are added to what goes from layer to layer.
    Output,
}

/// What a vector is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VectorRole {
    /// Weights of a norm.
    Norm,
    /// Weights of a norm over each head of queries.
    QueryNorm,
    /// A bias.
    Bias,
    /// Biases of queries, keys and values side by side.
    AttentionBias(Heads),
}

/// Why an engine cannot take some weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {rule}")]
pub struct Unsuitable {
    /// What about them.
    pub what: &'static str,
    /// What would be right.
    pub rule: &'static str,
}

/// Why an engine did not take some weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WeightsError {
    /// They do not suit it.
    #[error(transparent)]
    Unsuitable(#[from] Unsuitable),
    /// The device has no place for them.
    #[error(transparent)]
    TooLarge(#[from] TensorTooLarge),
}

/// What an engine's work is done on: a processor's threads, or an adapter.
pub(crate) trait Host {
    /// Does work there.
    ///
    /// # Errors
    ///
    /// Those of the work, and what else the device has to say when it failed.
    fn run<R: Send>(&self, work: impl FnOnce() -> Result<R, EngineError> + Send) -> Result<R, EngineError>;
    /// Waits until everything put onto the device so far is there.
    ///
    /// # Errors
    ///
    /// [`EngineError::OutOfMemory`] when some of it found no place, or what else failed.
    fn settle(&self) -> Result<(), EngineError> {
        Ok(())
    }
    /// Gives memory back that nothing uses.
    fn tidy(&self) {}
    /// Most bytes of one tensor.
    fn tensor_bytes_max(&self) -> u64 {
        u64::MAX
    }
}

/// The operations that decoders are made of.
///
/// Rows are activations `[rows, width]`. Matrices are `[out, in]`, as files have them.
pub(crate) trait Kernels: fmt::Debug + Send + Sync + 'static {
    /// Activations on the device.
    type Rows: Clone;
    /// Activations in the form that projections read.
    type Operand;
    /// A projection, or a table of rows.
    type Matrix: fmt::Debug + Send + Sync;
    /// One number for each element of a row: a norm's weights, or a bias.
    type Vector: fmt::Debug + Send + Sync;
    /// Keys and values in pages.
    type Cache: fmt::Debug + Send;
    /// What all layers of a pass share: which rows belong together, and how positions turn.
    type Pass;
    /// What the work is done on.
    type Host: Host;

    /// Where this engine's work is done.
    fn host(&self) -> &Self::Host;
    /// What a cache keeps of a shape, element for element.
    fn kept(&self, shape: CacheShape) -> CacheShape {
        shape
    }

    /// Puts a matrix onto the device.
    ///
    /// # Errors
    ///
    /// [`Unsuitable`] from engines that have demands on widths and magnitudes, [`TensorTooLarge`] from
    /// devices that have no such tensors.
    fn matrix(&self, weights: &Weights, role: MatrixRole) -> Result<Self::Matrix, WeightsError>;
    /// Puts a vector onto the device.
    ///
    /// # Errors
    ///
    /// [`Unsuitable`], as [`Kernels::matrix`].
    fn vector(&self, values: &[f32], role: VectorRole) -> Result<Self::Vector, Unsuitable>;
    /// An empty cache; its memory is taken as pages are used.
    fn cache(&self, shape: CacheShape) -> Self::Cache;
    /// Bytes that a page of such a cache takes, keys and values of all layers.
    fn page_bytes(&self, shape: CacheShape) -> u64;
    /// Prepares a pass. Without `rope` nothing turns.
    fn pass(&self, batch: &Batch, rope: Option<&Rope>) -> Self::Pass;

    /// Rows of a matrix, `[ids, in]`.
    fn embed(&self, table: &Self::Matrix, ids: &[TokenId]) -> Self::Rows;
    /// `x / sqrt(mean(x^2) + epsilon) * weight`, row by row.
    fn rms_norm(&self, x: &Self::Rows, weight: &Self::Vector, epsilon: f32) -> Self::Operand;
    /// `x * matrix^T + bias`, `[rows, in]` to `[rows, out]`.
    fn project(&self, x: &Self::Operand, matrix: &Self::Matrix, bias: Option<&Self::Vector>) -> Self::Rows;
    /// The sum of two.
    fn add(&self, x: Self::Rows, y: Self::Rows) -> Self::Rows;
    /// Norms and turns queries and keys, keeps keys and values, and mixes the values that each row
    /// sees: `[rows, heads.row()]` to `[rows, queries * size]`. Scores are divided by `sqrt(size)`.
    fn attend(&self, qkv: Self::Rows, what: &Attention<'_, Self::Vector>, pass: &Self::Pass, cache: &mut Self::Cache) -> Self::Operand;
    /// `f(gate) * up` of rows that have both side by side, `[rows, 2 * width]` to `[rows, width]`.
    fn gated(&self, gate_up: Self::Rows, f: Activation) -> Self::Operand;
    /// Some of the rows, in the order given.
    fn pick(&self, x: Self::Rows, rows: &[usize]) -> Self::Rows;
    /// Brings rows to the host, row after row.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when anything on the way to them failed.
    fn read(&self, x: Self::Rows) -> Result<Vec<f32>, EngineError>;
    /// As [`Kernels::read`], of rows in the form that projections read.
    ///
    /// # Errors
    ///
    /// As [`Kernels::read`].
    fn read_operand(&self, x: Self::Operand) -> Result<Vec<f32>, EngineError>;
}

/// What encoders need besides; their rows go into projections as they are.
pub(crate) trait TextKernels: Kernels {
    /// `(x - mean) / sqrt(variance + epsilon) * weight + bias`, row by row.
    fn layer_norm(&self, x: &Self::Rows, weight: &Self::Vector, bias: &Self::Vector, epsilon: f32) -> Self::Rows;
    /// A function of every element.
    fn activate(&self, x: Self::Rows, f: Activation) -> Self::Rows;
}

/// What the exact tier needs besides.
pub(crate) trait ExactKernels: Kernels {
    /// Brings what goes from layer to layer to the host, as the integers that it is.
    ///
    /// # Errors
    ///
    /// As [`Kernels::read`].
    fn integers(&self, x: &Self::Rows) -> Result<Vec<i32>, EngineError>;
}
