//! The encoding of everything binary that crosses a process border: CBOR (RFC 8949) with named fields, so that an old
//! reader can skip what it does not know and a stray frame can be read by any CBOR tool.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Nesting a peer may send: messages are a few levels deep, and a deep one is an attack on the stack.
const DEPTH_MAX: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("message of {size} bytes is longer than the {size_max} allowed")]
    TooLong { size: usize, size_max: usize },
    #[error("malformed message: {0}")]
    Malformed(String),
    #[error("{0} bytes follow the message")]
    Trailing(usize),
}

pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    ciborium::into_writer(value, &mut bytes).expect("writing to memory cannot fail and our types are all encodable");
    bytes
}

pub fn decode<T: DeserializeOwned>(bytes: &[u8], size_max: usize) -> Result<T, DecodeError> {
    if bytes.len() > size_max {
        return Err(DecodeError::TooLong { size: bytes.len(), size_max });
    }
    let mut rest = bytes;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH_MAX)
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::Trailing(rest.len())) }
}

/// The same map less one of its fields: for records that were written when there was one more.
pub fn without_field(bytes: &[u8], name: &str, size_max: usize) -> Result<Vec<u8>, DecodeError> {
    let mut value: ciborium::Value = decode(bytes, size_max)?;
    if let Some(fields) = value.as_map_mut() {
        fields.retain(|(field, _)| field.as_text() != Some(name));
    }
    Ok(encode(&value))
}
