//! The CPU engine: quantised weights read as they are, SIMD chosen at run time.

mod attention;
mod math;
mod matrix;
mod pages;
mod rounding;
mod rows;

use super::processor::{self, Processor};
use super::rope::{Rope, Turns};
use super::{
    Activation, Attention, Batch, CacheShape, EngineError, Kernels, MatrixRole, Span, TextKernels, Unsuitable, VectorRole, Weights,
    WeightsError,
};
use crate::tokenizer::TokenId;
pub(crate) use matrix::Matrix;
use matrix::Rounded;
pub(crate) use pages::{Pages, page_bytes};
use rows::{Activate, Gated, LayerNorm, Prepare, RmsNorm};

/// The engine.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    processor: Processor,
}

impl Cpu {
    pub(crate) fn new(processor: Processor) -> Self {
        Self { processor }
    }
}

/// Activations.
pub(crate) type Rows = processor::Rows<f32>;

/// What the layers of a pass share.
#[derive(Debug)]
pub(crate) struct Pass {
    spans: Vec<Span>,
    turns: Option<Turns>,
}

impl Kernels for Cpu {
    type Rows = Rows;
    type Operand = Rows;
    type Matrix = Matrix;
    type Vector = Vec<f32>;
    type Cache = Pages;
    type Pass = Pass;
    type Host = Processor;

    fn host(&self) -> &Processor {
        &self.processor
    }

    fn matrix(&self, weights: &Weights, _: MatrixRole) -> Result<Matrix, WeightsError> {
        Ok(self.processor.enter(|| Matrix::new(weights)))
    }

    fn vector(&self, values: &[f32], _: VectorRole) -> Result<Vec<f32>, Unsuitable> {
        Ok(values.to_vec())
    }

    fn cache(&self, shape: CacheShape) -> Pages {
        Pages::new(shape)
    }

    fn page_bytes(&self, shape: CacheShape) -> u64 {
        page_bytes(shape)
    }

    fn pass(&self, batch: &Batch, rope: Option<&Rope>) -> Pass {
        Pass { spans: batch.spans.clone(), turns: rope.map(|rope| rope.turns(batch)) }
    }

    fn embed(&self, table: &Matrix, ids: &[TokenId]) -> Rows {
        let rows: Vec<Vec<f32>> = ids.iter().map(|id| table.row(*id as usize)).collect();
        Rows { width: rows.first().map_or(1, Vec::len), values: rows.concat() }
    }

    fn rms_norm(&self, x: &Rows, weight: &Vec<f32>, epsilon: f32) -> Rows {
        let (mut out, isa) = (x.clone(), self.processor.isa);
        out.map(|_, row| isa.run(RmsNorm { row, weight, epsilon }));
        out
    }

    fn project(&self, x: &Rows, matrix: &Matrix, bias: Option<&Vec<f32>>) -> Rows {
        let values = matrix.product(&Rounded::new(&x.values, x.width, self.processor.isa), self.processor.isa);
        let mut out = Rows { width: matrix.rows(), values };
        if let Some(bias) = bias {
            out.map(|_, row| row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias));
        }
        out
    }

    fn add(&self, mut x: Rows, y: Rows) -> Rows {
        x.combine(&y, |x, y| x + y);
        x
    }

    fn attend(&self, mut qkv: Rows, what: &Attention<'_, Vec<f32>>, pass: &Pass, cache: &mut Pages) -> Rows {
        let isa = self.processor.isa;
        qkv.map(|at, row| isa.run(Prepare { row, at, what, turns: pass.turns.as_ref() }));
        let values = attention::attend(&qkv.values, what, &pass.spans, cache, isa);
        Rows { width: what.heads.queries * what.heads.size, values }
    }

    fn gated(&self, gate_up: Rows, f: Activation) -> Rows {
        let (width, isa) = (gate_up.width / 2, self.processor.isa);
        let mut out = Rows { width, values: vec![0.0; gate_up.values.len() / 2] };
        out.map(|at, out| {
            let (gate, up) = gate_up.values[at * 2 * width..][..2 * width].split_at(width);
            isa.run(Gated { gate, up, f, out });
        });
        out
    }

    fn pick(&self, x: Rows, rows: &[usize]) -> Rows {
        x.pick(rows)
    }

    fn read(&self, x: Rows) -> Result<Vec<f32>, EngineError> {
        Ok(x.values)
    }

    fn read_operand(&self, x: Rows) -> Result<Vec<f32>, EngineError> {
        self.read(x)
    }
}

impl TextKernels for Cpu {
    fn layer_norm(&self, x: &Rows, weight: &Vec<f32>, bias: &Vec<f32>, epsilon: f32) -> Rows {
        let (mut out, isa) = (x.clone(), self.processor.isa);
        out.map(|_, row| isa.run(LayerNorm { row, weight, bias, epsilon }));
        out
    }

    fn activate(&self, mut x: Rows, f: Activation) -> Rows {
        let isa = self.processor.isa;
        x.map(|_, row| isa.run(Activate { row, f }));
        x
    }
}
