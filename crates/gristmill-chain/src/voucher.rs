//! What a pool signs to owe a worker: `Voucher(address pool,address worker,uint256 cumulative)` in the market's domain.

use alloy::primitives::{Address, B256, Signature, U256};
use alloy::sol_types::{SolStruct, eip712_domain};

alloy::sol! {
    struct Voucher {
        address pool;
        address worker;
        uint256 cumulative;
    }
}

#[must_use]
pub fn voucher_hash(chain_id: u64, market: Address, pool: Address, worker: Address, cumulative: u128) -> B256 {
    let domain = eip712_domain! {
        name: "gristmill market",
        version: "1",
        chain_id: chain_id,
        verifying_contract: market,
    };
    Voucher { pool, worker, cumulative: U256::from(cumulative) }.eip712_signing_hash(&domain)
}

/// Whether `pool` itself signed: a pool that is a contract is asked on chain instead.
#[must_use]
pub fn is_signed_by(pool: Address, hash: B256, signature: &[u8]) -> bool {
    let signature = Signature::from_raw(signature).ok();
    signature.and_then(|signature| signature.recover_address_from_prehash(&hash).ok()) == Some(pool)
}
