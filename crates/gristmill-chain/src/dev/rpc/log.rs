//! Logs by filter.

use alloy::{
    eips::BlockNumberOrTag,
    rpc::types::{Filter, FilterBlockOption, Log},
};
use serde_json::Value;

use super::{Api, Limits, Params, RpcError, json, view};
use crate::dev::{block::Block, branch::Branch, chain::Chain, reader::Reader};

pub(super) async fn logs(api: &Api, mut params: Params) -> Result<Value, RpcError> {
    let filter: Filter = params.next()?;
    search(api, filter).await
}

/// Finds logs where that does not hold up other connections.
pub(super) async fn search(api: &Api, filter: Filter) -> Result<Value, RpcError> {
    let (chain, limits) = (api.node.chain(), api.limits);
    api.compute(move || json(find(&chain, &filter, limits)?)).await
}

/// The logs that `filter` wants, oldest first.
fn find(chain: &Reader, filter: &Filter, limits: Limits) -> Result<Vec<Log>, RpcError> {
    let (from, to) = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let number = chain.number_of(&hash).ok_or_else(|| RpcError::unknown("unknown block"))?;
            (number, number)
        }
        FilterBlockOption::Range { from_block, to_block } => range(chain, from_block, to_block, limits)?,
    };
    let (mut found, mut bytes) = (Vec::new(), 0);
    for number in from..=to {
        let Some(block) = chain.any_block(number)? else { continue };
        for log in matching(&block, filter, false) {
            bytes += log.inner.data.data.len();
            found.push(log);
        }
        let Limits { log_results, log_bytes, .. } = limits;
        if found.len() > log_results || bytes > log_bytes {
            let good = number.saturating_sub(1).max(from);
            let text = format!(
                "query returned more than {log_results} results or {log_bytes} bytes. Try with this block range [{from:#x}, {good:#x}]."
            );
            return Err(RpcError::limit(text));
        }
    }
    Ok(found)
}

fn range(
    chain: &Chain,
    from: Option<BlockNumberOrTag>,
    to: Option<BlockNumberOrTag>,
    limits: Limits,
) -> Result<(u64, u64), RpcError> {
    let head = chain.head().number();
    let from = from.map_or(head, |tag| chain.number(tag));
    let to = to.map_or(head, |tag| chain.number(tag));
    if from > to {
        return Err(RpcError::invalid_params("invalid block range params"));
    }
    let to = to.min(head);
    if to.saturating_sub(from) >= limits.log_range {
        return Err(RpcError::limit(format!("query exceeds max block range {}", limits.log_range)));
    }
    Ok((from, to))
}

/// What somebody who knew the old blocks must be told about the step: what is gone, newest first, then what is new.
pub(crate) fn between<'a>(step: &'a Branch, filter: &'a Filter) -> impl Iterator<Item = Log> + 'a {
    let removed = step.removed.iter().flat_map(|block| {
        let mut logs: Vec<_> = matching(block, filter, true).collect();
        logs.reverse();
        logs
    });
    removed.chain(step.added.iter().flat_map(|block| matching(block, filter, false)))
}

/// A block's logs that `filter` wants.
pub(crate) fn matching<'a>(block: &'a Block, filter: &'a Filter, removed: bool) -> impl Iterator<Item = Log> + 'a {
    let possible = filter.matches_bloom(block.header.logs_bloom);
    let logs = possible.then(|| view::logs(block, removed)).into_iter().flatten();
    logs.filter(|log| filter.matches(&log.inner))
}
