//! Methods that only a chain for development has: time, mining, history.

use alloy::primitives::{Address, B256, U256};
use serde::Deserialize;
use serde_json::Value;

use super::{Params, RpcError, json, quantity};
use crate::dev::{
    command::{Command, Reorg, Reply},
    node::Node,
};

/// Names are those of anvil where it has the method.
pub(super) async fn call(node: &Node, method: &str, mut params: Params) -> Result<Value, RpcError> {
    let command = match method {
        "evm_mine" => return mine_one(node, params).await,
        "anvil_mine" | "hardhat_mine" => {
            let blocks = params.optional_number()?.unwrap_or(1);
            Command::Mine { blocks, spacing: params.optional_number()? }
        }
        "evm_increaseTime" | "anvil_increaseTime" => Command::IncreaseTime(params.number()?),
        "evm_setNextBlockTimestamp" | "anvil_setNextBlockTimestamp" => Command::SetNextTimestamp(params.number()?),
        "evm_setTime" | "anvil_setTime" => Command::SetTime(params.number()?),
        "evm_setAutomine" | "anvil_setAutomine" => Command::SetAutomine(params.next()?),
        "evm_getAutomine" | "anvil_getAutomine" | "hardhat_getAutomine" => return json(node.chain().automine),
        "anvil_setNextBlockBaseFeePerGas" | "hardhat_setNextBlockBaseFeePerGas" => {
            Command::SetNextBaseFee(params.number()?)
        }
        "anvil_setBalance" | "hardhat_setBalance" => {
            let address: Address = params.next()?;
            Command::SetBalance(address, params.next::<U256>()?)
        }
        "anvil_dropTransaction" | "hardhat_dropTransaction" => {
            let hash: B256 = params.next()?;
            let found = node.execute(Command::DropTransaction(hash)).await? == Reply::Found(true);
            return json(found.then_some(hash));
        }
        "evm_snapshot" | "anvil_snapshot" => Command::Snapshot,
        "evm_revert" | "anvil_revert" => Command::Restore(params.number()?),
        "dev_reorg" => Command::Reorg(reorg(params)?),
        _ => return Err(RpcError::no_method(method)),
    };
    match node.execute(command).await? {
        Reply::Number(number) => quantity(number),
        Reply::Found(found) => json(found),
        Reply::Hash(hash) => json(hash),
        Reply::Done => Ok(Value::Null),
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReorgOptions {
    drop: bool,
    blocks: Option<u64>,
}

fn reorg(mut params: Params) -> Result<Reorg, RpcError> {
    let depth = params.number()?;
    let ReorgOptions { drop, blocks } = params.optional()?.unwrap_or_default();
    Ok(Reorg { depth, drop, blocks })
}

/// `evm_mine` takes a timestamp, alone or as an option.
async fn mine_one(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let timestamp = match params.optional::<Value>()? {
        Some(Value::Object(mut options)) => match options.remove("timestamp") {
            Some(timestamp) => Params::new(Value::Array(vec![timestamp])).optional_number()?,
            None => None,
        },
        Some(timestamp) => Params::new(Value::Array(vec![timestamp])).optional_number()?,
        None => None,
    };
    if let Some(timestamp) = timestamp {
        node.execute(Command::SetNextTimestamp(timestamp)).await?;
    }
    node.execute(Command::Mine { blocks: 1, spacing: None }).await?;
    json("0x0")
}
