//! Rotary position embedding.
//!
//! Halves of a head are rotated against each other: element `i` pairs with `i + size / 2`. Llama
//! files store rows of the query and key projections so that neighbours pair; [`IntoHalves`] puts
//! them into halves at load, which changes no result and makes the rotation two whole-tensor
//! multiplications.

use burn::Tensor;
use burn::tensor::{Device, TensorData};

use super::config::Config;
use super::packed::RowOrder;

/// Angular frequency of each pair.
#[derive(Debug)]
pub(super) struct Rope {
    frequencies: Vec<f64>,
}

/// The rotations of a run of positions, each of shape `[positions, 1, head_size]`.
#[derive(Debug)]
pub(super) struct Rotation {
    cos: Tensor<3>,
    /// Negative in the first half, so that rotation is one multiplication with swapped halves.
    sin: Tensor<3>,
}

impl Rope {
    /// `divisors` stretch single frequencies, as files of Llama 3.1 and later have it.
    pub(super) fn new(config: &Config, divisors: Option<&[f32]>) -> Self {
        let pairs = config.head_size / 2;
        let frequency = |pair: usize| {
            let exponent = -2.0 * pair as f64 / config.head_size as f64;
            let divisor = divisors.map_or(1.0, |divisors| f64::from(divisors[pair]));
            config.rope_base.powf(exponent) / (config.rope_stretch * divisor)
        };
        Self { frequencies: (0..pairs).map(frequency).collect() }
    }

    pub(super) fn rotation(&self, start: usize, positions: usize, device: &Device) -> Rotation {
        let pairs = self.frequencies.len();
        let mut cos = Vec::with_capacity(positions * pairs * 2);
        let mut sin = Vec::with_capacity(positions * pairs * 2);
        for position in start..start + positions {
            let angles = self.frequencies.iter().map(|frequency| (position as f64 * frequency).sin_cos());
            let (sines, cosines): (Vec<f32>, Vec<f32>) = angles.map(|(s, c)| (s as f32, c as f32)).unzip();
            cos.extend_from_slice(&cosines);
            cos.extend_from_slice(&cosines);
            sin.extend(sines.iter().map(|sine| -sine));
            sin.extend_from_slice(&sines);
        }
        let tensor = |values| Tensor::from_data(TensorData::new(values, [positions, 1, pairs * 2]), device);
        Rotation { cos: tensor(cos), sin: tensor(sin) }
    }
}

impl Rotation {
    /// Rotates heads.
    ///
    /// # Shapes
    ///
    /// `[positions, heads, head_size]` in and out.
    pub(super) fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        let [positions, heads, size] = x.dims();
        let halves = x.clone().reshape([positions, heads, 2, size / 2]);
        let swapped = halves.flip([2]).reshape([positions, heads, size]);
        x * self.cos.clone() + swapped * self.sin.clone()
    }
}

/// Puts the rows of a query or key projection from neighbouring pairs into halves, head by head.
#[derive(Clone, Copy, Debug)]
pub(super) struct IntoHalves {
    pub(super) head_size: usize,
}

impl RowOrder for IntoHalves {
    fn apply<T: Clone>(&self, items: Vec<T>, row: usize) -> Vec<T> {
        let mut out = Vec::with_capacity(items.len());
        for head in items.chunks_exact(row * self.head_size) {
            for parity in 0..2 {
                for pair in 0..self.head_size / 2 {
                    let from = 2 * pair + parity;
                    out.extend_from_slice(&head[from * row..(from + 1) * row]);
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_halves_head_by_head() {
        let halves = IntoHalves { head_size: 4 };
        assert_eq!(halves.apply((0..8).collect(), 1), [0, 2, 1, 3, 4, 6, 5, 7]);
        assert_eq!(halves.apply((0..8).collect(), 2), [0, 1, 4, 5, 2, 3, 6, 7]);
    }

    #[test]
    fn rotation_turns_each_pair_by_its_angle() {
        let rope = Rope { frequencies: vec![1.0, 0.1] };
        let device = Device::flex();
        let x = Tensor::<3>::from_data([[[1.0f32, 0.0, 0.0, 2.0]]], &device);
        let turned: Vec<f32> = rope.rotation(3, 1, &device).apply(x).into_data().try_into_vec().unwrap();
        let expected = [3f32.cos(), -2.0 * 0.3f32.sin(), 3f32.sin(), 2.0 * 0.3f32.cos()];
        for (found, expected) in turned.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{turned:?}");
        }
    }
}
