//! AVX-512 with IFMA: eight field elements and sixteen hashes at a time.
//!
//! An element is five vectors of 52-bit limbs, which is what `vpmadd52` multiplies: it takes the low 52 bits of each
//! factor. So every sum ends with a carry chain, and what a limb has above its 52 bits need not be cut off in a factor.
#![expect(unsafe_code, reason = "vector instructions exist only as unsafe intrinsics until the processor is known")]

use core::arch::x86_64::*;

use super::{
    back_end::{BackEnd, vector_back_end},
    filter::WordFilter,
    hash,
    keccak::{self, DoubleLanes},
    lanes::{Accepted, Coordinates, FieldLanes, GROUP, Pair, WordLanes},
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

#[inline(always)]
fn or3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    pure!(_mm512_ternarylogic_epi64::<0xfe>(a, b, c))
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

/// Carries from limb to limb. What each has above 52 bits stays there as well, which no multiplication sees.
#[inline(always)]
fn carried([a, b, c, d, e]: [__m512i; 5]) -> [__m512i; 5] {
    let b = add(b, right::<52>(a));
    let c = add(c, right::<52>(b));
    let d = add(d, right::<52>(c));
    let e = add(e, right::<52>(d));
    [a, b, c, d, e]
}

/// All limbs but the last below 2^52, from [`carried`].
#[inline(always)]
fn cut([a, b, c, d, e]: [__m512i; 5]) -> [__m512i; 5] {
    let mask = broadcast(LIMB);
    [and(a, mask), and(b, mask), and(c, mask), and(d, mask), e]
}

/// Five columns, and a sixth of which nothing but a multiple of 2^260 is left.
struct Columns([__m512i; 5], __m512i);

/// From ten columns below 2^57 whose sum is below 2^520.
#[inline(always)]
fn half_reduced([c0, c1, c2, c3, c4, c5, c6, c7, c8, c9]: [__m512i; 10]) -> Columns {
    let fold = broadcast(FOLD << 4);
    // The upper columns become exact limbs, since the multiplier looks at 52 bits only.
    let [c5, c6, c7, c8, c9] = carried([c5, c6, c7, c8, c9]);
    // 2^260 ≡ FOLD·2^4.
    let c0 = add_low(c0, c5, fold);
    let c1 = add_low(add_high(c1, c5, fold), c6, fold);
    let c2 = add_low(add_high(c2, c6, fold), c7, fold);
    let c3 = add_low(add_high(c3, c7, fold), c8, fold);
    let c4 = add_low(add_high(c4, c8, fold), c9, fold);
    Columns([c0, c1, c2, c3, c4], add_high(broadcast(0), c9, fold))
}

impl Columns {
    /// Takes what lies above 2^256 back in at the bottom.
    #[inline(always)]
    fn folded(self) -> [__m512i; 5] {
        let Self([a, b, c, d, e], top) = self;
        let over = add(right::<48>(e), left::<4>(top));
        [add_low(a, over, broadcast(FOLD)), add_high(b, over, broadcast(FOLD)), c, d, and(e, broadcast(TOP))]
    }

    /// The last limb is below 2^49, as carries come after the fold.
    #[inline(always)]
    fn factor(self) -> Fields {
        Fields(carried(self.folded()))
    }

    /// Carries come before the fold, and after it only the first one, which is not rare; it leaves the second limb
    /// below 2^53.
    #[inline(always)]
    fn canonical(self) -> Fields {
        let [a, b, c, d, e] = Self(cut(carried(self.0)), self.1).folded();
        Fields([and(a, broadcast(LIMB)), add(b, right::<52>(a)), c, d, e])
    }
}

impl Fields {
    #[inline(always)]
    fn product_columns(&self, other: &Self) -> [__m512i; 10] {
        let mut columns = [broadcast(0); 10];
        for (i, &a) in self.0.iter().enumerate() {
            for (j, &b) in other.0.iter().enumerate() {
                columns[i + j] = add_low(columns[i + j], a, b);
                columns[i + j + 1] = add_high(columns[i + j + 1], a, b);
            }
        }
        columns
    }

    #[inline(always)]
    fn square_columns(&self) -> [__m512i; 10] {
        let mut columns = [broadcast(0); 10];
        for i in 0..5 {
            for j in i + 1..5 {
                columns[i + j] = add_low(columns[i + j], self.0[i], self.0[j]);
                columns[i + j + 1] = add_high(columns[i + j + 1], self.0[i], self.0[j]);
            }
        }
        // The products off the diagonal count twice; doubled factors would not fit in 52 bits.
        for column in &mut columns[1..9] {
            *column = add(*column, *column);
        }
        for (i, &a) in self.0.iter().enumerate() {
            columns[2 * i] = add_low(columns[2 * i], a, a);
            columns[2 * i + 1] = add_high(columns[2 * i + 1], a, a);
        }
        columns
    }

    /// Four 64-bit words of a canonical vector, highest first.
    #[inline(always)]
    fn doubles(&self) -> [__m512i; 4] {
        let [a, b, c, d, e] = self.0;
        [
            or(right::<36>(d), left::<16>(e)),
            or(right::<24>(c), left::<28>(d)),
            or(right::<12>(b), left::<40>(c)),
            or(a, left::<52>(b)),
        ]
    }

    /// Without carries.
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

    /// Second limbs, and last limbs plus one, by bits: none of these may have a bit above its 52 or 48.
    type Doubt = [__m512i; 2];

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
    fn store_words([first, second]: [&Self; 2], coordinates: &mut Coordinates, _: usize) {
        const { assert!(2 * LANES == GROUP) };
        const EVEN: [i32; 16] = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30];
        const ODD: [i32; 16] = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31];
        // SAFETY: reads the 64 bytes of each constant, without alignment.
        let (even, odd) =
            unsafe { (_mm512_loadu_si512(EVEN.as_ptr().cast()), _mm512_loadu_si512(ODD.as_ptr().cast())) };
        let (first, second) = (first.doubles(), second.doubles());
        for (number, rows) in coordinates.0.chunks_exact_mut(2).enumerate() {
            let (a, b) = (first[number], second[number]);
            for (row, order) in rows.iter_mut().zip([odd, even]) {
                // SAFETY: writes the sixteen words of a row, without alignment; the rest computes on values.
                unsafe {
                    _mm512_storeu_si512(row.as_mut_ptr().cast(), _mm512_permutex2var_epi32(a, order, b));
                }
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
    fn multiply(&self, other: &Self) -> Self {
        half_reduced(self.product_columns(other)).factor()
    }

    #[inline(always)]
    fn square(&self) -> Self {
        half_reduced(self.square_columns()).factor()
    }

    /// Folded first: the one carry that may still leave the last limb is in doubt.
    #[inline(always)]
    fn canonical_difference(&self, b: &Self, c: &Self) -> Self {
        let [a, b, c, d, e] = Self(self.minus(b)).minus(c);
        let over = right::<48>(e);
        Self(cut(carried([add_low(a, over, broadcast(FOLD)), b, c, d, and(e, broadcast(TOP))])))
    }

    #[inline(always)]
    fn canonical_product(&self, other: &Self) -> Self {
        half_reduced(self.product_columns(other)).canonical()
    }

    #[inline(always)]
    fn canonical_product_less(&self, other: &Self, b: &Self) -> Self {
        let Columns(columns, top) = half_reduced(self.product_columns(other));
        Columns(Self(columns).minus(b), top).canonical()
    }

    #[inline(always)]
    fn canonical_square_less(&self, b: &Self, c: &Self) -> Self {
        let Columns(columns, top) = half_reduced(self.square_columns());
        Columns(Self(Self(columns).minus(b)).minus(c), top).canonical()
    }

    #[inline(always)]
    fn no_doubt() -> [__m512i; 2] {
        [broadcast(0); 2]
    }

    #[inline(always)]
    fn and_doubt([seconds, lasts]: [__m512i; 2], a: &Self, b: &Self) -> [__m512i; 2] {
        let one = broadcast(1);
        [or3(seconds, a.0[1], b.0[1]), or3(lasts, add(a.0[4], one), add(b.0[4], one))]
    }

    #[inline(always)]
    fn is_in_doubt([seconds, lasts]: [__m512i; 2]) -> bool {
        let above = or(right::<52>(seconds), right::<48>(lasts));
        pure!(_mm512_test_epi64_mask(above, above)) != 0
    }

    /// One inversion for the eight lanes, by the 64-bit multiplier: a vector would wait for each of its 270 products
    /// more than twice as long.
    fn invert(&self) -> Self {
        let lanes: [Element; LANES] = std::array::from_fn(|lane| self.lane(lane));
        let mut products = [Element::ONE; LANES];
        for lane in 1..LANES {
            products[lane] = products[lane - 1].multiply(&lanes[lane - 1]);
        }
        let mut inverse = products[LANES - 1].multiply(&lanes[LANES - 1]).invert();
        for lane in (0..LANES).rev() {
            products[lane] = products[lane].multiply(&inverse);
            inverse = inverse.multiply(&lanes[lane]);
        }
        Self::load(&products)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{field::tests::element, kernel::Backend};

    fn elements() -> impl Strategy<Value = [Element; LANES]> {
        prop::array::uniform8(element())
    }

    fn check(vector: Fields, expected: impl Fn(usize) -> Element) {
        let (vector, doubted) = (vector.exactly(), vector);
        for lane in 0..LANES {
            let canonical = expected(lane).canonical().0;
            assert_eq!(vector.lane(lane).0, canonical, "lane {lane}");
            assert_eq!(doubted.lane(lane).canonical().0, canonical, "lane {lane}, of the same value");
        }
    }

    /// What a factor stands for shows when it is multiplied.
    fn check_factor(vector: Fields, expected: impl Fn(usize) -> Element) {
        check(vector.canonical_product(&Fields::splat(&Element::ONE)), expected);
    }

    fn of(elements: &[Element; LANES]) -> Fields {
        Fields::load(elements)
    }

    proptest! {
        #[test]
        fn vectors_compute_what_elements_do(a in elements(), b in elements(), c in elements()) {
            if !Backend::Avx512.is_available() {
                return Ok(());
            }
            let (x, y, z) = (of(&a), of(&b), of(&c));
            check_factor(x.sum(&y), |i| a[i].sum(&b[i]));
            check_factor(x.difference(&y), |i| a[i].difference(&b[i]));
            check_factor(x.multiply(&y), |i| a[i].multiply(&b[i]));
            check_factor(x.multiply(&y).square().multiply(&z), |i| a[i].multiply(&b[i]).square().multiply(&c[i]));
            check_factor(x.difference(&y).square(), |i| a[i].difference(&b[i]).square());
            check(x.canonical_difference(&y, &z), |i| a[i].difference(&b[i]).difference(&c[i]));
            check(x.canonical_product(&y), |i| a[i].multiply(&b[i]));
            check(x.canonical_product_less(&y, &z), |i| a[i].multiply(&b[i]).difference(&c[i]));
            check(x.canonical_square_less(&y, &z), |i| a[i].square().difference(&b[i]).difference(&c[i]));
        }

        #[test]
        fn lanes_are_inverted_together(a in elements()) {
            if !Backend::Avx512.is_available() {
                return Ok(());
            }
            prop_assume!(a.iter().all(|a| !a.is_zero()));
            check_factor(of(&a).invert().multiply(&of(&a)), |_| Element::ONE);
        }

        #[test]
        fn words_go_to_their_columns(a in elements(), b in elements()) {
            if !Backend::Avx512.is_available() {
                return Ok(());
            }
            let mut coordinates = Coordinates::ZERO;
            Fields::store_words([&of(&a), &of(&b)], &mut coordinates, 0);
            for lane in 0..LANES {
                prop_assert_eq!(coordinates.element_bytes(lane), a[lane].bytes());
                prop_assert_eq!(coordinates.element_bytes(LANES + lane), b[lane].bytes());
            }
        }
    }

    /// The carry that goes on after the fold, and a value between p and 2^256: neither is rare here.
    #[test]
    fn what_is_not_canonical_is_in_doubt() {
        if !Backend::Avx512.is_available() {
            return;
        }
        let in_doubt = |vector: Fields| {
            Fields::is_in_doubt(Fields::and_doubt(Fields::no_doubt(), &of(&[Element::ONE; LANES]), &vector))
        };
        let columns = |limbs: [u64; 5]| Columns(of(&[Element(limbs); LANES]).0, broadcast(0)).canonical();
        for (limbs, doubt) in [
            ([LIMB, LIMB, 5, 5, 1 << 48], true),
            (PRIME, true),
            ([7, LIMB, LIMB, LIMB, TOP], true),
            ([7, LIMB - 1, LIMB, LIMB, 1 << 48], false),
            ([7, 7, 7, 7, TOP - 1], false),
        ] {
            assert_eq!(in_doubt(columns(limbs)), doubt, "{limbs:x?}");
            check(columns(limbs), |_| Element(limbs));
        }
    }
}
