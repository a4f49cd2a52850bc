//! What gas costs and has cost.

use alloy::{eips::BlockNumberOrTag, rpc::types::FeeHistory};
use serde_json::Value;

use super::{Params, RpcError, json, quantity};
use crate::dev::{
    block::Block, chain::base_fee_after, journal::JournalError, node::Node, reader::Reader, refusal::Refusal,
};

/// What wallets are told to tip. There is no competition for room, but a tip of zero makes some of them stumble.
const TIP: u128 = 1_000_000_000;
/// Blocks in one fee history, as in geth.
const HISTORY_MAX: u64 = 1_024;
/// Percentiles in one fee history, as in geth.
const PERCENTILES_MAX: usize = 100;

pub(super) fn gas_price(node: &Node) -> Result<Value, RpcError> {
    quantity(u128::from(node.chain().base_fee_next()) + TIP)
}

pub(super) fn tip() -> Result<Value, RpcError> {
    quantity(TIP)
}

pub(super) fn history(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let count = params.number()?.min(HISTORY_MAX);
    let newest: BlockNumberOrTag = params.next()?;
    let percentiles: Vec<f64> = params.optional()?.unwrap_or_default();
    if percentiles.len() > PERCENTILES_MAX {
        return Err(RpcError::limit(format!("at most {PERCENTILES_MAX} percentiles")));
    }
    if percentiles.iter().any(|p| !(0.0..=100.0).contains(p)) || !percentiles.is_sorted() {
        return Err(RpcError::invalid_params("invalid reward percentile"));
    }
    let chain = node.chain();
    let newest = chain.number(newest);
    if newest > chain.head().number() {
        return Err(Refusal::NoBlock(newest.to_string()).into());
    }
    json(fee_history(&chain, count, newest, &percentiles)?)
}

fn fee_history(chain: &Reader, count: u64, newest: u64, percentiles: &[f64]) -> Result<FeeHistory, JournalError> {
    let oldest = (newest + 1).saturating_sub(count);
    let blocks = (oldest..=newest).take(count as usize).filter_map(|number| chain.any_block(number).transpose());
    let blocks: Vec<_> = blocks.collect::<Result<_, _>>()?;
    let Some(last) = blocks.last() else { return Ok(FeeHistory::default()) };
    let after = match chain.any_block(newest + 1)? {
        Some(next) => next.base_fee(),
        None if newest == chain.head().number() => chain.base_fee_next(),
        None => base_fee_after(last),
    };
    Ok(FeeHistory {
        base_fee_per_gas: blocks.iter().map(|block| block.base_fee()).chain([after]).map(u128::from).collect(),
        gas_used_ratio: blocks.iter().map(|block| ratio(block)).collect(),
        base_fee_per_blob_gas: vec![1; blocks.len() + 1],
        blob_gas_used_ratio: vec![0.0; blocks.len()],
        oldest_block: oldest,
        reward: (!percentiles.is_empty()).then(|| blocks.iter().map(|block| rewards(block, percentiles)).collect()),
    })
}

fn ratio(block: &Block) -> f64 {
    block.header.gas_used as f64 / block.header.gas_limit as f64
}

/// The tips below which so many percent of the block's gas paid.
fn rewards(block: &Block, percentiles: &[f64]) -> Vec<u128> {
    let mut tips: Vec<_> = block
        .transactions
        .iter()
        .map(|mined| (mined.tx.tip_at(block.base_fee()).unwrap_or_default(), mined.gas_used))
        .collect();
    tips.sort_unstable();
    let reward = |percentile: &f64| {
        let threshold = (block.header.gas_used as f64 * percentile / 100.0) as u64;
        let mut gas = 0;
        let reached = tips.iter().find(|(_, used)| {
            gas += used;
            gas >= threshold
        });
        reached.or(tips.last()).map_or(0, |(tip, _)| *tip)
    };
    percentiles.iter().map(reward).collect()
}
