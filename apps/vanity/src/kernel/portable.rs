//! The back end that needs nothing from the processor: plain integers, and arrays that a compiler may vectorise.

use super::{
    filter::WordFilter,
    hash,
    lanes::{Coordinates, FieldLanes, Hasher, WordLanes},
    walk::Arithmetic,
};
use crate::field::Element;

pub(crate) struct Portable;

impl Arithmetic for Portable {
    type Field = Element;
    type Hasher = Self;
    const HALF: usize = 512;
}

impl Hasher for Portable {
    fn key_hashes(coordinates: &Coordinates, odd: bool, filter: &WordFilter) -> u32 {
        hash::key_hashes::<Words>(coordinates, odd, filter)
    }

    fn wrapped_key_hashes(coordinates: &Coordinates, odd: bool, filter: &WordFilter) -> u32 {
        hash::wrapped_key_hashes::<Words>(coordinates, odd, filter)
    }
}

impl FieldLanes for Element {
    const LANES: usize = 1;

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
    fn store_words(&self, coordinates: &mut Coordinates, column: usize) {
        for (row, word) in coordinates.0.iter_mut().zip(self.words()) {
            row[column] = word;
        }
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
    fn canonical(&self) -> Self {
        Element::canonical(self)
    }

    #[inline(always)]
    fn multiply(&self, other: &Self) -> Self {
        Element::multiply(self, other)
    }

    #[inline(always)]
    fn square(&self) -> Self {
        Element::square(self)
    }
}

const WORD_LANES: usize = 4;

#[derive(Clone, Copy)]
struct Words([u32; WORD_LANES]);

impl Words {
    #[inline(always)]
    fn zip(self, other: Self, operation: impl Fn(u32, u32) -> u32) -> Self {
        Self(std::array::from_fn(|lane| operation(self.0[lane], other.0[lane])))
    }

    #[inline(always)]
    fn map(self, operation: impl Fn(u32) -> u32) -> Self {
        Self(self.0.map(operation))
    }
}

impl WordLanes for Words {
    const LANES: usize = WORD_LANES;

    #[inline(always)]
    fn load(words: &[u32]) -> Self {
        Self(words.try_into().expect("as many words as lanes"))
    }

    #[inline(always)]
    fn splat(word: u32) -> Self {
        Self([word; WORD_LANES])
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, u32::wrapping_add)
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self.zip(other, |a, b| a ^ b)
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    #[inline(always)]
    fn not(self) -> Self {
        self.map(|word| !word)
    }

    #[inline(always)]
    fn rotate_left<const BITS: i32, const REST: i32>(self) -> Self {
        self.map(|word| word << BITS | word >> REST)
    }

    #[inline(always)]
    fn shift_right<const BITS: i32>(self) -> Self {
        self.map(|word| word >> BITS)
    }

    #[inline(always)]
    fn shift_left<const BITS: i32>(self) -> Self {
        self.map(|word| word << BITS)
    }

    #[inline(always)]
    fn swap_bytes(self) -> Self {
        self.map(u32::swap_bytes)
    }

    #[inline(always)]
    fn accepted_by(self, filter: &WordFilter) -> u32 {
        let bits = self.0.iter().enumerate().map(|(lane, &word)| {
            let accepted = match filter.is_simple() {
                true => filter.intervals.iter().any(|interval| word.wrapping_sub(interval.low) <= interval.width),
                false => filter.may_accept(word),
            };
            u32::from(accepted) << lane
        });
        bits.fold(0, |mask, bit| mask | bit)
    }
}
