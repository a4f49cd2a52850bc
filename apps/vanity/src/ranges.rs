//! Sets of 160-bit hashes as sorted, disjoint, inclusive ranges.

use k256::elliptic_curve::bigint::{Encoding, U256};

use crate::hash160::Hash160;

/// Both ends belong to the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HashRange {
    pub low: Hash160,
    pub high: Hash160,
}

impl HashRange {
    /// `None` when `low` lies above `high`.
    pub fn new(low: Hash160, high: Hash160) -> Option<Self> {
        (low <= high).then_some(Self { low, high })
    }

    pub fn contains(&self, hash: Hash160) -> bool {
        self.low <= hash && hash <= self.high
    }

    fn count(&self) -> U256 {
        number_of(self.high).wrapping_sub(&number_of(self.low)).wrapping_add(&U256::ONE)
    }
}

/// Sorted, with a gap of at least one hash between neighbours: equal sets are equal values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges(Vec<HashRange>);

impl Ranges {
    pub fn everything() -> Self {
        Self(vec![HashRange { low: Hash160::MIN, high: Hash160::MAX }])
    }

    pub fn union(ranges: impl IntoIterator<Item = HashRange>) -> Self {
        let mut sorted: Vec<HashRange> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut merged: Vec<HashRange> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match merged.last_mut() {
                Some(last) if last.high.successor().is_none_or(|next| range.low <= next) => {
                    last.high = last.high.max(range.high);
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    pub fn contains(&self, hash: Hash160) -> bool {
        let after = self.0.partition_point(|range| range.low <= hash);
        after > 0 && self.0[after - 1].contains(hash)
    }

    /// Whether every hash of `self` is in `wider`.
    pub fn is_within(&self, wider: &Self) -> bool {
        self.0.iter().all(|range| {
            let after = wider.0.partition_point(|outer| outer.low <= range.low);
            after > 0 && range.high <= wider.0[after - 1].high
        })
    }

    /// How many hashes belong to the set: at most 2^160.
    pub fn count(&self) -> U256 {
        self.0.iter().fold(U256::ZERO, |sum, range| sum.wrapping_add(&range.count()))
    }

    pub fn as_slice(&self) -> &[HashRange] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

pub(crate) fn number_of(hash: Hash160) -> U256 {
    let mut bytes = [0; 32];
    bytes[12..].copy_from_slice(&hash.0);
    U256::from_be_bytes(bytes)
}

/// The low 160 bits.
pub(crate) fn hash_of(number: &U256) -> Hash160 {
    let mut hash = [0; 20];
    hash.copy_from_slice(&number.to_be_bytes()[12..]);
    Hash160(hash)
}
