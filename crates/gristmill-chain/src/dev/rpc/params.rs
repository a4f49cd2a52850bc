//! Positional parameters, taken one after the other and turned into types that cannot be wrong.

use alloy::primitives::U256;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::RpcError;

pub(crate) struct Params {
    values: std::vec::IntoIter<Value>,
    taken: usize,
}

impl Params {
    /// `params` of a request: a list, nothing, or a single object standing for a list of one.
    pub(crate) fn new(params: Value) -> Self {
        let values = match params {
            Value::Array(values) => values,
            Value::Null => Vec::new(),
            single => vec![single],
        };
        Self { values: values.into_iter(), taken: 0 }
    }

    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<T, RpcError> {
        let at = self.taken;
        self.optional()?.ok_or_else(|| RpcError::invalid_params(format!("missing value for required argument {at}")))
    }

    /// None if it is missing or null.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self) -> Result<Option<T>, RpcError> {
        let at = self.taken;
        self.taken += 1;
        match self.values.next() {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|error| RpcError::invalid_params(format!("invalid argument {at}: {error}"))),
        }
    }

    /// A number, as hex text, decimal text or a JSON number: tools differ in what they send to test methods.
    pub(crate) fn optional_number(&mut self) -> Result<Option<u64>, RpcError> {
        let at = self.taken;
        let number = self.optional::<U256>()?;
        number
            .map(|number| {
                u64::try_from(number).map_err(|_| RpcError::invalid_params(format!("argument {at} is too large")))
            })
            .transpose()
    }

    pub(crate) fn number(&mut self) -> Result<u64, RpcError> {
        let at = self.taken;
        self.optional_number()?
            .ok_or_else(|| RpcError::invalid_params(format!("missing value for required argument {at}")))
    }
}
