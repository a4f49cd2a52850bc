//! Candidates and keys checked again by libraries the search does not use: k256, sha2, ripemd, sha3.
//!
//! Nothing is shown to a user before it has passed here: a wrong key for a right-looking address loses money.

use k256::Scalar;
use thiserror::Error;

use crate::{AddressKind, Hash160, Image, PublicKey, SecretKey};

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VerifyError {
    #[error("P + k·G is the point at infinity")]
    Infinity,
    #[error("the candidate has the address {actual}, not {claimed}")]
    Address { claimed: String, actual: String },
    #[error("the secret key has the address {actual}, not {claimed}")]
    Key { claimed: String, actual: String },
}

/// The hash of one of the six images of `P + k·G`.
pub fn hash_of_candidate(
    public_key: &PublicKey,
    offset: &Scalar,
    image: Image,
    kind: AddressKind,
) -> Result<Hash160, VerifyError> {
    let point = public_key.offset(offset).ok_or(VerifyError::Infinity)?;
    Ok(hash_of_image(&point, image, kind))
}

/// Multiplies by λ^e as a scalar, where the search multiplies x by β^e.
pub fn hash_of_image(point: &PublicKey, image: Image, kind: AddressKind) -> Hash160 {
    let turned = point.multiply(&image.multiplier()).expect("λ is not zero modulo a prime order");
    let signed = match turned.is_odd() == image.is_odd() {
        true => turned,
        false => turned.multiply(&-Scalar::ONE).expect("minus one is not zero"),
    };
    signed.hash(kind)
}

/// Whether this key really owns the address, before anyone is told so.
pub fn check_key(key: &SecretKey, kind: AddressKind, address: &str) -> Result<(), VerifyError> {
    let actual = key.public_key().address(kind);
    match actual == address {
        true => Ok(()),
        false => Err(VerifyError::Key { claimed: address.to_owned(), actual }),
    }
}
