//! Worker keys: secp256k1, so that a receipt can be checked by a contract and pay can go to the signer's address.

use std::fmt;

use k256::ecdsa::{RecoveryId, Signature as EcdsaSignature, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha3::{Digest as _, Keccak256};

use crate::id::WorkerId;

/// What a signature is for. Every signed message starts with this text, so a signature made for one purpose is void
/// for every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Answer to a pool's challenge when a worker connects.
    Connect,
    /// Statement about an attempt; see [`crate::receipt`].
    Receipt,
    /// An app's manifest; see [`crate::app::AppManifest::signed`].
    App,
}

impl Purpose {
    fn tag(self) -> &'static [u8] {
        match self {
            Self::Connect => b"gristmill connect v1\n",
            Self::Receipt => b"gristmill receipt v1\n",
            Self::App => b"gristmill app v1\n",
        }
    }

    fn hash(self, message: &[u8]) -> [u8; 32] {
        Keccak256::new().chain_update(self.tag()).chain_update(message).finalize().into()
    }
}

/// 65 bytes: r, s and the recovery id (0 or 1).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signature(#[serde(with = "serde_bytes")] pub [u8; 65]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature(0x{})", hex::encode(self.0))
    }
}

impl Signature {
    /// The worker that made this signature over `message`, or nothing if it is no canonical signature at all.
    pub fn signer(&self, purpose: Purpose, message: &[u8]) -> Option<WorkerId> {
        let signature = EcdsaSignature::from_slice(&self.0[..64]).ok()?;
        if signature.normalize_s().is_some() {
            return None;
        }
        let recovery = RecoveryId::from_byte(self.0[64]).filter(|id| !id.is_x_reduced())?;
        let key = VerifyingKey::recover_from_prehash(&purpose.hash(message), &signature, recovery).ok()?;
        Some(address_of(&key))
    }
}

/// A worker's private key. Wiped from memory when dropped.
#[derive(Clone)]
pub struct WorkerKey(SigningKey);

#[derive(Debug, thiserror::Error)]
#[error("these 32 bytes are no secp256k1 private key")]
pub struct InvalidKeyError;

impl WorkerKey {
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidKeyError> {
        SigningKey::from_slice(bytes).map(Self).map_err(|_| InvalidKeyError)
    }

    pub fn id(&self) -> WorkerId {
        address_of(self.0.verifying_key())
    }

    /// A secret for the worker's own use, a different one for each purpose; it tells nothing of the key.
    pub fn secret(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.0.to_bytes())
    }

    pub fn sign(&self, purpose: Purpose, message: &[u8]) -> Signature {
        let (signature, recovery) =
            self.0.sign_prehash_recoverable(&purpose.hash(message)).expect("a 32-byte prehash can always be signed");
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = recovery.to_byte();
        Signature(bytes)
    }
}

impl fmt::Debug for WorkerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerKey of {}", self.id())
    }
}

fn address_of(key: &VerifyingKey) -> WorkerId {
    let point = key.to_encoded_point(false);
    let hash = Keccak256::digest(&point.as_bytes()[1..]);
    WorkerId(hash[12..].try_into().expect("20 of 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> WorkerKey {
        WorkerKey::from_bytes(&[byte; 32]).unwrap()
    }

    #[test]
    fn id_is_the_ethereum_address() {
        // Private key 1: the address every Ethereum library gives for the generator point.
        let mut one = [0; 32];
        one[31] = 1;
        let id = WorkerKey::from_bytes(&one).unwrap().id();
        assert_eq!(id.to_string(), "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf");
    }

    #[test]
    fn signature_names_its_signer_for_one_message_and_purpose_only() {
        let signature = key(7).sign(Purpose::Connect, b"hello");
        assert_eq!(signature.signer(Purpose::Connect, b"hello"), Some(key(7).id()));
        assert_ne!(signature.signer(Purpose::Connect, b"hullo"), Some(key(7).id()));
        assert_ne!(signature.signer(Purpose::Receipt, b"hello"), Some(key(7).id()));
    }

    #[test]
    fn the_malleable_twin_of_a_signature_is_refused() {
        let Signature(mut bytes) = key(7).sign(Purpose::Receipt, b"x");
        let twin = EcdsaSignature::from_slice(&bytes[..64]).unwrap();
        let negated = EcdsaSignature::from_scalars(*twin.r(), -*twin.s()).unwrap();
        bytes[..64].copy_from_slice(&negated.to_bytes());
        bytes[64] ^= 1;
        assert_eq!(Signature(bytes).signer(Purpose::Receipt, b"x"), None);
    }

    #[test]
    fn zero_is_no_key() {
        assert!(WorkerKey::from_bytes(&[0; 32]).is_err());
    }
}
