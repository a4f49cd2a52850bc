//! Bech32 (BIP-173) for version 0 witness programs of 20 bytes, which is all that P2WPKH needs.

pub const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
pub const PREFIX: &str = "bc";

/// The 5-bit value of a bech32 character.
pub fn digit(character: char) -> Option<u8> {
    ALPHABET.iter().position(|&known| char::from(known) == character).map(|position| position as u8)
}

/// The address of a version 0 witness program: `bc1q`, 32 symbols of program, 6 of checksum.
pub fn encode_p2wpkh(program: &[u8; 20]) -> String {
    let mut symbols = vec![0];
    symbols.extend(symbols_of(program));
    let checksum = checksum(&symbols);
    symbols.extend(checksum);
    let text = symbols.iter().map(|&symbol| char::from(ALPHABET[usize::from(symbol)]));
    PREFIX.chars().chain(['1']).chain(text).collect()
}

/// 160 bits as 32 symbols of five bits, most significant first.
fn symbols_of(program: &[u8; 20]) -> [u8; 32] {
    std::array::from_fn(|symbol| {
        (0..5).fold(0, |value, bit| {
            let position = symbol * 5 + bit;
            value << 1 | (program[position / 8] >> (7 - position % 8) & 1)
        })
    })
}

fn checksum(symbols: &[u8]) -> [u8; 6] {
    let high = PREFIX.bytes().map(|byte| byte >> 5);
    let low = PREFIX.bytes().map(|byte| byte & 31);
    let expanded = high.chain([0]).chain(low).chain(symbols.iter().copied()).chain([0; 6]);
    let remainder = expanded.fold(1, polynomial_step) ^ 1;
    std::array::from_fn(|position| (remainder >> (5 * (5 - position)) & 31) as u8)
}

fn polynomial_step(state: u32, symbol: u8) -> u32 {
    const GENERATORS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let top = state >> 25;
    let shifted = (state & 0x01ff_ffff) << 5 ^ u32::from(symbol);
    GENERATORS
        .iter()
        .enumerate()
        .filter(|(bit, _)| top >> bit & 1 == 1)
        .fold(shifted, |state, (_, generator)| state ^ generator)
}
