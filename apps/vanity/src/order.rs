//! The bytes of a paid order: its parameters, and where each worker searches.

use k256::{
    Scalar, U256,
    elliptic_curve::{bigint::Encoding, ops::Reduce},
};
use sha3::{Digest, Keccak256};
use thiserror::Error;

use crate::{Hash160, PublicKey, Ranges, keys::KeyError, ranges::HashRange};

/// A contract loops over the ranges; this bounds its gas.
pub const RANGES_MAX: usize = 32;

const KEY_LENGTH: usize = 33;
const RANGE_LENGTH: usize = 40;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParamsError {
    #[error("parameters are a 33-byte key and 1 to {RANGES_MAX} ranges of 40 bytes, not {0} bytes")]
    Length(usize),
    #[error("the requester's key is refused: {0}")]
    Key(#[source] KeyError),
    #[error("the requester's key has an x that is not below the group order")]
    KeyNotPayable,
    #[error("range {0} ends before it starts")]
    Inverted(usize),
    #[error("range {0} is not sorted after and apart from the one before")]
    Unsorted(usize),
    #[error("the pattern needs {0} ranges, more than the {RANGES_MAX} an order can hold")]
    TooManyRanges(usize),
}

/// `P (33) ‖ n × (low 20 ‖ high 20)`, the same on chain, in the program and in the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    public_key: PublicKey,
    ranges: Ranges,
}

impl Params {
    pub fn new(public_key: PublicKey, ranges: Ranges) -> Result<Self, ParamsError> {
        if !public_key.is_payable() {
            return Err(ParamsError::KeyNotPayable);
        }
        match ranges.len() {
            1..=RANGES_MAX => Ok(Self { public_key, ranges }),
            0 => Err(ParamsError::Length(KEY_LENGTH)),
            many => Err(ParamsError::TooManyRanges(many)),
        }
    }

    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.public_key.to_bytes().to_vec();
        for range in self.ranges.as_slice() {
            bytes.extend(range.low.0);
            bytes.extend(range.high.0);
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, ParamsError> {
        let wrong_length = || ParamsError::Length(bytes.len());
        let (key, rest) = bytes.split_first_chunk::<KEY_LENGTH>().ok_or_else(wrong_length)?;
        let count = rest.len() / RANGE_LENGTH;
        if rest.len() % RANGE_LENGTH != 0 || !(1..=RANGES_MAX).contains(&count) {
            return Err(wrong_length());
        }
        let public_key = PublicKey::from_bytes(key).map_err(ParamsError::Key)?;
        let mut ranges: Vec<HashRange> = Vec::with_capacity(count);
        for (position, bytes) in rest.chunks_exact(RANGE_LENGTH).enumerate() {
            let range = range_from(bytes).ok_or(ParamsError::Inverted(position))?;
            if ranges.last().is_some_and(|last| last.high >= range.low) {
                return Err(ParamsError::Unsorted(position));
            }
            ranges.push(range);
        }
        // Touching ranges are legal on chain; here they become one.
        Self::new(public_key, Ranges::union(ranges))
    }
}

fn range_from(bytes: &[u8]) -> Option<HashRange> {
    let (low, high) = bytes.split_at(20);
    HashRange::new(Hash160(low.try_into().ok()?), Hash160(high.try_into().ok()?))
}

/// Which order, and which worker of it: what a found offset is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    pub id: [u8; 32],
    pub worker: [u8; 20],
}

impl Order {
    /// keccak256(order ‖ worker) mod n: where this worker's candidates start, so that a copied offset pays nobody else.
    pub fn base(&self) -> Scalar {
        let digest = Keccak256::new().chain_update(self.id).chain_update(self.worker).finalize();
        <Scalar as Reduce<U256>>::reduce(U256::from_be_bytes(digest.into()))
    }

    /// The scalar of a candidate index.
    pub fn offset(&self, index: u64) -> Scalar {
        self.base() + Scalar::from(index)
    }
}
