//! Arithmetic modulo p = 2^256 − 0x1000003d1 on five limbs of 52 bits, one element at a time.
//!
//! This is the arithmetic of the portable back end and the reference that the vector back ends are tested against.
//! The multiplication follows libsecp256k1's `field_5x52_int128_impl.h`. Three states of an element matter:
//!
//! - *canonical*: below p, every limb below 2^52, the last below 2^48;
//! - *reduced*: what a multiplication returns: limbs below 2^52, the last below 2^49;
//! - *loose*: a sum or difference of a few reduced elements; only good as a factor, or to be reduced.

/// Low 52 bits.
pub(crate) const LIMB: u64 = (1 << 52) - 1;
/// Bits of the last limb below 2^256.
pub(crate) const TOP: u64 = (1 << 48) - 1;
/// 2^256 mod p.
pub(crate) const FOLD: u64 = 0x1_0000_03d1;

/// p in limbs.
pub(crate) const PRIME: [u64; 5] = [0xf_fffe_ffff_fc2f, LIMB, LIMB, LIMB, TOP];

/// A cube root of one modulo p (SEC 2, GLV): λ·(x, y) = (β·x, y).
pub(crate) const BETA: Element = Element::from_words([
    0x7ae9_6a2b,
    0x657c_0710,
    0x6e64_479e,
    0xac34_34e9,
    0x9cf0_4975,
    0x12f5_8995,
    0xc139_6c28,
    0x7195_01ee,
]);

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Element(pub(crate) [u64; 5]);

impl Element {
    pub(crate) const ONE: Self = Self([1, 0, 0, 0, 0]);

    /// From eight big-endian words.
    const fn from_words(words: [u32; 8]) -> Self {
        let low = words[7] as u64 | (words[6] as u64) << 32;
        let second = words[5] as u64 | (words[4] as u64) << 32;
        let third = words[3] as u64 | (words[2] as u64) << 32;
        let high = words[1] as u64 | (words[0] as u64) << 32;
        Self([
            low & LIMB,
            (low >> 52 | second << 12) & LIMB,
            (second >> 40 | third << 24) & LIMB,
            (third >> 28 | high << 36) & LIMB,
            high >> 16,
        ])
    }

    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self::from_words(std::array::from_fn(|word| {
            u32::from_be_bytes(bytes[4 * word..4 * word + 4].try_into().expect("four bytes"))
        }))
    }

    /// Eight big-endian words of a canonical element.
    pub(crate) fn words(&self) -> [u32; 8] {
        let [a, b, c, d, e] = self.0;
        let low = a | b << 52;
        let second = b >> 12 | c << 40;
        let third = c >> 24 | d << 28;
        let high = d >> 36 | e << 16;
        [high, third, second, low]
            .map(|double| [(double >> 32) as u32, double as u32])
            .as_flattened()
            .try_into()
            .expect("eight words")
    }

    pub(crate) fn bytes(&self) -> [u8; 32] {
        self.words().map(u32::to_be_bytes).as_flattened().try_into().expect("32 bytes")
    }

    /// Loose from two reduced.
    #[inline(always)]
    pub(crate) fn sum(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|limb| self.0[limb] + other.0[limb]))
    }

    /// Loose from two reduced.
    #[inline(always)]
    pub(crate) fn difference(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|limb| self.0[limb] + (4 * PRIME[limb] - other.0[limb])))
    }

    /// Canonical from loose.
    #[inline(always)]
    pub(crate) fn canonical(&self) -> Self {
        let [mut a, mut b, mut c, mut d, mut e] = self.0;
        a += (e >> 48) * FOLD;
        e &= TOP;
        b += a >> 52;
        a &= LIMB;
        c += b >> 52;
        b &= LIMB;
        d += c >> 52;
        c &= LIMB;
        e += d >> 52;
        d &= LIMB;
        // Only a value in the last 2^-48 of the range, or a carry just now, can still be p or more.
        if e >= TOP { Self([a, b, c, d, e]).less_prime_if_not_below() } else { Self([a, b, c, d, e]) }
    }

    #[cold]
    pub(crate) fn less_prime_if_not_below(&self) -> Self {
        let [mut a, mut b, mut c, mut d, mut e] = self.0;
        let full = b & c & d == LIMB;
        let over = e >> 48 > 0 || (e == TOP && full && a >= PRIME[0]);
        if over {
            a += FOLD;
            b += a >> 52;
            a &= LIMB;
            c += b >> 52;
            b &= LIMB;
            d += c >> 52;
            c &= LIMB;
            e += d >> 52;
            d &= LIMB;
            e &= TOP;
        }
        Self([a, b, c, d, e])
    }

    /// Of a loose element.
    pub(crate) fn is_zero(&self) -> bool {
        self.canonical().0 == [0; 5]
    }

    /// Reduced from two loose.
    #[inline(always)]
    pub(crate) fn multiply(&self, other: &Self) -> Self {
        const WIDE_FOLD: u64 = FOLD << 4;
        let ([a0, a1, a2, a3, a4], [b0, b1, b2, b3, b4]) = (self.0, other.0);
        let times = |a: u64, b: u64| u128::from(a) * u128::from(b);
        let limb = |value: u128| value as u64 & LIMB;

        let mut d = times(a0, b3) + times(a1, b2) + times(a2, b1) + times(a3, b0);
        let mut c = times(a4, b4);
        d += times(WIDE_FOLD, c as u64);
        c >>= 64;
        let t3 = limb(d);
        d >>= 52;
        d += times(a0, b4) + times(a1, b3) + times(a2, b2) + times(a3, b1) + times(a4, b0);
        d += times(WIDE_FOLD << 12, c as u64);
        let t4 = limb(d);
        d >>= 52;
        let (tx, t4) = (t4 >> 48, t4 & TOP);
        c = times(a0, b0);
        d += times(a1, b4) + times(a2, b3) + times(a3, b2) + times(a4, b1);
        let u0 = limb(d) << 4 | tx;
        d >>= 52;
        c += times(u0, FOLD);
        let r0 = limb(c);
        c >>= 52;
        c += times(a0, b1) + times(a1, b0);
        d += times(a2, b4) + times(a3, b3) + times(a4, b2);
        c += times(limb(d), WIDE_FOLD);
        d >>= 52;
        let r1 = limb(c);
        c >>= 52;
        c += times(a0, b2) + times(a1, b1) + times(a2, b0);
        d += times(a3, b4) + times(a4, b3);
        c += times(WIDE_FOLD, d as u64);
        d >>= 64;
        let r2 = limb(c);
        c >>= 52;
        c += times(WIDE_FOLD << 12, d as u64) + u128::from(t3);
        let r3 = limb(c);
        c >>= 52;
        Self([r0, r1, r2, r3, c as u64 + t4])
    }

    /// Reduced from loose.
    #[inline(always)]
    pub(crate) fn square(&self) -> Self {
        const WIDE_FOLD: u64 = FOLD << 4;
        let [a0, a1, a2, a3, a4] = self.0;
        let times = |a: u64, b: u64| u128::from(a) * u128::from(b);
        let limb = |value: u128| value as u64 & LIMB;
        let (twice_a0, twice_a1) = (2 * a0, 2 * a1);

        let mut d = times(twice_a0, a3) + times(twice_a1, a2);
        let mut c = times(a4, a4);
        d += times(WIDE_FOLD, c as u64);
        c >>= 64;
        let t3 = limb(d);
        d >>= 52;
        let twice_a4 = 2 * a4;
        d += times(a0, twice_a4) + times(twice_a1, a3) + times(a2, a2);
        d += times(WIDE_FOLD << 12, c as u64);
        let t4 = limb(d);
        d >>= 52;
        let (tx, t4) = (t4 >> 48, t4 & TOP);
        c = times(a0, a0);
        d += times(a1, twice_a4) + times(2 * a2, a3);
        let u0 = limb(d) << 4 | tx;
        d >>= 52;
        c += times(u0, FOLD);
        let r0 = limb(c);
        c >>= 52;
        c += times(twice_a0, a1);
        d += times(a2, twice_a4) + times(a3, a3);
        c += times(limb(d), WIDE_FOLD);
        d >>= 52;
        let r1 = limb(c);
        c >>= 52;
        c += times(twice_a0, a2) + times(a1, a1);
        d += times(a3, twice_a4);
        c += times(WIDE_FOLD, d as u64);
        d >>= 64;
        let r2 = limb(c);
        c >>= 52;
        c += times(WIDE_FOLD << 12, d as u64) + u128::from(t3);
        let r3 = limb(c);
        c >>= 52;
        Self([r0, r1, r2, r3, c as u64 + t4])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use k256::elliptic_curve::bigint::{Encoding, U256};
    use proptest::prelude::*;

    use super::*;

    const P: U256 = U256::from_be_hex("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f");

    /// Canonical elements, many of them at the ends of what limbs can be.
    pub(crate) fn element() -> impl Strategy<Value = Element> {
        let lower = prop::array::uniform4(limb(LIMB));
        let near_prime = (0..3_u64).prop_map(|less| Element([PRIME[0] - 1 - less, LIMB, LIMB, LIMB, TOP]));
        let any = (lower, limb(TOP)).prop_map(|([a, b, c, d], e)| Element([a, b, c, d, e]).canonical());
        prop_oneof![1 => near_prime, 9 => any]
    }

    /// What a sum or difference of a few reduced elements can be at most.
    fn loose() -> impl Strategy<Value = Element> {
        (prop::array::uniform4(limb(6 << 52)), limb(6 << 49)).prop_map(|([a, b, c, d], e)| Element([a, b, c, d, e]))
    }

    fn limb(last: u64) -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), Just(1), Just(last), Just(last - 1), 0..=last]
    }

    pub(crate) fn product(a: &U256, b: &U256) -> U256 {
        U256::const_rem_wide(a.mul_wide(b), &P).0
    }

    /// What the limbs stand for.
    pub(crate) fn number(element: &Element) -> U256 {
        element
            .0
            .iter()
            .rev()
            .fold(U256::ZERO, |sum, limb| product(&sum, &U256::from(1_u64 << 52)).add_mod(&U256::from(*limb), &P))
    }

    /// A canonical element of this value, and no other way to write it.
    fn check_canonical(element: &Element, value: &U256) {
        let canonical = element.canonical();
        assert_eq!(number(element), *value, "{element:x?}");
        assert_eq!(canonical.bytes(), value.to_be_bytes(), "{element:x?}");
        assert_eq!(element.is_zero(), *value == U256::ZERO, "{element:x?}");
    }

    fn check_reduced(element: &Element, value: &U256) {
        let [a, b, c, d, e] = element.0;
        assert!([a, b, c, d].iter().all(|limb| *limb <= LIMB) && e < 1 << 49, "{element:x?} is reduced");
        check_canonical(element, value);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn sums_and_differences_are_those_of_numbers(a in element(), b in element(), c in element()) {
            let (x, y, z) = (number(&a), number(&b), number(&c));
            check_canonical(&a.sum(&b), &x.add_mod(&y, &P));
            check_canonical(&a.difference(&b), &x.sub_mod(&y, &P));
            check_canonical(&a.difference(&b).difference(&c), &x.sub_mod(&y, &P).sub_mod(&z, &P));
            check_canonical(&a.difference(&a), &U256::ZERO);
        }

        #[test]
        fn products_are_those_of_numbers(a in loose(), b in loose(), c in element()) {
            let (x, y) = (number(&a), number(&b));
            check_reduced(&a.multiply(&b), &product(&x, &y));
            check_reduced(&a.square(), &product(&x, &x));
            // What is reduced need not be canonical, and takes part in the next sum as it is.
            let less = product(&x, &y).sub_mod(&number(&c), &P);
            check_canonical(&a.multiply(&b).difference(&c), &less);
            check_reduced(&a.multiply(&b).difference(&c).multiply(&a.square().sum(&c)), &{
                product(&less, &product(&x, &x).add_mod(&number(&c), &P))
            });
        }

        #[test]
        fn bytes_are_read_and_written_in_order(bytes in any::<[u8; 32]>()) {
            prop_assert_eq!(Element::from_bytes(&bytes).bytes(), bytes);
            let value = product(&U256::from_be_bytes(bytes), &U256::ONE);
            check_canonical(&Element::from_bytes(&bytes), &value);
        }
    }

    /// Too rare to be met by chance: what lies between p and 2^256.
    #[test]
    fn nothing_from_p_on_is_canonical() {
        for more in [0, 1, FOLD - 1] {
            let mut element = Element(PRIME);
            element.0[0] += more;
            check_canonical(&element, &U256::from(more));
            let bytes = P.wrapping_add(&U256::from(more)).to_be_bytes();
            check_canonical(&Element::from_bytes(&bytes), &U256::from(more));
        }
    }

    #[test]
    fn beta_is_a_cube_root_of_one() {
        let beta = number(&BETA);
        assert_ne!(beta, U256::ONE);
        assert_eq!(product(&beta, &product(&beta, &beta)), U256::ONE);
    }
}
