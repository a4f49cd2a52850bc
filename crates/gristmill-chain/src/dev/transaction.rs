//! A signed transaction whose sender is known: the only form in which one enters the chain.

use std::sync::Arc;

use alloy::{
    consensus::{Transaction as _, TxEnvelope, transaction::SignerRecoverable},
    eips::{Decodable2718, Encodable2718},
    primitives::{Address, B256, Bytes, TxKind, U256},
};
use revm::context::{TxEnv, either::Either};

use super::refusal::Refusal;

/// As in geth: four times 32 KiB.
pub const TRANSACTION_BYTES_MAX: usize = 128 * 1024;

#[derive(Clone, Debug)]
pub(crate) struct SignedTx {
    pub(crate) envelope: Arc<TxEnvelope>,
    pub(crate) hash: B256,
    pub(crate) sender: Address,
}

impl SignedTx {
    /// Decodes bytes from outside and recovers who signed them.
    pub(crate) fn decode(raw: &[u8]) -> Result<Self, Refusal> {
        if raw.len() > TRANSACTION_BYTES_MAX {
            return Err(Refusal::Oversized { bytes: raw.len(), limit: TRANSACTION_BYTES_MAX });
        }
        let mut rest = raw;
        let envelope = TxEnvelope::decode_2718(&mut rest).map_err(|error| Refusal::Malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(Refusal::Malformed("bytes after the end of the transaction".into()));
        }
        let sender = envelope.recover_signer().map_err(|_| Refusal::BadSignature)?;
        Ok(Self::trusted(envelope, sender))
    }

    /// For transactions whose sender was recovered before.
    pub(crate) fn trusted(envelope: TxEnvelope, sender: Address) -> Self {
        let hash = *envelope.tx_hash();
        Self { envelope: Arc::new(envelope), hash, sender }
    }

    /// What [`Self::raw`] gave before it was written down.
    pub(crate) fn stored(mut raw: &[u8], sender: Address) -> alloy_rlp::Result<Self> {
        let envelope = TxEnvelope::decode_2718(&mut raw);
        let envelope = envelope.map_err(|_| alloy_rlp::Error::Custom("not a signed transaction"))?;
        Ok(Self::trusted(envelope, sender))
    }

    pub(crate) fn raw(&self) -> Bytes {
        self.envelope.encoded_2718().into()
    }

    pub(crate) fn nonce(&self) -> u64 {
        self.envelope.nonce()
    }

    pub(crate) fn fee_cap(&self) -> u128 {
        self.envelope.max_fee_per_gas()
    }

    /// The tip per gas that the miner would get, if the fee cap covers the base fee at all.
    pub(crate) fn tip_at(&self, base_fee: u64) -> Option<u128> {
        self.envelope.effective_tip_per_gas(base_fee)
    }

    /// The most that this transaction may take from its sender.
    pub(crate) fn cost_max(&self) -> Option<U256> {
        U256::from(self.fee_cap())
            .checked_mul(U256::from(self.envelope.gas_limit()))?
            .checked_add(self.envelope.value())
    }

    pub(crate) fn created_address(&self) -> Option<Address> {
        self.envelope.is_create().then(|| self.sender.create(self.nonce()))
    }

    pub(crate) fn to_evm(&self) -> TxEnv {
        let tx = self.envelope.as_ref();
        TxEnv {
            tx_type: tx.tx_type() as u8,
            caller: self.sender,
            gas_limit: tx.gas_limit(),
            gas_price: tx.max_fee_per_gas(),
            kind: tx.to().map_or(TxKind::Create, TxKind::Call),
            value: tx.value(),
            data: tx.input().clone(),
            nonce: tx.nonce(),
            chain_id: tx.chain_id(),
            access_list: tx.access_list().cloned().unwrap_or_default(),
            gas_priority_fee: tx.max_priority_fee_per_gas(),
            blob_hashes: Vec::new(),
            max_fee_per_blob_gas: 0,
            authorization_list: tx.authorization_list().unwrap_or_default().iter().cloned().map(Either::Left).collect(),
        }
    }
}
