//! One version of the chain together with the blocks of it that are no longer in memory.

use std::{ops::Deref, sync::Arc};

use alloy::primitives::B256;

use super::{
    block::{Block, MinedTx},
    chain::Chain,
    change::Change,
    journal::{Archive, JournalError, Span},
};

#[derive(Clone, Debug)]
pub(crate) struct Reader {
    chain: Arc<Chain>,
    /// None for a chain that has no journal: then all blocks are in memory.
    archive: Option<Arc<Archive>>,
}

/// A mined transaction, its block, and its index in it.
pub(crate) struct Found {
    pub(crate) block: Arc<Block>,
    pub(crate) index: usize,
}

impl Found {
    pub(crate) fn mined(&self) -> &MinedTx {
        &self.block.transactions[self.index]
    }
}

impl Deref for Reader {
    type Target = Chain;

    fn deref(&self) -> &Chain {
        &self.chain
    }
}

impl Reader {
    pub(crate) fn new(chain: Arc<Chain>, archive: Option<Arc<Archive>>) -> Self {
        Self { chain, archive }
    }

    pub(crate) fn version(&self) -> Arc<Chain> {
        self.chain.clone()
    }

    /// Any block of the chain, read from the journal if need be.
    pub(crate) fn any_block(&self, number: u64) -> Result<Option<Arc<Block>>, JournalError> {
        if let Some(block) = self.chain.block(number) {
            return Ok(Some(block.clone()));
        }
        match (&self.archive, self.chain.span(number)) {
            (Some(archive), Some(span)) => filed(archive, span).map(Some),
            _ => Ok(None),
        }
    }

    pub(crate) fn block_by_hash(&self, hash: &B256) -> Result<Option<Arc<Block>>, JournalError> {
        self.chain.number_of(hash).map_or(Ok(None), |number| self.any_block(number))
    }

    pub(crate) fn mined(&self, hash: &B256) -> Result<Option<Found>, JournalError> {
        let Some((number, index)) = self.chain.place(hash) else { return Ok(None) };
        let block = self.any_block(number)?;
        Ok(block.filter(|block| index < block.transactions.len()).map(|block| Found { block, index }))
    }
}

fn filed(archive: &Archive, span: Span) -> Result<Arc<Block>, JournalError> {
    match archive.read(span)? {
        Change::Mined(mined) => Ok(mined.block),
        _ => Err(archive.damaged(span)),
    }
}
