//! How tensor elements are stored, and back to `f32`.
//!
//! Quantised rows are runs of fixed-size blocks: a scale (and for some an offset) in half
//! precision, then packed small integers. The layouts are ggml's; every formula here is exact in
//! `f32` up to the final rounding of a product and a sum.

use crate::engine::weights::{BLOCK, ByteBlock, Elements, NibbleBlock, WordBlock};

/// A way of storing tensor elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
    /// Blocks of 32: scale, signed bytes.
    Q8_0,
    /// Blocks of 32: scale, nibbles around 8.
    Q4_0,
    /// Blocks of 32: scale, minimum, nibbles.
    Q4_1,
    /// Blocks of 256: eight sub-blocks with 6-bit scales and minima, nibbles.
    Q4K,
    /// Blocks of 256: sixteen sub-blocks with 8-bit scales, six-bit values around 32.
    Q6K,
}

const SUPER_BLOCK: usize = 256;

impl TensorType {
    /// The type of a code in the file, if this reader knows it.
    pub fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            _ => return None,
        })
    }

    /// The type's name, as tools print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q4K => "Q4_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// The type's code in a file.
    pub fn code(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q6K => 14,
            Self::Bf16 => 30,
        }
    }

    /// Elements in a block.
    pub fn block_elements(self) -> u64 {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 => BLOCK as u64,
            Self::Q4K | Self::Q6K => SUPER_BLOCK as u64,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q4K => 144,
            Self::Q6K => 210,
        }
    }

    /// The elements of whole blocks, in the form that they have.
    pub(crate) fn elements(self, bytes: &[u8]) -> Elements {
        match self {
            Self::F32 => Elements::Values(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
            Self::F16 => Elements::Values(bytes.as_chunks::<2>().0.iter().map(|b| half(*b)).collect()),
            Self::Bf16 => Elements::Values(bytes.as_chunks::<2>().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect()),
            Self::Q8_0 => Elements::Bytes(bytes.as_chunks::<34>().0.iter().map(q8_0).collect()),
            Self::Q4_0 => Elements::Nibbles(bytes.as_chunks::<18>().0.iter().map(q4_0).collect()),
            Self::Q4_1 => Elements::Nibbles(bytes.as_chunks::<20>().0.iter().map(q4_1).collect()),
            Self::Q4K => Elements::Nibbles(bytes.as_chunks::<144>().0.iter().flat_map(q4_k).collect()),
            Self::Q6K => Elements::Words(bytes.as_chunks::<210>().0.iter().flat_map(q6_k).collect()),
        }
    }
}

fn half(bytes: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(bytes).to_f32()
}

fn q8_0(block: &[u8; 34]) -> ByteBlock {
    ByteBlock { scale: half([block[0], block[1]]), bytes: std::array::from_fn(|at| block[2 + at].cast_signed()) }
}

fn q4_0(block: &[u8; 18]) -> NibbleBlock {
    let scale = half([block[0], block[1]]);
    NibbleBlock { scale, offset: -8.0 * scale, nibbles: std::array::from_fn(|at| block[2 + at]) }
}

fn q4_1(block: &[u8; 20]) -> NibbleBlock {
    let (scale, offset) = (half([block[0], block[1]]), half([block[2], block[3]]));
    NibbleBlock { scale, offset, nibbles: std::array::from_fn(|at| block[4 + at]) }
}

/// Scale and minimum of one of eight sub-blocks, from twelve bytes of six-bit pairs: the first
/// four sit in the low six bits of bytes 0-3 and 4-7, the last four in bytes 8-11 with their two
/// upper bits in the upper bits of the former.
fn q4_k_pair(packed: &[u8], sub: usize) -> (f32, f32) {
    let (scale, minimum) = if sub < 4 {
        (packed[sub] & 0x3f, packed[sub + 4] & 0x3f)
    } else {
        ((packed[sub + 4] & 0x0f) | ((packed[sub - 4] >> 6) << 4), (packed[sub + 4] >> 4) | ((packed[sub] >> 6) << 4))
    };
    (f32::from(scale), f32::from(minimum))
}

/// Each 32 bytes hold two sub-blocks: one in the low nibbles, the next in the high ones. Scale and
/// minimum of a sub-block are products of eleven and six bits, so nothing is rounded.
fn q4_k(block: &[u8; 144]) -> [NibbleBlock; SUPER_BLOCK / BLOCK] {
    let (scale, minimum) = (half([block[0], block[1]]), half([block[2], block[3]]));
    let (packed, values) = (&block[4..16], &block[16..]);
    std::array::from_fn(|sub| {
        let bytes = &values[sub / 2 * BLOCK..][..BLOCK];
        let nibble = |at: usize| bytes[at] >> (4 * (sub % 2)) & 0x0f;
        let (s, m) = q4_k_pair(packed, sub);
        let nibbles = std::array::from_fn(|at| nibble(at) | nibble(at + BLOCK / 2) << 4);
        NibbleBlock { scale: scale * s, offset: -(minimum * m), nibbles }
    })
}

/// Two halves of 128: four runs of 32 take their low four bits from the nibbles of 64 bytes and
/// their upper two from one pair of bits each of 32 bytes; a scale of eight bits covers 16 values,
/// and its products with them are kept, so that a run has one scale.
fn q6_k(block: &[u8; 210]) -> [WordBlock; SUPER_BLOCK / BLOCK] {
    let scale = half([block[208], block[209]]);
    std::array::from_fn(|index| {
        let (part, run) = (index / 4, index % 4);
        let lows = &block[64 * part..][..64];
        let highs = &block[128 + 32 * part..][..32];
        let scales = &block[192 + 8 * part..][..8];
        let words = std::array::from_fn(|at| {
            let nibble = lows[32 * (run % 2) + at] >> (4 * (run / 2)) & 0x0f;
            let value = nibble | ((highs[at] >> (2 * run)) & 3) << 4;
            i16::from(scales[2 * run + at / 16].cast_signed()) * (i16::from(value) - 32)
        });
        WordBlock { scale, words }
    })
}
