//! AVX2: eight hashes at a time; field elements one by one with the 64-bit multiplier, which AVX2 has nothing to match.
#![expect(unsafe_code, reason = "vector instructions exist only as unsafe intrinsics until the processor is known")]

use core::arch::x86_64::*;

use super::{
    back_end::{BackEnd, vector_back_end},
    filter::WordFilter,
    hash,
    keccak::{self, DoubleLanes},
    lanes::{Accepted, Coordinates, WordLanes},
    walk::{Centres, Pending, Walker},
};
use crate::{field::Element, kernel::Find};

pub(crate) struct Avx2;

vector_back_end!(
    Avx2, "avx2,bmi1,bmi2,adx", field Element, half 512, words Words, doubles Doubles,
    key_hashes hash::key_hashes::<Words>
);

/// Wraps an intrinsic that computes on registers only.
macro_rules! pure {
    ($call:expr) => {
        // SAFETY: computes on values alone; the processor has the instruction, see `Avx2`.
        unsafe { $call }
    };
}

/// One 32-bit word of eight hashes.
#[derive(Clone, Copy)]
struct Words(__m256i);

impl WordLanes for Words {
    const LANES: usize = 8;

    #[inline(always)]
    fn load(words: &[u32]) -> Self {
        let words: &[u32; 8] = words.try_into().expect("as many words as lanes");
        // SAFETY: reads the 32 bytes of the array, without alignment.
        Self(unsafe { _mm256_loadu_si256(words.as_ptr().cast()) })
    }

    #[inline(always)]
    fn splat(word: u32) -> Self {
        Self(pure!(_mm256_set1_epi32(word.cast_signed())))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(pure!(_mm256_add_epi32(self.0, other.0)))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(pure!(_mm256_xor_si256(self.0, other.0)))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(pure!(_mm256_and_si256(self.0, other.0)))
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self(pure!(_mm256_or_si256(self.0, other.0)))
    }

    #[inline(always)]
    fn not(self) -> Self {
        self.xor(Self::splat(u32::MAX))
    }

    #[inline(always)]
    fn rotate_left<const BITS: i32, const REST: i32>(self) -> Self {
        Self(pure!(_mm256_or_si256(_mm256_slli_epi32::<BITS>(self.0), _mm256_srli_epi32::<REST>(self.0))))
    }

    #[inline(always)]
    fn shift_right<const BITS: u32>(self) -> Self {
        Self(pure!(_mm256_srl_epi32(self.0, _mm_cvtsi32_si128(BITS.cast_signed()))))
    }

    #[inline(always)]
    fn shift_left<const BITS: u32>(self) -> Self {
        Self(pure!(_mm256_sll_epi32(self.0, _mm_cvtsi32_si128(BITS.cast_signed()))))
    }

    #[inline(always)]
    fn swap_bytes(self) -> Self {
        const REVERSE: [u8; 16] = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12];
        // SAFETY: reads the 16 bytes of the constant; the rest computes on values.
        Self(unsafe {
            let order = _mm256_broadcastsi128_si256(_mm_loadu_si128(REVERSE.as_ptr().cast()));
            _mm256_shuffle_epi8(self.0, order)
        })
    }

    #[inline(always)]
    fn accepted_by(self, filter: &WordFilter) -> u32 {
        if let [interval] = filter.intervals.as_slice() {
            let above = self.add(Self::splat(interval.low.wrapping_neg())).0;
            // There is no unsigned compare: above ≤ width as above = min(above, width).
            let inside = pure!(_mm256_cmpeq_epi32(above, _mm256_min_epu32(above, Self::splat(interval.width).0)));
            return pure!(_mm256_movemask_ps(_mm256_castsi256_ps(inside))).cast_unsigned();
        }
        let mut words = [0; 8];
        // SAFETY: writes the 32 bytes of the array, without alignment.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), self.0) };
        filter.accepted_of(&words)
    }

    /// `(self | !b) ^ c` as `(!self & b) ^ !c`.
    #[inline(always)]
    fn or_not_xor(self, b: Self, c: Self) -> Self {
        Self(pure!(_mm256_andnot_si256(self.0, b.0))).xor(c.not())
    }
}

/// One 64-bit word of four hashes.
#[derive(Clone, Copy)]
struct Doubles(__m256i);

impl DoubleLanes for Doubles {
    const LANES: usize = 4;

    #[inline(always)]
    fn load(doubles: &[u64]) -> Self {
        let doubles: &[u64; 4] = doubles.try_into().expect("as many doubles as lanes");
        // SAFETY: reads the 32 bytes of the array, without alignment.
        Self(unsafe { _mm256_loadu_si256(doubles.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, doubles: &mut [u64]) {
        let doubles: &mut [u64; 4] = doubles.try_into().expect("as many doubles as lanes");
        // SAFETY: writes the 32 bytes of the array, without alignment.
        unsafe { _mm256_storeu_si256(doubles.as_mut_ptr().cast(), self.0) };
    }

    #[inline(always)]
    fn splat(double: u64) -> Self {
        Self(pure!(_mm256_set1_epi64x(double.cast_signed())))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(pure!(_mm256_xor_si256(self.0, other.0)))
    }

    #[inline(always)]
    fn xor_and_not(self, b: Self, c: Self) -> Self {
        self.xor(Self(pure!(_mm256_andnot_si256(b.0, c.0))))
    }

    #[inline(always)]
    fn rotate_left(self, bits: u32) -> Self {
        let (left, right) = (bits.cast_signed(), 64 - bits.cast_signed());
        Self(pure!(_mm256_or_si256(
            _mm256_sll_epi64(self.0, _mm_cvtsi32_si128(left)),
            _mm256_srl_epi64(self.0, _mm_cvtsi32_si128(right))
        )))
    }
}
