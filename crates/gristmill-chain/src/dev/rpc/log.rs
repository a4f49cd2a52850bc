//! Logs by filter.

use alloy::rpc::types::{Filter, FilterBlockOption, Log};
use serde_json::Value;

use super::{Params, RpcError, json, view};
use crate::dev::{block::Block, chain::Chain, node::Node, refusal::Refusal};

/// Blocks that one `eth_getLogs` may span: a week of a busy private grid, answered within a second.
pub const LOG_RANGE_MAX: u64 = 100_000;
/// Logs in one answer, as on public nodes: some megabytes of JSON.
pub const LOG_RESULTS_MAX: usize = 20_000;

pub(super) fn logs(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let filter: Filter = params.next()?;
    json(find(&node.chain(), &filter)?)
}

pub(crate) fn find(chain: &Chain, filter: &Filter) -> Result<Vec<Log>, RpcError> {
    let mut found = Vec::new();
    match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let block = chain.block_by_hash(&hash).ok_or_else(|| Refusal::NoBlock(hash.to_string()))?;
            found.extend(matching(block, filter, false));
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let head = chain.head().number();
            let from = from_block.map_or(head, |tag| chain.number(tag));
            let to = to_block.map_or(head, |tag| chain.number(tag));
            if from > to {
                return Err(RpcError::invalid_params("invalid block range params"));
            }
            let to = to.min(head);
            if to.saturating_sub(from) >= LOG_RANGE_MAX {
                return Err(RpcError::limit(format!("query exceeds max block range {LOG_RANGE_MAX}")));
            }
            for number in from..=to {
                let block = chain.block(number).ok_or_else(|| Refusal::NoBlock(number.to_string()))?;
                found.extend(matching(block, filter, false));
                if found.len() > LOG_RESULTS_MAX {
                    let text = format!(
                        "query returned more than {LOG_RESULTS_MAX} results; blocks {from} to {} have fewer",
                        number - 1
                    );
                    return Err(RpcError::limit(text));
                }
            }
        }
    }
    Ok(found)
}

/// A block's logs that `filter` wants.
pub(crate) fn matching<'a>(block: &'a Block, filter: &'a Filter, removed: bool) -> impl Iterator<Item = Log> + 'a {
    let possible = filter.matches_bloom(block.header.logs_bloom);
    let logs = possible.then(|| view::logs(block, removed)).into_iter().flatten();
    logs.filter(|log| filter.matches(&log.inner))
}
