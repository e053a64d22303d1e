//! How tensor elements are stored, and back to `f32`.
//!
//! Quantised rows are runs of fixed-size blocks: a scale (and for some an offset) in half
//! precision, then packed small integers. The layouts are ggml's; every formula here is exact in
//! `f32` up to the final rounding of a product and a sum.

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

const BLOCK: usize = 32;
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

    /// The elements of whole blocks, in order. `elements` only sizes the result.
    pub(crate) fn dequantise(self, bytes: &[u8], elements: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(elements);
        match self {
            Self::F32 => out.extend(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))),
            Self::F16 => out.extend(bytes.as_chunks::<2>().0.iter().map(|b| half(*b))),
            Self::Bf16 => out.extend(bytes.as_chunks::<2>().0.iter().map(|b| brain_half(*b))),
            Self::Q8_0 => bytes.as_chunks::<34>().0.iter().for_each(|block| q8_0(block, &mut out)),
            Self::Q4_0 => bytes.as_chunks::<18>().0.iter().for_each(|block| q4_0(block, &mut out)),
            Self::Q4_1 => bytes.as_chunks::<20>().0.iter().for_each(|block| q4_1(block, &mut out)),
            Self::Q4K => bytes.as_chunks::<144>().0.iter().for_each(|block| q4_k(block, &mut out)),
            Self::Q6K => bytes.as_chunks::<210>().0.iter().for_each(|block| q6_k(block, &mut out)),
        }
        out
    }
}

/// Thirty-two weights as nibbles: `scale * nibble + offset`, the first sixteen in the low nibbles.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NibbleBlock {
    pub(crate) scale: f32,
    pub(crate) offset: f32,
    pub(crate) nibbles: [u8; 16],
}

/// Thirty-two weights as signed bytes: `scale * byte`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ByteBlock {
    pub(crate) scale: f32,
    pub(crate) bytes: [i8; BLOCK],
}

/// Quantised elements as they are, for those types that matrix products read directly.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Blocks {
    Nibbles(Vec<NibbleBlock>),
    Bytes(Vec<ByteBlock>),
}

/// Elements in a block of [`Blocks`].
pub(crate) const BLOCK_ELEMENTS: usize = BLOCK;

impl TensorType {
    /// The blocks of types that have a direct form; equal to the dequantised elements.
    pub(super) fn blocks(self, bytes: &[u8]) -> Option<Blocks> {
        match self {
            Self::Q4_0 => Some(Blocks::Nibbles(bytes.as_chunks::<18>().0.iter().map(nibbles_around_8).collect())),
            Self::Q4_1 => Some(Blocks::Nibbles(bytes.as_chunks::<20>().0.iter().map(nibbles_and_minimum).collect())),
            Self::Q8_0 => Some(Blocks::Bytes(bytes.as_chunks::<34>().0.iter().map(signed_bytes).collect())),
            Self::F32 | Self::F16 | Self::Bf16 | Self::Q4K | Self::Q6K => None,
        }
    }
}

fn nibbles_around_8(block: &[u8; 18]) -> NibbleBlock {
    let scale = half([block[0], block[1]]);
    NibbleBlock { scale, offset: -8.0 * scale, nibbles: std::array::from_fn(|at| block[2 + at]) }
}

fn nibbles_and_minimum(block: &[u8; 20]) -> NibbleBlock {
    let (scale, offset) = (half([block[0], block[1]]), half([block[2], block[3]]));
    NibbleBlock { scale, offset, nibbles: std::array::from_fn(|at| block[4 + at]) }
}

fn signed_bytes(block: &[u8; 34]) -> ByteBlock {
    let scale = half([block[0], block[1]]);
    ByteBlock { scale, bytes: std::array::from_fn(|at| block[2 + at].cast_signed()) }
}

fn brain_half(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// IEEE half precision to single: exact for every value.
pub(super) fn half(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    let sign = (bits >> 15) << 31;
    let exponent = (bits >> 10) & 0x1f;
    let fraction = bits & 0x3ff;
    let magnitude = match exponent {
        // Subnormal: the fraction counts units of 2^-24.
        0 => (fraction as f32 * f32::from_bits(0x3380_0000)).to_bits(),
        0x1f => 0x7f80_0000 | (fraction << 13),
        _ => ((exponent + 112) << 23) | (fraction << 13),
    };
    f32::from_bits(sign | magnitude)
}

fn low(byte: u8) -> f32 {
    f32::from(byte & 0x0f)
}

fn high(byte: u8) -> f32 {
    f32::from(byte >> 4)
}

fn q8_0(block: &[u8; 34], out: &mut Vec<f32>) {
    let scale = half([block[0], block[1]]);
    out.extend(block[2..].iter().map(|&byte| scale * f32::from(byte.cast_signed())));
}

/// The first half of the block is in the low nibbles, the second in the high ones.
fn q4_0(block: &[u8; 18], out: &mut Vec<f32>) {
    let scale = half([block[0], block[1]]);
    out.extend(block[2..].iter().map(|&byte| scale * (low(byte) - 8.0)));
    out.extend(block[2..].iter().map(|&byte| scale * (high(byte) - 8.0)));
}

fn q4_1(block: &[u8; 20], out: &mut Vec<f32>) {
    let scale = half([block[0], block[1]]);
    let minimum = half([block[2], block[3]]);
    out.extend(block[4..].iter().map(|&byte| scale * low(byte) + minimum));
    out.extend(block[4..].iter().map(|&byte| scale * high(byte) + minimum));
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

/// Each 32 bytes hold two sub-blocks: one in the low nibbles, the next in the high ones.
fn q4_k(block: &[u8; 144], out: &mut Vec<f32>) {
    let scale = half([block[0], block[1]]);
    let minimum = half([block[2], block[3]]);
    let (packed, values) = (&block[4..16], &block[16..]);
    for (pair, bytes) in values.chunks_exact(BLOCK).enumerate() {
        let (s, m) = q4_k_pair(packed, 2 * pair);
        out.extend(bytes.iter().map(|&byte| scale * s * low(byte) - minimum * m));
        let (s, m) = q4_k_pair(packed, 2 * pair + 1);
        out.extend(bytes.iter().map(|&byte| scale * s * high(byte) - minimum * m));
    }
}

/// Two halves of 128: four runs of 32 take their low four bits from the nibbles of 64 bytes and
/// their upper two from one pair of bits each of 32 bytes; a scale covers 16 values.
fn q6_k(block: &[u8; 210], out: &mut Vec<f32>) {
    let scale = half([block[208], block[209]]);
    for part in 0..2 {
        let lows = &block[64 * part..64 * (part + 1)];
        let highs = &block[128 + 32 * part..128 + 32 * (part + 1)];
        let scales = &block[192 + 8 * part..192 + 8 * (part + 1)];
        for run in 0..4 {
            out.extend((0..BLOCK).map(|at| {
                let nibble = lows[32 * (run % 2) + at] >> (4 * (run / 2)) & 0x0f;
                let value = nibble | ((highs[at] >> (2 * run)) & 3) << 4;
                let sub_scale = f32::from(scales[2 * run + at / 16].cast_signed());
                scale * sub_scale * (f32::from(value) - 32.0)
            }));
        }
    }
}
