//! One round of questions to the chain.

use std::collections::BTreeMap;

use alloy::primitives::U256;
use alloy::rpc::types::{Header, TransactionReceipt};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::{Sender, Trouble, now_ms};
use crate::{
    follow::BlockRef,
    rpc::RpcError,
    send::{
        entry::{Entry, Inclusion},
        plan::{self, Facts, Head},
    },
};

/// Receipts asked for at the same time. Public endpoints count requests per second.
const RECEIPTS_AT_ONCE: usize = 8;

impl Sender {
    /// `None`: the node that answered is behind one that answered before.
    pub(super) async fn gather(&mut self, entries: &[Entry], spent_wei: U256) -> Result<Option<Facts>, Trouble> {
        let account = self.key.address();
        let header = self.rpc.head().await?;
        if self.is_behind(header.number) {
            return Ok(None);
        }
        let grown = self.has_grown(&header).await?;
        let base_fee_wei = header.base_fee_per_gas.map(u128::from).unwrap_or_default();
        let head = Head { number: header.number, hash: header.hash, base_fee_wei, gas_limit: header.gas_limit };
        let nonce = self.rpc.nonce(account).await?;
        let balance = self.rpc.balance(account).await?;
        let tip_wei = self.tip().await?;
        let wanted = plan::transactions_to_ask_for(entries, grown, head.number, &self.config);
        let receipts: BTreeMap<_, _> = stream::iter(wanted)
            .map(async |transaction| {
                let receipt = self.rpc.receipt(transaction).await?;
                Ok::<_, RpcError>((transaction, receipt.as_ref().and_then(inclusion)))
            })
            .buffered(RECEIPTS_AT_ONCE)
            .try_collect()
            .await?;
        let mut blocks = BTreeMap::new();
        for number in plan::blocks_to_ask_for(entries, &receipts) {
            if let Some(block) = self.rpc.block(number).await? {
                blocks.insert(number, block.hash);
            }
        }
        self.memory.sent_at_ms.retain(|transaction, _| receipts.contains_key(transaction));
        self.memory.underpriced.retain(|transaction| receipts.contains_key(transaction));
        let gap = plan::has_gap(entries, nonce);
        self.memory.gap_since_ms = gap.then(|| self.memory.gap_since_ms.unwrap_or_else(now_ms));
        let now_ms = now_ms();
        let postponed = self.memory.postponed.iter().filter(|(_, postponed)| postponed.until_ms > now_ms);
        Ok(Some(Facts {
            account,
            head,
            nonce,
            balance,
            spent_wei,
            tip_wei,
            receipts,
            blocks,
            sent_at_ms: self.memory.sent_at_ms.clone(),
            underpriced: self.memory.underpriced.clone(),
            gap_since_ms: self.memory.gap_since_ms,
            postponed: postponed.map(|(id, _)| *id).collect(),
        }))
    }

    /// Whether the head of that round is still part of the chain.
    async fn has_grown(&self, head: &Header) -> Result<bool, RpcError> {
        let Some(last) = self.memory.settled_at else {
            return Ok(false);
        };
        if head.hash == last.hash || head.parent_hash == last.hash {
            return Ok(true);
        }
        Ok(self.rpc.block(last.number).await?.is_some_and(|block| block.hash == last.hash))
    }

    fn is_behind(&mut self, head: u64) -> bool {
        if head >= self.memory.head {
            self.memory.head = head;
            self.memory.behind_since = None;
            return false;
        }
        let since = *self.memory.behind_since.get_or_insert_with(Instant::now);
        if since.elapsed() < self.config.lag_patience {
            return true;
        }
        self.memory.head = head;
        self.memory.behind_since = None;
        false
    }

    async fn tip(&self) -> Result<u128, RpcError> {
        match self.rpc.priority_fee().await {
            Ok(tip_wei) => Ok(tip_wei),
            // Not every node offers the method.
            Err(RpcError::Refused { .. } | RpcError::Nonsense { .. }) => Ok(self.config.tip_wei_default),
            Err(error) => Err(error),
        }
    }
}

fn inclusion(receipt: &TransactionReceipt) -> Option<Inclusion> {
    Some(Inclusion {
        transaction: receipt.transaction_hash,
        block: BlockRef { number: receipt.block_number?, hash: receipt.block_hash? },
        succeeded: receipt.status(),
        gas_used: receipt.gas_used,
        gas_price_wei: receipt.effective_gas_price,
    })
}
