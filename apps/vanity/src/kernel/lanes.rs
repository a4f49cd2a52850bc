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

    /// x^(p−2), by the chain of libsecp256k1: p−2 in binary has runs of 223, 22, 1, 2 and 1 ones.
    ///
    /// A loop over the chain, so that the code of a multiplication is there once.
    #[inline(always)]
    fn invert(&self) -> Self {
        /// Which earlier power to start from, how often to square it, and which one to multiply by.
        const CHAIN: [(usize, usize, usize); 15] = [
            (0, 1, 0),
            (1, 1, 0),
            (2, 3, 2),
            (3, 3, 2),
            (4, 2, 1),
            (5, 11, 5),
            (6, 22, 6),
            (7, 44, 7),
            (8, 88, 8),
            (9, 44, 7),
            (10, 3, 2),
            (11, 23, 6),
            (12, 5, 0),
            (13, 3, 1),
            (14, 2, 0),
        ];
        let mut powers = [*self; CHAIN.len() + 1];
        for (number, (from, squarings, by)) in CHAIN.into_iter().enumerate() {
            let mut power = powers[from];
            for _ in 0..squarings {
                power = power.square();
            }
            powers[number + 1] = power.multiply(&powers[by]);
        }
        powers[CHAIN.len()]
    }
}

/// The x coordinates of a group's points, turned by β⁰, β¹ and β².
pub(crate) type Group = [Coordinates; 3];

/// The y coordinates of a group's points and of their negatives, which Ethereum addresses need.
pub(crate) type Heights = [Coordinates; 2];

/// For each prefix (for Ethereum: for y and −y), a bit per column: whether the first 32 bits of the hash may lie in a wanted range.
pub(crate) type Accepted = [u32; 2];

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
    fn shift_right<const BITS: u32>(self) -> Self;
    fn shift_left<const BITS: u32>(self) -> Self;
    fn swap_bytes(self) -> Self;
    /// Bit i is set if lane i is in one of the filter's intervals.
    fn accepted_by(self, filter: &WordFilter) -> u32;

    /// Everything that leads to these values is computed before anything that follows from them.
    ///
    /// The compiler would bring all steps of one line of RIPEMD-160 before those of the next, to save registers, and
    /// each step waits for the one before.
    #[inline(always)]
    fn in_order(_values: [&mut Self; 10]) {}

    #[inline(always)]
    fn both_in_order(_values: [&mut Pair<Self>; 10]) {}

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
        // What is `b ^ c` here was `self ^ b` in the round before, and is not computed twice.
        b.xor(self.xor(b).and(b.xor(c)))
    }

    /// `(self | !b) ^ c`, of RIPEMD-160.
    #[inline(always)]
    fn or_not_xor(self, b: Self, c: Self) -> Self {
        self.or(b.not()).xor(c)
    }
}

/// Two vectors that go through the same operations.
#[derive(Clone, Copy)]
pub(crate) struct Pair<W>(pub(crate) W, pub(crate) W);

/// Each operation on both.
macro_rules! on_both {
    ($($name:ident($($argument:ident),*);)*) => { $(
        #[inline(always)]
        fn $name(self, $($argument: Self),*) -> Self {
            Self(self.0.$name($($argument.0),*), self.1.$name($($argument.1),*))
        }
    )* };
}

impl<W: WordLanes> WordLanes for Pair<W> {
    const LANES: usize = 2 * W::LANES;

    #[inline(always)]
    fn load(words: &[u32]) -> Self {
        Self(W::load(&words[..W::LANES]), W::load(&words[W::LANES..]))
    }

    #[inline(always)]
    fn splat(word: u32) -> Self {
        Self(W::splat(word), W::splat(word))
    }

    #[inline(always)]
    fn rotate_left<const BITS: i32, const REST: i32>(self) -> Self {
        Self(self.0.rotate_left::<BITS, REST>(), self.1.rotate_left::<BITS, REST>())
    }

    #[inline(always)]
    fn shift_right<const BITS: u32>(self) -> Self {
        Self(self.0.shift_right::<BITS>(), self.1.shift_right::<BITS>())
    }

    #[inline(always)]
    fn shift_left<const BITS: u32>(self) -> Self {
        Self(self.0.shift_left::<BITS>(), self.1.shift_left::<BITS>())
    }

    #[inline(always)]
    fn accepted_by(self, filter: &WordFilter) -> u32 {
        self.0.accepted_by(filter) | self.1.accepted_by(filter) << W::LANES
    }

    #[inline(always)]
    fn in_order(values: [&mut Self; 10]) {
        W::both_in_order(values);
    }

    on_both! {
        add(other);
        xor(other);
        and(other);
        or(other);
        not();
        swap_bytes();
        xor3(b, c);
        choose(b, c);
        majority(b, c);
        or_not_xor(b, c);
    }
}
