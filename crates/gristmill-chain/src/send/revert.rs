//! Why a contract said no.

use alloy::{
    primitives::{Bytes, hex},
    sol_types::{Panic, Revert as ErrorString, SolError},
};

/// Reason texts are kept at most this long: a contract chooses them.
const REASON_CHARACTERS_MAX: usize = 300;

/// Revert data kept per action. Custom errors are a few words; longer ones are cut.
const DATA_BYTES_MAX: usize = 4_096;

/// The answer of a contract that refused, readable and raw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revert {
    pub reason: String,
    /// For `abi_decode` of the caller's own error types.
    pub data: Bytes,
}

impl Revert {
    #[must_use]
    pub fn new(data: Bytes, describe: fn(&[u8]) -> Option<String>) -> Self {
        let reason = describe(&data).unwrap_or_else(|| standard_reason(&data));
        Self { reason: reason.chars().take(REASON_CHARACTERS_MAX).collect(), data: cut(data) }
    }

    /// Refused by something else than a contract.
    #[must_use]
    pub fn without_data(reason: impl Into<String>) -> Self {
        Self { reason: reason.into().chars().take(REASON_CHARACTERS_MAX).collect(), data: Bytes::new() }
    }
}

fn standard_reason(data: &[u8]) -> String {
    if data.is_empty() {
        return "reverted without a reason".into();
    }
    if let Ok(error) = ErrorString::abi_decode(data) {
        return error.reason;
    }
    if let Ok(panic) = Panic::abi_decode(data) {
        return panic.to_string();
    }
    match data.get(..4) {
        Some(selector) => format!("custom error 0x{} ({} bytes)", hex::encode(selector), data.len()),
        None => format!("reverted with 0x{}", hex::encode(data)),
    }
}

fn cut(data: Bytes) -> Bytes {
    if data.len() > DATA_BYTES_MAX { data.slice(..DATA_BYTES_MAX) } else { data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_standard_errors_and_survives_nonsense() {
        let reason = |data: Vec<u8>| Revert::new(data.into(), |_| None).reason;
        assert_eq!(reason(ErrorString::from("too late").abi_encode()), "too late");
        assert!(reason(Panic::from(0x11).abi_encode()).contains("overflow"));
        assert_eq!(reason(vec![]), "reverted without a reason");
        assert_eq!(reason(vec![0xde, 0xad, 0xbe, 0xef, 0]), "custom error 0xdeadbeef (5 bytes)");
        assert_eq!(reason(vec![1]), "reverted with 0x01");
        assert_eq!(reason(ErrorString::from("x".repeat(5_000)).abi_encode()).len(), REASON_CHARACTERS_MAX);
    }

    #[test]
    fn endless_data_is_cut() {
        assert_eq!(Revert::new(vec![7; 100_000].into(), |_| None).data.len(), DATA_BYTES_MAX);
    }
}
