//! A mined block with everything that is asked about it later.

use alloy::{
    consensus::{
        BlockHeader, Eip658Value, Header, Receipt, ReceiptEnvelope, TxReceipt,
        constants::EMPTY_WITHDRAWALS,
        proofs::{calculate_receipt_root, calculate_transaction_root},
    },
    eips::eip7685::EMPTY_REQUESTS_HASH,
    primitives::{Address, B256, Bloom, Log, keccak256},
};

use super::transaction::SignedTx;

#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) hash: B256,
    pub(crate) header: Header,
    pub(crate) transactions: Vec<MinedTx>,
}

#[derive(Clone, Debug)]
pub(crate) struct MinedTx {
    pub(crate) tx: SignedTx,
    pub(crate) receipt: ReceiptEnvelope,
    pub(crate) gas_used: u64,
    /// Index in the block of this transaction's first log.
    pub(crate) first_log: u64,
}

/// A block's header before the transactions are known.
pub(crate) struct Template {
    pub(crate) parent: B256,
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
    pub(crate) gas_limit: u64,
    pub(crate) base_fee: u64,
    /// How often history was rewritten. It enters the randomness, so a block mined again never has its old hash.
    pub(crate) forks: u64,
}

impl Template {
    pub(crate) fn randomness(&self) -> B256 {
        let mut seed = [0; 48];
        seed[..32].copy_from_slice(self.parent.as_slice());
        seed[32..40].copy_from_slice(&self.number.to_be_bytes());
        seed[40..].copy_from_slice(&self.forks.to_be_bytes());
        keccak256(seed)
    }
}

impl Block {
    pub(crate) fn seal(template: &Template, transactions: Vec<MinedTx>, state_root: B256) -> Self {
        let envelopes: Vec<_> = transactions.iter().map(|mined| mined.tx.envelope.as_ref()).collect();
        let receipts: Vec<_> = transactions.iter().map(|mined| &mined.receipt).collect();
        let header = Header {
            parent_hash: template.parent,
            beneficiary: COINBASE,
            state_root,
            transactions_root: calculate_transaction_root(&envelopes),
            receipts_root: calculate_receipt_root(&receipts),
            logs_bloom: receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.bloom()),
            number: template.number,
            gas_limit: template.gas_limit,
            gas_used: transactions.last().map_or(0, |mined| mined.receipt.cumulative_gas_used()),
            timestamp: template.timestamp,
            mix_hash: template.randomness(),
            base_fee_per_gas: Some(template.base_fee),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            requests_hash: Some(EMPTY_REQUESTS_HASH),
            ..Header::default()
        };
        Self { hash: header.hash_slow(), header, transactions }
    }

    pub(crate) fn number(&self) -> u64 {
        self.header.number
    }

    pub(crate) fn base_fee(&self) -> u64 {
        self.header.base_fee_per_gas().unwrap_or_default()
    }

    pub(crate) fn logs(&self) -> impl Iterator<Item = (&MinedTx, u64, u64, &Log)> {
        self.transactions.iter().enumerate().flat_map(|(index, mined)| {
            let numbered = (mined.first_log..).zip(mined.receipt.logs());
            numbered.map(move |(log_index, log)| (mined, index as u64, log_index, log))
        })
    }
}

/// Nobody mines here; tips are paid to nobody, as on anvil.
pub(crate) const COINBASE: Address = Address::ZERO;

impl MinedTx {
    pub(crate) fn effective_gas_price(&self, base_fee: u64) -> u128 {
        use alloy::consensus::Transaction as _;
        self.tx.envelope.effective_gas_price(Some(base_fee))
    }
}

/// The receipt of one executed transaction.
pub(crate) fn receipt(tx: &SignedTx, success: bool, cumulative_gas_used: u64, logs: Vec<Log>) -> ReceiptEnvelope {
    let receipt = Receipt { status: Eip658Value::Eip658(success), cumulative_gas_used, logs };
    ReceiptEnvelope::from_typed(tx.envelope.tx_type(), receipt.with_bloom())
}
