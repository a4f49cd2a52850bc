//! What the walk and the hashes need from a processor.

use crate::field::Element;

use super::filter::WordFilter;

/// Points are hashed in groups of this many, whatever the width of the vectors.
pub(crate) const GROUP: usize = 16;

/// Eight big-endian words of x for each point of a group, word by word.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Coordinates(pub(crate) [[u32; GROUP]; 8]);

impl Coordinates {
    pub(crate) const ZERO: Self = Self([[0; GROUP]; 8]);

    pub(crate) fn element_bytes(&self, column: usize) -> [u8; 32] {
        self.0.map(|row| row[column].to_be_bytes()).as_flattened().try_into().expect("32 bytes")
    }
}

/// Several field elements at once. The states an element can be in are those of [`crate::field`].
pub(crate) trait FieldLanes: Copy {
    const LANES: usize;

    fn load(elements: &[Element]) -> Self;
    fn splat(element: &Element) -> Self;
    fn lane(&self, lane: usize) -> Element;
    /// Writes a canonical vector to the columns from `column` on.
    fn store_words(&self, coordinates: &mut Coordinates, column: usize);

    /// Loose from reduced.
    fn sum(&self, other: &Self) -> Self;
    /// Loose from reduced.
    fn difference(&self, other: &Self) -> Self;
    /// `self − b − c`, canonical from reduced.
    fn canonical_difference(&self, b: &Self, c: &Self) -> Self;
    /// Canonical from reduced.
    fn canonical(&self) -> Self;
    /// Reduced from loose.
    fn multiply(&self, other: &Self) -> Self;
    /// Reduced from loose.
    fn square(&self) -> Self;

    fn is_any_zero(&self) -> bool {
        (0..Self::LANES).any(|lane| self.lane(lane).is_zero())
    }

    #[inline(always)]
    fn square_times(&self, times: usize) -> Self {
        let mut power = *self;
        for _ in 0..times {
            power = power.square();
        }
        power
    }

    /// x^(p−2), by the chain of libsecp256k1: p−2 in binary has runs of 223, 22, 1 and 2 ones, and 5 bits between.
    #[inline(always)]
    fn invert(&self) -> Self {
        let x1 = *self;
        let x2 = x1.square().multiply(&x1);
        let x3 = x2.square().multiply(&x1);
        let x6 = x3.square_times(3).multiply(&x3);
        let x9 = x6.square_times(3).multiply(&x3);
        let x11 = x9.square_times(2).multiply(&x2);
        let x22 = x11.square_times(11).multiply(&x11);
        let x44 = x22.square_times(22).multiply(&x22);
        let x88 = x44.square_times(44).multiply(&x44);
        let x176 = x88.square_times(88).multiply(&x88);
        let x220 = x176.square_times(44).multiply(&x44);
        let x223 = x220.square_times(3).multiply(&x3);
        let high = x223.square_times(23).multiply(&x22);
        let middle = high.square_times(5).multiply(&x1);
        middle.square_times(3).multiply(&x2).square_times(2).multiply(&x1)
    }
}

/// Hashes a group and says which points' hashes may lie in a wanted range: the first 32 bits decide.
pub(crate) trait Hasher {
    /// Bit i is set for the point in column i. The compressed key is `02 + odd ‖ x`.
    fn key_hashes(coordinates: &Coordinates, odd: bool, filter: &WordFilter) -> u32;
    /// The same for the script hash that wraps the key hash.
    fn wrapped_key_hashes(coordinates: &Coordinates, odd: bool, filter: &WordFilter) -> u32;
}

/// The operations of SHA-256 and RIPEMD-160 on several 32-bit words at once.
pub(crate) trait WordLanes: Copy {
    const LANES: usize;

    fn load(words: &[u32]) -> Self;
    fn splat(word: u32) -> Self;
    fn add(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn not(self) -> Self;
    fn rotate_left<const BITS: i32, const REST: i32>(self) -> Self;
    fn shift_right<const BITS: i32>(self) -> Self;
    fn shift_left<const BITS: i32>(self) -> Self;
    fn swap_bytes(self) -> Self;
    /// Bit i is set if lane i is in one of the filter's intervals.
    fn accepted_by(self, filter: &WordFilter) -> u32;

    #[inline(always)]
    fn xor3(self, b: Self, c: Self) -> Self {
        self.xor(b).xor(c)
    }

    /// Bits of `b` where `self` is one, of `c` where it is zero.
    #[inline(always)]
    fn choose(self, b: Self, c: Self) -> Self {
        c.xor(self.and(b.xor(c)))
    }

    #[inline(always)]
    fn majority(self, b: Self, c: Self) -> Self {
        self.and(b).or(c.and(self.or(b)))
    }

    /// `(self | !b) ^ c`, of RIPEMD-160.
    #[inline(always)]
    fn or_not_xor(self, b: Self, c: Self) -> Self {
        self.or(b.not()).xor(c)
    }
}
