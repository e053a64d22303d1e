//! A matrix on its way from a file to an engine: quantised as the file has it.

use std::ops::Range;

/// Elements that share a scale.
pub(crate) const BLOCK: usize = 32;

/// Thirty-two weights as nibbles: `scale * nibble + offset`, the first sixteen in the low nibbles.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NibbleBlock {
    pub(crate) scale: f32,
    pub(crate) offset: f32,
    pub(crate) nibbles: [u8; BLOCK / 2],
}

/// Thirty-two weights as signed bytes: `scale * byte`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ByteBlock {
    pub(crate) scale: f32,
    pub(crate) bytes: [i8; BLOCK],
}

/// Thirty-two weights as integers within [`WORD_MAX`]: `scale * word`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WordBlock {
    pub(crate) scale: f32,
    pub(crate) words: [i16; BLOCK],
}

/// Largest magnitude of a word. Thirty-two products with activations of fourteen bits stay within
/// an `i32`; and a six-bit K-quant with its sub-scale, at most 32 * 128, fits without rounding.
pub(crate) const WORD_MAX: i16 = 4_096;

/// Elements in the form that a file has them in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Elements {
    /// Four bits each.
    Nibbles(Vec<NibbleBlock>),
    /// Eight bits each.
    Bytes(Vec<ByteBlock>),
    /// Thirteen bits each.
    Words(Vec<WordBlock>),
    /// Not quantised.
    Values(Vec<f32>),
}

/// Rows of one form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) rows: usize,
    pub(crate) elements: Elements,
}

/// A matrix `[rows, columns]`, in parts of whole rows below each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    pub(crate) columns: usize,
    pub(crate) parts: Vec<Part>,
}

impl Weights {
    /// A matrix of one form. The caller has checked that there are `rows * columns` elements, and
    /// that quantised rows are whole blocks.
    pub(crate) fn new(rows: usize, columns: usize, elements: Elements) -> Self {
        Self { columns, parts: vec![Part { rows, elements }] }
    }

    /// Matrices of equal width below each other.
    pub(crate) fn stacked(matrices: impl IntoIterator<Item = Self>) -> Self {
        let mut stack = Self { columns: 0, parts: Vec::new() };
        for matrix in matrices {
            stack.columns = matrix.columns;
            stack.parts.extend(matrix.parts);
        }
        stack
    }

    /// Rows of all parts.
    pub(crate) fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// The first rows of the matrix.
    pub(crate) fn first_rows(mut self, mut count: usize) -> Self {
        let columns = self.columns;
        for part in &mut self.parts {
            part.rows = part.rows.min(count);
            count -= part.rows;
            part.elements.truncate(part.rows, columns);
        }
        self
    }

    /// The same matrix with its rows in another order: `order` lists the old row for each new one.
    /// Parts are rearranged each on its own.
    pub(crate) fn reordered(self, order: impl Fn(usize) -> usize) -> Self {
        let columns = self.columns;
        let blocks = columns / BLOCK;
        let reorder = |part: Part| Part {
            rows: part.rows,
            elements: match part.elements {
                Elements::Nibbles(all) => Elements::Nibbles(gather(&all, blocks, part.rows, &order)),
                Elements::Bytes(all) => Elements::Bytes(gather(&all, blocks, part.rows, &order)),
                Elements::Words(all) => Elements::Words(gather(&all, blocks, part.rows, &order)),
                Elements::Values(all) => Elements::Values(gather(&all, columns, part.rows, &order)),
            },
        };
        Self { columns, parts: self.parts.into_iter().map(reorder).collect() }
    }

    /// All elements in single precision, row after row.
    pub(crate) fn values(&self) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.rows() * self.columns);
        for part in &self.parts {
            part.elements.extend_into(&mut out);
        }
        out
    }
}

/// Runs of `row` items, in another order.
fn gather<T: Clone>(items: &[T], row: usize, rows: usize, order: impl Fn(usize) -> usize) -> Vec<T> {
    let run = |at: usize| -> Range<usize> { at * row..(at + 1) * row };
    (0..rows).flat_map(|new| items[run(order(new))].iter().cloned()).collect()
}

impl Elements {
    /// All elements in single precision.
    pub(crate) fn values(&self) -> Vec<f32> {
        let mut out = Vec::new();
        self.extend_into(&mut out);
        out
    }

    /// Whether all of them are numbers.
    pub(crate) fn are_finite(&self) -> bool {
        match self {
            Self::Nibbles(blocks) => blocks.iter().all(|block| block.scale.is_finite() && block.offset.is_finite()),
            Self::Bytes(blocks) => blocks.iter().all(|block| block.scale.is_finite()),
            Self::Words(blocks) => blocks.iter().all(|block| block.scale.is_finite()),
            Self::Values(values) => values.iter().all(|value| value.is_finite()),
        }
    }

    /// Keeps the first rows of so many columns.
    fn truncate(&mut self, rows: usize, columns: usize) {
        let blocks = rows * (columns / BLOCK);
        match self {
            Self::Nibbles(all) => all.truncate(blocks),
            Self::Bytes(all) => all.truncate(blocks),
            Self::Words(all) => all.truncate(blocks),
            Self::Values(all) => all.truncate(rows * columns),
        }
    }

    fn extend_into(&self, out: &mut Vec<f32>) {
        match self {
            Self::Nibbles(blocks) => blocks.iter().for_each(|block| out.extend(block.values())),
            Self::Bytes(blocks) => blocks.iter().for_each(|block| out.extend(block.values())),
            Self::Words(blocks) => blocks.iter().for_each(|block| out.extend(block.values())),
            Self::Values(values) => out.extend_from_slice(values),
        }
    }
}

impl NibbleBlock {
    /// The nibble of an element.
    pub(crate) fn nibble(&self, at: usize) -> u8 {
        let byte = self.nibbles[at % (BLOCK / 2)];
        if at < BLOCK / 2 { byte & 0x0f } else { byte >> 4 }
    }

    fn values(&self) -> [f32; BLOCK] {
        std::array::from_fn(|at| self.scale * f32::from(self.nibble(at)) + self.offset)
    }
}

impl ByteBlock {
    fn values(&self) -> [f32; BLOCK] {
        self.bytes.map(|byte| self.scale * f32::from(byte))
    }
}

impl WordBlock {
    /// The nearest words to some values, and zeros behind them.
    pub(crate) fn nearest(values: &[f32]) -> Self {
        let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let scale = largest / f32::from(WORD_MAX);
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let word = |at: usize| values.get(at).map_or(0, |value| ((value * inverse).round() as i16).clamp(-WORD_MAX, WORD_MAX));
        Self { scale, words: std::array::from_fn(word) }
    }

    fn values(&self) -> [f32; BLOCK] {
        self.words.map(|word| self.scale * f32::from(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(rows: usize) -> Weights {
        let block = |row: usize| ByteBlock { scale: 0.5, bytes: [row as i8; BLOCK] };
        Weights::new(rows, BLOCK, Elements::Bytes((0..rows).map(block).collect()))
    }

    #[test]
    fn rows_are_stacked_whatever_their_forms() {
        let plain = Weights::new(1, BLOCK, Elements::Values(vec![7.0; BLOCK]));
        let both = Weights::stacked([bytes(2), plain]);
        assert_eq!(both.rows(), 3);
        assert_eq!(both.values(), [[0.0; BLOCK], [0.5; BLOCK], [7.0; BLOCK]].concat());
    }

    #[test]
    fn the_first_rows_are_those_of_the_first_parts() {
        let plain = Weights::new(2, BLOCK, Elements::Values([[7.0; BLOCK], [8.0; BLOCK]].concat()));
        let stack = Weights::stacked([bytes(2), plain]);
        assert_eq!(stack.clone().first_rows(3).values(), [[0.0; BLOCK], [0.5; BLOCK], [7.0; BLOCK]].concat());
        let first = stack.clone().first_rows(1);
        assert_eq!((first.rows(), first.values()), (1, vec![0.0; BLOCK]));
        assert_eq!(stack.clone().first_rows(9), stack);
    }

    #[test]
    fn rows_are_put_into_another_order() {
        let turned = bytes(3).reordered(|row| 2 - row);
        assert_eq!(turned.values(), [[1.0; BLOCK], [0.5; BLOCK], [0.0; BLOCK]].concat());
    }

    #[test]
    fn words_are_within_half_a_step_of_what_they_stand_for() {
        let values: Vec<f32> = (0..30).map(|at| (at as f32 - 11.3) * 0.37).collect();
        let block = WordBlock::nearest(&values);
        let back = block.values();
        for (value, found) in values.iter().zip(back) {
            assert!((value - found).abs() <= 0.500_1 * block.scale, "{found} is not {value}");
        }
        assert_eq!(block.words[30..], [0, 0]);
        assert_eq!(WordBlock::nearest(&[0.0; BLOCK]).words, [0; BLOCK]);
    }
}
