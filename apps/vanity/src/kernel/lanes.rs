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

    pub(crate) fn set(&mut self, column: usize, element: &Element) {
        for (row, word) in self.0.iter_mut().zip(element.words()) {
            row[column] = word;
        }
    }

    pub(crate) fn element_bytes(&self, column: usize) -> [u8; 32] {
        self.0.map(|row| row[column].to_be_bytes()).as_flattened().try_into().expect("32 bytes")
    }
}

/// Several field elements at once, in one of two states. A *factor* is good for multiplication only. A *canonical*
/// element is below p, except for a few in a billion, which a [`FieldLanes::Doubt`] tells: all vectors that were in
/// doubt are then computed again [`FieldLanes::exactly`]. Testing each where it arises would cost more than all sums.
pub(crate) trait FieldLanes: Copy {
    const LANES: usize;

    /// Gathered over many canonical vectors: whether one of them may not be what it should.
    type Doubt: Copy;

    fn load(elements: &[Element]) -> Self;
    fn splat(element: &Element) -> Self;
    /// Of a canonical vector; canonical only after [`Element::canonical`].
    fn lane(&self, lane: usize) -> Element;
    /// Writes two canonical vectors to the columns from `column` on.
    fn store_words(pair: [&Self; 2], coordinates: &mut Coordinates, column: usize);

    /// A factor from canonical vectors, like the next.
    fn sum(&self, other: &Self) -> Self;
    fn difference(&self, other: &Self) -> Self;
    /// A factor from factors, like the next.
    fn multiply(&self, other: &Self) -> Self;
    fn square(&self) -> Self;

    /// `self − b − c`, canonical from canonical.
    fn canonical_difference(&self, b: &Self, c: &Self) -> Self;
    /// Canonical from factors.
    fn canonical_product(&self, other: &Self) -> Self;
    /// `self·other − b`, canonical from factors and a canonical `b`.
    fn canonical_product_less(&self, other: &Self, b: &Self) -> Self;
    /// `self² − b − c`, canonical from a factor and canonical `b` and `c`.
    fn canonical_square_less(&self, b: &Self, c: &Self) -> Self;

    fn no_doubt() -> Self::Doubt;
    fn and_doubt(doubt: Self::Doubt, a: &Self, b: &Self) -> Self::Doubt;
    fn is_in_doubt(doubt: Self::Doubt) -> bool;

    /// A canonical vector without doubt.
    #[inline]
    fn exactly(&self) -> Self {
        match Self::is_in_doubt(Self::and_doubt(Self::no_doubt(), self, self)) {
            true => self.each_canonical(),
            false => *self,
        }
    }

    #[cold]
    fn each_canonical(&self) -> Self {
        let elements: Vec<Element> = (0..Self::LANES).map(|lane| self.lane(lane).canonical()).collect();
        Self::load(&elements)
    }

    fn is_any_zero(&self) -> bool {
        (0..Self::LANES).any(|lane| self.lane(lane).is_zero())
    }

    /// A factor from a canonical vector: x^(p−2), by the chain of libsecp256k1: p−2 in binary has runs of 223, 22, 1, 2 and 1 ones.
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
