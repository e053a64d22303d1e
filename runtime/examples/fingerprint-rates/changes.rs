//! Models that are not the one claimed, made from its file.

use cocoon_runtime::gguf::{GgufWriter, TensorEntry, TensorType, Value};
use cocoon_runtime::{Gguf, GgufError};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Weights that share a scale where a change rounds in groups.
const GROUP: usize = 32;

/// Seeds the noise.
const SEED: u64 = 7;

/// What is done to a model's matrices, the embedding among them. Norms stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// So many bits for each row, around zero.
    Rows(u32),
    /// So many bits for each group, around zero.
    Groups(u32),
    /// So many bits for each group, from its least to its greatest.
    Ranges(u32),
    /// Normal noise, so many hundredths of a row's root mean square.
    Noise(u32),
    /// The layer in the middle is left out.
    WithoutMiddle,
    /// Every other layer is left out.
    Half,
}

impl Change {
    /// What a table says of it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::None => "the same weights out of a file in single precision".into(),
            Self::Rows(bits) => format!("weights rounded once more, to {bits} bits a row"),
            Self::Groups(bits) => format!("weights rounded once more, to {bits} bits around zero in groups of {GROUP}"),
            Self::Ranges(bits) => format!("weights rounded once more, to {bits} bits with a minimum in groups of {GROUP}"),
            Self::Noise(percent) => format!("noise on all weights, {percent} % of their root mean square"),
            Self::WithoutMiddle => "the layer in the middle left out".into(),
            Self::Half => "every other layer left out".into(),
        }
    }

    /// The changed model's file, in single precision.
    pub(crate) fn apply(self, file: &Gguf) -> Result<Vec<u8>, GgufError> {
        let count_key = format!("{}.block_count", file.string("general.architecture")?.unwrap_or_default());
        let layers = file.uint(&count_key)?.unwrap_or_default() as usize;
        let kept: Vec<usize> = (0..layers).filter(|layer| self.keeps(*layer, layers)).collect();
        let mut writer = GgufWriter::new();
        for (key, value) in file.metadata() {
            let value = if *key == count_key { Value::Uint(kept.len() as u64) } else { value.clone() };
            writer = writer.metadata(key, value);
        }
        let mut noise = Noise::new();
        for (name, entry) in file.tensors() {
            let Some(new_name) = renamed(name, &kept) else { continue };
            let mut values = file.dequantise(name)?;
            self.change(&mut values, entry, &mut noise);
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            writer = writer.tensor(&new_name, &entry.dimensions, TensorType::F32, bytes);
        }
        Ok(writer.finish())
    }

    fn keeps(self, layer: usize, layers: usize) -> bool {
        match self {
            Self::WithoutMiddle => layer != layers / 2,
            Self::Half => layer.is_multiple_of(2),
            Self::None | Self::Rows(_) | Self::Groups(_) | Self::Ranges(_) | Self::Noise(_) => true,
        }
    }

    fn change(self, values: &mut [f32], entry: &TensorEntry, noise: &mut Noise) {
        let [columns, _] = entry.dimensions[..] else { return };
        let rows = values.chunks_mut(columns as usize);
        match self {
            Self::None | Self::WithoutMiddle | Self::Half => {}
            Self::Rows(bits) => rows.for_each(|row| around_zero(row, bits)),
            Self::Groups(bits) => rows.flat_map(|row| row.chunks_mut(GROUP)).for_each(|group| around_zero(group, bits)),
            Self::Ranges(bits) => rows.flat_map(|row| row.chunks_mut(GROUP)).for_each(|group| within_range(group, bits)),
            Self::Noise(percent) => rows.for_each(|row| noise.add(row, percent as f32 / 100.0)),
        }
    }
}

/// A tensor's name among the layers kept; none if it goes with its layer.
fn renamed(name: &str, kept: &[usize]) -> Option<String> {
    let Some((layer, part)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else {
        return Some(name.to_owned());
    };
    let at = kept.iter().position(|kept| Ok(*kept) == layer.parse())?;
    Some(format!("blk.{at}.{part}"))
}

/// The greatest magnitude becomes the greatest integer of so many bits, or its negative.
fn around_zero(values: &mut [f32], bits: u32) {
    let top = ((1u32 << (bits - 1)) - 1) as f32;
    let scale = values.iter().fold(0f32, |most, value| most.max(value.abs())) / top;
    if scale > 0.0 {
        values.iter_mut().for_each(|value| *value = (*value / scale).round() * scale);
    }
}

fn within_range(values: &mut [f32], bits: u32) {
    let (least, most) = values.iter().fold((f32::MAX, f32::MIN), |(least, most), value| (least.min(*value), most.max(*value)));
    let step = (most - least) / ((1u32 << bits) - 1) as f32;
    if step > 0.0 {
        values.iter_mut().for_each(|value| *value = least + ((*value - least) / step).round() * step);
    }
}

/// Normal numbers of a seed.
struct Noise(ChaCha8Rng);

impl Noise {
    fn new() -> Self {
        Self(ChaCha8Rng::seed_from_u64(SEED))
    }

    fn add(&mut self, row: &mut [f32], share: f32) {
        let size = (row.iter().map(|value| value * value).sum::<f32>() / row.len() as f32).sqrt() * share;
        row.iter_mut().for_each(|value| *value += size * self.normal());
    }

    /// By the sum of four uniform numbers, whose variance is a third.
    fn normal(&mut self) -> f32 {
        let bits = self.0.next_u64();
        let sum: u64 = (0..4).map(|part| bits >> (16 * part) & 0xffff).sum();
        (sum as f32 / 65_536.0 - 2.0) * 3f32.sqrt()
    }
}
