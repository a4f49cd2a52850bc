//! What the store says to a database, whichever it is: statements that both SQLite and PostgreSQL understand.
//!
//! Parameters are written `?1`, `?2`, … and numbers are 64-bit integers, text is UTF-8 and the rest is bytes.

use std::borrow::Cow;

use gristmill_proto::codec;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, ProviderId, UnixMillis, WorkerId};
use serde::de::DeserializeOwned;

use super::{RECORD_BYTES_MAX, StoreError};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Integer(i64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

/// One statement of a transaction.
pub(super) struct Statement<'a> {
    pub(super) sql: &'static str,
    pub(super) values: Vec<Value<'a>>,
    /// How many rows it must find or change, if the transaction depends on that.
    pub(super) rows: Option<u64>,
}

impl<'a> Statement<'a> {
    pub(super) fn new(sql: &'static str, values: impl Into<Vec<Value<'a>>>) -> Self {
        Self { sql, values: values.into(), rows: None }
    }

    /// The transaction fails unless this finds or changes so many rows.
    pub(super) fn must_meet(self, rows: u64) -> Self {
        Self { rows: Some(rows), ..self }
    }

    pub(super) fn check(&self, rows: u64) -> Result<(), StoreError> {
        match self.rows {
            Some(wanted) if wanted != rows => Err(StoreError::Contradicted { sql: self.sql, rows }),
            _ => Ok(()),
        }
    }
}

macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::store::sql::Value::from($value)),*] };
}
pub(super) use values;

impl From<u64> for Value<'_> {
    /// Ids stay below 2^53 and counts below what a pool can do; a sum that does not is held at the end.
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<bool> for Value<'_> {
    fn from(yes: bool) -> Self {
        Self::Integer(yes.into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<JobId> for Value<'_> {
    fn from(id: JobId) -> Self {
        id.0.into()
    }
}

impl From<LeaseId> for Value<'_> {
    fn from(id: LeaseId) -> Self {
        id.0.into()
    }
}

impl From<UnixMillis> for Value<'_> {
    fn from(at: UnixMillis) -> Self {
        at.0.into()
    }
}

impl<'a> From<&'a WorkerId> for Value<'a> {
    fn from(id: &'a WorkerId) -> Self {
        Self::Bytes(id.0[..].into())
    }
}

impl<'a> From<&'a ProviderId> for Value<'a> {
    fn from(id: &'a ProviderId) -> Self {
        Self::Bytes(id.0[..].into())
    }
}

impl<'a> From<&'a Digest> for Value<'a> {
    fn from(digest: &'a Digest) -> Self {
        Self::Bytes(digest.0[..].into())
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row of an answer.
#[derive(Debug)]
pub(super) struct Row(pub(super) Vec<Value<'static>>);

impl Row {
    pub(super) fn get<T: FromValue>(&self, column: usize) -> Result<T, StoreError> {
        T::from_value(&self.0[column]).ok_or(StoreError::WrongColumn { column })
    }

    pub(super) fn text(&self, column: usize) -> Result<&str, StoreError> {
        match &self.0[column] {
            Value::Text(text) => Ok(text),
            _ => Err(StoreError::WrongColumn { column }),
        }
    }

    fn bytes(&self, column: usize) -> Result<&[u8], StoreError> {
        match &self.0[column] {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(StoreError::WrongColumn { column }),
        }
    }

    /// What our own codec wrote.
    pub(super) fn decode<T: DeserializeOwned>(&self, column: usize) -> Result<T, StoreError> {
        Ok(codec::decode(self.bytes(column)?, RECORD_BYTES_MAX)?)
    }
}

pub(super) trait FromValue: Sized {
    fn from_value(value: &Value<'_>) -> Option<Self>;
}

impl FromValue for u64 {
    fn from_value(value: &Value<'_>) -> Option<Self> {
        let Value::Integer(number) = value else { return None };
        Self::try_from(*number).ok()
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value<'_>) -> Option<Self> {
        let Value::Integer(number) = value else { return None };
        Self::try_from(*number).ok()
    }
}

impl FromValue for bool {
    fn from_value(value: &Value<'_>) -> Option<Self> {
        let Value::Integer(number) = value else { return None };
        Some(*number != 0)
    }
}

impl FromValue for String {
    fn from_value(value: &Value<'_>) -> Option<Self> {
        let Value::Text(text) = value else { return None };
        Some(text.to_string())
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value<'_>) -> Option<Self> {
        let Value::Bytes(bytes) = value else { return None };
        Some(bytes.to_vec())
    }
}

impl<const N: usize> FromValue for [u8; N] {
    fn from_value(value: &Value<'_>) -> Option<Self> {
        let Value::Bytes(bytes) = value else { return None };
        (**bytes).try_into().ok()
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

macro_rules! wrapped {
    ($($wrapper:ident),*) => {
        $(impl FromValue for $wrapper {
            fn from_value(value: &Value<'_>) -> Option<Self> {
                FromValue::from_value(value).map($wrapper)
            }
        })*
    };
}
wrapped!(JobId, LeaseId, UnixMillis, WorkerId, ProviderId, Digest);
