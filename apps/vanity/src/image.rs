//! The six addresses that one point gives almost for free.
//!
//! secp256k1 has the endomorphism λ·(x, y) = (β·x, y), and −(x, y) = (x, −y). So a point Q stands for the six points
//! ±λ^e·Q with e in 0..3, and a compressed key of each x is tried with both prefixes.

use k256::{FieldBytes, Scalar, elliptic_curve::PrimeField};

/// 2·e + s: e is the power of the endomorphism, s the parity of y (prefix 02 or 03).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Image(u8);

impl Image {
    pub const COUNT: u64 = 6;

    pub fn new(number: u8) -> Option<Self> {
        (u64::from(number) < Self::COUNT).then_some(Self(number))
    }

    pub(crate) fn of(endomorphism: u8, odd: bool) -> Self {
        debug_assert!(endomorphism < 3);
        Self(2 * endomorphism + u8::from(odd))
    }

    pub fn number(self) -> u8 {
        self.0
    }

    pub fn endomorphism(self) -> u8 {
        self.0 / 2
    }

    pub fn is_odd(self) -> bool {
        self.0 % 2 == 1
    }

    /// λ^e.
    pub fn multiplier(self) -> Scalar {
        (0..self.endomorphism()).fold(Scalar::ONE, |power, _| power * lambda())
    }
}

/// λ of SEC 2's secp256k1, the cube root of one modulo n that goes with [`crate::field::BETA`].
fn lambda() -> Scalar {
    const LAMBDA: [u8; 32] = [
        0x53, 0x63, 0xad, 0x4c, 0xc0, 0x5c, 0x30, 0xe0, 0xa5, 0x26, 0x1c, 0x02, 0x88, 0x12, 0x64, 0x5a, 0x12, 0x2e,
        0x22, 0xea, 0x20, 0x81, 0x66, 0x78, 0xdf, 0x02, 0x96, 0x7c, 0x1b, 0x23, 0xbd, 0x72,
    ];
    Scalar::from_repr(FieldBytes::from(LAMBDA)).expect("λ is below the group order")
}
