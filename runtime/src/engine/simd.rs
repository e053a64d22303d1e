//! The inner loops of integer products, once in plain Rust and once for each instruction set.
//!
//! A tile is sixteen rows of a matrix; a block is thirty-two columns of it, kept so that one vector
//! has two neighbouring columns of several rows. Products of two columns are what multiply-add
//! instructions sum, and the sums of different rows never meet: there is no sum across a vector.
//!
//! Sums are integers, so every path gives the same bits.

use crate::engine::weights::BLOCK;

/// Makes a path of its module's functions, which are compiled for its instructions.
macro_rules! path_of_functions {
    ($path:ident) => {
        impl Simd for $path {
            #[inline(always)]
            fn nibbles(packed: &Nibbles, out: &mut Words) {
                // SAFETY: a path is taken on processors with its instructions only.
                unsafe { nibbles(packed, out) }
            }

            #[inline(always)]
            fn bytes(packed: &[i8; TILE_BLOCK], out: &mut Words) {
                // SAFETY: as above.
                unsafe { bytes(packed, out) }
            }

            #[inline(always)]
            fn dots<const T: usize>(block: &Words, x: [&[i16; BLOCK]; T]) -> [[i32; TILE]; T] {
                // SAFETY: as above.
                unsafe { dots(block, x) }
            }

            #[inline(always)]
            fn halves(packed: &[u16; TILE]) -> [f32; TILE] {
                // SAFETY: as above.
                unsafe { halves(packed) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod vnni;

/// Rows of a tile.
pub(crate) const TILE: usize = 16;

/// Elements of a block of a tile.
pub(crate) const TILE_BLOCK: usize = TILE * BLOCK;

/// A block of a tile as words, `[column pair][row][2]`.
#[derive(Clone, Debug, PartialEq)]
#[repr(align(64))]
pub(crate) struct Words(pub(crate) [i16; TILE_BLOCK]);

impl Words {
    pub(crate) const ZERO: Self = Self([0; TILE_BLOCK]);

    /// Where a column of a row is.
    pub(crate) const fn place(row: usize, column: usize) -> usize {
        column / 2 * (2 * TILE) + row * 2 + column % 2
    }
}

/// Nibbles of a block of a tile: the word lane `l` of quarter `q` has columns `8q + 2j + l % 2` of
/// row `l / 2` in its nibble `j`.
#[derive(Clone, Debug, PartialEq)]
#[repr(align(64))]
pub(crate) struct Nibbles(pub(crate) [u16; TILE_BLOCK / 4]);

impl Nibbles {
    /// The lane of a column of a row, and by how many bits its nibble is shifted.
    pub(crate) const fn place(row: usize, column: usize) -> (usize, usize) {
        (column / 8 * (2 * TILE) + row * 2 + column % 2, column % 8 / 2 * 4)
    }
}

/// What paths differ in.
pub(crate) trait Simd {
    /// Nibbles to words.
    fn nibbles(packed: &Nibbles, out: &mut Words);
    /// Bytes, placed as words are, to words.
    fn bytes(packed: &[i8; TILE_BLOCK], out: &mut Words);
    /// The sums of products of a block with `T` rows of activations.
    fn dots<const T: usize>(block: &Words, x: [&[i16; BLOCK]; T]) -> [[i32; TILE]; T];
    /// Half precision to single.
    fn halves(halves: &[u16; TILE]) -> [f32; TILE];
}

/// Plain Rust, for any processor.
#[derive(Debug)]
pub(crate) struct Portable;

impl Simd for Portable {
    #[inline(always)]
    fn nibbles(packed: &Nibbles, out: &mut Words) {
        for (at, lanes) in packed.0.chunks_exact(2 * TILE).enumerate() {
            for j in 0..4 {
                let words = &mut out.0[(4 * at + j) * 2 * TILE..][..2 * TILE];
                for (word, lane) in words.iter_mut().zip(lanes) {
                    *word = (lane >> (4 * j) & 0x0f).cast_signed();
                }
            }
        }
    }

    #[inline(always)]
    fn bytes(packed: &[i8; TILE_BLOCK], out: &mut Words) {
        for (word, byte) in out.0.iter_mut().zip(packed) {
            *word = i16::from(*byte);
        }
    }

    #[inline(always)]
    fn dots<const T: usize>(block: &Words, x: [&[i16; BLOCK]; T]) -> [[i32; TILE]; T] {
        let mut sums = [[0i32; TILE]; T];
        for (at, words) in block.0.chunks_exact(2 * TILE).enumerate() {
            for (sums, x) in sums.iter_mut().zip(x) {
                let (first, second) = (i32::from(x[2 * at]), i32::from(x[2 * at + 1]));
                for (sum, pair) in sums.iter_mut().zip(words.as_chunks::<2>().0) {
                    // Bounds on words and activations keep sums within range; saying so keeps loops free of checks.
                    let products = i32::from(pair[0]).wrapping_mul(first).wrapping_add(i32::from(pair[1]).wrapping_mul(second));
                    *sum = sum.wrapping_add(products);
                }
            }
        }
        sums
    }

    #[inline(always)]
    fn halves(halves: &[u16; TILE]) -> [f32; TILE] {
        halves.map(|bits| half::f16::from_bits(bits).to_f32())
    }
}

/// Bytes of a line of a cache.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Asks for something to be brought near, which takes as long as some hundred products do. Processors
/// do so by themselves along a run of memory, but stop at the end of each page of it.
#[inline(always)]
pub(crate) fn prefetch<T>(what: &T) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..size_of::<T>().div_ceil(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every processor of this kind has the instruction, and it changes nothing that can be seen.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(what).cast::<i8>().wrapping_add(line * LINE)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = what;
}

/// A loop that is compiled once for each instruction set.
pub(crate) trait Loop {
    /// What it gives.
    type Output;
    /// Runs it. Has to be `#[inline(always)]`, and so has all that it calls in its turn: what is
    /// not inlined is compiled for any processor.
    fn run<S: Simd>(self) -> Self::Output;
}

/// An instruction set, chosen once when an engine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    /// Plain Rust.
    Portable,
    /// AVX2 with conversions from half precision.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 with the instructions that multiply words and add them up.
    #[cfg(target_arch = "x86_64")]
    Vnni,
    /// NEON with conversions from half precision.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// The best that this processor has.
    pub(crate) fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// All that this processor has, best last.
    pub(crate) fn available() -> Vec<Self> {
        let mut found = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            found.extend(avx2::is_available().then_some(Self::Avx2));
            found.extend(vnni::is_available().then_some(Self::Vnni));
        }
        #[cfg(target_arch = "aarch64")]
        found.extend(neon::is_available().then_some(Self::Neon));
        found
    }

    /// Runs a loop with these instructions, which the processor has to have.
    #[inline]
    pub(crate) fn run<L: Loop>(self, work: L) -> L::Output {
        match self {
            Self::Portable => work.run::<Portable>(),
            // SAFETY: only what `available` found on this processor is ever chosen.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2::run(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Vnni => unsafe { vnni::run(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Self::Neon => unsafe { neon::run(work) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    /// Compares a path with plain Rust.
    struct Check {
        seed: u64,
    }

    impl Loop for Check {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self) {
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            let nibbles = Nibbles(std::array::from_fn(|_| random.next_u32() as u16));
            let bytes: [i8; TILE_BLOCK] = std::array::from_fn(|_| random.next_u32() as i8);
            let x: [[i16; BLOCK]; 4] = std::array::from_fn(|_| std::array::from_fn(|_| (random.next_u32() % 16_383) as i16 - 8_191));
            let (mut plain, mut found) = (Words::ZERO, Words::ZERO);
            Portable::nibbles(&nibbles, &mut plain);
            S::nibbles(&nibbles, &mut found);
            assert_eq!(plain, found);
            Portable::bytes(&bytes, &mut plain);
            S::bytes(&bytes, &mut found);
            assert_eq!(plain, found);
            assert_eq!(Portable::dots(&plain, x.each_ref()), S::dots(&plain, x.each_ref()));
            assert_eq!(Portable::dots(&plain, [&x[0]]), S::dots(&plain, [&x[0]]));
            for word in [crate::engine::weights::WORD_MAX, -crate::engine::weights::WORD_MAX] {
                let (extremes, top) = (Words([word; TILE_BLOCK]), [8_191; BLOCK]);
                assert_eq!(S::dots(&extremes, [&top; 4]), [[32 * 8_191 * i32::from(word); TILE]; 4]);
                assert_eq!(S::dots(&extremes, [&top]), [[32 * 8_191 * i32::from(word); TILE]]);
            }
            let halves = std::array::from_fn(|_| (random.next_u32() as u16) & 0xbbff);
            assert_eq!(Portable::halves(&halves), S::halves(&halves));
        }
    }

    #[test]
    fn every_path_gives_the_same_bits() {
        for isa in Isa::available() {
            (0..20).for_each(|seed| isa.run(Check { seed }));
        }
    }

    #[test]
    fn places_are_where_products_look() {
        let (row, column) = (5, 19);
        let mut nibbles = Nibbles([0; TILE_BLOCK / 4]);
        let (lane, shift) = Nibbles::place(row, column);
        nibbles.0[lane] = 9 << shift;
        let mut words = Words::ZERO;
        Portable::nibbles(&nibbles, &mut words);
        assert_eq!(words.0[Words::place(row, column)], 9);
        let mut x = [0; BLOCK];
        x[column] = -3;
        let sums = Portable::dots(&words, [&x]);
        assert_eq!(sums[0][row], -27);
        assert_eq!(sums[0].iter().filter(|sum| **sum != 0).count(), 1);
    }
}
