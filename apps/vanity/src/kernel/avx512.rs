//! AVX-512 with IFMA: eight field elements and sixteen hashes at a time.
//!
//! An element is five vectors of 52-bit limbs, which is what `vpmadd52` multiplies: it takes the low 52 bits of each
//! factor, so here *loose* elements too have limbs below 2^52, and every sum ends with a carry chain.
#![expect(unsafe_code, reason = "vector instructions exist only as unsafe intrinsics until the processor is known")]

use core::arch::x86_64::*;

use super::{
    back_end::{BackEnd, vector_back_end},
    filter::WordFilter,
    hash,
    keccak::{self, DoubleLanes},
    lanes::{Accepted, Coordinates, FieldLanes, Pair, WordLanes},
    walk::{Centres, Pending, Walker},
};
use crate::{
    field::{Element, FOLD, LIMB, PRIME, TOP},
    kernel::Find,
};

pub(crate) struct Avx512;

// 512 products of 320 bytes stay in the second-level cache, and the inversion costs half a cycle per candidate.
vector_back_end!(
    Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma", field Fields, half 512, words Words, doubles Doubles,
    key_hashes paired_key_hashes
);

#[inline(always)]
fn paired_key_hashes(x: &Coordinates, filter: &WordFilter) -> Accepted {
    align_stack();
    hash::key_hashes_paired::<Words>(x, filter)
}

/// Wraps an intrinsic that computes on registers only.
macro_rules! pure {
    ($call:expr) => {
        // SAFETY: computes on values alone; the processor has the instruction, see `Avx512`.
        unsafe { $call }
    };
}

const LANES: usize = 8;

/// Limbs of eight elements.
///
/// No closures below: a closure is a function of its own, without the vector features of its caller, and one that is
/// not compiled into its place costs a call per instruction.
#[derive(Clone, Copy)]
pub(crate) struct Fields([__m512i; 5]);

#[inline(always)]
fn broadcast(value: u64) -> __m512i {
    pure!(_mm512_set1_epi64(value.cast_signed()))
}

#[inline(always)]
fn add(a: __m512i, b: __m512i) -> __m512i {
    pure!(_mm512_add_epi64(a, b))
}

#[inline(always)]
fn and(a: __m512i, b: __m512i) -> __m512i {
    pure!(_mm512_and_si512(a, b))
}

#[inline(always)]
fn or(a: __m512i, b: __m512i) -> __m512i {
    pure!(_mm512_or_si512(a, b))
}

#[inline(always)]
fn right<const BITS: u32>(a: __m512i) -> __m512i {
    pure!(_mm512_srli_epi64::<BITS>(a))
}

#[inline(always)]
fn left<const BITS: u32>(a: __m512i) -> __m512i {
    pure!(_mm512_slli_epi64::<BITS>(a))
}

/// `sum` plus the low 52 bits of the product.
#[inline(always)]
fn add_low(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    pure!(_mm512_madd52lo_epu64(sum, a, b))
}

/// `sum` plus the product's bits from 52 on.
#[inline(always)]
fn add_high(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    pure!(_mm512_madd52hi_epu64(sum, a, b))
}

/// Brings all limbs but the last below 2^52.
#[inline(always)]
fn carried([a, b, c, d, e]: [__m512i; 5]) -> [__m512i; 5] {
    let mask = broadcast(LIMB);
    let b = add(b, right::<52>(a));
    let c = add(c, right::<52>(b));
    let d = add(d, right::<52>(c));
    let e = add(e, right::<52>(d));
    [and(a, mask), and(b, mask), and(c, mask), and(d, mask), e]
}

/// Takes what the last limb has above 2^256 back in at the bottom.
#[inline(always)]
fn folded([a, b, c, d, e]: [__m512i; 5]) -> [__m512i; 5] {
    let over = right::<48>(e);
    [add_low(a, over, broadcast(FOLD)), b, c, d, and(e, broadcast(TOP))]
}

/// Reduces ten columns below 2^57 whose sum is below 2^520.
#[inline(always)]
fn reduced([c0, c1, c2, c3, c4, c5, c6, c7, c8, c9]: [__m512i; 10]) -> Fields {
    let mask = broadcast(LIMB);
    let fold = broadcast(FOLD << 4);
    let zero = broadcast(0);
    // The upper columns become exact limbs, since the multiplier looks at 52 bits only.
    let c6 = add(c6, right::<52>(c5));
    let c7 = add(c7, right::<52>(c6));
    let c8 = add(c8, right::<52>(c7));
    let c9 = add(c9, right::<52>(c8));
    let (c5, c6, c7, c8) = (and(c5, mask), and(c6, mask), and(c7, mask), and(c8, mask));
    // 2^260 ≡ FOLD·2^4.
    let c0 = add_low(c0, c5, fold);
    let c1 = add_low(add_high(c1, c5, fold), c6, fold);
    let c2 = add_low(add_high(c2, c6, fold), c7, fold);
    let c3 = add_low(add_high(c3, c7, fold), c8, fold);
    let c4 = add_low(add_high(c4, c8, fold), c9, fold);
    let top = add_high(zero, c9, fold);
    // What lies above 2^256 now, less the carries still to come, which leave the last limb below 2^49.
    let over = add(right::<48>(c4), left::<4>(top));
    let c4 = and(c4, broadcast(TOP));
    let c0 = add_low(c0, over, broadcast(FOLD));
    let c1 = add_high(c1, over, broadcast(FOLD));
    Fields(carried([c0, c1, c2, c3, c4]))
}

impl Fields {
    /// After one fold and one carry chain a lane can only be p or more if its last limb is (nearly) full.
    #[inline(always)]
    fn canonical_unless_full(self) -> Self {
        let full = pure!(_mm512_cmpge_epu64_mask(self.0[4], broadcast(TOP)));
        if full == 0 { self } else { self.each_less_prime() }
    }

    #[cold]
    fn each_less_prime(self) -> Self {
        let elements: [Element; LANES] = std::array::from_fn(|lane| self.lane(lane).less_prime_if_not_below());
        Self::load(&elements)
    }

    #[inline(always)]
    fn minus(&self, other: &Self) -> [__m512i; 5] {
        let mut limbs = self.0;
        for ((limb, prime), other) in limbs.iter_mut().zip(PRIME).zip(other.0) {
            *limb = add(*limb, pure!(_mm512_sub_epi64(broadcast(4 * prime), other)));
        }
        limbs
    }
}

impl FieldLanes for Fields {
    const LANES: usize = LANES;

    fn load(elements: &[Element]) -> Self {
        Self(std::array::from_fn(|limb| {
            let lanes: [u64; LANES] = std::array::from_fn(|lane| elements[lane].0[limb]);
            // SAFETY: reads the 64 bytes of the array, without alignment.
            unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
        }))
    }

    #[inline(always)]
    fn splat(element: &Element) -> Self {
        let mut limbs = [broadcast(0); 5];
        for (limb, value) in limbs.iter_mut().zip(element.0) {
            *limb = broadcast(value);
        }
        Self(limbs)
    }

    fn lane(&self, lane: usize) -> Element {
        Element(self.0.map(|limb| {
            let mut lanes = [0; LANES];
            // SAFETY: writes the 64 bytes of the array, without alignment.
            unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), limb) };
            lanes[lane]
        }))
    }

    #[inline(always)]
    fn store_words(&self, coordinates: &mut Coordinates, column: usize) {
        let [a, b, c, d, e] = self.0;
        let doubles = [
            or(right::<36>(d), left::<16>(e)),
            or(right::<24>(c), left::<28>(d)),
            or(right::<12>(b), left::<40>(c)),
            or(a, left::<52>(b)),
        ];
        for (number, double) in doubles.into_iter().enumerate() {
            let words = [right::<32>(double), double];
            for (row, word) in coordinates.0[2 * number..].iter_mut().zip(words) {
                let columns = &mut row[column..column + LANES];
                // SAFETY: the slice just taken has the eight words that are written, without alignment.
                unsafe { _mm256_storeu_si256(columns.as_mut_ptr().cast(), _mm512_cvtepi64_epi32(word)) };
            }
        }
    }

    #[inline(always)]
    fn sum(&self, other: &Self) -> Self {
        let mut limbs = self.0;
        for (limb, other) in limbs.iter_mut().zip(other.0) {
            *limb = add(*limb, other);
        }
        Self(carried(limbs))
    }

    #[inline(always)]
    fn difference(&self, other: &Self) -> Self {
        Self(carried(self.minus(other)))
    }

    #[inline(always)]
    fn canonical_difference(&self, b: &Self, c: &Self) -> Self {
        Self(carried(folded(Self(self.minus(b)).minus(c)))).canonical_unless_full()
    }

    #[inline(always)]
    fn canonical(&self) -> Self {
        Self(carried(folded(self.0))).canonical_unless_full()
    }

    #[inline(always)]
    fn multiply(&self, other: &Self) -> Self {
        let mut columns = [broadcast(0); 10];
        for (i, &a) in self.0.iter().enumerate() {
            for (j, &b) in other.0.iter().enumerate() {
                columns[i + j] = add_low(columns[i + j], a, b);
                columns[i + j + 1] = add_high(columns[i + j + 1], a, b);
            }
        }
        reduced(columns)
    }

    #[inline(always)]
    fn square(&self) -> Self {
        let mut columns = [broadcast(0); 10];
        for i in 0..5 {
            for j in i + 1..5 {
                columns[i + j] = add_low(columns[i + j], self.0[i], self.0[j]);
                columns[i + j + 1] = add_high(columns[i + j + 1], self.0[i], self.0[j]);
            }
        }
        // The products off the diagonal count twice; doubled factors would not fit in 52 bits.
        for column in &mut columns {
            *column = add(*column, *column);
        }
        for (i, &a) in self.0.iter().enumerate() {
            columns[2 * i] = add_low(columns[2 * i], a, a);
            columns[2 * i + 1] = add_high(columns[2 * i + 1], a, a);
        }
        reduced(columns)
    }
}

/// One 32-bit word of sixteen hashes.
#[derive(Clone, Copy)]
struct Words(__m512i);

impl WordLanes for Words {
    const LANES: usize = 16;

    #[inline(always)]
    fn load(words: &[u32]) -> Self {
        let words: &[u32; 16] = words.try_into().expect("as many words as lanes");
        // SAFETY: reads the 64 bytes of the array, without alignment.
        Self(unsafe { _mm512_loadu_si512(words.as_ptr().cast()) })
    }

    #[inline(always)]
    fn splat(word: u32) -> Self {
        Self(pure!(_mm512_set1_epi32(word.cast_signed())))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(pure!(_mm512_add_epi32(self.0, other.0)))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(pure!(_mm512_xor_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(pure!(_mm512_and_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self(pure!(_mm512_or_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn not(self) -> Self {
        Self(pure!(_mm512_ternarylogic_epi32::<0x55>(self.0, self.0, self.0)))
    }

    #[inline(always)]
    fn rotate_left<const BITS: i32, const REST: i32>(self) -> Self {
        Self(pure!(_mm512_rol_epi32::<BITS>(self.0)))
    }

    #[inline(always)]
    fn shift_right<const BITS: u32>(self) -> Self {
        Self(pure!(_mm512_srli_epi32::<BITS>(self.0)))
    }

    #[inline(always)]
    fn shift_left<const BITS: u32>(self) -> Self {
        Self(pure!(_mm512_slli_epi32::<BITS>(self.0)))
    }

    #[inline(always)]
    fn swap_bytes(self) -> Self {
        const REVERSE: [u8; 16] = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12];
        // SAFETY: reads the 16 bytes of the constant; the rest computes on values.
        Self(unsafe {
            let order = _mm512_broadcast_i32x4(_mm_loadu_si128(REVERSE.as_ptr().cast()));
            _mm512_shuffle_epi8(self.0, order)
        })
    }

    #[inline(always)]
    fn accepted_by(self, filter: &WordFilter) -> u32 {
        if filter.is_simple() {
            let mut accepted = 0;
            for interval in &filter.intervals {
                let above = pure!(_mm512_sub_epi32(self.0, _mm512_set1_epi32(interval.low.cast_signed())));
                accepted |= pure!(_mm512_cmple_epu32_mask(above, _mm512_set1_epi32(interval.width.cast_signed())));
            }
            return u32::from(accepted);
        }
        let mut words = [0; 16];
        // SAFETY: writes the 64 bytes of the array, without alignment.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), self.0) };
        filter.accepted_of(&words)
    }

    #[inline(always)]
    fn in_order(values: [&mut Self; 10]) {
        pure!(in_order(values));
    }

    #[inline(always)]
    fn both_in_order(values: [&mut Pair<Self>; 10]) {
        pure!(both_in_order(values));
    }

    #[inline(always)]
    fn xor3(self, b: Self, c: Self) -> Self {
        Self(pure!(_mm512_ternarylogic_epi32::<0x96>(self.0, b.0, c.0)))
    }

    #[inline(always)]
    fn choose(self, b: Self, c: Self) -> Self {
        Self(pure!(_mm512_ternarylogic_epi32::<0xca>(self.0, b.0, c.0)))
    }

    #[inline(always)]
    fn majority(self, b: Self, c: Self) -> Self {
        Self(pure!(_mm512_ternarylogic_epi32::<0xe8>(self.0, b.0, c.0)))
    }

    #[inline(always)]
    fn or_not_xor(self, b: Self, c: Self) -> Self {
        Self(pure!(_mm512_ternarylogic_epi32::<0x59>(self.0, b.0, c.0)))
    }
}

/// An instruction that is none, but which the compiler must believe to change these values.
macro_rules! touch {
    ($template:literal, $($value:expr)*) => {
        // SAFETY: emits a comment.
        unsafe { core::arch::asm!($template, $(inout(zmm_reg) $value,)* options(nomem, nostack, preserves_flags)) }
    };
}

/// What does not fit in registers shall not lie across two cache lines: a stack is aligned to 16 bytes only, unless
/// something on it asks for more.
#[inline(always)]
fn align_stack() {
    #[repr(align(64))]
    struct Line([u8; 64]);
    let line = Line([0; 64]);
    // SAFETY: emits a comment.
    unsafe { core::arch::asm!("# {}", in(reg) &line.0, options(nostack, preserves_flags)) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn in_order([a, b, c, d, e, p, q, r, s, t]: [&mut Words; 10]) {
    touch!("# {} {} {} {} {} {} {} {} {} {}", a.0 b.0 c.0 d.0 e.0 p.0 q.0 r.0 s.0 t.0);
}

#[target_feature(enable = "avx512f")]
#[inline]
fn both_in_order([a, b, c, d, e, p, q, r, s, t]: [&mut Pair<Words>; 10]) {
    touch!(
        "# {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {}",
        a.0.0 b.0.0 c.0.0 d.0.0 e.0.0 p.0.0 q.0.0 r.0.0 s.0.0 t.0.0
        a.1.0 b.1.0 c.1.0 d.1.0 e.1.0 p.1.0 q.1.0 r.1.0 s.1.0 t.1.0
    );
}

/// One 64-bit word of eight hashes.
#[derive(Clone, Copy)]
struct Doubles(__m512i);

impl DoubleLanes for Doubles {
    const LANES: usize = LANES;

    #[inline(always)]
    fn load(doubles: &[u64]) -> Self {
        let doubles: &[u64; LANES] = doubles.try_into().expect("as many doubles as lanes");
        // SAFETY: reads the 64 bytes of the array, without alignment.
        Self(unsafe { _mm512_loadu_si512(doubles.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, doubles: &mut [u64]) {
        let doubles: &mut [u64; LANES] = doubles.try_into().expect("as many doubles as lanes");
        // SAFETY: writes the 64 bytes of the array, without alignment.
        unsafe { _mm512_storeu_si512(doubles.as_mut_ptr().cast(), self.0) };
    }

    #[inline(always)]
    fn splat(double: u64) -> Self {
        Self(broadcast(double))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(pure!(_mm512_xor_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn xor_and_not(self, b: Self, c: Self) -> Self {
        Self(pure!(_mm512_ternarylogic_epi64::<0xd2>(self.0, b.0, c.0)))
    }

    #[inline(always)]
    fn rotate_left(self, bits: u32) -> Self {
        Self(pure!(_mm512_rolv_epi64(self.0, broadcast(u64::from(bits)))))
    }

    #[inline(always)]
    fn xor3(self, b: Self, c: Self) -> Self {
        Self(pure!(_mm512_ternarylogic_epi64::<0x96>(self.0, b.0, c.0)))
    }
}
