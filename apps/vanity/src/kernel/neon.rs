//! NEON, which every aarch64 processor has: four hashes at a time; field elements one by one with the 64-bit multiplier.
//!
//! CI compiles it; its speed is not measured.
#![expect(unsafe_code, reason = "vector instructions are safe only in functions that ask for them")]

use core::arch::aarch64::*;

use super::{
    back_end::BackEnd,
    filter::WordFilter,
    hash,
    keccak::{self, DoubleLanes},
    lanes::{Accepted, Coordinates, WordLanes},
    walk::{Centres, Pending, Walker},
};
use crate::{field::Element, kernel::Find};

pub(crate) struct Neon;

impl BackEnd for Neon {
    type Field = Element;
    const HALF: usize = 512;

    fn check_block(
        walker: &mut Walker<'_, Self>,
        centres: &Centres<Element>,
        finds: &mut Vec<Find>,
    ) -> Option<Centres<Element>> {
        walker.check_block_inline(centres, finds)
    }

    fn spread(pending: &mut Pending<Element>) {
        pending.spread_inline();
    }

    fn key_hashes(x: &Coordinates, filter: &WordFilter) -> Accepted {
        hash::key_hashes::<Words>(x, filter)
    }

    fn wrapped_key_hashes(x: &Coordinates, odd: bool, filter: &WordFilter) -> u32 {
        hash::wrapped_key_hashes::<Words>(x, odd, filter)
    }

    fn ethereum_hashes(x: &Coordinates, y: &Coordinates, filter: &WordFilter) -> u32 {
        keccak::address_words::<Doubles>(x, y, filter)
    }
}

/// Wraps an intrinsic that computes on registers only.
macro_rules! pure {
    ($call:expr) => {
        // SAFETY: computes on values alone; every aarch64 processor has the instruction.
        unsafe { $call }
    };
}

/// One 32-bit word of four hashes.
#[derive(Clone, Copy)]
struct Words(uint32x4_t);

impl WordLanes for Words {
    const LANES: usize = 4;

    #[inline(always)]
    fn load(words: &[u32]) -> Self {
        let words: &[u32; 4] = words.try_into().expect("as many words as lanes");
        // SAFETY: reads the 16 bytes of the array, without alignment.
        Self(unsafe { vld1q_u32(words.as_ptr()) })
    }

    #[inline(always)]
    fn splat(word: u32) -> Self {
        Self(pure!(vdupq_n_u32(word)))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(pure!(vaddq_u32(self.0, other.0)))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(pure!(veorq_u32(self.0, other.0)))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(pure!(vandq_u32(self.0, other.0)))
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self(pure!(vorrq_u32(self.0, other.0)))
    }

    #[inline(always)]
    fn not(self) -> Self {
        Self(pure!(vmvnq_u32(self.0)))
    }

    /// Shifted to the right, and the rest inserted from the left.
    #[inline(always)]
    fn rotate_left<const BITS: i32, const REST: i32>(self) -> Self {
        Self(pure!(vsliq_n_u32::<BITS>(vshrq_n_u32::<REST>(self.0), self.0)))
    }

    /// A shift to the left by less than nothing.
    #[inline(always)]
    fn shift_right<const BITS: u32>(self) -> Self {
        Self(pure!(vshlq_u32(self.0, vdupq_n_s32(-BITS.cast_signed()))))
    }

    #[inline(always)]
    fn shift_left<const BITS: u32>(self) -> Self {
        Self(pure!(vshlq_u32(self.0, vdupq_n_s32(BITS.cast_signed()))))
    }

    #[inline(always)]
    fn swap_bytes(self) -> Self {
        Self(pure!(vreinterpretq_u32_u8(vrev32q_u8(vreinterpretq_u8_u32(self.0)))))
    }

    #[inline(always)]
    fn accepted_by(self, filter: &WordFilter) -> u32 {
        if filter.is_simple() {
            let mut inside = Self::splat(0);
            for interval in &filter.intervals {
                let above = pure!(vsubq_u32(self.0, vdupq_n_u32(interval.low)));
                inside = inside.or(Self(pure!(vcleq_u32(above, vdupq_n_u32(interval.width)))));
            }
            let bits = inside.and(Self::load(&[1, 2, 4, 8]));
            return pure!(vaddvq_u32(bits.0));
        }
        let mut words = [0; 4];
        // SAFETY: writes the 16 bytes of the array, without alignment.
        unsafe { vst1q_u32(words.as_mut_ptr(), self.0) };
        filter.accepted_of(&words)
    }

    #[inline(always)]
    fn choose(self, b: Self, c: Self) -> Self {
        Self(pure!(vbslq_u32(self.0, b.0, c.0)))
    }

    #[inline(always)]
    fn or_not_xor(self, b: Self, c: Self) -> Self {
        Self(pure!(vornq_u32(self.0, b.0))).xor(c)
    }
}

/// One 64-bit word of two hashes.
#[derive(Clone, Copy)]
struct Doubles(uint64x2_t);

impl DoubleLanes for Doubles {
    const LANES: usize = 2;

    #[inline(always)]
    fn load(doubles: &[u64]) -> Self {
        let doubles: &[u64; 2] = doubles.try_into().expect("as many doubles as lanes");
        // SAFETY: reads the 16 bytes of the array, without alignment.
        Self(unsafe { vld1q_u64(doubles.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, doubles: &mut [u64]) {
        let doubles: &mut [u64; 2] = doubles.try_into().expect("as many doubles as lanes");
        // SAFETY: writes the 16 bytes of the array, without alignment.
        unsafe { vst1q_u64(doubles.as_mut_ptr(), self.0) };
    }

    #[inline(always)]
    fn splat(double: u64) -> Self {
        Self(pure!(vdupq_n_u64(double)))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(pure!(veorq_u64(self.0, other.0)))
    }

    #[inline(always)]
    fn xor_and_not(self, b: Self, c: Self) -> Self {
        self.xor(Self(pure!(vbicq_u64(c.0, b.0))))
    }

    #[inline(always)]
    fn rotate_left(self, bits: u32) -> Self {
        let (left, right) = (i64::from(bits), i64::from(bits) - 64);
        Self(pure!(vorrq_u64(vshlq_u64(self.0, vdupq_n_s64(left)), vshlq_u64(self.0, vdupq_n_s64(right)))))
    }
}
