//! Blocks, transactions, receipts and logs in the form that clients read.

use alloy::{
    consensus::{Transaction as _, TxEnvelope, transaction::Recovered},
    network::primitives::BlockTransactions,
    primitives::U256,
    rpc::types::{Block as RpcBlock, Header as RpcHeader, Log as RpcLog, Transaction, TransactionReceipt},
};
use alloy_rlp::{Encodable as _, length_of_length};

use crate::dev::{
    block::{Block, MinedTx},
    transaction::SignedTx,
};

pub(crate) fn header(block: &Block) -> RpcHeader {
    RpcHeader { hash: block.hash, inner: block.header.clone(), total_difficulty: Some(U256::ZERO), size: None }
}

pub(crate) fn block(block: &Block, full: bool) -> RpcBlock<Transaction<TxEnvelope>> {
    let transactions = if full {
        let all = block.transactions.iter().enumerate().map(|(index, mined)| mined_transaction(block, index, mined));
        BlockTransactions::Full(all.collect())
    } else {
        BlockTransactions::Hashes(block.transactions.iter().map(|mined| mined.tx.hash).collect())
    };
    let header = RpcHeader { size: Some(U256::from(size(block))), ..header(block) };
    RpcBlock { header, uncles: Vec::new(), transactions, withdrawals: Some(Default::default()) }
}

/// Length of the block's RLP: header, transactions, and two empty lists for uncles and withdrawals.
fn size(block: &Block) -> usize {
    let list = |payload: usize| payload + length_of_length(payload);
    let transactions = block.transactions.iter().map(|mined| mined.tx.envelope.length()).sum();
    list(block.header.length() + list(transactions) + 2)
}

pub(crate) fn mined_transaction(block: &Block, index: usize, mined: &MinedTx) -> Transaction<TxEnvelope> {
    Transaction {
        inner: recovered(&mined.tx),
        block_hash: Some(block.hash),
        block_number: Some(block.number()),
        transaction_index: Some(index as u64),
        effective_gas_price: Some(mined.effective_gas_price(block.base_fee())),
        block_timestamp: Some(block.header.timestamp),
    }
}

pub(crate) fn waiting_transaction(tx: &SignedTx) -> Transaction<TxEnvelope> {
    Transaction {
        inner: recovered(tx),
        block_hash: None,
        block_number: None,
        transaction_index: None,
        effective_gas_price: None,
        block_timestamp: None,
    }
}

fn recovered(tx: &SignedTx) -> Recovered<TxEnvelope> {
    Recovered::new_unchecked(tx.envelope.as_ref().clone(), tx.sender)
}

pub(crate) fn receipt(block: &Block, index: usize, mined: &MinedTx) -> TransactionReceipt {
    let mut log_index = mined.first_log;
    let inner = mined.receipt.clone().map_logs(|inner| {
        let log = RpcLog { log_index: Some(log_index), inner, ..log_place(block, index, mined) };
        log_index += 1;
        log
    });
    TransactionReceipt {
        inner,
        transaction_hash: mined.tx.hash,
        transaction_index: Some(index as u64),
        block_hash: Some(block.hash),
        block_number: Some(block.number()),
        gas_used: mined.gas_used,
        effective_gas_price: mined.effective_gas_price(block.base_fee()),
        blob_gas_used: None,
        blob_gas_price: None,
        from: mined.tx.sender,
        to: mined.tx.envelope.to(),
        contract_address: mined.tx.created_address(),
    }
}

/// All logs of a block, `removed` if the block is no longer part of the chain.
pub(crate) fn logs(block: &Block, removed: bool) -> impl Iterator<Item = RpcLog> + '_ {
    block.logs().map(move |(mined, index, log_index, log)| RpcLog {
        inner: log.clone(),
        log_index: Some(log_index),
        removed,
        ..log_place(block, index as usize, mined)
    })
}

fn log_place(block: &Block, index: usize, mined: &MinedTx) -> RpcLog {
    RpcLog {
        block_hash: Some(block.hash),
        block_number: Some(block.number()),
        block_timestamp: Some(block.header.timestamp),
        transaction_hash: Some(mined.tx.hash),
        transaction_index: Some(index as u64),
        ..RpcLog::default()
    }
}
