//! A set of task indices, held as ranges: a million finished tasks in a row cost as much as one.

use std::collections::BTreeMap;

/// A set of task indices, cheap while they come mostly in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RangeSet {
    /// Start → end, both inclusive; neither overlapping nor touching.
    ranges: BTreeMap<u64, u64>,
    len: u64,
}

impl RangeSet {
    pub(super) fn contains(&self, index: u64) -> bool {
        self.ranges.range(..=index).next_back().is_some_and(|(_, end)| index <= *end)
    }

    /// False if it was there already.
    pub(super) fn insert(&mut self, index: u64) -> bool {
        if self.contains(index) {
            return false;
        }
        let before = self.ranges.range(..index).next_back().map(|(start, end)| (*start, *end));
        let start = before.filter(|(_, end)| end + 1 == index).map_or(index, |(start, _)| start);
        let end = index.checked_add(1).and_then(|next| self.ranges.remove(&next)).unwrap_or(index);
        self.ranges.insert(start, end);
        self.len += 1;
        true
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn last(&self) -> Option<u64> {
        self.ranges.last_key_value().map(|(_, end)| *end)
    }

    /// Indices below `end` that are not in the set.
    pub(super) fn missing_below(&self, end: u64) -> impl Iterator<Item = u64> {
        let mut next = 0;
        let gaps = self.ranges.iter().map(|(start, end)| (*start, end.saturating_add(1))).chain([(end, end)]);
        gaps.flat_map(move |(start, after)| {
            let gap = next..start.min(end);
            next = after;
            gap
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set(indices in prop::collection::vec(0u64..40, 0..60), end in 0u64..50) {
            let mut ranges = RangeSet::default();
            let mut set = BTreeSet::new();
            for index in indices {
                prop_assert_eq!(ranges.insert(index), set.insert(index));
            }
            prop_assert_eq!(ranges.len(), set.len() as u64);
            prop_assert_eq!(ranges.last(), set.last().copied());
            for index in 0..50 {
                prop_assert_eq!(ranges.contains(index), set.contains(&index));
            }
            let missing: Vec<u64> = (0..end).filter(|index| !set.contains(index)).collect();
            prop_assert_eq!(ranges.missing_below(end).collect::<Vec<_>>(), missing);
            let touching = ranges.ranges.iter().zip(ranges.ranges.iter().skip(1)).any(|(a, b)| a.1 + 1 >= *b.0);
            prop_assert!(!touching);
        }
    }

    #[test]
    fn the_last_index_of_all_is_no_special_case() {
        let mut ranges = RangeSet::default();
        assert!(ranges.insert(u64::MAX));
        assert!(!ranges.insert(u64::MAX));
        assert!(ranges.insert(u64::MAX - 1));
        assert_eq!(ranges.ranges.len(), 1);
    }
}
