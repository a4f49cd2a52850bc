//! Why a request to the chain was turned down, in the words other nodes use: clients match on them.

use alloy::primitives::{Address, Bytes, U256};

/// A request that the chain will not carry out. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("failed to decode signed transaction: {0}")]
    Malformed(String),
    #[error("invalid sender: the signature fits no key")]
    BadSignature,
    #[error("oversized data: transaction size {bytes}, limit {limit}")]
    Oversized { bytes: usize, limit: usize },
    #[error("transaction type not supported: {0}")]
    Unsupported(&'static str),
    #[error("invalid chain id for signer: have {have} want {want}")]
    WrongChain { have: u64, want: u64 },
    #[error("already known")]
    AlreadyKnown,
    #[error("nonce too low: next nonce {next}, tx nonce {nonce}")]
    NonceTooLow { next: u64, nonce: u64 },
    #[error("nonce too high: next nonce {next}, tx nonce {nonce}, at most {ahead_max} ahead are kept")]
    NonceTooHigh { next: u64, nonce: u64, ahead_max: u64 },
    #[error("replacement transaction underpriced")]
    ReplacementUnderpriced,
    #[error("insufficient funds for gas * price + value: address {address} have {have} want {want}")]
    InsufficientFunds { address: Address, have: U256, want: U256 },
    #[error("exceeds block gas limit: limit {limit}, tx gas {gas}")]
    GasAboveBlockLimit { gas: u64, limit: u64 },
    #[error("intrinsic gas too low: gas {gas}, minimum needed {minimum}")]
    IntrinsicGas { gas: u64, minimum: u64 },
    #[error("max fee per gas less than block base fee: address {address}, maxFeePerGas: {cap}, baseFee: {base_fee}")]
    FeeCapTooLow { address: Address, cap: u128, base_fee: u64 },
    #[error("max priority fee per gas higher than max fee per gas: tip {tip}, cap {cap}")]
    TipAboveFeeCap { tip: u128, cap: u128 },
    #[error("sender not an eoa: address {0}")]
    SenderIsContract(Address),
    #[error("max initcode size exceeded: code size {bytes}, limit {limit}")]
    InitCodeTooLong { bytes: usize, limit: usize },
    #[error("txpool is full: {limit} transactions are waiting")]
    PoolFull { limit: usize },
    #[error("transaction was not accepted: {0}")]
    Invalid(String),
    #[error("execution reverted{}", .reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Reverted { reason: Option<String>, data: Bytes },
    #[error("{0}")]
    Halted(String),
    #[error("gas required exceeds allowance ({0})")]
    GasAboveAllowance(u64),
    #[error("header not found: the chain has no block {0}")]
    NoBlock(String),
    #[error(
        "state of block {block} is not kept any more: missing trie node, the oldest kept is that of block {oldest}"
    )]
    StateNotKept { block: u64, oldest: u64 },
    #[error("timestamp {timestamp} is not after that of the head, {head}")]
    TimestampNotAfterHead { timestamp: u64, head: u64 },
    #[error("cannot drop {depth} blocks: block {oldest} is the deepest the chain can go back to")]
    ReorgTooDeep { depth: u64, oldest: u64 },
    #[error("at most {limit} {what} at a time")]
    TooMany { what: &'static str, limit: u64 },
    #[error("the chain stopped writing: {0}")]
    Stopped(String),
    #[error("{0}")]
    InvalidParams(String),
}
