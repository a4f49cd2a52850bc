//! The first 32 bits of the wanted ranges, compared before anything else.
//!
//! A miss is certain, a hit is not: the edges of a range are rounded out to whole words, and past a few intervals a
//! bitmap over the top bits takes over.

use crate::Ranges;

/// Up to here a vector compares with each interval; beyond, one bitmap look-up per lane is cheaper.
pub(crate) const INTERVALS_MAX: usize = 8;
const BITMAP_BITS: u32 = 18;

/// Words from `low` to `low + width`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WordInterval {
    pub(crate) low: u32,
    pub(crate) width: u32,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct WordFilter {
    pub(crate) intervals: Vec<WordInterval>,
    /// One bit per value of the top bits; empty if the intervals are few.
    bitmap: Vec<u64>,
}

impl WordFilter {
    pub(crate) fn new(ranges: &Ranges) -> Self {
        let mut intervals: Vec<WordInterval> = Vec::new();
        for range in ranges.as_slice() {
            let (low, high) = (range.low.first_word(), range.high.first_word());
            match intervals.last_mut() {
                Some(last) if low <= last.high().saturating_add(1) => last.width = high - last.low,
                _ => intervals.push(WordInterval { low, width: high - low }),
            }
        }
        let bitmap = if intervals.len() > INTERVALS_MAX { bitmap_of(&intervals) } else { Vec::new() };
        Self { intervals, bitmap }
    }

    pub(super) fn of_interval(interval: WordInterval) -> Self {
        Self { intervals: vec![interval], bitmap: Vec::new() }
    }

    pub(crate) fn is_simple(&self) -> bool {
        self.bitmap.is_empty()
    }

    /// Bit i is set if word i is in one of the intervals.
    #[inline]
    pub(crate) fn accepted_of(&self, words: &[u32]) -> u32 {
        words.iter().enumerate().fold(0, |mask, (lane, &word)| {
            let accepted = match self.is_simple() {
                true => self.intervals.iter().any(|interval| word.wrapping_sub(interval.low) <= interval.width),
                false => self.may_accept(word),
            };
            mask | u32::from(accepted) << lane
        })
    }

    #[inline]
    fn may_accept(&self, word: u32) -> bool {
        let slot = word >> (32 - BITMAP_BITS);
        self.bitmap[slot as usize / 64] >> (slot % 64) & 1 == 1 && self.accepts(word)
    }

    fn accepts(&self, word: u32) -> bool {
        let after = self.intervals.partition_point(|interval| interval.low <= word);
        after > 0 && word <= self.intervals[after - 1].high()
    }
}

impl WordInterval {
    fn high(self) -> u32 {
        self.low + self.width
    }
}

fn bitmap_of(intervals: &[WordInterval]) -> Vec<u64> {
    let mut bitmap = vec![0; 1 << (BITMAP_BITS - 6)];
    for interval in intervals {
        for slot in interval.low >> (32 - BITMAP_BITS)..=interval.high() >> (32 - BITMAP_BITS) {
            bitmap[slot as usize / 64] |= 1u64 << (slot % 64);
        }
    }
    bitmap
}
