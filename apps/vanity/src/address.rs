//! The kinds of address we can look for, and how 20 bytes are shown as one.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha3::{Digest, Keccak256};

use crate::{base58, bech32, hash160::Hash160};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressKind {
    /// `1…`: hash of a compressed public key.
    P2pkh,
    /// `bc1q…`: the same hash as a version 0 witness program.
    P2wpkh,
    /// `3…`: that witness program inside a script hash.
    P2shP2wpkh,
    /// `0x…`: last 20 bytes of Keccak-256 of the uncompressed key.
    Ethereum,
}

impl AddressKind {
    /// Shows the 20 bytes that this kind of address carries.
    pub fn encode(self, hash: Hash160) -> String {
        match self {
            Self::P2pkh => encode_base58(P2PKH_VERSION, hash),
            Self::P2wpkh => bech32::encode_p2wpkh(&hash.0),
            Self::P2shP2wpkh => encode_base58(P2SH_VERSION, hash),
            Self::Ethereum => encode_ethereum(hash),
        }
    }

    /// The 20 bytes this kind of address carries for a compressed (33 bytes) or uncompressed coordinate pair.
    pub fn hash_of_point(self, x: &[u8; 32], y: &[u8; 32]) -> Hash160 {
        let mut compressed = [0; 33];
        compressed[0] = 2 + (y[31] & 1);
        compressed[1..].copy_from_slice(x);
        match self {
            Self::P2pkh | Self::P2wpkh => Hash160::of(&compressed),
            Self::P2shP2wpkh => Hash160::of(&compressed).wrapped_p2wpkh(),
            Self::Ethereum => ethereum_hash(x, y),
        }
    }
}

impl fmt::Display for AddressKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::P2pkh => "P2PKH",
            Self::P2wpkh => "P2WPKH",
            Self::P2shP2wpkh => "P2SH-P2WPKH",
            Self::Ethereum => "Ethereum",
        })
    }
}

pub(crate) const P2PKH_VERSION: u8 = 0;
pub(crate) const P2SH_VERSION: u8 = 5;

fn encode_base58(version: u8, hash: Hash160) -> String {
    let mut payload = [version; 21];
    payload[1..].copy_from_slice(&hash.0);
    base58::encode_check(&payload)
}

fn ethereum_hash(x: &[u8; 32], y: &[u8; 32]) -> Hash160 {
    let digest = Keccak256::new().chain_update(x).chain_update(y).finalize();
    let mut hash = [0; 20];
    hash.copy_from_slice(&digest[12..]);
    Hash160(hash)
}

/// EIP-55: a letter is upper case where the Keccak-256 of the lower-case text has a nibble of 8 or more.
fn encode_ethereum(hash: Hash160) -> String {
    let lower = hex::encode(hash.0);
    let digest = hex::encode(Keccak256::digest(&lower));
    let mixed = lower.chars().zip(digest.chars()).map(|(character, nibble)| match nibble {
        '8'..='f' => character.to_ascii_uppercase(),
        _ => character,
    });
    "0x".chars().chain(mixed).collect()
}
