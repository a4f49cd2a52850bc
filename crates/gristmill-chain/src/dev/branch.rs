//! What a watcher who knew one version of the chain must be told about a later one.

use std::{collections::HashSet, sync::Arc};

use super::{block::Block, chain::Chain, transaction::SignedTx};

/// The step from one version to another.
#[derive(Debug, Default)]
pub(crate) struct Branch {
    /// Blocks that are no longer part of the chain, newest first.
    pub(crate) removed: Vec<Arc<Block>>,
    /// Blocks that are now, oldest first.
    pub(crate) added: Vec<Arc<Block>>,
}

pub(crate) fn branch(old: &Chain, new: &Chain) -> Branch {
    let (old_head, new_head) = (old.head().number(), new.head().number());
    let mut common = old_head.min(new_head);
    // Both have the same first block, unless one was emptied by hand; then nothing is common.
    while common > 0 && hash(old, common) != hash(new, common) {
        common -= 1;
    }
    Branch {
        removed: (common + 1..=old_head).rev().filter_map(|number| old.block(number).cloned()).collect(),
        added: (common + 1..=new_head).filter_map(|number| new.block(number).cloned()).collect(),
    }
}

fn hash(chain: &Chain, number: u64) -> Option<alloy::primitives::B256> {
    chain.block(number).map(|block| block.hash)
}

/// Transactions that `old` had not heard of: those in new blocks too, since most wait for no time at all.
pub(crate) fn arrivals(old: &Chain, new: &Chain, branch: &Branch) -> Vec<SignedTx> {
    let known: HashSet<_> = old.pool.iter().map(|tx| tx.hash).collect();
    let mined = branch.added.iter().flat_map(|block| &block.transactions).map(|mined| &mined.tx);
    let fresh = |tx: &&SignedTx| !known.contains(&tx.hash) && old.place(&tx.hash).is_none();
    mined.chain(new.pool.iter()).filter(fresh).cloned().collect()
}
