//! Matrix-vector products on the CPU, straight from quantised blocks.
//!
//! Generating one token at a time reads every weight once for one multiplication, so its speed is
//! that of memory; four-bit blocks are a sixth of the `f32` that they stand for. The arithmetic is
//! still `f32`: blocks are exact, and only the order of sums differs from a product with the
//! dequantised matrix. That order is written out in sixteen lanes, without fused operations, so
//! it is the same on every machine and for every number of threads.

#[cfg(target_arch = "x86_64")]
mod avx2;

use rayon::prelude::*;

use crate::gguf::{BLOCK_ELEMENTS, Blocks, ByteBlock, NibbleBlock};

/// Rows that one task computes: some ten microseconds of work at common widths, well above what
/// handing out a task costs.
const TASK_ROWS: usize = 64;

/// Sums kept side by side: two vectors of AVX2, four of NEON.
const LANES: usize = 16;

/// A quantised matrix.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    columns: usize,
    blocks: Blocks,
}

impl Packed {
    /// A matrix of rows of `columns`; none if rows are not whole blocks.
    pub(super) fn new(columns: usize, blocks: Blocks) -> Option<Self> {
        (columns > 0 && columns.is_multiple_of(BLOCK_ELEMENTS)).then_some(Self { columns, blocks })
    }

    /// Puts the rows of matrices of one kind below each other; none if they are of several.
    pub(super) fn stacked(parts: Vec<Option<Self>>) -> Option<Self> {
        let mut parts = parts.into_iter();
        let mut whole = parts.next()??;
        for part in parts {
            whole.blocks = match (whole.blocks, part?.blocks) {
                (Blocks::Nibbles(above), Blocks::Nibbles(below)) => Blocks::Nibbles([above, below].concat()),
                (Blocks::Bytes(above), Blocks::Bytes(below)) => Blocks::Bytes([above, below].concat()),
                (Blocks::Nibbles(_), Blocks::Bytes(_)) | (Blocks::Bytes(_), Blocks::Nibbles(_)) => return None,
            };
        }
        Some(whole)
    }

    /// The same matrix with its rows in another order, as `reorder` puts runs of the given length.
    pub(super) fn reordered(self, reorder: impl RowOrder) -> Self {
        let row = self.columns / BLOCK_ELEMENTS;
        let blocks = match self.blocks {
            Blocks::Nibbles(blocks) => Blocks::Nibbles(reorder.apply(blocks, row)),
            Blocks::Bytes(blocks) => Blocks::Bytes(reorder.apply(blocks, row)),
        };
        Self { blocks, ..self }
    }

    /// The product with a vector of `columns` elements.
    pub(super) fn product(&self, x: &[f32]) -> Vec<f32> {
        let x = x.as_chunks::<BLOCK_ELEMENTS>().0;
        match &self.blocks {
            Blocks::Nibbles(blocks) => {
                let sums: Vec<f32> = x.iter().map(|part| part.iter().sum()).collect();
                spread(blocks, x.len(), |row| nibble_dot(row, x, &sums))
            }
            Blocks::Bytes(blocks) => spread(blocks, x.len(), |row| byte_dot(row, x)),
        }
    }
}

/// A rearrangement of rows, whatever they are made of.
pub(super) trait RowOrder {
    /// Rearranges runs of `row` items.
    fn apply<T: Clone>(&self, items: Vec<T>, row: usize) -> Vec<T>;
}

/// One result a row, tasks of rows in parallel.
fn spread<B: Sync>(blocks: &[B], row: usize, dot: impl Fn(&[B]) -> f32 + Sync) -> Vec<f32> {
    let mut out = vec![0.0; blocks.len() / row];
    out.par_chunks_mut(TASK_ROWS).zip(blocks.par_chunks(TASK_ROWS * row)).for_each(|(out, blocks)| {
        for (out, row) in out.iter_mut().zip(blocks.chunks_exact(row)) {
            *out = dot(row);
        }
    });
    out
}

type Part = [f32; BLOCK_ELEMENTS];

/// `sums` has the sum of each part of `x`, which is what a block's offset is multiplied by.
fn nibble_dot(row: &[NibbleBlock], x: &[Part], sums: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the feature that the function is compiled for.
        return unsafe { avx2::nibble_dot(row, x, sums) };
    }
    nibble_dot_in_lanes(row, x, sums)
}

fn byte_dot(row: &[ByteBlock], x: &[Part]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the feature that the function is compiled for.
        return unsafe { avx2::byte_dot(row, x) };
    }
    byte_dot_in_lanes(row, x)
}

fn nibble_dot_in_lanes(row: &[NibbleBlock], x: &[Part], sums: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let mut offsets = 0.0;
    for ((block, x), sum) in row.iter().zip(x).zip(sums) {
        let (first, second) = x.split_at(LANES);
        for lane in 0..LANES {
            let low = f32::from(block.nibbles[lane] & 0x0f) * first[lane];
            let high = f32::from(block.nibbles[lane] >> 4) * second[lane];
            lanes[lane] += block.scale * (low + high);
        }
        offsets += block.offset * sum;
    }
    total(lanes) + offsets
}

fn byte_dot_in_lanes(row: &[ByteBlock], x: &[Part]) -> f32 {
    let mut lanes = [0.0; LANES];
    for (block, x) in row.iter().zip(x) {
        for lane in 0..LANES {
            let first = f32::from(block.bytes[lane]) * x[lane];
            let second = f32::from(block.bytes[LANES + lane]) * x[LANES + lane];
            lanes[lane] += block.scale * (first + second);
        }
    }
    total(lanes)
}

/// The sum of all lanes, pairwise.
fn total(lanes: [f32; LANES]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|at| lanes[at] + lanes[at + 8]);
    let four: [f32; 4] = std::array::from_fn(|at| eight[at] + eight[at + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::{Gguf, GgufWriter, TensorType};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    const ROWS: usize = 200;
    const COLUMNS: usize = 96;

    /// A random matrix of a type, its elements, and a random vector.
    fn sample(kind: TensorType) -> (Packed, Vec<f32>, Vec<f32>) {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let blocks = (ROWS * COLUMNS) as u64 / kind.block_elements();
        let mut bytes = vec![0; (blocks * kind.block_bytes()) as usize];
        random.fill_bytes(&mut bytes);
        for block in bytes.chunks_exact_mut(kind.block_bytes() as usize) {
            // Scales and minima that are finite and small: the exponent of 2^-4.
            block[1] = block[1] & 0x83 | 0x2c;
            block[3] = if kind == TensorType::Q4_1 { block[3] & 0x83 | 0x2c } else { block[3] };
        }
        let file = GgufWriter::new().tensor("m", &[COLUMNS as u64, ROWS as u64], kind, bytes).finish();
        let file = Gguf::from_bytes(file).unwrap();
        let packed = Packed::new(COLUMNS, file.blocks("m").unwrap()).unwrap();
        let x = (0..COLUMNS).map(|_| random.next_u32() as f32 / u32::MAX as f32 - 0.5).collect();
        (packed, file.dequantise("m").unwrap(), x)
    }

    #[test]
    fn a_product_equals_that_of_the_dequantised_matrix() {
        for kind in [TensorType::Q4_0, TensorType::Q4_1, TensorType::Q8_0] {
            let (packed, dense, x) = sample(kind);
            let product = packed.product(&x);
            assert_eq!(product.len(), ROWS);
            for (found, row) in product.iter().zip(dense.chunks_exact(COLUMNS)) {
                let exact: f64 = row.iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                let size: f64 = row.iter().zip(&x).map(|(w, x)| (f64::from(*w) * f64::from(*x)).abs()).sum();
                assert!((f64::from(*found) - exact).abs() < 1e-5 * size, "{kind:?}: {found} is not {exact}");
            }
        }
    }

    #[test]
    fn wider_vectors_give_the_same_bits() {
        for kind in [TensorType::Q4_0, TensorType::Q4_1, TensorType::Q8_0] {
            let (packed, _, x) = sample(kind);
            let x = x.as_chunks::<BLOCK_ELEMENTS>().0;
            let sums: Vec<f32> = x.iter().map(|part| part.iter().sum()).collect();
            let (found, plain) = match &packed.blocks {
                Blocks::Nibbles(row) => (nibble_dot(&row[..x.len()], x, &sums), nibble_dot_in_lanes(&row[..x.len()], x, &sums)),
                Blocks::Bytes(row) => (byte_dot(&row[..x.len()], x), byte_dot_in_lanes(&row[..x.len()], x)),
            };
            assert_eq!(found.to_bits(), plain.to_bits(), "{kind:?}");
        }
    }

    #[test]
    fn only_matrices_of_one_kind_are_stacked() {
        let (four, eight) = (sample(TensorType::Q4_1), sample(TensorType::Q8_0));
        let stacked = Packed::stacked(vec![Some(four.0.clone()), Some(four.0.clone())]).unwrap();
        let once = four.0.product(&four.2);
        assert_eq!(stacked.product(&four.2), [once.clone(), once].concat());
        assert!(Packed::stacked(vec![Some(four.0.clone()), Some(eight.0)]).is_none());
        assert!(Packed::stacked(vec![Some(four.0), None]).is_none());
        assert!(Packed::stacked(vec![]).is_none());
    }
}
