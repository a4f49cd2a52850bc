//! Keccak-256 of `x ‖ y` on several lanes, down to the first word of the Ethereum address.

use super::{
    filter::WordFilter,
    lanes::{Coordinates, GROUP},
};

/// The operations of Keccak on several 64-bit words at once.
pub(crate) trait DoubleLanes: Copy {
    const LANES: usize;

    fn load(doubles: &[u64]) -> Self;
    fn store(self, doubles: &mut [u64]);
    fn splat(double: u64) -> Self;
    fn xor(self, other: Self) -> Self;
    /// `self ^ (!b & c)`.
    fn xor_and_not(self, b: Self, c: Self) -> Self;
    fn rotate_left(self, bits: u32) -> Self;

    #[inline(always)]
    fn xor3(self, b: Self, c: Self) -> Self {
        self.xor(b).xor(c)
    }
}

#[rustfmt::skip]
const ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001, 0x0000_0000_0000_8082, 0x8000_0000_0000_808a, 0x8000_0000_8000_8000, 0x0000_0000_0000_808b,
    0x0000_0000_8000_0001, 0x8000_0000_8000_8081, 0x8000_0000_0000_8009, 0x0000_0000_0000_008a, 0x0000_0000_0000_0088,
    0x0000_0000_8000_8009, 0x0000_0000_8000_000a, 0x0000_0000_8000_808b, 0x8000_0000_0000_008b, 0x8000_0000_0000_8089,
    0x8000_0000_0000_8003, 0x8000_0000_0000_8002, 0x8000_0000_0000_0080, 0x0000_0000_0000_800a, 0x8000_0000_8000_000a,
    0x8000_0000_8000_8081, 0x8000_0000_0000_8080, 0x0000_0000_8000_0001, 0x8000_0000_8000_8008,
];

/// Rotation of lane x + 5·y, and where it goes.
#[rustfmt::skip]
const MOVES: [(u32, usize); 25] = [
    (0, 0), (1, 10), (62, 20), (28, 5), (27, 15), (36, 16), (44, 1), (6, 11), (55, 21), (20, 6), (3, 7), (10, 17),
    (43, 2), (25, 12), (39, 22), (41, 23), (45, 8), (15, 18), (21, 3), (8, 13), (18, 14), (2, 24), (61, 9), (56, 19),
    (14, 4),
];

#[inline(always)]
fn permute<W: DoubleLanes>(state: &mut [W; 25]) {
    for constant in ROUND_CONSTANTS {
        let mut parity = [W::splat(0); 5];
        for (x, parity) in parity.iter_mut().enumerate() {
            *parity = state[x].xor3(state[x + 5], state[x + 10]).xor3(state[x + 15], state[x + 20]);
        }
        let mut moved = [W::splat(0); 25];
        for (lane, (bits, to)) in MOVES.into_iter().enumerate() {
            let around = state[lane].xor3(parity[(lane + 4) % 5], parity[(lane + 1) % 5].rotate_left(1));
            moved[to] = if bits == 0 { around } else { around.rotate_left(bits) };
        }
        for row in [0, 5, 10, 15, 20] {
            for x in 0..5 {
                state[row + x] = moved[row + x].xor_and_not(moved[row + (x + 1) % 5], moved[row + (x + 2) % 5]);
            }
        }
        state[0] = state[0].xor(W::splat(constant));
    }
}

/// Bytes 12 to 15 of each digest, the first of the address, tested against the filter.
#[inline(always)]
pub(crate) fn address_words<W: DoubleLanes>(x: &Coordinates, y: &Coordinates, filter: &WordFilter) -> u32 {
    let mut words = [0; GROUP];
    for first in (0..GROUP).step_by(W::LANES) {
        let mut state = [W::splat(0); 25];
        for (coordinate, from) in [(x, 0), (y, 4)] {
            for (lane, rows) in coordinate.0.chunks_exact(2).enumerate() {
                let mut doubles = [0; GROUP];
                for column in 0..W::LANES {
                    let (high, low) = (rows[0][first + column], rows[1][first + column]);
                    doubles[column] = u64::from(high.swap_bytes()) | u64::from(low.swap_bytes()) << 32;
                }
                state[from + lane] = W::load(&doubles[..W::LANES]);
            }
        }
        // 64 bytes of message, padded to a block of 136.
        state[8] = W::splat(1);
        state[16] = W::splat(1 << 63);
        permute(&mut state);
        let mut doubles = [0; GROUP];
        state[1].store(&mut doubles[..W::LANES]);
        for (word, double) in words[first..].iter_mut().zip(&doubles[..W::LANES]) {
            *word = ((double >> 32) as u32).swap_bytes();
        }
    }
    filter.accepted_of(&words)
}
