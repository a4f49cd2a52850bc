//! The 93 bytes that answer an order, and every check a contract makes of them.

use k256::Scalar;
use thiserror::Error;

use crate::{AddressKind, Hash160, Image, Order, Params, PublicKey, SecretKey, keys::KeyError, verify};

pub const SOLUTION_LENGTH: usize = 93;

/// `worker (20) ‖ index (8) ‖ image (1) ‖ Qx (32) ‖ Qy (32)`, with `Q = P + k·G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Solution {
    pub worker: [u8; 20],
    pub index: u64,
    pub image: Image,
    pub point: PublicKey,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SolutionError {
    #[error("a solution is {SOLUTION_LENGTH} bytes, not {0}")]
    Length(usize),
    #[error("image {0} does not exist: there are 0 to 5")]
    Image(u8),
    #[error("Q is not a point of the curve")]
    NotOnCurve,
    #[error("the offset is zero")]
    ZeroOffset,
    #[error("Q is not P + k·G")]
    WrongPoint,
    #[error("the hash {0} is in none of the wanted ranges")]
    OutOfRange(Hash160),
}

impl Solution {
    /// Completes an index and image found by a search; `None` if k is zero or the point is infinity.
    pub fn new(params: &Params, order: &Order, index: u64, image: Image) -> Option<Self> {
        let offset = order.offset(index);
        if offset == Scalar::ZERO {
            return None;
        }
        let point = params.public_key().offset(&offset)?;
        Some(Self { worker: order.worker, index, image, point })
    }

    pub fn encode(&self) -> [u8; SOLUTION_LENGTH] {
        let mut bytes = [0; SOLUTION_LENGTH];
        bytes[..20].copy_from_slice(&self.worker);
        bytes[20..28].copy_from_slice(&self.index.to_be_bytes());
        bytes[28] = self.image.number();
        bytes[29..61].copy_from_slice(&self.point.x());
        bytes[61..].copy_from_slice(&self.point.y());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, SolutionError> {
        let bytes: &[u8; SOLUTION_LENGTH] = bytes.try_into().map_err(|_| SolutionError::Length(bytes.len()))?;
        let (worker, rest) = bytes.split_first_chunk().expect("20 of 93 bytes");
        let (index, rest) = rest.split_first_chunk().expect("8 of 73 bytes");
        let (image, coordinates) = rest.split_first().expect("1 of 65 bytes");
        let (x, y) = coordinates.split_at(32);
        let image = Image::new(*image).ok_or(SolutionError::Image(*image))?;
        let (x, y) = (x.try_into().expect("32 bytes"), y.try_into().expect("32 bytes"));
        let point = PublicKey::from_coordinates(x, y).ok_or(SolutionError::NotOnCurve)?;
        Ok(Self { worker: *worker, index: u64::from_be_bytes(*index), image, point })
    }

    /// What the verifier contract checks, with other arithmetic; returns the hash that is in range.
    pub fn check(&self, params: &Params, order: &[u8; 32]) -> Result<Hash160, SolutionError> {
        let offset = self.offset(order);
        if offset == Scalar::ZERO {
            return Err(SolutionError::ZeroOffset);
        }
        if params.public_key().offset(&offset) != Some(self.point) {
            return Err(SolutionError::WrongPoint);
        }
        let hash = verify::hash_of_image(&self.point, self.image, AddressKind::P2pkh);
        if !params.ranges().contains(hash) {
            return Err(SolutionError::OutOfRange(hash));
        }
        Ok(hash)
    }

    /// The requester's key: ±λ^e·(a + k).
    pub fn combine(&self, secret: &SecretKey, order: &[u8; 32]) -> Result<SecretKey, KeyError> {
        secret.combine(&self.offset(order), self.image)
    }

    fn offset(&self, order: &[u8; 32]) -> Scalar {
        Order { id: *order, worker: self.worker }.offset(self.index)
    }
}

/// The requester's key from the parts of a solution, as they stand in a contract's event.
pub fn combine(
    secret: &SecretKey,
    order: &[u8; 32],
    worker: &[u8; 20],
    index: u64,
    image: Image,
) -> Result<SecretKey, KeyError> {
    secret.combine(&Order { id: *order, worker: *worker }.offset(index), image)
}
