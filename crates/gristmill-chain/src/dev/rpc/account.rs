//! Balances, nonces, code, storage.

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    primitives::{Address, B256, Bytes, U256, keccak256},
};
use serde_json::Value;

use super::{Params, RpcError, json, quantity};
use crate::dev::{chain::Chain, node::Node, refusal::Refusal, state::State};

pub(super) fn balance(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let address: Address = params.next()?;
    json(state(&node.chain(), params.optional()?)?.balance(address))
}

pub(super) fn transaction_count(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let address: Address = params.next()?;
    let block: Option<BlockId> = params.optional()?;
    let chain = node.chain();
    if block == Some(BlockId::Number(BlockNumberOrTag::Pending)) {
        return quantity(chain.pool.next_nonce(address, chain.state()));
    }
    quantity(state(&chain, block)?.nonce(address))
}

pub(super) fn code(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let address: Address = params.next()?;
    json(state(&node.chain(), params.optional()?)?.code(address))
}

pub(super) fn storage_at(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let address: Address = params.next()?;
    let key: U256 = params.next()?;
    json(B256::from(state(&node.chain(), params.optional()?)?.slot(address, key)))
}

pub(super) fn sha3(mut params: Params) -> Result<Value, RpcError> {
    json(keccak256(params.next::<Bytes>()?))
}

/// The state that a block id means; the head's if none is given.
pub(super) fn state(chain: &Chain, block: Option<BlockId>) -> Result<State, RpcError> {
    Ok(chain.state_at(number(chain, block)?)?.clone())
}

/// The number of the block that an id means.
pub(super) fn number(chain: &Chain, block: Option<BlockId>) -> Result<u64, RpcError> {
    match block.unwrap_or_default() {
        BlockId::Number(tag) => {
            let number = chain.number(tag);
            let exists = number <= chain.head().number();
            exists.then_some(number).ok_or_else(|| Refusal::NoBlock(number.to_string()).into())
        }
        BlockId::Hash(hash) => {
            let number = chain.number_of(&hash.block_hash);
            number.ok_or_else(|| Refusal::NoBlock(hash.block_hash.to_string()).into())
        }
    }
}
