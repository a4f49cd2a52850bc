//! The blocks a follower has delivered, and which of them it still remembers.

use std::collections::VecDeque;

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};

/// A block, named so that a reorganisation cannot exchange it unnoticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockRef {
    pub number: u64,
    pub hash: B256,
}

/// Delivered blocks in ascending order, perhaps with gaps (a catch-up window leaves only its last block).
///
/// The newest is the cursor. A caller that keeps these rows in its database and hands them back on restart loses
/// nothing, even if the chain was reorganised while it was away.
#[derive(Debug, Clone, Default)]
pub struct History {
    blocks: VecDeque<BlockRef>,
    length_max: usize,
}

impl History {
    /// Sorts, and keeps the newest `length_max`.
    #[must_use]
    pub fn new(mut known: Vec<BlockRef>, length_max: usize) -> Self {
        known.sort_unstable();
        known.dedup_by_key(|block| block.number);
        let mut history = Self { blocks: known.into(), length_max: length_max.max(1) };
        history.forget_oldest();
        history
    }

    #[must_use]
    pub fn cursor(&self) -> Option<BlockRef> {
        self.blocks.back().copied()
    }

    #[must_use]
    pub fn oldest(&self) -> Option<BlockRef> {
        self.blocks.front().copied()
    }

    #[must_use]
    pub fn contains(&self, block: BlockRef) -> bool {
        self.blocks.binary_search(&block).is_ok()
    }

    pub fn newest_first(&self) -> impl Iterator<Item = BlockRef> + '_ {
        self.blocks.iter().rev().copied()
    }

    pub(super) fn advance(&mut self, to: BlockRef) {
        assert!(self.cursor().is_none_or(|cursor| cursor.number < to.number), "a cursor only moves up, or is rewound");
        self.blocks.push_back(to);
        self.forget_oldest();
    }

    pub(super) fn rewind(&mut self, to: BlockRef) {
        assert!(self.contains(to), "a follower rewinds to a block it knows");
        while self.cursor() != Some(to) {
            self.blocks.pop_back();
        }
    }

    fn forget_oldest(&mut self) {
        while self.blocks.len() > self.length_max {
            self.blocks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u64) -> BlockRef {
        BlockRef { number, hash: B256::with_last_byte(number as u8) }
    }

    #[test]
    fn keeps_the_newest_and_rewinds_over_gaps() {
        let mut history = History::new(vec![block(9), block(1), block(5)], 3);
        history.advance(block(12));
        assert_eq!(history.oldest(), Some(block(5)));
        history.rewind(block(9));
        assert_eq!(history.cursor(), Some(block(9)));
        assert!(history.contains(block(5)) && !history.contains(block(12)));
        assert!(!history.contains(BlockRef { number: 5, hash: B256::ZERO }));
    }
}
