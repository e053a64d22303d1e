//! The processor that CPU engines run on: its instructions, and threads of their own.

use std::num::NonZeroUsize;
use std::sync::Arc;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use super::simd::Isa;
use super::{EngineError, Host, PageId};

/// Elements from which on work that is small for each is spread over threads: fewer take no longer
/// than handing out a task.
pub(crate) const SPREAD_ELEMENTS: usize = 16_384;

/// Instructions, and a pool of threads, so that a pass is one visit to them and not one for each
/// product.
#[derive(Clone, Debug)]
pub(crate) struct Processor {
    pub(crate) isa: Isa,
    pool: Arc<ThreadPool>,
}

impl Processor {
    /// With the best instructions that there are.
    ///
    /// # Errors
    ///
    /// When the system has no threads to give.
    pub(crate) fn new(threads: NonZeroUsize) -> Result<Self, ThreadPoolBuildError> {
        Self::with_isa(Isa::detect(), threads)
    }

    /// With instructions that the processor has, but maybe not its best.
    pub(crate) fn with_isa(isa: Isa, threads: NonZeroUsize) -> Result<Self, ThreadPoolBuildError> {
        let pool = ThreadPoolBuilder::new().num_threads(threads.get()).thread_name(|at| format!("cpu-engine-{at}")).build()?;
        Ok(Self { isa, pool: Arc::new(pool) })
    }

    /// Runs work on these threads.
    pub(crate) fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }
}

impl Host for Processor {
    fn run<R: Send>(&self, work: impl FnOnce() -> Result<R, EngineError> + Send) -> Result<R, EngineError> {
        self.enter(work)
    }
}

/// Does something with each row and what belongs to it in `others`, on several threads if there
/// are many.
pub(crate) fn map_row_pairs<T: Send, U: Send>(
    (values, width): (&mut [T], usize),
    (others, other_width): (&mut [U], usize),
    f: impl Fn(usize, &mut [T], &mut [U]) + Sync,
) {
    if values.len() < SPREAD_ELEMENTS {
        let pairs = values.chunks_exact_mut(width).zip(others.chunks_exact_mut(other_width));
        pairs.enumerate().for_each(|(at, (row, other))| f(at, row, other));
    } else {
        let pairs = values.par_chunks_exact_mut(width).zip(others.par_chunks_exact_mut(other_width));
        pairs.enumerate().for_each(|(at, (row, other))| f(at, row, other));
    }
}

/// Does something with each row, on several threads if there are many.
fn map_rows<T: Send>(values: &mut [T], width: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    if values.len() < SPREAD_ELEMENTS {
        values.chunks_mut(width).enumerate().for_each(|(at, row)| f(at, row));
    } else {
        values.par_chunks_mut(width).enumerate().for_each(|(at, row)| f(at, row));
    }
}

/// Rows in memory, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Rows<T> {
    pub(crate) width: usize,
    pub(crate) values: Vec<T>,
}

impl<T: Copy + Send> Rows<T> {
    /// As [`map_rows`].
    pub(crate) fn map(&mut self, f: impl Fn(usize, &mut [T]) + Sync) {
        map_rows(&mut self.values, self.width, f);
    }

    /// Combines each element with that of other rows.
    pub(crate) fn combine(&mut self, other: &Self, f: impl Fn(T, T) -> T + Sync)
    where
        T: Sync,
    {
        let width = self.width;
        self.map(|at, row| row.iter_mut().zip(&other.values[at * width..]).for_each(|(x, y)| *x = f(*x, *y)));
    }

    /// Some of the rows, in the order given.
    pub(crate) fn pick(&self, rows: &[usize]) -> Self {
        let values = rows.iter().flat_map(|row| &self.values[row * self.width..][..self.width]).copied().collect();
        Self { width: self.width, values }
    }
}

/// Pages of a cache by their ids; those not used yet have no memory.
#[derive(Debug)]
pub(crate) struct Slots<P>(Vec<Option<P>>);

impl<P> Slots<P> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// A page, made if it is used for the first time.
    pub(crate) fn page(&mut self, id: PageId, make: impl FnOnce() -> P) -> &mut P {
        let id = id as usize;
        if id >= self.0.len() {
            self.0.resize_with(id + 1, || None);
        }
        self.0[id].get_or_insert_with(make)
    }

    /// A page that was used before.
    pub(crate) fn used(&self, id: PageId) -> &P {
        self.0[id as usize].as_ref().expect("pages are written before they are read")
    }
}
