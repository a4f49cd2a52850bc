//! Blocks, transactions and receipts, mined or waiting.

use std::{collections::BTreeMap, sync::Arc};

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    primitives::B256,
};
use serde_json::Value;

use super::{Params, RpcError, account, json, quantity, view};
use crate::dev::{block::Block, node::Node, transaction::SignedTx};

pub(super) fn block_by_number(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let block = at_number(node, &mut params)?;
    let full = params.optional()?.unwrap_or(false);
    json(block.map(|block| view::block(&block, full)))
}

pub(super) fn block_by_hash(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let block = at_hash(node, &mut params)?;
    let full = params.optional()?.unwrap_or(false);
    json(block.map(|block| view::block(&block, full)))
}

pub(super) fn header_by_number(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    json(at_number(node, &mut params)?.map(|block| view::header(&block)))
}

pub(super) fn header_by_hash(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    json(at_hash(node, &mut params)?.map(|block| view::header(&block)))
}

pub(super) fn transaction_count_by_number(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    count(at_number(node, &mut params)?)
}

pub(super) fn transaction_count_by_hash(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    count(at_hash(node, &mut params)?)
}

pub(super) fn transaction_by_hash(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let hash: B256 = params.next()?;
    let chain = node.chain();
    if let Some(found) = chain.mined(&hash)? {
        return json(view::mined_transaction(&found.block, found.index, found.mined()));
    }
    json(chain.pool.get(&hash).map(view::waiting_transaction))
}

pub(super) fn transaction_by_number_and_index(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let block = at_number(node, &mut params)?;
    nth_transaction(block, params.number()?)
}

pub(super) fn transaction_by_hash_and_index(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let block = at_hash(node, &mut params)?;
    nth_transaction(block, params.number()?)
}

pub(super) fn raw_transaction_by_hash(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let hash: B256 = params.next()?;
    let chain = node.chain();
    let mined = chain.mined(&hash)?.map(|found| found.mined().tx.raw());
    json(mined.or_else(|| chain.pool.get(&hash).map(SignedTx::raw)))
}

pub(super) fn receipt(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let hash: B256 = params.next()?;
    let chain = node.chain();
    json(chain.mined(&hash)?.map(|found| view::receipt(&found.block, found.index, found.mined())))
}

pub(super) fn block_receipts(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let id: BlockId = params.next()?;
    let chain = node.chain();
    let Ok(number) = account::number(&chain, Some(id)) else { return Ok(Value::Null) };
    json(chain.any_block(number)?.map(|block| {
        let receipts = block.transactions.iter().enumerate().map(|(index, mined)| view::receipt(&block, index, mined));
        receipts.collect::<Vec<_>>()
    }))
}

pub(super) fn pool_status(node: &Node) -> Result<Value, RpcError> {
    let chain = node.chain();
    let (pending, queued) = chain.pool.status(chain.state());
    Ok(serde_json::json!({ "pending": format!("{pending:#x}"), "queued": format!("{queued:#x}") }))
}

pub(super) fn pool_content(node: &Node) -> Result<Value, RpcError> {
    type Content = BTreeMap<String, BTreeMap<u64, Value>>;
    let chain = node.chain();
    let (mut pending, mut queued) = (Content::new(), Content::new());
    for tx in chain.pool.iter() {
        let ready = tx.nonce() < chain.pool.next_nonce(tx.sender, chain.state());
        let content = if ready { &mut pending } else { &mut queued };
        content.entry(tx.sender.to_string()).or_default().insert(tx.nonce(), json(view::waiting_transaction(tx))?);
    }
    Ok(serde_json::json!({ "pending": pending, "queued": queued }))
}

fn at_number(node: &Node, params: &mut Params) -> Result<Option<Arc<Block>>, RpcError> {
    let tag: BlockNumberOrTag = params.next()?;
    let chain = node.chain();
    if tag == BlockNumberOrTag::Pending {
        // What an empty block would be: those that wait are in `txpool_content`.
        let next = Block::seal(&chain.template(node.now()), Vec::new(), chain.state().root());
        return Ok(Some(Arc::new(next)));
    }
    Ok(chain.any_block(chain.number(tag))?)
}

fn at_hash(node: &Node, params: &mut Params) -> Result<Option<Arc<Block>>, RpcError> {
    let hash: B256 = params.next()?;
    Ok(node.chain().block_by_hash(&hash)?)
}

fn count(block: Option<Arc<Block>>) -> Result<Value, RpcError> {
    block.map_or(Ok(Value::Null), |block| quantity(block.transactions.len() as u64))
}

fn nth_transaction(block: Option<Arc<Block>>, index: u64) -> Result<Value, RpcError> {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    json(block.and_then(|block| Some(view::mined_transaction(&block, index, block.transactions.get(index)?))))
}
