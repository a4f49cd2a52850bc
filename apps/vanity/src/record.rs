//! One JSON object that says everything about a find: enough to check it, and for the key's owner to use it.

use k256::{FieldBytes, Scalar, elliptic_curve::PrimeField};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    AddressKind, Image, PublicKey, SecretKey,
    keys::KeyError,
    verify::{self, VerifyError},
};

/// A record is well below 1 KiB; a longer text is not one.
pub const RECORD_LENGTH_MAX: usize = 16 * 1024;

const FORMAT: &str = "vanity-record/1";

/// Nothing in it is secret: without the requester's key it is worthless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    format: String,
    pub kind: AddressKind,
    pub pattern: String,
    pub address: String,
    /// P, compressed, 66 hex digits.
    pub public_key: String,
    /// k, 64 hex digits: the found point is P + k·G.
    pub offset: String,
    /// 2·e + s: the key is ±λ^e·(a + k), with the sign that makes y odd if s is 1.
    pub image: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderPart>,
}

/// Where the offset comes from when the search was a paid order: k = keccak256(order ‖ worker) + index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderPart {
    pub order: String,
    pub worker: String,
    pub index: u64,
}

#[derive(Debug, Error)]
pub enum RecordError {
    #[error("a record has at most {RECORD_LENGTH_MAX} bytes, not {0}")]
    TooLong(usize),
    #[error("not a record")]
    Json(#[source] serde_json::Error),
    #[error("the format is {0:?}; this program reads {FORMAT:?}")]
    Format(String),
    #[error("{0} is not the right number of hex digits")]
    Hex(&'static str),
    #[error("the public key is refused")]
    Key(#[source] KeyError),
    #[error("the offset is zero or not below the group order")]
    Offset,
    #[error("image {0} does not exist: there are 0 to 5")]
    Image(u8),
    #[error("the offset is not the one of this order, worker and index")]
    Order,
    #[error("the record does not hold")]
    Wrong(#[source] VerifyError),
    #[error("{address} does not begin with {pattern}")]
    Pattern { address: String, pattern: String },
    #[error("the secret key belongs to another public key, {0}")]
    OtherKey(PublicKey),
    #[error("the keys do not combine")]
    Combine(#[source] KeyError),
}

impl Record {
    /// Derives the address by the independent path, so that a record made here always verifies.
    pub fn new(
        kind: AddressKind,
        pattern: &str,
        public_key: &PublicKey,
        offset: &Scalar,
        image: Image,
    ) -> Result<Self, VerifyError> {
        let hash = verify::hash_of_candidate(public_key, offset, image, kind)?;
        Ok(Self {
            format: FORMAT.to_owned(),
            kind,
            pattern: pattern.to_owned(),
            address: kind.encode(hash),
            public_key: public_key.to_string(),
            offset: hex::encode(offset.to_repr()),
            image: image.number(),
            order: None,
        })
    }

    pub fn from_json(text: &str) -> Result<Self, RecordError> {
        if text.len() > RECORD_LENGTH_MAX {
            return Err(RecordError::TooLong(text.len()));
        }
        let record: Self = serde_json::from_str(text).map_err(RecordError::Json)?;
        if record.format != FORMAT {
            return Err(RecordError::Format(record.format));
        }
        record.verify()?;
        Ok(record)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always serialise")
    }

    /// Recomputes the address from public key, offset and image, and sees that it begins as was wished. Which letters
    /// were meant exactly a record does not say.
    pub fn verify(&self) -> Result<(), RecordError> {
        let (public_key, offset, image) = self.parts()?;
        self.check_order(&offset)?;
        let hash = verify::hash_of_candidate(&public_key, &offset, image, self.kind).map_err(RecordError::Wrong)?;
        let actual = self.kind.encode(hash);
        if actual != self.address {
            return Err(RecordError::Wrong(VerifyError::Address { claimed: self.address.clone(), actual }));
        }
        match actual.to_ascii_lowercase().starts_with(&self.pattern.to_ascii_lowercase()) {
            true => Ok(()),
            false => Err(RecordError::Pattern { address: actual, pattern: self.pattern.clone() }),
        }
    }

    /// The key of the address, checked to own it.
    pub fn combine(&self, secret: &SecretKey) -> Result<SecretKey, RecordError> {
        self.verify()?;
        let (public_key, offset, image) = self.parts()?;
        if secret.public_key() != public_key {
            return Err(RecordError::OtherKey(secret.public_key()));
        }
        let key = secret.combine(&offset, image).map_err(RecordError::Combine)?;
        verify::check_key(&key, self.kind, &self.address).map_err(RecordError::Wrong)?;
        Ok(key)
    }

    fn parts(&self) -> Result<(PublicKey, Scalar, Image), RecordError> {
        let public_key = PublicKey::from_bytes(&bytes_of("public_key", &self.public_key)?).map_err(RecordError::Key)?;
        let offset = FieldBytes::from(bytes_of::<32>("offset", &self.offset)?);
        let offset: Option<Scalar> = Scalar::from_repr(offset).into();
        let offset = offset.filter(|offset| *offset != Scalar::ZERO).ok_or(RecordError::Offset)?;
        let image = Image::new(self.image).ok_or(RecordError::Image(self.image))?;
        Ok((public_key, offset, image))
    }

    fn check_order(&self, offset: &Scalar) -> Result<(), RecordError> {
        let Some(part) = &self.order else { return Ok(()) };
        let order = crate::Order { id: bytes_of("order", &part.order)?, worker: bytes_of("worker", &part.worker)? };
        match order.offset(part.index) == *offset {
            true => Ok(()),
            false => Err(RecordError::Order),
        }
    }
}

fn bytes_of<const LENGTH: usize>(name: &'static str, text: &str) -> Result<[u8; LENGTH], RecordError> {
    let mut bytes = [0; LENGTH];
    let digits = text.strip_prefix("0x").unwrap_or(text);
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| RecordError::Hex(name))?;
    Ok(bytes)
}
