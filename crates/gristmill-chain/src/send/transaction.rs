//! An action as signed bytes.

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    primitives::{Address, TxKind},
    rpc::types::TransactionRequest,
    signers::{Error as SignerError, SignerSync, local::PrivateKeySigner},
};

use super::{
    entry::{Action, Attempt},
    fees::Fees,
};

/// Everything about a transaction that is not the action.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope {
    pub(super) chain_id: u64,
    pub(super) nonce: u64,
    pub(super) fees: Fees,
    pub(super) gas_limit: u64,
}

/// Signatures are deterministic (RFC 6979): signed again after a crash, the same bytes come out.
pub(super) fn sign(
    action: &Action,
    envelope: Envelope,
    key: &PrivateKeySigner,
    now_ms: u64,
) -> Result<Attempt, SignerError> {
    let transaction = TxEip1559 {
        chain_id: envelope.chain_id,
        nonce: envelope.nonce,
        gas_limit: envelope.gas_limit,
        max_fee_per_gas: envelope.fees.max_wei,
        max_priority_fee_per_gas: envelope.fees.tip_wei,
        to: TxKind::Call(action.to),
        value: action.value,
        input: action.calldata.clone(),
        access_list: Default::default(),
    };
    let signature = key.sign_hash_sync(&transaction.signature_hash())?;
    let signed = TxEnvelope::from(transaction.into_signed(signature));
    Ok(Attempt {
        hash: *signed.tx_hash(),
        nonce: envelope.nonce,
        raw: signed.encoded_2718().into(),
        fees: envelope.fees,
        gas_limit: envelope.gas_limit,
        signed_at_ms: now_ms,
    })
}

/// The same call without signature, nonce and price, for `eth_call` and `eth_estimateGas`.
pub(super) fn request(action: &Action, from: Address) -> TransactionRequest {
    let request = TransactionRequest::default().from(from).to(action.to);
    let request = request.value(action.value).input(action.calldata.clone().into());
    match action.gas_limit {
        Some(gas_limit) => request.gas_limit(gas_limit),
        None => request,
    }
}
