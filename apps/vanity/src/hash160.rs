//! RIPEMD-160(SHA-256(·)), and the 160-bit numbers it yields.

use std::fmt;

use ripemd::Ripemd160;
use sha2::{Digest, Sha256};

/// Twenty bytes ordered as a big-endian number: a key hash, a script hash, or an Ethereum address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash160(pub [u8; 20]);

impl Hash160 {
    pub const MIN: Self = Self([0; 20]);
    pub const MAX: Self = Self([0xff; 20]);

    pub fn of(bytes: &[u8]) -> Self {
        Self(Ripemd160::digest(Sha256::digest(bytes)).into())
    }

    /// The script hash that a P2SH address shows when it wraps this key hash as P2WPKH (BIP-141, BIP-16).
    pub fn wrapped_p2wpkh(self) -> Self {
        let mut script = [0; 22];
        script[1] = 20;
        script[2..].copy_from_slice(&self.0);
        Self::of(&script)
    }

    /// The most significant 32 bits, which the kernels compare first.
    pub fn first_word(self) -> u32 {
        u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]])
    }

    pub fn successor(self) -> Option<Self> {
        let mut bytes = self.0;
        for byte in bytes.iter_mut().rev() {
            let (next, carry) = byte.overflowing_add(1);
            *byte = next;
            if !carry {
                return Some(Self(bytes));
            }
        }
        None
    }

    pub fn predecessor(self) -> Option<Self> {
        let mut bytes = self.0;
        for byte in bytes.iter_mut().rev() {
            let (next, borrow) = byte.overflowing_sub(1);
            *byte = next;
            if !borrow {
                return Some(Self(bytes));
            }
        }
        None
    }
}

impl fmt::Debug for Hash160 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Hash160 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}
