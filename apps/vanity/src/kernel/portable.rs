//! The back end that needs nothing from the processor: plain integers, one hash at a time.

use super::{
    back_end::BackEnd,
    filter::WordFilter,
    hash,
    keccak::{self, DoubleLanes},
    lanes::{Accepted, Coordinates, FieldLanes, WordLanes},
    walk::{Centres, Pending, Walker},
};
use crate::{field::Element, kernel::Find};

pub(crate) struct Portable;

impl BackEnd for Portable {
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
        hash::key_hashes::<u32>(x, filter)
    }

    fn wrapped_key_hashes(x: &Coordinates, odd: bool, filter: &WordFilter) -> u32 {
        hash::wrapped_key_hashes::<u32>(x, odd, filter)
    }

    fn ethereum_hashes(x: &Coordinates, y: &Coordinates, filter: &WordFilter) -> u32 {
        keccak::address_words::<u64>(x, y, filter)
    }
}

/// Canonical elements are so without doubt.
impl FieldLanes for Element {
    const LANES: usize = 1;

    type Doubt = ();

    fn load(elements: &[Element]) -> Self {
        elements[0]
    }

    #[inline(always)]
    fn splat(element: &Element) -> Self {
        *element
    }

    fn lane(&self, _: usize) -> Element {
        *self
    }

    #[inline(always)]
    fn store_words([a, b]: [&Self; 2], coordinates: &mut Coordinates, column: usize) {
        coordinates.set(column, a);
        coordinates.set(column + 1, b);
    }

    #[inline(always)]
    fn sum(&self, other: &Self) -> Self {
        Element::sum(self, other)
    }

    #[inline(always)]
    fn difference(&self, other: &Self) -> Self {
        Element::difference(self, other)
    }

    #[inline(always)]
    fn canonical_difference(&self, b: &Self, c: &Self) -> Self {
        Element::difference(&Element::difference(self, b), c).canonical()
    }

    #[inline(always)]
    fn multiply(&self, other: &Self) -> Self {
        Element::multiply(self, other)
    }

    #[inline(always)]
    fn square(&self) -> Self {
        Element::square(self)
    }

    #[inline(always)]
    fn canonical_product(&self, other: &Self) -> Self {
        Element::multiply(self, other).canonical()
    }

    #[inline(always)]
    fn canonical_product_less(&self, other: &Self, b: &Self) -> Self {
        Element::multiply(self, other).difference(b).canonical()
    }

    #[inline(always)]
    fn canonical_square_less(&self, b: &Self, c: &Self) -> Self {
        Element::square(self).canonical_difference(b, c)
    }

    #[inline(always)]
    fn no_doubt() {}

    #[inline(always)]
    fn and_doubt((): (), _: &Self, _: &Self) {}

    #[inline(always)]
    fn is_in_doubt((): ()) -> bool {
        false
    }
}

impl WordLanes for u32 {
    const LANES: usize = 1;

    #[inline(always)]
    fn load(words: &[u32]) -> Self {
        words[0]
    }

    #[inline(always)]
    fn splat(word: u32) -> Self {
        word
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self ^ other
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        self & other
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        self | other
    }

    #[inline(always)]
    fn not(self) -> Self {
        !self
    }

    #[inline(always)]
    fn rotate_left<const BITS: i32, const REST: i32>(self) -> Self {
        self << BITS | self >> REST
    }

    #[inline(always)]
    fn shift_right<const BITS: u32>(self) -> Self {
        self >> BITS
    }

    #[inline(always)]
    fn shift_left<const BITS: u32>(self) -> Self {
        self << BITS
    }

    #[inline(always)]
    fn swap_bytes(self) -> Self {
        u32::swap_bytes(self)
    }

    #[inline(always)]
    fn accepted_by(self, filter: &WordFilter) -> u32 {
        filter.accepted_of(&[self])
    }
}

impl DoubleLanes for u64 {
    const LANES: usize = 1;

    #[inline(always)]
    fn load(doubles: &[u64]) -> Self {
        doubles[0]
    }

    #[inline(always)]
    fn store(self, doubles: &mut [u64]) {
        doubles[0] = self;
    }

    #[inline(always)]
    fn splat(double: u64) -> Self {
        double
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self ^ other
    }

    #[inline(always)]
    fn xor_and_not(self, b: Self, c: Self) -> Self {
        self ^ (!b & c)
    }

    #[inline(always)]
    fn rotate_left(self, bits: u32) -> Self {
        u64::rotate_left(self, bits)
    }
}
