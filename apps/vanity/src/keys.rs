//! The requester's key pair, and how a found scalar completes it.

use std::fmt;

use k256::{
    AffinePoint, FieldBytes, ProjectivePoint, Scalar,
    elliptic_curve::{
        PrimeField,
        point::AffineCoordinates,
        sec1::{FromEncodedPoint, ToEncodedPoint},
    },
};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{AddressKind, Hash160, Image, base58};

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    #[error("the operating system gave no random numbers: {0}")]
    Randomness(String),
    #[error("a secret key is 32 bytes between 1 and the group order less 1")]
    Secret,
    #[error("a public key is 33 bytes, 02 or 03 and then x, of a point on secp256k1")]
    Public,
    #[error("not a WIF key of the main network for compressed addresses: {0}")]
    Wif(String),
    #[error("the secret key and the found scalar cancel out: their sum is zero")]
    Zero,
}

/// Wiped from memory when dropped, like every text made of it, and never printed by `Debug`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey(Scalar);

impl SecretKey {
    /// 256 bits from the operating system; a fresh key for each order, or its addresses could be linked.
    pub fn generate() -> Result<Self, KeyError> {
        loop {
            let mut bytes = Zeroizing::new([0; 32]);
            getrandom::fill(bytes.as_mut()).map_err(|error| KeyError::Randomness(error.to_string()))?;
            // A contract cannot check orders whose x is not below n (one key in 2^128).
            if let Ok(key) = Self::from_bytes(&bytes)
                && key.public_key().is_payable()
            {
                return Ok(key);
            }
        }
    }

    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let scalar = Option::<Scalar>::from(Scalar::from_repr(FieldBytes::from(*bytes))).ok_or(KeyError::Secret)?;
        Self::from_scalar(scalar).map_err(|_| KeyError::Secret)
    }

    fn from_scalar(scalar: Scalar) -> Result<Self, KeyError> {
        if scalar == Scalar::ZERO { Err(KeyError::Zero) } else { Ok(Self(scalar)) }
    }

    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_repr().into())
    }

    pub fn public_key(&self) -> PublicKey {
        PublicKey((ProjectivePoint::GENERATOR * self.0).to_affine())
    }

    /// ±λ^e·(a + k), with the sign that makes y's parity what the image says.
    pub fn combine(&self, offset: &Scalar, image: Image) -> Result<Self, KeyError> {
        let key = Self::from_scalar((self.0 + offset) * image.multiplier())?;
        match key.public_key().is_odd() == image.is_odd() {
            true => Ok(key),
            false => Self::from_scalar(-key.0),
        }
    }

    /// As wallets for this kind of address import it: hex for Ethereum, else WIF.
    pub fn to_import_text(&self, kind: AddressKind) -> Zeroizing<String> {
        match kind {
            AddressKind::Ethereum => Zeroizing::new(["0x", self.to_hex().as_str()].concat()),
            AddressKind::P2pkh | AddressKind::P2wpkh | AddressKind::P2shP2wpkh => self.to_wif(),
        }
    }

    /// 64 digits.
    pub fn to_hex(&self) -> Zeroizing<String> {
        let mut digits = Zeroizing::new([0; 64]);
        hex::encode_to_slice(self.to_bytes(), digits.as_mut()).expect("two digits for each byte");
        Zeroizing::new(digits.iter().map(|digit| char::from(*digit)).collect())
    }

    /// Wallet import format: main network, compressed.
    pub fn to_wif(&self) -> Zeroizing<String> {
        let mut payload = Zeroizing::new([0; 34]);
        payload[0] = WIF_VERSION;
        payload[1..33].copy_from_slice(self.to_bytes().as_ref());
        payload[33] = WIF_COMPRESSED;
        Zeroizing::new(base58::encode_check(payload.as_ref()))
    }

    pub fn from_wif(text: &str) -> Result<Self, KeyError> {
        let payload = base58::decode_check(text.trim()).map_err(|error| KeyError::Wif(error.to_string()))?;
        let payload = Zeroizing::new(payload);
        match payload.as_slice() {
            [WIF_VERSION, key @ .., WIF_COMPRESSED] if key.len() == 32 => {
                Self::from_bytes(key.try_into().expect("32 bytes: just matched"))
            }
            _ => Err(KeyError::Wif("wrong length, network or compression".to_owned())),
        }
    }

    /// Reads 64 hex digits or a WIF key.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let mut bytes = Zeroizing::new([0; 32]);
        match hex::decode_to_slice(digits, bytes.as_mut()) {
            Ok(()) => Self::from_bytes(&bytes),
            Err(_) => Self::from_wif(text),
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretKey(…)")
    }
}

const WIF_VERSION: u8 = 0x80;
const WIF_COMPRESSED: u8 = 1;

/// A point of the curve other than infinity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(AffinePoint);

impl PublicKey {
    pub fn from_bytes(bytes: &[u8; 33]) -> Result<Self, KeyError> {
        // The library also reads other tags, such as that of a key without its parity.
        if !matches!(bytes[0], 2 | 3) {
            return Err(KeyError::Public);
        }
        let encoded = k256::EncodedPoint::from_bytes(bytes).map_err(|_| KeyError::Public)?;
        Option::from(AffinePoint::from_encoded_point(&encoded)).and_then(Self::from_point).ok_or(KeyError::Public)
    }

    /// `None` unless the two coordinates are reduced and belong to a point of the curve.
    pub fn from_coordinates(x: &[u8; 32], y: &[u8; 32]) -> Option<Self> {
        let encoded = k256::EncodedPoint::from_affine_coordinates(x.into(), y.into(), false);
        Option::from(AffinePoint::from_encoded_point(&encoded)).and_then(Self::from_point)
    }

    pub(crate) fn from_point(point: AffinePoint) -> Option<Self> {
        (point != AffinePoint::IDENTITY).then_some(Self(point))
    }

    pub fn to_bytes(&self) -> [u8; 33] {
        let mut bytes = [0; 33];
        bytes[0] = 2 + u8::from(self.is_odd());
        bytes[1..].copy_from_slice(&self.0.x());
        bytes
    }

    pub fn x(&self) -> [u8; 32] {
        self.0.x().into()
    }

    pub fn y(&self) -> [u8; 32] {
        let encoded = self.0.to_encoded_point(false);
        (*encoded.y().expect("uncompressed and not infinity")).into()
    }

    pub fn is_odd(&self) -> bool {
        self.0.y_is_odd().into()
    }

    /// Whether a contract can check results for this key: ecrecover wants x below the group order.
    pub fn is_payable(&self) -> bool {
        Option::<Scalar>::from(Scalar::from_repr(self.0.x())).is_some()
    }

    /// `self + k·G`, or `None` at infinity.
    pub fn offset(&self, k: &Scalar) -> Option<Self> {
        Self::from_point((ProjectivePoint::from(self.0) + ProjectivePoint::GENERATOR * k).to_affine())
    }

    pub(crate) fn multiply(&self, scalar: &Scalar) -> Option<Self> {
        Self::from_point((ProjectivePoint::from(self.0) * scalar).to_affine())
    }

    pub(crate) fn point(&self) -> AffinePoint {
        self.0
    }

    /// The 20 bytes an address of this key carries.
    pub fn hash(&self, kind: AddressKind) -> Hash160 {
        kind.hash_of_point(&self.x(), &self.y())
    }

    pub fn address(&self, kind: AddressKind) -> String {
        kind.encode(self.hash(kind))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.to_bytes()))
    }
}
