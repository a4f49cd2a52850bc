//! A contract that does everything once: called with a word, it logs the word as its topic, and reverts if it has seen it before.

use alloy::primitives::{Address, B256, Bytes, TxKind, U256, hex};
use gristmill_chain::{follow::BlockRef, rpc::Rpc};

use super::node::Node;

/// ```text
/// calldataload(0) dup1 sload  jumpi(seen)  sstore(word, 1)  log1(0, 0, word)  stop   seen: revert(0, 0)
/// ```
const CODE: [u8; 24] = hex!("600035 80 54 6012 57 6001 81 55 6000 6000 a1 00 5b 6000 6000 fd");

#[derive(Clone, Copy)]
pub struct Once(pub Address);

impl Once {
    /// Deployed by the last of the funded accounts, which does nothing else.
    pub async fn deploy(node: &Node) -> Self {
        let key = Node::key(9);
        let copy_and_return = hex!("6018 600c 6000 39 6018 6000 f3");
        let code = [copy_and_return.as_slice(), &CODE].concat();
        let nonce = node.rpc.nonce(key.address()).await.unwrap();
        let transaction = node.transact(&key, nonce, TxKind::Create, code.into(), 1_000_000_000).await;
        node.mined(transaction).await;
        Self(key.address().create(nonce))
    }

    pub fn calldata(word: u64) -> Bytes {
        B256::from(U256::from(word)).into()
    }

    /// Says a word by a transaction of account `index`.
    pub async fn say(&self, node: &Node, index: usize, word: u64) -> B256 {
        let key = Node::key(index);
        let nonce = node.rpc.nonce(key.address()).await.unwrap();
        let transaction = node.transact(&key, nonce, TxKind::Call(self.0), Self::calldata(word), 1_000_000_000).await;
        node.mined(transaction).await;
        transaction
    }

    /// Every word in the chain, as the chain itself has it.
    pub async fn words(&self, rpc: &Rpc) -> Vec<Said> {
        let filter = alloy::rpc::types::Filter::new().address(self.0).from_block(0);
        rpc.logs(&filter).await.unwrap().iter().map(Said::of).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    pub word: u64,
    pub block: BlockRef,
    pub transaction: B256,
}

impl Said {
    pub fn of(log: &alloy::rpc::types::Log) -> Self {
        Self {
            word: U256::from_be_bytes(log.topics()[0].0).to(),
            block: BlockRef { number: log.block_number.unwrap(), hash: log.block_hash.unwrap() },
            transaction: log.transaction_hash.unwrap(),
        }
    }
}
