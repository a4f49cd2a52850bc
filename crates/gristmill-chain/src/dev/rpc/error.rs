//! Errors as JSON-RPC answers them. Codes and data are geth's, since clients look at them.

use alloy::primitives::hex;
use serde::Serialize;
use serde_json::Value;

use crate::dev::refusal::Refusal;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Value>,
}

impl RpcError {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(crate) fn parse(error: &serde_json::Error) -> Self {
        Self::new(-32700, format!("parse error: {error}"))
    }

    pub(crate) fn invalid_request(what: &str) -> Self {
        Self::new(-32600, format!("invalid request: {what}"))
    }

    pub(crate) fn no_method(method: &str) -> Self {
        Self::new(-32601, format!("the method {method} does not exist/is not available"))
    }

    pub(crate) fn invalid_params(what: impl Into<String>) -> Self {
        Self::new(-32602, what)
    }

    pub(crate) fn unknown(what: &str) -> Self {
        Self::new(-32000, what)
    }

    pub(crate) fn limit(what: impl Into<String>) -> Self {
        Self::new(-32005, what)
    }

    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        Self::new(-32603, error.to_string())
    }

    pub(crate) fn refused(refusal: &Refusal) -> Self {
        let code = match refusal {
            Refusal::Reverted { .. } => 3,
            Refusal::InvalidParams(_) | Refusal::TimestampNotAfterHead { .. } | Refusal::ReorgTooDeep { .. } => -32602,
            Refusal::TooMany { .. } => -32005,
            Refusal::Stopped(_) => -32603,
            _ => -32000,
        };
        let data = match refusal {
            Refusal::Reverted { data, .. } => Some(Value::String(hex::encode_prefixed(data))),
            _ => None,
        };
        Self { code, message: refusal.to_string(), data }
    }
}
